"""Fitted smoothing weights: scipy, grids, hard series, scale, blocks and devices."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from diffmig.fit import SMOOTHING_STATUS, SmootherConfig, check_weights, fit_smoother
from diffmig.fit.smoothing import NOT_POSITIVE, TOO_SHORT, fit_block
from diffmig.optimize.base import CONVERGED, NO_FINITE_LOSS
from diffmig.smoothing import (
    DAMPED,
    HOLT,
    NAIVE,
    SES,
    THETA,
    TRIGG_LEACH,
    Start,
    holt_winters,
    multi_step_loss,
    run_filter,
    start_values,
    sum_squares,
)
from tests.smoothing.loops import CASES

METHODS = {name: SmootherConfig(method=name) for name in ("grid", "golden", "newton", "lbfgs")}
EXACT = SmootherConfig(initial="exact")
MULTIPLICATIVE = holt_winters(4, multiplicative=True)
MULTI_STEP = SmootherConfig(loss=multi_step_loss((1.0, 0.5, 0.25)))


@pytest.fixture(scope="module")
def walks():
    """Series with level, trend and noise of several kinds, [40, 12], and a mask with gaps."""
    rng = np.random.default_rng(12)
    level = 100 + rng.normal(0, np.linspace(0.2, 3, 12), (40, 12)).cumsum(axis=0)
    y = level + rng.normal(0, np.linspace(4, 0.5, 12), (40, 12))
    observed = rng.random((40, 12)) < np.where(np.arange(12) % 3, 1.0, 0.8)
    return jnp.asarray(np.where(observed, y, 0.0)), jnp.asarray(observed)


@pytest.fixture(scope="module")
def newton(walks):
    return {m.name: fit_smoother(m, *walks, config=METHODS["newton"]) for m in (SES, HOLT)}


def loss_of(smoother, walks, made):
    return sum_squares(smoother, made.params, *walks, made.start)


# --- quality ----------------------------------------------------------------------------------


def ses_loss(alpha, y, seen):
    """Plain loop."""
    level, total = y[np.argmax(seen)], 0.0
    for value in y[seen.astype(bool)]:  # a gap leaves the level of SES as it is
        total += (value - level) ** 2
        level += alpha * (value - level)
    return total


@pytest.mark.parametrize("method", ["golden", "newton", "lbfgs"])
def test_ses_weights_agree_with_scipy(walks, newton, method):
    made = (
        newton["ses"] if method == "newton" else fit_smoother(SES, *walks, config=METHODS[method])
    )
    y, seen = (np.asarray(x) for x in walks)
    for s in range(12):
        grid = np.linspace(1e-4, 1 - 1e-4, 200)
        rough = grid[np.argmin([ses_loss(a, y[:, s], seen[:, s]) for a in grid])]
        best = scipy.optimize.minimize_scalar(
            lambda a, s=s: ses_loss(a, y[:, s], seen[:, s]),
            bounds=(max(1e-4, rough - 0.01), min(1 - 1e-4, rough + 0.01)),
            method="bounded", options={"xatol": 1e-8},
        )  # fmt: skip
        np.testing.assert_allclose(made.loss[s], best.fun, rtol=2e-5)
        if 0.01 < best.x < 0.99:
            np.testing.assert_allclose(made.params[0, s], best.x, atol=5e-3)
    np.testing.assert_allclose(made.loss, loss_of(SES, walks, made), rtol=1e-12)


def test_holt_weights_agree_with_scipy_and_methods_with_each_other(walks, newton):
    y, seen = (np.asarray(x) for x in walks)
    made = newton["holt"]
    other = fit_smoother(HOLT, *walks, config=METHODS["lbfgs"])

    def total(params, s):
        level, trend = float(made.start.level[s]), float(made.start.trend[s])
        loss, begun = 0.0, False
        for value, there in zip(y[:, s], seen[:, s], strict=True):
            begun = begun or there
            if not begun:
                continue
            error = value - level - trend if there else 0.0
            loss += error**2
            level, trend = level + trend + params[0] * error, trend + params[0] * params[1] * error
        return loss

    bounds = HOLT.bounds
    for s in (0, 4, 8, 11):
        starts = [(a, b) for a in (0.1, 0.5, 0.9) for b in (0.1, 0.6)]
        best = min(
            scipy.optimize.minimize(total, x, (s,), "L-BFGS-B", bounds=bounds).fun for x in starts
        )
        assert float(made.loss[s]) < 1.01 * best
        assert float(other.loss[s]) < 1.01 * best
    low, high = np.array(bounds).T[..., None]
    assert ((np.asarray(made.params) >= low) & (np.asarray(made.params) <= high)).all()


@pytest.mark.parametrize("method", ["newton", "lbfgs"])
@pytest.mark.parametrize("smoother", [SES, HOLT], ids=["ses", "holt"])
def test_no_method_is_worse_than_its_grid(walks, newton, smoother, method):
    grid = fit_smoother(smoother, *walks, config=METHODS["grid"])
    np.testing.assert_array_equal(grid.status, CONVERGED)
    made = newton[smoother.name]
    if method == "lbfgs":
        made = fit_smoother(smoother, *walks, config=METHODS[method])
    assert (made.loss <= grid.loss * (1 + 1e-12)).all()
    assert (made.loss < grid.loss).any()


def test_an_exact_start_lowers_the_loss(walks, newton):
    made = fit_smoother(HOLT, *walks, config=EXACT)
    assert (made.loss <= newton["holt"].loss * 1.0001).all()
    np.testing.assert_allclose(made.loss, loss_of(HOLT, walks, made), rtol=1e-9)


def test_fixed_weights_are_kept(walks):
    config = SmootherConfig(method="fixed")
    given = jnp.linspace(0.1, 0.9, 12)[None]
    made = fit_smoother(SES, *walks, config=config, params=given)
    np.testing.assert_array_equal(made.params, given)
    np.testing.assert_allclose(made.loss, loss_of(SES, walks, made), rtol=1e-13)
    default = fit_smoother(SES, *walks, config=config)
    np.testing.assert_array_equal(default.params, np.full((1, 12), 0.3))


def test_newton_starts_from_given_weights_and_the_grid_searches_anew(walks, newton):
    given = newton["ses"].params
    again = fit_smoother(SES, *walks, config=METHODS["newton"], params=given)
    assert (again.loss <= newton["ses"].loss * (1 + 1e-12)).all()
    grid = fit_smoother(SES, *walks, config=METHODS["grid"], params=given)
    np.testing.assert_array_equal(
        grid.params, fit_smoother(SES, *walks, config=METHODS["grid"]).params
    )


def test_loss_of_choice_is_minimised(walks):
    made = fit_smoother(SES, *walks, config=MULTI_STEP)
    for alpha in np.linspace(0.05, 0.95, 10):
        params = jnp.full((1, 12), alpha)
        other = MULTI_STEP.loss(SES, params, *walks, made.start)
        assert (made.loss <= other * (1 + 1e-6)).all()


# --- hard series ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("smoother", "method"),
    [
        (SES, "golden"),
        (SES, "newton"),
        (HOLT, "newton"),
        (HOLT, "lbfgs"),
        (MULTIPLICATIVE, "newton"),
    ],
    ids=lambda x: getattr(x, "name", x),
)
def test_hard_series_are_named_and_leave_the_others_alone(smoother, method):
    rng = np.random.default_rng(3)
    good = 50 + rng.normal(0, 2, (24, 9)).cumsum(axis=0) + rng.normal(0, 2, (24, 9))
    y, observed = good.copy(), np.ones((24, 9), bool)
    y[:, 0] = 30.0  # constant
    observed[:, 1] = np.arange(24) == 5  # one value
    observed[:, 2] = False
    y[4, 3] = -1.0
    y[:, 4] *= 1e12
    y[:, 5] *= 1e-9
    y[3, 6] = np.nan  # accepted by mistake: must not spread
    config = METHODS[method]
    made = fit_smoother(smoother, jnp.asarray(y), jnp.asarray(observed), config=config)
    status = [SMOOTHING_STATUS[code] for code in made.status]
    short, positive = SMOOTHING_STATUS[TOO_SHORT], SMOOTHING_STATUS[NOT_POSITIVE]
    assert status[1] == status[2] == short
    assert (status[3] == positive) == smoother.multiplicative
    assert status[6] == SMOOTHING_STATUS[NO_FINITE_LOSS]
    assert not np.isnan(made.loss).any()
    assert not np.isnan(made.params).any()
    np.testing.assert_array_equal(np.isinf(made.loss), np.array(made.status) >= NO_FINITE_LOSS)
    assert status[0] == SMOOTHING_STATUS[CONVERGED]
    np.testing.assert_allclose(made.loss[0], 0.0, atol=1e-20)

    clean = fit_smoother(
        smoother, jnp.asarray(good), jnp.asarray(np.ones((24, 9), bool)), config=config
    )
    for leaf, other in zip(jax.tree.leaves(made), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(leaf[..., 7:], other[..., 7:])
    # the scale of a series changes neither its weights nor, but for the square, its loss
    np.testing.assert_allclose(made.params[:, 4:6], clean.params[:, 4:6], rtol=1e-4)
    scaled = made.loss[4:6] / np.array([1e24, 1e-18])
    np.testing.assert_allclose(scaled, clean.loss[4:6], rtol=1e-6)


def test_bad_series_with_fixed_weights_say_so():
    y = jnp.asarray(np.array([[1.0, 2, 3], [np.nan, 1, 4], [2, np.inf, 5]]))
    made = fit_smoother(SES, y, config=SmootherConfig(method="fixed"))
    assert [int(code) for code in made.status] == [NO_FINITE_LOSS, NO_FINITE_LOSS, CONVERGED]
    assert np.isinf(made.loss[:2]).all()


def test_rules_without_a_season_start_its_factors_at_one():
    y = jnp.asarray(20.0 + np.random.default_rng(1).normal(0, 1, (24, 2)))
    config = SmootherConfig(method="fixed", initial="mean", num_initial=8)
    made = fit_smoother(MULTIPLICATIVE, y, config=config)
    np.testing.assert_array_equal(made.start.season, np.ones((4, 2)))
    assert (made.loss < 24 * 9).all()  # forecasts near 20, not 0
    wrong = SmootherConfig(initial="season")
    with pytest.raises(ValueError, match="does not fit"):
        fit_smoother(MULTIPLICATIVE, y, config=wrong)


# --- contract ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_every_filter_can_be_fitted_in_every_way_and_keeps_its_dtype(case, dtype):
    smoother = case.smoother
    y = jax.ShapeDtypeStruct((20, 3), dtype)
    observed = jax.ShapeDtypeStruct((20, 3), bool)
    ways = [*METHODS.values(), SmootherConfig(method="fixed"), EXACT]
    for config in ways:
        if config.method == "golden" and len(smoother.parameters) > 1:
            with pytest.raises(ValueError, match="use newton"):
                fit_smoother(smoother, jnp.ones((20, 3)), config=config)
            continue
        made = jax.eval_shape(
            lambda y, observed, config=config: fit_block(
                smoother, config, {"y": y, "observed": observed}
            ),
            y, observed,
        )  # fmt: skip
        floats = (made.params, made.start, made.loss)
        assert {leaf.dtype for leaf in jax.tree.leaves(floats)} == {jnp.dtype(dtype)}
        assert made.status.dtype == jnp.int8
        assert made.params.shape == (len(smoother.parameters), 3)


@pytest.mark.parametrize("smoother", [THETA, TRIGG_LEACH, DAMPED], ids=lambda s: s.name)
def test_float32_fits_are_nearly_those_of_float64(walks, smoother):
    y, observed = (x[:, :4] for x in walks)
    config = SmootherConfig(num_steps=40)
    double = fit_smoother(smoother, y, observed, config=config)
    single = fit_smoother(smoother, y.astype(jnp.float32), observed, config=config)
    np.testing.assert_allclose(single.loss, double.loss, rtol=0.02)


def test_scale_does_not_change_the_weights(walks, newton):
    y, observed = walks
    made = fit_smoother(HOLT, 1000.0 * y, observed, config=METHODS["newton"])
    np.testing.assert_allclose(made.params, newton["holt"].params, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("block", [1, 7])
def test_blocks_change_nothing(walks, newton, block):
    made = fit_smoother(HOLT, *walks, config=METHODS["newton"], block=block)
    for leaf, other in zip(jax.tree.leaves(made), jax.tree.leaves(newton["holt"]), strict=True):
        # other shapes, other rounding, which the differences of Newton's method magnify
        np.testing.assert_allclose(leaf, other, rtol=1e-4)
    np.testing.assert_allclose(made.loss, newton["holt"].loss, rtol=1e-6)


def test_no_observed_mask_means_all_observed(walks):
    y = walks[0][:, 1:3]
    full, none = fit_smoother(SES, y, jnp.ones(y.shape, bool)), fit_smoother(SES, y)
    np.testing.assert_allclose(full.params, none.params, rtol=1e-9)


def test_drift_and_naive_have_nothing_to_fit(walks):
    made = fit_smoother(NAIVE, *walks)
    assert made.params.shape == (0, 12)
    filtered = run_filter(NAIVE, made.params, *walks, start_values(*walks, "first", 1))
    np.testing.assert_allclose(made.loss, jnp.sum(filtered.error**2, axis=0), rtol=1e-12)


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
from diffmig.batching import batch_mesh
from diffmig.fit import SelectiveConfig, SmootherConfig, fit_smoother, forecast_selectively
from diffmig.smoothing import HOLT, NAIVE, SES, b_rule, inverse_rule

assert jax.device_count() == 8
rng = np.random.default_rng(1)
y = jnp.asarray(50 + rng.normal(0, 2, (25, 13)).cumsum(axis=0))
observed = jnp.asarray(rng.random((25, 13)) < 0.9)
rules, config = (b_rule(0.3), inverse_rule(0.3)), SelectiveConfig(2, 12, refit_every=6)
for run in (
    lambda mesh: fit_smoother(HOLT, y, observed, block=2, mesh=mesh),
    lambda mesh: forecast_selectively(
        (SES, NAIVE), rules, y, observed, config=config, prior=jnp.array([2.0, 1.0]), block=2,
        mesh=mesh),
):
    one = run(None)
    for number in (2, 8):
        many = run(batch_mesh(jax.devices()[:number]))
        # eight parts are single blocks, compiled without a loop around them
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), one, many)
print("equal")
"""


