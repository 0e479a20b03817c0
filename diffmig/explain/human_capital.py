"""What a million more in each budget line and year is worth, by gradients and by the adjoint."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig.human_capital import (
    Parameters,
    Region,
    human_capital,
    phi1,
)


class MarginalValues(NamedTuple):
    """Response of H in one year to spending, nothing else changed.

    Attributes:
        gradient: dH(T) / dE, million per million of comparable money, [line, year]; 0 after T.
        adjoint: the same by the adjoint identity, without differentiating a program.
        elasticity: gradient E / H, 1, [line, year]; NaN where H is 0.
        total: H(T), million of comparable money, [].
    """

    gradient: Array
    adjoint: Array
    elasticity: Array
    total: Array


def marginal_values(parameters: Parameters, region: Region, at: int) -> MarginalValues:
    """Marginal value of every line and year for the human capital of year `at`.

    The profile at the start is history: it is held where the parameters put it, also where its
    level was inferred from the spending of the first year.

    Args:
        parameters, region: of the model.
        at: row of the year T, may be negative.

    Returns:
        MarginalValues.

    Raises:
        ValueError: `at` outside the years, or as `human_capital`.

    Notes:
        H is linear in spending, so the values hold for changes of any size that keep spending >= 0.
    """
    adjoint = adjoint_values(parameters, region, at)
    initial = human_capital(parameters, region).nodes[0]

    def total(amounts: Array) -> Array:
        return human_capital(parameters, region._replace(amounts=amounts), initial).total[at]

    value, gradient = jax.value_and_grad(total)(region.amounts)
    return MarginalValues(
        gradient=gradient,
        adjoint=adjoint,
        elasticity=gradient * region.amounts / value,
        total=value,
    )


def adjoint_values(parameters: Parameters, region: Region, at: int) -> Array:
    """dH(T)/dE by the adjoint identity, [line, year].

    dH(T)/df_i(t, tau) = alpha_i w(T, tau + T - t) e^{-nu_i (T - t - 1/2)} phi1(nu_i), t < T;
    1/2 phi1(nu_i / 2) alpha_i w(T, tau) in year T itself, whose middle is asked for

    Arguments as in `marginal_values`.

    Source: adjoint of Vavilova, Ketova (2020), eq (1)-(3), on the cells of `human_capital`.
    """
    num_years, num_ages = region.population.shape
    if not -num_years <= at < num_years:
        raise ValueError(f"at: expected a row of {num_years} years, got {at}")
    at = at % num_years
    nu = parameters.wear_rate
    weight = region.participation[at] * region.population[at]
    past = at - np.arange(num_years)  # years from each year to T
    later = np.arange(num_ages)[None, :] + past[:, None]  # age in T of those of each age and year
    alive = (past[:, None] >= 0) & (later < num_ages)
    reached = jnp.where(alive, weight[np.where(alive, later, 0)], 0.0)
    years = jnp.asarray(np.maximum(past, 1), nu.dtype)[:, None]
    kept = jnp.where(
        past[:, None] > 0,
        jnp.exp(-nu[None, :] * (years - 0.5)) * phi1(nu)[None, :],
        0.5 * phi1(0.5 * nu)[None, :],
    )
    by_source = jnp.einsum("ya,yc->yac", reached, kept * parameters.shares[None, :])
    lines = region.lines
    served = jnp.einsum("la,ya->ly", lines.brackets, region.population)
    gained = jnp.einsum("yac,la,cl->ly", by_source, lines.brackets, lines.membership)
    return jnp.where(served > 0, gained / jnp.where(served > 0, served, 1.0), 0.0)
