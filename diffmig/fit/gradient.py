"""Gradient training with a fixed budget, for use inside vmap."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

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
        params: pytree of floating arrays.
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

    def step(carry: tuple[Any, Any, Any, Array], epoch: Array) -> tuple[Any, Any]:
        params, before, state, diverged = carry
        (loss, metric), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params)
        finite = jnp.isfinite(loss) & _all_finite(gradient)
        failed = (epoch < epochs) & ~finite
        diverged = diverged | failed
        moving = (epoch < epochs) & ~diverged
        with jax.numpy_dtype_promotion("standard"):
            direction, new_state = rule.update(gradient, state, params)
        new_params = jax.tree.map(
            lambda p, d: p - learning_rate.astype(p.dtype) * (d + weight_decay.astype(p.dtype) * p),
            params,
            direction,
        )
        held = _where(failed, before, params)
        params, before, state = _where(
            moving, (new_params, params, new_state), (held, before, state)
        )
        return (params, before, state, diverged), (loss, metric)

    start = (params, params, rule.init(params), jnp.zeros((), bool))
    (params, _, _, diverged), (loss, metric) = lax.scan(
        step, start, jnp.arange(max_epochs, dtype=jnp.int32)
    )
    return Training(params, loss, metric, diverged)


def _where(condition: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _all_finite(tree: Any) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
