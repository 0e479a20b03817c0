"""Latent force model: likelihood and posterior against quadrature, paths, gradients, forecasts."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from diffmig import migration as mg
from diffmig.fit.latent_force import forecast_latent_force, smooth_latent_force
from diffmig.fit.latent_force_likelihood import latent_force_log_likelihood
from diffmig.fit.latent_force_model import ForceScales, LatentForceModel
from diffmig.migration.matern import KERNELS, matern_kernel
from tests.fit.latent_force_reference import Reference

NUM_TOWNS, NUM_YEARS, DAMPING = 3, 6, 0.25
SCALES = ForceScales(2.0, 0.7, 0.2)
RNG = np.random.default_rng(7)
ROOT = RNG.normal(size=(NUM_TOWNS, NUM_TOWNS))
STIFFNESS = ROOT @ ROOT.T / 4 + 0.2 * np.eye(NUM_TOWNS)
BALANCE = RNG.normal(size=(NUM_TOWNS, NUM_YEARS)) + np.array([1.0, 0.0, -2.0])[:, None]
OBSERVED = RNG.uniform(size=BALANCE.shape) > 0.3
NOISE = np.array([0.1, 0.3, 0.2])
BASIS = np.linalg.qr(ROOT)[0]
DEGENERATE = {
    "distinct": STIFFNESS,
    "two equal": BASIS @ np.diag([0.3, 0.3, 1.0]) @ BASIS.T,
    "all equal": 0.4 * np.eye(NUM_TOWNS),
}


def events(observation, num_years=NUM_YEARS):
    width = float(observation == "mean")
    return [(float(k), k + width) for k in range(num_years)]


def density(model, scales=SCALES, observed=None, stiffness=STIFFNESS, balance=BALANCE):
    masked = None if observed is None else jnp.asarray(observed)
    return latent_force_log_likelihood(
        jnp.asarray(balance), jnp.asarray(stiffness), DAMPING, scales, observed=masked, model=model
    )


def start_sd(observed=None, balance=BALANCE):
    return 10.0 * np.sqrt(np.mean(balance[observed] ** 2 if observed is not None else balance**2))


# --- likelihood and posterior against quadrature --------------------------------------------------


@pytest.mark.parametrize(
    ("observation", "kernel", "paths"),
    [
        ("mean", "matern52", ("dense", "full")),
        ("point", "matern52", ("full",)),
        ("mean", "matern32", ("dense",)),
        ("point", "matern12", ("dense",)),
    ],
)
def test_likelihood_is_the_normal_density_of_all_observations(observation, kernel, paths):
    """Unequal noise and missing balances; the covariance by quadrature over the force."""
    reference = Reference(
        STIFFNESS, DAMPING, SCALES, KERNELS[kernel], events(observation), start_sd(OBSERVED)
    )
    seen = OBSERVED.T.ravel()  # rows of the reference: event by event
    covariance = reference.joint(reference.rows, reference.rows)
    covariance += np.diag(np.tile(NOISE**2, NUM_YEARS))
    values = BALANCE.T.ravel()[seen]
    expected = multivariate_normal(cov=covariance[seen][:, seen]).logpdf(values)
    scales = SCALES._replace(noise_sd=jnp.asarray(NOISE))
    rough = kernel == "matern12"  # its kink costs the quadrature digits
    for path in paths:
        model = LatentForceModel(kernel=kernel, observation=observation, path=path)
        got = density(model, scales, OBSERVED)
        np.testing.assert_allclose(got, expected, rtol=3e-4 if rough else 1e-7)


@pytest.mark.parametrize("observation", ["mean", "point"])
def test_posterior_is_that_of_conditioning_on_all_observations(observation):
    """Force and balance at half years, with a constant force beside the random one."""
    reference = Reference(
        STIFFNESS, DAMPING, SCALES, 2, events(observation), start_sd(OBSERVED), level=True
    )
    seen = OBSERVED.T.ravel()
    covariance = reference.joint(reference.rows, reference.rows)
    covariance += np.diag(np.tile(NOISE**2, NUM_YEARS))
    covariance, values = covariance[seen][:, seen], BALANCE.T.ravel()[seen]
    model = LatentForceModel(observation=observation, level=True)
    got = smooth_latent_force(
        jnp.asarray(BALANCE),
        jnp.asarray(STIFFNESS),
        DAMPING,
        SCALES._replace(noise_sd=jnp.asarray(NOISE)),
        observed=jnp.asarray(OBSERVED),
        model=model,
        num_per_year=2,
    )
    last = NUM_YEARS - (observation == "point")
    np.testing.assert_allclose(got.time, np.arange(2 * last + 1) / 2)
    force_variance = SCALES.force_sd**2 + start_sd(OBSERVED) ** 2
    for moment in (0.0, 1.5, 3.0, float(last)):
        at = round(2 * moment)
        row = reference.row(moment, moment)
        cross = reference.joint(row, reference.rows)[:, seen]
        mean = cross @ np.linalg.solve(covariance, values)
        spread = reference.joint(row, row) - cross @ np.linalg.solve(covariance, cross.T)
        np.testing.assert_allclose(got.balance[:, at], mean, rtol=1e-6)
        np.testing.assert_allclose(got.balance_sd[:, at], np.sqrt(np.diag(spread)), rtol=1e-5)
        for town in range(NUM_TOWNS):
            cross = reference.with_force(moment, town)[seen]
            mean = cross @ np.linalg.solve(covariance, values)
            spread = force_variance - cross @ np.linalg.solve(covariance, cross)
            np.testing.assert_allclose(got.force[town, at], mean, rtol=1e-5)
            np.testing.assert_allclose(got.force_sd[town, at], np.sqrt(spread), rtol=1e-4)


def test_velocity_is_the_derivative_of_the_balance_and_obeys_the_equation():
    """Posterior means: q'' + c q' + K q = f holds for them, as everything is linear."""
    got = smooth_latent_force(
        jnp.asarray(BALANCE), jnp.asarray(STIFFNESS), DAMPING, SCALES, num_per_year=64
    )
    q, v, f = (np.asarray(x) for x in (got.balance, got.velocity, got.force))
    h = 1 / 64
    inner = slice(1, -1)
    np.testing.assert_allclose((q[:, 2:] - q[:, :-2]) / (2 * h), v[:, inner], atol=2e-3)
    a = (v[:, 2:] - v[:, :-2]) / (2 * h)
    np.testing.assert_allclose(
        a + DAMPING * v[:, inner] + STIFFNESS @ q[:, inner], f[:, inner], atol=2e-3
    )


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observation", "function"),
    [
        ("mean", partial(smooth_latent_force, num_per_year=3)),
        ("point", partial(forecast_latent_force, horizon=3)),
    ],
)
def test_all_paths_agree_where_all_apply(observation, function):
    """Complete data, one noise: modes, one matrix, one state."""
    model = partial(LatentForceModel, observation=observation, level=True)
    got = [density(model(path=path)) for path in ("modal", "dense", "full")]
    np.testing.assert_allclose(got[1:], got[0], rtol=1e-9)
    arguments = (jnp.asarray(BALANCE), jnp.asarray(STIFFNESS), DAMPING, SCALES)
    first, second = (function(*arguments, model=model(path=p)) for p in ("modal", "full"))
    for name in first._fields:
        a, b = getattr(first, name), getattr(second, name)
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8, err_msg=name)


