"""Regions: nothing leaks from held-out years, rivals and tests are what they say, runs agree."""

import json
from dataclasses import replace
from importlib.util import find_spec

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from diffmig import data, evaluate, explain, fit, report
from experiments.regions import EXPERIMENT
from experiments.regions.comparison import answer, compare, details
from experiments.regions.config import VARIANTS
from experiments.regions.places import make_regions
from experiments.regions.rivals import cobb_douglas, extend_factors
from experiments.regions.study import run
from experiments.regions.training import Rows, build_tasks, train_rows

ELASTICITIES = np.array([0.3, 0.6])
CONFIG = replace(VARIANTS["tiny"], factors=("capital", "labour"), targets=("growth",), epochs=150)


def made_panel(num_places=10, num_years=17, noise=0.0):
    """Places whose product is exactly Cobb-Douglas in two wandering factors."""
    rng = np.random.default_rng(3)
    growth = 0.03 + 0.04 * rng.normal(size=(num_places, num_years, 2))
    factors = np.exp(rng.normal(size=(num_places, 1, 2)) + growth.cumsum(axis=1))
    grp = 7.0 * np.prod(factors**ELASTICITIES, axis=2)
    grp = grp * np.exp(noise * rng.normal(size=grp.shape))
    values = np.concatenate([grp[..., None], factors], axis=2)
    return data.check_panel(
        data.Panel(
            values,
            np.ones(values.shape, bool),
            tuple(f"place {i}" for i in range(num_places)),
            np.arange(1990, 1990 + num_years),
            ("grp", "capital", "labour"),
            ("money", "money", "persons"),
        )
    )


def changed(panel, name, years, factor):
    values = panel.values.copy()
    values[:, years, panel.names.index(name)] *= factor
    return panel._replace(values=values)


@pytest.fixture(scope="module")
def panel():
    return made_panel()


@pytest.fixture(scope="module")
def result(panel):
    return run(CONFIG, panel, jax.random.key(1), fit.run_stage, None)


def test_a_network_that_is_given_the_factors_beats_every_naive_rule(result):
    outcomes = {(c.protocol, c.baseline): c for c in result.comparisons}
    for name in evaluate.BASELINES:
        assert outcomes["conditional", name].interval.high < 0, name
    assert np.median(result.mape["conditional"]["network"]) < 4
    # the truth is in the family of the production function, which no network can beat
    assert outcomes["conditional", "Cobb-Douglas"].outcome == "worse"
    assert "loses to" in details(result.mape, result.comparisons, 0.05)


def test_no_forecast_knows_the_held_out_product(panel, result):
    after = slice(result.regions.num_training, None)
    other = run(CONFIG, changed(panel, "grp", after, 3.0), jax.random.key(1), fit.run_stage, None)
    np.testing.assert_array_equal(other.levels, result.levels)
    np.testing.assert_array_equal(other.scores, result.scores)
    for protocol, forecasts in result.baselines.items():
        for name, forecast in forecasts.items():
            np.testing.assert_array_equal(other.baselines[protocol][name], forecast)
    assert not np.allclose(other.mape["honest"]["network"], result.mape["honest"]["network"])


def test_honest_forecasts_do_not_know_the_held_out_factors(panel, result):
    after = slice(result.regions.num_training, None)
    other = run(
        CONFIG, changed(panel, "capital", after, 1.1), jax.random.key(1), fit.run_stage, None
    )
    conditional, honest = 0, 1
    np.testing.assert_array_equal(other.levels[honest], result.levels[honest])
    assert (other.levels[conditional][..., after] != result.levels[conditional][..., after]).any()
    np.testing.assert_array_equal(other.scores, result.scores)
    name = "Cobb-Douglas"
    np.testing.assert_array_equal(other.baselines["honest"][name], result.baselines["honest"][name])


def test_a_run_does_not_depend_on_the_rows_beside_it(panel, result):
    regions, tasks = result.regions, build_tasks(CONFIG, result.regions)
    num_rows = 150  # two chunks
    rng = np.random.default_rng(2)
    region, seed = rng.integers(0, len(regions.names), num_rows), rng.integers(0, 9, num_rows)
    zero = np.zeros(num_rows, int)
    rows = Rows(zero, zero, region, seed, np.full(num_rows, 0.01))
    order = rng.permutation(num_rows)
    mixed = Rows(*(x[order] for x in rows))
    first, second = (
        train_rows(jax.random.key(4), CONFIG, "BPNN", tasks, r, "s", fit.run_stage, None)
        for r in (rows, mixed)
    )
    np.testing.assert_allclose(second.levels, first.levels[order], rtol=1e-5)
    assert np.unique(first.levels[:, 0, -1]).size == np.unique(region * 9 + seed).size


