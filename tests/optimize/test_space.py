"""Bounds and boundary rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.optimize import BOUNDARIES, Space, box_around
from diffmig.optimize.boundary import repair
from diffmig.optimize.space import as_arrays, flatten, from_unit, round_integers

BOX = flatten(Space(jnp.array([-2.0, 1.0, 3.0]), jnp.array([2.0, 5.0, 3.0])))
POSITION = jnp.array([[0.5, 2.0, 3.0], [3.0, 0.5, 3.0], [-11.0, 14.0, 4.0]])
VELOCITY = jnp.array([[1.0, -1.0, 0.0], [2.5, -1.5, 0.5], [-9.0, 9.0, -1.0]])


def test_flat_order_is_that_of_the_tree():
    space = Space(
        {"b": jnp.full((2, 2), -1.0), "a": 0.0},
        {"b": jnp.full((2, 2), 1.0), "a": 9.0},
        {"a": True, "b": False},
    )
    box = flatten(space)
    np.testing.assert_array_equal(box.low, [0, -1, -1, -1, -1])
    np.testing.assert_array_equal(box.integer, [True, False, False, False, False])
    assert box.unravel(jnp.arange(5.0))["b"].tolist() == [[1, 2], [3, 4]]
    np.testing.assert_array_equal(
        round_integers(box, jnp.full((1, 5), 2.6))[0], [3, 2.6, 2.6, 2.6, 2.6]
    )


def test_bounds_broadcast_and_take_the_array_dtype():
    space = as_arrays(Space({"w": jnp.zeros(3, jnp.float32), "n": 1}, {"w": 1.0, "n": 99}))
    assert jax.tree.map(lambda x: (x.shape, x.dtype.name), space.high) == {
        "w": ((3,), "float32"),
        "n": ((), "float32"),
    }
    assert space.integer is None
    weights = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    assert flatten(box_around(weights, -0.5, 0.5)).high.tolist() == [0.5] * 9


def test_integer_genes_are_drawn_equally_often(key):
    box = flatten(Space(jnp.full(1, 1.0), jnp.full(1, 5.0), True))
    points = from_unit(box, jax.random.uniform(key, (50_000, 1)))
    counts = np.bincount(np.asarray(points[:, 0]).astype(int), minlength=6)
    assert counts[0] == 0
    assert np.all(np.abs(counts[1:] - 10_000) < 400)


@pytest.mark.parametrize(
    ("low", "high", "integer", "match"),
    [
        ({"a": 0.0}, {"b": 1.0}, False, "structure"),
        ({}, {}, False, "structure"),
        (jnp.zeros(2), jnp.ones(3), False, "broadcast"),
        (jnp.zeros(2, jnp.float32), jnp.ones(2, jnp.float64), False, "dtype"),
        (jnp.array([0.0, 2.0]), jnp.ones(2), False, "low <= high"),
        (-jnp.inf, 1.0, False, "finite"),
        (0.5, 3.0, True, "integers"),
    ],
)
def test_wrong_bounds_raise(low, high, integer, match):
    with pytest.raises(ValueError, match=match):
        as_arrays(Space(low, high, integer))


@pytest.mark.parametrize(
    ("rule", "position", "velocity"),
    [
        ("none", POSITION, VELOCITY),
        ("clip", [[0.5, 2, 3], [2, 1, 3], [-2, 5, 3]], VELOCITY),
        ("absorb", [[0.5, 2, 3], [2, 1, 3], [-2, 5, 3]], [[1, -1, 0], [0, 0, 0], [0, 0, -1]]),
        # -11 lies 9 beyond a range of 4: mirrored at -2, at 2 and at -2 again
        (
            "reflect",
            [[0.5, 2, 3], [1, 1.5, 3], [-1, 4, 3]],
            [[1, -1, 0], [-2.5, 1.5, 0.5], [9, -9, -1]],
        ),
        ("wrap", [[0.5, 2, 3], [-1, 4.5, 3], [1, 2, 3]], VELOCITY),
    ],
)
def test_boundary_rules(key, rule, position, velocity):
    got_position, got_velocity = repair(key, rule, BOX, POSITION, VELOCITY)
    np.testing.assert_allclose(got_position, jnp.asarray(position), atol=1e-12)
    live = slice(None) if rule == "none" else slice(0, 2)  # the third gene has no width to move in
    np.testing.assert_allclose(got_velocity[:, live], jnp.asarray(velocity)[:, live])


def test_resample_draws_only_genes_that_left(key):
    position, velocity = repair(key, "resample", BOX, POSITION, VELOCITY)
    outside = (BOX.low[None] > POSITION) | (BOX.high[None] < POSITION)
    np.testing.assert_array_equal(position[~outside], POSITION[~outside])
    np.testing.assert_array_equal(velocity, jnp.where(outside, 0.0, VELOCITY))


@pytest.mark.parametrize("rule", [rule for rule in BOUNDARIES if rule != "none"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_every_rule_keeps_any_point_inside(key, rule, dtype):
    box = flatten(Space(jnp.array([-2.0, 0.1, 3.0], dtype), jnp.array([2.0, 0.3, 3.0], dtype)))
    far = 10.0 ** jax.random.uniform(key, (4000, 3), dtype, -3.0, 6.0)
    position = far * jnp.where(far > 1.0, -1.0, 1.0).astype(dtype)
    repaired, _ = repair(key, rule, box, position, position)
    assert repaired.dtype == dtype
    assert bool(jnp.all((repaired >= box.low[None]) & (repaired <= box.high[None])))
