"""The GRP experiment end to end, tiny; its protocol; the paper's printed numbers."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from diffmig import data, fit, report
from experiments.grp.config import VARIANTS, own_data
from experiments.grp.economy import make_economy
from experiments.grp.models import repaired, run_repaired
from experiments.grp.scores import baseline_frame

from .conftest import ROOT, command

CONFIG = VARIANTS["tiny"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def economy():
    return make_economy(CONFIG, data.load_table("grp_udmurt"))


def test_every_part_of_a_run_folder_is_there(tiny_run):
    for name in ("config.json", "metrics.json", "ledger.csv", "environment.json", "contents.json"):
        assert (tiny_run / name).stat().st_size > 2
    figures = {p.stem for p in (tiny_run / "figures").glob("*.png")}
    assert figures == {p.stem for p in (tiny_run / "figures").glob("*.parquet")}
    assert {"loss", "fit", "factors", "forecast", "widths", "elasticity", "shapley"} <= figures
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert "2030" in metrics["answer"]


def test_the_impossible_pairs_are_flagged_by_computation(tiny_run):
    """Cauchy-Schwarz: PSO-Elman in current prices and all three pairs in 2023 prices."""
    ledger = report.read_ledger(tiny_run / "ledger.csv")
    table = ledger[(ledger.place == "table 3") & ledger.quantity.str.contains("validation")]
    impossible = table[table.verdict == "impossible"]
    expected = {"PSO-Elman current", "BA-LSTM 2023", "GA-BPNN 2023", "PSO-Elman 2023"}
    assert {" ".join(q.split()[:2]) for q in impossible.quantity} == expected
    assert len(impossible) == 8
    bounds = table[table.quantity.str.endswith("R2")].bound.astype(float)
    np.testing.assert_allclose(bounds, [0.876, -0.235, 0.811, -3.99, -0.100, -0.587], atol=0.006)


def test_every_printed_number_has_a_row(tiny_run):
    ledger = report.read_ledger(tiny_run / "ledger.csv")
    assert len(ledger) == len(data.load_printed("grp"))
    assert not ledger.note.str.contains("no rule").any()
    seconds = ledger[ledger.unit == "s"]
    assert (seconds.verdict == "not checkable").all()
    # two seeds cannot carry a verdict on a stochastic number
    accuracy = ledger[ledger.quantity.str.contains("MAPE|R2")]
    assert set(accuracy.verdict) <= {"not checkable", "impossible"}


def test_ar1_errors_are_those_of_the_printed_table(tiny_run):
    """OLS AR(1), one step, 2000-2023: 4.30 / 12.20 / 1.09 / 4.61, none of them as printed."""
    ledger = report.read_ledger(tiny_run / "ledger.csv")
    rows = ledger[ledger.quantity.str.contains("of the AR")]
    measured = dict(zip(rows.quantity.str.split(": ").str[1], rows.as_described, strict=True))
    expected = {"fixed assets": 12.20, "labour resources": 1.09, "high-tech share": 4.61}
    for factor, error in {**expected, "GDP deflator": 4.30}.items():
        assert float(measured[factor]) == pytest.approx(error, abs=0.006)
    assert (rows.verdict == "not reproduced").all()


def test_growth_that_its_own_level_denies_is_impossible(tiny_run):
    """1131 / 957.4 is +18.13 %, printed +18.05 %."""
    ledger = report.read_ledger(tiny_run / "ledger.csv")
    row = ledger[ledger.printed == "18.05"].iloc[0]
    assert row.verdict == "impossible"
    per_year = ledger[ledger.quantity.str.contains("mean growth") & (ledger.printed == "2.5")]
    assert (per_year.verdict != "impossible").all()


def test_baselines_are_those_of_the_specification(economy):
    """Measured on 2018-2023: last value 4.33 in 2023 prices; drift 6.66; nominal growth 5.28."""
    frame = baseline_frame(economy).set_index(["prices", "protocol", "baseline"])["mape"]
    assert frame["comparable", "honest", "last value"] == pytest.approx(4.33, abs=0.005)
    assert frame["comparable", "honest", "drift"] == pytest.approx(6.66, abs=0.005)
    assert frame["current", "honest", "last value"] == pytest.approx(25.5, abs=0.05)
    assert frame["current", "honest", "mean growth of 5 years"] == pytest.approx(5.28, abs=0.005)
    one_step = frame["current", "knows last year's GRP", "one-step last value"]
    assert one_step == pytest.approx(9.44, abs=0.005)
    conditional = frame["current", "conditional", "last real value x actual price index"]
    assert conditional == pytest.approx(4.33, abs=0.03)


def test_honest_and_conditional_forecasts_do_not_see_the_validation_years():
    """GRP of 2018-2023 replaced by noise: the same weights and forecasts, bit for bit."""
    panel = data.load_table("grp_udmurt")
    columns = [panel.names.index(name) for name in ("grp_current", "grp_2023_prices")]
    values = panel.values.copy()
    values[:, 18:, columns] *= np.random.default_rng(0).uniform(0.5, 2.0, (1, 6, 2))
    key, hybrid = jax.random.key(0), repaired(CONFIG)["GA-BPNN"]
    runs = [
        run_repaired(key, CONFIG, make_economy(CONFIG, p), hybrid, "run", fit.run_stage, None)
        for p in (panel, panel._replace(values=values))
    ]
    for one, other in zip(*(jax.tree.leaves((r.fitted, r.ex_ante)) for r in runs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_ex_ante_factors_know_the_training_years_only(economy):
    panel = data.load_table("grp_udmurt")
    values = panel.values.copy()
    values[:, 18:] *= 1.7
    other = make_economy(CONFIG, panel._replace(values=values))
    np.testing.assert_array_equal(economy.ex_ante.factors, other.ex_ante.factors)
    assert not np.array_equal(economy.observed.factors, other.observed.factors)


@pytest.fixture(scope="module")
def resumed_run(tiny_run, tmp_path_factory) -> tuple[list[str], Path]:
    """Chunks that a run had computed when it was killed, and its folder after it was resumed."""
    out = tmp_path_factory.mktemp("killed")
    arguments = ["--variant", "tiny", "--out", str(out)]
    total = len((tiny_run / "chunks.log").read_text().splitlines())
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.grp", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        logs = list(out.rglob("chunks.log"))
        if logs and len(logs[0].read_text().splitlines()) >= total // 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = next(out.rglob("chunks.log")).read_text().splitlines()
    done = command("experiments.grp", *arguments, "--resume")
    assert done.returncode == 0, done.stderr
    return before, report.latest_run(out, "grp", "tiny")


def test_a_killed_run_resumes_without_computing_a_chunk_again(tiny_run, resumed_run):
    before, resumed = resumed_run
    total = len((tiny_run / "chunks.log").read_text().splitlines())
    assert total // 2 <= len(before) < total
    after = (resumed / "chunks.log").read_text().splitlines()
    assert after[: len(before)] == before
    computed = [(c["stage"], c["index"]) for c in map(json.loads, after)]
    assert len(computed) == len(set(computed)) == total


def test_same_seed_gives_the_same_files(tiny_run, resumed_run):
    """In other processes, one of them killed."""
    again = resumed_run[1]
    for table in ("scores-by-seed", "outlook", "sensitivity"):
        one, other = (pd.read_parquet(f / "tables" / f"{table}.parquet") for f in (tiny_run, again))
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert (tiny_run / "ledger.csv").read_bytes() == (again / "ledger.csv").read_bytes()


def own_file(folder: Path, **changes) -> Path:
    panel = data.select(data.load_table("grp_udmurt"), names=["grp_current", "labour", "deflator"])
    frame = data.panel_to_frame(panel).rename(columns={"grp_current": "output"})
    path = folder / "my.csv"
    frame.assign(**changes).to_csv(path, index=False)
    return path


def test_own_data_run(tmp_path):
    path = own_file(tmp_path)
    names = ["--config.grp", "output", "--config.price-index", "deflator"]
    done = command(
        "experiments.grp", "--variant", "tiny", "--out", str(tmp_path), "--data", str(path), *names
    )
    assert done.returncode == 0, done.stderr
    folder = report.latest_run(tmp_path, "grp", "tiny")
    outlook = pd.read_parquet(folder / "tables" / "outlook.parquet")
    assert set(outlook.prices) == {"current", "comparable"}
    assert np.isfinite(outlook["median"]).all()
    assert not (folder / "ledger.csv").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labour": "many"}, ["'labour'", "many"]),
        ({"year": 2001}, ["2001"]),
        ({"output": np.inf}, ["output"]),
    ],
)
def test_bad_files_end_in_words(tmp_path, changes, words):
    path = own_file(tmp_path, **changes)
    done = command(
        "experiments.grp", "--variant", "tiny", "--out", str(tmp_path), "--data", str(path)
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in ["my.csv", *words]:
        assert word in done.stderr


def test_a_wrong_column_is_named_with_the_cure(tmp_path):
    done = command(
        "experiments.grp",
        "--variant",
        "tiny",
        "--out",
        str(tmp_path),
        "--data",
        str(own_file(tmp_path)),
    )
    assert done.returncode == 2
    assert "--config.grp" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_unknown_variant():
    done = command("experiments.grp", "--help")
    assert done.returncode == 0
    for option in ("--variant", "--data", "--out", "--seed", "--resume"):
        assert option in done.stdout
    wrong = command("experiments.grp", "--variant", "huge")
    assert wrong.returncode == 2
    assert "tiny" in wrong.stderr


def test_a_choice_out_of_range_ends_in_words():
    done = command("experiments.grp", "--config.num-seeds", "0")
    assert done.returncode == 2
    assert "num_seeds" in done.stderr
    assert "Traceback" not in done.stderr


def test_too_few_years_are_refused():
    panel = data.select(data.load_table("grp_udmurt"), years=(2014, 2023))
    with pytest.raises(data.DataError, match="at least 8 training years"):
        make_economy(replace(CONFIG, last_training_year=2019), panel)
    with pytest.raises(data.DataError, match="labour_force"):
        make_economy(replace(own_data(CONFIG), factors=("labour_force",)), panel)


def test_report_of_the_run(tiny_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    page = report.render_report([copy], tmp_path, "title", []).read_text(encoding="utf-8")
    assert "impossible" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
