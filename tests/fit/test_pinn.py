"""Physics-informed fits against manufactured motions, formulas in NumPy, a spline of equal loss."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.interpolate import BSpline, CubicSpline

from diffmig.fit.pinn import AS_DESCRIBED, as_given, fit_pinn
from diffmig.fit.pinn_estimate import PINN_STATUS, evaluate_pinn, score_solution
from diffmig.fit.pinn_loss import TERMS, pinn_hidden, pinn_path, pinn_rows, pinn_terms
from diffmig.fit.pinn_penalty import choose_penalty, penalty_of_spline
from diffmig.fit.pinn_problem import PinnConfig, networks, pinn_problem
from diffmig.fit.pinn_projection import as_partial, solve_heads
from diffmig.fit.pinn_training import _balanced, begin_training

SPAN, TOWNS = 12.0, 3
WEIGHTS = np.array([[0.0, 1.0, 0.4], [1.0, 0.0, 0.2], [0.4, 0.2, 0.0]])
LAPLACIAN = np.diag(WEIGHTS.sum(axis=1)) - WEIGHTS
DAMPING, STIFFNESS = 0.25, 0.15 * np.eye(TOWNS) + 0.3 * LAPLACIAN
SOFT = np.log(np.expm1(np.array([0.15, 0.3, DAMPING])))  # of `soft_motion`: the same K and c
GRID = np.linspace(0.0, SPAN, 121)
YEARS = np.arange(13.0)
SMALL = PinnConfig(width=32, num_blocks=2, points_per_year=6, observation="point")
PLAIN = replace(SMALL, num_steps=2400, solve_last=False, learning_rate=4e-3, chunk=400, penalty=0.0)


def motion(t, order=0):
    """q of every town or a derivative of it, [town, time]; the last town moves slowly."""
    waves = [(1.0, 9.0, 0.3), (0.7, 7.0, 2.0), (1.2, 14.0, 4.0)]
    rates = [2.0 * np.pi / period for _, period, _ in waves]
    turn = order * np.pi / 2
    return np.stack(
        [
            a * w**order * np.sin(w * t + phase + turn)
            + (0.02 * t if order == 0 else 0.02 * (order == 1))
            for (a, _, phase), w in zip(waves, rates, strict=True)
        ]
    )


def force(t):
    return motion(t, 2) + DAMPING * motion(t, 1) + STIFFNESS @ motion(t)


def noisy(seed=0, level=0.05):
    rng = np.random.default_rng(seed)
    return motion(YEARS) + level * rng.normal(size=(TOWNS, YEARS.size))


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def fit(key, balance, noise, config, **choices):
    names = ("start", "forced", "constraint")
    given = {name: choices.pop(name) for name in names if name in choices}
    theta, years = choices.pop("theta", (STIFFNESS, DAMPING)), choices.pop("years", YEARS)
    problem = pinn_problem(years, balance, noise, config, **given)
    return fit_pinn(key, problem, theta, config, **({"time": GRID} | choices)), problem


# --- the loss -------------------------------------------------------------------------------------


def by_hand(params, config, balance, sigma, start):
    """Terms of the loss from a network's outputs, with derivatives by nested differentiation."""
    end = SPAN + (config.observation == "mean")
    network = networks(config, TOWNS, end)
    points = np.linspace(0.0, end, round(end * config.points_per_year) + 1)
    spread, center = balance.std(axis=1), balance.mean(axis=1)
    rate = 2.0 * np.pi / config.timescale

    nodes, shares = np.polynomial.legendre.leggauss(3)
    inside = [YEARS + 0.5 * (x + 1.0) for x in nodes]
    times = np.unique(np.concatenate([points, YEARS, *inside]))

    @jax.jit
    def derivatives(weights, times):
        fns = [lambda t: network.apply(weights, (2.0 / end * t - 1.0)[None])[0]]
        for _ in range(4):
            fns.append(jax.jacfwd(fns[-1]))
        return [jax.vmap(fn)(times).T for fn in fns]

    table = {name: derivatives(weights, times) for name, weights in params.items()}

    def values(name, t, order):
        return np.asarray(table[name][order])[:, np.searchsorted(times, t)]

    def q(t, order=0):
        return spread[:, None] * values("balance", t, order) + (order == 0) * center[:, None]

    def f(t, order=0):
        if config.force == "network":
            return spread[:, None] * rate**2 * values("force", t, order)
        return q(t, order + 2) + DAMPING * q(t, order + 1) + STIFFNESS @ q(t, order)

    if config.observation == "mean":
        seen = sum(0.5 * w * q(t) for t, w in zip(inside, shares, strict=True))
    else:
        seen = q(YEARS)
    middle = YEARS + 0.5 * (config.observation == "mean")
    pseudo = np.stack([CubicSpline(middle, row, bc_type="not-a-knot")(points) for row in balance])
    q0, v0 = start
    known = [(q(points[:1])[:, 0] - q0) / sigma, (q(points[:1], 1)[:, 0] - v0) / sigma / rate]
    left = q(points, 2) + DAMPING * q(points, 1) + STIFFNESS @ q(points) - f(points)
    return [
        np.mean(((seen - balance) / sigma[:, None]) ** 2),
        np.mean((left / sigma[:, None] / rate**2) ** 2),
        np.mean(known[0] ** 2) + np.mean(known[1] ** 2) if config.initial == "soft" else 0.0,
        np.mean(((q(points) - pseudo) / sigma[:, None]) ** 2)
        if config.interpolation_weight
        else 0.0,
        np.mean(f(points, 2) ** 2),
        np.mean(f(points) ** 2),
    ]


