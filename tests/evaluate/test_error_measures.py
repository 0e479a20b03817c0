"""Error measures against hand-computed numbers, loops, limits and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from diffmig import evaluate
from diffmig.evaluate import mae, mape, mase, r2, rmse, smape

TRAINING = np.array([1.0, 4.0, 2.0, 9.0])  # one-step changes 3, 2, 7; two-step 1, 5
ACTUAL = np.array([10.0, -20.0, 40.0])
FORECAST = np.array([12.0, -15.0, 40.0])
MEASURES = {
    "mape": mape,
    "r2": r2,
    "rmse": rmse,
    "mae": mae,
    "smape": smape,
    "mase": lambda actual, forecast, **kw: mase(actual, forecast, TRAINING, **kw),
}
each_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


def test_hand_computed_numbers() -> None:
    assert mape(ACTUAL, FORECAST) == pytest.approx((20 + 25 + 0) / 3)
    assert mae(ACTUAL, FORECAST) == pytest.approx(7 / 3)
    assert rmse(ACTUAL, FORECAST) == pytest.approx(np.sqrt(29 / 3))
    assert smape(ACTUAL, FORECAST) == pytest.approx(200 / 3 * (2 / 22 + 5 / 35))
    assert r2(ACTUAL, FORECAST) == pytest.approx(1 - 29 / 1800)
    assert r2(ACTUAL, FORECAST, mean=0.0) == pytest.approx(1 - 29 / 2100)
    assert mase(ACTUAL, FORECAST, TRAINING) == pytest.approx(7 / 3 / 4)
    assert mase(ACTUAL, FORECAST, TRAINING, season=2) == pytest.approx(7 / 3 / 3)


def _loop(name: str, y: np.ndarray, f: np.ndarray, known: np.ndarray) -> float:
    terms, squares, values = [], [], [a for a, k in zip(y, known, strict=True) if k]
    middle = sum(values) / len(values)
    for a, b, k in zip(y, f, known, strict=True):
        if not k:
            continue
        error = abs(a - b)
        terms.append(
            {"mape": 100 * error / abs(a), "smape": 200 * error / (abs(a) + abs(b))}.get(
                name, error
            )
        )
        squares.append((error**2, (a - middle) ** 2))
    mean = sum(terms) / len(terms)
    total = sum(square for square, _ in squares)
    return {
        "r2": 1 - total / sum(deviation for _, deviation in squares),
        "rmse": (total / len(terms)) ** 0.5,
        "mase": mean / 4,
    }.get(name, mean)


@pytest.mark.parametrize("name", MEASURES)
def test_masked_batch_equals_loop_and_ignores_what_is_masked(name: str) -> None:
    rng = np.random.default_rng(1)
    actual, forecast = rng.normal(5, 3, (2, 4, 7)), rng.normal(5, 3, (2, 4, 7))
    known = rng.random((2, 4, 7)) < 0.6
    known[..., :2] = True
    expected = [
        [_loop(name, *rows) for rows in zip(*block, strict=True)]
        for block in zip(actual, forecast, known, strict=True)
    ]
    hidden = np.where(known, actual, np.nan), np.where(known, forecast, np.inf)
    np.testing.assert_allclose(MEASURES[name](*hidden, mask=known), expected, rtol=1e-12)


@each_measure
def test_one_actual_series_scores_an_ensemble(measure) -> None:
    ensemble = FORECAST + np.array([[0.0], [1.0], [-2.0]])
    single = [float(measure(ACTUAL, member)) for member in ensemble]
    np.testing.assert_allclose(measure(ACTUAL, ensemble), single, rtol=1e-14)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(measure, (None, 0)))(ACTUAL, ensemble), single, rtol=1e-14
    )


@each_measure
def test_perfect_forecast_has_the_ideal_value_and_a_finite_gradient(measure) -> None:
    value, gradient = jax.value_and_grad(measure, argnums=1)(
        jnp.asarray(ACTUAL), jnp.asarray(ACTUAL)
    )
    assert value == (1.0 if measure is r2 else 0.0)
    np.testing.assert_array_equal(gradient, 0.0)


@each_measure
def test_gradients_agree_with_finite_differences(measure) -> None:
    forecast = jnp.array([12.0, -15.0, 41.0])
    known = np.array([True, True, True])
    check_grads(
        lambda y, f: measure(y, f, mask=known), (jnp.asarray(ACTUAL), forecast), 1, rtol=1e-5
    )


@each_measure
def test_masked_bad_values_leave_no_nan_in_the_gradient(measure) -> None:
    actual, forecast = jnp.array([10.0, 0.0, 30.0, jnp.nan]), jnp.array([11.0, 0.0, 28.0, jnp.inf])
    known = jnp.array([True, False, True, False])
    gradient = jax.grad(lambda f: measure(actual, f, mask=known))(forecast)
    assert jnp.isfinite(gradient).all()
    assert gradient[0] != 0
    np.testing.assert_array_equal(gradient[jnp.array([1, 3])], 0.0)


@each_measure
def test_nothing_observed_is_nan(measure) -> None:
    assert jnp.isnan(measure(ACTUAL, FORECAST, mask=np.zeros(3, bool)))


@pytest.mark.parametrize("forecast", [0.0, 3.0])
def test_mape_of_a_zero_actual_value_is_undefined(forecast: float) -> None:
    actual, other = np.array([0.0, 10.0]), np.array([forecast, 10.0])
    assert jnp.isnan(mape(actual, other))
    assert mape(actual, other, mask=np.array([False, True])) == 0
    assert smape(actual, other) == pytest.approx(100.0 if forecast else 0.0)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e9 / 3])
def test_r2_of_a_constant_series_is_undefined(level: float) -> None:
    assert jnp.isnan(r2(np.full(7, level), np.full(7, level) + 1.0))


def test_r2_limits() -> None:
    actual = np.array([3.0, 5.0, 10.0])
    assert r2(actual, np.full(3, 6.0)) == pytest.approx(0.0)  # the mean itself
    assert r2(actual, np.full(3, 9.0)) == pytest.approx(-27 / 26)  # bias b costs N b^2 / SS_tot


def test_mape_and_mase_ignore_the_unit_and_smape_the_order() -> None:
    factor = 1e-3
    assert mape(ACTUAL * factor, FORECAST * factor) == pytest.approx(float(mape(ACTUAL, FORECAST)))
    scaled = mase(ACTUAL * factor, FORECAST * factor, TRAINING * factor)
    assert scaled == pytest.approx(float(mase(ACTUAL, FORECAST, TRAINING)))
    assert smape(FORECAST, ACTUAL) == pytest.approx(float(smape(ACTUAL, FORECAST)))


def test_mase_scale_uses_only_pairs_of_known_training_years() -> None:
    known = np.array([True, True, False, True])
    training = np.where(known, TRAINING, np.nan)
    assert mase(ACTUAL, FORECAST, training, training_mask=known) == pytest.approx(7 / 3 / 3)
    assert jnp.isnan(mase(ACTUAL, FORECAST, np.full(4, 2.0)))


def test_integers_and_mixed_precision_are_accepted() -> None:
    assert mape(np.array([10, 20]), np.array([11, 20])) == pytest.approx(5.0)
    mixed = mae(np.array([1.0, 2.0]), np.array([2.0, 2.0], np.float32))
    assert mixed == 0.5
    assert mixed.dtype == jnp.float64
    single = np.array([1.0, 3.0], np.float32)
    assert rmse(single, single).dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mape(ACTUAL, FORECAST[:2]), "same years"),
        (lambda: r2(np.ones((2, 3)), np.ones((4, 3))), "leading axes"),
        (lambda: rmse(1.0, 2.0), "time is the last axis"),
        (lambda: mase(ACTUAL, FORECAST, TRAINING, season=4), "at least 5 years"),
        (lambda: mase(ACTUAL, FORECAST, TRAINING, season=0), "season"),
    ],
)
def test_wrong_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_every_public_name_exists() -> None:
    assert all(hasattr(evaluate, name) for name in evaluate.__all__)
