"""How well gradients agree with central differences of the same model."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig.batching import batched, on_one_device
from diffmig.explain.input_box import (
    flatten,
    member_numbers,
    same_structure,
    unflatten,
)
from diffmig.explain.morris import EFFECT_STATUS
from diffmig.explain.sensitivity import sensitivity
from diffmig.explain.sobol_indices import check_output

GRADIENT_STATUS = EFFECT_STATUS
STEPS = (1e-3, 1e-4, 1e-5, 1e-6)


class GradientError(NamedTuple):
    """Differences between gradient and central differences; pytrees like the inputs, leaves [].

    Attributes:
        relative: norm of the difference over the larger of both norms, over all outputs and numbers
            of a leaf, at the step of best agreement, 1; 0 where both are 0.
        step: that step, relative to the scale of the inputs, 1.
        by_step: `relative` at every step, [step].
        status: int8 [], index into `GRADIENT_STATUS`.
    """

    relative: Any
    step: Any
    by_step: Any
    status: Array


def error_of_gradient(
    model_fn: Callable[[Any], Array],
    inputs: Any,
    *,
    steps: Sequence[float] = STEPS,
    scale: Any = None,
    mode: Literal["auto", "forward", "reverse"] = "auto",
    block: int | None = None,
    mesh: Mesh | None = None,
) -> GradientError:
    """Relative error of the gradient against central differences, leaf by leaf.

    (f(x + h e_i) - f(x - h e_i)) / (2 h),  h = step * scale_i

    Args:
        model_fn: inputs -> output array of any shape, differentiable.
        inputs: pytree of floating arrays of one dtype; float64, else round-off hides the gradient.
        steps: relative steps; large ones leave the curvature of the third order, small ones
            round-off: the best agreement counts, all are returned.
        scale: pytree like `inputs`, > 0; None: |x|, the largest |x| of the leaf where x is 0, 1
            where all are 0.
        mode: of the gradient, as in `sensitivity`.
        block: model runs side by side; None: all.  mesh: devices that share them.

    Returns:
        GradientError.

    Raises:
        ValueError: model and inputs as `sensitivity`, inputs of several dtypes, no step or one that
            is not > 0, a scale of another structure or not > 0 (not checked when traced).

    Notes:
        2 step input model runs; compiled once for every model function.

    Source: central differences.
    """
    inputs = jax.tree.map(jnp.asarray, inputs)
    point = flatten(inputs)
    if not len(steps) or min(steps) <= 0:
        raise ValueError(f"steps: expected at least one step > 0, got {tuple(steps)}")
    size = _own_scale(inputs) if scale is None else _given_scale(inputs, scale)
    check_output(jax.eval_shape(model_fn, inputs))
    values = _run_all(inputs, size, model_fn, tuple(steps), block, mesh)
    values = on_one_device(values, len(steps) * 2 * point.size, mesh)
    return _error(inputs, size, values, model_fn, tuple(steps), mode)


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _run_all(
    inputs: Any,
    size: Array,
    model_fn: Callable[[Any], Array],
    steps: tuple[float, ...],
    block: int | None,
    mesh: Mesh | None,
) -> Array:
    """Outputs at all moved points, [step x input x sign, output]."""
    point = flatten(inputs)
    num = point.size
    relative_steps = jnp.asarray(steps, point.dtype)
    columns = jnp.arange(num, dtype=jnp.int32)

    def value(number: Array) -> Array:
        step, rest = number // (2 * num), number % (2 * num)
        sign = (1 - 2 * (rest % 2)).astype(point.dtype)
        moved = jnp.where(columns == rest // 2, sign * relative_steps[step] * size, 0.0)
        return model_fn(unflatten(inputs, point + moved)).reshape(-1)

    numbers = member_numbers(len(steps) * 2 * num, mesh)
    return batched(value, numbers, block=block, mesh=mesh)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _error(
    inputs: Any,
    size: Array,
    values: Array,
    model_fn: Callable[[Any], Array],
    steps: tuple[float, ...],
    mode: Literal["auto", "forward", "reverse"],
) -> GradientError:
    made = sensitivity(model_fn, inputs, mode=mode)
    num, num_outputs = size.size, made.output.size
    slopes = [leaf.reshape(num_outputs, -1) for leaf in jax.tree.leaves(made.gradient)]
    gradient = jnp.concatenate(slopes, axis=1).T  # [input, output]
    relative_steps = jnp.asarray(steps, size.dtype)
    values = values.reshape(len(steps), num, 2, num_outputs)
    width = 2.0 * relative_steps[:, None] * size[None, :]
    slope = (values[:, :, 0] - values[:, :, 1]) / width[:, :, None].astype(values.dtype)
    ends = np.cumsum([0, *(int(leaf.size) for leaf in jax.tree.leaves(inputs))])
    by_step = jnp.stack(
        [_distance(slope[:, a:b], gradient[a:b]) for a, b in pairwise(ends)]
    )  # [leaf, step]
    finite = jnp.all(jnp.isfinite(values)) & jnp.all(jnp.isfinite(gradient))
    best = jnp.argmin(by_step, axis=1)

    def named(rows: Array) -> Any:
        return jax.tree.unflatten(jax.tree.structure(inputs), list(rows))

    return GradientError(
        relative=named(jnp.take_along_axis(by_step, best[:, None], axis=1)[:, 0]),
        step=named(relative_steps[best]),
        by_step=named(by_step),
        status=jnp.where(finite, 0, 1).astype(jnp.int8),
    )


def _distance(slope: Array, gradient: Array) -> Array:
    """Relative distance of [step, input, output] from [input, output], [step]."""
    gap = jnp.linalg.norm((slope - gradient[None]).reshape(slope.shape[0], -1), axis=1)
    sizes = jnp.linalg.norm(slope.reshape(slope.shape[0], -1), axis=1)
    largest = jnp.maximum(sizes, jnp.linalg.norm(gradient.reshape(-1)))
    return jnp.where(largest > 0, gap / jnp.where(largest > 0, largest, 1.0), 0.0)


def _own_scale(inputs: Any) -> Array:
    def own(leaf: Array) -> Array:
        largest = jnp.max(jnp.abs(leaf))
        return jnp.where(leaf != 0, jnp.abs(leaf), jnp.where(largest > 0, largest, 1.0))

    return flatten(jax.tree.map(own, inputs))


def _given_scale(inputs: Any, scale: Any) -> Array:
    shapes = [
        [(leaf.shape, leaf.dtype) for leaf in map(jnp.asarray, jax.tree.leaves(tree))]
        for tree in (inputs, scale)
    ]
    if not same_structure(inputs, scale) or shapes[0] != shapes[1]:
        raise ValueError(
            f"scale: expected structure, shapes and dtype of inputs {shapes[0]}, got {shapes[1]}"
        )
    size = flatten(scale)
    if not isinstance(size, jax.core.Tracer) and not (np.asarray(size) > 0).all():
        raise ValueError(f"scale: expected numbers > 0, got {float(np.min(size)):g}")
    return size
