"""Does anything known of the places explain the force? Regressions, splits, Shapley, shares."""

from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import evaluate, explain, fit
from diffmig import migration as mg
from experiments.migration.config import Config
from experiments.migration.inputs import Inputs

LAG = 1  # years: nothing of the same year explains it
PRIMARY = "ridge"
BACKGROUND_ROWS = 100
ROWS_PER_BLOCK = 64
MOST_FOR_NETWORK = 5000  # rows; thousands of networks on more take hours
MIN_ORIGIN = 3  # years of rows before the first forward split


class Explanation(NamedTuple):
    """What features of the year before say about the yearly force.

    Attributes:
        years: of the rows, [year].
        force: yearly mean of the force, [place, year].  weight: of the rows, likewise.
        features: of the year before, [place, year, factor].
        names: [factor].
        scores: (regressor, split) -> Scores of all scored rows together.
        significance: by regressor, many splits and seeds with permutations; None where host code.
        values: Shapley values of the primary regressor, [factor, place, year].
        base: its mean prediction, [].
        predicted: [place, year].
        shares: of the balances, through the motion.
        params: of the primary regressor, on all rows.
        bootstrap: params refitted to places drawn with replacement.
    """

    years: np.ndarray
    force: Array
    weight: Array
    features: Array
    names: tuple[str, ...]
    scores: dict[tuple[str, str], evaluate.Scores]
    significance: dict[str, evaluate.Significance]
    values: Array
    base: Array
    predicted: Array
    shares: explain.BalanceShares
    params: Any
    bootstrap: Any


def yearly_means(time: np.ndarray, values: Array, num_years: int) -> Array:
    """Means over [k, k + 1] of values on a grid (trapezia), [..., time] -> [..., year]."""
    weights = np.zeros((num_years, len(time)))
    for k in range(num_years):
        inside = np.flatnonzero((time >= k - 1e-9) & (time <= k + 1 + 1e-9))
        gaps = np.diff(time[inside])
        weights[k, inside[:-1]] += gaps / 2
        weights[k, inside[1:]] += gaps / 2
        weights[k] /= gaps.sum()
    return values @ jnp.asarray(weights.T)


def regressors() -> dict[str, fit.Regressor]:
    """Methods by name; gradient boosting where scikit-learn is installed."""
    found = {"constant": fit.constant(), "ridge": fit.ridge(), "mlp": fit.mlp()}
    if find_spec("sklearn"):
        found["gradient boosting"] = fit.gradient_boosting()
    return found


def explain_force(
    config: Config,
    inputs: Inputs,
    key: Array,
    estimate: fit.ForceEstimate,
    stiffness: Array | mg.Modes,
    damping: Array,
    mesh: Mesh | None,
) -> Explanation | None:
    """Everything about the regression of the force; None where there are no features."""
    num_years = inputs.years.size
    names = inputs.feature_names
    if not names:
        return None
    time = np.asarray(estimate.time)
    force = yearly_means(time, estimate.force, num_years)
    weight = fit.precision_weights(
        yearly_means(time, estimate.force_sd, num_years)[:, LAG:], jnp.std(force)
    )
    x, y = jnp.asarray(inputs.features[:, :-LAG]), force[:, LAG:]
    names = inputs.feature_names
    keys = dict(
        zip(("splits", "runs", "fit", "boot", "shapley"), jax.random.split(key, 5), strict=True)
    )
    methods = regressors()
    splits = {
        "other places": evaluate.town_splits(keys["splits"], *y.shape, num_runs=20),
        "later years": evaluate.forward_splits(
            *y.shape, num_initial=min(MIN_ORIGIN, y.shape[1] - 1)
        ),
    }
    scores = {
        (name, split): score_splits(keys["fit"], method, x, y, weight, rows)
        for name, method in methods.items()
        for split, rows in splits.items()
    }
    significance = {
        name: evaluate.repeated_split_significance(
            keys["runs"], methods[name], x, y, weight=weight, num_runs=max(config.num_runs, 2),
            num_permutations=config.num_runs, mesh=mesh,
        )
        for name in ("ridge", "mlp")
        if name == "ridge" or y.size <= MOST_FOR_NETWORK
    }  # fmt: skip
    params = fit.fit_regression(keys["fit"], methods[PRIMARY], x, y, weight)
    bootstrap = fit.bootstrap_regression(
        keys["boot"], methods[PRIMARY], x, y, weight, num_resamples=config.num_runs, mesh=mesh
    )
    values, base = shapley_of(keys["shapley"], params, methods[PRIMARY], x)
    predicted = fit.predict_regression(methods[PRIMARY], params, x)
    shares = explain.balance_shares(
        stiffness,
        damping,
        estimate.balance[:, at_year(time, LAG)],
        estimate.velocity[:, at_year(time, LAG)],
        base,
        jnp.moveaxis(values, -1, 0),
        y - predicted,
    )
    return Explanation(
        years=inputs.years[LAG:],
        force=y,
        weight=weight,
        features=x,
        names=names,
        scores=scores,
        significance=significance,
        values=jnp.moveaxis(values, -1, 0),
        base=base,
        predicted=predicted,
        shares=shares,
        params=params,
        bootstrap=bootstrap,
    )


def at_year(time: np.ndarray, year: int) -> int:
    """Position of the start of a year on the grid."""
    return int(np.argmin(np.abs(time - year)))


def score_splits(
    key: Array, method: fit.Regressor, x: Array, y: Array, weight: Array, splits: Any
) -> evaluate.Scores:
    """Scores of all rows that are scored in any of the splits, each by the fit that did not see
    it."""
    predicted = jnp.full(y.shape, jnp.nan)
    for train, test in zip(splits.train, splits.test, strict=True):
        params = fit.fit_regression(key, method, x, y, jnp.where(train, weight, 0.0))
        predicted = jnp.where(test, fit.predict_regression(method, params, x), predicted)
    seen = jnp.isfinite(predicted)
    return evaluate.panel_scores(y, jnp.where(seen, predicted, 0.0), seen)


def shapley_of(key: Array, params: Any, method: fit.Regressor, x: Array) -> tuple[Array, Array]:
    """Shapley values [place, year, factor] and base []; exact up to 12 factors."""
    rows = x.reshape(-1, x.shape[-1])
    step = max(1, rows.shape[0] // BACKGROUND_ROWS)
    background = rows[::step]

    def predict(z: Array) -> Array:
        return fit.predict_regression(method, params, z)

    if x.shape[-1] <= explain.MAX_FACTORS:
        found = explain.shapley_rows(predict, rows, background, block=ROWS_PER_BLOCK)
        return found.values.reshape(x.shape), found.base[0]
    sampled = explain.permutation_shapley(key, predict, rows, background, block=ROWS_PER_BLOCK)
    return sampled.values.reshape(x.shape), sampled.base[0]
