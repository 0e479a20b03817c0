"""The two searches behind `least_change`, in units of the levers' scale: up the response, and down
the cost along response = target. Both take one value and gradient a round and run under vmap."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from diffmig.explain.least_cost import least_cost

Response = Callable[[Array], Array]

_MEMORY = 0.5  # weight of earlier merits in what a step has to beat: lets full steps through bends
_DENSE_LEVERS = 16  # up to here the Hessian is formed, above it is only multiplied
_NUM_PRODUCTS = 20  # conjugate-gradient steps of one round, at most
_FIRST_RADIUS = 0.25  # of the widest bounds
_SHRINK, _GROW = 0.25, 2.0  # of the trust region
_SUMMIT = 1e-4  # relative gain for which a climb beyond the target does not go on
_CURVATURE_RANGE = (1e-2, 1e8)
_FUNNEL = 0.05  # of the gap: a search may not fall short by more, unless it started there
_ROUND_OFF = 1e-13  # of the merit: a smaller increase is no increase


class Problem(NamedTuple):
    """minimise z'z / 2 with response(z) >= target, low <= z <= high; levers x = scale z.

    `gap` = target - response(0) is what counts as a unit of response; `sign` is -1 where the
    response was turned around.
    """

    scale: Array
    sign: Array
    low: Array
    high: Array
    target: Array
    gap: Array


class Climb(NamedTuple):
    """State of a search for the greatest response."""

    z: Array
    value: Array
    slope: Array
    step: Array
    share: Array
    past: Array
    done: Array


class Lane(NamedTuple):
    """State of a search for the least cost; `residual` and `price` are those of `z`."""

    z: Array
    value: Array
    slope: Array
    price: Array
    residual: Array
    curvature: Array
    radius: Array
    penalty: Array
    most_short: Array
    past_cost: Array
    past_short: Array
    done: Array


State = TypeVar("State", Climb, Lane)


def begin_climb(response_fn: Response, problem: Problem, z: Array) -> Climb:
    """Climb at its start."""
    value, slope = jax.value_and_grad(response_fn)(z)
    return Climb(z, value, slope, _long_step(problem, slope), jnp.ones_like(value), value,
                 ~jnp.isfinite(value))  # fmt: skip


def climb(
    response_fn: Response, problem: Problem, state: Climb, num_rounds: ArrayLike, tolerance: float
) -> Climb:
    """Climb after at most so many rounds: projected gradient with spectral steps.

    Done where no gain lies ahead; beyond the target, where nothing depends on the summit, as soon
    as it is small.

    Source: Birgin, Martinez, Raydan 2000, SIAM Journal on Optimization 10(4), algorithm 2.2, with
    the averaged bar of Zhang, Hager 2004, SIAM Journal on Optimization 14(4), 1043-1056.
    """
    slope_fn = jax.value_and_grad(response_fn)

    def improve(state: Climb) -> Climb:
        way = jnp.clip(state.z + state.step * state.slope, problem.low, problem.high) - state.z
        promised = jnp.sum(state.slope * way)
        enough = jnp.where(state.value >= problem.target, _SUMMIT, tolerance)
        done = gain_ahead(problem, state.z, state.value, state.slope) <= enough
        z = state.z + state.share * way
        value, slope = slope_fn(z)
        bar = state.past + 1e-4 * state.share * promised
        good = value >= bar - _ROUND_OFF * jnp.abs(bar)
        moved, bent = z - state.z, state.slope - slope
        curved = jnp.sum(moved * bent)
        longest = _long_step(problem, slope)
        step = jnp.where(
            curved > 0, jnp.sum(moved**2) / jnp.where(curved > 0, curved, 1.0), longest
        )
        new = Climb(
            z=z,
            value=value,
            slope=slope,
            step=jnp.clip(step, 1e-8 * longest, longest),
            share=jnp.ones_like(value),
            past=_MEMORY * state.past + (1.0 - _MEMORY) * value,
            done=done,
        )
        old = state._replace(share=0.4 * state.share, done=done)
        return _choose(good & ~done, new, old)

    return _repeat(improve, state, num_rounds)


def begin_lane(response_fn: Response, problem: Problem, z: Array) -> Lane:
    """Lane at its start."""
    value, slope = jax.value_and_grad(response_fn)(z)
    zero, one = jnp.zeros_like(value), jnp.ones_like(value)
    short = jnp.maximum(problem.target - value, 0.0)
    return Lane(
        z=z,
        value=value,
        slope=slope,
        price=zero,
        residual=jnp.full_like(value, jnp.inf),
        curvature=one,
        radius=_FIRST_RADIUS * jnp.max(problem.high - problem.low),
        penalty=zero,
        most_short=jnp.maximum(short, _FUNNEL * problem.gap),
        past_cost=0.5 * jnp.sum(z**2),
        past_short=short,
        done=~jnp.isfinite(value) | (problem.gap <= 0),
    )


def descend(
    response_fn: Response, problem: Problem, lane: Lane, num_rounds: ArrayLike, tolerance: float
) -> Lane:
    """Lane after at most so many rounds of sequential quadratic programming in a trust region.

    A round solves the linearised problem with one curvature for all levers exactly: its answer says
    which levers stand at a bound and what a unit of response costs. Conjugate gradients with the
    Hessian of the Lagrangian, I - price * d2 response, then move the free levers within the plane
    of the linearised response. A step counts if it lowers cost + penalty * shortfall and does not
    fall short too far; the trust region is a box, so that it only narrows the bounds.

    Source: Byrd, Gould, Nocedal, Waltz 2004, Mathematical Programming 100(1), 27-48, with a
    quadratic programme for their linear one; penalty: Nocedal, Wright 2006, eq (18.36); curvature:
    Barzilai, Borwein 1988, IMA Journal of Numerical Analysis 8(1), 141-148; bound of the shortfall:
    Gould, Toint 2010, Mathematical Programming 122(1), 155-196.
    """
    slope_fn = jax.value_and_grad(response_fn)

    def improve(lane: Lane) -> Lane:
        z, slope, curvature = lane.z, lane.slope, lane.curvature
        low = jnp.maximum(problem.low, z - lane.radius)
        high = jnp.minimum(problem.high, z + lane.radius)
        found = least_cost(
            slope,
            (1.0 - curvature) * z,
            low,
            high,
            problem.target - lane.value + jnp.sum(slope * z),
            curvature=jnp.full_like(z, curvature),
        )
        reachable = found.status == 0
        price = jnp.where(reachable, found.price, 0.0)
        # a least change is clip(price * slope)
        residual = relative_distance(z, jnp.clip(price * slope, problem.low, problem.high))
        missing = problem.target - lane.value
        exact = jnp.abs(missing) <= tolerance * problem.gap
        done = reachable & (residual <= tolerance) & exact
        product = _product(response_fn, z, price)
        inner = _bend(product, z, slope, found.change, low, high, reachable)
        way = inner - z

        gained = jnp.maximum(missing, 0.0) - jnp.maximum(missing - jnp.sum(slope * way), 0.0)
        saved = -jnp.sum(z * way) - 0.5 * jnp.sum(way * product(way))
        needed = jnp.where(gained > 0, -saved / (0.7 * jnp.where(gained > 0, gained, 1.0)), 0.0)
        penalty = jnp.maximum(jnp.maximum(lane.penalty, needed), 1.5 * price)
        value, new_slope = slope_fn(inner)
        cost, new_short = 0.5 * jnp.sum(inner**2), jnp.maximum(problem.target - value, 0.0)
        before = lane.past_cost + penalty * lane.past_short
        slack = _ROUND_OFF * before
        ratio = (before - cost - penalty * new_short + slack) / (saved + penalty * gained + slack)
        good = (ratio > 1e-3) & (new_short <= lane.most_short)
        size = jnp.max(jnp.abs(way))
        wider = (ratio > 0.6) & (size > 0.9 * lane.radius)
        radius = jnp.where(wider, _GROW * lane.radius, lane.radius)
        radius = jnp.where((ratio >= 0.25) & (new_short <= lane.most_short), radius, _SHRINK * size)

        seen = _secant(way, way - price * (new_slope - slope), curvature)
        old = lane._replace(
            price=price, residual=residual, curvature=seen, radius=radius, penalty=penalty,
            done=done,
        )  # fmt: skip
        new = old._replace(
            z=inner,
            value=value,
            slope=new_slope,
            past_cost=_MEMORY * lane.past_cost + (1.0 - _MEMORY) * cost,
            past_short=_MEMORY * lane.past_short + (1.0 - _MEMORY) * new_short,
        )
        return _choose(good & ~done, new, old)

    return _repeat(improve, lane, num_rounds)


def relative_distance(z: Array, ideal: Array) -> Array:
    """Largest difference of two points relative to the size of the first."""
    size = jnp.max(jnp.abs(z))
    return jnp.max(jnp.abs(z - ideal)) / jnp.where(size > 0, size, 1.0)


def gain_ahead(problem: Problem, z: Array, value: Array, slope: Array) -> Array:
    """Gain that the linearised response still promises within the bounds, relative to the gain so
    far; 0 at a summit, and no summit of a concave response is higher by more."""
    corner = jnp.where(slope > 0, problem.high, problem.low)
    ahead, so_far = jnp.sum(slope * (corner - z)), value - (problem.target - problem.gap)
    return ahead / jnp.where(so_far > 0, so_far, 1.0)


def _product(response_fn: Response, z: Array, price: Array) -> Callable[[Array], Array]:
    """Product of the Hessian of the Lagrangian with a direction."""
    if z.size <= _DENSE_LEVERS:
        hessian = jax.hessian(response_fn)(z)
        return lambda way: way - price * (hessian @ way)
    slope_fn = jax.grad(response_fn)
    return lambda way: way - price * jax.jvp(slope_fn, (z,), (way,))[1]


def _bend(
    product: Callable[[Array], Array],
    z: Array,
    slope: Array,
    y: Array,
    low: Array,
    high: Array,
    reachable: Array,
) -> Array:
    """y after conjugate gradients among its free levers, at an unchanged linearised response; where
    the cost bends down it goes on to the bounds.

    Source: Steihaug 1983, SIAM Journal on Numerical Analysis 20(3), 626-637.
    """
    free = (y > low) & (y < high)
    normal = jnp.where(free, slope, 0.0)
    square = jnp.sum(normal**2)

    def project(v: Array) -> Array:
        v = jnp.where(free, v, 0.0)
        return v - normal * (jnp.sum(normal * v) / jnp.where(square > 0, square, 1.0))

    def step(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        total, way, left, size, live, down = state
        bent = project(product(way))
        curved = jnp.sum(way * bent)
        convex = curved > 1e-3 * jnp.sum(way**2)
        down = jnp.where(live & ~convex, way, down)
        live = live & convex
        length = jnp.where(live, size / jnp.where(live, curved, 1.0), 0.0)
        total, left = total + length * way, left - length * bent
        new = jnp.sum(left**2)
        live = live & (new > round_off)
        turn = jnp.where(live, new / jnp.where(size > 0, size, 1.0), 0.0)
        return total, left + turn * way, left, new, live, down

    none = jnp.zeros_like(z)
    uphill = z + product(y - z)
    left = -project(uphill)
    size, round_off = jnp.sum(left**2), 1e-20 * jnp.sum(jnp.where(free, uphill, 0.0) ** 2)
    state = (none, left, left, size, reachable & (size > round_off), none)
    total, *_, down = lax.fori_loop(0, min(z.size - 1, _NUM_PRODUCTS), step, state)
    y = _walk(y, total, low, high, 1.0)
    return _walk(y, down, low, high, jnp.inf)


def _walk(y: Array, way: Array, low: Array, high: Array, most: float) -> Array:
    """y + share * way, the share as large as the bounds allow and at most `most`."""
    moving = way != 0
    ends = jnp.where(way > 0, high, low)
    room = jnp.where(moving, (ends - y) / jnp.where(moving, way, 1.0), jnp.inf)
    share = jnp.minimum(jnp.min(room), most)
    return jnp.clip(y + jnp.where(moving, share, 0.0) * way, low, high)


def _secant(moved: Array, bent: Array, before: Array) -> Array:
    """Curvature along the last step; its size where it is negative."""
    size, along = jnp.sum(moved**2), jnp.sum(moved * bent)
    some = size > 0
    size = jnp.where(some, size, 1.0)
    across = jnp.sqrt(jnp.where(some, jnp.sum(bent**2), 1.0) / size)
    seen = jnp.where(along > 0, along / size, across)
    return jnp.clip(jnp.where(some & jnp.isfinite(seen), seen, before), *_CURVATURE_RANGE)


def _long_step(problem: Problem, slope: Array) -> Array:
    """Step along the slope that crosses the box ten times."""
    steepest = jnp.max(jnp.abs(slope))
    span = jnp.max(problem.high - problem.low)
    return 10.0 * span / jnp.where(steepest > 0, steepest, 1.0)


def _choose(which: Array, new: State, old: State) -> State:
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), new, old)


def _repeat(step: Callable[[State], State], state: State, num_rounds: ArrayLike) -> State:
    def go_on(carry: tuple[Array, State]) -> Array:
        return (carry[0] < num_rounds) & ~carry[1].done

    def once(carry: tuple[Array, State]) -> tuple[Array, State]:
        return carry[0] + 1, step(carry[1])

    return lax.while_loop(go_on, once, (jnp.asarray(0), state))[1]
