"""Feasibility bound: never exceeded, attained, and the six printed pairs of the GRP paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmig.evaluate import check_pair, mape, mape_bound_given_r2, r2, r2_bound_given_mape

TRAIN, TEST = slice(0, 18), slice(18, 24)
# column, model, printed validation MAPE and R2, bound, bound about the training mean
PRINTED = [
    ("grp_current", "BA-LSTM", "5.48", "0.81", 0.876, 0.994),
    ("grp_current", "GA-BPNN", "6.76", "0.74", 0.811, 0.991),
    ("grp_current", "PSO-Elman", "16.29", "0.55", -0.100, 0.947),
    ("grp_2023_prices", "BA-LSTM", "4.19", "0.82", -0.235, 0.972),
    ("grp_2023_prices", "GA-BPNN", "8.42", "0.64", -3.99, 0.888),
    ("grp_2023_prices", "PSO-Elman", "4.75", "0.77", -0.587, 0.964),
]
POSSIBLE = {("grp_current", "BA-LSTM"), ("grp_current", "GA-BPNN")}


@pytest.mark.parametrize(
    ("column", "model", "printed_mape", "printed_r2", "bound", "lenient"), PRINTED
)
def test_printed_pairs(grp, column, model, printed_mape, printed_r2, bound, lenient) -> None:
    actual, training = grp[column][TEST], grp[column][TRAIN]
    pair = check_pair(printed_mape, printed_r2, actual, training=training)
    assert pair.r2_bound == pytest.approx(bound, abs=0.0051 if bound == -3.99 else 5.1e-4)
    about = r2_bound_given_mape(float(printed_mape), actual, mean=training.mean())
    assert about == pytest.approx(lenient, abs=5.1e-4)
    assert pair.possible == ((column, model) in POSSIBLE)
    assert pair.possible_about_training_mean
    assert pair.note == (
        ""
        if pair.possible
        else "under the printed formula; possible if R2 was taken about the training mean"
    )
    # Both directions give the same verdict.
    assert pair.possible == (float(printed_mape) - 0.005 <= pair.mape_bound + pair.mape_slack)


years = st.sampled_from([3, 6]).flatmap(
    lambda number: st.lists(st.floats(0.1, 1e4), min_size=number, max_size=number)
)


@settings(max_examples=100, deadline=None)
@given(years, st.integers(0, 2**31), st.floats(1e-3, 2.0), st.booleans())
def test_no_forecast_exceeds_the_bound(actual, seed, size, signed) -> None:
    rng = np.random.default_rng(seed)
    actual = np.array(actual) * np.where(signed & (rng.random(len(actual)) < 0.5), -1, 1)
    if np.ptp(actual) < 1e-6 * np.abs(actual).max():
        return
    forecast = actual * (1 + size * rng.standard_t(3, len(actual)))
    for mean in (None, 0.3 * actual.mean() + 1.0):
        score = float(r2(actual, forecast, mean=mean))
        bound = float(r2_bound_given_mape(mape(actual, forecast), actual, mean=mean))
        assert score <= bound + 1e-9 * max(1.0, abs(bound))
        assert float(mape(actual, forecast)) <= float(
            mape_bound_given_r2(score, actual, mean=mean)
        ) * (1 + 1e-6)


@pytest.mark.parametrize("signs", [(1, 1, 1, 1), (1, -1, -1, 1)])
def test_errors_proportional_to_1_over_actual_attain_the_bound(signs) -> None:
    actual = np.array([2.0, 5.0, -4.0, 10.0])
    forecast = actual + 0.7 * np.array(signs) / actual
    bound = r2_bound_given_mape(mape(actual, forecast), actual)
    assert r2(actual, forecast) == pytest.approx(float(bound), rel=1e-13)
    # Any other shape of the errors with the same MAPE stays below it.
    other = actual * (1 + float(mape(actual, forecast)) / 100)
    assert r2(actual, other) < bound - 1e-3


@given(st.floats(-50.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_the_two_bounds_are_inverse(score) -> None:
    actual = np.array([2.0, 5.0, 4.0, 10.0])
    assert r2_bound_given_mape(mape_bound_given_r2(score, actual), actual) == pytest.approx(
        score, abs=1e-10
    )


def test_perfect_forecast_is_always_possible() -> None:
    assert r2_bound_given_mape(0.0, np.array([1.0, 2.0])) == 1.0
    assert mape_bound_given_r2(1.0, np.array([1.0, 2.0])) == 0.0
    assert jnp.isnan(mape_bound_given_r2(1.01, np.array([1.0, 2.0])))
    assert check_pair("0.00", "1.00", np.array([1.0, 2.0])).possible


def test_rounding_of_both_printed_numbers_is_allowed_for() -> None:
    actual = np.array([2.0, 5.0, 4.0, 10.0])
    bound = float(r2_bound_given_mape(60.4, actual))  # 60.4 is printed as "60"
    assert 0.1 < bound < 0.8
    assert not check_pair("60.4", f"{bound + 0.008:.4f}", actual).possible
    assert check_pair("60", f"{bound + 0.008:.4f}", actual).possible
    assert check_pair("60.4", f"{bound + 0.04:.1f}", actual).possible == (
        round(bound + 0.04, 1) - 0.05 <= bound
    )
    assert (
        check_pair("60.4", "0.9", actual).note == "MAPE and R2 cannot both be true on these years"
    )


def test_bounds_are_batched_and_differentiable() -> None:
    actual = jnp.array([2.0, 5.0, 4.0, 10.0])
    percent = jnp.array([1.0, 5.0, 20.0])
    together = r2_bound_given_mape(percent, actual)
    np.testing.assert_allclose(together, [float(r2_bound_given_mape(p, actual)) for p in percent])
    slope = jax.grad(lambda p: r2_bound_given_mape(p, actual))(5.0)
    assert slope == pytest.approx(-2 * (1 - float(together[1])) / 5.0)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="one series"):
        r2_bound_given_mape(1.0, np.ones((2, 3)))
    with pytest.raises(ValueError, match="one finite number"):
        check_pair("5,48", "0.81", np.array([1.0, 2.0]))
