"""Systems with known forces for the estimators: exact motion, yearly values or means."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffmig import migration as mg
from diffmig.migration.force import force_at_nodes
from diffmig.migration.matern import sample_matern

DAMPING = 0.25
SUBSTEPS, NODES = 20, 2  # steps of the exact propagator in a year, Gauss nodes in each


class ForceCase(NamedTuple):
    """Truth at `substeps` times a year, both ends included, and observations without noise."""

    stiffness: jax.Array
    time: np.ndarray
    balance: np.ndarray
    velocity: np.ndarray
    force: np.ndarray
    points: np.ndarray
    means: np.ndarray
    substeps: int

    def at(self, time):
        """Rows of the truth at times that are multiples of a step."""
        return np.round(np.asarray(time) * self.substeps).astype(int)


def stiffness_of(num_towns, seed=0, confinement=0.15, coupling=0.4):
    """k0 I + kc L, L of weights exp(-d / 60) scaled to a largest degree of 1."""
    place = np.random.default_rng([seed, num_towns]).uniform(0, 200, (num_towns, 2))
    weights = np.exp(-np.linalg.norm(place[:, None] - place[None], axis=-1) / 60)
    np.fill_diagonal(weights, 0.0)
    weights /= weights.sum(axis=1).max()
    springs = np.diag(weights.sum(axis=1)) - weights
    return confinement * np.eye(num_towns) + coupling * springs


def smooth_force(num_towns, seed=0):
    """f = a sin(2 pi t / P + phi) + b exp(-(t - tau)^2 / 2 s^2), one row per town."""
    rng = np.random.default_rng([seed, num_towns, 1])
    low, high = (0.5, 8, 0, -1, 4, 1.5), (1, 16, 2 * np.pi, 1, 16, 3)
    a, period, phase, b, centre, width = rng.uniform(low, high, (num_towns, 6)).T[..., None]

    def at(time):
        wave = a * np.sin(2 * np.pi * time / period + phase)
        return jnp.asarray(wave + b * np.exp(-(((time - centre) / width) ** 2) / 2))

    return at


def matern_force(key, num_towns, num_years, substeps=SUBSTEPS):
    """A draw of the prior (Matern-5/2, length 3 years, deviation 0.7) for `make_case`."""
    nodes = mg.node_times(num_years * substeps, 1 / substeps, NODES).ravel()
    grid = np.arange(num_years * substeps + 1) / substeps
    both = np.concatenate([nodes, grid])
    draw = sample_matern(key, "matern52", both, 3.0, 0.7, (num_towns,))

    def at(time):
        return draw[:, : nodes.size] if np.size(time) == nodes.size else draw[:, nodes.size :]

    return at


def make_case(force_fn, stiffness, num_years=20, seed=0, substeps=SUBSTEPS):
    """Motion from a random start under `force_fn` (times -> [town, time]), by the propagator."""
    stiffness = jnp.asarray(stiffness)
    rng = np.random.default_rng([seed, 2])
    start = rng.normal(size=(2, stiffness.shape[0])) * np.array([[0.5], [0.3]])
    steps = num_years * substeps
    at_nodes = force_at_nodes(force_fn, steps, 1 / substeps, num_nodes=NODES)
    motion = mg.propagate(
        mg.modes(stiffness), DAMPING, *map(jnp.asarray, start), at_nodes, 1 / substeps
    )
    q, v = np.asarray(motion.balance), np.asarray(motion.velocity)
    # integral of q over a step by its values and slopes: error O(step^5)
    part = (q[:, 1:] + q[:, :-1]) / 2 / substeps + (v[:, :-1] - v[:, 1:]) / 12 / substeps**2
    time = np.arange(steps + 1) / substeps
    return ForceCase(
        stiffness=stiffness,
        time=time,
        balance=q,
        velocity=v,
        force=np.asarray(force_fn(time)),
        points=q[:, ::substeps],
        means=part.reshape(len(q), num_years, substeps).sum(axis=2),
        substeps=substeps,
    )


def with_noise(data, share, seed=0):
    """Noise of `share` of the standard deviation of all data together, the same for all towns."""
    sd = share * data.std()
    return jnp.asarray(data + sd * np.random.default_rng([seed, 3]).normal(size=data.shape)), sd


def relative_error(got, truth):
    return np.linalg.norm(np.asarray(got) - truth) / np.linalg.norm(truth)
