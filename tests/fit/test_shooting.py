"""Shooting: the loss of a penalised spline for linear dynamics, the right answer for others."""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.tree_util import Partial
from scipy.integrate import solve_ivp

from diffmig.fit.shooting import choose_shooting_penalty, fit_shooting
from diffmig.fit.shooting_config import ShootingConfig
from diffmig.fit.shooting_force import basis_at, basis_on, draw_hidden, network, roughness_matrix
from diffmig.fit.shooting_problem import (
    Unknowns,
    acceleration,
    shoot,
    shooting_problem,
    shooting_terms,
)
from diffmig.fit.shooting_search import SHOOTING_STATUS
from diffmig.fit.spline_force import SplineForceConfig, fit_spline_force
from diffmig.migration import SolverConfig

YEARS = 20
DAMPING, CONFINEMENT, COUPLING, CUBIC = 0.25, 0.15, 0.4, 0.2
POINT = ShootingConfig(observation="point")
PROPAGATOR = replace(POINT, solver="propagator")
GRID = np.arange(YEARS * 10 + 1) / 10
INSIDE = (GRID >= 1) & (GRID <= YEARS - 1)


class Case(NamedTuple):
    laplacian: np.ndarray
    stiffness: np.ndarray
    balance: np.ndarray  # on GRID
    force: np.ndarray
    point: np.ndarray  # with noise, [town, YEARS + 1]
    mean: np.ndarray  # with noise, [town, YEARS]
    noise: np.ndarray  # standard deviations, [town]
    forced: np.ndarray


@cache
def made(cubic: float, noise: float, num_towns: int = 3, unforced: int = 0) -> Case:
    """Waves and bumps drive the towns, the last ones excepted; DOP853."""
    rng = np.random.default_rng([1, num_towns])
    place = rng.uniform(0, 150, (num_towns, 2))
    weight = np.exp(-np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1)) / 60)
    np.fill_diagonal(weight, 0)
    weight /= weight.sum(axis=1).max()
    laplacian = np.diag(weight.sum(axis=1)) - weight
    stiffness = CONFINEMENT * np.eye(num_towns) + COUPLING * laplacian
    size, period, phase = (rng.uniform(*x, num_towns) for x in ((0.5, 1), (8, 16), (0, 6)))
    bump, centre = rng.uniform(-1, 1, num_towns), rng.uniform(4, 16, num_towns)
    forced = np.arange(num_towns) < num_towns - unforced

    def force(t):
        wave = size * np.sin(2 * np.pi * t / period + phase)
        return forced * (wave + bump * np.exp(-((t - centre) ** 2) / 8))

    def field(t, y):
        q, v = y[:num_towns], y[num_towns:-num_towns]
        a = force(t) - DAMPING * v - stiffness @ q - cubic * q**3
        return np.concatenate([v, a, q])

    start = np.concatenate([rng.normal(size=num_towns), 0.3 * rng.normal(size=num_towns)])
    y0 = np.concatenate([start, np.zeros(num_towns)])
    found = solve_ivp(field, (0, YEARS), y0, "DOP853", GRID, rtol=1e-10, atol=1e-11).y
    q, total = found[:num_towns], found[-num_towns:, ::10]
    sd = noise * q.std(axis=1)
    point = q[:, ::10] + sd[:, None] * rng.normal(size=(num_towns, YEARS + 1))
    mean = np.diff(total) + sd[:, None] * rng.normal(size=(num_towns, YEARS))
    forces = np.stack([force(t) for t in GRID], axis=1)
    return Case(laplacian, stiffness, q, forces, point, mean, sd, forced)


def cubic_acceleration(t, q, v, f, theta):
    stiffness, damping, cubic = theta
    return f - damping * v - stiffness @ q - cubic * q**3


def strengths(laplacian, raw):
    damping, confinement, coupling = jax.nn.softplus(raw)
    eye = jnp.eye(len(laplacian), dtype=laplacian.dtype)
    return confinement * eye + coupling * laplacian, damping


def raw(*values):
    return jnp.log(jnp.expm1(jnp.asarray(values)))


def error(found, true, where=slice(None)):
    difference = (np.asarray(found) - true)[:, where]
    return float(np.linalg.norm(difference) / np.linalg.norm(true[:, where]))


