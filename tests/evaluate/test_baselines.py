"""Baselines: year conventions, known solutions, facts measured on table 1 of the GRP paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from diffmig.evaluate import (
    AR1_STATUS,
    BASELINES,
    ar1,
    drift,
    last_value,
    linear_trend,
    mape,
    mean_growth,
    one_step_last_value,
    r2,
)

TRAIN, TEST = slice(0, 18), slice(18, 24)  # 2000-2017, 2018-2023
SERIES = np.array([3.0, 5.0, 4.0, 8.0, 9.0, 7.5])


def _scores(actual: np.ndarray, forecast) -> tuple[float, float]:
    return float(r2(actual, forecast)), float(mape(actual, forecast))


# Printed with the decimals of the measured facts: R2 and MAPE on 2018-2023.
EX_ANTE = [
    ("grp_2023_prices", last_value, -0.72, 4.33),
    ("grp_2023_prices", drift, -4.07, 6.66),
    ("grp_current", drift, -0.19, 12.62),
    ("grp_current", lambda y, h: mean_growth(y, h, 3), 0.83, 5.33),
    ("grp_current", lambda y, h: mean_growth(y, h, 5), 0.81, 5.28),
    ("grp_current", lambda y, h: mean_growth(y, h, 10), 0.49, 8.00),
]


@pytest.mark.parametrize(("column", "baseline", "expected_r2", "expected_mape"), EX_ANTE)
def test_measured_facts_ex_ante(grp, column, baseline, expected_r2, expected_mape) -> None:
    got_r2, got_mape = _scores(grp[column][TEST], baseline(grp[column][TRAIN], 6))
    assert got_r2 == pytest.approx(expected_r2, abs=0.0051)
    assert got_mape == pytest.approx(expected_mape, abs=0.0051)


@pytest.mark.parametrize(
    ("column", "expected_r2", "expected_mape"),
    [("grp_2023_prices", -1.00, 5.17), ("grp_current", 0.39, 9.44)],
)
def test_measured_facts_one_step(grp, column, expected_r2, expected_mape) -> None:
    got_r2, got_mape = _scores(grp[column][TEST], one_step_last_value(grp[column])[TEST])
    assert got_r2 == pytest.approx(expected_r2, abs=0.0051)
    assert got_mape == pytest.approx(expected_mape, abs=0.0051)


@pytest.mark.parametrize(
    ("years", "expected"),
    [(slice(0, 24), (4.30, 12.20, 1.09, 4.61)), (TRAIN, (3.95, 2.44, 0.84, 4.26))],
    ids=["2000-2023", "2000-2017"],
)
def test_measured_facts_ar1_in_sample(grp, years, expected) -> None:
    factors = np.stack(
        [grp[name][years] for name in ("deflator", "fixed_assets", "labour", "high_tech_share")]
    )
    fitted = ar1(factors, 1).fitted
    np.testing.assert_allclose(mape(factors[:, 1:], fitted[:, 1:]), expected, atol=0.0051)


def test_ar1_reports_the_roots_above_1(grp) -> None:
    model = ar1(np.stack([grp["fixed_assets"], grp["labour"], grp["deflator"]]), 7)
    np.testing.assert_allclose(model.root[:2], [1.051, 1.004], atol=5e-4)
    assert [AR1_STATUS[code] for code in model.status] == [
        "root not inside (-1, 1)",
        "root not inside (-1, 1)",
        "stationary",
    ]
    in_logs = ar1(grp["fixed_assets"], 7, log_difference=True)
    assert in_logs.status == 0
    assert jnp.all(jnp.diff(in_logs.forecast) > 0)


def test_measured_facts_deflator_chains(grp) -> None:
    actual, start = grp["grp_current"][TEST], grp["grp_current"][17]
    ex_ante = start * np.cumprod(np.asarray(ar1(grp["deflator"][TRAIN], 6).forecast) / 100)
    assert _scores(actual, ex_ante) == pytest.approx((0.69, 6.10), abs=0.0051)
    assert _scores(actual, start * np.cumprod(grp["deflator"][TEST] / 100)) == pytest.approx(
        (0.65, 6.35), abs=0.0051
    )
    corrected = np.append(grp["deflator"][18:23], 106.3)
    assert _scores(actual, start * np.cumprod(corrected / 100)) == pytest.approx(
        (0.90, 4.31), abs=0.0051
    )
    # The unrounded chain behind the 2023-price column: its last value, seen in current prices.
    price = grp["grp_current"] / grp["grp_2023_prices"]
    assert _scores(actual, start * price[TEST] / price[17]) == pytest.approx(
        (0.90, 4.33), abs=0.0051
    )


def test_measured_facts_production_function(grp) -> None:
    regressors = np.stack([np.ones(24), np.log(grp["fixed_assets"]), np.log(grp["labour"])], axis=1)
    grp_real = grp["grp_2023_prices"]
    coefficients = np.linalg.lstsq(regressors[TRAIN], np.log(grp_real[TRAIN]), rcond=None)[0]
    fitted = np.exp(regressors @ coefficients)
    train_r2, train_mape = _scores(grp_real[TRAIN], fitted[TRAIN])
    assert (train_r2, train_mape) == (
        pytest.approx(0.941, abs=5e-4),
        pytest.approx(3.35, abs=0.0051),
    )
    assert mape(grp_real[TEST], fitted[TEST]) == pytest.approx(21.3, abs=0.051)


def test_row_years_of_every_baseline() -> None:
    line = 4.0 + 2.0 * np.arange(12)  # the next value is 28
    for name, baseline in BASELINES.items():
        forecast = baseline(line, 3)
        assert forecast.shape == (3,), name
    np.testing.assert_allclose(drift(line, 3), [28, 30, 32], rtol=1e-13)
    np.testing.assert_allclose(linear_trend(line, 3), [28, 30, 32], rtol=1e-13)
    np.testing.assert_array_equal(last_value(line, 2), [26, 26])
    np.testing.assert_array_equal(one_step_last_value(line), [np.nan, *line[:-1]])
    np.testing.assert_allclose(
        mean_growth(3.0 * 1.1 ** np.arange(5), 2, 4), 3.0 * 1.1 ** np.array([5, 6])
    )


@pytest.mark.parametrize("name", BASELINES)
def test_batched_baselines_equal_one_series_at_a_time(name) -> None:
    series = np.random.default_rng(2).uniform(1, 3, (2, 3, 12))
    together = BASELINES[name](series, 4)
    alone = [[BASELINES[name](row, 4) for row in block] for block in series]
    np.testing.assert_allclose(together, np.array(alone), rtol=1e-12)
    mapped = jax.jit(jax.vmap(jax.vmap(lambda row: BASELINES[name](row, 4))))(series)
    np.testing.assert_allclose(mapped, together, rtol=1e-12)


def _ols(series: np.ndarray) -> tuple[float, float]:
    regressors = np.stack([np.ones(len(series) - 1), series[:-1]], axis=1)
    return tuple(np.linalg.lstsq(regressors, series[1:], rcond=None)[0])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(-1.2, 1.2), st.floats(-50, 50))
def test_ar1_equals_an_independent_least_squares_loop(seed, root, level) -> None:
    noise = np.random.default_rng(seed).normal(size=12)
    series = [level]
    for shock in noise:
        series.append(3.0 + root * series[-1] + shock)
    series = np.array(series)
    model = ar1(series, 4)
    intercept, slope = _ols(series)
    assert model.root == pytest.approx(slope, rel=1e-7, abs=1e-9)
    forecast, value = [], series[-1]
    for _ in range(4):
        value = intercept + slope * value
        forecast.append(value)
    np.testing.assert_allclose(model.forecast, forecast, rtol=1e-6, atol=1e-7)
    residual = series[1:] - (intercept + slope * series[:-1])
    assert model.residual_std == pytest.approx(np.sqrt(residual @ residual / 10), rel=1e-7)
    assert int(model.status) == int(abs(slope) >= 1)


def test_ar1_recovers_a_noiseless_process_and_its_limit() -> None:
    series = 10 + 5 * 0.6 ** np.arange(8)  # y = 4 + 0.6 y_before, limit 10
    model = ar1(series, 60)
    np.testing.assert_allclose((model.intercept, model.root), (4.0, 0.6), rtol=1e-9)
    np.testing.assert_allclose(model.fitted[1:], series[1:], rtol=1e-12)
    assert model.forecast[0] == pytest.approx(10 + 5 * 0.6**8)
    assert model.forecast[-1] == pytest.approx(10, abs=1e-9)


def test_ar1_of_log_differences_equals_ar1_of_growth() -> None:
    model = ar1(SERIES, 3, log_difference=True)
    growth = np.diff(np.log(SERIES))
    intercept, root = _ols(growth)
    assert jnp.isnan(model.fitted[:2]).all()
    np.testing.assert_allclose(
        model.fitted[2], SERIES[1] * np.exp(intercept + root * growth[0]), rtol=1e-12
    )
    value, last = SERIES[-1], growth[-1]
    for forecast in model.forecast:
        last = intercept + root * last
        value *= np.exp(last)
        assert forecast == pytest.approx(value, rel=1e-12)


def test_ar1_of_degenerate_series_says_so() -> None:
    constant = ar1(np.stack([np.full(6, 0.1), np.full(6, 1e7 / 3)]), 2)
    assert [AR1_STATUS[code] for code in constant.status] == ["constant series"] * 2
    np.testing.assert_allclose(constant.forecast[:, 1], [0.1, 1e7 / 3])
    negative = ar1(np.array([[1.0, 2, -3, 4, 5], [1.0, 2, 3, 4, 5]]), 2, log_difference=True)
    assert AR1_STATUS[negative.status[0]] == "value not positive"
    assert negative.status[1] != 3
    assert jnp.isnan(negative.forecast[0]).all()
    assert jnp.isfinite(negative.forecast[1]).all()


@pytest.mark.parametrize("name", BASELINES)
def test_gradients_of_the_forecast(name) -> None:
    series = jnp.asarray(np.random.default_rng(3).uniform(1, 2, 12))
    check_grads(lambda y: BASELINES[name](y, 3), (series,), 1, rtol=1e-5, eps=1e-6)
    flat = jax.grad(lambda y: jnp.sum(BASELINES[name](y, 3)))(jnp.full(12, 2.0))
    assert jnp.isfinite(flat).all()


@pytest.mark.parametrize("log_difference", [False, True])
def test_gradient_of_fitted_values_is_finite_beside_the_unknown_first_years(log_difference) -> None:
    gradient = jax.grad(lambda y: jnp.nansum(ar1(y, 1, log_difference=log_difference).fitted))(
        jnp.asarray(SERIES)
    )
    assert jnp.isfinite(gradient).all()
    assert jnp.any(gradient != 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ar1(SERIES[:3], 1), "at least 4 years"),
        (lambda: ar1(SERIES[:4], 1, log_difference=True), "at least 5 years"),
        (lambda: drift(SERIES[:1], 1), "at least 2 years"),
        (lambda: mean_growth(SERIES, 1, 6), "at least 7 years"),
        (lambda: mean_growth(SERIES, 1, 0), "num_years"),
        (lambda: last_value(SERIES, 0), "horizon"),
    ],
)
def test_wrong_input_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
