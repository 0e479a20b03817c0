"""Shares of an output's variance by each input alone, with all others, and in pairs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array, lax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import batched, on_one_device
from diffmig.explain._tidy import input_rows, labels_of, tidy_frame, with_units
from diffmig.explain.input_box import (
    InputBox,
    box_fn,
    check_points,
    member_numbers,
    num_inputs,
    unflatten,
)

VARIANCE_STATUS = ("estimated", "the output does not vary", "a value is not finite")
FIRST_ORDER = ("saltelli", "jansen")


class SobolIndices(NamedTuple):
    """Shares of the variance, 1; pytrees like the inputs have leaves [*out, *in].

    Attributes:
        first: S_i, share by input i alone.
        first_low, first_high: ends of the bootstrap band.
        total: T_i, share that would be left if all inputs but i were known; includes interactions.
        total_low, total_high: ends of the bootstrap band.
        second: S_ij, share by the interaction of two inputs, [*out, input, input], symmetric, 0 on
            the diagonal; None if not asked for.
        second_low, second_high: ends of the bootstrap band, or None.
        mean, variance: of the output over the box, [*out], unit of the output and its square.
        status: int8 [*out], index into `VARIANCE_STATUS`; shares are NaN where it is not 0.
    """

    first: Any
    first_low: Any
    first_high: Any
    total: Any
    total_low: Any
    total_high: Any
    second: Array | None
    second_low: Array | None
    second_high: Array | None
    mean: Array
    variance: Array
    status: Array


def sobol_indices(
    key: Array,
    model_fn: Callable[[Any], Array],
    box: InputBox,
    points: ArrayLike,
    *,
    transform_fn: Callable[[Any], Any] | None = None,
    second_order: bool = False,
    first_order: Literal["saltelli", "jansen"] = "saltelli",
    num_resamples: int = 200,
    level: float = 0.9,
    block: int | None = None,
    mesh: Mesh | None = None,
) -> SobolIndices:
    """First-order, total and second-order Sobol indices of every output, with bootstrap bands.

    S_i = V(E(y | x_i)) / V = mean f(B) (f(A_i) - f(A)) / V             (saltelli)
                            = 1 - mean (f(B) - f(A_i))^2 / (2 V)        (jansen)
    T_i = 1 - V(E(y | all but x_i)) / V = mean (f(A) - f(A_i))^2 / (2 V)
    S_ij = mean (f(B_i) f(A_j) - f(A) f(B)) / V - S_i - S_j
    A_i is A with input i from B, B_i the reverse; values are centred by the mean of all runs

    Args:
        key: random key of the bootstrap.
        model_fn: inputs -> output array of any shape.
        box: independent inputs, uniform between its ends.
        points: pairs A, B of the unit cube, [point, 2 input]: `sobol_points(key, num_points, 2 *
            num_inputs(box))`.
        transform_fn: as in `box_fn`.
        second_order: also pairs of inputs.
        first_order: estimator of S_i; jansen is the better one for large S_i.
        num_resamples: of the points with replacement.
        level: coverage of the bands, in (0, 1).
        block: model runs side by side; None: all.  mesh: devices that share them.

    Returns:
        SobolIndices.

    Raises:
        ValueError: box as `num_inputs`, points of another shape or outside the unit cube, fewer
            than two points, unknown estimator, no resample, level out of range.

    Notes:
        point (input + 2) model runs, point (2 input + 2) with second order, of which the outputs
        are kept; compiled once for every model function. Estimates of small indices may lie below
        0. Scrambled points are more even than the bootstrap supposes: bands are wide rather than
        narrow. Differentiable in what `model_fn` closes over.

    Source: Saltelli et al., 2010, Variance based sensitivity analysis of model output, Computer
    Physics Communications 181, table 2, (b), (c), (f); Saltelli, 2002, Making best use of model
    evaluations, theorem 2.
    """
    num = num_inputs(box)
    points = check_points(points, 2 * num, "A and B side by side")
    if first_order not in FIRST_ORDER:
        raise ValueError(f"first_order: expected one of {FIRST_ORDER}, got {first_order!r}")
    if points.shape[0] < 2 or num_resamples < 1 or not 0 < level < 1:
        raise ValueError(
            "expected two points, num_resamples >= 1 and level in (0, 1), got "
            f"{points.shape[0]}, {num_resamples} and {level}"
        )
    values = _run_all(box, points, model_fn, transform_fn, second_order, block, mesh)
    num_runs = (2 * num if second_order else num) + 2
    values = on_one_device(values, points.shape[0] * num_runs, mesh)
    values = values.reshape(points.shape[0], num_runs, *values.shape[1:])
    return _indices(key, box, values, second_order, first_order, num_resamples, level)


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _indices(
    key: Array,
    box: InputBox,
    values: Array,
    second_order: bool,
    first_order: str,
    num_resamples: int,
    level: float,
) -> SobolIndices:
    """Indices and bands from the outputs of all runs, [point, run, *out]."""
    num, out_shape = num_inputs(box), values.shape[2:]
    values = values.reshape(*values.shape[:2], -1)
    mean = jnp.mean(values, axis=(0, 1))
    centred = values - mean[None, None]
    estimates = _estimate(centred, num, second_order, first_order)
    variance = jnp.var(centred[:, :2], axis=(0, 1))
    status = variance_status(values, variance)
    made = [_where_estimated(status, part) for part in estimates]
    draws = jax.random.randint(key, (num_resamples, values.shape[0]), 0, values.shape[0])
    resampled = lax.map(
        lambda rows: _estimate(centred[rows], num, second_order, first_order), draws
    )
    tails = jnp.asarray([(1 - level) / 2, (1 + level) / 2], values.dtype)
    bands = [
        [_where_estimated(status, end) for end in jnp.quantile(part, tails, axis=0)]
        for part in resampled
    ]

    def named(flat: Array) -> Any:
        return unflatten(box.low, flat.reshape(*out_shape, num))

    def pairs(flat: Array) -> Array:
        return flat.reshape(*out_shape, num, num)

    return SobolIndices(
        first=named(made[0]),
        first_low=named(bands[0][0]),
        first_high=named(bands[0][1]),
        total=named(made[1]),
        total_low=named(bands[1][0]),
        total_high=named(bands[1][1]),
        second=pairs(made[2]) if second_order else None,
        second_low=pairs(bands[2][0]) if second_order else None,
        second_high=pairs(bands[2][1]) if second_order else None,
        mean=mean.reshape(out_shape),
        variance=variance.reshape(out_shape),
        status=status.reshape(out_shape),
    )


def variance_status(values: Array, variance: Array) -> Array:
    """Index into `VARIANCE_STATUS` of every output, int8 [output].

    Args:
        values: [..., output].
        variance: [output].
    """
    runs = tuple(range(values.ndim - 1))
    finite = jnp.all(jnp.isfinite(values), axis=runs)
    round_off = 8 * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), axis=runs)
    code = jnp.where(finite, jnp.where(variance > round_off**2, 0, 1), 2)
    return code.astype(jnp.int8)


def sobol_frame(
    result: SobolIndices,
    *,
    output_labels: Sequence[Any] | None = None,
    input_labels: Mapping[str, Sequence[Any]] | None = None,
    input_units: Mapping[str, str] | None = None,
    output_units: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Tidy table: one row per output number and input number.

    Args:
        result: from `sobol_indices`.
        output_labels, input_labels, input_units, output_units: as `sensitivity_frame`.

    Returns:
        DataFrame: output, input, index, first, first_low, first_high, total, total_low, total_high,
        mean, variance, status (words), units where given.

    Raises:
        ValueError: labels or units that do not fit.
    """
    fields = ("first", "first_low", "first_high", "total", "total_low", "total_high")
    return tidy_frame(
        one_output(result.first, result.mean.ndim),
        {name: getattr(result, name) for name in fields},
        {
            "mean": result.mean,
            "variance": result.variance,
            "status": np.array(VARIANCE_STATUS)[np.asarray(result.status)],
        },
        output_labels=output_labels,
        input_labels=input_labels,
        input_units=input_units,
        output_units=output_units,
    )


