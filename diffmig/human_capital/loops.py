"""Loops of `transport` over cells that are constant: as fast as memory in both directions.

Values run in the order that writes and sums least, derivatives in the order of the years: reverse
mode through rows in place, or through ages picked out of the source, would copy or add up the whole
array at every step. Both orders are the same arithmetic; `jax.custom_jvp` joins them, so that
forward, reverse and higher derivatives hold.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero

from diffmig.human_capital.cells import phi1

_UNROLL = 4  # ages of one round of the loop over ages


class Grid(NamedTuple):
    """Data of cells; axes of size 1 where the same for all.

    Attributes:
        wear_rate: nu, [year or 1, age or 1, ...].
        source: f, [year, age, ...].
        inflow: h of those who enter the first age at the end of a step, [year, ...].
    """

    wear_rate: Array
    source: Array
    inflow: Array


def _live_jvp(
    function: Callable[..., Array], primals: tuple, tangents: tuple
) -> tuple[Array, Array]:
    """`jax.jvp` in the arrays that move; the others cost nothing."""
    flat, tree = jax.tree.flatten(primals)
    moves = jax.tree.leaves(tangents, is_leaf=lambda t: isinstance(t, SymbolicZero))
    live = [i for i, t in enumerate(moves) if not isinstance(t, SymbolicZero)]

    def of_live(*values: Array) -> Array:
        whole = list(flat)
        for i, value in zip(live, values, strict=True):
            whole[i] = value
        return function(*jax.tree.unflatten(tree, whole))

    return jax.jvp(of_live, [flat[i] for i in live], [moves[i] for i in live])


class _Row(NamedTuple):
    """What one year reads."""

    wear_rate: Array | None  # None where the same in all years
    source: Array
    inflow: Array


def coefficients(wear_rate: Array, length: float) -> tuple[Array, Array]:
    """e^{-z} and k phi1(z) of a piece of `length` k."""
    wear = wear_rate * length
    return jnp.exp(-wear), length * phi1(wear)


class _Years:
    """The loop over years: coefficients that hold in all of them are made once.

    `differentiated`: of full shape, so that their derivatives add up without a sum over an axis in
    every year; values alone are faster with fewer numbers to read.
    """

    def __init__(self, grid: Grid, lengths: tuple[float, ...], differentiated: bool) -> None:
        wear_rate, years = grid.wear_rate, grid.source.shape[0]
        changing = wear_rate.shape[0] == years > 1
        self.rows = _Row(wear_rate if changing else None, grid.source, grid.inflow)
        self._constant: dict[float, tuple[Array, Array]] | None = None
        if not changing:
            shape = grid.source.shape[1:] if differentiated else wear_rate.shape[1:]
            self._constant = {}
            for length in lengths:
                decay, growth = coefficients(wear_rate[0], length)
                self._constant[length] = (
                    jnp.broadcast_to(decay, shape),
                    jnp.broadcast_to(growth, shape),
                )

    def through(self, value: Array, row: _Row, length: float) -> Array:
        """e^{-z} h + k phi1(z) f over a part of the cell."""
        if self._constant is not None:
            decay, growth = self._constant[length]
        else:
            assert row.wear_rate is not None
            decay, growth = coefficients(row.wear_rate, length)
        return decay * value + growth * row.source


def _cross(years: _Years, value: Array, row: _Row, first: float, second: float) -> Array:
    """Values one step later: through the cell, into the next one, and on to the offset."""
    value = years.through(value, row, first)
    value = jnp.concatenate([row.inflow[None], value[:-1]])
    return years.through(value, row, second) if second else value


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def trajectory(step: float, offset: float, initial: Array, grid: Grid) -> Array:
    """`transport`, each row written into its place; the stacked rows of a scan would be copied."""
    parts = ((1.0 - offset) * step, offset * step)
    years = _Years(grid, parts, differentiated=False)
    num_years = grid.source.shape[0]
    empty = jnp.zeros((num_years + 1, *initial.shape), initial.dtype)

    def body(out: Array, at: tuple[Array, _Row]) -> tuple[Array, None]:
        year, row = at
        value = lax.dynamic_index_in_dim(out, year, keepdims=False)
        after = _cross(years, value, row, *parts)
        return lax.dynamic_update_index_in_dim(out, after, year + 1, 0), None

    return lax.scan(body, empty.at[0].set(initial), (jnp.arange(num_years), years.rows))[0]


@partial(trajectory.defjvp, symbolic_zeros=True)
def _trajectory_jvp(step: float, offset: float, primals: tuple, tangents: tuple) -> tuple:
    parts = ((1.0 - offset) * step, offset * step)

    def by_year(initial: Array, grid: Grid) -> Array:
        years = _Years(grid, parts, differentiated=True)

        def body(value: Array, row: _Row) -> tuple[Array, Array]:
            after = _cross(years, value, row, *parts)
            return after, after

        return jnp.concatenate([initial[None], lax.scan(body, initial, years.rows)[1]])

    return _live_jvp(by_year, primals, tangents)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def totals(step: float, initial: Array, grid: Grid, weight: Array) -> Array:
    """`transport_totals`, age by age: all years of one age at a time need no sum over an axis."""
    num_ages = grid.source.shape[1]
    lengths = (0.5 * step, step)

    def at(array: Array, age: Array) -> Array:
        return lax.dynamic_index_in_dim(array, age if array.shape[1] > 1 else 0, 1, keepdims=False)

    same = grid.wear_rate.shape[1] == 1
    constant = [coefficients(grid.wear_rate[:, 0], k) for k in lengths] if same else None

    def body(carry: tuple[Array, Array], age: Array) -> tuple[tuple[Array, Array], None]:
        value, total = carry  # [year, ...]: h of this age at the start of every year
        half, whole = constant or [coefficients(at(grid.wear_rate, age), k) for k in lengths]
        source = at(grid.source, age)
        total = total + at(weight, age) * (half[0] * value + half[1] * source)
        after = whole[0] * value + whole[1] * source
        older = jnp.minimum(age + 1, num_ages - 1)
        first = lax.dynamic_index_in_dim(initial, older)  # of the first year
        return (jnp.concatenate([first, after[:-1]]), total), None

    value = jnp.concatenate([initial[:1], grid.inflow[:-1]])
    start = (value, jnp.zeros_like(value))
    return lax.scan(body, start, jnp.arange(num_ages), unroll=min(_UNROLL, num_ages))[0][1]


@partial(totals.defjvp, symbolic_zeros=True)
def _totals_jvp(step: float, primals: tuple, tangents: tuple) -> tuple:
    def by_year(initial: Array, grid: Grid, weight: Array) -> Array:
        years = _Years(grid, (0.5 * step, step), differentiated=True)

        def body(value: Array, at: tuple[_Row, Array]) -> tuple[Array, Array]:
            row, weight = at
            middle = years.through(value, row, 0.5 * step)
            return _cross(years, value, row, step, 0.0), (weight * middle).sum(axis=0)

        weight = jnp.broadcast_to(weight, (grid.source.shape[0], *weight.shape[1:]))
        return lax.scan(body, initial, (years.rows, weight))[1]

    return _live_jvp(by_year, primals, tangents)
