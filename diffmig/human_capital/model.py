"""The human capital of a region: spending, transport, weights and participation in one function."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from diffmig.human_capital.cells import exponential_step
from diffmig.human_capital.spending import Lines, source_per_head
from diffmig.human_capital.transport import mid_values, transport

MILLION = 1e6  # unit of amounts; h is in single units of money


class Parameters(NamedTuple):
    """What the paper does not print; defaults come from a calibration and are called that.

    Attributes:
        wear_rate: nu, 1/year, [component].
        shares: alpha, weights of the components, 1, [component], sum 1.
        initial_factor: initial profile over the stationary one of the first year, 1, [].
        inflow: h of the newly born, money per head, [component].
    """

    wear_rate: Array
    shares: Array
    initial_factor: Array
    inflow: Array


class Region(NamedTuple):
    """Data of a region, years consecutive.

    Attributes:
        amounts: spending, million of comparable money per year, [line, year].
        lines: whom the lines serve and what they build.
        population: mean annual persons by completed age, [year, age].
        participation: eps, share of persons who take part, [year, age].
    """

    amounts: Array
    lines: Lines
    population: Array
    participation: Array


class HumanCapital(NamedTuple):
    """Human capital in the middle of every year.

    Attributes:
        total: H, million of comparable money, [year].
        by_component: alpha_i H_i, million, [year, component]; sums to `total`.
        per_inhabitant: H over all inhabitants, money per person, [year].
        by_age: h = sum_i alpha_i h_i, money per head, [year, age].
        middle: h_i in the middle of the year, money per head, [year, age, component].
        nodes: h_i on 1 January, [year + 1, age, component].
        source: s_i, money per head and year, [year, age, component].
    """

    total: Array
    by_component: Array
    per_inhabitant: Array
    by_age: Array
    middle: Array
    nodes: Array
    source: Array


def stationary_profile(wear_rate: Array, source: Array, inflow: Array) -> Array:
    """The profile by age that a source held for ever leaves behind.

    h_tau = -nu h + f, h(0) = inflow

    Args:
        wear_rate: nu, 1/year, shape of `inflow`.
        source: f, money per head and year, [age, ...].
        inflow: h at age 0, [...].

    Returns:
        h at the lower edges of the ages, [age, ...].
    """

    def step(value: Array, f: Array) -> tuple[Array, Array]:
        return exponential_step(value, wear_rate, f, 1.0), value

    return lax.scan(step, inflow, source)[1]


def human_capital(
    parameters: Parameters, region: Region, initial: Array | None = None
) -> HumanCapital:
    """H(t) of a region, its structure and its profile by age.

    H(t) = int sum_i alpha_i h_i(t, tau) eps(t, tau) rho(t, tau) dtau  (1),
    h = sum_i alpha_i h_i  (2),  h_t + h_tau = -nu_i h_i + s_i + p_i  (3)

    A person of completed age a spends calendar year t in one cell; H is taken in the middle of the
    year with the mean annual population, so that what is invested in a year is what was spent.

    Args:
        parameters: of the model.
        region: data.
        initial: h_i on 1 January of the first year, money per head, [age, component]; None takes
            `initial_factor` times the stationary profile under the first year's spending.

    Returns:
        HumanCapital.

    Raises:
        ValueError: shapes or values that do not fit: see `source_per_head` and `transport`.

    Notes:
        Differentiable in parameters and in all arrays of the region; linear in amounts and shares.

    Source: Vavilova, Ketova (2020), eq (1)-(3); initial profile reconstructed.
    """
    source = source_per_head(region.amounts, region.lines, region.population) * MILLION
    wear_rate = parameters.wear_rate
    if initial is None:
        profile = stationary_profile(wear_rate, source[0], parameters.inflow)
        initial = parameters.initial_factor * profile
    grid = wear_rate[None, None, :]
    nodes = transport(initial, grid, source, parameters.inflow[None, :])
    middle = mid_values(nodes, grid, source)
    taking_part = region.participation * region.population
    shares = parameters.shares
    by_component = shares[None, :] * jnp.einsum("yac,ya->yc", middle, taking_part)
    by_component = by_component / MILLION
    total = by_component.sum(axis=1)
    return HumanCapital(
        total=total,
        by_component=by_component,
        per_inhabitant=total * MILLION / region.population.sum(axis=1),
        by_age=middle @ shares,
        middle=middle,
        nodes=nodes,
        source=source,
    )
