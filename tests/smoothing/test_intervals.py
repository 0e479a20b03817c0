"""Ranks against sorted lists, coverage against its exact value, no look-ahead."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.smoothing import conformal_intervals, conformal_quantile, coverage, next_radius


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99])
def test_quantile_is_the_ranked_score(level, dtype):
    """Every n up to 120, with the rank as an exact fraction."""
    num = 120
    rng = np.random.default_rng(4)
    scores = rng.permutation(num).astype(float)
    known = np.arange(num)[:, None] < np.arange(num + 1)[None]  # column n: n known
    got = conformal_quantile(
        jnp.asarray(np.repeat(scores[:, None], num + 1, axis=1), dtype),
        jnp.asarray(known),
        jnp.full(num + 1, level, dtype),
    )
    percent = round(100 * level)
    for n in range(num + 1):
        rank = -(-(n + 1) * percent // 100)
        expected = np.inf if rank > n else sorted(scores[:n])[rank - 1]
        assert float(got[n]) == expected, n


def loop(errors, known, horizon, level, rate):
    """One series, origin by origin."""
    num_rows, current, radii, used, began = len(errors), level, [], [], False
    for t in range(num_rows):
        past = sorted(abs(errors[s]) for s in range(t - horizon + 1) if known[s])
        rank = int(np.ceil((len(past) + 1) * current - 1e-9))
        radii.append(past[rank - 1] if rank <= len(past) else np.inf)
        used.append(current)
        s = t + 1 - horizon
        if s < 0:
            continue
        began = began or np.isfinite(radii[s])
        if known[s] and began:
            miss = abs(errors[s]) > radii[s]
            current = np.clip(current + rate * (miss - (1 - level)), 0.01, 0.999)
    return np.array(radii), np.array(used)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("rate", [0.0, 0.08])
def test_radii_equal_a_loop(horizon, rate):
    rng = np.random.default_rng(7)
    errors = rng.normal(size=(70, 4)) * np.where(np.arange(70) < 40, 1, 4)[:, None]
    known = rng.random((70, 4)) < np.array([1.0, 0.8, 0.5, 0.0])
    made = conformal_intervals(jnp.asarray(errors), jnp.asarray(known), horizon, 0.8, rate=rate)
    for s in range(4):
        radius, level = loop(errors[:, s], known[:, s], horizon, 0.8, rate)
        np.testing.assert_allclose(made.radius[:, s], radius, rtol=1e-13)
        np.testing.assert_allclose(made.level[:, s], level, rtol=1e-13)
    began = np.maximum.accumulate(np.isfinite(made.radius), axis=0)
    np.testing.assert_array_equal(made.scored, known & began)
    inside = np.abs(errors) <= np.asarray(made.radius)
    np.testing.assert_array_equal(made.covered, np.asarray(made.scored) & inside)
    share = coverage(made)
    assert np.isnan(share[3])
    expected = np.asarray(made.covered)[:, 0].sum() / np.asarray(made.scored)[:, 0].sum()
    np.testing.assert_allclose(share[0], expected)
    np.testing.assert_array_equal(
        next_radius(jnp.asarray(errors), jnp.asarray(known), horizon, 0.8, rate=rate),
        made.radius[-1],
    )


def test_coverage_of_exchangeable_errors_is_exact():
    """After n errors the next one is inside with probability ceil((n + 1) level) / (n + 1)."""
    series, level = 4000, 0.8
    errors = jnp.asarray(np.random.default_rng(1).standard_cauchy((12, series)))
    made = conformal_intervals(errors, jnp.ones(errors.shape, bool), 1, level)
    for n in range(4, 12):
        exact = -(-(n + 1) * 4 // 5) / (n + 1)
        got = float(jnp.mean(made.covered[n]))
        assert abs(got - exact) < 3 * np.sqrt(exact * (1 - exact) / series), n
    assert np.isinf(made.radius[:4]).all()
    assert not made.scored[:4].any()
    assert np.isfinite(made.radius[4:]).all()


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("horizon", [1, 2])
def test_later_errors_change_no_radius(rate, horizon):
    errors = jnp.asarray(np.random.default_rng(2).normal(size=(40, 3)))
    known = jnp.ones(errors.shape, bool)
    made = conformal_intervals(errors, known, horizon, 0.8, rate=rate)
    for t in (8, 21):
        # the error of origin s is known from row s + horizon on
        future = jnp.arange(40)[:, None] > t - horizon
        other = conformal_intervals(
            jnp.where(future, 99.0, errors), known & ~future, horizon, 0.8, rate=rate
        )
        np.testing.assert_array_equal(made.radius[: t + 1], other.radius[: t + 1])


def test_adaptive_level_follows_a_break_in_variance():
    rng = np.random.default_rng(3)
    scale = np.where(np.arange(240) < 120, 1.0, 5.0)[:, None]
    errors = jnp.asarray(rng.normal(size=(240, 60)) * scale)
    known = jnp.ones(errors.shape, bool)
    split, adaptive = (
        conformal_intervals(errors, known, 1, 0.9, rate=rate) for rate in (0.0, 0.05)
    )
    after = slice(140, None)
    # an infinite radius covers
    inside = [np.mean(jnp.abs(errors[after]) <= x.radius[after]) for x in (split, adaptive)]
    assert inside[0] < 0.75
    assert abs(inside[1] - 0.9) < 0.02


def test_a_level_that_asks_for_too_much_comes_down_again():
    """Misses raise the level until no score is large enough; radii must not stay infinite."""
    errors = jnp.asarray(np.concatenate([np.ones(10), 2.0 ** np.arange(1, 7), np.ones(60)]))[
        :, None
    ]
    made = conformal_intervals(errors, jnp.ones(errors.shape, bool), 1, 0.8, rate=0.2)
    infinite = np.isinf(np.asarray(made.radius[10:, 0]))
    assert infinite.any()
    assert not infinite[-40:].any()


@pytest.mark.parametrize(
    "options",
    [{"horizon": 0}, {"horizon": 1, "level": 1.0}, {"horizon": 1, "level": 0.0},
     {"horizon": 1, "rate": -0.1}],
)  # fmt: skip
def test_wrong_choices_are_named(options):
    with pytest.raises(ValueError, match="expected horizon"):
        conformal_intervals(jnp.ones((4, 1)), jnp.ones((4, 1), bool), **options)
