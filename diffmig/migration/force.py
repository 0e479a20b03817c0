"""External force as a function of time: steps, splines, networks, models of measured factors.

A force function maps times [time] to forces [..., town, time]. `force_at_nodes` evaluates it where
`propagate` wants it.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.migration.bsplines import bspline_basis, spline_force
from diffmig.migration.modes import NUM_NODES, node_times

ForceFn = Callable[[np.ndarray], Array]


def force_at_nodes(
    force_fn: ForceFn, num_steps: int, step: float = 1.0, *, num_nodes: int = NUM_NODES
) -> Array:
    """Force at the Gauss nodes of every step, as `propagate` takes it.

    Args:
        force_fn: times [time] -> f, [..., town, time]. It sees NumPy times.
        num_steps: how many.
        step: years.
        num_nodes: in a step.

    Returns:
        f, [..., town, step, node].

    Raises:
        ValueError: `force_fn` returns another number of times.
    """
    times = node_times(num_steps, step, num_nodes).reshape(-1)
    force = force_fn(times)
    if jnp.ndim(force) < 2 or force.shape[-1] != times.size:
        raise ValueError(
            f"force_fn: expected [..., town, {times.size}] for {times.size} times, got "
            f"{jnp.shape(force)}"
        )
    return force.reshape((*force.shape[:-1], num_steps, num_nodes))


def step_force(force: Array, *, start: float = 0.0, step: float = 1.0) -> ForceFn:
    """Force function that keeps yearly values within their years.

    f(t) = force[..., floor((t - start) / step)], the first and the last value beyond the ends

    Args:
        force: of years, for example from a regression on yearly factors, [..., town, year].
        start: time at which the first year begins, years.
        step: length of a year's interval, years.

    Returns:
        Force function.
    """

    def at(time: np.ndarray) -> Array:
        # the round-off of a year's first moment must not move it into the year before
        row = np.floor((np.asarray(time) - start) / step + 1e-9).astype(int)
        return force[..., np.clip(row, 0, force.shape[-1] - 1)]

    return at


def spline_force_fn(coefficients: Array, knots: np.ndarray, degree: int = 3) -> ForceFn:
    """Force function of a spline.

    Args:
        coefficients: unit of the force, [..., town, basis].
        knots: ascending, [basis + degree + 1], see `uniform_knots`.
        degree: 3 is cubic.

    Returns:
        Force function, for times within the domain of the spline.
    """
    return lambda time: spline_force(coefficients, bspline_basis(time, knots, degree))


def network_force(
    apply_fn: Callable[[Any, Array], Array], weights: Any, start: float, stop: float
) -> ForceFn:
    """Force function of a network with one input, time, and one output per town.

    f(t) = net(u),  u = 2 (t - start) / (stop - start) - 1

    Args:
        apply_fn: (weights, inputs [time, 1]) -> [time, town].
        weights: of the network; their floating type decides that of the inputs.
        start, stop: years that u = -1 and u = 1 stand for.

    Returns:
        Force function.

    Raises:
        ValueError: stop <= start.
    """
    if not stop > start:
        raise ValueError(f"expected start < stop, got {start} and {stop}")

    def at(time: ArrayLike) -> Array:
        u = 2.0 * (jnp.asarray(time) - start) / (stop - start) - 1.0
        return apply_fn(weights, u[:, None]).T

    return at


def feature_force(
    features: Array, model_fn: Callable[[Array], Array], remainder: Array | None = None
) -> Array:
    """Force from measured factors: f_i(t) = h(x_i(t)) + remainder.

    Args:
        features: x, [..., town, time, factor].
        model_fn: h, rows [row, factor] -> [row]; for a linear model `lambda x: x @ beta`.
        remainder: what the factors do not explain, [..., town, time]; None: nothing.

    Returns:
        f, [..., town, time].

    Raises:
        ValueError: `model_fn` does not return one number per row, or shapes that differ.
    """
    shape = features.shape[:-1]
    force = model_fn(features.reshape((-1, features.shape[-1])))
    if force.shape != (int(np.prod(shape)),):
        raise ValueError(
            f"model_fn: expected [{int(np.prod(shape))}] for as many rows, got {force.shape}"
        )
    force = force.reshape(shape)
    if remainder is None:
        return force
    if remainder.shape != shape:
        raise ValueError(f"remainder: expected {shape} as the features, got {remainder.shape}")
    return force + remainder
