"""The region as the model sees it: comparable spending by line and year, ages, participation."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import data, fit
from diffmig import human_capital as hc
from experiments.human_capital.config import Config
from experiments.human_capital.inputs import MAX_AGE, Inputs, problem

PRIVATE = "private"
WORK_BEGINS, WOMEN_RETIRE, MEN_RETIRE = 16, 55, 60
STARTS = ((0.02, 1.0), (0.027, 1.9), (0.05, 2.5))


def components(budget: data.Budget) -> tuple[str, ...]:
    """Components in the order in which the budget names them."""
    return tuple(dict.fromkeys(budget.components))


def price_factor(config: Config, inputs: Inputs) -> np.ndarray:
    """Money of each year in prices of the base year (of the last year where that is earlier),
    [year]."""
    if inputs.price_index is None:
        return np.ones(inputs.years.size)
    last = int(inputs.years[-1])
    return data.price_factor(inputs.price_index, inputs.years, min(config.base_year or last, last))


def nominal_amounts(config: Config, inputs: Inputs) -> np.ndarray:
    """Spending of every year in its own prices, million, [line, year].

    A line without a figure in early years is 0 there, or keeps its first figure in comparable
    prices; after its last figure it keeps that in comparable prices. Between figures, its own or
    the budget's years: the rule of the config.
    """
    budget, factor = inputs.budget, price_factor(config, inputs)
    at = budget.years - inputs.years[0]
    filled = np.stack(
        [
            _fill(config, budget.years, *row, factor[at])
            for row in zip(budget.amounts, budget.mask, strict=True)
        ]
    )
    made = hc.interpolate_amounts(
        jnp.asarray(filled), budget.years, inputs.years, rule=config.interpolation
    )
    return np.asarray(made)


def comparable_amounts(config: Config, inputs: Inputs) -> np.ndarray:
    """The same in prices of the base year, million, [line, year]."""
    return nominal_amounts(config, inputs) * price_factor(config, inputs)


def _fill(
    config: Config, years: np.ndarray, amounts: np.ndarray, mask: np.ndarray, factor: np.ndarray
) -> np.ndarray:
    """One line with a figure in every year of the budget, [year]."""
    known = np.flatnonzero(mask)
    if known.size in (0, mask.size):
        return amounts
    first, last = known[0], known[-1]
    filled = amounts.copy()
    inside = hc.interpolate_amounts(
        jnp.asarray(amounts[None, known]),
        years[known],
        years[first : last + 1],
        rule=config.interpolation,
    )
    filled[first : last + 1] = np.asarray(inside)[0]
    filled[last + 1 :] = amounts[last] * factor[last] / factor[last + 1 :]
    early = amounts[first] * factor[first] / factor[:first]
    filled[:first] = 0.0 if config.missing == "zero" else early
    return filled


def is_known(budget: data.Budget) -> np.ndarray:
    """Figures that may be compared with: given, or before the line began, [line, year]."""
    began = np.cumsum(budget.mask, axis=1) > 0
    return budget.mask | ~began


def participation(config: Config, inputs: Inputs, population: np.ndarray) -> np.ndarray:
    """eps, [year, age].

    "working-age": men 16-59 and women 16-54; the tables know no sexes, so that half of those aged
    55-59 count; scaled so that int eps rho is the labour resources, the last ratio held later.

    Raises:
        DataError: labour resources are not known.
    """
    if config.participation == "all":
        return np.ones_like(population)
    if inputs.labour is None:
        raise problem("indicators", "no labour resources", "take --config.participation all")
    ages = np.arange(population.shape[1])
    shape = ((ages >= WORK_BEGINS) & (ages < WOMEN_RETIRE)) * 1.0
    shape += ((ages >= WOMEN_RETIRE) & (ages < MEN_RETIRE)) * 0.5
    ratio = inputs.labour / (population[: inputs.years.size] @ shape)
    ratio = np.concatenate([ratio, np.full(len(population) - ratio.size, ratio[-1])])
    return ratio[:, None] * shape


def build_region(config: Config, inputs: Inputs, ahead: np.ndarray | None = None) -> hc.Region:
    """Data of the model; `ahead` [line, year] adds comparable spending of forecast years."""
    amounts = comparable_amounts(config, inputs)
    if ahead is not None:
        amounts = np.concatenate([amounts, ahead], axis=1)
    population = inputs.population[: amounts.shape[1]]
    return hc.Region(
        amounts=jnp.asarray(amounts),
        lines=hc.budget_lines(inputs.budget, MAX_AGE + 1, components(inputs.budget)),
        population=jnp.asarray(population),
        participation=jnp.asarray(participation(config, inputs, population)),
    )


def component_shares(config: Config, num_components: int) -> Array:
    """alpha of the config, equal by default, [component]."""
    if config.shares and len(config.shares) != num_components:
        raise ValueError(
            f"shares: expected {num_components}, one per component, got {config.shares}"
        )
    return jnp.asarray(config.shares or (1.0 / num_components,) * num_components)


def make_parameters(
    shares: Array, wear_rate: Array | float, initial_factor: Array | float
) -> hc.Parameters:
    """The same wear for all components, no inherited capital."""
    return hc.Parameters(
        wear_rate=jnp.broadcast_to(jnp.asarray(wear_rate, float), shares.shape),
        shares=shares,
        initial_factor=jnp.asarray(initial_factor, float),
        inflow=jnp.zeros_like(shares),
    )


def anchor_residuals(
    config: Config, first_year: int, region: hc.Region, shares: Array, x: Array
) -> Array:
    """Two anchors in tolerances: H per inhabitant in one year, slope of H in another.

    x is the log of wear rate and initial factor. The slope is that of the parabola through three
    years, (H[t + 1] - H[t - 1]) / (2 H[t]).
    """
    made = hc.human_capital(make_parameters(shares, jnp.exp(x[0]), jnp.exp(x[1])), region)
    head = config.per_head_year - first_year
    low = config.minimum_year - first_year
    per_head = made.per_inhabitant[head] / 1e3 - config.per_head_anchor
    slope = (made.total[low + 1] - made.total[low - 1]) / (2.0 * made.total[low])
    return jnp.stack([per_head / config.per_head_tolerance, slope / config.minimum_tolerance])


def calibrate_regions(
    config: Config, first_year: int, regions: Sequence[hc.Region], shares: Sequence[Array]
) -> list[fit.Calibration]:
    """Wear rate and initial factor of each region from the two anchors, by one compiled program."""
    return [
        _calibrate(config, first_year, region, alpha)
        for region, alpha in zip(regions, shares, strict=True)
    ]


@partial(jax.jit, static_argnums=(0, 1))
def _calibrate(
    config: Config, first_year: int, region: hc.Region, shares: Array
) -> fit.Calibration:
    residuals = partial(anchor_residuals, config, first_year, region, shares)
    return fit.calibrate(residuals, jnp.log(jnp.asarray(STARTS)))
