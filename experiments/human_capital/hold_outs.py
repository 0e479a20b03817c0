"""Honest hold-outs of the investment network beside naive rules."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import evaluate
from experiments.human_capital.config import Config
from experiments.human_capital.economy import is_known, nominal_amounts
from experiments.human_capital.inputs import Inputs
from experiments.human_capital.investment import (
    GROWTH_YEARS,
    RULES,
    forecast_outputs,
    indicators_ahead,
    make_outputs,
    mean_percent,
    train,
)

BASELINES = ("last value", "mean growth", "linear trend")


class HoldOut(NamedTuple):
    """One origin: what was forecast with data up to it, and how it came out.

    Attributes:
        origin: last year known.
        scored: years of the budget after it, [scored].
        actual: million in prices of each year, [scored, output].
        forecasts: by method, [seed or 1, scored, output]; networks "as described" and "batch
            training", each with actual indicators ("conditional") and forecast ones ("honest").
    """

    origin: int
    scored: np.ndarray
    actual: np.ndarray
    forecasts: dict[str, np.ndarray]


def hold_out(config: Config, inputs: Inputs, key: Array, origin: int) -> HoldOut:
    """Everything is made again from the figures printed up to the origin: years between them are
    interpolated without the later ones."""
    years = inputs.years[inputs.years <= origin]
    known = inputs.budget.years <= origin
    later = (inputs.years > origin)[:, None]
    past = inputs._replace(
        years=years,
        indicators=np.where(later, 0.0, inputs.indicators),  # not to be seen at all
        budget=inputs.budget._replace(
            amounts=inputs.budget.amounts[:, known],
            mask=inputs.budget.mask[:, known],
            years=inputs.budget.years[known],
        ),
        price_index=None if inputs.price_index is None else inputs.price_index[: years.size],
    )
    outputs = make_outputs(past, nominal_amounts(config, past))
    scored = inputs.budget.years[~known]
    horizon = int(scored[-1] - origin)
    at = scored - origin - 1
    forecasts: dict[str, np.ndarray] = {}
    ahead = {
        "honest": indicators_ahead(config, inputs, years.size, horizon)[0],
        "conditional": jnp.asarray(indicators_given(inputs, origin, horizon)),
    }
    for number, (rule, label) in enumerate(RULES.items()):
        made = train(config, rule, jax.random.fold_in(key, number), outputs, past)
        for protocol, exogenous in ahead.items():
            name = f"{label}, {protocol}"
            forecasts[name] = forecast_outputs(made, outputs.values[-1], exogenous)[:, at]
    series = jnp.asarray(outputs.values.T)
    growth = min(GROWTH_YEARS, years.size - 1)
    naive = (
        evaluate.last_value(series, horizon),
        evaluate.mean_growth(series, horizon, growth),
        evaluate.linear_trend(series, horizon),
    )
    for name, made_naive in zip(BASELINES, naive, strict=True):
        forecasts[name] = np.asarray(made_naive).T[None, at]
    unknown = outputs.membership @ ~is_known(inputs.budget)[:, ~known] > 0
    actual = np.where(unknown, np.nan, outputs.membership @ inputs.budget.amounts[:, ~known]).T
    return HoldOut(origin, scored, actual, forecasts)


def indicators_given(inputs: Inputs, origin: int, horizon: int) -> np.ndarray:
    """Actual indicators of the years before those forecast, the first that of the origin."""
    first = origin - int(inputs.years[0])
    return inputs.indicators[first : first + horizon]


def hold_out_errors(made: HoldOut) -> dict[str, np.ndarray]:
    """MAPE over scored years and outputs by method, %, [seed or 1]."""
    return {
        name: mean_percent(forecast.reshape(len(forecast), -1), made.actual.ravel())
        for name, forecast in made.forecasts.items()
    }
