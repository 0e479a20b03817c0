"""How long the balance remembers: autocorrelations by two estimators, and the window they allow."""

from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy import stats

from diffmig.towns.screening import critical_correlation, pearson, scaled_deviations

Estimator = Literal["pairwise", "biased"]
WindowRule = Literal["share", "median", "mean", "as_described"]

AUTOCORRELATION_STATUS = ("ok", "constant", "too few pairs")
WINDOW_STATUS = ("found", "no lag")
MIN_PAIRS = 3  # two pairs always correlate perfectly


class Autocorrelations(NamedTuple):
    """Autocorrelations, [..., lag], lags 1, 2, ...

    Attributes:
        coefficient: 1; NaN where the status is not "ok".
        num_pairs: pairs of years both observed, int32.
        status: int8, index into `AUTOCORRELATION_STATUS`.
    """

    coefficient: Array
    num_pairs: Array
    status: Array


class Window(NamedTuple):
    """How many years back the towns remember.

    Attributes:
        lag: years; 0 if the status is "no lag".
        status: int8, index into `WINDOW_STATUS`.
        statistic: what the rule looks at, [lag]: number of towns that pass, or mean or median
            coefficient.
        threshold: what it must reach, or under "as_described" exceed, [lag].
        num_passing: towns whose |coefficient| exceeds the critical value, int64 [lag].
        num_towns: towns with a coefficient, int64 [lag].
        critical: critical |coefficient|, [lag].
    """

    lag: int
    status: int
    statistic: np.ndarray
    threshold: np.ndarray
    num_passing: np.ndarray
    num_towns: np.ndarray
    critical: np.ndarray


@partial(jax.jit, static_argnames=("max_lag", "estimator"))
def autocorrelations(
    series: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    max_lag: int = 5,
    estimator: Estimator = "pairwise",
) -> Autocorrelations:
    """Autocorrelations of every series at the lags 1, ..., max_lag.

    pairwise  Pearson correlation of the n - k pairs (y_t, y_{t+k}), each side with its own mean
    biased    sum_t d_t d_{t+k} / sum_t d_t^2,  d = y - mean y

    Args:
        series: y, [..., year], floating.
        mask: bool, [..., year], True where observed; None: everywhere. A pair with a gap is left
            out, and the biased estimator counts it as 0.
        max_lag: >= 1, less than the number of years.
        estimator: "pairwise" fits the printed table; "biased" is the usual one, bounded by
            `autocorrelation_bound`.

    Returns:
        Autocorrelations, [..., lag].

    Raises:
        ValueError: wrong shapes or dtype, a lag out of range, or an unknown estimator.

    Notes:
        Differentiable in `series`. Both are biased downwards in short series, and a trend raises
        both: neither tells a trend from memory.

    Source: Mishchenko et al., 2024, table 2 (without a formula); Box, Jenkins, Time Series
    Analysis, 1976, section 2.1.5 (biased).
    """
    y = jnp.asarray(series)
    if estimator not in get_args(Estimator):
        raise ValueError(f"estimator: expected one of {get_args(Estimator)}, got {estimator!r}")
    if y.ndim < 1 or not jnp.issubdtype(y.dtype, jnp.floating):
        raise ValueError(f"series: expected floating [..., year], got {y.dtype} {y.shape}")
    seen = jnp.ones(y.shape, bool) if mask is None else jnp.asarray(mask)
    if seen.shape != y.shape or seen.dtype != bool:
        raise ValueError(f"mask: expected bool of shape {y.shape}, got {seen.dtype} {seen.shape}")
    num_years = y.shape[-1]
    if not 1 <= max_lag < num_years:
        raise ValueError(f"max_lag: expected 1 to {num_years - 1}, got {max_lag}")
    lag = jnp.arange(1, max_lag + 1)[:, None]
    later = jnp.arange(num_years)[None, :] + lag  # [lag, year]
    inside = later < num_years
    later = jnp.where(inside, later, 0)
    shape = (*y.shape[:-1], max_lag, num_years)
    known = jnp.where(seen, y, 0.0)
    if estimator == "biased":
        known = scaled_deviations(known[..., None, :], seen[..., None, :])[..., 0, :]
    early, late = jnp.broadcast_to(known[..., None, :], shape), known[..., later]
    both = jnp.broadcast_to(inside.reshape((1,) * (y.ndim - 1) + inside.shape), shape)
    both = both & seen[..., None, :] & seen[..., later]
    count = jnp.sum(both, axis=-1, dtype=jnp.int32)
    if estimator == "pairwise":
        coefficient = pearson(early, late, both)
    else:
        product = jnp.sum(jnp.where(both, early * late, 0.0), axis=-1)
        square = jnp.sum(known * known, axis=-1, keepdims=True)
        safe = jnp.where(square > 0.0, square, 1.0)
        coefficient = jnp.where(square > 0.0, product / safe, jnp.nan)
    few = count < MIN_PAIRS
    status = jnp.where(few, 2, jnp.where(jnp.isnan(coefficient), 1, 0)).astype(jnp.int8)
    return Autocorrelations(jnp.where(few, jnp.nan, coefficient), count, status)


