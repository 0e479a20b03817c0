"""Boxes of named inputs and the points at which sampling methods run a model."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike
from scipy.stats import qmc

from diffmig.random import host_generator

_BITS = 30  # of the lattice of scrambled points


class InputBox(NamedTuple):
    """Independent inputs, each uniform between two ends.

    Attributes:
        low, high: pytrees of equal structure, leaves [*in], unit of the input; a dict gives the
            inputs their names.
    """

    low: Any
    high: Any


def num_inputs(box: InputBox) -> int:
    """Number of inputs of a box: numbers in all its leaves together.

    Args:
        box: of the inputs.

    Returns:
        d.

    Raises:
        ValueError: no inputs, ends of unequal structure, shapes or dtypes, dtypes that are not
            floating, ends that are not finite or not in order (not checked when traced).
    """
    return _flat_ends(box)[0].size


def sobol_points(key: Array, num_points: int, num_columns: int) -> Array:
    """Scrambled Sobol points of the unit cube, [point, column].

    Args:
        key: random key of the scrambling.
        num_points: a power of two.
        num_columns: numbers of a point; `sobol_indices` wants two for every input, derivative-based
            measures one.

    Returns:
        Numbers in (0, 1), never its ends, so that quantile functions stay finite; default float.

    Raises:
        ValueError: num_points is not a power of two, or no column.

    Notes:
        Made on the host. Every column alone, and every pair of the first ones, is spread evenly.

    Source: Sobol, 1967; Owen, 1998, Scrambling Sobol and Niederreiter-Xing points.
    """
    if num_points < 1 or num_points & (num_points - 1) or num_columns < 1:
        raise ValueError(
            "expected num_points a power of two and num_columns >= 1, got "
            f"{num_points} and {num_columns}: other numbers of points are not balanced"
        )
    sampler = qmc.Sobol(num_columns, scramble=True, bits=_BITS, rng=host_generator(key))
    return jnp.asarray(sampler.random(num_points) + 0.5 ** (_BITS + 1), jnp.result_type(float))


def box_fn(
    box: InputBox, transform_fn: Callable[[Any], Any] | None = None
) -> Callable[[Array], Any]:
    """Function from one point of the unit cube [input] to the model's inputs.

    inputs = transform_fn(low + point (high - low))

    Args:
        box: of the inputs.
        transform_fn: pytree like `box.low` -> what the model takes; None: the same. Quantile
            functions over a box from 0 to 1 give any other distribution.

    Returns:
        inputs_fn, differentiable where `transform_fn` is.

    Raises:
        ValueError: as `num_inputs`.
    """
    low, high = _flat_ends(box)

    def inputs(point: Array) -> Any:
        made = unflatten(box.low, low + point * (high - low))
        return made if transform_fn is None else transform_fn(made)

    return inputs


def box_widths(box: InputBox) -> Array:
    """high - low of every input, [input], units of the inputs."""
    low, high = _flat_ends(box)
    return high - low


def unflatten(tree: Any, flat: Array) -> Any:
    """[..., input] -> pytree like `tree`, leaves [..., *in], in the order of its leaves."""
    leaves, structure = jax.tree.flatten(tree)
    shapes = [np.shape(leaf) for leaf in leaves]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = jnp.split(flat, ends[:-1], axis=-1)
    made = [p.reshape((*flat.shape[:-1], *s)) for p, s in zip(parts, shapes, strict=True)]
    return jax.tree.unflatten(structure, made)


def flatten(tree: Any) -> Array:
    """All numbers of a pytree in the order of its leaves, [input].

    Raises:
        ValueError: no numbers, or leaves that are not floating and of one dtype.
    """
    leaves = [_strong(leaf) for leaf in jax.tree.leaves(tree)]
    kinds = {leaf.dtype for leaf in leaves}
    if len(kinds) != 1 or not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
        raise ValueError(
            "expected a pytree of floating arrays of one dtype, got "
            f"{sorted(map(str, kinds)) or 'no inputs'}; close over what is not varied"
        )
    return jnp.concatenate([leaf.reshape(-1) for leaf in leaves])


def same_structure(tree: Any, other: Any) -> bool:
    """Whether two pytrees have leaves of the same names."""
    structures: list[Any] = [jax.tree.structure(part) for part in (tree, other)]
    return structures[0] == structures[1]


def check_points(points: ArrayLike, num_columns: int, words: str) -> Array:
    """`points` as an array [point, column] of the unit cube.

    Raises:
        ValueError: another shape, or numbers outside [0, 1] (not checked when traced).
    """
    points = jnp.asarray(points)
    if points.ndim != 2 or points.shape[1] != num_columns or not points.shape[0]:
        raise ValueError(
            f"points: expected [point, {num_columns}], {words}, got {points.shape}; make them with "
            f"sobol_points(key, num_points, {num_columns})"
        )
    check_unit(points)
    return points


def check_unit(points: Array) -> None:
    """ValueError for numbers outside [0, 1]; traced ones pass."""
    if isinstance(points, jax.core.Tracer):
        return
    low, high = float(np.min(points)), float(np.max(points))
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(
            f"points: expected numbers of the unit cube, got {low:g} to {high:g}; the box gives "
            "them their units"
        )


def member_numbers(num_members: int, mesh: Mesh | None) -> Array:
    """0, 1, ..., the last one repeated until the devices share them without remainder, [member]."""
    size = 1 if mesh is None else mesh.size
    filled = np.minimum(np.arange(-(-num_members // size) * size), num_members - 1)
    return jnp.asarray(filled, jnp.int32)


def _flat_ends(box: InputBox) -> tuple[Array, Array]:
    if not same_structure(box.low, box.high):
        raise ValueError(
            "box: expected low and high of one structure, got "
            f"{jax.tree.structure(box.low)} and {jax.tree.structure(box.high)}"
        )
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(end)] for end in box]
    if shapes[0] != shapes[1]:
        raise ValueError(f"box: expected leaves of equal shapes, got {shapes[0]} and {shapes[1]}")
    low, high = flatten(box.low), flatten(box.high)
    if low.dtype != high.dtype:
        raise ValueError(f"box: expected one dtype, got {low.dtype} and {high.dtype}")
    if not isinstance(low, jax.core.Tracer) and not isinstance(high, jax.core.Tracer):
        ends = np.asarray(low), np.asarray(high)
        if not (np.isfinite(ends).all() and (ends[0] < ends[1]).all()):
            worst = int(np.argmin(np.nan_to_num(ends[1] - ends[0], nan=-np.inf)))
            raise ValueError(
                "box: expected finite ends with low < high, got "
                f"{ends[0][worst]:g} and {ends[1][worst]:g} at number {worst}; leave out what does "
                "not vary"
            )
    return low, high


def _strong(leaf: Any) -> Array:
    """A Python number gets JAX's default float, strongly."""
    return leaf if isinstance(leaf, Array) else jnp.asarray(np.asarray(leaf))
