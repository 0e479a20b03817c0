"""Screening against SciPy, exact small cases, and what the paper's table 1 implies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import stats

from diffmig import data, towns

KEPT = ["unemployment", "real_income", "hospitals", "preschools", "electricity_supply"]


@pytest.fixture(scope="module")
def printed():
    return data.load_town_correlations()["correlation"]


@pytest.fixture(scope="module")
def panel():
    """6 towns with their own levels, 9 years, 4 factors: the last constant in every town."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(6, 9, 4)) + 5.0 * rng.normal(size=(6, 1, 4))
    x[..., 2] = np.round(x[..., 2])  # ties
    x[..., 3] = np.round(x[:, :1, 3], 1) / 3.0
    y = x[..., 0] - 0.5 * x[..., 1] + rng.normal(size=(6, 9)) + 20.0 * rng.normal(size=(6, 1))
    return y, x


def kept(correlation, rule, **kwargs):
    screening = towns.judge_correlations(correlation.to_numpy(), 10, rule=rule, **kwargs)
    return list(correlation.index[screening.kept])


def test_critical_correlations_of_ten_years():
    levels = {0.05: 0.632, 0.01: 0.765, 0.05 / 12: 0.814}
    for level, expected in levels.items():
        assert towns.critical_correlation(10, level) == pytest.approx(expected, abs=5e-4)
    # With three rows r is the cosine of a uniform angle.
    assert towns.critical_correlation(3, 0.05) == pytest.approx(np.cos(np.pi * 0.025), abs=1e-12)
    with pytest.raises(ValueError, match="at least 3"):
        towns.critical_correlation([10, 2])


def test_what_the_paper_keeps_is_what_ten_rows_would(printed):
    assert kept(printed, "critical") == KEPT
    size = printed.abs()
    assert size[KEPT].min() == 0.711722
    assert (size.drop(KEPT) < towns.critical_correlation(10)).all()
    assert kept(printed, "holm") == ["hospitals", "preschools"]
    assert kept(printed, "bonferroni") == ["hospitals", "preschools"]
    assert kept(printed, "bh") == KEPT[:4]
    weakest = towns.judge_correlations(printed["electricity_supply"], 10)
    assert (weakest.low[0], weakest.high[0]) == pytest.approx((0.149, 0.926), abs=5e-4)
    pooled = towns.judge_correlations(printed.to_numpy(), 270)
    assert pooled.kept.sum() == 11
    assert not pooled.kept[list(printed.index).index("universities")]
    assert pooled.p_value[list(printed.index).index("universities")] == pytest.approx(
        1.0, abs=1e-14
    )


def test_p_values_and_intervals_are_scipys():
    rng = np.random.default_rng(0)
    for n in (4, 10, 40):
        x = rng.normal(size=n)
        y = 0.7 * x + rng.normal(size=n)
        expected = stats.pearsonr(x, y)
        low, high = expected.confidence_interval(0.9)
        found = towns.screen(y, x[:, None], design="single", level=0.1)
        cells = (found.correlation[0], found.p_value[0], found.low[0], found.high[0])
        want = (expected.statistic, expected.pvalue, low, high)
        np.testing.assert_allclose(cells, want, rtol=1e-9)
        assert found.num_rows[0] == n
        ranks = towns.screen(y.round(), x.round()[:, None], design="single", method="spearman")
        expected = stats.spearmanr(x.round(), y.round())
        assert ranks.correlation[0] == pytest.approx(expected.statistic, abs=1e-12)
        assert ranks.p_value[0] == pytest.approx(expected.pvalue, rel=1e-9)


def test_chance_of_a_false_find_is_the_level():
    rng = np.random.default_rng(1)
    y, x = rng.normal(size=(5, 4)), rng.normal(size=(5, 4, 3000))
    for design in ("pooled", "within"):
        share = towns.screen(y, x, design=design).kept.mean()
        assert share == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 3000)), design


