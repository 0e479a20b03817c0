"""Forecast error measures: arrays [..., year], time last, one number per leading index.

All are differentiable. Years with `mask` False do not enter, whatever they hold; a series with no
observed year gives NaN. `actual` and `forecast` broadcast over leading axes, so one actual series
scores a whole ensemble.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.evaluate._arrays import (
    as_float,
    check_count,
    check_years,
    rounding_level,
    safe_ratio,
    safe_sqrt,
)
from diffmig.programs import one_program


@one_program()
def mape(actual: ArrayLike, forecast: ArrayLike, *, mask: ArrayLike | None = None) -> Array:
    """Mean absolute percentage error.

    mape = 100 / N * sum_t |actual_t - forecast_t| / |actual_t|

    Args:
        actual: observed values, [..., year], any unit, not 0 where observed.
        forecast: values for the same years, [..., year], same unit.
        mask: True where the year counts, [..., year]; None counts all.

    Returns:
        error, [...], percent; NaN where an observed actual value is 0 (no percentage exists: mask
        such years).

    Raises:
        ValueError: the years or the leading axes do not fit.

    Notes:
        Subgradient 0 for a year without error.

    Source: Vavilova, Ketova, Zerari, 2025, Computer Research and Modeling 17(6), section 2.
    """
    actual, forecast, observed = _aligned(actual, forecast, mask)
    nonzero = actual != 0
    share = _size(actual - forecast) / jnp.abs(jnp.where(nonzero, actual, 1.0))
    defined = jnp.all(nonzero | ~observed, axis=-1)
    return jnp.where(defined, 100 * _observed_mean(share, observed), jnp.nan)


@one_program()
def r2(
    actual: ArrayLike,
    forecast: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    mean: ArrayLike | None = None,
) -> Array:
    """Coefficient of determination: 1 minus squared error over squared deviation from the mean.

    r2 = 1 - sum_t (actual_t - forecast_t)^2 / sum_t (actual_t - mean)^2

    Args:
        actual: observed values, [..., year].
        forecast: values for the same years, [..., year].
        mask: True where the year counts, [..., year]; None counts all.
        mean: reference level, [...]; None takes the mean of the counted years (as scikit-learn
            does). The mean of the training years gives a more lenient measure.

    Returns:
        r2, [...], 1 is perfect, no lower limit; NaN where all counted years equal the mean.

    Raises:
        ValueError: the years or the leading axes do not fit.

    Source: Vavilova, Ketova, Zerari, 2025, Computer Research and Modeling 17(6), section 2.
    """
    actual, forecast, observed = _aligned(actual, forecast, mask)
    if mean is None:
        level = _observed_mean(actual, observed)
    else:
        level = jnp.broadcast_to(jnp.asarray(mean, actual.dtype), actual.shape[:-1])
    residual = jnp.sum(jnp.where(observed, (actual - forecast) ** 2, 0.0), axis=-1)
    total = jnp.sum(jnp.where(observed, (actual - level[..., None]) ** 2, 0.0), axis=-1)
    return 1 - safe_ratio(residual, total, total > rounding_level(actual, actual.shape[-1]))


@one_program()
def rmse(actual: ArrayLike, forecast: ArrayLike, *, mask: ArrayLike | None = None) -> Array:
    """Root mean squared error.

    rmse = sqrt(1 / N * sum_t (actual_t - forecast_t)^2)

    Args:
        actual: observed values, [..., year].
        forecast: values for the same years, [..., year].
        mask: True where the year counts, [..., year]; None counts all.

    Returns:
        error, [...], unit of the series.

    Raises:
        ValueError: the years or the leading axes do not fit.

    Notes:
        Subgradient 0 where all errors are 0.

    Source: Hyndman, Koehler, 2006, Another look at measures of forecast accuracy, section 2.1.
    """
    actual, forecast, observed = _aligned(actual, forecast, mask)
    return safe_sqrt(_observed_mean((actual - forecast) ** 2, observed))


@one_program()
def mae(actual: ArrayLike, forecast: ArrayLike, *, mask: ArrayLike | None = None) -> Array:
    """Mean absolute error.

    mae = 1 / N * sum_t |actual_t - forecast_t|

    Args:
        actual: observed values, [..., year].
        forecast: values for the same years, [..., year].
        mask: True where the year counts, [..., year]; None counts all.

    Returns:
        error, [...], unit of the series.

    Raises:
        ValueError: the years or the leading axes do not fit.

    Notes:
        Subgradient 0 for a year without error.

    Source: Hyndman, Koehler, 2006, Another look at measures of forecast accuracy, section 2.1.
    """
    actual, forecast, observed = _aligned(actual, forecast, mask)
    return _observed_mean(_size(actual - forecast), observed)


@one_program()
def smape(actual: ArrayLike, forecast: ArrayLike, *, mask: ArrayLike | None = None) -> Array:
    """Symmetric mean absolute percentage error, the definition of the M4 competition (0 to 200).

    smape = 200 / N * sum_t |actual_t - forecast_t| / (|actual_t| + |forecast_t|)

    Args:
        actual: observed values, [..., year].
        forecast: values for the same years, [..., year].
        mask: True where the year counts, [..., year]; None counts all.

    Returns:
        error, [...], percent; a year in which both values are 0 counts as 0.

    Raises:
        ValueError: the years or the leading axes do not fit.

    Notes:
        Subgradient 0 for a year without error.

    Source: Makridakis, Spiliotis, Assimakopoulos, 2020, The M4 Competition, International Journal
    of Forecasting 36(1).
    """
    actual, forecast, observed = _aligned(actual, forecast, mask)
    size = jnp.abs(actual) + jnp.abs(forecast)
    share = _size(actual - forecast) / jnp.where(size == 0, 1.0, size)
    return 200 * _observed_mean(share, observed)


@one_program("season")
def mase(
    actual: ArrayLike,
    forecast: ArrayLike,
    training: ArrayLike,
    *,
    season: int = 1,
    mask: ArrayLike | None = None,
    training_mask: ArrayLike | None = None,
) -> Array:
    """Mean absolute scaled error: in units of the training years' seasonal last-value error.

    mase = mae / (1 / (n - season) * sum_{t > season} |training_t - training_{t - season}|)

    Args:
        actual: observed values, [..., year].
        forecast: values for the same years, [..., year].
        training: values of the training years, in time order, [..., training year]; they alone set
            the scale.
        season: period, rows; 1 for yearly data.
        mask: True where the year counts, [..., year]; None counts all.
        training_mask: the same for `training`; a difference counts where both of its years do.

    Returns:
        error, [...], 1; below 1 beats the training-years' one-step last value. NaN where the scale
        is 0.

    Raises:
        ValueError: shapes do not fit, `season` < 1 or not shorter than `training`.

    Source: Hyndman, Koehler, 2006, Another look at measures of forecast accuracy, section 2.4.
    """
    check_count(season, 1, "season")
    error = mae(actual, forecast, mask=mask)
    (training,) = as_float(training)
    training = training.astype(error.dtype)
    check_years(training, season + 1, "training")
    if training_mask is None:
        both = jnp.ones_like(training[..., season:], bool)
    else:
        known = jnp.broadcast_to(jnp.asarray(training_mask, bool), training.shape)
        both = known[..., season:] & known[..., :-season]
        training = jnp.where(known, training, 0.0)
    scale = _observed_mean(jnp.abs(training[..., season:] - training[..., :-season]), both)
    shape = _broadcast_shapes(error.shape, scale.shape)
    error, scale = jnp.broadcast_to(error, shape), jnp.broadcast_to(scale, shape)
    return safe_ratio(error, scale, scale > 0)


def _aligned(
    actual: ArrayLike, forecast: ArrayLike, mask: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Both series and the mask in one shape and dtype; uncounted years are 1 in both series."""
    actual, forecast = as_float(actual, forecast)
    for name, values in (("actual", actual), ("forecast", forecast)):
        check_years(values, 1, name)
    if actual.shape[-1] != forecast.shape[-1]:
        raise ValueError(
            "actual and forecast: expected the same years on the last axis, "
            f"got {actual.shape} and {forecast.shape}"
        )
    observed = jnp.ones(1, bool) if mask is None else jnp.asarray(mask, bool)
    shape = _broadcast_shapes(actual.shape, forecast.shape, observed.shape)
    observed = jnp.broadcast_to(observed, shape)
    return (
        jnp.where(observed, jnp.broadcast_to(actual, shape), 1.0),
        jnp.where(observed, jnp.broadcast_to(forecast, shape), 1.0),
        observed,
    )


def _broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return jnp.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ValueError(
            f"leading axes: expected shapes that broadcast, got {shapes}; "
            "put batches first and time last"
        ) from error


def _observed_mean(x: Array, observed: Array) -> Array:
    count = jnp.sum(observed, axis=-1).astype(x.dtype)
    return safe_ratio(jnp.sum(jnp.where(observed, x, 0.0), axis=-1), count, count > 0)


def _size(error: Array) -> Array:
    # jnp.abs has derivative 1 at 0, which pushes a perfect forecast away.
    return error * jnp.sign(error)
