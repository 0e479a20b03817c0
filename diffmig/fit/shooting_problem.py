"""Shooting: a parametrised force, the motion it drives through the solver, misfit and roughness.

The equation holds exactly at every step of the search: nothing is traded between data and residual.
Near its optimum the loss of a spline is that of `fit_spline_force`, for any acceleration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from diffmig.migration.bsplines import bspline_basis, curvature_penalty, uniform_knots
from diffmig.migration.modes import Motion, gauss_nodes, node_times, propagate
from diffmig.migration.motion import matrix_acceleration
from diffmig.migration.solve import SolverConfig, simulate
from diffmig.networks.residual import (
    ResidualNetwork,
    derivatives,
    hidden_taylor,
    output_weights,
    time_features,
)

Force = Literal["spline", "network"]
Solver = Literal["diffrax", "propagator"]
Observation = Literal["mean", "point"]
Acceleration = Callable[[Array, Array, Array, Array], Array]

MIN_YEARS = 6
_MEAN_STEPS = 4  # per year: the error of a mean by Hermite's rule is 5e-6 of q''''
_INTEGRATION = SolverConfig(rtol=1e-6, atol=1e-8)
_NODES = 4  # of Gauss-Legendre quadrature
_SPLINE = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6.0


@dataclass(frozen=True)
class ShootingConfig:
    """Choices of a shooting fit.

    Force:
    force: "spline": cubic, coefficients per town; "network": of time, one output per town.
    knots_per_year: polynomial pieces of a spline, 1/year.
    width, num_blocks: units of a hidden layer of the network, hidden layers.
    skips: residual blocks; False: a plain perceptron.
    unit_years: time, years, over which a unit of the first layer rises at the start.
    train_hidden: all weights of the network are fitted; False: the last layer, over hidden units
        spread in time.

    Motion:
    observation: a balance is the "mean" of q over its year, or its "point" value.
    offset: of point values, years from the start of their year; the estimate starts at the first.
    solver: "diffrax": adaptive Runge-Kutta steps, any acceleration; "propagator": exact, for
        motions q'' + c q' + K q = f.
    integration: of "diffrax". Gradients of the loss by hundreds of unknowns need reverse mode:
        "checkpointed" stores a state for every step up to `checkpoints` of them and then takes
        three to five times as long as the motion alone; "direct" costs more with `max_steps`;
        "forward" has no reverse mode and is refused.
    num_per_year: times of the result, 1/year, a multiple of `knots_per_year`.
    bands: standard deviations of q and f, for splines; work grows as the fourth power of the number
        of towns: a second at 30, minutes at 200.

    Search:
    fit_theta: parameters of the dynamics are fitted as well; otherwise they are frozen.
    max_steps: of L-BFGS, one motion and its gradient each.
    memory: pairs of L-BFGS.
    tolerance: largest component of the gradient at which the search ends, 1; the gradient is scaled
        so that its square is the decrease still to come, relative to the loss of a smoothing
        spline.
    """

    force: Force = "spline"
    knots_per_year: int = 1
    width: int = 32
    num_blocks: int = 2
    skips: bool = True
    unit_years: float = 2.5
    train_hidden: bool = False
    observation: Observation = "mean"
    offset: float = 0.0
    solver: Solver = "diffrax"
    integration: SolverConfig = _INTEGRATION
    num_per_year: int = 10
    bands: bool = True
    fit_theta: bool = False
    max_steps: int = 500
    memory: int = 10
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        choices = {"force": Force, "solver": Solver, "observation": Observation}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name}: expected one of {get_args(kind)}, got {getattr(self, name)!r}"
                )
        if not 0.0 <= self.offset < 1.0 or (self.offset and self.observation == "mean"):
            raise ValueError(
                f"offset: expected a number in [0, 1), and 0 for means, got {self.offset}"
            )
        counts = (self.knots_per_year, self.width, self.num_blocks, self.max_steps, self.memory)
        if min(counts) < 1:
            raise ValueError(f"expected counts >= 1, got {self}")
        if self.num_per_year < 1 or self.num_per_year % self.knots_per_year:
            raise ValueError(
                f"num_per_year: expected a multiple of knots_per_year = {self.knots_per_year}, got "
                f"{self.num_per_year}"
            )
        if not min(self.unit_years, self.tolerance) > 0.0:
            raise ValueError(f"expected unit_years and tolerance > 0, got {self}")
        if self.integration.adjoint == "forward":
            raise ValueError(
                "integration: adjoint 'forward' has no reverse mode; expected 'checkpointed' or "
                "'direct'"
            )

    @property
    def steps_per_year(self) -> int:
        """Of the times at which the search looks at the motion."""
        pieces = self.knots_per_year if self.force == "spline" else 2
        return pieces * (_MEAN_STEPS if self.observation == "mean" else 1)

    def span(self, num_years: int) -> int:
        """Length of the motion, years."""
        return num_years - int(self.observation == "point")


class ShootingProblem(NamedTuple):
    """What a fit sees.

    Attributes:
        balance: observations, 0 where missing, [town, year].
        weight: 1 / noise weight, 0 where missing, [town, year].
        forced: 1 where the force is unknown, 0 where there is none, [town].
        penalty: lambda, [].
        dynamics: theta -> (K, c), or (t, q, v, f, theta) -> q''.
    """

    balance: Array
    weight: Array
    forced: Array
    penalty: Array
    dynamics: Partial


class Unknowns(NamedTuple):
    """What is fitted.

    Attributes:
        start: q and q' at the first time, [2, town].
        coefficients: of the force on its basis functions, [town, basis]: B-splines, or the last
            hidden layer and a constant.
        hidden: weights of the hidden layers; None for splines.
        theta: parameters of the dynamics.
    """

    start: Array
    coefficients: Array
    hidden: Any
    theta: Any


def shooting_problem(
    balance: Array,
    dynamics: Partial,
    penalty: ArrayLike,
    observed: ArrayLike | None,
    noise_weight: ArrayLike | None,
    forced: ArrayLike | None,
) -> ShootingProblem:
    """Checked data of a fit; arguments as in `fit_shooting`.

    Raises:
        ValueError: shapes that do not fit, too few observations, numbers out of range.
    """
    shape = balance.shape
    if balance.ndim != 2 or shape[1] < MIN_YEARS:
        raise ValueError(
            f"balance: expected [town, year] with at least {MIN_YEARS} years, got {shape}"
        )
    seen = np.ones(shape, bool) if observed is None else np.asarray(observed)
    if seen.shape != shape or seen.dtype != bool:
        raise ValueError(f"observed: expected bool {shape}, got {seen.dtype} {seen.shape}")
    if not np.isfinite(np.asarray(balance)[seen]).all():
        raise ValueError("balance: not finite where observed; mark missing cells in `observed`")
    free = np.ones(shape[0], bool) if forced is None else np.asarray(forced)
    if free.shape != shape[:1] or free.dtype != bool:
        raise ValueError(f"forced: expected bool {shape[:1]}, got {free.dtype} {free.shape}")
    few = np.flatnonzero(seen.sum(axis=1) < np.where(free, 4, 2))
    if few.size:
        raise ValueError(
            "observed: expected at least 4 observations of a town, 2 without a force, got "
            f"{seen.sum(axis=1)[few]} in towns {few}; drop them"
        )
    noise = np.asarray(1.0 if noise_weight is None else noise_weight, float)
    if noise.shape not in ((), shape[:1], shape) or not (noise > 0.0).all():
        raise ValueError(
            f"noise_weight: expected numbers > 0, [], {shape[:1]} or {shape}, got {noise.shape}"
        )
    noise = np.broadcast_to(noise[:, None] if noise.ndim == 1 else noise, shape)
    strength = np.asarray(penalty, float)
    if strength.ndim or not strength > 0.0:
        raise ValueError(f"penalty: expected one number > 0, got {penalty}")
    dtype = balance.dtype
    return ShootingProblem(
        balance=jnp.where(jnp.asarray(seen), balance, 0.0),
        weight=jnp.asarray(seen / noise, dtype),
        forced=jnp.asarray(free, dtype),
        penalty=jnp.asarray(strength, dtype),
        dynamics=dynamics,
    )


def network(config: ShootingConfig, num_towns: int, years: float) -> ResidualNetwork:
    """Network of the force for `num_towns` over an interval of so many years."""
    return ResidualNetwork(
        num_outputs=num_towns,
        width=config.width,
        num_blocks=config.num_blocks,
        skips=config.skips,
        slope=0.5 * years / config.unit_years,
    )


def spline_knots(num_years: int, config: ShootingConfig) -> np.ndarray:
    """Knots of a spline, years since the start of the first data year."""
    span = config.span(num_years)
    return uniform_knots(config.offset, config.offset + span, span * config.knots_per_year)


def basis_at(hidden: Any, time: Array, num_years: int, config: ShootingConfig) -> Array:
    """Basis functions of the force at one time, which may be traced, [basis].

    Pieces of a uniform cubic B-spline in u = (t - k_j) / h: columns of `_SPLINE` times 1, u, u^2,
    u^3.
    """
    span = config.span(num_years)
    position = (time - config.offset) * config.knots_per_year
    if hidden is not None:
        return _features(hidden, time[None], span, config, 0)[0][0]
    pieces = span * config.knots_per_year
    piece = jnp.clip(jnp.floor(position), 0.0, pieces - 1.0)
    u = position - piece
    weights = jnp.asarray(_SPLINE, u.dtype) @ jnp.stack([jnp.ones_like(u), u, u**2, u**3])
    empty = jnp.zeros(pieces + 3, u.dtype)
    return lax.dynamic_update_slice(empty, weights, (piece.astype(jnp.int32),))


def basis_on(
    hidden: Any, time: np.ndarray, num_years: int, config: ShootingConfig, dtype: Any
) -> Array:
    """Basis functions at given times, [..., basis]."""
    if hidden is None:
        return jnp.asarray(bspline_basis(time, spline_knots(num_years, config)), dtype)
    flat = jnp.asarray(time.reshape(-1), dtype)
    rows = _features(hidden, flat, config.span(num_years), config, 0)[0]
    return rows.reshape((*time.shape, -1))


def roughness_matrix(hidden: Any, num_years: int, config: ShootingConfig, dtype: Any) -> Array:
    """P of integral f''^2 dt = c'P c, [basis, basis]; of a network by Gauss quadrature."""
    if hidden is None:
        return jnp.asarray(curvature_penalty(spline_knots(num_years, config)), dtype)
    span = config.span(num_years)
    nodes, shares = gauss_nodes(_NODES)
    time = jnp.asarray((np.arange(span)[:, None] + nodes[None, :]).reshape(-1), dtype)
    bend = _features(hidden, config.offset + time, span, config, 2)[2]
    return bend.T @ (jnp.asarray(np.tile(shares, span), dtype)[:, None] * bend)


