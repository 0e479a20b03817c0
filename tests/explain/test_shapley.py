"""Shapley values against their axioms, a closed form and the definition over orderings."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.explain import shapley_values

RNG = np.random.default_rng(10)
POINT = RNG.normal(size=4)
BACKGROUND = RNG.normal(size=(6, 4))


def entangled(x):
    """Interactions of all orders; factor 3 is not used."""
    return jnp.tanh(x[0] * x[1]) + x[0] * x[2] ** 2 + jnp.sin(x[1] * x[2])


def test_equals_the_mean_over_all_orderings() -> None:
    def value(players: tuple[int, ...]) -> float:
        rows = BACKGROUND.copy()
        rows[:, list(players)] = POINT[list(players)]
        return float(np.mean([entangled(row) for row in rows]))

    known = {}
    expected = np.zeros(4)
    orders = list(permutations(range(4)))
    for order in orders:
        for place, factor in enumerate(order):
            before, after = (tuple(sorted(order[:end])) for end in (place, place + 1))
            for players in (before, after):
                if players not in known:
                    known[players] = value(players)
            expected[factor] += (known[after] - known[before]) / len(orders)
    np.testing.assert_allclose(
        shapley_values(entangled, POINT, BACKGROUND).values, expected, atol=1e-12
    )


def test_linear_model_has_the_closed_form() -> None:
    slopes = jnp.array([2.0, -1.0, 0.5, 3.0])
    result = shapley_values(lambda x: slopes @ x + 7.0, POINT, BACKGROUND)
    expected = slopes * (POINT - BACKGROUND.mean(axis=0))
    np.testing.assert_allclose(result.values, expected, atol=1e-12)


def test_twelve_factors_are_efficient_whatever_the_block() -> None:
    point, background = RNG.normal(size=12), RNG.normal(size=(3, 12))
    weights = jnp.asarray(RNG.normal(size=(12, 5)))

    def net(x):
        return jnp.sum(jnp.tanh(x @ weights) ** 2)

    whole = shapley_values(net, point, background)
    assert whole.output == pytest.approx(float(net(point)))
    assert whole.base == pytest.approx(float(jnp.mean(jax.vmap(net)(background))))
    assert jnp.sum(whole.values) == pytest.approx(float(whole.output - whole.base), abs=1e-12)
    in_blocks = shapley_values(net, point, background, block=300)
    np.testing.assert_allclose(in_blocks.values, whole.values, rtol=1e-9, atol=1e-12)


def test_dummy_and_symmetry() -> None:
    unused = shapley_values(entangled, POINT, BACKGROUND).values[3]
    assert unused == pytest.approx(0.0, abs=1e-14)
    equal_columns = np.stack([BACKGROUND[:, 0], BACKGROUND[:, 0], BACKGROUND[:, 1]], axis=1)
    values = shapley_values(
        lambda x: jnp.exp(x[0] * x[1]) * x[2], np.array([1.3, 1.3, 0.4]), equal_columns
    ).values
    assert values[0] == pytest.approx(float(values[1]), rel=1e-12)
    assert abs(values[0]) > 0.01


def test_a_whole_path_is_one_player_and_outputs_may_be_arrays() -> None:
    path, background = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 5, 3))
    result = shapley_values(lambda x: jnp.cumsum(x[:, 0] * x[:, 1]) + x[:, 2], path, background)
    assert result.values.shape == (3, 5)
    np.testing.assert_allclose(result.values.sum(axis=0), result.output - result.base, atol=1e-12)
    np.testing.assert_allclose(
        result.values[2], path[:, 2] - background[:, :, 2].mean(axis=0), atol=1e-12
    )


def test_vmap_over_points_equals_a_loop_and_gradients_flow() -> None:
    points = RNG.normal(size=(3, 4))
    together = jax.vmap(lambda x: shapley_values(entangled, x, BACKGROUND).values)(points)
    alone = [shapley_values(entangled, x, BACKGROUND).values for x in points]
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-13)
    total = jax.grad(lambda x: jnp.sum(shapley_values(entangled, x, BACKGROUND).values))(points[0])
    np.testing.assert_allclose(total, jax.grad(entangled)(points[0]), atol=1e-12)


@pytest.mark.parametrize(
    ("point", "background", "message"),
    [
        (np.zeros(13), np.zeros((2, 13)), "group factors"),
        (np.zeros(3), np.zeros((2, 4)), "background"),
        (np.zeros(3), np.zeros((0, 3)), "background"),
    ],
)
def test_wrong_input_is_refused(point, background, message) -> None:
    with pytest.raises(ValueError, match=message):
        shapley_values(jnp.sum, point, background)
