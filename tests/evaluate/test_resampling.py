"""Splits, scores, corrected variance and permutation tests; what leaks and what does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.interpolate import CubicSpline

from diffmig.evaluate.panel_splits import (
    forward_splits,
    row_splits,
    time_block_splits,
    town_splits,
)
from diffmig.evaluate.resampling import (
    corrected_resampled_variance,
    panel_scores,
    permutation_p_value,
    repeated_split_significance,
    summarise_runs,
)
from diffmig.fit.regression import Regressor, town_mean
from diffmig.fit.regressors import NetworkConfig, constant, mlp, ridge

TOWNS, YEARS = 30, 6
LINE = ridge((0.1,))
RUNS = {"num_runs": 30, "num_permutations": 39, "runs_per_permutation": 3}


def panel(seed, factors=3, towns=TOWNS, years=YEARS, root=0.9):
    """Factors and target that persist from year to year, unrelated to each other."""
    rng = np.random.default_rng(seed)
    path = [rng.normal(size=(towns, factors + 1))]
    for _ in range(years - 1):
        path.append(root * path[-1] + np.sqrt(1 - root**2) * rng.normal(size=path[0].shape))
    both = jnp.asarray(np.stack(path, axis=1))
    return both[..., :factors], both[..., factors]


def test_town_splits_keep_towns_whole_and_differ(key):
    splits = town_splits(key, TOWNS, YEARS, num_runs=40, test_share=0.2)
    assert splits.train.shape == (40, TOWNS, YEARS)
    np.testing.assert_array_equal(splits.test, ~splits.train)
    by_town = splits.test.any(axis=-1)
    np.testing.assert_array_equal(by_town, splits.test.all(axis=-1))
    np.testing.assert_array_equal(by_town.sum(axis=-1), 6)
    assert len({tuple(row) for row in np.asarray(by_town).tolist()}) == 40
    chosen = by_town.mean(axis=0)  # every town is scored at times
    assert 0 < chosen.min() < chosen.max() < 0.5
    longer = town_splits(key, TOWNS, YEARS, num_runs=60, test_share=0.2)
    np.testing.assert_array_equal(longer.test[:40], splits.test)


def test_forward_splits_follow_time():
    splits = forward_splits(2, 7, num_initial=3, horizon=2, gap=1)
    expected = [("ttt.ss.", 0), ("tttt.ss", 1)]
    for letters, origin in expected:
        for town in range(2):
            got = np.where(splits.train[origin, town], "t", ".")
            got = np.where(splits.test[origin, town], "s", got)
            assert "".join(got) == letters
    assert splits.train.shape == (2, 2, 7)


def test_time_blocks_are_scored_once_and_keep_their_distance():
    splits = time_block_splits(2, 9, num_blocks=3, gap=1)
    np.testing.assert_array_equal(splits.test.sum(axis=0), 1)
    letters = np.where(splits.train[:, 0], "t", np.where(splits.test[:, 0], "s", "."))
    assert ["".join(row) for row in letters] == ["sss.ttttt", "tt.sss.tt", "ttttt.sss"]


def test_panel_scores_equal_a_loop():
    rng = np.random.default_rng(4)
    y, mask = rng.normal(size=(8, 5)) + 3 * rng.normal(size=(8, 1)), rng.random((8, 5)) < 0.7
    mask[2] = False
    p = y + rng.normal(size=y.shape)
    scores = panel_scores(jnp.asarray(np.where(mask, y, np.nan)), jnp.asarray(p), mask)
    mean = y[mask].mean()
    sums = dict.fromkeys(("error", "total", "inner", "inner_error", "outer", "outer_error"), 0.0)
    for i in range(8):
        for t in np.flatnonzero(mask[i]):
            own, guess = y[i][mask[i]].mean(), p[i][mask[i]].mean()
            sums["error"] += (y[i, t] - p[i, t]) ** 2
            sums["total"] += (y[i, t] - mean) ** 2
            sums["inner"] += (y[i, t] - own) ** 2
            sums["inner_error"] += (y[i, t] - own - p[i, t] + guess) ** 2
            sums["outer"] += (own - mean) ** 2
            sums["outer_error"] += (own - guess) ** 2
    assert scores.pooled == pytest.approx(1 - sums["error"] / sums["total"])
    assert scores.within == pytest.approx(1 - sums["inner_error"] / sums["inner"])
    assert scores.between == pytest.approx(1 - sums["outer_error"] / sums["outer"])
    assert scores.town_mean == pytest.approx(1 - sums["inner"] / sums["total"])
    assert panel_scores(y, p).pooled == pytest.approx(
        1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2)
    )


def test_panel_scores_at_their_limits():
    y = np.add.outer(np.arange(4.0), np.array([0.0, 0.5, -0.5]))
    perfect, level = panel_scores(y, y), panel_scores(y, np.repeat(y[:, :1], 3, axis=1))
    assert perfect[:3] == (1.0, 1.0, 1.0)
    assert level.between == pytest.approx(1.0)
    assert level.within == pytest.approx(0.0)
    assert level.pooled == pytest.approx(float(level.town_mean))
    assert panel_scores(y, np.full_like(y, y.mean())).pooled == pytest.approx(0.0)
    still = np.full((3, 4), 0.1)
    assert np.isnan(panel_scores(still, still + 1e-18)).all()


def test_corrected_variance_is_the_closed_form_and_covers_the_spread_of_the_mean():
    """Nadeau and Bengio for 200 runs at 80/20: 7.1 times the naive standard error."""
    scores = np.random.default_rng(0).normal(0.3, 0.1, size=200)
    by_hand = (1 / 200 + 0.25) * np.sum((scores - scores.mean()) ** 2) / 199
    assert corrected_resampled_variance(scores, 0.25) == pytest.approx(by_hand, rel=1e-12)
    summary = summarise_runs(scores, 0.25)
    naive = np.std(scores, ddof=1) / np.sqrt(200)
    assert summary.standard_error / naive == pytest.approx(np.sqrt(51.0), rel=1e-12)
    assert (summary.low, summary.high) == pytest.approx(np.quantile(scores, [0.025, 0.975]))
    two = summarise_runs(np.stack([scores, scores + 1]), 0.25)
    np.testing.assert_allclose(two.mean, scores.mean() + np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="2 runs"):
        corrected_resampled_variance(scores[:1], 0.25)


def test_permutation_p_value_counts_itself_and_ties():
    permuted = jnp.array([0.1, 0.2, 0.3, jnp.nan])
    assert permutation_p_value(jnp.array(0.2), permuted) == pytest.approx(4 / 5)
    assert permutation_p_value(jnp.array(0.9), permuted[:3]) == pytest.approx(1 / 4)
    assert jnp.isnan(permutation_p_value(jnp.array(jnp.nan), permuted))


@pytest.fixture(scope="module")
def p_values_of_unrelated_data():
    """Of 200 small panels whose factors explain nothing: by town, and by single row."""

    def one(number):
        key_data, key_test = jax.random.split(jax.random.fold_in(jax.random.key(1), number))
        both = jax.random.normal(key_data, (12, 1, 3)) + 0.3 * jax.random.normal(
            key_test, (12, 4, 3)
        )
        settings = {"num_runs": 2, "num_permutations": 19, "runs_per_permutation": 2}
        x, y = both[..., :2], both[..., 2]
        by_town = repeated_split_significance(key_test, LINE, x, y, **settings)
        as_rows = x.reshape(48, 1, 2), y.reshape(48, 1)
        by_row = repeated_split_significance(key_test, LINE, *as_rows, **settings)
        return by_town.p_value, by_row.p_value

    return jax.jit(lambda n: jax.lax.map(one, n, batch_size=50))(jnp.arange(200))


def test_p_value_is_uniform_where_nothing_is_explained(p_values_of_unrelated_data):
    # the p-value takes the 20 values k / 20; spread evenly between them it must be uniform
    spread = np.random.default_rng(0).random(200) / 20
    by_town, by_row = (np.asarray(p) - spread for p in p_values_of_unrelated_data)
    assert stats.kstest(by_town, "uniform").pvalue > 0.01
    # permuting and splitting single rows finds "significance" in towns that are merely persistent
    assert stats.kstest(by_row, "uniform").pvalue < 1e-6
    assert np.mean(by_row <= 0.05) > 0.15


@pytest.mark.parametrize(
    "regressor",
    [LINE, mlp(NetworkConfig(width=3, steps=15, decay=0.1)), constant()],
    ids=lambda r: r.name,
)
def test_noise_explains_nothing(regressor, key):
    x, y = panel(1)
    result = repeated_split_significance(key, regressor, x, y, **RUNS)
    assert result.pooled.mean < 0
    assert result.p_value > 0.05
    assert result.scores.pooled.shape == (30,)
    if regressor.name == "constant":
        assert jnp.all(result.scores.pooled <= 0)
        blocks = repeated_split_significance(key, regressor, x, y, **RUNS, block=7)
        np.testing.assert_allclose(blocks.scores.pooled, result.scores.pooled, rtol=1e-9)


def test_a_signal_is_found_with_the_least_p_value(key):
    x, y = panel(2)
    y = y + 2.0 * x[..., 0]
    result = repeated_split_significance(key, LINE, x, y, **RUNS)
    assert result.p_value == pytest.approx(1 / 40)
    assert result.pooled.mean > 0.5
    assert result.pooled.low < result.pooled.mean < result.pooled.high
    assert result.statistic == pytest.approx(float(result.scores.pooled[:3].mean()))
    # what has no weight is neither fitted nor scored
    weight = jnp.where(jnp.arange(TOWNS)[:, None] % 3 > 0, 1.0, 0.0) * jnp.ones(y.shape)
    spoilt = jnp.where(weight > 0, y, jnp.nan)
    part = repeated_split_significance(key, LINE, x, spoilt, weight=weight, **RUNS)
    assert part.pooled.mean > 0.5


def test_a_regressor_of_host_code_gives_the_same(key):
    x, y = panel(3)
    host = Regressor("host", jax.jit(LINE.fit_fn), jax.jit(LINE.predict_fn), traceable=False)
    a, b = (
        repeated_split_significance(key, regressor, x, y + x[..., 0], **RUNS)
        for regressor in (LINE, host)
    )
    np.testing.assert_allclose(a.scores.pooled, b.scores.pooled, rtol=1e-9)
    np.testing.assert_allclose(a.permuted, b.permuted, rtol=1e-9)


def test_town_means_are_hard_to_beat_forward_in_time_and_useless_for_new_towns(key):
    rng = np.random.default_rng(6)
    y = jnp.asarray(rng.normal(size=(TOWNS, 1)) + 0.3 * rng.normal(size=(TOWNS, YEARS)))
    number = jnp.broadcast_to(jnp.arange(TOWNS, dtype=float)[:, None, None], (TOWNS, YEARS, 1))
    settings = {"num_permutations": 9, "runs_per_permutation": 1}
    forward, new = (
        repeated_split_significance(
            key, town_mean(TOWNS), number, y, splits=splits, num_runs=20, **settings
        )
        for splits in (forward_splits(TOWNS, YEARS, num_initial=3), None)
    )
    assert forward.pooled.mean > 0.8
    assert forward.p_value == 1.0  # numbers are only names: exchanged, they say the same
    assert new.pooled.mean < 0


def nearest_rows(num=3) -> Regressor:
    """Mean of the nearest fitted rows: remembers everything, so that it shows every leak."""

    def predict(params, x):
        rows, y, weight = params
        square = jnp.sum(rows**2, axis=1)
        distance = square[None, :] - 2 * x @ rows.T  # up to what x adds
        place = jax.lax.top_k(-jnp.where(weight[None, :] > 0, distance, jnp.inf), num)[1]
        return jnp.mean(y[place], axis=1)

    return Regressor("nearest rows", lambda key, x, y, weight: (x, y, weight), predict)


def test_random_split_of_interpolated_rows_leaks_and_a_split_by_town_does_not(key):
    """Pure noise in 15 factors and target, interpolated 6 times a year."""
    rng = np.random.default_rng(7)
    towns, years, factors = 24, 10, 15
    noise = rng.normal(size=(years, towns, factors + 1))
    fine = CubicSpline(np.arange(years), noise)(np.linspace(0, years - 1, 6 * (years - 1) + 1))
    regressor = nearest_rows()
    both = {True: np.swapaxes(fine, 0, 1), False: np.swapaxes(noise, 0, 1)}

    def score(interpolated, split_fn):
        x, y = jnp.asarray(both[interpolated][..., :-1]), jnp.asarray(both[interpolated][..., -1])
        splits = split_fn(key, *y.shape, num_runs=2)
        return float(
            repeated_split_significance(
                key, regressor, x, y, splits=splits, num_permutations=1, runs_per_permutation=1
            ).pooled.mean
        )

    assert score(True, row_splits) > 0.8
    assert score(True, town_splits) < 0
    assert score(False, row_splits) < 0
    assert score(False, town_splits) < 0


X, Y = panel(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[..., 0]}, "x: expected"),
        ({"y": Y.T}, "expected x"),
        ({"x": X.at[3, 2, 1].set(jnp.nan)}, r"row \[3, 2\].*fill the factor"),
        ({"y": Y.at[3, 2].set(jnp.nan)}, r"row \[3, 2\]"),
        ({"weight": -jnp.ones_like(Y)}, "weight"),
        ({"num_permutations": 0}, "num_permutations"),
        ({"runs_per_permutation": 0}, "runs_per_permutation"),
        ({"num_runs": 1}, "splits"),
        ({"test_share": 1.0}, "test_share"),
        ({"splits": town_splits(jax.random.key(0), TOWNS, YEARS + 1, num_runs=3)}, "splits"),
    ],
)
def test_wrong_input_is_refused(arguments, message, key):
    with pytest.raises(ValueError, match=message):
        repeated_split_significance(key, constant(), **({"x": X, "y": Y} | arguments))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: forward_splits(3, 5, num_initial=4, horizon=2), "num_years"),
        (lambda: forward_splits(3, 5, num_initial=0), "num_initial"),
        (lambda: forward_splits(3, 5, num_initial=2, gap=-1), "gap"),
        (lambda: time_block_splits(3, 5, num_blocks=6), "num_blocks"),
        (lambda: time_block_splits(3, 5, num_blocks=2, gap=3), "gap"),
        (lambda: town_splits(jax.random.key(0), 1, 5, num_runs=2), "num_towns"),
        (lambda: panel_scores(np.zeros(3), np.zeros(3)), "expected"),
    ],
)
def test_splits_that_leave_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
