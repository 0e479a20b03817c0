"""The residual network against a loop, its Taylor coefficients against nested derivatives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from diffmig.networks.residual import (
    ResidualNetwork,
    derivatives,
    hidden_taylor,
    residual_taylor,
    time_features,
)

U = np.linspace(-1.0, 1.0, 7)
WAVES = (1.5, 4.0)


def made(key, **choices):
    network = ResidualNetwork(2, **({"width": 6, "num_blocks": 3} | choices))
    params = jax.jit(network.init)(key, jnp.asarray(U))
    biases = {name: w + 0.1 for name, w in params["params"].items() if name.startswith("b")}
    return network, {"params": params["params"] | biases}


@pytest.mark.parametrize("skips", [True, False])
def test_outputs_equal_a_loop_over_layers(key, skips):
    network, params = made(key, skips=skips, frequencies=WAVES)
    w = {name: np.asarray(x) for name, x in params["params"].items()}
    for u, got in zip(U, jax.jit(network.apply)(params, jnp.asarray(U)), strict=True):
        h = np.array([u, *(math.sin(f * u) for f in WAVES), *(math.cos(f * u) for f in WAVES)])
        h = np.tanh(h @ w["w_1"] + w["b_1"])
        for p in (2, 3):
            h = np.tanh(h @ w[f"w_{p}"] + w[f"b_{p}"]) + (h if skips else 0.0)
        np.testing.assert_allclose(got, h @ w["w_4"] + w["b_4"], rtol=1e-13)


@pytest.mark.parametrize("frequencies", [(), WAVES])
def test_one_pass_equals_nested_derivatives(key, frequencies):
    network, params = made(key, frequencies=frequencies)
    slope = 0.2  # du/dt
    features = time_features(U, frequencies, 4)
    got = jax.jit(lambda p: derivatives(residual_taylor(p, features), slope))(params)

    def nested(t):
        return network.apply(params, (slope * t)[None])[0]

    for k in range(5):
        expected = jax.jit(jax.vmap(nested))(jnp.asarray(U / slope))
        np.testing.assert_allclose(got[k], expected, rtol=1e-9, atol=1e-12)
        nested = jax.jacfwd(nested)
    assert np.abs(got[4]).max() > 1e-6


def test_a_spread_start_resolves_the_interval(key):
    """Hidden units span what a spline of some twenty pieces does; a Glorot start spans far less."""
    u, ranks = np.linspace(-1.0, 1.0, 200), {}
    for slope in (None, 4.0):
        _, params = made(key, width=64, slope=slope)
        hidden = jax.jit(hidden_taylor)(params, time_features(u))[0]
        values = np.linalg.svd(np.asarray(hidden), compute_uv=False)
        ranks[slope] = int(np.sum(values > 1e-6 * values[0]))
    assert ranks[None] < 12
    assert ranks[4.0] > 20
    network = ResidualNetwork(2, 64, 3, slope=4.0)
    start = jax.jit(network.init)(key, jnp.asarray(u))["params"]
    np.testing.assert_array_equal(start["w_1"], 4.0)
    assert 0.9 < np.abs(start["b_1"] / 4.0).max() <= 1.1
    assert not np.asarray(start["b_2"]).any()


def test_gradients_agree_with_finite_differences(key):
    _, params = made(key, width=3, num_blocks=2)
    features = time_features(U, (), 2)

    def mean_square(params):
        return sum(jnp.mean(row**2) for row in residual_taylor(params, features))

    check_grads(jax.jit(mean_square), (params,), order=1, modes=("rev", "fwd"), rtol=1e-5)


def test_single_precision_stays_single(key):
    network, params = made(key, dtype="float32", slope=4.0, frequencies=WAVES)
    params = jax.tree.map(lambda w: w.astype(jnp.float32), params)
    assert network.apply(params, jnp.asarray(U)).dtype == jnp.float32
    features = time_features(U.astype(np.float32), WAVES, 2)
    assert {row.dtype for row in features} == {np.dtype("float32")}
    assert {row.dtype for row in residual_taylor(params, features)} == {np.dtype("float32")}


@pytest.mark.parametrize("choices", [{"width": 0}, {"num_blocks": 0}, {"num_outputs": 0}])
def test_networks_without_units_are_refused(key, choices):
    network = ResidualNetwork(**({"num_outputs": 1} | choices))
    with pytest.raises(ValueError, match="at least one output"):
        network.init(key, jnp.asarray(U))
    with pytest.raises(ValueError, match="u \\[time\\]"):
        ResidualNetwork(1).init(key, jnp.ones((2, 1)))
