"""Settlements from tables of balances, with coordinates in the same table or a second one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

import numpy as np
import pandas as pd

from . import cells
from .assembly import build_panel
from .coordinates import Columns, Coordinates, coincident, read_coordinates, without_coordinates
from .errors import DataError, Problem
from .layouts import Choices, Layout, Source, cut
from .panel import Panel, select, variable
from .series_reader import open_table
from .settlements import UNITS, Settlements, check_settlements, too_few, unusable_places

_LARGEST_OF_THOUSANDS = 10.0  # a balance with fractions below this, among whole ones, is noted
_NO_PLACES = ("balance", "population", "latitude", "longitude")  # "place" resembles "balance"


class _Usable(NamedTuple):
    """All places of a table over the years taken, and why some of them cannot be used."""

    panel: Panel
    left_out: dict[str, str]
    note: list[str]


def read_settlements(
    source: str | Path | pd.DataFrame,
    coordinates: str | Path | pd.DataFrame | None = None,
    *,
    balance_column: str = "balance",
    arrivals_column: str = "arrivals",
    departures_column: str = "departures",
    population_column: str | None = "population",
    latitude_column: str = "latitude",
    longitude_column: str = "longitude",
    place_column: str = "place",
    year_column: str = "year",
    variable_column: str = "variable",
    value_column: str = "value",
    features: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    years: tuple[int, int] | None = None,
    min_years: int = 4,
    same_coordinates: Literal["error", "keep"] = "error",
    layout: Layout = "auto",
    name: str = "frame",
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: cells.Decimal | None = None,
) -> Settlements:
    """Settlements of a CSV or parquet file or of a data frame; the layouts are those of read_panel.

    The balance is a column, or arrivals minus departures where there is none of its name; where
        all three are there the balance is taken, and a difference noted. A wide table without
        variables holds the balance. Years at either end in which no place has a balance are not
        taken.

    A place is left out, and listed with the reason, if its balance has gaps or never changes (0 in
        every year included), or if it has no population in any year where others have. Features
        and population may have gaps otherwise, which are masked. All else that is wrong is an
        error.

    Coordinates are columns of the same table (in long tables columns or variables), equal in all
        rows of a place, though some may be empty; or a second table with a row per place.

    Args:
        source: CSV (plain, .gz, .bz2, .xz), parquet, or a data frame, whose named index levels
            count as columns.
        coordinates: the second table, whose further places are noted. None: in `source`.
        balance_column: persons/year, + is a gain.
        arrivals_column: persons/year.
        departures_column: persons/year.
        population_column: mean annual or mid-year residents, persons; may be absent under its
            default name; None leaves it out.
        latitude_column: decimal degrees, + is north.
        longitude_column: decimal degrees from -180 to 180, + is east.
        place_column: names of settlements, in both tables.
        year_column: years as whole numbers.
        variable_column: names of variables, long and wide.
        value_column: numbers of a long table.
        features: further variables to read, in this order; default: none, because what moves
            people is not guessed.
        units: unit of each feature by name; "" for the rest.
        years: first and last year to take; default: all with a balance.
        min_years: least number of years.
        same_coordinates: "error" refuses two places at the same coordinates, which are often one
            place under two names; "keep" notes them.
        layout: see `read_panel`.
        name: stands for a data frame in messages.
        encoding: of `source`; default: detected, by the rules of `read_text_table`.
        delimiter: of `source`; default: detected, by the rules of `read_text_table`.
        decimal: of `source`, "." or ","; default: detected.

    Returns:
        settlements; places sorted by name: the order of rows is irrelevant.

    Raises:
        ValueError: a choice that does not exist, the balance or a part of it among the features, or
            `years` that the data do not have.
        DataError: anything wrong with the tables; it lists all problems with line or place, column,
            value and cure.
    """
    if same_coordinates not in ("error", "keep"):
        raise ValueError(f"same_coordinates: expected 'error' or 'keep', got {same_coordinates!r}")
    parts = (balance_column, arrivals_column, departures_column)
    wanted = _check_features(features, parts, population_column)
    table = open_table(source, name, encoding, delimiter)
    second = None if coordinates is None else open_table(coordinates, "coordinates", None, None)
    at = Columns(place_column, latitude_column, longitude_column, variable_column, value_column)
    where = _read_places(second or table, at, None if second else decimal, second is not None)
    is_wide_balance = layout != "long" and value_column not in table.frame.columns
    choices = Choices(
        layout,
        place_column,
        year_column,
        variable_column,
        balance_column if is_wide_balance else value_column,
        None,
        units or {},
        "mask",
        1,
        "," if second is None and where.decimal == "," else decimal,
    )
    usable, names, problems = None, set(), list[Problem]()
    try:
        names = _place_names(table, place_column)
        usable = _read_usable(table, choices, parts, population_column, wanted, years, min_years)
    except DataError as error:
        problems = list(error.problems)
    used = names if usable is None else names - set(usable.left_out)
    faults = [*where.problems, *without_coordinates(used, where)]
    twins = coincident(used, where)
    if same_coordinates == "error":
        faults += [_same_coordinates(places, where) for places in twins]
    if usable is None or problems or faults:
        _refuse(table, second, problems, faults)
    notes = [*usable.note, *(f"{_and(places)} have the same coordinates" for places in twins)]
    if second is not None and (further := len(set(where.degrees) - names)):
        notes.append(f"{further} places of the table of coordinates have no balance")
    panel = select(usable.panel, places=[place for place in usable.panel.places if place in used])
    latitude, longitude = np.array([where.degrees[place] for place in panel.places]).T.copy()
    left_out = tuple(sorted(usable.left_out.items()))
    return check_settlements(
        Settlements(panel, latitude, longitude, left_out, (*notes, *_unit_notes(panel)))
    )


def _check_features(
    features: Sequence[str] | None, parts: tuple[str, str, str], population: str | None
) -> tuple[str, ...]:
    if isinstance(features, str):
        raise ValueError(f"features: expected a list of names, got the text {features!r}")
    names = tuple(features or ())
    if len(set(names)) < len(names):
        raise ValueError(f"features: expected different names, got {list(names)}")
    for feature in names:
        if feature in (*parts, "balance"):
            why = "the balance and its parts are the target, never features"
            raise ValueError(f"features: {feature!r} cannot be one; {why}")
        if feature in ("population", population):
            raise ValueError(f"features: {feature!r} is read already, by population_column=")
    return names


def _read_places(
    table: Source, columns: Columns, decimal: cells.Decimal | None, is_list: bool
) -> Coordinates:
    if columns.place in table.frame.columns:
        return read_coordinates(table, columns, decimal, is_list)
    # Of the table of balances _place_names says so.
    problems = [*table.problems, _no_place_column(table, columns.place)] if is_list else []
    return Coordinates({}, {}, set(), problems, decimal or ".", None)


def _place_names(table: Source, column: str) -> set[str]:
    if column not in table.frame.columns:
        raise DataError([*table.problems, _no_place_column(table, column)])
    return set(cells.factorize(table.frame[column])[1]) - {""}


def _no_place_column(table: Source, column: str) -> Problem:
    others = [name for name in table.frame.columns if name not in _NO_PLACES]
    absent = cells.missing_column(column, others)
    return absent._replace(cure=f"pass place_column=; {absent.cure}")


def _read_usable(
    table: Source,
    choices: Choices,
    parts: tuple[str, str, str],
    population: str | None,
    features: tuple[str, ...],
    years: tuple[int, int] | None,
    min_years: int,
) -> _Usable:
    panel, note = _read_balances(table, choices, parts, population, features)
    panel, more = _take_years(panel, years, min_years)
    left_out = unusable_places(panel)
    if (kept := len(panel.places) - len(left_out)) < 2:
        raise DataError([too_few(kept, sorted(left_out.items()))])
    return _Usable(panel, left_out, note + more)


def _read_balances(
    table: Source,
    choices: Choices,
    parts: tuple[str, str, str],
    population: str | None,
    features: tuple[str, ...],
) -> tuple[Panel, list[str]]:
    """Panel of balance, population where known, and features; and what is to be noted."""
    block, problems = cut(table, choices)
    if block is None:
        raise DataError([*table.problems, *problems])
    present = (
        tuple(str(column) for column in block.numbers.columns)
        if block.variable is None
        else cells.factorize(block.variable)[1]
    )
    columns, problems = _target(parts, present)
    if population is not None and (population in present or population != "population"):
        columns.append(population)
    else:
        population = None
    columns += features
    problems += [
        cells.missing_column(column, present, "column" if block.variable is None else "variable")
        for column in columns
        if column not in present and column not in parts
    ]
    if problems:
        raise DataError([*table.problems, *problems])
    panel = build_panel(table, replace(choices, variables=tuple(columns)))
    balance, mask, note = _balance(panel, parts)
    problems = _wrong_numbers(panel, balance, mask, parts, population)
    if problems:
        raise DataError(problems)
    kept = [panel.names.index(column) for column in ([population] if population else [])]
    kept += [panel.names.index(column) for column in features]
    names = ("balance", *(["population"] if population else []), *features)
    return Panel(
        np.concatenate([balance[:, :, None], panel.values[:, :, kept]], axis=2),
        np.concatenate([mask[:, :, None], panel.mask[:, :, kept]], axis=2),
        panel.places,
        panel.years,
        names,
        tuple(UNITS[key] if key in UNITS else choices.units.get(key, "") for key in names),
    ), note


def _target(parts: tuple[str, str, str], present: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """Columns of which the balance is made."""
    balance, *flows = parts
    both = [column for column in flows if column in present]
    if balance in present:
        return [balance, *(both if len(both) == 2 else [])], []
    if len(both) == 2 and balance == "balance":
        return both, []
    absent = cells.missing_column(balance, present)
    cure = f"pass balance_column=, or arrivals_column= and departures_column=; {absent.cure}"
    return [], [absent._replace(cure=cure)]


def _balance(panel: Panel, parts: tuple[str, str, str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Balance and its mask, [place, year], and a note on where it comes from."""
    column, *flows = parts
    has_flows = set(flows) <= set(panel.names)
    if has_flows:
        arrivals, departures = (panel.names.index(name) for name in flows)
        mask = panel.mask[:, :, arrivals] & panel.mask[:, :, departures]
        balance = np.where(mask, panel.values[:, :, arrivals] - panel.values[:, :, departures], 0.0)
    if column not in panel.names:
        return balance, mask, [f"the balance is {flows[0]!r} minus {flows[1]!r}"]
    given = variable(panel, column)
    seen = panel.mask[:, :, panel.names.index(column)]
    if not has_flows:
        return given, seen, []
    off = np.where(seen & mask, np.abs(given - balance), 0.0)
    wrong = off > 1e-9 * np.abs(given) + 1e-9
    note = (
        f"{column!r} differs from {flows[0]!r} minus {flows[1]!r} in {wrong.sum()} cells of "
        f"the table, by up to {off.max():.10g}: {column!r} is taken"
    )
    return given, seen, [note] if wrong.any() else []


