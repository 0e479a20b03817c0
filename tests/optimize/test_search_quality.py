"""Each repaired method beats random search at equal budget; the printed forms do not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.optimize import METHODS, Space, per_member, run
from tests.cases import TEST_FUNCTIONS, random_optimum

BUDGET = 5_000
SEEDS = 20
LITERAL = ("swarm-literal", "bat-literal", "genetic-literal")
REPAIRED = tuple(name for name in METHODS if name not in (*LITERAL, "random-search"))


@functools.cache
def final_losses(name: str, dim: int) -> np.ndarray:
    """[function, seed], loss after about 5,000 evaluations; every seed has its own minimum."""
    method = METHODS[name]
    space = Space(jnp.full(dim, -5.0), jnp.full(dim, 5.0))

    def solve(row, key):
        where, search = jax.random.split(key)
        optimum = random_optimum(where, dim)

        def loss_fn(x):
            # all of them, so that one compiled program serves the four functions
            return jnp.stack([f.loss_fn(x, optimum) for f in TEST_FUNCTIONS])[row]

        num_steps = BUDGET // method.config.num_members - 1
        return run(search, method, per_member(loss_fn), space, num_steps).loss

    keys = jax.random.split(jax.random.key(11), SEEDS)
    rows = jnp.arange(len(TEST_FUNCTIONS))
    over_seeds = jax.vmap(solve, in_axes=(None, 0))
    return np.asarray(jax.jit(jax.vmap(over_seeds, in_axes=(0, None)))(rows, keys))


@pytest.mark.slow
@pytest.mark.parametrize("dim", [10, 30])
@pytest.mark.parametrize("name", REPAIRED)
def test_median_beats_the_best_of_random_search(name, dim):
    quantile = np.quantile(final_losses("random-search", dim), 0.05, axis=1)
    median = np.median(final_losses(name, dim), axis=1)
    assert np.sum(median < quantile) >= 3, (median, quantile)


@pytest.mark.slow
@pytest.mark.parametrize("name", LITERAL)
def test_printed_forms_lose_to_random_search(name):
    random_search = np.median(final_losses("random-search", 10), axis=1)
    assert np.all(np.median(final_losses(name, 10), axis=1) > random_search)
