"""Networks of many widths in one batch: padded to a bucket, masked to the true width."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from diffmig.random import uniform_pair

BUCKETS = (16, 32, 64, 99)


def bucket(max_units: int) -> int:
    """Smallest padded width of `BUCKETS` that holds `max_units` units.

    Raises:
        ValueError: `max_units` is below 1 or above the widest bucket.
    """
    if not 1 <= max_units <= BUCKETS[-1]:
        raise ValueError(f"max_units: expected 1..{BUCKETS[-1]}, got {max_units}")
    return next(width for width in BUCKETS if width >= max_units)


def unit_mask(units: Array, width: int, dtype: jnp.dtype) -> Array:
    """Ones for the first `units` of `width` units, zeros for the padding, [unit]."""
    return (jnp.arange(width, dtype=jnp.int32) < units).astype(dtype)


@partial(jax.jit, static_argnames=("shape", "dtype"))  # drawn once a weight, traced once a shape
def glorot_uniform(
    key: Array, shape: tuple[int, int], fan_in: Array, fan_out: Array, dtype: jnp.dtype
) -> Array:
    """Glorot-uniform weights [input, unit] that do not see the padded width.

    w_ij = u_ij sqrt(6 / (fan_in + fan_out)),  u_ij ~ U(-1, 1)

    The random number of element (i, j) is counted by (i, j), so that a padded matrix holds the
    unpadded one in its corner, and the scale takes the true fans.

    Args:
        key: random key.
        shape: padded shape (inputs, units).
        fan_in, fan_out: true numbers of inputs and outputs, scalars (may be traced).

    Returns:
        weights, [input, unit], 1.

    Source: Glorot and Bengio (2010), eq (16).
    """
    draws, _ = uniform_pair(key, shape, dtype)
    scale = jnp.sqrt(6.0 / jnp.maximum(fan_in + fan_out, 1).astype(dtype))
    return (2.0 * draws - 1.0) * scale


def num_weights(network: str, units: int, num_factors: int) -> int:
    """Number of weights and biases of a one-layer network with one output, 1.

    LSTM: 4 u (f + u + 1) + u + 1;  Elman: u (f + u + 1) + u + 1;  BPNN: u f + u (the printed form
    has no biases).

    Raises:
        ValueError: unknown network.
    """
    recurrent = units * (num_factors + units + 1) + units + 1
    counts = {
        "lstm": 4 * units * (num_factors + units + 1) + units + 1,
        "elman": recurrent,
        "bpnn": units * (num_factors + 1),
    }
    if network not in counts:
        raise ValueError(f"network: expected one of {sorted(counts)}, got {network!r}")
    return math.floor(counts[network])
