"""Residual tanh network of time, with its derivatives by time in one forward pass.

A function of one variable is carried as its Taylor coefficients, y_k = (d/du)^k y / k!, k = 0, 1,
..., pushed through every layer together: value and derivatives cost one pass, whatever the number
of outputs.
"""

import math
from collections.abc import Iterable
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.networks.widths import glorot_uniform

Taylor = list[Array]
_REACH = 1.1  # centres beyond the ends: functions there are as rich as inside


def time_features(
    u: Array | np.ndarray, frequencies: tuple[float, ...] = (), order: int = 0
) -> Taylor:
    """Taylor coefficients of the network's inputs: u, then sin(w u) and cos(w u) of each frequency.

    (1/k!) (d/du)^k sin(w u) = w^k / k! sin(w u + k pi / 2), and so for the cosine

    Args:
        u: scaled time, [time].
        frequencies: w, radians per unit of u.
        order: of the last coefficient.

    Returns:
        order + 1 arrays, [time, 1 + 2 frequencies]; of NumPy if u is.
    """
    xp: Any = np if isinstance(u, np.ndarray) else jnp  # constants of a fit cost no compilation
    lines = [u, xp.ones_like(u), *[xp.zeros_like(u)] * (order - 1)]
    w = xp.asarray(frequencies, u.dtype)
    angle = u[:, None] * w[None, :]
    features = []
    for k in range(order + 1):
        size = (w**k / math.factorial(k))[None, :]
        waves = [size * xp.sin(angle + (k + quarter) * (np.pi / 2)) for quarter in (0, 1)]
        features.append(xp.concatenate([lines[k][:, None], *waves], axis=1))
    return features


def tanh_taylor(z: Taylor) -> Taylor:
    """Taylor coefficients of y = tanh(z) from those of z.

    y' = w z', w = 1 - y^2:  k y_k = sum_{j=1}^{k} j z_j w_{k-j},  w_k = - sum_{j=0}^{k} y_j y_{k-j}

    Source: Griewank, Walther 2008, Evaluating Derivatives, section 13.2.
    """
    y = [jnp.tanh(z[0])]
    w = [1.0 - y[0] ** 2]
    for k in range(1, len(z)):
        y.append(sum_terms(j / k * z[j] * w[k - j] for j in range(1, k + 1)))
        w.append(-sum_terms(y[j] * y[k - j] for j in range(k + 1)))
    return y


def hidden_taylor(params: Any, features: Taylor, skips: bool = True) -> Taylor:
    """Taylor coefficients of the last hidden layer, each [time, unit].

    h^1 = tanh(x W_1 + b_1),  h^p = h^{p-1} + tanh(h^{p-1} W_p + b_p)

    Args:
        params: weights of a `ResidualNetwork`.
        features: Taylor coefficients of the inputs x, from `time_features`.
        skips: False drops the first term of h^p: a plain perceptron.

    Source: He, Zhang, Ren, Sun 2016, Deep Residual Learning for Image Recognition, eq (1).
    """
    weights = params["params"]
    h = features
    for p in range(1, len(weights) // 2):
        new = tanh_taylor(affine_taylor(weights[f"w_{p}"], weights[f"b_{p}"], h))
        h = [a + b for a, b in zip(h, new, strict=True)] if skips and p > 1 else new
    return h


def residual_taylor(params: Any, features: Taylor, skips: bool = True) -> Taylor:
    """Taylor coefficients of the outputs, y = h^P W + b, each [time, output]; arguments as in
    `hidden_taylor`.
    """
    w, b = output_weights(params)
    return affine_taylor(w, b, hidden_taylor(params, features, skips))


def output_weights(params: Any) -> tuple[Array, Array]:
    """Weights [unit, output] and biases [output] of the last layer, in which y is linear."""
    weights = params["params"]
    last = len(weights) // 2
    return weights[f"w_{last}"], weights[f"b_{last}"]


def affine_taylor(w: Array, b: Array, h: Taylor) -> Taylor:
    """Taylor coefficients of h w + b: the bias enters the value alone."""
    return [h[0] @ w + b[None, :], *(row @ w for row in h[1:])]


def derivatives(taylor: Taylor, slope: ArrayLike) -> Taylor:
    """d^k y / dt^k = k! slope^k y_k, for u that runs with `slope` = du/dt."""
    slope = jnp.asarray(slope, taylor[0].dtype)
    return [math.factorial(k) * slope**k * row for k, row in enumerate(taylor)]


def sum_terms(terms: Iterable[Array]) -> Array:
    """Sum of one or more arrays, without the 0 that `sum` begins with."""
    return reduce(add, terms)


class ResidualNetwork(nn.Module):
    """Residual network of one variable: tanh blocks of equal width, a linear last layer.

    `init(key, u)` and `apply(params, u)`, u [time] to y [time, output]; `residual_taylor` gives the
    derivatives as well.

    Attributes:
        num_outputs: of y.
        width: units of a hidden layer.
        num_blocks: hidden layers; the first has no skip, its input has another width.
        frequencies: of the Fourier features beside u, radians per unit of u.
        skips: False is a plain perceptron.
        slope: s of the first layer at the start, per unit of u: tanh(s (u - c)), c ~ U(-1.1, 1.1),
            so that its units resolve all of [-1, 1]; None: Glorot-uniform weights, biases 0.
        dtype: type of weights and results.

    Notes:
        Weights w_p [input, unit] start Glorot-uniform, biases b_p [unit] at 0, but for those of u
        where `slope` is given; p = 1..num_blocks, then the last layer. Smooth in u and in the
        weights.

    Source: He, Zhang, Ren, Sun 2016, Deep Residual Learning for Image Recognition, eq (1);
        Tancik et al. 2020, Fourier Features Let Networks Learn High Frequency Functions, eq (5).
    """

    num_outputs: int
    width: int = 64
    num_blocks: int = 3
    frequencies: tuple[float, ...] = ()
    skips: bool = True
    slope: float | None = None
    dtype: str = "float64"

    @nn.compact
    def __call__(self, u: Array) -> Array:
        if u.ndim != 1 or min(self.num_outputs, self.width, self.num_blocks) < 1:
            raise ValueError(
                f"expected u [time], at least one output, unit and block, got u {u.shape}, "
                f"{self.num_outputs} outputs, {self.num_blocks} blocks of {self.width} units"
            )
        dtype = jnp.dtype(self.dtype)
        sizes = [1 + 2 * len(self.frequencies), *[self.width] * self.num_blocks, self.num_outputs]
        weights = {}
        for p, shape in enumerate(pairwise(sizes), 1):
            slope = self.slope if p == 1 else None
            weights[f"w_{p}"] = self.param(f"w_{p}", _weights, shape, slope, dtype)
            weights[f"b_{p}"] = self.param(f"b_{p}", _biases, shape[1], slope, dtype)
        features = time_features(u.astype(dtype), self.frequencies)
        return residual_taylor({"params": weights}, features, self.skips)[0]


def _weights(key: Array, shape: tuple[int, int], slope: float | None, dtype: jnp.dtype) -> Array:
    fans = jnp.array(shape, jnp.int32)
    w = glorot_uniform(key, shape, fans[0], fans[1], dtype)
    return w if slope is None else w.at[0].set(slope)


def _biases(key: Array, num_units: int, slope: float | None, dtype: jnp.dtype) -> Array:
    if slope is None:
        return jnp.zeros(num_units, dtype)
    return -slope * jax.random.uniform(key, (num_units,), dtype, -_REACH, _REACH)