ALL_TERMS = PinnConfig(
    width=5, num_blocks=2, points_per_year=2, initial="soft", interpolation_weight=0.1
)
CASES = [
    ALL_TERMS,
    PinnConfig(width=5, num_blocks=2, points_per_year=2, observation="point", force="eliminated"),
]


@pytest.mark.parametrize("config", CASES, ids=["mean, two networks", "point, force eliminated"])
def test_terms_equal_numpy_formulas(key, config):
    balance, sigma = noisy(), np.array([0.1, 0.2, 0.3])
    start = (np.array([1.0, 2.0, -1.0]), np.array([0.3, -0.1, 0.0]))
    problem = pinn_problem(YEARS, balance, sigma, config, start=start)
    state = begin_training(key, 1, problem, None, np.array(config.weights()), config)
    params = jax.tree.map(lambda w: w[0] + 0.05, state.params)
    terms = jax.jit(pinn_terms, static_argnums=4)(params, STIFFNESS, DAMPING, problem, config)
    np.testing.assert_allclose(terms, by_hand(params, config, balance, sigma, start), rtol=1e-9)
    assert {name for name, x in zip(TERMS, terms, strict=True) if x == 0.0} <= {
        "residual",
        "initial",
        "interpolation",
    }


def test_gradients_agree_with_finite_differences(key):
    problem = pinn_problem(YEARS, noisy(), 0.1, ALL_TERMS)
    weights = jnp.array([1.0, 0.5, 0.3, 0.2, 0.1, 0.05])
    state = begin_training(key, 1, problem, None, np.ones(6), ALL_TERMS)
    params = jax.tree.map(lambda w: w[0], state.params)

    @jax.jit
    def loss(params, theta):
        stiffness = jnp.exp(theta[0]) * jnp.eye(TOWNS) + jnp.exp(theta[1]) * LAPLACIAN
        return weights @ pinn_terms(params, stiffness, jnp.exp(theta[2]), problem, ALL_TERMS)

    args = (params, jnp.array([-1.9, -1.0, -1.4]))
    check_grads(loss, args, order=1, modes=("rev",), rtol=1e-4)


# --- exact last layers ----------------------------------------------------------------------------


def test_a_manufactured_force_is_recovered(key):
    years = np.linspace(0.0, SPAN, 25)
    found, problem = fit(key, motion(years), 1e-3, replace(SMALL, penalty=1e-2), years=years)
    f = np.asarray(found.estimate.force[0])
    assert relative(f, force(GRID)) < 0.05
    inside = (GRID >= 1.0) & (GRID <= SPAN - 1.0)
    assert relative(f[:, inside], force(GRID)[:, inside]) < 0.01
    assert relative(np.asarray(found.estimate.balance[0]), motion(GRID)) < 1e-3
    assert relative(np.asarray(found.estimate.velocity[0]), motion(GRID, 1)) < 3e-3
    assert np.isnan(found.estimate.force_sd).all()
    assert found.converged[0]
    # the equation integrated with this force meets the data, with another one it does not
    score = score_solution(found, problem, SMALL)
    np.testing.assert_allclose(score.balance[0], motion(years), atol=2e-3)
    assert score.r2[0] > 0.99999
    missed = np.asarray(score.balance[0]) - motion(years)
    np.testing.assert_allclose(score.rmse[0], np.sqrt(np.mean(missed**2)))
    halved = found._replace(heads=found.heads._replace(force=0.5 * found.heads.force))
    assert score_solution(halved, problem, SMALL).r2[0] < 0.9


