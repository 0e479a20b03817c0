"""The force by every method, and how well its solution of the equation meets the data."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh
from jax.tree_util import Partial

from diffmig import fit
from diffmig import migration as mg
from experiments.migration import system as systems
from experiments.migration.config import Config
from experiments.migration.dynamics import coordinates, estimate_in_places, motion_of
from experiments.migration.explanation import yearly_means
from experiments.migration.inputs import Inputs
from experiments.migration.system import LIMITS, System

SMOOTHER, SPLINE = "latent-force smoother", "penalised spline"
PINN, DESCRIBED = "PINN, penalised", "PINN, as described"


class Fits(NamedTuple):
    """Estimates of the places.

    Attributes:
        estimates: by method; of the networks every seed, [seed, place, time].
        solutions: yearly means of the solution of the equation by method, [..., place, year].
        described_theta: strengths of the fit as described, [seed, strength]; None without it.
        without_force: log-likelihood of the model, and with constant forces.
    """

    estimates: dict[str, fit.ForceEstimate]
    solutions: dict[str, Array]
    described_theta: Array | None
    without_force: dict[str, float]


def fit_all(
    config: Config,
    inputs: Inputs,
    system: System,
    made: fit.LatentForceFit,
    stiffness: Array | mg.Modes,
    key: Array,
    mesh: Mesh | None,
) -> Fits:
    """Smoother, and with few places the spline and both networks, on all years; `stiffness` is that
    of the places."""
    num_years = inputs.years.size
    smoother = estimate_in_places(config, system, made, inputs.rate)
    estimates = {SMOOTHER: smoother}
    solutions = {SMOOTHER: _solve(smoother, stiffness, made.damping, num_years)}
    data = coordinates(system, inputs.rate)
    if isinstance(made.stiffness, mg.Modes):
        return Fits(estimates, solutions, None, _without_force(data, made))
    spline_config = fit.SplineForceConfig(num_per_year=config.points_per_year)
    spline = fit.fit_spline_force(data, made.stiffness, made.damping, config=spline_config)
    estimates[SPLINE] = to_places(system, spline.estimate)
    solutions[SPLINE] = _solve(estimates[SPLINE], stiffness, made.damping, num_years)
    keys = dict(zip((PINN, DESCRIBED), jax.random.split(key), strict=True))
    starts: dict[str, tuple[fit.PinnConfig, Any, Callable[[Any], tuple[Array, Array]]]] = {
        PINN: (network_config(config), (made.stiffness, made.damping), fit.as_given),
        DESCRIBED: (as_described(config), jnp.zeros(len(LIMITS)), motion_of_strengths(system)),
    }
    found = {}
    for name, (chosen, theta, motion_fn) in starts.items():
        problem = fit.pinn_problem(np.arange(num_years), data, float(made.scales.noise_sd), chosen)
        found[name] = fit.fit_pinn(
            keys[name], problem, theta, chosen, motion_fn=motion_fn,
            num_seeds=config.pinn_members, time=np.asarray(smoother.time), mesh=mesh,
        )  # fmt: skip
        estimates[name] = to_places(system, found[name].estimate)
        matrices = jnp.asarray(found[name].stiffness, data.dtype)
        own = [system.basis @ k @ system.basis.T for k in matrices]
        solutions[name] = jnp.stack(
            [
                _solve(
                    _member(estimates[name], i),
                    own[i],
                    jnp.asarray(found[name].damping[i], data.dtype),
                    num_years,
                )
                for i in range(config.pinn_members)
            ]
        )
    raw = jnp.asarray(found[DESCRIBED].theta, data.dtype)  # trained in float32
    strengths = jax.vmap(lambda one: jnp.stack(systems.strengths(system.active, one)))(raw)
    return Fits(estimates, solutions, strengths, _without_force(data, made))


def network_config(config: Config) -> fit.PinnConfig:
    """Penalised network with frozen parameters, its penalty by generalised cross-validation."""
    return fit.PinnConfig(observation="mean", points_per_year=config.points_per_year)


def as_described(config: Config) -> fit.PinnConfig:
    """Free force and parameters trained together by the gradient, no penalty."""
    return replace(
        fit.AS_DESCRIBED,
        observation="mean",
        points_per_year=config.points_per_year,
        num_steps=config.described_iterations,
        dtype="float32",
    )


def motion_of_strengths(system: System) -> Partial:
    """theta -> (K, c) of this system."""
    return Partial(_motion, system.terms, system.active)


def _motion(terms: Array, active: Array, raw: Array) -> tuple[Array, Array]:
    stiffness, damping = systems.dynamics(terms, active, raw)
    assert not isinstance(stiffness, mg.Modes)
    return stiffness, damping


def to_places(system: System, estimate: fit.ForceEstimate) -> fit.ForceEstimate:
    """Estimate of the coordinates turned to places; bands are lost unless they are the same."""

    def turn(x: Array) -> Array:
        return jnp.einsum("ik,...kt->...it", system.basis, x)

    missing = jnp.full(turn(estimate.force).shape, jnp.nan)
    return fit.ForceEstimate(
        time=estimate.time if estimate.time.ndim == 1 else estimate.time[0],
        balance=turn(estimate.balance),
        velocity=turn(estimate.velocity),
        force=turn(estimate.force),
        balance_sd=missing,
        force_sd=missing,
    )


def solution_frame(inputs: Inputs, fits: Fits) -> pd.DataFrame:
    """R2 and RMSE of the data against the solution of the equation, by method, median of seeds."""
    rows = []
    rate = inputs.rate
    spread = ((rate - rate.mean()) ** 2).sum()
    own = ((rate - rate.mean(axis=1, keepdims=True)) ** 2).sum()
    for name, solved in fits.solutions.items():
        left = (rate - np.asarray(solved)) ** 2
        squares = np.atleast_1d(left.sum(axis=(-2, -1)))
        force = np.asarray(fits.estimates[name].force)
        rows.append(
            {
                "method": name,
                "seeds": len(squares),
                "r2": float(np.median(1 - squares / spread)),
                "r2_within": float(np.median(1 - squares / own)),
                "rmse": float(np.median(np.sqrt(squares / rate.size))),
                "force_size": float(np.sqrt((force**2).mean())),
            }
        )
    return pd.DataFrame(rows)


def _solve(
    estimate: fit.ForceEstimate, stiffness: Array | mg.Modes, damping: Array, num_years: int
) -> Array:
    """Yearly means of the solution, [place, year]."""
    motion = motion_of(estimate, stiffness, damping, num_years)
    return yearly_means(np.asarray(motion.time), motion.balance, num_years)


def _member(estimate: fit.ForceEstimate, seed: int) -> fit.ForceEstimate:
    return fit.ForceEstimate(estimate.time, *(x[seed] for x in estimate[1:]))


def _without_force(data: Array, made: fit.LatentForceFit) -> dict[str, float]:
    """ln L with this force, and with a constant force in every place."""
    model = fit.LatentForceModel(kernel="none", level=True)
    best = fit.fit_latent_force(data, made.stiffness, made.damping, model=model)
    return {
        "random force": float(made.log_likelihood),
        "constant forces": float(best.log_likelihood),
    }
