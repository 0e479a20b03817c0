"""Coordinates of places from the cells of a table, each fault named by line or place."""

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from . import cells
from .age_reader import plain
from .assembly import unnamed
from .errors import Problem, shorten
from .layouts import Source
from .series_reader import no_rows

_CURE = "write decimal degrees, such as 49.635, south and west negative"
_MARKS = re.compile(r"[°º'′’\"″”NSEWnsew]")
_ROLES = {"latitude": ("lat",), "longitude": ("lon", "lng")}  # how their columns begin
_SAME = 9  # decimals of unit vectors: 6 mm on the ground


class Columns(NamedTuple):
    """Columns of a table with coordinates; in a long one the last two may be variables."""

    place: str
    latitude: str
    longitude: str
    variable: str
    value: str


class Coordinates(NamedTuple):
    """Coordinates that were read.

    Attributes:
        degrees: latitude and longitude by place, for the places that have both.
        missing: column by place, for the places that are named but lack it.
        faulty: places of which something is wrong, and said in `problems`.
        problems: what is wrong.
        decimal: mark of the numbers.
        columns: where they stand; None where there is no such column.
    """

    degrees: dict[str, tuple[float, float]]
    missing: dict[str, str]
    faulty: set[str]
    problems: list[Problem]
    decimal: cells.Decimal
    columns: Columns | None


class _Part(NamedTuple):
    """One coordinate: the cells of some rows."""

    column: str
    values: np.ndarray
    usable: np.ndarray
    place: np.ndarray  # index of the place
    lines: np.ndarray
    text: pd.Series


def read_coordinates(
    table: Source, columns: Columns, decimal: cells.Decimal | None, is_list: bool
) -> Coordinates:
    """Coordinates of every place of a table that has the place column.

    A comma in a coordinate is always a decimal mark. Rows of one place may leave coordinates empty
    but not contradict each other.

    Args:
        table: rows and columns, or long with coordinates as variables.
        columns: their names.
        decimal: "." or ","; None detects it.
        is_list: the table has one row per place and nothing else is read from it.
    """
    codes, places = cells.factorize(table.frame[columns.place])
    problems = []
    if is_list:
        problems = [*table.problems, *unnamed(codes, places, columns.place, table.lines)]
        problems += [] if len(codes) or problems else [no_rows()]
    found = [_column(table, columns, name) for name in (columns.latitude, columns.longitude)]
    absent = [
        _no_column(table, name, role, is_list)
        for name, role, cut in zip(columns[1:3], _ROLES, found, strict=True)
        if cut is None
    ]
    if absent:
        return Coordinates({}, {}, set(), problems + absent, decimal or ".", None)
    cut = [part for part in found if part is not None]
    prepared = [cells.prepare(column) for column, _ in cut]
    mark = decimal or cells.detect_decimal(prepared)[0]
    degrees: list[dict[str, tuple[float, int]]] = []
    faulty: set[str] = set()
    for name, column, (_, rows) in zip(columns[1:3], prepared, cut, strict=True):
        read = cells.parse_numbers(column, mark)
        text = cells.as_text(column)
        part = _Part(
            name, read.values, ~(read.missing | read.bad), codes[rows], table.lines[rows], text
        )
        values, wrong, names = _values(part, read.bad, mark, places)
        if is_list and not degrees:
            wrong += _repeated(part, columns.place, places)
        problems += wrong
        faulty |= names
        degrees.append(values)
    latitude, longitude = degrees
    both = {}
    for place in sorted(set(latitude) & set(longitude) - faulty):
        (north, line), (east, _) = latitude[place], longitude[place]
        fault = _range_problem(north, east, line, place, columns)
        both[place] = north, east
        if fault is not None:
            problems.append(fault)
            faulty.add(place)
    missing = {
        place: columns.longitude if place in latitude else columns.latitude
        for place in places
        if place not in both
    }
    both = {place: at for place, at in both.items() if place not in faulty}
    return Coordinates(both, missing, faulty, problems, mark, columns)


def without_coordinates(names: Iterable[str], found: Coordinates) -> list[Problem]:
    """Problems of the places among `names` that have no coordinates, except the faulty ones."""
    if found.columns is None:
        return []
    wanted = set(names)
    free = {name.lower(): name for name in found.degrees if name not in wanted}
    problems = []
    for place in sorted(wanted - set(found.degrees) - found.faulty):
        near = difflib.get_close_matches(place.lower(), free, n=1, cutoff=0.7)
        cure = f"is it {shorten(free[near[0]])}? " if near else ""
        column = found.missing.get(place, found.columns.latitude)
        what = "a settlement without coordinates"
        if column == found.columns.longitude:
            what = "a settlement without a longitude"
        cure += "give its latitude and longitude, or leave it out"
        problems.append(Problem(None, column, place, what, cure))
    return problems


