"""Groups of towns: tree clustering and k-means behind one call."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.spatial.distance import cdist

from diffmig.data import fit_minmax, fit_standard, scale
from diffmig.random import host_generator

Standardise = Literal["none", "standard", "range"]
Link = Literal["single", "complete", "average", "ward"]


@dataclass(frozen=True)
class ClusterConfig:
    """How towns are grouped.

    Attributes:
        method: "k_means", or "tree": the tree cut into the number of clusters.
        standardise: "none" (as described), "standard" (mean 0, standard deviation 1 over the towns)
            or "range" (0 to 1). Without it the factor with the largest unit decides alone.
        link: of the tree, on Euclidean distances.
        num_starts: of k-means: the tree's clusters and this many random ones.
        max_iterations: of each start, which ends where no town changes its cluster.
    """

    method: Literal["k_means", "tree"] = "k_means"
    standardise: Standardise = "standard"
    link: Link = "ward"
    num_starts: int = 10
    max_iterations: int = 100


class Clustering(NamedTuple):
    """Towns in groups.

    Attributes:
        label: int64 [town], 0, 1, ... by size, the largest first; among equals the one with the
            first town first.
        centre: means of the clusters in the units of the clustering, [cluster, factor]; NaN for a
            factor left out.
        distance: Euclidean, from the own centre, [town], units of the clustering.
        distance_per_factor: sqrt(sum (x - c)^2 / number of factors), [town]: the "distance" of
            STATISTICA's k-means.
        silhouette: [town], in [-1, 1]; 0 for a town alone in its cluster.
        inertia: sum of squared distances from the own centre.
        tree: SciPy's linkage matrix of all towns, [town - 1, 4], of the same units; what
            `scipy.cluster.hierarchy.dendrogram` draws.
        used: bool [factor]; False for a factor that is the same in every town, which cannot be
            standardised.
    """

    label: np.ndarray
    centre: np.ndarray
    distance: np.ndarray
    distance_per_factor: np.ndarray
    silhouette: np.ndarray
    inertia: float
    tree: np.ndarray
    used: np.ndarray


def cluster(
    key: Array, values: ArrayLike, num_clusters: int, config: ClusterConfig | None = None
) -> Clustering:
    """Towns in groups of similar factors.

    Args:
        key: random key of the starts of k-means; the tree draws nothing.
        values: factors, [town, factor], finite, such as means over training years.
        num_clusters: 1 to the number of different towns.
        config: method, standardisation, link; None: the defaults.

    Returns:
        Clustering.

    Raises:
        ValueError: not [town, factor], fewer than two towns, fewer different towns than clusters, a
            value that is not finite, factors that are all constant, or a choice out of range.

    Notes:
        On the host; equal keys give equal clusters. No gaps: fill them or leave the town out.

    Source: Mishchenko et al., 2024, text around figure 3 and table 3 (tree, then k-means with 3
    clusters; standardisation and link are not printed); distance: TIBCO STATISTICA, k-means.
    """
    config = config or ClusterConfig()
    x = _check(values, num_clusters, config)
    scaled, used = _standardised(x, config.standardise)
    tree = linkage(scaled, method=config.link)
    label = _labels(key, scaled, tree, num_clusters, config)
    centre = _centres(scaled, label)
    square = ((scaled - centre[label]) ** 2).sum(axis=1)
    whole = np.full((len(centre), x.shape[1]), np.nan)
    whole[:, used] = centre
    return Clustering(
        label=label,
        centre=whole,
        distance=np.sqrt(square),
        distance_per_factor=np.sqrt(square / scaled.shape[1]),
        silhouette=silhouette(scaled, label),
        inertia=float(square.sum()),
        tree=tree,
        used=used,
    )


def silhouette(values: ArrayLike, label: ArrayLike) -> np.ndarray:
    """How much nearer each town lies to its own cluster than to the next one.

    s = (b - a) / max(a, b),  a mean distance from the others of the own cluster, b the least mean
    distance from the towns of another cluster

    Args:
        values: [town, factor], in the units of the clustering.
        label: integers, [town].

    Returns:
        s, [town], in [-1, 1]; 0 for a town alone in its cluster, everywhere if there is one
        cluster, and where both distances are 0.

    Raises:
        ValueError: shapes that do not fit.

    Source: Rousseeuw, 1987, Silhouettes: a graphical aid to the interpretation and validation of
    cluster analysis, Journal of Computational and Applied Mathematics 20.
    """
    x, group = np.asarray(values, float), np.asarray(label)
    if x.ndim != 2 or group.shape != x.shape[:1]:
        raise ValueError(
            f"expected values [town, factor] and label [town], got {x.shape} and {group.shape}"
        )
    names, own = np.unique(group, return_inverse=True)
    if len(names) < 2:
        return np.zeros(len(x))
    member = np.eye(len(names))[own]
    total, size = cdist(x, x) @ member, member.sum(axis=0)
    town = np.arange(len(x))
    alone = size[own] == 1
    inside = total[town, own] / np.where(alone, 1.0, size[own] - 1.0)
    outside = np.where(member == 1.0, np.inf, total / size).min(axis=1)
    larger = np.maximum(inside, outside)
    undecided = alone | (larger == 0.0)
    return np.where(undecided, 0.0, (outside - inside) / np.where(undecided, 1.0, larger))


def labels_only(
    key: Array, values: np.ndarray, num_clusters: int, config: ClusterConfig
) -> np.ndarray:
    """`cluster(...).label` of checked values, without the rest."""
    scaled, _ = _standardised(values, config.standardise)
    return _labels(key, scaled, linkage(scaled, method=config.link), num_clusters, config)


def _check(values: ArrayLike, num_clusters: int, config: ClusterConfig) -> np.ndarray:
    x = np.asarray(values, float)
    for name, known in (("standardise", get_args(Standardise)), ("link", get_args(Link))):
        if getattr(config, name) not in known:
            raise ValueError(f"{name}: expected one of {known}, got {getattr(config, name)!r}")
    if config.method not in ("k_means", "tree"):
        raise ValueError(f"method: expected 'k_means' or 'tree', got {config.method!r}")
    if config.num_starts < 1 or config.max_iterations < 1:
        raise ValueError(
            "num_starts and max_iterations: expected at least 1, got "
            f"{config.num_starts} and {config.max_iterations}"
        )
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise ValueError(
            f"values: expected [town, factor] with at least two towns, got shape {x.shape}"
        )
    rows, columns = np.nonzero(~np.isfinite(x))
    if rows.size:
        raise ValueError(
            f"values: expected finite numbers, got {x[rows[0], columns[0]]} for town {rows[0]}, "
            f"factor {columns[0]} ({rows.size} in all); fill the gaps or leave the town out"
        )
    different = len(np.unique(x, axis=0))
    if not 1 <= num_clusters <= different:
        raise ValueError(
            f"num_clusters: expected 1 to {different}, the number of different towns, got "
            f"{num_clusters}"
        )
    return x


def _standardised(x: np.ndarray, standardise: str) -> tuple[np.ndarray, np.ndarray]:
    """Towns in the units of the clustering, [town, factor used], and which factors are used."""
    if standardise == "none":
        return x, np.ones(x.shape[1], bool)
    used = np.ptp(x, axis=0) > 16 * np.finfo(float).eps * np.abs(x).max(axis=0)
    if not used.any():
        raise ValueError("values: every factor is the same in all towns; nothing tells them apart")
    kept = x[:, used]
    fit = fit_standard if standardise == "standard" else fit_minmax
    return scale(fit(kept, np.ones(len(kept), bool)), kept), used


def _labels(
    key: Array, scaled: np.ndarray, tree: np.ndarray, num_clusters: int, config: ClusterConfig
) -> np.ndarray:
    cut = cut_tree(tree, num_clusters)[:, 0]
    if config.method == "tree":
        return _by_size(cut)
    rng = host_generator(key)
    best, lowest = None, np.inf
    starts: list[tuple[np.ndarray | int, str]] = [(_centres(scaled, cut), "matrix")]
    starts += [(num_clusters, "++")] * config.num_starts
    for start, kind in starts:
        try:
            centre, label = _k_means(rng, scaled, start, kind, config.max_iterations)
        except ClusterError:  # a cluster lost all its towns
            continue
        inertia = ((scaled - centre[label]) ** 2).sum()
        if inertia < lowest and len(np.unique(label)) == num_clusters:
            best, lowest = label, inertia
    if best is None:
        raise ValueError(
            f"num_clusters: none of {len(starts)} starts kept {num_clusters} clusters filled; ask "
            "for fewer clusters or more starts"
        )
    return _by_size(best)


def _k_means(
    rng: np.random.Generator, scaled: np.ndarray, start: np.ndarray | int, kind: str, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Centres and labels from one start; SciPy's function has no end but its iterations."""
    centre, label = kmeans2(scaled, start, iter=5, minit=kind, missing="raise", rng=rng)
    for _ in range(5, most, 5):
        before = label
        centre, label = kmeans2(scaled, centre, iter=5, minit="matrix", missing="raise")
        if (label == before).all():
            break
    return centre, label


def _by_size(label: np.ndarray) -> np.ndarray:
    _, first, own, size = np.unique(
        label, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.empty(len(size), np.int64)
    place[np.lexsort((first, -size))] = np.arange(len(size))
    return place[own]


def _centres(scaled: np.ndarray, label: np.ndarray) -> np.ndarray:
    return np.stack([scaled[label == k].mean(axis=0) for k in np.unique(label)])
