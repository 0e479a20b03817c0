"""Populations by age group, and their check against totals known independently."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from .errors import DataError, Problem, expectations

OPEN_AGE = -1
OLDEST_AGE = 150
_YEARS = r"(?:\s*(?:years?(?: old)?|yrs?|лет|года?))?"
_OPEN = r"\s*(?:\+|plus|(?:and|or|и)\s+(?:over|older|above|more|up|старше|более))"
_GROUP = re.compile(
    rf"(?P<first>[0-9]{{1,3}})(?:\.0*)?"
    rf"(?:(?P<open>{_YEARS}{_OPEN})|\s*(?:[-‐‑‒–—−]|to)\s*(?P<last>[0-9]{{1,3}}))?{_YEARS}",
    re.IGNORECASE,
)
_UNDER = re.compile(rf"(?:under|below|less than|<)\s*([0-9]{{1,3}}){_YEARS}", re.IGNORECASE)
# What spreadsheets make of 1-4: 04-Jan, Jan-04, 4.янв, 2025-04-01 00:00:00.
_DATE = re.compile(r"[0-9]{1,2}[-. ][^\W\d_]{3,}.*|[^\W\d_]{3,}[-. ][0-9]{1,2}|[0-9]+-[0-9]+-.*")
AGE_CURE = "write completed years as 0, 1-4 or 85+, and leave rows of totals out"


class AgeTable(NamedTuple):
    """Population by age group in one or more places and years.

    Attributes:
        values: float64 [place, sex, year, group], persons.
        places: name of each place.
        sexes: ("both",), or the sexes, such as ("female", "male"), that add up to everyone.
        years: int64 [year], ascending, gaps allowed.
        first_ages: int64 [group], first completed year of age of each group, ascending from 0.
        last_ages: int64 [group], last completed year, one less than the next group's first;
            OPEN_AGE (-1) where the last group is open, such as "85+".
    """

    values: np.ndarray
    places: tuple[str, ...]
    sexes: tuple[str, ...]
    years: np.ndarray
    first_ages: np.ndarray
    last_ages: np.ndarray


def check_ages(table: AgeTable) -> AgeTable:
    """`table` itself, once its shapes, types and values are those that `AgeTable` promises.

    Raises:
        DataError: a wrong shape or dtype, repeated names, a total beside the sexes it is made of,
            years that do not ascend, age groups with a gap or an overlap, or a value that is
            negative or not finite.
    """
    values, years, first, last = table.values, table.years, table.first_ages, table.last_ages
    shape = (len(table.places), len(table.sexes), len(years), len(first))
    found, expect = expectations()
    expect(
        values.dtype == np.float64,
        f"values are {values.dtype}, expected float64",
        "convert them with values.astype(np.float64)",
    )
    expect(
        values.shape == shape and values.size > 0,
        f"values have shape {values.shape}, expected {shape} [place, sex, year, group]",
        "order the axes as place, sex, year, age group, and let none be empty",
    )
    expect(
        years.dtype == np.int64 and (np.diff(years) > 0).all(),
        "years are not ascending int64",
        "sort them, each once",
    )
    expect(
        first.shape == last.shape and first.dtype == last.dtype == np.int64,
        "first_ages and last_ages are not int64 of one length",
        "give both for each age group",
    )
    for what, labels in (("place", table.places), ("sex", table.sexes)):
        expect(
            len(set(labels)) == len(labels), f"a {what} name is repeated", "make the names unique"
        )
    if "both" in table.sexes and len(table.sexes) > 1:
        found.append(both_and_parts(None))
    if not found:
        groups = list(zip(first.tolist(), last.tolist(), strict=True))
        broken = first_break(groups)
        expect(broken is None, f"age groups: {broken and broken[1]}", AGE_CURE)
        found += [
            Problem(
                None,
                None,
                str(values[i, j, k, g]),
                f"unusable value in {table.places[i]!r}, {years[k]}, age {age_label(*groups[g])}",
                "values are finite and not negative",
            )
            for i, j, k, g in np.argwhere(~(np.isfinite(values) & (values >= 0.0)))
        ]
    if found:
        raise DataError(found, "ages")
    return table


def check_totals(
    table: AgeTable,
    years: Sequence[int] | np.ndarray,
    totals: Sequence[float] | np.ndarray,
    tolerance: float = 0.02,
) -> np.ndarray:
    """Deviation of the sums over ages and sexes from totals known independently.

    deviation = sum / total - 1

    Args:
        table: population by age.
        years: [year], those of the totals; others of the table are not compared.
        totals: residents, mean annual where the table is, persons, > 0, [year] for a table of one
            place, else [place, year].
        tolerance: largest deviation allowed, 1.

    Returns:
        deviation, float64 [place, year], 1.

    Raises:
        ValueError: a year that the table does not have, or totals of another shape or not > 0.
        DataError: a sum deviates by more than `tolerance`; where it is about 1000 times too large
            or too small, the cure says which side to multiply.
    """
    asked, known = np.asarray(years).ravel(), np.asarray(totals, dtype=np.float64)
    if absent := sorted(set(asked.tolist()) - set(table.years.tolist())):
        raise ValueError(f"years: expected some of {table.years.tolist()}, got {absent} as well")
    shape = (len(table.places), len(asked))
    if known.shape != shape and not (shape[0] == 1 and known.shape == shape[1:]):
        raise ValueError(f"totals: expected shape {shape} [place, year], got {known.shape}")
    known = known.reshape(shape)
    if not (np.isfinite(known) & (known > 0.0)).all():
        raise ValueError(f"totals: expected finite persons > 0, got {known.tolist()}")
    sums = table.values.sum(axis=(1, 3))[:, np.searchsorted(table.years, asked)]
    ratio = sums / known
    problems = []
    for i, k in np.argwhere(~(np.abs(ratio - 1.0) <= tolerance)):
        what = (
            f"the ages of {table.places[i]!r} add up to {sums[i, k]:.12g} in {asked[k]}, "
            f"the total is {known[i, k]:.12g}"
        )
        cure = f"check both sources, or pass tolerance= above {abs(ratio[i, k] - 1.0):.2g}"
        if 500.0 < ratio[i, k] < 2000.0:
            cure = "persons and thousands are mixed up: multiply the totals by 1000"
        elif 0.0005 < ratio[i, k] < 0.002:
            cure = (
                "persons and thousands are mixed up: multiply the ages by 1000 "
                "(read_population(unit='thousands'))"
            )
        problems.append(Problem(None, None, str(asked[k]), what, cure))
    if problems:
        raise DataError(problems, "totals")
    return ratio - 1.0


def ages_to_frame(table: AgeTable) -> pd.DataFrame:
    """Data frame with a row per place, sex, year and age; `read_population` reads it back."""
    labels = age_labels(table)
    axes = [table.places, table.sexes, table.years.tolist(), labels]
    index = pd.MultiIndex.from_product(axes, names=["place", "sex", "year", "age"])
    return pd.DataFrame({"population": table.values.ravel()}, index=index).reset_index()


def age_labels(table: AgeTable) -> tuple[str, ...]:
    """Age groups in words: "0", "1-4", "85+"."""
    pairs = zip(table.first_ages.tolist(), table.last_ages.tolist(), strict=True)
    return tuple(age_label(first, last) for first, last in pairs)


def age_label(first: int, last: int) -> str:
    if last == OPEN_AGE:
        return f"{first}+"
    return f"{first}" if first == last else f"{first}-{last}"


def parse_age(text: str) -> tuple[int, int] | None:
    """First and last completed year of a written age group; None where it is not one."""
    if under := _UNDER.fullmatch(text):
        first, last = 0, int(under[1]) - 1
    elif match := _GROUP.fullmatch(text):
        first = int(match["first"])
        if match["open"]:
            return (first, OPEN_AGE) if first <= OLDEST_AGE else None
        last = int(match["last"] or first)
    else:
        return None
    return (first, last) if first <= last <= OLDEST_AGE else None


def age_cure(text: str) -> str:
    """What to do about a cell that is not an age group."""
    if _DATE.fullmatch(text):
        return "a spreadsheet took an age group such as 1-4 for a date: format the cells as text"
    return AGE_CURE


def first_break(groups: Sequence[tuple[int, int]]) -> tuple[int, str] | None:
    """Where sorted age groups do not follow each other from age 0, and why; None if they do."""
    expected = 0
    for g, (first, last) in enumerate(groups):
        if expected == OPEN_AGE:
            return g - 1, f"the open group {age_label(*groups[g - 1])} is not the last"
        if first < expected:
            return g, f"{age_label(first, last)} overlaps {age_label(*groups[g - 1])}"
        if first > expected:
            return g, f"no {age_label(expected, first - 1)} before {age_label(first, last)}"
        if last != OPEN_AGE and last < first:
            return g, f"first age {first} after last age {last}"
        expected = OPEN_AGE if last == OPEN_AGE else last + 1
    return None


def both_and_parts(column: str | None) -> Problem:
    """The problem of a total that stands beside the sexes it is made of."""
    what, cure = "'both' beside other sexes would count everyone twice", "leave one of them out"
    return Problem(None, column, "both", what, cure)
