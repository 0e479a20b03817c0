"""Second derivatives against closed forms; interaction elasticities of known functions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.explain import (
    hessian_diagonal,
    hessian_vector_product,
    second_order,
    second_order_frame,
    sensitivity,
)

POINT = {"capital": jnp.array([2.0, 3.0]), "labour": jnp.array(1.5)}
SHARES = (0.2, 0.5, 0.3)


def quadratic(matrix):
    def fn(inputs):
        x = jnp.append(inputs["capital"], inputs["labour"])
        return 0.5 * x @ matrix @ x + 2.0 * x[0]

    return fn


def powers(inputs):
    return inputs["capital"][0] ** 0.2 * inputs["capital"][1] ** 0.5 * inputs["labour"] ** 0.3


def ces(inputs):
    """(0.2 k1^r + 0.5 k2^r + 0.3 l^r)^(1/r), r = -1: the elasticity of x_i is a_i (f / x_i)."""
    k, labour = inputs["capital"], inputs["labour"]
    return 1.0 / (0.2 / k[0] + 0.5 / k[1] + 0.3 / labour)


def whole(result):
    """[3, 3] from the named parts."""
    parts = result["capital"], result["labour"]
    top = np.concatenate([parts[0]["capital"], np.asarray(parts[0]["labour"])[:, None]], axis=1)
    low = np.append(parts[1]["capital"], parts[1]["labour"])[None]
    return np.concatenate([top, low])


def test_hessian_of_a_quadratic_form_is_its_matrix():
    draw = np.random.default_rng(0).normal(size=(3, 3))
    matrix = jnp.asarray(draw + draw.T)
    made = jax.jit(lambda x: second_order(quadratic(matrix), x, block=2))(POINT)
    np.testing.assert_allclose(whole(made.hessian), matrix, rtol=1e-13)
    x = np.array([2.0, 3.0, 1.5])
    slope = matrix @ x + jnp.array([2.0, 0.0, 0.0])
    np.testing.assert_allclose(made.gradient["capital"], slope[:2], rtol=1e-13)
    direction = {"capital": jnp.array([1.0, -2.0]), "labour": jnp.array(0.5)}
    along = hessian_vector_product(quadratic(matrix), POINT, direction)
    expected = matrix @ np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(np.append(along["capital"], along["labour"]), expected, rtol=1e-13)
    alone = hessian_diagonal(quadratic(matrix), POINT, block=2)
    np.testing.assert_allclose(np.append(alone["capital"], alone["labour"]), np.diag(matrix))


def test_hessian_of_a_product_of_powers_and_its_constant_elasticities():
    made = jax.jit(partial(second_order, powers))(POINT)
    x, e = np.array([2.0, 3.0, 1.5]), np.array(SHARES)
    f = np.prod(x**e)
    expected = f * (np.outer(e, e) - np.diag(e)) / np.outer(x, x)
    np.testing.assert_allclose(whole(made.hessian), expected, rtol=1e-12)
    np.testing.assert_allclose(whole(made.interaction), 0.0, atol=1e-13)


def test_interactions_are_the_change_of_elasticities_on_a_log_scale():
    made = jax.jit(partial(second_order, ces))(POINT)
    x, a = np.array([2.0, 3.0, 1.5]), np.array(SHARES)
    f = 1 / np.sum(a / x)
    e = a * f / x
    np.testing.assert_allclose(whole(made.interaction), np.outer(e, e) - np.diag(e), rtol=1e-11)

    def elasticity(logs):
        inputs = {"capital": jnp.exp(logs[:2]), "labour": jnp.exp(logs[2])}
        found = sensitivity(ces, inputs).elasticity
        return jnp.append(found["capital"], found["labour"])

    direct = jax.jit(jax.jacfwd(elasticity))(jnp.log(jnp.asarray(x)))
    np.testing.assert_allclose(whole(made.interaction), direct, rtol=1e-11)


def test_an_output_of_zero_has_no_interactions():
    made = second_order(lambda v: v["labour"] ** 2 - 2.25, POINT)
    assert np.isnan(whole(made.interaction)).all()
    np.testing.assert_allclose(whole(made.hessian), np.diag([0.0, 0.0, 2.0]))


def test_frame_has_every_pair_once():
    made = second_order(powers, POINT)
    frame = second_order_frame(
        made, output_label="grp", input_labels={"capital": ["plant", "roads"]},
        input_units={"capital": "RUB", "labour": "persons"}, output_units={"grp": "RUB"},
    )  # fmt: skip
    assert len(frame) == 6
    row = frame.query("index == 'roads' and other == 'labour'").iloc[0]
    assert row["hessian"] == pytest.approx(float(made.hessian["capital"]["labour"][1]))
    assert tuple(row[["input_unit", "other_unit", "output_unit"]]) == ("RUB", "persons", "RUB")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: second_order(lambda v: v["capital"], POINT), "one number"),
        (lambda: second_order(powers, {"capital": jnp.array([1, 2])}), "floating"),
        (lambda: second_order(lambda v: jnp.sum(v["x"]), {"x": jnp.ones(201)}), "at most 200"),
        (lambda: hessian_vector_product(powers, POINT, {"capital": 1.0}), "direction"),
        (
            lambda: hessian_vector_product(powers, POINT, POINT | {"labour": jnp.ones(2)}),
            "direction",
        ),
        (lambda: second_order_frame(second_order(powers, POINT), input_units={"x": ""}), "there"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
