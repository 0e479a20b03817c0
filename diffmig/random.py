"""Counter-based random numbers that fuse into the update which uses them.

`jax.random` writes its numbers to memory first; the same cipher as a few unrolled lines becomes
part of the loop that moves the swarm, so a number per member and gene costs arithmetic but no
memory. The counter of a number is its global place (row, column), so a swarm split over any number
of devices draws the same numbers.

Source: Salmon, Moraes, Dror, Shaw 2011, Parallel random numbers: as easy as 1, 2, 3 (Threefry-2x32;
13 rounds pass BigCrush, 20 is the authors' default with a safety margin).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike

ROUNDS = 13
MAX_COLUMNS = 1 << 24
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA


@partial(jax.jit, static_argnames="rounds")  # traced once for all the places that draw
def threefry_2x32(
    key_words: Array, x0: Array, x1: Array, rounds: int = ROUNDS
) -> tuple[Array, Array]:
    """Two 32-bit words per counter (x0, x1).

    Args:
        key_words: uint32 [2].
        x0, x1: counter words, uint32, of equal shape.
        rounds: 13 here; 20 gives the blocks of `jax.random`.

    Returns:
        two uint32 arrays of the counters' shape.

    Source: Salmon et al. 2011, section 3.3; constants of the Random123 library.
    """
    k0, k1 = key_words[0], key_words[1]
    keys = (k0, k1, k0 ^ k1 ^ jnp.uint32(_PARITY))
    x0, x1 = x0 + k0, x1 + k1
    for i in range(rounds):
        rotation = _ROTATIONS[i % 8]
        x0 = x0 + x1
        x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        if i % 4 == 3:
            turn = i // 4 + 1
            x0 = x0 + keys[turn % 3]
            x1 = x1 + (keys[(turn + 1) % 3] + jnp.uint32(turn))
    return x0, x1


def uniform_pair(
    key: Array,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    *,
    stream: int = 0,
    rows: ArrayLike | None = None,
    rounds: int = ROUNDS,
) -> tuple[Array, Array]:
    """Two independent uniform numbers in [0, 1) for every (row, column), from one cipher block
    each.

    Args:
        key: typed threefry key.
        shape: (rows, columns), columns < 2^24.
        dtype: float32 (23 random bits) or float64 (32 random bits).
        stream: 0..255; different streams of one key are independent.
        rows: global row numbers, [row]; default 0, 1, ... . Equal rows get equal numbers.
        rounds: of the cipher.

    Returns:
        r1, r2, [row, column].

    Raises:
        ValueError: `key` is not a threefry key, or `shape`, `dtype` or `stream` is out of range.
    """
    if shape[1] >= MAX_COLUMNS or not 0 <= stream < 256:
        raise ValueError(
            f"expected fewer than 2^24 columns and a stream in 0..255, got {shape[1]} and {stream}"
        )
    if rows is None:
        row = lax.broadcasted_iota(jnp.uint32, shape, 0)
    else:
        row = lax.broadcast_in_dim(jnp.asarray(rows).astype(jnp.uint32), shape, (0,))
    column = lax.broadcasted_iota(jnp.uint32, shape, 1) + jnp.uint32(stream * MAX_COLUMNS)
    b0, b1 = threefry_2x32(_key_words(key), row, column, rounds)
    dtype = jnp.dtype(dtype)
    return _to_unit(b0, dtype), _to_unit(b1, dtype)


def uniform_rows(
    key: Array, num_rows: int, dtype: DTypeLike, *, stream: int
) -> tuple[Array, Array]:
    """Two independent uniform numbers in [0, 1) per row, each [row]: `uniform_pair` with one
    column.
    """
    r1, r2 = uniform_pair(key, (num_rows, 1), dtype, stream=stream)
    return r1[:, 0], r2[:, 0]


def fold_in(key: Array, data: ArrayLike) -> Array:
    """The key that `jax.random.fold_in(key, data)` gives, in one fused pass instead of a loop: it
    is drawn once a generation, where a small swarm takes only some tens of microseconds.
    """
    counter = jnp.asarray(data).astype(jnp.uint32)
    words = threefry_2x32(_key_words(key), jnp.zeros_like(counter), counter, 20)
    return jax.random.wrap_key_data(jnp.stack(words), impl="threefry2x32")


def to_normal(r1: Array, r2: Array) -> Array:
    """Standard normal number from two uniform ones: sqrt(-2 ln(1 - r1)) cos(2 pi r2).

    Source: Box, Muller 1958, A note on the generation of random normal deviates.
    """
    return jnp.sqrt(-2.0 * jnp.log1p(-r1)) * jnp.cos(2.0 * jnp.pi * r2)


def host_generator(key: Array) -> np.random.Generator:
    """NumPy's generator for code on the host, seeded by the words of a key of JAX."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _key_words(key: Array) -> Array:
    is_key = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    words = jax.random.key_data(key) if is_key else None
    if words is None or words.shape != (2,):
        raise ValueError(
            f"expected one typed threefry key, got {key.dtype} {key.shape}; make it with "
            "jax.random.key(seed, impl='threefry2x32')"
        )
    return words


def _to_unit(bits: Array, dtype: DTypeLike) -> Array:
    if dtype == jnp.float32:
        # exponent of [1, 2) over 23 random mantissa bits, without an integer conversion
        return lax.bitcast_convert_type((bits >> 9) | jnp.uint32(0x3F800000), jnp.float32) - 1.0
    if dtype == jnp.float64:
        return bits.astype(jnp.float64) * 2.0**-32
    raise ValueError(f"expected dtype float32 or float64, got {dtype}")
