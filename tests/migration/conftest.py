"""A small system with everything unequal, so that a lost sign, term or index shows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import migration as mg

NUM_TOWNS = 5


class Case(NamedTuple):
    latitude: np.ndarray
    longitude: np.ndarray
    weights: jax.Array
    similarity: jax.Array
    couplings: mg.Couplings
    parameters: mg.Parameters
    balance: jax.Array
    velocity: jax.Array
    amplitude: jax.Array
    rate: jax.Array

    @property
    def stiffness(self) -> jax.Array:
        return mg.stiffness_matrix(self.parameters, self.couplings)

    def force(self, time: jax.Array) -> jax.Array:
        """[town] at one time."""
        return self.amplitude * jnp.sin(self.rate * time) + 0.3 * self.rate

    def force_nodes(
        self, num_steps: int, step: float = 1.0, num_nodes: int = mg.NUM_NODES
    ) -> jax.Array:
        times = jnp.asarray(mg.node_times(num_steps, step, num_nodes))
        return jnp.moveaxis(jax.vmap(jax.vmap(self.force))(times), -1, 0)


@pytest.fixture(scope="session")
def case() -> Case:
    rng = np.random.default_rng(4)
    latitude, longitude = rng.uniform(42, 55, NUM_TOWNS), rng.uniform(50, 84, NUM_TOWNS)
    weights = mg.exponential_kernel(mg.distance_matrix(latitude, longitude), 500.0)
    similarity = mg.similarity_matrix(rng.normal(size=(NUM_TOWNS, 12)), shrinkage=0.1)
    return Case(
        latitude=latitude,
        longitude=longitude,
        weights=weights,
        similarity=similarity,
        couplings=mg.Couplings(
            mg.laplacian(weights),
            mg.laplacian(similarity),
            jnp.asarray(rng.uniform(0, 1, NUM_TOWNS)),
        ),
        parameters=mg.Parameters(*map(jnp.asarray, (0.3, 0.2, 0.15, 0.1, 0.2))),
        balance=jnp.asarray(rng.normal(size=NUM_TOWNS)),
        velocity=jnp.asarray(rng.normal(size=NUM_TOWNS)),
        amplitude=jnp.asarray(rng.normal(size=NUM_TOWNS)),
        rate=jnp.asarray(rng.uniform(0.5, 1.0, NUM_TOWNS)),
    )
