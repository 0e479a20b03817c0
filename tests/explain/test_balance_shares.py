"""Shares of balances, effects of decisions, smallest changes: what adds up and what is linear."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import explain
from diffmig import migration as mg

YEARS = 5


@pytest.fixture(scope="module")
def system():
    rng = np.random.default_rng(0)
    weights = mg.exponential_kernel(
        mg.distance_matrix(rng.uniform(42, 55, 4), rng.uniform(50, 84, 4)), 500.0
    )
    stiffness = 0.4 * mg.laplacian(weights) + 0.15 * jnp.eye(4)
    return stiffness, jnp.asarray(0.2), rng


def test_shares_sum_to_the_motion_under_the_whole_force(system):
    stiffness, damping, rng = system
    q, v = jnp.asarray(rng.normal(size=(2, 4)))
    shares, rest = jnp.asarray(rng.normal(size=(3, 4, YEARS))), jnp.asarray(
        rng.normal(size=(4, YEARS)))  # fmt: skip
    found = jax.jit(explain.balance_shares)(stiffness, damping, q, v, 0.7, shares, rest)
    force = 0.7 + shares.sum(axis=0) + rest
    whole = mg.propagate(stiffness, damping, q, v, explain.yearly_force(force)).balance
    parts = found.free + found.base + found.factor.sum(axis=0) + found.unexplained
    np.testing.assert_allclose(parts, whole, atol=1e-12)
    np.testing.assert_allclose(found.balance, whole, atol=1e-12)
    # a share alone is the motion under its force from rest
    zero = jnp.zeros(4)
    alone = mg.propagate(stiffness, damping, zero, zero, explain.yearly_force(shares[1])).balance
    np.testing.assert_allclose(found.factor[1], alone, atol=1e-12)


def test_shapley_of_a_linear_model_commutes_with_the_motion(system):
    """Shapley values of the balance itself are the shares that are pushed through the solver."""
    stiffness, damping, rng = system
    slope = jnp.asarray(rng.normal(size=2))
    x = jnp.asarray(rng.normal(size=(4, YEARS, 2)))
    background = jnp.asarray(rng.normal(size=(3, 4, YEARS, 2)))
    zero = jnp.zeros(4)

    def balance(factors):
        return mg.propagate(
            stiffness, damping, zero, zero, explain.yearly_force(factors @ slope)
        ).balance

    direct = jax.jit(lambda: explain.shapley_values(balance, x, background))()
    phi = jnp.moveaxis((x - background.mean(axis=0)) * slope[None, None], -1, 0)
    pushed = explain.balance_shares(stiffness, damping, zero, zero, 0.0, phi, jnp.zeros((4, YEARS)))
    np.testing.assert_allclose(direct.values, pushed.factor, atol=1e-12)


def test_own_effect_and_spill_over(system):
    stiffness, damping, _ = system
    change = jnp.zeros((4, YEARS)).at[1, 2:].set(0.5)
    effect = jax.jit(explain.force_effect)(stiffness, damping, change)
    assert np.allclose(effect.total[:, :3], 0.0)  # nothing before the decision
    assert (np.asarray(effect.total[1, 3:]) > 0).all()
    np.testing.assert_allclose(effect.own[jnp.array([0, 2, 3])], 0.0)
    np.testing.assert_allclose(effect.spill_over[1], 0.0, atol=1e-15)
    assert float(jnp.abs(effect.spill_over[0]).max()) > 1e-3
    few = explain.force_effect(stiffness, damping, change, changed=jnp.array([1]))
    for a, b in zip(few, effect, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    double = explain.force_effect(stiffness, damping, 2.0 * change)
    np.testing.assert_allclose(double.total, 2.0 * effect.total, rtol=1e-12)
    expected = np.trapezoid(np.asarray(effect.total[1]))
    assert float(effect.cumulated[1, -1]) == pytest.approx(expected)
    apart = explain.force_effect(0.3 * jnp.eye(4), damping, change)  # no coupling
    np.testing.assert_allclose(apart.spill_over, 0.0, atol=1e-15)


def test_least_change_by_gradients_through_the_solver(system):
    """A bent regression inside the motion: the target is met, no cheaper change on a fine grid."""
    stiffness, damping, _ = system

    def response(x):
        change = jnp.zeros((4, YEARS)).at[1].set(jnp.sum(jnp.tanh(x) * jnp.array([0.8, 0.5])))
        return explain.force_effect(stiffness, damping, change).total[1, -1]

    scale, bound = jnp.ones(2), jnp.full(2, 1.5)
    solve = jax.jit(lambda target: explain.least_change(response, scale, -bound, bound, target))
    most, unit = jax.jit(jax.vmap(response))(jnp.stack([bound, jnp.array([1.0, 0.0])])).tolist()
    found = solve(0.6 * most)
    assert int(found.status) == 0
    assert float(found.response) == pytest.approx(0.6 * most, rel=1e-6)
    grid = np.linspace(-1.5, 1.5, 241)
    a, b = np.meshgrid(grid, grid)
    size = unit / np.tanh(1.0) / 0.8
    reached = size * (0.8 * np.tanh(a) + 0.5 * np.tanh(b)) >= 0.6 * most
    cheapest = (0.5 * (a**2 + b**2))[reached].min()
    assert float(found.cost) <= cheapest + 1e-9
    assert float(found.cost) >= 0.98 * cheapest
    too_much = solve(1.01 * most)
    assert explain.CHANGE_STATUS[int(too_much.status)] == "cannot be reached within the bounds"
    assert float(too_much.best) == pytest.approx(most)
