"""Investment by component and payer: the paper's network and its forecast."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import evaluate, explain, fit
from experiments.human_capital.config import Config
from experiments.human_capital.economy import PRIVATE, components, nominal_amounts
from experiments.human_capital.inputs import Inputs

RULES = {"per-sample": "as described", "batch": "batch training"}
PRIMARY = "batch"  # fixed before any hold-out was scored
GROWTH_YEARS = 10  # of the scenario of indicators and of the naive growth


class Outputs(NamedTuple):
    """What the network forecasts: sums of lines.

    Attributes:
        values: million in prices of each year, [year, output].
        components, payers: of each output; payers "budget" and "private".
        membership: 1 where a line belongs to an output, [output, line].
    """

    values: np.ndarray
    components: tuple[str, ...]
    payers: tuple[str, ...]
    membership: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{c}, {p}" for c, p in zip(self.components, self.payers, strict=True))


class Investment(NamedTuple):
    """Trained networks and what they say.

    Attributes:
        outputs: what is forecast.
        fits: by rule, leaves [seed, ...].
        fitted: in-sample values of the years after the first, by rule, [seed, year - 1, output].
        deviation: (24) by rule and output over all years that the network fits, %, [seed, output].
        printed_deviation: (24) over the printed years only, %, [seed, output].
        forecast: by rule, million in prices of each year, [seed, horizon, output].
        index_ahead: price index of the forecast years, %, [horizon].
    """

    outputs: Outputs
    fits: dict[str, fit.PerceptronFit]
    fitted: dict[str, np.ndarray]
    deviation: dict[str, np.ndarray]
    printed_deviation: dict[str, np.ndarray]
    forecast: dict[str, np.ndarray]
    index_ahead: np.ndarray


def make_outputs(inputs: Inputs, amounts: np.ndarray) -> Outputs:
    """Sums by component and by budget or private payer; a sum that is always 0 is left out."""
    budget = inputs.budget
    private = np.array([payer == PRIVATE for payer in budget.payers])
    found = []
    for payer, chosen in (("budget", ~private), ("private", private)):
        for name in components(budget):
            row = chosen & (np.array(budget.components) == name)
            if (row[:, None] & (amounts > 0)).any():
                found.append((name, payer, row))
    names, payers, rows = zip(*found, strict=True)
    membership = np.stack(rows).astype(float)
    return Outputs((membership @ amounts).T, names, payers, membership)


def invest(config: Config, inputs: Inputs, key: Array) -> Investment:
    """Networks of both rules and their forecast."""
    amounts = nominal_amounts(config, inputs)
    outputs = make_outputs(inputs, amounts)
    horizon = int(inputs.all_years[-1] - inputs.years[-1])
    exogenous, index_ahead = indicators_ahead(config, inputs, inputs.years.size, horizon)
    fits, fitted, deviation, printed, forecast = {}, {}, {}, {}, {}
    at = inputs.budget.years[1:] - inputs.years[0] - 1
    for number, rule in enumerate(RULES):
        made = train(config, rule, jax.random.fold_in(key, number), outputs, inputs)
        x, _ = _pairs(outputs.values, inputs)
        fits[rule] = made
        fitted[rule] = np.asarray(jax.vmap(partial(fit.predict_perceptron, inputs=x))(made))
        actual = outputs.values[1:]
        by_output = np.moveaxis(fitted[rule], 1, 2)
        deviation[rule] = mean_percent(by_output, actual.T)
        printed[rule] = mean_percent(by_output[..., at], actual.T[:, at])
        forecast[rule] = forecast_outputs(made, outputs.values[-1], exogenous)
    return Investment(outputs, fits, fitted, deviation, printed, forecast, index_ahead)


def train(
    config: Config, rule: str, key: Array, outputs: Outputs, inputs: Inputs
) -> fit.PerceptronFit:
    """Networks on the years of `outputs`; the later rows of `inputs` have weight 0, so that one
    compiled program serves every origin."""
    num_years = outputs.values.shape[0]
    rest = np.zeros((inputs.indicators.shape[0] - num_years, outputs.values.shape[1]))
    x, r = _pairs(np.concatenate([outputs.values, rest]), inputs)
    weights = jnp.asarray(np.arange(1, len(r) + 1) < num_years, float)
    training = fit.PerceptronConfig(widths=config.widths, rule=rule, epochs=config.epochs)  # type: ignore[arg-type]
    return fit.fit_perceptrons(key, training, x, r, weights, num_seeds=config.num_seeds)


def _pairs(values: np.ndarray, inputs: Inputs) -> tuple[Array, Array]:
    columns = np.concatenate([values, inputs.indicators], axis=1)
    return fit.lagged_pairs(jnp.asarray(columns), values.shape[1])


def mean_percent(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """MAPE along the last axis, %, where actual is known and above 0; forecast [seed, ...]."""
    known = actual > 0
    actual, known = np.where(known, actual, 0.0)[None], known[None]
    return np.asarray(evaluate.mape(actual, forecast, mask=known))


def forecast_outputs(made: fit.PerceptronFit, last: np.ndarray, exogenous: Array) -> np.ndarray:
    """Recursive forecasts of every run, [seed, horizon, output]."""
    if not exogenous.shape[0]:
        return np.zeros((made.error.shape[0], 0, last.size))
    run = partial(fit.forecast_recursively, first_inputs=jnp.asarray(last), exogenous=exogenous)
    return np.asarray(jax.vmap(run)(made))


def indicators_ahead(
    config: Config, inputs: Inputs, num_known: int, horizon: int
) -> tuple[Array, np.ndarray]:
    """Indicators of the years before those forecast, and the price index of the latter.

    Ex ante: the median growth (the price index: the median level) of the last ten years known.
    """
    names = inputs.indicator_names
    known = inputs.indicators[:num_known]
    if not horizon:
        return jnp.zeros((0, len(names))), np.zeros(0)
    if not names:
        return jnp.zeros((horizon, 0)), np.full(horizon, 100.0)
    index = config.price_index
    made = explain.growth_scenarios(
        known, inputs.years[:num_known], names, horizon,
        num_years=min(GROWTH_YEARS, num_known - 1),
        rate_factors=(index,) if index else (),
    )["basic"].values  # fmt: skip
    before = jnp.concatenate([jnp.asarray(known[-1:]), made[:-1]])
    ahead = np.asarray(made[:, names.index(index)]) if index else np.full(horizon, 100.0)
    return before, ahead
