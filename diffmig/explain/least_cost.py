"""The cheapest change of many levers that reaches a target, where the response is linear."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

PATH_STATUS = ("reached", "cannot be reached within the bounds")
_NUM_BISECTIONS = 200


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
    """Bisection for the multiplier, then one exact step among the levers that are free."""

    def levers(price: Array) -> Array:
        return jnp.clip((price * g - c) / q, low, high)

    # beyond this price every lever stands at its better bound
    moving = g != 0
    ends = jnp.where(moving, (c + q * jnp.where(g > 0, high, low)) / jnp.where(moving, g, 1.0), 0.0)
    top = jnp.maximum(jnp.max(ends), 0.0)

    def halve(bounds: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        left, right = bounds
        middle = 0.5 * (left + right)
        enough = g @ levers(middle) >= needed
        return (jnp.where(enough, left, middle), jnp.where(enough, middle, right)), None

    zero = jnp.zeros_like(top)
    (_, price), _ = lax.scan(halve, (zero, lax.stop_gradient(top)), None, length=_NUM_BISECTIONS)
    # the bisection finds which levers are free; the step below carries the derivatives
    price = lax.stop_gradient(jnp.where(g @ levers(zero) >= needed, 0.0, price))
    inner = (price * g - c) / q
    free = (inner > low) & (inner < high) & (price > 0)
    slope = jnp.sum(jnp.where(free, g * g / q, 0.0))
    exact = jnp.where(
        slope > 0, (needed - g @ levers(price)) / jnp.where(slope > 0, slope, 1.0), 0.0
    )
    price = price + jnp.where(price > 0, exact, 0.0)
    return levers(price), price
