"""Benchmarks run in a small size, their peers do what they are said to do, their answers agree."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import batches, hybrids
from benchmarks._keras_hybrids import SEARCHES, Job, Outcome, _Counted

needs_peers = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("keras", "deap")),
    reason="Keras and DEAP are not installed (extra 'bench')",
)
QUICK = hybrids.Options(quick=True, hybrids=("GA-BPNN",), out="")
JOB = Job(
    hybrid="",
    reuse=True,
    series=[],
    evaluations=[],
    weights=None,
    reuse_units=10,
    box={"units": (1.0, 16.0)},
    fixed={},
    num_members=10,
    num_steps=100,
    whole=False,
    seed=3,
)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return hybrids.run(QUICK)  # with the peers where they are installed


def test_hybrids_measure_diffmig(rows: list[dict]) -> None:
    row, total = rows[0], rows[-1]
    assert row["search_followed"]
    # two price bases, 10 individuals at the start, and some of 10 in each of 10 generations
    assert 2 * 10 < row["evaluations"] <= 2 * 110
    assert total["seconds"] == row["seconds"] > 0
    assert total["status"] == "met" or total["seconds"] >= hybrids.TARGET_SECONDS
    assert "GA-BPNN" in hybrids.table(rows)


def test_hybrids_without_peers_are_not_compared() -> None:
    assert not hybrids.has_peers(replace(QUICK, peers=False))
    own = {"hybrid": "GA-BPNN", "peer": None, "evaluations": 146, "seconds": 0.2}
    own |= {"seconds_per_evaluation": 0.0014, "seconds_one_device": 0.3, "compile_seconds": 5.0}
    text = hybrids.table([own | {"mape": 7.4, "peak_bytes": 2**30, "status": "not compared"}])
    assert "146 evaluations 0.20 s" in text
    assert "1024 MiB" in text


@needs_peers
def test_hybrids_and_keras_agree_from_equal_weights(rows: list[dict]) -> None:
    build, reuse, _ = rows
    expected, reached = reuse["check_mape"]
    assert reached == pytest.approx(expected, rel=0.01)
    assert build["peer_seconds_per_evaluation"] > reuse["peer_seconds_per_evaluation"]
    assert build["peer_evaluations_measured"] == 2
    json.dumps([build, reuse])


@pytest.mark.parametrize(
    ("hybrid", "num_members", "evaluations"), [("BA-LSTM", 20, 2020), ("PSO-Elman", 10, 1010)]
)
def test_loops_of_the_paper_evaluate_every_member_every_step(
    hybrid: str, num_members: int, evaluations: int
) -> None:
    job = JOB._replace(hybrid=hybrid, num_members=num_members)
    fitness = _Counted(job, None)
    SEARCHES[hybrid](fitness, np.array([1.0]), np.array([16.0]), job)
    assert fitness.calls == evaluations


@needs_peers
def test_ea_simple_evaluates_only_changed_individuals() -> None:
    job = JOB._replace(hybrid="GA-BPNN", num_steps=10)
    fitness = _Counted(job, None)
    SEARCHES["GA-BPNN"](fitness, np.array([1.0]), np.array([99.0]), job)
    assert 45 < fitness.calls < 95  # 110 if all were; mean 70, standard deviation 6


def test_extrapolation_is_mean_seconds_times_evaluations() -> None:
    own = {"evaluations": 500, "seconds": 2.0}
    outcome = Outcome([0.1, 0.3], [5.0, 7.0], 1.0, 9.0, 1.5, 1010, None, None, None, 1, {})
    row = hybrids._compare("reuse", own, JOB._replace(series=[{}, {}]), outcome, 9.1)
    assert row["peer_seconds_extrapolated"] == pytest.approx(0.2 * 500 + 2 * 1.5)
    assert (row["ratio"], row["peer_mape"]) == (pytest.approx(51.5), 6.0)
    assert row["status"] == "met"
    wrong = hybrids._compare("reuse", own, JOB, outcome, 12.0)
    assert wrong["status"] == "answers differ"


def test_batches_agree_with_a_loop() -> None:
    options = batches.Options(
        models=("BPNN",), sizes=(1,), block_sizes=(0, 3), block_sweep=8, epochs=3, repeats=1
    )
    rows = batches.measure(options)
    batches.judge(rows)
    assert [(r["sweep"], r["num_networks"], r["block"]) for r in rows] == [
        ("size", 1, 0),
        ("block", 8, 0),
        ("block", 8, 3),
    ]
    assert all(row["error"] < 1e-4 and row["status"] == "compared" for row in rows)
    assert "BPNN" in batches.table(rows)


def test_batches_claim_is_judged_against_the_best_of_its_sweep() -> None:
    def row(num_networks: int, ms: float, block: int = 256) -> dict:
        case = {"sweep": "size", "model": "LSTM", "devices": 1, "error": 0.0}
        return case | {"num_networks": num_networks, "block": block, "ms_per_network": ms}

    rows = [row(100, 1.0), row(10_000, 1.29), row(10_000, 1.31)]
    batches.judge(rows)
    assert [r["status"] for r in rows] == ["compared", "met", "missed"]
    assert rows[2]["ratio"] == pytest.approx(1.31)
