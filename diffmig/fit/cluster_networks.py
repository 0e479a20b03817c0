"""Networks of clusters of towns: one hidden layer, four activations on either layer, ensembles.

Thousands of such networks are trained side by side, so that the weights of all stand in one array
with the member axis last, hidden layers padded to a common width.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.data import Scaler, scale
from diffmig.networks import with_bias
from diffmig.programs import one_program
from diffmig.random import uniform_pair

LAYER_ACTIVATIONS = ("identity", "logistic", "tanh", "exponential")
MAX_EXPONENT = 30.0  # squares of e^30 are still far from the largest float32
_IDENTITY, _LOGISTIC, _TANH, _EXPONENTIAL = range(4)
# activation = identity * t + exponential * z + factor / (1 + z) + shift, z = exp(rate * t)
_RATE = (0.0, -1.0, -2.0, 1.0)
_FACTOR = (0.0, 1.0, 2.0, 0.0)
_SHIFT = (0.0, 0.0, -1.0, 0.0)
# ranges of the output activations, and what is stretched onto the range of the target
_LOWEST = (0.0, 0.0, -1.0, 0.0)
_SPAN = (1.0, 1.0, 2.0, 1.0)
MAX_UNITS = 1024  # numbers of the starts are counted by units


class Architecture(NamedTuple):
    """What distinguishes the members of a batch of networks, leaves [member].

    Attributes:
        units: hidden units, int32.
        hidden, output: index into `LAYER_ACTIVATIONS`, int32.
    """

    units: Any
    hidden: Any
    output: Any


class Weights(NamedTuple):
    """Weights of a batch of networks; those of padded units are 0.

    Attributes:
        offset: bias of the output, [member].
        first: weights into the hidden units, [unit, 1 + factor, member]; row 0 is the bias.
        second: weights of the hidden units into the output, [unit, member].
    """

    offset: Array
    first: Array
    second: Array


class OutputRange(NamedTuple):
    """Output = low + width * activation, [member], in standard deviations of the target."""

    low: Array
    width: Array


class NetworkEnsemble(NamedTuple):
    """Trained networks of one cluster, the best of the search first.

    Attributes:
        weights: leaves as in `Weights`.
        architecture: leaves [member].
        reach: of the outputs, leaves [member].
        inputs: scaler of the factors; its low and high are the training range.
        center, spread: mean and standard deviation of the target over the training rows, [].
    """

    weights: Weights
    architecture: Architecture
    reach: OutputRange
    inputs: Scaler
    center: Array
    spread: Array


def activate(signal: Array, kind: Array) -> Array:
    """Activation number `kind` of `LAYER_ACTIVATIONS`, by one exponential for all four.

    identity: t;  logistic: 1 / (1 + e^-t);  tanh: 2 / (1 + e^-2t) - 1;  exponential: e^t

    Args:
        signal: t, [..., member].
        kind: int32, [member].

    Returns:
        [..., member], dtype of `signal`.

    Notes:
        Differentiable. Exponents are kept within +-30, so that a large weight gives a large loss
        and not an infinity: the exponential ends at e^30 = 1e13, with derivative 0 beyond, and
        logistic and tanh are constant from |t| = 30 and 15 on, 1e-13 from their limits.
    """
    own = jnp.expand_dims(kind, tuple(range(signal.ndim - 1)))
    rate, factor, shift = (_of_kind(v, own, signal.dtype) for v in (_RATE, _FACTOR, _SHIFT))
    z = jnp.exp(jnp.clip(rate * signal, -MAX_EXPONENT, MAX_EXPONENT))
    linear = jnp.where(own == _IDENTITY, signal, shift)
    return linear + jnp.where(own == _EXPONENTIAL, z, factor / (1.0 + z))


def _of_kind(values: tuple[float, ...], kind: Array, dtype: Any) -> Array:
    """The value of each member's activation; by comparisons, since a look-up costs a loop."""
    found = jnp.zeros(kind.shape, dtype)
    for number, value in enumerate(values):
        found = jnp.where(kind == number, jnp.asarray(value, dtype), found)
    return found


