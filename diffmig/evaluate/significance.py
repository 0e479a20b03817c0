"""Paired comparisons of two forecasters: is the difference more than luck?

Losses are paired: row i of both belongs to the same region, series or year. On one short series
these tests have almost no power (six years give a least two-sided p of 0.03): claim skill from
many regions.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy import stats

from diffmig.evaluate._arrays import check_count
from diffmig.towns import adjust_p_values

Alternative = Literal["two-sided", "less", "greater"]
MIN_PAIRS = 6  # below it no two-sided signed-rank or sign test can reach p < 0.05


class PairedTest(NamedTuple):
    """Outcome of a paired test.

    Attributes:
        statistic: value of the test's statistic.
        p_value: probability of it under equal accuracy; NaN where the statistic does not exist.
        median_difference: median of first minus second, < 0 where the first is better.
        num_pairs: pairs that entered the test (ties left out where the test leaves them out).
    """

    statistic: float
    p_value: float
    median_difference: float
    num_pairs: int


class DifferenceInterval(NamedTuple):
    """Median of first minus second with its bootstrap interval of nominal coverage `level`."""

    median_difference: float
    low: float
    high: float
    level: float


def wilcoxon_signed_rank(
    first: ArrayLike, second: ArrayLike, *, alternative: Alternative = "two-sided"
) -> PairedTest:
    """Wilcoxon signed-rank test of paired losses: are the differences symmetric about 0?

    Args:
        first, second: losses (such as MAPE by region), [pair], lower is better; at least 6 pairs.
        alternative: "less" asks whether `first` is the better one.

    Returns:
        PairedTest, statistic = smaller sum of ranks ("less", "greater": sum of the positive ranks).
        Pairs without difference are left out; if none is left, statistic 0 and p 1. Exact for short
        samples without ties.

    Raises:
        ValueError: shapes differ, fewer than 6 pairs, a value that is not finite.

    Source: Wilcoxon, 1945, Individual comparisons by ranking methods, Biometrics Bulletin 1(6);
    scipy.stats.wilcoxon.
    """
    difference = _differences(first, second)
    unequal = difference[difference != 0]
    if not unequal.size:
        return PairedTest(0.0, 1.0, 0.0, 0)
    result = stats.wilcoxon(unequal, alternative=alternative)
    return PairedTest(
        float(result.statistic), float(result.pvalue), float(np.median(difference)), unequal.size
    )


def sign_test(
    first: ArrayLike, second: ArrayLike, *, alternative: Alternative = "two-sided"
) -> PairedTest:
    """Sign test of paired losses: is either one lower in more than half of the pairs?

    Args:
        first, second: losses, [pair], lower is better; at least 6 pairs.
        alternative: "less" asks whether `first` is the better one.

    Returns:
        PairedTest, statistic = number of pairs in which `first` is higher. Ties are left out.

    Raises:
        ValueError: shapes differ, fewer than 6 pairs, a value that is not finite.

    Source: Conover, 1999, Practical Nonparametric Statistics, section 3.4; scipy.stats.binomtest.
    """
    difference = _differences(first, second)
    higher, unequal = int(np.sum(difference > 0)), int(np.sum(difference != 0))
    p_value = stats.binomtest(higher, unequal, alternative=alternative).pvalue if unequal else 1.0
    return PairedTest(float(higher), float(p_value), float(np.median(difference)), unequal)


def diebold_mariano(
    first: ArrayLike,
    second: ArrayLike,
    horizon: int = 1,
    *,
    power: int = 2,
    alternative: Alternative = "two-sided",
) -> PairedTest:
    """Diebold-Mariano test of two forecasters' errors with the small-sample correction.

    d_t = |first_t|^power - |second_t|^power;  DM = mean(d) / sqrt((g_0 + 2 sum_{k<h} g_k) / n), g_k
    autocovariances of d statistic = DM * sqrt((n + 1 - 2 h + h (h - 1) / n) / n), Student's t with
    n - 1 degrees of freedom

    Args:
        first, second: forecast errors at one horizon h in time order, [year], at least max(6, h +
            1).
        horizon: steps ahead, h >= 1; errors h steps ahead are correlated up to lag h - 1.
        power: 1 absolute, 2 squared loss.
        alternative: "less" asks whether `first` is the better one.

    Returns:
        PairedTest; statistic and p NaN where the estimated variance is not positive (long horizon,
        few years), and 0 and 1 where all losses are equal. `median_difference` is that of the
        losses d.

    Raises:
        ValueError: shapes differ, too few years, a value that is not finite, `horizon` or `power`
            < 1, or an unknown `alternative`.

    Source: Diebold, Mariano, 1995, Comparing predictive accuracy; Harvey, Leybourne, Newbold, 1997,
    Testing the equality of prediction mean squared errors, equations 8-9.
    """
    check_count(horizon, 1, "horizon")
    check_count(power, 1, "power")
    if alternative not in ("two-sided", "less", "greater"):
        raise ValueError(f"alternative: expected two-sided, less or greater, got {alternative!r}")
    first, second = (np.abs(np.asarray(x, float)) ** power for x in (first, second))
    loss = _differences(first, second, least=max(MIN_PAIRS, horizon + 1))
    n = loss.size
    median = float(np.median(loss))
    if not loss.any():
        return PairedTest(0.0, 1.0, median, n)
    centred = loss - loss.mean()
    covariances = [centred[k:] @ centred[: n - k] / n for k in range(horizon)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / n
    # A variance of pure rounding would turn any constant difference into certainty.
    if variance <= (16 * np.finfo(float).eps * np.abs(loss).max()) ** 2:
        return PairedTest(float("nan"), float("nan"), median, n)
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = loss.mean() / np.sqrt(variance) * np.sqrt(correction)
    tails = {
        "less": stats.t.cdf(statistic, n - 1),
        "greater": stats.t.sf(statistic, n - 1),
        "two-sided": 2 * stats.t.sf(abs(statistic), n - 1),
    }
    return PairedTest(float(statistic), float(tails[alternative]), median, n)


def bootstrap_median_difference(
    key: Array,
    first: ArrayLike,
    second: ArrayLike,
    *,
    level: float = 0.9,
    num_resamples: int = 10_000,
) -> DifferenceInterval:
    """Percentile bootstrap interval of the median paired difference.

    Args:
        key: PRNG key.
        first, second: losses, [pair], lower is better; at least 6 pairs.
        level: nominal coverage, in (0, 1).
        num_resamples: resamples of the pairs, >= 100.

    Returns:
        DifferenceInterval; an interval below 0 says that `first` is better.

    Raises:
        ValueError: shapes differ, fewer than 6 pairs, a value that is not finite, `level` or
            `num_resamples` out of range.

    Source: Efron, Tibshirani, 1993, An Introduction to the Bootstrap, section 13.3.
    """
    difference = _differences(first, second)
    check_count(num_resamples, 100, "num_resamples")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a value in (0, 1), got {level}")
    medians = np.asarray(_resampled_medians(key, difference, num_resamples))
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return DifferenceInterval(float(np.median(difference)), float(low), float(high), level)


@partial(jax.jit, static_argnames="num_resamples")
def _resampled_medians(key: Array, values: np.ndarray, num_resamples: int) -> Array:
    rows = jax.random.randint(key, (num_resamples, values.size), 0, values.size)
    return jnp.median(values[rows], axis=1)


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values adjusted for the number of tests: the chance of any false rejection stays below the
    level.

    p_(i) -> max_{j <= i} min(1, (m - j + 1) p_(j)),  p_(1) <= ... <= p_(m)

    Args:
        p_values: one per test, [test], in [0, 1].

    Returns:
        adjusted p-values, [test].

    Raises:
        ValueError: not one axis, or a value outside [0, 1].

    Source: Holm, 1979, A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6(2).
    """
    p = np.asarray(p_values, float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values: expected values in [0, 1] along one axis, got {p_values}")
    return adjust_p_values(p, "holm")


def _differences(first: ArrayLike, second: ArrayLike, least: int = MIN_PAIRS) -> np.ndarray:
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            "first and second: expected two equal shapes [pair], "
            f"got {first.shape} and {second.shape}"
        )
    if first.size < least:
        raise ValueError(
            f"first and second: expected at least {least} pairs, got {first.size}; "
            "pool regions or origins"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(
            "first and second: expected finite values; drop a pair from both where one has none"
        )
    return first - second
