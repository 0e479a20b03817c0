"""From a set of assumptions to the chain of the region, as one differentiable function."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import explain
from diffmig import human_capital as hc
from experiments.chain.config import Config, assumptions
from experiments.chain.inputs import Inputs
from experiments.human_capital.economy import make_parameters

GRP, BALANCE = 0, 1  # outputs of the horizon
OUTPUTS = ("GRP", "balance")


class Chain(NamedTuple):
    """What `explain.joined_chain` takes, and the human capital that leads up to it.

    Attributes:
        parameters, region, start: of the chain; rows are the last year of the data to the horizon.
        past_capital: H of the years of the data, million, [year].
    """

    parameters: explain.ChainParameters
    region: explain.ChainRegion
    start: explain.ChainState
    past_capital: Array


class Response(NamedTuple):
    """The chain under some further spending.

    Attributes:
        outputs: GRP (million) and balance (persons) of the horizon, [output].
        effects: d output / d spending of a later year, [output, line, year]: million of GRP and
            persons of balance per million.
        years: of the chain, leaves [year, ...], from the last year of the data on.
    """

    outputs: Array
    effects: Array
    years: explain.ChainYear


def default_values(config: Config) -> dict[str, Array]:
    """The numbers in the middle of the study, float64 []."""
    return {name: jnp.asarray(a.value, float) for name, a in assumptions(config).items()}


def value_box(config: Config) -> explain.InputBox:
    """Their ranges."""
    varied = assumptions(config)
    return explain.InputBox(
        {name: jnp.asarray(a.low, float) for name, a in varied.items()},
        {name: jnp.asarray(a.high, float) for name, a in varied.items()},
    )


def build(config: Config, inputs: Inputs, values: dict[str, Array]) -> Chain:
    """The chain under a set of assumptions: spending held, history of human capital with its first
    profile such that the anchor is met, GRP and balance of the last year met."""
    num_ahead = config.horizon - config.last_year
    num_years, num_known = inputs.years.size, inputs.amounts.shape[1]
    ages = inputs.population.shape[1]
    growth = 1.0 + values["spending_growth"]
    after = np.arange(1.0, num_years + num_ahead - num_known + 1)
    later = inputs.amounts[:, -1:] * (growth ** jnp.asarray(after))[None, :]
    amounts = jnp.concatenate([inputs.amounts, later], axis=1)
    weights = values["health_share"], values["education_share"]
    shares = jnp.stack([*weights, 1.0 - weights[0] - weights[1]])
    past = hc.Region(
        amounts=amounts[:, :num_years],
        lines=inputs.lines,
        population=inputs.population,
        participation=jnp.ones_like(inputs.population),
    )
    capital, total, profile = _history(inputs, past, shares, values["wear_rate"])
    rows = num_ahead + 1
    mortality = values["mortality_factor"] * inputs.mortality
    fertility = values["fertility_factor"] * inputs.fertility
    movers = explain.rogers_castro(jnp.arange(ages + 1.0), values["migrant_age"])
    region = explain.ChainRegion(
        amounts=amounts[:, num_years - 1 :],
        lines=inputs.lines,
        participation=jnp.ones(ages),
        labour_share=inputs.labour_share,
        mortality=jnp.broadcast_to(mortality, (rows, ages + 1)),
        fertility=jnp.broadcast_to(fertility, (rows, ages)),
        migrant_ages=movers,
    )
    zero = jnp.zeros(())
    start = explain.ChainState(
        population=inputs.population[-1],
        capital_per_head=profile,
        fixed_assets=values["asset_factor"] * inputs.assets,
        rate=values["start_rate"],
        velocity=zero,
    )
    parameters = explain.ChainParameters(
        capital=capital,
        productivity=zero,
        productivity_growth=values["productivity_growth"],
        capital_share=values["capital_share"],
        depreciation=values["depreciation"],
        investment_share=investment_share(inputs, values["depreciation"]),
        income_share=jnp.asarray(config.income_share),
        country_income=jnp.asarray(config.country_income),
        country_growth=values["country_growth"],
        neutral_rate=zero,
        response=values["response"],
        frequency=2.0 * jnp.pi / values["period"],
        damping_ratio=values["damping_ratio"],
    )
    found = explain.calibrate_chain(parameters, region, start, inputs.grp[-1], gap=config.gap)
    return Chain(found, region, start, total)


def _history(
    inputs: Inputs, past: hc.Region, shares: Array, wear_rate: Array
) -> tuple[hc.Parameters, Array, Array]:
    """Parameters with the initial factor that meets the anchor (H is linear in it), H of all years
    and h on 1 January of the last one."""
    anchor, year = inputs.anchor
    at = year - int(inputs.years[0])

    def with_factor(factor: Array) -> hc.HumanCapital:
        return hc.human_capital(make_parameters(shares, wear_rate, factor), past)

    ends = jax.vmap(with_factor)(jnp.array([0.0, 1.0]))
    low, high = ends.per_inhabitant[:, at] / 1e3
    factor = (anchor - low) / (high - low)

    def mixed(values: Array) -> Array:
        return values[0] + factor * (values[1] - values[0])

    parameters = make_parameters(shares, wear_rate, factor)
    return parameters, mixed(ends.total), mixed(ends.nodes[:, -2])


def investment_share(inputs: Inputs, depreciation: Array) -> Array:
    """Mean of (K(t) - (1 - depreciation) K(t - 1)) / Y(t), current prices: perpetual inventory read
    backwards, over the years used."""
    assets, grp, used = inputs.book
    at = np.flatnonzero(used)
    kept = (1.0 - depreciation) * jnp.asarray(assets[at - 1])
    return jnp.mean((jnp.asarray(assets[at]) - kept) / jnp.asarray(grp[at]))


def run_chain(config: Config, chain: Chain, extra: Array) -> tuple[Array, explain.ChainYear]:
    """GRP (million) and balance (persons) of the horizon, [output], as `OUTPUTS`, and all years;
    `extra` is spending of the years after the data, million, [line, year]."""
    extra = jnp.concatenate([jnp.zeros_like(extra[:, :1]), extra], axis=1)
    made = explain.joined_chain(chain.parameters, chain.region, chain.start, extra, gap=config.gap)
    return jnp.stack([made.years.grp[-1], made.years.balance[-1]]), made.years


def respond(config: Config, chain: Chain, extra: Array) -> Response:
    """The chain and its reverse-mode derivatives at `extra`."""

    def outputs(extra: Array) -> tuple[Array, tuple[Array, explain.ChainYear]]:
        made, years = run_chain(config, chain, extra)
        return made, (made, years)

    effects, (made, years) = jax.jacrev(outputs, has_aux=True)(extra)
    return Response(made, effects, years)
