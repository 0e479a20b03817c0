"""Seasonal filters: seasonal naive and Holt-Winters, additive and multiplicative."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from diffmig.smoothing.base import Params, Smoother
from diffmig.smoothing.models import damped_sum
from diffmig.smoothing.start import Start

_WEIGHT = (1e-4, 1.0 - 1e-4)


class SeasonState(NamedTuple):
    """level, trend: [...].  season: [period, ...], entry 0 belongs to the next row."""

    level: Array
    trend: Array
    season: Array


def _begin(params: Params, start: Start) -> SeasonState:
    return SeasonState(start.level, start.trend, start.season)


def _turn(season: Array, newest: Array) -> Array:
    """The season one step later: its first entry, renewed, comes last."""
    return jnp.concatenate([season[1:], newest[None]])


def _coming(season: Array, num_horizons: int) -> Array:
    """Seasonal effects of the next rows, [horizon, ...]."""
    repeats = -(-num_horizons // season.shape[0])
    return jnp.concatenate([season] * repeats)[:num_horizons]


def _line(params: Params, state: SeasonState, num_horizons: int) -> Array:
    phi = jnp.asarray(params[3] if len(params) == 4 else 1.0, state.trend.dtype)
    if num_horizons == 1:
        return (state.level + phi * state.trend)[None]
    return state.level[None] + damped_sum(phi, num_horizons, state.trend) * state.trend[None]


def _slope(params: Params, state: SeasonState) -> Array:
    return params[3] * state.trend if len(params) == 4 else state.trend


def additive_predict(params: Params, state: SeasonState, num_horizons: int) -> Array:
    """l_t + h b_t + s_{t+h-m}; with damping (phi + ... + phi^h) b_t."""
    return _line(params, state, num_horizons) + _coming(state.season, num_horizons)


def additive_step(
    params: Params, state: SeasonState, y: Array, observed: Array | None
) -> SeasonState:
    """l_t = alpha (y_t - s_{t-m}) + (1 - alpha) (l_{t-1} + b_{t-1}),
    b_t = beta (l_t - l_{t-1}) + (1 - beta) b_{t-1},
    s_t = gamma (y_t - l_{t-1} - b_{t-1}) + (1 - gamma) s_{t-m}.

    Source: Hyndman, Athanasopoulos, 2021, Forecasting: Principles and Practice, section 8.3.
    """
    alpha, beta, gamma = params[0], params[1], params[2]
    season, slope = state.season[0], _slope(params, state)
    line = state.level + slope
    level = alpha * (y - season) + (1.0 - alpha) * line
    trend = beta * (level - state.level) + (1.0 - beta) * slope
    newest = gamma * (y - line) + (1.0 - gamma) * season
    return SeasonState(level, trend, _turn(state.season, newest))


def multiplicative_predict(params: Params, state: SeasonState, num_horizons: int) -> Array:
    """(l_t + h b_t) s_{t+h-m}; with damping (phi + ... + phi^h) b_t."""
    return _line(params, state, num_horizons) * _coming(state.season, num_horizons)


def multiplicative_step(
    params: Params, state: SeasonState, y: Array, observed: Array | None
) -> SeasonState:
    """l_t = alpha y_t / s_{t-m} + (1 - alpha) (l_{t-1} + b_{t-1}),
    s_t = gamma y_t / (l_{t-1} + b_{t-1}) + (1 - gamma) s_{t-m}; trend as in the additive form.
    Where a divisor is not positive, the quotient keeps its old value.

    Source: Hyndman, Athanasopoulos, 2021, Forecasting: Principles and Practice, section 8.3.
    """
    alpha, beta, gamma = params[0], params[1], params[2]
    season, slope = state.season[0], _slope(params, state)
    line = state.level + slope
    level = alpha * _quotient(y, season, line) + (1.0 - alpha) * line
    trend = beta * (level - state.level) + (1.0 - beta) * slope
    newest = gamma * _quotient(y, line, season) + (1.0 - gamma) * season
    return SeasonState(level, trend, _turn(state.season, newest))


def _quotient(y: Array, divisor: Array, otherwise: Array) -> Array:
    usable = divisor > 0
    return jnp.where(usable, y / jnp.where(usable, divisor, 1.0), otherwise)


def holt_winters(period: int, *, multiplicative: bool = False, damped: bool = False) -> Smoother:
    """Holt-Winters filter of a season.

    Args:
        period: steps of a season, >= 2.
        multiplicative: the season multiplies the level; values must be positive.
        damped: damp the trend by phi.

    Returns:
        Smoother, weights alpha, beta, gamma and, if damped, phi.

    Raises:
        ValueError: period < 2.
    """
    _check_period(period)
    kind = "multiplicative" if multiplicative else "additive"
    extra = 1 if damped else 0
    return Smoother(
        f"holt-winters-{kind}{'-damped' if damped else ''}",
        ("alpha", "beta", "gamma", "phi")[: 3 + extra],
        (_WEIGHT, _WEIGHT, _WEIGHT, (0.8, 0.98))[: 3 + extra],
        (0.3, 0.1, 0.1, 0.9)[: 3 + extra],
        _begin,
        multiplicative_predict if multiplicative else additive_predict,
        multiplicative_step if multiplicative else additive_step,
        "season-multiplicative" if multiplicative else "season",
        2 * period,
        2 * period + 1,
        period,
        multiplicative,
    )


def _naive_predict(params: Params, state: SeasonState, num_horizons: int) -> Array:
    """The value one season before."""
    return _coming(state.season, num_horizons)


def _naive_begin(params: Params, start: Start) -> SeasonState:
    return SeasonState(start.level, start.trend, start.level[None] + start.season)


def _naive_step(
    params: Params, state: SeasonState, y: Array, observed: Array | None
) -> SeasonState:
    return state._replace(season=_turn(state.season, y))


def seasonal_naive(period: int) -> Smoother:
    """The value one season before; in the first season the first value.

    Raises:
        ValueError: period < 2.
    """
    _check_period(period)
    return Smoother(
        "seasonal-naive", (), (), (), _naive_begin, _naive_predict, _naive_step,
        "first", period, period, period,
    )  # fmt: skip


def _check_period(period: int) -> None:
    if period < 2:
        raise ValueError(f"period: expected at least 2 steps, got {period}")
