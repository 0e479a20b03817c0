"""Factor scenarios: years, rules, agreement with the autoregression, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.evaluate import ar1
from diffmig.explain import ar1_scenario, constant_scenario, growth_scenario, growth_scenarios

NAMES = ("capital", "labour", "deflator")
YEARS = np.arange(2010, 2020)
HISTORY = np.stack(
    [
        100 * 1.05 ** np.arange(10) * (1 + 0.02 * np.sin(np.arange(10))),
        [9.0, 8.9, 8.7, 8.8, 8.5, 8.4, 8.45, 8.2, 8.1, 8.15],
        [110.0, 104, 107, 103, 109, 105, 106, 102, 108, 104],
    ],
    axis=1,
)


def test_rows_are_the_years_after_the_history() -> None:
    scenario = constant_scenario(HISTORY, YEARS, NAMES, 3)
    np.testing.assert_array_equal(scenario.years, [2020, 2021, 2022])
    assert scenario.years.dtype == np.int64
    assert scenario.names == NAMES
    np.testing.assert_array_equal(scenario.values, np.tile(HISTORY[-1], (3, 1)))


def test_ar1_scenario_equals_each_autoregression() -> None:
    scenario = ar1_scenario(HISTORY, YEARS, NAMES, 4, log_difference=["capital"])
    expected = [
        ar1(HISTORY[:, 0], 4, log_difference=True),
        ar1(HISTORY[:, 1], 4),
        ar1(HISTORY[:, 2], 4),
    ]
    for column, model in enumerate(expected):
        np.testing.assert_allclose(scenario.values[:, column], model.forecast, rtol=1e-11)
        assert scenario.status[column] == model.status
    in_levels = ar1_scenario(HISTORY, YEARS, NAMES, 4)
    assert in_levels.status[0] == 1  # growing capital has a root above 1
    assert not np.allclose(in_levels.values[:, 0], scenario.values[:, 0])


def test_growth_scenario_compounds_and_rates_are_levers() -> None:
    rates = jnp.array([0.05, -0.01, 0.0])
    scenario = growth_scenario(HISTORY, YEARS, NAMES, 3, rates)
    for step in range(3):
        np.testing.assert_allclose(scenario.values[step], HISTORY[-1] * (1 + rates) ** (step + 1))
    slope = jax.grad(lambda r: growth_scenario(HISTORY, YEARS, NAMES, 3, r).values[-1, 0])(rates)
    np.testing.assert_allclose(slope, [3 * HISTORY[-1, 0] * 1.05**2, 0, 0], rtol=1e-12)


def test_growth_scenarios_follow_the_documented_quantiles() -> None:
    scenarios = growth_scenarios(
        HISTORY,
        YEARS,
        NAMES,
        2,
        num_years=6,
        rate_factors=["deflator"],
        lower_is_better=["deflator"],
    )
    assert list(scenarios) == ["conservative", "basic", "target"]
    growth = HISTORY[-6:, :2] / HISTORY[-7:-1, :2]
    for name, share in (("conservative", 25), ("basic", 50), ("target", 75)):
        values = scenarios[name].values
        for step in (1, 2):
            expected = HISTORY[-1, :2] * np.percentile(growth, share, axis=0) ** step
            np.testing.assert_allclose(values[step - 1, :2], expected, rtol=1e-12)
        np.testing.assert_allclose(values[:, 2], np.percentile(HISTORY[-6:, 2], 100 - share))
    capital = [float(scenarios[name].values[-1, 0]) for name in scenarios]
    assert capital == sorted(capital)
    assert scenarios["conservative"].values[0, 2] > scenarios["target"].values[0, 2]


def test_the_basic_scenario_is_not_moved_by_one_revaluation() -> None:
    steady = 100 * 1.03 ** np.arange(10.0)[:, None]
    revalued = np.concatenate([steady[:6], 2.3 * steady[6:]])
    basic = growth_scenarios(revalued, YEARS, ("capital",), 1, num_years=9)["basic"]
    np.testing.assert_allclose(basic.values, revalued[-1:] * 1.03, rtol=1e-12)


def test_scenarios_run_under_jit_and_are_differentiable_in_the_history() -> None:
    def last(history):
        path = ar1_scenario(history, YEARS, NAMES, 3, log_difference=["capital"]).values
        basic = growth_scenarios(history, YEARS, NAMES, 3, num_years=5)["basic"].values
        return path[-1] + basic[-1]

    np.testing.assert_allclose(jax.jit(last)(HISTORY), last(HISTORY), rtol=1e-10)
    slopes = jax.jacrev(last)(jnp.asarray(HISTORY))
    assert jnp.isfinite(slopes).all()
    for factor in range(3):
        others = np.delete(np.asarray(slopes[factor]), factor, axis=1)
        np.testing.assert_allclose(others, 0.0, atol=1e-10)
        step = np.zeros_like(HISTORY)
        step[-1, factor] = 1e-5
        difference = (last(HISTORY + step) - last(HISTORY - step))[factor] / 2e-5
        assert slopes[factor, -1, factor] == pytest.approx(float(difference), rel=1e-5)


def _with(value: float) -> np.ndarray:
    history = HISTORY.copy()
    history[3, 1] = value
    return history


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: constant_scenario(_with(np.nan), YEARS, NAMES, 1), "labour = nan in 2013"),
        (lambda: constant_scenario(HISTORY, YEARS[::-1], NAMES, 1), "consecutive"),
        (lambda: constant_scenario(HISTORY, YEARS, NAMES[:2], 1), "3 unique names"),
        (lambda: constant_scenario(HISTORY, YEARS, ("a", "a", "b"), 1), "unique"),
        (lambda: constant_scenario(HISTORY[:, 0], YEARS, NAMES, 1), "year, factor"),
        (lambda: constant_scenario(HISTORY, YEARS, NAMES, 0), "horizon"),
        (lambda: ar1_scenario(HISTORY, YEARS, NAMES, 1, log_difference=["land"]), "land"),
        (lambda: ar1_scenario(HISTORY, YEARS, NAMES, 1, log_difference="labour"), "collection"),
        (
            lambda: ar1_scenario(_with(-1.0), YEARS, NAMES, 1, log_difference=["labour"]),
            "positive values for growth, got values <= 0 in \\['labour'\\]",
        ),
        (lambda: growth_scenario(HISTORY, YEARS, NAMES, 1, [0.1]), "rates"),
        (lambda: growth_scenarios(HISTORY, YEARS, NAMES, 1, num_years=10), "num_years"),
        (lambda: growth_scenarios(_with(0.0), YEARS, NAMES, 1, num_years=9), "labour"),
    ],
)
def test_wrong_input_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
