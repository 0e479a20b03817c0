"""What the weights of a filter are chosen by: one-step squares, likelihood, errors h steps on."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig.smoothing.base import Params, Smoother, forecast_table, sum_squares
from diffmig.smoothing.start import Start

# (smoother, params, y, observed, start) -> loss [...]
Loss = Callable[[Smoother, Params, Array, Array | None, Start], Array]


def gaussian_deviance(
    smoother: Smoother, params: Params, y: Array, observed: Array | None, start: Start
) -> Array:
    """-2 log likelihood of normal one-step errors at the best variance, up to a constant.

    n log(sum e_t^2 / n), [...]; n observed values. Same minimum as `sum_squares`; made for
    information criteria.

    Source: Hyndman, Koehler, Ord, Snyder, 2008, Forecasting with Exponential Smoothing, section
    5.1.
    """
    total = sum_squares(smoother, params, y, observed, start)
    count = y.shape[0] if observed is None else jnp.sum(observed, axis=0)
    number = jnp.maximum(jnp.asarray(count, y.dtype), 1.0)
    return number * jnp.log(jnp.maximum(total / number, jnp.finfo(y.dtype).tiny))


@cache
def multi_step_loss(horizon_weights: tuple[float, ...], power: int = 2) -> Loss:
    """Loss that sums weight_h |e_{t,h}|^power over origins t and horizons h.

    e_{t,h} = y_{t+h} minus its forecast from data up to t, t from the first observation on; that
    one itself is forecast from the start for h = 1 only.

    Args:
        horizon_weights: weight of 1, 2 ... steps ahead, >= 0, one of them positive.
        power: 1 or 2.

    Returns:
        Loss; it stores the forecasts of all origins.

    Raises:
        ValueError: weights or power out of range.
    """
    weights = np.asarray(horizon_weights, float)
    if weights.ndim != 1 or not weights.any() or not (weights >= 0).all():
        raise ValueError(
            f"horizon_weights: expected one axis of weights >= 0, got {horizon_weights}"
        )
    if power not in (1, 2):
        raise ValueError(f"power: expected 1 or 2, got {power}")

    def loss(
        smoother: Smoother, params: Params, y: Array, observed: Array | None, start: Start
    ) -> Array:
        table = forecast_table(smoother, params, y, observed, start, weights.size)
        first = smoother.predict(params, smoother.begin(params, start), 1)
        total: Any = 0.0
        for h, weight in enumerate(weights, start=1):
            if weight == 0.0 or h > y.shape[0]:
                continue
            made = table[: y.shape[0] - h, h - 1]
            made = jnp.concatenate([first, made]) if h == 1 else made
            error = y[y.shape[0] - made.shape[0] :] - made
            if observed is not None:
                origin = jnp.cumsum(observed, axis=0)[: y.shape[0] - h] > 0
                error = jnp.where(observed if h == 1 else observed[h:] & origin, error, 0.0)
            total = total + float(weight) * jnp.sum(jnp.abs(error) ** power, axis=0)
        return total

    return loss
