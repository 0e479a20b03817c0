"""Losses over weighted years."""

import jax.numpy as jnp
from jax import Array


def weighted_mse(actual: Array, fitted: Array, weight: Array) -> Array:
    """Mean squared error over weighted years: sum w (actual - fitted)^2 / sum w.

    Args:
        actual, fitted: series, [year], one unit.
        weight: weight of every year, [year], >= 0; a year of weight 0 may hold anything finite.

    Returns:
        loss, scalar, unit squared. Differentiable; 0 where no year has weight.
    """
    total = jnp.sum(weight)
    return jnp.sum(weight * (actual - fitted) ** 2) / jnp.where(total > 0, total, 1.0)


def weighted_mape(actual: Array, fitted: Array, weight: Array) -> Array:
    """Mean absolute percentage error over weighted years: 100 sum w |1 - fitted / actual| / sum w.

    Args, Returns: as `weighted_mse`, actual != 0 where weighted; percent.

    Source: Vavilova, Ketova, Zerari (2025), section 2, MAPE.
    """
    total = jnp.sum(weight)
    ratio = fitted / jnp.where(weight > 0, actual, 1.0)
    error = jnp.where(weight > 0, jnp.abs(1.0 - ratio), 0.0)
    return 100.0 * jnp.sum(weight * error) / jnp.where(total > 0, total, 1.0)
