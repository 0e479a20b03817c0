"""Array handling that the error measures, baselines and bounds share."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def as_float(*arrays: ArrayLike) -> tuple[Array, ...]:
    """`arrays` in their common floating dtype; integers become the default float."""
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*arrays, float)
    return tuple(jnp.asarray(x, dtype) for x in arrays)


def safe_sqrt(x: Array) -> Array:
    """Square root whose derivative at 0 is 0 instead of infinity; NaN for x < 0 and NaN."""
    zero = x == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


def safe_ratio(numerator: Array, denominator: Array, defined: Array) -> Array:
    """numerator / denominator where `defined`, NaN elsewhere; the derivative there is 0."""
    return jnp.where(defined, numerator / jnp.where(defined, denominator, 1.0), jnp.nan)


def rounding_level(x: Array, count: Array | int) -> Array:
    """Sum of squares below which `count` deviations of `x` (last axis) are rounding errors."""
    size = jnp.max(jnp.abs(x), axis=-1)
    return count * (16 * jnp.finfo(x.dtype).eps * size) ** 2


def check_years(series: Array, least: int, name: str = "series") -> None:
    """Raise ValueError unless `series` [..., year] has at least `least` years."""
    if series.ndim < 1 or series.shape[-1] < least:
        raise ValueError(
            f"{name}: expected [..., year] with at least {least} years, got shape {series.shape}; "
            "time is the last axis"
        )


def check_count(value: int, least: int, name: str) -> None:
    """Raise ValueError unless `value` >= `least`."""
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")
