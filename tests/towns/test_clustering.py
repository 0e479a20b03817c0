"""Clustering against scikit-learn, closed forms, and the labels of the synthetic towns."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from diffmig import towns

metrics = pytest.importorskip("sklearn.metrics")
sklearn_cluster = pytest.importorskip("sklearn.cluster")

LABELS = st.lists(st.integers(0, 4), min_size=2, max_size=20)


@pytest.fixture(scope="module")
def key():
    return jax.random.key(7)


@pytest.fixture(scope="module")
def groups():
    """12, 6 and 9 towns around three centres, in mixed order; the fourth factor is constant."""
    rng = np.random.default_rng(8)
    label = rng.permutation(np.repeat([0, 1, 2], [12, 6, 9]))
    centres = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 3.0], [0.0, 5.0, 0.0]])
    values = centres[label] + 0.7 * rng.normal(size=(27, 3))
    return np.column_stack([values, np.full(27, 0.1)]), label


@pytest.mark.parametrize("method", ["k_means", "tree"])
def test_groups_are_found_and_numbered_by_size(key, groups, method):
    values, label = groups
    found = towns.cluster(key, values, 3, towns.ClusterConfig(method=method))
    assert towns.adjusted_rand_index(found.label, label) == 1.0
    assert np.bincount(found.label).tolist() == [12, 9, 6]
    # The numbers do not depend on the order in which an algorithm met the clusters.
    again = towns.cluster(jax.random.key(99), values[:, [2, 0, 1, 3]], 3)
    assert np.array_equal(found.label, again.label)
    assert found.used.tolist() == [True, True, True, False]
    assert np.isnan(found.centre[:, 3]).all()


def test_equal_sizes_are_numbered_by_their_first_town(key):
    values = np.array([[9.0], [0.0], [0.1], [9.1], [4.0], [4.1]])
    found = towns.cluster(key, values, 3)
    assert found.label.tolist() == [0, 1, 1, 0, 2, 2]


def test_inertia_and_distances_by_their_definitions(key, groups):
    values, _ = groups
    found = towns.cluster(key, values, 4, towns.ClusterConfig(standardise="standard"))
    x = values[:, :3]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    square = 0.0
    for town, own in enumerate(found.label):
        centre = z[found.label == own].mean(axis=0)
        distance = np.sqrt(((z[town] - centre) ** 2).sum())
        square += distance**2
        assert found.distance[town] == pytest.approx(distance, abs=1e-12)
        assert found.distance_per_factor[town] == pytest.approx(distance / np.sqrt(3), abs=1e-12)
    assert found.inertia == pytest.approx(square, rel=1e-12)
    peer = sklearn_cluster.KMeans(4, n_init=100, random_state=0).fit(z)
    assert found.inertia <= peer.inertia_ * (1 + 1e-9)


def test_one_cluster_of_standardised_towns_has_mean_square_distance_one(key, groups):
    """So that "less than 1" says little about the clusters of standardised factors."""
    found = towns.cluster(key, groups[0], 1)
    assert np.mean(found.distance_per_factor**2) == pytest.approx(1.0, abs=1e-12)
    assert (found.silhouette == 0.0).all()


def test_standardisation_makes_units_irrelevant(key, groups):
    values, label = groups
    other = values * np.array([1e4, 1.0, 1e-3, 1.0]) + 5.0
    for standardise in ("standard", "range"):
        config = towns.ClusterConfig(standardise=standardise)
        one, two = (towns.cluster(key, x, 3, config) for x in (values, other))
        assert np.array_equal(one.label, two.label)
        assert one.inertia == pytest.approx(two.inertia, rel=1e-6)
    raw = towns.cluster(key, other, 3, towns.ClusterConfig(standardise="none"))
    assert towns.adjusted_rand_index(raw.label, label) < 0.7  # the first factor decides alone
    assert raw.used.all()


@pytest.mark.parametrize("link", ["single", "complete", "average", "ward"])
def test_tree_is_scipys_and_is_cut_into_the_number_asked(key, groups, link):
    values, _ = groups
    config = towns.ClusterConfig(method="tree", standardise="none", link=link)
    found = towns.cluster(key, values, 5, config)
    tree = linkage(values, method=link)
    np.testing.assert_array_equal(found.tree, tree)
    flat = fcluster(tree, 5, criterion="maxclust")
    assert metrics.adjusted_rand_score(flat, found.label) == 1.0
    # Ties in height still give as many clusters as asked.
    ladder = towns.cluster(key, np.arange(6.0)[:, None], 3, config)
    assert len(set(ladder.label.tolist())) == 3


def test_silhouette_is_scikit_learns(groups):
    values, label = groups
    rng = np.random.default_rng(0)
    for labels in (label, rng.integers(0, 5, 27), np.arange(27) // 26):
        expected = metrics.silhouette_samples(values, labels)
        np.testing.assert_allclose(towns.silhouette(values, labels), expected, atol=1e-12)
    same = towns.silhouette(np.zeros((4, 2)), [0, 0, 1, 1])
    assert same.tolist() == [0.0] * 4


@settings(max_examples=80, deadline=None)
@given(LABELS, st.randoms())
def test_rand_index_is_scikit_learns(first, random):
    second = [random.randint(0, 3) for _ in first]
    expected = metrics.adjusted_rand_score(first, second)
    assert towns.adjusted_rand_index(first, second) == pytest.approx(expected, abs=1e-12)
    renamed = [{0: "e", 1: "d", 2: "c", 3: "b", 4: "a"}[x] for x in first]
    assert towns.adjusted_rand_index(first, renamed) == 1.0


def test_true_number_of_clusters_is_stable_and_has_the_best_silhouette(key, groups):
    values, _ = groups
    choice = towns.choose_num_clusters(key, values, num_resamples=20)
    assert choice.best == 3
    assert choice.num_clusters.tolist() == [2, 3, 4, 5, 6]
    assert (np.diff(choice.inertia) < 0).all()
    stability = choice.stability
    assert stability.rand_index.shape == (5, 20)
    assert stability.median[1] == 1.0 > stability.median[2:].max()
    np.testing.assert_allclose(
        [stability.lower, stability.median, stability.upper],
        np.quantile(stability.rand_index, [0.25, 0.5, 0.75], axis=1),
    )
    again = towns.choose_num_clusters(key, values, num_resamples=20)
    np.testing.assert_array_equal(again.stability.rand_index, stability.rand_index)


def test_noise_is_not_stable(key):
    noise = np.random.default_rng(1).normal(size=(27, 6))
    for share in (None, 0.7):
        found = towns.stability(key, noise, (3,), num_resamples=20, share=share)
        assert 0.0 < found.lower[0] < found.median[0] < 0.75


def test_resamples_with_too_few_towns_do_not_count(key):
    few = np.array([[0.0], [1.0], [5.0]])
    found = towns.stability(key, few, (1, 3), num_resamples=40)
    missing = np.isnan(found.rand_index)
    # All three towns are drawn with chance 3! / 27; only one of them with chance 3 / 27.
    assert 0.5 < missing[1].mean() < 0.95
    assert 0.0 < missing[0].mean() < 0.35
    assert found.median.tolist() == [1.0, 1.0]


def test_bad_input_is_refused_in_words(key, groups):
    values, _ = groups
    holed = values.copy()
    holed[4, 2] = np.nan
    config = towns.ClusterConfig
    for words, call in (
        ("town 4, factor 2", lambda: towns.cluster(key, holed, 3)),
        ("two towns", lambda: towns.cluster(key, values[:1], 1)),
        (r"\[town, factor\]", lambda: towns.cluster(key, values[:, 0], 2)),
        ("different towns", lambda: towns.cluster(key, values, 28)),
        ("1 to 2", lambda: towns.cluster(key, np.repeat([[1.0], [2.0]], 4, axis=0), 3)),
        ("same in all towns", lambda: towns.cluster(key, values[:, 3:], 1)),
        ("standardise", lambda: towns.cluster(key, values, 2, config(standardise="rank"))),
        ("link", lambda: towns.cluster(key, values, 2, config(link="centroid"))),
        ("method", lambda: towns.cluster(key, values, 2, config(method="dbscan"))),
        ("num_starts", lambda: towns.cluster(key, values, 2, config(num_starts=0))),
        ("share", lambda: towns.stability(key, values, (2,), share=1.0)),
        ("resamples", lambda: towns.stability(key, values, (2,), num_resamples=3)),
        ("at least 2", lambda: towns.choose_num_clusters(key, values, candidates=(1, 2))),
        (r"label \[town\]", lambda: towns.silhouette(values, [0, 1])),
        ("equal shapes", lambda: towns.adjusted_rand_index([0, 1], [0])),
    ):
        with pytest.raises(ValueError, match=words):
            call()
