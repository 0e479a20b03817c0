"""Births, deaths and migration behind the population, needed to balance the capital."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from diffmig import fit
from diffmig import human_capital as hc
from experiments.human_capital.inputs import Inputs

PIECE = 5  # years that share one mortality schedule
LAST_AGE = 84.0  # older ages are split from one open group


class People(NamedTuple):
    """Accounts between the middles of years.

    Attributes:
        account: flows behind the population.
        mortality: fitted schedules, one per piece of years, [..., piece].
        pieces: first year of each piece.
        life_expectancy: at birth, years, [piece].
        residual: of the totals, persons, [year - 1].
    """

    account: hc.Account
    mortality: fit.MortalityFit
    pieces: np.ndarray
    life_expectancy: np.ndarray
    residual: np.ndarray


def account_for(inputs: Inputs) -> People:
    """Mortality fitted to the survival of old cohorts (and to total deaths where they are known),
    migration left over by it: the residual method. Both are reconstructions."""
    population = inputs.population[: inputs.years.size]
    num_years = len(population)
    piece = min(PIECE, num_years - 1)
    starts = np.arange(0, num_years - piece, piece)
    rows = starts[None, :] + np.arange(piece + 1)[:, None]
    pieces = np.moveaxis(population[rows], 1, -1)  # [year + 1, age, piece]
    deaths = _known_deaths(inputs)[rows[:-1]]
    config = fit.MortalityConfig(last_age=LAST_AGE)
    made = fit.fit_mortality(jnp.asarray(pieces), jnp.asarray(deaths), config=config)
    of_year = np.minimum(np.arange(num_years - 1) // piece, starts.size - 1)
    mortality = jnp.moveaxis(made.mortality, -1, 0)[of_year]
    account = jax.jit(hc.residual_account)(jnp.asarray(population), mortality)
    return People(
        account=account,
        mortality=made,
        pieces=inputs.years[starts],
        life_expectancy=np.asarray(hc.life_expectancy(made.mortality[None]))[0],
        residual=np.asarray(hc.projection_residual(account.projection)).sum(axis=-1),
    )


def _known_deaths(inputs: Inputs) -> np.ndarray:
    """Deaths between the middles of a year and the next, [year - 1]; NaN where not known."""
    if inputs.changes is None:
        return np.full(inputs.years.size - 1, np.nan)
    deaths = inputs.changes.set_index("year")["deaths"].reindex(inputs.years).to_numpy(float)
    return 0.5 * (deaths[:-1] + deaths[1:])


def account_frame(inputs: Inputs, people: People) -> pd.DataFrame:
    """Totals of the account beside the published ones, persons, middle to middle of years."""
    made = people.account.projection
    frame = pd.DataFrame(
        {
            "year": inputs.years[:-1],
            "population": np.asarray(made.population[:-1]).sum(axis=(1, 2)),
            "births": np.asarray(made.births).sum(axis=1),
            "deaths": np.asarray(made.deaths).sum(axis=(1, 2)),
            "net_migration": np.asarray(made.migration).sum(axis=(1, 2)),
            "left_last_age": np.asarray(made.outflow).sum(axis=1),
            "residual": people.residual,
        }
    )
    if inputs.changes is not None:
        known = inputs.changes.set_index("year").reindex(inputs.years)
        for name in ("births", "deaths", "net_migration"):
            row = known[name].to_numpy(float)
            frame[f"published_{name}"] = 0.5 * (row[:-1] + row[1:])
    return frame


def published_frame(inputs: Inputs) -> pd.DataFrame | None:
    """The published balance from one 1 January to the next, persons, and what it leaves."""
    if inputs.changes is None or not inputs.totals:
        return None
    rows = inputs.changes[[year + 1 in inputs.totals for year in inputs.changes["year"]]]
    totals = [[inputs.totals[year], inputs.totals[year + 1]] for year in rows["year"]]
    flows = [rows[name].to_numpy(float)[None] for name in ("births", "deaths", "net_migration")]
    residual = hc.population_residual(np.array(totals).T, *flows)  # type: ignore[arg-type]
    return rows.assign(
        first_january=[first for first, _ in totals],
        next_first_january=[last for _, last in totals],
        residual=np.asarray(residual)[0],
    )
