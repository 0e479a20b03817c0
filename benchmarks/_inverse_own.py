"""diffmig's methods on the problem of `benchmarks.inverse`, in a process of their own."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from benchmarks import _inverse_problem as ip
from benchmarks import _timing as timing
from benchmarks._inverse_peers import pin

NETWORK = {"width": 64, "layers": 3, "learning_rate": 1e-3}
LEAST_NOISE = 1e-3  # of the balance's standard deviation: what an estimator is told at least


def worker() -> None:
    """Rows on stdout for the job on stdin: one method on its cells, one after the other."""
    job = json.load(sys.stdin)
    pin(job["core"])
    timing.setup()
    import diffmig.fit  # noqa: F401  imports are not timed
    from diffmig.runtime import CompileClock

    rows = []
    for cell in (ip.Cell(**cell) for cell in job["cells"]):
        problem = ip.made_problem(cell)
        clock, start = CompileClock(), time.perf_counter()
        found = OWN[job["method"]](problem, job)
        row = {"seconds": time.perf_counter() - start, "compile_seconds": clock.seconds}
        start = time.perf_counter()
        if job.get("again", True):
            OWN[job["method"]](problem, job)
            row["warm_seconds"] = time.perf_counter() - start
        rows.append(asdict(cell) | row | found | {"peak_bytes": timing.peak_bytes()})
    print(json.dumps(rows))


def _scored(problem: ip.Problem, estimate: Any, scale: float = 1.0) -> dict[str, Any]:
    """Scores of a ForceEstimate whose unit of time is `scale` years."""
    from scipy.interpolate import CubicSpline

    time_, q, f = (np.asarray(x) for x in (estimate.time, estimate.balance, estimate.force))
    grid = problem.time / scale
    balance = CubicSpline(time_, q, axis=1)(grid)
    force = CubicSpline(time_, f, axis=1)(grid) / scale**2
    row: dict[str, Any] = ip.scores(problem, balance, force)
    sd = np.asarray(estimate.force_sd)
    if np.isfinite(sd).all():
        spread = np.stack([np.interp(grid, time_, one) for one in sd]) / scale**2
        row |= ip.coverage(problem, force, spread)
    return row


def told_noise(problem: ip.Problem) -> float:
    """Mean standard deviation of the noise, which networks are told."""
    return float(np.maximum(problem.noise, LEAST_NOISE * problem.balance.std(axis=1)).mean())


def _shares(problem: ip.Problem) -> np.ndarray:
    """Noise of the towns, relative: in proportion to how far their observations spread."""
    spread = problem.observed.std(axis=1)
    return spread / spread.mean()


def _rescaled(problem: ip.Problem) -> tuple[float, Any, Any, Any]:
    """Years between observations, and data, K and c with that as the unit of time."""
    import jax.numpy as jnp

    step = float(problem.observed_time[1])
    stiffness = jnp.asarray(problem.stiffness * step**2)
    return step, jnp.asarray(problem.observed), stiffness, problem.damping * step


def _from_logarithms(laplacian: Any, logarithms: Any) -> tuple[Any, Any]:
    """K = k0 I + kc L and c, from logarithms of c, k0, kc."""
    import jax.numpy as jnp

    c, k0, kc = jnp.exp(logarithms)
    return k0 * jnp.eye(laplacian.shape[0]) + kc * jnp.asarray(laplacian), c


def _parameters(problem: ip.Problem, c: Any, stiffness: Any, step: float = 1.0) -> dict[str, float]:
    """Errors of c, k0, kc from c and K (the Laplacian's rows sum to zero)."""
    k = np.asarray(stiffness) / step**2
    k0 = float(np.mean(k.sum(axis=1)))
    kc = float(np.sum((k - k0 * np.eye(len(k))) * problem.laplacian) / np.sum(problem.laplacian**2))
    return ip.parameter_errors(float(c) / step, k0, kc)


def _latent_force(problem: ip.Problem, job: dict[str, Any]) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    from jax.tree_util import Partial

    from diffmig.fit.latent_force_fit import fit_latent_dynamics, fit_latent_force
    from diffmig.fit.latent_force_model import LatentForceModel

    step, y, stiffness, damping = _rescaled(problem)
    model = LatentForceModel(observation="point")
    if problem.forced.all():
        fit = fit_latent_force(y, stiffness, damping, model=model)
    else:
        starts = jnp.log(jnp.asarray([ip.GUESS, (0.3, 0.2, 0.2)]))
        dynamics = Partial(_from_logarithms, jnp.asarray(problem.laplacian))
        fit = fit_latent_dynamics(
            y,
            dynamics,
            starts,
            force_weight=jnp.asarray(problem.forced, float),
            noise_weight=jnp.asarray(_shares(problem)),
            model=model,
        )
    row = _scored(problem, jax.block_until_ready(fit.estimate), step)
    if not problem.forced.all():
        row |= _parameters(problem, fit.damping, fit.stiffness)
    return row | {"converged": bool(fit.converged)}


def _spline(problem: ip.Problem, job: dict[str, Any]) -> dict[str, Any]:
    import jax

    from diffmig.fit.spline_force import SplineForceConfig, fit_spline_force

    step, y, stiffness, damping = _rescaled(problem)
    fit = fit_spline_force(y, stiffness, damping, config=SplineForceConfig(observation="point"))
    row = _scored(problem, jax.block_until_ready(fit.estimate), step)
    return row | {"converged": not bool(fit.at_bound)}


def _shooting(problem: ip.Problem, job: dict[str, Any]) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    from jax.tree_util import Partial

    from diffmig.fit.shooting import fit_shooting
    from diffmig.fit.shooting_config import ShootingConfig

    free = not problem.forced.all()
    config = ShootingConfig(
        observation="point",
        solver="diffrax" if problem.cubic else "propagator",
        fit_theta=free,
        bands=problem.forced.size <= 30,
    )
    step, y, stiffness, damping = _rescaled(problem)
    if problem.cubic:
        theta: Any = (stiffness, jnp.asarray(damping), jnp.asarray(problem.cubic * step**2))
        fit = fit_shooting(y, theta, acceleration_fn=Partial(_cubic), config=config)
    elif free:
        theta = jnp.log(jnp.asarray(ip.GUESS))
        dynamics = Partial(_from_logarithms, jnp.asarray(problem.laplacian))
        fit = fit_shooting(
            y,
            theta,
            motion_fn=dynamics,
            forced=problem.forced,
            noise_weight=_shares(problem),
            config=config,
        )
    else:
        fit = fit_shooting(y, (stiffness, damping), config=config)
    row = _scored(problem, jax.block_until_ready(fit.estimate), step)
    if free:
        found, c = _from_logarithms(problem.laplacian, fit.theta)
        row |= _parameters(problem, c, found)
    return row | {"converged": bool(fit.converged)}


def _cubic(t: Any, q: Any, v: Any, f: Any, theta: Any) -> Any:
    stiffness, damping, cubic = theta
    return f - damping * v - stiffness @ q - cubic * q**3


def _pinn(problem: ip.Problem, job: dict[str, Any]) -> dict[str, Any]:
    """diffmig's default: last layers solved for, penalty by cross-validation."""
    import jax
    from jax.tree_util import Partial

    from diffmig.fit.pinn import as_given, fit_pinn
    from diffmig.fit.pinn_problem import PinnConfig, pinn_problem

    free = not problem.forced.all()
    config = PinnConfig(observation="point")
    theta: Any = (problem.stiffness, problem.damping)
    if free:
        config = replace(config, fit_theta=True, force="eliminated", residual_weight=1e3)
        theta = np.log(ip.GUESS)
    noise = told_noise(problem) * (_shares(problem) if free else 1.0)
    data = pinn_problem(
        problem.observed_time, problem.observed, noise, config, forced=problem.forced
    )
    motion_fn = Partial(_from_logarithms, problem.laplacian) if free else as_given
    fit = fit_pinn(jax.random.key(0), data, theta, config, motion_fn=motion_fn, time=problem.time)
    q, f = (np.asarray(x[0]) for x in (fit.estimate.balance, fit.estimate.force))
    row: dict[str, Any] = ip.scores(problem, q, f)
    if free:
        row |= _parameters(problem, fit.damping[0], fit.stiffness[0])
    return row | {"converged": bool(fit.converged[0]), "penalty": float(fit.penalty)}


def _pinn_adam(problem: ip.Problem, job: dict[str, Any]) -> dict[str, Any]:
    """The networks, loss and steps of the peers."""
    import jax
    import jax.numpy as jnp

    from diffmig.fit.pinn import fit_pinn
    from diffmig.fit.pinn_problem import PinnConfig, pinn_problem

    config = PinnConfig(
        width=int(NETWORK["width"]),
        num_blocks=int(NETWORK["layers"]),
        skips=False,
        unit_years=None,
        observation="point",
        penalty=job["penalty"],
        num_steps=job["steps"],
        learning_rate=NETWORK["learning_rate"],
        solve_last=False,
        chunk=job["chunk"],
        dtype="float32",
    )
    noise = told_noise(problem)
    data = pinn_problem(problem.observed_time, problem.observed, noise, config)
    begin, moments = time.perf_counter(), [0.0]
    force = jnp.asarray(problem.force, jnp.float32)

    def error(estimate: Any) -> Any:
        return jnp.linalg.norm(estimate.force - force) / jnp.linalg.norm(force)

    fit = fit_pinn(
        jax.random.key(job["network_seed"]),
        data,
        (problem.stiffness, problem.damping),
        config,
        num_seeds=job["network_seeds"],
        time=problem.time,
        monitor_fn=error if job["chunk"] < job["steps"] else None,
        on_chunk=lambda *_: moments.append(time.perf_counter() - begin),
        block=job["block"],
    )
    estimate = jax.block_until_ready(fit.estimate)
    q, f = np.asarray(estimate.balance), np.asarray(estimate.force)
    each = [ip.scores(problem, *one) for one in zip(q, f, strict=True)]
    row: dict[str, Any] = {name: float(np.median([one[name] for one in each])) for name in each[0]}
    row["err_f_range"] = [min(one["err_f"] for one in each), max(one["err_f"] for one in each)]
    if fit.trace.monitored is not None:
        row["trace_step"] = fit.trace.step.tolist()
        row["trace_err_f"] = fit.trace.monitored[0].tolist()
        row["trace_seconds"] = moments
    return row


OWN: dict[str, Callable[[ip.Problem, dict[str, Any]], dict[str, Any]]] = {
    "latent force": _latent_force,
    "spline": _spline,
    "shooting": _shooting,
    "network": _pinn,
    "network, Adam": _pinn_adam,
}


if __name__ == "__main__":
    worker()
