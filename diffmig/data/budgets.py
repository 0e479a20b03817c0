"""Budgets: spending by line and year, with the ages that each line serves."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from . import cells
from .age_reader import plain, read_numbers
from .ages import OLDEST_AGE, OPEN_AGE
from .assembly import unnamed
from .errors import DataError, Problem, expectations
from .layouts import Source
from .series_reader import no_rows, open_table

_TEXTS = ("line", "component", "payer")
_AGES = ("first_age", "last_age")
_DASHES = ("-", "–", "—", "−")  # there was no such line that year
_NO_DATA = "*"


class Budget(NamedTuple):
    """Spending by line with the ages it serves.

    Attributes:
        amounts: float64 [line, year], million of currency in prices of each year; 0.0 where not
            observed.
        mask: bool [line, year]; False where there is no figure.
        lines: name of each line.
        components: of each line, what it builds: "health", "education", "culture" in the paper.
        payers: of each line, who spends: "region", "federal", "private" in the paper.
        first_ages: int64 [line], completed years of age at which the bracket begins.
        last_ages: int64 [line], last completed year of the bracket, which is
            [first, last + 1) in exact age; OPEN_AGE (-1) for "and older".
        years: int64 [year], ascending, gaps allowed.
    """

    amounts: np.ndarray
    mask: np.ndarray
    lines: tuple[str, ...]
    components: tuple[str, ...]
    payers: tuple[str, ...]
    first_ages: np.ndarray
    last_ages: np.ndarray
    years: np.ndarray


def check_budget(budget: Budget) -> Budget:
    """`budget` itself, once its shapes, types and values are those that `Budget` promises.

    Raises:
        DataError: a wrong shape or dtype, repeated or empty names, years that do not ascend, a
            first age after the last, a line without any figure, or an amount that is negative, not
            finite, or other than 0.0 where nothing is observed.
    """
    amounts, mask, years = budget.amounts, budget.mask, budget.years
    first, last = budget.first_ages, budget.last_ages
    num_lines = len(budget.lines)
    found, expect = expectations()
    expect(
        amounts.dtype == np.float64 and mask.dtype == np.bool_,
        f"amounts are {amounts.dtype} and mask {mask.dtype}, expected float64 and bool",
        "convert them with astype",
    )
    expect(
        amounts.shape == mask.shape == (num_lines, len(years)) and amounts.size > 0,
        f"amounts have shape {amounts.shape} and mask {mask.shape}, "
        f"expected {(num_lines, len(years))} [line, year]",
        "order the axes as line, year, and let none be empty",
    )
    expect(
        years.dtype == np.int64 and (np.diff(years) > 0).all(),
        "years are not ascending int64",
        "sort them, each once",
    )
    expect(
        first.shape == last.shape == (num_lines,) and first.dtype == last.dtype == np.int64,
        "first_ages and last_ages are not int64 [line]",
        "give both for each line",
    )
    expect(
        num_lines == len(budget.components) == len(budget.payers)
        and all((*budget.lines, *budget.components, *budget.payers)),
        "lines, components and payers differ in length or have empty names",
        "name each line, its component and its payer",
    )
    expect(len(set(budget.lines)) == num_lines, "a line name is repeated", "make the names unique")
    if not found:
        found = [
            Problem(None, None, f"{first[i]}-{last[i]}", f"no bracket of {budget.lines[i]!r}", cure)
            for i in np.flatnonzero((first < 0) | ((last < first) & (last != OPEN_AGE)))
            for cure in ["give 0 <= first age <= last age, or OPEN_AGE for the last"]
        ]
        found += [_no_figure(None, budget.lines[i]) for i in np.flatnonzero(~mask.any(axis=1))]
        wrong = ~(np.isfinite(amounts) & (amounts >= 0.0)) | (~mask & (amounts != 0.0))
        found += [
            Problem(
                None,
                str(years[k]),
                str(amounts[i, k]),
                f"unusable amount of {budget.lines[i]!r}",
                "amounts are finite and not negative where observed, and 0.0 elsewhere",
            )
            for i, k in np.argwhere(wrong)
        ]
    if found:
        raise DataError(found, "budget")
    return budget


def read_budget(
    source: str | Path | pd.DataFrame,
    *,
    name: str = "frame",
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: cells.Decimal | None = None,
) -> Budget:
    """Budget of a CSV or parquet file or of a data frame.

    Wide tables have a row per line with the columns line, component, payer, first_age, last_age and
        a column per year; long ones, known by a column amount, a row per line and year with the
        columns year and amount. Column names count in any case, with spaces or underscores. payer
        may be absent: "region". An empty last_age, or "+", means "and older".

    A dash in place of an amount means that there was no such line that year: 0, observed. An
        asterisk, an empty cell, the usual tokens (NA, n/a, ...) and, in long tables, an absent row
        mean that there is no figure, which is masked. Other columns are not looked at, except that
        in wide tables those with a digit in their name must be years.

    Args:
        source: CSV (plain, .gz, .bz2, .xz), parquet, or a data frame, whose named index levels
            count as columns.
        name: stands for a data frame in messages.
        encoding: default: detected, by the rules of `read_text_table`.
        delimiter: default: detected, by the rules of `read_text_table`.
        decimal: "." or ","; default: the mark that most amounts have.

    Returns:
        budget; lines in the order in which they first appear, years ascending.

    Raises:
        ValueError: a choice that does not exist.
        DataError: anything wrong with the source; it lists all problems with line, column, value
            and cure.
    """
    table = open_table(source, name, encoding, delimiter)
    found, year_columns, problems = _columns(table)
    if len(table.frame) == 0 and not (problems or table.problems):
        problems = [no_rows()]
    if problems or len(table.frame) == 0:
        raise DataError([*table.problems, *problems], table.file)
    is_long = "amount" in found
    numbers = [found["amount"]] if is_long else year_columns
    plain_numbers = pd.DataFrame({column: _figures(table.frame[column]) for column in numbers})
    amounts, problems = read_numbers(plain_numbers, table.lines, decimal, optional=True)
    labels, text_problems = _labels(table, found)
    ages, age_problems = _brackets(table, found)
    problems += text_problems + age_problems
    names, first_row, line = np.unique(labels["line"], return_index=True, return_inverse=True)
    order = np.argsort(first_row)
    line = np.argsort(order)[line]
    rows = first_row[order]
    if is_long:
        year, bad = cells.parse_years(table.frame[found["year"]])
        wrong = cells.as_text(table.frame[found["year"]][bad])
        problems += [
            cells.year_problem(int(at), found["year"], text)
            for at, text in zip(table.lines[bad], wrong, strict=True)
        ]
        year = year[:, None]
    else:
        year = np.array([[int(float(column)) for column in year_columns]])
    if not problems:
        problems = _twins(table, line, year, labels["line"], found)
        problems += _contradictions(table, found, line, rows, {**labels, **ages})
    if problems or table.problems:
        raise DataError([*table.problems, *problems], table.file)
    years, column = np.unique(year, return_inverse=True)
    at = line[:, None], column.reshape(year.shape)
    filled, mask = np.zeros((len(names), len(years))), np.zeros((len(names), len(years)), bool)
    filled[at], mask[at] = np.nan_to_num(amounts), ~np.isnan(amounts)
    empty = np.flatnonzero(~mask.any(axis=1))
    if empty.size:
        lacking = [_no_figure(int(table.lines[rows[i]]), labels["line"][rows[i]]) for i in empty]
        raise DataError(lacking, table.file)
    lines, components, payers = (tuple(str(x) for x in labels[key][rows]) for key in _TEXTS)
    first, last = (ages[key][rows] for key in _AGES)
    return check_budget(Budget(filled, mask, lines, components, payers, first, last, years))


def budget_to_frame(budget: Budget) -> pd.DataFrame:
    """Wide data frame, NaN where there is no figure and NA for an open last age.

    `read_budget` reads it back, also from CSV or parquet.
    """
    last = pd.array(budget.last_ages, dtype="Int64")
    last[budget.last_ages == OPEN_AGE] = pd.NA
    texts = dict(zip(_TEXTS, (budget.lines, budget.components, budget.payers), strict=True))
    frame = pd.DataFrame(texts).assign(first_age=budget.first_ages, last_age=last)
    amounts = np.where(budget.mask, budget.amounts, np.nan)
    return frame.assign(**{str(year): amounts[:, k] for k, year in enumerate(budget.years)})


def _columns(table: Source) -> tuple[dict[str, str], list[str], list[Problem]]:
    """Columns by what they hold, those named by a year, and what is missing."""
    columns = list(table.frame.columns)
    found: dict[str, str] = {}
    problems = []
    for key in (*_TEXTS, *_AGES, "year", "amount"):
        present = [column for column in columns if plain(column) == plain(key)]
        if len(present) > 1:
            what = f"this column and {present[0]!r} can both be the {key}"
            problems.append(Problem(None, present[1], None, what, "rename one of the two"))
        if present:
            found[key] = present[0]
    needed = ["line", "component", *_AGES]
    years = [column for column in columns if cells.is_year(column)]
    if "amount" in found or ("year" in found and not years):
        needed += ["year", "amount"]
    elif not years:
        what = "no column is named by a year"
        cure = cells.missing_column("year", columns).cure
        problems.append(Problem(None, None, None, what, f"add a column per year; {cure}"))
    else:
        if len({float(year) for year in years}) < len(years):
            what = "two columns of one year"
            problems.append(Problem(None, None, None, what, "keep one of them"))
        problems += [
            Problem(None, column, None, "the name of the column is no year", "correct or remove it")
            for column in columns
            if any(c in "0123456789" for c in column)
            if column not in (*years, *found.values())
        ]
    problems += [cells.missing_column(key, columns) for key in needed if key not in found]
    return found, years, problems


def _figures(column: pd.Series) -> pd.Series:
    """Cells with 0 for a dash and nothing for an asterisk."""
    prepared = cells.prepare(column)
    if pd.api.types.is_numeric_dtype(prepared):
        return prepared
    return prepared.mask(prepared.isin(_DASHES), "0").mask(prepared == _NO_DATA, "")


def _labels(table: Source, found: dict[str, str]) -> tuple[dict[str, np.ndarray], list[Problem]]:
    """Line, component and payer of each row."""
    labels = {"payer": np.full(len(table.frame), "region", dtype=object)}
    problems = []
    for key in _TEXTS:
        if key in found:
            codes, names = cells.factorize(table.frame[found[key]])
            labels[key] = np.array(names, dtype=object)[codes]
            problems += unnamed(codes, names, found[key], table.lines)
    return labels, problems


def _brackets(table: Source, found: dict[str, str]) -> tuple[dict[str, np.ndarray], list[Problem]]:
    """First and last age of each row, int64."""
    ages = {}
    problems = []
    for key in _AGES:
        column = table.frame[found[key]]
        text = cells.as_text(column)
        is_open = text.isin(["", "+"]).to_numpy(dtype=bool) & (key == "last_age")
        prepared = cells.prepare(column)
        decimal, _ = cells.detect_decimal([prepared])
        read = cells.parse_numbers(prepared, decimal)
        whole = (read.values == np.floor(read.values)) & (read.values >= 0.0)
        good = is_open | (whole & (read.values <= OLDEST_AGE) & ~(read.missing | read.bad))
        ages[key] = np.where(is_open, OPEN_AGE, np.where(good, read.values, 0)).astype(np.int64)
        cure = f"write whole completed years, 0-{OLDEST_AGE}"
        cure += ", and nothing for 'and older'" if key == "last_age" else ""
        problems += [
            Problem(int(at), found[key], value, "not an age" if value else "no age", cure)
            for at, value in zip(table.lines[~good], text[~good], strict=True)
        ]
    first, last = ages["first_age"], ages["last_age"]
    wrong = (last < first) & (last != OPEN_AGE) & (not problems)
    problems += [
        Problem(
            int(table.lines[i]),
            found["last_age"],
            str(last[i]),
            f"the last age lies before the first age {first[i]}",
            "swap the two, or leave the last age empty for 'and older'",
        )
        for i in np.flatnonzero(wrong)
    ]
    return ages, problems


def _twins(
    table: Source, line: np.ndarray, year: np.ndarray, names: np.ndarray, found: dict[str, str]
) -> list[Problem]:
    """Rows of a line, and of its year in long tables, that stood before."""
    is_long = "amount" in found
    rows = pd.DataFrame({"line": line, "year": year[:, 0] if is_long else 0})
    later = np.flatnonzero(rows.duplicated())
    first = pd.Series(table.lines).groupby([rows["line"], rows["year"]]).transform("first")
    what = f"a second row of the same line{' and year' if is_long else ''}"
    cure = "keep one, or rename the line"
    return [
        Problem(
            int(table.lines[i]),
            found["line"],
            f"{names[i]}, {year[i, 0]}" if is_long else str(names[i]),
            f"{what}, the first is on line {first[i]}",
            cure,
        )
        for i in later
    ]


def _contradictions(
    table: Source,
    found: dict[str, str],
    line: np.ndarray,
    rows: np.ndarray,
    values: dict[str, np.ndarray],
) -> list[Problem]:
    """Rows of a long table that describe their line otherwise than its first row does."""
    return [
        Problem(
            int(table.lines[i]),
            found[key],
            str(values[key][i]),
            f"another {key} of the line {values['line'][i]!r} than on line "
            f"{table.lines[rows[line[i]]]}, {str(values[key][rows[line[i]]])!r}",
            "make them equal, or rename the line",
        )
        for key in ("component", "payer", *_AGES)
        for i in np.flatnonzero(values[key] != values[key][rows[line]])
        if key in found and "amount" in found
    ]


def _no_figure(line: int | None, name: str) -> Problem:
    what, cure = "a line without any figure", "give one year at least, or leave the line out"
    return Problem(line, None, str(name), what, cure)
