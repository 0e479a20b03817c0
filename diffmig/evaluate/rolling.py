"""Rolling origin: one forecaster, refitted at every origin, scored on the years after it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from diffmig.evaluate._arrays import check_count


class Rolling(NamedTuple):
    """Forecasts by origin and horizon.

    Attributes:
        origins: last known row of `series` at each origin, int64 [origin].
        actual, forecast: [origin, ..., horizon]; column 0 is the first row after the origin.
        error: forecast minus actual, same shape, unit of the series.
        percentage_error: 100 * error / actual, same shape; NaN where the actual value is 0.
    """

    origins: np.ndarray
    actual: np.ndarray
    forecast: np.ndarray
    error: np.ndarray
    percentage_error: np.ndarray


def rolling_origin(
    forecaster: Callable[..., Any],
    series: ArrayLike,
    horizon: int,
    *,
    num_initial: int,
    step: int = 1,
    window: int | None = None,
    factors: ArrayLike | None = None,
    factors_given: bool = False,
) -> Rolling:
    """Forecasts of `forecaster` from every origin that leaves `horizon` years to score it on.

    At origin t the forecaster receives copies of the rows up to t and nothing else, so it cannot
    look ahead; whatever it fits (scalers, weights, hyper-parameters) it fits anew.

    Args:
        forecaster: (known [..., known year], horizon) -> forecast [..., horizon]; with `factors` it
            is called as (known, horizon, known_factors [..., known year, factor]).
        series: values in time order, [..., year].
        horizon: years per forecast, >= 1.
        num_initial: years known at the first origin, >= 1.
        step: years between origins, >= 1.
        window: known years passed at every origin; None passes all (an expanding window). A fixed
            window gives every call the same shape, hence one compiled program.
        factors: inputs in time order, [..., year, factor].
        factors_given: pass the factors of the evaluated years too (`horizon` more rows): a
            conditional forecast.

    Returns:
        Rolling, at least one origin; origins = num_initial - 1, num_initial - 1 + step, ...

    Raises:
        ValueError: too few years for one origin, a count < 1, `window` longer than `num_initial`,
            `factors` of other years, `factors_given` without factors, or a forecast of another
            shape.

    Notes:
        A host loop over arbitrary Python forecasters, not differentiable. Errors of neighbouring
        origins overlap in time: compare methods with `diebold_mariano` per horizon.

    Source: Tashman, 2000, Out-of-sample tests of forecasting accuracy, International Journal of
    Forecasting 16(4).
    """
    values = np.asarray(series)
    for name, count in (("horizon", horizon), ("num_initial", num_initial), ("step", step)):
        check_count(count, 1, name)
    if values.ndim < 1 or num_initial + horizon > values.shape[-1]:
        raise ValueError(
            "series: expected [..., year] with at least num_initial + horizon = "
            f"{num_initial + horizon} years, got shape {values.shape}"
        )
    if window is not None and not 1 <= window <= num_initial:
        raise ValueError(f"window: expected 1 to num_initial = {num_initial} years, got {window}")
    inputs = _checked_factors(factors, factors_given, values.shape[-1])
    origins = np.arange(num_initial - 1, values.shape[-1] - horizon, step)
    forecasts = []
    for origin in origins:
        first, end = (0 if window is None else origin + 1 - window), origin + 1
        arguments = [values[..., first:end].copy(), horizon]
        if inputs is not None:
            last = end + horizon if factors_given else end
            arguments.append(inputs[..., first:last, :].copy())
        forecast = np.asarray(forecaster(*arguments))
        if forecast.shape != (*values.shape[:-1], horizon):
            raise ValueError(
                f"forecaster: expected a forecast of shape {(*values.shape[:-1], horizon)}, "
                f"got {forecast.shape}"
            )
        forecasts.append(forecast)
    actual = np.stack([values[..., origin + 1 : origin + 1 + horizon] for origin in origins])
    forecast = np.stack(forecasts)
    error = forecast - actual
    defined = actual != 0
    percentage = np.where(defined, 100 * error / np.where(defined, actual, 1), np.nan)
    return Rolling(origins, actual, forecast, error, percentage)


def _checked_factors(factors: ArrayLike | None, given: bool, num_years: int) -> np.ndarray | None:
    if factors is None:
        if given:
            raise ValueError("factors_given: expected factors beside it, got None")
        return None
    inputs = np.asarray(factors)
    if inputs.ndim < 2 or inputs.shape[-2] != num_years:
        raise ValueError(
            f"factors: expected [..., {num_years} years, factor], got shape {inputs.shape}"
        )
    return inputs
