"""Energies of the balance dynamics: each term a scalar function of balances (and time).

The source is an abstract that fixes the four terms of the potential in words and prints no
formula: everything here is a reconstruction, chosen so that the motion stays bounded. Balances q
are scaled net migration (persons or per mille per year), [town]; the unit of energy is free and is
fixed by a kinetic matrix M = I, so that energies are (unit of q per year)^2.

Source: Zakharov, Kovantsev, Boukhanovsky (2025), Smart Cities 8(2), 42, and its Russian abstract.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from diffmig.migration.couplings import Couplings


class Parameters(NamedTuple):
    """Strengths of the terms, all >= 0, scalars.

    Attributes:
        distance: alpha, pull towards near places, 1/year^2.
        similarity: beta, pull towards places that moved alike, 1/year^2.
        age: gamma, pull back to balance where people are old, 1/year^2.
        confinement: kappa, pull back to balance everywhere, 1/year^2; not in the abstract, needed
            for bounded scenarios where nothing else holds the mean.
        damping: c, 1/year; not in the abstract, 0 is faithful to it.
    """

    distance: Array
    similarity: Array
    age: Array
    confinement: Array
    damping: Array


def kinetic_energy(velocity: Array, mass: Array | None = None) -> Array:
    """T = 1/2 q'.M q', a quadratic form of the velocities.

    Args:
        velocity: q', [town].
        mass: M, [town, town] symmetric positive definite or [town] diagonal; None is I.

    Returns:
        T, [].
    """
    if mass is None:
        return 0.5 * jnp.sum(velocity**2)
    momentum = mass * velocity if mass.ndim == 1 else mass @ velocity
    return 0.5 * jnp.sum(velocity * momentum)


def distance_energy(balance: Array, distance_laplacian: Array, alpha: Array) -> Array:
    """V_D = alpha/2 q.L_D q: springs between near places, [].

    With the plain Laplacian it is alpha/2 sum_{i<j} w_ij (q_i - q_j)^2.

    Notes:
        A "gravity" form -alpha/2 sum w_ij q_i q_j is indefinite: it fits in the sample and then
        explodes forward.
    """
    return 0.5 * alpha * jnp.sum(balance * (distance_laplacian @ balance))


def similarity_energy(balance: Array, similarity_laplacian: Array, beta: Array) -> Array:
    """V_S = beta/2 q.L_S q: springs between places whose balances moved alike, [].

    With the plain Laplacian it is beta/2 sum_{i<j} |rho_ij| (q_i - sign(rho_ij) q_j)^2.
    """
    return 0.5 * beta * jnp.sum(balance * (similarity_laplacian @ balance))


def age_energy(balance: Array, immobility: Array, gamma: Array) -> Array:
    """V_A = gamma/2 sum_i (1 - A_i) q_i^2: places of the old hold their balance, []."""
    return 0.5 * gamma * jnp.sum(immobility * balance**2)


def force_energy(balance: Array, external_force: Array) -> Array:
    """V_F = -sum_i f_i q_i, so that -dV_F/dq_i = f_i, [].

    This is the best-supported single term: the abstract calls f the right-hand side of the
    equation of motion.
    """
    return -jnp.sum(external_force * balance)


def confinement_energy(balance: Array, kappa: Array) -> Array:
    """V_0 = kappa/2 q.q, []; an option that is not in the abstract."""
    return 0.5 * kappa * jnp.sum(balance**2)


def potential_energy(
    balance: Array, external_force: Array, parameters: Parameters, couplings: Couplings
) -> Array:
    """V = V_D + V_S + V_A + V_F + V_0, [].

    Args:
        balance: q, [town].
        external_force: f at this time, [town].
        parameters: strengths.
        couplings: frozen data, with `immobility` [town] of this time.
    """
    return (
        distance_energy(balance, couplings.distance, parameters.distance)
        + similarity_energy(balance, couplings.similarity, parameters.similarity)
        + age_energy(balance, couplings.immobility, parameters.age)
        + force_energy(balance, external_force)
        + confinement_energy(balance, parameters.confinement)
    )


def lagrangian(
    balance: Array,
    velocity: Array,
    external_force: Array,
    parameters: Parameters,
    couplings: Couplings,
    mass: Array | None = None,
) -> Array:
    """L = T(q') - V(q, t), []."""
    potential = potential_energy(balance, external_force, parameters, couplings)
    return kinetic_energy(velocity, mass) - potential


def mechanical_energy(
    balance: Array, velocity: Array, stiffness: Array, mass: Array | None = None
) -> Array:
    """E = T + 1/2 q.K q, energy without that of the external force, [].

    d E / dt = f.q' - q'.C q' + 1/2 q.K' q along the motion.
    """
    return kinetic_energy(velocity, mass) + 0.5 * jnp.sum(balance * (stiffness @ balance))


def dissipation(velocity: Array, damping: Array) -> Array:
    """Rayleigh function R = c/2 q'.q', []: the damping force is -dR/dq'."""
    return 0.5 * damping * jnp.sum(velocity**2)