def test_a_year_that_all_towns_miss_does_not_couple_modes():
    missed = np.ones_like(OBSERVED)
    missed[:, 2] = False
    one = density(LatentForceModel(path="modal"), observed=missed)
    unequal = SCALES._replace(noise_sd=jnp.full(NUM_TOWNS, 0.2))
    np.testing.assert_allclose(
        one, density(LatentForceModel(path="dense"), unequal, missed), rtol=1e-10
    )


def test_stiffness_by_year():
    """Means: constant where repeated. Points: every Gauss node through the exact propagator."""
    model = LatentForceModel(path="full")
    repeated = np.broadcast_to(STIFFNESS, (NUM_YEARS, *STIFFNESS.shape))
    unforced = SCALES._replace(force_sd=jnp.array([0.7, 0.0, 0.7]))
    constant = density(model, unforced)
    np.testing.assert_allclose(density(model, unforced, stiffness=repeated), constant, rtol=1e-11)
    varying = repeated * np.linspace(0.7, 1.6, NUM_YEARS)[:, None, None]
    num_nodes, half = 10, 0.5
    num_steps = 2 * (NUM_YEARS - 1)
    steps = jnp.repeat(jnp.asarray(varying[1:]), 2, axis=0)

    def run(start, force):
        out = mg.propagate(steps, DAMPING, start[0], start[1], force, half)
        return out.balance[:, ::2]

    shapes = (2, NUM_TOWNS), (NUM_TOWNS, num_steps, num_nodes)
    by_start, by_force = jax.jit(jax.jacobian(run, argnums=(0, 1)))(*map(jnp.zeros, shapes))
    by_force = by_force.reshape((NUM_TOWNS * NUM_YEARS, NUM_TOWNS, -1))
    times = mg.node_times(num_steps, half, num_nodes).ravel()
    prior = matern_kernel("matern52", times[:, None] - times[None, :], 2.0, 0.7)
    covariance = np.einsum("rjt,tu,sju->rs", by_force, prior, by_force)
    by_start = np.asarray(by_start).reshape((NUM_TOWNS * NUM_YEARS, -1))
    covariance += start_sd() ** 2 * by_start @ by_start.T
    covariance += 0.2**2 * np.eye(len(covariance))
    expected = multivariate_normal(cov=covariance).logpdf(BALANCE.ravel())
    model = LatentForceModel(observation="point")
    np.testing.assert_allclose(density(model, stiffness=varying), expected, rtol=1e-7)


