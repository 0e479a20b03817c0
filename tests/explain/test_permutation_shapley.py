"""Sampled Shapley values against the exact ones, closed forms and axioms; the training range."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.explain.permutation_shapley import permutation_shapley
from diffmig.explain.shapley import shapley_rows, shapley_values
from diffmig.explain.training_range import (
    check_inside,
    inside_box,
    inside_hull,
    outside_range,
    training_box,
)

RNG = np.random.default_rng(21)
FACTORS = 6
POINTS, BACKGROUND = RNG.normal(size=(5, FACTORS)), RNG.normal(size=(7, FACTORS))
WEIGHTS = jnp.asarray(RNG.normal(size=(FACTORS, 4)))


def entangled(x):
    """Interactions of all orders between factors 0 to 4; factor 5 is not used."""
    return jnp.sin(x[0] * x[1] + x[2]) * jnp.exp(0.3 * x[3] * x[4]) + x[0] * x[3]


def net(x):
    return jnp.sum(jnp.tanh(x @ WEIGHTS) ** 3)


def pairwise(x):
    return x[0] * x[1] - 2 * x[1] * x[2] + jnp.sin(x[3]) * x[4] ** 2 + x[5]


def models(x):
    """All of them and a sum: one program serves most tests."""
    each = [entangled(x), net(x), pairwise(x)]
    return jnp.stack([*each, each[0] + each[1]])


ENTANGLED, NET, PAIRWISE, SUM = range(4)


@partial(jax.jit, static_argnames=("num_pairs", "groups", "block"))
def sample(key, points=POINTS, num_pairs=8, groups=None, block=1):
    return permutation_shapley(
        key, models, points, BACKGROUND, num_pairs=num_pairs, groups=groups, block=block
    )


@pytest.fixture(scope="module")
def exact():
    return jax.jit(lambda points: shapley_rows(models, points, BACKGROUND))(POINTS)


def test_linear_model_has_the_closed_form_for_any_number_of_factors(key):
    slopes = RNG.normal(size=30)
    points, background = RNG.normal(size=(4, 30)), RNG.normal(size=(9, 30))
    result = jax.jit(
        lambda points: permutation_shapley(
            key, lambda x: jnp.asarray(slopes) @ x + 7.0, points, background, num_pairs=2
        )
    )(points)
    expected = slopes * (points - background.mean(axis=0))
    np.testing.assert_allclose(result.values, expected, atol=1e-12)
    np.testing.assert_allclose(result.standard_error, 0.0, atol=1e-12)


@pytest.mark.parametrize("num_pairs", [1, 8])
def test_efficiency_holds_for_every_number_of_pairs(num_pairs, key):
    result = sample(key, num_pairs=num_pairs)
    assert result.values.shape == (5, FACTORS, 4)
    np.testing.assert_allclose(result.values.sum(axis=1), result.output - result.base, atol=1e-12)
    np.testing.assert_allclose(result.output, jax.vmap(models)(POINTS), rtol=1e-12)
    base = jnp.mean(jax.vmap(models)(BACKGROUND), axis=0)
    np.testing.assert_allclose(result.base, jnp.broadcast_to(base, (5, 4)), rtol=1e-12)
    np.testing.assert_allclose(result.values[:, 5, ENTANGLED], 0.0, atol=1e-15)  # a dummy
    assert jnp.isnan(result.standard_error).all() == (num_pairs == 1)


def test_one_pair_is_exact_for_interactions_of_two_factors(key, exact):
    """Each of two factors comes last in one of the two orders; not so for interactions of more."""
    error = jnp.abs(sample(key, num_pairs=1).values - exact.values)
    assert jnp.max(error[..., PAIRWISE]) < 1e-12
    assert jnp.max(error[..., ENTANGLED]) > 1e-3


def test_agrees_with_the_exact_values_within_its_standard_error(key, exact):
    few, many = (sample(key, num_pairs=pairs) for pairs in (8, 1000))
    error = (many.values - exact.values)[..., NET]
    score = error / many.standard_error[..., NET]
    assert jnp.max(jnp.abs(score)) < 4.5
    assert 0.5 < jnp.std(score) < 1.6
    assert jnp.mean(many.standard_error) < 0.2 * jnp.mean(few.standard_error)
    assert jnp.sqrt(jnp.mean(error**2)) < 0.05 * jnp.mean(jnp.abs(exact.values[..., NET]))


def test_outputs_add_up(key, exact):
    """Same orders for all outputs: the values of a sum are the sums of the values."""
    for values in (sample(key).values, exact.values):
        np.testing.assert_allclose(
            values[..., ENTANGLED] + values[..., NET], values[..., SUM], atol=1e-12
        )


def test_equal_factors_share_equally(key):
    background = np.stack([BACKGROUND[:, 0]] * 2 + [BACKGROUND[:, 1]], axis=1)
    point = np.array([[1.3, 1.3, 0.4]])
    model_fn = lambda x: jnp.exp(x[0] * x[1]) * x[2]  # noqa: E731
    result = permutation_shapley(key, model_fn, point, background, num_pairs=400, block=None)
    assert abs(result.values[0, 0] - result.values[0, 1]) < 4 * result.standard_error[0, 0]
    assert abs(result.values[0, 0]) > 10 * result.standard_error[0, 0]


def test_groups_are_players(key):
    groups = (0, 0, 1, 2, 1, 2)
    exact = jax.jit(
        lambda points: shapley_rows(models, points, BACKGROUND, groups=np.array(groups))
    )(POINTS)
    assert exact.values.shape == (5, 3, 4)

    def value(members, point):
        rows = np.where(np.isin(groups, members), point, BACKGROUND)
        return float(np.mean([entangled(row) for row in rows]))

    # of three players by hand: weights 1/3, 1/6, 1/6, 1/3
    point = POINTS[0]
    by_hand = (
        (value([0], point) - value([], point)) / 3
        + (value([0, 1], point) - value([1], point)) / 6
        + (value([0, 2], point) - value([2], point)) / 6
        + (value([0, 1, 2], point) - value([1, 2], point)) / 3
    )
    assert exact.values[0, 0, ENTANGLED] == pytest.approx(by_hand)
    np.testing.assert_allclose(exact.values.sum(axis=1), exact.output - exact.base, atol=1e-12)
    sampled = sample(key, num_pairs=300, groups=groups)
    score = (sampled.values - exact.values)[..., NET] / sampled.standard_error[..., NET]
    assert jnp.max(jnp.abs(score)) < 4.5
    # a copy of a factor in its group changes nothing; as a player of its own it takes a part
    slopes = jnp.array([1.0, 2.0])
    background = np.repeat(BACKGROUND[:, :2], [1, 2], axis=1)
    points = np.repeat(POINTS[:, :2], [1, 2], axis=1)
    twice = shapley_rows(
        lambda x: jnp.array([1.0, 1.5, 0.5]) @ x, points, background, groups=[0, 1, 1]
    )
    once = shapley_rows(lambda x: slopes @ x, POINTS[:, :2], BACKGROUND[:, :2])
    np.testing.assert_allclose(twice.values, once.values, atol=1e-12)


def test_one_group_takes_all(key):
    result = sample(key, num_pairs=2, groups=(0,) * FACTORS)
    np.testing.assert_allclose(result.values[:, 0], result.output - result.base, rtol=1e-12)


def test_first_layer_changes_the_work_and_not_the_values(key, exact):
    def rest(signal):
        return jnp.sum(jnp.tanh(signal) ** 3)

    @jax.jit
    def by_layer(points):
        whole = shapley_rows(rest, points, BACKGROUND, first_layer=WEIGHTS, block=2)
        part = permutation_shapley(
            key, rest, points, BACKGROUND, num_pairs=8, first_layer=WEIGHTS, block=None
        )
        return whole.values, part.values

    whole, part = by_layer(POINTS)
    np.testing.assert_allclose(whole, exact.values[..., NET], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(part, sample(key).values[..., NET], rtol=1e-9, atol=1e-12)


def test_rows_do_not_depend_on_each_other(key):
    whole, part = sample(key), sample(key, points=POINTS[:3], block=2)
    np.testing.assert_allclose(whole.values[:3], part.values, rtol=1e-10, atol=1e-13)


def test_a_path_is_one_player(key):
    paths, background = RNG.normal(size=(2, 5, 3)), RNG.normal(size=(4, 5, 3))
    result = permutation_shapley(
        key, lambda x: jnp.cumsum(x[:, 0] * x[:, 1]) + x[:, 2], paths, background, num_pairs=1
    )
    assert result.values.shape == (2, 3, 5)
    np.testing.assert_allclose(
        result.values[:, 2], paths[:, :, 2] - background[:, :, 2].mean(axis=0), atol=1e-12
    )


def test_gradients_flow_to_the_points(key):
    @jax.jit
    @jax.grad
    def gradient(points):
        return jnp.sum(permutation_shapley(key, entangled, points, BACKGROUND, num_pairs=1).values)

    expected = jax.vmap(jax.grad(entangled))(jnp.asarray(POINTS))
    np.testing.assert_allclose(gradient(jnp.asarray(POINTS)), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": POINTS[0]}, "points"),
        ({"num_pairs": 0}, "num_pairs"),
        ({"background": BACKGROUND[:, :2]}, "background"),
        ({"background": BACKGROUND[:0]}, "background"),
        ({"groups": [0, 1, 2]}, "groups"),
        ({"groups": [0, 0, 2, 2, 3, 3]}, "without a gap"),
        ({"groups": np.zeros(FACTORS)}, "integers"),
        ({"first_layer": WEIGHTS.T}, "first_layer"),
    ],
)
def test_wrong_input_is_refused(arguments, message, key):
    given = {"points": POINTS, "background": BACKGROUND} | arguments
    with pytest.raises(ValueError, match=message):
        permutation_shapley(key, entangled, **given)


def test_exact_values_point_to_sampling_beyond_twelve_players():
    with pytest.raises(ValueError, match="permutation_shapley"):
        shapley_values(jnp.sum, np.zeros(13), np.zeros((2, 13)))
    grouped = shapley_values(jnp.sum, np.ones(13), np.zeros((2, 13)), groups=[0] * 12 + [1])
    np.testing.assert_allclose(grouped.values, [12.0, 1.0])


ROWS = RNG.uniform(-1.0, 1.0, size=(20, 5, 2)) * [1.0, 100.0]


def test_training_box_is_the_range_of_the_counted_rows():
    mask = np.ones((20, 5), bool)
    mask[3] = False
    rows = ROWS.copy()
    rows[3] = 1e9
    box = training_box(rows, mask=mask)
    np.testing.assert_array_equal(box.low, rows[mask].min(axis=0))
    np.testing.assert_array_equal(box.high, rows[mask].max(axis=0))
    assert inside_box(box, rows)[mask].all()
    assert not inside_box(box, rows)[3].any()
    narrow = training_box(ROWS, quantile=0.1)
    share = outside_range(ROWS, narrow.low, narrow.high).mean(axis=(0, 1))
    np.testing.assert_allclose(share, 0.2, atol=0.02)
    assert outside_range(np.array([np.nan, 0.0]), box.low, box.high).tolist() == [True, False]


def test_a_scenario_outside_is_refused_by_name_and_bound():
    box = training_box(np.array([[0.0, 10.0], [1.0, 20.0]]))
    names = ("birth rate", "wage")
    check_inside(box, np.array([[0.5, 20.0], [0.0, 10.0]]), names)
    with pytest.raises(ValueError, match=r"wage = 25 is above 20 \(2 of 3 rows\)") as refused:
        check_inside(box, np.array([[0.5, 25.0], [0.5, 21.0], [0.5, 15.0]]), names)
    assert "birth rate" not in str(refused.value)
    with pytest.raises(ValueError, match=r"birth rate = -0.5 is below 0.*wage = nan is not a num"):
        check_inside(box, np.array([-0.5, np.nan]), names, argument="dx")
    with pytest.raises(ValueError, match="2 factors"):
        check_inside(box, np.zeros(3), names)
    jax.jit(lambda x: check_inside(box, x, names) or x)(jnp.full(2, 99.0))  # nothing to check


def test_hull_sees_what_a_box_does_not():
    """Two factors that move together: a corner of the box is far from all rows."""
    first = np.linspace(0.0, 1.0, 30)
    rows = np.stack([first, 1000.0 * first + RNG.normal(size=30)], axis=1)
    box = training_box(rows)
    corner, middle = np.array([0.9, 100.0]), rows.mean(axis=0)
    assert inside_box(box, corner)
    np.testing.assert_array_equal(
        inside_hull(rows, np.stack([corner, middle, rows[4], [np.nan, 0.0]])),
        [False, True, True, False],
    )
    with pytest.raises(ValueError, match="points"):
        inside_hull(rows, np.zeros(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros(3)}, "expected x"),
        ({"x": ROWS, "mask": np.ones(20, bool)}, "mask"),
        ({"x": ROWS, "quantile": 0.5}, "quantile"),
        ({"x": ROWS, "mask": np.zeros((20, 5), bool)}, "finite"),
        ({"x": np.full((2, 2), np.nan)}, "finite"),
    ],
)
def test_boxes_without_data_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        training_box(**arguments)
