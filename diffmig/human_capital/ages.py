"""Population by single year of age and calendar year from tables of age groups: a reconstruction.

Plain NumPy, done once before a model runs. What is given is kept: the groups of every table and the
totals of the years after the last one. What is made up between them is named in each docstring.
Ages are completed years, 0 to `max_age`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from diffmig.data.ages import OPEN_AGE, AgeTable, first_break

Rule = Literal["cohort", "age"]

_PARENTS = slice(20, 40)  # ages to which those of age 0 are related after the last table
_NUM_BISECTIONS = 60


def single_ages(
    values: ArrayLike, first_ages: ArrayLike, last_ages: ArrayLike, max_age: int = 100
) -> np.ndarray:
    """Persons by single age whose sums over the groups are the given ones.

    N(a) = Y(a + 1) - Y(a), Y(x) the number younger than x: a monotone cubic through the edges of
    the groups. An open group is first cut at `max_age` by N(a + 1) = q N(a), with the q <= 1 for
    which one geometric row gives the last closed group as well.

    Args:
        values: persons, [..., group], >= 0.
        first_ages, last_ages: completed years, [group], without gaps from 0 on; the last may be
            `OPEN_AGE`.
        max_age: last age of the result; everyone of the open group is put at or below it.

    Returns:
        persons, [..., age], ages 0 ... max_age.

    Raises:
        ValueError: groups that do not join, an open group alone or one that starts above
            `max_age`, closed groups that end elsewhere, negative or non-finite values.

    Notes:
        Inside groups the ages are smooth, whatever the births were.

    Source: Fritsch, Carlson, 1980, Monotone piecewise cubic interpolation, SIAM Journal on
    Numerical Analysis 17(2); the cut of the open group is diffmig's.
    """
    values = np.asarray(values, float)
    first, last = np.asarray(first_ages, int), np.asarray(last_ages, int)
    _check_groups(values, first, last, max_age)
    edges = np.append(first, max_age + 1)
    if last[-1] == OPEN_AGE:
        values = np.concatenate([values[..., :-1], _open_ages(values, first, max_age)], axis=-1)
        edges = np.append(first[:-1], np.arange(first[-1], max_age + 2))
    younger = np.concatenate([np.zeros_like(values[..., :1]), values.cumsum(axis=-1)], axis=-1)
    whole = PchipInterpolator(edges.astype(float), younger, axis=-1)(np.arange(max_age + 2.0))
    return np.maximum(np.diff(whole, axis=-1), 0.0)


def _open_ages(values: np.ndarray, first: np.ndarray, max_age: int) -> np.ndarray:
    """The open group by single age up to `max_age`, [..., age]; q by bisection."""
    width, ages = np.arange(first[-1] - first[-2]), np.arange(max_age + 1 - first[-1])
    closed, total = values[..., -2, None], values[..., -1, None]

    def powers(ratio: np.ndarray, exponents: np.ndarray) -> np.ndarray:
        return (ratio**exponents).sum(axis=-1, keepdims=True)

    low, high = np.full_like(total, 1e-3), np.ones_like(total)
    for _ in range(_NUM_BISECTIONS):
        ratio = 0.5 * (low + high)
        older = closed * ratio ** len(width) * powers(ratio, ages)
        above = older > total * powers(ratio, width)
        low, high = np.where(above, low, ratio), np.where(above, ratio, high)
    share = high**ages
    return total * share / share.sum(axis=-1, keepdims=True)


def interpolate_ages(
    tables: ArrayLike, table_years: ArrayLike, years: ArrayLike, rule: Rule = "cohort"
) -> np.ndarray:
    """Persons by single age in all `years`, log-linear in time between tables.

    "age":     N(t, a) = N(t1, a)^(1 - w) N(t2, a)^w,                w = (t - t1) / (t2 - t1)
    "cohort":  N(t, a) = N(t1, a - s)^(1 - w) N(t2, a + n - s)^w,    s = t - t1, n = t2 - t1

    The cohort rule lets a wave of births grow old instead of sinking at one age and rising at
    another. Those born between the tables start from age 0 of their year by the age rule, so that
    w = a / (a + n - s); those who pass the last age before the next table follow the age rule too.
    Where one of the two numbers is 0 the mean is linear.

    Args:
        tables: persons by single age, [table, age], >= 0.
        table_years: integers, [table], ascending.
        years: integers, [year], inside the tables.
        rule: "cohort" or "age".

    Returns:
        persons, [year, age]; those of the tables in their years.

    Raises:
        ValueError: shapes that do not fit, years that do not ascend or lie outside, another rule.
    """
    tables, table_years, years = np.asarray(tables, float), _whole(table_years), _whole(years)
    if rule not in get_args(Rule):
        raise ValueError(f"rule: expected one of {get_args(Rule)}, got {rule!r}")
    ascending = (np.diff(table_years) > 0).all()
    if tables.ndim != 2 or table_years.shape != tables.shape[:1] or not ascending:
        raise ValueError(
            "tables, table_years: expected [table, age] and ascending [table], got shape "
            f"{tables.shape} and {table_years}"
        )
    outside = years[(years < table_years[0]) | (years > table_years[-1])]
    if outside.size:
        raise ValueError(
            f"years: expected {table_years[0]}-{table_years[-1]}, those of the tables, got "
            f"{outside.tolist()}; later years need extend_ages"
        )
    return np.stack([_interpolate_year(tables, table_years, year, rule) for year in years])


def _interpolate_year(
    tables: np.ndarray, table_years: np.ndarray, year: int, rule: Rule
) -> np.ndarray:
    row = int(np.searchsorted(table_years, year))
    if table_years[row] == year:
        return tables[row].copy()
    first, second = tables[row - 1], tables[row]
    since, gap = year - table_years[row - 1], table_years[row] - table_years[row - 1]
    result = _log_mean(first, second, since / gap)
    if rule == "age":
        return result
    ages = np.arange(tables.shape[1])
    left = gap - since  # years to the next table
    alive = ages[(ages >= since) & (ages + left < len(ages))]
    result[alive] = _log_mean(first[alive - since], second[alive + left], since / gap)
    born = ages[(ages < since) & (ages + left < len(ages))]
    start = _log_mean(first[0], second[0], (since - born) / gap)
    result[born] = _log_mean(start, second[born + left], born / (born + left))
    return result


def _log_mean(first: np.ndarray, second: np.ndarray, weight: ArrayLike) -> np.ndarray:
    """first^(1 - w) second^w; linear where one of them is 0."""
    weight = np.asarray(weight)
    positive = (first > 0) & (second > 0)
    low, high = np.where(positive, first, 1.0), np.where(positive, second, 1.0)
    straight = (1.0 - weight) * first + weight * second
    return np.where(positive, low ** (1.0 - weight) * high**weight, straight)


def cohort_change_ratios(first: ArrayLike, second: ArrayLike, num_years: int) -> np.ndarray:
    """Annual ratios of a cohort's size, deaths and migration together.

    r(a) = geometric mean of (N2(b + n) / N1(b))^(1/n) over the cohorts b that passed a - 1 -> a
    r(0) = N2(0) / sum of N2 over ages 20-39

    Args:
        first, second: persons by single age in two tables, [age].
        num_years: n, years between them, >= 1.

    Returns:
        ratios, [age]: entry a >= 1 of those who pass from age a - 1 to a; entry 0 those of age 0
        per person of age 20-39. Cohorts with a zero do not count; where none is left r = 1.

    Raises:
        ValueError: shapes that do not fit, or n outside 1 ... number of ages - 1.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    num_ages = first.size
    if first.ndim != 1 or second.shape != first.shape or not 1 <= num_years < num_ages:
        raise ValueError(
            "first, second, num_years: expected two equal [age] and years between 1 and the last "
            f"age, got shapes {first.shape}, {second.shape} and {num_years}"
        )
    start, end = first[:-num_years], second[num_years:]
    usable = (start > 0) & (end > 0)
    change = np.log(np.where(usable, end, 1.0) / np.where(usable, start, 1.0)) / num_years
    ratios = np.ones(num_ages)
    for age in range(1, num_ages):
        passed = slice(max(age - num_years, 0), min(age, num_ages - num_years))
        if usable[passed].any():
            ratios[age] = np.exp(change[passed][usable[passed]].mean())
    parents = second[_PARENTS].sum()
    ratios[0] = second[0] / parents if parents > 0 else 0.0
    return ratios


