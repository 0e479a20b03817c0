"""Derivative-based measures: closed forms, the bound of total indices, finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from SALib.analyze import dgsm as salib

from diffmig.explain import derivative_frame, derivative_measures, sobol_points

from . import global_cases as cases


@pytest.fixture(scope="module")
def result():
    points = sobol_points(jax.random.key(3), 4096, 3)
    return derivative_measures(cases.three_outputs, cases.BOX, points, block=512)


def rows(tree):
    return np.concatenate([tree["first"][:, None], tree["rest"]], axis=1)


def test_ishigami_has_its_closed_form(result):
    np.testing.assert_allclose(rows(result.mean_square)[0], cases.ISHIGAMI_SQUARES, rtol=0.01)
    np.testing.assert_allclose(result.variance[0], cases.VARIANCE, rtol=0.01)
    np.testing.assert_allclose(rows(result.mean)[0], 0.0, atol=0.05)
    # E|a sin 2x| = 2 a / pi
    np.testing.assert_allclose(rows(result.mean_absolute)[0, 1], 2 * cases.A / np.pi, rtol=0.01)
    assert (rows(result.mean_square_error)[0] < 0.05 * cases.ISHIGAMI_SQUARES).all()


def test_the_bound_lies_above_the_total_index_and_is_12_over_pi2_of_a_linear_one(result):
    bound = rows(result.total_bound)
    expected = (2 * np.pi) ** 2 / np.pi**2 * cases.ISHIGAMI_SQUARES / cases.VARIANCE
    np.testing.assert_allclose(bound[0], expected, rtol=0.02)
    assert (bound[0] >= cases.ISHIGAMI_TOTAL).all()
    np.testing.assert_allclose(bound[1], 12 / np.pi**2 * cases.ADDITIVE, rtol=0.005)
    np.testing.assert_allclose(rows(result.mean)[1], cases.SLOPES, rtol=1e-12)


def test_the_bound_is_reached_by_half_a_cosine():
    """cos(pi u) is the function whose derivative is least for its variance."""
    points = sobol_points(jax.random.key(1), 1024, 3)
    made = derivative_measures(lambda v: jnp.cos(jnp.pi * v["x"][0]), cases.UNIT, points)
    np.testing.assert_allclose(made.total_bound["x"], [1.0, 0.0, 0.0], atol=1e-3)


def test_products_stay_below_their_bound_by_both_modes():
    points = sobol_points(jax.random.key(2), 2048, 3)
    made = [
        derivative_measures(cases.product, cases.UNIT, points, mode=mode)
        for mode in ("reverse", "forward")
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), *made)
    assert (made[0].total_bound["x"] >= cases.PRODUCT_TOTAL).all()
    others = np.prod(1 + cases.SPREADS**2 / 3) / (1 + cases.SPREADS**2 / 3)
    np.testing.assert_allclose(
        made[0].mean_square["x"], (2 * cases.SPREADS) ** 2 * others, rtol=0.01
    )


def test_salib_finds_the_same_by_differences(result):
    points = np.asarray(sobol_points(jax.random.key(3), 4096, 3))
    x = -np.pi + 2 * np.pi * points
    step = 1e-6
    moved = x[:, None] + step * np.concatenate([np.zeros((1, 3)), np.eye(3)])[None]
    problem = {"num_vars": 3, "names": ["1", "2", "3"], "bounds": [[-np.pi, np.pi]] * 3}
    y = cases.ishigami(moved.reshape(-1, 3))
    found = salib.analyze(problem, moved.reshape(-1, 3), y, num_resamples=2)
    np.testing.assert_allclose(rows(result.mean_square)[0], found["vi"], rtol=1e-4)
    np.testing.assert_allclose(rows(result.total_bound)[0], found["dgsm"], rtol=1e-4)


def test_frame_with_units_and_words(result):
    frame = derivative_frame(
        result, output_labels=["wave", "sum", "none"], input_units={"first": "km"}
    )
    row = frame.query("output == 'sum' and input == 'rest' and index == 0").iloc[0]
    assert row["mean"] == pytest.approx(cases.SLOPES[1])
    assert row["input_unit"] == ""
    flat = frame.query("output == 'none'")
    assert flat["status"].eq("the output does not vary").all()
    assert flat["total_bound"].isna().all()
    assert (flat["mean_square"] == 0).all()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (jnp.full((4, 6), 0.5), r"\[point, 3\]"),
        (jnp.full((1, 3), 0.5), "at least two"),
        (jnp.full((4, 3), -0.5), "unit cube"),
    ],
)
def test_wrong_points_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        derivative_measures(cases.product, cases.UNIT, points)
