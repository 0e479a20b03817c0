"""Rolling origins: right rows, no look-ahead, conditional and honest factors."""

import numpy as np
import pytest

from diffmig.evaluate import BASELINES, drift, last_value, mape, rolling_origin

SERIES = np.array([3.0, 5.0, 4.0, 8.0, 9.0, 7.5, 11.0, 10.0])


def test_errors_equal_a_hand_written_loop() -> None:
    rolling = rolling_origin(last_value, SERIES, 2, num_initial=3, step=2)
    np.testing.assert_array_equal(rolling.origins, [2, 4])
    np.testing.assert_array_equal(rolling.actual, [[8.0, 9.0], [7.5, 11.0]])
    np.testing.assert_array_equal(rolling.forecast, [[4.0, 4.0], [9.0, 9.0]])
    np.testing.assert_array_equal(rolling.error, [[-4.0, -5.0], [1.5, -2.0]])
    np.testing.assert_allclose(rolling.percentage_error, [[-50, -500 / 9], [20, -200 / 11]])
    by_horizon = mape(rolling.actual.T, rolling.forecast.T)
    np.testing.assert_allclose(by_horizon, np.abs(rolling.percentage_error).mean(axis=0))


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("name", ["drift", "AR(1)", "AR(1) of log differences", "linear trend"])
def test_the_future_does_not_change_a_forecast(name: str, window: int | None) -> None:
    rng = np.random.default_rng(4)
    series = rng.uniform(1, 2, (2, 11))
    before = rolling_origin(BASELINES[name], series, 2, num_initial=6, window=window)
    for row, origin in enumerate(before.origins):
        changed = series.copy()
        changed[:, origin + 1 :] += rng.uniform(1, 9, changed[:, origin + 1 :].shape)
        after = rolling_origin(BASELINES[name], changed, 2, num_initial=6, window=window)
        np.testing.assert_array_equal(after.forecast[: row + 1], before.forecast[: row + 1])
        if row + 1 < len(before.origins):
            assert not np.array_equal(after.forecast[row + 1], before.forecast[row + 1])


def test_a_forecaster_cannot_reach_or_spoil_the_future() -> None:
    def greedy(known: np.ndarray, horizon: int) -> np.ndarray:
        assert known.base is None  # a view would lead to the whole series
        known[:] = 0.0
        return np.zeros(horizon)

    series = SERIES.copy()
    rolling = rolling_origin(greedy, series, 1, num_initial=4)
    np.testing.assert_array_equal(series, SERIES)
    np.testing.assert_array_equal(rolling.actual[:, 0], SERIES[4:])


@pytest.mark.parametrize("given", [False, True])
def test_factors_end_where_the_protocol_says(given: bool) -> None:
    factors = np.stack([np.arange(8.0), 10 + np.arange(8.0)], axis=1)
    last_rows = []

    def forecaster(known: np.ndarray, horizon: int, inputs: np.ndarray) -> np.ndarray:
        assert inputs.shape == (known.shape[-1] + (horizon if given else 0), 2)
        last_rows.append(inputs[-1, 0])
        return np.zeros(horizon)

    rolling = rolling_origin(
        forecaster, SERIES, 3, num_initial=3, factors=factors, factors_given=given
    )
    np.testing.assert_array_equal(last_rows, rolling.origins + (3 if given else 0))


def test_a_fixed_window_passes_the_latest_years() -> None:
    seen = []
    rolling_origin(
        lambda known, horizon: seen.append(known) or drift(known, horizon),
        SERIES,
        1,
        num_initial=4,
        window=3,
    )
    np.testing.assert_array_equal(seen, [SERIES[k - 3 : k] for k in range(4, 8)])


def test_zero_actual_has_no_percentage_error() -> None:
    rolling = rolling_origin(last_value, np.array([1.0, 2.0, 0.0]), 1, num_initial=1)
    np.testing.assert_array_equal(rolling.percentage_error, [[-50.0], [np.nan]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_initial": 8}, "at least num_initial"),
        ({"num_initial": 0}, "num_initial"),
        ({"num_initial": 3, "step": 0}, "step"),
        ({"num_initial": 3, "window": 4}, "window"),
        ({"num_initial": 3, "factors_given": True}, "factors beside it"),
        ({"num_initial": 3, "factors": np.zeros((7, 2))}, "8 years, factor"),
    ],
)
def test_wrong_input_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rolling_origin(last_value, SERIES, 1, **options)


def test_a_forecast_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a forecast of shape"):
        rolling_origin(lambda known, horizon: known, SERIES, 1, num_initial=3)
