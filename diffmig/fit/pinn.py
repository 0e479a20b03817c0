"""Physics-informed networks for the external force of q'' + c q' + K q = f.

One network for q, one for f (or f eliminated), a loss of data misfit, residual of the equation and
roughness of the force. With the parameters frozen this is penalised regression, and the last layers
are solved for exactly; trained as the paper describes it, parameters and all weights follow the
gradient together.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import on_one_device
from diffmig.fit.force_estimate import ForceEstimate
from diffmig.fit.pinn_estimate import (
    NOT_FINITE,
    NOT_PROJECTED,
    SOLVED,
    STEP_LIMIT,
    THETA_OPEN,
    PinnFit,
    Trace,
    estimate_on,
    estimate_seeds,
    on_grid,
)
from diffmig.fit.pinn_loss import (
    cast_floats,
    pinn_heads,
    pinn_hidden,
    pinn_path,
    pinn_rows,
    pinn_terms,
)
from diffmig.fit.pinn_penalty import CURVATURE, choose_penalty, penalty_unit
from diffmig.fit.pinn_problem import PinnConfig, PinnProblem
from diffmig.fit.pinn_projection import (
    MotionFn,
    Projection,
    as_partial,
    solve_heads,
    solve_theta,
)
from diffmig.fit.pinn_training import (
    LbfgsRun,
    PinnState,
    adam_chunk,
    begin_training,
    lbfgs_chunk,
)

AS_DESCRIBED = PinnConfig(
    penalty=0.0, fit_theta=True, num_steps=8000, solve_last=False, unit_years=None
)

MonitorFn = Callable[[ForceEstimate], Array]
_THETA_PENALTY = 0.3  # of its unit, while theta is fitted: less than what suits the force


def as_given(theta: tuple[Array, Array]) -> tuple[Array, Array]:
    """(K, c) that are themselves the frozen parameters."""
    return theta


def fit_pinn(
    key: Array,
    problem: PinnProblem,
    theta: Any,
    config: PinnConfig,
    *,
    motion_fn: MotionFn = as_given,
    num_seeds: int = 1,
    time: ArrayLike | None = None,
    on_chunk: Callable[[int, np.ndarray], None] | None = None,
    monitor_fn: MonitorFn | None = None,
    block: int | None = None,
    mesh: Mesh | None = None,
) -> PinnFit:
    """Force and motion by physics-informed networks.

    Args:
        key: of the starts of the networks.
        problem: from `pinn_problem`, with the same `config`.
        theta: (K, c) with K [town, town] or [year, town, town]; or with `motion_fn` the parameters
            it takes, unconstrained, the start if `config.fit_theta`.
        config: choices.
        motion_fn: theta -> (K, c), for example by softplus and `migration.stiffness_matrix`. A
            `jax.tree_util.Partial` with data as arguments is compiled once for all data of one
            shape; a new closure is compiled anew.
        num_seeds: independent starts.
        time: of the estimate, years, [time]; None: the collocation points.
        on_chunk: called after every chunk with the steps done and the terms, [seed, term].
        monitor_fn: estimate of one seed -> what the trace keeps, for example the error of a known
            force.
        block: seeds that train side by side, see `batched`; None: all.
        mesh: devices that share the seeds (training by Adam and the exact last layers).

    Returns:
        PinnFit.

    Notes:
        The default trains nothing by gradients: the units of the first layer are spread over time,
        so the last layers alone reach the least loss of a penalised spline to a part in 1,000 or
        better, exactly and at once. Data and residual say nothing on theta and a free force
        together: fit theta with towns known to be unforced, or take it from the marginal
        likelihood of the latent force model. A penalty that suits the force bends theta towards
        what needs less of it: where the penalty is left open, theta is fitted under a smaller one
        and the force then under the chosen one.

    Source: Raissi, Perdikaris, Karniadakis 2019, Physics-informed neural networks, eq (4)-(6), for
        the loss; Golub, Pereyra 1973 for the projection.
    """
    _check(problem, theta, config, motion_fn, num_seeds)
    theta = jax.tree.map(lambda x: np.asarray(x, float), theta)
    motion_fn = as_partial(motion_fn)
    weights = np.array(config.weights())
    if config.penalty is None:
        if config.fit_theta:
            theta = _first_theta(key, problem, theta, motion_fn, config)
        choice = choose_penalty(key, problem, theta, config, motion_fn=motion_fn)
        weights[CURVATURE] = choice.penalty
    state = begin_training(key, num_seeds, problem, theta, weights, config)
    grid = problem if time is None else on_grid(problem, time, config)
    state, trace = _train(
        state, theta, problem, grid, motion_fn, config, block, mesh, on_chunk, monitor_fn
    )
    found = _finish(state, theta, problem, grid, motion_fn, config, block, mesh)
    return found._replace(trace=trace)


def _check(
    problem: PinnProblem, theta: Any, config: PinnConfig, motion_fn: MotionFn, num_seeds: int
) -> None:
    num_towns = problem.spread.size
    k, c = jax.eval_shape(motion_fn, theta)
    if k.shape[-2:] != (num_towns, num_towns) or k.ndim not in (2, 3) or c.ndim:
        raise ValueError(
            f"theta, motion_fn: expected K [{num_towns}, {num_towns}], or by year, and c [], got "
            f"{k.shape} and {c.shape}"
        )
    last = int(problem.year[-1])
    if k.ndim == 3 and k.shape[0] <= last:
        raise ValueError(f"theta: expected K of {last + 1} years, got {k.shape[0]}")
    if num_seeds < 1:
        raise ValueError(f"num_seeds: expected at least 1, got {num_seeds}")
    order = 4 if config.force == "eliminated" else 2
    if len(problem.features) != order + 1:
        raise ValueError("problem: made with another `force`; call pinn_problem with this config")


def _first_theta(
    key: Array, problem: PinnProblem, theta: Any, motion_fn: MotionFn, config: PinnConfig
) -> Any:
    """Parameters before the penalty is chosen: at wrong ones cross-validation would find none."""
    first = replace(
        config, penalty=_THETA_PENALTY * penalty_unit(problem, config), num_steps=0, lbfgs_steps=0
    )
    found = fit_pinn(key, problem, theta, first, motion_fn=motion_fn)
    return jax.tree.map(lambda x: np.asarray(x[0]), found.theta)


@partial(jax.jit, static_argnames=("config", "monitor_fn"))
def _record(
    params: Any,
    theta: Any,
    problem: PinnProblem,
    grid: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    monitor_fn: MonitorFn | None,
) -> tuple[Array, Array, Array | None]:
    """Terms, flat theta if trained, and what is monitored, of every seed."""

    def one(params: Any) -> tuple[Array, Array, Array | None]:
        motion = motion_fn(params.get("theta", theta))
        terms = pinn_terms(params, *motion, problem, config)
        flat = ravel_pytree(params.get("theta", ()))[0]
        if monitor_fn is None:
            return terms, flat, None
        hidden, heads = pinn_hidden(params, grid, config), pinn_heads(params, grid)
        return terms, flat, monitor_fn(estimate_on(hidden, heads, motion, grid, config))

    return jax.vmap(one)(params)


def _train(
    state: PinnState,
    theta: Any,
    problem: PinnProblem,
    grid: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    block: int | None,
    mesh: Mesh | None,
    on_chunk: Callable[[int, np.ndarray], None] | None,
    monitor_fn: MonitorFn | None,
) -> tuple[PinnState, Trace]:
    num_seeds = state.failed.shape[0]
    given = (theta, motion_fn, problem, grid)
    theta, motion_fn, problem, grid = (cast_floats(x, config.dtype) for x in given)
    shape = config.structure()
    rates = np.array([config.learning_rate, config.final_rate, max(config.num_steps, 1)])
    records: list[tuple[int, Any]] = []

    def record(step: int) -> None:
        found = _record(state.params, theta, problem, grid, motion_fn, shape, monitor_fn)
        records.append((step, jax.tree.map(np.asarray, found)))
        if on_chunk is not None and step:
            on_chunk(step, records[-1][1][0])

    if config.num_steps + config.lbfgs_steps:
        record(0)
    for done, now in _chunks(config.num_steps, config.chunk):
        state = adam_chunk(state, theta, problem, motion_fn, shape, rates, now, block, mesh)
        state = on_one_device(state, num_seeds, mesh)
        record(done + now)
    run: LbfgsRun | None = None
    for done, now in _chunks(config.lbfgs_steps, config.chunk):
        state, run = lbfgs_chunk(state, run, theta, problem, motion_fn, shape, now)
        record(config.num_steps + done + now)
    return state, _trace(records)


def _chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """(done before, steps) of every chunk."""
    for done in range(0, total, size):
        yield done, min(size, total - done)


def _trace(records: list[tuple[int, Any]]) -> Trace:
    if not records:
        return Trace(np.zeros(0, int), np.zeros((0, 0, 0)), np.zeros((0, 0, 0)), None)
    steps, found = zip(*records, strict=True)
    terms, theta, monitored = zip(*found, strict=True)
    kept = None if monitored[0] is None else np.stack(monitored, axis=1)
    return Trace(np.array(steps), np.stack(terms, axis=1), np.stack(theta, axis=1), kept)


def _finish(
    state: PinnState,
    theta: Any,
    problem: PinnProblem,
    grid: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    block: int | None,
    mesh: Mesh | None,
) -> PinnFit:
    """Last layers and theta where they are solved for, the estimate, everything in float64."""
    num_seeds = state.failed.shape[0]
    same = jax.tree.map(lambda x: np.stack([x] * num_seeds), theta)
    own = state.params.get("theta", same)
    params = {name: state.params[name] for name in state.params if name != "theta"}
    weights = np.asarray(state.weights, float)
    covariance, settled = np.full((num_seeds, 0, 0), np.nan), np.ones(num_seeds, bool)
    shape = config.structure()
    rest = (problem, motion_fn, shape, block, mesh)
    if config.solve_last and config.fit_theta:
        rough = weights.copy()
        if config.penalty is None:
            rough[:, CURVATURE] = _THETA_PENALTY * penalty_unit(problem, config)
        fitted = solve_theta(params, own, rough, *rest, num_steps=config.theta_steps)
        unravel = ravel_pytree(jax.tree.map(lambda x: x[0], own))[1]
        own = jax.vmap(unravel)(jnp.asarray(fitted.theta))
        covariance, settled = fitted.covariance, fitted.converged
    if config.solve_last:
        found = solve_heads(params, own, weights, *rest)
    else:
        found = _as_trained(params, own, problem, motion_fn, shape)
    with np.errstate(invalid="ignore"):  # 0 inf
        loss = np.sum(weights * np.asarray(found.terms), axis=1)
    status = np.where(settled, SOLVED, THETA_OPEN)
    status = np.where(found.converged, status, NOT_PROJECTED if config.solve_last else STEP_LIMIT)
    status = np.where(np.asarray(state.failed) | ~np.isfinite(loss), NOT_FINITE, status)
    motion = (found.stiffness, found.damping)
    return PinnFit(
        estimate=estimate_seeds(params, found.heads, *motion, grid, shape),
        params=params,
        heads=found.heads,
        theta=own,
        theta_covariance=jnp.asarray(covariance),
        stiffness=motion[0],
        damping=motion[1],
        terms=found.terms,
        loss=jnp.asarray(loss),
        penalty=jnp.asarray(weights[0, CURVATURE]),
        status=jnp.asarray(status, jnp.int8),
        converged=jnp.asarray(status == SOLVED),
        trace=_trace([]),
    )


@partial(jax.jit, static_argnames=("config",))
def _as_trained(
    params: Any, theta: Any, problem: PinnProblem, motion_fn: MotionFn, config: PinnConfig
) -> Projection:
    """The networks' own last layers, with the terms of the loss there."""

    def one(params: Any, theta: Any) -> Projection:
        stiffness, damping = motion_fn(theta)
        hidden, heads = pinn_hidden(params, problem, config), pinn_heads(params, problem)
        path = pinn_path(hidden, heads, stiffness, damping, problem, config)
        rows = pinn_rows(path, stiffness, damping, problem, config)
        return Projection(
            heads=heads,
            terms=jnp.stack([jnp.sum(row**2) for row in rows]),
            observed=path.observed,
            stiffness=stiffness,
            damping=damping,
            degrees=jnp.full((), jnp.nan),
            num_steps=jnp.zeros((), jnp.int32),
            converged=jnp.zeros((), bool),
        )

    return jax.vmap(one)(*cast_floats((params, theta), "float64"))
