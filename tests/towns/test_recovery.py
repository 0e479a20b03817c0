"""What the chapter finds in synthetic towns whose truth is known."""

import jax
import numpy as np
import pytest

from diffmig import data, towns

NUM_SEEDS = 10


@pytest.fixture(scope="module")
def examples():
    return [data.example_towns(jax.random.key(seed)) for seed in range(NUM_SEEDS)]


def split(settlements):
    values = settlements.panel.values
    return 1000 * values[:, :, 0] / values[:, :, 1], values[:, :, 2:]


def finds(examples, **kwargs):
    """Factors that matter and that do not, among those kept, on average over the examples."""
    right = wrong = 0
    for settlements, truth in examples:
        kept = towns.screen(*split(settlements), **kwargs).kept
        right += (kept & truth.matters).sum()
        wrong += (kept & ~truth.matters).sum()
    return right / len(examples), wrong / len(examples)


def test_screening_within_towns_finds_what_matters(examples):
    for method in ("pearson", "spearman"):
        right, wrong = finds(examples, design="within", method=method, rule="holm")
        assert right >= 4.7, method
        assert wrong <= 0.5, method
    # Years are not independent rows: without an adjustment more pass than the 5 % of 6.
    _, unadjusted = finds(examples, design="within")
    assert 0.3 < unadjusted < 1.5


def test_pooled_towns_confound_the_levels_with_the_factors(examples):
    _, wrong = finds(examples, design="pooled", rule="holm")
    assert wrong > 2.0


def test_ten_years_of_means_have_hardly_any_power(examples):
    """The design that the printed table suggests."""
    right = 0
    for settlements, truth in examples:
        rate, factors = split(settlements)
        kept = towns.screen(rate.mean(axis=0), factors.mean(axis=0), design="single").kept
        right += (kept & truth.matters).sum()
    assert right / NUM_SEEDS < 2.5


def test_clusters_are_recovered_from_standardised_factors(examples, key):
    found = {"standard": [], "none": []}
    for settlements, truth in examples:
        means = split(settlements)[1].mean(axis=1)
        for standardise, indices in found.items():
            config = towns.ClusterConfig(standardise=standardise)
            label = towns.cluster(key, means, 3, config).label
            indices.append(towns.adjusted_rand_index(label, truth.label))
    assert np.median(found["standard"]) > 0.95
    assert min(found["standard"]) > 0.6
    assert np.median(found["none"]) < 0.5  # the factor with the largest unit decides alone