def test_perfect_correlation_has_no_chance_and_a_point_interval():
    year = np.arange(8.0)
    found = towns.screen(year, np.stack([2 * year, -year], -1), design="single")
    np.testing.assert_allclose(found.correlation, [1.0, -1.0], atol=1e-15)
    np.testing.assert_allclose(found.low, found.correlation, atol=1e-6)
    assert (found.p_value < 1e-20).all()


def test_within_towns_is_the_regression_with_a_level_per_town(panel):
    y, x = panel
    found = towns.screen(y, x, design="within")
    levels = np.repeat(np.eye(6), 9, axis=0)
    for j in range(3):
        design = np.column_stack([x[..., j].ravel(), levels])
        slope, *_ = np.linalg.lstsq(design, y.ravel(), rcond=None)
        free = y.size - design.shape[1]
        residual = y.ravel() - design @ slope
        variance = residual @ residual / free * np.linalg.inv(design.T @ design)[0, 0]
        t = slope[0] / np.sqrt(variance)
        assert found.degrees[j] == free == 54 - 6 - 1
        assert found.p_value[j] == pytest.approx(2 * stats.t.sf(abs(t), free), rel=1e-8)
    shifted = towns.screen(y + 100.0 * np.arange(6.0)[:, None], x, design="within")
    np.testing.assert_allclose(shifted.correlation[:3], found.correlation[:3], atol=1e-12)
    pooled = towns.screen(y, x, design="pooled")
    assert abs(pooled.correlation[0]) < abs(found.correlation[0])  # the levels hide it


def test_per_town_and_pooled_are_single_series(panel):
    y, x = panel
    per_town = towns.screen(y, x, design="per_town", rule="holm")
    pooled = towns.screen(y, x, design="pooled", method="spearman")
    assert per_town.correlation.shape == (6, 4)
    for i in range(6):
        alone = towns.screen(y[i], x[i], design="single", rule="holm")
        for name in ("correlation", "adjusted", "kept", "num_rows", "status"):
            np.testing.assert_allclose(
                getattr(per_town, name)[i], getattr(alone, name), atol=1e-13, err_msg=name
            )
    heap = stats.spearmanr(y.ravel(), x.reshape(-1, 4)).statistic[0, 1:]
    np.testing.assert_allclose(pooled.correlation, heap, atol=1e-12)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_gaps_are_left_out_pairwise(panel, method):
    y, x = panel
    rng = np.random.default_rng(5)
    seen_y, seen_x = rng.random(y.shape) > 0.2, rng.random(x.shape) > 0.2
    seen_y[4] = False  # a town without a balance
    holes_y, holes_x = np.where(seen_y, y, np.nan), np.where(seen_x, x, 1e9)
    found = towns.screen(
        holes_y, holes_x, design="within", target_mask=seen_y, factor_mask=seen_x, method=method
    )
    for j in range(3):
        both = seen_y & seen_x[..., j]
        pairs = []
        for i in range(6):
            a, b = y[i, both[i]], x[i, both[i], j]
            if method == "spearman":
                a, b = stats.rankdata(a), stats.rankdata(b)
            if a.size:
                pairs.append(np.stack([a - a.mean(), b - b.mean()]))
        da, db = np.concatenate(pairs, axis=1)
        assert found.num_rows[j] == both.sum() < y.size
        assert found.degrees[j] == both.sum() - 5 - 1
        expected = da @ db / np.sqrt(da @ da * (db @ db))
        assert found.correlation[j] == pytest.approx(expected, abs=1e-12)


def test_constant_and_short_factors_have_a_status_and_are_no_tests(panel):
    y, x = panel
    found = towns.screen(y, x, design="within", rule="bonferroni")
    names = [towns.SCREENING_STATUS[i] for i in found.status]
    assert names == ["ok", "ok", "ok", "constant"]
    assert np.isnan([found.correlation[3], found.p_value[3], found.low[3]]).all()
    assert not found.kept[3]
    np.testing.assert_allclose(found.adjusted[:3], np.minimum(1, 3 * found.p_value[:3]), rtol=1e-15)
    few = np.ones(x.shape, bool)
    few[:, 1:, 0] = few[1:, :, 1] = False  # one year of every town; one town
    short = towns.screen(y, x, design="within", factor_mask=few)
    assert towns.SCREENING_STATUS[short.status[0]] == "too few rows"
    assert short.degrees[0] == -1
    assert (short.num_rows[1], short.degrees[1], short.status[1]) == (9, 7, 0)
    still = towns.screen(np.full(9, 0.1), x[0], design="single")
    assert (still.status == 1).all()
    assert not still.kept.any()