def fit_cubic(case, cubic, penalty, **kwargs):
    """One program for all of these: data, penalty, dynamics and step limits are its arguments."""
    config = kwargs.pop("config", POINT)
    theta = (case.stiffness, DAMPING, cubic)
    return fit_shooting(
        jnp.asarray(case.point),
        theta,
        acceleration_fn=cubic_acceleration,
        penalty=penalty,
        config=config,
        **kwargs,
    )


def test_linear_dynamics_give_the_penalised_spline_and_its_bands():
    case = made(0.0, 0.05)
    fit = fit_cubic(case, 0.0, 0.3)
    spline = fit_spline_force(
        jnp.asarray(case.point),
        jnp.asarray(case.stiffness),
        DAMPING,
        penalty=0.3,
        config=SplineForceConfig(observation="point"),
    )
    for name in ("balance", "velocity", "force", "balance_sd", "force_sd"):
        ours, theirs = (getattr(x, name) for x in (fit.estimate, spline.estimate))
        np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(fit.coefficients, spline.coefficients, atol=1e-4)
    np.testing.assert_allclose(fit.degrees_of_freedom, spline.degrees_of_freedom, rtol=1e-5)
    np.testing.assert_allclose(fit.noise_sd, spline.noise_sd, rtol=1e-4)
    assert bool(fit.converged)
    assert int(fit.num_steps) <= 5, "the search's coordinates make a linear problem round"
    assert error(fit.estimate.force, case.force) < 0.2


def test_gradient_through_the_solver_and_motions_of_both():
    case = made(0.0, 0.05)
    problem = shooting_problem(
        jnp.asarray(case.point), Partial(strengths, jnp.asarray(case.laplacian)), 0.3,
        None, None, np.array([True, True, False]),
    )  # fmt: skip
    rng = np.random.default_rng(2)
    at, along = (
        Unknowns(*(jnp.asarray(rng.normal(size=s)) for s in ((2, 3), (3, YEARS + 3))), None, x)
        for x in (raw(0.3, 0.2, 0.3), jnp.asarray(rng.normal(size=3)))
    )
    tight = replace(POINT, integration=SolverConfig(rtol=1e-10, atol=1e-12))

    def loss(unknowns, config=tight):
        return jnp.sum(shooting_terms(unknowns, problem, True, config))

    points = jax.tree.map(lambda a, b: jnp.stack([a - 1e-4 * b, a, a + 1e-4 * b]), at, along)
    values, slopes = jax.jit(lambda x: lax.map(jax.value_and_grad(loss), x))(points)
    leaves = zip(jax.tree.leaves(slopes), jax.tree.leaves(along), strict=True)
    slope = sum(jnp.sum(a[1] * b) for a, b in leaves)
    np.testing.assert_allclose(slope, (values[2] - values[0]) / 2e-4, rtol=1e-5)
    assert not np.asarray(slopes.coefficients[1, 2]).any(), "no force, no gradient by it"
    exact = jax.jit(lambda x: loss(x, PROPAGATOR))(at)
    np.testing.assert_allclose(values[1], exact, rtol=1e-7)


def test_force_of_a_nonlinear_motion_without_noise():
    case = made(CUBIC, 0.0)
    fit = fit_cubic(case, CUBIC, 1e-5)
    assert bool(fit.converged)
    assert error(fit.estimate.force, case.force) < 0.03
    assert error(fit.estimate.balance, case.balance) < 1e-3


def test_the_cubic_term_matters():
    case = made(CUBIC, 0.05)
    right, wrong = (fit_cubic(case, k, 0.05) for k in (CUBIC, 0.0))
    assert bool(right.converged)
    assert error(right.estimate.force, case.force) < 0.15
    assert error(right.estimate.force, case.force, INSIDE) < 0.1
    assert error(wrong.estimate.force, case.force) > 3 * error(right.estimate.force, case.force)
    assert error(wrong.estimate.balance, case.balance) < 0.08, "the balance does not tell"
    inside = np.abs(right.estimate.force - case.force) < 1.645 * right.estimate.force_sd
    assert 0.8 < np.mean(inside) < 1.0


