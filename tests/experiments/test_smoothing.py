"""Smoothing: the paper's numbers, nothing ahead of its time, a file of one's own."""

import json
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

from diffmig import data, evaluate, fit, report
from experiments import smoothing
from experiments.smoothing.claims import ledger_entries
from experiments.smoothing.config import VARIANTS, own_data
from experiments.smoothing.example import run_example
from experiments.smoothing.histories import History, horizon_of, make_histories
from experiments.smoothing.models import base_models
from experiments.smoothing.sources import Source
from experiments.smoothing.study import score, selective_config
from experiments.smoothing.unevenness import HIGH_GROUP, inequality_frame, run_unevenness
from experiments.smoothing.whole import load, run

TINY = VARIANTS["tiny"]
OWN = own_data(TINY)


@pytest.fixture(scope="module")
def example():
    return run_example()


@pytest.fixture(scope="module")
def unevenness():
    return run_unevenness(TINY, 0)


@pytest.fixture(scope="module")
def ledger(example, unevenness):
    return evaluate.ledger_frame(ledger_entries(example, unevenness))


def test_every_printed_forecast_and_error_follows(example):
    printed = data.load_wage_example().set_index("period")
    rows = printed.loc[15:24]
    for model, column in (("SES", "ses"), ("Holt", "holt")):
        assert np.round(example.fitted[model], 2).tolist() == rows[f"{column}_forecast"].tolist()
        assert np.round(example.percent[model], 2).tolist() == rows[f"{column}_error"].tolist()
        assert example.forecast[model] == pytest.approx(
            printed.loc[25, f"{column}_forecast"], abs=5e-4
        )
    assert example.chosen.tolist() == rows["chosen"].tolist()
    assert example.bounds == pytest.approx((3.347, 5.669), abs=5e-4)


def test_no_honest_rule_beats_plain_smoothing(example):
    expected = {"b-1": 4.515, "b-0.1": 5.100, "b-0.3": 4.708, "b-0.4": 4.412, "b-0.9": 4.656}
    expected |= {"inverse-1-1": 4.412, "cumulative-percentage": 4.196, "equal": 4.338}
    for name, value in expected.items():
        assert example.rules[name] == pytest.approx(value, abs=1e-3), name
    assert min(example.rules.values()) > example.mape("SES") == pytest.approx(3.915, abs=1e-3)


def test_influence_is_the_exponential_weight(example):
    ages = np.arange(10)[::-1]
    assert example.influence["SES"] == pytest.approx(0.9 * 0.1**ages, abs=1e-12)
    # a forecast of Holt moves one for one with a shift of all values and of the start's level
    assert example.influence["Holt"].sum() == pytest.approx(1.0, abs=1e-3)


def test_ledger_has_every_printed_number_and_its_verdict(ledger):
    assert len(ledger) == len(data.load_printed("smoothing"))
    verdict = ledger.set_index(["place", "quantity"])["verdict"]
    assert verdict["figure 7", "SES MAPE"] == "impossible"
    assert verdict["figure 7", "Holt MAPE"] == "impossible"
    assert verdict["table 2", "selective MAPE of periods 15-24"] == "not reproduced"
    assert verdict["table 2", "selective absolute percentage error of period 25"] == (
        "not reproduced"
    )
    table_1 = ledger[ledger["place"] == "table 1"]
    assert (table_1["verdict"] == "reproduced").all()
    assert not ledger["beaten"].any() or (ledger[ledger["beaten"]]["honest"] != "").all()
    better = ledger[ledger["quantity"].str.contains("lower MAPE than either base model")].iloc[0]
    assert better["as_described"] == "true"
    assert better["honest"] == "false"


def test_tables_of_regions(unevenness):
    assert unevenness.mean_growth.index[0] == "Odesa"
    assert unevenness.mean_growth.index[-1] == "Donetsk"
    assert set(unevenness.group) == {*HIGH_GROUP, "Poltava"}
    table = unevenness.inequality.set_index("indicator")
    assert np.isnan(table.loc["x44", "theil"])
    assert table.drop("x44").notna().all(axis=None)
    assert table.loc["x14", "highest"] == "Donetsk"


def test_inequality_agrees_with_a_loop():
    regions = data.load_region_indicators()[["x14"]]
    wage = regions["x14"].to_numpy()
    differences = np.abs(wage[:, None] - wage[None]).mean()
    assert inequality_frame(regions).loc[0, "gini"] == pytest.approx(
        differences / (2 * wage.mean()), rel=1e-12
    )


def source(values, mask=None, season=1, held_out=None):
    mask = np.ones(values.shape, bool) if mask is None else mask
    names = tuple(f"s{j}" for j in range(values.shape[1]))
    times = pd.RangeIndex(len(values))
    panel = data.SeriesPanel(np.where(mask, values, 0.0), mask, names, times, "")
    return Source("made", panel, season, held_out, ())


def walk(num_rows=60, num_series=8, seed=0):
    rng = np.random.default_rng(seed)
    return 100 + np.cumsum(rng.normal(size=(num_rows, num_series)), axis=0)


