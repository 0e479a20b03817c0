"""Inequality measures against closed forms, loops, invariances and finite differences."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from diffmig import data
from diffmig.evaluate import coefficient_of_variation, gini, theil, theil_decomposition

MEASURES = {"gini": gini, "cv": coefficient_of_variation, "theil": theil}
each_measure = pytest.mark.parametrize("name", MEASURES)
GROUPS = np.array([0, 1, 1, 0, 2, 2, 2])


def loop(name, values, weights):
    pairs = [(x, w) for x, w in zip(values, weights, strict=True) if w]
    total = sum(w for _, w in pairs)
    mean = sum(w * x for x, w in pairs) / total
    if name == "gini":
        double = sum(w * v * abs(x - y) for x, w in pairs for y, v in pairs)
        return double / (2 * total**2 * mean)
    if name == "cv":
        return math.sqrt(sum(w * (x - mean) ** 2 for x, w in pairs) / total) / mean
    return sum(w / total * x / mean * math.log(x / mean) for x, w in pairs if x)


@each_measure
def test_closed_forms(name) -> None:
    measure = MEASURES[name]
    assert measure(np.full(5, 3.7)) == pytest.approx(0, abs=1e-12)
    owner = {"gini": 4 / 5, "cv": 2.0, "theil": math.log(5)}[name]
    assert measure(np.array([0, 0, 7.5, 0, 0])) == pytest.approx(owner)
    assert measure(np.array([1, 3])) == pytest.approx(
        {"gini": 1 / 4, "cv": 1 / 2, "theil": (0.5 * math.log(0.5) + 1.5 * math.log(1.5)) / 2}[name]
    )
    assert np.isnan(measure(np.zeros(3)))
    assert np.isnan(measure(np.ones(3), mask=np.zeros(3, bool)))


@each_measure
def test_weighted_masked_batch_equals_loop(name) -> None:
    rng = np.random.default_rng(2)
    values, weights = rng.gamma(1.5, size=(2, 7, 3)), rng.gamma(2.0, size=(2, 7, 3))
    known = rng.random((2, 7, 3)) < 0.7
    known[:, :2] = True
    expected = [
        [loop(name, values[i, :, j], weights[i, :, j] * known[i, :, j]) for j in range(3)]
        for i in range(2)
    ]
    hidden = np.where(known, values, np.nan)
    got = MEASURES[name](hidden, weights=weights, mask=known, axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    plain = [[loop(name, values[i, :, j], np.ones(7)) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(MEASURES[name](values, axis=1), plain, rtol=1e-12)
    same = weights[0, :, 0]
    shared = [[loop(name, values[i, :, j], same) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(MEASURES[name](values, weights=same, axis=-2), shared, rtol=1e-12)


INCOMES = st.lists(st.floats(0.01, 1e6), min_size=2, max_size=9)


@settings(max_examples=60, deadline=None)
@given(INCOMES, st.floats(1e-6, 1e6), st.randoms(use_true_random=False))
def test_unit_order_and_replication_are_irrelevant(incomes, factor, random) -> None:
    # One size of array: padding is masked, so that nothing compiles again.
    values, mask = np.ones(18), np.arange(18) < len(incomes)
    values[: len(incomes)] = incomes
    shuffled = incomes.copy()
    random.shuffle(shuffled)
    moved, twice = values.copy(), np.ones(18)
    moved[: len(incomes)] = shuffled
    twice[: 2 * len(incomes)] = incomes * 2
    for measure in MEASURES.values():
        base = float(measure(values, mask=mask))
        close = pytest.approx(base, rel=1e-6, abs=1e-7)
        assert float(measure(values * factor, mask=mask)) == close
        assert float(measure(moved, mask=mask)) == close
        assert float(measure(twice, mask=np.arange(18) < 2 * len(incomes))) == close
    assert -1e-12 <= float(gini(values, mask=mask)) <= 1 - 1 / len(incomes) + 1e-12
    assert -1e-12 <= float(theil(values, mask=mask)) <= math.log(len(incomes)) + 1e-12


def test_a_transfer_to_the_richer_raises_each_measure() -> None:
    for measure in MEASURES.values():
        slope = jax.grad(measure)(jnp.array([1.0, 2.0, 4.0, 9.0]))
        assert slope[3] > slope[0]


@each_measure
def test_gradients(name) -> None:
    values, weights = jnp.array([3.0, 1.0, 4.0, 1.5, 9.0]), jnp.array([1.0, 2.0, 0.5, 3.0, 1.0])

    def measure(x, w):
        return MEASURES[name](x, weights=w)

    check_grads(measure, (values, weights), order=1, modes=("rev", "fwd"), eps=1e-6, rtol=1e-5)
    for hard in (jnp.full(4, 2.0), jnp.array([0.0, 0.0, 1.0, 2.0])):
        assert np.isfinite(jax.grad(MEASURES[name])(hard)).all()
    hidden = jnp.array([1.0, jnp.nan, 2.0, 5.0])
    slope = jax.grad(lambda x: MEASURES[name](x, mask=jnp.array([True, False, True, True])))(hidden)
    assert np.isfinite(slope).all()
    assert slope[1] == 0


def test_theil_is_the_sum_of_its_parts() -> None:
    rng = np.random.default_rng(4)
    values, weights = rng.gamma(1.0, size=(3, 7)), rng.gamma(2.0, size=7)
    values[0, 2] = 0.0
    parts = theil_decomposition(values, GROUPS, 4, weights=weights)
    np.testing.assert_allclose(
        parts.between + parts.within, theil(values, weights=weights), rtol=1e-12
    )
    np.testing.assert_allclose(parts.share.sum(-1), 1.0, rtol=1e-12)
    for g in range(3):
        inside = np.equal(GROUPS, g)
        expected = [loop("theil", row[inside], weights[inside]) for row in values]
        np.testing.assert_allclose(parts.group[:, g], expected, rtol=1e-10, atol=1e-15)
        amount = (values * weights)[:, inside].sum(1) / (values * weights).sum(1)
        np.testing.assert_allclose(parts.share[:, g], amount, rtol=1e-12)
    assert np.array_equal(parts.group[:, 3], np.zeros(3))
    equal_groups = theil_decomposition(np.array([1.0, 3, 1, 3]), np.array([0, 0, 1, 1]), 2)
    assert equal_groups.between == pytest.approx(0, abs=1e-15)
    flat = theil_decomposition(np.array([1.0, 3, 1, 3]), np.array([0, 1, 0, 1]), 2)
    assert flat.within == pytest.approx(0, abs=1e-15)


def test_parts_have_gradients_and_a_free_axis() -> None:
    values = jnp.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 2.5])
    check_grads(
        lambda x: theil_decomposition(x, GROUPS, 4)[:2],
        (values,),
        order=1,
        modes=("rev",),
        eps=1e-6,
        rtol=1e-5,
    )
    table = np.stack([values, values**2], axis=1)
    mask = np.arange(7) != 3
    parts = jax.jit(lambda x: theil_decomposition(x, GROUPS, 3, mask=mask, axis=0))(table)
    expected = theil(table, mask=mask, axis=0)
    np.testing.assert_allclose(parts.between + parts.within, expected, rtol=1e-12)


def test_negative_values_and_wrong_shapes_are_refused() -> None:
    bad = np.array([1.0, -2.0, 4.0])
    for measure in (gini, theil, lambda x, **kw: theil_decomposition(x, np.zeros(3, int), 1, **kw)):
        with pytest.raises(ValueError, match="values: expected none below 0"):
            measure(bad)
        measure(bad, mask=bad > 0)
    for name, measure in MEASURES.items():
        with pytest.raises(ValueError, match="weights: expected none below 0"):
            measure(np.ones(3), weights=bad)
        with pytest.raises(ValueError, match="weights: expected shape"):
            measure(np.ones((2, 3)), weights=np.ones(2))
        with pytest.raises(ValueError, match="at least one region"):
            measure(np.float64(3))
        traced = jax.jit(measure)(bad)
        assert np.isnan(traced) == (name != "cv")
    with pytest.raises(ValueError, match="groups: expected integers"):
        theil_decomposition(np.ones(3), np.ones(3), 2)
    with pytest.raises(ValueError, match="raise num_groups"):
        theil_decomposition(np.ones(3), np.arange(3), 2)
    groups = jnp.arange(3)
    parts = jax.jit(lambda x, g: theil_decomposition(x, g, 2))(np.ones(3), groups)
    assert np.isnan(parts.between)


def test_printed_regions() -> None:
    regions = data.load_region_indicators()
    with pytest.raises(ValueError, match="below 0"):
        theil(regions["x44"].to_numpy())
    product = regions["x43"].to_numpy()
    ordered = np.sort(product)
    ranks = np.arange(1, 25)
    independent = (2 * ranks - 25) @ ordered / (24 * ordered.sum())
    assert gini(product) == pytest.approx(independent, rel=1e-12)
    assert coefficient_of_variation(product) == pytest.approx(product.std() / product.mean())
