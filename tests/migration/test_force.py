"""Forces: B-splines against SciPy and closed forms, Matern priors, force functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from scipy.linalg import expm

from diffmig.migration.bsplines import (
    bspline_basis,
    curvature_penalty,
    spline_force,
    uniform_knots,
)
from diffmig.migration.force import (
    feature_force,
    force_at_nodes,
    network_force,
    spline_force_fn,
    step_force,
)
from diffmig.migration.matern import (
    KERNELS,
    discretize,
    matern_kernel,
    matern_state_space,
    sample_matern,
)
from diffmig.migration.modes import gauss_nodes, node_times

IRREGULAR = np.array([0.0, 0.0, 0.0, 0.0, 0.7, 1.9, 1.9, 3.0, 4.5, 5.0, 5.0, 5.0, 5.0])


# --- splines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [3, 5])
@pytest.mark.parametrize("derivative", [0, 1, 2, 3])
def test_basis_and_its_derivatives_are_those_of_scipy(degree, derivative):
    for knots in (uniform_knots(-1.0, 6.0, 9, degree), IRREGULAR if degree == 3 else None):
        if knots is None:
            continue
        time = np.linspace(knots[degree], knots[-degree - 1], 37)[1:-1]
        ours = bspline_basis(time, knots, degree, derivative)
        reference = BSpline(knots, np.eye(knots.size - degree - 1), degree)(time, derivative)
        np.testing.assert_allclose(ours, reference, atol=1e-11)


def test_basis_is_a_partition_of_unity_on_both_ends():
    for knots in (uniform_knots(0.0, 5.0, 5), IRREGULAR):
        rows = bspline_basis(np.array([0.0, 2.5, 5.0]), knots)
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-14)
        assert (rows >= 0).all()
        one_sided = bspline_basis(np.array([5.0 - 1e-9]), knots)
        np.testing.assert_allclose(rows[-1:], one_sided, atol=1e-8)


def test_splines_hold_polynomials_and_their_derivatives_exactly():
    knots, time = uniform_knots(0.0, 8.0, 8), np.linspace(0.0, 8.0, 50)
    rows = bspline_basis(time, knots)
    cubic = np.polynomial.Polynomial([1.0, -2.0, 0.3, 0.05])
    coefficients = np.linalg.lstsq(rows, cubic(time), rcond=None)[0]
    for derivative in (0, 1, 2):
        expected = cubic.deriv(derivative)(time) if derivative else cubic(time)
        got = bspline_basis(time, knots, derivative=derivative) @ coefficients
        np.testing.assert_allclose(got, expected, atol=1e-11)
    # integral of (0.6 + 0.3 t)^2 from 0 to 8
    second = cubic.deriv(2)
    exact = (second**2).integ()(8.0) - (second**2).integ()(0.0)
    got = coefficients @ curvature_penalty(knots) @ coefficients
    np.testing.assert_allclose(got, exact, rtol=1e-11)


@pytest.mark.parametrize(("knots", "degree"), [(IRREGULAR, 3), (uniform_knots(0.0, 5.0, 3, 5), 5)])
def test_penalty_is_the_integral_of_the_squared_curvature(knots, degree):
    penalty = curvature_penalty(knots, degree)
    fine = np.linspace(0.0, 5.0, 200001)
    middle = 0.5 * (fine[1:] + fine[:-1])
    rows = bspline_basis(middle, knots, degree, 2)
    np.testing.assert_allclose(penalty, rows.T @ rows * (fine[1] - fine[0]), atol=2e-6)
    values = np.linalg.eigvalsh(penalty)
    assert (values[:2] < 1e-9 * values[-1]).all()  # level and slope are free
    assert values[2] > 1e-6 * values[-1]


def test_spline_force_is_linear_and_batched(key):
    rows = bspline_basis(np.linspace(0, 4, 7), uniform_knots(0.0, 4.0, 4))
    c = jax.random.normal(key, (2, 3, 7))
    force = spline_force(c, rows)
    assert force.shape == (2, 3, 7)
    np.testing.assert_allclose(force[1, 2], rows @ np.asarray(c[1, 2]), rtol=1e-13)
    knots = uniform_knots(0.0, 4.0, 4)
    at_nodes = force_at_nodes(spline_force_fn(c, knots), 4, num_nodes=3)
    assert at_nodes.shape == (2, 3, 4, 3)
    expected = np.asarray(c[0, 1]) @ bspline_basis(node_times(4, 1.0, 3)[2], knots).T
    np.testing.assert_allclose(at_nodes[0, 1, 2], expected, rtol=1e-13)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1.0, 6.0), min_size=1, max_size=4))
def test_times_outside_the_knots_are_refused(times):
    knots = uniform_knots(0.0, 5.0, 5)
    inside = all(0.0 <= t <= 5.0 for t in times)
    if inside:
        assert bspline_basis(times, knots).shape == (len(times), 8)
    elif min(times) < -1e-6 or max(times) > 5.0 + 1e-6:
        with pytest.raises(ValueError, match="widen the knots"):
            bspline_basis(times, knots)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniform_knots(1.0, 1.0, 3), "start < stop"),
        (lambda: uniform_knots(0.0, 1.0, 0), "num_intervals"),
        (lambda: bspline_basis(0.5, [0.0, 1.0, 0.5, 2.0], degree=1), "ascending"),
        (lambda: bspline_basis(0.5, [0.0, 1.0], degree=3), "at least 8"),
        (lambda: bspline_basis(0.0, np.zeros(8), degree=3), "no interval"),
        (lambda: spline_force(jnp.ones((2, 5)), np.ones((3, 4))), "coefficients, basis"),
    ],
)
def test_bad_splines_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- Gaussian-process prior ---------------------------------------------------------------------


@pytest.mark.parametrize("kernel", list(KERNELS))
def test_state_space_is_stationary_and_has_the_kernel(kernel):
    system = matern_state_space(kernel, 2.3, 0.7)
    f, d, p, h = (np.asarray(x) for x in system)
    np.testing.assert_allclose(f @ p + p @ f.T + d, 0.0, atol=1e-14)
    assert (np.linalg.eigvalsh(p) > 0).all()
    for lag in (0.0, 0.4, 3.0):
        np.testing.assert_allclose(
            h @ expm(f * lag) @ p @ h, matern_kernel(kernel, -lag, 2.3, 0.7), rtol=1e-12
        )


def test_kernels_of_rising_smoothness_approach_the_gaussian_in_order():
    lag, gauss = 0.5, np.exp(-0.125)
    values = [float(matern_kernel(k, lag, 1.0)) for k in ("matern12", "matern32", "matern52")]
    assert values[0] < values[1] < values[2] < gauss
    np.testing.assert_allclose(values[0], np.exp(-0.5), rtol=1e-14)


def test_yearly_values_of_matern12_are_an_autoregression():
    """f_{k+1} = phi f_k + e, phi = exp(-1 / length), Var e = sd^2 (1 - phi^2)."""
    system = matern_state_space("matern12", 2.5, 0.6)
    transition, noise = discretize(system.feedback, system.diffusion)
    phi = np.exp(-1 / 2.5)
    np.testing.assert_allclose(transition, [[phi]], rtol=1e-13)
    np.testing.assert_allclose(noise, [[0.36 * (1 - phi**2)]], rtol=1e-12)


@pytest.mark.parametrize("step", [0.1, 1.0])
def test_discretization_against_van_loan(step):
    """exp of [[-F, D], [0, F']] h holds both integrals; an oscillator under a Matern force."""
    rate = 5**0.5 / 0.7
    feedback = np.zeros((5, 5))
    feedback[0, 1], feedback[1, :3] = 1.0, (-1.7, -0.3, 1.0)
    feedback[2:, 2:] = matern_state_space("matern52", 0.7).feedback
    diffusion = np.zeros((5, 5))
    diffusion[4, 4] = 16 / 3 * rate
    block = np.block([[-feedback, diffusion], [np.zeros((5, 5)), feedback.T]])
    both = expm(block * step)
    transition = both[5:, 5:].T
    run = jax.jit(lambda f, d: discretize(f, d, step))
    got = run(jnp.asarray(feedback), jnp.asarray(diffusion))
    np.testing.assert_allclose(got[0], transition, atol=1e-12)
    np.testing.assert_allclose(got[1], transition @ both[:5, 5:], atol=1e-11)
    assert np.linalg.eigvalsh(got[1]).min() > -1e-16


def test_draws_have_the_covariance_of_the_kernel(key):
    time = np.array([0.0, 0.5, 2.0, 2.0, 7.0])
    draws = np.asarray(sample_matern(key, "matern52", time, 1.5, 0.8, (200, 100)))
    assert draws.shape == (200, 100, 5)
    np.testing.assert_allclose(draws[..., 2], draws[..., 3], atol=1e-7)  # one moment, one value
    flat = draws.reshape(-1, 5)
    expected = matern_kernel("matern52", time[:, None] - time[None, :], 1.5, 0.8)
    np.testing.assert_allclose(flat.T @ flat / len(flat), expected, atol=0.02)


def test_unknown_kernels_are_refused():
    with pytest.raises(ValueError, match="matern12"):
        matern_state_space("matern72", 1.0)


# --- force functions ----------------------------------------------------------------------------


def test_step_force_keeps_the_values_of_years():
    force = jnp.array([[1.0, 2.0, 4.0], [0.0, -1.0, 3.0]])
    at = step_force(force, start=2.0)
    got = at(np.array([1.0, 2.0, 2.999, 3.0, 4.5, 9.0]))
    np.testing.assert_array_equal(got[0], [1, 1, 1, 2, 4, 4])
    nodes = force_at_nodes(step_force(force), 3, num_nodes=2)
    np.testing.assert_array_equal(nodes[1], [[0, 0], [-1, -1], [3, 3]])


def test_network_force_sees_the_scaled_time():
    def apply_fn(weights, inputs):
        return inputs * weights[None, :]

    at = network_force(apply_fn, jnp.array([1.0, -2.0]), 10.0, 20.0)
    np.testing.assert_allclose(
        at(np.array([10.0, 15.0, 20.0])), [[-1, 0, 1], [2, 0, -2]], atol=1e-15
    )
    with pytest.raises(ValueError, match="start < stop"):
        network_force(apply_fn, jnp.ones(2), 1.0, 1.0)


def test_feature_force_is_the_model_plus_what_remains(key):
    features = jax.random.normal(key, (3, 4, 2))
    beta, rest = jnp.array([2.0, -1.0]), jnp.arange(12.0).reshape(3, 4)
    force = feature_force(features, lambda x: x @ beta, rest)
    np.testing.assert_allclose(force, 2 * features[..., 0] - features[..., 1] + rest, rtol=1e-13)
    np.testing.assert_allclose(feature_force(features, lambda x: x @ beta), force - rest)
    with pytest.raises(ValueError, match="remainder"):
        feature_force(features, lambda x: x @ beta, rest[:2])
    with pytest.raises(ValueError, match="model_fn"):
        feature_force(features, lambda x: x)


def test_force_functions_of_a_wrong_shape_are_named():
    with pytest.raises(ValueError, match="force_fn"):
        force_at_nodes(lambda time: jnp.ones((2, 3)), 4)


def test_gauss_nodes_integrate_polynomials():
    nodes, weights = gauss_nodes(3)
    np.testing.assert_allclose(weights @ nodes**5, 1 / 6, rtol=1e-14)
