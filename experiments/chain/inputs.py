"""The tables of the Udmurt Republic that the chain starts from, in prices of its last year."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import data, fit
from diffmig import human_capital as hc
from experiments.chain.config import Config
from experiments.human_capital import economy, people
from experiments.human_capital import inputs as capital_inputs
from experiments.human_capital.config import VARIANTS as CAPITAL

CAPITAL_CONFIG = CAPITAL["base"]
REVALUED = 2019  # fixed assets were valued anew: their change is no investment


class Inputs(NamedTuple):
    """What is known about the region; money in million RUB of the last year's prices.

    Attributes:
        budget: its lines.
        lines: whom they serve.
        years: 2000 to the last year of the data.
        amounts: spending of the budget's years, [line, year], from the first of `years` on.
        population: mean annual persons, [year, age]; after the year `counted` the total is held.
        labour_share: labour resources per inhabitant of an age, [age].
        grp: [year].
        assets: fixed assets at the start of the last year, as in the books after their revaluation.
        book: fixed assets at the end of a year and GRP in current prices, bn, [year] each, and
            whether the year counts for the investment share.
        balances: published net migration, persons, by year.
        mortality: mu, 1/year, [cohort]; fertility: births per inhabitant, [age].
        fits: in words, how these two were fitted.
        price: prices of the last year over those of 2018.
        anchor: human capital per inhabitant in the anchor year, thousand, and that year.
    """

    budget: data.Budget
    lines: hc.Lines
    years: np.ndarray
    amounts: Array
    population: Array
    counted: int
    labour_share: Array
    grp: np.ndarray
    assets: float
    book: tuple[np.ndarray, np.ndarray, np.ndarray]
    balances: dict[int, float]
    mortality: Array
    fertility: Array
    fits: str
    price: float
    anchor: tuple[float, int]


def load(data_file: Path | None, config: Config) -> Inputs:
    """Bundled tables.

    Raises:
        DataError: a data file is given.
    """
    if data_file is not None:
        raise data.DataError(
            [
                data.Problem(
                    None, None, None,
                    "the chain needs budget, ages, GRP, fixed assets, labour and balances of one "
                    "region together, and one file cannot hold them",
                    "leave out --data; change assumptions with --config, or call "
                    "diffmig.explain.joined_chain with arrays of your own",
                )
            ],
            str(data_file),
        )  # fmt: skip
    base = replace(CAPITAL_CONFIG, last_forecast_year=config.last_year)
    known = capital_inputs.load(None, base)
    years = known.all_years
    panel = data.select(data.load_table("grp_udmurt"), years=(int(years[0]), config.last_year))
    column = {name: data.variable(panel, name)[0] for name in panel.names}
    deflator = data.price_factor(column["deflator"], years, config.last_year)
    price = float(deflator[base.base_year - years[0]])
    population = known.population
    whole = known._replace(years=years, labour=1e3 * column["labour"])
    works = replace(base, participation="working-age")
    labour_share = economy.participation(works, whole, population)[-1]
    mortality, fertility, words = _rates(known)
    used = (years > config.last_year - config.asset_years) & (years != REVALUED)
    changes = known.changes
    assert changes is not None  # bundled
    return Inputs(
        budget=known.budget,
        lines=hc.budget_lines(known.budget, population.shape[1], economy.components(known.budget)),
        years=years,
        amounts=jnp.asarray(economy.comparable_amounts(base, known) * price),
        population=jnp.asarray(population),
        counted=max(hc.mean_annual(known.totals)),
        labour_share=jnp.asarray(labour_share),
        grp=1e3 * column["grp_current"] * deflator,
        assets=1e3 * _assets_before(column["fixed_assets"], years),
        book=(column["fixed_assets"], column["grp_current"], used),
        balances=dict(
            zip(changes["year"].tolist(), changes["net_migration"].tolist(), strict=True)
        ),
        mortality=mortality,
        fertility=fertility,
        fits=words,
        price=price,
        anchor=(base.per_head_anchor * price, base.per_head_year),
    )


def _assets_before(book: np.ndarray, years: np.ndarray) -> float:
    """Book value at the end of the year before the last, bn; an earlier one is lifted by the jump
    of the revaluation, so that the parameters mean the same in all years."""
    if years[-1] > REVALUED:
        return float(book[-2])
    table = data.variable(data.load_table("grp_udmurt"), "fixed_assets")[0]
    at = REVALUED - int(years[0])
    return float(book[-2] * table[at] / table[at - 1])


def _rates(known: capital_inputs.Inputs) -> tuple[Array, Array, str]:
    """Mortality of the last piece of years of the human-capital study, and fertility that gives the
    births of 2012-2015 on it; sexes together."""
    made = people.account_for(known)
    mortality = made.mortality.mortality[:, -1]
    changes = known.changes
    assert changes is not None  # bundled
    births = changes["births"].to_numpy(float)
    first = int(changes["year"].iloc[0] - known.years[0])
    rows = known.population[first : first + births.size]
    found = fit.fit_fertility(
        jnp.asarray(rows)[:, :, None],
        mortality[None, :, None],
        jnp.asarray(0.5 * (births[1:] + births[:-1])),
    )
    words = (
        f"Life expectancy {made.life_expectancy[-1]:.1f} years (fitted from {made.pieces[-1]} on) "
        f"and {2 * float(found.schedule.total):.2f} births per woman (2012-2015)"
    )
    return mortality, found.fertility, words
