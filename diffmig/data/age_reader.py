"""Populations by age group from CSV, parquet and data frames, long or with ages as columns."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from . import cells
from .ages import AgeTable, age_cure, age_label, both_and_parts, check_ages, first_break, parse_age
from .assembly import numbers_of, unnamed
from .errors import DataError, Problem, shorten
from .layouts import Block, Choices, Source
from .series_reader import no_rows, open_table

_MOST_PEOPLE = 1e11  # in one age group
_LOOKS_LIKE_THOUSANDS = 2000.0
_REPORTS = 200
_CODES = ("place", "sex", "year", "group")
_NAMES = {
    "place": ("place", "region", "country", "location", "area", "territory"),
    "year": ("year", "time", "period"),
    "age": ("age", "ages", "agegroup", "agegrp"),
    "sex": ("sex", "gender"),
    "value": ("population", "pop", "persons", "people", "value", "number", "count", "total"),
}
_SEXES = {
    "female": ("f", "female", "females", "women", "woman"),
    "male": ("m", "male", "males", "men", "man"),
    "both": ("b", "t", "both", "both sexes", "total", "all"),
}


class _Keys(NamedTuple):
    """Where each number belongs; codes are int64, [row, 1] or [1, column]."""

    place: np.ndarray
    sex: np.ndarray
    year: np.ndarray
    group: np.ndarray
    places: tuple[str, ...]
    sexes: tuple[str, ...]
    years: np.ndarray
    groups: list[tuple[int, int]]  # first and last age, sorted


def read_population(
    source: str | Path | pd.DataFrame,
    *,
    place_column: str | None = None,
    year_column: str | None = None,
    age_column: str | None = None,
    sex_column: str | None = None,
    value_column: str | None = None,
    unit: Literal["persons", "thousands"] = "persons",
    name: str = "frame",
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: cells.Decimal | None = None,
) -> AgeTable:
    """Population by age group of a CSV or parquet file or of a data frame.

    Long tables have a row per year and age group, optionally per place and sex; wide ones, known by
        the lack of an age column, a row per year and a column per age group. Groups are written as
        0, 1-4, 85+, 85 and over. Every place, sex and year must have the same groups, starting at
        age 0 and leaving none out. Other columns are not looked at, except that in wide tables
        those with a digit in their name must be ages.

    Columns are found by their names, in any case: place, region, country, location, area,
        territory; year, time, period; age, age group; sex, gender; population, persons, people,
        value, number, count, total.

    Args:
        source: CSV (plain, .gz, .bz2, .xz), parquet, or a data frame, whose named index levels
            count as columns.
        place_column: default: found; one place, named after the source, where there is none.
        year_column: default: found; whole years, gaps allowed.
        age_column: default: found; age groups of a long table.
        sex_column: default: found; "both" where there is none. F, women, Male and the like become
            "female" and "male".
        value_column: default: found; numbers of a long table.
        unit: "thousands" are multiplied by 1000. With "persons", a place and year with fewer than
            2000 people in all and a fraction among them is refused: it looks like thousands.
        name: stands for a data frame in messages and for its only place.
        encoding: default: detected, by the rules of `read_text_table`.
        delimiter: default: detected, by the rules of `read_text_table`.
        decimal: "." or ","; default: the mark that most numbers have.

    Returns:
        table, persons; places and sexes sorted by name, years and ages ascending: the order of rows
        and columns is irrelevant.

    Raises:
        ValueError: a choice that does not exist.
        DataError: anything wrong with the source; it lists all problems with line, column, value
            and cure.
    """
    if unit not in ("persons", "thousands"):
        raise ValueError(f"unit: expected 'persons' or 'thousands', got {unit!r}")
    asked = (place_column, year_column, age_column, sex_column, value_column)
    table = open_table(source, name, encoding, delimiter)
    found, problems = _columns(table, dict(zip(_NAMES, asked, strict=True)))
    if len(table.frame) == 0 and not (problems or table.problems):
        problems = [no_rows()]
    if problems or len(table.frame) == 0:
        raise DataError([*table.problems, *problems], table.file)
    numbers = [found["value"]] if "age" in found else _age_columns(table, found)
    factor = 1000.0 if unit == "thousands" else 1.0
    values, problems = read_numbers(table.frame[numbers], table.lines, decimal)
    problems += _implausible(values * factor, table, numbers)
    keys, key_problems = _keys(table, found, numbers)
    problems += key_problems or _misplaced(keys, table, found, numbers)
    if problems or table.problems:
        raise DataError([*table.problems, *problems], table.file)
    filled = np.zeros((len(keys.places), len(keys.sexes), len(keys.years), len(keys.groups)))
    filled[keys.place, keys.sex, keys.year, keys.group] = values
    if unit == "persons" and (problems := _thousands(filled, keys)):
        raise DataError(problems, table.file)
    first, last = np.array(keys.groups, np.int64).T.copy()
    return check_ages(AgeTable(factor * filled, keys.places, keys.sexes, keys.years, first, last))


def read_numbers(
    frame: pd.DataFrame, lines: np.ndarray, decimal: cells.Decimal | None, optional: bool = False
) -> tuple[np.ndarray, list[Problem]]:
    """Numbers of every column, float64 [row, column], NaN where there is none, and what is wrong.

    Args:
        frame: typed or text columns.
        lines: int64 [row], line of each row.
        decimal: "." or ","; None detects it.
        optional: a cell may be empty; negative numbers and text are wrong in any case.
    """
    names = tuple(frame.columns)
    choices = Choices("rows", "", "", "", "", names, {}, "mask", 1, decimal)
    numbers, problems = numbers_of(Block(None, None, None, frame, lines), choices)
    wrong = [(numbers.values < 0.0, "negative", "correct the sign")]
    if not optional:
        wrong.append((numbers.missing, "no value", "fill it in, with 0 where there is nobody"))
    problems += [
        problem for where, what, cure in wrong for problem in _at(where, frame, lines, what, cure)
    ]
    return np.where(numbers.usable, numbers.values + 0.0, np.nan), problems  # no -0.0


def plain(name: str) -> str:
    """A column name without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _at(
    where: np.ndarray, frame: pd.DataFrame, lines: np.ndarray, what: str, cure: str
) -> list[Problem]:
    """A problem for each cell [row, column] of `where`."""
    return [
        Problem(int(line), str(column), text, what, cure)
        for j, column in enumerate(frame.columns)
        if where[:, j].any()
        for line, text in zip(
            lines[where[:, j]], cells.as_text(frame[column][where[:, j]]), strict=True
        )
    ]