def autocorrelation_bound(num_years: int, lag: ArrayLike) -> np.ndarray:
    """Largest size that the biased autocorrelation of any series can have.

    bound = cos(pi / (floor((n - 1) / k) + 2)), the largest eigenvalue of the form sum d_t d_{t+k}

    Args:
        num_years: n, at least 2.
        lag: k, 1 to n - 1, any shape.

    Returns:
        bound, shape of `lag`, below 1. For 10 years: 0.959, 0.866, 0.809, 0.707, 0.500.

    Raises:
        ValueError: a lag out of range.

    Source: Davies, Pate, Frost, 1974, Maximum autocorrelations for moving average processes,
    Biometrika 61(1).
    """
    k = np.asarray(lag)
    _check_lags(num_years, k)
    return np.cos(np.pi / ((num_years - 1) // k + 2))


def critical_autocorrelation(num_years: int, lag: ArrayLike, level: float = 0.05) -> np.ndarray:
    """Critical |coefficient| of the pairwise estimator: that of a correlation of n - k rows.

    Args:
        num_years: n.
        lag: k, 1 to n - 3, any shape.
        level: two-sided, in (0, 1).

    Returns:
        critical value, shape of `lag`. For 10 years and 5 %: 0.666, 0.707, 0.754, 0.811, 0.878.

    Raises:
        ValueError: a lag or level out of range.

    Notes:
        Nominal: the pairs of one series are not independent rows.
    """
    k = np.asarray(lag)
    _check_lags(num_years, k)
    return critical_correlation(num_years - k, level)


def choose_window(
    coefficient: ArrayLike, num_years: int, *, rule: WindowRule = "share", level: float = 0.05
) -> Window:
    """The longest lag up to which the towns remember.

    A lag passes if
        share         more towns exceed the critical |coefficient| than chance explains: their
                      number is at least the smallest c with P(Binomial(towns, level) >= c) <= level
        median, mean  that of the coefficients reaches the critical value
        as_described  the mean of the coefficients is above 0
    and the window ends before the first lag that does not.

    Args:
        coefficient: by the pairwise estimator, [town, lag], lags 1, 2, ...; NaN where not defined.
        num_years: years of the series behind them.
        rule: as above; "as_described" is a reading, since the paper says only "on average there is
            a steady trend": on its table it gives the printed 3.
        level: in (0, 1).

    Returns:
        Window. A model then trains on lag - 1 years and is tested on one, as the paper has it.

    Raises:
        ValueError: wrong shape, no town at a lag, lags that `num_years` does not allow, an unknown
            rule, or a level out of range.

    Notes:
        The binomial count takes towns as independent; a national wave makes many pass at once.

    Source: Mishchenko et al., 2024, text after table 2 (as described); the other rules are this
    package's.
    """
    r = np.asarray(coefficient, float)
    if rule not in get_args(WindowRule):
        raise ValueError(f"rule: expected one of {get_args(WindowRule)}, got {rule!r}")
    known = ~np.isnan(r)
    if r.ndim != 2 or not known.any(axis=0).all():
        raise ValueError(
            f"coefficient: expected [town, lag] with a number at every lag, got shape {r.shape}; "
            "take fewer lags or more towns"
        )
    critical = critical_autocorrelation(num_years, np.arange(1, r.shape[1] + 1), level)
    num_towns = known.sum(axis=0)
    passing = (np.abs(np.where(known, r, 0.0)) > critical).sum(axis=0)
    if rule == "share":
        statistic = passing.astype(float)
        threshold = stats.binom.isf(level, num_towns, level) + 1.0
    else:
        statistic = (np.nanmedian if rule == "median" else np.nanmean)(r, axis=0)
        threshold = np.zeros(len(critical)) if rule == "as_described" else critical
    passes = statistic > threshold if rule == "as_described" else statistic >= threshold
    ends = np.flatnonzero(~passes)
    lag = int(ends[0]) if ends.size else r.shape[1]
    status = WINDOW_STATUS.index("found" if lag else "no lag")
    return Window(lag, status, statistic, threshold, passing, num_towns, critical)


def _check_lags(num_years: int, lag: np.ndarray) -> None:
    if not np.issubdtype(lag.dtype, np.integer) or not ((lag >= 1) & (lag < num_years)).all():
        raise ValueError(f"lag: expected whole numbers from 1 to {num_years - 1}, got {lag}")