def test_weights_and_missing_cells():
    case = made(CUBIC, 0.05)
    observed = np.ones(case.point.shape, bool)
    observed[0, 4], observed[2, 9:11] = False, False
    holes = np.where(observed, case.point, np.nan)
    doubled = fit_cubic(case, CUBIC, 0.05 / 4, noise_weight=[2.0, 2.0, 2.0], observed=observed)
    plain = fit_cubic(case._replace(point=holes), CUBIC, 0.05, observed=observed)
    np.testing.assert_allclose(doubled.estimate.force, plain.estimate.force, atol=1e-3)
    np.testing.assert_allclose(2 * doubled.noise_sd, plain.noise_sd, rtol=1e-3)
    assert error(plain.estimate.force, case.force) < 0.2


def test_a_large_penalty_leaves_a_straight_line():
    fit = fit_cubic(made(0.0, 0.05), 0.0, 1e9)
    bend = np.diff(fit.estimate.force, 2) * 100  # 1/year^2
    assert np.abs(bend).max() < 1e-4
    assert float(jnp.ptp(fit.estimate.force)) > 0.01


def test_statuses_name_what_happened():
    case = made(CUBIC, 0.05)
    stopped = fit_cubic(case, CUBIC, 0.05, config=replace(POINT, max_steps=2))
    assert SHOOTING_STATUS[int(stopped.status)] == "step limit of the search reached"
    assert not bool(stopped.converged)
    assert int(stopped.num_steps) == 2
    assert np.isfinite(stopped.estimate.force).all()
    burst = fit_cubic(case, -50.0, 0.05)  # q'' = 50 q^3: infinite after a fraction of a year
    assert not bool(burst.converged)
    assert SHOOTING_STATUS[int(burst.status)] != "converged"


def test_held_out_years_choose_the_penalty():
    case = made(CUBIC, 0.05)
    theta, arguments = (case.stiffness, DAMPING, CUBIC), {"acceleration_fn": cubic_acceleration}
    arguments |= {"noise_weight": case.noise, "config": POINT}
    choice = choose_shooting_penalty(jnp.asarray(case.point), theta, **arguments)
    assert not choice.at_bound
    assert 0.5 < choice.scores.min() < 4.0, "in units of the noise"
    errors = []
    for penalty in (choice.penalties[0], choice.penalty, choice.penalties[-1]):
        fit = fit_cubic(case, CUBIC, penalty, noise_weight=case.noise)
        errors.append(error(fit.estimate.force, case.force))
    assert errors[1] < 0.75 * min(errors[0], errors[2])
    with pytest.raises(ValueError, match="nothing is observed"):
        choose_shooting_penalty(
            jnp.asarray(case.point), theta, held_out=np.zeros(YEARS + 1, bool), **arguments
        )


def test_parameters_and_a_network_where_towns_are_unforced(key):
    case = made(0.0, 0.01, 4, 2)
    config = ShootingConfig(force="network", solver="propagator", fit_theta=True)
    fit = fit_shooting(
        jnp.asarray(case.mean),
        raw(0.5, 0.3, 0.2),
        motion_fn=Partial(strengths, jnp.asarray(case.laplacian)),
        forced=case.forced,
        noise_weight=case.noise,
        penalty=1.0,
        key=key,
        config=config,
    )
    assert bool(fit.converged)
    found, true = jax.nn.softplus(fit.theta), np.array([DAMPING, CONFINEMENT, COUPLING])
    np.testing.assert_allclose(found, true, rtol=0.03)
    spread = np.sqrt(np.diag(fit.theta_covariance))
    assert (np.abs(fit.theta - raw(*true)) < 4 * spread).all()
    assert (spread < 0.1).all()
    assert not np.asarray(fit.estimate.force)[~case.forced].any()
    assert error(fit.estimate.force, case.force, INSIDE) < 0.1
    assert 0.8 < float(fit.noise_sd) < 1.25
    net = network(config, 4, float(YEARS))
    force = net.apply(fit.params, jnp.asarray(GRID / 10.0 - 1.0)).T
    np.testing.assert_allclose(force, fit.estimate.force, atol=1e-9)


