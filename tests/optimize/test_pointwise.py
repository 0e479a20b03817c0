"""Lockstep minimisers of many small problems: known minima, bounds, walls of NaN, scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from diffmig.optimize.base import CONVERGED, NO_FINITE_LOSS
from diffmig.optimize.pointwise import (
    difference_derivatives,
    forward_derivatives,
    grid_search,
    minimize_golden,
    minimize_newton,
)

LOW, HIGH = jnp.array([-1.0, 0.0]), jnp.array([2.0, 3.0])
LIKE = jnp.zeros(5)


@pytest.fixture(scope="module")
def bowls():
    """Quadratics with correlated axes, minimum and curvature different in every problem."""
    rng = np.random.default_rng(6)
    optimum = jnp.asarray(rng.uniform([[-0.5], [0.5]], [[1.5], [2.5]], (2, 5)))
    root = rng.normal(size=(5, 2, 2)) + 1.5 * np.eye(2)
    matrix = jnp.asarray(np.moveaxis(root @ np.swapaxes(root, 1, 2), 0, -1))
    return optimum, matrix


def bowl(optimum, matrix, x):
    z = x - optimum
    return 0.5 * jnp.sum(z[:, None] * matrix * z[None], axis=(0, 1)) + 3.0


DERIVATIVES = {"difference": lambda f: difference_derivatives(f, 1e-4),
               "forward": forward_derivatives}  # fmt: skip


@pytest.mark.parametrize("kind", DERIVATIVES)
def test_a_quadratic_takes_one_newton_step(bowls, kind):
    """Where it is no longer than the first radius, a quarter of the box."""
    optimum, _ = bowls
    evaluate = DERIVATIVES[kind](lambda x: bowl(*bowls, x))
    start = jnp.clip(optimum + 0.4, LOW[:, None], HIGH[:, None])
    one = minimize_newton(evaluate, start, LOW, HIGH, num_steps=1)
    np.testing.assert_allclose(one.x, optimum, atol=1e-5 if kind == "difference" else 1e-12)
    five = minimize_newton(evaluate, start, LOW, HIGH, num_steps=5)
    np.testing.assert_allclose(five.x, optimum, atol=1e-7)
    np.testing.assert_array_equal(five.status, CONVERGED)
    np.testing.assert_allclose(five.loss, 3.0, rtol=1e-13)
    assert five.num_evaluations == 6


@pytest.mark.parametrize("kind", DERIVATIVES)
def test_derivatives_are_right(kind):
    shift = jnp.linspace(0.5, 1.5, 5)

    def loss(x):
        return jnp.exp(x[0] * shift) * jnp.sin(x[1]) + x[2] ** 3 * x[0]

    x = jnp.asarray(np.random.default_rng(0).uniform(0.3, 1.2, (3, 5)))
    at = DERIVATIVES[kind](loss)(x)
    np.testing.assert_allclose(at.loss, loss(x), rtol=1e-14)
    for s in range(5):

        def alone(z, s=s):
            return loss(jnp.broadcast_to(z[:, None], (3, 5)))[s]

        np.testing.assert_allclose(at.gradient[:, s], jax.grad(alone)(x[:, s]), rtol=1e-6)
        rtol = 1e-12 if kind == "forward" else 2e-3
        hessian = jax.hessian(alone)(x[:, s])
        np.testing.assert_allclose(at.hessian[:, :, s], hessian, rtol=rtol, atol=2e-3)


@pytest.mark.parametrize("corner", [(-3.0, -2.0), (-3.0, 1.0), (5.0, 1.7), (0.4, 9.0)])
def test_minima_outside_the_box_end_exactly_on_its_bounds(bowls, corner):
    optimum = jnp.asarray(corner)[:, None]
    curvature = jnp.linspace(0.5, 4.0, 5)
    evaluate = forward_derivatives(lambda x: curvature * jnp.sum((x - optimum) ** 2, axis=0) + 1.0)
    made = minimize_newton(evaluate, jnp.ones((2, 5)), LOW, HIGH, num_steps=6)
    expected = np.clip(np.asarray(corner), LOW, HIGH)
    np.testing.assert_allclose(made.x, np.repeat(expected[:, None], 5, axis=1), atol=1e-9)
    on_bound = expected != np.asarray(corner)
    np.testing.assert_array_equal(made.x[on_bound], np.repeat(expected[on_bound, None], 5, axis=1))
    np.testing.assert_array_equal(made.status, CONVERGED)


def test_correlated_minimum_on_a_face_equals_scipy(bowls):
    optimum, matrix = bowls
    beyond = optimum + jnp.array([[3.0], [0.0]])
    made = minimize_newton(
        forward_derivatives(lambda x: bowl(beyond, matrix, x)),
        jnp.ones((2, 5)), LOW, HIGH, num_steps=20,
    )  # fmt: skip
    for s in range(5):
        far, curve = np.asarray(beyond[:, s]), np.asarray(matrix[..., s])
        best = scipy.optimize.minimize(
            lambda x, far=far, curve=curve: 0.5 * (x - far) @ curve @ (x - far) + 3.0,
            np.ones(2), method="L-BFGS-B", bounds=list(zip(LOW, HIGH, strict=True)), tol=1e-14,
        )  # fmt: skip
        np.testing.assert_allclose(made.loss[s], best.fun, rtol=1e-8)


def test_non_convex_starts_go_downhill():
    """At the top of a cosine the Hessian is negative: no step to the maximum."""
    evaluate = forward_derivatives(lambda x: jnp.cos(x[0]) + 0.1 * x[0] + 2.0)
    start = jnp.linspace(-0.8, 0.8, 5)[None]
    low, high = jnp.array([-3.0]), jnp.array([3.0])
    made = minimize_newton(evaluate, start, low, high, num_steps=25)
    assert (made.loss < jnp.cos(start[0]) + 0.1 * start[0] + 2.0).all()
    slope = -jnp.sin(made.x[0]) + 0.1
    inside = (made.x[0] > -3) & (made.x[0] < 3)
    np.testing.assert_allclose(jnp.where(inside, slope, 0.0), 0.0, atol=1e-4)


@pytest.mark.parametrize("kind", DERIVATIVES)
def test_regions_of_nan_lose(kind):
    def loss(x):
        return jnp.where(x[0] > 0.5, jnp.nan, (x[0] - 0.6) ** 2 + x[1] ** 2)

    made = minimize_newton(DERIVATIVES[kind](loss), jnp.ones((2, 5)) * 0.2, LOW, HIGH)
    assert (made.x[0] <= 0.5).all()
    assert (made.loss <= 0.16 + 0.04).all()
    lost = minimize_newton(DERIVATIVES[kind](loss), jnp.ones((2, 5)), LOW, HIGH)
    np.testing.assert_array_equal(lost.status, NO_FINITE_LOSS)
    assert np.isinf(lost.loss).all()
    assert np.isfinite(lost.x).all()


def test_problems_do_not_influence_each_other(bowls):
    optimum, matrix = bowls
    bad = jnp.asarray([1.0, jnp.nan, 1.0, jnp.inf, 1.0])
    evaluate = forward_derivatives(lambda x: bowl(optimum, matrix, x) * bad)
    made = minimize_newton(evaluate, jnp.ones((2, 5)), LOW, HIGH)
    clean = minimize_newton(
        forward_derivatives(lambda x: bowl(optimum, matrix, x)), jnp.ones((2, 5)), LOW, HIGH
    )
    np.testing.assert_array_equal(made.x[:, ::2], clean.x[:, ::2])
    np.testing.assert_array_equal(made.status[1::2], NO_FINITE_LOSS)


def test_grid_search_takes_the_first_of_the_best(bowls):
    points = np.array([[a, b] for a in (-0.5, 0.5, 1.5) for b in (0.5, 1.5, 2.5, 2.9)])[:11]
    index, best, loss = grid_search(lambda x: bowl(*bowls, x), points, LIKE)
    every = np.stack([bowl(*bowls, jnp.asarray(p)[:, None]) for p in points])
    np.testing.assert_array_equal(index, every.argmin(axis=0))
    np.testing.assert_array_equal(best, points[every.argmin(axis=0)].T)
    np.testing.assert_array_equal(loss, every.min(axis=0))
    index, _, _ = grid_search(lambda x: 0.0 * x[0] + 1.0, points, LIKE)
    np.testing.assert_array_equal(index, 0)
    _, _, loss = grid_search(lambda x: x[0] * jnp.nan, points, LIKE)
    assert np.isinf(loss).all()


def test_golden_section_finds_the_lowest_of_several_minima():
    centre = jnp.linspace(0.15, 0.9, 5)

    def loss(x):
        return (x - centre) ** 2 - 0.02 * jnp.cos(25 * (x - centre))

    made = minimize_golden(loss, 0.0, 1.0, LIKE, num_grid=12, num_steps=30)
    np.testing.assert_allclose(made.x, centre, atol=1e-6)
    np.testing.assert_array_equal(made.loss, loss(made.x))
    assert made.num_evaluations == 44


def test_golden_section_reaches_a_bound_and_counts_its_width():
    steps = 15
    made = minimize_golden(lambda x: x + 0.0 * LIKE, 2.0, 5.0, LIKE, num_grid=4, num_steps=steps)
    width = 3.0 * 2 / 5 * 0.5 * (5**0.5 - 1)
    assert (made.x >= 2.0).all()
    assert (made.x - 2.0 <= width * 0.6180339887**steps).all()
    nan = minimize_golden(lambda x: jnp.where(x < 3, jnp.nan, x), 2.0, 5.0, LIKE, num_steps=25)
    np.testing.assert_allclose(nan.x, 3.0, atol=1e-4)
    lost = minimize_golden(lambda x: x * jnp.nan, 2.0, 5.0, LIKE)
    np.testing.assert_array_equal(lost.status, NO_FINITE_LOSS)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_minimisers_keep_the_dtype(dtype):
    like = jax.ShapeDtypeStruct((5,), dtype)
    start, side = jax.ShapeDtypeStruct((2, 5), dtype), jnp.zeros(2, dtype)

    def everything(like, start):
        def loss(x):
            return jnp.sum(x**2, axis=0)

        golden = minimize_golden(lambda x: x**2, 0.0, 1.0, like)
        newton = [
            minimize_newton(derive(loss), start, side, side + 1.0)
            for derive in DERIVATIVES.values()
        ]
        return [(made.x, made.loss) for made in (golden, *newton)]

    made = jax.eval_shape(everything, like, start)
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(
    "choice", [(1.0, 1.0, 8, 8), (2.0, 1.0, 8, 8), (0.0, 1.0, 0, 8), (0.0, 1.0, 8, 0)]
)
def test_wrong_intervals_are_named(choice):
    low, high, grid, steps = choice
    with pytest.raises(ValueError, match="low < high"):
        minimize_golden(lambda x: x, low, high, LIKE, num_grid=grid, num_steps=steps)
