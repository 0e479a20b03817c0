"""Perceptrons fitted to pairs of years: scaling, learning, seeds, recursion, and refusals."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from diffmig.data import scale, unscale
from diffmig.fit import (
    PERCEPTRON_STATUS,
    PerceptronConfig,
    deviation_percent,
    fit_input_scaler,
    fit_output_scaler,
    fit_perceptron,
    fit_perceptrons,
    forecast_recursively,
    lagged_pairs,
    predict_perceptron,
    train_batch,
    train_per_sample,
)
from diffmig.networks import Perceptron, layer_weights

YEARS, OUTPUTS = 13, 2
FAST = {"xla_backend_optimization_level": "0"}  # nearly all the time is that of the compilation
SHORT = PerceptronConfig(widths=(4, 3), slope=1.3, epochs=8, input_margin=0.2, output_margin=0.4)
LITERAL = replace(SHORT, rule="per-sample", shuffle=True)
INPUTS = np.array([[3.0, 7.0, 0.0], [1.0, 7.0, 0.0], [5.0, 7.0, 0.0], [9.0, 8.0, 2.0]])
SEEN = jnp.array([True, True, True, False])


@pytest.fixture(scope="module")
def table():
    """Two outputs of different size, an indicator, and a deflator that stays at 1."""
    t = np.arange(YEARS)
    columns = [900.0 * 1.07**t, 20.0 + np.sin(t), 5.0 - 0.3 * t + np.cos(2 * t), np.ones(YEARS)]
    return jnp.asarray(np.stack(columns, axis=1))


@pytest.fixture(scope="module")
def fit(table):
    return fit_perceptron(jax.random.key(2), SHORT, *lagged_pairs(table, OUTPUTS))


def test_inputs_are_scaled_as_in_equation_20():
    scaler = fit_input_scaler(jnp.asarray(INPUTS), SEEN, 0.25)
    # a = 1, b = 5, h = 1 of the rows seen; a constant 7 has the width 7, a constant 0 the width 1
    expected = np.stack(
        [(INPUTS[:, 0] - 3) / 3, (INPUTS[:, 1] - 7) / 5.25, INPUTS[:, 2] / 0.75], axis=1
    )
    np.testing.assert_allclose(scale(scaler, jnp.asarray(INPUTS)), expected, rtol=1e-14)
    ends = jnp.stack([scaler.low, scaler.high])
    np.testing.assert_allclose(ends[:, 0], [0.0, 6.0], rtol=1e-14)
    np.testing.assert_allclose(scale(scaler, ends), [[-1.0] * 3, [1.0] * 3], rtol=1e-14)


def test_outputs_are_scaled_as_in_equation_21_and_back():
    targets = jnp.asarray(INPUTS)
    scaler = fit_output_scaler(targets, SEEN, 0.1)
    low, high = 1.0 - 0.4, 5.0 + 0.4
    scaled = scale(scaler, targets)
    np.testing.assert_allclose(scaled[:, 0], (INPUTS[:, 0] - low) / (high - low), rtol=1e-14)
    np.testing.assert_allclose(scaled[:3, 1:], 0.5, rtol=1e-14)  # constant outputs
    np.testing.assert_allclose(unscale(scaler, scaled), INPUTS, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose([scaler.low[0], scaler.high[0]], [low, high], rtol=1e-14)
    for fit_scaler in (fit_input_scaler, fit_output_scaler):
        jacobian = jax.jit(jax.jacobian(lambda x, f=fit_scaler: scale(f(x, SEEN, 0.1), x)))(targets)
        assert np.isfinite(jacobian).all()


def test_pairs_stand_a_lag_apart(table):
    inputs, targets = lagged_pairs(table, OUTPUTS, lag=3)
    for t in range(YEARS - 3):
        np.testing.assert_array_equal(inputs[t], table[t])
        np.testing.assert_array_equal(targets[t], table[t + 3, :OUTPUTS])
    assert len(inputs) == len(targets) == YEARS - 3


def test_a_smooth_map_is_learned_below_one_percent():
    """On a grid, and between its points."""

    def smooth(x):
        return jnp.stack([900 + 300 * x[:, 0] * x[:, 1], 5 + jnp.sin(2 * x[:, 0]) - x[:, 1]], 1)

    grid = jnp.stack(jnp.meshgrid(*[jnp.linspace(-1.0, 1.0, 6)] * 2), -1).reshape(-1, 2)
    config = PerceptronConfig(widths=(8, 8), learning_rate=0.02, epochs=3000)
    fit = fit_perceptron(jax.random.key(3), config, grid, smooth(grid))
    assert PERCEPTRON_STATUS[fit.status] == "ok"
    assert fit.error[-1] < 1.0
    first = fit.epochs_to_one_percent
    assert fit.error[first] <= 1.0 < fit.error[first - 1]
    between = grid[:-7] + 0.2
    deviation = deviation_percent(smooth(between), predict_perceptron(fit, between))
    assert np.all(deviation < 1.5)


@pytest.mark.parametrize("config", [SHORT, LITERAL])
def test_a_fit_is_training_on_scaled_pairs_with_what_the_config_says(table, config):
    rate = {"batch": 0.03, "per-sample": 1.0}[config.rule]
    inputs, targets = lagged_pairs(table, OUTPUTS)
    key = jax.random.key(9)
    got = fit_perceptron(key, config, inputs, targets)
    seen = jnp.ones(YEARS - 1, bool)
    scalers = fit_input_scaler(inputs, seen, 0.2), fit_output_scaler(targets, seen, 0.4)
    x, r = scale(scalers[0], inputs), scale(scalers[1], targets)
    key_start, key_order = jax.random.split(key)
    params = jax.jit(Perceptron(OUTPUTS, (4, 3)).init)(key_start, x, 1.3)
    train = train_batch
    if config.shuffle:
        train = partial(train_per_sample, shuffle_key=key_order)
    train = jax.jit(partial(train, num_epochs=8), compiler_options=FAST)
    done = train(params, x, r, 1.3, rate)
    np.testing.assert_allclose(got.error, done.error, rtol=1e-10)
    other = fit_perceptron(key, replace(config, learning_rate=rate / 2), inputs, targets)
    half = train(params, x, r, 1.3, rate / 2)
    np.testing.assert_allclose(other.error, half.error, rtol=1e-10)
    y = Perceptron(OUTPUTS, (4, 3)).apply(done.params, x, 1.3)
    expected = unscale(scalers[1], y)
    np.testing.assert_allclose(predict_perceptron(got, inputs), expected, rtol=1e-10)


def test_years_without_weight_change_nothing(table):
    inputs, targets = lagged_pairs(table, OUTPUTS)
    weights = jnp.array([1.0] * 9 + [0.0] * 3)
    spoilt = inputs.at[9:].set(jnp.nan), targets.at[10:].set(jnp.inf)
    key = jax.random.key(4)
    got = fit_perceptron(key, SHORT, *spoilt, weights)
    expected = fit_perceptron(key, SHORT, inputs[:9], targets[:9])
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_seeds_in_one_batch_are_separate_runs(table):
    pairs = lagged_pairs(table, OUTPUTS)
    key = jax.random.key(6)
    together = fit_perceptrons(key, LITERAL, *pairs, num_seeds=3, block=2)
    for seed in range(3):
        alone = fit_perceptron(jax.random.fold_in(key, seed), LITERAL, *pairs)
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[seed], b, rtol=1e-9)
    assert len(np.unique(np.round(together.error[:, -1], 6))) == 3
    forecasts = jax.vmap(predict_perceptron, (0, None))(together, pairs[0])
    assert forecasts.shape == (3, YEARS - 1, OUTPUTS)


def test_a_constant_input_and_output_are_harmless(table):
    inputs, targets = lagged_pairs(table, OUTPUTS)
    fit = fit_perceptron(jax.random.key(2), SHORT, inputs, targets.at[:, 1].set(40.0))
    assert np.isfinite(fit.error).all()
    gradient = jax.jit(jax.grad(lambda x: predict_perceptron(fit, x).sum()))(inputs)
    assert np.isfinite(gradient).all()
    assert np.all(np.abs(predict_perceptron(fit, inputs)[:, 1] - 40.0) < 40.0)


def test_a_forecast_feeds_on_itself(table, fit):
    exogenous = jnp.asarray(np.random.default_rng(1).normal(3.0, 1.0, (6, 2)))
    got = forecast_recursively(fit, table[-1, :OUTPUTS], exogenous)
    before = table[-1, :OUTPUTS]
    for t in range(6):
        row = jnp.concatenate([before, exogenous[t]])[None, :]
        before = predict_perceptron(fit, row)[0]
        np.testing.assert_allclose(got[t], before, rtol=1e-13)
    later = forecast_recursively(fit, table[-1, :OUTPUTS], exogenous.at[3].add(1.0))
    changed = np.any(np.asarray(later != got), axis=1)
    np.testing.assert_array_equal(changed, [False] * 3 + [True] * 3)


def test_forecasts_stay_inside_the_interval_of_the_outputs(table, fit):
    """The sigmoid of the output bounds what (22) can return, however far the inputs go."""
    far = jnp.stack([1e4 * table[-1, 2:], -1e4 * table[-1, 2:]])
    forecast = forecast_recursively(fit, 1e3 * table[-1, :OUTPUTS], far)
    assert np.all((forecast >= fit.outputs.low[None]) & (forecast <= fit.outputs.high[None]))


def test_gradients_of_forecasts_agree_with_finite_differences(table, fit):
    size = fit.outputs.spread[None, :]

    def forecast(params, slope, inputs, outputs, first, exogenous):
        changed = fit._replace(params=params, slope=slope, inputs=inputs, outputs=outputs)
        return forecast_recursively(changed, first * size[0], exogenous) / size

    first = table[-1, :OUTPUTS] / size[0]
    args = (fit.params, fit.slope, fit.inputs, fit.outputs, first, table[-4:, 2:])
    check_grads(jax.jit(forecast), args, order=1, modes=("rev",), rtol=1e-4)


def test_a_network_of_outputs_alone_needs_no_exogenous_inputs(table):
    def forecast(values):
        fit = fit_perceptron(jax.random.key(2), SHORT, *lagged_pairs(values, OUTPUTS))
        return forecast_recursively(fit, values[-1], jnp.zeros((4, 0)))

    assert jax.eval_shape(forecast, table[:, :OUTPUTS]).shape == (4, OUTPUTS)


def test_single_precision_trains_networks_but_not_scales(table):
    def fit_and_predict(values):
        pairs = lagged_pairs(values, OUTPUTS)
        fit = fit_perceptron(jax.random.key(2), replace(SHORT, dtype="float32"), *pairs)
        return fit, predict_perceptron(fit, pairs[0])

    fit, predicted = jax.eval_shape(fit_and_predict, table)
    assert fit.error.dtype == layer_weights(fit.params)[0].dtype == jnp.float32
    assert predicted.dtype == fit.inputs.center.dtype == jnp.float64


def test_failures_are_told_by_status(table):
    """Training that overflows, neurons that a huge step saturates, values that only appear when
    traced."""
    pairs = lagged_pairs(table, OUTPUTS)
    key = jax.random.key(2)

    def status(config, inputs, targets):
        fit = fit_perceptron(key, config, inputs, targets)
        assert all(np.isfinite(w).all() for w in layer_weights(fit.params))
        return PERCEPTRON_STATUS[fit.status]

    assert status(SHORT, *pairs) == "ok"
    assert status(replace(SHORT, learning_rate=1e308), *pairs) == "diverged"
    assert status(replace(LITERAL, learning_rate=1e4), *pairs) == "no better than the mean"
    traced = jax.jit(lambda r: fit_perceptron(key, LITERAL, pairs[0], r))
    fit = traced(pairs[1].at[3, 0].set(jnp.nan))
    assert PERCEPTRON_STATUS[fit.status] == "diverged"


def start(inputs=(5, 3), targets=(5, 2), weights=(5,), **bad):
    """A fit of ones with `bad` values: name -> (index, value)."""
    arrays = {"inputs": np.ones(inputs), "targets": np.ones(targets), "weights": np.ones(weights)}
    for name, (index, value) in bad.items():
        arrays[name.removesuffix("_at")][index] = value
    return fit_perceptron(jax.random.key(0), SHORT, **jax.tree.map(jnp.asarray, arrays))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: start(targets=(4, 2)), "targets"),
        (lambda: start(inputs=(5,)), "inputs"),
        (lambda: start(weights=(4,)), "one a year"),
        (lambda: start(weights_at=(slice(1, None), 0.0)), "two years"),
        (lambda: start(weights_at=(1, -1.0)), ">= 0"),
        (lambda: start((1, 3), (1, 2), (1,)), "two years"),
        (lambda: start(inputs_at=((3, 2), np.nan)), "row 3, column 2"),
        (lambda: start(targets_at=((1, 0), np.inf)), "row 1, column 0"),
        (lambda: fit_perceptrons(None, SHORT, None, None, num_seeds=0), "num_seeds"),
        (lambda: lagged_pairs(jnp.ones((5, 3)), 4), "num_outputs"),
        (lambda: lagged_pairs(jnp.ones((5, 3)), 2, lag=5), "1..4"),
        (lambda: lagged_pairs(jnp.ones((5, 3)), 2, lag=0), "1..4"),
        (lambda: PerceptronConfig(rule="online"), "online"),
        (lambda: PerceptronConfig(shuffle=True), "order"),
        (lambda: PerceptronConfig(slope=0.0), "slope"),
        (lambda: PerceptronConfig(learning_rate=-0.1), "learning_rate"),
        (lambda: PerceptronConfig(epochs=0), "epochs"),
        (lambda: PerceptronConfig(output_margin=-0.1), "margins"),
        (lambda: PerceptronConfig(widths=(4, 0)), "widths"),
    ],
)
def test_what_cannot_be_fitted_is_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize(("first", "exogenous"), [((3,), (4, 2)), ((2,), (4, 1)), ((2,), (4,))])
def test_recursion_refuses_inputs_that_do_not_fit(fit, first, exogenous):
    with pytest.raises(ValueError, match="exogenous"):
        forecast_recursively(fit, jnp.ones(first), jnp.ones(exogenous))
