"""L-BFGS in lockstep: many independent starts, one value and gradient of all of them per step.

The line search is spread over the steps: a step tries one point per member; an accepted point
becomes the new one and gives a new direction, a refused one shortens the step for the next try. So
a vmapped run has no inner loop in which all members wait for the slowest.

The gradient comes from the same `evaluate_fn` as for every other method, differentiated: members
may not influence each other's loss, which must be differentiable and deterministic. Integer genes
have no gradient: they stay where they start.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from diffmig.optimize.base import (
    CONVERGED,
    LINE_SEARCH_FAILED,
    NO_FINITE_LOSS,
    STEP_LIMIT,
    EvaluateFn,
    Info,
    Method,
    describe,
    evaluate,
    in_dtype,
    initial_swarm,
    keep_lower,
    lowest,
)
from diffmig.optimize.space import Box, Space, flatten


@dataclass(frozen=True)
class LbfgsConfig:
    """Choices of L-BFGS.

    num_members: independent starts.
    bounded: search z with x = low + (high - low) sigmoid(z), so that x stays inside the box; starts
        on a bound begin `margin` of the range inside. False: no bounds, the box only holds the
        random starts.
    memory: pairs (s, y) kept.
    max_backtracks: shortened tries in a row before the member restarts from steepest descent; if
        that fails as well, the member stops.
    tolerance: converged when no component of the gradient (by z if bounded) exceeds it; unit of the
        loss.
    """

    num_members: int = 20
    bounded: bool = True
    margin: float = 1e-3
    memory: int = 8
    max_backtracks: int = 20
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        if (
            self.num_members < 1
            or self.memory < 1
            or self.max_backtracks < 1
            or not 0 < self.margin < 0.5
        ):
            raise ValueError(
                f"expected num_members, memory, max_backtracks >= 1, 0 < margin < 0.5, got {self}"
            )


class LbfgsCoefficients(NamedTuple):
    """Numbers of the line search.

    decrease: c1 of the Armijo condition f(z + t d) <= f + c1 t g'd.
    shrink: a refused step is shortened to between this factor and 1/2 by the parabola through f,
        g'd and f(z + t d).
    curvature: a pair is stored if s'y > curvature |s| |y|.
    max_move: largest change of a gene's z in one step, if bounded.
    """

    decrease: Any = 1e-4
    shrink: Any = 0.1
    curvature: Any = 1e-10
    max_move: Any = 1.0


class LbfgsState(NamedTuple):
    """Accepted points; fields as in `diffmig.optimize.base.State`, further ones with a leading
    member axis.

    point: z, [member, dim].  gradient: of the loss by z.  direction, step_length: of the next try.
    steps, changes: stored s and y, [member, memory, dim], newest first; zero where empty.
    backtracks: refused tries in a row.  stopped: line search failed.
    """

    swarm: Array
    loss: Array
    point: Array
    gradient: Array
    direction: Array
    step_length: Array
    steps: Array
    changes: Array
    backtracks: Array
    stopped: Array
    best: Array
    best_loss: Array
    generation: Array
    num_evaluations: Array


def init(
    key: Array,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: LbfgsConfig,
    coefficients: LbfgsCoefficients,
    initial: Any = None,
) -> LbfgsState:
    """Uniform starts (or `initial`), value and gradient evaluated, first direction -g of length at
    most 1.
    """
    box = flatten(space)
    point = _to_point(box, initial_swarm(key, box, config.num_members, initial), config)
    swarm, loss, gradient = _value_and_grad(key, evaluate_fn, box, point, config)
    best, best_loss = lowest(swarm, loss)
    history = jnp.zeros((*point.shape[:1], config.memory, *point.shape[1:]), point.dtype)
    return LbfgsState(
        swarm=swarm,
        loss=loss,
        point=point,
        gradient=gradient,
        direction=-gradient,
        step_length=_first_length(gradient),
        steps=history,
        changes=history,
        backtracks=jnp.zeros(config.num_members, jnp.int32),
        stopped=jnp.zeros(config.num_members, bool),
        best=best,
        best_loss=best_loss,
        generation=jnp.int32(0),
        num_evaluations=jnp.int32(config.num_members),
    )


def step(
    key: Array,
    state: LbfgsState,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: LbfgsConfig,
    coefficients: LbfgsCoefficients,
) -> tuple[LbfgsState, Info]:
    """One try per member: accepted (new point, new direction) or refused (shorter step).

    Source: Nocedal, Wright 2006, Numerical Optimization, algorithms 7.4 (direction), 3.1
        (backtracking).
    """
    box = flatten(space)
    c = in_dtype(coefficients, state.point.dtype)
    t = state.step_length
    slope = _dot(state.gradient, state.direction)
    active = ~state.stopped & (jnp.max(jnp.abs(state.gradient), axis=-1) > config.tolerance)
    trial = state.point + jnp.where(active, t, 0.0)[:, None] * state.direction
    swarm, loss, gradient = _value_and_grad(key, evaluate_fn, box, trial, config)
    usable = jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient), axis=-1)
    accepted = active & usable & (loss <= state.loss + c.decrease * t * slope)

    s, y = trial - state.point, gradient - state.gradient
    curved = _dot(s, y) > c.curvature * jnp.sqrt(_dot(s, s) * _dot(y, y))
    steps = _push(state.steps, s, accepted & curved)
    changes = _push(state.changes, y, accepted & curved)
    point = jnp.where(accepted[:, None], trial, state.point)
    new_gradient = jnp.where(accepted[:, None], gradient, state.gradient)

    # parabola through f, slope and the trial: its minimum, kept within [shrink, 1/2] of the refused
    # step
    excess = loss - state.loss - t * slope
    parabola = jnp.where(usable, -0.5 * t * slope / jnp.where(excess > 0.0, excess, jnp.inf), 0.0)
    shortened = t * jnp.clip(parabola, c.shrink, 0.5)
    backtracks = jnp.where(accepted, 0, state.backtracks + active.astype(jnp.int32))

    exhausted = backtracks >= config.max_backtracks
    fresh = (
        _dot(steps[:, 0], steps[:, 0]) == 0.0
    )  # no pairs: the direction is already steepest descent
    restarted = exhausted & ~fresh
    direction = _two_loop(new_gradient, steps, changes)
    downhill = _dot(direction, new_gradient) < 0.0
    restarted = restarted | (accepted & ~downhill)
    steps, changes = (jnp.where(restarted[:, None, None], 0.0, pairs) for pairs in (steps, changes))
    direction = jnp.where(accepted[:, None], direction, state.direction)
    direction = jnp.where(restarted[:, None], -new_gradient, direction)
    has_pairs = _dot(steps[:, 0], steps[:, 0]) > 0.0
    first = jnp.where(has_pairs, 1.0, _first_length(new_gradient))
    if config.bounded:
        # far out the sigmoid is flat: a long step would strand the gene at a bound
        longest = jnp.max(jnp.abs(direction), axis=-1)
        first = jnp.minimum(first, c.max_move / jnp.where(longest > 0.0, longest, 1.0))
    step_length = jnp.where(accepted | restarted, first, jnp.where(active, shortened, t))

    best, best_loss = keep_lower(state.best, state.best_loss, swarm, loss)
    state = LbfgsState(
        swarm=jnp.where(accepted[:, None], swarm, state.swarm),
        loss=jnp.where(accepted, loss, state.loss),
        point=point,
        gradient=new_gradient,
        direction=direction,
        step_length=step_length,
        steps=steps,
        changes=changes,
        backtracks=jnp.where(restarted, 0, backtracks),
        stopped=state.stopped | (exhausted & fresh),
        best=best,
        best_loss=best_loss,
        generation=state.generation + 1,
        num_evaluations=state.num_evaluations + jnp.sum(active, dtype=jnp.int32),
    )
    return state, describe(state, box)


def member_status(state: LbfgsState, config: LbfgsConfig) -> Array:
    """Status of every member, int8 [member], index into `STATUS`."""
    flat = jnp.max(jnp.abs(state.gradient), axis=-1) <= config.tolerance
    status = jnp.where(state.stopped, LINE_SEARCH_FAILED, STEP_LIMIT)
    status = jnp.where(flat, CONVERGED, status)
    return jnp.where(jnp.isfinite(state.loss), status, NO_FINITE_LOSS).astype(jnp.int8)


def _status(state: LbfgsState, space: Space, config: LbfgsConfig) -> Array:
    return member_status(state, config)[jnp.argmin(state.loss)]


def _value_and_grad(
    key: Array, evaluate_fn: EvaluateFn, box: Box, point: Array, config: LbfgsConfig
) -> tuple[Array, Array, Array]:
    def total(z: Array) -> tuple[Array, tuple[Array, Array]]:
        swarm = _to_candidate(box, z, config)
        loss = evaluate(key, evaluate_fn, box, swarm)
        # each member's loss depends on its own row only, so the gradient of the sum holds every
        # member's gradient
        return jnp.sum(jnp.where(jnp.isfinite(loss), loss, 0.0)), (swarm, loss)

    (_, (swarm, loss)), gradient = jax.value_and_grad(total, has_aux=True)(point)
    return swarm, loss, gradient


def _to_point(box: Box, swarm: Array, config: LbfgsConfig) -> Array:
    if not config.bounded:
        return swarm
    width = jnp.where(box.high > box.low, box.high - box.low, 1.0)
    share = (swarm - jnp.broadcast_to(box.low, swarm.shape)) / jnp.broadcast_to(width, swarm.shape)
    share = jnp.clip(share, config.margin, 1.0 - config.margin)
    return jnp.log(share) - jnp.log1p(-share)


def _to_candidate(box: Box, point: Array, config: LbfgsConfig) -> Array:
    if not config.bounded:
        return point
    low, high = jnp.broadcast_to(box.low, point.shape), jnp.broadcast_to(box.high, point.shape)
    return jnp.clip(low + (high - low) * jax.nn.sigmoid(point), low, high)


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(a * b, axis=-1)


def _first_length(gradient: Array) -> Array:
    return 1.0 / jnp.maximum(1.0, jnp.sqrt(_dot(gradient, gradient)))


def _push(pairs: Array, newest: Array, stored: Array) -> Array:
    shifted = jnp.concatenate([newest[:, None], pairs[:, :-1]], axis=1)
    return jnp.where(stored[:, None, None], shifted, pairs)


def _two_loop(gradient: Array, steps: Array, changes: Array) -> Array:
    """-H g by the two-loop recursion; empty pairs (zeros) contribute nothing."""
    memory = steps.shape[1]
    sy = jnp.sum(steps * changes, axis=-1)
    rho = jnp.where(sy > 0.0, 1.0 / jnp.where(sy > 0.0, sy, 1.0), 0.0)
    q, alphas = gradient, []
    for i in range(memory):
        alphas.append(rho[:, i] * _dot(steps[:, i], q))
        q = q - alphas[i][:, None] * changes[:, i]
    yy = _dot(changes[:, 0], changes[:, 0])
    scale = jnp.where(yy > 0.0, sy[:, 0] / jnp.where(yy > 0.0, yy, 1.0), 1.0)
    q = scale[:, None] * q
    for i in reversed(range(memory)):
        beta = rho[:, i] * _dot(changes[:, i], q)
        q = q + (alphas[i] - beta)[:, None] * steps[:, i]
    return -q


LBFGS = Method("lbfgs", init, step, _status, LbfgsConfig(), LbfgsCoefficients())