def test_adjustments():
    p = np.array([[0.01, 0.04, 0.03, np.nan], [0.5, np.nan, 0.2, np.nan]])
    nan = np.nan
    expected = {
        "critical": p,
        "bonferroni": [[0.03, 0.12, 0.09, nan], [1.0, nan, 0.4, nan]],
        "holm": [[0.03, 0.06, 0.06, nan], [0.5, nan, 0.4, nan]],
        "bh": [[0.03, 0.04, 0.04, nan], [0.5, nan, 0.4, nan]],
    }
    for rule, values in expected.items():
        np.testing.assert_allclose(towns.adjust_p_values(p, rule), values, rtol=1e-13, err_msg=rule)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_adjustments_are_ordered_and_bh_is_scipys(p):
    by_rule = {rule: towns.adjust_p_values(p, rule) for rule in ("bonferroni", "holm", "bh")}
    np.testing.assert_allclose(by_rule["bh"], stats.false_discovery_control(p), rtol=1e-12)
    assert (np.array(p) <= by_rule["bh"] * (1 + 1e-12)).all()
    assert (by_rule["bh"] <= by_rule["holm"] * (1 + 1e-12)).all()
    assert (by_rule["holm"] <= by_rule["bonferroni"] * (1 + 1e-12)).all()
    order = np.argsort(p)
    for adjusted in by_rule.values():
        assert (np.diff(adjusted[order]) >= -1e-15).all()


def test_correlation_is_differentiable_and_safe():
    rng = np.random.default_rng(2)
    x, y = jnp.asarray(rng.normal(size=(2, 3, 7)))
    seen = jnp.asarray(rng.random((3, 7)) > 0.2)

    @jax.jit
    def both(a, b):
        return towns.pearson(a, b, seen), towns.within_pearson(a, b, seen)

    check_grads(both, (x, y), order=1, modes=["rev"])
    holes = jnp.where(seen, x, jnp.nan)
    np.testing.assert_array_equal(towns.pearson(holes, y, seen), towns.pearson(x, y, seen))
    flat = jnp.full((3, 7), 0.1)
    for a in (flat, flat + 1e-17, jnp.zeros((3, 7))):
        r, gradient = jax.vjp(towns.pearson, a, y)
        assert jnp.isnan(r).all()
        for pulled in gradient(jnp.ones(3)):
            assert (pulled == 0.0).all()
    # Correlation knows no unit, not even where squares underflow.
    for factor in (1e-200, 1e150):
        np.testing.assert_allclose(towns.pearson(factor * x, y), towns.pearson(x, y), rtol=1e-12)


def test_bad_input_is_refused_in_words(panel):
    y, x = panel
    refused = [
        ("design", {"design": "stacked"}),
        ("method", {"design": "pooled", "method": "kendall"}),
        ("rule", {"design": "pooled", "rule": "sidak"}),
        ("level", {"design": "pooled", "level": 5.0}),
        (r"\[year, factor\]", {"design": "single"}),
        ("target_mask", {"design": "pooled", "target_mask": np.ones(6, bool)}),
        ("factor_mask", {"design": "pooled", "factor_mask": np.ones(x.shape)}),
    ]
    for words, kwargs in refused:
        with pytest.raises(ValueError, match=words):
            towns.screen(y, x, **kwargs)
    broken = x.copy()
    broken[2, 3, 1] = np.nan
    with pytest.raises(ValueError, match="mask those"):
        towns.screen(y, broken, design="within")
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        towns.judge_correlations([0.2, 1.2], 10)
    with pytest.raises(ValueError, match="whole numbers"):
        towns.judge_correlations([0.2], 10.5)
    with pytest.raises(ValueError, match="one floating dtype"):
        towns.pearson(jnp.arange(3), jnp.arange(3))