def extend_ages(
    population: ArrayLike,
    years: ArrayLike,
    last_year: int,
    ratios: ArrayLike,
    totals: Mapping[int, float],
) -> np.ndarray:
    """Population after the last table: cohort-change ratios, scaled to known totals.

    N(t + 1, a) = c r(a) N(t, a - 1),  N(t + 1, 0) = c r(0) sum of N(t + 1) over ages 20-39,
    c such that the sum over ages is the total of the year

    Args:
        population: persons by single age, [year, age].
        years: consecutive integers, [year].
        last_year: last year of the result.
        ratios: from `cohort_change_ratios`, [age].
        totals: mean annual population by year, persons; linear between known years and from the
            last row of `population`, the last one held.

    Returns:
        persons, [year, age], up to `last_year`; rows of `population` as they are.

    Raises:
        ValueError: shapes that do not fit, years not consecutive, `last_year` before the last one,
            or totals that are empty or not > 0.

    Notes:
        Those who pass the last age leave; the scaling spreads them over all ages.
    """
    population, years, ratios = np.asarray(population, float), _whole(years), np.asarray(ratios)
    if population.shape != (years.size, ratios.size) or (np.diff(years) != 1).any():
        raise ValueError(
            "population, years, ratios: expected [year, age], consecutive [year] and [age], got "
            f"{population.shape}, {years} and {ratios.shape}"
        )
    if last_year < years[-1]:
        raise ValueError(f"last_year: expected {years[-1]} or later, got {last_year}")
    if not totals or not all(total > 0 for total in totals.values()):
        raise ValueError(f"totals: expected persons > 0 by year, got {dict(totals)}")
    known = {int(years[-1]): float(population[-1].sum())}
    known |= {year: float(total) for year, total in totals.items() if year > years[-1]}
    at = sorted(known)
    rows = [*population]
    for year in range(int(years[-1]) + 1, last_year + 1):
        row = np.append(0.0, ratios[1:] * rows[-1][:-1])
        row[0] = ratios[0] * row[_PARENTS].sum()
        rows.append(row * (np.interp(year, at, [known[y] for y in at]) / row.sum()))
    return np.stack(rows)


