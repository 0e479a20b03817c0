"""Loss of a physics-informed network for q'' + c q' + K q = f: everything is a weighted square.

Arrays inside are [time, town]. A network's last layer is kept apart from what stands before it:
given the hidden units, every row of the loss is affine in the last layers, and the best of these is
a linear least-squares problem (`pinn_projection`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from diffmig.fit.pinn_problem import PinnConfig, PinnProblem
from diffmig.networks.residual import (
    Taylor,
    affine_taylor,
    derivatives,
    hidden_taylor,
    output_weights,
    sum_terms,
)


class Hidden(NamedTuple):
    """Hidden units: Taylor coefficients at the collocation points, of the balance's network at the
    nodes of the observations, [time, unit] each. `force` is empty where the force is eliminated.
    """

    balance: Taylor
    observed: Array
    force: Taylor


class Heads(NamedTuple):
    """Last layers in units of the data: weights [unit, town] and biases [town] of q and of f."""

    balance: Array
    balance_bias: Array
    force: Array
    force_bias: Array


class Path(NamedTuple):
    """Derivatives by time of q and f at the collocation points, [point, town] each, and the
    computed observations, [year, town].
    """

    balance: Taylor
    force: Taylor
    observed: Array


class Rows(NamedTuple):
    """Square roots of the terms of the loss, every term the sum of the squares of its rows.

    data: mean over observations of ((H q - observed) / noise)^2.
    residual: mean of ((q'' + c q' + K q - f) / (noise (2 pi / timescale)^2))^2; over the towns
        without force alone, where the force is eliminated.
    initial: mean over towns of ((q(t0) - q0) / noise)^2 and that of the velocities.
    interpolation: mean of ((q - spline) / noise)^2.
    curvature: mean of f''^2.  magnitude: mean of f^2.
    """

    data: Array
    residual: Array
    initial: Array
    interpolation: Array
    curvature: Array
    magnitude: Array


TERMS = Rows._fields


def pinn_hidden(params: Any, problem: PinnProblem, config: PinnConfig) -> Hidden:
    """Hidden units of both networks."""
    own = hidden_taylor(params["balance"], problem.features, config.skips)
    observed = hidden_taylor(params["balance"], [problem.observed], config.skips)[0]
    if config.force == "eliminated":
        return Hidden(own, observed, [])
    return Hidden(own, observed, hidden_taylor(params["force"], problem.features, config.skips))


def pinn_heads(params: Any, problem: PinnProblem) -> Heads:
    """Last layers of both networks in units of the data."""
    w, b = output_weights(params["balance"])
    if "force" not in params:
        own, bias = w * problem.spread[None, :], problem.center + problem.spread * b
        return Heads(own, bias, jnp.zeros_like(w[:0]), jnp.zeros_like(b))
    v, d = output_weights(params["force"])
    return Heads(
        balance=w * problem.spread[None, :],
        balance_bias=problem.center + problem.spread * b,
        force=v * problem.force_spread[None, :],
        force_bias=problem.force_spread * d,
    )


def pinn_path(
    hidden: Hidden,
    heads: Heads,
    stiffness: Array,
    damping: Array,
    problem: PinnProblem,
    config: PinnConfig,
) -> Path:
    """q, f and computed observations; affine in the heads.

    Args:
        hidden: from `pinn_hidden`.
        heads: from `pinn_heads`.
        stiffness: K, [town, town], [year, town, town], or [] for K = value times I.
        damping: c, [].
    """
    taylor = affine_taylor(heads.balance, heads.balance_bias, hidden.balance)
    observed = hidden.observed @ heads.balance + heads.balance_bias[None, :]
    if config.initial == "hard":
        u = problem.features[0][:, 0]
        taylor = _from_start(taylor, u, problem)
        observed = _from_start([observed], problem.observed[:, 0], problem)[0]
    q = [_closed(row, problem) for row in derivatives(taylor, problem.slope)]
    observed = _closed(observed, problem).reshape(-1, problem.shares.size, observed.shape[1])
    observed = jnp.einsum("n,ynt->yt", problem.shares, observed)
    if config.force == "eliminated":
        pushed = [q[k + 2] + damping * q[k + 1] + _pull(stiffness, q[k], problem) for k in range(3)]
        return Path(q, [_closed(row, problem) for row in pushed], observed)
    f = derivatives(affine_taylor(heads.force, heads.force_bias, hidden.force), problem.slope)
    if problem.forced is not None:
        f = [problem.forced[None, :] * row for row in f]
    return Path(q, [_closed(row, problem) for row in f], observed)


def pinn_rows(
    path: Path, stiffness: Array, damping: Array, problem: PinnProblem, config: PinnConfig
) -> Rows:
    """Square roots of the terms, before their weights; affine in `path`."""
    q, f = path.balance, path.force
    none = jnp.zeros((0, q[0].shape[1]), q[0].dtype)
    left = none
    if config.force == "network":
        left = q[2] + damping * q[1] + _pull(stiffness, q[0], problem) - f[0]
        left = _closed(left, problem)
    elif problem.forced is not None:
        left = (1.0 - problem.forced)[None, :] * f[0]
    soft, interpolated = config.initial == "soft", config.interpolation_weight > 0.0
    start = jnp.stack([q[0][0], q[1][0]]) - problem.start if soft else none
    return Rows(
        data=problem.weight * (path.observed - problem.balance),
        residual=problem.residual[None, :] * left,
        initial=problem.initial * start if soft else none,
        interpolation=problem.interpolation[None, :] * (q[0] - problem.interpolant)
        if interpolated
        else none,
        curvature=problem.magnitude[None, :] * f[2],
        magnitude=problem.magnitude[None, :] * f[0],
    )


def pinn_terms(
    params: Any, stiffness: Array, damping: Array, problem: PinnProblem, config: PinnConfig
) -> Array:
    """Terms of the loss before their weights, in the order of `TERMS`, [term].

    The loss is weights @ terms, with `PinnConfig.weights`.
    """
    hidden, heads = pinn_hidden(params, problem, config), pinn_heads(params, problem)
    path = pinn_path(hidden, heads, stiffness, damping, problem, config)
    rows = pinn_rows(path, stiffness, damping, problem, config)
    return jnp.stack([jnp.sum(row**2) for row in rows])


def _pull(stiffness: Array, q: Array, problem: PinnProblem) -> Array:
    if stiffness.ndim == 0:
        return stiffness * q
    if stiffness.ndim == 2:
        return q @ stiffness.T
    return jnp.einsum("pij,pj->pi", stiffness[problem.year], q)


def _closed(rows: Array, problem: PinnProblem) -> Array:
    """Rows [time, town] without their part along g, where the system is closed."""
    g = problem.constraint
    if g is None:
        return rows
    return rows - (rows @ g)[:, None] * g[None, :]


def _from_start(taylor: Taylor, u: Array, problem: PinnProblem) -> Taylor:
    """Taylor coefficients of q0 + (t - t0) v0 + s^2 y, s = (t - t0) / (t1 - t0) = (u + 1) / 2."""
    s = 0.5 * (u + 1.0)[:, None]
    square = [s**2, s, 0.25 * jnp.ones_like(s)]
    first, rate = problem.start[:1], problem.start[1:] / problem.slope
    line = [first + 2.0 * s * rate, rate]
    made = []
    for k in range(len(taylor)):
        row = sum_terms(square[j] * taylor[k - j] for j in range(min(k, 2) + 1))
        made.append(row + line[k] if k < 2 else row)
    return made


def cast_floats(tree: Any, dtype: str) -> Any:
    """`tree` with its floating leaves in another dtype."""

    def one(x: Array) -> Array:
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(one, tree)
