"""L-BFGS in lockstep, the inner program: states of many members, on the first or on the last axis.

Few members with many variables are stored [member, dim]; thousands of small problems [dim, member],
so that every operation runs along the members. A caller evaluates loss and gradient between
`propose` and `judge`, in whatever way suits it.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array


class Lockstep(NamedTuple):
    """Accepted points. Shapes for members first; with members last the member axis moves to the
    end.

    point: z, [member, dim].  loss: [member].  gradient: of the loss by z, [member, dim].
    steepest: its largest absolute component, [member].
    direction, step_length: of the next try, [member, dim] and [member].
    steps, changes: stored s and y, [member, memory, dim], newest first.
    curvatures: s'y of each, [member, memory]; 0 where a pair is empty or forgotten.
    backtracks: refused tries in a row, int32 [member].  stopped: line search failed, bool [member].
    """

    point: Array
    loss: Array
    gradient: Array
    steepest: Array
    direction: Array
    step_length: Array
    steps: Array
    changes: Array
    curvatures: Array
    backtracks: Array
    stopped: Array


def begin(
    point: Array, loss: Array, gradient: Array, memory: int, *, members_last: bool
) -> Lockstep:
    """State at an evaluated point; the first direction is -g, of length at most 1."""
    axis = _axis(members_last)
    size = jnp.sqrt(jnp.sum(gradient * gradient, axis=axis))
    state = _empty(point, memory, members_last)
    return state._replace(
        loss=loss,
        gradient=gradient,
        steepest=jnp.max(jnp.abs(gradient), axis=axis),
        direction=-gradient,
        step_length=1.0 / jnp.maximum(1.0, size),
    )


def begin_unevaluated(
    point: Array, memory: int, tolerance: float, *, members_last: bool
) -> Lockstep:
    """State whose first step goes nowhere and accepts any finite loss there.

    `begin` needs a loss and a gradient, which would be a second copy of their program beside the
    one inside the loop.
    """
    state = _empty(point, memory, members_last)
    return state._replace(
        gradient=jnp.full_like(point, 2.0 * tolerance),
        steepest=jnp.full_like(state.loss, 2.0 * tolerance),
    )


def propose(state: Lockstep, tolerance: float, *, members_last: bool) -> tuple[Array, Array]:
    """Members that still search, bool [member], and the points that they try, like `point`; the
    others stay where they are."""
    active = ~state.stopped & (state.steepest > tolerance)
    length = jnp.where(active, state.step_length, 0.0)
    return active, state.point + _spread(length, members_last) * state.direction


def judge(
    state: Lockstep,
    active: Array,
    trial: Array,
    loss: Array,
    gradient: Array,
    max_backtracks: int,
    coefficients: Any,
    *,
    max_move: Array | None = None,
    members_last: bool,
) -> tuple[Lockstep, Array]:
    """State after the tries: accepted (new point, new direction) or refused (shorter step).

    Args:
        state, active, trial: before the tries, and what `propose` gave.
        loss, gradient: at `trial`; a try with a value that is not finite is refused.
        max_backtracks: shortened tries in a row before a member restarts from steepest descent, or
            stops if that is what failed.
        coefficients: `diffmig.optimize.LbfgsCoefficients` of the dtype of the point.
        max_move: largest component of a first try along a new direction; None: no limit.

    Returns:
        state and accepted, bool [member].

    Source: Nocedal, Wright 2006, Numerical Optimization, algorithms 7.4 (direction), 3.1
        (backtracking).
    """
    c, last, axis = coefficients, members_last, _axis(members_last)

    def dot(a: Array, b: Array) -> Array:
        return jnp.sum(a * b, axis=axis)

    t, slope = state.step_length, dot(state.gradient, state.direction)
    steepest = jnp.max(jnp.abs(gradient), axis=axis)  # NaN if any component is
    usable = jnp.isfinite(loss) & jnp.isfinite(steepest)
    accepted = active & usable & (loss <= state.loss + c.decrease * t * slope)

    s, y = trial - state.point, gradient - state.gradient
    sy = dot(s, y)
    stored = accepted & (sy > c.curvature * jnp.sqrt(dot(s, s) * dot(y, y)))
    steps = _push(state.steps, s, stored, last)
    changes = _push(state.changes, y, stored, last)
    curvatures = _push(state.curvatures, sy, stored, last)
    point = jnp.where(_spread(accepted, last), trial, state.point)
    new_gradient = jnp.where(_spread(accepted, last), gradient, state.gradient)

    # parabola through f, slope and the trial: its minimum, kept within [shrink, 1/2] of the refused
    # step
    excess = loss - state.loss - t * slope
    parabola = jnp.where(usable, -0.5 * t * slope / jnp.where(excess > 0.0, excess, jnp.inf), 0.0)
    shortened = t * jnp.clip(parabola, c.shrink, 0.5)
    backtracks = jnp.where(accepted, 0, state.backtracks + active.astype(jnp.int32))

    exhausted = backtracks >= max_backtracks
    # without pairs the direction is already steepest descent
    fresh = _newest(curvatures, last) == 0.0
    direction = _two_loop(new_gradient, steps, changes, curvatures, last)
    downhill = dot(direction, new_gradient) < 0.0
    restarted = (exhausted & ~fresh) | (accepted & ~downhill)
    curvatures = jnp.where(_spread(restarted, last), 0.0, curvatures)
    direction = jnp.where(_spread(accepted, last), direction, state.direction)
    direction = jnp.where(_spread(restarted, last), -new_gradient, direction)
    size = jnp.sqrt(dot(new_gradient, new_gradient))
    has_pairs = _newest(curvatures, last) > 0.0
    first = jnp.where(has_pairs, 1.0, 1.0 / jnp.maximum(1.0, size))
    if max_move is not None:
        longest = jnp.max(jnp.abs(direction), axis=axis)
        first = jnp.minimum(first, max_move / jnp.where(longest > 0.0, longest, 1.0))
    after = Lockstep(
        point=point,
        loss=jnp.where(accepted, loss, state.loss),
        gradient=new_gradient,
        steepest=jnp.where(accepted, steepest, state.steepest),
        direction=direction,
        step_length=jnp.where(accepted | restarted, first, jnp.where(active, shortened, t)),
        steps=steps,
        changes=changes,
        curvatures=curvatures,
        backtracks=jnp.where(restarted, 0, backtracks),
        stopped=state.stopped | (exhausted & fresh),
    )
    return after, accepted


def searching(state: Lockstep, tolerance: float, num_tries: Array) -> Array:
    """bool [member]: neither converged nor stopped, and not without a finite loss after a try."""
    alive = (num_tries == 0) | jnp.isfinite(state.loss)
    return alive & ~state.stopped & (state.steepest > tolerance)


def _axis(members_last: bool) -> int:
    """Of the variables."""
    return 0 if members_last else -1


def _spread(per_member: Array, members_last: bool) -> Array:
    """[member] -> [1, member] or [member, 1], to meet arrays with a further axis."""
    return per_member[None, :] if members_last else per_member[:, None]


def _empty(point: Array, memory: int, members_last: bool) -> Lockstep:
    number = point.shape[-1 if members_last else 0]
    if members_last:
        shapes = (memory, *point.shape), (memory, number)
    else:
        shapes = (number, memory, point.shape[1]), (number, memory)
    pairs = jnp.zeros(shapes[0], point.dtype)
    return Lockstep(
        point=point,
        loss=jnp.full(number, jnp.inf, point.dtype),
        gradient=jnp.zeros_like(point),
        steepest=jnp.zeros(number, point.dtype),
        direction=jnp.zeros_like(point),
        step_length=jnp.ones(number, point.dtype),
        steps=pairs,
        changes=pairs,
        curvatures=jnp.zeros(shapes[1], point.dtype),
        backtracks=jnp.zeros(number, jnp.int32),
        stopped=jnp.zeros(number, bool),
    )


def _pair(pairs: Array, number: int, members_last: bool) -> Array:
    return pairs[number] if members_last else pairs[:, number]


def _newest(pairs: Array, members_last: bool) -> Array:
    return _pair(pairs, 0, members_last)


def _push(pairs: Array, newest: Array, stored: Array, members_last: bool) -> Array:
    axis = 0 if members_last else 1
    kept = pairs[:-1] if members_last else pairs[:, :-1]
    shifted = jnp.concatenate([jnp.expand_dims(newest, axis), kept], axis=axis)
    others = tuple(range(pairs.ndim - 1)) if members_last else tuple(range(1, pairs.ndim))
    return jnp.where(jnp.expand_dims(stored, others), shifted, pairs)


def _two_loop(
    gradient: Array, steps: Array, changes: Array, curvatures: Array, members_last: bool
) -> Array:
    """-H g by the two-loop recursion; pairs without curvature contribute nothing."""
    last, axis = members_last, _axis(members_last)
    memory = steps.shape[0 if last else 1]
    known = curvatures > 0.0
    rho = jnp.where(known, 1.0 / jnp.where(known, curvatures, 1.0), 0.0)
    q, alphas = gradient, []
    for i in range(memory):
        s, y = _pair(steps, i, last), _pair(changes, i, last)
        alphas.append(_pair(rho, i, last) * jnp.sum(s * q, axis=axis))
        q = q - _spread(alphas[i], last) * y
    newest = _newest(changes, last)
    square = jnp.sum(newest * newest, axis=axis)
    has_pairs = _newest(known, last)
    scale = jnp.where(has_pairs, _newest(curvatures, last) / jnp.where(has_pairs, square, 1.0), 1.0)
    q = _spread(scale, last) * q
    for i in reversed(range(memory)):
        s, y = _pair(steps, i, last), _pair(changes, i, last)
        beta = _pair(rho, i, last) * jnp.sum(y * q, axis=axis)
        q = q + _spread(alphas[i] - beta, last) * s
    return -q