def spline_oracle(balance, sigma, penalty, config):
    """Force of quintic splines for q and f that minimise the same loss, by dense least squares."""
    knots = np.linspace(-5 * 0.5, SPAN + 5 * 0.5, 24 + 11)
    num = knots.size - 6
    splines = [BSpline(knots, row, 5) for row in np.eye(num)]
    points = np.linspace(0.0, SPAN, round(SPAN * config.points_per_year) + 1)

    def basis(t, order=0):
        return np.stack([s(t, nu=order) for s in splines], axis=1)

    values, vectors = np.linalg.eigh(STIFFNESS)
    rate = 2.0 * np.pi / config.timescale
    made = []
    for value, row in zip(values, vectors.T @ balance, strict=True):
        pushed = basis(points, 2) + DAMPING * basis(points, 1) + value * basis(points)
        seen, none = basis(YEARS) / sigma, np.zeros((YEARS.size, num))
        left = np.hstack([pushed, -basis(points)]) / (sigma * rate**2)
        bent = np.hstack([np.zeros((points.size, num)), np.sqrt(penalty) * basis(points, 2)])
        rows = [np.hstack([seen, none]) / np.sqrt(YEARS.size)]
        rows += [x / np.sqrt(points.size) for x in (left, bent)]
        wanted = np.concatenate([row / sigma / np.sqrt(YEARS.size), np.zeros(2 * points.size)])
        best, *_ = np.linalg.lstsq(np.concatenate(rows), wanted, rcond=1e-12)
        made.append(basis(GRID) @ best[num:])
    return vectors @ np.stack(made)


def error_of_force(estimate):
    expected = jnp.asarray(force(GRID), estimate.force.dtype)
    return jnp.linalg.norm(estimate.force - expected) / jnp.linalg.norm(expected)


@pytest.mark.parametrize("penalty", [1.0, 30.0])
def test_the_penalised_network_is_the_penalised_spline(key, penalty):
    expected = spline_oracle(noisy(), 0.05, penalty, SMALL)
    found, _ = fit(key, noisy(), 0.05, replace(SMALL, penalty=penalty))
    assert relative(np.asarray(found.estimate.force[0]), expected) < 5e-3
    # a network trained by gradients, then projected, reaches no less: its start was rich enough
    config = replace(SMALL, penalty=penalty, num_steps=400)
    trained, _ = fit(key, noisy(), 0.05, config, monitor_fn=error_of_force)
    assert float(trained.loss[0]) == pytest.approx(float(found.loss[0]), rel=1e-4)
    assert trained.trace.step.tolist() == [0, 400]


def soft_motion(theta):
    level, coupling, damping = jax.nn.softplus(theta)
    return level * jnp.eye(TOWNS) + coupling * LAPLACIAN, damping


def tilted(found, problem, config, scale):
    """Loss after a random move of the last layers."""
    rng = np.random.default_rng(1)
    heads = jax.tree.map(lambda x: x + scale * rng.normal(size=x.shape), found.heads)
    given = (found.params, heads, found.stiffness, found.damping)
    terms = _terms_at(*jax.tree.map(lambda x: x[0], given), problem, config)
    return float(np.sum(config.weights() * np.asarray(terms)))


@partial(jax.jit, static_argnames="config")
def _terms_at(params, heads, stiffness, damping, problem, config):
    hidden = pinn_hidden(params, problem, config)
    path = pinn_path(hidden, heads, stiffness, damping, problem, config)
    rows = pinn_rows(path, stiffness, damping, problem, config)
    return jnp.stack([jnp.sum(row**2) for row in rows])


COUPLED = {
    "closed, unequal noise, gaps, K by year": (
        replace(SMALL, penalty=3.0, observation="mean"),
        {"constraint": np.array([1.0, 2.0, 0.5]), "gaps": True, "by_year": True},
    ),
    "unforced town": (replace(SMALL, penalty=3.0), {"forced": np.array([True, True, False])}),
    "unforced town, force eliminated": (
        replace(SMALL, penalty=3.0, force="eliminated", residual_weight=100.0),
        {"forced": np.array([True, False, True]), "theta": SOFT, "motion_fn": soft_motion},
    ),
}