def _features(
    hidden: Any, time: Array, span: int, config: ShootingConfig, order: int
) -> list[Array]:
    """Last hidden layer and a constant, with their derivatives by time, [time, unit + 1] each."""
    slope = 2.0 / span
    u = slope * (time - config.offset) - 1.0
    # the module's parameters end with a last layer, which the coefficients replace
    units = hidden_taylor(hidden, time_features(u, (), order), config.skips)
    ones = [jnp.ones_like(u)[:, None], *[jnp.zeros_like(u)[:, None]] * order]
    rows = [jnp.concatenate([a, b], axis=1) for a, b in zip(units, ones, strict=True)]
    return derivatives(rows, slope)


def split_network(params: Any) -> tuple[Any, Array]:
    """Hidden weights (the last layer empty) and coefficients, [town, unit + 1], of a network."""
    w, b = output_weights(params)
    weights = dict(params["params"])
    last = len(weights) // 2
    weights[f"w_{last}"], weights[f"b_{last}"] = w[:, :0], b[:0]
    return {"params": weights}, jnp.concatenate([w, b[None, :]]).T


def join_network(hidden: Any, coefficients: Array) -> Any:
    """Parameters of a network from `split_network`'s parts."""
    weights = dict(hidden["params"])
    last = len(weights) // 2
    weights[f"w_{last}"], weights[f"b_{last}"] = coefficients[:, :-1].T, coefficients[:, -1]
    return {"params": weights}


