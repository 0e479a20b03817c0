"""Numbers and years from the text or typed cells of one column."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from .errors import Problem, shorten

Decimal: TypeAlias = Literal[".", ","]

# "-" and dots are what statistical offices print for "no data".
MISSING = frozenset(
    [
        "na",
        "n/a",
        "#n/a",
        "nan",
        "null",
        "none",
        "<na>",
        "-",
        "–",
        "—",
        ".",
        "..",
        "...",
        "…",
        "н/д",
    ]
) | {""}
FIRST_YEAR, LAST_YEAR = 1500, 2500
_SPACES = " \u00a0\u2009\u202f"
_SIGN = "[+\u2212-]?"
_INFINITE = re.compile(r"[+\u2212-]?(inf|infinity|∞)", re.IGNORECASE)
_YEAR = r"[0-9]+(?:\.0*)?"
_THOUSANDS = _SIGN + r"[1-9][0-9]{0,2}(?:,[0-9]{3})+"


class Cells(NamedTuple):
    """One column: float64 values, 0.0 where unusable; bool missing (empty) and bad (no number)."""

    values: np.ndarray
    missing: np.ndarray
    bad: np.ndarray


def prepare(column: pd.Series) -> pd.Series:
    """`column` itself if it holds real numbers, else its cells as text: what the parsers take."""
    return column if _is_number(column) else as_text(column)


def as_text(column: pd.Series) -> pd.Series:
    """Cells as text without surrounding space; missing ones as ''."""
    if not isinstance(column.dtype, pd.StringDtype):
        column = column.astype(object).where(column.notna(), "").map(str).astype("str")
    return column.fillna("").str.strip()


def factorize(column: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Code of each row, int64, and the sorted labels; runs of space in a label count as one."""
    codes, found = pd.factorize(as_text(column))
    again, labels = pd.factorize(
        np.array([" ".join(str(label).split()) for label in found], dtype=object), sort=True
    )
    return again.astype(np.int64)[codes], tuple(str(label) for label in labels)


def parse_numbers(column: pd.Series, decimal: str) -> Cells:
    """Values of one prepared column, exactly as `float` reads them.

    Spaces (also no-break ones) between groups of three digits are allowed, other thousands
    separators are not; a number that overflows to infinity is bad.
    """
    if _is_number(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        missing, bad = np.isnan(values), np.isinf(values)
        return Cells(np.where(missing | bad, 0.0, values), missing, bad)
    good = column.str.fullmatch(_number(decimal)).to_numpy(dtype=bool)
    plain = column if good.all() else column.where(good, "0")
    if plain.str.contains(f"[{_SPACES}\u2212]").any():
        plain = plain.str.replace(f"[{_SPACES}]", "", regex=True)
        plain = plain.str.replace("\u2212", "-", regex=False)
    if decimal != ".":
        plain = plain.str.replace(decimal, ".", regex=False)
    values = plain.astype("float64[pyarrow]").to_numpy(dtype=np.float64)
    good = good & np.isfinite(values)
    missing = np.zeros(len(column), bool)
    missing[~good] = column[~good].str.lower().isin(MISSING).to_numpy(dtype=bool)
    return Cells(np.where(good, values, 0.0), missing, ~good & ~missing)


def parse_years(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Years of one column, int64, 0 where bad, and bad, bool; whole numbers 1500-2500 are years."""
    column = prepare(column)
    if _is_number(column):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        numbers = parse_numbers(column.where(column.str.fullmatch(_YEAR), ""), ".").values
    with np.errstate(invalid="ignore"):
        good = (numbers >= FIRST_YEAR) & (numbers <= LAST_YEAR) & (numbers == np.floor(numbers))
    return np.where(good, numbers, 0.0).astype(np.int64), ~good


def is_year(name: str) -> bool:
    """True where a column name is a year."""
    return bool(re.fullmatch(_YEAR, name)) and FIRST_YEAR <= float(name) <= LAST_YEAR


def detect_decimal(columns: Sequence[pd.Series]) -> tuple[Decimal, Problem | None]:
    """Decimal mark of prepared columns: what more numbers have, the point if none has either.

    Returns:
        mark, and a problem if every comma could as well be a thousands separator ("1,234" but
        nowhere "12,5").
    """
    texts = [column for column in columns if not _is_number(column)]
    with_comma = [text[text.str.contains(",", regex=False)] for text in texts]
    pattern = f"(?:{_number(',')}|{_THOUSANDS})"
    with_comma = [text[text.str.fullmatch(pattern)] for text in with_comma if len(text)]
    commas = sum(map(len, with_comma))
    if commas == 0:
        return ".", None
    with_point = [text[text.str.contains(".", regex=False)] for text in texts]
    if commas <= sum(int(text.str.fullmatch(_number(".")).sum()) for text in with_point):
        return ".", None
    if sum(int(text.str.fullmatch(_THOUSANDS).sum()) for text in with_comma) < commas:
        return ",", None
    example = next(str(text.iloc[0]) for text in with_comma if len(text))
    what = "the comma can be a decimal mark or a thousands separator"
    cure = "pass decimal=',' or decimal='.', and take thousands separators out"
    return ",", Problem(None, None, example, what, cure)


def number_problem(line: int, column: str, value: str, decimal: str) -> Problem:
    """What is wrong with one cell that is not a number."""
    if _INFINITE.fullmatch(value) or re.fullmatch(_number(decimal), value):
        return Problem(line, column, value, "not finite", "leave it empty or give a finite number")
    other = "," if decimal == "." else "."
    if other in value and re.fullmatch(r"[0-9.,\s+\u2212-]+", value):
        what = f"{other!r} in a number whose decimal mark is {decimal!r}"
        cure = f"use one decimal mark and no thousands separators, or pass decimal={other!r}"
        return Problem(line, column, value, what, cure)
    cure = "write a plain number; leave the cell empty if there is no value"
    return Problem(line, column, value, "text in a number", cure)


def year_problem(line: int, column: str, value: str) -> Problem:
    """What is wrong with one cell that is not a year."""
    cure = f"write a whole year, {FIRST_YEAR}-{LAST_YEAR}"
    return Problem(line, column, value, "no year" if value == "" else "not a year", cure)


def missing_column(name: str, columns: Iterable[str], kind: str = "column") -> Problem:
    """The problem of a column or variable that is not there, with the nearest name that is."""
    present = list(columns)
    lower = {column.lower(): column for column in present}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    listed = ", ".join(shorten(column) for column in present[:20])
    more = f" and {len(present) - 20} more" if len(present) > 20 else ""
    cure = f"did you mean {shorten(lower[near[0]])}? " if near else ""
    cure += f"the {kind}s are {listed or 'none'}{more}"
    return Problem(None, name, None, f"missing {kind}", cure)


def _is_number(column: pd.Series) -> bool:
    kinds = pd.api.types
    real = kinds.is_numeric_dtype(column) and not kinds.is_complex_dtype(column)
    return real and not kinds.is_bool_dtype(column)


def _number(decimal: str) -> str:
    mark = re.escape(decimal)
    plain = rf"[0-9]+{mark}?[0-9]*|{mark}[0-9]+"
    grouped = rf"[0-9]{{1,3}}(?:[{_SPACES}][0-9]{{3}})+(?:{mark}[0-9]*)?"
    return rf"(?:{_SIGN}(?:{plain}|{grouped})(?:[eE][+-]?[0-9]+)?)"
