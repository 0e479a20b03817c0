"""What a physics-informed fit found: motion and force at any time, and its score as a solution."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.fit.force_estimate import ForceEstimate
from diffmig.fit.pinn_loss import Heads, Hidden, cast_floats, pinn_hidden, pinn_path
from diffmig.fit.pinn_problem import PinnConfig, PinnProblem, frequencies
from diffmig.migration.force import force_at_nodes
from diffmig.migration.modes import propagate
from diffmig.networks.residual import time_features

PINN_STATUS = (
    "solved",
    "step limit reached",
    "a value is not finite",
    "last layers not solved to tolerance",
    "parameters of the motion did not converge",
)
SOLVED, STEP_LIMIT, NOT_FINITE, NOT_PROJECTED, THETA_OPEN = range(5)


class Trace(NamedTuple):
    """What was recorded after every chunk of a training, its start included.

    Attributes:
        step: of the optimisers together, [record].
        terms: of the loss, before their weights, [seed, record, term].
        theta: flat, [seed, record, parameter]; no parameters where they are frozen.
        monitored: what `monitor_fn` gave, [seed, record, ...]; None without one.
    """

    step: np.ndarray
    terms: np.ndarray
    theta: np.ndarray
    monitored: np.ndarray | None


class PinnFit(NamedTuple):
    """Networks fitted to balances, every leaf [seed, ...] but for `penalty`.

    Attributes:
        estimate: ForceEstimate, [seed, town, time]; no bands (NaN).
        params: weights of the hidden layers (and of the last ones, where they were not solved for).
        heads: last layers in units of the data.
        theta: parameters of the motion, as they came in where frozen.
        theta_covariance: flat, [seed, parameter, parameter], under the stated noise, the penalty as
            prior; NaN where theta was not fitted by Gauss-Newton steps.
        stiffness, damping: K and c at theta.
        terms: of the loss, before their weights, [seed, term]; order of `TERMS`.
        loss: weighted sum, [seed].
        penalty: lam_2, [].
        status: int8 [seed], index into `PINN_STATUS`.
        converged: bool [seed].
        trace: of the training by gradients.
    """

    estimate: ForceEstimate
    params: Any
    heads: Heads
    theta: Any
    theta_covariance: Array
    stiffness: Array
    damping: Array
    terms: Array
    loss: Array
    penalty: Array
    status: Array
    converged: Array
    trace: Trace


def evaluate_pinn(
    fit: PinnFit, problem: PinnProblem, config: PinnConfig, time: ArrayLike
) -> ForceEstimate:
    """Motion and force of a fit at any times of its interval.

    Args:
        fit: from `fit_pinn`.
        problem, config: of the same call.
        time: years, [time].

    Returns:
        ForceEstimate, [seed, town, time], without bands.
    """
    grid = on_grid(problem, time, config)
    return estimate_seeds(
        fit.params, fit.heads, fit.stiffness, fit.damping, grid, config.structure()
    )


class SolutionScore(NamedTuple):
    """How well the solution of the equation meets the data, [seed] but for `balance`.

    Attributes:
        balance: computed observations, [seed, town, year].
        r2: 1 - sum misfit^2 / sum (observed - mean of the town)^2, all towns together.
        rmse: root mean squared misfit, unit of the balance.
    """

    balance: Array
    r2: Array
    rmse: Array


def score_solution(
    fit: PinnFit,
    problem: PinnProblem,
    config: PinnConfig,
    *,
    propagate_fn: Callable[..., Any] = propagate,
) -> SolutionScore:
    """The equation integrated with the fitted force from the fitted start, against the data.

    The output of a network may meet the data while its force does not produce it: this is the score
    that tells.

    Args:
        fit: from `fit_pinn`.
        problem, config: of the same call.
        propagate_fn: integrator, called like `migration.propagate`.

    Returns:
        SolutionScore. A good one carries no evidence on K, c and f: any stiffness has a force that
        reaches it.

    Raises:
        ValueError: observation times that are not evenly spaced.
    """
    step, stride, shares = _steps(np.asarray(problem.time), config)
    num_years, first = problem.time.size, float(problem.first)
    num_steps = (num_years - 1) * stride + shares.size - 1

    def force(t: np.ndarray) -> Array:
        return evaluate_pinn(fit, problem, config, first + t).force

    start = evaluate_pinn(fit, problem, config, np.array([first]))
    stiffness = fit.stiffness
    if stiffness.ndim == 4:
        row = np.floor(first + step * (np.arange(num_steps) + 0.5)).astype(int)
        stiffness = stiffness[:, row]
    pushed = force_at_nodes(force, num_steps, step)
    begun = (start.balance[..., 0], start.velocity[..., 0])
    motion = (stiffness, fit.damping, *begun, pushed)
    return _score(motion, problem, shares, propagate_fn, step, stride)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _score(
    motion: tuple[Array, ...],
    problem: PinnProblem,
    shares: Array,
    propagate_fn: Callable[..., Any],
    step: float,
    stride: int,
) -> SolutionScore:
    """Score of every seed from its K, c, q0, v0 and force at the nodes."""
    places = stride * np.arange(problem.time.size)[:, None] + np.arange(shares.size)[None, :]

    def one(*given: Array) -> Array:
        return propagate_fn(*given, step).balance[:, places] @ shares

    computed = jax.vmap(one)(*motion)
    known, observed = (problem.weight > 0.0).T, problem.balance.T
    count = jnp.sum(known, axis=1, keepdims=True).astype(observed.dtype)
    mean = jnp.sum(observed, axis=1, keepdims=True) / count
    spread = jnp.sum(jnp.where(known, observed - mean, 0.0) ** 2)
    missed = jnp.where(known[None], computed - observed[None], 0.0)
    squares = jnp.sum(missed**2, axis=(1, 2))
    return SolutionScore(computed, 1.0 - squares / spread, jnp.sqrt(squares / jnp.sum(count)))


def on_grid(problem: PinnProblem, time: ArrayLike, config: PinnConfig) -> PinnProblem:
    """`problem` with the collocation points moved to `time`."""
    t = np.asarray(time, float)
    waves = frequencies(config, float(2.0 / problem.slope))
    u = problem.slope * (t - problem.first) - 1.0
    year = np.minimum(np.floor(t).astype(np.int32), problem.year[-1])
    features = time_features(u, waves, len(problem.features) - 1)
    return problem._replace(features=features, year=year)


def estimate_on(
    hidden: Hidden, heads: Heads, motion: tuple[Array, Array], grid: PinnProblem, config: PinnConfig
) -> ForceEstimate:
    """Motion and force of one seed at the points of `grid`, [town, time]."""
    path = pinn_path(hidden, heads, *motion, grid, config)
    none = jnp.full_like(path.force[0].T, jnp.nan)
    time = grid.first + (grid.features[0][:, 0] + 1.0) / grid.slope
    return ForceEstimate(time, path.balance[0].T, path.balance[1].T, path.force[0].T, none, none)


@partial(jax.jit, static_argnames=("config",))
def estimate_seeds(
    params: Any,
    heads: Heads,
    stiffness: Array,
    damping: Array,
    grid: PinnProblem,
    config: PinnConfig,
) -> ForceEstimate:
    """`estimate_on` of every seed, float64."""

    def one(params: Any, heads: Heads, k: Array, c: Array) -> ForceEstimate:
        hidden = pinn_hidden(cast_floats(params, "float64"), grid, config)
        return estimate_on(hidden, heads, (k, c), grid, config)

    return jax.vmap(one)(params, heads, stiffness, damping)


def _steps(time: np.ndarray, config: PinnConfig) -> tuple[float, int, np.ndarray]:
    """Step of the integrator, steps from one observation to the next, weights of its values."""
    gaps = np.diff(time)
    if np.ptp(gaps) > 1e-9 * gaps[0]:
        raise ValueError(f"problem: expected evenly spaced observations, got times {time}")
    if config.observation == "mean":
        return 0.25, round(4 * gaps[0]), np.array([7.0, 32.0, 12.0, 32.0, 7.0]) / 90.0  # Boole
    per_gap = int(np.ceil(gaps[0]))
    return gaps[0] / per_gap, per_gap, np.ones(1)
