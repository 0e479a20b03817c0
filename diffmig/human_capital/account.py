"""The flows behind a population that is given: what a balance of capital needs."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from diffmig.human_capital.cells import phi1
from diffmig.human_capital.demography import (
    Projection,
    cohort_component,
    net_migration_by_survival,
)


class Account(NamedTuple):
    """A population with its flows by the age at the start of each step.

    Attributes:
        projection: one sex column, newborns included.
        deaths: of those of each age, persons, [year, age, ...].
        migration: net, persons, [year, age, ...].
    """

    projection: Projection
    deaths: Array
    migration: Array


def residual_account(population: Array, mortality: Array, *, step: float = 1.0) -> Account:
    """The account of a population under given mortality: what deaths do not explain is migration.

    Births are those whose survivors are age 0 at the end of each step.

    Args:
        population: persons at the ends of the steps, sexes together, [year + 1, age, ...].
        mortality: mu, 1/year, [year, cohort, ...], axes of size 1 where it is the same for all.
        step: as in `cohort_component`, whose last age is closed here.

    Returns:
        Account, as `capital_balance` takes it.

    Raises:
        ValueError: as `cohort_component`.

    Notes:
        The residual method: errors of counts and of mortality are in the migration.

    Source: `net_migration_by_survival`.
    """
    persons = jnp.expand_dims(population, 2)
    mu = jnp.expand_dims(mortality, 2)
    births = persons[1:, 0] / phi1(step * mu[:, 0])
    migration = net_migration_by_survival(persons, mu, step=step, open_last=False)
    made = cohort_component(
        persons[0], mu, None, migration, births=births, step=step, open_last=False
    )
    return Account(
        projection=made, deaths=made.deaths[:, 1:, 0], migration=made.migration[:, 1:, 0]
    )
