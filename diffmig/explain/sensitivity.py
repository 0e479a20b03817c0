"""Derivatives of a model's outputs with respect to its named inputs, with ensemble bands."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh

from diffmig.batching import batched, on_one_device
from diffmig.explain._tidy import head, input_rows, labels_of, with_units


class Sensitivity(NamedTuple):
    """First-order response of a model; for an ensemble every array has a leading [member] axis.

    Attributes:
        output: model output, [*out].
        inputs: the pytree of inputs at which the derivatives hold, leaves [*in].
        gradient: d output / d input, pytree like `inputs`, leaves [*out, *in], unit of output per
            unit of input.
        elasticity: gradient * input / output, same shapes, 1; NaN where the output is 0.
    """

    output: Array
    inputs: Any
    gradient: Any
    elasticity: Any


def sensitivity(
    model_fn: Callable[[Any], Array],
    inputs: Any,
    *,
    mode: Literal["auto", "forward", "reverse"] = "auto",
) -> Sensitivity:
    """Gradient and elasticity of every output with respect to every input.

    gradient = d output / d input,  elasticity = gradient * input / output

    Args:
        model_fn: inputs -> output array of any shape, differentiable.
        inputs: pytree of floating arrays; a dict gives the inputs their names.
        mode: "reverse" costs one backward run per output number, "forward" one tangent run per
            input number; "auto" takes the smaller count, reverse on a tie.

    Returns:
        Sensitivity without member axis.

    Raises:
        ValueError: no inputs, an input or output that is not floating, more than one output array,
            unknown mode.

    Notes:
        Differentiable itself where the model is twice differentiable. Compiled once for every model
        function and shape.

    Source: chain rule; elasticity as in production theory, d log output / d log input.
    """
    inputs = jax.tree.map(jnp.asarray, inputs)
    leaves = jax.tree.leaves(inputs)
    if not leaves or not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise ValueError(
            "inputs: expected a pytree of floating arrays, "
            f"got {[str(leaf.dtype) for leaf in leaves]}; close over what is not varied"
        )
    shape = jax.eval_shape(model_fn, inputs)
    if not isinstance(shape, jax.ShapeDtypeStruct) or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise ValueError(f"model_fn: expected one floating array as output, got {shape}")
    if mode == "auto":
        mode = "reverse" if shape.size <= sum(leaf.size for leaf in leaves) else "forward"
    if mode not in ("forward", "reverse"):
        raise ValueError(f"mode: expected auto, forward or reverse, got {mode!r}")
    return _slopes(inputs, model_fn, mode)


@partial(jax.jit, static_argnums=(1, 2))
def _slopes(inputs: Any, model_fn: Callable[[Any], Array], mode: str) -> Sensitivity:
    def twice(x: Any) -> tuple[Array, Array]:
        output = model_fn(x)
        return output, output

    transform = jax.jacrev if mode == "reverse" else jax.jacfwd
    gradient, output = transform(twice, has_aux=True)(inputs)

    def relative(slope: Array, leaf: Array) -> Array:
        outputs = jnp.broadcast_to(output.reshape(output.shape + (1,) * leaf.ndim), slope.shape)
        scaled = slope * jnp.broadcast_to(leaf, slope.shape)
        nonzero = outputs != 0
        return jnp.where(nonzero, scaled / jnp.where(nonzero, outputs, 1.0), jnp.nan)

    return Sensitivity(output, inputs, gradient, jax.tree.map(relative, gradient, inputs))


def ensemble_sensitivity(
    model_fn: Callable[[Any, Any], Array],
    params: Any,
    inputs: Any,
    *,
    mode: Literal["auto", "forward", "reverse"] = "auto",
    block: int | None = None,
    mesh: Mesh | None = None,
) -> Sensitivity:
    """`sensitivity` of every member of an ensemble at the same inputs.

    Args:
        model_fn: (params of one member, inputs) -> output array.
        params: pytree, every leaf [member, ...].
        inputs: pytree of floating arrays, shared by the members.
        mode: see `sensitivity`.
        block: members per block; None runs all at once.
        mesh: devices that share the members.

    Returns:
        Sensitivity, every array [member, ...].

    Raises:
        ValueError: see `sensitivity`; members of unequal number.

    Source: see `sensitivity`.
    """
    found = _of_members(params, inputs, model_fn, mode, block, mesh)
    return on_one_device(found, len(jax.tree.leaves(params)[0]), mesh)


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _of_members(
    params: Any,
    inputs: Any,
    model_fn: Callable[[Any, Any], Array],
    mode: Literal["auto", "forward", "reverse"],
    block: int | None,
    mesh: Mesh | None,
) -> Sensitivity:
    return batched(
        lambda member: sensitivity(lambda x: model_fn(member, x), inputs, mode=mode),
        params,
        block=block,
        mesh=mesh,
    )


def sensitivity_frame(
    result: Sensitivity,
    *,
    members: bool = False,
    level: float = 0.9,
    output_labels: Sequence[Any] | None = None,
    input_labels: Mapping[str, Sequence[Any]] | None = None,
    input_units: Mapping[str, str] | None = None,
    output_units: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Tidy table of a Sensitivity: one row per output number and input number.

    Args:
        result: from `sensitivity`, or from `ensemble_sensitivity` with `members` True.
        members: the arrays have a leading member axis; gives medians and bands over it.
        level: coverage of the band, in (0, 1): its ends are the (1 - level) / 2 and (1 + level) / 2
            quantiles over the members whose value is finite.
        output_labels: one label per output number (such as years), flattened; None counts from 0.
        input_labels: the same by input name, for inputs that are arrays.
        input_units: unit by input name.
        output_units: unit by output label.

    Returns:
        DataFrame: output, input (path in the pytree, parts joined by "."), index (label in the
            input), value (of the input), gradient, elasticity; with `members` also gradient_low,
            gradient_high, elasticity_low, elasticity_high, num_finite; input_unit and output_unit
        where given.

    Raises:
        ValueError: labels of another number, labels or units of what is not there, `level` out of
            range.

    Source: percentile bands over ensemble members.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a value in (0, 1), got {level}")
    out_shape = result.output.shape[1:] if members else result.output.shape
    outputs = labels_of(output_labels, int(np.prod(out_shape)), "output_labels")
    slopes, relatives = (jax.tree.leaves(tree) for tree in (result.gradient, result.elasticity))
    tables = []
    values_of = [leaf[0] if members else leaf for leaf in jax.tree.leaves(result.inputs)]
    rows_of = input_rows(
        jax.tree.unflatten(jax.tree.structure(result.inputs), values_of), input_labels
    )
    for (name, index), leaf, slope, relative in zip(
        rows_of, values_of, slopes, relatives, strict=True
    ):
        values = np.ravel(leaf)
        columns = head(outputs, name, index) | {"value": np.tile(values, len(outputs))}
        flat = {
            key: np.asarray(x, float).reshape(-1, len(outputs) * values.size)
            for key, x in (("gradient", slope), ("elasticity", relative))
        }
        for key, rows in flat.items():
            columns |= _band_columns(key, rows, level) if members else {key: rows[0]}
        if members:
            columns["num_finite"] = np.isfinite(flat["gradient"]).sum(axis=0)
        tables.append(pd.DataFrame(columns))
    return with_units(pd.concat(tables, ignore_index=True), input_units, output_units)


def _band_columns(name: str, rows: np.ndarray, level: float) -> dict[str, np.ndarray]:
    bands = np.full((3, rows.shape[1]), np.nan)
    finite = np.where(np.isfinite(rows), rows, np.nan)
    known = np.isfinite(finite).any(axis=0)
    if known.any():
        bands[:, known] = np.nanquantile(
            finite[:, known], [0.5, (1 - level) / 2, (1 + level) / 2], axis=0
        )
    return dict(zip((name, f"{name}_low", f"{name}_high"), bands, strict=True))
