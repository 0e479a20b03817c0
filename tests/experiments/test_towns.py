"""Towns: known truth, no look ahead, the planner's answers, the paper's tables, one's own data."""

from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

from diffmig import data, evaluate, report
from experiments import towns
from experiments.towns import inputs, networks, paths, retrospective, structure
from experiments.towns.answers import answer
from experiments.towns.claims import ledger_entries
from experiments.towns.config import VARIANTS, Config
from experiments.towns.lever_frames import lever_frame
from experiments.towns.levers import SETTLED
from experiments.towns.scores import accuracy, score_frame
from experiments.towns.study import run

from .conftest import command

TINY = VARIANTS["tiny"]


def stage_fn(name, state, chunk_fn, num_chunks):
    for index in range(num_chunks):
        state = chunk_fn(state, index)
    return state


@pytest.fixture(scope="module")
def known():
    return inputs.load(None, TINY)


@pytest.fixture(scope="module")
def result(known):
    return run(TINY, known, jax.random.key(0), stage_fn, None)


def test_the_known_structure_is_found(result):
    found = result.recovery
    assert found.rand_index > 0.8
    assert found.factors_found == found.num_matter == 5
    assert found.slope_correlation > 0.4


def test_the_picking_year_flatters_the_networks(result):
    scores = score_frame(result.inputs, result.past).set_index("method")["accuracy"]
    picked, later = (
        scores[name] for name in (retrospective.DESCRIBED, retrospective.DESCRIBED_LATER)
    )
    assert picked > later + 0.05


def test_honest_forecasts_do_not_see_the_test_years(known):
    """Balances and factors of the test years change; forecasts of the first of them do not."""
    first = known.years.size - TINY.test_years
    balance, factors = known.balance.copy(), known.factors.copy()
    balance[:, first:] *= -3.0
    factors[:, first:] += 5.0
    made = []
    for one in (known, known._replace(balance=balance, factors=factors)):
        found = structure.find_structure(TINY, one, first, jax.random.key(1))
        problems = networks.make_problems(found, [first], TINY.honest_years, pooled=False)
        trained = networks.train_networks(
            TINY, one, found, problems, jax.random.key(2), stage_fn, None, name="t"
        )
        ahead = paths.continue_trends(one.factors[:, :first][:, :, found.kept], 1)[:, 0]
        made.append(networks.predict_towns(trained, one, ahead, first))
    np.testing.assert_allclose(made[0], made[1], rtol=1e-6)


def test_accuracy_is_one_less_the_relative_error():
    assert accuracy(np.array([100.0, -50.0]), np.array([90.0, -40.0])) == pytest.approx(
        1 - 20 / 150
    )
    assert accuracy(np.array([1.0, 2.0]), np.array([1.0, np.nan])) == 1.0


def test_answers_of_the_inverse_question_hold_when_run_forward(result):
    found = result.levers
    reached = found.status == 0
    assert reached.sum() >= 5
    np.testing.assert_array_less(
        found.target[reached] * (1 - 10 * SETTLED), found.response[reached] + 1e-9
    )
    table = lever_frame(result)
    assert len(table) == 27
    assert set(table["answer"]) <= {"reached", "cannot be reached", "not settled"}
    # what no decision moves stays
    names = [result.inputs.names[i] for i in result.outlook.networks.kept]
    for k, name in enumerate(names):
        if name in TINY.fixed:
            assert (found.change[:, k] == 0).all()


def test_changes_stay_where_the_cluster_has_been(result):
    made, found = result.outlook, result.levers
    for p in made.networks.problems:
        rows = result.inputs.factors[np.ix_(p.towns, p.train, made.networks.kept)]
        low, high = rows.min(axis=(0, 1)), rows.max(axis=(0, 1))
        start = made.factors["trend kept"][p.towns, 0][:, made.networks.kept]
        moved = found.change[p.towns] != 0
        end = start + found.change[p.towns]
        slack = 1e-6 * (high - low)
        assert (end >= np.minimum(low, start) - slack)[moved].all()
        assert (end <= np.maximum(high, start) + slack)[moved].all()


def test_shapley_values_add_up_to_the_rate(result):
    """Of every member: base and contributions give its forecast of the last year."""
    found, made = result.explanation, result.outlook.networks
    from experiments.towns.explanation import seen

    everyone = np.arange(27)
    x = seen(made, result.inputs, everyone, result.inputs.years.size - 1)
    for number, p in enumerate(made.problems):
        rate = np.asarray(networks._predict(made.ensemble(number), jax.numpy.asarray(x)))
        total = found.base[:, p.towns] + found.shapley[:, p.towns].sum(axis=2)
        np.testing.assert_allclose(total, rate[:, p.towns], rtol=1e-4, atol=1e-5)


