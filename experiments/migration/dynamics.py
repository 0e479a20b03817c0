"""Strengths by marginal likelihood, and what the latent force model says in places."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from diffmig import fit
from diffmig import migration as mg
from experiments.migration import system as systems
from experiments.migration.config import Config
from experiments.migration.system import System

KERNELS = {0.5: "matern12", 1.5: "matern32", 2.5: "matern52"}
# unconstrained strengths from which the likelihood is climbed: weak, even, stiff and damped
STARTS = ((-3.0, -3.0, -3.0, -3.0, -2.0), (0.0, 0.0, 0.0, 0.0, 0.0), (-1.0, 1.0, -1.0, -3.0, 2.0))


@cache
def force_model(smoothness: float) -> fit.LatentForceModel:
    """Prior of the force; balances are means over their years."""
    return fit.LatentForceModel(kernel=KERNELS[smoothness], observation="mean")  # type: ignore[arg-type]


def coordinates(system: System, rate: np.ndarray) -> Array:
    """Rates in the coordinates of the system, [coordinate, year]."""
    return system.basis.T @ jnp.asarray(rate)


def fit_dynamics(
    config: Config, system: System, rate: np.ndarray, num_known: int | None = None
) -> fit.LatentForceFit:
    """Strengths and scales from the first `num_known` years; the others are not seen, but keep the
    shapes alike, so that one program serves all origins."""
    data = coordinates(system, rate)
    return fit.fit_latent_dynamics(
        data,
        Partial(systems.dynamics, system.terms, system.active),
        jnp.array(STARTS),
        observed=_known(data, num_known),
        model=force_model(config.smoothness),
        search=fit.LatentForceSearch(num_per_year=config.points_per_year),
    )


def estimate_in_places(
    config: Config, system: System, made: fit.LatentForceFit, rate: np.ndarray
) -> fit.ForceEstimate:
    """Posterior of force and motion of the places."""
    return fit.smooth_latent_force(
        coordinates(system, rate),
        made.stiffness,
        made.damping,
        made.scales,
        model=force_model(config.smoothness),
        num_per_year=config.points_per_year,
        basis=system.basis,
    )


def in_places(
    config: Config, system: System, made: fit.LatentForceFit, rate: np.ndarray, num_known: int
) -> tuple[np.ndarray, np.ndarray]:
    """Forecast means and standard deviations of all years from the known ones before each,
    [place, year]: those after the known ones are 1, 2, ... years ahead."""
    data = coordinates(system, rate)
    ahead = fit.forecast_latent_force(
        data,
        made.stiffness,
        made.damping,
        made.scales,
        1,
        observed=_known(data, num_known),
        model=force_model(config.smoothness),
        basis=system.basis,
    )
    return np.asarray(ahead.fitted), np.asarray(ahead.fitted_sd)


def place_stiffness(system: System, made: fit.LatentForceFit) -> Array | mg.Modes:
    """K of the places, [place, place], or its modes where the coordinates are modes."""
    stiffness = made.stiffness
    if not isinstance(stiffness, mg.Modes):
        return system.basis @ stiffness @ system.basis.T
    num_places, num_modes = system.basis.shape
    if num_places == num_modes:
        return mg.Modes(stiffness.values, system.basis)
    # the direction that is closed does not move
    rest, _ = jnp.linalg.qr(jnp.concatenate([system.basis, jnp.ones((num_places, 1))], axis=1))
    values = jnp.concatenate([stiffness.values, jnp.zeros(1)])
    return mg.Modes(values, jnp.concatenate([system.basis, rest[:, -1:]], axis=1))


def motion_of(
    estimate: fit.ForceEstimate, stiffness: Array | mg.Modes, damping: Array, num_years: int
) -> mg.Motion:
    """The equation solved from the fitted initial state under the fitted force: what the abstract
    scores. The force is interpolated between the points of its grid."""
    time = np.asarray(estimate.time)
    per_year = (len(time) - 1) // num_years
    nodes = mg.node_times(num_years * per_year, 1.0 / per_year)
    position = nodes * per_year
    left = np.clip(position.astype(int), 0, len(time) - 2)
    return _driven(estimate, stiffness, damping, left, position - left, 1.0 / per_year)


@partial(jax.jit, static_argnames="step")
def _driven(
    estimate: fit.ForceEstimate,
    stiffness: Array | mg.Modes,
    damping: Array,
    left: Array,
    share: Array,
    step: float,
) -> mg.Motion:
    """Motion whose force lies between the points `left` and `left + 1` of the grid."""
    force = (1 - share)[None] * estimate.force[:, left] + share[None] * estimate.force[:, left + 1]
    return mg.propagate(
        stiffness, damping, estimate.balance[:, 0], estimate.velocity[:, 0], force, step
    )


def parameters_of(system: System, made: fit.LatentForceFit) -> mg.Parameters:
    """Strengths found."""
    return systems.strengths(system.active, made.theta)


def _known(data: Array, num_known: int | None) -> Array:
    count = data.shape[1] if num_known is None else num_known
    return jnp.broadcast_to(jnp.arange(data.shape[1]) < count, data.shape)
