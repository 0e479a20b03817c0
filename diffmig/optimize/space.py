"""Where the optimisers search: pytree bounds, flattened once per program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree


class Space(NamedTuple):
    """Box of candidates: a pytree like a candidate in each field.

    low, high: lower and upper bound per leaf (scalar or array; the two broadcast to the candidate's
        leaf). All floating leaves have one dtype, which is the dtype of the search; plain Python
        numbers take that dtype, or JAX's default float if there are only such.
    integer: bool, or pytree of bools or bool arrays (a prefix of the candidate's tree will do). A
        marked gene reaches the loss rounded to the nearest integer, in the floating dtype of the
        search; its bounds must be integers.
    """

    low: Any
    high: Any
    integer: Any = False


class Box(NamedTuple):
    """Flat form of a `Space`: bounds [dim], integer marks [dim] (None: no integer genes), flat ->
    candidate."""

    low: Array
    high: Array
    integer: Array | None
    unravel: Callable[[Array], Any]


def box_around(candidate: Any, low: float, high: float) -> Space:
    """The same bounds for every number of `candidate`, for example all weights of a network in
    [low, high]."""

    def fill(bound: float) -> Any:
        return jax.tree.map(lambda leaf: jnp.full_like(leaf, bound), candidate)

    return Space(fill(low), fill(high))


def as_arrays(space: Space) -> Space:
    """`space` with leaves as arrays of one dtype and full shape, `integer` None or a full tree of
    bool arrays.

    Raises:
        ValueError: trees or shapes of the bounds do not match, dtypes differ, a bound is not
            finite, a lower bound exceeds its upper bound, or a bound of an integer gene is not an
            integer. Traced bounds are not checked.
    """
    treedef: Any = jax.tree.structure(space.low)
    high_treedef: Any = jax.tree.structure(space.high)
    low, high = jax.tree.leaves(space.low), jax.tree.leaves(space.high)
    if treedef != high_treedef or not low:
        raise ValueError(
            "space: expected one non-empty structure in low and high, "
            f"got {treedef} and {high_treedef}"
        )
    dtype = _search_dtype([*low, *high])
    try:
        shapes = [
            np.broadcast_shapes(jnp.shape(a), jnp.shape(b)) for a, b in zip(low, high, strict=True)
        ]
    except ValueError as error:
        raise ValueError(f"space: bounds of a leaf do not broadcast: {error}") from error

    def spread(leaves: list[Any], leaf_dtype: Any) -> list[Array]:
        return [
            jnp.broadcast_to(jnp.asarray(leaf).astype(leaf_dtype), shape)
            for leaf, shape in zip(leaves, shapes, strict=True)
        ]

    integer = (
        None
        if space.integer is None
        else jax.tree.leaves(jax.tree.broadcast(space.integer, space.low))
    )
    if integer is not None and not any(_is_traced(mark) or np.any(mark) for mark in integer):
        integer = None
    _check_bounds(low, high, integer)
    return Space(
        treedef.unflatten(spread(low, dtype)),
        treedef.unflatten(spread(high, dtype)),
        None if integer is None else treedef.unflatten(spread(integer, bool)),
    )


def flatten(space: Space) -> Box:
    """Flat form of `space`; raises ValueError as `as_arrays` does."""
    space = as_arrays(space)
    low, unravel = ravel_pytree(space.low)
    integer = None if space.integer is None else ravel_pytree(space.integer)[0]
    return Box(low, ravel_pytree(space.high)[0], integer, unravel)


def round_integers(box: Box, swarm: Array) -> Array:
    """Integer genes of `swarm` [..., dim] rounded half to even, real genes as they are."""
    if box.integer is None:
        return swarm
    return jnp.where(_rows(box.integer, swarm), jnp.round(swarm), swarm)


def from_unit(box: Box, unit: Array) -> Array:
    """Points of the box from uniform numbers `unit` in [0, 1), [member, dim].

    real gene: low + unit (high - low);  integer gene: low + floor(unit (high - low + 1)), every
        value equally likely.
    """
    low, high = _rows(box.low, unit), _rows(box.high, unit)
    real = low + unit * (high - low)
    if box.integer is None:
        return real
    whole = jnp.minimum(low + jnp.floor(unit * (high - low + 1.0)), high)
    return jnp.where(_rows(box.integer, unit), whole, real)


def _rows(vector: Array, like: Array) -> Array:
    return jnp.broadcast_to(vector, like.shape)


def _search_dtype(leaves: list[Any]) -> Any:
    dtypes = {
        jnp.dtype(x.dtype)
        for x in leaves
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
    }
    if len(dtypes) > 1:
        raise ValueError(
            f"space: expected one floating dtype for all bounds, got {sorted(map(str, dtypes))}"
        )
    return dtypes.pop() if dtypes else jnp.zeros(()).dtype


def _is_traced(x: Any) -> bool:
    return isinstance(x, jax.core.Tracer)


def _check_bounds(low: list[Any], high: list[Any], integer: list[Any] | None) -> None:
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        if _is_traced(a) or _is_traced(b):
            continue
        a, b = np.asarray(a), np.asarray(b)
        if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b)) and np.all(a <= b)):
            raise ValueError(f"space: expected finite low <= high, got {a} and {b} in leaf {i}")
        if integer is None or _is_traced(integer[i]):
            continue
        if np.any(np.asarray(integer[i]) & ((a != np.round(a)) | (b != np.round(b)))):
            raise ValueError(
                f"space: bounds of integer genes must be integers, got {a} and {b} in leaf {i}"
            )
