"""A small region with everything unequal, so that a lost sign, line or bound shows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import human_capital as hc
from diffmig.data import OPEN_AGE, Budget

YEARS, AGES = 6, 15


class Case(NamedTuple):
    parameters: hc.Parameters
    region: hc.Region
    budget: Budget
    deaths: jax.Array
    migration: jax.Array


def small_budget() -> Budget:
    rng = np.random.default_rng(3)
    amounts = rng.uniform(50.0, 900.0, (4, YEARS))
    return Budget(
        amounts=amounts,
        mask=np.ones(amounts.shape, bool),
        lines=("clinics", "schools", "universities", "theatres"),
        components=("health", "education", "education", "culture"),
        payers=("region", "region", "federal", "private"),
        first_ages=np.array([1, 4, 9, 0]),
        last_ages=np.array([OPEN_AGE, 8, 12, OPEN_AGE]),
        years=np.arange(2000, 2000 + YEARS),
    )


@pytest.fixture(scope="session")
def case() -> Case:
    rng = np.random.default_rng(5)
    budget = small_budget()
    population = [rng.uniform(300.0, 2000.0, AGES)]
    deaths, migration = [], []
    for _ in range(YEARS - 1):
        now = population[-1]
        deaths.append(now * rng.uniform(0.01, 0.1, AGES))
        migration.append(rng.normal(0.0, 40.0, AGES))
        later = now - deaths[-1] + migration[-1]
        population.append(np.concatenate([rng.uniform(300.0, 900.0, 1), later[:-1]]))
    region = hc.Region(
        amounts=jnp.asarray(budget.amounts),
        lines=hc.budget_lines(budget, AGES),
        population=jnp.asarray(np.stack(population)),
        participation=jnp.asarray(rng.uniform(0.2, 1.0, (YEARS, AGES))),
    )
    parameters = hc.Parameters(
        wear_rate=jnp.array([0.03, 0.11, 0.2]),
        shares=jnp.array([0.5, 0.3, 0.2]),
        initial_factor=jnp.asarray(1.7),
        inflow=jnp.array([5e3, 2e4, 1e4]),
    )
    return Case(parameters, region, budget, jnp.asarray(deaths), jnp.asarray(migration))