def test_production_function_finds_exact_elasticities_and_follows_new_factors():
    panel = made_panel(4)
    grp, factors = panel.values[:, :, 0], panel.values[:, :, 1:]
    for differences in (False, True):
        forecast = cobb_douglas(grp[:, :11], factors, differences=differences)
        np.testing.assert_allclose(forecast, grp[:, 11:], rtol=1e-8)


def test_production_function_is_least_squares_region_by_region():
    panel = made_panel(3, noise=0.05)
    grp, factors = panel.values[:, :, 0], panel.values[:, :, 1:]
    forecast = cobb_douglas(grp[:, :11], factors, differences=False)
    for region in range(3):
        design = np.column_stack([np.ones(17), np.log(factors[region])])
        solution = np.linalg.lstsq(design[:11], np.log(grp[region, :11]), rcond=None)[0]
        np.testing.assert_allclose(forecast[region], np.exp(design[11:] @ solution), rtol=1e-8)


def test_a_constant_factor_and_a_factor_without_logarithm_do_no_harm():
    panel = made_panel(3)
    grp, factors = panel.values[:, :, 0], panel.values[:, :, 1:].copy()
    extra = np.stack([np.full(grp.shape, 5.0), np.linspace(-1, 1, 17) + 0 * grp], axis=2)
    forecast = cobb_douglas(grp[:, :11], np.concatenate([factors, extra], 2), differences=False)
    np.testing.assert_allclose(forecast, grp[:, 11:], rtol=1e-6)


def test_factors_are_forecast_region_by_region_and_never_explode():
    rng = np.random.default_rng(0)
    settled = 5 + rng.normal(size=17)
    growing = 100 * np.exp(0.05 * np.arange(17) + 0.01 * rng.normal(size=17))
    bursting = np.exp(1.2 ** np.arange(17))  # roots of levels and of growth above 1
    factors = np.stack([np.stack([settled, growing], 1), np.stack([bursting, settled - 5], 1)])
    path = np.asarray(extend_factors(jax.numpy.asarray(factors), 11))
    np.testing.assert_array_equal(path[:, :11], factors[:, :11])
    years = np.arange(11)
    one = explain.ar1_scenario(factors[0, :11], years, ("a", "b"), 6, log_difference=("b",))
    np.testing.assert_allclose(path[0, 11:], one.values, rtol=1e-10)
    np.testing.assert_array_equal(path[1, 11:, 0], bursting[10])
    hidden = factors.copy()
    hidden[:, 11:] = np.nan
    np.testing.assert_array_equal(extend_factors(jax.numpy.asarray(hidden), 11), path)


def test_outcomes_follow_the_adjusted_test(key):
    rng = np.random.default_rng(1)
    network = rng.uniform(4, 6, 30)
    noise = 0.1 * rng.normal(size=30)
    mape = {
        protocol: {"network": network, "bad": network + 1 + noise, "good": network - 1 + noise}
        | {"same": network + noise - np.median(noise)}
        for protocol in ("conditional", "honest")
    }
    found = compare(key, mape, 0.05)
    assert [c.outcome for c in found[:3]] == ["better", "worse", "no difference shown"]
    assert [c.wins for c in found[:2]] == [30, 0]
    assert found[0].wilcoxon_p == stats.wilcoxon(network, mape["honest"]["bad"]).pvalue
    assert found[0].adjusted_p == pytest.approx(3 * found[0].wilcoxon_p)
    assert answer(mape, found).startswith("Only some: over 30 regions")
    assert "beats 1 of 3 baselines (median MAPE" in answer(mape, found)
    text = details(mape, found, 0.05)
    assert "beats 1 of 3 baselines (bad)" in text
    assert "loses to 1 of 3 baselines (good)" in text


def test_places_that_do_not_fit_are_left_out_and_listed(panel):
    values, mask = panel.values.copy(), panel.mask.copy()
    mask[0, 4, 1], values[0, 4, 1] = False, 0.0
    mask[:, -1, 0], values[:, -1, 0] = False, 0.0  # a year without any product
    values[1, 3, 0] = -1.0
    values[2, 12, 2] = 0.0
    regions = make_regions(CONFIG, panel._replace(values=values, mask=mask))
    assert dict(regions.left_out) == {
        "place 0": "1 gaps in 1990-2005",
        "place 1": "GRP or index not positive",
        "place 2": "labour is positive in the training years only",
    }
    assert regions.names == panel.places[3:]
    assert (regions.years[-1], regions.num_training) == (2005, 10)


