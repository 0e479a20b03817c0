"""From places to couplings, and from strengths to the stiffness of the fit."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import migration as mg
from experiments.migration.config import Config
from experiments.migration.inputs import Inputs

MOST_PLACES = 400  # for correlations (of more over a decade they are noise) and dense searches
NEIGHBOUR = 3  # its median distance is the default length of the kernel
# 1/year^2 and, of damping, 1/year: 2 alpha + 2 beta + gamma + kappa <= 2.4 < (pi/2)^2, and damping
# up to critical of the stiffest mode
LIMITS = {"distance": 0.4, "similarity": 0.4, "age": 0.4, "confinement": 0.4, "damping": 3.0}


class System(NamedTuple):
    """Couplings of the places in the coordinates in which the system is solved.

    Attributes:
        basis: orthonormal columns; q = basis @ coordinates, [place, coordinate]. In a closed system
            it spans the balances that sum to zero persons, else all. With more than `MOST_PLACES`
            its columns are modes of the distance term.
        terms: matrices of the distance, similarity and age terms in these coordinates,
            [3, coordinate, coordinate]; of modes their values, [3, coordinate].
        active: 1 for the strengths that are estimated, in the order of `LIMITS`, [5].
        kernel_length: km.
        note: what was noticed.
    """

    basis: Array
    terms: Array
    active: Array
    kernel_length: float
    note: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Strengths that are estimated."""
        return tuple(n for n, a in zip(LIMITS, np.asarray(self.active), strict=True) if a)


def kernel_length(config: Config, inputs: Inputs) -> float:
    """Length of the kernel, km."""
    if config.kernel_length:
        return config.kernel_length
    near = min(NEIGHBOUR, len(inputs.places) - 1)
    distance = np.asarray(mg.distance_matrix(inputs.latitude, inputs.longitude))
    return max(float(np.median(np.sort(distance, axis=1)[:, near])), 1.0)


def kernel_weights(config: Config, inputs: Inputs) -> Array:
    """Weights of all pairs, [place, place]."""
    distance = mg.distance_matrix(inputs.latitude, inputs.longitude)
    length = kernel_length(config, inputs)
    if config.kernel == "exponential":
        weights = mg.exponential_kernel(distance, length)
    else:
        weights = mg.power_kernel(distance, length, 2.0)
    if 0 < config.neighbours < len(inputs.places) - 1:
        return mg.keep_nearest(weights, config.neighbours)
    return weights


def build_system(config: Config, inputs: Inputs, training: np.ndarray) -> System:
    """Couplings from coordinates, ages and the rates of the training years [place, year]."""
    num_places = len(inputs.places)
    length = kernel_length(config, inputs)
    weights = kernel_weights(config, inputs)
    notes = []
    apart = mg.components(jnp.where(weights > 1e-12, weights, 0.0))
    if apart.max():
        small = [inputs.places[i] for i in np.flatnonzero(np.bincount(apart)[apart] == 1)]
        notes.append(
            f"the distance kernel falls into {apart.max() + 1} parts that do not act on each "
            f"other{'; alone: ' + ', '.join(small[:5]) if small else ''}; a larger "
            "--config.kernel-length or more --config.neighbours join them"
        )
    similar = config.similarity and num_places <= MOST_PLACES
    if config.similarity and not similar:
        years = training.shape[1]
        notes.append(f"similarity term left out: {num_places} places over {years} years")
    large = num_places > MOST_PLACES
    aged = inputs.immobility is not None and not large
    if inputs.immobility is not None and large:
        notes.append(f"age term left out: {num_places} places are solved by modes of distance")
    basis = jnp.eye(num_places)
    if inputs.closed:
        basis = mg.closed_basis(jnp.asarray(inputs.scale))
    held = jnp.asarray(inputs.immobility if aged else np.zeros(num_places))
    terms = make_terms(basis, weights, jnp.asarray(training), held, similar=similar)
    if large:
        found = mg.modes(terms[0])
        basis = basis @ found.vectors
        terms = jnp.zeros((3, found.values.size)).at[0].set(found.values)
    return System(
        basis=basis,
        terms=terms,
        active=jnp.array([1.0, float(similar), float(aged), 1.0, 1.0]),
        kernel_length=length,
        note=tuple(notes),
    )


@partial(jax.jit, static_argnames="similar")
def make_terms(
    basis: Array, weights: Array, training: Array, immobility: Array, *, similar: bool
) -> Array:
    """Matrices of the distance, similarity and age terms in the coordinates of the basis."""
    zero = jnp.zeros_like(weights)
    rows = (
        mg.laplacian(weights),
        mg.laplacian(mg.similarity_matrix(training)) if similar else zero,
        jnp.diag(immobility),
    )
    return jnp.stack([basis.T @ row @ basis for row in rows])


def dynamics(terms: Array, active: Array, raw: Array) -> tuple[Array | mg.Modes, Array]:
    """K (or its modes) in the coordinates of the system and c, from unconstrained strengths [5]."""
    p = strengths(active, raw)
    if terms.ndim == 2:
        values = p.distance * terms[0] + p.confinement
        return mg.Modes(values, jnp.eye(values.size, dtype=values.dtype)), p.damping
    eye = jnp.eye(terms.shape[-1], dtype=terms.dtype)
    springs = p.distance * terms[0] + p.similarity * terms[1] + p.age * terms[2]
    return springs + p.confinement * eye, p.damping


def strengths(active: Array, raw: Array) -> mg.Parameters:
    """Strengths from unconstrained numbers [5], limit times sigmoid; 0 where not active.

    The limits keep every period above four years, which yearly data can see.
    """
    limits = jnp.array(list(LIMITS.values()), raw.dtype)
    return mg.Parameters(*(limits * jax.nn.sigmoid(raw) * active))


def raw_strengths(parameters: mg.Parameters) -> Array:
    """Inverse of `strengths` where active."""
    share = jnp.stack(parameters) / jnp.array(list(LIMITS.values()))
    share = jnp.clip(share, 1e-6, 1 - 1e-6)
    return jnp.log(share) - jnp.log1p(-share)
