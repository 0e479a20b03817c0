"""Where a regression has seen data: boxes and the convex hull of its training rows."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.optimize import linprog


class TrainingBox(NamedTuple):
    """Least and greatest value of every factor, each [factor], unit of the factor."""

    low: Array
    high: Array


class Room(NamedTuple):
    """How far every factor may change, [..., factor], low <= 0 <= high, unit of the factor."""

    low: Array
    high: Array


def training_box(
    x: ArrayLike, *, mask: ArrayLike | None = None, quantile: float = 0.0
) -> TrainingBox:
    """Range of the factors over the training rows, without the outermost share of them.

    low, high = quantiles `quantile` and 1 - `quantile` of every factor

    Args:
        x: factors, [..., factor].
        mask: True where a row counts, [...]; None: all.
        quantile: share left out on either side, in [0, 0.5); 0: the whole range.

    Returns:
        TrainingBox.

    Raises:
        ValueError: shapes, a quantile out of range, no row or a value that is not finite in it.
    """
    x = np.asarray(x)
    seen = np.ones(x.shape[:-1], bool) if mask is None else np.asarray(mask, bool)
    if x.ndim < 2 or seen.shape != x.shape[:-1] or not 0 <= quantile < 0.5:
        raise ValueError(
            "expected x [..., factor], mask [...] and 0 <= quantile < 0.5, got "
            f"{x.shape}, {seen.shape} and {quantile}"
        )
    rows = x[seen]
    if not rows.size or not np.isfinite(rows).all():
        raise ValueError("x: expected finite values in at least one counted row")
    low, high = np.quantile(rows, [quantile, 1 - quantile], axis=0)
    return TrainingBox(jnp.asarray(low), jnp.asarray(high))


def room(box: TrainingBox, x: ArrayLike) -> Room:
    """Changes of the factors that keep them where the regression has seen data.

    low = min(box.low - x, 0),  high = max(box.high - x, 0)

    Args:
        box: of the training rows.
        x: factors, [..., factor], finite.

    Returns:
        Room of every row. A row that is outside already may stay or come back, no further out: its
        change has room on one side only. One change for several rows (years) has the room
        `low.max`, `high.min` over them.

    Raises:
        ValueError: shapes do not fit.

    Notes:
        Differentiable but for the rows on an edge of the box.
    """
    x = jnp.asarray(x)
    if x.shape[-1:] != box.low.shape:
        raise ValueError(f"x: expected [..., {box.low.size}] factors, got shape {x.shape}")
    low, high = (jnp.broadcast_to(end.astype(x.dtype), x.shape) for end in box)
    return Room(jnp.minimum(low - x, 0.0), jnp.maximum(high - x, 0.0))


def inside_box(box: TrainingBox, x: ArrayLike) -> Array:
    """True where every factor of `x` [..., factor] lies in the box, bounds included, [...]."""
    return jnp.all(~outside_range(x, box.low, box.high), axis=-1)


def outside_range(x: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    """True where a factor is not in [low, high], NaN included.

    Args:
        x: [..., factor].  low, high: [factor].

    Returns:
        bool, shape of `x`.
    """
    x = jnp.asarray(x)
    low, high = (jnp.broadcast_to(jnp.asarray(end, x.dtype), x.shape) for end in (low, high))
    return ~((x >= low) & (x <= high))


def check_inside(
    box: TrainingBox, x: ArrayLike, names: Sequence[str], *, argument: str = "scenario"
) -> None:
    """Refuse factors outside the training range.

    Args:
        box: of the training rows.
        x: factors of a scenario, [..., factor].
        names: one per factor.
        argument: what to call `x` in the message.

    Raises:
        ValueError: names every factor outside, its value farthest out in units of the training
            range, and the bound; or shapes do not fit. Traced values are not checked.
    """
    if np.shape(x)[-1:] != box.low.shape or len(names) != box.low.size:
        raise ValueError(
            f"{argument}: expected {box.low.size} factors and as many names, got {np.shape(x)} "
            f"and {len(names)} names"
        )
    if isinstance(x, jax.core.Tracer):
        return
    rows = np.asarray(x).reshape(-1, len(names))
    outside = np.asarray(outside_range(rows, box.low, box.high))
    messages = []
    for column in np.flatnonzero(outside.any(axis=0)).tolist():
        low, high = float(box.low[column]), float(box.high[column])
        values = rows[outside[:, column], column]
        below, above = low - values, values - high
        worst = int(np.argmax(np.where(np.isnan(values), np.inf, np.maximum(below, above))))
        bound = f"below {low:.6g}" if below[worst] > 0 else f"above {high:.6g}"
        if np.isnan(values[worst]):
            bound = "not a number"
        messages.append(
            f"{names[column]} = {values[worst]:.6g} is {bound} ({values.size} of {len(rows)} rows)"
        )
    if messages:
        raise ValueError(
            f"{argument}: outside the training range, where the regression knows nothing: "
            + "; ".join(messages)
        )


def inside_hull(points: ArrayLike, x: ArrayLike) -> np.ndarray:
    """True where `x` is a weighted mean of training rows: stricter than any box.

    exists w >= 0 with sum_r w_r = 1 and sum_r w_r points_r = x

    Args:
        points: training rows, [row, factor], finite.
        x: [..., factor].

    Returns:
        bool, [...]; host code, one linear programme per point of `x`.

    Raises:
        ValueError: shapes do not fit.

    Notes:
        In many factors hardly any new point is inside: of 15 independent normal factors and 500
        rows none. A factor that is out of line with the others is what it finds.
    """
    points, x = np.asarray(points, float), np.asarray(x, float)
    if points.ndim != 2 or not points.size or x.shape[-1:] != points.shape[1:]:
        raise ValueError(
            f"expected points [row, factor] and x [..., factor], got {points.shape} and {x.shape}"
        )
    center = points.mean(axis=0)
    size = np.maximum(np.abs(points - center).max(axis=0), np.finfo(float).tiny)
    equations = np.vstack([((points - center) / size).T, np.ones(len(points))])
    inside = [
        np.isfinite(row).all()
        and linprog(np.zeros(len(points)), A_eq=equations, b_eq=np.append(row, 1.0)).status == 0
        for row in ((x - center) / size).reshape(-1, points.shape[1])
    ]
    return np.array(inside).reshape(x.shape[:-1])