def acceleration(problem: ShootingProblem, theta: Any, linear: bool) -> Acceleration:
    """(t, q, v, f) -> q'' at theta; `linear`: the dynamics are (K, c)."""
    if not linear:
        return lambda t, q, v, f: problem.dynamics(t, q, v, f, theta)
    stiffness, damping = problem.dynamics(theta)

    def accelerate(t: Array, q: Array, v: Array, f: Array) -> Array:
        matrix = stiffness
        if stiffness.ndim == 3:
            year = jnp.clip(jnp.floor(t), 0, stiffness.shape[0] - 1).astype(jnp.int32)
            matrix = stiffness[year]
        return matrix_acceleration(q, v, f, matrix, damping)

    return accelerate


def shoot(
    unknowns: Unknowns,
    problem: ShootingProblem,
    linear: bool,
    per_year: int,
    config: ShootingConfig,
) -> Motion:
    """Motion from the start under the force, `per_year` times in a year."""
    num_years = problem.balance.shape[1]
    span, dtype = config.span(num_years), problem.balance.dtype
    q, v = unknowns.start
    coefficients = problem.forced[:, None] * unknowns.coefficients
    if config.solver == "propagator":
        nodes = config.offset + node_times(span * per_year, 1.0 / per_year, _NODES)
        table = basis_on(unknowns.hidden, nodes, num_years, config, dtype)
        force = jnp.einsum("ib,skb->isk", coefficients, table)
        stiffness, damping = problem.dynamics(unknowns.theta)
        if stiffness.ndim == 3:
            stiffness = jnp.repeat(stiffness[:span], per_year, axis=0)
        return propagate(stiffness, damping, q, v, force, 1.0 / per_year)
    accelerate = acceleration(problem, unknowns.theta, linear)

    def field(t: Array, q: Array, v: Array) -> Array:
        push = coefficients @ basis_at(unknowns.hidden, t, num_years, config)
        return accelerate(t, q, v, push)

    # times that the compiler does not know: `simulate` looks at the values of constants
    first = config.offset + 0.0 * lax.stop_gradient(problem.penalty)
    times = first + jnp.arange(span * per_year + 1, dtype=dtype) / per_year
    return simulate(field, q, v, times, config.integration)