def test_a_constant_factor_continues_and_a_trend_goes_on():
    years = np.arange(10.0)
    made = paths.continue_trends(np.stack([np.full(10, 3.0), years])[:, :, None], 3)
    np.testing.assert_allclose(made[0, :, 0], 3.0, rtol=1e-9)
    assert (np.diff(np.r_[9.0, made[1, :, 0]]) > 0).all()


def test_scenarios_are_ordered_for_every_factor(known):
    made = paths.scenario_paths(TINY, known)
    for k, name in enumerate(known.names):
        sign = -1.0 if name in TINY.lower_is_better else 1.0
        low, middle, high = (sign * made[n][:, :, k] for n in paths.SCENARIOS)
        assert (low <= middle + 1e-9).all()
        assert (middle <= high + 1e-9).all()


def test_ledger_has_every_printed_line_and_the_tables_speak(result):
    ledger = evaluate.ledger_frame(list(ledger_entries(result)))
    assert len(ledger) == len(data.load_printed("towns"))
    rows = ledger.set_index("quantity")["verdict"]
    kept = next(v for q, v in rows.items() if "strongest impact" in q)
    growth = next(v for q, v in rows.items() if "are towns of cluster 1" in q)
    most = next(v for q, v in rows.items() if "maximum impact" in q)
    assert (kept, growth, most) == ("reproduced", "not reproduced", "not reproduced")


def test_everything_is_written(result, tmp_path):
    with report.open_run(tmp_path, "towns", "tiny", TINY, seed=0, resume=False) as made:
        towns.EXPERIMENT.write(made, TINY, result)
    figures = {path.stem for path in (made.folder / "figures").glob("*.png")}
    assert {
        "tree",
        "cluster_1",
        "forecasts",
        "scenarios",
        "shapley",
        "network",
        "levers",
    } <= figures
    forecast = pd.read_parquet(made.folder / "tables" / "forecast.parquet")
    assert {"2023", "2024", "2025", "2026"} <= set(forecast.columns)
    assert "of 27 towns" in answer(TINY, result)


def own_table(num_towns: int = 8, num_years: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = [
        {"place": f"town {i}", "year": 2012 + t, "balance": rng.normal(scale=50),
         "latitude": 50.0 + i, "longitude": 60.0 + i, "wage": rng.normal() + t,
         "jobs": rng.normal()}
        for i in range(num_towns)
        for t in range(num_years)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def begin(path, config):
    made = inputs.load(path, config)
    return structure.find_structure(config, made, made.years.size, jax.random.key(0))


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda t: t, {}, "no factors are named"),
        (lambda t: t, {"factors": ("salary",)}, "salary"),
        (lambda t: t, {"factors": ("wage", "balance")}, "is the target"),
        (lambda t: t[t.place < "town 3"], {"factors": ("wage", "jobs")}, "3 towns"),
        (lambda t: t[t.year < 2017], {"factors": ("wage", "jobs")}, "5 years"),
        (lambda t: t.assign(wage=1.0), {"factors": ("wage",)}, "no factor changes"),
        (lambda t: t.assign(wage="high"), {"factors": ("wage",)}, "wage"),
    ],
)  # fmt: skip
def test_bad_data_end_in_words(tmp_path, change, options, words):
    path = tmp_path / "my.csv"
    change(own_table()).to_csv(path, index=False)
    config = replace(TINY, **options)
    with pytest.raises(data.DataError, match=words):
        begin(path, config)


def test_years_with_gaps_are_left_out_with_a_note(tmp_path):
    table = own_table(num_years=9)
    table.loc[table.year == 2012, "wage"] = np.nan
    table.loc[(table.year == 2015) & (table.place == "town 1"), "jobs"] = np.nan
    path = tmp_path / "my.csv"
    table.to_csv(path, index=False)
    made = inputs.load(path, replace(TINY, factors=("wage", "jobs")))
    assert made.years[0] == 2013
    assert any("2013" in note for note in made.note)
    assert ("town 1", "a factor has gaps") in made.left_out
    assert made.unit == "of the town's own size"


def test_choices_are_checked():
    for wrong in (
        {"num_clusters": 0}, {"training_years": 1}, {"percent": -10.0}, {"max_factors": 13}
    ):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            Config(**wrong)


def test_help_names_every_choice():
    done = command("experiments.towns", "--help")
    assert done.returncode == 0
    for name in ("--config.factors", "--config.percent", "arctic", "counties"):
        assert name in done.stdout