def test_unforced_towns_have_no_force_and_their_scale_counts():
    scales = SCALES._replace(force_sd=jnp.array([0.7, 0.0, 0.7]))
    got = smooth_latent_force(
        jnp.asarray(BALANCE), jnp.asarray(STIFFNESS), DAMPING, scales, num_per_year=2
    )
    np.testing.assert_allclose(got.force[1], 0.0, atol=1e-12)
    np.testing.assert_allclose(got.force_sd[1], 0.0, atol=1e-12)
    assert (got.force_sd[0] > 0.01).all()


def test_modes_stand_for_their_matrix():
    """The same likelihood; refused where modes are coupled."""
    modes = mg.modes(jnp.asarray(STIFFNESS))
    model = LatentForceModel(path="modal")
    got = latent_force_log_likelihood(jnp.asarray(BALANCE), modes, DAMPING, SCALES, model=model)
    np.testing.assert_allclose(got, density(model), rtol=1e-12)
    unequal = SCALES._replace(noise_sd=jnp.asarray(NOISE))
    with pytest.raises(ValueError, match="give K"):
        latent_force_log_likelihood(jnp.asarray(BALANCE), modes, DAMPING, unequal)


def test_a_basis_gives_places_instead_of_coordinates():
    """Closed system: three coordinates of four places; the same from modes and from one state."""
    wide = np.linalg.qr(np.random.default_rng(3).normal(size=(4, NUM_TOWNS)))[0]
    arguments = (jnp.asarray(BALANCE), jnp.asarray(STIFFNESS), DAMPING, SCALES)
    model = partial(LatentForceModel, level=True)
    plain = smooth_latent_force(*arguments, model=model(path="modal"), num_per_year=3)
    modal, full = (
        smooth_latent_force(
            *arguments, num_per_year=3, basis=jnp.asarray(wide), model=model(path=path)
        )
        for path in ("modal", "full")
    )
    np.testing.assert_allclose(modal.force, wide @ np.asarray(plain.force), atol=1e-11)
    np.testing.assert_allclose(modal.force_sd, full.force_sd, rtol=1e-7)
    np.testing.assert_allclose(modal.balance_sd, full.balance_sd, rtol=1e-7)


