"""Back-propagation against its gradient, loops of its equations and its misprints."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.fit import (
    AIM_PERCENT,
    backpropagate,
    deviation_percent,
    sample_loss,
    train_batch,
    train_per_sample,
    training_error,
    update_sample,
)
from diffmig.networks import Perceptron, layer_weights

SAMPLES, INPUTS, OUTPUTS = 7, 3, 2
# optimised less: nearly all the time is that of the compilation
FAST = {"xla_backend_optimization_level": "0"}
sample_gradient = jax.jit(jax.grad(sample_loss), compiler_options=FAST)
error_gradient = jax.jit(jax.grad(training_error), compiler_options=FAST)
sample_loss, backpropagate, update_sample, training_error = (
    jax.jit(fn, compiler_options=FAST)
    for fn in (sample_loss, backpropagate, update_sample, training_error)
)
train_per_sample, train_batch = (
    jax.jit(train, static_argnames="num_epochs", compiler_options=FAST)
    for train in (train_per_sample, train_batch)
)
TRAIN = {"batch": train_batch, "per-sample": train_per_sample}


def make(widths, num_inputs=INPUTS, num_outputs=OUTPUTS):
    """Weights, inputs and outputs of a problem without symmetries."""
    rng = np.random.default_rng(8)
    sizes = (num_inputs, *widths, num_outputs)
    weights = [rng.normal(0.1, 1.5, (1 + n, m)) for n, m in pairwise(sizes)]
    params = {"params": {f"w_{p}": jnp.asarray(w) for p, w in enumerate(weights, 1)}}
    x = rng.uniform(-1.0, 1.0, (SAMPLES, num_inputs))
    return params, jnp.asarray(x), jnp.asarray(rng.uniform(0.1, 0.9, (SAMPLES, num_outputs)))


def arrays(params):
    return [np.array(w) for w in layer_weights(params)]


def gradient_by_hand(weights, x, r, a, delta_of="i", u_of="i"):
    """Equations (5)-(8) and (14)-(19) index by index; "j" takes an index as it is printed."""
    u = [np.array([1.0, *x])]
    for w in weights:
        u.append(np.array([1.0, *(1.0 / (1.0 + np.exp(-a * (u[-1] @ w))))]))
    gradient = [np.zeros_like(w) for w in weights]
    delta = None
    for p in range(len(weights), 0, -1):
        new = np.zeros(weights[p - 1].shape[1])
        for j in range(len(new)):
            v = u[p][1 + j]
            if p == len(weights):
                new[j] = (v - r[j]) * a * v * (1 - v)  # (18)
                continue
            total = 0.0
            for i in range(len(delta)):
                total += delta[i if delta_of == "i" else j] * weights[p][1 + j, i]  # (17)
            new[j] = total * a * v * (1 - v)
        delta = new
        for i in range(len(u[p - 1])):
            for j in range(len(delta)):
                gradient[p - 1][i, j] = delta[j] * u[p - 1][i if u_of == "i" else 1 + j]  # (19)
    return gradient


@pytest.mark.parametrize("slope", [0.3, 1.0, 2.7])
@pytest.mark.parametrize("widths", [(), (4,), (5, 3), (2, 6, 3)])
def test_the_rule_is_the_gradient_of_the_sample_error(widths, slope):
    params, x, r = make(widths)
    for q in range(2):
        got = backpropagate(params, x[q], r[q], slope)
        expected = sample_gradient(params, x[q], r[q], slope)
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        for a, b in zip(arrays(got), arrays(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-17)


def test_the_misprints_are_not_the_gradient():
    """Equal widths throughout, so that every printed index exists."""
    params, x, r = make((3, 3), 3, 3)
    exact = arrays(backpropagate(params, x[0], r[0], 1.3))
    given = (arrays(params), np.asarray(x[0]), np.asarray(r[0]), 1.3)
    for a, b in zip(gradient_by_hand(*given), exact, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    printed_17 = gradient_by_hand(*given, delta_of="j")
    np.testing.assert_allclose(printed_17[-1], exact[-1], rtol=1e-12)  # the last layer is (18)
    printed_19 = gradient_by_hand(*given, u_of="j")
    for wrong, layers in ((printed_17, (0, 1)), (printed_19, (0, 1, 2))):
        for p in layers:
            assert np.linalg.norm(wrong[p] - exact[p]) > 0.1 * np.linalg.norm(exact[p])


@pytest.mark.parametrize("shuffled", [False, True])
def test_epochs_equal_a_loop_over_samples(shuffled):
    slope, rate, weight = 1.4, 0.8, np.array([1.0, 0.5, 2.0, 1.0, 0.0, 1.0, 3.0])
    params, x, r = make((4, 3))
    shuffle_key = jax.random.key(5) if shuffled else None
    got = train_per_sample(
        params, x, r, slope, rate, num_epochs=3, weight=jnp.asarray(weight), shuffle_key=shuffle_key
    )
    weights, errors = arrays(params), []
    rows = jnp.arange(SAMPLES, dtype=jnp.int32)
    for epoch in range(4):
        y = np.array(x)
        for w in weights:
            y = 1.0 / (1.0 + np.exp(-slope * (w[0] + y @ w[1:])))
        square = np.average(((y - np.asarray(r)) ** 2).mean(axis=1), weights=weight)
        errors.append(100 * np.sqrt(square))  # (23)
        if epoch == 3:
            break
        order = rows
        if shuffled:
            order = jax.random.permutation(jax.random.fold_in(shuffle_key, epoch), rows)
        for q in np.asarray(order):
            gradient = gradient_by_hand(weights, np.asarray(x[q]), np.asarray(r[q]), slope)
            weights = [w - rate * weight[q] * g for w, g in zip(weights, gradient, strict=True)]
    for a, b in zip(arrays(got.params), weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)
    np.testing.assert_allclose(got.error, errors, rtol=1e-12)
    assert not got.diverged


def test_the_slope_is_a_learning_rate():
    """(a, lambda, W) and (1, a^2 lambda, a W) are one training."""
    a, rate = 2.5, 0.3
    params, x, r = make((4, 3))
    steep = train_per_sample(params, x, r, a, rate, num_epochs=5)
    scaled = jax.tree.map(lambda w: a * w, params)
    plain = train_per_sample(scaled, x, r, 1.0, a**2 * rate, num_epochs=5)
    np.testing.assert_allclose(steep.error, plain.error, rtol=1e-12)
    for u, v in zip(arrays(steep.params), arrays(plain.params), strict=True):
        np.testing.assert_allclose(a * u, v, rtol=1e-11)


def test_one_step_lowers_the_error_of_its_sample_at_the_rate_of_the_gradient():
    """E(W - lambda g) = E(W) - lambda |g|^2 + O(lambda^2)."""
    params, x, r = make((4, 3))
    before = sample_loss(params, x[0], r[0])
    square = sum((g**2).sum() for g in arrays(backpropagate(params, x[0], r[0])))
    for rate in (1e-3, 1e-5):
        after = sample_loss(update_sample(params, x[0], r[0], 1.0, rate), x[0], r[0])
        assert (before - after) / rate == pytest.approx(square, rel=2 * rate)


@pytest.mark.parametrize("rule", TRAIN)
def test_error_of_every_epoch_is_that_of_its_weights(rule):
    params, x, r = make((4, 3))
    train = TRAIN[rule]
    long = train(params, x, r, 1.2, 0.05, num_epochs=4)
    assert long.error.shape == (5,)
    np.testing.assert_allclose(long.error[0], training_error(params, x, r, 1.2), rtol=1e-13)
    short = train(params, x, r, 1.2, 0.05, num_epochs=2)
    np.testing.assert_allclose(short.error, long.error[:3], rtol=1e-13)
    np.testing.assert_allclose(short.error[-1], training_error(short.params, x, r, 1.2), rtol=1e-13)
    assert long.error[-1] < long.error[0]


def test_a_weight_in_a_batch_is_a_repeated_sample():
    params, x, r = make((4, 3))
    weight = jnp.array([1.0, 2.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    rows = np.array([0, 1, 1, 3, 4, 5, 6])
    weighted = train_batch(params, x, r, 1.0, 0.05, num_epochs=6, weight=weight)
    repeated = train_batch(params, x[rows], r[rows], 1.0, 0.05, num_epochs=6)
    np.testing.assert_allclose(weighted.error, repeated.error, rtol=1e-11)


@pytest.mark.parametrize("rule", TRAIN)
def test_the_epoch_that_reaches_one_percent_is_told(rule):
    train = TRAIN[rule]
    params, x, _ = make((4,))
    aims = Perceptron(OUTPUTS, (4,)).apply(params, x)
    start = jax.tree.map(lambda w: w + 0.1, params)
    rate = {"batch": 0.02, "per-sample": 0.5}[rule]
    done = train(start, x, aims, 1.0, rate, num_epochs=200)
    first = int(done.epochs_to_one_percent)
    assert first > 0
    assert done.error[first] <= AIM_PERCENT < done.error[:first].min()
    assert train(start, x, aims, 1.0, rate, num_epochs=first - 1).epochs_to_one_percent == -1
    assert train(params, x, aims, 1.0, rate, num_epochs=1).epochs_to_one_percent == 0


def test_errors_in_closed_form():
    """Zero weights put out 1/2: errors of 0.3 and 0.4 everywhere are 100 sqrt((.09 + .16) / 2)."""
    params, x, _ = make((4,))
    zero = jax.tree.map(jnp.zeros_like, params)
    r = jnp.broadcast_to(jnp.array([0.8, 0.1]), (SAMPLES, 2))
    np.testing.assert_allclose(sample_loss(zero, x, r, 3.0), 0.5 * (0.09 + 0.16), rtol=1e-14)
    np.testing.assert_allclose(training_error(zero, x, r), 100 * np.sqrt(0.125), rtol=1e-14)
    half = jnp.full_like(r, 0.5)
    gradient = error_gradient(zero, x, half)
    assert training_error(zero, x, half) == 0.0
    assert not any(w.any() for w in arrays(gradient))


def test_deviation_in_closed_form():
    """(24) is a fraction in print and percent in the text."""
    actual = jnp.array([[100.0, 4.0], [200.0, 5.0], [50.0, 0.0]])
    fitted = jnp.array([[101.0, 3.0], [196.0, 5.5], [99.0, 9.0]])
    weight = jnp.array([1.0, 3.0, 0.0])
    np.testing.assert_allclose(deviation_percent(actual[:2], fitted[:2]), [1.5, 17.5], rtol=1e-13)
    got = deviation_percent(actual, fitted, weight)
    np.testing.assert_allclose(got, [(1 + 3 * 2) / 4, (25 + 3 * 10) / 4], rtol=1e-13)


def test_an_overflow_stops_training_at_finite_weights():
    params, x, r = make((4, 3))
    zero = jax.tree.map(jnp.zeros_like, params)  # all neurons at 1/2, where a slope acts in full
    steps = jnp.array([0.5, 1e200])
    done = jax.vmap(lambda step: train_per_sample(zero, x, r, step, step, num_epochs=4))(steps)
    np.testing.assert_array_equal(done.diverged, [False, True])
    assert all(not w[1].any() for w in arrays(done.params))
    np.testing.assert_array_equal(done.error[1, 2:], done.error[1, 0])
    alone = train_per_sample(zero, x, r, 0.5, 0.5, num_epochs=4)
    np.testing.assert_allclose(done.error[0], alone.error, rtol=1e-12)
    batch = train_batch(params, x, r, 1.0, 1e308, num_epochs=4)
    assert batch.diverged
    assert all(np.isfinite(w).all() for w in arrays(batch.params))


@pytest.mark.parametrize("rule", TRAIN)
def test_data_that_are_not_finite_leave_the_start(rule):
    params, x, r = make((4,))
    train = TRAIN[rule]
    done = train(params, x, r.at[2, 1].set(jnp.nan), 1.0, 0.1, num_epochs=3)
    assert done.diverged
    assert done.epochs_to_one_percent == -1
    for a, b in zip(arrays(done.params), arrays(params), strict=True):
        np.testing.assert_array_equal(a, b)
