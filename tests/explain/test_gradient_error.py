"""The check of gradients finds right gradients right and wrong ones wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.explain import error_of_gradient

POINT = {"a": jnp.array([1.0, 0.0, 250.0]), "b": jnp.array(0.02)}


def model(inputs):
    wave = jnp.sin(inputs["a"] / 100.0) * jnp.exp(inputs["b"])
    return jnp.stack([jnp.sum(wave), jnp.sum(wave**2) + inputs["b"] ** 3])


@jax.custom_jvp
def crooked(x):
    return jnp.sum(x["a"] ** 2) + x["b"]


@crooked.defjvp
def _crooked_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return crooked(x), 1.98 * jnp.sum(x["a"] * t["a"]) + t["b"]  # 1 % short


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_right_gradient_agrees(mode):
    made = jax.jit(lambda x: error_of_gradient(model, x, mode=mode, block=5))(POINT)
    assert int(made.status) == 0
    assert all(float(leaf) < 1e-9 for leaf in jax.tree.leaves(made.relative))
    assert made.by_step["a"].shape == (4,)


def test_a_wrong_gradient_shows_in_its_leaf_with_its_size():
    made = error_of_gradient(crooked, POINT, mode="forward")
    assert float(made.relative["a"]) == pytest.approx(0.01, rel=1e-4)
    assert float(made.relative["b"]) < 1e-6


def test_the_best_step_lies_between_curvature_and_round_off():
    """exp(x) at 0: the relative error of a step h is h^2 / 6 plus round-off / h."""
    steps = (3e-2, 1e-2, 1e-5, 1e-10)
    made = error_of_gradient(lambda v: jnp.exp(v["x"]), {"x": jnp.array(0.0)}, steps=steps)
    np.testing.assert_allclose(made.by_step["x"][:2], [9e-4 / 6, 1e-4 / 6], rtol=1e-3)
    assert float(made.step["x"]) == 1e-5
    assert float(made.relative["x"]) == float(made.by_step["x"].min())
    assert float(made.by_step["x"][3]) > 1e-9


def test_an_input_without_effect_and_a_value_that_is_not_finite():
    made = error_of_gradient(lambda v: jnp.sum(v["a"]), POINT)
    assert float(made.relative["b"]) == 0.0
    broken = error_of_gradient(lambda v: jnp.sqrt(v["a"][1]) + v["b"], POINT)
    assert int(broken.status) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": ()}, "at least one step"),
        ({"steps": (1e-3, 0.0)}, "> 0"),
        ({"scale": {"a": jnp.ones(3)}}, "scale"),
        ({"scale": {"a": jnp.zeros(3), "b": jnp.array(1.0)}}, "> 0"),
    ],
)
def test_wrong_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        error_of_gradient(model, POINT, **options)
