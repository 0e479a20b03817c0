"""The perceptron against a loop over neurons, and what its slope does."""

import math
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from diffmig.networks import Perceptron, layer_weights

INPUTS, OUTPUTS = 3, 2


@partial(jax.jit, static_argnums=0)
def apply(network, params, x, slope=1.0):
    return network.apply(params, x, slope)


def make(widths):
    """A network and weights with biases, so that a lost one shows."""
    rng = np.random.default_rng(8)
    weights = [rng.normal(0.1, 1.0, (1 + n, m)) for n, m in pairwise((INPUTS, *widths, OUTPUTS))]
    params = {"params": {f"w_{p}": jnp.asarray(w) for p, w in enumerate(weights, 1)}}
    return Perceptron(OUTPUTS, widths), params


def by_hand(weights, x, slope):
    """Equations (5)-(8) neuron by neuron, u_0 = 1."""
    u = [1.0, *x]
    for w in weights:
        signals = [sum(w[i, j] * u[i] for i in range(len(u))) for j in range(w.shape[1])]
        u = [1.0, *(1.0 / (1.0 + math.exp(-slope * d)) for d in signals)]
    return u[1:]


@pytest.mark.parametrize("slope", [0.4, 2.5])
@pytest.mark.parametrize("widths", [(), (4,), (5, 3), (3,) * 10])
def test_outputs_equal_a_loop_over_neurons(key, widths, slope):
    network, params = make(widths)
    x = jax.random.normal(key, (2, 4, INPUTS), jnp.float64)
    weights = [np.asarray(w) for w in layer_weights(params)]
    assert [w.shape[1] for w in weights] == [*widths, OUTPUTS]
    expected = [[by_hand(weights, row, slope) for row in np.asarray(block)] for block in x]
    got = apply(network, params, x, slope)
    np.testing.assert_allclose(got, expected, rtol=1e-13)
    np.testing.assert_allclose(apply(network, params, x[0, 0], slope), expected[0][0], rtol=1e-13)


def test_a_slope_is_a_factor_of_the_weights(key):
    network, params = make((5, 3))
    x = jax.random.normal(key, (7, INPUTS), jnp.float64)
    slopes = jnp.array([0.5, 1.0, 3.0])
    together = jax.vmap(apply, (None, None, None, 0))(network, params, x, slopes)
    for a, y in zip(slopes, together, strict=True):
        steeper = jax.tree.map(lambda w, a=a: a * w, params)
        np.testing.assert_allclose(y, apply(network, steeper, x), rtol=1e-13)
    assert np.abs(np.diff(together, axis=0)).min() > 1e-4


def test_the_start_has_the_glorot_derivative_at_any_slope(key):
    """Weights uniform in +-(4 / a) sqrt(6 / (fan_in + fan_out)), biases 0."""
    network = Perceptron(OUTPUTS, (40, 60))
    x = jax.random.normal(key, (5, INPUTS), jnp.float64)
    start = jax.jit(network.init)
    first, steep = start(key, x, 1.0), start(key, x, 2.0)
    np.testing.assert_allclose(apply(network, first, x, 1.0), apply(network, steep, x, 2.0))
    bias, weights = np.split(np.asarray(layer_weights(steep)[1]), [1])
    limit = 2.0 * np.sqrt(6.0 / 100)
    assert not bias.any()
    assert np.abs(weights).max() <= limit
    assert weights.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


def test_gradients_agree_with_finite_differences(key):
    network, params = make((4, 3))
    x = jax.random.normal(key, (6, INPUTS), jnp.float64)
    args = (params, x, jnp.array(1.7))
    check_grads(partial(apply, network), args, order=1, modes=("rev", "fwd"), rtol=1e-4)


def test_saturated_neurons_have_finite_gradients(key):
    network, params = make((4, 3))
    x = jnp.array([[1e6, -1e6, 0.0]])
    y, gradient = jax.value_and_grad(lambda p: apply(network, p, x, 50.0).sum())(params)
    assert 0.0 <= y <= OUTPUTS
    assert all(np.isfinite(w).all() for w in layer_weights(gradient))


def test_single_precision_stays_single(key):
    network = Perceptron(OUTPUTS, (4,), dtype="float32")
    x = jnp.ones((2, INPUTS))
    params = jax.jit(network.init)(key, x, jnp.array(2.0))
    assert {w.dtype for w in layer_weights(params)} == {jnp.dtype("float32")}
    assert apply(network, params, x, jnp.array(2.0)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (Perceptron(2, (4, 0)), jnp.ones((1, 3))),
        (Perceptron(0), jnp.ones((1, 3))),
        (Perceptron(2), jnp.ones((4, 0))),
        (Perceptron(2), jnp.ones(())),
    ],
)
def test_layers_without_neurons_are_refused(key, network, x):
    with pytest.raises(ValueError, match="at least one neuron"):
        network.init(key, x)
