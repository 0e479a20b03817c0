"""Derivative-based global measures: mean squared gradients over a box, bounds of Sobol indices."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import batched, on_one_device
from diffmig.explain._tidy import tidy_frame
from diffmig.explain.input_box import (
    InputBox,
    box_fn,
    box_widths,
    check_points,
    member_numbers,
    num_inputs,
    unflatten,
)
from diffmig.explain.sensitivity import sensitivity
from diffmig.explain.sobol_indices import VARIANCE_STATUS, one_output, variance_status


class DerivativeMeasures(NamedTuple):
    """Derivatives over a box; pytrees like the inputs, leaves [*out, *in].

    Attributes:
        mean: mean of df/dx_i, unit of the output per unit of the input.
        mean_absolute: mean of |df/dx_i|, likewise.
        mean_square: nu_i, mean of (df/dx_i)^2, its square.
        mean_square_error: standard error of `mean_square`.
        total_bound: upper bound of the total Sobol index, 1; may exceed 1, and then says nothing.
        variance: of the output, [*out].
        status: int8 [*out], index into `VARIANCE_STATUS`; bounds are NaN where it is not 0.
    """

    mean: Any
    mean_absolute: Any
    mean_square: Any
    mean_square_error: Any
    total_bound: Any
    variance: Array
    status: Array


def derivative_measures(
    model_fn: Callable[[Any], Array],
    box: InputBox,
    points: ArrayLike,
    *,
    transform_fn: Callable[[Any], Any] | None = None,
    mode: Literal["auto", "forward", "reverse"] = "auto",
    block: int | None = None,
    mesh: Mesh | None = None,
) -> DerivativeMeasures:
    """Mean squared derivatives over the box, and the bound of total Sobol indices that they give.

    nu_i = E[(df/dx_i)^2],  T_i <= (b_i - a_i)^2 / pi^2 nu_i / V  for x_i uniform on [a_i, b_i]

    Args:
        model_fn: inputs -> output array of any shape, differentiable.
        box: independent inputs, uniform between its ends.
        points: of the unit cube, [point, input]: `sobol_points(key, num_points, num_inputs(box))`.
        transform_fn: as in `box_fn`; derivatives are by the numbers of the box.
        mode: as in `sensitivity`; one reverse run per point and output number, or one tangent run
            per input number.
        block: points side by side; None: all.  mesh: devices that share them.

    Returns:
        DerivativeMeasures.

    Raises:
        ValueError: box as `num_inputs`, points of another shape or outside the unit cube, fewer
            than two, model as `sensitivity`.

    Notes:
        One gradient per point serves all inputs, where Sobol indices need a run per input and
        point; compiled once for every model function. The bound is close for functions near a
        cosine of one input over its range, and 12 / pi^2 times the index for a linear one.

    Source: Sobol, Kucherenko, 2009, Derivative based global sensitivity measures and their link
    with global sensitivity indices; Lamboni et al., 2013, theorem 3.1 (Poincare constant of the
    uniform distribution).
    """
    num = num_inputs(box)
    points = check_points(points, num, "one number for every input")
    if points.shape[0] < 2:
        raise ValueError(f"points: expected at least two, got {points.shape[0]}")
    made = _run_all(box, points, model_fn, transform_fn, mode, block, mesh)
    return _measures(box, *on_one_device(made, points.shape[0], mesh))


@partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def _run_all(
    box: InputBox,
    points: Array,
    model_fn: Callable[[Any], Array],
    transform_fn: Callable[[Any], Any] | None,
    mode: Literal["auto", "forward", "reverse"],
    block: int | None,
    mesh: Mesh | None,
) -> tuple[Array, Array]:
    """Outputs [point, *out] and derivatives [point, output, input]."""
    box_inputs = box_fn(box)
    transform = transform_fn or (lambda inputs: inputs)

    def at(number: Array) -> tuple[Array, Array]:
        inputs = box_inputs(points[number])
        made = sensitivity(lambda x: model_fn(transform(x)), inputs, mode=mode)
        slopes = [
            leaf.reshape(made.output.size, -1).astype(made.output.dtype)
            for leaf in jax.tree.leaves(made.gradient)
        ]
        return made.output, jnp.concatenate(slopes, axis=1)

    return batched(at, member_numbers(points.shape[0], mesh), block=block, mesh=mesh)


@jax.jit
def _measures(box: InputBox, output: Array, slope: Array) -> DerivativeMeasures:
    num, out_shape = num_inputs(box), output.shape[1:]
    values = output.reshape(output.shape[0], -1)
    variance = jnp.var(values, axis=0)
    status = variance_status(values, variance)
    square = slope**2
    mean_square = jnp.mean(square, axis=0)  # [output, input]
    scale = (box_widths(box).astype(values.dtype) / jnp.pi) ** 2
    safe = jnp.where(status == 0, variance, jnp.nan)
    count = jnp.asarray(slope.shape[0], values.dtype)

    def named(flat: Array) -> Any:
        return unflatten(box.low, flat.reshape(*out_shape, num))

    return DerivativeMeasures(
        mean=named(jnp.mean(slope, axis=0)),
        mean_absolute=named(jnp.mean(jnp.abs(slope), axis=0)),
        mean_square=named(mean_square),
        mean_square_error=named(jnp.std(square, axis=0, ddof=1) / jnp.sqrt(count)),
        total_bound=named(scale[None, :] * mean_square / safe[:, None]),
        variance=variance.reshape(out_shape),
        status=status.reshape(out_shape),
    )


def derivative_frame(
    result: DerivativeMeasures,
    *,
    output_labels: Sequence[Any] | None = None,
    input_labels: Mapping[str, Sequence[Any]] | None = None,
    input_units: Mapping[str, str] | None = None,
    output_units: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Tidy table: one row per output number and input number.

    Args:
        result: from `derivative_measures`.
        output_labels, input_labels, input_units, output_units: as `sensitivity_frame`.

    Returns:
        DataFrame: output, input, index, mean, mean_absolute, mean_square, mean_square_error,
        total_bound, variance, status (words), units where given.

    Raises:
        ValueError: labels or units that do not fit.
    """
    fields = ("mean", "mean_absolute", "mean_square", "mean_square_error", "total_bound")
    return tidy_frame(
        one_output(result.mean, result.variance.ndim),
        {name: getattr(result, name) for name in fields},
        {
            "variance": result.variance,
            "status": np.array(VARIANCE_STATUS)[np.asarray(result.status)],
        },
        output_labels=output_labels,
        input_labels=input_labels,
        input_units=input_units,
        output_units=output_units,
    )
