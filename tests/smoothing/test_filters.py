"""One contract for all filters, then the limits of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from diffmig import smoothing
from diffmig.smoothing import (
    DAMPED,
    DRIFT,
    HOLT,
    NAIVE,
    SES,
    THETA,
    TRIGG_LEACH,
    Start,
    advance,
    forecast_table,
    has_started,
    holt_winters,
    run_filter,
    seasonal_naive,
    sum_squares,
)
from tests.cases import PRINTED_HOLT, PRINTED_SES, WAGE, WAGE_ERRORS
from tests.smoothing.conftest import HORIZONS, ROWS, spread_params
from tests.smoothing.loops import CASES, run_loop

every_filter = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def one(x):
    return jnp.asarray(float(x))


def start_of(level, trend=0.0, season=(0.0,)):
    return Start(one(level), one(trend), jnp.asarray(season, float))


@every_filter
def test_filter_equals_its_loop(panel, program, case):
    num_series = panel.y.shape[1]
    params, start = spread_params(case, num_series), panel.start(case)
    filtered, table = program(case, params, panel.y, panel.observed, start)
    for s in range(num_series):
        parts = [np.asarray(x)[..., s] for x in start]
        seen = panel.observed[:, s]
        fitted, ahead = run_loop(case, params[:, s], panel.y[:, s], seen, parts, HORIZONS)
        np.testing.assert_allclose(filtered.fitted[:, s], fitted, rtol=1e-11)
        np.testing.assert_allclose(table[..., s], ahead, rtol=1e-11)
        error = np.where(seen, panel.y[:, s] - fitted, 0.0)
        np.testing.assert_allclose(filtered.error[:, s], error, atol=1e-9)
    assert np.isfinite(table).all()


@every_filter
def test_a_series_alone_gives_what_it_gives_in_a_panel(panel, program, case):
    params, start = spread_params(case, panel.y.shape[1]), panel.start(case)
    filtered, table = program(case, params, panel.y, panel.observed, start)
    alone = jax.jit(
        lambda params, y, seen, start: forecast_table(
            case.smoother, params, y, seen, start, HORIZONS
        )
    )
    for s in (0, 3, 6):
        begin = jax.tree.map(lambda x, s=s: x[..., s], start)
        y, seen = jnp.asarray(panel.y[:, s]), jnp.asarray(panel.observed[:, s])
        np.testing.assert_allclose(alone(params[:, s], y, seen, begin), table[..., s], rtol=1e-13)
    whole = alone(params[:, 0], jnp.asarray(panel.y[:, 0]), None, panel_start(start, 0))
    np.testing.assert_allclose(whole, table[..., 0], rtol=1e-13)
    total = sum_squares(case.smoother, params, jnp.asarray(panel.y), panel.observed, start)
    np.testing.assert_allclose(total, np.sum(np.square(filtered.error), axis=0), rtol=1e-12)


def panel_start(start, s):
    return jax.tree.map(lambda x: x[..., s], start)


@every_filter
def test_two_scans_joined_by_the_state_are_one(panel, program, case):
    params, start = spread_params(case, panel.y.shape[1]), panel.start(case)
    filtered, _ = program(case, params, panel.y, panel.observed, start)
    y, observed, half = jnp.asarray(panel.y), jnp.asarray(panel.observed), 8
    first = run_filter(case.smoother, params, y[:half], observed[:half], start)

    def body(state, row):
        return advance(case.smoother, params, state, *row)

    rest = (y[half:], observed[half:], has_started(observed)[half:])
    state, fitted = lax.scan(body, first.state, rest)
    joined = np.concatenate([first.fitted, fitted])
    np.testing.assert_allclose(joined, filtered.fitted, rtol=1e-13)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-10),
        state,
        filtered.state,
    )


@every_filter
def test_leading_gaps_are_as_if_the_series_were_cut(panel, program, case):
    params, start = spread_params(case, panel.y.shape[1]), panel.start(case)
    _, table = program(case, params, panel.y, panel.observed, start)
    cut = forecast_table(
        case.smoother, params[:, 1], jnp.asarray(panel.y[7:, 1]), None, panel_start(start, 1), 6
    )
    np.testing.assert_allclose(table[7:, :, 1], cut, rtol=1e-13)
    for t in range(7):  # frozen: the season too
        np.testing.assert_array_equal(table[t, :, 1], table[0, :, 1])


@every_filter
def test_after_the_last_value_the_state_advances(panel, program, case):
    """Forecasts from a gap are those from before it, one step fewer ahead."""
    if case.smoother in (TRIGG_LEACH, THETA):
        pytest.skip("their later forecasts depend on what is in the gap; the loop covers it")
    params, start = spread_params(case, panel.y.shape[1]), panel.start(case)
    _, table = program(case, params, panel.y, panel.observed, start)
    last = ROWS - 6
    for k in range(1, 4):
        np.testing.assert_allclose(table[last + k, :3, 2], table[last, k : k + 3, 2], rtol=1e-12)


@every_filter
def test_the_future_changes_no_forecast(panel, program, case):
    params, start = spread_params(case, panel.y.shape[1]), panel.start(case)
    filtered, table = program(case, params, panel.y, panel.observed, start)
    for t in (0, 6, 13):
        y, observed = panel.y.copy(), panel.observed.copy()
        y[t + 1 :] += 1e4
        observed[t + 1 :] = ~observed[t + 1 :]
        other, changed = program(case, params, y, observed, start)
        np.testing.assert_array_equal(table[: t + 1], changed[: t + 1])
        np.testing.assert_array_equal(filtered.fitted[: t + 2], other.fitted[: t + 2])
        assert not np.array_equal(table[t + 1 :], changed[t + 1 :])


@every_filter
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_is_kept(panel, case, dtype):
    def everything(params, y, observed, start):
        losses = [smoothing.gaussian_deviance, smoothing.multi_step_loss((0.5, 0.0, 2.0))]
        return (
            run_filter(case.smoother, params, y, observed, start),
            forecast_table(case.smoother, params, y, observed, start, 3),
            [loss(case.smoother, params, y, observed, start) for loss in losses],
        )

    num_series = panel.y.shape[1]
    arguments = spread_params(case, num_series, dtype), jnp.asarray(panel.y, dtype)
    for observed in (None, panel.observed):
        made = jax.eval_shape(everything, *arguments, observed, panel.start(case, dtype))
        assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype(dtype)}


@every_filter
def test_gradients_match_differences(panel, case):
    """Of forecasts and of the sum of squares, by past values, weights and start; order 1."""
    y, seen = panel.y[:9, [0, 6]], panel.observed[:9, [0, 6]]
    start = jax.tree.map(lambda x: x[..., :2], panel.start(case))
    params = spread_params(case, 2)
    mix = jnp.asarray(np.random.default_rng(2).normal(size=(9, 3, 2)))

    @jax.jit
    def value(params, y, start):
        table = forecast_table(case.smoother, params, y, seen, start, 3)
        return jnp.sum(mix * table), sum_squares(case.smoother, params, y, seen, start).sum() / 1e2

    check_grads(value, (params, jnp.asarray(y), start), order=1, modes=["rev"], rtol=2e-6)


@every_filter
@pytest.mark.parametrize("value", [0.0, 30.0])
def test_gradients_stay_finite_on_constant_series(case, value):
    y = jnp.full((9, 2), value)
    start = smoothing.start_values(y, None, case.smoother.initial, 8, case.period)
    params = spread_params(case, 2)

    def total(params, y, start):
        loss = sum_squares(case.smoother, params, y, None, start)
        return jnp.sum(forecast_table(case.smoother, params, y, None, start, 2)) + jnp.sum(loss)

    gradients = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(params, y, start)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


# --- the paper --------------------------------------------------------------------------------


def test_printed_columns_of_the_wage_are_reproduced():
    y = jnp.asarray(WAGE)
    ses = run_filter(SES, jnp.array([0.9]), y, None, start_of(5481.47))
    holt = run_filter(HOLT, jnp.array([0.9, 0.7]), y, None, start_of(5495.28, 141.76))
    np.testing.assert_array_equal(np.round(np.asarray(ses.fitted), 2), PRINTED_SES[:-1])
    np.testing.assert_array_equal(np.round(np.asarray(holt.fitted), 2), PRINTED_HOLT[:-1])
    assert round(float(SES.predict(jnp.array([0.9]), ses.state, 1)[0]), 4) == PRINTED_SES[-1]
    assert round(float(HOLT.predict((0.9, 0.7), holt.state, 1)[0]), 3) == PRINTED_HOLT[-1]
    for made, mean in zip((ses, holt), WAGE_ERRORS, strict=True):
        percent = 100 * np.mean(np.abs(made.error) / np.array(WAGE))
        assert round(percent, 3) == mean


# --- limits -----------------------------------------------------------------------------------


def random_series(seed=0, rows=15):
    return jnp.asarray(50 + np.random.default_rng(seed).normal(0, 3, rows).cumsum())


def test_ses_with_weight_one_is_naive():
    y = random_series()
    ses = forecast_table(SES, jnp.array([1.0]), y, None, start_of(7), 3)
    naive = forecast_table(NAIVE, (), y, None, start_of(7), 3)
    np.testing.assert_allclose(ses, naive, rtol=1e-14)
    np.testing.assert_array_equal(naive[:, 2], y)


def test_past_values_weigh_geometrically_in_ses():
    alpha, rows = 0.35, 12
    y = random_series(1, rows)
    gradient = jax.grad(
        lambda y: forecast_table(SES, jnp.array([alpha]), y, None, start_of(9), 4)[-1, 3]
    )(y)
    np.testing.assert_allclose(gradient, alpha * (1 - alpha) ** np.arange(rows)[::-1], rtol=1e-13)


def test_holt_without_trend_weight_keeps_the_trend():
    y = random_series(2)
    holt = run_filter(HOLT, jnp.array([0.4, 0.0]), y, None, start_of(50, 1.7))
    assert float(holt.state.trend) == 1.7
    straight = 1.7 * jnp.arange(1.0, 16)
    ses = run_filter(SES, jnp.array([0.4]), y - straight, None, start_of(50))
    np.testing.assert_allclose(holt.fitted, ses.fitted + straight, rtol=1e-13)


def test_damping_lies_between_ses_and_holt():
    y, start = random_series(3), start_of(48, 2.0)
    damped = [
        forecast_table(DAMPED, jnp.array([0.4, 0.3, phi]), y, None, start, 5)
        for phi in (1e-9, 1 - 1e-9)
    ]
    ses = forecast_table(SES, jnp.array([0.4]), y, None, start, 5)
    holt = forecast_table(HOLT, jnp.array([0.4, 0.3]), y, None, start, 5)
    np.testing.assert_allclose(damped[0], ses, rtol=1e-8)
    np.testing.assert_allclose(damped[1], holt, rtol=1e-7)


def test_holt_is_exact_on_a_line():
    y = 12.0 - 0.7 * jnp.arange(1.0, 11)
    made = run_filter(HOLT, jnp.array([0.3, 0.6]), y, None, start_of(12, -0.7))
    np.testing.assert_allclose(made.error, 0.0, atol=1e-13)


def test_drift_joins_the_first_and_the_last_value():
    y = random_series(4)
    table = forecast_table(DRIFT, (), y, None, start_of(3), 4)
    y = np.asarray(y)
    slope = (y[-1] - y[0]) / (y.size - 1)
    np.testing.assert_allclose(table[-1], y[-1] + slope * np.arange(1, 5), rtol=1e-13)
    np.testing.assert_array_equal(table[0], [y[0]] * 4)


def test_theta_adds_nothing_without_a_trend_and_half_a_line_on_one():
    alpha, rows = 0.2, 14
    t = np.arange(rows)
    flat = jnp.asarray(np.where(np.isin(t % 4, (0, 3)), 5.0, 9.0)[: 4 * (rows // 4)])
    ses = forecast_table(SES, jnp.array([alpha]), flat, None, start_of(5), 3)
    theta = forecast_table(THETA, jnp.array([alpha]), flat, None, start_of(5), 3)
    np.testing.assert_allclose(theta[-1], ses[-1], rtol=1e-12)  # symmetric: slope 0

    # SES on a line from its first value lags behind by b (1 - (1 - a)^(n-1)) (1 - a) / a
    line = jnp.asarray(4.0 + 3.0 * t)
    theta = forecast_table(THETA, jnp.array([alpha]), line, None, start_of(4), 3)[-1]
    lag = (1 - alpha) / alpha * (1 - (1 - alpha) ** (rows - 1))
    level = line[-1] - 3.0 * lag
    extra = 1.5 * (np.arange(3) + (1 - (1 - alpha) ** rows) / alpha)
    np.testing.assert_allclose(theta, level + extra, rtol=1e-12)


def test_trigg_leach_weight_is_one_while_errors_have_one_sign():
    rising = jnp.asarray(np.cumsum(np.arange(1.0, 13)))
    made = forecast_table(TRIGG_LEACH, jnp.array([0.3]), rising, None, start_of(0.5), 2)
    np.testing.assert_allclose(made[:, 1], rising, rtol=1e-13)  # alpha_t = 1: naive

    y = random_series(6, 40)
    state, shares = TRIGG_LEACH.begin((0.3,), start_of(y[0])), []
    for value in y:
        new = TRIGG_LEACH.step((0.3,), state, value, None)
        if value != state.level:
            shares.append(float((new.level - state.level) / (value - state.level)))
        state = new
    assert min(shares) > -1e-12
    assert max(shares) < 1 + 1e-12
    assert min(shares) < 0.5 < max(shares)


@pytest.mark.parametrize("multiplicative", [False, True])
@pytest.mark.parametrize("damped", [False, True])
def test_holt_winters_is_exact_on_line_and_season(multiplicative, damped):
    t = np.arange(1.0, 15)
    season = (
        np.array([1.2, 0.7, 1.4, 0.3, 1.4]) if multiplicative else np.array([3.0, -4, 2, 6, -7])
    )
    phase = np.resize(season, t.size)
    trend = 1.5 * np.cumsum(0.9**t) if damped else 1.5 * t
    y = (20 + trend) * phase if multiplicative else 20 + trend + phase
    smoother = holt_winters(5, multiplicative=multiplicative, damped=damped)
    params = jnp.array([0.4, 0.2, 0.3, 0.9][: 4 if damped else 3])
    made = run_filter(smoother, params, jnp.asarray(y), None, start_of(20, 1.5, season))
    np.testing.assert_allclose(made.error, 0.0, atol=1e-11)


def test_seasonal_naive_repeats_periodic_data():
    y = jnp.asarray(np.resize([5.0, 1, 8], 13))
    table = forecast_table(seasonal_naive(3), (), y, None, start_of(5, 0, (0, 0, 0)), 7)
    for t in range(2, 13):
        np.testing.assert_array_equal(table[t], np.resize([5.0, 1, 8], 25)[t + 1 : t + 8])


def test_multiplicative_form_stays_finite_where_divisors_vanish():
    y = jnp.asarray([1.0, 2, 3, 1, 2, 3, 1, 2, 3])
    smoother = holt_winters(3, multiplicative=True)
    for level, season in ((0.0, (1.0, 1, 1)), (2.0, (0.0, 0, 0)), (-5.0, (1.0, -1, 1))):
        table = forecast_table(smoother, (0.5, 0.1, 0.5), y, None, start_of(level, 0, season), 4)
        assert np.isfinite(table).all()


@pytest.mark.parametrize("make", [holt_winters, seasonal_naive])
def test_a_season_of_one_step_is_refused(make):
    with pytest.raises(ValueError, match="at least 2 steps"):
        make(1)
