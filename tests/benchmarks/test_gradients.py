"""The gradient benchmark: every case is a run to one number, closed forms come out, verdicts."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import gradients
from benchmarks._gradient_cases import Case, made_cases

OPTIONS = gradients.Options(
    differences=5, sobol=3, samples=1024, block=16, repeats=1, budget=0.01, out=""
)
SLOPES = np.array([1.0, -2.0, 0.5, 3.0, 0.0, 1.5])


def total(inputs, given):
    """Almost linear: slopes + cubes of what is added to the point."""
    x = jnp.concatenate([inputs["a"], inputs["b"]])
    return jnp.sum(given * x) + 1e-3 * jnp.sum(x**3)


POINT = {"a": jnp.array([1.0, 2.0, 4.0]), "b": jnp.array([1.0, 1.0, 1.0])}
CASE = Case("fit", "sum", "parts", total, POINT, jnp.asarray(SLOPES))


@pytest.fixture(scope="module")
def rows():
    rows = gradients.measure(CASE, OPTIONS)
    gradients.judge(rows)
    return rows


def test_gradients_and_differences_agree(rows):
    gradient, differences = rows[:2]
    assert gradient["inputs"] == 6
    assert gradient["error"] < 1e-14
    assert 0 < differences["differences_error"] < 1e-8
    assert (differences["runs"], differences["moved"]) == (12, 5)
    assert differences["seconds"] == pytest.approx(differences["seconds_measured"] * 6 / 5)
    assert gradient["ratio"] == gradient["seconds"] / gradient["forward_seconds"]
    assert "answers differ" not in [row["status"] for row in rows]
    assert len(gradients.table(rows).splitlines()) == len(rows)


@pytest.mark.skipif(not importlib.util.find_spec("SALib"), reason="SALib is not installed")
def test_salib_needs_more_samples_than_the_gradient_needs_runs(rows):
    row = rows[2]
    assert row["reached"]
    assert row["share_gap"] <= gradients.CLOSE
    assert row["rank_correlation"] >= gradients.AGREE
    assert row["runs_made"] == row["samples"] * (3 + 2)
    assert row["runs"] == row["samples"] * (6 + 2)
    assert [tried["samples"] for tried in row["tried"]] == [
        2 ** (k + 1) for k in range(len(row["tried"]))
    ]
    # the two that agree come last, the first of them counts
    assert row["tried"][-2]["samples"] == row["samples"]


def test_many_runs_are_those_one_by_one():
    point, unravel = jax.flatten_util.ravel_pytree(POINT)
    fn = gradients._vectorised(CASE, unravel)
    points = np.asarray(point) + np.arange(7.0)[:, None]
    found = gradients._in_blocks(fn, 3, CASE.given, points)
    expected = [(SLOPES * x).sum() + 1e-3 * (x**3).sum() for x in points]
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_every_case_is_a_run_to_one_number():
    cases = made_cases(0)
    assert {case.chapter for case in cases} == set(gradients.Options().chapters)
    for case in cases:
        made = jax.eval_shape(case.run, case.inputs, case.given)
        assert (made.shape, made.dtype) == ((), np.dtype("float64")), case.what
        for leaf in jax.tree.leaves(case.inputs):
            assert np.isfinite(leaf).all(), case.what


@pytest.mark.parametrize(
    ("ratio", "error", "status"),
    [(3.9, 1e-15, "met"), (4.1, 1e-15, "missed"), (3.9, 1e-3, "answers differ")],
)
def test_gradients_are_judged_by_their_cost_and_error(ratio, error, status):
    row = {"tool": "gradient", "ratio": ratio, "error": error}
    others = [
        {"tool": "SALib", "ratio": 900.0, "reached": False},
        {"tool": "central differences", "ratio": 300.0, "differences_error": 1e-8},
    ]
    gradients.judge([row, *others])
    assert [r["status"] for r in (row, *others)] == [status, "not reached", "compared"]
