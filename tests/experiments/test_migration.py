"""Migration: known truth, the real fit, honesty of what is reported, data of one's own."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from diffmig import data, evaluate, report
from experiments import migration
from experiments.migration import dynamics, frames, inputs, skill, system
from experiments.migration.answers import answer
from experiments.migration.claims import ledger_entries
from experiments.migration.config import VARIANTS, Config, own_data
from experiments.migration.explanation import yearly_means
from experiments.migration.fits import DESCRIBED, PINN, SMOOTHER, SPLINE
from experiments.migration.skill import MODEL, skill_frame

from .conftest import command, tiny_result

TINY = VARIANTS["tiny"]


@pytest.fixture(scope="module")
def known():
    return inputs.load(None, TINY)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return tiny_result("migration", tmp_path_factory.mktemp("tiny"))


def test_states_are_a_closed_system(known):
    assert known.closed
    assert len(known.places) == 51
    np.testing.assert_allclose(known.scale @ known.rate, 0.0, atol=1e-6)
    assert any("no ages" in note for note in known.note)
    assert not inputs.load(None, replace(TINY, balance="net")).closed


def test_only_neighbours_act_where_asked(known):
    every, near = (
        np.asarray(system.kernel_weights(replace(TINY, neighbours=k), known)) for k in (0, 4)
    )
    kept = near > 0
    assert (every > 0).sum() == 51 * 50
    assert 51 * 4 <= kept.sum() < 51 * 9
    assert (kept.sum(axis=1) >= 4).all()
    np.testing.assert_array_equal(near[kept], every[kept])
    np.testing.assert_array_equal(near, near.T)
    with pytest.raises(ValueError, match="neighbours"):
        replace(TINY, neighbours=-1)


def test_the_solution_stays_closed_and_solves_the_equation(result, known):
    found = result.fits.estimates[SMOOTHER]
    np.testing.assert_allclose(known.scale @ np.asarray(found.balance), 0.0, atol=1e-6)
    np.testing.assert_allclose(known.scale @ np.asarray(found.force), 0.0, atol=1e-5)
    # smoothed yearly means and those of the integrated equation agree: the force produces the fit
    direct = yearly_means(np.asarray(found.time), found.balance, known.years.size)
    solved = result.fits.solutions[SMOOTHER]
    scale = float(jnp.std(direct))
    assert float(jnp.abs(direct - solved).max()) < 0.3 * scale


def test_known_force_is_recovered(result):
    table = result.recovery.table.set_index("method")
    assert table.loc["latent-force smoother", "force_error"] < 0.2
    assert 0.85 < table.loc["latent-force smoother", "covered"] <= 1.0
    # the penalised network is the penalised spline, found another way
    spline, network = (
        table.loc[name, "force_error"] for name in ("penalised spline", "PINN, penalised")
    )
    assert network == pytest.approx(spline, rel=0.1)


def test_any_strengths_fit_with_a_force_of_their_own(result):
    table = frames.solution_frame_of(result).set_index("method")
    assert set(table.index) == {SMOOTHER, SPLINE, PINN, DESCRIBED}
    assert table.loc[[SMOOTHER, SPLINE, PINN], "r2"].min() > 0.9
    # trained together with a free force the strengths stay where they start
    start = np.array(list(system.LIMITS.values())) / 2 * np.asarray(result.system.active)
    for found in np.asarray(result.fits.described_theta):
        np.testing.assert_allclose(found, start, rtol=0.2, atol=1e-12)


def test_years_after_an_origin_are_not_seen(known):
    """Fit and forecast of an origin do not change when later balances do."""
    count = 7
    changed = known.rate.copy()
    changed[:, count:] += 100.0 * np.arange(1, 52)[:, None]
    made = []
    for rate in (known.rate, changed):
        built = system.build_system(TINY, known, rate[:, :count])
        found = dynamics.fit_dynamics(TINY, built, rate, count)
        made.append(dynamics.in_places(TINY, built, found, rate, count)[0])
    np.testing.assert_allclose(made[0][:, : count + 1], made[1][:, : count + 1], rtol=1e-6)


def test_skill_stands_beside_naive_rules(result):
    table = skill_frame(result.skill)
    assert {MODEL, "last value", "AR(1), pooled", "mean of the past"} <= set(table["method"])
    naive = table[table["method"] == "last value"]
    assert (naive["skill"] == 0.0).all()
    assert table["rmse"].between(0.5, 10).all()
    beaten = table.set_index(["method", "horizon"])["skill"][MODEL, 1] > 0
    assert skill.beats_last_value(result.skill, 1) == beaten


def test_shares_and_effects_add_up(result):
    shares = result.explanation.shares
    total = shares.free + shares.base + shares.factor.sum(axis=0) + shares.unexplained
    np.testing.assert_allclose(total, shares.balance, atol=1e-8)
    effect, place = result.scenario.effect, result.scenario.place
    np.testing.assert_allclose(effect.own + effect.spill_over, effect.total, atol=1e-12)
    assert effect.own[place, -1] > 0  # the change was chosen as a gain
    assert result.scenario.reached == pytest.approx(float(result.scenario.least.response))


def test_ledger_has_every_claim_and_promises_nothing(result):
    ledger = evaluate.ledger_frame(ledger_entries(result)).set_index("quantity")
    assert len(ledger) == len(data.load_printed("migration"))
    r2 = [q for q in ledger.index if "coefficient of determination" in q]
    assert (ledger.loc[r2, "verdict"] == "not checkable").all()
    young = ledger[ledger.index.str.contains("age function of the young")]
    assert (young["verdict"] == "reproduced").all()
    assert "the paper prints 0.84" in answer(result)


def test_everything_is_written(result, tmp_path):
    with report.open_run(tmp_path, "migration", "tiny", TINY, seed=0) as folder:
        migration.EXPERIMENT.write(folder, TINY, result)
    names = {path.stem for path in (folder.folder / "figures").glob("*.png")}
    assert {"trajectories", "map", "forces", "profiles", "surrogate_comparison", "shares",
            "scenario_map", "training", "towns"} <= names  # fmt: skip
    assert (folder.folder / "ledger.csv").exists()


def own_table(num_years: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "place": f"town {i}", "year": 2010 + t, "balance": float(rng.normal(0, 40)),
            "population": 9000 + 500 * i, "latitude": 50 + i, "longitude": 60 + 2 * i,
            "jobs": float(rng.uniform(1, 5)), "old": 0.1 * i,
        }
        for i in range(7) for t in range(num_years)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def load_own(folder, frame, **changes) -> inputs.Inputs:
    frame.to_csv(folder / "own.csv", index=False)
    return inputs.load(folder / "own.csv", replace(own_data(Config()), **changes))


def test_data_of_ones_own(tmp_path):
    found = load_own(tmp_path, own_table(), features=("jobs",), immobility_column="old")
    assert found.feature_names == ("jobs",)
    assert found.features.shape == (7, 6, 1)
    np.testing.assert_allclose(found.immobility, 0.1 * np.arange(7))
    assert not found.closed
    built = system.build_system(Config(), found, found.rate)
    assert built.names == ("distance", "similarity", "age", "confinement", "damping")


def test_without_population_rates_are_standardised_and_it_is_said(tmp_path):
    found = load_own(tmp_path, own_table().drop(columns="population"))
    np.testing.assert_allclose(found.rate.std(axis=1), 1.0)
    assert any("no population" in note for note in found.note)


@pytest.mark.parametrize(
    ("frame", "changes", "words"),
    [
        (own_table(3), {}, "4"),
        (own_table().assign(balance=0.0), {}, "0 in every year"),
        (own_table().drop(columns="latitude"), {}, "latitude"),
        (own_table().rename(columns={"latitude": "longitude", "longitude": "latitude"}).assign(
            latitude=lambda f: f["latitude"] + 60), {}, "swapped"),
        (own_table(), {"features": ("wages",)}, "wages"),
        (own_table(), {"closed": "yes"}, "sum to"),
        (own_table(), {"immobility_column": "jobs"}, "outside"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, frame, changes, words):
    with pytest.raises(data.DataError, match=words):
        load_own(tmp_path, frame, **changes)


def test_a_kernel_that_does_not_reach_is_noted(tmp_path):
    found = load_own(tmp_path, own_table())
    built = system.build_system(replace(Config(), kernel_length=2.0), found, found.rate)
    assert any("do not act on each other" in note for note in built.note)


def test_arctic_municipalities(real_data, monkeypatch):
    monkeypatch.setenv("DIFFMIG_TEST_DATA", str(real_data))
    found = inputs.load(None, VARIANTS["arctic"])
    assert len(found.places) == 62
    assert found.immobility is not None
    assert ((found.immobility > 0) & (found.immobility < 1)).all()


def test_help_names_every_choice():
    done = command("experiments.migration", "--help")
    assert done.returncode == 0
    for text in ("--config.coordinates", "--config.kernel-length", "counties", "arctic"):
        assert text in done.stdout