def observe(balance: Array, velocity: Array, per_year: int, observation: str) -> Array:
    """Point values or year means of motions [..., time], [..., year].

    integral over a step = h/2 (q + q+) + h^2/12 (q' - q'+), error h^5/720 q''''
    """
    if observation == "point":
        return balance[..., ::per_year]
    h = 1.0 / per_year
    parts = 0.5 * h * (balance[..., :-1] + balance[..., 1:])
    parts = parts + h**2 / 12.0 * (velocity[..., :-1] - velocity[..., 1:])
    return parts.reshape((*parts.shape[:-1], -1, per_year)).sum(axis=-1)


def shooting_terms(
    unknowns: Unknowns, problem: ShootingProblem, linear: bool, config: ShootingConfig
) -> Array:
    """Sum of weighted squares of the misfit, and integral f''^2 over towns, [2].

    Differentiable in the unknowns, through the solver.
    """
    per_year = config.steps_per_year
    motion = shoot(unknowns, problem, linear, per_year, config)
    seen = observe(motion.balance, motion.velocity, per_year, config.observation)
    return terms_of(seen, unknowns, problem, config)


def terms_of(
    seen: Array, unknowns: Unknowns, problem: ShootingProblem, config: ShootingConfig
) -> Array:
    """`shooting_terms` where the observations of the motion are known."""
    dtype, num_years = problem.balance.dtype, problem.balance.shape[1]
    misfit = jnp.sum((problem.weight * (seen - problem.balance)) ** 2)
    matrix = roughness_matrix(unknowns.hidden, num_years, config, dtype)
    c = problem.forced[:, None] * unknowns.coefficients
    return jnp.stack([misfit, jnp.sum(c * (c @ matrix))])


@partial(jax.jit, static_argnums=(1, 2))
def draw_hidden(key: Array, config: ShootingConfig, num_years: int) -> Any:
    """Hidden weights at their start."""
    params = network(config, 1, float(config.span(num_years))).init(key, jnp.zeros(1))
    return split_network(params)[0]
