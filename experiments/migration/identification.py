"""What the data determine: profiles of the strengths, both ends of their intervals, surrogates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh

from diffmig import evaluate, fit
from experiments.migration import system as systems
from experiments.migration.config import Config
from experiments.migration.dynamics import coordinates, force_model
from experiments.migration.inputs import Inputs
from experiments.migration.surrogates import STATISTICS, SURROGATES, run_surrogates
from experiments.migration.system import LIMITS, System

GRID = np.linspace(-6.0, 6.0, 9)  # of the unconstrained strengths: 0.2 to 99.8 % of their limits


class Identification(NamedTuple):
    """How well the strengths are known.

    Attributes:
        names: of the profiled strengths.
        profile: of them, unconstrained.
        interval: strengths at the ends, 1/year^2 (damping 1/year), [strength, 2].
        open_ends: whether the data leave each end at the limit, bool [strength, 2].
        best: fitted, [strength].
        ends: what becomes of force and forecast at each end, a row per end.
        condition: of the Gram matrix of the terms that are not constant.
        observed: statistic -> of the data.
        surrogates: kind, number and every statistic, a row per surrogate.
        p_value: (statistic, kind) -> p.
    """

    names: tuple[str, ...]
    profile: fit.Profile
    interval: np.ndarray
    open_ends: np.ndarray
    best: np.ndarray
    ends: pd.DataFrame
    condition: float
    observed: dict[str, float]
    surrogates: pd.DataFrame
    p_value: dict[tuple[str, str], float]


def identify(
    config: Config,
    inputs: Inputs,
    system: System,
    made: fit.LatentForceFit,
    key: Array,
    stage_fn: fit.RunStage,
    mesh: Mesh | None,
) -> Identification:
    """Profiles, conclusions at their ends, and surrogates through the same fit."""
    data = coordinates(system, inputs.rate)
    model = force_model(config.smoothness)
    at = [i for i, name in enumerate(LIMITS) if name in system.names]

    def unpack(theta: Array) -> tuple[Array, fit.ForceScales]:
        raw = jnp.zeros(len(LIMITS))
        raw = raw.at[jnp.array(at)].set(theta[: len(at)])
        scales = fit.ForceScales(*jnp.exp(theta[len(at) :]))
        shortest = jnp.maximum(scales.length_scale, fit.SHORTEST_SCALE)  # the bound of the fit
        return raw, scales._replace(length_scale=shortest)

    def log_likelihood(theta: Array) -> Array:
        raw, scales = unpack(theta)
        stiffness, damping = systems.dynamics(system.terms, system.active, raw)
        return fit.latent_force_log_likelihood(data, stiffness, damping, scales, model=model)

    best = jnp.concatenate([made.theta[jnp.array(at)], jnp.log(jnp.stack(made.scales))])
    # a strength that ended far beyond its limit has no likelihood left to climb
    best = jnp.clip(best, -8.0, 8.0)
    grids = jnp.asarray(np.broadcast_to(GRID, (len(at), GRID.size)))
    profile = fit.profile_likelihood(log_likelihood, best, grids, mesh=mesh)
    limits = np.array(list(LIMITS.values()))[at]
    ends = np.stack([np.asarray(profile.low), np.asarray(profile.high)], axis=1)
    flags = np.stack([~np.asarray(profile.bounded_below), ~np.asarray(profile.bounded_above)], 1)
    interval = np.where(flags, [[0.0, 1.0]], jax.nn.sigmoid(ends)) * limits[:, None]
    terms = [system.terms[i] for i in range(3) if system.active[i]]
    gram = fit.least_force_stiffness(data, jnp.stack([*terms, jnp.eye(data.shape[0])]))
    observed, table = run_surrogates(config, inputs, system, key, stage_fn, mesh)
    return Identification(
        names=system.names,
        profile=profile,
        interval=interval,
        open_ends=flags,
        best=np.asarray(jax.nn.sigmoid(best[: len(at)])) * limits,
        ends=_ends(config, inputs, system, profile, made.estimate, unpack),
        condition=float(gram.condition),
        observed=observed,
        surrogates=table,
        p_value={
            (name, kind): float(
                evaluate.permutation_p_value(
                    observed[name], table.loc[table["kind"] == kind, name].to_numpy()
                )
            )
            for name in STATISTICS
            for kind in SURROGATES
        },
    )


def _ends(
    config: Config,
    inputs: Inputs,
    system: System,
    profile: fit.Profile,
    estimate: fit.ForceEstimate,
    unpack: Callable[[Array], tuple[Array, fit.ForceScales]],
) -> pd.DataFrame:
    """Force and answer of the system with each strength at an end of its interval."""
    data, model = coordinates(system, inputs.rate), force_model(config.smoothness)

    @jax.jit
    def smooth(theta: Array) -> tuple[Array, Array]:
        raw, scales = unpack(theta)
        stiffness, damping = systems.dynamics(system.terms, system.active, raw)
        found = fit.smooth_latent_force(
            data, stiffness, damping, scales, model=model, num_per_year=config.points_per_year
        )
        return found.force, damping

    rows = []
    for i, name in enumerate(system.names):
        inside = np.asarray(profile.log_likelihood[i])
        for end, value in (("low", profile.low[i]), ("high", profile.high[i])):
            nearest = int(np.argmin(np.abs(np.asarray(profile.grid[i]) - float(value))))
            force, damping = smooth(profile.argument[i, nearest])
            both = np.corrcoef(np.asarray(force).ravel(), np.asarray(estimate.force).ravel())
            size = float(jnp.sqrt(jnp.mean(force**2) / jnp.mean(estimate.force**2)))
            raw, scales = unpack(profile.argument[i, nearest])
            rows.append(
                {
                    "strength": name,
                    "end": end,
                    "value": float(systems.strengths(system.active, raw)[list(LIMITS).index(name)]),
                    "log_likelihood": float(inside[nearest]),
                    "damping": float(damping),
                    "force_length": float(scales.length_scale),
                    "force_correlation": float(both[0, 1]),
                    "force_size": size,
                }
            )
    return pd.DataFrame(rows)
