"""Level and trend filters: naive, drift, SES, Holt, damped Holt, Theta, Trigg-Leach."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from diffmig.smoothing.base import Params, Smoother
from diffmig.smoothing.start import Start

_WEIGHT = (1e-4, 1.0 - 1e-4)


def _ahead(num_horizons: int, like: Array) -> Array:
    """Steps ahead 1 ... H as [horizon, 1 ...], ready to be multiplied by a state."""
    steps = jnp.arange(1, num_horizons + 1, dtype=like.dtype)
    return steps.reshape((-1, *[1] * like.ndim))


def _flat(level: Array, num_horizons: int) -> Array:
    return jnp.broadcast_to(level, (num_horizons, *level.shape))


# --- one level --------------------------------------------------------------------------------


class LevelState(NamedTuple):
    """level: S_t, [...], unit of the series."""

    level: Array


def _level_begin(params: Params, start: Start) -> LevelState:
    return LevelState(start.level)


def _level_predict(params: Params, state: LevelState, num_horizons: int) -> Array:
    """The forecast for every horizon is S_t."""
    return _flat(state.level, num_horizons)


def ses_step(params: Params, state: LevelState, y: Array, observed: Array | None) -> LevelState:
    """S_t = alpha y_t + (1 - alpha) S_{t-1}.

    Source: Chagovets et al. 2020, equation (1).
    """
    (alpha,) = params
    return LevelState(alpha * y + (1.0 - alpha) * state.level)


def naive_step(params: Params, state: LevelState, y: Array, observed: Array | None) -> LevelState:
    """The forecast is the last value; SES with alpha = 1."""
    return LevelState(y)


NAIVE = Smoother(
    "naive", (), (), (), _level_begin, _level_predict, naive_step, "first", 1, 1, num_linear=1
)
SES = Smoother(
    "ses",
    ("alpha",),
    (_WEIGHT,),
    (0.3,),
    _level_begin,
    _level_predict,
    ses_step,
    "first",
    1,
    2,
    num_linear=1,
)


class DriftState(NamedTuple):
    """first, last: first and last value, [...].  elapsed: rows from the first on, [...]."""

    first: Array
    last: Array
    elapsed: Array


def _drift_begin(params: Params, start: Start) -> DriftState:
    return DriftState(start.level, start.level, jnp.zeros_like(start.level))


def _drift_predict(params: Params, state: DriftState, num_horizons: int) -> Array:
    """y_t + h (y_t - y_1) / (t - 1); no drift before the second value."""
    slope = (state.last - state.first) / jnp.maximum(state.elapsed - 1.0, 1.0)
    return state.last[None] + _ahead(num_horizons, slope) * slope[None]


def drift_step(params: Params, state: DriftState, y: Array, observed: Array | None) -> DriftState:
    """Keeps the first and the last value; a gap is bridged along the drift, which stays."""
    return DriftState(jnp.where(state.elapsed > 0, state.first, y), y, state.elapsed + 1.0)


DRIFT = Smoother("drift", (), (), (), _drift_begin, _drift_predict, drift_step, "first", 1, 2)


# --- level and trend --------------------------------------------------------------------------


class TrendState(NamedTuple):
    """level: a1(t), [...].  trend: a2(t), [...], per step."""

    level: Array
    trend: Array


def _trend_begin(params: Params, start: Start) -> TrendState:
    return TrendState(start.level, start.trend)


def holt_predict(params: Params, state: TrendState, num_horizons: int) -> Array:
    """a1(t) + h a2(t).

    Source: Chagovets et al. 2020, equation (3).
    """
    return state.level[None] + _ahead(num_horizons, state.trend) * state.trend[None]


def holt_step(params: Params, state: TrendState, y: Array, observed: Array | None) -> TrendState:
    """a1(t) = A1 y_t + (1 - A1) (a1(t-1) + a2(t-1)),
    a2(t) = A2 (a1(t) - a1(t-1)) + (1 - A2) a2(t-1); A1 = alpha, A2 = beta, the classical beta*.

    Source: Chagovets et al. 2020, equations (4) and (5).
    """
    alpha, beta = params
    level = alpha * y + (1.0 - alpha) * (state.level + state.trend)
    trend = beta * (level - state.level) + (1.0 - beta) * state.trend
    return TrendState(level, trend)


HOLT = Smoother(
    "holt",
    ("alpha", "beta"),
    (_WEIGHT, _WEIGHT),
    (0.3, 0.1),
    _trend_begin,
    holt_predict,
    holt_step,
    "line",
    5,
    3,
    num_linear=2,
)


def damped_sum(phi: Array, num_horizons: int, like: Array) -> Array:
    """phi + phi^2 + ... + phi^h for h = 1 ... H, [horizon, ...]."""
    power = jnp.broadcast_to(phi, like.shape)
    return jnp.cumsum(power[None] ** _ahead(num_horizons, like), axis=0)


def damped_predict(params: Params, state: TrendState, num_horizons: int) -> Array:
    """a1(t) + (phi + ... + phi^h) a2(t)."""
    phi = jnp.asarray(params[2])
    if num_horizons == 1:
        return (state.level + phi * state.trend)[None]
    return state.level[None] + damped_sum(phi, num_horizons, state.trend) * state.trend[None]


def damped_step(params: Params, state: TrendState, y: Array, observed: Array | None) -> TrendState:
    """Holt's equations with phi a2(t-1) in place of a2(t-1).

    Source: Gardner, McKenzie, 1985, Forecasting trends in time series, Management Science 31(10).
    """
    alpha, beta, phi = params
    slope = phi * state.trend
    level = alpha * y + (1.0 - alpha) * (state.level + slope)
    trend = beta * (level - state.level) + (1.0 - beta) * slope
    return TrendState(level, trend)


DAMPED = Smoother(
    "damped",
    ("alpha", "beta", "phi"),
    (_WEIGHT, _WEIGHT, (0.8, 0.98)),
    (0.3, 0.1, 0.9),
    _trend_begin,
    damped_predict,
    damped_step,
    "line",
    5,
    3,
    num_linear=2,
)


# --- Theta ------------------------------------------------------------------------------------


class ThetaState(NamedTuple):
    """SES level and the running least-squares line.

    level: [...].  lag: 1 + (1 - alpha) + ... + (1 - alpha)^(n-1), n = elapsed: rows from the first
    on.  number: observed values.  mean_time, mean, square, product: means of time and value,
    centred sums of time^2 and time * value.
    """

    level: Array
    lag: Array
    number: Array
    elapsed: Array
    mean_time: Array
    mean: Array
    square: Array
    product: Array


def _theta_begin(params: Params, start: Start) -> ThetaState:
    zero = jnp.zeros_like(start.level)
    return ThetaState(start.level, *[zero] * 7)


def theta_predict(params: Params, state: ThetaState, num_horizons: int) -> Array:
    """S_t + b/2 (h - 1 + lag), lag = 1/alpha - (1 - alpha)^n / alpha, b the least-squares slope of
    the data.

    Source: Hyndman, Billah, 2003, Unmasking the Theta method, International Journal of Forecasting
    19(2), section 3.
    """
    slope = state.product / jnp.where(state.square > 0, state.square, 1.0)
    steps = _ahead(num_horizons, slope) - 1.0 + state.lag[None]
    return state.level[None] + 0.5 * slope[None] * steps


def theta_step(params: Params, state: ThetaState, y: Array, observed: Array | None) -> ThetaState:
    """SES step, and the line through one more value by Welford's update."""
    (alpha,) = params
    weight = jnp.ones_like(y) if observed is None else observed.astype(y.dtype)
    elapsed = state.elapsed + 1.0
    number = state.number + weight
    share = weight / jnp.maximum(number, 1.0)
    from_time, from_mean = elapsed - state.mean_time, y - state.mean
    mean_time = state.mean_time + share * from_time
    mean = state.mean + share * from_mean
    return ThetaState(
        alpha * y + (1.0 - alpha) * state.level,
        1.0 + (1.0 - alpha) * state.lag,
        number,
        elapsed,
        mean_time,
        mean,
        state.square + weight * from_time * (elapsed - mean_time),
        state.product + weight * from_time * (y - mean),
    )