def test_constant_and_zero_force_are_gaussian_regressions():
    """Without a random force the balance is a linear model of the start (and of a constant)."""
    one, k = 0.35, np.arange(NUM_YEARS)
    w = np.sqrt(one - DAMPING**2 / 4)
    decay = np.exp(-DAMPING * k / 2)
    g = decay * np.sin(w * k) / w
    rate = decay * (np.cos(w * k) - DAMPING / (2 * w) * np.sin(w * k))
    design = np.stack([rate + DAMPING * g, g, (1 - rate - DAMPING * g) / one], axis=1)
    data = BALANCE[:1]
    for level in (False, True):
        rows = design if level else design[:, :2]
        covariance = start_sd(balance=data) ** 2 * rows @ rows.T + 0.04 * np.eye(NUM_YEARS)
        expected = multivariate_normal(cov=covariance).logpdf(data[0])
        model = LatentForceModel(kernel="none", level=level, observation="point")
        got = density(model, stiffness=np.array([[one]]), balance=data)
        np.testing.assert_allclose(got, expected, rtol=1e-9)


# --- derivatives ----------------------------------------------------------------------------------


def central(function, x, direction, step=1e-5):
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


@cache
def programs(path):
    """Likelihood and its gradient by (length scale, force_sd, noise_sd, c), balance, stiffness."""

    def value(x, balance, stiffness):
        noise, observed = x[2], None
        if path != "modal":
            noise, observed = x[2] * jnp.array([0.5, 1.5, 1.0]), jnp.asarray(OBSERVED)
        scales = ForceScales(x[0], x[1], noise)
        return latent_force_log_likelihood(
            balance, stiffness, x[3], scales, observed=observed, model=LatentForceModel(path=path)
        )

    return jax.jit(value), jax.jit(jax.grad(value, argnums=(0, 1, 2)))


@pytest.mark.parametrize("path", ["modal", "dense", "full"])
@pytest.mark.parametrize("name", list(DEGENERATE))
def test_gradients_against_finite_differences(path, name):
    """By scales and damping, by the balance, and by the stiffness also where modes coincide."""
    value, gradient = programs(path)
    at = (jnp.array([2.0, 0.7, 0.2, 0.25]), jnp.asarray(BALANCE), jnp.asarray(DEGENERATE[name]))
    slopes = gradient(*at)
    rng = np.random.default_rng(5)
    for which in (0, 0, 2, 2, 2):
        direction = rng.normal(size=at[which].shape)
        if which == 2:
            direction = direction + direction.T

        def along(x, which=which):
            return value(*at[:which], x, *at[which + 1 :])

        expected = central(along, at[which], jnp.asarray(direction))
        got = jnp.sum(slopes[which] * direction)
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)
    if path == "modal":
        # the wide start follows the size of the data but counts as a constant: move along a
        # rotation, which leaves that size
        turn = jnp.array([[0.0, -1.0, 0.3], [1.0, 0.0, 0.5], [-0.3, -0.5, 0.0]]) @ at[1]
        expected = central(lambda y: value(at[0], y, at[2]), at[1], turn)
        np.testing.assert_allclose(jnp.sum(slopes[1] * turn), expected, rtol=1e-5, atol=1e-7)


def test_second_derivatives_by_the_stiffness_are_refused_not_wrong():
    at = jnp.asarray(STIFFNESS)
    for path in ("modal", "dense"):
        value = partial(density, LatentForceModel(path=path))
        with pytest.raises(NotImplementedError, match="path='full'"):
            jax.hessian(lambda k, f=value: f(stiffness=k))(at)


# --- forecasts ------------------------------------------------------------------------------------


