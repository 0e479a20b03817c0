"""The effect of a past decision: a known truth is found, and the bands cover what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import explain

TOWNS, YEARS, FACTORS = 3, 2, 2


def model(slope, factors):
    return 5.0 + factors @ slope


def world(seed, noise=2.0, members=40, draws=60):
    """Two towns move a factor in the second year; members differ by estimation error."""
    rng = np.random.default_rng(seed)
    slope = np.array([3.0, -1.0])
    without = rng.normal(size=(TOWNS, YEARS, FACTORS))
    factors = without.copy()
    factors[:2, 1, 0] += [1.0, -2.0]
    actual = model(slope, factors) + noise * rng.normal(size=(TOWNS, YEARS))
    params = slope + 0.1 * rng.normal(size=(members, FACTORS))
    residuals = noise * rng.normal(size=draws)
    return slope, actual, factors, without, params, residuals


run = jax.jit(lambda *arrays: explain.past_effect(model, *arrays))


def arguments(given):
    _, actual, factors, without, params, residuals = given
    return params, actual, factors, without, residuals


def test_parts_add_up_and_only_what_was_decided_is_explained():
    given = world(0)
    _, actual, factors, without, params, residuals = given
    found = run(*arguments(given))
    mean = params.mean(axis=0)
    np.testing.assert_allclose(found.effect, actual - model(mean, without))
    np.testing.assert_allclose(found.unexplained, actual - model(mean, factors))
    np.testing.assert_allclose(found.explained + found.unexplained, found.effect)
    expected = np.zeros((TOWNS, YEARS))
    expected[:2, 1] = mean[0] * np.array([1.0, -2.0])
    np.testing.assert_allclose(found.explained, expected, atol=1e-12)
    assert (np.asarray(found.explained_band.high - found.explained_band.low)[2] == 0).all()
    draws = np.array([actual - model(p, without) - r for p in params for r in residuals])
    low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
    np.testing.assert_allclose(found.band.low, low)
    np.testing.assert_allclose(found.band.median, middle)
    np.testing.assert_allclose(found.band.high, high)
    np.testing.assert_allclose(found.positive, (draws > 0).mean(axis=0))


def test_without_noise_effect_and_explained_are_the_truth():
    slope, _, factors, without, _, _ = world(1)
    actual = jnp.asarray(model(slope, factors))
    found = explain.past_effect(model, slope[None], actual, factors, without, jnp.zeros(1))
    expected = model(slope, factors) - model(slope, without)
    np.testing.assert_allclose(found.effect, expected, atol=1e-12)
    np.testing.assert_allclose(found.band.low, expected, atol=1e-12)


def test_the_band_covers_the_change_that_was_seen_and_a_bias_is_taken_out():
    """Truth: what the balance would have been with a residual of its own, in 300 worlds."""
    inside, shifted, count = 0, [], 300
    for seed in range(count):
        given = world(seed)
        slope, actual, _, without, params, residuals = given
        own = 2.0 * np.random.default_rng(10_000 + seed).normal(size=actual.shape)
        truth = actual - model(slope, without) - own
        found = run(*arguments(given))
        inside += np.mean((truth >= found.band.low) & (truth <= found.band.high)) / count
        if seed < 3:
            biased = run(params, actual + 1.5, *given[2:4], residuals + 1.5)
            shifted.append(np.asarray(biased.band.median - found.band.median))
    assert 0.86 < inside < 0.93
    np.testing.assert_allclose(shifted, 0.0, atol=1e-12)


def test_residuals_may_differ_by_town_and_year():
    given = world(2, draws=4)
    params, actual, factors, without, residuals = arguments(given)
    same = np.broadcast_to(residuals[:, None, None], (4, TOWNS, YEARS))
    one, other = run(*arguments(given)), run(params, actual, factors, without, same)
    np.testing.assert_allclose(one.band.low, other.band.low)
    wider = same * np.array([1.0, 3.0])
    wide = run(params, actual, factors, without, wider).band
    assert (wide.high - wide.low > one.band.high - one.band.low)[:, 1].all()
    np.testing.assert_allclose(wide.low[:, 0], one.band.low[:, 0])


def test_shapes_that_do_not_fit_are_named():
    params, actual, factors, without, residuals = map(jnp.asarray, arguments(world(0)))
    with pytest.raises(ValueError, match="no_decision"):
        explain.past_effect(model, params, actual, factors, without[:1], residuals)
    with pytest.raises(ValueError, match="residuals"):
        explain.past_effect(model, params, actual, factors, without, residuals[:, None])
    with pytest.raises(ValueError, match="model_fn"):
        explain.past_effect(model, params, actual[:1], factors, without, residuals)
