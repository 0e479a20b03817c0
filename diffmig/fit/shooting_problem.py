"""Shooting: a parametrised force, the motion it drives through the solver, misfit and roughness.

The equation holds at every step of the search: nothing is traded between data and residual. With
splines and linear dynamics the loss is that of `fit_spline_force`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from diffmig.fit.shooting_config import ShootingConfig
from diffmig.fit.shooting_force import basis_at, basis_on, roughness_matrix
from diffmig.migration.modes import Motion, node_times, propagate
from diffmig.migration.motion import matrix_acceleration
from diffmig.migration.solve import simulate

Acceleration = Callable[[Array, Array, Array, Array], Array]

MIN_YEARS = 6


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
        coefficients: of the force on its basis functions, [town, basis]: B-splines, or turned units
            of the last hidden layer.
        hidden: Hidden; None for splines.
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
    if balance.dtype != jnp.float64:
        raise ValueError(f"balance: expected float64, got {balance.dtype}; enable x64 in JAX")
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
        nodes = config.offset + node_times(span * per_year, 1.0 / per_year)
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
