"""The inverse question: by how much must which levers change for a response to reach a target."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import batched
from diffmig.explain import _change_search as search
from diffmig.explain.least_cost import least_cost

CHANGE_STATUS = (
    "reached",
    "cannot be reached within the bounds",
    "rounds exhausted",
    "response not finite",
)

NUM_ROUNDS = 100
# Rounds after which searches that are done make room for the others: half of them are by then.
_CLIMB_TURNS = (20,)
_DESCENT_TURNS = (4, 4, 8)
# Shares of the way to a summit, and of the step along the gradient, at which the response is tried.
_RAY = np.linspace(0.0, 1.0, 7)
_PATH = np.concatenate([[0.0], 2.0 ** np.arange(-1.0, 5.0)])
_ROUND_OFF = 1e-14
_SAME = 1e-3  # of the widest bounds: starts closer than this count as one
_AT_BOUND = 1e-9  # of the room of a lever


class LeastChange(NamedTuple):
    """Smallest change of levers that reaches a target, with its certificates.

    Attributes:
        change: of the levers, their shape and unit.
        response: what the change attains, by a forward run.
        best: greatest response found within the bounds (least, where `equal` asks for a decrease);
            where it lies beyond the target it is known to about 1e-4 of the gain.
        cost: 1/2 sum (change / scale)^2.
        price: cost of a unit of target at the margin, d cost / d target; inf where it cannot be
            reached.
        active: int8, shape of the levers: -1 at the low bound, 1 at the high bound, 0 between; a
            frozen lever shows the side it presses against.
        residual: distance from the conditions of a least change, relative to the largest lever in
            units of scale; where the target cannot be reached, the gain that the linearised
            response still promises, relative to the gain attained.
        status: int8, index into `CHANGE_STATUS`.
    """

    change: Array
    response: Array
    best: Array
    cost: Array
    price: Array
    active: Array
    residual: Array
    status: Array


def least_change(
    response_fn: Callable[[Array], Array],
    scale: Array,
    low: Array,
    high: Array,
    target: ArrayLike,
    *,
    equal: bool = False,
    num_rounds: int = NUM_ROUNDS,
    tolerance: float = 1e-8,
) -> LeastChange:
    """The smallest change of levers that brings a response to its target.

    minimise 1/2 sum_i (x_i / scale_i)^2  with  response(x) >= target,  low <= x <= high
    at a solution  x_i / scale_i = clip(price * scale_i * d response / d x_i, bounds / scale_i)

    Three searches for the greatest response go first: from no change and from the corners of
    greatest linear gain and loss. They say what can be reached. Then four searches for the least
    cost start where the target is first met: on the rays to the three summits and on the way along
    the gradient. The cheapest feasible answer counts.

    Args:
        response_fn: change x -> response, []; smooth; any baseline.
        scale: what counts as a unit of change of each lever, > 0, shape of the levers.
        low, high: bounds of the change, finite, low <= 0 <= high, shape of the levers; low = high
            = 0 freezes a lever, low = 0 lets it go up only.
        target: response to reach, its unit.
        equal: response == target: a target below response(0) is then reached from above. Without
            it such a target costs nothing. Otherwise the two are one: a least change to reach more
            ends exactly at the target.
        num_rounds: of every search; each takes one value and gradient, and the downward ones
            products with the second derivative.
        tolerance: of `residual`, and shortfall relative to target - response(0) that counts as
            reached.

    Returns:
        LeastChange. The levers may have any shape: for a group of towns [town, factor] and a
        response summed over towns, or one [factor] added to all of them.

    Raises:
        ValueError: shapes, scale or bounds, as far as they are known before tracing.

    Notes:
        Runs under jit and vmap. By reverse mode it is not differentiable; the derivative of the
        cost by the target is `price`. Searches are local: with several valleys a cheaper change or
        a greater response may exist than those found.

    Source: sequential quadratic programming in a trust region, see `_change_search.descend`;
    Nocedal, Wright 2006, Numerical Optimization, chapter 18.
    """
    _check(scale, low, high, target, many=False)

    @jax.jit
    def solve(scale: Array, low: Array, high: Array, target: ArrayLike) -> LeastChange:
        problem = _problem(response_fn, scale, low, high, target, equal=equal)
        fn = _upward(response_fn, problem)
        climbs = _climbs(fn, problem)
        climbs = jax.vmap(lambda s: search.climb(fn, problem, s, num_rounds, tolerance))(climbs)
        lanes = _lanes(fn, problem, climbs)
        lanes = jax.vmap(lambda s: search.descend(fn, problem, s, num_rounds, tolerance))(lanes)
        return _answer(fn, problem, climbs, lanes, low, high, tolerance)

    return solve(scale, low, high, target)


def least_changes(
    response_fn: Callable[[Array, Any], Array],
    contexts: Any,
    scale: Array,
    low: Array,
    high: Array,
    targets: Array,
    *,
    equal: bool = False,
    num_rounds: int = NUM_ROUNDS,
    tolerance: float = 1e-8,
    block: int | None = 128,
    mesh: Mesh | None = None,
) -> LeastChange:
    """`least_change` of many places, each with its own response, levers, bounds and target.

    Args:
        response_fn: (change, context of one place) -> response, [].
        contexts: pytree of what differs between places (parameters, factors), leaves [place, ...].
        scale, low, high: [place, ...], as in `least_change`.
        targets: [place].
        equal, num_rounds, tolerance: as in `least_change`.
        block: searches, up to four a place, that run side by side; None runs all at once, which
            takes about twice as long.
        mesh: devices that share the searches.

    Returns:
        LeastChange, leaves [place, ...]; equal to `least_change` place by place.

    Raises:
        ValueError: as `least_change`; leading axes that differ.

    Notes:
        Searches that run side by side take as many rounds as the slowest of them: all run a few
        rounds, then those that are not done go on in blocks of their own.
    """
    _check(scale, low, high, targets, many=True)
    share = partial(batched, block=block, mesh=mesh)

    def of_place(fn: Callable[..., Any]) -> Callable[[Any], Any]:
        """`fn` of response, problem and more, as a function of one place."""

        def call(place: tuple[Any, ...]) -> Any:
            context, problem, *more = place
            return fn(_upward(lambda x: response_fn(x, context), problem), problem, *more)

        return call

    problems = share(
        lambda p: _problem(lambda x: response_fn(x, p[0]), *p[1:], equal=equal),
        (contexts, scale, low, high, targets),
    )
    places = (contexts, problems)

    def run(method: Callable[..., Any], states: Any, turns: tuple[int, ...]) -> Any:
        def turn(states: Any, num_rounds: Array) -> tuple[Any, None]:
            one = of_place(partial(method, num_rounds=num_rounds, tolerance=tolerance))
            states = _undone_first(partial(share, one), places, states, mesh)
            return share(lambda x: _without_twins(*x), (problems, states)), None

        rounds = np.diff(np.minimum([0, *np.cumsum(turns), num_rounds], num_rounds))
        return lax.scan(turn, states, jnp.asarray(rounds))[0]

    climbs = run(search.climb, share(of_place(_climbs), places), _CLIMB_TURNS)
    lanes = run(search.descend, share(of_place(_lanes), (*places, climbs)), _DESCENT_TURNS)
    answer = of_place(partial(_answer, tolerance=tolerance))
    return share(answer, (*places, climbs, lanes, low, high))


def _check(scale: Array, low: Array, high: Array, target: ArrayLike, *, many: bool) -> None:
    shape = scale.shape
    if not shape == low.shape == high.shape or np.shape(target) != shape[: int(many)]:
        raise ValueError(
            f"expected scale, low, high of one shape and {'a target for every' if many else 'one'} "
            f"{'place in front' if many else 'target'}, got {shape}, {low.shape}, {high.shape} and "
            f"target {np.shape(target)}"
        )
    if any(isinstance(x, jax.core.Tracer) for x in (scale, low, high, target)):
        return
    scales, lows, highs = (np.asarray(x) for x in (scale, low, high))
    if not (scales > 0).all() or not np.isfinite(scales).all():
        raise ValueError("scale: expected finite values > 0; freeze a lever by low = high = 0")
    if not ((lows <= 0) & (highs >= 0) & np.isfinite(lows) & np.isfinite(highs)).all():
        raise ValueError(
            "low, high: expected finite low <= 0 <= high, so that no change is allowed; `room` "
            "makes such bounds"
        )
    if not np.isfinite(np.asarray(target)).all():
        raise ValueError("target: expected a finite value")


def _problem(
    response_fn: Callable[[Array], Array],
    scale: Array,
    low: Array,
    high: Array,
    target: ArrayLike,
    *,
    equal: bool,
) -> search.Problem:
    """The problem in units of scale, turned so that more response is asked for."""
    target = jnp.asarray(target, scale.dtype)
    shape = jax.eval_shape(response_fn, scale).shape
    if shape:
        raise ValueError(
            f"response_fn: expected one number, got shape {shape}; take the sum or the mean "
            "for a group, or least_changes for places with levers of their own"
        )
    value, slope = jax.value_and_grad(response_fn)(jnp.zeros_like(scale))
    sign = jnp.where(equal & (target < value), -1.0, 1.0).astype(scale.dtype)
    gap = sign * (target - value)
    # a difference below the round-off of what the levers do is none
    reach = jnp.sum(jnp.abs(slope) * jnp.maximum(high, -low))
    gap = jnp.where(gap > _ROUND_OFF * reach, gap, jnp.minimum(gap, 0.0))
    return search.Problem(
        scale=scale,
        sign=sign,
        low=(low / scale).ravel(),
        high=(high / scale).ravel(),
        target=sign * target,
        gap=gap,
    )


def _upward(response_fn: Callable[[Array], Array], problem: search.Problem) -> search.Response:
    """Response to levers in units of scale, [lever]."""
    scale = problem.scale
    return lambda z: problem.sign * response_fn(z.reshape(scale.shape) * scale)


def _climbs(fn: search.Response, problem: search.Problem) -> search.Climb:
    """Climbs from no change and from the corners of greatest linear gain and loss, [start, ...]."""
    zero = jnp.zeros_like(problem.low)
    slope = jax.grad(fn)(zero)
    gain = jnp.where(slope > 0, problem.high, jnp.where(slope < 0, problem.low, 0.0))
    loss = jnp.where(slope < 0, problem.high, jnp.where(slope > 0, problem.low, 0.0))
    starts = jnp.stack([zero, gain, loss])
    return jax.vmap(lambda z: search.begin_climb(fn, problem, z))(starts)


def _lanes(fn: search.Response, problem: search.Problem, climbs: search.Climb) -> search.Lane:
    """Searches from the rays to the summits and from the path along the gradient, [start, ...]."""
    zero = jnp.zeros_like(problem.low)
    slope = jax.grad(fn)(zero)
    steepest = jnp.sum(slope**2)
    step = jnp.maximum(problem.gap, 0.0) / jnp.where(steepest > 0, steepest, 1.0)
    path = jnp.clip(
        (step * jnp.asarray(_PATH, slope.dtype))[:, None] * slope[None],
        problem.low[None],
        problem.high[None],
    )
    rays = climbs.z[:, None] * jnp.asarray(_RAY, slope.dtype)[None, :, None]
    starts, met = jax.vmap(lambda points: _first_met(fn, problem.target, points))(
        jnp.concatenate([rays, path[None]])
    )
    lanes = jax.vmap(lambda z: search.begin_lane(fn, problem, z))(starts)
    lanes = lanes._replace(done=lanes.done | ~jnp.any(met))
    return _without_twins(problem, lanes)


def _without_twins(problem: search.Problem, states: Any) -> Any:
    """Searches [start, ...], done where one before them is at the same point: it would find the
    same."""
    apart = jnp.max(jnp.abs(states.z[:, None] - states.z[None]), axis=-1)
    near = apart < _SAME * jnp.max(problem.high - problem.low)
    twin = jnp.any(jnp.tril(near, -1), axis=1)
    return states._replace(done=states.done | twin)


def _first_met(fn: search.Response, target: Array, points: Array) -> tuple[Array, Array]:
    """Where a polygon of points [point, lever] first meets the target, by linear interpolation, or
    its best point; and whether it does."""
    values = jax.vmap(fn)(points)
    met = values >= target
    first = jnp.where(jnp.any(met), jnp.argmax(met), jnp.argmax(values))
    before = jnp.maximum(first - 1, 0)
    rise = values[first] - values[before]
    share = jnp.where(rise > 0, (target - values[before]) / jnp.where(rise > 0, rise, 1.0), 1.0)
    share = jnp.clip(share, 0.0, 1.0)
    return points[before] + share * (points[first] - points[before]), jnp.any(met)


def _undone_first(share: Callable[[Any], Any], places: Any, states: Any, mesh: Mesh | None) -> Any:
    """Searches [place, start, ...] in an order in which blocks of done ones take no time."""
    num_places, num_starts = states.done.shape
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), states)
    order = jnp.argsort(flat.done)
    if mesh is not None:  # every device gets its part of the undone
        order = order[np.argsort(np.arange(order.size) % mesh.size, kind="stable")]
    given = jax.tree.map(lambda x: x[order // num_starts], places)
    found = share((*given, jax.tree.map(lambda x: x[order], flat)))
    back = jnp.argsort(order)
    return jax.tree.map(lambda x: x[back].reshape(num_places, num_starts, *x.shape[1:]), found)


def _answer(
    fn: search.Response,
    problem: search.Problem,
    climbs: search.Climb,
    lanes: search.Lane,
    low: Array,
    high: Array,
    tolerance: float,
) -> LeastChange:
    """The cheapest feasible lane, the greatest response where there is none, and certificates."""
    slopes = jnp.concatenate([climbs.slope, lanes.slope])
    slopes = jnp.where(jnp.isfinite(slopes), slopes, 0.0)
    reach = jnp.max(jnp.abs(slopes) @ jnp.maximum(problem.high, -problem.low))
    # nor can a response be told from a target to which its round-off comes in the way
    slack = tolerance * jnp.abs(problem.gap) + _ROUND_OFF * reach
    values = jnp.concatenate([climbs.value, lanes.value])
    values = jnp.where(jnp.isfinite(values), values, -jnp.inf)
    points = jnp.concatenate([climbs.z, lanes.z])
    feasible = values >= problem.target - slack
    # of two answers that are equal but for round-off the certified one
    settled = jnp.concatenate([jnp.zeros_like(climbs.done), lanes.residual <= tolerance])
    costs = 0.5 * jnp.sum(points**2, axis=1) * jnp.where(settled, 1.0, 1.0 + 1e-6)
    chosen = jnp.where(
        jnp.any(feasible), jnp.argmin(jnp.where(feasible, costs, jnp.inf)), jnp.argmax(values)
    )
    idle = problem.gap <= 0
    change = jnp.where(idle, 0.0, points[chosen]).reshape(problem.scale.shape) * problem.scale
    change = jnp.clip(change, low, high)
    z = (change / problem.scale).ravel()
    value, slope = jax.value_and_grad(fn)(z)
    reached = idle | (value >= problem.target - slack)

    linear = least_cost(
        slope, jnp.zeros_like(z), problem.low, problem.high, slope @ z, curvature=jnp.ones_like(z)
    )
    residual = jnp.where(
        reached,
        search.relative_distance(z, linear.change),
        search.gain_ahead(problem, z, value, slope),
    )
    residual = jnp.where(idle, 0.0, residual)
    status = jnp.where(reached, jnp.where(residual <= 10.0 * tolerance, 0, 2), 1)
    return LeastChange(
        change=change,
        response=problem.sign * value,
        best=problem.sign * jnp.maximum(jnp.max(values), value),
        cost=0.5 * jnp.sum(z**2),
        price=jnp.where(idle, 0.0, jnp.where(reached, problem.sign * linear.price, jnp.inf)),
        active=_active(z, slope, problem).reshape(change.shape),
        residual=residual,
        status=jnp.where(jnp.isfinite(value), status, 3).astype(jnp.int8),
    )


def _active(z: Array, slope: Array, problem: search.Problem) -> Array:
    near = _AT_BOUND * (problem.high - problem.low)
    low, high = z <= problem.low + near, z >= problem.high - near
    side = jnp.where(high, 1, jnp.where(low, -1, 0))
    pressed = jnp.where(slope < 0, -1, 1)
    return jnp.where(low & high, pressed, side).astype(jnp.int8)