def _columns(table: Source, asked: dict[str, str | None]) -> tuple[dict[str, str], list[Problem]]:
    """Column of each role that is there, and what is missing or can be meant in two ways."""
    columns = list(table.frame.columns)
    found: dict[str, str] = {}
    problems = []
    for role, wanted in asked.items():
        if wanted is not None:
            present = [wanted] if wanted in columns else []
            problems += [] if present else [cells.missing_column(wanted, columns)]
        else:
            present = [column for column in columns if plain(column) in _NAMES[role]]
            if len(present) > 1 and (role != "value" or "age" in found):
                what = f"this column and {present[0]!r} can both be the {role}"
                problems.append(Problem(None, present[1], None, what, f"pass {role}_column="))
        if present:
            found[role] = present[0]
    is_wide = "age" not in found and asked["age"] is asked["value"] is None
    is_wide = is_wide and len(_age_columns(table, found)) > 1
    for role in ("year",) if is_wide else ("year", "age", "value"):
        if role not in found and asked[role] is None:
            absent = cells.missing_column(role, columns)
            cure = f"pass {role}_column=; {absent.cure}"
            if role == "year" and any(map(cells.is_year, columns)):
                cure = "write a row per year: columns cannot be years here"
            problems.append(absent._replace(cure=cure))
    if is_wide:
        problems += [
            Problem(None, column, None, "the name of the column is no age group", age_cure(column))
            for column in columns
            if re.search("[0-9]", column) and not parse_age(column)
            if column not in found.values()
        ]
    return found, problems


def _age_columns(table: Source, found: dict[str, str]) -> list[str]:
    columns = table.frame.columns
    return [name for name in columns if name not in found.values() and parse_age(name)]


