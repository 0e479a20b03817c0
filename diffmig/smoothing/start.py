"""Initial states by named rule; the best level and trend of linear filters exactly."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

RULES = ("first", "mean", "line", "season", "season-multiplicative")


class Start(NamedTuple):
    """Components one step before the first observation.

    Attributes:
        level: [...], unit of the series; 0 steps ahead of it lies the row before the first.
        trend: [...], per step.
        season: [period, ...], entry j belongs to the j-th row from the first observation on;
            added to the level, or its factor.
    """

    level: Array
    trend: Array
    season: Array


def start_values(
    y: Array,
    observed: Array | None,
    rule: str,
    num_values: int,
    period: int = 1,
) -> Start:
    """Initial components of every series by one rule.

    Rules, over the first n = num_values observed values:
        first: level = the first one, no trend.
        mean: level = their mean, no trend.
        line: least-squares line over them, its value one step before the first one; a single value
            gives no trend.
        season: least-squares line with an intercept for each phase: their mean is the level, their
            differences to it the season. n should be whole seasons, two at least; with less than
            two values in every phase there is no trend.
        season-multiplicative: the same line; then the mean ratio to it of the values of each phase,
            centred to mean 1.

    Args:
        y: values [time, ...]; any finite number where not observed.
        observed: bool [time, ...]; None: all are.
        rule: see above.
        num_values: n, >= 1.
        period: steps of a season.

    Returns:
        Start; season 0 without a seasonal rule. A series without any value starts at 0.

    Raises:
        ValueError: no such rule, or num_values < 1.

    Notes:
        Differentiable in y. The one-step errors of the first n values are in-sample: see
        `is_honest`.
    """
    if rule not in RULES:
        raise ValueError(f"initial: expected one of {RULES}, got {rule!r}")
    if num_values < 1:
        raise ValueError(f"num_values: expected at least 1, got {num_values}")
    shape = y.shape[1:]
    # all observed: the same for every series, kept small so that the compiler need not fold it
    seen = jnp.ones((y.shape[0], *[1] * len(shape)), bool) if observed is None else observed
    rank = jnp.cumsum(seen, axis=0)
    used = seen & (rank <= (1 if rule == "first" else num_values))
    weight = used.astype(y.dtype)
    first = jnp.argmax(seen, axis=0)
    rows = jnp.arange(y.shape[0]).reshape((-1, *[1] * len(shape)))
    elapsed = (rows - first[None] + 1).astype(y.dtype)  # 1 at the first observation
    weight, elapsed = (jnp.broadcast_to(x, y.shape) for x in (weight, elapsed))
    first = jnp.broadcast_to(first, shape)
    count = jnp.maximum(jnp.sum(weight, axis=0), 1.0)
    mean = jnp.sum(weight * y, axis=0) / count
    zero = jnp.zeros_like(mean)
    if rule in ("first", "mean"):
        return Start(mean, zero, jnp.zeros((period, *shape), y.dtype))
    if rule != "line":
        return _seasonal_start(y, weight, elapsed, first, rule, period)
    middle = jnp.sum(weight * elapsed, axis=0) / count
    square = jnp.sum(weight * (elapsed - middle[None]) ** 2, axis=0)
    product = jnp.sum(weight * (elapsed - middle[None]) * (y - mean[None]), axis=0)
    trend = jnp.where(square > 0, product / jnp.where(square > 0, square, 1.0), 0.0)
    return Start(mean - trend * middle, trend, jnp.zeros((period, *shape), y.dtype))


def _seasonal_start(
    y: Array, weight: Array, elapsed: Array, first: Array, rule: str, period: int
) -> Start:
    """Line with an intercept per phase; the season [period, ...] counts from the first value."""
    missing = -y.shape[0] % period
    pad = [(0, missing)] + [(0, 0)] * (y.ndim - 1)

    def by_phase(x: Array) -> Array:
        return jnp.pad(x, pad).reshape((-1, period, *x.shape[1:]))

    weight, time, value = by_phase(weight), by_phase(elapsed), by_phase(y)
    number = jnp.sum(weight, axis=0)
    known = number > 0
    share = weight / jnp.where(known, number, 1.0)[None]
    mean_time, mean = jnp.sum(share * time, axis=0), jnp.sum(share * value, axis=0)
    from_time, from_mean = time - mean_time[None], value - mean[None]
    square = jnp.sum(weight * from_time**2, axis=(0, 1))
    product = jnp.sum(weight * from_time * from_mean, axis=(0, 1))
    trend = jnp.where(square > 0, product / jnp.where(square > 0, square, 1.0), 0.0)
    intercept = mean - trend[None] * mean_time
    phases = jnp.maximum(jnp.sum(known, axis=0), 1).astype(y.dtype)
    level = jnp.sum(jnp.where(known, intercept, 0.0), axis=0) / phases
    if rule == "season":
        season = jnp.where(known, intercept - level[None], 0.0)
    else:
        line = level[None, None] + time * trend[None, None]
        usable = line > 0
        ratio = jnp.where(usable, value / jnp.where(usable, line, 1.0), 1.0)
        season = jnp.where(known, jnp.sum(share * ratio, axis=0), 1.0)
        centre = jnp.mean(season, axis=0)
        season = season / jnp.where(centre != 0, centre, 1.0)[None]
    order = jnp.arange(period).reshape((-1, *[1] * (y.ndim - 1))) + first[None]
    return Start(level, trend, jnp.take_along_axis(season, order % period, axis=0))


def is_honest(observed: Array, num_values: int) -> Array:
    """Rows whose one-step error is out of sample for the start: observed, after the first n.

    Args:
        observed: bool [time, ...].
        num_values: n, observed values that the start used.

    Returns:
        bool [time, ...].
    """
    return observed & (jnp.cumsum(observed, axis=0) > num_values)
