"""Panels from CSV, parquet and data frames; problems are named by line, column and value."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet

from .assembly import build_panel
from .cells import Decimal
from .errors import DataError, Problem
from .layouts import Choices, Gaps, Layout, Source
from .panel import Panel
from .textfile import read_bytes, read_text_table


def read_panel(
    path: str | Path,
    *,
    layout: Layout = "auto",
    place_column: str = "place",
    year_column: str = "year",
    variable_column: str = "variable",
    value_column: str = "value",
    variables: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    gaps: Gaps = "error",
    min_years: int = 3,
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: Decimal | None = None,
) -> Panel:
    """Panel of a CSV (plain, .gz, .bz2, .xz) or parquet file.

    Layouts: "rows" has a row per place and year and a column per variable; "long" a row per place,
        year and variable with one value; "wide" a row per place, or per place and variable, and a
        column per year. "auto" is wide where there is no year column but two columns are named by
        years, else long where the variable and value columns exist, else rows.

    Args:
        path: the file. Parquet is known by its ending (.parquet, .pq) or its first four bytes.
        layout: see above.
        place_column: may be absent under its default name: one place, named after the file.
        year_column: years as whole numbers.
        variable_column: names of variables, long and wide; may be absent in wide files.
        value_column: numbers of a long file; names the variable of a wide file without variable
            column.
        variables: those to read, in this order; the rest is not looked at. Default: all, which in
            the rows layout means that every other column must hold numbers. Other columns of long
            and wide files are never looked at.
        units: unit of each variable by name; "" for the rest.
        gaps: "error" demands a number for every place, year and variable; "mask" masks what is
            missing. Empty cells and the usual tokens (NA, nan, -, ..., n/a) are missing, never 0.
        min_years: least number of years.
        encoding: default: detected, by the rules of `read_text_table`.
        delimiter: default: detected, by the rules of `read_text_table`.
        decimal: "." or ","; default: the mark that most numbers of the file have. Digits may be
            grouped by spaces, by nothing else.

    Returns:
        panel; places and, where they label rows, variables sorted by name, years sorted: the order
        of rows is irrelevant.

    Raises:
        ValueError: a choice that does not exist.
        DataError: anything wrong with the file; it lists all problems with line, column, value and
            cure.
    """
    choices = Choices(
        layout,
        place_column,
        year_column,
        variable_column,
        value_column,
        _as_names(variables),
        units or {},
        gaps,
        min_years,
        decimal,
    )
    path = Path(path)
    name = path.name.split(".")[0] or path.name
    if path.suffix.lower() in (".parquet", ".pq") or starts_as_parquet(path):
        frame = read_parquet(read_bytes(path), str(path))
        return build_panel(typed_source(frame, str(path), name), choices)
    table = read_text_table(path, encoding, delimiter)
    source = Source(table.frame, table.lines, str(path), name, list(table.problems))
    return build_panel(source, choices)


def panel_from_frame(
    frame: pd.DataFrame,
    *,
    name: str = "frame",
    layout: Layout = "auto",
    place_column: str = "place",
    year_column: str = "year",
    variable_column: str = "variable",
    value_column: str = "value",
    variables: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    gaps: Gaps = "error",
    min_years: int = 3,
    decimal: Decimal | None = None,
) -> Panel:
    """Panel of a data frame, by the rules of `read_panel`; named index levels count as columns.

    Args:
        frame: typed or text columns.
        name: stands for the file in messages, and for the place where there is no place column.

    Raises:
        ValueError: a choice that does not exist.
        DataError: anything wrong with the frame; lines are rows counted from 1.
    """
    choices = Choices(
        layout,
        place_column,
        year_column,
        variable_column,
        value_column,
        _as_names(variables),
        units or {},
        gaps,
        min_years,
        decimal,
    )
    return build_panel(typed_source(frame, name, name), choices)


def _as_names(variables: Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(variables, str):
        raise ValueError(f"variables: expected a list of names, got the text {variables!r}")
    return None if variables is None else tuple(variables)


def starts_as_parquet(path: Path) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(4) == b"PAR1"
    except (OSError, ValueError):
        return False


def read_parquet(content: bytes, file: str) -> pd.DataFrame:
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        table.validate(full=True)  # reading alone lets text through that is not UTF-8
        return table.to_pandas()
    except Exception as error:  # a broken file makes the library raise a dozen unrelated types
        what = f"not a readable parquet file ({type(error).__name__}: {error})"
        cure = "write it again, or save it as CSV"
        raise DataError([Problem(None, None, None, what, cure)], file) from error


def typed_source(frame: pd.DataFrame, file: str, only_place: str) -> Source:
    if any(name is not None for name in frame.index.names):
        levels = frame.index.to_frame(index=False)
        frame = pd.concat([levels, frame.reset_index(drop=True)], axis=1)
    names = [str(name) for name in frame.columns]
    first = [j for j, name in enumerate(names) if name not in names[:j]]
    what, cure = "a second column of this name", "rename one of the two"
    problems = [
        Problem(None, name, None, what, cure) for j, name in enumerate(names) if j not in first
    ]
    kept = frame.iloc[:, first].reset_index(drop=True)
    kept.columns = pd.Index([names[j] for j in first], dtype=object)
    return Source(kept, np.arange(1, len(kept) + 1), file, only_place, problems)
