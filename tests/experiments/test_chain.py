"""The joined chain on the bundled tables: what is calibrated, what must hold, what is said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffmig import data, report
from experiments.chain import frames, pages
from experiments.chain.config import (
    LABEL,
    NAMES,
    ORIGINS,
    VARIANTS,
    Assumption,
    Config,
    assumptions,
)
from experiments.chain.economy import BALANCE, GRP, investment_share
from experiments.chain.inputs import load

from .conftest import tiny_result

TINY = VARIANTS["tiny"]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return tiny_result("chain", tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def effects(result):
    return frames.effect_frame(TINY, result)


def test_gradients_agree_with_finite_changes(result):
    assert 0 < result.gradient_error < 1e-6


def test_the_last_year_of_the_data_is_met(result):
    """GRP of 2023, labour, the mean of the published balances, 400 thousand of 2018 per head."""
    years, inputs = result.middle.years, result.inputs
    assert years.grp[0] == pytest.approx(957.40e3, rel=1e-12)
    assert years.labour[0] == pytest.approx(807_353, rel=1e-9)
    people = years.population.sum(axis=-1)
    assert years.balance[0] == pytest.approx(TINY.start_rate.value * people[0] / 1e3, rel=1e-9)
    published = np.array(list(inputs.balances.values()))
    rates = 1e3 * published / np.asarray(inputs.population[12:16]).sum(axis=1)
    np.testing.assert_allclose(rates.mean(), TINY.start_rate.value, atol=0.01)
    np.testing.assert_allclose(rates.max(), TINY.start_rate.high, atol=0.01)
    np.testing.assert_allclose(rates.min(), TINY.start_rate.low, atol=0.01)
    head = result.past_capital[18] * 1e3 / np.asarray(inputs.population[18]).sum()
    assert head == pytest.approx(400 * inputs.price, rel=1e-12)
    assert inputs.price == pytest.approx(1.033 * 1.009 * 1.19 * 1.158 * 1.063, rel=1e-12)


def test_people_change_by_births_deaths_and_the_balance(result):
    checks = frames.check_frame(TINY, result).set_index("check")["value"]
    assert checks.iloc[0] < 1e-6
    assert checks.iloc[2] == result.past[0] != checks.iloc[3]
    assert checks.iloc[3] == pytest.approx(957.40 / 1038.27, rel=1e-12)


def test_investment_is_read_from_the_books(result):
    book = np.array([1347.752, 1437.167, 1540.145, 1574.098, 1651.112])
    grp = np.array([684.43, 867.61, 965.72, 957.40])
    expected = ((book[1:] - 0.95 * book[:-1]) / grp).mean()
    np.testing.assert_allclose(investment_share(result.inputs, 0.05), expected, rtol=1e-12)


def test_a_million_acts_by_ages_and_components_alone(result, effects):
    """Equal weights: lines of one bracket are worth the same, the young more than all; the last
    year counts by half; whatever is spent does not lower H, and so GRP rises."""
    at = effects.set_index(["line", "year"])
    first = at.xs(2024, level="year")
    assert first.grp["Health care"] == pytest.approx(first.grp["Private health care"], rel=1e-9)
    assert first.grp["Pre-school education"] > first.grp["Health care"] > 0
    last, before = (at.xs(year, level="year").grp for year in (2035, 2034))
    assert (last / before).between(0.49, 0.53).all()
    assert (effects[["grp", "balance"]] > 0).all().all()
    assert (effects.grp < 1 / 3).all()
    assert "Other education matters" not in set(effects.line)
    spread = effects[effects.year == 2024]
    assert (spread.balance_low < spread.balance_median).all()
    assert (spread.balance_median < spread.balance_high).all()


def test_every_set_of_assumptions_has_a_finite_chain(result):
    sets = result.sets
    assert sets.effects.shape == (TINY.num_points, 2, 22, 12)
    assert frames.all_sound(result)
    lost = sets._replace(outputs=np.where(sets.outputs < 0, np.nan, sets.outputs))
    assert not frames.all_sound(result._replace(sets=lost))
    assert np.ptp(sets.outputs[:, BALANCE]) > 100
    assert np.ptp(sets.effects[:, GRP, 0, 0]) > 0.02


def test_indices_name_who_makes_the_variance(result):
    assert (np.asarray(result.indices.status) == 0).all()
    assert set(result.indices.total) == set(NAMES) == set(ORIGINS) == set(assumptions(TINY))
    total = {name: np.asarray(x) for name, x in result.indices.total.items()}
    on_balance = {name: x[1] for name, x in total.items()}
    assert max(on_balance, key=on_balance.get) == "response"
    # what moves people and the country alone cannot change the effect on GRP by much
    assert all(total[name][0] < 0.02 for name in ("country_growth", "migrant_age", "start_rate"))


def test_least_spending_keeps_its_bounds(result):
    least = result.least
    assert least.status == 0
    assert least.attained == pytest.approx(TINY.lift, rel=1e-6)
    assert least.most > least.attained
    assert (least.change >= 0).all()
    assert (least.change <= TINY.lift_bound * result.amounts + 1e-9).all()
    frozen = [payer in TINY.frozen_payers for payer in result.inputs.budget.payers]
    assert (least.change[frozen] == 0).all()


def test_the_report_says_what_it_is(result, effects, tmp_path):
    with report.open_run(tmp_path, "chain", "tiny", TINY, seed=0, note=lambda x: None) as run:
        pages.write(run, TINY, result)
        folder = run.folder
        answer = run.metrics["answer"]
        assert answer.startswith("In a model exercise, not a forecast, a million RUB")
        assert "5-95 %" in run.metrics["details"]
        assert run.metrics["converged"] == 1.0
        contents = json.loads((folder / "contents.json").read_text())
        names = {c["name"] for c in contents if c["kind"] == "figure"}
        assert names == {
            *("course", "variance", "grp_by_year", "balance_by_year"),
            *("grp_of_2024", "balance_of_2024"),
        }
        assert all(LABEL in c["source"] for c in contents if c["kind"] == "figure")
    for name in pages.SHOWN:
        drawn, bars = pages.effect_bars(TINY, result, effects, name, "this run")
        printed = drawn.axes[0].get_title(loc="left")
        assert "Sobol" in printed
        assert "rest assumed" in printed.replace("\n", " ")
        assert LABEL in " ".join(drawn.get_suptitle().split())
        assert len(set(bars["label"])) == len(bars) == 14


def test_a_file_of_ones_own_is_refused_with_words():
    with pytest.raises(data.DataError, match="one file cannot hold them"):
        load(Path("my.csv"), TINY)


def test_assumptions_and_choices_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="expected low <= value <= high"):
        Assumption(0.3, 0.4, 0.5)
    with pytest.raises(ValueError, match="expected last_year 2018 to 2023"):
        Config(last_year=2024)
    with pytest.raises(ValueError, match="expected 2 or more"):
        Config(last_year=2019, asset_years=1)
    with pytest.raises(ValueError, match="nothing is left for culture"):
        replace(TINY, health_share=Assumption(0.5, 0.4, 0.6))
    with pytest.raises(ValueError, match="expected numbers > 0"):
        replace(TINY, lift=0.0)
