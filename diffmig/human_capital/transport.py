"""Transport in time and age along characteristics: h_t + h_tau = -nu h + f.

Arrays are [year, age, ...]: a row per step, a column per age cell, and any batch axes (component,
region, scenario) behind. A cohort crosses one cell per step, so that wear and source that are
constant on cells leave no discretisation error at all.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from diffmig.human_capital.cells import exponential_step, gauss_step
from diffmig.human_capital.loops import Grid, totals, trajectory


def transport(
    initial: Array,
    wear_rate: Array | float,
    source: Array,
    inflow: Array | float = 0.0,
    *,
    step: float = 1.0,
    offset: float = 0.0,
) -> Array:
    """Values at the ends of all steps for wear and source that are constant on cells.

    h_t + h_tau = -nu h + f on cells [m k, (m + 1) k) x [j k, (j + 1) k) of year and age

    The value of cell j belongs to those aged (j + offset) k exactly. With offset 0 they stay in one
    cell during a step; otherwise they pass from cell j to j + 1 inside it, and both parts are
    solved with their own wear and source.

    Args:
        initial: h at the first moment, [age, ...], > 0 not required.
        wear_rate: nu, 1/year, a scalar or [year, age, ...] with axes of size 1 where it is the
            same for all; may be negative.
        source: f, unit of h per year, [year, age, ...].
        inflow: h at age 0, a scalar or [year, ...], axes of size 1 allowed: of those who reach age
            `offset` k at the end of the step.
        step: k, years of one step and of one age cell.
        offset: in [0, 1).

    Returns:
        h, [year + 1, age, ...]; row 0 is `initial`, row m + 1 the end of step m. Values that leave
        the last age are gone.

    Raises:
        ValueError: shapes that do not fit, a dtype that is not floating, `step` <= 0, `offset`
            outside [0, 1).

    Notes:
        Exact up to round-off; linear in initial, source and inflow; differentiable in all arrays.

    Source: Vavilova, Ketova (2020), eq (3).
    """
    grid = _grid(initial, wear_rate, source, inflow, step, offset)
    return trajectory(step, offset, initial, grid)


def mid_values(
    nodes: Array, wear_rate: Array | float, source: Array, *, step: float = 1.0
) -> Array:
    """Values in the middle of every step: half a step from the values at its start.

    Args:
        nodes: from `transport` with offset 0, [year + 1, age, ...].
        wear_rate, source, step: as given to `transport`.

    Returns:
        h half a step after row m, [year, age, ...]: those of cell j, then aged (j + 1/2) k.

    Raises:
        ValueError: as `transport`.
    """
    rate = _grid(nodes[0], wear_rate, source, 0.0, step, 0.0).wear_rate
    half = 0.5 * step
    return exponential_step(nodes[:-1], jnp.broadcast_to(rate * half, source.shape), source, half)


def transport_totals(
    initial: Array,
    wear_rate: Array | float,
    source: Array,
    weight: Array,
    inflow: Array | float = 0.0,
    *,
    step: float = 1.0,
) -> Array:
    """Weighted sums over age in the middle of every step; nothing else is stored.

    H[m] = sum_j w[m, j] h[m + 1/2, j]

    Args:
        initial, wear_rate, source, inflow, step: as in `transport`, offset 0.
        weight: w, for example persons who take part, [year, age, ...], axes of size 1 where it is
            the same for all.

    Returns:
        H, [year, ...], unit of h times unit of w.

    Raises:
        ValueError: as `transport`.

    Notes:
        Differentiable; equal to summing `mid_values`, without the trajectory in memory.

    Source: Vavilova, Ketova (2020), eq (1).
    """
    grid = _grid(initial, wear_rate, source, inflow, step, 0.0)
    return totals(step, initial, grid, broadcast_axes("weight", weight, source.shape))


def transport_smooth(
    initial: Array,
    wear_rate_fn: Callable[[Array, Array], Array],
    source_fn: Callable[[Array, Array], Array],
    inflow_fn: Callable[[Array], Array] | None = None,
    *,
    num_steps: int,
    start: float = 0.0,
    step: float = 1.0,
    offset: float = 0.0,
    edges: Sequence[float] = (),
) -> Array:
    """Values at the ends of all steps for wear and source given as functions.

    I = k sum_g b_g(z) e^{-(Z_g - z (1 - x_g))} f(t + x_g k, tau + x_g k),  h+ = e^{-z} h + I

    on the 2 Gauss points x_g of every diagonal cell, with z the integral of nu over it, Z_g from
    x_g to its end, and b_g the weights exact for linear f under the mean decay. A cell that one of
    `edges` cuts is solved in two parts.

    Args:
        initial: h at `start` and ages (j + offset) step, [age, ...].
        wear_rate_fn: (t, tau) -> nu, 1/year; both arguments are arrays of one shape [age], and so
            is the result, or [age, ...] of `initial`, or with axes of size 1.
        source_fn: (t, tau) -> f, likewise.
        inflow_fn: t [] -> h at age 0, a scalar or [...]; None is 0.
        num_steps: how many.
        start: time of `initial`, years.
        step, offset: as in `transport`.
        edges: ages at which nu or f may jump, years, ascending; at least `step` apart.

    Returns:
        h, [num_steps + 1, age, ...].

    Raises:
        ValueError: as `transport`, or edges closer than `step`.

    Notes:
        Of order 4 in `step` where nu and f are smooth between edges; exact for constant nu and f
        linear along characteristics. Differentiable in what the functions close over, but not in
        `edges`.

    Source: exact solution of Vavilova, Ketova (2020), eq (3); quadrature of diffmig.
    """
    _check_steps(initial, step, offset)
    gaps = np.diff(np.asarray(edges, float))
    if (gaps < step * (1 - 1e-12)).any():
        raise ValueError(f"edges: expected ascending ages at least {step} apart, got {edges}")
    ages = (np.arange(initial.shape[0]) + offset) * step
    before = _parts(ages, edges, step)  # of a whole cell, from age j
    young = _parts(np.zeros(1), edges, offset * step)[0]  # of the newly born
    tail = initial.shape[1:]

    def solve(value: Array, time: Array, age: Array, length: np.ndarray) -> Array:
        if not length.any():
            return value
        return gauss_step(value, wear_rate_fn, source_fn, time, age, jnp.asarray(length))

    def body(value: Array, time: Array) -> tuple[Array, Array]:
        times = jnp.broadcast_to(time, ages.shape)
        cut = jnp.asarray(before)
        value = solve(value, times, jnp.asarray(ages), before)
        value = solve(value, times + cut, jnp.asarray(ages) + cut, step - before)
        born = time + step - offset * step
        fresh = jnp.zeros(tail) if inflow_fn is None else inflow_fn(born)
        fresh = jnp.broadcast_to(fresh, (1, *tail)).astype(initial.dtype)
        if offset:
            at, zero = born[None], jnp.zeros(1)
            fresh = solve(fresh, at, zero, young[None])
            rest = offset * step - young
            fresh = solve(fresh, at + young, zero + young, rest[None])
        after = jnp.concatenate([fresh, value[:-1]])
        return after, after

    times = start + step * jnp.arange(num_steps, dtype=initial.dtype)
    return jnp.concatenate([initial[None], lax.scan(body, initial, times)[1]])


def age_totals(
    solve_fn: Callable[[float], Array], *, step: float = 1.0, num_points: int = 6
) -> Array:
    """Integral over age at every node: H = int h dtau.

    H = k sum_q omega_q sum_j h(t, (j + x_q) k), with `num_points` Gauss points x_q in every cell

    Args:
        solve_fn: offset -> h [year + 1, age, ...], by `transport` or `transport_smooth`; its
            initial values must belong to the offset.
        step: k, years.
        num_points: Gauss points in a cell.

    Returns:
        H, [year + 1, ...], unit of h times years.

    Notes:
        Inside a cell h is smooth where data are constant on cells, so that 6 points reach
        round-off for wear of some percent a year.

    Source: Vavilova, Ketova (2020), eq (1).
    """
    points, weights = np.polynomial.legendre.leggauss(num_points)
    parts = [
        0.5 * step * weight * solve_fn(float(0.5 * (1 + point))).sum(axis=1)
        for point, weight in zip(points, weights, strict=True)
    ]
    return jax.tree.reduce(jnp.add, parts)


def _grid(
    initial: Array,
    wear_rate: Array | float,
    source: Array,
    inflow: Array | float,
    step: float,
    offset: float,
) -> Grid:
    _check_steps(initial, step, offset)
    if source.shape[1:] != initial.shape or source.ndim < 2 or not source.shape[0]:
        raise ValueError(
            f"source: expected [year, {', '.join(map(str, initial.shape))}] like initial, got "
            f"shape {source.shape}"
        )
    if source.dtype != initial.dtype:
        raise ValueError(f"source: expected {initial.dtype} as initial, got {source.dtype}")
    cast = partial(jnp.asarray, dtype=initial.dtype)
    wear_rate = broadcast_axes("wear_rate", cast(wear_rate), source.shape)
    born = broadcast_axes("inflow", cast(inflow), (source.shape[0], *initial.shape[1:]))
    born = jnp.broadcast_to(born, (source.shape[0], *initial.shape[1:]))
    return Grid(wear_rate, source, born)


def broadcast_axes(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """`array` with one axis for each of `shape`, of its size or of size 1."""
    if array.ndim == 0:
        return array.reshape((1,) * len(shape))
    fits = array.ndim == len(shape) and all(
        have in (1, want) for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name}: expected a scalar or shape {shape} with axes of size 1 where it is the same "
            f"for all, got shape {array.shape}"
        )
    return array


def _check_steps(initial: Array, step: float, offset: float) -> None:
    if initial.ndim < 1 or not initial.shape[0] or not jnp.issubdtype(initial.dtype, jnp.floating):
        raise ValueError(
            f"initial: expected floating [age, ...], got {initial.dtype} of shape {initial.shape}"
        )
    if not step > 0 or not 0 <= offset < 1:
        raise ValueError(f"expected step > 0 and offset in [0, 1), got {step} and {offset}")


def _parts(ages: np.ndarray, edges: Sequence[float], step: float) -> np.ndarray:
    """Years from each age to the edge inside the step, [age]; the whole step where there is none.

    Edges at the ends of a step cut nothing; distances below 1e-9 steps count as round-off.
    """
    length = np.full(ages.shape, step)
    for edge in edges:
        distance = edge - ages
        inside = (distance > 1e-9 * step) & (distance < step * (1 - 1e-9))
        length = np.where(inside, distance, length)
    return length
