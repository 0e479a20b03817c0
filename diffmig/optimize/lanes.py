"""L-BFGS for thousands of small problems: a few lanes in lockstep, each taking the next task when
its own is done."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from diffmig.optimize import lockstep
from diffmig.optimize.base import (
    CONVERGED,
    LINE_SEARCH_FAILED,
    NO_FINITE_LOSS,
    STEP_LIMIT,
    in_dtype,
)
from diffmig.optimize.lbfgs import LbfgsCoefficients, LbfgsConfig
from diffmig.optimize.lockstep import Lockstep

EvaluateLanes = Callable[[Array, Any], tuple[Array, Array, Array]]
_TRIES_BETWEEN_CHECKS = 10


class LaneResult(NamedTuple):
    """Outcome of every task.

    Attributes:
        point: accepted point of least loss, or of least score, [task, dim].
        loss: least loss, [task]; +inf where none was finite.
        status: int8 [task], index into `diffmig.optimize.STATUS`.
        num_tries: losses evaluated, int32 [task], in whole tens.
    """

    point: Array
    loss: Array
    status: Array
    num_tries: Array


class _Lanes(NamedTuple):
    """State: the inner state, members last; the task of each lane (their number: none), what the
    evaluation knows about it, tries; best point and score; next task; results."""

    state: Lockstep
    task: Array
    constants: Any
    tries: Array
    best: Any
    waiting: Array
    result: LaneResult


def minimise_in_lanes(
    starts: Array,
    constants: Any,
    evaluate_fn: EvaluateLanes,
    *,
    num_lanes: int,
    max_tries: ArrayLike,
    config: LbfgsConfig,
    by_score: bool = False,
) -> LaneResult:
    """Local minima from `starts`, without bounds, each task from its own start.

    All lanes evaluate one value and gradient at the same time. Every ten tries, those whose task
    has converged, failed or reached the limit store it and take the next one, so that no lane waits
    for the slowest task. The results do not depend on the order of tasks or on the lanes.

    Args:
        starts: [task, dim].
        constants: what distinguishes the tasks, a pytree [task, ...].
        evaluate_fn: (points [dim, lane], constants [lane, ...]) -> losses [lane], gradients [dim,
            lane], scores [lane]; lane by lane, for any mix of tasks.
        num_lanes: tasks side by side: as many as the cache holds states of.
        max_tries: per task, the evaluation of the start included; rounded up to whole tens; may be
            traced.
        config: tolerance, memory and max_backtracks; the rest does not count.
        by_score: keep the point of least score among the accepted ones, not the last, which has
            the least loss: early stopping on data that the loss does not see.

    Returns:
        LaneResult. A task without a finite loss keeps its start.

    Raises:
        ValueError: no tasks or no lanes.

    Notes:
        Not reverse-differentiable (`lax.while_loop`).
    """
    num_tasks = starts.shape[0]
    if starts.ndim != 2 or min(num_tasks, num_lanes) < 1:
        raise ValueError(
            f"expected starts [task, dim] with a task and num_lanes >= 1, got {starts.shape} and "
            f"{num_lanes}"
        )
    step = partial(
        _step, evaluate_fn=evaluate_fn, config=config,
        numbers=in_dtype(LbfgsCoefficients(), starts.dtype),
    )  # fmt: skip

    def going(lanes: _Lanes) -> Array:
        return jnp.any(lanes.task < num_tasks)

    def advance(lanes: _Lanes) -> _Lanes:
        lanes = lax.fori_loop(0, _TRIES_BETWEEN_CHECKS, lambda _, lanes: step(lanes), lanes)
        lanes = lanes._replace(tries=lanes.tries + _TRIES_BETWEEN_CHECKS)
        return _take_next(lanes, starts, constants, max_tries, config)

    return lax.while_loop(
        going, advance, _begin(starts, constants, num_lanes, config, by_score)
    ).result


def _begin(
    starts: Array, constants: Any, num_lanes: int, config: LbfgsConfig, by_score: bool
) -> _Lanes:
    num_tasks = starts.shape[0]
    num_lanes = min(num_lanes, num_tasks)
    point = starts[:num_lanes].T
    state = lockstep.begin_unevaluated(point, config.memory, config.tolerance, members_last=True)
    infinite = jnp.full(num_lanes, jnp.inf, starts.dtype)
    return _Lanes(
        state=state,
        task=jnp.arange(num_lanes, dtype=jnp.int32),
        constants=jax.tree.map(lambda leaf: leaf[:num_lanes], constants),
        tries=jnp.zeros(num_lanes, jnp.int32),
        best=(point, infinite) if by_score else None,
        waiting=jnp.int32(num_lanes),
        result=LaneResult(
            point=starts,
            loss=jnp.full(num_tasks, jnp.inf, starts.dtype),
            status=jnp.zeros(num_tasks, jnp.int8),
            num_tries=jnp.zeros(num_tasks, jnp.int32),
        ),
    )


def _step(
    lanes: _Lanes, *, evaluate_fn: EvaluateLanes, config: LbfgsConfig, numbers: Any
) -> _Lanes:
    active, trial = lockstep.propose(lanes.state, config.tolerance, members_last=True)
    loss, gradient, score = evaluate_fn(trial, lanes.constants)
    state, accepted = lockstep.judge(
        lanes.state, active, trial, loss, gradient, config.max_backtracks, numbers,
        members_last=True,
    )  # fmt: skip
    if lanes.best is None:
        return lanes._replace(state=state)
    point, least = lanes.best
    better = accepted & (score < least)
    best = (jnp.where(better[None, :], trial, point), jnp.where(better, score, least))
    return lanes._replace(state=state, best=best)


def _take_next(
    lanes: _Lanes, starts: Array, constants: Any, max_tries: ArrayLike, config: LbfgsConfig
) -> _Lanes:
    """Store the tasks that are done; their lanes get the next ones, or none."""
    num_tasks, state = starts.shape[0], lanes.state
    searching = lockstep.searching(state, config.tolerance, lanes.tries)
    done = ~searching | (lanes.tries >= max_tries)
    status = jnp.where(state.stopped, LINE_SEARCH_FAILED, STEP_LIMIT)
    status = jnp.where(state.steepest <= config.tolerance, CONVERGED, status)
    status = jnp.where(jnp.isfinite(state.loss), status, NO_FINITE_LOSS)
    place = jnp.where(done, lanes.task, num_tasks)  # out of bounds: dropped
    point = state.point if lanes.best is None else lanes.best[0]
    found = LaneResult(point.T, state.loss, status.astype(jnp.int8), lanes.tries)
    result: LaneResult = jax.tree.map(
        lambda all_tasks, own: all_tasks.at[place].set(own, mode="drop"), lanes.result, found
    )

    taken = lanes.waiting + jnp.cumsum(done, dtype=jnp.int32) - 1
    task = jnp.where(done, jnp.minimum(taken, num_tasks), lanes.task)
    row = jnp.minimum(task, num_tasks - 1)
    start = jnp.where(done[None, :], starts[row].T, state.point)
    fresh = lockstep.begin_unevaluated(start, config.memory, config.tolerance, members_last=True)
    state = Lockstep(
        *(
            # old pairs may stay: without curvature they count for nothing
            old if name in ("steps", "changes") else jnp.where(done, new, old)
            for name, new, old in zip(Lockstep._fields, fresh, state, strict=True)
        )
    )
    best = lanes.best
    if best is not None:
        best = (jnp.where(done, start, best[0]), jnp.where(done, jnp.inf, best[1]))
    return _Lanes(
        state=state._replace(stopped=state.stopped | (task == num_tasks)),
        task=task,
        constants=jax.tree.map(lambda leaf: leaf[row], constants),
        tries=jnp.where(done, 0, lanes.tries),
        best=best,
        waiting=lanes.waiting + jnp.sum(done, dtype=jnp.int32),
        result=result,
    )
