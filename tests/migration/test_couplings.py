"""Laplacians, similarity of balances, mobility by age."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmig import migration as mg


def signed_weights(seed: int, num_towns: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.normal(size=(num_towns, num_towns)), 1)
    weights *= rng.uniform(size=weights.shape) < 0.7
    return weights + weights.T


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_laplacians_of_any_signs_are_positive_and_bounded(seed):
    weights = signed_weights(seed)
    for normalised in (True, False):
        values = np.linalg.eigvalsh(mg.laplacian(jnp.asarray(weights), normalised=normalised))
        assert values.min() > -1e-12
    assert np.linalg.eigvalsh(mg.laplacian(jnp.asarray(weights))).max() < 2 + 1e-12


def test_plain_laplacian_is_the_sum_over_pairs():
    weights, q = signed_weights(3), np.random.default_rng(0).normal(size=6)
    expected = 0.0
    for i in range(6):
        for j in range(i + 1, 6):
            w = weights[i, j]
            expected += abs(w) * (q[i] - np.sign(w) * q[j]) ** 2
    matrix = np.asarray(mg.laplacian(jnp.asarray(weights), normalised=False))
    assert q @ matrix @ q == pytest.approx(expected)


@pytest.mark.parametrize("normalised", [True, False])
def test_product_over_edges_is_the_matrix_product(normalised):
    weights = signed_weights(5, 9)
    weights[4] = weights[:, 4] = 0.0  # a place without neighbours
    first, second = np.nonzero(np.triu(weights))
    edges = mg.Edges(
        jnp.asarray(first, np.int32), jnp.asarray(second, np.int32),
        jnp.asarray(weights[first, second]),
    )  # fmt: skip
    q = jnp.asarray(np.random.default_rng(1).normal(size=(2, 9)))
    dense = q @ mg.laplacian(jnp.asarray(weights), normalised=normalised)
    found = jax.jit(mg.laplacian_product, static_argnames="normalised")(
        edges, q, normalised=normalised
    )
    np.testing.assert_allclose(found, dense, atol=1e-13)


def test_similarity_is_the_correlation_of_deviations():
    q = np.random.default_rng(2).normal(size=(4, 9)) + np.linspace(0, 5, 9)
    around = q - q.mean(axis=0)
    expected = np.corrcoef(around) - np.eye(4)
    np.testing.assert_allclose(mg.similarity_matrix(q, shrinkage=0.0), expected, atol=1e-12)
    np.testing.assert_allclose(mg.similarity_matrix(q, shrinkage=0.25), 0.75 * expected, atol=1e-12)
    raw = mg.similarity_matrix(q, shrinkage=0.0, about_mean=False)
    np.testing.assert_allclose(raw, np.corrcoef(q) - np.eye(4), atol=1e-12)


def test_estimated_shrinkage_removes_noise_and_keeps_signal():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(40, 9))
    left = np.abs(mg.similarity_matrix(noise)).mean()
    raw = np.abs(mg.similarity_matrix(noise, shrinkage=0.0)).mean()
    assert left < 0.3 * raw
    waves = rng.normal(size=(2, 60))[np.arange(40) % 2] + 0.1 * rng.normal(size=(40, 60))
    kept = np.asarray(mg.similarity_matrix(waves))
    assert kept[0, 2] > 0.9
    assert kept[0, 1] < -0.9  # about the yearly mean the two groups mirror each other


def test_a_place_that_never_changes_is_similar_to_none():
    q = np.random.default_rng(3).normal(size=(4, 9))
    q[1] = 7.0
    q -= 0.0
    rho = np.asarray(mg.similarity_matrix(q, about_mean=False))
    assert (rho[1] == 0).all()
    assert np.isfinite(rho).all()
    with pytest.raises(ValueError, match="3 years"):
        mg.similarity_matrix(q[:, :2])
    with pytest.raises(ValueError, match="shrinkage"):
        mg.similarity_matrix(q, shrinkage=1.5)


def test_mobility_has_exact_ends_and_no_kink():
    assert float(mg.mobility(25.0)) == 1.0
    assert float(mg.mobility(10.0)) == 1.0
    assert float(mg.mobility(60.0)) == 0.0
    assert float(mg.mobility(99.0)) == 0.0
    assert float(mg.mobility(42.5)) == pytest.approx(0.5)
    ages = np.linspace(20, 65, 181)
    values = np.asarray(mg.mobility(ages))
    assert (np.diff(values) <= 0).all()
    slope, bend = jax.grad(mg.mobility), jax.grad(jax.grad(mg.mobility))
    for age in (25.0, 25.0 + 1e-2, 60.0, 60.0 - 1e-2):
        assert abs(float(slope(age))) < 1e-6
        assert abs(float(bend(age))) < 1e-6
    step = (mg.mobility(40.001) - mg.mobility(39.999)) / 0.002
    assert float(slope(40.0)) == pytest.approx(float(step), rel=1e-5)


def test_mean_mobility_weighs_by_persons():
    persons = np.array([[100.0, 300.0, 50.0], [0.0, 0.0, 9.0]])
    ages = np.array([20.0, 42.5, 80.0])
    found = np.asarray(mg.mean_mobility(persons, ages))
    np.testing.assert_allclose(found, [(100 + 150) / 450, 0.0])
