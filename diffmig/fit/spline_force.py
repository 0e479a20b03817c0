"""Penalised spline estimate of the force: the equation holds exactly, curvature is penalised."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from diffmig.fit.force_estimate import ForceEstimate
from diffmig.migration.bsplines import bspline_basis, curvature_penalty, uniform_knots
from diffmig.migration.modes import gauss_nodes, green

_NUM_UNPENALISED = 4  # q and q' at the start, level and slope of the force
_GRID = 61  # penalties tried first, from 1e-9 to 1e3 of the largest that matters
_REFINED = 25  # tried around the best of them
_STATES = 2


@dataclass(frozen=True)
class SplineForceConfig:
    """Choices of the spline estimate.

    observation: a balance is the "mean" of q over its year, or its "point" value.
    offset: of point values, years from the start of their year; the estimate starts at the first.
    knots_per_year: polynomial pieces of the force in a year.
    num_per_year: times of the result in a year, a multiple of `knots_per_year`; also the steps of
        the solver.
    """

    observation: Literal["mean", "point"] = "mean"
    offset: float = 0.0
    knots_per_year: int = 1
    num_per_year: int = 10

    def __post_init__(self) -> None:
        if self.observation not in ("mean", "point") or not 0.0 <= self.offset < 1.0:
            raise ValueError(
                f"expected observation 'mean' or 'point' and offset in [0, 1), got {self}"
            )
        if self.knots_per_year < 1 or self.num_per_year % self.knots_per_year:
            raise ValueError(f"num_per_year: expected a multiple of knots_per_year, got {self}")


class SplineForce(NamedTuple):
    """Penalised spline estimate.

    Attributes:
        estimate: ForceEstimate; its bands are those of the Bayesian reading of the penalty.
        coefficients: of the force, [town, basis]; see `migration.spline_force`.
        knots: [basis + 4].
        penalty: lambda, [].
        degrees_of_freedom: effective number of parameters of all towns together, [].
        noise_sd: root of the residual sum of squares per residual degree of freedom, [].
        penalties: tried, ascending, [trial].
        scores: generalised cross-validation, or mean squared error in the held-out years, [trial].
        at_bound: bool, the best penalty is the smallest or largest tried: nothing to choose by.
    """

    estimate: ForceEstimate
    coefficients: Array
    knots: Array
    penalty: Array
    degrees_of_freedom: Array
    noise_sd: Array
    penalties: Array
    scores: Array
    at_bound: Array


def fit_spline_force(
    balance: Array,
    stiffness: Array,
    damping: ArrayLike,
    *,
    penalty: ArrayLike | None = None,
    held_out: ArrayLike | None = None,
    config: SplineForceConfig = SplineForceConfig(),
) -> SplineForce:
    """Force as a cubic spline, with the motion that it drives, by penalised least squares.

    minimise sum_ik (H q_i(k) - balance_ik)^2 + lambda sum_i integral f_i''^2 dt,
    q'' + c q' + K q = f, over the coefficients of f and q, q' at the start

    Args:
        balance: [town, year], at least 6 years beside those held out.
        stiffness: K, 1/year^2, symmetric, [town, town].
        damping: c, 1/year, [].
        penalty: lambda, years^7 whatever the unit of the balance; None: the best by generalised
            cross-validation, or by the held-out years if any are named.
        held_out: bool [year], years that choose the penalty and take no part in the fit.
        config: choices.

    Returns:
        SplineForce.

    Raises:
        ValueError: shapes that do not fit, too few years.

    Notes:
        Modes are independent; one singular value decomposition per mode gives the fit, its degrees
        of freedom and its score at every penalty. As lambda grows the force becomes a straight
        line; as it falls the curve meets every balance. The equation is solved exactly up to
        relative errors near 1e-11.

    Source: Craven, Wahba, 1979, Smoothing noisy data with spline functions, for the score; Wahba,
    1983, Bayesian confidence intervals for the cross-validated smoothing spline, for the bands.
    """
    shape = balance.shape
    if balance.ndim != 2 or stiffness.shape != (shape[0], shape[0]):
        raise ValueError(
            "balance, stiffness: expected [town, year] and [town, town], got "
            f"{shape} and {stiffness.shape}"
        )
    held = np.zeros(shape[1], bool) if held_out is None else np.asarray(held_out, bool)
    if held.shape != shape[1:]:
        raise ValueError(f"held_out: expected bool {shape[1:]}, got {held.shape}")
    if (~held).sum() < _NUM_UNPENALISED + 2:
        raise ValueError(
            f"balance: expected at least {_NUM_UNPENALISED + 2} years to fit, got {(~held).sum()}"
        )
    used, tested = tuple(np.flatnonzero(~held).tolist()), tuple(np.flatnonzero(held).tolist())
    given = None if penalty is None else jnp.asarray(penalty, balance.dtype)
    damping = jnp.asarray(damping, balance.dtype)
    return _fit(balance, stiffness, damping, given, used, tested, config)


@partial(jax.jit, static_argnums=(4, 5, 6))
def _fit(
    balance: Array,
    stiffness: Array,
    damping: Array,
    penalty: Array | None,
    used: tuple[int, ...],
    tested: tuple[int, ...],
    config: SplineForceConfig,
) -> SplineForce:
    num_years = balance.shape[1]
    span = num_years - int(config.observation == "point")
    knots = uniform_knots(0.0, span, span * config.knots_per_year)
    values, vectors = jnp.linalg.eigh(0.5 * (stiffness + stiffness.T))
    data = vectors.T @ balance
    motion = spline_motion(values, damping, knots, span, config)  # q and q' by column
    seen = _observe(motion, values, damping, knots, config)  # [mode, year, column]
    frame = _frame(knots, balance.dtype)
    parts = jax.vmap(partial(_decompose, frame))(seen[:, used, :], data[:, used])

    def score(trial: Array) -> Array:
        if tested:
            weights = jax.vmap(partial(_solve, frame, trial))(parts)
            missed = jnp.einsum("mtc,mc->mt", seen[:, tested, :], weights) - data[:, tested]
            return jnp.mean(missed**2)
        squares, freedom = _fit_quality(parts, trial)
        count = float(len(used) * balance.shape[0])
        return count * squares / (count - freedom) ** 2

    if penalty is None:
        penalty, penalties, scores, at_bound = _choose(score, jnp.max(parts.singular) ** 2)
    else:
        penalties, scores = penalty[None], score(penalty)[None]
        at_bound = jnp.zeros((), bool)
    squares, freedom = _fit_quality(parts, penalty)
    variance = squares / jnp.maximum(len(used) * balance.shape[0] - freedom, 1e-9)
    weights = jax.vmap(partial(_solve, frame, penalty))(parts)  # [mode, column]
    grid = np.arange(span * config.num_per_year + 1) / config.num_per_year
    force = jnp.asarray(bspline_basis(grid, knots), balance.dtype)
    rows = jnp.concatenate([jnp.zeros((grid.size, _STATES), balance.dtype), force], axis=1)

    def in_towns(x: Array) -> Array:
        return vectors @ x

    def sd(rows: Array) -> Array:
        spread = lax.map(lambda now: _spread(frame, penalty, *now), (rows, parts))
        return jnp.sqrt(jnp.maximum(variance * (vectors**2) @ spread, 0.0))

    start = config.offset if config.observation == "point" else 0.0
    return SplineForce(
        estimate=ForceEstimate(
            time=jnp.asarray(start + grid, balance.dtype),
            balance=in_towns(jnp.einsum("mtc,mc->mt", motion[0], weights)),
            velocity=in_towns(jnp.einsum("mtc,mc->mt", motion[1], weights)),
            force=in_towns(weights[:, _STATES:] @ force.T),
            balance_sd=sd(motion[0]),
            force_sd=sd(jnp.broadcast_to(rows, (values.size, *rows.shape))),
        ),
        coefficients=in_towns(weights[:, _STATES:]),
        knots=jnp.asarray(start + knots, balance.dtype),
        penalty=penalty,
        degrees_of_freedom=freedom,
        noise_sd=jnp.sqrt(variance),
        penalties=penalties,
        scores=scores,
        at_bound=at_bound,
    )


def spline_motion(
    values: Array, damping: Array, knots: np.ndarray, span: int, config: SplineForceConfig
) -> Array:
    """Motion of every mode from q = 1, from q' = 1 and under every basis function.

    Args:
        values: eigenvalues of K, [mode].
        damping: c, [].
        knots: of a cubic force, breaks at multiples of a step.
        span: years.
        config: `num_per_year` steps in a year.

    Returns:
        q and q', [2, mode, time, 2 + basis], at the start and the end of every step.
    """
    step = 1.0 / config.num_per_year
    nodes, shares = gauss_nodes(4)
    times = (np.arange(span * config.num_per_year)[:, None] + nodes[None, :]) * step
    push = jnp.asarray(bspline_basis(times, knots), values.dtype)  # [step, node, basis]
    g, rate = green(values, damping, step)
    state_map = jnp.stack([jnp.stack([rate + damping * g, g]), jnp.stack([-values * g, rate])])
    left = jnp.asarray((1.0 - nodes) * step, values.dtype)[:, None]
    weight = jnp.asarray(shares * step, values.dtype)[None, :, None]
    answer = weight * jnp.stack(green(values[None, :], damping, left))  # [2, node, mode]

    def advance(state: Array, force: Array) -> tuple[Array, Array]:
        driven = jnp.einsum("anm,nb->amb", answer, force)
        new = jnp.einsum("abm,bmc->amc", state_map, state)
        new = new.at[:, :, _STATES:].add(driven)
        return new, new

    free = jnp.asarray(np.eye(_STATES), values.dtype)[:, None, :]
    start = jnp.pad(free, ((0, 0), (0, 0), (0, push.shape[-1])))
    start = jnp.broadcast_to(start, (_STATES, values.size, start.shape[-1]))
    _, rest = lax.scan(advance, start, push)
    return jnp.moveaxis(jnp.concatenate([start[None], rest]), 0, 2)


def _observe(
    motion: Array, values: Array, damping: Array, knots: np.ndarray, config: SplineForceConfig
) -> Array:
    """Values or year means of the columns of `motion`, [mode, year, column].

    integral over a step = h/2 (q + q+) + h^2/10 (q' - q'+) + h^3/120 (q'' + q''+), error O(h^7)
    """
    per_year = config.num_per_year
    q, v = motion
    if config.observation == "point":
        return q[:, ::per_year]
    times = np.arange(q.shape[1]) / per_year
    force = np.pad(bspline_basis(times, knots), ((0, 0), (_STATES, 0)))
    a = jnp.asarray(force, q.dtype)[None] - damping * v - values[:, None, None] * q
    h = 1.0 / per_year
    parts = 0.5 * h * (q[:, :-1] + q[:, 1:]) + h**2 / 10.0 * (v[:, :-1] - v[:, 1:])
    parts = parts + h**3 / 120.0 * (a[:, :-1] + a[:, 1:])
    return parts.reshape((q.shape[0], -1, per_year, q.shape[2])).sum(axis=2)


class _Frame(NamedTuple):
    """Coefficients as free (straight lines) and penalised parts: c = lines u + curves w, with
    integral f''^2 = w'w."""

    lines: Array  # [basis, 2]
    curves: Array  # [basis, basis - 2]


