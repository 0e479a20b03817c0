"""Normal equations of the last layers of a physics-informed network, and how they are solved.

The rows of the loss are affine in the last layers X, [column, town]: F X + S X K, with one pair of
matrices F, S for all towns and weights by town. Where these weights differ little the modes of K
separate; where the force of some towns is known to be none, the matrix of all towns is taken, if it
is not too large. Either preconditions conjugate gradients on the rows as they are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from diffmig.fit.pinn_loss import Heads, Hidden, Rows, pinn_path, pinn_rows
from diffmig.fit.pinn_problem import PinnConfig, PinnProblem
from diffmig.migration import closed_stiffness

_RIDGE = 5e-7  # of the preconditioner, relative to the columns: hidden units are nearly dependent
_GAIN = 1e-6  # of a step, relative to the loss: less is none
_MAX_STEPS = 2000
_LARGEST = 4000  # unknowns of the matrix of all towns
_TINY = 1e-300


class System(NamedTuple):
    """Preconditioner: last layers as a function of unknowns z whose normal matrix is near 1.

    Attributes:
        heads_fn: z -> last layers, linear.
        zero: z = 0.
        degrees: of freedom of the computed observations, [].
    """

    heads_fn: Callable[[Array], Heads]
    zero: Array
    degrees: Array


def normal_system(
    hidden: Hidden,
    stiffness: Array,
    damping: Array,
    problem: PinnProblem,
    weights: Array,
    config: PinnConfig,
) -> System:
    """Preconditioner at K (its mean over the years, if it varies); arguments as in `project`."""
    mean = stiffness if stiffness.ndim == 2 else jnp.mean(stiffness, axis=0)
    columns = _columns(hidden)
    num_columns, num_towns = columns.balance_bias.size, problem.spread.size
    some = problem.forced is not None and problem.constraint is None
    build = _of_all if some and num_columns * num_towns <= _LARGEST else _of_modes
    alike = _alike(problem, config, build is _of_all)

    def rows_of(value: float) -> Rows:
        k = jnp.asarray(value, mean.dtype)
        return weighted(linear_rows(hidden, columns, k, damping, alike, config)[0], weights)

    fixed = rows_of(0.0)
    slope = jax.tree.map(jnp.subtract, rows_of(1.0), fixed)  # rows are affine in K
    return build(fixed, slope, mean, problem, hidden, config)


class LeastSquares(NamedTuple):
    """Minimum of |weights (linear(heads) - target)|.

    Attributes:
        heads: where it is.
        left: target - linear(heads), before the weights.
        num_steps: int32 [].
        converged: bool [], the last step gained less than a millionth.
    """

    heads: Heads
    left: Any
    num_steps: Array
    converged: Array


def least_squares(
    linear: Callable[[Heads], Any], target: Any, weights: Any, system: System
) -> LeastSquares:
    """Heads by conjugate gradients.

    Args:
        linear: last layers -> rows, any tree of arrays.
        target: tree of the same kind.
        weights: number for every array of the tree; 0: it is computed and not fitted.
        system: preconditioner.

    Source: Bjorck 1996, Numerical Methods for Least Squares Problems, algorithm 7.4.1 (CGLS).
    """

    def forward(z: Array) -> Any:
        return linear(system.heads_fn(z))

    transpose = jax.linear_transpose(forward, system.zero)

    def square(rows: Any) -> Array:
        weighed = jax.tree.map(lambda w, row: w**2 * jnp.sum(row**2), weights, rows)
        return jnp.sum(jnp.stack(jax.tree.leaves(weighed)))

    def going(state: Any) -> Array:
        *_, gain, count = state
        return (gain > _GAIN) & (count < _MAX_STEPS)

    def advance(state: Any) -> Any:
        z, left, way, power, _, count = state
        (slope,) = transpose(jax.tree.map(lambda w, row: w**2 * row, weights, left))
        new = jnp.sum(slope**2)
        way = slope + new / power * way
        moved = forward(way)
        length = new / jnp.maximum(square(moved), _TINY)
        left = jax.tree.map(lambda a, b: a - length * b, left, moved)
        gain = length * new / jnp.maximum(square(left), _TINY)
        return z + length * way, left, way, jnp.maximum(new, _TINY), gain, count + 1

    endless = jnp.full((), jnp.inf, system.zero.dtype)
    start = (system.zero, target, system.zero, endless, endless, jnp.int32(0))
    z, left, *_, gain, count = lax.while_loop(going, advance, start)
    return LeastSquares(system.heads_fn(z), left, count, gain <= _GAIN)


def linear_rows(
    hidden: Hidden,
    heads: Heads,
    stiffness: Array,
    damping: Array,
    problem: PinnProblem,
    config: PinnConfig,
) -> tuple[Rows, Array]:
    """Rows of the loss, before their weights, and computed observations, by the last layers."""
    path = pinn_path(hidden, heads, stiffness, damping, problem, config)
    return pinn_rows(path, stiffness, damping, problem, config), path.observed


def weighted(rows: Rows, weights: Array) -> Rows:
    """Rows times the roots of the weights of their terms."""
    return Rows(*(jnp.sqrt(w) * row for w, row in zip(weights, rows, strict=True)))


def flat_rows(rows: Rows) -> Array:
    """All rows behind each other."""
    return jnp.concatenate([row.reshape(-1) for row in rows])


def no_heads(hidden: Hidden, num_towns: int) -> Heads:
    """Last layers of zeros."""
    num_columns = _columns(hidden).balance_bias.size
    return _heads(jnp.zeros((num_columns, num_towns), hidden.observed.dtype), hidden)


def _of_modes(
    fixed: Rows,
    slope: Rows,
    stiffness: Array,
    problem: PinnProblem,
    hidden: Hidden,
    config: PinnConfig,
) -> System:
    """One matrix per mode of K, all towns alike."""
    if problem.constraint is not None:
        stiffness = closed_stiffness(stiffness, problem.constraint)
    values, vectors = jnp.linalg.eigh(stiffness)
    f, s = jnp.concatenate(fixed), jnp.concatenate(slope)
    squares = (f.T @ f, f.T @ s + s.T @ f, s.T @ s)

    def inverse(value: Array) -> Array:
        lower, norms = _triangle(squares[0] + value * squares[1] + value**2 * squares[2])
        eye = jnp.eye(norms.size, dtype=norms.dtype)
        return jax.scipy.linalg.solve_triangular(lower, eye, lower=True).T / norms[:, None]

    inverses = jax.vmap(inverse)(values)

    def heads_fn(z: Array) -> Heads:
        x = jnp.einsum("mij,mj->mi", inverses, z)
        return _heads(jnp.einsum("mi,tm->it", x, vectors), hidden)

    degrees = jnp.sum((fixed.data[None] @ inverses) ** 2)
    return System(heads_fn, jnp.zeros_like(inverses[:, 0]), degrees)


def _of_all(
    fixed: Rows,
    slope: Rows,
    stiffness: Array,
    problem: PinnProblem,
    hidden: Hidden,
    config: PinnConfig,
) -> System:
    """One matrix of all towns: sum over terms of F'F x W + F'S x W K + S'F x K W + S'S x K W K."""
    num_columns, num_towns = fixed.data.shape[1], problem.spread.size
    weights = _town_weights(problem, config)
    w = jax.vmap(jnp.diag)(jnp.stack(weights))
    wk = w @ stiffness
    pairs = list(zip(fixed, slope, strict=True))
    by_column = [jnp.stack([a.T @ b for a, b in both]) for both in _products(pairs)]
    by_town = [w, wk, jnp.swapaxes(wk, 1, 2), stiffness @ wk]
    matrix = jnp.einsum("kij,kab->iajb", jnp.concatenate(by_column), jnp.concatenate(by_town))
    matrix = matrix.reshape(num_columns * num_towns, -1)
    if config.force == "network" and problem.forced is not None:
        own = jnp.ones((num_columns - hidden.force[0].shape[1] - 1, num_towns), matrix.dtype)
        force = jnp.broadcast_to(problem.forced, (num_columns - own.shape[0], num_towns))
        used = jnp.concatenate([own, force]).reshape(-1)
        matrix = matrix * used[:, None] * used[None, :] + jnp.diag(1.0 - used)
    lower, norms = _triangle(matrix)

    def heads_fn(z: Array) -> Heads:
        x = jax.scipy.linalg.solve_triangular(lower, z, lower=True, trans=1) / norms
        return _heads(x.reshape(num_columns, num_towns), hidden)

    data = jnp.einsum("yi,ab->iayb", fixed.data, jnp.diag(jnp.sqrt(weights.data)))
    data = data.reshape(norms.size, -1) / norms[:, None]
    degrees = jnp.sum(jax.scipy.linalg.solve_triangular(lower, data, lower=True) ** 2)
    return System(heads_fn, jnp.zeros_like(norms), degrees)


def _products(pairs: list[tuple[Array, Array]]) -> list[list[tuple[Array, Array]]]:
    return [
        [(f, f) for f, _ in pairs],
        [(f, s) for f, s in pairs],
        [(s, f) for f, s in pairs],
        [(s, s) for _, s in pairs],
    ]


def _triangle(matrix: Array) -> tuple[Array, Array]:
    """Lower triangle of a matrix scaled to a diagonal of ones, with a ridge, and the scales."""
    norms = jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), _TINY))
    scaled = matrix / (norms[:, None] * norms[None, :])
    eye = jnp.eye(norms.size, dtype=norms.dtype)
    return jnp.linalg.cholesky(scaled + _RIDGE**2 * eye), norms


def _columns(hidden: Hidden) -> Heads:
    """Last layers whose outputs are the hidden units and the biases, those of q first."""
    size = hidden.observed.shape[1] + 1
    if hidden.force:
        size += hidden.force[0].shape[1] + 1
    return _heads(jnp.eye(size, dtype=hidden.observed.dtype), hidden)


def _heads(x: Array, hidden: Hidden) -> Heads:
    """Last layers from their rows, [column, town]: units of q, bias, units of f, bias."""
    num_own = hidden.observed.shape[1]
    own, bias, rest = x[:num_own], x[num_own], x[num_own + 1 :]
    if not hidden.force:
        return Heads(own, bias, rest, jnp.zeros_like(bias))
    return Heads(own, bias, rest[:-1], rest[-1])


def _alike(problem: PinnProblem, config: PinnConfig, forced_alike: bool) -> PinnProblem:
    """Problem of a town with root mean square weights and zero data; `forced_alike`: without the
    difference between towns with and without force.
    """

    def mean(x: Array) -> Array:
        return jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True))

    forced = problem.forced
    if forced is not None:
        known = config.force == "eliminated"
        own = 1.0 - forced if known else forced
        share = jnp.ones(1, forced.dtype) if forced_alike else mean(own)
        forced = 1.0 - share if known else share
    return problem._replace(
        balance=jnp.zeros_like(problem.weight[:, :1]),
        weight=mean(problem.weight),
        residual=mean(problem.residual),
        interpolation=mean(problem.interpolation),
        magnitude=mean(problem.magnitude),
        initial=mean(problem.initial),
        start=jnp.zeros_like(problem.start[:, :1]),
        interpolant=jnp.zeros_like(problem.interpolant[:, :1]),
        forced=forced,
        constraint=None,
    )


def _town_weights(problem: PinnProblem, config: PinnConfig) -> Rows:
    """Squared weights of the towns in every term, relative to those of `_alike`, [town] each."""

    def share(x: Array) -> Array:
        return x**2 / jnp.mean(x**2)

    data = share(jnp.sqrt(jnp.sum(problem.weight**2, axis=0)))
    residual = share(problem.residual)
    if config.force == "eliminated" and problem.forced is not None:
        residual = residual * (1.0 - problem.forced) ** 2
    magnitude = share(problem.magnitude)
    initial = share(jnp.sqrt(jnp.sum(problem.initial**2, axis=0)))
    return Rows(data, residual, initial, share(problem.interpolation), magnitude, magnitude)