@pytest.mark.parametrize("name", COUPLED)
def test_last_layers_are_a_minimum_where_modes_are_coupled(key, name):
    config, choices = COUPLED[name]
    choices = dict(choices)
    balance, stiffness = noisy(), STIFFNESS
    if choices.pop("gaps", False):
        balance[0, 4] = balance[2, 7] = np.nan
    if choices.pop("by_year", False):
        held = 0.1 * np.linspace(0.0, 1.0, 13)[:, None, None] * np.eye(TOWNS)
        stiffness = STIFFNESS + held
    noise = np.array([0.05, 0.1, 0.2])
    choices = {"theta": (stiffness, DAMPING)} | choices
    found, problem = fit(key, balance, noise, config, **choices)
    assert PINN_STATUS[found.status[0]] == "solved"
    least = float(found.loss[0])
    up, down = (tilted(found, problem, config, s) for s in (1e-4, -1e-4))
    assert min(up, down) > least
    assert abs(up - down) < 0.02 * (up + down - 2.0 * least)  # no slope
    estimate = jax.tree.map(lambda x: np.asarray(x), found.estimate)
    if problem.constraint is not None:
        g = choices["constraint"]
        for x in (estimate.balance, estimate.velocity, estimate.force):
            np.testing.assert_allclose(np.einsum("i,sit->st", g, x), 0.0, atol=1e-9)
        assert np.abs(estimate.force).max() > 0.1
    elif config.force == "network":
        np.testing.assert_array_equal(estimate.force[0, 2], 0.0)
    else:
        assert np.abs(estimate.force[0, 1]).max() < 0.1 * np.abs(estimate.force[0]).max()


def test_a_hard_start_is_met_exactly(key):
    config = replace(SMALL, penalty=1.0, initial="hard")
    start = (motion(0.0), motion(np.zeros(1), 1)[:, 0] + 0.05)
    found, _ = fit(key, noisy(), 0.05, config, start=start)
    np.testing.assert_allclose(found.estimate.balance[0, :, 0], start[0], atol=1e-12)
    np.testing.assert_allclose(found.estimate.velocity[0, :, 0], start[1], atol=1e-12)
    assert relative(np.asarray(found.estimate.balance[0]), motion(GRID)) < 0.1


# --- the penalty ----------------------------------------------------------------------------------


def test_degrees_of_freedom_are_the_trace_of_the_smoother(key):
    """Every observation moved in turn: how far its computed value follows."""
    problem = pinn_problem(YEARS, noisy(), 0.05, SMALL)
    weights = np.array([replace(SMALL, penalty=3.0).weights()])
    state = begin_training(key, 1, problem, None, weights[0], SMALL)
    theta = (STIFFNESS[None], np.array([DAMPING]))

    def solve(balance):
        moved = problem._replace(balance=balance)
        return solve_heads(
            state.params, theta, weights, moved, as_partial(as_given), SMALL.structure(), None, None
        )

    base = solve(problem.balance)
    followed = 0.0
    for year in range(YEARS.size):
        for town in range(TOWNS):
            balance = problem.balance.copy()
            balance[year, town] += 1.0
            followed += float((solve(balance).observed - base.observed)[0, year, town])
    assert float(base.degrees[0]) == pytest.approx(followed, rel=1e-4)


@pytest.mark.parametrize("criterion", ["gcv", "held_out"])
def test_the_chosen_penalty_beats_tenfold_ones(key, criterion):
    problem = pinn_problem(YEARS, noisy(), 0.05, SMALL)
    theta = (STIFFNESS, DAMPING)
    choose = partial(choose_penalty, key, problem, theta, SMALL, motion_fn=as_given)
    choice = choose(criterion=criterion)
    assert not choice.at_bound
    assert choice.penalties[0] < choice.penalty < choice.penalties[-1]
    errors = [
        relative(
            np.asarray(fit(key, noisy(), 0.05, replace(SMALL, penalty=p))[0].estimate.force[0]),
            force(GRID),
        )
        for p in (choice.penalty, 1e-2 * choice.penalty, 1e3 * choice.penalty)
    ]
    assert errors[0] < min(errors[1:])
    few = choose(criterion=criterion, penalties=choice.penalty * np.array([10.0, 100.0, 1000.0]))
    assert few.at_bound
    assert few.penalty == few.penalties[0]


def test_penalties_of_splines_are_those_of_the_mean(key):
    # 1 / (n N) sum misfit^2 / s^2 + lam_2 / (T N) sum integral f''^2, times n N s^2
    assert float(penalty_of_spline(2.0, 0.1, 21, 20.0)) == pytest.approx(2.0 * 20.0 / 0.01 / 21)


