"""Paired tests: hand-computed cases, symmetry, size under the null, power."""

import jax
import numpy as np
import pytest
from scipy import stats

from diffmig import evaluate
from diffmig.evaluate import (
    bootstrap_median_difference,
    diebold_mariano,
    sign_test,
    wilcoxon_signed_rank,
)

FIRST = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
BETTER = FIRST - np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, -0.05])


def test_wilcoxon_hand_computed() -> None:
    test = wilcoxon_signed_rank(BETTER, FIRST)
    # Only the smallest of eight differences is positive: sum 1; one way each gives sums 0 and 1.
    assert test.statistic == 1
    assert test.p_value == pytest.approx(2 * 2 / 2**8)
    assert test.median_difference == pytest.approx(-0.35)
    one_sided = wilcoxon_signed_rank(BETTER, FIRST, alternative="less")
    assert one_sided.p_value == pytest.approx(2 / 2**8)


def test_sign_test_hand_computed() -> None:
    test = sign_test(BETTER, FIRST)
    assert (test.statistic, test.num_pairs) == (1, 8)
    assert test.p_value == pytest.approx(2 * (1 + 8) / 2**8)
    tied = sign_test(np.append(BETTER, 3.0), np.append(FIRST, 3.0))
    assert (tied.num_pairs, tied.p_value) == (8, test.p_value)


def _dm_loop(first: np.ndarray, second: np.ndarray, horizon: int) -> tuple[float, float]:
    loss = [a * a - b * b for a, b in zip(first, second, strict=True)]
    n, mean = len(loss), sum(loss) / len(loss)
    variance = 0.0
    for lag in range(horizon):
        covariance = sum((loss[t] - mean) * (loss[t - lag] - mean) for t in range(lag, n)) / n
        variance += covariance * (1 if lag == 0 else 2)
    statistic = mean / (variance / n) ** 0.5
    statistic *= ((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n) ** 0.5
    return statistic, 2 * stats.t.sf(abs(statistic), n - 1)


@pytest.mark.parametrize("horizon", [1, 3])
def test_diebold_mariano_equals_an_independent_loop(horizon: int) -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=30), 1.5 * rng.normal(size=30)
    test = diebold_mariano(first, second, horizon)
    assert (test.statistic, test.p_value) == pytest.approx(_dm_loop(first, second, horizon))
    # At horizon 1 the corrected statistic is the paired t statistic of the losses.
    if horizon == 1:
        paired = stats.ttest_rel(first**2, second**2)
        assert (test.statistic, test.p_value) == pytest.approx((paired.statistic, paired.pvalue))


@pytest.mark.parametrize("test", [wilcoxon_signed_rank, sign_test, diebold_mariano])
def test_exchanging_the_two_keeps_p_and_turns_the_sign(test) -> None:
    rng = np.random.default_rng(6)
    first, second = rng.exponential(1, 25), rng.exponential(1.4, 25)
    forth, back = test(first, second), test(second, first)
    assert forth.p_value == pytest.approx(back.p_value)
    assert forth.median_difference == -back.median_difference != 0
    less = test(first, second, alternative="less").p_value
    assert less == pytest.approx(test(second, first, alternative="greater").p_value)
    assert less < 0.5


@pytest.mark.parametrize("test", [wilcoxon_signed_rank, sign_test, diebold_mariano])
def test_equal_losses_are_no_evidence(test) -> None:
    assert test(FIRST, FIRST).p_value == 1
    assert test(FIRST, FIRST).statistic == 0


@pytest.mark.parametrize("test", [wilcoxon_signed_rank, sign_test, diebold_mariano])
def test_size_under_the_null_and_power(test) -> None:
    rng = np.random.default_rng(7)
    null = [test(*rng.normal(size=(2, 20))).p_value < 0.05 for _ in range(300)]
    assert np.mean(null) < 0.085  # 0.05 + 2.8 standard errors
    losses = rng.exponential(1, (40, 80))
    power = [test(loss, loss + rng.normal(0.5, 0.5, 80)).p_value < 0.05 for loss in losses]
    assert np.mean(power) > 0.95


def test_diebold_mariano_without_a_positive_variance_is_nan() -> None:
    assert np.isnan(diebold_mariano(np.full(8, 2.0), np.full(8, 1.0)).p_value)
    alternating = np.tile([1.0, 2.0], 6)
    assert np.isnan(diebold_mariano(alternating, np.zeros(12), horizon=2).p_value)


def test_bootstrap_interval(key) -> None:
    rng = np.random.default_rng(8)
    first = rng.exponential(1, 60)
    second = first + rng.normal(0.3, 0.4, 60)
    interval = bootstrap_median_difference(key, first, second, num_resamples=2000)
    reference = stats.bootstrap(
        (first - second,), np.median, confidence_level=0.9, method="percentile", rng=rng
    ).confidence_interval
    assert interval.median_difference == pytest.approx(np.median(first - second))
    assert interval.low < interval.median_difference < interval.high < 0
    np.testing.assert_allclose(interval[1:3], reference, atol=0.03)
    wider = bootstrap_median_difference(key, first, second, level=0.99, num_resamples=2000)
    assert wider.low < interval.low < interval.high < wider.high


def test_bootstrap_covers_the_median() -> None:
    rng = np.random.default_rng(9)
    covered = []
    for index in range(100):
        second = rng.normal(1.0, 1.0, 40)
        interval = bootstrap_median_difference(
            jax.random.key(index), np.zeros(40), second, num_resamples=400
        )
        covered.append(interval.low <= -1.0 <= interval.high)
    assert 0.8 < np.mean(covered) < 0.98


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilcoxon_signed_rank(FIRST[:5], BETTER[:5]), "at least 6 pairs, got 5"),
        (lambda: sign_test(FIRST, BETTER[:6]), "two equal shapes"),
        (lambda: diebold_mariano(FIRST, BETTER, horizon=8), "at least 9 pairs"),
        (lambda: diebold_mariano(FIRST, BETTER, horizon=0), "horizon"),
        (lambda: diebold_mariano(FIRST, BETTER, alternative="lower"), "alternative"),
        (lambda: sign_test(FIRST, BETTER, alternative="lower"), "alternative"),
        (lambda: wilcoxon_signed_rank(FIRST, np.where(FIRST > 3, np.nan, FIRST)), "finite"),
        (lambda: bootstrap_median_difference(jax.random.key(0), FIRST, BETTER, level=1.0), "level"),
    ],
)
def test_wrong_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_holm_by_hand():
    np.testing.assert_allclose(evaluate.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(evaluate.holm([0.5, 0.9]), [1.0, 1.0])
    for wrong in ([0.5, np.nan], [[0.1]], [1.5]):
        with pytest.raises(ValueError, match="p_values"):
            evaluate.holm(wrong)
