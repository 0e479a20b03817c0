"""Spending to human capital, production, income, migration, people, and round again: one chain.

A model exercise that joins the chapters so that one gradient runs through all of them; no forecast.
A step leads from the middle of one year to the middle of the next, where the mean annual population
is counted. Spending is given from outside: nobody pays for it inside the chain.
"""

from typing import Literal, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from diffmig.explain.chain_links import balance_step, production
from diffmig.human_capital import (
    MILLION,
    Lines,
    Parameters,
    Region,
    cohort_component,
    human_capital,
)

PER_THOUSAND = 1e3
Gap = Literal["log", "relative"]


class ChainParameters(NamedTuple):
    """Constants of the chain, each [] but those of `capital`.

    Attributes:
        capital: of the human-capital model; its `initial_factor` is not used, the profile at the
            start is part of the state.
        productivity: A of the first year; from `calibrate_chain`.
        productivity_growth: of A, 1/year (0.01 is 1 %).
        capital_share: a, share of fixed assets in production, 1, 0 to 1.
        depreciation: of fixed assets, 1/year.
        investment_share: of GRP that becomes fixed assets, 1.
        income_share: of GRP that is income of inhabitants, 1.
        country_income: income per head of the country in the first year, thousand.
        country_growth: of it, 1/year.
        neutral_rate: net migration rate towards which the system is driven where incomes are equal,
            per 1000 inhabitants and year; from `calibrate_chain`.
        response: b, change of that rate per unit of the income gap, per 1000 and year.
        frequency: w, of the undamped balance, rad/year, > 0.
        damping_ratio: zeta, 1; 1 is critical.
    """

    capital: Parameters
    productivity: Array
    productivity_growth: Array
    capital_share: Array
    depreciation: Array
    investment_share: Array
    income_share: Array
    country_income: Array
    country_growth: Array
    neutral_rate: Array
    response: Array
    frequency: Array
    damping_ratio: Array


class ChainRegion(NamedTuple):
    """What is given from outside.

    Attributes:
        amounts: spending, million of comparable money per year, [line, year].
        lines: whom the lines serve and what they build.
        participation: eps, share of persons whose capital counts, [age].
        labour_share: labour resources per inhabitant of an age, [age].
        mortality: mu, 1/year, [year, cohort]; cohorts as in `cohort_component`, one more than ages.
        fertility: births per inhabitant and year, sexes together, [year, age].
        migrant_ages: intensity of migration by cohort, 1, [cohort], >= 0, not all 0, any scale: it
            shares out the balance together with the persons there, those born in the year counting
            half of age 0.
    """

    amounts: Array
    lines: Lines
    participation: Array
    labour_share: Array
    mortality: Array
    fertility: Array
    migrant_ages: Array


class ChainState(NamedTuple):
    """All that the next year needs.

    Attributes:
        population: mean annual persons of the year, [age].
        capital_per_head: h_i on 1 January of the year, money per head, [age, component].
        fixed_assets: at the start of the year, million.
        rate: net migration rate in the middle of the year, per 1000 inhabitants and year.
        velocity: its change per year.
    """

    population: Array
    capital_per_head: Array
    fixed_assets: Array
    rate: Array
    velocity: Array


class ChainYear(NamedTuple):
    """What happens in one year; in `ChainPath` with an axis [year].

    Attributes:
        population: mean annual persons, [age].
        human_capital: H in the middle of the year, million.
        labour: labour resources, persons.
        fixed_assets: at the start of the year, million.
        grp: Y, million.
        income: per head, thousand.
        gap: of income to the country, 1.
        force: external force w^2 (neutral rate + b gap), per 1000 inhabitants and year^3.
        rate: net migration rate in the middle of the year, per 1000 inhabitants and year.
        balance: net arrivals from the middle of this year to the middle of the next, persons.
        births, deaths: likewise, persons.
    """

    population: Array
    human_capital: Array
    labour: Array
    fixed_assets: Array
    grp: Array
    income: Array
    gap: Array
    force: Array
    rate: Array
    balance: Array
    births: Array
    deaths: Array