# --- training by gradients ------------------------------------------------------------------------


@pytest.mark.slow
def test_without_a_penalty_the_force_worsens_while_the_fit_improves(key):
    """The U-curve: data misfit and residual fall on, the error of the force turns and rises."""
    config = replace(PLAIN, num_steps=6000, chunk=1000)
    balance = noisy(1, 0.1)
    problem = pinn_problem(YEARS, balance, 0.1, config)
    chosen = choose_penalty(key, problem, (STIFFNESS, DAMPING), config, motion_fn=as_given).penalty
    curves = {}
    for penalty in (0.0, chosen):
        now = replace(config, penalty=penalty)
        found, _ = fit(key, balance, 0.1, now, monitor_fn=error_of_force)
        curves[penalty] = (found.trace.monitored[0], found.trace.terms[0])
    errors, terms = curves[0.0]
    turn = int(np.argmin(errors))
    assert errors[-1] > 1.5 * errors[turn]
    assert terms[-1, 0] < terms[turn, 0]
    kept, _ = curves[chosen]
    assert kept[-1] < 1.15 * kept.min()
    assert kept[-1] < 0.5 * errors[-1]


def test_seeds_together_are_seeds_alone(key):
    config = replace(PLAIN, num_steps=20, chunk=15)
    seen = []
    together, _ = fit(
        key, noisy(), 0.1, config, num_seeds=3, on_chunk=lambda n, terms: seen.append((n, terms))
    )
    alone, _ = fit(key, noisy(), 0.1, config, num_seeds=3, block=1)
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    assert [n for n, _ in seen] == [15, 20]
    assert seen[0][1].shape == (3, len(TERMS))
    np.testing.assert_allclose(seen[1][1], together.terms, rtol=1e-9)
    assert np.std(np.asarray(together.loss)) > 0.0
    assert [PINN_STATUS[s] for s in together.status] == ["step limit reached"] * 3


def test_a_diverging_seed_keeps_its_last_finite_weights(key):
    config = replace(PLAIN, num_steps=20, chunk=15, learning_rate=1e200)
    found, _ = fit(key, noisy(), 0.1, config, num_seeds=3)
    assert [PINN_STATUS[s] for s in found.status] == ["a value is not finite"] * 3
    assert all(np.isfinite(w).all() for w in jax.tree.leaves(found.params))


def test_lbfgs_lowers_the_loss_of_every_seed(key):
    config = replace(PLAIN, num_steps=20, lbfgs_steps=90, chunk=90)
    found, _ = fit(key, noisy(), 0.1, config, num_seeds=3)
    losses = found.trace.terms @ np.array(config.weights())
    assert found.trace.step.tolist() == [0, 20, 110]
    assert (losses[:, 2] < 0.1 * losses[:, 1]).all()
    np.testing.assert_allclose(losses[:, 2], found.loss, rtol=1e-9)


def test_balanced_terms_pull_as_hard_as_the_data():
    gradients = jnp.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [0.0, 50.0], [1.0, 1.0], [1.0, 1.0]])
    weights = _balanced(jnp.array([1.0, 4.0, 2.0, 0.0, 7.0, 8.0]), gradients)
    # half way from 4 to 10; terms without gradient or weight, the data and penalties stay
    np.testing.assert_allclose(weights, [1.0, 7.0, 2.0, 0.0, 7.0, 8.0])


def test_parameters_are_found_where_forces_are_known(key):
    """Two towns without force fix K and c; their motion is free, the third town drives them."""
    from diffmig.migration import propagate
    from diffmig.migration.force import force_at_nodes

    forced = np.array([True, False, False])
    wave = np.sin(2.0 * np.pi * GRID / 7.0)

    def push(t):
        return jnp.asarray(forced[:, None] * np.sin(2.0 * np.pi * np.asarray(t) / 7.0)[None, :])

    q0, v0 = jnp.array([1.0, -0.5, 0.8]), jnp.array([0.2, 0.3, -0.4])
    nodes = force_at_nodes(push, 12, 1.0, num_nodes=6)
    exact = np.asarray(jax.jit(propagate)(STIFFNESS, DAMPING, q0, v0, nodes).balance)
    config = replace(
        SMALL, force="eliminated", fit_theta=True, penalty=1e-3, residual_weight=1e3, theta_steps=20
    )
    start = np.log(np.expm1(np.array([0.3, 0.15, 0.1])))
    found, _ = fit(key, exact, 1e-3, config, theta=start, forced=forced, motion_fn=soft_motion)
    theta = jax.nn.softplus(found.theta[0])
    np.testing.assert_allclose(theta, [0.15, 0.3, 0.25], rtol=0.02)
    assert found.converged[0]
    assert relative(np.asarray(found.estimate.force[0, 0, 10:-10]), wave[10:-10]) < 0.08
    sd = np.sqrt(np.diagonal(found.theta_covariance[0]))
    assert (sd > 0.0).all()
    assert (sd < 0.1).all()


