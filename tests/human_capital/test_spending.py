"""Sources per head: closure, brackets, interpolation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from diffmig import data
from diffmig import human_capital as hc
from tests.human_capital.conftest import AGES, YEARS


def test_source_equals_a_plain_loop(case):
    budget, population = case.budget, np.asarray(case.region.population)
    expected = np.zeros((YEARS, AGES, 3))
    names = ("health", "education", "culture")
    for k in range(len(budget.lines)):
        first, last = budget.first_ages[k], budget.last_ages[k]
        last = AGES - 1 if last == data.OPEN_AGE else last
        for t in range(YEARS):
            served = sum(population[t, a] for a in range(first, last + 1))
            for a in range(first, last + 1):
                i = names.index(budget.components[k])
                expected[t, a, i] += budget.amounts[k, t] / served
    source = hc.source_per_head(case.region.amounts, case.region.lines, case.region.population)
    np.testing.assert_allclose(source, expected, rtol=1e-13)


def test_closure_is_exact_and_shows_a_wrong_population(case):
    region = case.region
    source = hc.source_per_head(region.amounts, region.lines, region.population)
    closure = hc.closure_residual(source, region.amounts, region.lines, region.population)
    np.testing.assert_allclose(closure, 0.0, atol=1e-11)
    wrong = hc.closure_residual(source, region.amounts, region.lines, region.population / 1000)
    assert (np.abs(wrong) > 10).all()


def test_batch_axes(case):
    region = case.region
    amounts = jnp.stack([region.amounts, 2.0 * region.amounts], axis=-1)
    population = jnp.stack([region.population, 3.0 * region.population], axis=-1)
    source = hc.source_per_head(amounts, region.lines, population)
    one = hc.source_per_head(region.amounts, region.lines, region.population)
    np.testing.assert_allclose(source[..., 0], one, rtol=1e-14)
    np.testing.assert_allclose(source[..., 1], one * 2.0 / 3.0, rtol=1e-14)


def test_source_is_differentiable(case):
    region = case.region
    check_grads(
        jax.jit(lambda e, n: hc.source_per_head(e, region.lines, n)),
        (region.amounts, region.population),
        order=1,
        rtol=1e-6,
    )


PRINTED = np.array([2000, 2005, 2010])


def test_interpolation_is_geometric_or_linear():
    amounts = jnp.array([[100.0, 400.0, 100.0], [0.0, 50.0, 100.0]])
    years = np.arange(2000, 2011)
    made = hc.interpolate_amounts(amounts, PRINTED, years)
    np.testing.assert_allclose(made[0, 1], 100.0 * 4.0**0.2, rtol=1e-14)
    np.testing.assert_allclose(made[1, 2], 20.0, rtol=1e-14)  # linear from 0
    np.testing.assert_allclose(made[1, 6], 50.0 * 2.0**0.2, rtol=1e-14)
    np.testing.assert_array_equal(made[:, [0, 5, 10]], amounts)
    linear = hc.interpolate_amounts(amounts, PRINTED, years, rule="linear")
    np.testing.assert_allclose(linear[0, 1], 160.0, rtol=1e-14)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.0, 1e6, allow_subnormal=False), min_size=3, max_size=3))
def test_interpolation_stays_between_neighbours(row):
    made = np.asarray(hc.interpolate_amounts(jnp.array([row]), PRINTED, np.arange(2000, 2011)))[0]
    for left, part in ((0, made[:6]), (1, made[5:])):
        low, high = sorted(row[left : left + 2])
        assert (part >= low * (1 - 1e-12)).all()
        assert (part <= high * (1 + 1e-12)).all()


def test_interpolation_gradient_is_finite_at_zero():
    def total(x):
        return hc.interpolate_amounts(x, PRINTED, np.arange(2000, 2011)).sum()

    assert np.isfinite(jax.grad(total)(jnp.array([[0.0, 5.0, 0.0], [1.0, 0.0, 2.0]]))).all()


def test_the_printed_table_becomes_sources_that_close():
    budget = data.load_budget("udmurt")
    years = np.arange(2000, 2019)
    amounts = hc.interpolate_amounts(jnp.asarray(budget.amounts), budget.years, years)
    lines = hc.budget_lines(budget, 101, ("health", "education", "culture"))
    population = jnp.asarray(np.random.default_rng(0).uniform(5e3, 3e4, (19, 101)))
    source = hc.source_per_head(amounts, lines, population)
    closure = hc.closure_residual(source, amounts, lines, population)
    np.testing.assert_allclose(closure / amounts.sum(), 0.0, atol=1e-15)
    assert (source[:, 0] == 0).all()  # no line serves age 0
    assert (source[:, 1:] > 0).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amounts": lambda x: x.at[0, 0].set(-1.0)}, r"amounts: expected finite values >= 0"),
        ({"amounts": lambda x: x.at[1, 2].set(jnp.nan)}, r"amounts: .* got nan at \(1, 2\)"),
        ({"population": lambda x: x.at[1, 2].set(-5.0)}, r"population: .* got -5.0 at \(1, 2\)"),
        ({"population": lambda x: x.at[2, 4:9].set(0.0)}, "line 1 spends in year 2 on ages"),
        ({"amounts": lambda x: x[:3]}, "4 lines"),
        ({"amounts": lambda x: x[:, :3]}, "equal years"),
    ],
)
def test_bad_values_are_named(case, change, message):
    region = case.region
    arguments = {"amounts": region.amounts, "population": region.population}
    for name, edit in change.items():
        arguments[name] = edit(arguments[name])
    with pytest.raises(ValueError, match=message):
        hc.source_per_head(arguments["amounts"], region.lines, arguments["population"])


def test_a_bracket_outside_the_grid_is_named(case):
    outside = case.budget._replace(last_ages=np.array([data.OPEN_AGE, 8, AGES, data.OPEN_AGE]))
    with pytest.raises(ValueError, match="universities: ages 9 to 15 are not inside 0 to 14"):
        hc.budget_lines(outside, AGES)
    with pytest.raises(ValueError, match="components"):
        hc.budget_lines(case.budget, AGES, ("health", "culture"))


@pytest.mark.parametrize(
    ("amounts", "years", "rule", "message"),
    [
        (jnp.ones((1, 2)), PRINTED, "linear", "3 printed years"),
        (jnp.ones((1, 3)), np.array([1999, 2000]), "linear", "2000 to 2010, got 1999"),
        (jnp.ones((1, 3)), PRINTED, "cubic", "rule"),
    ],
)
def test_bad_interpolation_is_named(amounts, years, rule, message):
    with pytest.raises(ValueError, match=message):
        hc.interpolate_amounts(amounts, PRINTED, years, rule=rule)