def _wrong_numbers(
    panel: Panel,
    balance: np.ndarray,
    mask: np.ndarray,
    parts: tuple[str, str, str],
    population: str | None,
) -> list[Problem]:
    """Negative flows, people that are not there, and a balance that they cannot make."""
    checks = [
        (column, panel.mask & (panel.values < 0.0), "negative", "give the persons who moved")
        for column in parts[1:]
        if column in panel.names
    ]
    if population is not None:
        cure = "give the residents in persons, or leave the cell empty"
        checks.append((population, panel.mask & (panel.values <= 0.0), "no people", cure))
    problems = [
        Problem(
            None,
            column,
            f"{panel.values[i, k, j]:.10g}",
            f"{what} in {panel.places[i]!r}, {panel.years[k]}",
            cure,
        )
        for column, wrong, what, cure in checks
        for j in [panel.names.index(column)]
        for i, k in np.argwhere(wrong[:, :, j])
    ]
    if population is None or problems:
        return problems
    j = panel.names.index(population)
    # More than the mean population of a year can at most leave it twice over.
    excess = np.where(mask & panel.mask[:, :, j], np.abs(balance) - 2.0 * panel.values[:, :, j], 0)
    worst = excess.argmax(axis=1)
    return [
        Problem(
            None,
            population,
            f"{panel.values[i, k, j]:.10g}",
            f"less than half the balance {balance[i, k]:.10g} of {panel.places[i]!r}, "
            f"{panel.years[k]}: one of the two looks like thousands",
            "give both in persons",
        )
        for i, k in enumerate(worst)
        if excess[i, k] > 0.0
    ]