def test_forecast_is_the_posterior_of_years_that_nobody_has_seen():
    horizon, model = 3, LatentForceModel(observation="point", level=True, path="modal")
    arguments = (jnp.asarray(STIFFNESS), DAMPING, SCALES)
    got = forecast_latent_force(jnp.asarray(BALANCE), *arguments, horizon, model=model)
    longer = jnp.pad(jnp.asarray(BALANCE), ((0, 0), (0, horizon)))
    observed = jnp.pad(jnp.ones(BALANCE.shape, bool), ((0, 0), (0, horizon)))
    both = smooth_latent_force(longer, *arguments, observed=observed, model=model, num_per_year=1)
    np.testing.assert_allclose(got.forecast, both.balance[:, NUM_YEARS:], rtol=1e-9)
    np.testing.assert_allclose(got.balance_sd, both.balance_sd[:, NUM_YEARS:], rtol=1e-7)
    np.testing.assert_allclose(got.forecast_sd, np.hypot(got.balance_sd, 0.2), rtol=1e-10)
    assert (np.diff(got.forecast_sd, axis=1) > 0).all()


def test_one_step_forecasts_make_up_the_likelihood():
    """ln p(y) = sum_k ln p(y_k | y_1..y_{k-1}) for one town."""
    model = LatentForceModel()
    data, matrix = BALANCE[:1], np.array([[0.35]])
    got = forecast_latent_force(
        jnp.asarray(data), jnp.asarray(matrix), DAMPING, SCALES, 1, model=model
    )
    z = (data[0] - got.fitted[0]) / got.fitted_sd[0]
    total = -0.5 * np.sum(z**2 + np.log(2 * np.pi * got.fitted_sd[0] ** 2))
    expected = density(model, stiffness=matrix, balance=data)
    np.testing.assert_allclose(total, expected, rtol=1e-10)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"balance": jnp.ones(5)}, "balance: expected"),
        ({"balance": jnp.ones((3, 2))}, "at least 3 years"),
        ({"balance": jnp.ones((3, 6), jnp.float32)}, "float64"),
        ({"stiffness": jnp.ones((2, 2))}, "stiffness: expected"),
        ({"stiffness": jnp.ones((5, 3, 3))}, "stiffness: expected"),
        ({"observed": jnp.ones((3, 4), bool)}, "observed: expected"),
        ({"scales": ForceScales(jnp.ones(3), 1.0, 1.0)}, "length_scale"),
        ({"scales": ForceScales(1.0, jnp.ones(2), 1.0)}, "force_sd"),
        ({"scales": ForceScales(1.0, 1.0, jnp.ones((3, 3)))}, "noise_sd"),
        (
            {
                "scales": ForceScales(1.0, 1.0, jnp.ones(3)),
                "model": LatentForceModel(path="modal"),
            },
            "noise by town",
        ),
        (
            {
                "scales": ForceScales(1.0, jnp.ones(3), 1.0),
                "model": LatentForceModel(path="dense"),
            },
            "a force_sd by town",
        ),
    ],
)
def test_bad_input_is_named_before_tracing(change, message):
    arguments = {"balance": BALANCE, "stiffness": STIFFNESS, "scales": SCALES, **change}
    balance, stiffness = (jnp.asarray(arguments.pop(k)) for k in ("balance", "stiffness"))
    with pytest.raises(ValueError, match=message):
        latent_force_log_likelihood(balance, stiffness, DAMPING, **arguments)


@settings(max_examples=20, deadline=None)
@given(st.integers(-2, 0), st.integers(-2, 0))
def test_counts_below_one_are_refused(horizon, num_per_year):
    arguments = (jnp.asarray(BALANCE), jnp.asarray(STIFFNESS), DAMPING, SCALES)
    with pytest.raises(ValueError, match="horizon"):
        forecast_latent_force(*arguments, horizon)
    with pytest.raises(ValueError, match="num_per_year"):
        smooth_latent_force(*arguments, num_per_year=num_per_year)


@pytest.mark.parametrize(
    "choice",
    [
        {"kernel": "rbf"},
        {"observation": "sum"},
        {"path": "fast"},
        {"initial_scale": 0.0},
        {"offset": 1.0},
    ],
)
def test_unknown_choices_are_refused(choice):
    with pytest.raises(ValueError, match="expected"):
        LatentForceModel(**choice)
