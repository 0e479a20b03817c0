"""Sobol indices against closed forms, SALib on the same sample, and bands that cover the truth."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from SALib.analyze import sobol as salib

from diffmig.explain import (
    VARIANCE_STATUS,
    InputBox,
    num_inputs,
    sobol_frame,
    sobol_indices,
    sobol_pairs_frame,
    sobol_points,
)

from . import global_cases as cases

POINTS = 2048


@pytest.fixture(scope="module")
def points():
    return sobol_points(jax.random.key(3), POINTS, 6)


@pytest.fixture(scope="module")
def result(points):
    return sobol_indices(
        jax.random.key(4), cases.three_outputs, cases.BOX, points, second_order=True, block=500,
        num_resamples=100,
    )  # fmt: skip


def rows(tree):
    """Leaves [*out, *in] side by side, [output, input]."""
    return np.concatenate([tree["first"][:, None], tree["rest"]], axis=1)


def test_ishigami_and_the_additive_function_have_their_closed_forms(result):
    np.testing.assert_allclose(rows(result.first)[0], cases.ISHIGAMI_FIRST, atol=0.01)
    np.testing.assert_allclose(rows(result.total)[0], cases.ISHIGAMI_TOTAL, atol=0.01)
    pairs = np.zeros((3, 3))
    pairs[0, 2] = pairs[2, 0] = cases.ISHIGAMI_PAIR
    np.testing.assert_allclose(result.second[0], pairs, atol=0.02)
    np.testing.assert_allclose(result.variance[0], cases.VARIANCE, rtol=0.01)
    np.testing.assert_allclose(result.mean[0], cases.A / 2, rtol=0.01)
    for order in (result.first, result.total):
        np.testing.assert_allclose(rows(order)[1], cases.ADDITIVE, atol=0.01)
    np.testing.assert_allclose(result.second[1], 0.0, atol=0.01)


def test_bands_hold_the_estimate_and_the_truth(result):
    for name, truth in (("first", cases.ISHIGAMI_FIRST), ("total", cases.ISHIGAMI_TOTAL)):
        low, middle, high = (rows(getattr(result, name + end))[0] for end in ("_low", "", "_high"))
        assert (low <= middle).all()
        assert (middle <= high).all()
        wide = 0.005  # where the index is 0 the band of the total is a point
        assert ((low - wide <= truth) & (truth <= high + wide)).all()
    assert (result.second_low <= result.second_high)[0].all()


def test_an_output_that_does_not_vary_says_so(result):
    words = np.array(VARIANCE_STATUS)[np.asarray(result.status)]
    assert words.tolist() == ["estimated", "estimated", "the output does not vary"]
    assert np.isnan(rows(result.first)[2]).all()
    assert np.isnan(np.asarray(result.second)[2]).all()


def test_salib_estimates_the_same_from_the_same_sample(points, result):
    """SALib's order of rows: A, every A_i, every B_i, B."""
    a, b = np.split(-np.pi + 2 * np.pi * np.asarray(points), 2, axis=1)
    swapped = np.eye(3, dtype=bool)
    values = [cases.ishigami(a)]
    values += [cases.ishigami(np.where(swapped[i], b, a)) for i in range(3)]
    values += [cases.ishigami(np.where(swapped[i], a, b)) for i in range(3)]
    values += [cases.ishigami(b)]
    y = np.stack(values, axis=1).reshape(-1)
    problem = {"num_vars": 3, "names": ["1", "2", "3"], "bounds": [[-np.pi, np.pi]] * 3}
    made = salib.analyze(problem, y, num_resamples=2, seed=1)
    np.testing.assert_allclose(rows(result.first)[0], made["S1"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(rows(result.total)[0], made["ST"], rtol=1e-10, atol=1e-12)
    # ours is the mean of both ways to form a pair, SALib's analysis takes one of them
    centred = (y - y.mean()).reshape(POINTS, 8)
    fa, mixed, back, fb = centred[:, 0], centred[:, 1:4], centred[:, 4:7], centred[:, 7]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        ways = [
            salib.second_order(fa, mixed[:, p], mixed[:, q], back[:, p], fb)
            for p, q in ((i, j), (j, i))
        ]
        assert ways[0] == pytest.approx(made["S2"][i, j], abs=1e-10)
        np.testing.assert_allclose(result.second[0][i, j], np.mean(ways), atol=1e-10)


def test_a_product_has_its_closed_form_whatever_the_block_and_estimator():
    points = sobol_points(jax.random.key(5), 4096, 6)
    made = [
        sobol_indices(
            jax.random.key(1), cases.product, cases.UNIT, points, num_resamples=2, block=block,
            first_order=first_order, second_order=True,
        )
        for block, first_order in ((None, "saltelli"), (999, "jansen"))
    ]  # fmt: skip
    np.testing.assert_allclose(made[0].total["x"], made[1].total["x"], rtol=1e-12)
    for one in made:
        np.testing.assert_allclose(one.first["x"], cases.PRODUCT_FIRST, atol=0.005)
    np.testing.assert_allclose(made[0].total["x"], cases.PRODUCT_TOTAL, atol=0.005)
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(made[0].second[off], cases.PRODUCT_PAIRS[off], atol=0.01)
    np.testing.assert_allclose(made[0].variance, cases.PRODUCT_VARIANCE, rtol=0.01)


def test_quantile_functions_give_other_distributions():
    """Exponential and normal inputs: 2 x + z with variances 1 and 9."""

    def quantiles(u):
        return {"x": -jnp.log1p(-u["x"]), "z": 3.0 * jax.scipy.special.ndtri(u["z"])}

    unit = InputBox({"x": 0.0, "z": 0.0}, {"x": 1.0, "z": 1.0})
    made = sobol_indices(
        jax.random.key(1), lambda v: 2.0 * v["x"] + v["z"], unit,
        sobol_points(jax.random.key(2), 2048, 4), transform_fn=quantiles,
    )  # fmt: skip
    np.testing.assert_allclose(made.mean, 2.0, rtol=0.01)
    np.testing.assert_allclose(made.variance, 13.0, rtol=0.02)
    np.testing.assert_allclose(made.total["x"], 4 / 13, atol=0.01)
    np.testing.assert_allclose(made.first["z"], 9 / 13, atol=0.01)


def test_indices_can_be_differentiated_by_what_the_model_is_made_of():
    points = sobol_points(jax.random.key(6), 64, 6)

    def total(strength):
        made = sobol_indices(
            jax.random.key(0), lambda v: jnp.sum(v["x"]) + strength * jnp.prod(v["x"]), cases.UNIT,
            points, num_resamples=1,
        )  # fmt: skip
        return made.total["x"][0]

    both = total(jnp.array(1.0 + 1e-5)), total(jnp.array(1.0 - 1e-5))
    np.testing.assert_allclose(jax.grad(total)(1.0), (both[0] - both[1]) / 2e-5, rtol=1e-6)


def test_points_are_balanced_and_inside_the_open_cube():
    points = np.asarray(sobol_points(jax.random.key(0), 256, 3))
    assert points.min() > 0
    assert points.max() < 1
    for column in points.T:
        assert (np.sort((column * 256).astype(int)) == np.arange(256)).all()
    again = np.asarray(sobol_points(jax.random.key(0), 256, 3))
    np.testing.assert_array_equal(points, again)
    assert (points != np.asarray(sobol_points(jax.random.key(1), 256, 3))).any()


def test_frames_put_numbers_in_their_rows_with_units(result):
    words = {
        "output_labels": ["wave", "sum", "none"],
        "input_labels": {"rest": ["b", "c"]},
        "input_units": {"first": "m", "rest": "s"},
        "output_units": {"wave": "persons"},
    }
    frame = sobol_frame(result, **words)
    assert len(frame) == 9
    row = frame.query("output == 'wave' and input == 'rest' and index == 'c'").iloc[0]
    assert row["total"] == pytest.approx(float(result.total["rest"][0, 1]))
    assert (row["input_unit"], row["output_unit"], row["status"]) == ("s", "persons", "estimated")
    assert frame.query("output == 'none'")["output_unit"].eq("").all()
    pairs = sobol_pairs_frame(result, **words)
    assert len(pairs) == 9
    row = pairs.query("output == 'wave' and input == 'first' and other_index == 'c'").iloc[0]
    assert row["second"] == pytest.approx(float(result.second[0, 0, 2]))
    assert (row["input_unit"], row["other_unit"]) == ("m", "s")


CODE = """
box = explain.InputBox({"x": jnp.zeros(3)}, {"x": jnp.ones(3)})
model = lambda v: jnp.stack([jnp.prod(v["x"] + 0.3), jnp.sum(v["x"] ** 3)])
key = jax.random.key(1)
a = explain.sobol_points(key, 32, 6)
b = explain.morris_trajectories(key, 5, 3)
def results_fn(mesh):
    kinds = {"block": 7, "mesh": mesh}
    return (
        jax.jit(lambda p: explain.sobol_indices(key, model, box, p, num_resamples=9, **kinds))(a),
        jax.jit(lambda p: explain.morris_effects(model, box, p, **kinds))(b),
        jax.jit(lambda p: explain.derivative_measures(model, box, p, **kinds))(a[:, :3]),
        jax.jit(lambda x: explain.error_of_gradient(model, x, **kinds))({"x": a[0, :3]}).status,
    )
"""


def test_two_devices_give_the_numbers_of_one():
    """Of all sampling methods, in one process."""
    done = subprocess.run(
        [sys.executable, "-c", cases.on_two_devices(CODE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("equal"), done.stderr


def bad(**changes):
    given = {"points": jnp.full((4, 6), 0.5), "box": cases.UNIT, "model_fn": cases.product}
    given |= changes
    return sobol_indices(
        jax.random.key(0), given.pop("model_fn"), given.pop("box"), given.pop("points"), **given
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bad(points=jnp.full((4, 3), 0.5)), r"\[point, 6\]"),
        (lambda: bad(points=jnp.full((4, 6), 1.5)), "unit cube"),
        (lambda: bad(points=jnp.full((4, 6), jnp.nan)), "unit cube"),
        (lambda: bad(points=jnp.full((1, 6), 0.5)), "two points"),
        (lambda: bad(first_order="sobol"), "saltelli"),
        (lambda: bad(level=1.0), "level"),
        (lambda: bad(num_resamples=0), "num_resamples"),
        (lambda: bad(model_fn=lambda v: (v["x"], v["x"])), "one floating array"),
        (lambda: bad(model_fn=lambda v: v["x"] > 0.5), "one floating array"),
        (lambda: num_inputs(InputBox({}, {})), "no inputs"),
        (lambda: num_inputs(InputBox({"x": 0.0}, {"y": 1.0})), "one structure"),
        (lambda: num_inputs(InputBox({"x": 1.0}, {"x": 1.0})), "low < high"),
        (lambda: num_inputs(InputBox({"x": 0.0}, {"x": jnp.inf})), "finite"),
        (lambda: num_inputs(InputBox({"x": jnp.zeros(2)}, {"x": 1.0})), "equal shapes"),
        (lambda: num_inputs(InputBox({"x": jnp.array(0)}, {"x": jnp.array(1)})), "floating"),
        (lambda: sobol_points(jax.random.key(0), 100, 2), "power of two"),
        (lambda: sobol_points(jax.random.key(0), 8, 0), "num_columns"),
        (lambda: sobol_pairs_frame(bad(num_resamples=1)), "second_order=True"),
        (lambda: sobol_frame(bad(num_resamples=1), input_units={"y": "m"}), "not there"),
        (lambda: sobol_frame(bad(num_resamples=1), output_units={"y": "m"}), "not there"),
        (lambda: sobol_frame(bad(num_resamples=1), input_labels={"x": [1]}), "expected 3 labels"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
