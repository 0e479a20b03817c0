"""How far to trust groups of towns: agreement under resampling, and how many groups there are."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.random import host_generator
from diffmig.towns.clustering import ClusterConfig, cluster, labels_only


class Stability(NamedTuple):
    """Agreement of the clusters with those of resampled towns.

    Attributes:
        median, lower, upper: median and quartiles over resamples, each [number of clusters].
        rand_index: adjusted Rand index, [number of clusters, resample]; NaN where a resample has
            fewer different towns than clusters, which the quartiles leave out.
    """

    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    rand_index: np.ndarray


class NumClusters(NamedTuple):
    """What speaks for each number of clusters.

    Attributes:
        num_clusters: int64 [candidate].
        silhouette: mean over towns, [candidate].
        inertia: [candidate]; falls with every further cluster, look for the bend.
        stability: with leaves [candidate] and [candidate, resample].
        best: number with the highest mean silhouette, the smaller of equals.
    """

    num_clusters: np.ndarray
    silhouette: np.ndarray
    inertia: np.ndarray
    stability: Stability
    best: int


def adjusted_rand_index(first: ArrayLike, second: ArrayLike) -> float:
    """Agreement of two groupings: 1 if they are the same, 0 on average by chance.

    (S - E) / ((A + B) / 2 - E),  S pairs together in both, A and B in each, E = A B / all pairs

    Args:
        first, second: labels of any kind, [town].

    Returns:
        index, at most 1; 1 where both groupings are trivial in the same way.

    Raises:
        ValueError: shapes differ, or no town.

    Source: Hubert, Arabie, 1985, Comparing partitions, Journal of Classification 2, equation 5.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise ValueError(f"expected two equal shapes [town], got {a.shape} and {b.shape}")
    (names_a, a), (names_b, b) = (np.unique(x, return_inverse=True) for x in (a, b))
    table = np.zeros((len(names_a), len(names_b)))
    np.add.at(table, (a, b), 1.0)
    both, in_a, in_b, everyone = (
        float((n * (n - 1.0) / 2.0).sum())
        for n in (table, table.sum(axis=1), table.sum(axis=0), np.array([float(a.size)]))
    )
    expected = in_a * in_b / everyone if everyone else 0.0
    most = (in_a + in_b) / 2.0
    return 1.0 if most == expected else (both - expected) / (most - expected)


def stability(
    key: Array,
    values: ArrayLike,
    num_clusters: Sequence[int],
    config: ClusterConfig | None = None,
    *,
    num_resamples: int = 100,
    share: float | None = None,
) -> Stability:
    """How well the clusters are found again when other towns are drawn.

    Each resample is standardised and clustered by itself; the adjusted Rand index compares its
    towns' labels with those of the whole.

    Args:
        key: random key; resample b draws from fold_in(key, b).
        values, config: as `cluster`.
        num_clusters: numbers to compare, each as `cluster`.
        num_resamples: at least 4.
        share: None draws as many towns as there are with replacement (bootstrap; each town counts
            once in the index); a number in (0, 1) draws that share of the towns without.

    Returns:
        Stability.

    Raises:
        ValueError: as `cluster`, no number of clusters, too few resamples, a share out of range.

    Source: Hennig, 2007, Cluster-wise assessment of cluster stability, Computational Statistics and
    Data Analysis 52 (resampling; the index there is Jaccard's).
    """
    config = config or ClusterConfig()
    if num_resamples < 4 or not len(num_clusters) or (share is not None and not 0.0 < share < 1.0):
        raise ValueError(
            "expected at least 4 resamples, a number of clusters and a share in (0, 1) or None, "
            f"got {num_resamples}, {tuple(num_clusters)} and {share}"
        )
    x = np.asarray(values, float)
    whole = [cluster(key, x, k, config).label for k in num_clusters]
    found = np.full((len(num_clusters), num_resamples), np.nan)
    for b in range(num_resamples):
        draw, starts = jax.random.split(jax.random.fold_in(key, b))
        rng = host_generator(draw)
        if share is None:
            drawn = rng.integers(len(x), size=len(x))
        else:
            drawn = rng.permutation(len(x))[: max(2, round(share * len(x)))]
        towns, first = np.unique(drawn, return_index=True)
        part = x[drawn]
        for i, k in enumerate(num_clusters):
            if len(np.unique(part, axis=0)) < max(k, 2):
                continue
            label = labels_only(starts, part, k, config)
            found[i, b] = adjusted_rand_index(label[first], whole[i][towns])
    counted = ~np.isnan(found).all(axis=1)
    quartiles = np.full((3, len(found)), np.nan)
    quartiles[:, counted] = np.nanquantile(found[counted], [0.25, 0.5, 0.75], axis=1)
    return Stability(quartiles[1], quartiles[0], quartiles[2], found)


def choose_num_clusters(
    key: Array,
    values: ArrayLike,
    config: ClusterConfig | None = None,
    *,
    candidates: Sequence[int] = (2, 3, 4, 5, 6),
    num_resamples: int = 100,
    share: float | None = None,
) -> NumClusters:
    """Silhouette, inertia and stability of several numbers of clusters.

    Args:
        key, values, config, num_resamples, share: as `stability`.
        candidates: numbers of clusters, each at least 2.

    Returns:
        NumClusters.

    Raises:
        ValueError: as `stability`, or a candidate below 2.

    Notes:
        The three criteria may disagree; `best` follows the silhouette alone.

    Source: Mishchenko et al., 2024, figure 3 ("3 or 4", read off the tree).
    """
    if any(k < 2 for k in candidates):
        raise ValueError(f"candidates: expected at least 2 clusters each, got {tuple(candidates)}")
    found = [cluster(key, values, k, config) for k in candidates]
    agreement = stability(key, values, candidates, config, num_resamples=num_resamples, share=share)
    mean = np.array([each.silhouette.mean() for each in found])
    number = np.array(candidates, np.int64)
    return NumClusters(
        num_clusters=number,
        silhouette=mean,
        inertia=np.array([each.inertia for each in found]),
        stability=agreement,
        best=int(number[mean == mean.max()].min()),
    )
