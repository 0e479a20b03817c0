"""The model as a whole and the balance of its capital."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from diffmig import human_capital as hc

TERMS = hc.CapitalBalance._fields[1:]


@pytest.fixture(scope="module")
def balance(case):
    result = hc.human_capital(case.parameters, case.region)
    return hc.capital_balance(result, case.parameters, case.region, case.deaths, case.migration)


def test_model_equals_a_plain_loop(case):
    p, region = jax.tree.map(np.asarray, (case.parameters, case.region))
    source = np.asarray(
        hc.source_per_head(case.region.amounts, case.region.lines, case.region.population) * 1e6
    )
    years, ages, parts = source.shape
    expected = np.zeros((years, parts))
    for i in range(parts):
        nu = p.wear_rate[i]
        grow, grow_half = (1 - np.exp(-nu)) / nu, (1 - np.exp(-nu / 2)) / nu
        profile = [p.inflow[i]]
        for a in range(ages - 1):
            profile.append(np.exp(-nu) * profile[-1] + grow * source[0, a, i])
        h = [p.initial_factor * value for value in profile]
        for t in range(years):
            for a in range(ages):
                middle = np.exp(-nu / 2) * h[a] + grow_half * source[t, a, i]
                persons = region.population[t, a] * region.participation[t, a]
                expected[t, i] += p.shares[i] * middle * persons / 1e6
            h = [p.inflow[i]] + [
                np.exp(-nu) * h[a] + grow * source[t, a, i] for a in range(ages - 1)
            ]
    result = hc.human_capital(case.parameters, case.region)
    np.testing.assert_allclose(result.by_component, expected, rtol=1e-12)
    np.testing.assert_allclose(result.total, expected.sum(axis=1), rtol=1e-12)
    inhabitants = region.population.sum(axis=1)
    np.testing.assert_allclose(
        result.per_inhabitant, expected.sum(axis=1) * 1e6 / inhabitants, rtol=1e-12
    )


def test_stationary_profile_stays(case):
    """With its own source for ever and factor 1, nothing moves."""
    wear, inflow = case.parameters.wear_rate, case.parameters.inflow
    source = hc.human_capital(case.parameters, case.region).source[0]
    profile = hc.stationary_profile(wear, source, inflow)
    rows = hc.transport(profile, wear[None, None, :], jnp.stack([source] * 5), inflow[None, :])
    np.testing.assert_allclose(rows, np.broadcast_to(profile, rows.shape), rtol=1e-13)


def test_linear_in_spending_and_shares(case):
    p, region = case.parameters, case.region
    start = hc.human_capital(p, region).nodes[0]

    def total(amounts, shares):
        return hc.human_capital(
            p._replace(shares=shares), region._replace(amounts=amounts), start
        ).total

    a, b = region.amounts, region.amounts[::-1]
    mixed = total(0.3 * a + 0.7 * b, p.shares)
    np.testing.assert_allclose(
        mixed, 0.3 * total(a, p.shares) + 0.7 * total(b, p.shares), rtol=1e-12
    )
    np.testing.assert_allclose(
        total(a, 2.0 * p.shares + 0.1),
        2.0 * total(a, p.shares) + 0.1 * total(a, jnp.ones(3)),
        rtol=1e-12,
    )


def test_balance_closes_to_round_off(balance):
    np.testing.assert_allclose(hc.balance_residual(balance), 0.0, atol=1e-14)


def test_investment_is_what_was_spent(case):
    """Where all take part: half of the spending of each of the two years, weighted by alpha."""
    region = case.region._replace(participation=jnp.ones_like(case.region.participation))
    result = hc.human_capital(case.parameters, region)
    made = hc.capital_balance(result, case.parameters, region, case.deaths, case.migration)
    spent = jnp.einsum("cl,ly->yc", region.lines.membership, region.amounts)
    expected = 0.5 * (spent[:-1] + spent[1:]) * case.parameters.shares[None, :]
    np.testing.assert_allclose(made.investment, expected, rtol=1e-12)
    np.testing.assert_allclose(made.participation, 0.0, atol=1e-12)


@pytest.mark.parametrize("term", TERMS)
def test_no_term_is_what_the_others_leave_over(balance, term):
    """Dropped or with the wrong sign, each term leaves a residual far above round-off."""
    value = getattr(balance, term)
    for wrong in (jnp.zeros_like(value), -value):
        residual = hc.balance_residual(balance._replace(**{term: wrong}))
        assert np.abs(residual).max() > 1e-3, term


@pytest.mark.parametrize("name", ["deaths", "migration"])
def test_wrong_demography_shows(case, name):
    result = hc.human_capital(case.parameters, case.region)
    persons = {"deaths": case.deaths, "migration": case.migration}
    persons[name] = persons[name] * 1.5
    made = hc.capital_balance(result, case.parameters, case.region, **persons)
    assert np.abs(hc.balance_residual(made)).max() > 1e-3


def test_model_gradients_against_finite_differences(case):
    def total(parameters, amounts, population):
        region = case.region._replace(amounts=amounts, population=population)
        return hc.human_capital(parameters, region).total / 1e3

    arguments = (case.parameters, case.region.amounts, case.region.population)
    check_grads(jax.jit(total), arguments, order=1, modes=("rev",), rtol=1e-5)


def test_vmap_over_parameters_equals_single_runs(case):
    wear = jnp.stack([case.parameters.wear_rate, 2.0 * case.parameters.wear_rate])

    def total(wear):
        return hc.human_capital(case.parameters._replace(wear_rate=wear), case.region).total

    both = jax.vmap(total)(wear)
    np.testing.assert_allclose(both, jnp.stack([total(w) for w in wear]), rtol=1e-13)


def test_wrong_shapes_are_named(case):
    result = hc.human_capital(case.parameters, case.region)
    with pytest.raises(ValueError, match="deaths, migration: expected"):
        hc.capital_balance(result, case.parameters, case.region, case.deaths[:, :3], case.migration)