def network_outputs(
    weights: Weights, architecture: Architecture, reach: OutputRange, z: Array
) -> Array:
    """Outputs of all networks in standard deviations of the target, [row, member].

    y = low + width * share(g(offset + sum_h second_h f(first_h' (1, z))))

    Args:
        weights, architecture, reach: of the members.
        z: standardised factors, [row, factor].

    Source: Bishop, 2006, Pattern Recognition and Machine Learning, eq (5.9).
    """
    inputs = with_bias(z)
    # a product per hidden unit, [unit, row, member]: every part of it is read in order
    repeated = jnp.broadcast_to(inputs, (weights.second.shape[0], *inputs.shape))
    return _outputs(weights, architecture, reach, jnp.matmul(repeated, weights.first))


@jax.jit  # traced once for all levers, lanes and derivatives
def _outputs(
    weights: Weights, architecture: Architecture, reach: OutputRange, signal: Array
) -> Array:
    """[row, member] from what enters the hidden units, [unit, row, member]."""
    unit = jnp.arange(signal.shape[0], dtype=jnp.int32)[:, None]
    second = jnp.where(unit < architecture.units[None, :], weights.second, 0.0)
    hidden = activate(signal, architecture.hidden)
    total = weights.offset[None, :] + jnp.sum(hidden * second[:, None, :], axis=0)
    low, span = (_of_kind(v, architecture.output, total.dtype) for v in (_LOWEST, _SPAN))
    share = (activate(total, architecture.output) - low[None, :]) / span[None, :]
    return reach.low[None, :] + reach.width[None, :] * share


def output_range(target: Array, seen: Array, output: Array, margin: float | None) -> OutputRange:
    """Where the output activations map to, for a standardised target.

    A logistic or tanh output spans the target's training range and `margin` of it on either side;
    an exponential one starts `margin` below the range, in units of its width; identity: as it is.
    None leaves all activations as they are: then a logistic output cannot go below the mean.

    Args:
        target: standardised, [row].
        seen: training rows, bool [row].
        output: index into `LAYER_ACTIVATIONS`, [member].
        margin: share of the range, or None.
    """
    if margin is None:
        low, width = (_of_kind(v, output, target.dtype) for v in (_LOWEST, _SPAN))
        return OutputRange(low, width)
    least = jnp.min(jnp.where(seen, target, jnp.inf))
    most = jnp.max(jnp.where(seen, target, -jnp.inf))
    size = jnp.where(most > least, most - least, 1.0)
    plain = output == _IDENTITY
    bounded = (output == _LOGISTIC) | (output == _TANH)
    width = jnp.where(bounded, (1.0 + 2.0 * margin) * size, size)
    return OutputRange(jnp.where(plain, 0.0, least - margin * size), jnp.where(plain, 1.0, width))


