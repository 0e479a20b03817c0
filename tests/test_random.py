"""The fused generator: known answers, distribution, independence, places instead of order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffmig.random import fold_in, threefry_2x32, to_normal, uniform_pair

# Random123, examples/kat_vectors: rounds, counter, key, block
KNOWN_ANSWERS = [
    (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    (13, (0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0xFD36D048, 0x2D17272C)),
    (13, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xBA3E4725, 0xF27D669E)),
    (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    (20, (0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    (20, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
NUM_GENERATIONS, NUM_ROWS, NUM_COLUMNS = 8, 500, 250


@pytest.mark.parametrize(("rounds", "counter", "words", "block"), KNOWN_ANSWERS)
def test_known_answers(rounds, counter, words, block):
    got = threefry_2x32(jnp.uint32(words), jnp.uint32(counter[0]), jnp.uint32(counter[1]), rounds)
    assert tuple(map(int, got)) == block


def test_twenty_rounds_are_the_blocks_of_jax_random():
    key = jax.random.key(7)
    low = jnp.arange(64, dtype=jnp.uint32)
    ours = threefry_2x32(jax.random.key_data(key), jnp.zeros_like(low), low, 20)
    theirs = jax.random.key_data(jax.vmap(lambda i: jax.random.fold_in(key, i))(low))
    np.testing.assert_array_equal(np.stack(ours, axis=1), theirs)
    assert fold_in(key, 40) == jax.random.fold_in(key, 40)


@pytest.fixture(scope="module", params=["float32", "float64"])
def draws(request) -> np.ndarray:
    """[generation, 2, row, column]: r1, r2 as a swarm draws them."""
    key = jax.random.key(3)
    pair = jax.jit(
        lambda i: jnp.stack(
            uniform_pair(jax.random.fold_in(key, i), (NUM_ROWS, NUM_COLUMNS), request.param)
        )
    )
    return np.stack([np.asarray(pair(i)) for i in range(NUM_GENERATIONS)]).astype(float)


def p_value(*numbers: np.ndarray, bins: int) -> float:
    """Chi-square test of uniform cells of the unit cube for numbers that belong together."""
    cell = np.zeros(numbers[0].size, int)
    for x in numbers:
        cell = cell * bins + (x.ravel() * bins).astype(int)
    return float(stats.chisquare(np.bincount(cell, minlength=bins ** len(numbers))).pvalue)


def test_chi_square(draws):
    r1, r2 = draws[:, 0], draws[:, 1]
    p_values = {
        "r1, 4096 bins": p_value(r1, bins=4096),
        "r2, 4096 bins": p_value(r2, bins=4096),
        "low bits": p_value(r1 * 4096 % 1, bins=512),
        "r1 with r2": p_value(r1, r2, bins=64),
        "neighbouring genes": p_value(r1[..., :-1:2], r1[..., 1::2], bins=64),
        "neighbouring members": p_value(r1[:, :-1:2], r1[:, 1::2], bins=64),
        "successive generations": p_value(r1[:-1:2], r1[1::2], bins=64),
        "three genes": p_value(r1[..., 0:-2:3], r1[..., 1:-1:3], r1[..., 2::3], bins=16),
    }
    # fixed keys, so no flakiness: each bound fails one good generator in 10^4
    assert all(1e-4 < p < 1 - 1e-4 for p in p_values.values()), p_values


def test_lag_correlations(draws):
    centred = (draws - 0.5) * np.sqrt(12)
    r1, r2 = centred[:, 0], centred[:, 1]
    pairs = {
        "r1 r2": (r1, r2),
        **{f"gene {k}": (r1[..., :-k], r1[..., k:]) for k in (1, 2, 3, 16, 64)},
        **{f"member {k}": (r1[:, :-k], r1[:, k:]) for k in (1, 2, 3, 16, 64)},
        **{f"generation {k}": (r1[:-k], r1[k:]) for k in (1, 2)},
        "r1 next r2": (r1[..., :-1], r2[..., 1:]),
    }
    for name, (a, b) in pairs.items():
        assert abs(np.mean(a * b)) * np.sqrt(a.size) < 4.5, name


def test_a_weak_generator_fails_the_same_test():
    """16-bit halves of one word have too few values: the chi-square test must see it."""
    key = jax.random.key(3)
    (r1, _) = uniform_pair(key, (1000, 1000), jnp.float64)
    halves = np.floor(np.asarray(r1) * 2**16) / 2**16
    assert p_value(halves, bins=3 * 2**12) < 1e-6 < p_value(np.asarray(r1), bins=3 * 2**12)


def test_numbers_depend_on_the_place_only(key):
    whole = uniform_pair(key, (8, 5), jnp.float32)
    rows = jnp.array([6, 2, 2])
    part = uniform_pair(key, (3, 5), jnp.float32, rows=rows)
    wide = uniform_pair(key, (8, 9), jnp.float32)
    for a, b, c in zip(whole, part, wide, strict=True):
        np.testing.assert_array_equal(a[rows], b)
        np.testing.assert_array_equal(a, c[:, :5])


def test_streams_and_generations_differ(key):
    shape = (50, 50)
    first = uniform_pair(key, shape, jnp.float64)[0]
    others = [
        uniform_pair(key, shape, jnp.float64)[1],
        uniform_pair(key, shape, jnp.float64, stream=1)[0],
        uniform_pair(jax.random.fold_in(key, 1), shape, jnp.float64)[0],
    ]
    for other in others:
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.1
        assert not np.any(first == other)


def test_unit_interval_and_normal_moments(draws):
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    z = np.asarray(to_normal(jnp.asarray(draws[:, 0]), jnp.asarray(draws[:, 1]))).ravel()
    assert np.all(np.isfinite(z))
    assert stats.kstest(z[::7], "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("key", "shape", "dtype", "stream"),
    [
        (jax.random.key(0, impl="rbg"), (2, 2), jnp.float32, 0),
        (jnp.zeros(2, jnp.uint32), (2, 2), jnp.float32, 0),
        (jax.random.key(0), (2, 2), jnp.float16, 0),
        (jax.random.key(0), (2, 1 << 24), jnp.float32, 0),
        (jax.random.key(0), (2, 2), jnp.float32, 256),
    ],
)
def test_wrong_input_raises(key, shape, dtype, stream):
    with pytest.raises(ValueError, match="expected"):
        uniform_pair(key, shape, dtype, stream=stream)
