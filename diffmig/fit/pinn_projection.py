"""The best last layers of a physics-informed network, exactly: variable projection.

The hidden units given, the loss is a sum of squares of rows that are affine in the last layers.
Parameters of K and c follow by Gauss-Newton steps on what the best last layers leave.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jax.tree_util import Partial

from diffmig.batching import batched, on_one_device
from diffmig.fit.pinn_loss import (
    Heads,
    Hidden,
    Rows,
    cast_floats,
    pinn_hidden,
)
from diffmig.fit.pinn_normal import (
    flat_rows,
    least_squares,
    linear_rows,
    no_heads,
    normal_system,
    weighted,
)
from diffmig.fit.pinn_problem import PinnConfig, PinnProblem

MotionFn = Callable[[Any], tuple[Array, Array]]

_GAIN = 3e-6  # of the loss, relative: theta has converged
_STILL = 1e-8  # move of theta, relative to 1 + theta, that is none
_FACTOR = 1e-3  # of Levenberg and Marquardt, at the start


class Projection(NamedTuple):
    """Last layers of least loss, leaves [seed, ...] from `solve_heads`.

    Attributes:
        heads: in units of the data.
        terms: of the loss, before their weights, [term].
        observed: computed observations, [year, town].
        stiffness, damping: K and c.
        degrees: of freedom of the computed observations, []; exact where all towns are alike, or
            where the matrix of all towns was taken.
        num_steps: of conjugate gradients, int32 [].
        converged: bool [].
    """

    heads: Heads
    terms: Array
    observed: Array
    stiffness: Array
    damping: Array
    degrees: Array
    num_steps: Array
    converged: Array


class ThetaFit(NamedTuple):
    """Parameters of the motion after Gauss-Newton steps.

    Attributes:
        theta: flat, [seed, parameter].
        covariance: under the stated noise, the penalty as prior, [seed, parameter, parameter];
            infinite where the data do not determine theta.
        projection: last layers at theta.
        converged: bool [seed], a step changed the loss by less than a part in 300,000 or did not
            move theta.
    """

    theta: np.ndarray
    covariance: np.ndarray
    projection: Projection
    converged: np.ndarray


def as_partial(motion_fn: MotionFn) -> MotionFn:
    """`motion_fn` as an argument of compiled programs."""
    return motion_fn if isinstance(motion_fn, Partial) else Partial(motion_fn)


def project(
    hidden: Hidden,
    stiffness: Array,
    damping: Array,
    problem: PinnProblem,
    weights: Array,
    config: PinnConfig,
) -> Projection:
    """Last layers that minimise the loss, the hidden units given.

    min_X |A X - b|^2 by conjugate gradients, preconditioned by `normal_system`

    Args:
        hidden: from `pinn_hidden`, float64.
        stiffness, damping: K, [town, town] or [year, town, town], and c, [].
        problem: from `pinn_problem`.
        weights: of the terms, [term].
        config: choices.

    Returns:
        Projection.

    Source: Golub, Pereyra 1973, The differentiation of pseudo-inverses and nonlinear least squares
        problems whose variables separate.
    """
    system = normal_system(hidden, stiffness, damping, problem, weights, config)

    def rows_fn(heads: Heads) -> tuple[Rows, Array]:
        return linear_rows(hidden, heads, stiffness, damping, problem, config)

    offset, linear = jax.linearize(rows_fn, no_heads(hidden, problem.spread.size))
    target = jax.tree.map(jnp.negative, offset)
    nought = jnp.zeros((), weights.dtype)
    found = least_squares(linear, target, (Rows(*jnp.sqrt(weights)), nought), system)
    rows, observed = jax.tree.map(jnp.negative, found.left)
    return Projection(
        heads=found.heads,
        terms=jnp.stack([jnp.sum(row**2) for row in rows]),
        observed=observed,
        stiffness=stiffness,
        damping=damping,
        degrees=system.degrees,
        num_steps=found.num_steps,
        converged=found.converged,
    )


def solve_heads(
    params: Any,
    theta: Any,
    weights: Array | np.ndarray,
    problem: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    block: int | None,
    mesh: Mesh | None,
) -> Projection:
    """`project` for every seed.

    Args:
        params: of the networks, leaves [seed, ...].
        theta: parameters of the motion, leaves [seed, ...].
        weights: of the terms, [seed, term].
        problem: from `pinn_problem`.
        motion_fn: theta -> (K, c).
        config: choices.
        block: seeds side by side; None: all.
        mesh: devices that share the seeds.
    """
    found = _projected((params, theta, weights), problem, motion_fn, config, block, mesh)
    return on_one_device(found, weights.shape[0], mesh)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _projected(
    members: tuple[Any, Any, Array | np.ndarray],
    problem: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    block: int | None,
    mesh: Mesh | None,
) -> Projection:
    def one(member: tuple[Any, Any, Array]) -> Projection:
        params, theta, weights = cast_floats(member, "float64")
        hidden = pinn_hidden(params, problem, config)
        return project(hidden, *motion_fn(theta), problem, weights, config)

    return batched(one, members, block=block, mesh=mesh)


def solve_theta(
    params: Any,
    theta: Any,
    weights: np.ndarray,
    problem: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    block: int | None,
    mesh: Mesh | None,
    *,
    num_steps: int,
) -> ThetaFit:
    """Parameters and last layers that minimise the loss together, the hidden units given.

    (W'W + m diag(W'W)) step = -W'r,  W = (I - A A^+) dr/dtheta,  r the rows at the best last layers

    Args:
        theta: start.
        params, weights, problem, motion_fn, config, block, mesh: as in `solve_heads`.
        num_steps: at most so many.

    Source: Kaufman 1975, A variable projection method for solving separable nonlinear least squares
        problems, eq (2.9); Levenberg 1944, Marquardt 1963 for m.
    """
    rest = (problem, motion_fn, config, block, mesh)
    flat = np.asarray(jax.vmap(lambda x: ravel_pytree(x)[0])(theta), float)
    unravel: Any = jax.vmap(
        ravel_pytree(jax.tree.map(lambda x: jnp.asarray(x[0], float), theta))[1]
    )
    best = solve_heads(params, unravel(flat), weights, *rest)
    loss = _loss(best, weights)
    num_seeds, num_parameters = flat.shape
    factor, done = np.full(num_seeds, _FACTOR), np.zeros(num_seeds, bool)
    for _ in range(num_steps):
        now = _reduced(params, unravel(flat), best.heads, weights, *rest)
        normal, slope = (np.asarray(x) for x in now)
        size = np.einsum("spp->sp", normal)
        held = factor[:, None] * size + 1e-14 * size.max(axis=1, keepdims=True)
        damped = normal + held[:, :, None] * np.eye(num_parameters)
        trial = flat - np.linalg.solve(damped, slope[:, :, None])[:, :, 0]
        found = solve_heads(params, unravel(trial), weights, *rest)
        new = _loss(found, weights)
        better = new < loss
        done |= np.abs(new - loss) < _GAIN * loss
        factor = np.where(better, 0.1, 10.0) * factor
        still = np.abs(trial - flat).max(axis=1) < _STILL * (1.0 + np.abs(flat).max(axis=1))
        done |= still
        flat, loss = np.where(better[:, None], trial, flat), np.where(better, new, loss)
        best = jax.tree.map(partial(_choose, better), found, best)
        if done.all():
            break
    normal, _ = (np.asarray(x) for x in _reduced(params, unravel(flat), best.heads, weights, *rest))
    count = float(np.sum(np.asarray(problem.weight) > 0.0))
    return ThetaFit(flat, np.stack([_inverse(x) for x in normal]) / count, best, done)


@partial(jax.jit, static_argnames=("config", "block", "mesh"))
def _reduced(
    params: Any,
    theta: Any,
    heads: Heads,
    weights: Array | np.ndarray,
    problem: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    block: int | None,
    mesh: Mesh | None,
) -> tuple[Array, Array]:
    """W'W and W'r of every seed, r the rows at `heads`."""

    def one(member: tuple[Any, Any, Heads, Array]) -> tuple[Array, Array]:
        params, theta, heads, weights = cast_floats(member, "float64")
        hidden = pinn_hidden(params, problem, config)
        flat, unravel = ravel_pytree(theta)
        system = normal_system(hidden, *motion_fn(theta), problem, weights, config)

        def rows_fn(heads: Heads, flat: Array) -> Rows:
            rows, _ = linear_rows(hidden, heads, *motion_fn(unravel(flat)), problem, config)
            return weighted(rows, weights)

        rows, linear = jax.linearize(lambda heads: rows_fn(heads, flat), heads)

        one = Rows(*jnp.ones_like(weights))

        def remainder(column: Rows) -> Array:
            return flat_rows(least_squares(linear, column, one, system).left)

        by_theta = jax.jacfwd(lambda flat: rows_fn(heads, flat))(flat)
        w = jax.vmap(remainder, in_axes=-1, out_axes=-1)(by_theta)
        return w.T @ w, w.T @ flat_rows(rows)

    return batched(one, (params, theta, heads, weights), block=block, mesh=mesh)


def _loss(found: Projection, weights: np.ndarray) -> np.ndarray:
    return np.sum(np.asarray(found.terms) * weights, axis=1)


def _choose(better: np.ndarray, new: Array, old: Array) -> Array:
    return jnp.where(better.reshape((-1, *[1] * (new.ndim - 1))), new, old)


def _inverse(normal: np.ndarray) -> np.ndarray:
    """Inverse of a symmetric matrix; infinite where it is singular."""
    values, vectors = np.linalg.eigh(normal)
    if not values[0] > values[-1] * 1e-14:
        return np.full_like(normal, np.inf)
    return (vectors / values[None, :]) @ vectors.T
