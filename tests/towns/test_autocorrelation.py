"""Autocorrelations against loops and their bound, and what the paper's table 2 can be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from diffmig import data, towns

LAGS = np.arange(1, 6)


@pytest.fixture(scope="module")
def printed():
    return data.load_town_autocorrelations().to_numpy()


def test_bound_and_critical_values_of_ten_years():
    bound = towns.autocorrelation_bound(10, LAGS)
    np.testing.assert_allclose(bound, [0.959, 0.866, 0.809, 0.707, 0.5], atol=5e-4)
    critical = towns.critical_autocorrelation(10, LAGS)
    np.testing.assert_allclose(critical, [0.666, 0.707, 0.754, 0.811, 0.878], atol=5e-4)


def test_bound_is_the_largest_eigenvalue_and_is_reached():
    for num_years in (5, 10, 13):
        for lag in range(1, num_years):
            shifted = (np.eye(num_years, k=lag) + np.eye(num_years, k=-lag)) / 2
            bound = towns.autocorrelation_bound(num_years, lag)
            assert bound == pytest.approx(np.linalg.eigvalsh(shifted)[-1], abs=1e-12)
    # Antisymmetric eigenvectors have mean 0: with 10 years and lag 2 one of them attains it.
    values, vectors = np.linalg.eigh((np.eye(10, k=2) + np.eye(10, k=-2)) / 2)
    best = vectors[:, values > values[-1] - 1e-9]
    series = best @ np.linalg.svd(best.sum(axis=0, keepdims=True))[2][-1]
    found = towns.autocorrelations(series, max_lag=2, estimator="biased").coefficient
    assert found[1] == pytest.approx(np.cos(np.pi / 6), abs=1e-12)


def test_printed_table_cannot_be_the_usual_estimator(printed):
    beyond = np.abs(printed) - 0.005 > towns.autocorrelation_bound(10, LAGS)  # rounding allowed
    assert beyond.sum() == 12
    assert beyond.sum(axis=0).tolist() == [3, 2, 2, 2, 3]
    assert np.abs(printed).max() <= 1.0  # what correlations of pairs may be


def test_window_rules_on_the_printed_table(printed):
    found = {
        rule: towns.choose_window(printed, 10, rule=rule)
        for rule in ("share", "median", "mean", "as_described")
    }
    assert {rule: window.lag for rule, window in found.items()} == {
        "share": 2,
        "median": 0,
        "mean": 0,
        "as_described": 3,
    }
    words = {rule: towns.WINDOW_STATUS[window.status] for rule, window in found.items()}
    assert words["median"] == words["mean"] == "no lag"
    assert words["share"] == words["as_described"] == "found"
    assert found["share"].num_passing.tolist() == [9, 6, 3, 0, 0]
    # 27 towns at 5 %: 4 or more happen in 4.4 %, 3 or more in 15 % of cases.
    assert found["share"].threshold.tolist() == [4.0] * 5


def test_window_ends_before_the_first_lag_that_fails():
    memory = np.tile([0.99, 0.0, 0.99], (8, 1))
    assert towns.choose_window(memory, 10).lag == 1
    assert towns.choose_window(np.full((8, 3), 0.99), 10).lag == 3
    gap = memory.copy()
    gap[1:, 1] = np.nan
    window = towns.choose_window(gap, 10, rule="median")
    assert (window.lag, window.num_towns.tolist()) == (1, [8, 1, 8])


def slow(series, seen, lag, estimator):
    pairs = [
        (series[t], series[t + lag]) for t in range(len(series) - lag) if seen[t] and seen[t + lag]
    ]
    early, late = np.array(pairs).T
    if estimator == "pairwise":
        return np.corrcoef(early, late)[0, 1]
    mean = series[seen].mean()
    return ((early - mean) * (late - mean)).sum() / ((series[seen] - mean) ** 2).sum()


@pytest.mark.parametrize("estimator", ["pairwise", "biased"])
def test_estimators_equal_their_loops_with_gaps(estimator):
    rng = np.random.default_rng(4)
    series = rng.normal(size=(4, 12)).cumsum(axis=1) + 50.0
    seen = rng.random(series.shape) > 0.15
    assert not seen.all()
    found = towns.autocorrelations(
        np.where(seen, series, np.nan), seen, max_lag=4, estimator=estimator
    )
    assert found.coefficient.shape == (4, 4)
    for i in range(4):
        for lag in range(1, 5):
            expected = slow(series[i], seen[i], lag, estimator)
            assert found.coefficient[i, lag - 1] == pytest.approx(expected, abs=1e-12)
            assert int(found.num_pairs[i, lag - 1]) == (seen[i, lag:] & seen[i, :-lag]).sum()
    if estimator == "biased":
        bound = towns.autocorrelation_bound(12, np.arange(1, 5))
        assert (np.abs(found.coefficient) <= bound).all()


def test_trend_is_perfect_memory_by_pairs_only():
    line = 3.0 * np.arange(10.0) - 7.0
    by_pairs = towns.autocorrelations(line)
    np.testing.assert_allclose(by_pairs.coefficient, 1.0, atol=1e-14)
    # Closed form for a straight line of n years at lag 1: 1 - 3 / n.
    usual = towns.autocorrelations(line, estimator="biased")
    assert usual.coefficient[0] == pytest.approx(0.7, abs=1e-13)


def test_constant_and_short_series_have_a_status():
    series = np.stack([np.full(8, 0.1), np.arange(8.0), np.arange(8.0) ** 2])
    seen = np.ones(series.shape, bool)
    seen[1, 4:] = False
    for estimator in ("pairwise", "biased"):
        found = towns.autocorrelations(series, seen, max_lag=6, estimator=estimator)
        words = np.array(towns.AUTOCORRELATION_STATUS)[found.status]
        assert words[0].tolist() == ["constant"] * 5 + ["too few pairs"]
        assert words[1].tolist() == ["ok"] + ["too few pairs"] * 5
        assert np.isnan(found.coefficient)[words != "ok"].all()
        assert np.isfinite(found.coefficient)[words == "ok"].all()


def test_autocorrelations_are_differentiable():
    series = jnp.asarray(np.random.default_rng(6).normal(size=(2, 9)))
    seen = jnp.ones((2, 9), bool).at[0, 3].set(False)

    def coefficients(y):
        return [
            towns.autocorrelations(y, seen, max_lag=2, estimator=estimator).coefficient
            for estimator in ("pairwise", "biased")
        ]

    check_grads(jax.jit(coefficients), (series,), order=1, modes=["rev"])


def test_bad_input_is_refused_in_words(printed):
    for words, call in (
        ("max_lag", lambda: towns.autocorrelations(np.ones(5))),
        ("estimator", lambda: towns.autocorrelations(np.ones(9), estimator="unbiased")),
        ("floating", lambda: towns.autocorrelations(np.arange(9))),
        ("mask", lambda: towns.autocorrelations(np.ones(9), np.ones(9))),
        ("lag", lambda: towns.autocorrelation_bound(10, 10)),
        ("num_rows", lambda: towns.critical_autocorrelation(10, 8)),
        ("rule", lambda: towns.choose_window(printed, 10, rule="longest")),
        ("every lag", lambda: towns.choose_window(np.full((3, 2), np.nan), 10)),
        ("lag", lambda: towns.choose_window(printed, 5)),
    ):
        with pytest.raises(ValueError, match=words):
            call()
