"""Panels from blocks of cells: keys, numbers, duplicates and gaps, every problem collected."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from . import cells
from .errors import DataError, Problem
from .layouts import Block, Choices, Source, cut
from .panel import Panel, check_panel

_GAP_REPORTS = 200


class _Keys(NamedTuple):
    """Where each cell belongs; the codes are int64, [row, 1] or [1, column]."""

    place: np.ndarray
    year: np.ndarray
    name: np.ndarray
    places: tuple[str, ...]
    names: tuple[str, ...]


class _Numbers(NamedTuple):
    values: np.ndarray  # float64 [row, column]
    missing: np.ndarray  # bool [row, column]
    usable: np.ndarray  # bool [row, column]


def build_panel(source: Source, choices: Choices) -> Panel:
    """The panel of a source.

    Raises:
        DataError: all problems of the source. Where rows could not be read or placed (ragged
            lines, bad years, duplicates), absent rows are not looked for: they would only echo.
    """
    block, problems = cut(source, choices)
    problems = [*source.problems, *problems]
    if block is None:
        raise DataError(problems, source.file)
    if len(block.lines) == 0:
        if not problems:
            problems.append(Problem(None, None, None, "no rows below the header", "add the data"))
        raise DataError(problems, source.file)
    keys, key_problems = _keys(block, source, choices)
    numbers, number_problems = numbers_of(block, choices)
    problems += key_problems + number_problems
    unknown = [name for name in choices.units if name not in keys.names]
    problems += [cells.missing_column(name, keys.names, "variable") for name in unknown]
    if key_problems:
        raise DataError(problems, source.file)

    first, last = int(keys.year.min()), int(keys.year.max())
    num_years = last - first + 1
    if num_years < choices.min_years:
        what = f"{num_years} years ({first}-{last}), at least {choices.min_years} are needed"
        problems.append(Problem(None, None, None, what, "add years, or pass a smaller min_years="))
    shape = (len(keys.places), num_years, len(keys.names))
    values, mask, seen = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
    at = (keys.place, keys.year - first, keys.name)
    values[at], mask[at], seen[at] = numbers.values, numbers.usable, True
    if choices.gaps == "error":
        problems += _empty_cells(block, numbers.missing)
        problems += [] if source.problems else _absent_rows(seen, first, keys)
    if not problems:
        what, cure = "no value at all", "fill the variable or leave it out"
        empty = np.flatnonzero(~mask.any(axis=(0, 1)))
        problems = [Problem(None, keys.names[k], None, what, cure) for k in empty]
    if problems:
        raise DataError(problems, source.file)
    units = tuple(choices.units.get(name, "") for name in keys.names)
    years = np.arange(first, last + 1, dtype=np.int64)
    return check_panel(Panel(values, mask, keys.places, years, keys.names, units))


def _keys(block: Block, source: Source, choices: Choices) -> tuple[_Keys, list[Problem]]:
    columns = [str(name) for name in block.numbers.columns]
    codes, problems = {}, []
    places: tuple[str, ...] = (source.only_place,)
    names = tuple(columns)
    place, name = np.zeros((1, 1), np.int64), np.arange(len(columns))[None, :]
    if block.place is not None:
        codes["place"], places = cells.factorize(block.place)
        problems += unnamed(codes["place"], places, choices.place_column, block.lines)
        place = codes["place"][:, None]
    if block.year is None:
        year = np.array([[int(float(name)) for name in columns]])
        if len(set(year[0])) < year.size:
            what = "two columns of one year"
            problems.append(Problem(None, None, None, what, "keep one of them"))
    else:
        codes["year"], bad = cells.parse_years(block.year)
        year = codes["year"][:, None]
        wrong = cells.as_text(block.year[bad])
        problems += [
            cells.year_problem(int(line), choices.year_column, value)
            for line, value in zip(block.lines[bad], wrong, strict=True)
        ]
    if block.variable is not None:
        codes["variable"], names = cells.factorize(block.variable)
        problems += unnamed(codes["variable"], names, choices.variable_column, block.lines)
        if choices.variables is not None:
            order = np.array([choices.variables.index(name) for name in names])
            codes["variable"], names = order[codes["variable"]], choices.variables
        name = codes["variable"][:, None]
    keys = _Keys(place, year, name, places, names)
    return keys, problems or _duplicates(codes, keys, source, block.lines)


def unnamed(
    codes: np.ndarray, labels: tuple[str, ...], column: str, lines: np.ndarray
) -> list[Problem]:
    """Problems of rows whose name is empty."""
    wrong = lines[codes == labels.index("")] if "" in labels else ()
    return [Problem(int(line), column, "", "an empty name", "fill it in") for line in wrong]


def _duplicates(
    codes: dict[str, np.ndarray], keys: _Keys, source: Source, lines: np.ndarray
) -> list[Problem]:
    table = pd.DataFrame(codes, index=range(len(lines)))
    later = np.flatnonzero(table.duplicated() if codes else np.arange(len(lines)) > 0)
    if later.size == 0:
        return []
    what = f"a second row of the same {', '.join(codes) or 'place'}"
    if "place" not in codes:
        what += ", and no column names the place"
        listed = cells.missing_column("place", source.frame.columns).cure
        cure = f"pass place_column= if there are several places: {listed}"
        return [Problem(int(lines[later[0]]), None, None, what, cure)]
    first = pd.Series(lines).groupby(list(codes.values())).transform("first")
    labels = {"place": keys.places, "variable": keys.names}
    return [
        Problem(
            int(lines[i]),
            None,
            ", ".join(
                str(labels[key][at[i]] if key in labels else at[i]) for key, at in codes.items()
            ),
            f"{what}, the first is on line {first[i]}",
            "keep one of them, or add what tells them apart",
        )
        for i in later
    ]


def numbers_of(block: Block, choices: Choices) -> tuple[_Numbers, list[Problem]]:
    """The numbers of a block and the problems of cells that are none."""
    columns = [cells.prepare(block.numbers[name]) for name in block.numbers.columns]
    decimal, ambiguous = (
        (choices.decimal, None) if choices.decimal else cells.detect_decimal(columns)
    )
    problems = [ambiguous] if ambiguous else []
    read = [cells.parse_numbers(column, decimal) for column in columns]
    values, missing, bad = (np.stack(parts, axis=1) for parts in zip(*read, strict=True))
    every_column_counts = choices.variables is not None or block.variable is not None
    for column, cell in zip(columns, read, strict=True):
        wrong = np.flatnonzero(cell.bad)
        if wrong.size == 0:
            continue
        text = cells.as_text(column.iloc[wrong])
        lines = block.lines[wrong]
        if wrong.size > 1 and (cell.bad | cell.missing).all() and not every_column_counts:
            what, cure = "no numbers in this column", "name those that have them by variables="
            cure += ", or pass place_column= if it names the places"
            problems.append(Problem(int(lines[0]), str(column.name), text.iloc[0], what, cure))
            continue
        problems += [
            cells.number_problem(int(line), str(column.name), value, decimal)
            for line, value in zip(lines, text, strict=True)
        ]
    return _Numbers(values, missing, ~(missing | bad)), problems


def _empty_cells(block: Block, missing: np.ndarray) -> list[Problem]:
    cure = "fill it in, or pass gaps='mask'"
    return [
        Problem(int(line), str(name), token, "no value", cure)
        for j, name in enumerate(block.numbers.columns)
        for line, token in zip(
            block.lines[missing[:, j]],
            cells.as_text(block.numbers[name][missing[:, j]]),
            strict=True,
        )
    ]


def _absent_rows(seen: np.ndarray, first: int, keys: _Keys) -> list[Problem]:
    """Cells for which the input has no row: one problem per place and set of years."""
    cure = "add the rows, leave the place out, or pass gaps='mask'"
    incomplete = np.flatnonzero(~seen.all(axis=(1, 2)))
    problems = []
    for i in incomplete[:_GAP_REPORTS]:
        if (seen[i] == seen[i, :, :1]).all():
            absent = {"": ~seen[i, :, 0]}
        else:
            absent = {f" for {name!r}": ~seen[i, :, k] for k, name in enumerate(keys.names)}
        problems += [
            Problem(None, None, keys.places[i], f"no row{of} in {_spans(years, first)}", cure)
            for of, years in absent.items()
            if years.any()
        ]
    if incomplete.size > _GAP_REPORTS:
        what = (
            f"{incomplete.size} of {len(keys.places)} places lack years; {_GAP_REPORTS} are listed"
        )
        problems.append(
            Problem(None, None, None, what, "check that place_column= names the places")
        )
    return problems


def _spans(absent: np.ndarray, first: int) -> str:
    years = np.flatnonzero(absent) + first
    runs = np.split(years, np.flatnonzero(np.diff(years) > 1) + 1)
    return ", ".join(f"{run[0]}-{run[-1]}" if run.size > 1 else f"{run[0]}" for run in runs)
