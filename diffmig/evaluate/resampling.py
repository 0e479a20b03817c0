"""Is a regression of towns and years on factors more than luck? Scores, runs, permutations.

Scores are of rows that the fit has not seen; a permutation moves whole histories of towns, whose
years are alike.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import batched, on_one_device
from diffmig.evaluate._arrays import check_count, safe_ratio, safe_sqrt
from diffmig.evaluate.panel_splits import Splits, random_orders, town_splits
from diffmig.fit.regression import Regressor, checked_rows
from diffmig.programs import one_program
from diffmig.random import fold_in

JOBS_PER_BLOCK = 50  # fits side by side


class Scores(NamedTuple):
    """Coefficients of determination over the scored rows of a panel, [...]; NaN where undefined.

    Attributes:
        pooled: of all rows, around their mean.
        within: of deviations from the town's mean, actual and predicted: does it follow the years?
        between: of the towns' means: does it know the towns?
        town_mean: of the towns' own actual means: what an explanation that is constant in time can
            reach at most, and the share of the variance that lies between towns.
    """

    pooled: Array
    within: Array
    between: Array
    town_mean: Array


class RunSummary(NamedTuple):
    """Mean over runs, 2.5 and 97.5 percentiles, and corrected standard error of the mean, [...]."""

    mean: Array
    low: Array
    high: Array
    standard_error: Array


class Significance(NamedTuple):
    """A regression over many splits and seeds, and with the factors' histories given to other
    towns.

    Attributes:
        scores: Scores of every run, leaves [run].
        pooled: RunSummary of `scores.pooled`.
        statistic: mean pooled score of the first runs, those that the permutations repeat.
        permuted: the same with permuted histories, [permutation].
        p_value: (1 + #{permuted >= statistic}) / (permutations + 1).
    """

    scores: Scores
    pooled: RunSummary
    statistic: Array
    permuted: Array
    p_value: Array


@jax.jit
def panel_scores(actual: ArrayLike, predicted: ArrayLike, mask: ArrayLike | None = None) -> Scores:
    """Pooled, within-town and between-town coefficients of determination.

    pooled = 1 - sum (y - p)^2 / sum (y - mean y)^2
    within: the same with y - mean_i y and p - mean_i p; between: with mean_i, counted by year

    Args:
        actual: y, [..., town, year].  predicted: p, same shape.
        mask: True where scored, same shape; None: everywhere. Others may hold anything.

    Returns:
        Scores, [...]; pooled is at most 0 for any constant prediction.

    Raises:
        ValueError: shapes differ.
    """
    y, p = jnp.asarray(actual), jnp.asarray(predicted)
    seen = jnp.ones(y.shape, bool) if mask is None else jnp.asarray(mask, bool)
    if not y.ndim >= 2 or not y.shape == p.shape == seen.shape:
        raise ValueError(
            f"expected [..., town, year] of one shape, got {y.shape}, {p.shape} and {seen.shape}"
        )
    y, p = jnp.where(seen, y, 0.0), jnp.where(seen, p, 0.0)
    count = jnp.sum(seen, axis=-1, keepdims=True, dtype=y.dtype)
    some = jnp.where(count > 0, count, 1.0)
    both = (-2, -1)

    def square(z: Array) -> Array:
        return jnp.sum(jnp.where(seen, z, 0.0) ** 2, axis=both)

    all_rows = jnp.sum(count, axis=both, keepdims=True)
    mean = jnp.sum(y, axis=both, keepdims=True) / jnp.where(all_rows > 0, all_rows, 1.0)
    town_y, town_p = (jnp.sum(z, axis=-1, keepdims=True) / some for z in (y, p))
    size = jnp.max(jnp.abs(y), axis=both)
    least = all_rows[..., 0, 0] * (16 * jnp.finfo(y.dtype).eps * size) ** 2
    total, inside, across = square(y - mean), square(y - town_y), square(town_y - mean)

    def share(error: Array, of: Array) -> Array:
        return 1 - safe_ratio(error, of, of > least)

    return Scores(
        pooled=share(square(y - p), total),
        within=share(square((y - town_y) - (p - town_p)), inside),
        between=share(square(town_y - town_p), across),
        town_mean=share(inside, total),
    )


def corrected_resampled_variance(scores: ArrayLike, test_to_train: ArrayLike) -> Array:
    """Variance of the mean score over resampled splits, whose fits share their data.

    variance = (1 / B + n_test / n_train) s^2,  s^2 = sum_b (score_b - mean)^2 / (B - 1)

    Args:
        scores: of B runs, [..., run], B >= 2.
        test_to_train: n_test / n_train of the splits, scalar, > 0.

    Returns:
        variance, [...].

    Raises:
        ValueError: fewer than 2 runs.

    Source: Nadeau, Bengio, 2003, Inference for the generalization error, Machine Learning 52.
    """
    scores = jnp.asarray(scores)
    if scores.ndim < 1 or scores.shape[-1] < 2:
        raise ValueError(f"scores: expected [..., run] with at least 2 runs, got {scores.shape}")
    factor = 1 / scores.shape[-1] + jnp.asarray(test_to_train, scores.dtype)
    return factor * jnp.var(scores, axis=-1, ddof=1)


@one_program()
def summarise_runs(scores: ArrayLike, test_to_train: ArrayLike) -> RunSummary:
    """Mean, percentiles and corrected standard error; arguments as the variance above."""
    scores = jnp.asarray(scores)
    variance = corrected_resampled_variance(scores, test_to_train)
    low, high = jnp.quantile(scores, jnp.array([0.025, 0.975], scores.dtype), axis=-1)
    return RunSummary(jnp.mean(scores, axis=-1), low, high, safe_sqrt(variance))


@one_program()
def permutation_p_value(observed: ArrayLike, permuted: ArrayLike) -> Array:
    """Share of values at least as large as the observed one, itself included.

    p = (1 + #{permuted >= observed}) / (B + 1)

    Args:
        observed: [...].
        permuted: under permutation, or of surrogates, [..., permutation]; NaN counts as large.

    Returns:
        p, [...], in [1 / (B + 1), 1]. NaN where the observed value is.

    Source: Phipson, Smyth, 2010, Permutation p-values should never be zero, Statistical
    Applications in Genetics and Molecular Biology 9(1).
    """
    observed, permuted = jnp.asarray(observed), jnp.asarray(permuted)
    as_large = ~(permuted < observed[..., None])
    count = jnp.sum(as_large, axis=-1, dtype=observed.dtype)
    p_value = (1 + count) / (permuted.shape[-1] + 1)
    return jnp.where(jnp.isnan(observed), jnp.nan, p_value)


def repeated_split_significance(
    key: Array,
    regressor: Regressor,
    x: ArrayLike,
    y: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    splits: Splits | None = None,
    num_runs: int = 200,
    test_share: float = 0.2,
    num_permutations: int = 200,
    runs_per_permutation: int = 10,
    block: int | None = JOBS_PER_BLOCK,
    mesh: Mesh | None = None,
) -> Significance:
    """Scores of a regression over many splits, a new split and a new seed each, and their p-value.

    Args:
        key: random key.
        regressor: method.
        x: factors, [town, year, factor], finite everywhere.
        y: target, [town, year].
        weight: >= 0, [town, year], stays with y; None: 1. Rows of weight 0 are neither fitted nor
            scored.
        splits: runs to make; None draws `num_runs` of `town_splits` with `test_share`.
        num_permutations: the factors' histories are given to towns in random order, whole.
        runs_per_permutation: runs that are repeated with every permutation, at most all. The test
            is exact for any number; more make it stronger, at proportional cost.
        block: fits side by side.  mesh: devices that share them.

    Returns:
        Significance.

    Raises:
        ValueError: shapes, counts, values that are not finite, or splits of another panel.

    Notes:
        The p-value is exact where histories are exchangeable between towns when nothing is
        explained; factors and targets that both follow geography are not. Runs over vmapped keys or
        data, if the regressor is traceable.

    Source: Nadeau, Bengio, 2003 (standard error); Phipson, Smyth, 2010 (p-value).
    """
    if np.ndim(x) != 3:
        raise ValueError(f"x: expected [town, year, factor], got {np.shape(x)}")
    x, y, weight = checked_rows(x, y, weight, all_finite=True)
    key_split, key_fit, key_order = (fold_in(key, stage) for stage in range(3))
    if splits is None:
        splits = town_splits(key_split, *y.shape, num_runs=num_runs, test_share=test_share)
    num_runs = splits.train.shape[0]
    if splits.train.shape != splits.test.shape or splits.train.shape[1:] != y.shape or num_runs < 2:
        raise ValueError(
            f"splits: expected at least 2 runs [run, {y.shape[0]}, {y.shape[1]}], got "
            f"{splits.train.shape} and {splits.test.shape}"
        )
    check_count(num_permutations, 1, "num_permutations")
    check_count(runs_per_permutation, 1, "runs_per_permutation")
    repeated = min(runs_per_permutation, num_runs)
    # run r of order o: all runs with the own order, the first ones with every other
    runs = np.concatenate([np.arange(num_runs), np.tile(np.arange(repeated), num_permutations)])
    order = np.concatenate(
        [np.zeros(num_runs, int), np.repeat(np.arange(1, num_permutations + 1), repeated)]
    )

    jobs = runs.astype(np.int32), _orders(key_order, order, num_permutations, y.shape[0])
    panel = _Panel(key_fit, x, y, weight, splits)
    if regressor.traceable:
        scores = _run_jobs(panel, jobs, regressor=regressor, block=block, mesh=mesh)
        scores = on_one_device(scores, len(runs), mesh)
    else:
        done = [_one_run(panel, regressor, job) for job in zip(*jobs, strict=True)]
        scores = jax.tree.map(lambda *leaves: jnp.stack(leaves), *done)
    return _judge(scores, weight, splits, num_permutations, repeated)


@partial(jax.jit, static_argnames=("num_permutations", "num_towns"))
def _orders(key: Array, order: Array | np.ndarray, num_permutations: int, num_towns: int) -> Array:
    """Order of the towns of every job, order 0 their own, [job, town]."""
    own = jnp.arange(num_towns, dtype=jnp.int32)[None, :]
    return jnp.concatenate([own, random_orders(key, num_permutations, num_towns)])[order]


@partial(jax.jit, static_argnames=("num_permutations", "repeated"))
def _judge(
    scores: Scores, weight: Array, splits: Splits, num_permutations: int, repeated: int
) -> Significance:
    """Significance from the scores of all jobs, those with the own order of the towns first."""
    num_runs = splits.train.shape[0]
    first = jax.tree.map(lambda leaf: leaf[:num_runs], scores)
    permuted = jnp.mean(scores.pooled[num_runs:].reshape(num_permutations, repeated), axis=1)
    statistic = jnp.mean(first.pooled[:repeated])
    counts = [jnp.sum(rows & (weight > 0)[None], dtype=weight.dtype) for rows in splits[::-1]]
    return Significance(
        first,
        summarise_runs(first.pooled, counts[0] / counts[1]),
        statistic,
        permuted,
        permutation_p_value(statistic, permuted),
    )


class _Panel(NamedTuple):
    key: Array
    x: Array
    y: Array
    weight: Array
    splits: Splits


@partial(jax.jit, static_argnames=("regressor", "block", "mesh"))
def _run_jobs(
    panel: _Panel,
    jobs: tuple[Array, Array],
    *,
    regressor: Regressor,
    block: int | None,
    mesh: Mesh | None,
) -> Scores:
    return batched(lambda job: _one_run(panel, regressor, job), jobs, block=block, mesh=mesh)


def _one_run(panel: _Panel, regressor: Regressor, job: tuple[Array, Array]) -> Scores:
    """Scores of one split and seed, town i with the factors of town order[i]."""
    run, order = job
    rows = panel.x[order].reshape(-1, panel.x.shape[-1])
    train = jnp.where(panel.splits.train[run], panel.weight, 0.0)
    key = fold_in(panel.key, run)
    params = regressor.fit_fn(key, rows, panel.y.reshape(-1), train.reshape(-1))
    predicted = jnp.asarray(regressor.predict_fn(params, rows)).reshape(panel.y.shape)
    return panel_scores(panel.y, predicted, panel.splits.test[run] & (panel.weight > 0))
