"""The Shapley benchmark: our values, a NumPy loop over all coalitions, verdicts."""

import numpy as np
import pytest

from benchmarks import shapley
from diffmig.explain import shapley_rows


def test_all_coalitions_in_numpy_are_the_exact_values():
    problem = shapley.made_problem(5, 4, shapley.Options(points=2))
    expected = shapley._all_coalitions(problem)

    def rest_fn(signal):
        import jax.numpy as jnp

        return jnp.tanh(signal + problem["bias"]) @ problem["second"]

    own = shapley_rows(
        rest_fn, problem["points"], problem["background"], first_layer=problem["first"]
    )
    np.testing.assert_allclose(own.values, expected, rtol=1e-10, atol=1e-12)
    total = shapley.forward(problem, problem["points"])
    base = shapley.forward(problem, problem["background"]).mean()
    np.testing.assert_allclose(expected.sum(axis=1), total - base, rtol=1e-10)


@pytest.mark.parametrize(
    ("seconds", "error", "status"),
    [(0.04, 1e-12, "met"), (0.06, 1e-12, "missed"), (0.04, 1e-3, "answers differ")],
)
def test_exact_values_are_judged_by_time_and_agreement(seconds, error, status):
    case = {"what": "exact", "factors": 12, "background": 20, "points": 3}
    rows = [
        case | {"tool": "diffmig", "seconds": seconds, "error": error},
        case | {"tool": "shap", "seconds": 1.0, "error": error},
    ]
    shapley.judge(rows)
    assert [row["status"] for row in rows] == [status, "compared"]
    assert "x" in shapley.table(rows)
