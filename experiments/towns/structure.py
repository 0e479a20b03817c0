"""What the towns look like: factors that go with the balance, memory, groups; from given years."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import towns as tw
from experiments._settlements import problem
from experiments.towns.config import Config
from experiments.towns.inputs import Inputs

LAGS = 5
CANDIDATES = (2, 3, 4, 5, 6)


class Structure(NamedTuple):
    """Of the years seen.

    Attributes:
        num_years: years seen, from the first on.
        screening: inside towns, by the rule of the config.
        national: of the sums over towns, one row a year, by the critical value: as described.
        kept: indices of the factors that enter the networks, [kept].
        clusters: of the towns.
    """

    num_years: int
    screening: tw.Screening
    national: tw.Screening
    kept: np.ndarray
    clusters: tw.Clustering


class Memory(NamedTuple):
    """Autocorrelation of the balances, all years.

    Attributes:
        pairwise, biased: by town, [town, lag].
        window: by the rule of shares, and as described.
    """

    pairwise: tw.Autocorrelations
    biased: tw.Autocorrelations
    window: tw.Window
    as_described: tw.Window


def find_structure(config: Config, inputs: Inputs, num_years: int, key: Array) -> Structure:
    """Factors and clusters from the first `num_years` years alone.

    Raises:
        DataError: no factor varies.
    """
    rate, factors = inputs.rate[:, :num_years], inputs.factors[:, :num_years]
    inside = tw.screen(rate, factors, design="within", rule=config.screening)
    national = tw.screen(
        inputs.balance[:, :num_years].sum(axis=0), factors.mean(axis=0), design="single"
    )
    kept = _kept(config, inside)
    if not kept.size:
        raise problem("no factor changes inside any town", "name others in --config.factors")
    means = np.concatenate([rate.mean(axis=1)[:, None], factors[:, :, kept].mean(axis=1)], axis=1)
    return Structure(
        num_years=num_years,
        screening=inside,
        national=national,
        kept=kept,
        clusters=tw.cluster(key, means, config.num_clusters),
    )


def _kept(config: Config, found: tw.Screening) -> np.ndarray:
    """Factors that pass, the most significant first; the two best where fewer than two do."""
    p = np.where(found.status == 0, found.p_value, np.inf)
    order = np.argsort(p, kind="stable")
    usable = order[np.isfinite(p[order])]
    passing = usable[found.kept[usable]]
    chosen = passing if passing.size >= 2 else usable[:2]
    return np.sort(chosen[: config.max_factors])


def number_of_clusters(config: Config, inputs: Inputs, key: Array) -> tw.NumClusters:
    """Silhouette, inertia and stability of two to six clusters, all years."""
    candidates = [k for k in CANDIDATES if k < len(inputs.towns)]
    rate = inputs.rate.mean(axis=1)[:, None]
    means = np.concatenate([rate, inputs.factors.mean(axis=1)], axis=1)
    varying = means.std(axis=0) > 0
    return tw.choose_num_clusters(
        key, means[:, varying], candidates=candidates, num_resamples=config.num_resamples
    )


def memory(inputs: Inputs) -> Memory:
    """Both estimators, and how far back the towns remember by two rules."""
    num_years = inputs.years.size
    lags = min(LAGS, num_years - 3)
    rate = jnp.asarray(inputs.rate)
    pairwise = jax.device_get(tw.autocorrelations(rate, max_lag=lags))
    return Memory(
        pairwise=pairwise,
        biased=jax.device_get(tw.autocorrelations(rate, max_lag=lags, estimator="biased")),
        window=tw.choose_window(pairwise.coefficient, num_years),
        as_described=tw.choose_window(pairwise.coefficient, num_years, rule="as_described"),
    )
