"""One contract for every filter: start, step, predict; the loop over time is one scan.

Arrays are [time, ...]: trailing axes are series, all alike, so that one program serves one series
or a block of them; time is the scanned axis. Row t of a forecast uses data up to row t and nothing
later.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from diffmig.smoothing.start import Start

Params = Any  # array or tuple, leading axis as in `Smoother.parameters`, then the series axes


class Smoother(NamedTuple):
    """A filter with additive one-step errors.

    Attributes:
        name: for example "holt".
        parameters: names of the smoothing weights, in order.
        bounds: (low, high) of every weight.
        defaults: weights used where none are given; conventional, not fitted.
        begin: (params, Start) -> State, the state one step before the first observation.
        predict: (params, state, num_horizons) -> forecasts 1 ... num_horizons steps ahead,
            [horizon, ...].
        step: (params, state, y, observed) -> State after a value; where nothing was observed `y`
            is the forecast itself, so e = 0 and the level advances by its trend; `observed` is
            None where every value is.
        initial: rule of `start_values` used by default.
        num_initial: observed values that this rule uses by default.
        num_least: observed values without which the filter is not used.
        period: steps of a season, 1 without.
        multiplicative: the season multiplies: values must be positive.
        num_linear: leading numbers of `Start` (level, trend) that the forecasts are linear in, so
            that `solve_start` finds the best ones exactly; 0: not linear.
    """

    name: str
    parameters: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]
    defaults: tuple[float, ...]
    begin: Callable[[Params, Start], Any]
    predict: Callable[[Params, Any, int], Array]
    step: Callable[[Params, Any, Array, Array | None], Any]
    initial: str
    num_initial: int
    num_least: int
    period: int = 1
    multiplicative: bool = False
    num_linear: int = 0


class Filtered(NamedTuple):
    """One pass over the data.

    Attributes:
        fitted: forecast of row t from data up to row t - 1, [time, ...]; before the first
            observation the forecast of the start.
        error: y - fitted, [time, ...]; 0 where not observed.
        state: state after the last row.
    """

    fitted: Array
    error: Array
    state: Any


def advance(
    smoother: Smoother,
    params: Params,
    state: Any,
    y: Array,
    observed: Array | None,
    started: Array | None,
) -> tuple[Any, Array]:
    """State after one row, and the one-step forecast made before it.

    Args:
        smoother, params: the filter and its weights.
        state: state before the row.
        y: values [...]; any finite number where not observed.
        observed: bool [...], or None: all are.
        started: bool [...], False before the first observation, where the state stays as it is.

    Returns:
        (state, forecast [...]).
    """
    forecast = smoother.predict(params, state, 1)[0]
    if observed is None or started is None:
        return smoother.step(params, state, y, None), forecast
    filled = jnp.where(observed, y, forecast)
    moved = smoother.step(params, state, filled, observed)
    return jax.tree.map(lambda new, old: jnp.where(started, new, old), moved, state), forecast


def run_filter(
    smoother: Smoother, params: Params, y: Array, observed: Array | None, start: Start
) -> Filtered:
    """One-step forecasts, errors and the last state.

    Args:
        smoother, params: the filter and its weights, [parameter, ...].
        y: values [time, ...]; any finite number where not observed.
        observed: bool [time, ...]; None: all are.
        start: from `start_values`, `solve_start` or given.

    Returns:
        Filtered.

    Notes:
        Differentiable in params, y and start.
    """

    def body(state: Any, row: tuple[Array, Array | None, Array | None]) -> tuple[Any, Array]:
        return advance(smoother, params, state, *row)

    state = smoother.begin(params, start)
    state, fitted = lax.scan(body, state, (y, observed, has_started(observed)))
    error = y - fitted
    if observed is not None:
        error = jnp.where(observed, error, 0.0)
    return Filtered(fitted, error, state)


def sum_squares(
    smoother: Smoother, params: Params, y: Array, observed: Array | None, start: Start
) -> Array:
    """Sum of squared one-step errors over the observed rows, [...]; nothing else is stored.

    Args as `run_filter`.
    """

    def body(
        carry: tuple[Any, Array], row: tuple[Array, Array | None, Array | None]
    ) -> tuple[tuple[Any, Array], None]:
        state, total = carry
        state, forecast = advance(smoother, params, state, *row)
        error = row[0] - forecast
        if row[1] is not None:
            error = jnp.where(row[1], error, 0.0)
        return (state, total + error**2), None

    state = smoother.begin(params, start)
    total = jnp.zeros_like(smoother.predict(params, state, 1)[0])
    (_, total), _ = lax.scan(body, (state, total), (y, observed, has_started(observed)))
    return total


def forecast_table(
    smoother: Smoother,
    params: Params,
    y: Array,
    observed: Array | None,
    start: Start,
    num_horizons: int,
) -> Array:
    """Forecasts from every origin, [time, horizon, ...].

    Entry [t, h - 1] is the forecast of row t + h from data up to row t.

    Args as `run_filter`, and num_horizons: steps ahead, >= 1.
    """

    def body(state: Any, row: tuple[Array, Array | None, Array | None]) -> tuple[Any, Array]:
        state, _ = advance(smoother, params, state, *row)
        return state, smoother.predict(params, state, num_horizons)

    state = smoother.begin(params, start)
    return lax.scan(body, state, (y, observed, has_started(observed)))[1]


def has_started(observed: Array | None) -> Array | None:
    """False before the first observation, [time, ...]; None where everything is observed."""
    return None if observed is None else lax.cummax(observed.astype(jnp.int8), axis=0) > 0
