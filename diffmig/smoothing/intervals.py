"""Prediction intervals from honest past errors: split conformal and adaptive conformal.

The radius for a forecast made at row t is a quantile of the absolute errors known at row t; errors
h steps ahead of origin s are known from row s + h on. No distribution is assumed, only that past
and coming errors are alike; the adaptive form corrects the level where they are not.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class Intervals(NamedTuple):
    """Radii of one horizon.

    Attributes:
        radius: half width for the forecast made at each origin, [time, ...]; inf while too few
            errors are known for the level.
        covered: bool [time, ...], the value lay inside; False where not scored.
        scored: bool [time, ...], a value came and enough errors were known for a finite radius; an
            adaptive radius that is infinite later on counts as one that covers.
        level: nominal level in use at each origin, [time, ...].
    """

    radius: Array
    covered: Array
    scored: Array
    level: Array


def conformal_quantile(scores: Array, known: Array, level: Array) -> Array:
    """The ceil((n + 1) level)-th smallest of n known scores, [...]; inf if that exceeds n.

    Args:
        scores: [time, ...].
        known: bool [time, ...].
        level: wanted coverage, [...], in (0, 1).

    Source: Vovk, Gammerman, Shafer, 2005, Algorithmic Learning in a Random World, section 4.2.
    """
    ordered = jnp.sort(jnp.where(known, scores, jnp.inf), axis=0)
    count = jnp.sum(known, axis=0)
    place = (count + 1).astype(scores.dtype) * level
    slack = 8.0 * jnp.finfo(scores.dtype).eps * place  # rounding must not lift a whole number
    rank = jnp.ceil(place - slack).astype(count.dtype)
    row = jnp.clip(rank - 1, 0, scores.shape[0] - 1)
    found = jnp.take_along_axis(ordered, row[None], axis=0)[0]
    return jnp.where(rank > count, jnp.inf, jnp.where(rank < 1, 0.0, found))


def conformal_intervals(
    errors: Array,
    known: Array,
    horizon: int,
    level: float = 0.9,
    *,
    rate: float = 0.0,
) -> Intervals:
    """Radii along the way, each from errors known at its origin.

    Split conformal: the quantile of all absolute errors known so far. Adaptive conformal
    (rate > 0): the level of origin t follows level_{t+1} = level_t + rate (missed_t - (1 - level)),
    missed_t of the newest value that has come in; after the first finite radius, an infinite one
    misses nothing.

    Args:
        errors: errors `horizon` steps ahead by origin, [time, ...]: row t belongs to the forecast
            made at row t of row t + horizon.
        known: bool [time, ...], the forecast was honest and its value came.
        horizon: steps ahead, >= 1.
        level: nominal coverage, in (0, 1).
        rate: step size of the adaptive level; 0: split conformal.

    Returns:
        Intervals, leaves [time, ...].

    Raises:
        ValueError: horizon < 1, level outside (0, 1) or rate < 0.

    Notes:
        Work grows with time^2 log time. Serial dependence voids the finite-sample guarantee:
        report the coverage.

    Source: Gibbs, Candes, 2021, Adaptive conformal inference under distribution shift, NeurIPS 34,
    equation (2).
    """
    if horizon < 1 or not 0 < level < 1 or rate < 0:
        raise ValueError(
            f"expected horizon >= 1, level in (0, 1), rate >= 0, got {horizon}, {level}, {rate}"
        )
    scores = jnp.abs(errors)
    num_rows = scores.shape[0]
    rows = jnp.arange(num_rows).reshape((-1, *[1] * (scores.ndim - 1)))

    def body(carry: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        current, radii = carry
        radius = conformal_quantile(scores, known & (rows <= t - horizon), current)
        radii = lax.dynamic_update_index_in_dim(radii, radius, t, 0)
        # the forecast made `horizon` rows ago is scored now
        s = jnp.maximum(t - horizon + 1, 0)
        usable = lax.dynamic_index_in_dim(known, s, 0, keepdims=False) & (t - horizon + 1 >= 0)
        old, score = (lax.dynamic_index_in_dim(x, s, 0, keepdims=False) for x in (radii, scores))
        usable = usable & jnp.any(jnp.isfinite(radii) & (rows <= s), axis=0)
        miss = (score > old).astype(scores.dtype)
        moved = jnp.clip(current + rate * (miss - (1.0 - level)), 0.01, 0.999)
        after = jnp.where(usable, moved, current)
        return (after, radii), (radius, current)

    start = jnp.full(scores.shape[1:], level, scores.dtype)
    carry = (start, jnp.full(scores.shape, jnp.inf, scores.dtype))
    _, (radius, used) = lax.scan(body, carry, jnp.arange(num_rows))
    scored = known & (lax.cummax(jnp.isfinite(radius).astype(jnp.int8), axis=0) > 0)
    return Intervals(radius, scored & (scores <= radius), scored, used)


def next_radius(
    errors: Array, known: Array, horizon: int, level: float = 0.9, *, rate: float = 0.0
) -> Array:
    """Radius for the forecast made at the last row, [...]; args as `conformal_intervals`."""
    if rate == 0.0:
        num_rows = errors.shape[0]
        rows = jnp.arange(num_rows).reshape((-1, *[1] * (errors.ndim - 1)))
        wanted = jnp.full(errors.shape[1:], level, errors.dtype)
        return conformal_quantile(jnp.abs(errors), known & (rows < num_rows - horizon), wanted)
    return conformal_intervals(errors, known, horizon, level, rate=rate).radius[-1]


def coverage(intervals: Intervals) -> Array:
    """Share of scored values inside, [...]; NaN where none was scored."""
    number = jnp.sum(intervals.scored, axis=0)
    inside = jnp.sum(intervals.covered, axis=0)
    share = inside / jnp.maximum(number, 1)
    return jnp.where(number > 0, share, jnp.nan)