def _implausible(values: np.ndarray, table: Source, numbers: list[str]) -> list[Problem]:
    what, cure = "more people than there are", "check the number, and the unit="
    too_many = np.nan_to_num(values) > _MOST_PEOPLE
    return _at(too_many, table.frame[numbers], table.lines, what, cure)


def _keys(table: Source, found: dict[str, str], numbers: list[str]) -> tuple[_Keys, list[Problem]]:
    frame, lines = table.frame, table.lines
    places: tuple[str, ...] = (table.only_place,)
    sexes: tuple[str, ...] = ("both",)
    place = sex = np.zeros(len(frame), np.int64)
    problems = []
    if "place" in found:
        place, places = cells.factorize(frame[found["place"]])
        problems += unnamed(place, places, found["place"], lines)
    if "sex" in found:
        sex, written = cells.factorize(frame[found["sex"]])
        problems += unnamed(sex, written, found["sex"], lines)
        usual = {word: name for name, words in _SEXES.items() for word in words}
        named = [usual.get(label.lower(), label) for label in written]
        sexes = tuple(sorted(set(named)))
        sex = np.array([sexes.index(label) for label in named])[sex]
        if "both" in sexes and len(sexes) > 1:
            problems.append(both_and_parts(found["sex"]))
    years, bad = cells.parse_years(frame[found["year"]])
    problems += [
        cells.year_problem(int(line), found["year"], text)
        for line, text in zip(lines[bad], cells.as_text(frame[found["year"]][bad]), strict=True)
    ]
    present, year = np.unique(years, return_inverse=True)
    if "age" in found:
        label, labels = cells.factorize(frame[found["age"]])
        label = label[:, None]
    else:
        label, labels = np.arange(len(numbers))[None, :], tuple(numbers)
    read = [parse_age(text) for text in labels]
    for row in np.flatnonzero(np.array([group is None for group in read])[label[:, 0]]):
        text = labels[label[row, 0]]
        what = "not an age group" if text else "no age"
        problems.append(Problem(int(lines[row]), found["age"], text, what, age_cure(text)))
    groups = sorted({group for group in read if group is not None})
    position = {group: g for g, group in enumerate(groups)}
    group = np.array([position[g] if g else 0 for g in read])[label]
    codes = (place[:, None], sex[:, None], year[:, None], group)
    return _Keys(*codes, places, sexes, present, groups), problems


def _misplaced(
    keys: _Keys, table: Source, found: dict[str, str], numbers: list[str]
) -> list[Problem]:
    """Numbers that stand twice or not at all, and groups that do not follow each other."""
    codes = np.broadcast_arrays(keys.place, keys.sex, keys.year, keys.group)
    rows = pd.DataFrame(dict(zip(_CODES, map(np.ravel, codes), strict=True)))
    lines = np.repeat(table.lines, codes[0].shape[1])
    problems = _twins(rows, lines, keys, table, found)
    if problems or table.problems:
        return problems
    column = found.get("age")
    if (broken := first_break(keys.groups)) is not None:
        if column is None:
            label = age_label(*keys.groups[broken[0]])
            return [Problem(None, None, label, broken[1], age_cure(label))]
        return _breaks(rows, lines, keys, column)
    size = len(keys.places) * len(keys.sexes) * len(keys.years) * len(keys.groups)
    if len(rows) == size:
        return []
    return list(itertools.islice(_absent(rows, keys, column), _REPORTS))


def _twins(
    rows: pd.DataFrame, lines: np.ndarray, keys: _Keys, table: Source, found: dict[str, str]
) -> list[Problem]:
    later = np.flatnonzero(rows.duplicated())
    if later.size == 0:
        return []
    first = pd.Series(lines).groupby([rows[code] for code in _CODES]).transform("first").to_numpy()
    roles = ", ".join(role for role in ("place", "sex", "year", "age") if role in found)
    cure = "keep one of them"
    listed = ", ".join(shorten(name) for name in table.frame.columns[:20])
    if absent := [f"{role}_column=" for role in ("place", "sex") if role not in found]:
        cure += f", or pass {' or '.join(absent)} if a column of {listed} tells them apart"
    problems: dict[tuple[int | None, str], Problem] = {}
    for i in later[:_REPORTS]:
        cell = rows.iloc[i]
        line: int | None = int(lines[i])
        value, label = _where(cell, keys), age_label(*keys.groups[cell["group"]])
        what = f"a second row of the same {roles}, the first is on line {first[i]}"
        if "age" in found:
            value = f"{value}, {label}"
        elif line == first[i]:
            line, what, value = None, "two columns of one age group", label
        problems.setdefault((line, value), Problem(line, None, value, what, cure))
    if later.size > _REPORTS:
        what = f"{later.size} numbers have a place, year and age that stood before"
        problems[None, ""] = Problem(None, None, None, what, cure)
    return list(problems.values())


