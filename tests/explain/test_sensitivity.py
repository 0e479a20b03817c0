"""Sensitivities against finite differences, closed forms and an explicit member loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.explain import Sensitivity, ensemble_sensitivity, sensitivity, sensitivity_frame

INPUTS = {
    "capital": jnp.array([2.0, 3.0, 5.0]),
    "labour": jnp.array([1.5, 1.0, 0.5]),
    "shock": {"level": jnp.array(0.3)},
}


def cobb_douglas(inputs):
    """Elasticities 0.3 and 0.7 by construction, shock in the exponent."""
    product = inputs["capital"] ** 0.3 * inputs["labour"] ** 0.7
    return jnp.exp(inputs["shock"]["level"]) * product


def memory(weights, inputs):
    """[3] outputs, each depending on all earlier years, and crossing zero."""

    def step(state, factors):
        state = jnp.tanh(weights @ jnp.append(factors, state)) - inputs["shock"]["level"]
        return state, state

    return jax.lax.scan(step, 0.1, jnp.stack([inputs["capital"], inputs["labour"]], axis=1))[1]


def _finite_difference(fn, inputs, name: str, index: int) -> np.ndarray:
    step = 1e-6
    up, down = ({**inputs, name: inputs[name].at[index].add(s)} for s in (step, -step))
    return np.asarray(fn(up) - fn(down)) / (2 * step)


@pytest.mark.parametrize("mode", ["forward", "reverse", "auto"])
def test_gradient_agrees_with_finite_differences(mode) -> None:
    def fn(inputs):
        return memory(jnp.array([0.4, -0.7, 0.5]), inputs)

    result = sensitivity(fn, INPUTS, mode=mode)
    for name in ("capital", "labour"):
        for year in range(3):
            expected = _finite_difference(fn, INPUTS, name, year)
            np.testing.assert_allclose(
                result.gradient[name][:, year], expected, rtol=1e-7, atol=1e-9
            )
    # Later factors cannot act on earlier outputs.
    np.testing.assert_array_equal(np.triu(result.gradient["capital"], 1), 0.0)


def test_elasticities_of_a_power_law_are_its_exponents() -> None:
    result = sensitivity(cobb_douglas, INPUTS)
    np.testing.assert_allclose(result.elasticity["capital"], 0.3 * np.eye(3), atol=1e-14)
    np.testing.assert_allclose(result.elasticity["labour"], 0.7 * np.eye(3), atol=1e-14)
    np.testing.assert_allclose(result.elasticity["shock"]["level"], 0.3, rtol=1e-12)
    rescaled = {**INPUTS, "capital": INPUTS["capital"] * 1e3}
    np.testing.assert_allclose(
        sensitivity(cobb_douglas, rescaled).elasticity["capital"],
        result.elasticity["capital"],
        atol=1e-14,
    )


@pytest.mark.parametrize(
    ("fn", "mode", "expected"),
    [
        (lambda x: jnp.sum(x["capital"]), "auto", "jacrev"),
        (lambda x: jnp.tile(x["capital"], 5), "auto", "jacfwd"),
    ],
)
def test_the_cheaper_mode_is_chosen_by_shape(fn, mode, expected, monkeypatch) -> None:
    used = []
    transforms = {name: getattr(jax, name) for name in ("jacrev", "jacfwd")}
    for name in transforms:
        monkeypatch.setattr(
            jax, name, lambda *a, _name=name, **k: used.append(_name) or transforms[_name](*a, **k)
        )
    result = sensitivity(fn, INPUTS, mode=mode)
    assert used == [expected]
    assert result.gradient["capital"].shape == (*result.output.shape, 3)


def test_zero_output_has_no_elasticity_and_stays_differentiable() -> None:
    point = {"x": jnp.array([1.0, 2.0])}
    result = sensitivity(lambda p: p["x"] - 2.0, point)
    assert jnp.isnan(result.elasticity["x"][1]).all()
    np.testing.assert_array_equal(result.elasticity["x"][0], [-1.0, 0.0])
    curvature = jax.grad(lambda p: sensitivity(lambda q: jnp.sum(q["x"] ** 3), p).gradient["x"][0])
    np.testing.assert_allclose(curvature(point)["x"], [6.0, 0.0])


@pytest.mark.parametrize("block", [None, 2])
def test_ensemble_equals_a_loop_over_members(block) -> None:
    weights = jax.random.normal(jax.random.key(1), (5, 3))
    result = ensemble_sensitivity(memory, weights, INPUTS, block=block)
    for member, row in enumerate(weights):
        alone = sensitivity(lambda x, row=row: memory(row, x), INPUTS)
        together = jax.tree.map(lambda leaf, member=member: leaf[member], result)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), together, alone)


def test_frame_of_one_model() -> None:
    frame = sensitivity_frame(
        sensitivity(cobb_douglas, INPUTS),
        output_labels=[2018, 2019, 2020],
        input_labels={"capital": [2018, 2019, 2020]},
    )
    assert list(frame.columns) == ["output", "input", "index", "value", "gradient", "elasticity"]
    assert len(frame) == 3 * (3 + 3 + 1)
    assert set(frame["input"]) == {"capital", "labour", "shock.level"}
    row = frame.query("output == 2019 and input == 'capital' and index == 2019").iloc[0]
    assert row["value"] == 3.0
    assert row["elasticity"] == pytest.approx(0.3)
    expected = _finite_difference(cobb_douglas, INPUTS, "capital", 1)[1]
    assert row["gradient"] == pytest.approx(expected)
    assert frame.query("input == 'labour'")["index"].tolist() == [0, 1, 2] * 3


def test_frame_bands_are_quantiles_over_the_finite_members() -> None:
    slopes = np.append(np.arange(21.0), np.nan)
    result = Sensitivity(
        output=jnp.ones(22),
        inputs={"x": jnp.full(22, 4.0)},
        gradient={"x": jnp.asarray(slopes)},
        elasticity={"x": jnp.asarray(4 * slopes)},
    )
    frame = sensitivity_frame(result, members=True)
    assert len(frame) == 1
    row = frame.iloc[0]
    assert (row["value"], row["gradient"], row["num_finite"]) == (4.0, 10.0, 21)
    assert (row["gradient_low"], row["gradient_high"]) == pytest.approx((1.0, 19.0))
    assert (row["elasticity_low"], row["elasticity_high"]) == pytest.approx((4.0, 76.0))
    half = sensitivity_frame(result, members=True, level=0.5).iloc[0]
    assert (half["gradient_low"], half["gradient_high"]) == pytest.approx((5.0, 15.0))


def test_frame_of_an_ensemble_puts_numbers_in_their_rows() -> None:
    weights = jax.random.normal(jax.random.key(2), (7, 3))
    result = ensemble_sensitivity(memory, weights, INPUTS)
    frame = sensitivity_frame(result, members=True)
    row = frame.query("output == 2 and input == 'labour' and index == 1").iloc[0]
    assert row["gradient"] == pytest.approx(np.median(result.gradient["labour"][:, 2, 1]))
    assert row["value"] == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sensitivity(cobb_douglas, {}), "floating arrays"),
        (lambda: sensitivity(lambda x: x["n"] * 1.0, {"n": jnp.array(3)}), "floating arrays"),
        (lambda: sensitivity(lambda x: (x["a"], x["a"]), {"a": 1.0}), "one floating array"),
        (lambda: sensitivity(cobb_douglas, INPUTS, mode="both"), "mode"),
        (
            lambda: sensitivity_frame(sensitivity(cobb_douglas, INPUTS), output_labels=[1, 2]),
            "expected 3 labels, got 2",
        ),
        (lambda: sensitivity_frame(sensitivity(cobb_douglas, INPUTS), level=1.0), "level"),
    ],
)
def test_wrong_input_is_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