def test_current_prices_are_deflated_by_either_index(panel):
    rng = np.random.default_rng(5)
    real, capital = panel.values[:, :, 0], panel.values[:, :, 1]
    inflation = np.exp(rng.uniform(0, 0.2, real.shape))
    prices = inflation.cumprod(axis=1)
    volume = np.ones_like(real)
    volume[:, 1:] = real[:, 1:] / real[:, :-1]
    columns = [real * prices, capital * prices, 100 * inflation, 100 * volume]
    nominal = panel._replace(
        values=np.stack(columns, axis=2),
        mask=np.ones((*real.shape, 4), bool),
        names=("grp", "capital", "deflator", "volume"),
        units=("", "", "%", "%"),
    )
    base = replace(CONFIG, factors=("capital",), deflated=("capital",))
    for name in ("price_index", "volume_index"):
        column = {"price_index": "deflator", "volume_index": "volume"}[name]
        regions = make_regions(replace(base, **{name: column}), nominal)
        level = prices[:, regions.num_training - 1 : regions.num_training]
        np.testing.assert_allclose(regions.grp, real * level, rtol=1e-10)
        np.testing.assert_allclose(regions.factors[..., 0], capital * level, rtol=1e-10)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"grp": "product"}, "--config.grp"),
        ({"last_training_year": 1993}, "--config.last-training-year"),
        ({"deflated": ("capital",)}, "index"),
        ({"deflated": ("beds",)}, "--config.deflated"),
    ],
)
def test_what_does_not_fit_is_a_data_error_with_its_cure(panel, change, cure):
    with pytest.raises(data.DataError, match=cure):
        make_regions(replace(CONFIG, **change), panel)


def test_too_few_regions_for_a_test_are_refused():
    with pytest.raises(data.DataError, match="the tests need 6"):
        make_regions(CONFIG, made_panel(5))


def test_us_states_run_and_are_written(tmp_path):
    if find_spec("linearmodels") is None:
        pytest.skip('US states come with pip install "diffmig[data]"')
    config = VARIANTS["tiny"]
    with report.open_run(tmp_path, "regions", "tiny", config, seed=0) as written:
        found = run(
            config, EXPERIMENT.load(None, config), jax.random.key(0), written.run_stage, None
        )
        EXPERIMENT.write(written, config, found)
    metrics = json.loads((written.folder / "metrics.json").read_text())
    assert (metrics["num_regions"], metrics["last_training_year"]) == (48, 1980)
    assert metrics["converged"] == 1.0
    tests = pd.read_parquet(written.folder / "tables" / "tests.parquet")
    honest = tests[tests["protocol"] == "honest"]
    better = (honest["outcome"] == "better").sum()
    head = "No:" if not better else "Only some:"
    assert metrics["answer"].startswith(head)
    assert f"beats {better} of {len(honest)} baselines" in metrics["answer"]
    regions = pd.read_parquet(written.folder / "tables" / "regions.parquet")
    row = regions[(regions["protocol"] == "honest") & (regions["region"] == "Ohio")]
    ohio = found.regions.grp[found.regions.names.index("Ohio")]
    by_hand = 100 * np.mean(np.abs(1 - ohio[10] / ohio[11:]))
    assert row["last value"].item() == pytest.approx(by_hand)
    for name in ("median_mape", "differences_honest", "differences_conditional", "forecasts"):
        assert (written.folder / "figures" / f"{name}.png").stat().st_size > 10_000


def test_russian_regions_run_with_the_factors_they_have(real_data):
    # no labour and no capital stock; investment (to 2015) stands in for capital
    money = ("gross_fixed_capital_mln_rub", "household_consumption_per_capita_rub")
    config = replace(
        VARIANTS["tiny"],
        place_column="region",
        grp="grp_mln_rub",
        volume_index="grp_volume_index_pct",
        factors=(*money, "hospital_beds_thousand", "doctors_per_10000"),
        deflated=money,
        aggregate="is_federal_district",
        targets=("growth",),
    )
    file = real_data / "rosstat_regions_grp_health_2000_2018.csv"
    panel = EXPERIMENT.load(file, config)
    found = run(config, panel, jax.random.key(0), fit.run_stage, None)
    regions = found.regions
    assert "Удмуртская Республика" in regions.names
    assert len(regions.names) + len(regions.left_out) == len(panel.places)
    assert sum(reason == "sum of other places" for _, reason in regions.left_out) == 8
    udmurt = regions.names.index("Удмуртская Республика")
    source = pd.read_csv(file).query("region == 'Удмуртская Республика'").set_index("year")
    volume = source["grp_volume_index_pct"][regions.years[1:]].to_numpy()
    growth = 100 * regions.grp[udmurt, 1:] / regions.grp[udmurt, :-1]
    np.testing.assert_allclose(growth, volume, rtol=1e-9)
    assert all(np.isfinite(errors).all() for errors in found.mape["honest"].values())
