"""Starts by rule against NumPy; exact starts are stationary and equal to a direct solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.smoothing import (
    DAMPED,
    HOLT,
    NAIVE,
    SES,
    THETA,
    Start,
    holt_winters,
    is_honest,
    run_filter,
    solve_start,
    start_values,
    sum_squares,
)

LINEAR = {"naive": (NAIVE, ()), "ses": (SES, (0.3,)), "holt": (HOLT, (0.3, 0.2)),
          "damped": (DAMPED, (0.4, 0.1, 0.85))}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    """y, observed [20, 5]: full, late, gaps, all missing, one value."""
    rng = np.random.default_rng(8)
    y = 40 + 2.0 * np.arange(20)[:, None] + rng.normal(0, 5, (20, 5))
    observed = np.ones((20, 5), bool)
    observed[:6, 1] = False
    observed[:, 2] = rng.random(20) < 0.5
    observed[:, 3] = False
    observed[:, 4] = np.arange(20) == 9
    return jnp.asarray(np.where(observed, y, 1e6)), jnp.asarray(observed)


@pytest.mark.parametrize("num_values", [1, 2, 6, 40])
def test_rules_equal_numpy(data, num_values):
    y, observed = data
    first, mean, line = (
        start_values(y, observed, rule, num_values) for rule in ("first", "mean", "line")
    )
    for s in range(5):
        rows = np.flatnonzero(observed[:, s])
        used = rows[:num_values]
        if not used.size:
            for start in (first, mean, line):
                assert (float(start.level[s]), float(start.trend[s])) == (0, 0)
            continue
        values = np.asarray(y[used, s])
        assert float(first.level[s]) == values[0]
        np.testing.assert_allclose(mean.level[s], values.mean(), rtol=1e-14)
        slope, level = (0.0, values[0])
        if used.size > 1:  # time 0 is the row before the first value
            slope, level = np.polyfit(used - rows[0] + 1, values, 1)
        np.testing.assert_allclose(line.trend[s], slope, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(line.level[s], level, rtol=1e-10)


@pytest.mark.parametrize("late", [0, 1, 2, 3])
def test_seasonal_rule_finds_line_and_season(late):
    """Exact on line + season, whatever the phase of the first value and with a gap."""
    t = np.arange(1.0, 13)
    season = np.array([4.0, -1.0, -3.0, 0.0])
    values = 30 - 0.8 * t + np.resize(season, 12)
    y = jnp.asarray(np.concatenate([np.full(late, 1e5), values]))
    observed = jnp.asarray(np.arange(12 + late) >= late).at[late + 3].set(False)
    start = start_values(y, observed, "season", 9, 4)
    np.testing.assert_allclose(start.level, 30, rtol=1e-12)
    np.testing.assert_allclose(start.trend, -0.8, rtol=1e-12)
    np.testing.assert_allclose(start.season, season, atol=1e-12)
    made = run_filter(holt_winters(4), (0.3, 0.1, 0.2), y, observed, start)
    np.testing.assert_allclose(made.error, 0.0, atol=1e-11)


def test_seasonal_rule_is_least_squares(data):
    y, observed = data
    start = start_values(y, observed, "season", 8, 4)
    for s in (0, 1, 2):
        used = np.flatnonzero(observed[:, s])[:8]
        elapsed = used - used[0] + 1
        dummies = np.equal.outer((elapsed - 1) % 4, np.arange(4))
        seen = dummies.any(axis=0)
        design = np.column_stack([elapsed, dummies[:, seen]])
        solution = np.linalg.lstsq(design, y[used, s])[0]
        np.testing.assert_allclose(start.trend[s], solution[0], rtol=1e-9)
        np.testing.assert_allclose(start.level[s], solution[1:].mean(), rtol=1e-9)
        season = np.zeros(4)
        season[seen] = solution[1:] - solution[1:].mean()
        np.testing.assert_allclose(start.season[:, s], season, atol=1e-9)


@pytest.mark.parametrize("late", [0, 3])
def test_multiplicative_season_on_level_data(late):
    season = np.array([1.5, 0.6, 0.9])
    values = np.concatenate([np.full(late, -9.0), 20 * np.resize(season, 9)])
    observed = jnp.arange(9 + late) >= late
    start = start_values(jnp.asarray(values), observed, "season-multiplicative", 6, 3)
    np.testing.assert_allclose([start.level, start.trend], [20, 0], atol=1e-12)
    np.testing.assert_allclose(start.season, season, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_multiplicative_season_without_positive_values_is_neutral(value):
    start = start_values(jnp.full((9, 1), value), None, "season-multiplicative", 6, 3)
    np.testing.assert_array_equal(start.season, np.ones((3, 1)))


def test_rules_use_no_later_values(data):
    y, observed = data
    for rule in ("first", "mean", "line", "season", "season-multiplicative"):
        made = start_values(y, observed, rule, 4, 2)
        last = [int(np.flatnonzero(observed[:, s])[3]) for s in (0, 1, 2)]
        for s, row in enumerate(last):
            changed = start_values(y.at[row + 1 :, s].set(3e3), observed, rule, 4, 2)
            jax.tree.map(
                lambda a, b, s=s: np.testing.assert_array_equal(a[..., s], b[..., s]), made, changed
            )


def test_wrong_rules_are_named(data):
    with pytest.raises(ValueError, match="expected one of"):
        start_values(*data, "median", 3)
    with pytest.raises(ValueError, match="at least 1"):
        start_values(*data, "mean", 0)


def test_honest_rows_come_after_those_of_the_start(data):
    _, observed = data
    honest = np.asarray(is_honest(observed, 3))
    for s in range(5):
        rows = np.flatnonzero(observed[:, s])
        np.testing.assert_array_equal(np.flatnonzero(honest[:, s]), rows[3:])


# --- exact ------------------------------------------------------------------------------------


def direct(smoother, params, y, observed, near):
    """Level and trend by numpy lstsq on columns from NumPy-built finite differences."""

    def errors(level, trend):
        start = Start(jnp.asarray(level), jnp.asarray(trend), jnp.zeros((1,)))
        return np.asarray(run_filter(smoother, params, y, observed, start).error)

    zero = errors(0.0, 0.0)
    columns = [errors(1.0, 0.0) - zero, errors(0.0, 1.0) - zero][: smoother.num_linear]
    solution, *_ = np.linalg.lstsq(np.column_stack(columns), -zero, rcond=None)
    return solution, np.sum((zero + np.column_stack(columns) @ solution) ** 2)


@pytest.mark.parametrize("name", LINEAR)
def test_exact_start_is_the_least_squares_solution(data, name):
    smoother, params = LINEAR[name]
    y, observed = data
    near = start_values(y, observed, "line", 5)
    best, left = solve_start(smoother, params, y, observed, near)
    np.testing.assert_allclose(
        sum_squares(smoother, params, y, observed, best), left, rtol=1e-9, atol=1e-9
    )
    for s in (0, 1, 2):
        solution, total = direct(smoother, params, y[:, s], observed[:, s], near)
        np.testing.assert_allclose(best.level[s], solution[0], rtol=1e-8)
        np.testing.assert_allclose(left[s], total, rtol=1e-9)
        if smoother.num_linear == 2:
            np.testing.assert_allclose(best.trend[s], solution[1], rtol=1e-7)
    assert np.isfinite(best.level).all()
    np.testing.assert_allclose(left[3:], 0.0, atol=1e-12)


@pytest.mark.parametrize("name", LINEAR)
def test_moving_the_exact_start_raises_the_loss(data, name):
    smoother, params = LINEAR[name]
    y, observed = (x[:, :3] for x in data)
    best, left = solve_start(smoother, params, y, observed, start_values(y, observed, "first", 1))
    for level, trend in ((0.5, 0.0), (-0.5, 0.0), (0.0, 0.2), (0.0, -0.2)):
        if trend and smoother.num_linear == 1:
            continue
        moved = best._replace(level=best.level + level, trend=best.trend + trend)
        assert (sum_squares(smoother, params, y, observed, moved) > left).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("rows", [1, 2, 12])
def test_exact_start_of_short_and_constant_series(rows, dtype):
    y = jnp.full((rows, 2), 7.0, dtype).at[-1, 1].set(9.0)
    for smoother, params in LINEAR.values():
        weights = jnp.asarray(params, dtype)
        near = start_values(y, None, "first", 1)
        best, left = solve_start(smoother, weights, y, None, near)
        assert left.dtype == best.level.dtype == dtype
        assert np.isfinite(best.level).all()
        assert np.isfinite(best.trend).all()
        np.testing.assert_allclose(left[0], 0.0, atol=1e-10)
        np.testing.assert_allclose(best.level[0], 7.0, rtol=1e-5)
        np.testing.assert_allclose(best.trend[0], 0.0, atol=1e-5)
        if rows == 1:
            assert float(best.trend[1]) == 0.0
        if rows == 2 and smoother.num_linear == 2:
            np.testing.assert_allclose(left[1], 0.0, atol=1e-5)


def test_level_and_trend_at_heavy_weights_do_not_break_float32():
    """alpha near 1 makes their columns all but equal: rounding must not be inverted."""
    y = jnp.asarray(100 + np.random.default_rng(3).normal(0, 1, (30, 50)), jnp.float32)
    near = start_values(y, None, "line", 5)
    best, left = solve_start(HOLT, (0.9999, 0.9999), y, None, near)
    again = sum_squares(HOLT, (0.9999, 0.9999), y, None, best)
    assert (again <= 1.01 * sum_squares(HOLT, (0.9999, 0.9999), y, None, near)).all()
    np.testing.assert_allclose(left, again, rtol=0.02)


def test_exact_start_is_differentiable(data):
    y, observed = data
    near = start_values(y, observed, "line", 5)

    @jax.jit
    def value(params):
        return solve_start(HOLT, params, y, observed, near).sum_squares[:3]

    params = jnp.array([0.3, 0.2])
    gradient = jax.jacobian(value)(params)
    for i in range(2):
        step = jnp.zeros(2).at[i].set(1e-5)
        difference = (value(params + step) - value(params - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, i], difference, rtol=1e-6)


@pytest.mark.parametrize("smoother", [THETA, holt_winters(4)], ids=lambda s: s.name)
def test_filters_that_are_not_linear_are_refused(smoother):
    y = jnp.ones((8, 1))
    with pytest.raises(ValueError, match="not linear in level and trend"):
        solve_start(smoother, (0.3,), y, None, start_values(y, None, "first", 1))
