"""Losses against double loops with gaps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.smoothing import (
    SES,
    gaussian_deviance,
    multi_step_loss,
    start_values,
    sum_squares,
)
from tests.smoothing.conftest import spread_params
from tests.smoothing.loops import CASES, run_loop

CHOSEN = ("ses", "damped", "holt-winters-additive")


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize(
    ("weights", "power"), [((1.0,), 2), ((0.5, 0.0, 2.0), 2), ((1.0, 3.0), 1), ((0.0, 1.0), 2)]
)
def test_multi_step_loss_equals_a_double_loop(panel, name, weights, power):
    case = CASES[name]
    params, start = spread_params(case, panel.y.shape[1]), panel.start(case)
    loss = multi_step_loss(weights, power)
    got = loss(case.smoother, params, jnp.asarray(panel.y), jnp.asarray(panel.observed), start)
    num_rows = len(panel.y)
    for s in range(panel.y.shape[1]):
        y, seen = panel.y[:, s], panel.observed[:, s]
        parts = [np.asarray(x)[..., s] for x in start]
        fitted, table = run_loop(case, params[:, s], y, seen, parts, len(weights))
        expected, first = 0.0, np.argmax(seen)
        for h, weight in enumerate(weights, start=1):
            for t in range(num_rows):
                if seen[t] and h == 1:
                    expected += weight * abs(y[t] - fitted[t]) ** power
                elif seen[t] and t - h >= first:
                    expected += weight * abs(y[t] - table[t - h, h - 1]) ** power
        np.testing.assert_allclose(got[s], expected, rtol=1e-10)


def test_one_step_ahead_it_is_the_sum_of_squares(panel):
    case = CASES["holt"]
    params, start = spread_params(case, panel.y.shape[1]), panel.start(case)
    for observed in (None, jnp.asarray(panel.observed)):
        arguments = case.smoother, params, jnp.asarray(panel.y), observed, start
        np.testing.assert_allclose(
            multi_step_loss((1.0,))(*arguments), sum_squares(*arguments), rtol=1e-12
        )


def test_horizons_beyond_the_data_count_nothing(panel):
    case = CASES["ses"]
    y, start = jnp.asarray(panel.y[:3]), panel.start(case)
    params = spread_params(case, y.shape[1])
    near, far = ((1.0, 2.0), (1.0, 2.0, 5.0, 7.0))
    losses = [multi_step_loss(w)(SES, params, y, None, start) for w in (near, far)]
    # three rows: h = 3 has no origin
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-14)


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -1.0), ((1.0,),)])
def test_wrong_horizon_weights_are_named(weights):
    with pytest.raises(ValueError, match="horizon_weights"):
        multi_step_loss(weights)


def test_wrong_power_is_named():
    with pytest.raises(ValueError, match="power"):
        multi_step_loss((1.0,), 3)


def test_deviance_has_the_minimum_of_the_squares(panel):
    case = CASES["ses"]
    grid = jnp.linspace(0.05, 0.95, 19)
    y, observed = jnp.asarray(panel.y), jnp.asarray(panel.observed)
    start = panel.start(case)
    squares, deviance = (
        np.asarray(jax.vmap(lambda a, loss=loss: loss(SES, a[None], y, observed, start))(grid))
        for loss in (sum_squares, gaussian_deviance)
    )
    np.testing.assert_array_equal(np.argmin(squares, axis=0), np.argmin(deviance, axis=0))
    number = panel.observed.sum(axis=0)
    for s in (0, 3, 6):
        expected = number[s] * np.log(squares[:, s] / number[s])
        np.testing.assert_allclose(deviance[:, s], expected, rtol=1e-12)


def test_deviance_of_a_perfect_fit_is_finite():
    y = jnp.full((6, 1), 4.0)
    got = gaussian_deviance(SES, (0.3,), y, None, start_values(y, None, "first", 1))
    assert np.isfinite(got).all()
    assert float(got[0]) < -1e3
