"""The cheapest change of many levers that reaches a target, where the response is linear."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

PATH_STATUS = ("reached", "cannot be reached within the bounds")
_FEW_LEVERS = 16  # up to here all prices are tried side by side


class LeastCost(NamedTuple):
    """Cheapest change of levers.

    Attributes:
        change: x, shape of the levers.
        cost: sum of cost x + curvature x^2 / 2, [].
        gain: gradient' x, [].
        price: of a unit of gain at the margin, cost per gain, [].
        status: int8, index into `PATH_STATUS`; where the target cannot be reached, `change` is the
            one with the largest gain.
    """

    change: Array
    cost: Array
    gain: Array
    price: Array
    status: Array


def least_cost(
    gradient: Array,
    cost: Array,
    low: Array,
    high: Array,
    needed: ArrayLike,
    *,
    curvature: Array | None = None,
) -> LeastCost:
    """The change x of least cost with gradient' x >= needed and low <= x <= high.

    minimise sum_i c_i x_i + q_i x_i^2 / 2;  x_i = clip((lambda g_i - c_i) / q_i, low_i, high_i)

    Without curvature it is a linear programme with one constraint: levers go to their better bound
    in the order of their cost per gain, and the last of them part of the way.

    Args:
        gradient: g, response per unit of each lever, any shape.
        cost: c, of a unit of each lever, same shape.
        low, high: bounds of the change, same shape, finite, low <= high.
        needed: gain to reach.
        curvature: q > 0, makes large changes of one lever dear; None is 0.

    Returns:
        LeastCost.

    Raises:
        ValueError: shapes that differ.

    Notes:
        Differentiable almost everywhere in gradient, cost, bounds and `needed`.

    Source: Lagrange multiplier of one constraint; Dantzig (1957), Discrete-variable extremum
    problems, Operations Research 5(2), for the linear case.
    """
    arrays = [gradient, cost, low, high] + ([] if curvature is None else [curvature])
    if len({array.shape for array in arrays}) != 1:
        raise ValueError(f"expected arrays of one shape, got {[a.shape for a in arrays]}")
    return _cheapest(gradient, cost, low, high, needed, curvature)


@jax.jit
def _cheapest(
    gradient: Array,
    cost: Array,
    low: Array,
    high: Array,
    needed: ArrayLike,
    curvature: Array | None,
) -> LeastCost:
    arrays = [gradient, cost, low, high] + ([] if curvature is None else [curvature])
    shape = gradient.shape
    g, c, low, high, *rest = (array.ravel() for array in arrays)
    needed = jnp.asarray(needed, g.dtype)
    best = jnp.where(g > 0, high, low)
    reachable = g @ best >= needed
    solve = _linear if curvature is None else _quadratic
    x, price = solve(g, c, low, high, needed, *rest)
    x = jnp.where(reachable, x, best)
    squares = 0.0 if curvature is None else 0.5 * jnp.sum(rest[0] * x**2)
    return LeastCost(
        change=x.reshape(shape),
        cost=c @ x + squares,
        gain=g @ x,
        price=jnp.where(reachable, price, jnp.inf),
        status=jnp.where(reachable, 0, 1).astype(jnp.int8),
    )


def _linear(g: Array, c: Array, low: Array, high: Array, needed: Array) -> tuple[Array, Array]:
    """Levers from their cheap bound towards the bound of more gain, cheapest gain first."""
    cheap = jnp.where(c >= 0, low, high)
    better = jnp.where(g > 0, high, low)
    step_gain = g * (better - cheap)  # >= 0
    step_cost = c * (better - cheap)
    useful = step_gain > 0
    ratio = jnp.where(useful, step_cost / jnp.where(useful, step_gain, 1.0), jnp.inf)
    order = jnp.argsort(lax.stop_gradient(ratio))
    gains = jnp.where(useful, step_gain, 0.0)[order]
    before = jnp.cumsum(gains) - gains
    missing = needed - g @ cheap - before
    taken = jnp.clip(missing / jnp.where(gains > 0, gains, 1.0), 0.0, 1.0)
    share = jnp.zeros_like(g).at[order].set(jnp.where(gains > 0, taken, 0.0))
    last = jnp.max(jnp.where(share > 0, ratio, 0.0))
    return cheap + share * (better - cheap), last


def _quadratic(
    g: Array, c: Array, low: Array, high: Array, needed: Array, q: Array
) -> tuple[Array, Array]:
    """Of the prices at which a lever meets a bound the two around the answer, then one exact step
    among the levers that are free between them."""

    def levers(price: Array) -> Array:
        return jnp.clip((price * g - c) / q, low, high)

    moving = g != 0
    per_price = jnp.where(moving, g, 1.0)
    ends = [jnp.where(moving, (c + q * bound) / per_price, 0.0) for bound in (low, high)]
    prices = lax.stop_gradient(jnp.maximum(jnp.concatenate(ends), 0.0))
    around = _all_at_once if g.size <= _FEW_LEVERS else _by_halving
    left, right = around(lambda price: g @ levers(price), prices, needed)
    # the two say which levers are free; the step below carries the derivatives
    zero = jnp.zeros_like(left)
    price = jnp.where(g @ levers(zero) >= needed, zero, 0.5 * (left + right))
    price = lax.stop_gradient(price)
    inner = (price * g - c) / q
    free = (inner > low) & (inner < high) & (price > 0)
    slope = jnp.sum(jnp.where(free, g * g / q, 0.0))
    exact = jnp.where(
        slope > 0, (needed - g @ levers(price)) / jnp.where(slope > 0, slope, 1.0), 0.0
    )
    price = price + jnp.where(price > 0, exact, 0.0)
    return levers(price), price


def _all_at_once(
    gain: Callable[[Array], Array], prices: Array, needed: Array
) -> tuple[Array, Array]:
    """Neighbouring prices around the first whose gain is enough."""
    enough = jax.vmap(gain)(prices) >= needed
    left = jnp.max(jnp.where(enough, 0.0, prices))
    return left, jnp.min(jnp.where(enough, prices, jnp.max(prices)))


def _by_halving(
    gain: Callable[[Array], Array], prices: Array, needed: Array
) -> tuple[Array, Array]:
    """The same for many prices: the gain does not fall with the price."""
    ordered = jnp.concatenate([jnp.zeros_like(prices[:1]), jnp.sort(prices)])

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        left, right = bounds
        middle = (left + right) // 2
        enough = gain(ordered[middle]) >= needed
        return jnp.where(enough, left, middle), jnp.where(enough, middle, right)

    last = ordered.size - 1
    bounds = (jnp.asarray(0), jnp.asarray(last))
    left, right = lax.fori_loop(0, last.bit_length(), halve, bounds)
    return ordered[left], ordered[right]
