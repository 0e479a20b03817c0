"""Exact motion of q'' + c q' + K q = f by the modes of K, step by step.

K is constant, or constant within each step. The force enters at Gauss nodes of each step: with n
nodes it is integrated exactly against the Green function as long as their product is a polynomial
of degree 2 n - 1; for yearly steps and forces that swing over several years four nodes leave
relative errors near 1e-8, six nodes round-off.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

NUM_NODES = 4
MOTION_STATUS = ("solved", "step limit reached", "a value is not finite")
_SERIES_TERMS = 12
_NEAR = 1e-5  # relative distance of eigenvalues below which a difference quotient is a derivative


class Modes(NamedTuple):
    """Eigenvalues and eigenvectors of a stiffness matrix.

    Attributes:
        values: squared angular frequencies, 1/year^2, ascending, [mode].
        vectors: orthonormal columns, [town, mode].
    """

    values: Array
    vectors: Array


class Motion(NamedTuple):
    """Balances and their velocities.

    Attributes:
        time: years, [time]; the first is the start.
        balance: q, [..., town, time].
        velocity: q', [..., town, time], per year.
        status: int8 [...], index into `MOTION_STATUS`.
    """

    time: Array
    balance: Array
    velocity: Array
    status: Array


def modes(stiffness: Array) -> Modes:
    """Modes of K, for many solves with the same matrix.

    Args:
        stiffness: K, [town, town], symmetric.

    Returns:
        Modes; seconds for 3,000 places. Constants for differentiation: give `propagate` the matrix
        itself where derivatives by K are wanted.
    """
    return Modes(*jnp.linalg.eigh(lax.stop_gradient(stiffness)))


def gauss_nodes(num_nodes: int = NUM_NODES) -> tuple[np.ndarray, np.ndarray]:
    """Nodes in (0, 1) and weights of Gauss-Legendre quadrature, [node] each; weights sum to 1."""
    if num_nodes < 1:
        raise ValueError(f"num_nodes: expected at least 1, got {num_nodes}")
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return 0.5 * (nodes + 1.0), 0.5 * weights


def node_times(num_steps: int, step: float = 1.0, num_nodes: int = NUM_NODES) -> np.ndarray:
    """Times at which `propagate` wants the force, [step, node], years from the start."""
    return (np.arange(num_steps)[:, None] + gauss_nodes(num_nodes)[0][None, :]) * step


def green(values: Array, damping: ArrayLike, time: ArrayLike) -> tuple[Array, Array]:
    """Green function of one mode and its derivative: answer to a unit push at time 0.

    G(t) = exp(-c t / 2) sin(w t) / w,  w^2 = value - c^2 / 4;  G'' + c G' + value G = 0

    Args:
        values: eigenvalues of K, 1/year^2, any sign: w may be 0 or imaginary.
        damping: c, 1/year.
        time: t >= 0, years; shapes broadcast.

    Returns:
        G, years, and G', 1; t and 1 where value and c are 0. Entire functions of the value:
        derivatives of every order exist.

    Source: Goldstein et al., 2002, chapter 6; the undamped limit is the formula of a free mode.
    """
    time = jnp.asarray(time, values.dtype)
    c = jnp.asarray(damping, values.dtype)
    square = (values - c**2 / 4.0) * time**2
    cosine, sine = _cos_sin(square)
    decay = jnp.exp(-c * time / 2.0)
    return decay * time * sine, decay * (cosine - 0.5 * c * time * sine)


def propagate(
    stiffness: Array | Modes,
    damping: ArrayLike,
    balance: Array,
    velocity: Array,
    force: Array,
    step: float = 1.0,
) -> Motion:
    """Exact motion from an initial state under a force given at the Gauss nodes of every step.

    q(t + h) = (G' + c G) q + G q' + integral_0^h G(h - s) f(t + s) ds, and its derivative

    Args:
        stiffness: K, [town, town], or its modes (quicker where K is the same for many calls), or
            [step, town, town], constant within each step.
        damping: c, 1/year, [].
        balance, velocity: q and q' at the start, [..., town].
        force: f at `node_times(num_steps, step, num_nodes)`, [..., town, step, node].
        step: h, years.

    Returns:
        Motion at the start and the end of every step, [..., town, 1 + step]. Status 0, or 2 where a
        value is not finite.

    Raises:
        ValueError: shapes that do not fit together.

    Notes:
        Differentiable in everything but the modes, also where eigenvalues of K coincide (the
        derivative of a matrix function by divided differences, Daleckii and Krein). Batch axes cost
        two products with the matrix of modes per node; nothing grows with the number of scenarios
        but the arrays themselves.

    Source: variation of constants, modal form; Higham, 2008, Functions of Matrices, theorem 3.11.
    """
    num_steps = _check(stiffness, balance, velocity, force)
    damping = jnp.asarray(damping, force.dtype)
    shape = jnp.broadcast_shapes(balance.shape, velocity.shape, force.shape[:-2])
    q, v = jnp.broadcast_to(balance, shape), jnp.broadcast_to(velocity, shape)
    f = jnp.broadcast_to(force, (*shape, *force.shape[-2:]))
    if isinstance(stiffness, Modes):
        out = _by_modes(stiffness, damping, q, v, f, step)
    elif stiffness.ndim == 2:
        out = _by_matrix(step, stiffness, damping, q, v, f)
    else:

        def advance(state: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            matrix, push = now
            moved = _by_matrix(step, matrix, damping, state[0], state[1], push)
            return moved[..., -1], moved[..., -1]

        steps = jnp.moveaxis(f[..., None, :], -3, 0)
        start = jnp.stack([q, v])
        _, rest = lax.scan(advance, start, (stiffness, steps))
        out = jnp.moveaxis(jnp.concatenate([start[None], rest]), 0, -1)
    finite = jnp.all(jnp.isfinite(out), axis=(0, -2, -1))
    return Motion(
        time=jnp.arange(num_steps + 1, dtype=out.dtype) * step,
        balance=out[0],
        velocity=out[1],
        status=jnp.where(finite, 0, 2).astype(jnp.int8),
    )


def _step_weights(values: Array, damping: Array, step: ArrayLike, num_nodes: int) -> Array:
    """One step of every mode: (q, q', force at the nodes) -> (q, q'), [2, 2 + node, mode]."""
    nodes, weights = gauss_nodes(num_nodes)
    g, g_rate = green(values, damping, step)
    state = jnp.stack([jnp.stack([g_rate + damping * g, g]), jnp.stack([-values * g, g_rate])])
    left = jnp.asarray((1.0 - nodes) * step, values.dtype)[:, None]
    share = jnp.asarray(weights * step, values.dtype)[:, None]
    push = jnp.stack([share * x for x in green(values[None, :], damping, left)])
    return jnp.concatenate([state, push], axis=1)


def _run(weights: Array, start: Array, pushes: Array) -> Array:
    """States [1 + step, 2, ..., mode] from the start [2, ..., mode] and [step, push, ..., mode]."""
    batch = (1,) * (start.ndim - 2)
    w = weights.reshape(*weights.shape[:2], *batch, weights.shape[-1])

    def advance(state: Array, push: Array) -> tuple[Array, Array]:
        terms = [*state, *push]
        new = jnp.stack([sum(row[k] * x for k, x in enumerate(terms)) for row in w])
        return new, new

    _, rest = lax.scan(advance, start, pushes)
    return jnp.concatenate([start[None], rest])


def _to_modes(vectors: Array, force: Array) -> Array:
    """[..., town, step, node] -> [step, node, ..., mode], by one product of matrices."""
    return jnp.moveaxis(force, (-2, -1), (0, 1)) @ vectors


def _to_towns(vectors: Array, states: Array) -> Array:
    """[time, 2, ..., mode] -> [2, ..., town, time]."""
    return jnp.moveaxis(states @ vectors.T, 0, -1)


@jax.jit
def _by_modes(found: Modes, damping: Array, q: Array, v: Array, force: Array, step: float) -> Array:
    """[2, ..., town, 1 + step]."""
    values, vectors = found
    weights = _step_weights(values, damping, step, force.shape[-1])
    start = jnp.stack([q, v]) @ vectors
    return _to_towns(vectors, _run(weights, start, _to_modes(vectors, force)))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _by_matrix(
    step: float, stiffness: Array, damping: Array, q: Array, v: Array, force: Array
) -> Array:
    return _by_modes(Modes(*jnp.linalg.eigh(stiffness)), damping, q, v, force, step)


@partial(_by_matrix.defjvp, symbolic_zeros=True)
def _by_matrix_jvp(step: float, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    stiffness, damping, q, v, force = primals
    change, *rest = tangents
    found = Modes(*jnp.linalg.eigh(stiffness))
    out = _by_modes(found, damping, q, v, force, step)
    moving = [not isinstance(t, SymbolicZero) for t in rest]
    inputs = primals[1:]
    tangent = jnp.zeros_like(out)
    if any(moving):

        def linear(*chosen: Array) -> Array:
            given = iter(chosen)
            full = [next(given) if m else x for m, x in zip(moving, inputs, strict=True)]
            return _by_modes(found, full[0], full[1], full[2], full[3], step)

        at = tuple(x for m, x in zip(moving, inputs, strict=True) if m)
        along = tuple(t for m, t in zip(moving, rest, strict=True) if m)
        tangent = jax.jvp(linear, at, along)[1]
    if not isinstance(change, SymbolicZero):
        tangent = tangent + _matrix_tangent(found, change, damping, force, out, step)
    return out, tangent


def _matrix_tangent(
    found: Modes, change: Array, damping: Array, force: Array, out: Array, step: float
) -> Array:
    """Change of the motion by a change of K: the motion of the modes under dPhi z + dGamma f."""
    values, vectors = found
    moved = vectors.T @ (0.5 * (change + change.T)) @ vectors
    num_modes, num_nodes = values.size, force.shape[-1]
    weights = _step_weights(values, damping, step, num_nodes)
    quotient = _divided(
        lambda x: _step_weights(x, damping, step, num_nodes).reshape(-1, num_modes), values
    ).reshape(2, 2 + num_nodes, num_modes, num_modes)
    states = jnp.moveaxis(out[..., :-1], -1, 0) @ vectors
    terms = jnp.concatenate([states, _to_modes(vectors, force)], axis=1)
    impulse = jnp.einsum("sk...n,akmn->sa...m", terms, quotient * moved[None, None])
    unit = jnp.eye(2, dtype=weights.dtype)[:, :, None]
    with_impulse = jnp.concatenate(
        [weights[:, :2], jnp.broadcast_to(unit, (2, 2, num_modes))], axis=1
    )
    return _to_towns(vectors, _run(with_impulse, jnp.zeros_like(out[..., 0]), impulse))


def _divided(fn: Any, values: Array) -> Array:
    """(f(a) - f(b)) / (a - b) for all pairs of values, the mean of f'(a), f'(b) where they meet.

    Args:
        fn: [value] -> [function, value], each entry of its own value only.

    Returns:
        [function, value, value].
    """
    a, b = values[:, None], values[None, :]
    apart = jnp.abs(a - b) > _NEAR * (1.0 + jnp.abs(a) + jnp.abs(b))
    at, slope = jax.jvp(fn, (values,), (jnp.ones_like(values),))
    quotient = (at[:, :, None] - at[:, None, :]) / jnp.where(apart, a - b, 1.0)[None]
    return jnp.where(apart[None], quotient, 0.5 * (slope[:, :, None] + slope[:, None, :]))


def _cos_sin(square: Array) -> tuple[Array, Array]:
    """cos(sqrt(x)) and sin(sqrt(x)) / sqrt(x), entire in x."""
    small, positive = jnp.abs(square) < 1.0, square > 0.0
    x = jnp.where(small, square, 0.0)
    cosine, sine = jnp.zeros_like(x), jnp.zeros_like(x)
    for k in reversed(range(_SERIES_TERMS)):
        cosine = 1.0 - cosine * x / ((2 * k + 1) * (2 * k + 2))
        sine = 1.0 - sine * x / ((2 * k + 2) * (2 * k + 3))
    root = jnp.sqrt(jnp.where(small, 1.0, jnp.abs(square)))
    wave = jnp.where(positive, jnp.cos(root), jnp.cosh(root))
    slope = jnp.where(positive, jnp.sin(root), jnp.sinh(root)) / root
    return jnp.where(small, cosine, wave), jnp.where(small, sine, slope)


def _check(stiffness: Array | Modes, balance: Array, velocity: Array, force: Array) -> int:
    if force.ndim < 3 or not force.shape[-2] or not force.shape[-1]:
        raise ValueError(f"force: expected [..., town, step, node], got {force.shape}")
    num_towns, num_steps, _ = force.shape[-3:]
    for name, x in (("balance", balance), ("velocity", velocity)):
        if x.shape[-1:] != (num_towns,):
            raise ValueError(f"{name}: expected [..., {num_towns}] as the force, got {x.shape}")
    if isinstance(stiffness, Modes):
        got, varying = stiffness.vectors.shape, False
    else:
        got, varying = stiffness.shape, stiffness.ndim == 3
    square = (num_towns, num_towns)
    if got != ((num_steps, *square) if varying else square):
        raise ValueError(
            f"stiffness: expected {square} or, by step, {(num_steps, *square)}, got {got}"
        )
    return num_steps
