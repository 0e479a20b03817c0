"""What a million more is worth by line and year, and the cheapest way to a target."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffmig import explain
from diffmig import human_capital as hc
from experiments.human_capital.config import Config

PATH_YEARS = 5  # in which the cheapest path may spend
ADJUSTMENT = 10.0  # curvature over amount: a rise of a line by 10 % costs half as much again


class Worth(NamedTuple):
    """Marginal values at the last year with data, and two ways to the target.

    Attributes:
        values: gradient, adjoint and elasticity, [line, year].
        finite: (H(E + 1) - H(E)) of the line and year named in `probe`, against the gradient.
        probe: line and year of the finite change.
        target: H asked for, million.
        cheapest, smooth: rises of amounts, [line, path year]: linear cost, and with costs that grow
            with the rise.
        reached: H of a forward run with each, million.
        path_years: rows of the region that may change.
    """

    values: explain.MarginalValues
    finite: float
    probe: tuple[int, int]
    target: float
    cheapest: explain.LeastCost
    smooth: explain.LeastCost
    reached: tuple[float, float]
    path_years: np.ndarray


def worth(
    config: Config,
    parameters: hc.Parameters,
    region: hc.Region,
    initial: jax.Array,
    payers: Sequence[str],
) -> Worth:
    """Marginal values of H in the last year of `region`, checked by the adjoint and by a finite
    change, and the rises of spending in the last years that would have lifted it to the target;
    `initial` is the h of the first day, which spending does not change."""
    values = jax.jit(partial(explain.marginal_values, at=-1))(parameters, region)

    @jax.jit
    def total(amounts: jax.Array) -> jax.Array:
        return hc.human_capital(parameters, region._replace(amounts=amounts), initial).total[-1]

    num_years = region.amounts.shape[1]
    years = np.arange(max(0, num_years - PATH_YEARS), num_years)
    at = np.asarray(jnp.abs(values.gradient[:, years]).max(axis=1))
    probe = (int(at.argmax()), int(years[0]))
    more = total(region.amounts.at[probe].add(1.0)) - values.total
    target = float(values.total) * (1.0 + config.target_growth)
    gradient, amounts = values.gradient[:, years], region.amounts[:, years]
    cost, low = jnp.ones_like(amounts), jnp.zeros_like(amounts)
    moving = jnp.asarray([payer not in config.frozen_payers for payer in payers], float)
    high = config.target_bound * moving[:, None] * amounts
    needed = target - values.total
    cheapest = explain.least_cost(gradient, cost, low, high, needed)
    spent = amounts > 0
    curvature = jnp.where(spent, ADJUSTMENT / jnp.where(spent, amounts, 1.0), ADJUSTMENT)
    smooth = explain.least_cost(gradient, cost, low, high, needed, curvature=curvature)
    reached = [
        float(total(region.amounts.at[:, years].add(path.change))) for path in (cheapest, smooth)
    ]
    return Worth(
        values=values,
        finite=float(more),
        probe=probe,
        target=target,
        cheapest=cheapest,
        smooth=smooth,
        reached=(reached[0], reached[1]),
        path_years=years,
    )