@pytest.mark.parametrize("config", [POINT, replace(POINT, force="network", offset=0.25)])
def test_basis_at_a_time_is_the_basis_on_times(config, key):
    hidden = draw_hidden(key, config, YEARS + 1) if config.force == "network" else None
    times = config.offset + np.linspace(0.0, YEARS, 45)
    fine = config.offset + (np.arange(4000) + 0.5) / 200

    def at(t):
        return basis_at(hidden, t, YEARS + 1, config)

    @jax.jit
    def compared():
        rows = basis_on(hidden, times, YEARS + 1, config, float)
        bend = jax.vmap(jax.grad(jax.grad(lambda t: at(t)[9])))(jnp.asarray(fine))
        rough = roughness_matrix(hidden, YEARS + 1, config, float)
        return rows, jax.vmap(at)(jnp.asarray(times)), rough[9, 9], jnp.mean(bend**2) * YEARS

    rows, one_by_one, rough, expected = compared()
    np.testing.assert_allclose(one_by_one, rows, atol=1e-13)
    np.testing.assert_allclose(rough, expected, rtol=2e-3)


def test_stiffness_of_the_year():
    rng = np.random.default_rng(5)
    matrices = rng.normal(size=(7, 2, 2))
    problem = shooting_problem(
        jnp.zeros((2, 7)), Partial(lambda theta: theta), 1.0, None, None, None
    )
    accelerate = acceleration(problem, (jnp.asarray(matrices), jnp.asarray(0.5)), True)
    q, v, f = jnp.asarray(rng.normal(size=(3, 2)))
    for time, year in ((0.0, 0), (3.9, 3), (7.0, 6)):
        expected = f - 0.5 * v - matrices[year] @ q
        np.testing.assert_allclose(accelerate(jnp.asarray(time), q, v, f), expected, rtol=1e-12)
    symmetric = jnp.asarray(matrices[0] + matrices[0].T)
    start = Unknowns(jnp.stack([q, v]), jnp.ones((2, 10)), None, None)

    @jax.jit
    def motion(stiffness):
        unknowns = start._replace(theta=(stiffness, jnp.asarray(0.5)))
        return shoot(unknowns, problem, True, 1, ShootingConfig(solver="propagator")).balance

    yearly = motion(jnp.broadcast_to(symmetric, (7, 2, 2)))
    np.testing.assert_allclose(yearly, motion(symmetric), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balance": jnp.ones((2, 5))}, "at least 6 years"),
        ({"balance": jnp.ones(8)}, r"\[town, year\]"),
        ({"balance": jnp.full((2, 8), jnp.nan)}, "mark missing cells"),
        ({"balance": jnp.ones((2, 8), jnp.float32)}, "float64"),
        ({"observed": np.ones((8, 2), bool)}, "observed"),
        ({"observed": np.arange(16).reshape(2, 8) < 10}, "at least 4 observations"),
        ({"forced": [1, 0]}, "forced: expected bool"),
        ({"noise_weight": [1.0, 0.0]}, "noise_weight"),
        ({"penalty": 0.0}, "penalty"),
        ({"penalty": [1.0, 2.0]}, "penalty"),
        ({"theta": (np.eye(3), 0.1)}, "expected K"),
        ({"acceleration_fn": lambda t, q, v, f, theta: q[0]}, "acceleration_fn"),
        ({"acceleration_fn": cubic_acceleration, "config": PROPAGATOR}, "use 'diffrax'"),
        ({"config": replace(POINT, force="network")}, "key"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {"balance": jnp.ones((2, 8)), "theta": (np.eye(2), 0.1), "penalty": 1.0} | changes
    with pytest.raises(ValueError, match=message):
        fit_shooting(arguments.pop("balance"), arguments.pop("theta"), **arguments)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"force": "fourier"}, "force"),
        ({"solver": "euler"}, "solver"),
        ({"offset": 0.5}, "0 for means"),
        ({"observation": "point", "offset": 1.0}, "offset"),
        ({"knots_per_year": 3}, "multiple"),
        ({"max_steps": 0}, "counts"),
        ({"train_hidden": True}, "no hidden layers"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"integration": SolverConfig(adjoint="forward")}, "no reverse mode"),
    ],
)
def test_bad_choices_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        ShootingConfig(**choice)


@settings(max_examples=30, deadline=None)
@given(
    balance=st.tuples(st.integers(1, 4), st.integers(1, 9)),
    weight=st.lists(st.integers(1, 9), max_size=2),
)
def test_shapes_fit_or_are_refused(balance, weight):
    try:
        problem = shooting_problem(
            jnp.ones(balance), Partial(strengths), 1.0, None, np.ones(weight), None
        )
    except ValueError:
        assert balance[1] < 6 or tuple(weight) not in ((), balance[:1], balance)
    else:
        assert problem.weight.shape == balance
