"""Multilayer perceptron with a sigmoid of given slope on every layer, one equation one function."""

from itertools import pairwise
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.networks.widths import glorot_uniform


def logistic(t: Array, slope: ArrayLike = 1.0) -> Array:
    """Sigmoid of slope a: f(t) = 1 / (1 + e^{-a t}), shape and dtype of `t`.

    Source: Vavilova, Ketova (2020), Intelligent Systems in Manufacturing 18(1), below eq (6).
    """
    return jax.nn.sigmoid(jnp.asarray(slope, t.dtype) * t)


def incoming_signal(w: Array, u: Array) -> Array:
    """Weighted sum that enters every neuron of a layer: d_j = sum_{i=0}^{N} w_ij u_i, u_0 = 1.

    Args:
        w: weights, [1 + input, neuron]; row 0 is the bias.
        u: outputs of the layer before, [..., input].

    Returns:
        d, [..., neuron].

    Source: Vavilova, Ketova (2020), eq (7).
    """
    return with_bias(u) @ w


def with_bias(u: Array) -> Array:
    """Outputs of a layer with u_0 = 1 in front, [..., 1 + neuron].

    Source: Vavilova, Ketova (2020), eq (5)-(6); (6) prints u_j = 1 where u_0 = 1 is meant.
    """
    return jnp.concatenate([jnp.ones((*u.shape[:-1], 1), u.dtype), u], axis=-1)


def layer_outputs(params: Any, x: Array, slope: ArrayLike = 1.0) -> list[Array]:
    """Outputs of every layer, u^0 = x, u^p = f(d^p), y = u^k.

    Args:
        params: weights of a `Perceptron`.
        x: scaled inputs, [..., input].
        slope: a of the sigmoid, scalar > 0.

    Returns:
        u^0 ... u^k, each [..., neuron]; the last one is the output.

    Source: Vavilova, Ketova (2020), eq (5)-(8).
    """
    u = [x]  # (5)
    for w in layer_weights(params):
        u.append(logistic(incoming_signal(w, u[-1]), slope))  # (6), (7)
    return u  # (8): y = u^k


def layer_weights(params: Any) -> list[Array]:
    """Weights of a `Perceptron` in the order of its layers, each [1 + input, neuron], eq (4)."""
    weights = params["params"]
    return [weights[f"w_{p}"] for p in range(1, len(weights) + 1)]


class Perceptron(nn.Module):
    """Multilayer perceptron, equations (4)-(8): a sigmoid on every layer, the output included.

    `init(key, x, slope)` and `apply(params, x, slope)`, x [..., input] to y [..., output] in
    (0, 1); `slope`, 1 if not given, is an argument, so that one program serves a vmap of slopes.

    Attributes:
        num_outputs: l.
        widths: neurons of the hidden layers; the paper has two and names no widths.
        dtype: type of weights and results.

    Notes:
        Differentiable in weights, inputs and slope. Weights w_p, p = 1..k, are [1 + input, neuron]
        with the bias in row 0. They start Glorot-uniform times 4 / a, so that a layer has the
        derivative f'(0) w of a Glorot-uniform one, biases at 0 (the paper names no start). The
        network depends on a w alone: a slope changes no function that can be represented, it
        multiplies the learning rate (by a^2 for the rule of the paper).

    Source: Vavilova, Ketova (2020), Intelligent Systems in Manufacturing 18(1), eq (4)-(8).
    """

    num_outputs: int = 1
    widths: tuple[int, ...] = (8, 8)
    dtype: str = "float64"

    @nn.compact
    def __call__(self, x: Array, slope: ArrayLike = 1.0) -> Array:
        if x.ndim < 1 or min(x.shape[-1], self.num_outputs, *self.widths) < 1:
            raise ValueError(
                f"expected x [..., input] with an input and at least one neuron a layer, got "
                f"{x.shape}, widths {self.widths} and {self.num_outputs} outputs"
            )
        sizes = (x.shape[-1], *self.widths, self.num_outputs)
        weights = {}
        for p, (num_inputs, num_neurons) in enumerate(pairwise(sizes), 1):
            draw = _draw(num_inputs, num_neurons, slope, jnp.dtype(self.dtype))
            weights[f"w_{p}"] = self.param(f"w_{p}", draw)
        return layer_outputs({"params": weights}, x.astype(jnp.dtype(self.dtype)), slope)[-1]


def _draw(num_inputs: int, num_neurons: int, slope: ArrayLike, dtype: jnp.dtype) -> Any:
    """Start of one layer: key -> weights [1 + input, neuron]."""

    def draw(key: Array) -> Array:
        fans = jnp.array([num_inputs, num_neurons], jnp.int32)
        w = glorot_uniform(key, (num_inputs, num_neurons), fans[0], fans[1], dtype)
        bias = jnp.zeros((1, num_neurons), dtype)
        return jnp.concatenate([bias, 4.0 / jnp.asarray(slope, dtype) * w])

    return draw
