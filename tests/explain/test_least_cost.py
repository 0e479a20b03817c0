"""The cheapest change of levers that reaches a target."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from diffmig.explain import PATH_STATUS, least_cost

solve = jax.jit(least_cost)


def problem(seed, size=7):
    rng = np.random.default_rng(seed)
    gradient, cost = rng.normal(0.3, 1.0, size), rng.uniform(-0.2, 1.0, size)
    low, high = -rng.uniform(0.0, 2.0, size), rng.uniform(0.0, 3.0, size)
    best = np.maximum(gradient * low, gradient * high).sum()
    return (*map(jnp.asarray, (gradient, cost, low, high)), best * rng.uniform(0.0, 0.95))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_linear_case_equals_a_linear_programme(seed):
    gradient, cost, low, high, needed = problem(seed)
    found = solve(gradient, cost, low, high, needed)
    bounds = np.stack([low, high], axis=1)
    expected = linprog(cost, A_ub=-gradient[None], b_ub=[-needed], bounds=bounds)
    np.testing.assert_allclose(found.cost, expected.fun, rtol=1e-9, atol=1e-9)
    assert found.gain >= needed - 1e-9
    assert (found.change >= low - 1e-12).all()
    assert (found.change <= high + 1e-12).all()
    assert PATH_STATUS[int(found.status)] == "reached"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_quadratic_case_equals_a_general_solver(seed):
    gradient, cost, low, high, needed = problem(seed)
    curvature = jnp.linspace(0.5, 2.0, gradient.size)
    found = jax.jit(least_cost)(gradient, cost, low, high, needed, curvature=curvature)
    expected = minimize(
        lambda x: cost @ x + 0.5 * curvature @ x**2,
        np.asarray(jnp.where(gradient > 0, high, low)),
        jac=lambda x: cost + curvature * x,
        bounds=np.stack([low, high], axis=1),
        constraints={"type": "ineq", "fun": lambda x: gradient @ x - needed},
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 500},
    )
    np.testing.assert_allclose(found.cost, expected.fun, rtol=1e-6, atol=1e-6)
    assert found.gain >= needed - 1e-9


def test_what_cannot_be_reached_is_said_and_the_best_is_given():
    ones = jnp.ones(3)
    for curvature in (None, ones):
        found = least_cost(ones, ones, 0.0 * ones, 2.0 * ones, 6.1, curvature=curvature)
        assert PATH_STATUS[int(found.status)] == "cannot be reached within the bounds"
        np.testing.assert_allclose(found.change, 2.0)
        assert found.price == np.inf


def test_nothing_is_spent_where_nothing_is_needed():
    ones = jnp.ones(3)
    for curvature in (None, ones):
        found = least_cost(ones, ones, 0.0 * ones, ones, -1.0, curvature=curvature)
        np.testing.assert_array_equal(found.change, 0.0)
        assert found.price == 0.0


def test_price_is_the_derivative_of_the_cost():
    gradient, cost, low, high, _ = problem(4)
    for curvature in (None, jnp.ones_like(cost)):

        def total(needed, curvature=curvature):
            return least_cost(gradient, cost, low, high, needed, curvature=curvature).cost

        found = least_cost(gradient, cost, low, high, 2.0, curvature=curvature)
        difference = (total(2.0 + 1e-6) - total(2.0 - 1e-6)) / 2e-6
        np.testing.assert_allclose(found.price, difference, rtol=1e-5)
        np.testing.assert_allclose(jax.grad(total)(2.0), difference, rtol=1e-5)


def test_different_shapes_are_named():
    with pytest.raises(ValueError, match="one shape"):
        least_cost(jnp.ones(3), jnp.ones(3), jnp.ones(2), jnp.ones(3), 1.0)
