"""How an input is to be read, and which of its columns are places, years, variables and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from . import cells
from .errors import Problem

Layout: TypeAlias = Literal["auto", "rows", "long", "wide"]
Gaps: TypeAlias = Literal["error", "mask"]


@dataclass(frozen=True)
class Choices:
    """The choices of `read_panel`, checked."""

    layout: Layout
    place_column: str
    year_column: str
    variable_column: str
    value_column: str
    variables: tuple[str, ...] | None
    units: Mapping[str, str]
    gaps: Gaps
    min_years: int
    decimal: cells.Decimal | None

    def __post_init__(self) -> None:
        allowed = {
            "layout": ("auto", "rows", "long", "wide"),
            "gaps": ("error", "mask"),
            "decimal": (None, ".", ","),
        }
        for name, choices in allowed.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {choices}, got {getattr(self, name)!r}")
        names = self.variables
        if names is not None and not 0 < len(set(names)) == len(names):
            raise ValueError(f"variables: expected a list of different names, got {names!r}")


@dataclass(frozen=True)
class Source:
    """An input as a frame of text or typed columns, with the line of each row."""

    frame: pd.DataFrame
    lines: np.ndarray
    file: str
    only_place: str  # name of the place where there is no place column
    problems: list[Problem] = field(default_factory=list)


class Block(NamedTuple):
    """The part of a source to be read: what names its rows, and the columns that hold numbers."""

    place: pd.Series | None  # None where all rows are of one place
    year: pd.Series | None  # per row; None where the columns are years
    variable: pd.Series | None  # per row; None where the columns are variables
    numbers: pd.DataFrame
    lines: np.ndarray


def cut(source: Source, choices: Choices) -> tuple[Block | None, list[Problem]]:
    """The block of `source` in its layout; None, and why, where a column or variable is missing."""
    frame, columns = source.frame, list(source.frame.columns)
    year_columns = [name for name in columns if cells.is_year(name)]
    layout = _layout(choices, columns, year_columns)
    keys = {
        "rows": [choices.year_column],
        "long": [choices.year_column, choices.variable_column, choices.value_column],
        "wide": [choices.variable_column, *year_columns],
    }[layout]
    others = [name for name in columns if name not in (choices.place_column, *keys)]
    needed = [] if layout == "wide" else list(keys)
    if choices.place_column != "place" or (layout != "rows" and others):
        needed.append(choices.place_column)
    if layout == "rows":
        needed += choices.variables or ()
    problems = [cells.missing_column(name, columns) for name in needed if name not in columns]
    if layout == "wide" and not year_columns:
        no_year = cells.missing_column(choices.year_column, columns)
        problems.append(no_year._replace(column=None, what="no column is named by a year"))
    if layout == "rows" and not (choices.variables or others):
        what = "no column of numbers"
        problems.append(Problem(None, None, None, what, "add a column per variable"))
    if problems:
        return None, problems

    place = frame[choices.place_column] if choices.place_column in columns else None
    if layout == "rows":
        numbers = frame[list(choices.variables or others)]
        return Block(place, frame[choices.year_column], None, numbers, source.lines), []
    has_variable = choices.variable_column in columns
    variable = (
        frame[choices.variable_column]
        if has_variable
        else _repeated(choices.value_column, len(frame))
    )
    year = frame[choices.year_column] if layout == "long" else None
    numbers = frame[[choices.value_column] if layout == "long" else year_columns]
    block = Block(place, year, variable, numbers, source.lines)
    if choices.variables is None:
        return block, []
    return _of_variables(block, variable, choices.variables)


def _layout(choices: Choices, columns: list[str], year_columns: list[str]) -> Layout:
    if choices.layout != "auto":
        return choices.layout
    if choices.year_column not in columns and len(year_columns) >= 2:
        return "wide"
    return "long" if {choices.variable_column, choices.value_column} <= set(columns) else "rows"


def _of_variables(
    block: Block, variable: pd.Series, wanted: tuple[str, ...]
) -> tuple[Block | None, list[Problem]]:
    codes, present = cells.factorize(variable)
    problems = [
        cells.missing_column(name, present, "variable") for name in wanted if name not in present
    ]
    if problems:
        return None, problems
    rows = np.isin(present, wanted)[codes]
    place = None if block.place is None else block.place[rows]
    year = None if block.year is None else block.year[rows]
    return Block(place, year, variable[rows], block.numbers[rows], block.lines[rows]), []


def _repeated(text: str, count: int) -> pd.Series:
    return pd.Series([text] * count, dtype=object)
