"""Which factors go with the balance: correlations, their chance, and how many tests were made.

The p-values take rows as independent. Years of a town are not: with autocorrelated factors more
than the level's share of factors that do not matter pass, whatever the design.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy import special, stats

from diffmig.data import to_device

Design = Literal["single", "pooled", "within", "per_town"]
Method = Literal["pearson", "spearman"]
Rule = Literal["critical", "bonferroni", "holm", "bh"]

SCREENING_STATUS = ("ok", "constant", "too few rows")
MIN_DEGREES = 2  # of the Fisher interval, whose variance is 1 / (degrees - 1)


class Screening(NamedTuple):
    """Which factors are kept, [factor], or [town, factor] if every town is screened by itself.

    Attributes:
        correlation: r, 1; NaN where the status is not "ok".
        low, high: ends of its confidence interval at 1 - level; NaN as `correlation`.
        p_value: two-sided, of no correlation; NaN as `correlation`.
        adjusted: p-value for the number of tests, those with status "ok" in the row of factors;
            equal to `p_value` under the rule "critical".
        num_rows: rows used, int64.
        degrees: degrees of freedom of r, int64: rows - 2, within towns rows - towns - 1.
        kept: adjusted <= level; False wherever the status is not "ok".
        status: int8, index into `SCREENING_STATUS`.
    """

    correlation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    adjusted: np.ndarray
    num_rows: np.ndarray
    degrees: np.ndarray
    kept: np.ndarray
    status: np.ndarray


@jax.jit
def pearson(first: ArrayLike, second: ArrayLike, mask: ArrayLike | None = None) -> Array:
    """Pearson correlation of two series along the last axis.

    r = sum dx dy / sqrt(sum dx^2 sum dy^2),  dx = x - mean x, over the rows of the mask

    Args:
        first, second: x and y, equal shapes [..., row], one floating dtype.
        mask: bool, [..., row], True where the row is used; None uses all.

    Returns:
        r, [...], in [-1, 1]; NaN, with gradient 0, where x or y is constant but for rounding, or
        fewer than two rows are used.

    Raises:
        ValueError: shapes or dtypes differ, or the dtype is not a floating one.

    Notes:
        Differentiable in both. Values outside the mask may be anything, also NaN.

    Source: Mishchenko et al., 2024, table 1 (the coefficient, without a formula).
    """
    x, y, seen = _rows(first, second, mask)
    return within_pearson(
        x[..., None, :], y[..., None, :], None if seen is None else seen[..., None, :]
    )


@jax.jit
def within_pearson(first: ArrayLike, second: ArrayLike, mask: ArrayLike | None = None) -> Array:
    """Pearson correlation of deviations from the town's own mean.

    r = sum_it dx_it dy_it / sqrt(sum_it dx_it^2 sum_it dy_it^2),  dx_it = x_it - mean_t x_it

    Args, Returns, Raises, Notes: as `pearson`, with [..., town, row] for [..., row]. The levels of
        the towns have no part in r. With one town it is `pearson`.
    """
    x, y, seen = _rows(first, second, mask)
    if x.ndim < 2:
        raise ValueError(f"first: expected [..., town, row], got shape {x.shape}")
    if seen is None:
        seen = jnp.ones(x.shape, bool)
    dx, dy = scaled_deviations(x, seen), scaled_deviations(y, seen)
    product, square_x, square_y = (jnp.sum(a * b, axis=(-2, -1)) for a, b in _pairs(dx, dy))
    varies = (square_x > 0.0) & (square_y > 0.0)
    size = jnp.sqrt(jnp.where(varies, square_x, 1.0)) * jnp.sqrt(jnp.where(varies, square_y, 1.0))
    return jnp.where(varies, jnp.clip(product / size, -1.0, 1.0), jnp.nan)


def critical_correlation(num_rows: ArrayLike, level: float = 0.05) -> np.ndarray:
    """Smallest |r| that is significant: t / sqrt(n - 2 + t^2), t the two-sided quantile.

    Args:
        num_rows: n, at least 3, any shape; degrees of freedom + 2 within towns.
        level: two-sided, in (0, 1); divide it by the number of tests for Bonferroni.

    Returns:
        critical |r|, shape of `num_rows`.

    Raises:
        ValueError: fewer than 3 rows, or a level out of range.

    Source: Fisher, 1915, Biometrika 10(4): r sqrt((n - 2) / (1 - r^2)) has Student's distribution.
    """
    n = np.asarray(num_rows, float)
    _check_level(level)
    if not (n >= 3).all():
        raise ValueError(f"num_rows: expected at least 3, got {num_rows}")
    t = stats.t.isf(level / 2.0, n - 2.0)
    return t / np.sqrt(n - 2.0 + t**2)


def adjust_p_values(p_values: ArrayLike, rule: Rule) -> np.ndarray:
    """p-values adjusted for the number of tests.

    critical    p
    bonferroni  min(1, m p)
    holm        p_(i) -> max_{j <= i} min(1, (m - j + 1) p_(j))
    bh          p_(i) -> min_{j >= i} min(1, m p_(j) / j)

    Args:
        p_values: [..., test], in [0, 1]; NaN where no test was made, which m does not count.
        rule: "bonferroni" and "holm" bound the chance of any false rejection, "bh" the expected
            share of false ones among the rejections if tests are independent or positively
            dependent.

    Returns:
        adjusted p-values, [..., test], NaN where `p_values` are.

    Raises:
        ValueError: a value outside [0, 1] or an unknown rule.

    Source: Holm, 1979, Scandinavian Journal of Statistics 6(2); Benjamini, Hochberg, 1995, Journal
    of the Royal Statistical Society B 57(1).
    """
    p = np.asarray(p_values, float)
    _choose("rule", rule, get_args(Rule))
    if p.ndim < 1 or (~np.isnan(p) & ~((p >= 0.0) & (p <= 1.0))).any():
        raise ValueError("p_values: expected values in [0, 1] or NaN along the last axis")
    m = np.sum(~np.isnan(p), axis=-1, keepdims=True)
    if rule == "critical":
        return p.copy()
    if rule == "bonferroni":
        return np.minimum(1.0, m * p)
    order = np.argsort(p, axis=-1)  # NaN last
    ranked = np.take_along_axis(p, order, axis=-1)
    place = np.arange(1, p.shape[-1] + 1)
    if rule == "holm":
        stepped = np.maximum.accumulate((m - place + 1) * ranked, axis=-1)
    else:
        scaled = m * ranked / place
        # fmin passes over the NaN at the end, which a minimum from there would spread
        stepped = np.fmin.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.minimum(1.0, stepped), axis=-1)
    return np.where(np.isnan(p), np.nan, adjusted)


def judge_correlations(
    correlation: ArrayLike,
    num_rows: ArrayLike,
    *,
    degrees: ArrayLike | None = None,
    method: Method = "pearson",
    rule: Rule = "critical",
    level: float = 0.05,
) -> Screening:
    """p-values, intervals and the choice for given correlations, such as printed ones.

    p = 1 - I_{r^2}(1 / 2, degrees / 2),  the two-sided tail of t = r sqrt(degrees / (1 - r^2))
    interval: tanh(artanh r +- z s),  s^2 = 1 / (degrees - 1), for Spearman times 1 + r^2 / 2

    Args:
        correlation: r, [..., factor], in [-1, 1], NaN where it is not defined.
        num_rows: rows behind each, shape of `correlation` or one number.
        degrees: degrees of freedom, likewise; None: num_rows - 2.
        method: exact for "pearson" under normality; for "spearman" the t distribution is an
            approximation, fair from about ten rows on.
        rule: what is kept: "critical" (as described: each test at `level`) or an adjustment.
        level: in (0, 1).

    Returns:
        Screening; a NaN becomes the status "constant", fewer than 2 degrees of freedom "too few
        rows", and neither is kept or counted as a test.

    Raises:
        ValueError: |r| > 1, shapes that differ, an unknown choice, or a level out of range.

    Source: Fisher, 1915, Biometrika 10(4), and 1921, Metron 1 (interval); Bonett, Wright, 2000,
    Psychometrika 65(1) (interval of Spearman's).
    """
    _choose("method", method, get_args(Method))
    _choose("rule", rule, get_args(Rule))
    _check_level(level)
    r = np.atleast_1d(np.asarray(correlation, float))
    if (np.abs(r) > 1.0).any():
        raise ValueError(f"correlation: expected values in [-1, 1] or NaN, got {correlation}")
    rows = _like("num_rows", num_rows, r)
    free = rows - 2 if degrees is None else _like("degrees", degrees, r)
    status = np.where(free < MIN_DEGREES, 2, np.where(np.isnan(r), 1, 0)).astype(np.int8)
    ok = status == 0
    r = np.where(ok, r, np.nan)
    safe = np.maximum(free, MIN_DEGREES)
    p = special.betaincc(0.5, safe / 2.0, r**2)
    variance = (1.0 + r**2 / 2.0 if method == "spearman" else 1.0) / (safe - 1.0)
    half = stats.norm.isf(level / 2.0) * np.sqrt(variance)
    with np.errstate(divide="ignore"):  # artanh 1: the interval is the point
        middle = np.arctanh(r)
    adjusted = adjust_p_values(p, rule)
    return Screening(
        correlation=r,
        low=np.tanh(middle - half),
        high=np.tanh(middle + half),
        p_value=p,
        adjusted=adjusted,
        num_rows=rows,
        degrees=free,
        kept=ok & (np.where(ok, adjusted, 1.0) <= level),
        status=status,
    )


def screen(
    target: ArrayLike,
    factors: ArrayLike,
    *,
    design: Design,
    target_mask: ArrayLike | None = None,
    factor_mask: ArrayLike | None = None,
    method: Method = "pearson",
    rule: Rule = "critical",
    level: float = 0.05,
) -> Screening:
    """Which factors go with the target.

    Args:
        target: such as the balance, [town, year], or [year] under "single".
        factors: [town, year, factor], or [year, factor]; only years that may be seen.
        design: "single" (one series), "pooled" (rows of all towns in one heap), "within"
            (deviations from the town's mean: what changes with the factor inside towns) or
            "per_town" (every town by itself, a family of tests each).
        target_mask, factor_mask: bool, shapes as above, True where observed; None: everything. A
            row with a gap is left out for that factor only; `num_rows` says what remained.
        method: "spearman" correlates ranks, ties sharing their mean rank; within towns the ranks
            are those inside the town.
        rule, level: as `judge_correlations`.

    Returns:
        Screening, [factor], [town, factor] under "per_town".

    Raises:
        ValueError: wrong shapes, an observed value that is not finite, an unknown choice, or x64
            is off.

    Notes:
        A factor that does not change where it is observed together with the target, or a target
        that does not, has the status "constant". On the host; `pearson` and `within_pearson` are
        the differentiable parts.

    Source: Mishchenko et al., 2024, section 1 (as described: "critical"; its design and number of
    rows are not printed).
    """
    _choose("design", design, get_args(Design))
    _choose("method", method, get_args(Method))
    y, x, seen = _observations(target, factors, target_mask, factor_mask, single=design == "single")
    if design == "pooled":  # one town with the rows of all
        y, x, seen = y.reshape(1, -1), x.reshape(len(x), 1, -1), seen.reshape(len(x), 1, -1)
    elif design == "per_town":
        y, x, seen = (
            y[:, None, None],
            np.moveaxis(x, 1, 0)[:, :, None],
            seen.swapaxes(0, 1)[:, :, None],
        )
    y = np.broadcast_to(y, x.shape)
    if method == "spearman":
        x, y = (_mean_ranks(values, seen) for values in (x, y))
    count = seen.sum(axis=(-2, -1))
    return judge_correlations(
        np.asarray(within_pearson(to_device(x), to_device(y), to_device(seen))),
        count,
        degrees=count - seen.any(axis=-1).sum(axis=-1) - 1,
        method=method,
        rule=rule,
        level=level,
    )


def _rows(
    first: ArrayLike, second: ArrayLike, mask: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    x, y = jnp.asarray(first), jnp.asarray(second)
    seen = None if mask is None else jnp.asarray(mask)
    if x.ndim < 1 or x.shape != y.shape or (seen is not None and seen.shape != x.shape):
        raise ValueError(
            f"first, second and mask: expected equal shapes [..., row], got {x.shape}, {y.shape} "
            f"and {None if seen is None else seen.shape}"
        )
    if x.dtype != y.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"expected one floating dtype, got {x.dtype} and {y.dtype}; convert them")
    return x, y, seen


def scaled_deviations(x: Array, seen: Array) -> Array:
    """Deviations of x, [..., town, row], from the town's mean over the rows seen, in units of the
    largest of all; exactly 0 outside `seen` and in a town that is constant but for rounding.
    """
    known = jnp.where(seen, x, 0.0)
    rows = jnp.sum(seen, axis=-1, keepdims=True)
    mean = jnp.sum(known, axis=-1, keepdims=True) / jnp.maximum(rows, 1).astype(x.dtype)
    # Rounding of a constant is no variation: without this r would be that of two roundings.
    rounding = 16 * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(known), axis=-1, keepdims=True)
    low = jnp.min(jnp.where(seen, x, jnp.inf), axis=-1, keepdims=True)
    high = jnp.max(jnp.where(seen, x, -jnp.inf), axis=-1, keepdims=True)
    deviation = jnp.where(seen & (high - low > rounding), known - mean, 0.0)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(deviation), axis=(-2, -1), keepdims=True))
    return deviation / jnp.where(largest > 0.0, largest, 1.0)


def _pairs(dx: Array, dy: Array) -> tuple[tuple[Array, Array], ...]:
    return (dx, dy), (dx, dx), (dy, dy)


def _mean_ranks(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Ranks along the last axis among the rows seen, 0 elsewhere."""
    gaps = np.where(seen, values, np.nan)
    ranks = stats.rankdata(gaps, method="average", axis=-1, nan_policy="omit")
    return np.where(seen, ranks, 0.0)


def _observations(
    target: ArrayLike,
    factors: ArrayLike,
    target_mask: ArrayLike | None,
    factor_mask: ArrayLike | None,
    *,
    single: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """target [town, year], factors and what is observed of both [factor, town, year]."""
    y, x = np.asarray(target, float), np.asarray(factors, float)
    axes = ("[year]", "[year, factor]") if single else ("[town, year]", "[town, year, factor]")
    if (
        y.ndim != (1 if single else 2)
        or x.shape[:-1] != y.shape
        or x.ndim != y.ndim + 1
        or not x.size
    ):
        raise ValueError(
            f"expected target {axes[0]} and factors {axes[1]}, got shapes {y.shape} and {x.shape}"
        )
    seen_y, seen_x = (
        np.ones(values.shape, bool) if mask is None else np.asarray(mask)
        for values, mask in ((y, target_mask), (x, factor_mask))
    )
    for name, values, mask in (("target", y, seen_y), ("factor", x, seen_x)):
        if mask.dtype != np.bool_ or mask.shape != values.shape:
            raise ValueError(
                f"{name}_mask: expected bool of shape {values.shape}, got {mask.dtype} {mask.shape}"
            )
        if not np.isfinite(values[mask]).all():
            raise ValueError(
                f"{name}: expected finite observed values; mask those that are missing"
            )
    if single:
        y, x, seen_y, seen_x = y[None], x[None], seen_y[None], seen_x[None]
    seen = np.moveaxis(seen_x & seen_y[..., None], -1, 0)
    return np.where(seen_y, y, 0.0), np.moveaxis(np.where(seen_x, x, 0.0), -1, 0), seen


def _like(name: str, values: ArrayLike, like: np.ndarray) -> np.ndarray:
    numbers = np.asarray(values)
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.shape not in ((), like.shape):
        raise ValueError(
            f"{name}: expected whole numbers of shape {like.shape} or one, got {numbers.dtype} of "
            f"shape {numbers.shape}"
        )
    return np.broadcast_to(numbers, like.shape).astype(np.int64)


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a value in (0, 1), got {level}")


def _choose(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}: expected one of {tuple(known)}, got {value!r}")
