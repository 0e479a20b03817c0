"""Linear stand-in of a shooting problem: start of the search, its scales, errors of the result.

The dynamics are linearised about a path, with mean matrices, and driven mode by mode. Where the
dynamics are linear it is the problem itself. Its unknowns are q and q' at the start and the
coefficients of the force, [town, column]; its dense matrices take seconds for a hundred towns over
20 years.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from diffmig.fit.shooting_config import ShootingConfig
from diffmig.fit.shooting_force import basis_on, roughness_matrix
from diffmig.fit.shooting_problem import ShootingProblem, Unknowns, acceleration, observe
from diffmig.migration.modes import Modes, node_times, propagate

_STATES = 2
_PATH_STEPS = 4  # of a path, per piece of the spline
_RIDGE = 1e-12  # of a normal matrix's mean diagonal
_FLOOR = 1e-10  # of the data's sum of squares: the smallest loss that sets a scale


class Path(NamedTuple):
    """Times [time] and the motion [town, time] about which dynamics are linearised."""

    time: Array
    balance: Array
    velocity: Array
    force: Array


class Linear(NamedTuple):
    """The linear problem, unknowns flattened to [unknown].

    Attributes:
        modes: of the mean stiffness.
        damping: mean -dq''/dq', [].
        motions: q of a mode by its unknowns, [mode, time, column].
        rows: observations times the roots of their weights, [town * year, unknown].
        whitening: L^{-1} of the normal matrix LL', [unknown, unknown]; unforced coefficients are
            taken out.
    """

    modes: Modes
    damping: Array
    motions: Array
    rows: Array
    whitening: Array


class ThetaScale(NamedTuple):
    """Parameters of the dynamics in the linear problem.

    Attributes:
        information: W'W, what the data say on theta with the other unknowns at their best,
            [parameter, parameter].
        moves: change of the other unknowns that a change of theta asks for, [parameter, unknown].
    """

    information: Array
    moves: Array


def smooth(problem: ShootingProblem, config: ShootingConfig) -> tuple[Path, Array]:
    """Smoothing spline of the data: q'' = g, the penalty on g; and its loss.

    Returns:
        Path with g as its force, and the loss, [], at least 1e-10 of the data's.
    """
    num_years, dtype = problem.balance.shape[1], problem.balance.dtype
    free = Modes(jnp.zeros(1, dtype), jnp.ones((1, 1), dtype))
    one, none = jnp.ones((), dtype), jnp.zeros((), dtype)
    per_year = _PATH_STEPS * config.knots_per_year
    motion = _columns(free, none, one, None, num_years, per_year, config)[:, 0]  # [2, time, column]
    rows = _observed(motion, per_year, config)  # [year, column]
    rough = _padded(roughness_matrix(None, num_years, config, dtype))

    def solve(weight: Array, data: Array) -> Array:
        weighted = weight[:, None] * rows
        root = _root(weighted.T @ weighted + problem.penalty * rough)
        return _solve(root, weighted.T @ (weight * data))

    x = jax.vmap(solve)(problem.weight, problem.balance)
    times = _path_times(motion.shape[1], num_years, config)
    basis = basis_on(None, times, num_years, config, dtype)
    path = Path(
        jnp.asarray(times, dtype), x @ motion[0].T, x @ motion[1].T, x[:, _STATES:] @ basis.T
    )
    loss = jnp.sum((problem.weight * (x @ rows.T - problem.balance)) ** 2)
    loss = loss + problem.penalty * jnp.sum(x * (x @ rough))
    return path, jnp.maximum(loss, _FLOOR * jnp.sum((problem.weight * problem.balance) ** 2))


def first_unknowns(
    path: Path,
    hidden: Any,
    theta: Any,
    problem: ShootingProblem,
    linear: bool,
    config: ShootingConfig,
) -> tuple[Unknowns, Path]:
    """Unknowns whose motion is near a smoothed path, and the path with the force that drives it.

    f solves a(t, q, q', f) = q'', for a affine in f, and is then projected on the basis.
    """
    accelerate = acceleration(problem, theta, linear)

    def force(t: Array, q: Array, v: Array, wanted: Array) -> Array:
        none = jnp.zeros_like(q)
        gain = jax.jacfwd(accelerate, 3)(t, q, v, none)
        return jnp.linalg.solve(gain, wanted - accelerate(t, q, v, none))

    f = jax.vmap(force, (0, 1, 1, 1), 1)(*path) * problem.forced[:, None]
    coefficients = _project(f, hidden, problem.balance.shape[1], config)
    start = jnp.stack([path.balance[:, 0], path.velocity[:, 0]])
    return Unknowns(start, coefficients, hidden, theta), path._replace(force=f)


def linearise(
    path: Path,
    hidden: Any,
    theta: Any,
    problem: ShootingProblem,
    linear: bool,
    per_year: int,
    config: ShootingConfig,
) -> Linear:
    """The linear problem about a path, its motions at `per_year` times in a year."""
    accelerate = acceleration(problem, theta, linear)
    num_years, dtype = problem.balance.shape[1], problem.balance.dtype
    slopes = jax.vmap(jax.jacfwd(accelerate, (1, 2, 3)), (0, 1, 1, 1))(*path)
    by_balance, by_velocity, by_force = (jnp.mean(slope, axis=0) for slope in slopes)
    found = Modes(*jnp.linalg.eigh(-0.5 * (by_balance + by_balance.T)))
    damping, gain = -jnp.mean(jnp.diagonal(by_velocity)), jnp.mean(jnp.diagonal(by_force))
    motion = _columns(found, damping, gain, hidden, num_years, per_year, config)
    columns = _observed(motion, per_year, config)  # [mode, year, column]
    rows = jnp.einsum("im,jm,myc->iyjc", found.vectors, found.vectors, columns)
    free = _free(problem.forced, columns.shape[-1])
    size = free.size
    rows = (problem.weight[:, :, None, None] * rows).reshape((-1, size)) * free[None, :]
    rough = _padded(roughness_matrix(hidden, num_years, config, dtype))
    penalties = problem.penalty * jnp.kron(jnp.eye(len(problem.forced), dtype=dtype), rough)
    normal = rows.T @ rows + free[:, None] * penalties * free[None, :] + jnp.diag(1.0 - free)
    whitening = _lower(_root(normal), jnp.eye(size, dtype=dtype))
    return Linear(found, damping, motion[0], rows, whitening)


def unwhiten(model: Linear, z: Array, forced: Array) -> Array:
    """Unknowns [town, column] from those in which the normal matrix is the identity, [unknown]."""
    free = _free(forced, model.motions.shape[-1])
    return (free * (z @ model.whitening)).reshape((len(forced), -1))


def theta_scale(
    model: Linear,
    path: Path,
    theta: Any,
    problem: ShootingProblem,
    linear: bool,
    config: ShootingConfig,
) -> ThetaScale:
    """Information on theta, W = (I - A A^+) J with the rows of the penalty in A.

    Source: Golub, Pereyra 1973, The differentiation of pseudo-inverses and nonlinear least squares
        problems whose variables separate.
    """
    flat, unravel = ravel_pytree(theta)

    def pushes(flat: Array) -> Array:
        accelerate = acceleration(problem, unravel(flat), linear)
        return jax.vmap(accelerate, (0, 1, 1, 1), 1)(*path)

    change = jnp.moveaxis(jax.jacfwd(pushes)(flat), -1, 0)  # [parameter, town, time]
    seen = _driven(model, change, problem.balance.shape[1], config)
    seen = (problem.weight[None] * seen).reshape((flat.size, -1))
    white = (seen @ model.rows) @ model.whitening.T
    return ThetaScale(seen @ seen.T - white @ white.T, white @ model.whitening)


def degrees_of_freedom(model: Linear) -> Array:
    """Trace of the map from observations to those of the fit, theta held, []."""
    return jnp.sum((model.whitening @ model.rows.T) ** 2)


def band_shapes(model: Linear, basis: Array, forced: Array) -> tuple[Array, Array]:
    """Posterior variances of q and f in units of the noise variance, [town, time]; prior of the
    coefficients: the penalty.

    Args:
        model: with motions at the times wanted.
        basis: of the force there, [time, basis].
        forced: 1 or 0, [town].
    """
    vectors, num_columns = model.modes.vectors, model.motions.shape[-1]
    by_town = model.whitening.reshape((-1, len(forced), num_columns))

    def variances(town: Array) -> tuple[Array, Array]:
        part = jnp.take(by_town, town, axis=1)[:, _STATES:] @ basis.T
        reach = jnp.einsum("m,jm,mtc->tjc", vectors[town], vectors, model.motions)
        reach = reach.reshape((reach.shape[0], -1)) * _free(forced, num_columns)[None, :]
        moved = model.whitening @ reach.T
        return jnp.sum(moved**2, axis=0), forced[town] * jnp.sum(part**2, axis=0)

    return lax.map(variances, jnp.arange(len(forced)))


def _columns(
    found: Modes,
    damping: Array,
    gain: Array,
    hidden: Any,
    num_years: int,
    per_year: int,
    config: ShootingConfig,
) -> Array:
    """q and q' of every mode by its unknowns, [2, mode, time, column]."""
    span, dtype, num_modes = config.span(num_years), found.values.dtype, found.values.size
    times = config.offset + node_times(span * per_year, 1.0 / per_year)
    table = gain * jnp.moveaxis(basis_on(hidden, times, num_years, config, dtype), -1, 0)
    force = jnp.pad(table, ((_STATES, 0), (0, 0), (0, 0)))[:, None]
    force = jnp.broadcast_to(force, (force.shape[0], num_modes, *force.shape[2:]))
    starts = jnp.broadcast_to(
        jnp.eye(force.shape[0], _STATES, dtype=dtype).T[:, :, None],
        (_STATES, force.shape[0], num_modes),
    )
    alone = Modes(found.values, jnp.eye(num_modes, dtype=dtype))
    motion = propagate(alone, damping, starts[0], starts[1], force, 1.0 / per_year)
    return jnp.moveaxis(jnp.stack([motion.balance, motion.velocity]), 1, -1)


def _driven(model: Linear, pushes: Array, num_years: int, config: ShootingConfig) -> Array:
    """Observations of motions from rest under accelerations on the path's times, [..., town,
    time] to [..., town, year].
    """
    per_year = config.steps_per_year
    times = config.offset + node_times(config.span(num_years) * per_year, 1.0 / per_year)
    table = basis_on(None, times, num_years, config, pushes.dtype)
    nodes = jnp.einsum("aib,skb->aisk", _project(pushes, None, num_years, config), table)
    rest = jnp.zeros(nodes.shape[:2], nodes.dtype)
    motion = propagate(model.modes, model.damping, rest, rest, nodes, 1.0 / per_year)
    return observe(motion.balance, motion.velocity, per_year, config.observation)


def _observed(motion: Array, per_year: int, config: ShootingConfig) -> Array:
    """[2, ..., time, column] -> [..., year, column]."""
    q, v = jnp.moveaxis(motion, -1, 1)
    return jnp.moveaxis(observe(q, v, per_year, config.observation), 0, -1)


def _project(values: Array, hidden: Any, num_years: int, config: ShootingConfig) -> Array:
    """Coefficients of functions given on the path's times, [..., time] to [..., basis]."""
    times = _path_times(values.shape[-1], num_years, config)
    basis = basis_on(hidden, times, num_years, config, values.dtype)
    right = (values @ basis).reshape((-1, basis.shape[1]))
    return _solve(_root(basis.T @ basis), right.T).T.reshape((*values.shape[:-1], -1))


def _path_times(number: int, num_years: int, config: ShootingConfig) -> np.ndarray:
    """So many times over the whole motion."""
    return config.offset + np.linspace(0.0, config.span(num_years), number)


def _padded(roughness: Array) -> Array:
    return jnp.pad(roughness, ((_STATES, 0), (_STATES, 0)))


def _free(forced: Array, num_columns: int) -> Array:
    """1 where an unknown is free, 0 for coefficients of unforced towns, [unknown]."""
    own = jnp.broadcast_to(forced[:, None], (len(forced), num_columns - _STATES))
    return jnp.concatenate([jnp.ones_like(own[:, :1])] * _STATES + [own], axis=1).reshape(-1)


def _root(normal: Array) -> Array:
    size = _RIDGE * jnp.mean(jnp.diagonal(normal))
    return jnp.linalg.cholesky(normal + size * jnp.eye(len(normal), dtype=normal.dtype))


def _solve(root: Array, right: Array) -> Array:
    return _solve_transposed(root, _lower(root, right))


def _lower(root: Array, right: Array) -> Array:
    return jax.scipy.linalg.solve_triangular(root, right, lower=True)


def _solve_transposed(root: Array, right: Array) -> Array:
    return jax.scipy.linalg.solve_triangular(root, right, trans=1, lower=True)
