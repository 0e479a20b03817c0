"""Networks against NumPy loops of their equations, and padding that changes nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from diffmig.networks import (
    BPNN,
    LSTM,
    Elman,
    Layout,
    bucket,
    first_valid_year,
    init_network,
    num_weights,
    predict,
)

# compiled whole: flax' init and apply are slow operation by operation
init_network = jax.jit(init_network, static_argnums=(1, 2, 4))
predict = jax.jit(predict, static_argnums=(0, 4))

YEARS, FACTORS = 9, 4
NETWORKS = {"lstm": LSTM, "elman": Elman, "bpnn": BPNN}


@pytest.fixture
def x(key):
    return jax.random.uniform(key, (YEARS, FACTORS), jnp.float64, -1.0, 1.0)


def make(name, width, units, key, **options):
    network = NETWORKS[name](width=width, num_layers=len(units), dtype="float64", **options)
    units = jnp.array(units, jnp.int32)
    params = init_network(key, network, FACTORS, units, Layout())
    return network, params, units


def logistic(z):
    return 1.0 / (1.0 + np.exp(-z))


@pytest.mark.parametrize("gate", ["logistic", "relu"])
def test_lstm_equals_a_loop_over_equations_1_to_6(key, x, gate):
    network, params, units = make("lstm", 5, [5], key, gate=gate)
    # Non-zero biases, so that a lost one shows.
    params = jax.tree.map(lambda w: w + 0.05, params)
    p = {name: np.asarray(w) for name, w in params["params"].items()}
    sigma = logistic if gate == "logistic" else lambda z: np.maximum(z, 0.0)
    h, c, expected = np.zeros(5), np.zeros(5), []
    for x_t in np.asarray(x):
        z = {g: x_t @ p[f"w_{g}x0"] + h @ p[f"w_{g}h0"] + p[f"b_{g}0"] for g in "ifoc"}
        c = sigma(z["f"]) * c + sigma(z["i"]) * np.tanh(z["c"])
        h = sigma(z["o"]) * np.tanh(c)
        expected.append(h @ p["w_out"] + p["b_out"])
    np.testing.assert_allclose(predict(network, params, x, units, Layout()), expected, rtol=1e-12)


def test_elman_equals_a_loop_with_lagged_input(key, x):
    network, params, units = make("elman", 6, [6], key)
    params = jax.tree.map(lambda w: w + 0.05, params)
    p = {name: np.asarray(w) for name, w in params["params"].items()}
    inputs, context, expected = np.asarray(x), np.zeros(6), []
    for t in range(YEARS):
        u = inputs[max(t - 1, 0)]  # U(t-1); the first year has none and repeats the first input
        context = np.tanh(context @ p["w_c0"] + u @ p["w_x0"] + p["b_0"])
        expected.append(context @ p["w_out"] + p["b_out"])
    layout = Layout(lag=1)
    assert first_valid_year(layout) == 1
    np.testing.assert_allclose(predict(network, params, x, units, layout), expected, rtol=1e-12)


@pytest.mark.parametrize("units", [3, 40])
def test_printed_bpnn_is_one_logistic_neuron_at_any_width(key, x, units):
    network, params, widths = make("bpnn", bucket(units), [units], key)
    p = params["params"]
    one_neuron = logistic(np.asarray(x) @ np.asarray(p["w_0"] @ p["w_out"]))
    got = predict(network, params, x, widths, Layout())
    np.testing.assert_allclose(got, one_neuron, rtol=1e-12)
    at_zero = predict(network, params, jnp.zeros_like(x), widths, Layout())
    np.testing.assert_array_equal(at_zero, 0.5)


def test_hidden_activation_and_biases_lift_the_bpnn_off_the_single_neuron(key, x):
    network, params, units = make("bpnn", 16, [8], key, hidden="tanh", bias_terms=True)
    p = {name: np.asarray(w) for name, w in params["params"].items()}
    hidden = np.tanh(np.asarray(x) @ p["w_0"] + p["b_0"])
    expected = logistic(hidden @ p["w_out"] + p["b_out"])
    np.testing.assert_allclose(predict(network, params, x, units, Layout()), expected, rtol=1e-12)


# optimised less: nearly all the time is that of the compilation
@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": "0"})
def ten_adam_steps(network, key, x, units):
    """Losses [step], last weights and gradient from fresh weights."""
    y = jnp.linspace(0.2, 0.8, YEARS)
    params = init_network(key, network, FACTORS, units, Layout())
    adam = optax.scale_by_adam()

    def loss(p):
        return jnp.mean((predict(network, p, x, units, Layout()) - y) ** 2)

    def step(carry, _):
        p, state, _ = carry
        value, gradient = jax.value_and_grad(loss)(p)
        with jax.numpy_dtype_promotion("standard"):
            update, state = adam.update(gradient, state)
        p = jax.tree.map(lambda w, u: w - 0.05 * u, p, update)
        return (p, state, gradient), value

    start = (params, adam.init(params), params)
    (params, _, gradient), losses = jax.lax.scan(step, start, None, length=10)
    return losses, params["params"], gradient["params"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("units", "padded"), [([3], 64), ([10, 4], 16), ([10, 0], 16)])
def test_padding_changes_neither_weights_nor_training(key, x, name, units, padded):
    """Same key: same first weights, same outputs, same ten Adam steps, padding untouched."""
    units = jnp.array(units, jnp.int32)

    def train(width):
        network = NETWORKS[name](width=width, num_layers=len(units), dtype="float64")
        return ten_adam_steps(network, key, x, units)

    losses, params, _ = train(int(max(units)))
    losses_padded, params_padded, gradient_padded = train(padded)
    np.testing.assert_allclose(losses_padded, losses, rtol=1e-9)
    for leaf, weights in params.items():
        corner = tuple(slice(0, n) for n in weights.shape)
        wide, gradient = np.array(params_padded[leaf]), np.array(gradient_padded[leaf])
        np.testing.assert_allclose(wide[corner], weights, rtol=1e-7, atol=1e-12)
        if wide.ndim:
            wide[corner], gradient[corner] = 0.0, 0.0
            assert not wide.any()
            assert not gradient.any()


def test_initial_spread_is_that_of_the_true_width(key):
    """Glorot-uniform: standard deviation sqrt(2 / (fan_in + fan_out)) at the true fans."""
    keys = jax.random.split(key, 400)
    for units in (3, 60):
        draw = jax.vmap(lambda k, n=units: make("lstm", 64, [n], k)[1]["params"]["w_out"])(keys)
        expected = np.sqrt(2.0 / (units + 1))
        assert np.std(np.asarray(draw)[:, :units]) == pytest.approx(expected, rel=0.05)


def test_many_widths_share_one_vmap(key, x):
    network, _, _ = make("elman", 16, [4], key)
    units = jnp.array([[2], [5], [16]], jnp.int32)

    @jax.jit
    def one(n):
        return predict(network, init_network(key, network, FACTORS, n, Layout()), x, n, Layout())

    together = jax.vmap(one)(units)
    apart = jnp.stack([one(n) for n in units])
    np.testing.assert_allclose(together, apart, rtol=1e-12)
    assert np.abs(np.diff(together, axis=0)).max() > 1e-3


@pytest.mark.parametrize(
    "layout",
    [Layout(), Layout(lag=1), Layout("window", 3), Layout("window", 2, 1), Layout("stacked", 3)],
)
def test_an_output_reads_nothing_later_than_its_lag(key, x, layout):
    cell = BPNN if layout.kind == "stacked" else LSTM
    network = cell(width=4, dtype="float64")
    units = jnp.array([4], jnp.int32)

    def outputs(inputs):
        params = init_network(key, network, FACTORS, units, layout)
        return predict(network, params, inputs, units, layout)

    reads = np.abs(jax.jit(jax.jacobian(outputs))(x)).max(axis=-1) > 0  # [output year, input year]
    for t in range(first_valid_year(layout), YEARS):
        last = t - layout.lag
        first = 0 if layout.kind == "sequence" else last - layout.lookback + 1
        expected = (np.arange(YEARS) >= first) & (np.arange(YEARS) <= last)
        np.testing.assert_array_equal(reads[t], expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_agree_with_finite_differences(key, x, name):
    network, params, units = make(name, 4, [4], key)

    def f(p, inputs):
        return predict(network, p, inputs, units, Layout())

    check_grads(f, (params, x), order=1, modes=("rev", "fwd"), rtol=1e-4)


def test_relu_gates_let_the_state_grow_where_logistic_gates_hold_it():
    """Constant large input: c grows geometrically with a ReLU forget gate above 1."""
    x = jnp.ones((60, 1))
    units = jnp.array([2], jnp.int32)
    for gate, bounded in (("logistic", True), ("relu", False)):
        network = LSTM(width=2, gate=gate, dtype="float64")
        shapes = jax.eval_shape(lambda n=network: n.init(jax.random.key(3), x, units))
        params = jax.tree.map(lambda w: jnp.full(w.shape, 0.7, w.dtype), shapes)
        largest = float(jnp.max(jnp.abs(predict(network, params, x, units, Layout()))))
        assert (largest < 3.0) == bounded


def test_number_of_weights_is_that_of_the_unpadded_network(key):
    for name, expected in (("lstm", 611), ("elman", 161), ("bpnn", 50)):
        params = jax.eval_shape(lambda n=name: make(n, 10, [10], key)[1])
        assert num_weights(name, 10, FACTORS) == expected
        assert sum(w.size for w in jax.tree.leaves(params)) == expected


def start(network, num_years, units):
    return network.init(jax.random.key(0), jnp.ones((num_years, 1)), jnp.array(units))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: bucket(100), "1..99"),
        (lambda: Layout("sequence", 3), "lookback"),
        (lambda: Layout("ring"), "ring"),
        (lambda: num_weights("gru", 3, 4), "gru"),
        (lambda: start(LSTM(gate="softmax"), 2, [3]), "softmax"),
        (lambda: start(LSTM(), 0, [3]), "at least one year"),
        (lambda: start(LSTM(), 2, [3, 4]), "one per layer"),
    ],
)
def test_wrong_choices_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()
