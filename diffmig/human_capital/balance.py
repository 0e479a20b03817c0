"""Balance of human capital from the middle of one year to the middle of the next.

Every term is a finite sum on the grid of cohorts and is computed from its own causes; none is what
the others leave over. So the residual is a check.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from diffmig.human_capital.cells import exponential_step, phi1
from diffmig.human_capital.model import MILLION, HumanCapital, Parameters, Region


class CapitalBalance(NamedTuple):
    """Terms of dH/dt, million of comparable money a year, each [year - 1, component].

    change = investment - wear - deaths + migration + participation + inflow - outflow

    Attributes:
        change: H of the next middle of a year less H of this.
        investment: spent on those who take part.
        wear: lost by wear.
        deaths: capital of those who died.
        migration: capital of those who came, less that of those who left.
        participation: capital that entered or left with the share of those who take part.
        inflow: capital of the newly born.
        outflow: capital of those who left the last age.
    """

    change: Array
    investment: Array
    wear: Array
    deaths: Array
    migration: Array
    participation: Array
    inflow: Array
    outflow: Array


BALANCE_SIGNS = (1, -1, -1, 1, 1, 1, -1)  # of the terms on the right, from investment on


def capital_balance(
    result: HumanCapital, parameters: Parameters, region: Region, deaths: Array, migration: Array
) -> CapitalBalance:
    """Terms of the balance of H between the middles of years.

    Those of age a spend the second half of year t in cell (t, a) and the first half of year t + 1
    in cell (t + 1, a + 1). Between the two, on 1 January, cohorts change by deaths and migration,
    valued at the h of that day.

    Args:
        result: from `human_capital`.
        parameters, region: what it was computed from.
        deaths: of those aged a in the middle of year t before the middle of t + 1, persons,
            [year - 1, age].
        migration: net, persons, by the age in the middle of year t, [year - 1, age]:
            population[t + 1, a + 1] = population[t, a] - deaths[t, a] + migration[t, a].

    Returns:
        CapitalBalance.

    Raises:
        ValueError: shapes that do not fit.

    Notes:
        Differentiable. Deaths and migration in the last age cannot be told from leaving it and are
        part of the outflow.

    Source: integral over age of Vavilova, Ketova (2020), eq (3), with weight eps rho.
    """
    num_years, num_ages = region.population.shape
    if not deaths.shape == migration.shape == (num_years - 1, num_ages):
        raise ValueError(
            f"deaths, migration: expected [{num_years - 1} years, {num_ages} ages], got "
            f"{deaths.shape} and {migration.shape}"
        )
    unit = parameters.shares / MILLION
    weight = region.participation * region.population
    here, there = weight[:-1], weight[1:]
    half_wear = 0.5 * parameters.wear_rate[None, None, :]
    source, next_source = result.source[:-1], result.source[1:]
    start, next_start = result.middle[:-1], result.nodes[1:-1]
    # h on 1 January of those aged a half a year before, also of those who leave the last age
    end = exponential_step(start, half_wear, source, 0.5)
    share, next_share = region.participation[:-1, :-1], region.participation[1:, 1:]

    def worth(persons: Array, h: Array) -> Array:
        return unit[None, :] * jnp.einsum("ya,yac->yc", persons, h)

    staying = end[:, :-1]
    return CapitalBalance(
        change=result.by_component[1:] - result.by_component[:-1],
        investment=0.5 * (worth(here, source) + worth(there, next_source)),
        wear=worth(here, _worn(start, half_wear, source))
        + worth(there, _worn(next_start, half_wear, next_source)),
        deaths=worth(share * deaths[:, :-1], staying),
        migration=worth(share * migration[:, :-1], staying),
        participation=worth((next_share - share) * region.population[1:, 1:], staying),
        inflow=worth(there[:, :1], next_start[:, :1]),
        outflow=worth(here[:, -1:], end[:, -1:]),
    )


def _worn(value: Array, wear: Array, source: Array) -> Array:
    """int nu h dt over half a year from h: h (1 - e^{-z}) + k (1 - phi1(z)) f, k = 1/2."""
    return -jnp.expm1(-wear) * value + 0.5 * (1.0 - phi1(wear)) * source


def balance_residual(balance: CapitalBalance) -> Array:
    """Left less right side of the balance over H-sized terms, 1, [year - 1, component].

    The scale is the sum of the absolute values of all terms, 1 where all are 0.
    """
    signed = [sign * term for sign, term in zip(BALANCE_SIGNS, balance[1:], strict=True)]
    scale = jnp.abs(jnp.stack(balance)).sum(axis=0)
    return (balance.change - jnp.stack(signed).sum(axis=0)) / jnp.where(scale > 0, scale, 1.0)
