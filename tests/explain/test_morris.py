"""Morris effects: exact for linear models, equal to SALib's, one input moved at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from SALib.analyze import morris as salib

from diffmig.explain import InputBox, morris_effects, morris_frame, morris_trajectories

from . import global_cases as cases

BOX = InputBox(
    {"a": 2.0, "b": jnp.array([-1.0, 0.0])},
    {"a": 5.0, "b": jnp.array([3.0, 0.5])},
)


def linear(inputs):
    """Over the whole ranges: 3 * 2, 4 * -1, 0.5 * 8; and half of it."""
    total = 2.0 * inputs["a"] - inputs["b"][0] + 8.0 * inputs["b"][1]
    return jnp.stack([total, 0.5 * total])


@pytest.mark.parametrize("num_levels", [2, 4, 8])
def test_effects_of_a_linear_model_are_its_slopes(key, num_levels):
    made = morris_effects(linear, BOX, morris_trajectories(key, 6, 3, num_levels=num_levels))
    np.testing.assert_allclose(made.mu["a"], [6.0, 3.0], rtol=1e-12)
    np.testing.assert_allclose(made.mu["b"], [[-4.0, 4.0], [-2.0, 2.0]], rtol=1e-12)
    np.testing.assert_allclose(made.mu_star["b"], [[4.0, 4.0], [2.0, 2.0]], rtol=1e-12)
    for scatter in (made.sigma, made.mu_star_error):
        assert all((np.abs(leaf) < 1e-12).all() for leaf in jax.tree.leaves(scatter))


@pytest.mark.parametrize("num_levels", [4, 6])
def test_salib_finds_the_same_effects_in_the_same_trajectories(key, num_levels):
    points = morris_trajectories(key, 12, 3, num_levels=num_levels)
    made = morris_effects(cases.three_outputs, cases.BOX, points, block=10)
    x = -np.pi + 2 * np.pi * np.asarray(points).reshape(-1, 3)
    problem = {"num_vars": 3, "names": ["1", "2", "3"], "bounds": [[-np.pi, np.pi]] * 3}
    unit = (x + np.pi) / (2 * np.pi)
    found = salib.analyze(problem, unit, cases.ishigami(x), num_levels=num_levels, seed=1)
    for name in ("mu", "mu_star", "sigma"):
        tree = getattr(made, name)
        mine = np.concatenate([tree["first"][:1], tree["rest"][0]])
        np.testing.assert_allclose(mine, np.asarray(found[name]), rtol=1e-10, atol=1e-12)


def test_trajectories_move_one_input_at_a_time_on_the_grid(key):
    points = np.asarray(morris_trajectories(key, 200, 5, num_levels=4))
    assert points.shape == (200, 6, 5)
    step = np.diff(points, axis=1)
    assert ((step != 0).sum(axis=2) == 1).all()
    assert ((step != 0).sum(axis=1) == 1).all()
    np.testing.assert_allclose(np.abs(step[step != 0]), 2 / 3)
    level, count = np.unique(np.round(points * 3), return_counts=True)
    assert level.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(count / points.size, 0.25, atol=0.02)
    assert abs((step > 0).sum() / 1000 - 0.5) < 0.05
    order = np.abs(step).argmax(axis=2)  # every input comes first equally often
    np.testing.assert_allclose(np.bincount(order[:, 0], minlength=5) / 200, 0.2, atol=0.09)


def test_more_trajectories_keep_the_first_ones(key):
    np.testing.assert_array_equal(
        morris_trajectories(key, 9, 4)[:4], morris_trajectories(key, 4, 4)
    )


def test_interaction_and_failure_are_seen(key):
    points = morris_trajectories(key, 30, 3)

    def model(v):
        bad = jnp.where(v["x"][2] > 0.9, jnp.nan, 0.0)
        return jnp.stack([v["x"][0] * v["x"][1], v["x"][0] + bad])

    made = morris_effects(model, cases.UNIT, points)
    # the effect of x0 is x1, even on 0, 1/3, 2/3, 1: mean 1/2, variance 5/36
    np.testing.assert_allclose(made.mu["x"][0, 0], 0.5, atol=0.15)
    np.testing.assert_allclose(made.sigma["x"][0, 0], (5 / 36) ** 0.5, atol=0.08)
    assert made.mu_star["x"][0, 2] == 0
    assert made.status.tolist() == [0, 1]
    frame = morris_frame(made, output_labels=["product", "broken"], output_units={"product": "RUB"})
    assert frame["status"].tolist() == ["computed"] * 3 + ["a value is not finite"] * 3
    row = frame.query("output == 'product' and index == 1").iloc[0]
    assert row["mu_star"] == pytest.approx(float(made.mu_star["x"][0, 1]))
    assert row["output_unit"] == "RUB"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: morris_trajectories(key, 3, 2, num_levels=3), "even num_levels"),
        (lambda key: morris_trajectories(key, 0, 2), "num_trajectories"),
        (lambda key: morris_effects(linear, BOX, jnp.zeros((2, 3, 3))), r"\[trajectory, 4, 3\]"),
        (lambda key: morris_effects(linear, BOX, jnp.zeros((2, 4, 3))), "every step"),
        (
            lambda key: morris_effects(linear, BOX, 3.0 * morris_trajectories(key, 2, 3)),
            "unit cube",
        ),
        (
            lambda key: morris_effects(lambda v: 1, BOX, morris_trajectories(key, 2, 3)),
            "one floating array",
        ),
    ],
)
def test_wrong_input_is_refused(key, call, message):
    with pytest.raises(ValueError, match=message):
        call(key)
