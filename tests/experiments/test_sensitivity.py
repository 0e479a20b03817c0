"""Sensitivity of all models: gradients are right, indices are shares, everything is written."""

import numpy as np
import pandas as pd
import pytest

from diffmig import report
from experiments.sensitivity import ranks
from experiments.sensitivity.answers import answer
from experiments.sensitivity.config import NAMES, VARIANTS, Config
from experiments.sensitivity.pages import bar_frame, summary_frame, write

from .conftest import command, tiny_result

TINY = VARIANTS["tiny"]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return tiny_result("sensitivity", tmp_path_factory.mktemp("sensitivity"))


def by_name(result):
    return {reading.model.name: reading for reading in result}


def test_every_gradient_agrees_with_central_differences(result):
    assert [reading.model.name for reading in result] == list(NAMES)
    for reading in result:
        assert reading.finite
        assert max(reading.error.values()) < 1e-5, (reading.model.name, reading.error)
        assert reading.variance_status == "estimated"


def test_indices_of_every_model_are_shares(result):
    for reading in result:
        table = reading.table
        assert (table["total"] > -1e-12).all()
        assert (table["total_bound"] >= 0).all()
        assert (table["total_low"] <= table["total_high"]).all()
        assert table["rank_sobol"].sum() == len(table) * (len(table) + 1) / 2


def test_human_capital_is_linear_in_spending(result):
    """No elementary effect of a budget line depends on the other lines: only on both parameters."""
    table = by_name(result)["human_capital"].table.set_index("input")
    spending = table.loc["spending"]
    assert len(spending) > 100
    slope = spending["gradient"] * spending["width"]
    # wear moves the slopes of early years by tens of percent, those of the last ones hardly
    np.testing.assert_allclose(spending["mu_star"], slope.abs(), rtol=0.4)
    assert ((spending["mu"] > 0) == (slope > 0)).all()
    late = spending[spending["index"].str.endswith("2018")]
    assert (late["bend"] < 0.05).all()
    assert table.loc["wear_rate", "gradient"] < 0 < table.loc["initial_factor", "gradient"]


def test_late_observations_move_a_smoothing_forecast_most(result):
    table = by_name(result)["smoothing"].table
    observed = table[table["input"] == "observation"]
    assert observed["gradient"].abs().idxmax() == observed.index[-1]


def table(**columns):
    size = len(columns["total"])
    given = {"linear": columns["total"], "first": columns["total"], "bend": 0.0, "from_middle": 0.0}
    frame = pd.DataFrame({"input": [f"x{i}" for i in range(size)], "index": 0} | given | columns)
    frame["rank_sobol"] = frame["total"].rank(ascending=False)
    frame["rank_gradient"] = frame["linear"].rank(ascending=False)
    frame["rank_middle"] = frame["rank_gradient"]
    frame["interaction"] = frame["total"] - frame["first"]
    frame["total_low"], frame["first_high"] = frame["total"] - 0.01, frame["first"] + 0.01
    return frame


def test_ranks_and_the_reason_for_a_gap_on_known_tables():
    same = table(total=np.array([0.6, 0.3, 0.1]))
    assert ranks.rank_correlation(same, "rank_gradient") == pytest.approx(1.0)
    assert ranks.largest_gap(same, 0.01)[1] == "the rankings are the same"
    total, linear = np.array([0.5, 0.3, 0.2, 0.001]), np.array([0.0, 0.3, 0.2, 0.002])
    bent = table(total=total, linear=linear, bend=np.array([2.0, 0.1, 0.1, 0.1]))
    row, why = ranks.largest_gap(bent, 0.01)
    assert row["input"] == "x0"
    assert "changes over the box" in why
    first = np.array([0.1, 0.3, 0.2, 0.001])
    row, why = ranks.largest_gap(table(total=total, linear=linear, first=first), 0.01)
    assert "together with others" in why
    assert ranks.rank_correlation(bent, "rank_gradient") == pytest.approx(
        np.corrcoef([4, 1, 2, 3], [1, 2, 3, 4])[0, 1]
    )


def test_bars_tables_and_the_answer_are_written(result, tmp_path):
    with report.open_run(tmp_path, "sensitivity", "tiny", TINY, seed=0) as made:
        write(made, TINY, result)
    figures = {path.stem for path in (made.folder / "figures").glob("*.png")}
    assert figures == {"ranks", *NAMES}
    tables = {path.stem for path in (made.folder / "tables").glob("*.parquet")}
    assert tables == {"models", *(f"{name}_inputs" for name in NAMES)}
    assert made.metrics["converged"]
    assert set(made.metrics["cost"]) == set(NAMES)
    assert made.metrics["answer"] == answer(result)
    assert answer(result).startswith("Gradients of 5 models are right to")
    assert made.metrics["details"].startswith("Gradients of 5 models agree")
    summary = summary_frame(TINY, result).set_index("model")
    assert (summary["cost"] > 0).all()
    reading = by_name(result)["town"]
    bars = bar_frame(reading)
    first = reading.table.sort_values("rank_sobol").iloc[0]
    assert bars.iloc[1]["value"] == pytest.approx(first["total"])
    assert bars.iloc[0]["value"] == pytest.approx(
        (first["gradient"] * first["width"]) ** 2 / 12 / first["variance"]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("tax",)}, "models"),
        ({"num_points": 100}, "power of two"),
        ({"repeats": 0}, "repeats"),
        ({"damping": (0.5, 0.4, 1.0)}, "damping"),
        ({"spread": 1.5}, "spread"),
    ],
)
def test_wrong_choices_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Config(**changes)


def test_a_file_of_the_user_is_refused_in_words(tmp_path):
    done = command("experiments.sensitivity", "--data", str(tmp_path / "x.csv"))
    assert done.returncode == 2
    assert "bundled data" in done.stderr
