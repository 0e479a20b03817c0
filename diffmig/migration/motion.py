"""Equations of motion: Euler-Lagrange from the Lagrangian, and the same as matrices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.migration.couplings import Couplings
from diffmig.migration.energies import Parameters

LARGEST_OBSERVABLE = (jnp.pi / 2) ** 2  # 1/year^2: four yearly samples per period
LARGEST_ALIASED = jnp.pi**2  # 1/year^2: beyond it yearly samples see another frequency


def euler_lagrange(
    lagrangian_fn: Callable[[Array, Array, Array], Array],
    dissipation_fn: Callable[[Array], Array] | None = None,
) -> Callable[[Array, Array, Array], Array]:
    """Accelerations of any Lagrangian, by automatic differentiation.

    d/dt dL/dq' = dL/dq - dR/dq'  solved for q'':
    (d2L/dq'dq') q'' = dL/dq - dR/dq' - (d2L/dq'dq) q' - d2L/dq'dt

    Args:
        lagrangian_fn: (t, q [town], q' [town]) -> L, [], with a regular d2L/dq'dq'.
        dissipation_fn: q' -> R, [], Rayleigh function; None: no damping.

    Returns:
        acceleration_fn: (t, q, q') -> q'', [town]. Differentiable.

    Source: Goldstein, Poole, Safko, 2002, Classical Mechanics, equations 1.57 and 1.70.
    """

    def acceleration(time: Array, balance: Array, velocity: Array) -> Array:
        time = jnp.asarray(time, balance.dtype)
        force = jax.grad(lagrangian_fn, 1)(time, balance, velocity)
        if dissipation_fn is not None:
            force = force - jax.grad(dissipation_fn)(velocity)
        momentum = jax.grad(lagrangian_fn, 2)
        mass = jax.jacfwd(momentum, 2)(time, balance, velocity)
        # change of the momentum at fixed velocity, along the motion
        _, drift = jax.jvp(
            lambda t, q: momentum(t, q, velocity), (time, balance), (jnp.ones_like(time), velocity)
        )
        return jnp.linalg.solve(mass, force - drift)

    return acceleration


def stiffness_matrix(parameters: Parameters, couplings: Couplings) -> Array:
    """K = alpha L_D + beta L_S + gamma diag(1 - A) + kappa I, 1/year^2.

    Args:
        parameters: strengths.
        couplings: frozen data.

    Returns:
        K, [town, town], or [year, town, town] where `immobility` is [year, town]; symmetric,
        positive semi-definite for strengths >= 0. Differentiable.
    """
    num_towns = couplings.distance.shape[-1]
    eye = jnp.eye(num_towns, dtype=couplings.distance.dtype)
    fixed = (
        parameters.distance * couplings.distance
        + parameters.similarity * couplings.similarity
        + parameters.confinement * eye
    )
    held = parameters.age * couplings.immobility
    if held.ndim == 1:
        return fixed + jnp.diag(held)
    return fixed[None] + held[:, :, None] * eye[None]


def matrix_acceleration(
    balance: Array,
    velocity: Array,
    external_force: Array,
    stiffness: Array,
    damping: ArrayLike = 0.0,
    mass: Array | None = None,
) -> Array:
    """M q'' = f - c M q' - K q, solved for q''.

    Args:
        balance, velocity, external_force: q, q', f, [town].
        stiffness: K, [town, town].
        damping: c, 1/year.
        mass: M, [town, town] or [town]; None is I.

    Returns:
        q'', [town].
    """
    force = external_force - stiffness @ balance
    if mass is None:
        return force - damping * velocity
    pulled = force / mass if mass.ndim == 1 else jnp.linalg.solve(mass, force)
    return pulled - damping * velocity


def closed_acceleration(
    acceleration: Array, constraint: Array, mass: Array | None = None
) -> tuple[Array, Array]:
    """Accelerations that keep g.q = 0, and the multiplier of the constraint.

    q'' -> q'' + nu M^{-1} g,  nu = -g.q'' / (g.M^{-1} g)

    Args:
        acceleration: q'' without the constraint, [town].
        constraint: g, [town]; the scales of the balances, so that g.q counts persons.
        mass: M, [town, town] or [town]; None is I.

    Returns:
        q'', [town], with g.q'' = 0, and nu, [].

    Notes:
        In a closed system (internal migration) what leaves one place arrives in another. The force
        is known only up to nu(t) g; the gauge g.M^{-1} f = 0 fixes it.

    Source: d'Alembert's principle for a holonomic linear constraint, Goldstein et al., section 2.4.
    """
    if mass is None:
        direction = constraint
    elif mass.ndim == 1:
        direction = constraint / mass
    else:
        direction = jnp.linalg.solve(mass, constraint)
    multiplier = -jnp.sum(constraint * acceleration) / jnp.sum(constraint * direction)
    return acceleration + multiplier * direction, multiplier


def project_closed(values: Array, constraint: Array) -> Array:
    """Values without their part along g: q - g (g.q) / (g.g).

    Args:
        values: [..., town].
        constraint: g, [town].

    Returns:
        [..., town] with g.values = 0; idempotent. For balances, velocities, forces with M = I.
    """
    unit = constraint / jnp.sqrt(jnp.sum(constraint**2))
    along = values @ unit
    return values - along[..., None] * jnp.broadcast_to(unit, values.shape)


def closed_stiffness(stiffness: Array, constraint: Array) -> Array:
    """P K P, P = I - g g' / g.g: motion with it and a projected force stays closed (M = I).

    Args:
        stiffness: K, [..., town, town].
        constraint: g, [town].

    Returns:
        [..., town, town], symmetric; g is an eigenvector with eigenvalue 0.
    """
    half = project_closed(stiffness, constraint)
    return project_closed(jnp.swapaxes(half, -1, -2), constraint)


def closed_basis(constraint: Array) -> Array:
    """Orthonormal columns that span the balances with g.q = 0, [town, town - 1].

    Args:
        constraint: g, [town], not 0.

    Returns:
        B, [town, town - 1], with g.B = 0 and B'B = I: q = B z, z = B'q. In the coordinates z the
        closed system is a free one with stiffness B'K B, one dimension smaller.

    Source: Householder reflection that turns g into the first axis; its other columns.
    """
    unit = constraint / jnp.sqrt(jnp.sum(constraint**2))
    # away from the first axis: no cancellation
    turned = unit.at[0].add(jnp.where(unit[0] < 0.0, -1.0, 1.0))
    square = jnp.sum(turned**2)
    eye = jnp.eye(unit.size, dtype=unit.dtype)
    return (eye - (2.0 / square) * turned[:, None] * turned[None, :])[:, 1:]


def stiffness_bound(parameters: Parameters) -> Array:
    """Upper bound of the eigenvalues of K with normalised Laplacians: 2 alpha + 2 beta + gamma +
    kappa, 1/year^2.

    Yearly data see four samples per period where it stays below `LARGEST_OBSERVABLE`, and alias
    beyond `LARGEST_ALIASED`.
    """
    return (
        2.0 * parameters.distance
        + 2.0 * parameters.similarity
        + parameters.age
        + parameters.confinement
    )
