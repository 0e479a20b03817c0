"""The inverse question of `benchmarks.towns` in a small size: answers agree, rows are judged."""

import json

import jax
import numpy as np
import pytest

from benchmarks import _towns_inverse as inverse

SMALL = inverse.InverseOptions(places=12, beyond=0.25, block=8, repeats=1, budget=0.1)


def test_both_solvers_agree_and_the_rows_can_be_written():
    rows = json.loads(json.dumps(inverse.measure(SMALL)))
    inverse.judge(rows)
    own, *_, peer = rows
    assert own["cost_excess"] <= inverse.SAME
    assert own["bounds_broken"] == 0.0
    assert own["reached"] == 1.0
    assert own["statuses"] == [12 - own["beyond"], own["beyond"], 0, 0]
    assert own["beyond"] > 0
    assert peer["compared"] > 0.7
    assert all(inverse.line(row).endswith(row["status"]) for row in rows)
    assert {row["devices"] for row in rows} == {1, jax.device_count()}


def test_gradients_of_the_peer_are_exact():
    problem = inverse.made_problem(SMALL)
    change = inverse.solve_one(problem, 0, 1e-12)
    padded = np.zeros_like(problem.x)
    padded[0] = change
    assert inverse.gains(problem, padded)[0] == pytest.approx(problem.target[0], rel=1e-8)
    found = inverse.quality(problem, padded)
    assert found["short"][0] < 1e-8
    assert found["broken"] <= 1e-12


def test_a_claim_is_met_at_equal_cost_only():
    def rows(seconds, **wrong):
        own = {"part": "inverse", "tool": "diffmig", "devices": 2, "seconds": seconds}
        own |= {"compile_seconds": 3.0, "cost_excess": 1e-8, "bounds_broken": 0.0, "reached": 1.0}
        own |= {"statuses": [9, 1, 0, 0], "beyond": 1} | wrong
        return [own, {"part": "inverse", "tool": "scipy", "devices": 1, "seconds": 10.0}]

    cases = [
        (0.2, {}, "met"),
        (0.21, {}, "missed"),
        (0.1, {"cost_excess": 2e-6}, "answers differ"),
        (0.1, {"bounds_broken": 1e-15}, "answers differ"),
        (0.1, {"reached": 0.9}, "answers differ"),
        (0.1, {"statuses": [8, 2, 0, 0]}, "answers differ"),
    ]
    for seconds, wrong, status in cases:
        judged = rows(seconds, **wrong)
        inverse.judge(judged)
        assert judged[0]["status"] == status
        assert judged[0]["ratio"] == pytest.approx(10.0 / seconds)
        assert judged[1]["status"] == "compared"