class ChainPath(NamedTuple):
    """The chain over years.

    Attributes:
        years: ChainYear with a leading axis [year]; population [year, age].
        final: state after the last year.
    """

    years: ChainYear
    final: ChainState


class ChainDrivers(NamedTuple):
    """What one year reads: rows of `ChainRegion`, and years since the first one, []."""

    amounts: Array
    mortality: Array
    fertility: Array
    elapsed: Array


def joined_chain(
    parameters: ChainParameters,
    region: ChainRegion,
    start: ChainState,
    extra: Array | None = None,
    *,
    gap: Gap = "log",
) -> ChainPath:
    """The chain from the state of the first year on: `chain_step` year after year.

    Args:
        parameters: constants.
        region: spending, ages, rates of birth and death.
        start: state of the first year.
        extra: further spending, million, [line, year]; None is 0.
        gap: form of the income gap, as in `chain_step`.

    Returns:
        ChainPath.

    Raises:
        ValueError: shapes that do not fit, an unknown `gap`.

    Notes:
        Pure and differentiable in everything, forwards and backwards; run it under `jax.vmap` or
        `batched` for many sets of parameters. A loss larger than the ages that leave makes persons
        negative: the assumptions do not fit together then.

    Source: a composition made for diffmig; each link names its own.
    """
    num_years = _check(region, start, extra, gap)
    amounts = region.amounts if extra is None else region.amounts + extra
    elapsed = jnp.arange(num_years, dtype=amounts.dtype)
    rows = ChainDrivers(amounts.T, region.mortality, region.fertility, elapsed)

    def body(state: ChainState, row: ChainDrivers) -> tuple[ChainState, ChainYear]:
        return chain_step(parameters, region, state, row, gap=gap)

    final, years = lax.scan(body, start, rows)
    return ChainPath(years, final)


def chain_step(
    parameters: ChainParameters,
    region: ChainRegion,
    state: ChainState,
    drivers: ChainDrivers,
    *,
    gap: Gap = "log",
) -> tuple[ChainState, ChainYear]:
    """One year of the chain, in the order in which its links are computed.

    h_t + h_tau = -nu h + s,  H = int h eps N dtau          spending -> human capital
    Y = A (1 + g)^t K^a (L H / N)^(1 - a)                   -> production
    y = income_share Y / N                                  -> income per head
    gap = ln(y / y_country)  or  y / y_country - 1          -> gap to the country
    q'' + 2 zeta w q' + w^2 q = w^2 (neutral + b gap)       -> external force -> balance
    N(t + 1) = N + births - deaths + balance                -> people by age
    K(t + 1) = (1 - depreciation) K + investment_share Y    and fixed assets

    The people and their capital per head by age are the state of the next year. Migrants bring and
    take the capital per head of their age. The force is constant within the year; the balance is
    the mean of q over it times N.

    Args:
        parameters, region: as in `joined_chain`; of the region the rows by year are not read.
        state: of this year.
        drivers: spending and rates of this year.
        gap: "log" or "relative".

    Returns:
        state of the next year, and this year.

    Source: `human_capital`, `production`, `balance_step`, `cohort_component`.
    """
    capital, profile = _capital(parameters, region, state, drivers.amounts)
    people = state.population.sum()
    labour = region.labour_share @ state.population
    level = parameters.productivity * (1.0 + parameters.productivity_growth) ** drivers.elapsed
    grp = production(level, state.fixed_assets, labour * capital / people, parameters.capital_share)
    income = parameters.income_share * grp * (MILLION / PER_THOUSAND) / people
    distance = _gap(parameters, income, drivers.elapsed, gap)
    target = parameters.neutral_rate + parameters.response * distance
    rate, velocity, mean_rate = balance_step(
        state.rate, state.velocity, target, parameters.frequency, parameters.damping_ratio
    )
    balance = mean_rate * people / PER_THOUSAND
    moved = cohort_component(
        state.population[:, None],
        drivers.mortality[None, :, None],
        drivers.fertility[None],
        (balance * _shares(region, state.population))[None, :, None],
    )
    assets = (1.0 - parameters.depreciation) * state.fixed_assets
    after = ChainState(
        population=moved.population[1, :, 0],
        capital_per_head=profile,
        fixed_assets=assets + parameters.investment_share * grp,
        rate=rate,
        velocity=velocity,
    )
    return after, ChainYear(
        population=state.population,
        human_capital=capital,
        labour=labour,
        fixed_assets=state.fixed_assets,
        grp=grp,
        income=income,
        gap=distance,
        force=parameters.frequency**2 * target,
        rate=state.rate,
        balance=balance,
        births=moved.births.sum(),
        deaths=moved.deaths.sum(),
    )


