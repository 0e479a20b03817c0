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
from experiments.human_capital.hold_outs import hold_out, indicators_given
from experiments.human_capital.study import comparable_ahead, run

from .conftest import command

TINY = VARIANTS["tiny"]
PRINTED = ("2000", "2005", "2010", "2015", "2018")


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
    computation, lowest in 2006 or the year beside it, growth fastest after 2013."""
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
    total = np.asarray(made.total)
    assert abs(2000 + total.argmin() - 2006) <= 1
    assert 2000 + np.diff(np.log(total)).argmax() >= 2013
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
    assert frame.loc["all", "minimum"].between(2004, 2007).any()


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


def test_the_network_sees_the_year_before_what_it_forecasts(known):
    """Given indicators: the first forecast uses those of the origin itself."""
    given = indicators_given(known, 2015, 3)
    np.testing.assert_array_equal(given, known.indicators[[15, 16, 17]])


def test_comparable_spending_ahead_is_deflated(known, result):
    """Prices rise by 10 % a year: 121 of the second year are 100 of the last one known."""
    made = result.investment._replace(index_ahead=np.full(2, 110.0))
    last = made.outputs.values[-1]
    forecast = np.stack([1.1 * last, 1.21 * last])
    ahead = comparable_ahead(TINY, known, made, forecast)
    now = np.asarray(result.region.amounts[:, -1])
    np.testing.assert_allclose(ahead[:, 0], now, rtol=1e-12)
    np.testing.assert_allclose(ahead[:, 1], now, rtol=1e-12)


def with_gaps(known, line, gaps):
    mask = known.budget.mask.copy()
    mask[line, gaps] = False
    amounts = np.where(mask, known.budget.amounts, 0.0)
    return known._replace(budget=known.budget._replace(mask=mask, amounts=amounts))


def test_a_missing_figure_is_unknown_and_not_nothing(known):
    """Between figures the line's own years count; after the last one its volume is held."""
    whole = economy.nominal_amounts(TINY, known)[0]
    inside = economy.nominal_amounts(TINY, with_gaps(known, 0, [2]))[0]
    years = known.years
    expected = np.exp(np.interp(years[5:16], [2005, 2015], np.log(whole[[5, 15]])))
    np.testing.assert_allclose(inside[5:16], expected, rtol=1e-12)
    after = economy.nominal_amounts(TINY, with_gaps(known, 0, [4]))[0]
    factor = economy.price_factor(TINY, known)
    np.testing.assert_allclose(after[18] * factor[18], whole[15] * factor[15], rtol=1e-12)
    held = hold_out(replace(TINY, epochs=1), with_gaps(known, 0, [4]), jax.random.key(0), 2010)
    assert np.isnan(held.actual[-1, 0])
    assert np.isfinite(held.actual[-1, 1:]).all()


def test_lines_that_begin_later_are_held_back_in_comparable_prices(known):
    """Rule "nearest": the federal lines keep the volume of 2015 before it; a hold-out that knows
    no figure of theirs has nothing."""
    config = replace(TINY, missing="nearest", epochs=1)
    real = economy.nominal_amounts(config, known) * economy.price_factor(config, known)
    federal = [payer == "federal" for payer in known.budget.payers]
    np.testing.assert_allclose(real[federal][:, 0], real[federal][:, 15], rtol=1e-12)
    zero = economy.nominal_amounts(TINY, known)[federal]
    assert (zero[:, :11] == 0).all()
    held = hold_out(config, known, jax.random.key(0), 2010)
    assert all(np.isfinite(forecast).all() for forecast in held.forecasts.values())


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
    assert "taken as given" in folder.metrics["details"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population": ""}, "no ages for your budget"),
        ({"totals": ""}, "no ages after 2014, but years until 2018"),
        ({"calibrate": True, "per_head_year": 2030}, "per-head-year: 2030 is not in 2000-2018"),
        ({"origins": (2012,)}, "origins .2012. are not among"),
        ({"base_year": 1990}, "base-year 1990"),
        ({"price_index": "deflator"}, "have no file"),
        ({"participation": "working-age"}, "no labour resources"),
        ({"replicate": True}, "replicate is about the paper's own budget"),
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


def no_students(frame):
    """Everyone of 15-24 is 25-29: totals stay."""
    population = frame["population"].to_numpy(float).copy()
    ages = frame["age"].to_numpy()
    for shift, group in ((2, "15-19"), (1, "20-24")):
        young = ages == group
        population[np.roll(young, shift)] += population[young]
        population[young] = 0.0
    return population


def edited(folder, name, edit):
    frame = pd.read_csv(folder / name)
    edit(frame).to_csv(folder / name, index=False)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("budget.csv", lambda f: f[["line", "component", "payer", "first_age", "last_age", "2018"]],
         "one year only"),
        ("budget.csv", lambda f: f.assign(last_age=110), "reach beyond 100"),
        ("budget.csv", lambda f: f.assign(**dict.fromkeys(PRINTED, 0.0)), "nothing is spent"),
        ("ages.csv", lambda f: f[f["age"] != "85+"], "the last age group ends with 84"),
        ("ages.csv", lambda f: f.assign(population=no_students(f)),
         "Secondary vocational education: nobody is 18 to 21"),
        ("ages.csv", lambda f: f[f["year"] == 2014], "the first age table is of 2014"),
        ("totals.csv", lambda f: f.assign(births=1.0)[["year", "births", "total"]].rename(
            columns={"total": "all"}), "call it 'total'"),
        ("totals.csv", lambda f: f[f["year"] < 2014], "no ages after 2014"),
        ("totals.csv", lambda f: f[f["year"] > 2015].assign(total=lambda x: x["total"] / 1e3),
         "may be in thousands"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_named(tmp_path, name, edit, message):
    config = own_files(tmp_path)
    edited(tmp_path, name, edit)
    with pytest.raises(data.DataError, match=message):
        inputs.load(tmp_path / "budget.csv", config)


def test_ages_beyond_a_hundred_are_joined(tmp_path):
    config = own_files(tmp_path)
    whole = inputs.load(tmp_path / "budget.csv", config)

    def edit(frame):
        old = frame[frame["age"] == "85+"]
        parts = [("85-99", 0.9), ("100-104", 0.08), ("105+", 0.02)]
        split = [old.assign(age=age, population=old["population"] * x) for age, x in parts]
        return pd.concat([frame[frame["age"] != "85+"], *split])

    edited(tmp_path, "ages.csv", edit)
    made = inputs.load(tmp_path / "budget.csv", config)
    tables = [0, 5, 10, 14]
    np.testing.assert_allclose(
        made.population[tables].sum(axis=1), whole.population[tables].sum(axis=1), rtol=1e-12
    )


def test_an_index_in_ratios_is_noticed(tmp_path):
    index = data.variable(data.load_table("grp_udmurt"), "deflator")[0] / 100
    frame = pd.DataFrame({"year": np.arange(2000, 2024), "prices": index})
    frame.to_csv(tmp_path / "prices.csv", index=False)
    config = replace(
        own_files(tmp_path), indicators=str(tmp_path / "prices.csv"), price_index="prices"
    )
    with pytest.raises(data.DataError, match="multiply ratios by 100"):
        inputs.load(tmp_path / "budget.csv", config)


def test_help_names_every_choice():
    done = command("experiments.human_capital", "--help")
    assert done.returncode == 0
    for text in ("--config.population", "--config.totals", "working-age", "--resume"):
        assert text in done.stdout
