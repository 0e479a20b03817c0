"""A system with known force: which method finds it, and how well."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig import data, fit
from diffmig import migration as mg
from experiments.migration.config import Config

YEARS = 20
PER_YEAR = 10
NOISE = 0.05  # of each town's standard deviation
# floats: nothing is put on a device at import
TRUTH = mg.Parameters(0.3, 0.0, 0.0, 0.15, 0.25)  # type: ignore[arg-type]


class Truth(NamedTuple):
    """What is known of the system.

    Attributes:
        stiffness: [town, town].
        balance: observed at 0, 1, ... years, with noise, [town, 1 + year].
        noise: its standard deviation, mean over towns, [].
        time: dense, [time].  force, exact: f and q there, [town, time].
    """

    stiffness: Array
    balance: Array
    noise: Array
    time: Array
    force: Array
    exact: Array


class Recovery(NamedTuple):
    """What became of the known force.

    Attributes:
        truth: the system.
        table: errors by method, median over seeds.
        smoother, plain: estimates, the latter of every seed.
        steps: of the training without a penalty, [record].
        errors: of force and balance along it, [seed, record, 2].
    """

    truth: Truth
    table: pd.DataFrame
    smoother: fit.ForceEstimate
    plain: fit.ForceEstimate
    steps: np.ndarray
    errors: np.ndarray


def known_system(key: Array) -> Truth:
    """27 towns of Kazakhstan on springs, driven by slow waves and passing shocks."""
    towns = data.load_kz_towns()
    return _solved(key, towns["latitude"].to_numpy(), towns["longitude"].to_numpy())


@jax.jit
def _solved(key: Array, latitude: Array, longitude: Array) -> Truth:
    distance = mg.distance_matrix(latitude, longitude)
    couplings = mg.Couplings(
        mg.laplacian(mg.exponential_kernel(distance, 300.0)),
        jnp.zeros_like(distance),
        jnp.zeros(latitude.size),
    )
    stiffness = mg.stiffness_matrix(TRUTH, couplings)
    keys = dict(
        zip(
            ["a", "P", "phi", "b", "tau", "s", "q", "v", "noise"],
            jax.random.split(key, 9),
            strict=True,
        )
    )
    size = (latitude.size, 1, 1)

    def uniform(name: str, low: float, high: float) -> Array:
        return jax.random.uniform(keys[name], size, minval=low, maxval=high)

    a, period, phase = uniform("a", 0.5, 1), uniform("P", 8, 16), uniform("phi", 0, 2 * np.pi)
    b, tau, width = uniform("b", -1, 1), uniform("tau", 4, 16), uniform("s", 1.5, 3)

    def force(time: Array) -> Array:
        wave = a * jnp.sin(2 * jnp.pi * time[None] / period + phase)
        return wave + b * jnp.exp(-((time[None] - tau) ** 2) / (2 * width**2))

    nodes = force(jnp.asarray(mg.node_times(YEARS * PER_YEAR, 1 / PER_YEAR)))
    start = jax.random.normal(keys["q"], size[:1]), 0.5 * jax.random.normal(keys["v"], size[:1])
    motion = mg.propagate(stiffness, TRUTH.damping, *start, nodes, 1 / PER_YEAR)
    clean = motion.balance[:, ::PER_YEAR]
    sd = NOISE * jnp.std(clean, axis=1, keepdims=True)
    noisy = clean + sd * jax.random.normal(keys["noise"], clean.shape)
    return Truth(
        stiffness=stiffness,
        balance=noisy,
        noise=jnp.mean(sd),
        time=motion.time,
        force=force(motion.time[None])[:, 0],
        exact=motion.balance,
    )


def error(found: ArrayLike, exact: ArrayLike) -> float:
    """Relative L2 error over all towns and times."""
    found, exact = np.asarray(found), np.asarray(exact)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def score(name: str, truth: Truth, estimate: fit.ForceEstimate) -> dict[str, float | str]:
    """Errors of one method; `inner` leaves the first and last year out."""
    truth, estimate = jax.device_get((truth, estimate))
    force, balance, sd = (
        np.stack([np.interp(truth.time, estimate.time, row) for row in rows])
        for rows in (estimate.force, estimate.balance, estimate.force_sd)
    )
    inner = (truth.time >= 1) & (truth.time <= YEARS - 1)
    inside = np.abs(force - truth.force) <= 1.6448536 * sd
    return {
        "method": name,
        "seeds": 1,
        "balance_error": error(balance, truth.exact),
        "force_error": error(force, truth.force),
        "inner_force_error": error(force[:, inner], truth.force[:, inner]),
        "covered": float(np.mean(inside)) if np.isfinite(sd).all() else np.nan,
    }


def recover(config: Config, key: Array, mesh: Mesh | None) -> Recovery:
    """Every method on the known system: parameters known, and estimated with the force."""
    keys = dict(zip(("system", "pinn", "described"), jax.random.split(key, 3), strict=True))
    truth = known_system(keys["system"])
    data, damping = truth.balance, TRUTH.damping
    model = fit.LatentForceModel(kernel="matern52", observation="point")
    search = fit.LatentForceSearch(num_per_year=PER_YEAR)
    known = fit.fit_latent_force(data, truth.stiffness, damping, model=model, search=search)
    rows = [score("latent-force smoother", truth, known.estimate)]
    spline_config = fit.SplineForceConfig(observation="point", num_per_year=PER_YEAR)
    spline = fit.fit_spline_force(data, truth.stiffness, damping, config=spline_config)
    rows.append(score("penalised spline", truth, spline.estimate))
    noise, years = float(truth.noise), np.arange(YEARS + 1.0)
    pinn_config = fit.PinnConfig(observation="point", points_per_year=config.points_per_year)
    problem = fit.pinn_problem(years, data, noise, pinn_config)
    motion = (truth.stiffness, jnp.asarray(damping))
    shared: dict[str, Any] = {"num_seeds": config.pinn_members, "time": truth.time, "mesh": mesh}
    pinn = fit.fit_pinn(keys["pinn"], problem, motion, pinn_config, **shared)
    rows += _seeds("PINN, penalised", truth, pinn.estimate)
    plain_config = replace(
        fit.AS_DESCRIBED, fit_theta=False, observation="point", dtype="float32",
        points_per_year=config.points_per_year, num_steps=config.described_iterations,
    )  # fmt: skip
    plain_problem = fit.pinn_problem(years, data, noise, plain_config)
    monitor = Monitor(jnp.asarray(truth.force), jnp.asarray(truth.exact))
    plain = fit.fit_pinn(
        keys["described"], plain_problem, motion, plain_config, monitor_fn=monitor, **shared
    )
    rows += _seeds("PINN without penalty, parameters known", truth, plain.estimate)
    return Recovery(
        truth=truth,
        table=pd.DataFrame(rows),
        smoother=known.estimate,
        plain=plain.estimate,
        steps=plain.trace.step,
        errors=np.asarray(plain.trace.monitored),
    )


class Monitor:
    """Errors of force and balance of one seed, [2]: hashable, so that one program serves all."""

    def __init__(self, force: Array, exact: Array) -> None:
        self.force, self.exact = force, exact

    def __call__(self, estimate: fit.ForceEstimate) -> Array:
        pairs = ((estimate.force, self.force), (estimate.balance, self.exact))
        return jnp.stack(
            [jnp.linalg.norm(a - b.astype(a.dtype)) / jnp.linalg.norm(b).astype(a.dtype)
             for a, b in pairs]
        )  # fmt: skip


def _seeds(name: str, truth: Truth, estimate: fit.ForceEstimate) -> list[dict[str, float | str]]:
    """One row with the median over seeds of every score."""
    time = estimate.time if estimate.time.ndim == 1 else estimate.time[0]
    made = [
        score(name, truth, fit.ForceEstimate(time, *(x[i] for x in estimate[1:])))
        for i in range(estimate.force.shape[0])
    ]
    frame = pd.DataFrame(made)
    middle = {str(k): float(v) for k, v in frame.drop(columns=["method", "seeds"]).median().items()}
    return [{"method": name, "seeds": len(made), **middle}]
