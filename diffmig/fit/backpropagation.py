"""Training of perceptrons: back-propagation sample by sample as printed, and in batches.

Scaled inputs are x [sample, input], scaled outputs r (given) and y (computed) [sample, output]; a
sample is a year. Equation numbers are those of Vavilova, Ketova (2020), Intelligent Systems in
Manufacturing 18(1), 26-35, doi 10.22213/2410-9304-2020-1-26-35.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from diffmig.fit.gradient import train
from diffmig.fit.losses import weighted_mape
from diffmig.networks import layer_outputs, layer_weights, with_bias

AIM_PERCENT = 1.0  # training error that figure 8 runs to


class PerceptronTraining(NamedTuple):
    """Outcome of training.

    Attributes:
        params: weights; where it diverged, the last finite ones.
        error: [1 + epoch], training error (23) after 0, 1, ... epochs, percent; not finite at the
            epoch that failed, then held.
        epochs_to_one_percent: int32, first epoch with error <= 1 % (figure 8), -1 if none.
        diverged: bool, an error, gradient or weight was not finite.
    """

    params: Any
    error: Array
    epochs_to_one_percent: Array
    diverged: Array


def sample_loss(params: Any, x: Array, r: Array, slope: ArrayLike = 1.0) -> Array:
    """Error of a sample: E_q(W) = 1/2 sum_j (y_qj - r_qj)^2, eq (9).

    Args:
        params: weights of a `Perceptron`.
        x: scaled inputs, [..., input].  r: scaled outputs, [..., output].
        slope: a of the sigmoid.

    Returns:
        E, [...]. Differentiable.
    """
    y = layer_outputs(params, x, slope)[-1]
    return 0.5 * jnp.sum((y - r) ** 2, axis=-1)


def backpropagate(params: Any, x: Array, r: Array, slope: ArrayLike = 1.0) -> Any:
    """Gradient (11) of the error (9) of one sample by back-propagation, equations (13)-(18).

    dE/dw_ij^p = delta_j^p u_i^{p-1}, delta^p from delta^{p+1}, from the last layer to the first

    Args:
        params: weights of a `Perceptron`.
        x: [input].  r: [output].
        slope: a of the sigmoid.

    Returns:
        gradient, tree of `params`.

    Notes:
        Equal to `jax.grad(sample_loss)`. The paper prints delta_j inside the sum over i of
        (16)-(17), where delta_i is meant.
    """
    u, w = layer_outputs(params, x, slope), layer_weights(params)
    rise = [jnp.asarray(slope, v.dtype) * v * (1.0 - v) for v in u]  # (14)
    delta = (u[-1] - r) * rise[-1]  # (18)
    gradient = {}
    for p in range(len(w), 0, -1):
        gradient[f"w_{p}"] = jnp.outer(with_bias(u[p - 1]), delta)  # (13), (15)
        delta = (w[p - 1][1:] @ delta) * rise[p - 1]  # (16), (17)
    return {"params": gradient}


def update_sample(
    params: Any, x: Array, r: Array, slope: ArrayLike, learning_rate: ArrayLike
) -> Any:
    """Weights after one sample: w_ij^p <- w_ij^p - lambda delta_j^p u_i^{p-1}, eq (10), (12), (19).

    The paper prints u_j for u_i in (19).
    """
    gradient = backpropagate(params, x, r, slope)
    return jax.tree.map(lambda w, g: w - jnp.asarray(learning_rate, w.dtype) * g, params, gradient)


def training_error(
    params: Any, x: Array, r: Array, slope: ArrayLike = 1.0, weight: Array | None = None
) -> Array:
    """Training error: 100 sqrt(2 / (l n) sum_q E_q(W)), percent of the scaled range, eq (23).

    Args:
        params, slope: as `sample_loss`.
        x: [sample, input].  r: [sample, output].
        weight: [sample], >= 0; None: 1. The mean over n samples becomes the weighted one.

    Returns:
        error, scalar, percent. Differentiable; gradient 0 at a perfect fit.
    """
    return percent_error(_mean_loss(params, x, r, slope, weight), r.shape[-1])


def deviation_percent(actual: Array, fitted: Array, weight: Array | None = None) -> Array:
    """Deviation of every output: 100 / M sum_t |fitted_t - actual_t| / actual_t, eq (24).

    Args:
        actual, fitted: [year, output], one unit, actual > 0 where weighted.
        weight: [year], >= 0; None: 1.

    Returns:
        deviation, [output], percent (the paper prints a fraction and quotes percent).
    """
    weight = jnp.ones(actual.shape[0], actual.dtype) if weight is None else weight
    return jax.vmap(weighted_mape, (1, 1, None))(actual, fitted, weight)


def train_per_sample(
    params: Any,
    x: Array,
    r: Array,
    slope: ArrayLike,
    learning_rate: ArrayLike,
    *,
    num_epochs: int,
    weight: Array | None = None,
    shuffle_key: Array | None = None,
) -> PerceptronTraining:
    """Weights after `num_epochs` passes of (19) over the samples, one by one.

    Args:
        params: weights of a `Perceptron`.
        x: [sample, input].  r: [sample, output].
        slope, learning_rate: a and lambda, scalars, may be traced.
        weight: [sample], factor of E_q in (9), >= 0; None: 1.
        shuffle_key: key of a new order in every epoch; None keeps the order of the rows, as in the
            paper.

    Returns:
        PerceptronTraining. An epoch that leaves anything not finite stops the training before it.
    """
    num_samples = x.shape[0]
    weight = jnp.ones(num_samples, x.dtype) if weight is None else weight
    rate = jnp.asarray(learning_rate, x.dtype) * weight

    def one_sample(params: Any, q: Array) -> tuple[Any, None]:
        return update_sample(params, x[q], r[q], slope, rate[q]), None

    def one_epoch(carry: tuple[Any, Array, Array], epoch: Array) -> tuple[Any, Array]:
        params, error, diverged = carry
        order = jnp.arange(num_samples, dtype=jnp.int32)
        if shuffle_key is not None:
            order = jax.random.permutation(jax.random.fold_in(shuffle_key, epoch), order)
        new = lax.scan(one_sample, params, order)[0]
        new_error = training_error(new, x, r, slope, weight)
        finite = jnp.isfinite(new_error)
        for w in layer_weights(new):
            finite = finite & jnp.all(jnp.isfinite(w))
        shown = jnp.where(diverged, error, new_error)
        diverged = diverged | ~finite
        held = jax.tree.map(partial(jnp.where, diverged), (params, error), (new, new_error))
        return (*held, diverged), shown

    start = (params, training_error(params, x, r, slope, weight), jnp.zeros((), bool))
    (params, _, diverged), error = lax.scan(
        one_epoch, start, jnp.arange(num_epochs, dtype=jnp.int32)
    )
    return _training(params, jnp.concatenate([start[1][None], error]), diverged)


def train_batch(
    params: Any,
    x: Array,
    r: Array,
    slope: ArrayLike,
    learning_rate: ArrayLike,
    *,
    num_epochs: int,
    weight: Array | None = None,
) -> PerceptronTraining:
    """Weights after `num_epochs` steps of Adam on the mean of (9) over all samples.

    Args, Returns: as `train_per_sample`; a sample's weight counts relative to the others.
    """

    def loss_fn(params: Any) -> tuple[Array, Array]:
        loss = _mean_loss(params, x, r, slope, weight)
        return loss, percent_error(loss, r.shape[-1])

    rate = jnp.asarray(learning_rate, x.dtype)
    steps, decay = jnp.asarray(num_epochs, jnp.int32), jnp.zeros_like(rate)
    done = train(params, loss_fn, rate, steps, decay, max_epochs=num_epochs)
    error = jnp.append(done.metric, training_error(done.params, x, r, slope, weight))
    return _training(done.params, error, done.diverged)


def percent_error(mean_loss: Array, num_outputs: int) -> Array:
    """100 sqrt(2 / l mean_q E_q), eq (23), from the mean of (9); gradient 0 at 0."""
    square = 2.0 / num_outputs * mean_loss
    return 100.0 * jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), square)


def _training(params: Any, error: Array, diverged: Array) -> PerceptronTraining:
    reached = error <= AIM_PERCENT
    first = jnp.where(jnp.any(reached), jnp.argmax(reached), -1).astype(jnp.int32)
    return PerceptronTraining(params, error, first, diverged)


def _mean_loss(params: Any, x: Array, r: Array, slope: ArrayLike, weight: Array | None) -> Array:
    return jnp.average(sample_loss(params, x, r, slope), weights=weight)
