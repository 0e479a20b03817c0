"""Paths of the factors after the data: the inputs of a conditional forecast.

Histories are [year, factor] with consecutive years; row 0 of a scenario is the first year after
them.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.evaluate.baselines import ar1, last_value

# Quantile of the factor's own recent annual growth (or level) that each scenario continues.
GROWTH_QUANTILES = {"conservative": 0.25, "basic": 0.5, "target": 0.75}


class Scenario(NamedTuple):
    """Factor paths.

    Attributes:
        values: [year, factor], units of the history.
        years: int64 [year].
        names: factor names, in the order of the columns.
        status: index into `evaluate.AR1_STATUS`, int8 [factor]; 0 where no autoregression was
            fitted.
    """

    values: Array
    years: np.ndarray
    names: tuple[str, ...]
    status: Array


def constant_scenario(
    history: ArrayLike, years: ArrayLike, names: Sequence[str], horizon: int
) -> Scenario:
    """Every factor stays at its last value.

    Args:
        history: observed factors, [year, factor], finite.
        years: consecutive years, [year].
        names: one per factor, unique.
        horizon: years to continue, >= 1.

    Returns:
        Scenario.

    Raises:
        ValueError: shapes, years or names do not fit, a value is not finite, `horizon` < 1.

    Source: assumption of no change.
    """
    values, future, names = _checked(history, years, names, horizon)
    return Scenario(last_value(values.T, horizon).T, future, names, _no_status(names))


def ar1_scenario(
    history: ArrayLike,
    years: ArrayLike,
    names: Sequence[str],
    horizon: int,
    *,
    log_difference: Collection[str] = (),
) -> Scenario:
    """Every factor continues its first-order autoregression, as in section 4.2 of the source.

    Args:
        history: observed factors, [year, factor], finite, at least 5 years.
        years: consecutive years, [year].
        names: one per factor, unique.
        horizon: years to continue, >= 1.
        log_difference: names of factors, > 0, whose annual log growth is modelled instead of the
            level: the cure where `status` says that the root is not inside (-1, 1).

    Returns:
        Scenario with the status of each autoregression.

    Raises:
        ValueError: see `constant_scenario`; unknown names in `log_difference`, a factor there that
            is not positive.

    Source: Vavilova, Ketova, Zerari, 2025, Computer Research and Modeling 17(6), section 4.2;
    `evaluate.ar1`.
    """
    values, future, names = _checked(history, years, names, horizon)
    in_logs = _columns(log_difference, names, "log_difference")
    _check_positive(values, names, in_logs)
    path, status = _continued(values, in_logs, horizon)
    return Scenario(path, future, names, status)


def growth_scenario(
    history: ArrayLike, years: ArrayLike, names: Sequence[str], horizon: int, rates: ArrayLike
) -> Scenario:
    """Every factor grows by its own constant annual rate: values_h = last * (1 + rate)^h.

    Args:
        history: observed factors, [year, factor], finite.
        years: consecutive years, [year].
        names: one per factor, unique.
        horizon: years to continue, >= 1.
        rates: annual growth, [factor], 1/year (0.03 is 3 %), > -1.

    Returns:
        Scenario, differentiable in `rates`: they can be levers of an inverse scenario.

    Raises:
        ValueError: see `constant_scenario`; `rates` of another length.

    Source: compound growth.
    """
    values, future, names = _checked(history, years, names, horizon)
    rates = jnp.asarray(rates, values.dtype)
    if rates.shape != (len(names),):
        raise ValueError(
            f"rates: expected one per factor, shape {(len(names),)}, got {rates.shape}"
        )
    return Scenario(_compounded(values, rates, horizon), future, names, _no_status(names))


def growth_scenarios(
    history: ArrayLike,
    years: ArrayLike,
    names: Sequence[str],
    horizon: int,
    *,
    num_years: int = 10,
    rate_factors: Collection[str] = (),
    lower_is_better: Collection[str] = (),
) -> dict[str, Scenario]:
    """Conservative, basic and target scenario from each factor's own recent history.

    A factor continues a quantile of its annual growth rates of the last `num_years` years: the
    lower quartile in the conservative, the median in the basic and the upper quartile in the target
    scenario. The median is not moved by one revaluation. A factor that is itself a rate (a deflator
    in percent of the year before) stays at that quantile of its levels instead. For factors of
    which less is better the outer two are exchanged. All factors take their good or bad quantile at
    once, so the outer scenarios are wider than quartiles of the outcome.

    Args:
        history: observed factors, [year, factor], finite; > 0 but for `rate_factors`.
        years: consecutive years, [year].
        names: one per factor, unique.
        horizon: years to continue, >= 1.
        num_years: years whose growth (or level) enters, >= 2; needs one row more.
        rate_factors: names of factors that are rates.
        lower_is_better: names of factors of which less is better.

    Returns:
        {"conservative": Scenario, "basic": ..., "target": ...}.

    Raises:
        ValueError: see `constant_scenario`; unknown names, `num_years` < 2 or too few rows, a
            growing factor that is not positive.

    Source: rule of diffmig; the three scenario names are those of Russian official forecasts.
    """
    values, future, names = _checked(history, years, names, horizon)
    if not 2 <= num_years < values.shape[0]:
        raise ValueError(
            f"num_years: expected 2 to {values.shape[0] - 1} for this history, got {num_years}"
        )
    is_rate = _columns(rate_factors, names, "rate_factors")
    is_reversed = _columns(lower_is_better, names, "lower_is_better")
    _check_positive(values, names, ~is_rate)
    paths = _at_quantiles(values, is_rate, is_reversed, num_years, horizon)
    return {
        name: Scenario(path, future, names, _no_status(names))
        for name, path in zip(GROWTH_QUANTILES, paths, strict=True)
    }


@partial(jax.jit, static_argnames="horizon")
def _continued(values: Array, in_logs: np.ndarray, horizon: int) -> tuple[Array, Array]:
    """Paths [year, factor] of the autoregressions, by level or by log growth, and their status."""
    level, growth = (
        ar1(values.T, horizon),
        ar1(jnp.where(in_logs[None, :], values, 1.0).T, horizon, log_difference=True),
    )
    path = jnp.where(in_logs[:, None], growth.forecast, level.forecast)
    return path.T, jnp.where(in_logs, growth.status, level.status)


@partial(jax.jit, static_argnames="horizon")
def _compounded(values: Array, rates: Array, horizon: int) -> Array:
    growth = jnp.broadcast_to(1 + rates[None, :], (horizon, rates.size))
    return values[-1:] * jnp.cumprod(growth, axis=0)


@partial(jax.jit, static_argnames=("num_years", "horizon"))
def _at_quantiles(
    values: Array, is_rate: np.ndarray, is_reversed: np.ndarray, num_years: int, horizon: int
) -> list[Array]:
    """Paths [year, factor] at every one of `GROWTH_QUANTILES`."""
    before = jnp.where(is_rate[None, :], 1.0, values[-num_years - 1 : -1])
    growth = values[-num_years:] / before - 1
    paths = []
    for quantile in GROWTH_QUANTILES.values():
        plain, mirrored = (jnp.quantile(growth, q, axis=0) for q in (quantile, 1 - quantile))
        chosen = jnp.where(is_reversed, mirrored, plain)
        path = _compounded(values, jnp.where(is_rate, 0.0, chosen), horizon)
        level = jnp.broadcast_to(1 + chosen[None, :], path.shape)
        paths.append(jnp.where(is_rate[None, :], level, path))
    return paths


def _checked(
    history: ArrayLike, years: ArrayLike, names: Sequence[str], horizon: int
) -> tuple[Array, np.ndarray, tuple[str, ...]]:
    values = jnp.asarray(history)
    years, names = np.asarray(years), tuple(names)
    if values.ndim != 2 or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            f"history: expected floating [year, factor], got {values.dtype} of shape {values.shape}"
        )
    if years.shape != values.shape[:1] or not years.size or (np.diff(years) != 1).any():
        raise ValueError(
            f"years: expected {values.shape[0]} consecutive years, one per row of history, "
            f"got {years}"
        )
    if len(names) != values.shape[1] or len(set(names)) != len(names):
        raise ValueError(
            f"names: expected {values.shape[1]} unique names, one per factor, got {names}"
        )
    if not isinstance(values, jax.core.Tracer) and not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            "history: expected finite values, "
            f"got {names[column]} = {values[row, column]} in {years[row]}"
        )
    if horizon < 1:
        raise ValueError(f"horizon: expected at least 1 year, got {horizon}")
    return values, years[-1] + np.arange(1, horizon + 1, dtype=np.int64), names


def _columns(chosen: Collection[str], names: tuple[str, ...], argument: str) -> np.ndarray:
    unknown = sorted(set(chosen) - set(names)) if not isinstance(chosen, str) else [chosen]
    if unknown:
        raise ValueError(f"{argument}: expected a collection of names from {names}, got {unknown}")
    return np.array([name in chosen for name in names])


def _check_positive(values: Array, names: tuple[str, ...], columns: np.ndarray) -> None:
    if isinstance(values, jax.core.Tracer):
        return
    wrong = [
        name
        for name, low, used in zip(names, np.min(values, axis=0), columns, strict=True)
        if used and low <= 0
    ]
    if wrong:
        raise ValueError(
            f"history: expected positive values for growth, got values <= 0 in {wrong}"
        )


def _no_status(names: tuple[str, ...]) -> Array:
    return jnp.zeros(len(names), jnp.int8)
