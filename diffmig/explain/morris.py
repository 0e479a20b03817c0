"""Morris screening: elementary effects of one input at a time along random trajectories."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

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
    check_unit,
    member_numbers,
    num_inputs,
    unflatten,
)
from diffmig.explain.sobol_indices import check_output, one_output
from diffmig.random import fold_in

EFFECT_STATUS = ("computed", "a value is not finite")


class MorrisEffects(NamedTuple):
    """Elementary effects over trajectories; pytrees like the inputs, leaves [*out, *in].

    An effect is a change of the output per whole range of the input: all have the unit of the
    output.

    Attributes:
        mu: mean effect.
        mu_star: mean absolute effect.
        sigma: standard deviation of the effects, divisor trajectories - 1; 0 for an input that acts
            linearly and alone.
        mu_star_error: standard error of `mu_star`.
        status: int8 [*out], index into `EFFECT_STATUS`.
    """

    mu: Any
    mu_star: Any
    sigma: Any
    mu_star_error: Any
    status: Array


def morris_trajectories(
    key: Array, num_trajectories: int, num_columns: int, *, num_levels: int = 4
) -> Array:
    """Random trajectories of the unit cube, [trajectory, 1 + input, input].

    Every step moves one input by p / (2 (p - 1)) up or down on a grid of p levels; every input
    moves once, in random order.

    Args:
        key: random key; trajectory r is drawn from fold_in(key, r), so that more trajectories keep
            those before.
        num_trajectories: 10 to 50 are usual.
        num_columns: number of inputs.
        num_levels: p, even: then all levels are equally likely.

    Returns:
        Points, default float.

    Raises:
        ValueError: no trajectory or column, num_levels odd or below 2.

    Source: Morris, 1991, Factorial sampling plans for preliminary computational experiments,
    Technometrics 33(2), section 3.
    """
    if num_trajectories < 1 or num_columns < 1 or num_levels < 2 or num_levels % 2:
        raise ValueError(
            "expected num_trajectories and num_columns >= 1 and an even num_levels >= 2, got "
            f"{num_trajectories}, {num_columns} and {num_levels}"
        )
    return _draw_trajectories(key, num_trajectories, num_columns, num_levels)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _draw_trajectories(
    key: Array, num_trajectories: int, num_columns: int, num_levels: int
) -> Array:
    half = num_levels // 2

    def draw(number: Array) -> Array:
        names = ("base", "direction", "order")
        keys = dict(zip(names, jax.random.split(fold_in(key, number), 3), strict=True))
        base = jax.random.randint(keys["base"], (num_columns,), 0, half)
        up = jax.random.bernoulli(keys["direction"], 0.5, (num_columns,))
        rank = jnp.argsort(jax.random.uniform(keys["order"], (num_columns,)))
        moved = rank[None, :] < jnp.arange(num_columns + 1)[:, None]
        level = base[None, :] + jnp.where(moved == up[None, :], half, 0)
        return level.astype(jnp.result_type(float)) / (num_levels - 1)

    return jax.vmap(draw)(jnp.arange(num_trajectories, dtype=jnp.uint32))


def morris_effects(
    model_fn: Callable[[Any], Array],
    box: InputBox,
    trajectories: ArrayLike,
    *,
    transform_fn: Callable[[Any], Any] | None = None,
    block: int | None = None,
    mesh: Mesh | None = None,
) -> MorrisEffects:
    """Mean, mean absolute value and scatter of the elementary effects of every input.

    effect_i = (f(next) - f(before)) / (x_i of next - x_i of before), x in the unit cube
    mu = mean effect_i,  mu* = mean |effect_i|,  sigma = standard deviation of effect_i

    Args:
        model_fn: inputs -> output array of any shape.
        box: independent inputs; its ends are 0 and 1 of the cube.
        trajectories: [trajectory, 1 + input, input], from `morris_trajectories` or any others in
            which every step moves one input and every input moves once.
        transform_fn: as in `box_fn`.
        block: model runs side by side; None: all.  mesh: devices that share them.

    Returns:
        MorrisEffects; of one trajectory sigma and the error are NaN.

    Raises:
        ValueError: box as `num_inputs`, trajectories of another shape, outside the unit cube or
            that do not move one input at a time (not checked when traced).

    Notes:
        trajectory (input + 1) model runs; compiled once for every model function.

    Source: Morris, 1991; Campolongo, Cariboni, Saltelli, 2007, An effective screening design for
    sensitivity analysis of large models (mu*).
    """
    num = num_inputs(box)
    points = _check(trajectories, num)
    values = _run_all(box, points.reshape(-1, num), model_fn, transform_fn, block, mesh)
    return _effects(box, points, on_one_device(values, points.shape[0] * (num + 1), mesh))


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _run_all(
    box: InputBox,
    points: Array,
    model_fn: Callable[[Any], Array],
    transform_fn: Callable[[Any], Any] | None,
    block: int | None,
    mesh: Mesh | None,
) -> Array:
    inputs_fn = box_fn(box, transform_fn)
    check_output(jax.eval_shape(model_fn, jax.eval_shape(inputs_fn, points[0])))
    numbers = member_numbers(points.shape[0], mesh)
    return batched(lambda n: model_fn(inputs_fn(points[n])), numbers, block=block, mesh=mesh)


@jax.jit
def _effects(box: InputBox, points: Array, values: Array) -> MorrisEffects:
    """Statistics of the outputs at all points, [trajectory x (1 + input), *out]."""
    num_trajectories, _, num = points.shape
    out_shape = values.shape[1:]
    values = values.reshape(num_trajectories, num + 1, -1)
    step = jnp.diff(points, axis=1)
    at = jnp.argmax(jnp.abs(step), axis=2)  # which input moves at each step
    size = jnp.take_along_axis(step, at[:, :, None], axis=2)
    gain = jnp.diff(values, axis=1) / size.astype(values.dtype)
    order = jnp.argsort(at, axis=1)  # step at which each input moves
    effects = jnp.take_along_axis(gain, order[:, :, None], axis=1)  # [trajectory, input, output]

    def named(flat: Array) -> Any:
        return unflatten(box.low, flat.T.reshape(*out_shape, num))

    def scatter(parts: Array) -> Array:
        if num_trajectories == 1:
            return jnp.full(parts.shape[1:], jnp.nan, parts.dtype)
        return jnp.std(parts, axis=0, ddof=1)

    finite = jnp.all(jnp.isfinite(values), axis=(0, 1))
    return MorrisEffects(
        mu=named(jnp.mean(effects, axis=0)),
        mu_star=named(jnp.mean(jnp.abs(effects), axis=0)),
        sigma=named(scatter(effects)),
        mu_star_error=named(scatter(jnp.abs(effects)) / num_trajectories**0.5),
        status=jnp.where(finite, 0, 1).astype(jnp.int8).reshape(out_shape),
    )


def morris_frame(
    result: MorrisEffects,
    *,
    output_labels: Sequence[Any] | None = None,
    input_labels: Mapping[str, Sequence[Any]] | None = None,
    input_units: Mapping[str, str] | None = None,
    output_units: Mapping[Any, str] | None = None,
) -> pd.DataFrame:
    """Tidy table: one row per output number and input number.

    Args:
        result: from `morris_effects`.
        output_labels, input_labels, input_units, output_units: as `sensitivity_frame`; effects have
            the unit of the output.

    Returns:
        DataFrame: output, input, index, mu, mu_star, sigma, mu_star_error, status (words), units
        where given.

    Raises:
        ValueError: labels or units that do not fit.
    """
    return tidy_frame(
        one_output(result.mu, result.status.ndim),
        {name: getattr(result, name) for name in ("mu", "mu_star", "sigma", "mu_star_error")},
        {"status": np.array(EFFECT_STATUS)[np.asarray(result.status)]},
        output_labels=output_labels,
        input_labels=input_labels,
        input_units=input_units,
        output_units=output_units,
    )


def _check(trajectories: ArrayLike, num: int) -> Array:
    points = jnp.asarray(trajectories)
    if points.ndim != 3 or points.shape[1:] != (num + 1, num) or not points.shape[0]:
        raise ValueError(
            f"trajectories: expected [trajectory, {num + 1}, {num}], got {points.shape}; make them "
            f"with morris_trajectories(key, num_trajectories, {num})"
        )
    check_unit(points)
    if not isinstance(points, jax.core.Tracer):
        moved = np.diff(np.asarray(points), axis=1) != 0
        if not ((moved.sum(axis=2) == 1).all() and (moved.sum(axis=1) == 1).all()):
            raise ValueError(
                "trajectories: expected every step to move one input and every input to move once"
            )
    return points