@pytest.mark.slow
def test_device_count_changes_nothing():
    root = Path(__file__).parents[2]
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "equal", done.stderr[-3000:]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((SES, jnp.ones(4)), "two equal shapes"),
        ((SES, jnp.ones((4, 2)), jnp.ones((3, 2), bool)), "two equal shapes"),
    ],
)
def test_wrong_shapes_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        fit_smoother(*arguments)


def test_wrong_choices_are_named():
    y = jnp.ones((6, 2))
    with pytest.raises(ValueError, match="params: expected"):
        fit_smoother(HOLT, y, params=jnp.ones((1, 2)))
    with pytest.raises(ValueError, match="method: expected one of"):
        fit_smoother(SES, y, config=SmootherConfig(method="simplex"))
    with pytest.raises(ValueError, match="initial: expected one of"):
        fit_smoother(SES, y, config=SmootherConfig(initial="median"))
    with pytest.raises(ValueError, match="leave loss None"):
        SmootherConfig(initial="exact", loss=sum_squares)
    with pytest.raises(ValueError, match=">= 0"):
        SmootherConfig(grid=-1)


def test_weights_outside_the_unit_interval_are_named():
    check_weights(HOLT, np.array([[0.0, 1.0], [0.4, 0.6]]))
    y = jnp.arange(20.0).reshape(10, 2)
    for bad in (1.2, -0.1, np.nan):
        with pytest.raises(ValueError, match=r"holt: beta must lie in \[0, 1\]"):
            check_weights(HOLT, np.array([[0.5, 0.5], [0.4, bad]]))
        with pytest.raises(ValueError, match="beta must lie"):
            fit_smoother(HOLT, y, params=jnp.asarray([[0.5, 0.5], [0.4, bad]]))


def test_start_is_what_the_rule_says(walks):
    config = SmootherConfig(method="fixed", initial="mean", num_initial=14)
    made = fit_smoother(SES, *walks, config=config)
    expected = start_values(*walks, "mean", 14)
    assert isinstance(made.start, Start)
    np.testing.assert_allclose(made.start.level, expected.level, rtol=1e-14)
