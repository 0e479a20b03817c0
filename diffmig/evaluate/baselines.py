"""Naive forecasters that stand beside every model.

Series are [..., year], time last. `forecast[..., 0]` is the first year after the data; `fitted[...,
t]` uses data up to t - 1 and is NaN where there are none. All are differentiable and run under jit
(horizons static) and vmap.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
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

AR1_STATUS = ("stationary", "root not inside (-1, 1)", "constant series", "value not positive")


class AR1(NamedTuple):
    """First-order autoregression of a batch of series.

    Attributes:
        intercept, root: least-squares coefficients, [...]; unit of the series (of log growth), 1.
        residual_std: standard deviation of the one-step residuals, [...], pairs - 2 degrees of
            freedom.
        fitted: one-step values, [..., year], NaN in the first year (first two for log differences).
        forecast: iterated values, [..., horizon].
        status: index into `AR1_STATUS`, int8, [...].
    """

    intercept: Array
    root: Array
    residual_std: Array
    fitted: Array
    forecast: Array
    status: Array


@one_program("horizon")
def last_value(series: ArrayLike, horizon: int) -> Array:
    """Last value, held: forecast_h = series_n.

    Args:
        series: values in time order, [..., year].
        horizon: years to forecast, >= 1.

    Returns:
        forecast, [..., horizon], unit of the series.

    Raises:
        ValueError: no year or no horizon.

    Source: Hyndman, Athanasopoulos, 2021, Forecasting: principles and practice, section 5.2 (naive
    method).
    """
    series = _checked(series, 1, horizon)
    return jnp.broadcast_to(series[..., -1:], (*series.shape[:-1], horizon))


def one_step_last_value(series: ArrayLike) -> Array:
    """Last year's value for every year: fitted_t = series_{t-1}.

    Args:
        series: values in time order, [..., year].

    Returns:
        fitted, [..., year], NaN in the first year. It knows the year before each evaluated year:
        compare it only with one-step forecasts.

    Raises:
        ValueError: no year.

    Source: Hyndman, Athanasopoulos, 2021, Forecasting: principles and practice, section 5.3.
    """
    series = _checked(series, 1)
    return jnp.concatenate([jnp.full_like(series[..., :1], jnp.nan), series[..., :-1]], axis=-1)


@one_program("horizon")
def drift(series: ArrayLike, horizon: int) -> Array:
    """Line through the first and the last value, continued.

    forecast_h = series_n + h (series_n - series_1) / (n - 1)

    Args:
        series: values in time order, [..., year], at least 2 years.
        horizon: years to forecast, >= 1.

    Returns:
        forecast, [..., horizon], unit of the series.

    Raises:
        ValueError: fewer than 2 years or no horizon.

    Source: Hyndman, Athanasopoulos, 2021, Forecasting: principles and practice, section 5.2 (drift
    method).
    """
    series = _checked(series, 2, horizon)
    slope = (series[..., -1:] - series[..., :1]) / (series.shape[-1] - 1)
    return series[..., -1:] + slope * _steps(series, horizon)


@one_program("horizon")
def linear_trend(series: ArrayLike, horizon: int) -> Array:
    """Least-squares line over all years, continued.

    Args:
        series: values in time order, [..., year], at least 2 years.
        horizon: years to forecast, >= 1.

    Returns:
        forecast, [..., horizon], unit of the series.

    Raises:
        ValueError: fewer than 2 years or no horizon.

    Source: Hyndman, Athanasopoulos, 2021, Forecasting: principles and practice, section 7.4.
    """
    series = _checked(series, 2, horizon)
    num_years = series.shape[-1]
    centred = jnp.arange(num_years, dtype=series.dtype) - (num_years - 1) / 2
    slope = (series @ centred / jnp.sum(centred**2))[..., None]
    middle = jnp.mean(series, axis=-1, keepdims=True)
    return middle + slope * ((num_years - 1) / 2 + _steps(series, horizon))


@one_program("horizon", "num_years")
def mean_growth(series: ArrayLike, horizon: int, num_years: int) -> Array:
    """Compound mean growth of the last `num_years` years, continued.

    forecast_h = series_n * (series_n / series_{n-k})^(h / k), k = num_years

    Args:
        series: values in time order, [..., year], > 0 in the first and last year of the window.
        horizon: years to forecast, >= 1.
        num_years: growth years k in the window, >= 1; needs k + 1 values.

    Returns:
        forecast, [..., horizon], unit of the series; NaN where a value that enters is not positive.

    Raises:
        ValueError: fewer than `num_years` + 1 values, no horizon or `num_years` < 1.

    Source: geometric mean of annual growth factors.
    """
    check_count(num_years, 1, "num_years")
    series = _checked(series, num_years + 1, horizon)
    first, last = series[..., -1 - num_years : series.shape[-1] - num_years], series[..., -1:]
    positive = (first > 0) & (last > 0)
    log_growth = (_safe_log(last, positive) - _safe_log(first, positive)) / num_years
    return jnp.where(positive, last * jnp.exp(log_growth * _steps(series, horizon)), jnp.nan)


@one_program("horizon", "log_difference")
def ar1(series: ArrayLike, horizon: int, *, log_difference: bool = False) -> AR1:
    """First-order autoregression by ordinary least squares with intercept.

    fitted_t = intercept + root * series_{t-1}
    forecast_h = intercept + root * forecast_{h-1}, forecast_0 = series_n

    With `log_difference` the same for growth_t = log(series_t / series_{t-1}), and the values
    follow from fitted_t = series_{t-1} * exp(fitted growth_t). This keeps a growing series (root
    above 1 in levels) from exploding.

    Args:
        series: values in time order, [..., year], at least 4 (log differences: 5, all > 0).
        horizon: years to forecast, >= 1.
        log_difference: model annual log growth instead of the level.

    Returns:
        AR1. `status` says where the root is not inside (-1, 1), so that the forecast never settles;
        where the regressor is constant (then the root is 0 and the intercept the mean of the years
        after the first); and where log growth does not exist (then all numbers are NaN).

    Raises:
        ValueError: too few years or no horizon.

    Source: Hamilton, 1994, Time Series Analysis, sections 3.4, 5.2 (conditional maximum
    likelihood).
    """
    series = _checked(series, 5 if log_difference else 4, horizon)
    if not log_difference:
        return _ar1(series, horizon)
    positive = jnp.all(series > 0, axis=-1)
    logs = _safe_log(series, positive[..., None])
    model = _ar1(jnp.diff(logs, axis=-1), horizon)
    one_step = series[..., 1:-1] * jnp.exp(model.fitted[..., 1:])

    def known(x: Array) -> Array:
        return jnp.where(positive[..., None] if x.ndim > positive.ndim else positive, x, jnp.nan)

    return AR1(
        intercept=known(model.intercept),
        root=known(model.root),
        residual_std=known(model.residual_std),
        fitted=jnp.concatenate([jnp.full_like(series[..., :2], jnp.nan), known(one_step)], axis=-1),
        forecast=known(series[..., -1:] * jnp.exp(jnp.cumsum(model.forecast, axis=-1))),
        status=jnp.where(positive, model.status, jnp.int8(3)),
    )


def _ar1(series: Array, horizon: int) -> AR1:
    before, after = series[..., :-1], series[..., 1:]
    mean_before, mean_after = (jnp.mean(x, axis=-1) for x in (before, after))
    deviation = before - mean_before[..., None]
    spread = jnp.sum(deviation**2, axis=-1)
    varies = spread > rounding_level(before, before.shape[-1])
    covariance = jnp.sum(deviation * (after - mean_after[..., None]), axis=-1)
    root = jnp.where(varies, safe_ratio(covariance, spread, varies), 0.0)
    intercept = mean_after - root * mean_before
    one_step = intercept[..., None] + root[..., None] * before
    variance = jnp.sum((after - one_step) ** 2, axis=-1) / (before.shape[-1] - 2)

    def next_year(value: Array, _: None) -> tuple[Array, Array]:
        value = intercept + root * value
        return value, value

    forecast = lax.scan(next_year, series[..., -1], length=horizon)[1]
    inside = jnp.where(jnp.abs(root) < 1, jnp.int8(0), jnp.int8(1))
    return AR1(
        intercept=intercept,
        root=root,
        residual_std=safe_sqrt(variance),
        fitted=jnp.concatenate([jnp.full_like(series[..., :1], jnp.nan), one_step], axis=-1),
        forecast=jnp.moveaxis(forecast, 0, -1),
        status=jnp.where(varies, inside, jnp.int8(2)),
    )


def _ar1_forecast(series: ArrayLike, horizon: int, *, log_difference: bool) -> Array:
    return ar1(series, horizon, log_difference=log_difference).forecast


# Ex ante: (series, horizon) -> forecast knows nothing after the series' last year.
BASELINES: dict[str, Callable[[ArrayLike, int], Array]] = {
    "last value": last_value,
    "drift": drift,
    "linear trend": linear_trend,
    "AR(1)": partial(_ar1_forecast, log_difference=False),
    "AR(1) of log differences": partial(_ar1_forecast, log_difference=True),
    "mean growth of 3 years": partial(mean_growth, num_years=3),
    "mean growth of 5 years": partial(mean_growth, num_years=5),
    "mean growth of 10 years": partial(mean_growth, num_years=10),
}


def _checked(series: ArrayLike, least: int, horizon: int = 1) -> Array:
    check_count(horizon, 1, "horizon")
    (values,) = as_float(series)
    check_years(values, least)
    return values


def _steps(series: Array, horizon: int) -> Array:
    """1 .. horizon, in the rank of `series`."""
    return jnp.arange(1, horizon + 1, dtype=series.dtype).reshape(
        (1,) * (series.ndim - 1) + (horizon,)
    )


def _safe_log(x: Array, positive: Array) -> Array:
    return jnp.log(jnp.where(positive, x, 1.0))
