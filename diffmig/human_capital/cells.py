"""The exact step on one piece of a characteristic, on which everything in this chapter rests."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

_SERIES_BELOW = 0.25  # |z| at which the series meets the closed form, both to round-off
_NUM_TERMS = 12
_GAUSS = (0.5 - 3**0.5 / 6, 0.5 + 3**0.5 / 6)  # points of the 2-point rule on [0, 1]


def phi1(z: Array) -> Array:
    """Mean of e^{-z (1 - x)} over x in [0, 1]: phi1(z) = (1 - e^{-z}) / z, phi1(0) = 1.

    Args:
        z: wear over the cell, 1, any shape.

    Notes:
        Values and derivatives of any order are accurate to round-off near 0 too.
    """
    near = jnp.abs(z) < _SERIES_BELOW
    small, large = jnp.where(near, z, 0.0), jnp.where(near, 1.0, z)
    return jnp.where(near, _series(small, 1), -jnp.expm1(-large) / large)


def phi2(z: Array) -> Array:
    """Mean of x e^{-z (1 - x)} over x in [0, 1]: phi2(z) = (1 - phi1(z)) / z, phi2(0) = 1/2.

    Arguments and notes of `phi1`.
    """
    near = jnp.abs(z) < _SERIES_BELOW
    small, large = jnp.where(near, z, 0.0), jnp.where(near, 1.0, z)
    return jnp.where(near, _series(small, 2), (1.0 + jnp.expm1(-large) / large) / large)


def _series(z: Array, order: int) -> Array:
    """sum_n (-z)^n / (n + order)!, by Horner's rule."""
    total = jnp.zeros_like(z)
    for n in reversed(range(_NUM_TERMS)):
        total = (1.0 - z * total) / (n + order)
    factorial = 1.0
    for n in range(1, order):
        factorial *= n
    return total / factorial


def exponential_step(value: Array, wear: Array, source: Array, length: Array | float) -> Array:
    """Value at the end of a piece of characteristic on which wear rate and source are constant.

    h+ = e^{-z} h + k phi1(z) f

    Args:
        value: h at the start, unit of the value.
        wear: z = nu k, 1, broadcastable to `value`.
        source: f, unit of the value per year.
        length: k, years.

    Returns:
        h+, shape of `value`.

    Notes:
        Positive for positive h and f; f = nu c keeps h = c; differentiable, at z = 0 too.

    Source: exact solution of Vavilova, Ketova (2020), eq (3), on a characteristic.
    """
    return jnp.exp(-wear) * value + length * phi1(wear) * source


def gauss_step(
    value: Array,
    wear_rate_fn: Callable[[Array, Array], Array],
    source_fn: Callable[[Array, Array], Array],
    time: Array,
    age: Array,
    length: Array,
) -> Array:
    """`exponential_step` with 2 Gauss points on each piece; time, age, length [age]."""
    low, high = _GAUSS

    def read(function: Callable[[Array, Array], Array], x: float) -> Array:
        return behind(function(time + x * length, age + x * length), value.ndim)

    rate, source = ([read(function, x) for x in _GAUSS] for function in (wear_rate_fn, source_fn))
    length = behind(length, value.ndim)
    wear = 0.5 * length * (rate[0] + rate[1])
    # Z_g - z (1 - x_g) for the line through both rates: the same at both points, of either sign
    bend = length * (rate[1] - rate[0]) * low * (1.0 - low) / (2.0 * (high - low))
    mean, slope = phi1(wear), phi2(wear)
    weight = [(high * mean - slope) / (high - low), (slope - low * mean) / (high - low)]
    integral = jnp.exp(-bend) * sum(w * f for w, f in zip(weight, source, strict=True))
    return jnp.exp(-wear) * value + length * integral


def behind(array: Array, ndim: int) -> Array:
    """`array` [age, ...] with axes of size 1 added behind."""
    array = jnp.asarray(array)
    return array.reshape(array.shape + (1,) * (ndim - array.ndim))