def test_any_stiffness_meets_the_data_with_a_force_of_its_own(key):
    """Why a good fit of the balance is no evidence on K and f."""
    fits, errors = [], []
    for factor in (0.25, 1.0, 4.0):
        config = replace(SMALL, penalty=1.0)
        theta = (factor * STIFFNESS, DAMPING)
        found, problem = fit(key, noisy(), 0.05, config, theta=theta)
        fits.append(float(score_solution(found, problem, config).r2[0]))
        errors.append(relative(np.asarray(found.estimate.force[0]), force(GRID)))
    assert min(fits) > 0.99
    assert min(errors[0], errors[2]) > 2.5 * errors[1]


def test_joint_training_as_described_moves_theta(key):
    config = replace(AS_DESCRIBED, **{k: getattr(SMALL, k) for k in ("width", "num_blocks")})
    config = replace(config, points_per_year=6, observation="point", num_steps=30, chunk=30)
    start = np.zeros(3)
    found, _ = fit(key, noisy(), 0.1, config, theta=start, motion_fn=soft_motion)
    assert np.abs(found.theta[0] - start).min() > 1e-3
    np.testing.assert_allclose(found.trace.theta[0, -1], found.theta[0])
    stiffness, damping = soft_motion(found.theta[0])
    np.testing.assert_allclose(found.stiffness[0], stiffness)
    np.testing.assert_allclose(found.damping[0], damping)


def test_estimates_at_other_times_agree(key):
    config = replace(SMALL, penalty=1.0)
    found, problem = fit(key, noisy(), 0.05, config)
    again = evaluate_pinn(found, problem, config, GRID[::10])
    for a, b in zip(again, found.estimate, strict=True):
        expected = b if b.ndim == 1 else b[..., ::10]
        np.testing.assert_allclose(a, expected[::10] if b.ndim == 1 else expected, atol=1e-12)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "what"),
    [
        ({"observation": "end"}, "observation"),
        ({"penalty": -1.0}, "weights and penalties"),
        ({"points_per_year": 0}, "points_per_year"),
        ({"solve_last": False}, "cross-validation needs solve_last"),
    ],
)
def test_wrong_choices_are_refused(choices, what):
    with pytest.raises(ValueError, match=what):
        PinnConfig(**choices)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"time": YEARS[::-1]}, "increasing"),
        ({"time": YEARS[1:]}, "balance \\[town, year\\]"),
        ({"noise": 0.0}, "standard deviations > 0"),
        ({"balance": np.where(YEARS < 3, 1.0, np.nan) * np.ones((TOWNS, 1))}, "four observations"),
        ({"constraint": np.zeros(TOWNS)}, "not all 0"),
        ({"forced": np.array([True])}, "forced"),
    ],
)
def test_wrong_data_are_refused(change, what):
    given = {"time": YEARS, "balance": noisy(), "noise": 0.1} | change
    args = [given.pop(name) for name in ("time", "balance", "noise")]
    with pytest.raises(ValueError, match=what):
        pinn_problem(*args, SMALL, **given)


def test_wrong_motions_are_refused(key):
    with pytest.raises(ValueError, match="K \\[3, 3\\]"):
        fit(key, noisy(), 0.1, SMALL, theta=(np.eye(2), DAMPING))
    with pytest.raises(ValueError, match="K of 12 years"):
        fit(key, noisy(), 0.1, SMALL, theta=(np.stack([STIFFNESS] * 3), DAMPING))
    problem = pinn_problem(YEARS, noisy(), 0.1, replace(SMALL, force="eliminated"))
    theta = (STIFFNESS, DAMPING)
    with pytest.raises(ValueError, match="another `force`"):
        fit_pinn(key, problem, theta, SMALL)
    with pytest.raises(ValueError, match="criterion"):
        choose_penalty(key, problem, theta, SMALL, motion_fn=as_given, criterion="aic")