def mean_annual(january_totals: Mapping[int, float]) -> dict[int, float]:
    """Mean annual population: half the sum of two successive 1 January totals.

    N(t) = (N(1 January t) + N(1 January t + 1)) / 2

    Args:
        january_totals: persons on 1 January by year; gaps allowed.

    Returns:
        persons by year, for the years that have both.
    """
    return {
        year: 0.5 * (total + january_totals[year + 1])
        for year, total in sorted(january_totals.items())
        if year + 1 in january_totals
    }


def population_by_age(
    table: AgeTable,
    years: Sequence[int] | np.ndarray,
    january_totals: Mapping[int, float] | None = None,
    rule: Rule = "cohort",
    max_age: int = 100,
) -> np.ndarray:
    """Mean annual population of one place by single age, sexes together.

    Groups are cut by `single_ages`, years between tables filled by `interpolate_ages`, years after
    the last table by `extend_ages` with the ratios of the last two tables.

    Args:
        table: age groups of one place, mean annual, two years or more where others are asked for.
        years: [year], not before the first table.
        january_totals: persons on 1 January by year; needed for years after the last table.
        rule: of `interpolate_ages`.
        max_age: last age.

    Returns:
        persons, float64 [year, age 0 ... max_age].

    Raises:
        ValueError: several places, years before the first table, or years after the last one
            without two tables and totals.

    Notes:
        A reconstruction: what is known are the groups of the tables and the totals.
    """
    years = _whole(years)
    if len(table.places) != 1:
        raise ValueError(
            f"table: expected one place, got {len(table.places)}; take each with "
            "table._replace(values=table.values[i : i + 1], places=table.places[i : i + 1])"
        )
    groups = table.values[0].sum(axis=0)
    tables = single_ages(groups, table.first_ages, table.last_ages, max_age)
    last_table = int(table.years[-1])
    if not years.size or years.min() < table.years[0]:
        raise ValueError(f"years: expected {table.years[0]} or later, got {years.tolist()}")
    if years.max() <= last_table:
        return interpolate_ages(tables, table.years, years, rule)
    totals = mean_annual(january_totals or {})
    if len(table.years) < 2 or not totals:
        raise ValueError(
            f"years: {years.max()} is after the last table, {last_table}, which takes two tables "
            f"and january_totals of two successive years; got {len(table.years)} tables and "
            f"{len(totals)} mean annual totals"
        )
    gap = last_table - int(table.years[-2])
    ratios = cohort_change_ratios(tables[-2], tables[-1], gap)
    whole = extend_ages(tables[-1:], [last_table], int(years.max()), ratios, totals)
    inside = years <= last_table
    result = np.empty((years.size, tables.shape[1]))
    if inside.any():
        result[inside] = interpolate_ages(tables, table.years, years[inside], rule)
    result[~inside] = whole[years[~inside] - last_table]
    return result


def _whole(years: ArrayLike) -> np.ndarray:
    given = np.asarray(years)
    if given.ndim != 1 or not (given == np.floor(given)).all():
        raise ValueError(f"years: expected whole years in one row, got {years!r}")
    return given.astype(int)


def _check_groups(values: np.ndarray, first: np.ndarray, last: np.ndarray, max_age: int) -> None:
    if first.ndim != 1 or first.shape != last.shape or values.shape[-1:] != first.shape:
        raise ValueError(
            "values, first_ages, last_ages: expected [..., group], [group], [group], got shapes "
            f"{values.shape}, {first.shape}, {last.shape}"
        )
    broken = first_break(list(zip(first.tolist(), last.tolist(), strict=True)))
    if broken is not None:
        raise ValueError(f"first_ages, last_ages: {broken[1]}")
    if last[-1] == OPEN_AGE and (len(first) == 1 or first[-1] > max_age):
        raise ValueError(
            f"an open group needs a closed one before it and max_age >= its first age, got groups "
            f"from {first.tolist()} and max_age {max_age}"
        )
    if last[-1] not in (OPEN_AGE, max_age):
        raise ValueError(f"max_age: expected {last[-1]}, the end of the groups, got {max_age}")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError("values: expected finite persons >= 0")
