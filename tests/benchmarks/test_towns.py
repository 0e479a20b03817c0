"""The search of `benchmarks.towns` in a small size: same trainings, same answers, judged rows."""

import importlib.util
import json

import numpy as np
import pytest

from benchmarks import _towns_search as networks
from benchmarks import towns

SMALL = networks.SearchOptions(
    towns=(6, 4), years=2, hidden=(1, 2), starts=1, dtypes=("float64",), max_steps=40, peers=False,
    repeats=1, budget=0.1,
)  # fmt: skip
needs_peer = pytest.mark.skipif(
    not importlib.util.find_spec("sklearn"), reason="scikit-learn is not installed"
)


def test_search_without_peer_reaches_least_squares_and_is_not_compared():
    rows = json.loads(json.dumps(networks.measure(SMALL)))
    networks.judge(rows)
    (row,) = rows
    assert row["trainings"] == 2 * 2 * 3 * 3 * 2  # clusters, years, folds, activations, widths
    assert row["problems"] == 4
    assert row["error"] < networks.CHECKS["float64"]
    assert row["status"] == "not compared"
    assert "not compared" in towns.table(rows)
    assert set(towns.PARTS) == set(towns.Options().parts)


@needs_peer
def test_the_peer_trains_on_the_same_rows():
    x, y, year, train, test = networks.made_problems(SMALL)
    jobs = networks.trainings(train, test, year)
    assert [job[0] for job in jobs] == np.repeat(np.arange(4), 3).tolist()
    assert [job[1].sum() for job in jobs[:6]] == [12, 6, 6, 8, 4, 4]
    problem, inside, outside = jobs[1]
    assert not np.any(inside & outside)
    z = (x[problem] - x[problem][inside].mean(axis=0)) / x[problem][inside].std(axis=0)
    design = np.column_stack([np.ones(len(z)), z])[:, :4]  # 6 rows: fewer factors
    beta, *_ = np.linalg.lstsq(design[inside], y[problem][inside], rcond=None)
    expected = [np.mean((design[r] @ beta - y[problem][r]) ** 2) for r in (inside, outside)]
    rows = (design[inside][:, 1:], y[problem][inside], design[outside][:, 1:], y[problem][outside])
    found = networks.fit_one(rows, 1, "identity", 0.0, 0, 500)
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_a_claim_is_met_at_equal_loss_only():
    def rows(seconds, medians):
        own = {"part": "search", "tool": "diffmig", "dtype": "float64", "error": 0.0}
        own |= {"seconds": seconds, "compile_seconds": 3.0, "loss_medians": medians}
        peer = {"part": "search", "tool": "scikit-learn", "dtype": "float64", "seconds": 10.0}
        return [own, peer | {"loss_medians": [0.1, 1e-9]}]

    cases = [(2.0, [0.1, 1e-8], "met"), (2.1, [0.1, 1e-8], "missed"), (1.0, [0.2, 0.0], "missed")]
    for seconds, medians, status in cases:
        judged = rows(seconds, medians)
        networks.judge(judged)
        assert judged[0]["status"] == status
        assert judged[0]["ratio"] == pytest.approx(10.0 / seconds)
        assert judged[0]["ratio_cold"] == pytest.approx(10.0 / (seconds + 3.0))
        assert judged[1]["status"] == "compared"
    wrong = rows(1.0, [0.0, 0.0])
    wrong[0]["error"] = 0.1
    networks.judge(wrong)
    assert wrong[0]["status"] == "answers differ"