def _where(cell: "pd.Series[int]", keys: _Keys) -> str:
    parts = [keys.places[cell["place"]], str(keys.years[cell["year"]])]
    return ", ".join(parts + ([keys.sexes[cell["sex"]]] if len(keys.sexes) > 1 else []))


def _breaks(rows: pd.DataFrame, lines: np.ndarray, keys: _Keys, column: str) -> list[Problem]:
    """Why the groups of all rows do not follow each other: one problem for each kind of fault."""
    tables: dict[tuple[int, ...], list[int]] = {}
    ordered = rows.assign(at=np.arange(len(rows))).sort_values([*_CODES])
    for place, sex, year, _, at in ordered.itertuples(index=False):
        tables.setdefault((place, sex, year), []).append(at)
    group = rows["group"].to_numpy()
    sets = {cell: tuple(group[at]) for cell, at in tables.items()}
    usual = Counter(sets.values()).most_common(1)[0][0]
    problems: dict[tuple[str, str], Problem] = {}
    for cell, at in tables.items():
        groups = [keys.groups[g] for g in sets[cell]]
        broken = first_break(groups)
        if broken is None and sets[cell] != usual:
            odd = next((j for j, g in enumerate(sets[cell]) if g not in usual), 0)
            broken = odd, "age groups other than those of most places and years"
        if broken is not None:
            label, line = age_label(*groups[broken[0]]), int(lines[at[broken[0]]])
            where = f"{keys.places[cell[0]]!r}, {keys.years[cell[2]]}"
            what = f"{broken[1]} ({where})"
            cure = "give every place, sex and year the same groups, from age 0, none left out"
            problems.setdefault((label, broken[1]), Problem(line, column, label, what, cure))
    return list(problems.values())


def _absent(rows: pd.DataFrame, keys: _Keys, column: str | None) -> Iterator[Problem]:
    """Rows that a full table would have."""
    present: set[tuple[int, ...]] = set(rows.itertuples(index=False, name=None))
    cure = "add the rows, or leave the place or year out"
    cells_of = [range(len(part)) for part in (keys.places, keys.sexes, keys.years)]
    for cell in itertools.product(*cells_of):
        absent = [g for g in range(len(keys.groups)) if (*cell, g) not in present]
        where = f"{keys.places[cell[0]]!r}, {keys.years[cell[2]]}"
        where += f", {keys.sexes[cell[1]]}" if len(keys.sexes) > 1 else ""
        if len(absent) == len(keys.groups):
            yield Problem(None, None, keys.places[cell[0]], f"no row for {where}", cure)
        elif absent:
            listed = ", ".join(age_label(*keys.groups[g]) for g in absent[:10])
            listed += f" and {len(absent) - 10} more" if len(absent) > 10 else ""
            yield Problem(None, column, None, f"no row for {where}, age {listed}", cure)


def _thousands(values: np.ndarray, keys: _Keys) -> list[Problem]:
    sums = values.sum(axis=(1, 3))
    fractions = (values != np.floor(values)).any(axis=(1, 3))
    cure = "pass unit='thousands', or round the numbers if they are persons"
    return [
        Problem(
            None,
            None,
            f"{sums[i, k]:.10g}",
            f"a population of this size, with fractions ({keys.places[i]!r}, {keys.years[k]}): "
            "it looks like thousands",
            cure,
        )
        for i, k in np.argwhere(fractions & (sums < _LOOKS_LIKE_THOUSANDS))
    ]