def test_histories_hold_out_the_last_values_of_each_series():
    values = walk()
    mask = np.ones(values.shape, bool)
    mask[-7:, 1] = False  # ends earlier
    mask[:50, 2] = False  # too short
    values[:, 3] = 5.0  # constant
    (history,), skipped = make_histories(TINY, [source(values, mask)])
    assert history.names == ("s0", "s1", "s4", "s5", "s6", "s7")
    assert "2 series" in skipped[0].reason
    horizon = horizon_of(TINY, 1)
    assert history.future[:, 0].tolist() == values[-horizon:, 0].tolist()
    assert history.future[:, 1].tolist() == values[53 - horizon : 53, 1].tolist()
    last = [values[-horizon - 1, 0], values[52 - horizon, 1], values[-horizon - 1, 4]]
    assert history.values[-1, :3].tolist() == last
    steps = np.abs(np.diff(values[:-horizon, 0]))
    assert history.scale[0] == pytest.approx(steps.mean())


def test_too_few_series_are_not_tested():
    histories, skipped = make_histories(TINY, [source(walk(num_series=5))])
    assert histories == []
    assert "5 series" in skipped[0].reason


def test_scores_do_not_see_the_held_out_rows():
    (history,), _ = make_histories(TINY, [source(walk())])
    config = replace(TINY, rivals=False)
    scores = score(config, history, "study", fit.run_stage, None)
    moved = history._replace(future=history.future + 50.0)
    again = score(config, moved, "study", fit.run_stage, None)
    np.testing.assert_array_equal(scores.one_step, again.one_step)
    naive = np.abs(history.future + 50.0 - history.values[-1]).mean(axis=0) / history.scale
    assert (again.ahead > 0.5 * naive).all()  # forecasts stayed where they were
    assert np.isfinite(scores.ahead).all()
    assert scores.usable.all()


def test_hindsight_bounds_every_method():
    (history,), _ = make_histories(TINY, [source(walk(80, 8, seed=3))])
    scores = score(replace(TINY, rivals=False), history, "study", fit.run_stage, None)
    single = scores.one_step[: scores.num_models]
    assert (scores.hindsight[0] <= single.min(axis=0) + 1e-12).all()
    selections = [k for k, name in enumerate(scores.methods) if name.startswith("b-")]
    assert (scores.hindsight[0] <= scores.one_step[selections].min(axis=0) + 1e-12).all()


def test_selection_rows_leave_half_of_a_short_history():
    for season, length in ((1, 14), (4, 24), (12, 180)):
        blank = np.zeros((length, 1))
        seen = np.ones((length, 1), bool)
        ahead = np.zeros((2, 1)), np.ones((2, 1), bool)
        history = History("made", ("s",), season, blank, seen, *ahead, np.ones(1))
        chosen = selective_config(TINY, history)
        assert chosen.first_origin >= length // 2 - 1
        fits = range(chosen.first_origin, length, chosen.refit_every)
        assert fits[-1] == length - 1


def test_unknown_base_model_is_named():
    with pytest.raises(data.DataError, match=r"unknown base models \['arima'\].*ses"):
        base_models(replace(TINY, models=("arima",)), 12)
    with pytest.raises(data.DataError, match="no base model without a season"):
        base_models(replace(TINY, models=("additive",)), 1)


@pytest.fixture(scope="module")
def own_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "wages.csv"
    months = pd.date_range("2015-01-01", periods=48, freq="MS")
    rng = np.random.default_rng(1)
    frames = [
        pd.DataFrame(
            {"region": name, "month": months[:stop], "wage": level + rng.normal(size=stop).cumsum()}
        )
        for name, level, stop in (("Perm", 100.0, 48), ("Omsk", 50.0, 40))
    ]
    frames.append(pd.DataFrame({"region": "Tomsk", "month": months[:1], "wage": 3.0}))
    pd.concat(frames).to_csv(path, index=False)
    return path


def test_a_file_of_ones_own(own_file, tmp_path, capsys):
    config = replace(OWN, id_column="region", time_column="month", value_column="wage", horizon=3)
    inputs = load(own_file, config)
    assert "Tomsk" in capsys.readouterr().out
    result = run(config, inputs, jax.random.key(0), fit.run_stage, None)
    assert result.example is None
    with report.open_run(tmp_path, "smoothing", "own", config, seed=0, note=print) as made:
        smoothing.EXPERIMENT.write(made, config, result)
    folder = report.latest_run(tmp_path, "smoothing", "own")
    table = pd.read_parquet(folder / "tables" / "forecasts_0.parquet")
    assert list(table.columns) == ["region", "month", "forecast", "low", "high"]
    first = table.groupby("region")["month"].first()
    assert first["Perm"] == pd.Timestamp("2019-01-01")
    assert first["Omsk"] == pd.Timestamp("2018-05-01")  # after its own last value
    assert (table["low"] <= table["forecast"]).all()
    assert (table["forecast"] <= table["high"]).all()
    width = (table["high"] - table["low"]).to_numpy().reshape(2, 3)
    assert (np.diff(width, axis=1) >= -1e-9).all()
    assert (folder / "figures" / "forecasts_0.png").stat().st_size > 10_000
    answer = json.loads((folder / "metrics.json").read_text())["answer"]
    assert answer.startswith("2 series forecast")


def test_without_data_packages_the_paper_is_still_checked(monkeypatch):
    def absent(*_):
        raise data.DataError([data.Problem(None, None, None, "not installed", "pip install")])

    monkeypatch.setattr(data, "load_tsdata", absent)
    monkeypatch.delenv("DIFFMIG_TEST_DATA", raising=False)
    inputs = load(None, TINY)
    assert inputs.histories == ()
    assert "not installed" in inputs.skipped[0].reason