def _frame(knots: np.ndarray, dtype: Any) -> _Frame:
    values, vectors = np.linalg.eigh(curvature_penalty(knots))
    curves = vectors[:, 2:] / np.sqrt(values[2:])[None, :]
    return _Frame(jnp.asarray(vectors[:, :2], dtype), jnp.asarray(curves, dtype))


class _Parts(NamedTuple):
    """Decomposition of one mode's least squares: y = A u + G w, A = Q R, rest of G = U S V'."""

    free: Array  # Q'y, [4]
    free_root: Array  # R, [4, 4]
    free_curves: Array  # Q'G, [4, curve]
    singular: Array  # S, [rank]
    right: Array  # V', [rank, curve]
    turned: Array  # U' of the rest of y, [rank]
    unreached: Array  # square of what no curve reaches, []


def _decompose(frame: _Frame, seen: Array, data: Array) -> _Parts:
    free, curves = _split(frame, seen)
    basis, root = jnp.linalg.qr(free, mode="complete")
    first, second = basis[:, :_NUM_UNPENALISED], basis[:, _NUM_UNPENALISED:]
    rest = second.T @ data
    left, singular, right = jnp.linalg.svd(second.T @ curves, full_matrices=False)
    turned = left.T @ rest
    unreached = jnp.maximum(rest @ rest - turned @ turned, 0.0)
    root = root[:_NUM_UNPENALISED]
    return _Parts(first.T @ data, root, first.T @ curves, singular, right, turned, unreached)


