"""Force of a shooting fit: functions of time, splines or a network, times coefficients."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from diffmig.fit.shooting_config import ShootingConfig
from diffmig.migration.bsplines import bspline_basis, curvature_penalty, uniform_knots
from diffmig.migration.modes import gauss_nodes
from diffmig.networks.residual import (
    ResidualNetwork,
    derivatives,
    hidden_taylor,
    time_features,
)

_NODES = 4  # of Gauss-Legendre quadrature
_TURN_TIMES = 401
_KEPT = 1e-10  # of the largest mean square
# pieces of a uniform cubic B-spline by powers of u, from the last to the first
_SPLINE = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6.0


class Hidden(NamedTuple):
    """Hidden layers of a network.

    Attributes:
        weights: parameters of a `ResidualNetwork`; the last layer is not used.
        turn: last hidden units and 1 to functions of mean square 1 and mean products 0 at the
            start, [unit + 1, unit + 1].
    """

    weights: Any
    turn: Array


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
    """Functions of a network and their derivatives by time, [time, unit + 1] each."""
    slope = 2.0 / span
    units = _units(hidden.weights, slope * (time - config.offset) - 1.0, config, order)
    return [row @ hidden.turn for row in derivatives(units, slope)]


def _units(weights: Any, u: Array, config: ShootingConfig, order: int) -> list[Array]:
    """Taylor coefficients by u of the last hidden layer and of 1, [time, unit + 1] each."""
    units = hidden_taylor(weights, time_features(u, (), order), config.skips)
    ones = [jnp.ones_like(u)[:, None], *[jnp.zeros_like(u)[:, None]] * order]
    return [jnp.concatenate([a, b], axis=1) for a, b in zip(units, ones, strict=True)]


@partial(jax.jit, static_argnums=(1, 2))
def draw_hidden(key: Array, config: ShootingConfig, num_years: int) -> Hidden:
    """Hidden layers at their start.

    The units over time are nearly dependent: what turns them keeps combinations whose mean square
    is above 1e-10 of the largest, and puts 0 for the others.
    """
    years = float(config.span(num_years))
    params = network(config, 1, years).init(key, jnp.zeros(1))["params"]
    weights = {"params": dict(params)}  # the last layer, which no hidden unit needs, at its size
    u = jnp.linspace(-1.0, 1.0, _TURN_TIMES)
    rows = _units(weights, u, config, 0)[0]
    values, vectors = jnp.linalg.eigh(rows.T @ rows / float(_TURN_TIMES))
    kept = values > _KEPT * values[-1]
    turn = vectors * jnp.where(kept, lax.rsqrt(jnp.where(kept, values, 1.0)), 0.0)[None, :]
    return Hidden(weights, turn)


def join_network(hidden: Hidden, coefficients: Array) -> Any:
    """Parameters of a network whose last layer has these coefficients, [town, basis]."""
    weights = dict(hidden.weights["params"])
    rows = hidden.turn @ coefficients.T
    last = len(weights) // 2
    weights[f"w_{last}"], weights[f"b_{last}"] = rows[:-1], rows[-1]
    return {"params": weights}