def _take_years(
    panel: Panel, years: tuple[int, int] | None, min_years: int
) -> tuple[Panel, list[str]]:
    """The years asked for, or those between the first and the last with any balance; a note."""
    seen = panel.years[panel.mask[:, :, 0].any(axis=0)]
    note = []
    if years is None and seen.size:
        years = int(seen[0]), int(seen[-1])
        outside = [int(year) for year in panel.years if not years[0] <= year <= years[1]]
        if outside:
            note = [f"no place has a balance in {outside}: these years are not taken"]
    taken = select(panel, years=years)
    count = len(taken.years) if seen.size else 0
    if count < min_years:
        span = f" ({taken.years[0]}-{taken.years[-1]})" if count else ""
        what = f"{count} years with a balance{span}, at least {min_years} are needed"
        cure = "add years, or pass a smaller min_years="
        raise DataError([Problem(None, None, None, what, cure)])
    return taken, note


def _same_coordinates(twins: list[str], where: Coordinates) -> Problem:
    north, east = where.degrees[twins[0]]
    column = where.columns.latitude if where.columns else None
    what = f"{_and(twins)} have the same coordinates: distance 0"
    cure = "keep one if they are one place, correct the coordinates if not, "
    cure += "or pass same_coordinates='keep'"
    return Problem(None, column, f"{north:.10g}, {east:.10g}", what, cure)


def _and(places: list[str]) -> str:
    return " and ".join(map(repr, places))


def _unit_notes(panel: Panel) -> list[str]:
    balance = panel.values[:, :, 0]
    whole = (balance == np.round(balance)).all(axis=1)
    small = ~whole & (np.abs(balance).max(axis=1) < _LARGEST_OF_THOUSANDS)
    if not small.any() or not (small | whole).all() or small.sum() > whole.sum():
        return []
    listed = ", ".join(repr(panel.places[i]) for i in np.flatnonzero(small))
    return [f"the balances of {listed} are small fractions, all others whole: thousands?"]


def _refuse(
    table: Source, second: Source | None, problems: list[Problem], faults: list[Problem]
) -> NoReturn:
    """Raise the problems of both tables, those of the coordinates marked where it is not clear."""
    if second is None:
        raise DataError([*problems, *faults], table.file)
    if not problems:
        raise DataError(faults, second.file)
    marked = [fault._replace(what=f"{fault.what} (in {second.file})") for fault in faults]
    raise DataError([*problems, *marked], table.file)
