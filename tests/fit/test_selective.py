"""The selective pipeline against a slow loop over origins, series by series."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.fit import SelectiveConfig, SmootherConfig, fit_smoother, forecast_selectively
from diffmig.fit.selective import _run_block, method_names
from diffmig.smoothing import HOLT, NAIVE, SES, b_rule, equal_rule, holt_winters, inverse_rule
from tests.smoothing.loops import CASES, run_loop

ROWS, HORIZONS, SERIES = 26, 3, 7
MODELS = (SES, HOLT, NAIVE, holt_winters(4, multiplicative=True))
RULES = (b_rule(1.0), equal_rule())
NAMES = method_names(MODELS, RULES)
CONFIGS = {
    refit: SelectiveConfig(HORIZONS, 10, 12, refit, keep=NAMES) for refit in (0, 5)
}  # first fit on 11 rows, scored from row 12 on
PRIOR = (3.0, 2.0, 4.0, 1.0)
SHORT, BAD, NONE = 1, 5, 3


@pytest.fixture(scope="module")
def data():
    """full, late, gaps, all missing, early end, 0 at row 17 (not for a factor), with zeros."""
    rng = np.random.default_rng(21)
    t = np.arange(ROWS)[:, None]
    y = 40 + 0.5 * t + 4 * np.sin(np.pi * t / 2) + rng.normal(0, 2, (ROWS, SERIES))
    observed = np.ones((ROWS, SERIES), bool)
    observed[:10, SHORT] = False
    observed[:, 2] = rng.random(ROWS) < 0.75
    observed[:, NONE] = False
    observed[-6:, 4] = False
    y[17, BAD] = 0.0
    y[:, 6] -= 40
    y[[14, 19], 6] = 0.0
    return np.where(observed, y, 0.5), observed


@pytest.fixture(scope="module")
def results(data):
    arrays = [jnp.asarray(x) for x in data]
    return {
        refit: forecast_selectively(MODELS, RULES, *arrays, config=config, prior=jnp.asarray(PRIOR))
        for refit, config in CONFIGS.items()
    }


def slow_tables(y, observed, refit):
    """Forecasts [model, time, horizon, series], inf where not fitted; refits on cut data."""
    rows = np.arange(ROWS)[:, None]
    tables = np.full((len(MODELS), ROWS, HORIZONS, SERIES), np.inf)
    for k, model in enumerate(MODELS):
        case, last_fit = CASES[model.name], None
        for last in range(10, ROWS, refit or ROWS):
            cut = (
                jnp.asarray(np.where(rows <= last, y, 1e9)),
                jnp.asarray(observed & (rows <= last)),
            )
            start = None
            if last_fit is not None and model.parameters:
                usable = np.isfinite(last_fit.loss)
                start = jnp.where(
                    usable[None], last_fit.params, jnp.asarray(model.defaults)[:, None]
                )
            if start is None and refit and model.parameters:  # grid, then twice from given weights
                start = fit_smoother(model, *cut, config=SmootherConfig("grid")).params
                start = fit_smoother(model, *cut, params=start).params
            last_fit = fit_smoother(model, *cut, params=start)
            for s in range(SERIES):
                parts = [np.asarray(x)[..., s] for x in last_fit.start]
                params = np.asarray(last_fit.params[:, s])
                made = run_loop(case, params, y[:, s], observed[:, s], parts, HORIZONS)[1]
                fine = bool(np.isfinite(last_fit.loss[s]))
                tables[k, last:, :, s] = made[last:] if fine else np.inf
    return tables


def slow_weights(table, y, seen):
    """Last winner (one-hot), and models with errors, one series: two lists by row of [model];
    table [model, time, horizon]. A filter has no weight before its first error."""
    out, known, criterion = [], [], None
    for t in range(ROWS):
        ahead = table[:, t - 1, 0] if t > 10 else np.full(len(MODELS), np.inf)
        if seen[t] and np.isfinite(ahead).any():
            criterion = np.abs(y[t] - ahead)
        out.append(np.eye(len(MODELS))[np.argmin(PRIOR if criterion is None else criterion)])
        known.append(np.isfinite(np.zeros(len(MODELS)) if criterion is None else criterion))
    return out, known


def slow_scores(tables, y, observed):
    """By name: sums [method, horizon, series], counts, errors [method, time, horizon, series]."""
    num = len(NAMES)
    sums = {n: np.zeros((num, HORIZONS, SERIES)) for n in ("abs", "sq", "percent", "sym")}
    count, nonzero = (np.zeros((HORIZONS, SERIES), int) for _ in range(2))
    errors = np.zeros((num, ROWS, HORIZONS, SERIES))
    forecast = np.full((num, HORIZONS, SERIES), np.nan)
    best = [[] for _ in range(SERIES)]
    for s in range(SERIES):
        winner, known = slow_weights(tables[..., s], y[:, s], observed[:, s])
        for t in range(10, ROWS):
            usable = np.isfinite(tables[:, t, 0, s])
            if not usable.any():
                continue
            shares = [given * usable for given in (winner[t], 1.0 * known[t])]
            shares = [share if share.any() else 1.0 * usable for share in shares]
            clean = np.where(usable[:, None], tables[:, t, :, s], 0.0)
            made = [*tables[:, t, :, s], *[w / w.sum() @ clean for w in shares]]
            if t == ROWS - 1:
                forecast[..., s] = np.where(np.isfinite(made), made, np.nan)
            for h in range(1, HORIZONS + 1):
                if t < 12 or t + h >= ROWS or not observed[t + h, s]:
                    continue
                actual = y[t + h, s]
                count[h - 1, s] += 1
                nonzero[h - 1, s] += actual != 0
                if h == 1:
                    error = np.abs(actual - tables[usable, t, 0, s]).min()
                    best[s].append((error, abs(actual)))
                for m in range(num):
                    e = actual - made[m][h - 1] if np.isfinite(made[m][h - 1]) else np.inf
                    errors[m, t, h - 1, s] = e
                    e = abs(e) if np.isfinite(e) else np.nan
                    sums["abs"][m, h - 1, s] += e
                    sums["sq"][m, h - 1, s] += e**2
                    if actual != 0:
                        sums["percent"][m, h - 1, s] += 100 * e / abs(actual)
                    total = abs(actual) + abs(made[m][h - 1])
                    sums["sym"][m, h - 1, s] += 200 * e / total if total else 0.0
    return sums, count, nonzero, errors, forecast, best


@pytest.mark.parametrize("refit", CONFIGS)
def test_pipeline_equals_a_loop_over_origins(data, results, refit):
    y, observed = data
    got = results[refit]
    tables = slow_tables(y, observed, refit)
    sums, count, nonzero, errors, forecast, best = slow_scores(tables, y, observed)
    np.testing.assert_array_equal(got.count, count)
    np.testing.assert_array_equal(got.count_nonzero, nonzero)
    np.testing.assert_array_equal(np.asarray(got.scored).sum(axis=0), count)
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(got.errors, errors, **close)
    np.testing.assert_allclose(got.forecast, forecast, **close)
    np.testing.assert_allclose(got.absolute, sums["abs"], **close)
    np.testing.assert_allclose(got.squared, sums["sq"], **close)
    np.testing.assert_allclose(got.percentage, sums["percent"], **close)
    np.testing.assert_allclose(got.symmetric, sums["sym"], **close)
    for s in range(SERIES):
        if best[s]:
            error, size = np.array(best[s]).T
            mean = 100 * np.mean(error[size > 0] / size[size > 0])
            np.testing.assert_allclose(got.hindsight[:, s], [error.mean(), mean], **close)
    np.testing.assert_array_equal(got.usable, np.isfinite(tables[:, -1, 0]))
    # a refit sees the zero and gives the multiplicative filter up: no mean over fewer rows
    assert np.isnan(got.absolute[3, 0, BAD]) == (refit > 0)


def test_a_series_without_values_is_set_aside(results):
    for got in results.values():
        assert np.isnan(got.forecast[..., NONE]).all()
        assert not got.usable[:, NONE].any()
        assert (got.count[:, NONE] == 0).all()
        np.testing.assert_array_equal(got.absolute[..., NONE], 0.0)
        for m in range(4, 6):
            assert np.isfinite(got.forecast[m][:, [0, 2, 4, 5, 6]]).all()


def test_a_late_series_joins_at_a_later_fit(results):
    assert not results[0].usable[:2, SHORT].any()  # one value by row 10: naive only
    assert results[5].usable[:3, SHORT].all()
    assert (results[5].count[:, SHORT] > 0).all()


def test_the_bad_series_changes_no_other(data, results):
    y, observed = data
    other = y.copy()
    other[:, BAD] = np.linspace(-1e6, 3e6, ROWS)
    mask = observed.copy()
    mask[:, NONE] = True
    got = forecast_selectively(
        MODELS, RULES, jnp.asarray(other), jnp.asarray(mask), config=CONFIGS[5],
        prior=jnp.asarray(PRIOR),
    )  # fmt: skip
    keep = [s for s in range(SERIES) if s not in (BAD, NONE)]
    for leaf, before in zip(jax.tree.leaves(got), jax.tree.leaves(results[5]), strict=True):
        np.testing.assert_array_equal(leaf[..., keep], before[..., keep])


def test_the_future_changes_no_error_before_it(data, results):
    y, observed = data
    for last in (12, 18):
        future = (np.arange(ROWS) > last)[:, None]
        got = forecast_selectively(
            MODELS, RULES, jnp.asarray(np.where(future, 3.3e4, y)), jnp.asarray(observed ^ future),
            config=CONFIGS[5], prior=jnp.asarray(PRIOR),
        )  # fmt: skip
        for h in range(1, HORIZONS + 1):
            rows = slice(None, last - h + 1)
            np.testing.assert_array_equal(
                got.errors[:, rows, h - 1], results[5].errors[:, rows, h - 1]
            )
            np.testing.assert_array_equal(got.scored[rows, h - 1], results[5].scored[rows, h - 1])
        assert not np.array_equal(got.errors, results[5].errors)


def test_the_prior_decides_the_first_row_only(data):
    y, observed = (jnp.asarray(x[:, [0, 2]]) for x in data)
    config = SelectiveConfig(
        1, 10, 0, 0, SmootherConfig(method="fixed"), keep=("b-1", "ses", "holt")
    )
    made = [
        forecast_selectively((SES, HOLT), RULES[:1], y, observed, config=config, prior=prior).errors
        for prior in (None, jnp.array([1.0, 2.0]), jnp.array([2.0, 1.0]))
    ]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[1][0, 10], made[1][1, 10])
    np.testing.assert_array_equal(made[2][0, 10], made[2][2, 10])
    first = np.asarray(observed)[11]
    np.testing.assert_array_equal(made[1][0, 11:, :, first], made[2][0, 11:, :, first])


def test_blocks_change_nothing(data, results):
    arrays = [jnp.asarray(x) for x in data]
    got = forecast_selectively(
        MODELS[:3], RULES, *arrays, config=SelectiveConfig(HORIZONS, 10, 12), block=3
    )
    whole = forecast_selectively(
        MODELS[:3], RULES, *arrays, config=SelectiveConfig(HORIZONS, 10, 12), block=None
    )
    for leaf, other in zip(jax.tree.leaves(got), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_pipeline_keeps_the_dtype(dtype):
    arrays = {
        "y": jax.ShapeDtypeStruct((ROWS, 2), dtype),
        "observed": jax.ShapeDtypeStruct((ROWS, 2), bool),
    }
    rules = (*RULES, inverse_rule(0.3))
    made = jax.eval_shape(
        lambda arrays: _run_block(MODELS, rules, CONFIGS[5], None, arrays), arrays
    )
    floats = {
        leaf.dtype for leaf in jax.tree.leaves(made) if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
    assert floats == {jnp.dtype(dtype)}


def test_without_rules_there_are_only_filters():
    y = jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)))
    config = SelectiveConfig(2, 6, smoother=SmootherConfig(method="fixed"))
    made = forecast_selectively((NAIVE,), (), y, config=config)
    np.testing.assert_allclose(
        made.absolute[0, 0], np.abs(np.diff(np.asarray(y), axis=0))[6:].sum(axis=0), rtol=1e-13
    )
    np.testing.assert_array_equal(made.forecast[0], np.repeat(y[-1:], 2, axis=0))
    assert made.weights.shape == (0, 1, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": ()}, "every name once"),
        ({"models": (SES, SES)}, "every name once"),
        ({"y": jnp.ones(5)}, "two equal shapes"),
        ({"observed": jnp.ones((5, 2), bool)}, "two equal shapes"),
        ({"config": SelectiveConfig(first_origin=7)}, "last row but one"),
        ({"config": SelectiveConfig(keep=("theta",))}, "keep: expected"),
    ],
)
def test_wrong_choices_are_named(change, words):
    arguments = {"models": (SES,), "rules": RULES, "y": jnp.ones((8, 2))} | change
    with pytest.raises(ValueError, match=words):
        forecast_selectively(**arguments)


def test_wrong_counts_are_named():
    with pytest.raises(ValueError, match="num_horizons >= 1"):
        SelectiveConfig(num_horizons=0)
