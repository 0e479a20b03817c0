"""LSTM, Elman and back-propagation networks as flax modules, one equation one function.

All three share one contract: `init(key, x, units)` and `apply(params, x, units)` with x [year,
factor] and units [layer], the true number of units of every layer; a layer of zero units is
skipped. The result is the scaled output of every year, [year].
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from diffmig.networks.widths import glorot_uniform, unit_mask

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda z: z,
    "logistic": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "exponential": jnp.exp,
}


def activation(name: str) -> Callable[[Array], Array]:
    """Activation function called `name`.

    Raises:
        ValueError: unknown name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {sorted(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


class _Padded(nn.Module):
    """Network padded to `width` units a layer, equal to the unpadded one for the same key.

    Attributes:
        width: padded number of units of a layer.
        num_layers: number of hidden layers that can be used.
        output: activation of the output.
        dtype: type of weights and results.
    """

    width: int = 16
    num_layers: int = 1
    output: str = "identity"
    dtype: str = "float32"

    def weights(self, name: str, num_inputs: int, fan_in: Array, fan_out: Array) -> Array:
        """Weights of a map from `num_inputs` (`fan_in` true) inputs to `fan_out` true units."""
        dtype = jnp.dtype(self.dtype)

        def draw(key: Array) -> Array:
            full = glorot_uniform(key, (num_inputs, self.width), fan_in, fan_out, dtype)
            rows = jnp.arange(num_inputs, dtype=jnp.int32)[:, None] < fan_in
            columns = jnp.arange(self.width, dtype=jnp.int32)[None, :] < fan_out
            return jnp.where(rows & columns, full, jnp.zeros((), dtype))

        return self.param(name, draw)

    def bias(self, name: str, value: float, units: Array) -> Array:
        """Bias of a layer, `value` at its true units."""
        dtype = jnp.dtype(self.dtype)
        return self.param(name, lambda _: value * unit_mask(units, self.width, dtype))

    def readout(self, hidden: Array, fan_in: Array, use_bias: bool = True) -> Array:
        """y(t) = f(w h(t) + b), [year]."""
        dtype = jnp.dtype(self.dtype)
        one = jnp.ones((), jnp.int32)

        def draw(key: Array) -> Array:
            column = glorot_uniform(key, (self.width, 1), fan_in, one, dtype)[:, 0]
            return column * unit_mask(fan_in, self.width, dtype)

        y = hidden @ self.param("w_out", draw)
        if use_bias:
            y = y + self.param("b_out", lambda _: jnp.zeros((), dtype))
        return activation(self.output)(y)

    def layer(self, number: int, x: Array, fan_in: Array, units: Array) -> Array:
        raise NotImplementedError

    has_output_bias = True

    @nn.compact
    def __call__(self, x: Array, units: Array) -> Array:
        _check_inputs(x, units, self)
        hidden, fan_in = x.astype(jnp.dtype(self.dtype)), jnp.asarray(x.shape[-1], jnp.int32)
        for number in range(self.num_layers):
            here = units[number].astype(jnp.int32)
            new = self.layer(number, hidden, fan_in, here)
            if number == 0:
                hidden, fan_in = new, here
            else:
                hidden = jnp.where(here > 0, new, hidden)
                fan_in = jnp.where(here > 0, here, fan_in)
        return self.readout(hidden, fan_in, self.has_output_bias)


class LSTM(_Padded):
    """Long short-term memory network, equations (1)-(6).

    i = s(W_i [h, x] + b_i), f = s(W_f [h, x] + b_f), o = s(W_o [h, x] + b_o), g = tanh(W_c [h, x] +
    b_c), c <- f c + i g,  h <- o tanh(c)

    Attributes:
        gate: s, "logistic" (standard) or "relu" (as printed; the state may grow without bound, fits
            report it by status).

    Notes:
        Differentiable in weights and inputs; gradients of padded weights are exactly zero. Weights
        are Glorot-uniform at the true width, the forget bias starts at 1 (the paper names neither).

    Source: Vavilova, Ketova, Zerari (2025), Computer Research and Modeling 17(6), eq (1)-(6).
    """

    gate: str = "logistic"

    def layer(self, number: int, x: Array, fan_in: Array, units: Array) -> Array:
        sigma, width = activation(self.gate), self.width
        mask = unit_mask(units, width, x.dtype)
        w_x, w_h, bias = [], [], []
        for gate in "ifoc":
            w_x.append(self.weights(f"w_{gate}x{number}", x.shape[-1], fan_in, units))
            w_h.append(self.weights(f"w_{gate}h{number}", width, units, units))
            bias.append(self.bias(f"b_{gate}{number}", 1.0 if gate == "f" else 0.0, units))
        w_hh = jnp.concatenate(w_h, axis=1)
        from_input = x @ jnp.concatenate(w_x, axis=1) + jnp.concatenate(bias)[None, :]

        def update(z: Array, c: Array) -> tuple[Array, Array]:
            i = sigma(z[:width])  # (1)
            f = sigma(z[width : 2 * width])  # (2)
            o = sigma(z[2 * width : 3 * width])  # (3)
            candidate = jnp.tanh(z[3 * width :])  # (4)
            c = f * c + i * candidate  # (5)
            h = o * jnp.tanh(c) * mask  # (6)
            return h, c

        def step(carry: tuple[Array, Array], from_x: Array) -> tuple[tuple[Array, Array], Array]:
            h, c = carry
            h, c = update(from_x + h @ w_hh, c)
            return (h, c), h

        zero = jnp.zeros(width, x.dtype)
        if x.shape[0] == 1:  # a window of one year: h = 0 and W_h does nothing
            return update(from_input[0], zero)[0][None, :]
        return lax.scan(step, (zero, zero), from_input)[1]


class Elman(_Padded):
    """Elman network: X(t) = f1(W1 Xc(t) + W1' U(t) + b1), Xc(t) = X(t-1), Y(t) = f2(W2 X(t) + b2).

    The paper prints one W1 for context and input, whose shapes differ; here they are two matrices.
    The paper reads last year's input U(t-1): give the lag in the `Layout`.

    Attributes:
        hidden: f1, "tanh" by default (the paper names none).

    Notes:
        Differentiable in weights and inputs; gradients of padded weights are exactly zero.

    Source: Vavilova, Ketova, Zerari (2025), Computer Research and Modeling 17(6), section 3.3.
    """

    hidden: str = "tanh"

    def layer(self, number: int, x: Array, fan_in: Array, units: Array) -> Array:
        f1 = activation(self.hidden)
        mask = unit_mask(units, self.width, x.dtype)
        w_x = self.weights(f"w_x{number}", x.shape[-1], fan_in, units)
        w_c = self.weights(f"w_c{number}", self.width, units, units)
        from_input = x @ w_x + self.bias(f"b_{number}", 0.0, units)[None, :]

        def step(context: Array, from_x: Array) -> tuple[Array, Array]:
            state = f1(context @ w_c + from_x) * mask
            return state, state

        if x.shape[0] == 1:  # a window of one year: the context is empty
            return f1(from_input) * mask[None, :]
        return lax.scan(step, jnp.zeros(self.width, x.dtype), from_input)[1]


class BPNN(_Padded):
    """Back-propagation network: h_k = f(sum_i w_ki x_i), y = s(sum_k z_k h_k).

    As printed the hidden sum is linear and nothing has a bias, so that any width equals one
    logistic neuron through the origin; a hidden activation and biases are options.

    Attributes:
        hidden: f, "identity" as printed.
        bias: biases in both layers; the printed form has none.

    Notes:
        Differentiable in weights and inputs; gradients of padded weights are exactly zero.

    Source: Vavilova, Ketova, Zerari (2025), Computer Research and Modeling 17(6), section 3.2.
    """

    hidden: str = "identity"
    output: str = "logistic"
    bias_terms: bool = False

    @property
    def has_output_bias(self) -> bool:  # type: ignore[override]
        return self.bias_terms

    def layer(self, number: int, x: Array, fan_in: Array, units: Array) -> Array:
        z = x @ self.weights(f"w_{number}", x.shape[-1], fan_in, units)
        if self.bias_terms:
            z = z + self.bias(f"b_{number}", 0.0, units)[None, :]
        mask = unit_mask(units, self.width, x.dtype)
        return activation(self.hidden)(z) * mask[None, :]


def _check_inputs(x: Array, units: Array, network: _Padded) -> None:
    if x.ndim != 2 or x.shape[0] == 0:
        raise ValueError(f"x: expected [year, factor] with at least one year, got shape {x.shape}")
    if units.shape != (network.num_layers,):
        raise ValueError(
            f"units: expected shape ({network.num_layers},), one per layer, got {units.shape}"
        )
