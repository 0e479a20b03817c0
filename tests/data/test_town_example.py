"""The synthetic towns: their truth against derivatives, their shape against the paper's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import data

CONFIG = data.TownExampleConfig()
KEPT = {"unemployment", "real_income", "hospitals", "preschools", "electricity_supply"}


@pytest.fixture(scope="module")
def example():
    return data.example_towns(jax.random.key(0))


def factors_of(settlements):
    return settlements.panel.values[:, :, 2:]


def test_shape_and_names_are_the_papers(example):
    settlements, truth = example
    assert data.check_settlements(settlements) is settlements
    assert settlements.panel.values.shape == (27, 10, 14)
    assert settlements.panel.years.tolist() == list(range(2013, 2023))
    assert settlements.panel.names[2:] == tuple(data.load_town_correlations().index)
    towns = data.load_kz_towns()
    assert settlements.panel.places == tuple(towns.index)
    np.testing.assert_array_equal(settlements.latitude, towns["latitude"])
    assert "synthetic" in settlements.note[0]
    assert np.bincount(truth.label).tolist() == [15, 5, 7]
    clusters = data.load_town_clusters().loc[list(settlements.panel.places), "cluster"]
    assert (truth.label == clusters - 1).all()
    assert {
        name for name, used in zip(settlements.panel.names[2:], truth.matters, strict=True) if used
    } == KEPT


def test_sizes_are_like_the_printed_ones():
    least, most, middle = [], [], []
    for seed in range(20):
        settlements, _ = data.example_towns(jax.random.key(seed))
        balance = settlements.panel.values[:, :, 0]
        least.append(balance.min())
        most.append(balance.max())
        middle.append(np.median(balance))
        assert (settlements.panel.values[:, :, 1] > 0).all()
        assert (factors_of(settlements) >= 0).all()
    # Table 4 in persons has -1592, 417 and a median of -324 in 2023-2026.
    assert -1600 < np.median(least) < -900
    assert 100 < np.median(most) < 500
    assert -350 < np.median(middle) < -100
    assert min(least) > -2500
    assert max(most) < 1200


def test_equal_keys_give_equal_towns(example):
    settlements, truth = data.example_towns(jax.random.key(0))
    np.testing.assert_array_equal(settlements.panel.values, example[0].panel.values)
    np.testing.assert_array_equal(truth.effect, example[1].effect)
    other, _ = data.example_towns(jax.random.key(1))
    assert (other.panel.values[:, :, 0] != settlements.panel.values[:, :, 0]).all()


def test_truth_is_the_balance_without_its_noise(example):
    settlements, truth = example
    found = data.true_town_balance(truth, factors_of(settlements))
    np.testing.assert_allclose(found, truth.balance, rtol=1e-12)
    noise = 1000 * (settlements.panel.values[:, :, 0] - truth.balance) / truth.population
    assert noise.std() == pytest.approx(CONFIG.noise, rel=0.15)
    assert abs(noise.mean()) < 4 * CONFIG.noise / np.sqrt(noise.size)
    quiet, truth = data.example_towns(jax.random.key(0), dataclasses.replace(CONFIG, noise=0.0))
    np.testing.assert_array_equal(quiet.panel.values[:, :, 0], truth.balance)
    # The formula by a loop over the five, for one town and year.
    town, year = 18, 4
    z = (factors_of(settlements)[town, year] - truth.center) / truth.spread
    rate = truth.level[town] + truth.joint[town] * np.tanh(z[0]) * np.tanh(z[1])
    for j in np.flatnonzero(truth.matters):
        rate += truth.slope[town, j] * np.tanh(truth.curve[town, j] * z[j]) / truth.curve[town, j]
    expected = rate * truth.population[town, year] / 1000
    assert truth.balance[town, year] == pytest.approx(expected, rel=1e-12)


def test_effects_are_the_derivatives(example):
    settlements, truth = example
    x = factors_of(settlements)
    gradient = jax.jit(jax.grad(lambda f: data.true_town_balance(truth, f).sum()))(jnp.asarray(x))
    np.testing.assert_allclose(truth.effect, gradient, rtol=1e-10, atol=1e-10)
    assert (truth.effect[..., ~truth.matters] == 0.0).all()
    for j in np.flatnonzero(truth.matters):
        step = np.zeros(12)
        step[j] = 1e-5 * truth.spread[j]
        up, down = (data.true_town_balance(truth, x + s * step) for s in (1, -1))
        numeric = (up - down) / (2 * step[j])
        np.testing.assert_allclose(truth.effect[..., j], numeric, rtol=1e-6, atol=1e-5)
        # On the whole every factor has the sign of table 1.
        printed = data.load_town_correlations()["correlation"].iloc[j]
        assert np.sign(np.median(truth.effect[..., j])) == np.sign(printed)


def test_other_years_need_their_population(example):
    settlements, truth = example
    x = factors_of(settlements)[:, -1:].repeat(3, axis=1)
    people = truth.population[:, -1:].repeat(3, axis=1)
    paths = np.stack([x, x])
    found = data.true_town_balance(truth, paths, people)
    np.testing.assert_allclose(found[1], truth.balance[:, -1:].repeat(3, axis=1), rtol=1e-12)
    with pytest.raises(ValueError, match="other years"):
        data.true_town_balance(truth, x)


def test_factors_are_autocorrelated_with_trends_and_levels():
    config = dataclasses.replace(CONFIG, num_years=400, trend=0.0)
    settlements, truth = data.example_towns(jax.random.key(3), config)
    z = (factors_of(settlements) - truth.center) / truth.spread
    varying = [j for j in range(12) if settlements.panel.names[2 + j] != "universities"]
    deviation = (z - z.mean(axis=1, keepdims=True))[..., varying]
    root = (deviation[:, 1:] * deviation[:, :-1]).sum() / (deviation**2).sum()
    assert root == pytest.approx(config.autocorrelation, abs=0.02)
    assert deviation.std() == pytest.approx(config.year_spread, rel=0.02)
    fixed = factors_of(settlements)[..., settlements.panel.names.index("universities") - 2]
    assert (fixed == fixed[:, :1]).all()
    assert set(np.unique(fixed)) == {0.0, 1.0, 2.0}
    trending, _ = data.example_towns(jax.random.key(3), dataclasses.replace(CONFIG, trend=50.0))
    steps = np.diff((factors_of(trending) - truth.center) / truth.spread, axis=1)[..., varying]
    assert (steps.mean(axis=1) * 9).std() == pytest.approx(50.0, rel=0.1)


def test_link_makes_a_factor_that_does_not_matter_look_as_if_it_did():
    config = dataclasses.replace(CONFIG, num_years=200, trend=0.0, youth_link=0.8)
    settlements, truth = data.example_towns(jax.random.key(4), config)
    names = settlements.panel.names[2:]
    adult, youth = names.index("unemployment"), names.index("youth_unemployment")
    x = factors_of(settlements)
    deviation = x - x.mean(axis=1, keepdims=True)
    r = np.corrcoef(deviation[..., adult].ravel(), deviation[..., youth].ravel())[0, 1]
    assert r == pytest.approx(0.8, abs=0.03)
    assert (truth.effect[..., youth] == 0.0).all()


def test_bad_choices_are_refused():
    for name, value in (
        ("num_years", 2),
        ("noise", -1.0),
        ("trend", np.inf),
        ("autocorrelation", 1.0),
        ("youth_link", 1.5),
    ):
        with pytest.raises(ValueError, match=name):
            data.example_towns(jax.random.key(0), dataclasses.replace(CONFIG, **{name: value}))
