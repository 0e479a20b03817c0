"""Gradient training with a fixed budget, for use inside vmap."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.flatten_util import ravel_pytree

OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "adam": optax.scale_by_adam,
    "sgd": optax.identity,
}


class Training(NamedTuple):
    """Outcome of gradient training.

    Attributes:
        params: trained parameters; where it diverged, those of the last epoch whose loss and
            gradient were finite.
        loss: [epoch], loss before each update, held after the last one.
        metric: [epoch, ...], second result of the loss function, likewise.
        diverged: bool, a loss or gradient was not finite.
    """

    params: Any
    loss: Array
    metric: Any
    diverged: Array


def train(
    params: Any,
    loss_fn: Callable[[Any], tuple[Array, Any]],
    learning_rate: Array,
    epochs: Array,
    weight_decay: Array,
    *,
    max_epochs: int,
    optimizer: str = "adam",
) -> Training:
    """Parameters after `epochs` full-batch steps.

    params <- params - learning_rate (direction(gradient) + weight_decay params)

    Args:
        params: pytree of floating arrays of one dtype.
        loss_fn: params -> (loss, metric).
        learning_rate, weight_decay: scalars >= 0, may be traced, so that one program serves a vmap
            of settings.
        epochs: number of steps, <= max_epochs, may be traced; later steps change nothing.
        max_epochs: length of the compiled loop.
        optimizer: "adam" (decoupled weight decay) or "sgd".

    Returns:
        Training. A step whose loss or gradient is not finite stops the training there.

    Raises:
        ValueError: unknown optimizer or `max_epochs` < 1.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected one of {sorted(OPTIMIZERS)}, got {optimizer!r}")
    if max_epochs < 1:
        raise ValueError(f"max_epochs: expected at least 1, got {max_epochs}")
    rule = OPTIMIZERS[optimizer]()
    # one flat vector: a network has a dozen leaves, and every leaf costs kernels at every step
    flat, unravel = ravel_pytree(params)
    rate, decay = learning_rate.astype(flat.dtype), weight_decay.astype(flat.dtype)

    def step(carry: tuple[Array, Array, Any, Array], epoch: Array) -> tuple[Any, Any]:
        x, before, state, diverged = carry
        value_and_grad = jax.value_and_grad(lambda x: loss_fn(unravel(x)), has_aux=True)
        (loss, metric), gradient = value_and_grad(x)
        finite = jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient))
        failed = (epoch < epochs) & ~finite
        diverged = diverged | failed
        moving = (epoch < epochs) & ~diverged
        with jax.numpy_dtype_promotion("standard"):
            direction, new_state = rule.update(gradient, state, x)
        new = x - rate * (direction + decay * x)
        held = jnp.where(failed, before, x)
        x, before, state = jax.tree.map(
            partial(jnp.where, moving), (new, x, new_state), (held, before, state)
        )
        return (x, before, state, diverged), (loss, metric)

    start = (flat, flat, rule.init(flat), jnp.zeros((), bool))
    (flat, _, _, diverged), (loss, metric) = lax.scan(
        step, start, jnp.arange(max_epochs, dtype=jnp.int32)
    )
    return Training(unravel(flat), loss, metric, diverged)
