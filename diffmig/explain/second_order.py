"""Second derivatives of one output: products with the Hessian, its diagonal, the whole of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from diffmig.batching import batched
from diffmig.explain._tidy import input_rows, with_units
from diffmig.explain.input_box import flatten, same_structure, unflatten

MOST_INPUTS = 200  # of a whole Hessian


class SecondOrder(NamedTuple):
    """Local second-order response of one output.

    Attributes:
        output: f, [].
        inputs: pytree at which the derivatives hold, leaves [*in].
        gradient: df/dx_i, like `inputs`.
        hessian: d2f / dx_i dx_j, pytree of pytrees: `hessian["a"]["b"]` is [*in_a, *in_b], unit of
            the output per units of both.
        interaction: d elasticity_i / d log x_j, likewise, 1; NaN where the output is 0.
    """

    output: Array
    inputs: Any
    gradient: Any
    hessian: Any
    interaction: Any


def hessian_vector_product(model_fn: Callable[[Any], Array], inputs: Any, direction: Any) -> Any:
    """Second derivatives of one output along a direction, by one tangent run of its gradient.

    (H v)_i = sum_j d2f / dx_i dx_j v_j

    Args:
        model_fn: inputs -> output, [].
        inputs: pytree of floating arrays of one dtype.
        direction: v, pytree like `inputs`.

    Returns:
        pytree like `inputs`, unit of the output per unit of the input, per unit of a step along v.

    Raises:
        ValueError: inputs that are not floating or not alike in dtype, a direction of another
            structure or shape, an output with more than one number.

    Notes:
        Costs a few runs of the model, whatever the number of inputs.

    Source: Pearlmutter, 1994, Fast exact multiplication by the Hessian.
    """
    inputs = _checked(model_fn, inputs)
    direction = jax.tree.map(jnp.asarray, direction)
    alike = same_structure(inputs, direction)
    if not alike or any(
        a.shape != b.shape or a.dtype != b.dtype
        for a, b in zip(jax.tree.leaves(inputs), jax.tree.leaves(direction), strict=True)
    ):
        raise ValueError(
            "direction: expected structure, shapes and dtype of inputs, got "
            f"{jax.tree.map(jnp.shape, direction)} for {jax.tree.map(jnp.shape, inputs)}"
        )
    return _along(inputs, direction, model_fn)


@partial(jax.jit, static_argnums=2)
def _along(inputs: Any, direction: Any, model_fn: Callable[[Any], Array]) -> Any:
    return jax.jvp(jax.grad(model_fn), (inputs,), (direction,))[1]


def hessian_diagonal(
    model_fn: Callable[[Any], Array], inputs: Any, *, block: int | None = None
) -> Any:
    """Second derivative of one output by each input alone, pytree like `inputs`.

    d2f / dx_i^2, by as many Hessian-vector products as inputs

    Args:
        model_fn, inputs: as `hessian_vector_product`.
        block: products side by side; None: all.

    Returns:
        pytree like `inputs`, unit of the output per squared unit of the input.

    Raises:
        ValueError: as `hessian_vector_product`.

    Source: as `hessian_vector_product`.
    """
    return _diagonal(_checked(model_fn, inputs), model_fn, block)


@partial(jax.jit, static_argnums=(1, 2))
def _diagonal(inputs: Any, model_fn: Callable[[Any], Array], block: int | None) -> Any:
    point = flatten(inputs)
    slope = _flat_gradient(model_fn, inputs)

    def entry(number: Array) -> Array:
        unit = (jnp.arange(point.size) == number).astype(point.dtype)
        return jax.jvp(slope, (point,), (unit,))[1][number]

    return unflatten(inputs, batched(entry, jnp.arange(point.size), block=block))


def second_order(
    model_fn: Callable[[Any], Array], inputs: Any, *, block: int | None = None
) -> SecondOrder:
    """Hessian of one output by few named inputs, and interaction elasticities.

    H_ij = d2f / dx_i dx_j
    interaction_ij = d e_i / d log x_j = x_i x_j H_ij / f + delta_ij e_i - e_i e_j,
    e_i = x_i df/dx_i / f

    Args:
        model_fn, inputs: as `hessian_vector_product`; at most `MOST_INPUTS` numbers.
        block: Hessian-vector products side by side; None: all.

    Returns:
        SecondOrder. Interactions are 0 for a product of powers, whose elasticities are constant.

    Raises:
        ValueError: as `hessian_vector_product`, or more inputs.

    Notes:
        Differentiable where the model is three times differentiable. Compiled once for every model
        function and shape, as the products above.

    Source: chain rule; elasticity as in `sensitivity`.
    """
    inputs = _checked(model_fn, inputs)
    if flatten(inputs).size > MOST_INPUTS:
        raise ValueError(
            f"inputs: expected at most {MOST_INPUTS} numbers for a whole Hessian, got "
            f"{flatten(inputs).size}; take hessian_vector_product or hessian_diagonal"
        )
    return _hessian(inputs, model_fn, block)


@partial(jax.jit, static_argnums=(1, 2))
def _hessian(inputs: Any, model_fn: Callable[[Any], Array], block: int | None) -> SecondOrder:
    point = flatten(inputs)
    slope = _flat_gradient(model_fn, inputs)

    def row(number: Array) -> Array:
        unit = (jnp.arange(point.size) == number).astype(point.dtype)
        return jax.jvp(slope, (point,), (unit,))[1]

    output, gradient = model_fn(inputs), slope(point)
    matrix = batched(row, jnp.arange(point.size), block=block)
    nonzero = output != 0
    own = point / jnp.where(nonzero, output, 1.0)
    elasticity = own * gradient
    relative = (
        own[:, None] * point[None, :] * matrix
        + jnp.diag(elasticity)
        - elasticity[:, None] * elasticity[None, :]
    )

    def nested(flat: Array) -> Any:
        rows = unflatten(inputs, flat.T)  # leaves [input j, *in_i]
        return jax.tree.map(lambda leaf: unflatten(inputs, jnp.moveaxis(leaf, 0, -1)), rows)

    return SecondOrder(
        output=output,
        inputs=inputs,
        gradient=unflatten(inputs, gradient),
        hessian=nested(matrix),
        interaction=nested(jnp.where(nonzero, relative, jnp.nan)),
    )


def second_order_frame(
    result: SecondOrder,
    *,
    output_label: Any = 0,
    input_labels: Mapping[str, Sequence[Any]] | None = None,
    input_units: Mapping[str, str] | None = None,
    output_units: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Tidy table: one row per pair of input numbers, each pair once.

    Args:
        result: from `second_order`.
        output_label: of the output.
        input_labels, input_units, output_units: as `sensitivity_frame`.

    Returns:
        DataFrame: output, input, index, other, other_index, hessian, interaction; units where
        given.

    Raises:
        ValueError: labels or units that do not fit.
    """
    named = input_rows(result.inputs, input_labels)
    inputs = [(name, label) for name, index in named for label in index]
    first, second = np.triu_indices(len(inputs))
    columns: dict[str, Any] = {"output": [output_label] * len(first)}
    for at, (name, index) in ((first, ("input", "index")), (second, ("other", "other_index"))):
        columns[name] = [inputs[i][0] for i in at]
        columns[index] = [inputs[i][1] for i in at]
    columns["hessian"] = _matrix(result, result.hessian)[first, second]
    columns["interaction"] = _matrix(result, result.interaction)[first, second]
    return with_units(
        pd.DataFrame(columns),
        input_units,
        output_units,
        inputs={"input": "input_unit", "other": "other_unit"},
    )


def _matrix(result: SecondOrder, tree: Any) -> np.ndarray:
    """Pytree of pytrees -> [input, input]."""
    sizes = [int(np.size(leaf)) for leaf in jax.tree.leaves(result.inputs)]
    parts = iter(jax.tree.leaves(tree))
    return np.block([[np.asarray(next(parts)).reshape(a, b) for b in sizes] for a in sizes])


def _flat_gradient(model_fn: Callable[[Any], Array], inputs: Any) -> Callable[[Array], Array]:
    return jax.grad(lambda flat: model_fn(unflatten(inputs, flat)))


def _checked(model_fn: Callable[[Any], Array], inputs: Any) -> Any:
    inputs = jax.tree.map(jnp.asarray, inputs)
    flatten(inputs)
    shape = jax.eval_shape(model_fn, inputs)
    if not isinstance(shape, jax.ShapeDtypeStruct) or shape.shape:
        raise ValueError(f"model_fn: expected one number [] as output, got {shape}; choose one")
    return inputs
