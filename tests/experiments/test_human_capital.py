"""Human capital: the paper's course, no look ahead, a budget of one's own."""

from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

from diffmig import data, evaluate, report
from diffmig import human_capital as hc
from experiments import human_capital
from experiments.human_capital import economy, frames, inputs, people
from experiments.human_capital.claims import hdi_check, ledger_entries
from experiments.human_capital.config import VARIANTS, own_data
from experiments.human_capital.hold_outs import hold_out
from experiments.human_capital.study import run

from .conftest import command

TINY = VARIANTS["tiny"]


@pytest.fixture(scope="module")
def known():
    return inputs.load(None, TINY)


@pytest.fixture(scope="module")
def result(known):
    return run(TINY, known, jax.random.key(0), lambda *a: None, None)


@pytest.fixture(scope="module")
def ledger(result):
    return evaluate.ledger_frame(ledger_entries(TINY, result)).set_index("quantity")


def test_default_parameters_give_the_published_course(known):
    """Wear .027 and factor 1.905: H in bn (thousand per head) within 1.5 % of an independent
    computation, minimum in 2006 or the year beside it, growth fastest after 2013."""
    region = economy.build_region(TINY, known)
    parameters = economy.make_parameters(economy.component_shares(TINY, 3), 0.027, 1.905)
    made = jax.jit(hc.human_capital)(parameters, region)
    years = {
        2000: (561, 352),
        2006: (526, 341),
        2010: (534, 351),
        2013: (552, 364),
        2018: (604, 400),
    }
    for year, (total, head) in years.items():
        np.testing.assert_allclose(made.total[year - 2000] / 1e3, total, rtol=0.015)
        np.testing.assert_allclose(made.per_inhabitant[year - 2000] / 1e3, head, rtol=0.015)
    shares = np.asarray(made.by_component / made.total[:, None])
    np.testing.assert_allclose(shares[0], (0.31, 0.57, 0.12), atol=0.01)
    np.testing.assert_allclose(shares[18], (0.34, 0.46, 0.20), atol=0.01)


def test_calibration_meets_both_anchors(result):
    course = frames.course_frame(result).set_index("year")
    assert course["total"].idxmin() == 2006
    assert course["per_inhabitant"][2018] == pytest.approx(400.0, abs=1e-6)
    assert 0.0225 < float(result.parameters.wear_rate[0]) < 0.031
    assert result.calibration.met
    assert np.isfinite(result.calibration.standard_error).all()
    # not fitted: the fastest growth is after 2013
    assert course["growth"].idxmax() > 2013


def test_every_identity_holds(result):
    frame = frames.identities_frame(result).set_index("identity")["residual"]
    assert len(frame) == 6
    assert (frame < 1e-8).all(), frame
    assert (frame[[name for name in frame.index if "million more" not in name]] < 1e-12).all()


def test_balance_is_made_of_spending_wear_and_people(result):
    frame = frames.balance_frame(result)
    spent = np.asarray(result.region.amounts).sum(axis=0) / 1e3 / 3
    np.testing.assert_allclose(frame["investment"], 0.5 * (spent[:-1] + spent[1:]), rtol=1e-12)
    assert (frame[["wear", "deaths", "outflow"]] > 0).all().all()
    assert result.people.life_expectancy[2] == pytest.approx(70.9, abs=1.5)


def test_published_balance_is_reported_not_forced(known):
    frame = people.published_frame(known).set_index("year")
    assert frame["residual"].to_dict() == {2012: 0.0, 2013: 0.0, 2014: -72.0, 2015: 6.0}


def test_ledger_has_every_printed_number_and_its_verdict(ledger):
    assert len(ledger) == len(data.load_printed("human_capital"))
    verdict = ledger["verdict"]
    assert verdict["budget spending on education 2010"] == "impossible"
    assert verdict["budget spending on health and sport 2018"] == "impossible"
    assert verdict["budget spending on health and sport 2015"] == "reproduced"
    assert verdict["human capital grew fastest from 2013 on"] == "reproduced"
    # anchors are no results, and 14 of 19 annual values are not printed
    assert verdict["human capital per inhabitant 2018 (about)"] == "not checkable"
    assert verdict["human capital of 2000-2018 has its minimum in 2006"] == "not checkable"
    assert (verdict[verdict.index.str.contains("deviation")] == "not checkable").all()


def test_the_index_of_development_rises_while_capital_falls(result):
    found = hdi_check(result)
    assert found.total_to_2006 < -0.5 < 0.5 < found.total
    assert found.per_inhabitant > 0.5