def sobol_pairs_frame(
    result: SobolIndices,
    *,
    output_labels: Sequence[Any] | None = None,
    input_labels: Mapping[str, Sequence[Any]] | None = None,
    input_units: Mapping[str, str] | None = None,
    output_units: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Tidy table of the interactions: one row per output number and pair of inputs.

    Args as `sobol_frame`.

    Returns:
        DataFrame: output, input, index, other, other_index, second, second_low, second_high; units
        where given.

    Raises:
        ValueError: no second order in `result`, labels or units that do not fit.
    """
    if result.second is None or result.second_low is None or result.second_high is None:
        raise ValueError("result: no second order; ask sobol_indices for second_order=True")
    named = input_rows(one_output(result.first, result.mean.ndim), input_labels)
    inputs = [(name, label) for name, index in named for label in index]
    outputs = labels_of(output_labels, int(np.size(result.mean)), "output_labels")
    first, second = np.triu_indices(len(inputs), 1)
    columns: dict[str, Any] = {"output": np.repeat(np.asarray(outputs), len(first))}
    for at, (name, index) in ((first, ("input", "index")), (second, ("other", "other_index"))):
        columns[name] = [inputs[i][0] for i in at] * len(outputs)
        columns[index] = [inputs[i][1] for i in at] * len(outputs)
    for name in ("second", "second_low", "second_high"):
        values = np.asarray(getattr(result, name)).reshape(-1, len(inputs), len(inputs))
        columns[name] = values[:, first, second].reshape(-1)
    return with_units(
        pd.DataFrame(columns),
        input_units,
        output_units,
        inputs={"input": "input_unit", "other": "other_unit"},
    )


def one_output(tree: Any, num_axes: int) -> Any:
    """Leaves [*out, *in] of one output number, [*in]; `num_axes` is that of the outputs."""
    return jax.tree.map(lambda leaf: leaf[(0,) * num_axes], tree)


@partial(jax.jit, static_argnums=(2, 3, 4, 5, 6))
def _run_all(
    box: InputBox,
    points: Array,
    model_fn: Callable[[Any], Array],
    transform_fn: Callable[[Any], Any] | None,
    reverse: bool,
    block: int | None,
    mesh: Mesh | None,
) -> Array:
    """f(A), f(B), f(A_i) and with `reverse` f(B_i) of every point, [point x run, *out].

    The inputs of a run are put together inside it: only outputs are stored.
    """
    num_points, num = points.shape[0], points.shape[1] // 2
    num_runs = (2 * num if reverse else num) + 2
    inputs_fn = box_fn(box, transform_fn)
    columns = jnp.arange(num, dtype=jnp.int32)

    def value(number: Array) -> Array:
        row, run = points[number // num_runs], number % num_runs
        a, b = row[:num], row[num:]
        from_b = (run == 1) | (run >= num + 2)
        swapped = (columns == (run - 2) % num) & (run >= 2)
        return model_fn(inputs_fn(jnp.where(swapped != from_b, b, a)))

    shape = jax.eval_shape(model_fn, jax.eval_shape(inputs_fn, points[0, :num]))
    check_output(shape)
    numbers = member_numbers(num_points * num_runs, mesh)
    return batched(value, numbers, block=block, mesh=mesh)


def check_output(shape: Any) -> None:
    """ValueError where the model gives anything but one floating array."""
    if not isinstance(shape, jax.ShapeDtypeStruct) or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise ValueError(f"model_fn: expected one floating array as output, got {shape}")


def _estimate(
    values: Array, num: int, second_order: bool, first_order: str
) -> tuple[Array, Array, Array]:
    """S [output, input], T [output, input], S_ij [output, input, input] of centred values [point,
    run, output]."""
    a, b = values[:, :1], values[:, 1:2]
    mixed = values[:, 2 : num + 2]
    variance = jnp.var(values[:, :2], axis=(0, 1))[None]
    safe = jnp.where(variance > 0, variance, 1.0)
    if first_order == "saltelli":
        first = jnp.mean(b * (mixed - a), axis=0) / safe
    else:
        first = 1.0 - jnp.mean((b - mixed) ** 2, axis=0) / (2.0 * safe)
    total = jnp.mean((a - mixed) ** 2, axis=0) / (2.0 * safe)
    second = jnp.zeros((values.shape[2], 0, 0), values.dtype)
    if second_order:
        back = values[:, num + 2 :]
        both = jnp.einsum("nio,njo->oij", back, mixed) / values.shape[0]
        both = (both - jnp.mean(a * b, axis=0)[0][:, None, None]) / safe[0][:, None, None]
        closed = 0.5 * (both + jnp.swapaxes(both, 1, 2))  # either input may be taken from B
        single = first.T
        second = closed - single[:, :, None] - single[:, None, :]
        second = jnp.where(jnp.eye(num, dtype=bool)[None], 0.0, second)
    return first.T, total.T, second


def _where_estimated(status: Array, values: Array) -> Array:
    known = (status == 0).reshape(-1, *[1] * (values.ndim - 1))
    return jnp.where(known, values, jnp.nan)