def _split(frame: _Frame, rows: Array) -> tuple[Array, Array]:
    """Columns of the free and of the penalised parameters."""
    states, basis = rows[:, :_STATES], rows[:, _STATES:]
    return jnp.concatenate([states, basis @ frame.lines], axis=1), basis @ frame.curves


def _fit_quality(parts: _Parts, penalty: Array) -> tuple[Array, Array]:
    """Residual sum of squares and effective parameters of all modes."""
    kept = parts.singular**2 / (parts.singular**2 + penalty)
    squares = jnp.sum(((1.0 - kept) * parts.turned) ** 2) + jnp.sum(parts.unreached)
    return squares, jnp.sum(kept) + float(_NUM_UNPENALISED * parts.free.shape[0])


def _solve(frame: _Frame, penalty: Array, parts: _Parts) -> Array:
    """Weights of one mode's columns, [2 + basis]."""
    shrunk = parts.singular / (parts.singular**2 + penalty) * parts.turned
    curves = parts.right.T @ shrunk
    free = jnp.linalg.solve(parts.free_root, parts.free - parts.free_curves @ curves)
    force = frame.lines @ free[_STATES:] + frame.curves @ curves
    return jnp.concatenate([free[:_STATES], force])


def _spread(frame: _Frame, penalty: Array, rows: Array, parts: _Parts) -> Array:
    """Posterior variance of rows of one mode's columns, in units of the noise variance, [row].

    Prior of the curves: w independent with variance 1 / penalty; u free.
    """
    free, curves = _split(frame, rows)
    carried = jnp.linalg.solve(parts.free_root.T, free.T).T
    own = curves - carried @ parts.free_curves
    known = (own @ parts.right.T) * (parts.singular / jnp.sqrt(parts.singular**2 + penalty))[
        None, :
    ]
    unknown = (jnp.sum(own**2, axis=1) - jnp.sum(known**2, axis=1)) / penalty
    return jnp.sum(carried**2, axis=1) + unknown


def _choose(score: Any, scale: Array) -> tuple[Array, Array, Array, Array]:
    """Penalty of the lowest score, all that were tried with their scores, and whether it is the
    first or the last of them.
    """
    width = 12.0 / (_GRID - 1)  # decades
    coarse = jnp.linspace(-9.0, 3.0, _GRID, dtype=scale.dtype) + jnp.log10(scale)
    rough = lax.map(lambda x: score(10.0**x), coarse)
    centre = coarse[jnp.argmin(rough)]
    fine = centre + jnp.linspace(-width, width, _REFINED, dtype=scale.dtype)
    exact = lax.map(lambda x: score(10.0**x), fine)
    tried, scores = jnp.concatenate([coarse, fine]), jnp.concatenate([rough, exact])
    order = jnp.argsort(tried)
    best = jnp.argmin(scores)
    at_bound = (jnp.argmin(rough) == 0) | (jnp.argmin(rough) == _GRID - 1)
    return 10.0 ** tried[best], 10.0 ** tried[order], scores[order], at_bound
