"""Training against NumPy loops and closed forms; what a budget, a NaN and a vmap do to it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.fit import train, weighted_mape, weighted_mse

MATRIX = np.array([[1.0, 0.3], [-0.4, 2.0], [0.7, -1.1]])
AIM = np.array([0.5, -1.0, 2.0])
START = np.array([0.8, -0.6])
STEPS = 12


def misfit(p):
    """|A p - b|^2 + sum p^4, and its first term as metric."""
    square = jnp.sum((jnp.asarray(MATRIX) @ p - jnp.asarray(AIM)) ** 2)
    return square + jnp.sum(p**4), square


def by_hand(optimizer, learning_rate, weight_decay, epochs):
    p, losses = START.copy(), []
    first, second = np.zeros(2), np.zeros(2)
    for n in range(1, epochs + 1):
        residual = MATRIX @ p - AIM
        losses.append(residual @ residual + np.sum(p**4))
        gradient = 2.0 * MATRIX.T @ residual + 4.0 * p**3
        direction = gradient
        if optimizer == "adam":
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            direction = first / (1 - 0.9**n) / (np.sqrt(second / (1 - 0.999**n)) + 1e-8)
        p = p - learning_rate * (direction + weight_decay * p)
    return p, np.array(losses)


@partial(jax.jit, static_argnames=("optimizer", "max_epochs"))
def run(learning_rate, epochs, weight_decay, optimizer="adam", max_epochs=STEPS):
    return train(
        jnp.asarray(START), misfit, learning_rate, epochs, weight_decay,
        max_epochs=max_epochs, optimizer=optimizer,
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.7])
def test_training_equals_a_loop_by_hand(optimizer, weight_decay):
    got = run(jnp.array(0.03), STEPS, jnp.array(weight_decay), optimizer)
    params, losses = by_hand(optimizer, 0.03, weight_decay, STEPS)
    np.testing.assert_allclose(got.params, params, rtol=1e-11)
    np.testing.assert_allclose(got.loss, losses, rtol=1e-11)
    assert not got.diverged


def test_epochs_beyond_the_budget_change_nothing():
    short = run(jnp.array(0.03), 5, jnp.array(0.1))
    params, losses = by_hand("adam", 0.03, 0.1, 5)
    np.testing.assert_allclose(short.params, params, rtol=1e-11)
    np.testing.assert_allclose(short.loss[:5], losses, rtol=1e-11)
    loss, metric = misfit(short.params)
    np.testing.assert_allclose(short.loss[5:], loss, rtol=1e-14)
    np.testing.assert_allclose(short.metric[5:], metric, rtol=1e-14)
    none = run(jnp.array(0.03), 0, jnp.array(0.1))
    np.testing.assert_array_equal(none.params, START)


def test_settings_in_one_vmap_are_separate_runs():
    rates, decays = jnp.array([0.001, 0.02, 0.1]), jnp.array([0.0, 0.5, 3.0])
    epochs = jnp.array([12, 3, 7], jnp.int32)
    together = jax.vmap(run)(rates, epochs, decays)
    for i in range(3):
        alone = run(rates[i], epochs[i], decays[i])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-12)
    assert len(np.unique(np.round(together.params[:, 0], 6))) == 3


def test_weight_decay_moves_the_minimum_of_a_quadratic_as_in_closed_form():
    """Gradient steps on a (p - c)^2 / 2: p_n = p* + (1 - eta (a + w))^n (p_0 - p*),
    p* = a c / (a + w)."""
    a, c, w, eta, n = 2.0, 3.0, 0.5, 0.1, 9
    got = train(
        jnp.array(-1.0), lambda p: (0.5 * a * (p - c) ** 2, p), jnp.array(eta), n, jnp.array(w),
        max_epochs=n, optimizer="sgd",
    )  # fmt: skip
    centre = a * c / (a + w)
    expected = centre + (1 - eta * (a + w)) ** n * (-1.0 - centre)
    np.testing.assert_allclose(got.params, expected, rtol=1e-13)
    # decoupled: Adam's direction does not see it, so at the minimum of the loss only decay acts
    at_minimum = train(
        jnp.array(c), lambda p: (0.5 * a * (p - c) ** 2, p), jnp.array(eta), 1, jnp.array(w),
        max_epochs=1,
    )  # fmt: skip
    np.testing.assert_allclose(at_minimum.params, c * (1 - eta * w), rtol=1e-14)


@partial(jax.jit, static_argnames="max_epochs")
def descend(start, learning_rate, max_epochs=10):
    """Gradient descent on p, into p < 0, where the loss has no value."""

    def loss_fn(p):
        return p + 0.0 * jnp.log(p), p

    return train(
        start, loss_fn, learning_rate, max_epochs, jnp.array(0.0),
        max_epochs=max_epochs, optimizer="sgd",
    )  # fmt: skip


def test_a_loss_that_is_not_finite_stops_at_the_last_finite_epoch():
    starts = jnp.array([1.0, 5.0])
    got = jax.vmap(descend, in_axes=(0, None))(starts, jnp.array(0.3))
    np.testing.assert_array_equal(got.diverged, [True, False])
    # 1.0, 0.7, 0.4, 0.1 are finite, -0.2 is not; the neighbour walks all ten steps
    np.testing.assert_allclose(got.params, [0.1, 2.0], rtol=1e-12)
    np.testing.assert_allclose(got.loss[0, :4], [1.0, 0.7, 0.4, 0.1], rtol=1e-12)
    np.testing.assert_allclose(got.loss[0, 5:], 0.1, rtol=1e-12)


def test_an_infinite_gradient_at_a_finite_loss_changes_no_weight():
    got = train(
        {"a": jnp.array([0.0, 4.0])}, lambda p: (jnp.sum(jnp.sqrt(p["a"])), p["a"]),
        jnp.array(0.1), 5, jnp.array(0.0), max_epochs=5,
    )  # fmt: skip
    assert got.diverged
    np.testing.assert_array_equal(got.params["a"], [0.0, 4.0])


def test_an_overflowing_step_leaves_finite_weights():
    got = train(
        jnp.array(1.0, jnp.float32), lambda p: (1e20 * p, p),
        jnp.array(1e30), 4, jnp.array(0.0), max_epochs=4, optimizer="sgd",
    )  # fmt: skip
    assert got.diverged
    assert got.params == 1.0


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_weights_keep_their_dtype_under_float64_settings(optimizer):
    got = train(
        jnp.ones(3, jnp.float32), lambda p: (jnp.sum(p**2), jnp.sum(p)),
        jnp.array(0.1, jnp.float64), 3, jnp.array(0.1, jnp.float64),
        max_epochs=3, optimizer=optimizer,
    )  # fmt: skip
    assert got.params.dtype == got.loss.dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "words"),
    [({"optimizer": "rmsprop"}, "rmsprop"), ({"max_epochs": 0}, "at least 1")],
)
def test_wrong_choices_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        run(jnp.array(0.1), 1, jnp.array(0.0), **options)


def test_weighted_losses_equal_numpy_over_the_weighted_years():
    actual = np.array([2.0, 4.0, 5.0, 0.0])
    fitted = np.array([1.0, 5.0, 4.0, 9.0])
    weight = np.array([1.0, 3.0, 0.5, 0.0])
    args = (jnp.asarray(actual), jnp.asarray(fitted), jnp.asarray(weight))
    seen = weight > 0
    square = np.average((actual - fitted)[seen] ** 2, weights=weight[seen])
    percent = 100 * np.average(np.abs(1 - fitted[seen] / actual[seen]), weights=weight[seen])
    np.testing.assert_allclose(weighted_mse(*args), square, rtol=1e-14)
    np.testing.assert_allclose(weighted_mape(*args), percent, rtol=1e-14)
    for loss in (weighted_mse, weighted_mape):
        gradient = jax.grad(loss, argnums=1)(*args)
        assert np.isfinite(gradient).all()
        assert gradient[3] == 0.0
        assert loss(args[0], args[1], jnp.zeros(4)) == 0.0
