"""Benchmarks run in a small size, their peers do what they are said to do, their answers agree."""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    _ode_problem,
    _schemes,
    _statsforecast,
    batches,
    hybrids,
    ode,
    readme,
    smoothing,
    transport,
)
from benchmarks._keras_hybrids import SEARCHES, Job, Outcome, _Counted
from benchmarks._timing import Timing

needs_peers = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("keras", "deap")),
    reason="Keras and DEAP are not installed (extra 'bench')",
)
needs_statsforecast = pytest.mark.skipif(
    not importlib.util.find_spec("statsforecast"),
    reason="statsforecast is not installed (extra 'bench')",
)
needs_py_pde = pytest.mark.skipif(
    not importlib.util.find_spec("pde"), reason="py-pde is not installed (extra 'bench')"
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


SMOOTHING = smoothing.Options(
    models=("holt",),
    unblocked=40,
    sample=40,
    origins=2,
    origin_series=24,
    origin_sample=24,
    many=(8,),
    lengths=(20, 40),
    length_series=8,
    length=40,
    repeats=1,
    budget=0.1,
)


@pytest.fixture
def peer() -> Iterator[_statsforecast.Peer]:
    with _statsforecast.Peer() as peer:
        yield peer


def test_smoothing_without_peer_is_not_compared(tmp_path: Path) -> None:
    rows = smoothing.measure_fit("ses", 24, SMOOTHING, None, str(tmp_path))
    rows += smoothing.measure_sweeps(SMOOTHING)
    smoothing.judge(rows)
    assert [row["status"] for row in rows[:2]] == ["not compared"] * 2
    assert [row["part"] for row in rows[2:]] == ["many", "length", "length"]
    for row in rows:
        assert row.get("error", 0.0) < smoothing.CHECKS["float32"]
        assert row["seconds"] > 0
        assert row["unusable"] == 0
    assert "not compared" in smoothing.table(rows)
    json.dumps(rows)


@pytest.mark.slow
@needs_statsforecast
def test_smoothing_and_statsforecast_find_equal_squares(
    tmp_path: Path, peer: _statsforecast.Peer
) -> None:
    double, single, whole = smoothing.measure_fit("holt", 40, SMOOTHING, peer, str(tmp_path))
    assert [double["block"] > 0, whole["block"]] == [True, 0]
    for row in (double, single):
        assert row["squares_ratio"] == pytest.approx(1.0, abs=0.02)
        assert row["ratio"] == pytest.approx(row["peer_seconds"] / row["seconds"])
        assert not row["peer_extrapolated"]


@pytest.mark.slow
def test_smoothing_fits_at_every_origin_reach_those_of_one_fit(tmp_path: Path) -> None:
    with ExitStack() as stack:
        has_peer = smoothing.has_peer(SMOOTHING)
        peer = stack.enter_context(_statsforecast.Peer()) if has_peer else None
        rows = smoothing.measure_origins(SMOOTHING, peer, str(tmp_path))
    for row in rows:
        assert row["error"] < 0.1
        if has_peer:  # one weight, same start: the same minimum
            of_ses = row["squares_by_model"]["ses"]
            assert of_ses["squares_ratio"] == pytest.approx(1.0, abs=1e-4)


@needs_statsforecast
def test_statsforecast_fits_every_origin_anew(tmp_path: Path, peer: _statsforecast.Peer) -> None:
    y = smoothing.made_series(200, 60, 1)
    job = smoothing._job(str(tmp_path), ["holt"], y, 1) | {"num_series": 200, "want": "seconds"}
    peer(**job)
    assert peer(**job, num_windows=8) > 2 * peer(**job)


def test_smoothing_extrapolates_beyond_the_start_up() -> None:
    def timed(seconds: float) -> Timing:
        return Timing(seconds, seconds, seconds, 3, 0.0)

    calls = {"peer 1": timed(2.0), "start 1": timed(0.5), "peer 2": timed(1.5), "start 2": timed(1)}
    row = smoothing.peer_seconds(calls, {"peer": 110, "start": 10}, 1010)
    assert row["peer_seconds_by_processes"] == pytest.approx([15.5, 6.0])
    assert (row["peer_processes"], row["peer_extrapolated"]) == (2, True)


def test_smoothing_is_judged_by_speed_and_by_squares() -> None:
    def row(ratio: float, worse: float, error: float = 0.0) -> dict:
        case = {"part": "fit", "model": "holt", "dtype": "float32", "error": error}
        return case | {"ratio": ratio, "worse_0.001": worse}

    rows = [row(19, 0.01), row(17, 0.01), row(19, 0.2), row(19, 0.0, 1.0)]
    smoothing.judge(rows)
    assert [r["status"] for r in rows] == ["met", "missed", "missed", "answers differ"]


def test_smoothing_series_do_not_depend_on_their_number() -> None:
    few, many = smoothing.made_series(3, 20, 0), smoothing.made_series(1500, 20, 0)
    np.testing.assert_array_equal(few, many[:, :3])
    assert many.min() == pytest.approx(10.0)
    assert not np.array_equal(many[:, :500], many[:, 1000:])


TRANSPORT = transport.Options(
    peers=False,
    steps=(0.5, 0.25),
    regions=4,
    years=5,
    blocks=(3,),
    gradient_regions=(1,),
    repeats=1,
    budget=0.01,
    out="",
)


@pytest.fixture(scope="module")
def transport_rows() -> list[dict]:
    rows = [
        row for name in ("bracket", "wave") for row in transport.measure_accuracy(name, TRANSPORT)
    ]
    for part in transport.PARTS.values():
        rows += part(TRANSPORT)
    transport.judge(rows)
    return rows


def test_transport_answers_agree_with_loops_and_differences(transport_rows: list[dict]) -> None:
    assert "answers differ" not in [row["status"] for row in transport_rows]
    assert all(row["seconds"] > 0 for row in transport_rows)
    kinds = [row["kind"] for row in transport_rows if row["part"] != "accuracy"]
    assert kinds.count("totals") == 4
    assert [kinds.count(kind) for kind in ("stored", "blocks", "every")] == [2, 2, 1]
    assert json.loads(json.dumps(transport_rows, allow_nan=False)) == transport_rows
    assert "py-pde" not in transport.table(transport_rows)


def test_transport_schemes_have_their_orders(transport_rows: list[dict]) -> None:
    found = {(row["problem"], row["scheme"]): row for row in transport_rows if row.get("summary")}
    for scheme, order in [("exponential", 4.0), ("upwind, CFL 1", 1.0), ("Crank-Nicolson", 2.0)]:
        assert found["wave", scheme]["order"] == pytest.approx(order, abs=0.1)
    exact = found["bracket", "exponential"]
    assert exact["first_error"] < 1e-12
    assert not exact["extrapolated"]
    # half an order is lost at jumps, which CFL 1/2 smears
    assert found["bracket", "upwind"]["error"] > found["bracket", "upwind, CFL 1"]["error"] > 1.0


@pytest.mark.slow
@needs_py_pde
def test_transport_and_py_pde_solve_the_same_problem() -> None:
    problem = _schemes.problems()["wave"]
    run = _schemes.py_pde(problem, 1.0)
    np.testing.assert_allclose(run.solve(), problem.exact(problem.end, run.ages), rtol=2e-3)


def test_transport_rates_are_judged_by_the_copies_of_their_process() -> None:
    def row(kind: str, speed: float, tunables: str = "") -> dict:
        case = {"part": "throughput", "kind": kind, "wear": "constant", "weight": "weight"}
        case |= {"bytes_per_second": speed, "cells_per_second": speed / 16}
        return case | {"glibc_tunables": tunables, "error": 0.0}

    rows = [row("copy, warm", 20.0), row("copy, NumPy, allocating", 4.0), row("totals", 10.1)]
    rows += [row("copy, JAX, allocating", 5.0), row("stored", 4.5), row("totals", 9.9)]
    rows += [row("copy, warm", 40.0, "x"), row("totals", 19.0, "x")]
    transport.judge(rows)
    judged = [(r["share"], r["status"]) for r in rows if "share" in r]
    assert [status for _, status in judged] == ["met", "missed", "missed", "missed"]
    assert [share for share, _ in judged] == pytest.approx([0.505, 0.9, 0.495, 0.475])


def test_readme_tables_of_transport_are_compact(transport_rows: list[dict]) -> None:
    (_, accuracy), (_, speed) = readme.TABLES["transport"]
    head, lines = accuracy(transport_rows)
    assert len(lines) == 4
    assert lines[0][0] == "exponential"
    assert all(len(line) == len(head) for line in lines)
    head, lines = speed(transport_rows)
    assert len(lines) <= 20
    assert all(len(line) == len(head) for line in lines)


ODE = ode.Options(
    sizes=((5, 3),),
    undamped=(4, 2),
    large=(20, 2, 4),
    solvers=("tsit5",),
    adjoints=("default", "forward"),
    gradient_sizes=((4, 1),),
    repeats=1,
    budget=0.01,
    out="",
)


@pytest.fixture(scope="module")
def ode_rows() -> list[dict]:
    rows = [row for part in ("speed", "large") for row in ode.PARTS[part](ODE)]
    rows += ode.measure_undamped(replace(ODE, solvers=()))
    ode.judge(rows)
    return rows


@pytest.mark.slow
def test_ode_solvers_agree_with_each_other(ode_rows: list[dict]) -> None:
    assert "answers differ" not in [row["status"] for row in ode_rows]
    assert all(row["seconds"] > 0 for row in ode_rows)
    assert len([row for row in ode_rows if row["part"] == "speed"]) == 9
    for row in ode_rows:
        if "tolerance" in row:  # the loosest that does
            assert 1e-8 < row["error"] <= ode.REACH
    assert json.loads(json.dumps(ode_rows, allow_nan=False)) == ode_rows
    assert "propagator" in ode.table(ode_rows)
    (_, solvers), (_, sweeps), _ = readme.TABLES["ode"]
    head, lines = solvers(ode_rows)
    assert len(lines) == 14  # of five by scipy at one size the best in a loop and stacked
    assert all(len(line) == len(head) for line in lines)
    assert sweeps(ode_rows)[1] == []


@pytest.mark.slow
def test_ode_gradients_agree_with_differences() -> None:
    rows = ode.measure_gradients(ODE)
    ode.judge(rows)
    assert "answers differ" not in [row["status"] for row in rows]
    for row in rows:
        if row["by"]:
            exact = row["solver"] == "propagator"
            assert 0 < row["error"] < (1e-7 if exact else 1e-5)
    assert [row["adjoint"] for row in rows if "adjoint" in row] == 3 * ["default"] + ["forward"]
    _, _, (_, gradients) = readme.TABLES["ode"]
    head, lines = gradients(rows)
    assert all(len(line) == len(head) for line in lines)


def test_ode_scipy_answers_alike_in_a_loop_stacked_and_sparse() -> None:
    problem = _ode_problem.made_problem(12, 3, 5, neighbours=3)
    one = _ode_problem.solve_one_by_one(problem, "DOP853", 1e-9)
    assert one.shape == (3, 12, 6)
    np.testing.assert_array_equal(one[:, :, 0], problem.balance)
    for other in (
        _ode_problem.solve_stacked(problem, "RK45", 1e-9),
        _ode_problem.solve_one_by_one(problem, "LSODA", 1e-10, sparse=True),
    ):
        assert _ode_problem.relative_error(other, one) < 1e-7


def test_ode_tolerance_is_the_loosest_that_reaches_the_error() -> None:
    expected = np.ones((1, 1, 2))
    for guess in (10, 23, 24, 30):
        found = _ode_problem.tuned(lambda rtol: expected * (1 + rtol), expected, guess)
        assert found == pytest.approx(1e-6)
    with pytest.raises(RuntimeError, match="no tolerance"):
        _ode_problem.tuned(lambda _: expected * np.nan, expected, 40)


def test_ode_speed_is_judged_against_the_best_of_scipy() -> None:
    def row(how: str, seconds: float, towns: int = 27, error: float = 5e-7) -> dict:
        case = {"part": "speed", "solver": "propagator" if how == "modes" else "DOP853"}
        case |= {"how": how, "seconds": seconds, "towns": towns, "scenarios": 2}
        return case | {"error": error, "reference_gap": 1e-12}

    rows = [row("loop", 8.0), row("loop", 4.1), row("stacked", 0.4), row("modes", 0.1)]
    rows += [row("modes", 0.14), row("modes", 0.1, error=2e-6)]
    rows += [row("loop", 1.1, 270), row("stacked", 0.2, 270), row("modes", 0.1, 270)]
    ode.judge(rows)
    assert [r["status"] for r in rows if r["how"] == "modes"] == [
        "met",
        "missed",
        "answers differ",
        "met",
    ]
    assert rows[3]["against_loop"] == pytest.approx(41.0)
    assert rows[3]["us_per_scenario"] == pytest.approx(5e4)
