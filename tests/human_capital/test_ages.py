"""Single ages and years from tables of age groups: what is given is kept, known cases come back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffmig import data
from diffmig.data import OPEN_AGE, AgeTable
from diffmig.human_capital import (
    cohort_change_ratios,
    extend_ages,
    interpolate_ages,
    mean_annual,
    population_by_age,
    single_ages,
)

FIRST = np.array([0, 1, *range(5, 90, 5)])
LAST = np.append(FIRST[1:] - 1, OPEN_AGE)


def group_sums(single, first):
    return np.add.reduceat(single, first, axis=-1)


@pytest.fixture(scope="module")
def udmurt():
    return data.load_population("udmurt")


@pytest.fixture(scope="module")
def totals():
    frame = data.load_population_totals()
    return dict(zip(frame["year"].tolist(), frame["total"].tolist(), strict=True))


# --- groups to single ages --------------------------------------------------------------------


def test_group_totals_of_the_tables_are_kept(udmurt):
    values = udmurt.values[0, 0]
    single = single_ages(values, udmurt.first_ages, udmurt.last_ages)
    assert single.shape == (4, 101)
    assert single.min() > 0
    np.testing.assert_allclose(group_sums(single, udmurt.first_ages), values, rtol=1e-13)
    np.testing.assert_allclose(single[:, 0], values[:, 0], rtol=1e-13)


@settings(max_examples=30, deadline=None)
@given(arrays(np.int64, 19, elements=st.integers(0, 10**6)))
def test_any_groups_give_non_negative_ages_with_their_sums(values):
    single = single_ages(values, FIRST, LAST)
    assert single.min() >= 0
    np.testing.assert_allclose(group_sums(single, FIRST), values, atol=1e-8)


def test_straight_and_geometric_populations_come_back():
    first, last = np.array([0, 5, 10, 20]), np.array([4, 9, 19, 29])
    np.testing.assert_allclose(
        single_ages([50.0, 50, 100, 100], first, last, 29), np.full(30, 10.0), rtol=1e-14
    )
    old = np.maximum(np.arange(101) - 79, 0)
    true = 1000 * 0.83**old  # geometric from 80 on, through the open group
    single = single_ages(group_sums(true, FIRST), FIRST, LAST)
    np.testing.assert_allclose(single[85:], true[85:], rtol=1e-9)
    np.testing.assert_allclose(single[:75], 1000.0, rtol=1e-12)


def test_an_open_group_larger_than_the_one_before_is_even():
    single = single_ages([10.0, 10.0, 99.0], [0, 5, 10], [4, 9, OPEN_AGE], max_age=20)
    np.testing.assert_allclose(single[10:], 9.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("first", "last", "max_age", "match"),
    [
        ([0, 6], [4, OPEN_AGE], 100, "before 6"),
        ([0, 5], [4, OPEN_AGE], 4, "max_age >="),
        ([0, 5], [4, 9], 100, "expected 9"),
        ([0, 5, 10], [4, 9, OPEN_AGE], 100, "expected .*group"),
    ],
)
def test_groups_that_do_not_fit_are_refused(first, last, max_age, match):
    with pytest.raises(ValueError, match=match):
        single_ages([1.0, 2.0], first, last, max_age)


def test_negative_persons_are_refused():
    with pytest.raises(ValueError, match=">= 0"):
        single_ages([1.0, -2.0], [0, 5], [4, OPEN_AGE])


# --- years between tables ---------------------------------------------------------------------


def cohort_population(years, num_ages=30):
    """Births grow 3 % a year and everyone dies at 5 %: log-linear along every cohort."""
    ages = np.arange(num_ages)
    return np.exp(0.03 * (years[:, None] - ages) - 0.05 * ages) * 1e3


@pytest.mark.parametrize("rule", ["cohort", "age"])
def test_a_stable_population_is_met_by_both_rules(rule):
    years = np.arange(2000, 2008)
    true = cohort_population(years)
    made = interpolate_ages(true[[0, 4, 7]], [2000, 2004, 2007], years, rule)
    np.testing.assert_allclose(made, true, rtol=1e-12)


def test_a_wave_of_births_grows_old_by_the_cohort_rule_only():
    years, ages = np.arange(2000, 2006), np.arange(40)
    true = np.where(years[:, None] - ages == 1990, 3000.0, 1000.0)
    cohort = interpolate_ages(true[[0, 5]], [2000, 2005], years, "cohort")
    np.testing.assert_allclose(cohort[:, 5:], true[:, 5:], rtol=1e-12)
    fixed = interpolate_ages(true[[0, 5]], [2000, 2005], years, "age")
    assert fixed[2, 12] == pytest.approx(1000.0)
    np.testing.assert_allclose(fixed[2, 10], 1000 * 3**0.6, rtol=1e-12)


def test_births_between_tables_start_from_age_zero_of_their_year():
    tables = np.array([[100.0, 90, 80, 70], [200.0, 130, 120, 60]])
    made = interpolate_ages(tables, [2000, 2002], [2001], "cohort")[0]
    np.testing.assert_allclose(made[0], np.sqrt(100 * 200.0))  # w = 0: the age rule
    np.testing.assert_allclose(made[1], np.sqrt(100 * 120.0))
    np.testing.assert_allclose(made[2], np.sqrt(90 * 60.0))
    np.testing.assert_allclose(made[3], np.sqrt(70 * 60.0))  # past the last age before 2002
    later = interpolate_ages(tables, [2000, 2003], [2002], "cohort")[0]
    start = 100 ** (2 / 3) * 200 ** (1 / 3)  # born in 2001
    np.testing.assert_allclose(later[1], np.sqrt(start * 120.0))


def test_zeros_are_bridged_linearly():
    made = interpolate_ages(np.array([[0.0, 4.0], [8.0, 0.0]]), [2000, 2004], [2001], "age")
    np.testing.assert_allclose(made, [[2.0, 3.0]])


def test_years_outside_the_tables_are_refused():
    tables = np.ones((2, 5))
    with pytest.raises(ValueError, match="2000-2004"):
        interpolate_ages(tables, [2000, 2004], [1999, 2001])
    with pytest.raises(ValueError, match="rule"):
        interpolate_ages(tables, [2000, 2004], [2001], "linear")
    with pytest.raises(ValueError, match="whole"):
        interpolate_ages(tables, [2000, 2004], [2001.5])


# --- years after the last table ---------------------------------------------------------------


def test_ratios_of_a_stable_population_continue_it():
    years = np.arange(2000, 2012)
    true = cohort_population(years, 60)
    ratios = cohort_change_ratios(true[0], true[4], 4)
    np.testing.assert_allclose(ratios[1:], np.exp(-0.05), rtol=1e-12)
    sums = dict(zip(years.tolist(), true.sum(axis=1), strict=True))
    made = extend_ages(true[3:5], years[3:5], 2011, ratios, sums)
    np.testing.assert_allclose(made, true[3:], rtol=1e-12)


def test_totals_after_the_last_are_held_and_gaps_are_straight():
    true = cohort_population(np.arange(2000, 2005), 50)
    ratios = cohort_change_ratios(true[0], true[4], 4)
    last = true[4].sum()
    made = extend_ages(true[4:], [2004], 2008, ratios, {2006: 1.2 * last, 2007: 1.1 * last})
    np.testing.assert_allclose(made.sum(axis=1) / last, [1, 1.1, 1.2, 1.1, 1.1], rtol=1e-12)


def test_mean_annual_needs_two_successive_years():
    assert mean_annual({2000: 10, 2005: 20, 2006: 30, 2007: 50}) == {2005: 25.0, 2006: 40.0}


# --- the whole --------------------------------------------------------------------------------


def test_the_udmurt_population_by_age_2000_2023(udmurt, totals):
    years = np.arange(2000, 2024)
    made = population_by_age(udmurt, years, totals)
    assert made.shape == (24, 101)
    assert made.min() > 0
    tables = udmurt.values[0, 0]
    for row, year in enumerate(udmurt.years):
        found = group_sums(made[year - 2000], udmurt.first_ages)
        np.testing.assert_allclose(found, tables[row], rtol=1e-12)
    after = made[15:].sum(axis=1)
    np.testing.assert_allclose(after[3], (1513044 + 1507390) / 2, rtol=1e-12)
    np.testing.assert_allclose(after[4:], (1507390 + 1500955) / 2, rtol=1e-12)
    # independent: totals that no table knows; the wave born 1983-87 keeps its place
    np.testing.assert_allclose(made[[12, 13]].sum(axis=1), [1517891.5, 1517371.0], rtol=2e-3)
    assert made[18, 28:38].argmax() + 28 in range(31, 36)
    some = population_by_age(udmurt, [2018, 2003], totals)
    np.testing.assert_allclose(some, made[[18, 3]], rtol=1e-14)


def test_sexes_are_added_and_places_are_not(udmurt):
    halves = np.concatenate([udmurt.values * 0.4, udmurt.values * 0.6], axis=1)
    split = udmurt._replace(values=halves, sexes=("female", "male"))
    years = [2000, 2007, 2014]
    np.testing.assert_allclose(
        population_by_age(split, years), population_by_age(udmurt, years), rtol=1e-12
    )
    two = AgeTable(
        np.concatenate([udmurt.values] * 2),
        ("a", "b"),
        udmurt.sexes,
        udmurt.years,
        udmurt.first_ages,
        udmurt.last_ages,
    )
    with pytest.raises(ValueError, match="one place"):
        population_by_age(two, years)


def test_years_that_cannot_be_known_are_refused(udmurt, totals):
    with pytest.raises(ValueError, match="2000 or later"):
        population_by_age(udmurt, [1999, 2001], totals)
    with pytest.raises(ValueError, match="january_totals"):
        population_by_age(udmurt, [2014, 2015])
    alone = udmurt._replace(values=udmurt.values[:, :, -1:], years=udmurt.years[-1:])
    with pytest.raises(ValueError, match="1 tables"):
        population_by_age(alone, [2015], totals)
