"""The best start of a linear filter, exactly."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from diffmig.smoothing.base import Params, Smoother, advance, has_started
from diffmig.smoothing.start import Start


class BestStart(NamedTuple):
    """start: of least squared one-step errors, given the weights.  sum_squares: what is left."""

    start: Start
    sum_squares: Array


def solve_start(
    smoother: Smoother, params: Params, y: Array, observed: Array | None, near: Start
) -> BestStart:
    """Start of least squared one-step errors, given the weights.

    The errors are linear in level and trend, e(near + d) = e(near) + J d, so that
    d = -(J'J)^-1 J'e and the sum of squares left is e'e - e'J (J'J)^-1 J'e. The columns of J are
    the errors of the same filter on data 0 from unit starts; they travel along in one pass.

    Args:
        smoother: a filter with `num_linear` 1 (level) or 2 (level and trend).
        params: its weights, [parameter, ...].
        y: values [time, ...]; any finite number where not observed.
        observed: bool [time, ...]; None: all are.
        near: a start of the right size, from a rule: keeps the equations well scaled.

    Returns:
        BestStart. Where level and trend cannot be told apart the trend of `near` is kept.

    Raises:
        ValueError: the filter is not linear in its start.

    Notes:
        Differentiable in params and y; nothing is stored along the way.
    """
    if smoother.num_linear not in (1, 2):
        raise ValueError(
            f"{smoother.name}: its forecasts are not linear in level and trend; "
            "choose a rule of start_values"
        )
    zero, one = jnp.zeros_like(near.level), jnp.ones_like(near.level)
    flat = jnp.zeros_like(near.season)
    units = [Start(one, zero, flat), Start(zero, one, flat)][: smoother.num_linear]
    states = tuple(smoother.begin(params, start) for start in (near, *units))
    sums = (zero,) * (3 if smoother.num_linear == 1 else 6)

    def body(carry: tuple[Any, tuple[Array, ...]], row: Any) -> tuple[Any, None]:
        states, sums = carry
        value, seen, started = row
        moved, errors = [], []
        for k, state in enumerate(states):
            actual = value if k == 0 else jnp.zeros_like(value)
            state, forecast = advance(smoother, params, state, actual, seen, started)
            error = actual - forecast
            moved.append(state)
            errors.append(error if seen is None else jnp.where(seen, error, 0.0))
        return (tuple(moved), _accumulate(sums, errors)), None

    (_, sums), _ = lax.scan(body, (states, sums), (y, observed, has_started(observed)))
    if smoother.num_linear == 1:
        total, ll, le = sums
        shift = -le / jnp.where(ll > 0, ll, 1.0)
        best = near._replace(level=near.level + shift)
        return BestStart(best, jnp.maximum(total + shift * le, 0.0))
    total, ll, le, bb, be, lb = sums
    determinant = ll * bb - lb * lb
    tiny = max(1e-12, 100.0 * float(jnp.finfo(near.level.dtype).eps))
    solvable = determinant > tiny * ll * bb  # else level and trend cannot be told apart
    safe = jnp.where(solvable, determinant, 1.0)
    alone = -le / jnp.where(ll > 0, ll, 1.0)
    level = jnp.where(solvable, (lb * be - bb * le) / safe, alone)
    trend = jnp.where(solvable, (lb * le - ll * be) / safe, 0.0)
    best = near._replace(level=near.level + level, trend=near.trend + trend)
    return BestStart(best, jnp.maximum(total + level * le + trend * be, 0.0))


def _accumulate(sums: tuple[Array, ...], errors: list[Array]) -> tuple[Array, ...]:
    """Sums of e^2, l^2, l e and, with a trend, b^2, b e, l b."""
    e, level = errors[:2]
    terms = [e * e, level * level, level * e]
    if len(errors) == 3:
        trend = errors[2]
        terms += [trend * trend, trend * e, level * trend]
    return tuple(total + term for total, term in zip(sums, terms, strict=True))