THETA = Smoother(
    "theta",
    ("alpha",),
    ((0.01, 1.0 - 1e-4),),
    (0.3,),
    _theta_begin,
    theta_predict,
    theta_step,
    "first",
    1,
    3,
)


# --- adaptive response rate -------------------------------------------------------------------


class TriggState(NamedTuple):
    """level: [...].  mean_error, mean_absolute: E and M, smoothed error and absolute error."""

    level: Array
    mean_error: Array
    mean_absolute: Array


def _trigg_begin(params: Params, start: Start) -> TriggState:
    zero = jnp.zeros_like(start.level)
    return TriggState(start.level, zero, zero)


def trigg_step(params: Params, state: TriggState, y: Array, observed: Array | None) -> TriggState:
    """alpha_t = |E_t / M_t|, S_t = S_{t-1} + alpha_t e_t; E_t = phi e_t + (1 - phi) E_{t-1}, M_t
    the same of |e_t|. Without any error so far alpha_t = 0.

    Source: Trigg, Leach, 1967, Exponential smoothing with an adaptive response rate, Operational
    Research Quarterly 18(1).
    """
    (phi,) = params
    error = y - state.level
    mean_error = phi * error + (1.0 - phi) * state.mean_error
    mean_absolute = phi * jnp.abs(error) + (1.0 - phi) * state.mean_absolute
    if observed is not None:  # a missing value updates neither E nor M
        mean_error = jnp.where(observed, mean_error, state.mean_error)
        mean_absolute = jnp.where(observed, mean_absolute, state.mean_absolute)
    known = mean_absolute > 0
    alpha = jnp.where(known, jnp.abs(mean_error) / jnp.where(known, mean_absolute, 1.0), 0.0)
    return TriggState(state.level + alpha * error, mean_error, mean_absolute)


TRIGG_LEACH = Smoother(
    "trigg-leach",
    ("phi",),
    (_WEIGHT,),
    (0.2,),
    _trigg_begin,
    _level_predict,
    trigg_step,
    "first",
    1,
    2,
)