def test_working_ages_cannot_give_the_published_shape(result):
    frame = result.participation.set_index("counted")
    assert (frame.loc["working-age", "minimum"] != 2006).all()
    assert (frame.loc["all", "minimum"] == 2006).any() or (
        frame.loc["all", "minimum"].between(2004, 2007).any()
    )


def test_assumptions_are_varied_alone(result):
    frame = result.assumptions
    base = frame[frame["assumption"] == "base"]
    assert np.ptp(base["per_head"]) < 1e-9
    others = frame[frame["assumption"] != "base"]
    assert (others[others["parameters"] == "of the base"]["per_head"] - 400).abs().min() > 0.05
    met = others[(others["met"] == True) & (others["minimum"] == 2006)]  # noqa: E712
    np.testing.assert_allclose(met["per_head"], 400.0, atol=5.0)


def test_hold_outs_see_nothing_later(known):
    """Figures and indicators after the origin may be anything: forecasts stay the same."""
    config = replace(TINY, epochs=5)
    origin = 2010
    known_years = known.budget.years <= origin
    wild = known._replace(
        budget=known.budget._replace(
            amounts=np.where(known_years[None, :], known.budget.amounts, 1e6)
        ),
        indicators=np.where((known.years <= origin)[:, None], known.indicators, 1e6),
        price_index=np.where(known.years <= origin, known.price_index, 300.0),
    )
    key = jax.random.key(1)
    plain, other = (hold_out(config, x, key, origin) for x in (known, wild))
    for name, forecast in plain.forecasts.items():
        same = np.allclose(forecast, other.forecasts[name], rtol=1e-12)
        assert same != ("conditional" in name), name
    assert plain.actual[0, 0] != other.actual[0, 0]


def test_the_cheapest_path_reaches_its_target(result):
    worth = result.worth
    for path, reached in zip((worth.cheapest, worth.smooth), worth.reached, strict=True):
        assert reached == pytest.approx(worth.target, rel=1e-12)
        high = TINY.target_bound * np.asarray(result.region.amounts[:, worth.path_years])
        assert (np.asarray(path.change) <= high * (1 + 1e-12)).all()
    assert worth.cheapest.change.sum() < worth.smooth.change.sum()


def own_files(folder):
    data.budget_to_frame(data.load_budget()).to_csv(folder / "budget.csv", index=False)
    ages = data.ages_to_frame(data.load_population())
    ages.to_csv(folder / "ages.csv", index=False)
    data.load_population_totals().to_csv(folder / "totals.csv", index=False)
    return replace(
        own_data(TINY), population=str(folder / "ages.csv"), totals=str(folder / "totals.csv")
    )


def test_a_budget_of_ones_own(tmp_path):
    config = own_files(tmp_path)
    found = inputs.load(tmp_path / "budget.csv", config)
    made = run(config, found, jax.random.key(0), lambda *a: None, None)
    assert made.investment is None
    assert made.assumptions is None
    with report.open_run(tmp_path / "out", "human_capital", "own", config, seed=0) as folder:
        human_capital.EXPERIMENT.write(folder, config, made)
    assert (folder.folder / "figures" / "lexis.png").exists()
    assert not (folder.folder / "ledger.csv").exists()
    assert "taken as given" in folder.metrics["answer"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population": ""}, "no ages for your budget"),
        ({"totals": ""}, "no ages after 2014, but spending until 2018"),
        ({"calibrate": True, "per_head_year": 2030}, "per-head-year: 2030 is not in 2000-2018"),
        ({"origins": (2012,)}, "origins .2012. are not among"),
        ({"base_year": 1990}, "base-year 1990"),
        ({"price_index": "deflator"}, "have no file"),
        ({"participation": "working-age"}, "no labour resources"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    config = replace(own_files(tmp_path), **change)
    with pytest.raises(data.DataError, match=message):
        economy.build_region(config, inputs.load(tmp_path / "budget.csv", config))


def test_thousands_for_persons_are_noticed(tmp_path):
    config = own_files(tmp_path)
    ages = pd.read_csv(tmp_path / "ages.csv")
    for factor, unit in ((1e-3, "persons"), (1.0, "thousands")):
        scaled = ages.assign(population=(ages["population"] * factor).round())
        scaled.to_csv(tmp_path / "scaled.csv", index=False)
        wrong = replace(config, population=str(tmp_path / "scaled.csv"), population_unit=unit)
        with pytest.raises(data.DataError, match="thousand"):
            inputs.load(tmp_path / "budget.csv", wrong)


def test_help_names_every_choice():
    done = command("experiments.human_capital", "--help")
    assert done.returncode == 0
    for text in ("--config.population", "--config.totals", "working-age", "--resume"):
        assert text in done.stdout