def coincident(names: Iterable[str], found: Coordinates) -> list[list[str]]:
    """Groups of places among `names` with the same coordinates, sorted."""
    placed = sorted(set(names) & set(found.degrees))
    if not placed:
        return []
    north, east = np.radians([found.degrees[place] for place in placed]).T
    axes = np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)
    points = np.round(np.stack(axes, axis=1), _SAME) + 0.0  # no -0.0
    _, group = np.unique(points, axis=0, return_inverse=True)
    group = group.ravel()
    several = np.flatnonzero(np.bincount(group) > 1)
    return sorted([placed[i] for i in np.flatnonzero(group == g)] for g in several)


def _column(table: Source, columns: Columns, name: str) -> tuple[pd.Series, np.ndarray] | None:
    """Cells of a coordinate and the rows they stand in; None where there is no such column."""
    frame = table.frame
    if name in frame.columns:
        return frame[name], np.arange(len(frame))
    if {columns.variable, columns.value} <= set(frame.columns):
        rows = np.flatnonzero(cells.as_text(frame[columns.variable]) == name)
        if rows.size:
            return frame[columns.value].iloc[rows], rows
    return None


def _no_column(table: Source, name: str, role: str, is_list: bool) -> Problem:
    columns = list(table.frame.columns)
    absent = cells.missing_column(name, [column for column in columns if column not in _ROLES])
    near = [column for column in columns if plain(column).startswith(_ROLES[role])]
    cure = f"did you mean {shorten(near[0])}? " if near else ""
    cure += f"pass {role}_column=" + ("" if is_list else ", or a second table by coordinates=")
    return absent._replace(cure=f"{cure}; {absent.cure}")


def _values(
    part: _Part, bad: np.ndarray, mark: str, places: tuple[str, ...]
) -> tuple[dict[str, tuple[float, int]], list[Problem], set[str]]:
    """Value and line of each place, what is wrong with other cells, and the places concerned."""
    problems = []
    for i in np.flatnonzero(bad):
        line, text = int(part.lines[i]), part.text.iloc[i]
        problem = cells.number_problem(line, part.column, text, mark)
        if _MARKS.search(text) and problem.what == "text in a number":
            problem = problem._replace(what="not decimal degrees", cure=_CURE)
        problems.append(problem)
    faulty = {places[code] for code in part.place[bad]}
    rows = np.flatnonzero(part.usable)
    present, first = np.unique(part.place[rows], return_index=True)
    origin = np.full(len(places), -1)
    origin[present] = rows[first]
    differs = part.usable & (part.values != part.values[origin[part.place]])
    wrong = np.flatnonzero(differs)
    for i in wrong[np.unique(part.place[wrong], return_index=True)[1]]:
        start, place = origin[part.place[i]], places[part.place[i]]
        what = (
            f"another {part.column} of {place!r} than on line {part.lines[start]}, "
            f"{shorten(part.text.iloc[start])}"
        )
        cure = "give a settlement the same coordinates in all rows, or leave the rest empty"
        problems.append(Problem(int(part.lines[i]), part.column, part.text.iloc[i], what, cure))
        faulty.add(place)
    values = {
        places[code]: (float(part.values[origin[code]]), int(part.lines[origin[code]]))
        for code in present
    }
    return values, problems, faulty


def _repeated(part: _Part, column: str, places: tuple[str, ...]) -> list[Problem]:
    """Later rows of a place in a table with a row per place."""
    later = np.flatnonzero(pd.Series(part.place).duplicated())
    first = pd.Series(part.lines).groupby(part.place).transform("first")
    return [
        Problem(
            int(part.lines[i]),
            column,
            places[part.place[i]],
            f"a second row of the same settlement, the first is on line {first[i]}",
            "keep one of them",
        )
        for i in later
    ]


def _range_problem(
    north: float, east: float, line: int, place: str, columns: Columns
) -> Problem | None:
    wrong_north, wrong_east = abs(north) > 90.0, abs(east) > 180.0
    if not (wrong_north or wrong_east):
        return None
    if wrong_north and abs(north) <= 180.0 and abs(east) <= 90.0:
        what = f"latitude and longitude {east:.10g} of {place!r} look swapped"
        cure = f"swap the columns {columns.latitude!r} and {columns.longitude!r}"
        return Problem(line, columns.latitude, f"{north:.10g}", what, cure)
    column, value = (columns.latitude, north) if wrong_north else (columns.longitude, east)
    most = 90 if wrong_north else 180
    cure = _CURE
    if abs(value) > 360.0:
        cure += "; was the decimal mark lost?"
    elif not wrong_north:
        cure = "write degrees from -180 to 180: subtract 360 from those above 180"
    what = f"{place!r} lies outside -{most} to {most} degrees"
    return Problem(line, column, f"{value:.10g}", what, cure)
