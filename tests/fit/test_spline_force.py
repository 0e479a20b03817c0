"""Penalised spline force: limits of the penalty, its choice, bands, and the exact minimum of the
physics-informed loss."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmig import migration as mg
from diffmig.fit.collocation import CollocationConfig, CollocationWeights, fit_collocation
from diffmig.fit.spline_force import SplineForceConfig, fit_spline_force
from diffmig.migration.bsplines import bspline_basis, curvature_penalty, uniform_knots
from diffmig.migration.force import force_at_nodes, spline_force_fn
from tests.fit.force_cases import (
    DAMPING,
    make_case,
    relative_error,
    smooth_force,
    stiffness_of,
    with_noise,
)

NUM_TOWNS = 5
POINT = SplineForceConfig(observation="point")
MEAN = SplineForceConfig()


@pytest.fixture(scope="module")
def case():
    case = make_case(smooth_force(NUM_TOWNS), stiffness_of(NUM_TOWNS), num_years=21)
    return case._replace(points=case.points[:, :21])


def fit(case, data, config=POINT, **keywords):
    return fit_spline_force(jnp.asarray(data), case.stiffness, DAMPING, config=config, **keywords)


def data_of(case, config):
    return case.points if config is POINT else case.means


def replay(found, num_years, substeps=10):
    """Motion under the estimated force from the estimated start, by the exact propagator."""
    force_fn = spline_force_fn(found.coefficients, np.asarray(found.knots))
    nodes = force_at_nodes(force_fn, num_years * substeps, 1 / substeps, num_nodes=4)
    start = found.estimate.balance[:, 0], found.estimate.velocity[:, 0]
    return nodes, start


# --- the estimate -------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [POINT, MEAN], ids=["point", "mean"])
def test_force_without_noise_is_recovered(case, config):
    """Half a year at either end is left out: there the data say least."""
    found = fit(case, data_of(case, config), config)
    time = np.asarray(found.estimate.time)
    inner = (time >= 0.5) & (time <= time[-1] - 0.5)
    rows = case.at(time[inner])
    assert relative_error(found.estimate.force[:, inner], case.force[:, rows]) < 0.05
    assert relative_error(found.estimate.balance[:, inner], case.balance[:, rows]) < 5e-3


@pytest.mark.parametrize("config", [POINT, MEAN], ids=["point", "mean"])
def test_motion_and_force_obey_the_equation(case, config):
    data, _ = with_noise(data_of(case, config), 0.05)
    found = fit(case, data, config)
    num_years = 20 if config is POINT else 21
    nodes, start = replay(found, num_years)
    motion = mg.propagate(mg.modes(case.stiffness), DAMPING, *start, nodes, 0.1)
    np.testing.assert_allclose(motion.balance, found.estimate.balance, atol=1e-10)
    np.testing.assert_allclose(motion.velocity, found.estimate.velocity, atol=1e-10)
    rows = bspline_basis(np.asarray(found.estimate.time), np.asarray(found.knots))
    np.testing.assert_allclose(found.estimate.force, found.coefficients @ rows.T, atol=1e-11)


@pytest.fixture(scope="module")
def design(case):
    """Columns of one town's (one mode's) year means, and the penalty of the force, by NumPy."""
    value, span = 0.35, 21
    knots = uniform_knots(0.0, span, span)

    def mean_of(start, coefficients):
        nodes = force_at_nodes(spline_force_fn(coefficients[None], knots), span * 40, 1 / 40)
        matrix = jnp.array([[value]])
        motion = mg.propagate(mg.modes(matrix), DAMPING, start[:1], start[1:], nodes, 1 / 40)
        q, v = motion.balance[0], motion.velocity[0]
        part = (q[1:] + q[:-1]) / 80 + (v[:-1] - v[1:]) / (12 * 1600)
        return part.reshape(span, 40).sum(axis=1)

    both = jax.jit(jax.jacobian(mean_of, argnums=(0, 1)))
    columns = np.concatenate(both(jnp.zeros(2), jnp.zeros(knots.size - 4)), axis=1)
    return columns, np.pad(curvature_penalty(knots), ((2, 0), (2, 0))), knots


@pytest.fixture(scope="module")
def single(case):
    data, _ = with_noise(case.means[:1], 0.1)
    return partial(fit_spline_force, data, jnp.array([[0.35]]), DAMPING), np.asarray(data[0])


def test_estimate_solves_the_normal_equations_and_bands_are_their_inverse(single, design):
    """One town: least squares, hat matrix and Bayesian covariance written out."""
    solve, data = single
    columns, penalty, knots = design
    found = solve(penalty=0.3)
    inverse = np.linalg.inv(columns.T @ columns + 0.3 * penalty)
    weights = inverse @ columns.T @ data
    hat = columns @ inverse @ columns.T
    np.testing.assert_allclose(found.coefficients[0], weights[2:], atol=1e-6)
    np.testing.assert_allclose(found.degrees_of_freedom, np.trace(hat), rtol=1e-6)
    squares = np.sum((data - hat @ data) ** 2)
    variance = squares / (data.size - np.trace(hat))
    np.testing.assert_allclose(found.noise_sd, np.sqrt(variance), rtol=1e-6)
    np.testing.assert_allclose(found.scores, data.size * squares / (data.size - np.trace(hat)) ** 2)
    rows = np.pad(bspline_basis(np.asarray(found.estimate.time), knots), ((0, 0), (2, 0)))
    expected = np.sqrt(variance * np.einsum("ti,ij,tj->t", rows, inverse, rows))
    np.testing.assert_allclose(found.estimate.force_sd[0], expected, rtol=1e-5)
    first = np.sqrt(variance * inverse[0, 0])
    np.testing.assert_allclose(found.estimate.balance_sd[0, 0], first, rtol=1e-5)


def test_a_large_penalty_leaves_a_straight_line(single, design):
    solve, data = single
    columns, _, knots = design
    found = solve(penalty=1e9)
    force = np.asarray(found.estimate.force[0])
    np.testing.assert_allclose(np.diff(force, 2), 0.0, atol=1e-7)
    np.testing.assert_allclose(found.degrees_of_freedom, 4.0, atol=1e-4)
    knot_values = np.arange(knots.size - 4)  # coefficients of level and slope
    line = np.stack([np.ones(knots.size - 4), knot_values], axis=1)
    reduced = np.concatenate([columns[:, :2], columns[:, 2:] @ line], axis=1)
    weights = np.linalg.lstsq(reduced, data, rcond=None)[0]
    np.testing.assert_allclose(found.coefficients[0], line @ weights[2:], atol=1e-5)


def test_a_small_penalty_meets_every_balance(case):
    data, sd = with_noise(case.points, 0.1)
    found = fit(case, data, penalty=1e-9)
    missed = np.asarray(found.estimate.balance[:, :: POINT.num_per_year] - data)
    assert np.abs(missed).max() < 1e-4 * sd
    np.testing.assert_allclose(found.degrees_of_freedom, data.size, rtol=1e-3)


# --- the choice of the penalty --------------------------------------------------------------------


def test_cross_validation_chooses_nearly_the_best_penalty(case):
    data, sd = with_noise(case.points, 0.05)
    found = fit(case, data)
    assert not bool(found.at_bound)
    rows = case.at(found.estimate.time)

    def error(estimate):
        return relative_error(estimate.force, case.force[:, rows])

    oracle = min(error(fit(case, data, penalty=p).estimate) for p in 10.0 ** np.arange(-4, 4, 0.5))
    assert error(found.estimate) < 1.25 * oracle
    assert error(found.estimate) < 0.25
    np.testing.assert_allclose(found.noise_sd, sd, rtol=0.25)
    again = fit(case, data, penalty=found.penalty)
    np.testing.assert_allclose(again.scores[0], found.scores.min(), rtol=1e-10)
    np.testing.assert_allclose(again.estimate.force, found.estimate.force, atol=1e-10)
    assert (np.diff(found.penalties) >= 0).all()


def test_held_out_years_choose_a_penalty_without_taking_part(case):
    data, _ = with_noise(case.points, 0.05)
    held = np.zeros(21, bool)
    held[[5, 10, 15]] = True
    found = fit(case, data, held_out=held)
    spoiled = data.at[:, held].set(1e3)
    fixed = fit(case, spoiled, held_out=held, penalty=found.penalty)
    np.testing.assert_allclose(fixed.estimate.force, found.estimate.force, atol=1e-9)
    rows = case.at(found.estimate.time)
    assert relative_error(found.estimate.force, case.force[:, rows]) < 0.3
    missed = np.asarray(found.estimate.balance[:, ::10] - data)[:, held]
    np.testing.assert_allclose(found.scores.min(), np.mean(missed**2), rtol=1e-8)


# --- physics-informed loss over splines -----------------------------------------------------------

TIMES = np.linspace(0.0, 20.0, 161)
COARSE = CollocationConfig(observation="point", knots_per_year=1)


def physics_loss(q, f, data, stiffness, weights, *, knots=1, nodes=None):
    """The loss as the sum of its means, written from the coefficients."""
    splines = [(uniform_knots(0.0, 20.0, 20 * knots, d), d) for d in (5, 3)]
    (first, five), (second, three) = splines
    at = np.arange(21.0)
    balance, rate, bend = (q @ bspline_basis(TIMES, first, five, d).T for d in (0, 1, 2))
    force, curve = (f @ bspline_basis(TIMES, second, three, d).T for d in (0, 2))
    missed = (q @ bspline_basis(at, first, five).T - data) / weights.data_sd[:, None]
    left = bend + DAMPING * rate + stiffness @ balance - force
    return (
        jnp.mean(missed**2)
        + weights.residual * jnp.mean((left / weights.residual_sd[:, None]) ** 2)
        + weights.curvature * jnp.mean((curve / weights.force_sd) ** 2)
        + weights.size * jnp.mean((force / weights.force_sd) ** 2)
    )


@pytest.fixture(scope="module")
def collocated(case):
    data, sd = with_noise(case.points, 0.05)
    scale = sd * np.linspace(0.8, 1.3, NUM_TOWNS)
    weights = CollocationWeights(
        residual=2.0,
        curvature=3.0,
        size=0.01,
        data_sd=jnp.asarray(scale),
        residual_sd=jnp.asarray(scale * (2 * np.pi / 8) ** 2),
        force_sd=1.1,
    )
    return (
        data,
        weights,
        fit_collocation(data, case.stiffness, DAMPING, TIMES, weights, config=COARSE),
    )


def test_collocation_is_the_minimum_of_the_physics_informed_loss(case, collocated):
    data, weights, found = collocated
    value = partial(physics_loss, data=data, stiffness=case.stiffness, weights=weights)
    at = (found.balance_coefficients, found.force_coefficients)
    loss, slopes = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))(*at)
    np.testing.assert_allclose(loss, found.loss, rtol=1e-10)
    terms = found.data_loss + found.residual_loss + found.curvature_loss + found.size_loss
    np.testing.assert_allclose(terms, found.loss, rtol=1e-12)
    for slope in slopes:
        assert np.abs(slope).max() < 1e-9 * float(loss)
    rng = np.random.default_rng(0)
    moved = [x + 1e-3 * rng.normal(size=x.shape) for x in at]
    assert value(*moved) > loss


def test_collocation_with_a_stiffness_by_time_and_missing_values(case, collocated):
    data, weights, found = collocated
    repeated = jnp.broadcast_to(case.stiffness, (TIMES.size, NUM_TOWNS, NUM_TOWNS))
    observed = jnp.ones(data.shape, bool)
    again = fit_collocation(
        data, repeated, DAMPING, TIMES, weights, observed=observed, config=COARSE
    )
    np.testing.assert_allclose(again.estimate.force, found.estimate.force, atol=1e-9)
    hidden = observed.at[1, 3].set(False)
    spoiled = fit_collocation(
        data.at[1, 3].set(jnp.nan),
        repeated,
        DAMPING,
        TIMES,
        weights,
        observed=hidden,
        config=COARSE,
    )
    assert np.isfinite(spoiled.estimate.force).all()
    shift = np.abs(np.asarray(spoiled.estimate.force - found.estimate.force))
    assert 1e-4 < shift.max() < 1.0


def test_a_heavy_residual_makes_it_the_spline_with_the_equation_exact(case):
    """Over mid-points the mean of f''^2 is its integral over the span: lambda = lambda_2 T / span.

    Two knots a year: on one, quintic balances cannot follow every cubic force.
    """
    middle = (np.arange(160) + 0.5) / 8
    data, _ = with_noise(case.points, 0.05)
    weights = CollocationWeights(residual=1e4, curvature=0.02)
    config = CollocationConfig(observation="point", knots_per_year=2)
    soft = fit_collocation(data, case.stiffness, DAMPING, middle, weights, config=config)
    config = SplineForceConfig(observation="point", knots_per_year=2)
    exact = fit(case, data, config, penalty=0.02 * 21 / 20)
    assert relative_error(soft.estimate.force, np.asarray(exact.estimate.force)) < 1e-3
    assert float(soft.residual_loss) < 0.01 * float(soft.loss)


def test_collocation_reads_means(case):
    weights = CollocationWeights(residual=10.0, curvature=1e-5)
    times = np.linspace(0.0, 21.0, 169)
    found = fit_collocation(
        jnp.asarray(case.means),
        case.stiffness,
        DAMPING,
        times,
        weights,
        config=CollocationConfig(knots_per_year=1),
    )
    rows = case.at(found.estimate.time)
    assert relative_error(found.estimate.force, case.force[:, rows]) < 0.05
    assert np.isnan(found.estimate.force_sd).all()


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"balance": jnp.ones(5)}, "balance, stiffness"),
        ({"stiffness": jnp.eye(2)}, "balance, stiffness"),
        ({"balance": jnp.ones((5, 5))}, "at least 6 years"),
        ({"held_out": np.ones(21, bool)}, "at least 6 years"),
        ({"held_out": np.ones(4, bool)}, "held_out"),
    ],
)
def test_bad_input_of_the_spline_is_named(case, change, message):
    arguments = {"balance": jnp.asarray(case.points), "stiffness": case.stiffness, **change}
    with pytest.raises(ValueError, match=message):
        fit_spline_force(damping=DAMPING, **arguments)


@settings(max_examples=20, deadline=None)
@given(st.floats(-5.0, 25.0))
def test_collocation_times_outside_the_data_are_refused(time):
    if -1e-9 <= time <= 20.0 + 1e-9:
        return
    with pytest.raises(ValueError, match="span of the data"):
        fit_collocation(
            jnp.ones((2, 21)), jnp.eye(2), DAMPING, np.array([1.0, time]), config=COARSE
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda: SplineForceConfig(num_per_year=10, knots_per_year=3),
        lambda: SplineForceConfig(observation="sum"),
        lambda: CollocationConfig(balance_degree=2),
        lambda: CollocationConfig(offset=1.5),
        lambda: CollocationConfig(num_nodes=0),
        lambda: fit_collocation(jnp.ones((2, 21)), jnp.eye(3), DAMPING, TIMES),
        lambda: fit_collocation(
            jnp.ones((2, 21)), jnp.eye(2), DAMPING, TIMES, observed=jnp.ones((2, 2), bool)
        ),
    ],
)
def test_bad_choices_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()