def calibrate_chain(
    parameters: ChainParameters,
    region: ChainRegion,
    start: ChainState,
    grp: ArrayLike,
    *,
    gap: Gap = "log",
) -> ChainParameters:
    """Parameters with the two that one year of data tells once all others are given.

    A = Y / (K^a (L H / N)^(1 - a)),   neutral_rate = q - b gap

    Args:
        parameters, region, start, gap: as in `joined_chain`; A and neutral rate are not read.
        grp: Y of the first year, million.

    Returns:
        `parameters` with productivity and neutral_rate: the first year has that GRP, and its force
        holds the balance at the rate of `start`.

    Notes:
        Differentiable. It identifies nothing else: capital share, response, frequency and damping
        stay assumptions.
    """
    _check(region, start, None, gap)
    capital, _ = _capital(parameters, region, start, region.amounts[:, 0])
    people = start.population.sum()
    effective = (region.labour_share @ start.population) * capital / people
    grp = jnp.asarray(grp, capital.dtype)
    unit = production(1.0, start.fixed_assets, effective, parameters.capital_share)
    income = parameters.income_share * grp * (MILLION / PER_THOUSAND) / people
    distance = _gap(parameters, income, jnp.zeros_like(income), gap)
    return parameters._replace(
        productivity=grp / unit, neutral_rate=start.rate - parameters.response * distance
    )


def _capital(
    parameters: ChainParameters, region: ChainRegion, state: ChainState, amounts: Array
) -> tuple[Array, Array]:
    """H in the middle of the year, million, and h on the next 1 January."""
    year = Region(
        amounts=amounts[:, None],
        lines=region.lines,
        population=state.population[None],
        participation=region.participation[None],
    )
    made = human_capital(parameters.capital, year, state.capital_per_head)
    return made.total[0], made.nodes[1]


def _shares(region: ChainRegion, population: Array) -> Array:
    """Share of each cohort in net migration, [cohort], sum 1."""
    moving = region.migrant_ages * jnp.concatenate([0.5 * population[:1], population])
    return moving / moving.sum()


def _gap(parameters: ChainParameters, income: Array, elapsed: Array, gap: Gap) -> Array:
    country = parameters.country_income * (1.0 + parameters.country_growth) ** elapsed
    ratio = income / country
    return jnp.log(ratio) if gap == "log" else ratio - 1.0


def _check(region: ChainRegion, start: ChainState, extra: Array | None, gap: str) -> int:
    """Number of years."""
    if gap not in get_args(Gap):
        raise ValueError(f"gap: expected one of {get_args(Gap)}, got {gap!r}")
    lines, years = region.amounts.shape
    ages = start.population.shape[0]
    cohorts = ages + 1  # those born during the year too
    components = region.lines.membership.shape[0]
    wanted = {
        "participation": (region.participation, (ages,)),
        "labour_share": (region.labour_share, (ages,)),
        "mortality": (region.mortality, (years, cohorts)),
        "fertility": (region.fertility, (years, ages)),
        "migrant_ages": (region.migrant_ages, (cohorts,)),
        "capital_per_head": (start.capital_per_head, (ages, components)),
    }
    if extra is not None:
        wanted["extra"] = (extra, (lines, years))
    for name, (array, shape) in wanted.items():
        if np.shape(array) != shape:
            raise ValueError(
                f"{name}: expected shape {shape} as amounts {region.amounts.shape} [line, year] "
                f"and population [{ages}] need, got {np.shape(array)}"
            )
    return years
