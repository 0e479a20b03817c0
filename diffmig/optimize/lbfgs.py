"""L-BFGS in lockstep: many independent starts, one value and gradient of all of them per step.

The line search is spread over the steps: a step tries one point per member; an accepted point
becomes the new one and gives a new direction, a refused one shortens the step for the next try. So
a vmapped run has no inner loop in which all members wait for the slowest.

The gradient comes from the same `evaluate_fn` as for every other method, differentiated: members
may not influence each other's loss, which must be differentiable and deterministic. Integer genes
have no gradient: they stay where they start.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from diffmig.optimize import lockstep
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
from diffmig.optimize.lockstep import Lockstep
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
    """Accepted points; fields as in `diffmig.optimize.base.State` and, members first, in
    `diffmig.optimize.lockstep.Lockstep`.
    """

    swarm: Array
    loss: Array
    point: Array
    gradient: Array
    steepest: Array
    direction: Array
    step_length: Array
    steps: Array
    changes: Array
    curvatures: Array
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
    return LbfgsState(
        **lockstep.begin(point, loss, gradient, config.memory, members_last=False)._asdict(),
        swarm=swarm,
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
    inner = _inner(state)
    active, trial = lockstep.propose(inner, config.tolerance, members_last=False)
    swarm, loss, gradient = _value_and_grad(key, evaluate_fn, box, trial, config)
    inner, accepted = lockstep.judge(
        inner,
        active,
        trial,
        loss,
        gradient,
        config.max_backtracks,
        c,
        # far out the sigmoid is flat: a long step would strand the gene at a bound
        max_move=c.max_move if config.bounded else None,
        members_last=False,
    )
    best, best_loss = keep_lower(state.best, state.best_loss, swarm, loss)
    state = LbfgsState(
        **inner._asdict(),
        swarm=jnp.where(accepted[:, None], swarm, state.swarm),
        best=best,
        best_loss=best_loss,
        generation=state.generation + 1,
        num_evaluations=state.num_evaluations + jnp.sum(active, dtype=jnp.int32),
    )
    return state, describe(state, box)


def minimise_from(
    initial: Any,
    evaluate_fn: EvaluateFn,
    max_steps: ArrayLike,
    config: LbfgsConfig,
    coefficients: LbfgsCoefficients | None = None,
) -> LbfgsState:
    """State after L-BFGS from given starts, without bounds, until every member has converged or
    failed.

    Args:
        initial: starts, a pytree [member, ...] of one floating dtype; replaces
            `config.num_members`.
        evaluate_fn: (key, members) -> losses [member]; the key decides nothing.
        max_steps: tries per member, the evaluation of the starts included; may be traced.
        config: its `bounded` does not count.
        coefficients: of the line search; None: defaults.

    Returns:
        LbfgsState; `member_status` judges it.

    Notes:
        Holds one copy of the gradient's program, where `LBFGS.init` and a loop over `LBFGS.step`
        hold two. Not reverse-differentiable (`lax.while_loop`).
    """
    point = jax.vmap(lambda candidate: ravel_pytree(candidate)[0])(initial)
    example = jax.tree.map(lambda leaf: leaf[0], initial)
    config = replace(config, num_members=point.shape[0], bounded=False)
    space, key = Space(example, example), jax.random.key(0)  # starts are given: nothing is drawn
    c = LbfgsCoefficients() if coefficients is None else coefficients

    def active(state: LbfgsState) -> Array:
        going = lockstep.searching(_inner(state), config.tolerance, state.generation)
        return jnp.any(going) & (state.generation < max_steps)

    def advance(state: LbfgsState) -> LbfgsState:
        return step(key, state, evaluate_fn, space, config, c)[0]

    start = LbfgsState(
        **lockstep.begin_unevaluated(
            point, config.memory, config.tolerance, members_last=False
        )._asdict(),
        swarm=point,
        best=point[0],
        best_loss=jnp.full((), jnp.inf, point.dtype),
        generation=jnp.int32(0),
        num_evaluations=jnp.int32(0),
    )
    return lax.while_loop(active, advance, start)


def member_status(state: LbfgsState, config: LbfgsConfig) -> Array:
    """Status of every member, int8 [member], index into `STATUS`."""
    flat = state.steepest <= config.tolerance
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


def _inner(state: LbfgsState) -> Lockstep:
    return Lockstep(*(getattr(state, name) for name in Lockstep._fields))


LBFGS = Method("lbfgs", init, step, _status, LbfgsConfig(), LbfgsCoefficients())