def draw_starts(
    key: Array, architecture: Architecture, starts: Array, shape: tuple[int, int], dtype: jnp.dtype
) -> Array:
    """Random starts, flat, [1 + unit * (factor + 2), member]; see `split_weights`.

    w ~ U(-b, b), b = sqrt(6 / (inputs + outputs)), sqrt(2 / ...) for logistic and exponential
    units; biases alike.

    Args:
        key: random key. The numbers of a member depend on its architecture and start, not on the
            batch nor on the padded width.
        architecture: of the members.
        starts: number of the start, int32 [member].
        shape: padded units, factors.

    Source: Glorot, Bengio, 2010, eq (16); biases and the smaller logistic bound as in
        `sklearn.neural_network.MLPRegressor`.
    """
    width, num_factors = shape
    kinds = len(LAYER_ACTIVATIONS)
    row = starts * kinds * kinds + architecture.hidden * kinds + architecture.output
    row = row * MAX_UNITS + architecture.units
    size = 1 + width * (num_factors + 2)
    unit = uniform_pair(key, (row.size, size), dtype, rows=row)[0].T
    steep = (architecture.hidden == _LOGISTIC) | (architecture.hidden == _EXPONENTIAL)
    gain = jnp.where(steep, 2.0, 6.0).astype(dtype)
    units = architecture.units.astype(dtype)
    into_hidden = jnp.sqrt(gain / (units + num_factors))
    into_output = jnp.sqrt(gain / (units + 1.0))
    number = (jnp.arange(size, dtype=jnp.int32) - 1)[:, None]
    last = (number < 0) | (number % (num_factors + 2) == num_factors + 1)
    bound = jnp.where(last, into_output[None, :], into_hidden[None, :])
    used = number < architecture.units[None, :] * (num_factors + 2)
    return jnp.where(used, (2.0 * unit - 1.0) * bound, 0.0)


def split_weights(flat: Array, num_factors: int) -> Weights:
    """Weights from their flat form [1 + unit * (factor + 2), member], unit after unit."""
    rest = flat[1:].reshape(-1, num_factors + 2, flat.shape[-1])
    return Weights(flat[0], rest[:, :-1], rest[:, -1])


def join_weights(weights: Weights) -> Array:
    """Flat form of `split_weights`."""
    rest = jnp.concatenate([weights.first, weights.second[:, None, :]], axis=1)
    return jnp.concatenate([weights.offset[None, :], rest.reshape(-1, rest.shape[-1])])


@one_program()
def predict_ensemble(ensemble: NetworkEnsemble, x: ArrayLike) -> Array:
    """What every network says, [member, ...], unit of the target.

    Args:
        ensemble: of one cluster; `jax.vmap` for several.
        x: factors, [..., factor], in their units.

    Raises:
        ValueError: another number of factors.

    Notes:
        Differentiable in `x` and the weights. The mean over members is the forecast, their spread
        says how far the data leave the networks free, not how far the future is unknown. Networks
        with a logistic or tanh output end a margin beyond the training range of the target.
    """
    x = jnp.asarray(x)
    rows = x.reshape(-1, x.shape[-1])
    z = scale(ensemble.inputs, rows).astype(ensemble.weights.first.dtype)
    out = network_outputs(ensemble.weights, ensemble.architecture, ensemble.reach, z)
    out = ensemble.center + ensemble.spread * out.astype(ensemble.center.dtype)
    return out.T.reshape(-1, *x.shape[:-1])


def split_ensemble(ensemble: NetworkEnsemble) -> tuple[Array, Callable[[Array], Array]]:
    """First layers of all members as one matrix, and what follows: y = rest_fn(x @ w).

    For `diffmig.explain.shapley_values(rest_fn, point, background, first_layer=w)`, whose values
    are then [factor, member].

    Returns:
        w, [factor, unit * member], and rest_fn: [unit * member] -> [member], unit of the target.
    """
    inputs, weights = ensemble.inputs, ensemble.weights
    dtype = inputs.center.dtype
    slopes = weights.first[:, 1:].astype(dtype) / inputs.spread[None, :, None]
    shift = weights.first[:, 0].astype(dtype) - jnp.einsum("f,ufm->um", inputs.center, slopes)
    matrix = jnp.swapaxes(slopes, 0, 1).reshape(inputs.center.size, -1)
    own = weights._replace(second=weights.second.astype(dtype), offset=weights.offset.astype(dtype))
    reach = OutputRange(*(end.astype(dtype) for end in ensemble.reach))

    def rest_fn(signal: Array) -> Array:
        raw = signal.reshape(shift.shape) + shift
        out = _outputs(own, ensemble.architecture, reach, raw[:, None, :])
        return ensemble.center + ensemble.spread * out[0]

    return matrix, rest_fn
