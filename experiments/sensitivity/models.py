"""Models of one region as functions of named inputs to one number, with the box of the inputs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import data, explain, fit, smoothing
from diffmig import human_capital as hc
from experiments.grp import config as grp_config
from experiments.grp import models as grp_models
from experiments.grp.economy import make_economy
from experiments.grp.outlook import with_factors
from experiments.human_capital import config as hc_config
from experiments.human_capital.economy import (
    build_region,
    component_shares,
    components,
    make_parameters,
)
from experiments.human_capital.inputs import load as load_budget
from experiments.sensitivity.config import Config


class Model(NamedTuple):
    """One question to one model.

    Attributes:
        name: of the model.  output: what comes out, and its `unit`.
        model_fn: inputs -> number [].
        inputs: dict of arrays, the point at which the gradient is taken.
        box: in which they vary; the point lies inside or on its edge.
        labels: of arrays, by input.  units: by input.
        note: what the model is, and where the box comes from.
        source: of the data.
    """

    name: str
    output: str
    unit: str
    model_fn: Callable[[Any], Array]
    inputs: dict[str, Array]
    box: explain.InputBox
    labels: dict[str, Sequence[Any]]
    units: dict[str, str]
    note: str
    source: str


def around(inputs: dict[str, Array], share: float) -> tuple[dict[str, Array], dict[str, Array]]:
    """Ends `share` of the value below and above it."""
    low, high = ({k: v * (1 + sign * share) for k, v in inputs.items()} for sign in (-1, 1))
    return low, high


def grp(config: Config, key: Array) -> Model:
    """GRP of the last year with data by the factors of the last years."""
    choices = grp_config.BASE
    panel = data.load_table("grp_udmurt")
    economy = make_economy(choices, panel)
    hybrid = grp_models.repaired(choices)["PSO-Elman"]
    network: Any = hybrid.network
    hybrid = replace(hybrid, network=replace(network, dtype="float64"))
    base, end = economy.bases.index("comparable"), economy.num_data
    rows = slice(start := end - config.years, end)
    factors = economy.observed.factors[base]

    def task(series: fit.Series) -> fit.Task:
        made = grp_models.tasks_of(
            economy, series, (fit.Target("level"),), hybrid, start, slice(0, start)
        )
        return jax.tree.map(lambda leaf: leaf[base], made)

    hyper = fit.Hyper(
        units=jnp.array([config.grp_units], jnp.int32),
        learning_rate=jnp.asarray(config.learning_rate),
        epochs=jnp.asarray(config.grp_epochs, jnp.int32),
        weight_decay=jnp.asarray(config.weight_decay),
    )
    keys = jax.random.split(key, config.grp_networks)
    known = task(economy.observed)
    params = jax.jit(jax.vmap(lambda k: fit.train_fixed(k, hybrid, hyper, known)[0].params))(keys)

    def output(inputs: dict[str, Array]) -> Array:
        columns = jnp.stack([inputs[name] for name in economy.factor_names], axis=1)
        moved = task(with_factors(economy, factors.at[rows].set(columns)))
        levels = jax.vmap(lambda p: fit.predict_levels(hybrid, p, hyper.units, moved))(params)
        return jnp.mean(levels[:, end - 1])

    seen = np.asarray(factors)[end - config.box_years : end]
    inputs, low, high = (
        {name: jnp.asarray(values[:, j]) for j, name in enumerate(economy.factor_names)}
        for values in (
            factors[rows],
            np.repeat(seen.min(axis=0)[None], config.years, axis=0),
            np.repeat(seen.max(axis=0)[None], config.years, axis=0),
        )
    )
    years = [int(year) for year in economy.years[rows]]
    return Model(
        name="grp", output=f"GRP of {years[-1]}", unit="bn RUB of 2023", model_fn=output,
        inputs=inputs, box=explain.InputBox(low, high),
        labels=dict.fromkeys(inputs, years),
        units={n: panel.units[panel.names.index(n)] for n in inputs},
        note=f"mean of {config.grp_networks} Elman networks trained on the years before {years[0]} "
        "with fixed hyper-parameters (the GRP experiment searches them); box: the range of each "
        f"factor over the last {config.box_years} years",
        source="Udmurt Republic, bundled table of GRP; this run",
    )  # fmt: skip


def human_capital(config: Config, key: Array) -> Model:
    """H of the last year of the budget by every line and year, wear and the initial profile."""
    choices = hc_config.BASE
    known = load_budget(None, choices)
    region = build_region(choices, known)
    shares = component_shares(choices, len(components(known.budget)))
    spent = np.nonzero(np.asarray(region.amounts) > 0)
    wear, factor = config.wear_rate, config.initial_factor
    spending = {"spending": region.amounts[spent]}

    def output(inputs: dict[str, Array]) -> Array:
        amounts = region.amounts.at[spent].set(inputs["spending"])
        parameters = make_parameters(shares, inputs["wear_rate"], inputs["initial_factor"])
        return hc.human_capital(parameters, region._replace(amounts=amounts)).total[-1]

    def with_parameters(place: int, amounts: dict[str, Array]) -> dict[str, Array]:
        return amounts | {
            "wear_rate": jnp.asarray(wear[place]), "initial_factor": jnp.asarray(factor[place])
        }  # fmt: skip

    low, high = around(spending, config.spread)
    return Model(
        name="human_capital", output=f"human capital of {known.years[-1]}",
        unit="million RUB of 2018", model_fn=output, inputs=with_parameters(1, spending),
        box=explain.InputBox(with_parameters(0, low), with_parameters(2, high)),
        labels={
            "spending": [
                f"{known.budget.lines[i]} {known.years[t]}" for i, t in zip(*spent, strict=True)
            ]
        },
        units={"spending": "million RUB of 2018", "wear_rate": "1/year", "initial_factor": "1"},
        note=f"exact transport along cohorts; box: every line and year {config.spread:.0%} up and "
        "down, wear rate and initial factor as the human-capital experiment varies them",
        source="Udmurt Republic, bundled budget and population; this run",
    )  # fmt: skip


def smoothed(config: Config, key: Array) -> Model:
    """Forecast of the next month by every observation and both smoothing weights."""
    table = data.load_wage_example().query("period <= 24")
    y = jnp.asarray(table["actual"].to_numpy(float))
    filters = (smoothing.SES, smoothing.HOLT)
    rules = (smoothing.inverse_rule(config.discount, config.power),)

    def output(inputs: dict[str, Array]) -> Array:
        series = inputs["observation"]
        given = {"ses": inputs["alpha"][None], "holt": jnp.stack([inputs["alpha"], inputs["beta"]])}
        ahead, errors = [], []
        for one in filters:
            start = smoothing.start_values(series, None, one.initial, one.num_initial)
            made = smoothing.run_filter(one, given[one.name], series, None, start)
            ahead.append(one.predict(given[one.name], made.state, 1)[0])
            errors.append(made.error)
        weights = smoothing.rule_weights(
            rules, jnp.stack(errors, axis=1), series, jnp.ones(series.shape, bool)
        )
        return jnp.sum(weights[-1, 0] * jnp.stack(ahead))

    low, high = around({"observation": y}, config.observation_spread)

    def with_weights(place: int, series: dict[str, Array]) -> dict[str, Array]:
        weight = jnp.asarray(config.smoothing_weight[place])
        return series | {"alpha": weight, "beta": weight}

    return Model(
        name="smoothing", output="wage of the month after the data", unit="UAH a month",
        model_fn=output, inputs=with_weights(1, {"observation": y}),
        box=explain.InputBox(with_weights(0, low), with_weights(2, high)),
        labels={"observation": [f"month {p}" for p in table["period"]]},
        units={"observation": "UAH a month", "alpha": "1", "beta": "1"},
        note="SES and Holt weighted by their discounted errors so far; box: every observation "
        f"{config.observation_spread:.0%} up and down, smoothing weights "
        f"{config.smoothing_weight[0]:g} to {config.smoothing_weight[2]:g}",
        source="Chagovets et al. (2020), wage in the Kharkiv region; this run",
    )  # fmt: skip
