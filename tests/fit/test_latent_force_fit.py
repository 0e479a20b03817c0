"""Scales and strengths by marginal likelihood: recovery, calibration of bands, invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from diffmig import migration as mg
from diffmig.fit.latent_force_fit import (
    LatentForceSearch,
    fit_latent_dynamics,
    fit_latent_force,
)
from diffmig.fit.latent_force_likelihood import latent_force_log_likelihood
from diffmig.fit.latent_force_model import ForceScales, LatentForceModel
from diffmig.optimize import STATUS
from tests.fit.force_cases import (
    DAMPING,
    make_case,
    matern_force,
    relative_error,
    smooth_force,
    stiffness_of,
    with_noise,
)

POINT = LatentForceModel(observation="point")
NUM_TOWNS = 9


@pytest.fixture(scope="module")
def smooth_case():
    """21 years: as many means as points of the first 20."""
    case = make_case(smooth_force(NUM_TOWNS), stiffness_of(NUM_TOWNS), num_years=21)
    return case._replace(points=case.points[:, :21])


def fit(case, data, model=POINT, **keywords):
    return fit_latent_force(data, case.stiffness, DAMPING, model=model, **keywords)


def force_error(found, case, *, shift=0.0, margin=0.0):
    """Relative error of the force, `margin` years from both ends of the estimate left out."""
    time = np.asarray(found.estimate.time) + shift
    inner = (time >= time[0] + margin) & (time <= time[-1] - margin)
    return relative_error(found.estimate.force[:, inner], case.force[:, case.at(time[inner])])


def test_force_without_noise_is_recovered(smooth_case):
    """21 yearly values: relative error of the force below 5 %."""
    found = fit(smooth_case, jnp.asarray(smooth_case.points))
    assert force_error(found, smooth_case) < 0.05
    rows = smooth_case.at(found.estimate.time)
    assert relative_error(found.estimate.balance, smooth_case.balance[:, rows]) < 2e-3
    assert relative_error(found.estimate.velocity, smooth_case.velocity[:, rows]) < 0.01


def test_yearly_means_are_no_values_of_mid_years(smooth_case):
    data = jnp.asarray(smooth_case.means)
    found = fit(smooth_case, data, LatentForceModel())
    assert bool(found.converged)
    assert force_error(found, smooth_case) < 0.05
    wrong = fit(smooth_case, data)
    assert force_error(wrong, smooth_case, shift=0.5, margin=1.0) > 3 * force_error(
        found, smooth_case, margin=1.5
    )


def test_noise_level_and_force_at_five_percent(smooth_case):
    data, sd = with_noise(smooth_case.points, 0.05)
    found = fit(smooth_case, data)
    assert bool(found.converged)
    assert STATUS[int(found.status)] == "converged"
    assert not np.asarray(found.at_bound).any()
    np.testing.assert_allclose(found.scales.noise_sd, sd, rtol=0.25)
    assert force_error(found, smooth_case) < 0.2


def test_the_maximum_is_one(smooth_case):
    data, _ = with_noise(smooth_case.points, 0.05)
    found = fit(smooth_case, data)
    best = jnp.log(jnp.stack(found.scales))

    @jax.jit
    def density(x):
        scales = ForceScales(*jnp.exp(x))
        return latent_force_log_likelihood(
            data, smooth_case.stiffness, DAMPING, scales, model=POINT
        )

    np.testing.assert_allclose(density(best), found.log_likelihood, rtol=1e-11)
    for i in range(3):
        for step in (-0.1, 0.1):
            assert density(best.at[i].add(step)) < found.log_likelihood - 1e-3
    np.testing.assert_allclose(  # both starts end there
        found.start_log_likelihood, found.log_likelihood, rtol=0, atol=1e-4
    )


def test_modes_of_the_stiffness_serve_as_well(smooth_case):
    data, _ = with_noise(smooth_case.points, 0.05)
    one = fit(smooth_case, data)
    modes = mg.modes(smooth_case.stiffness)
    other = fit_latent_force(data, modes, DAMPING, model=POINT)
    np.testing.assert_allclose(other.estimate.force, one.estimate.force, atol=1e-10)
    np.testing.assert_array_equal(one.stiffness, smooth_case.stiffness)
    assert other.stiffness is not one.stiffness


def test_units_of_the_data_scale_the_result(smooth_case):
    data, _ = with_noise(smooth_case.points, 0.05)
    one, thousand = fit(smooth_case, data), fit(smooth_case, 1000.0 * data)
    np.testing.assert_allclose(thousand.scales.length_scale, one.scales.length_scale, rtol=1e-3)
    np.testing.assert_allclose(thousand.scales.force_sd, 1000 * one.scales.force_sd, rtol=1e-3)
    np.testing.assert_allclose(thousand.scales.noise_sd, 1000 * one.scales.noise_sd, rtol=1e-3)
    np.testing.assert_allclose(thousand.estimate.force, 1000 * one.estimate.force, atol=5.0)


def test_bands_cover_draws_of_the_prior(key):
    """90 % bands of force and balance at fitted scales, over draws and towns: 0.85 to 0.95."""
    force_hits, balance_hits, lengths = [], [], []
    for i in range(6):
        force = matern_force(jax.random.fold_in(key, i), NUM_TOWNS, 20, substeps=10)
        case = make_case(force, stiffness_of(NUM_TOWNS), seed=i, substeps=10)
        data, _ = with_noise(case.points, 0.05, seed=i)
        found = fit(case, data)
        rows = case.at(found.estimate.time)
        off = np.abs(found.estimate.force - case.force[:, rows]) / found.estimate.force_sd
        force_hits.append(np.mean(off < 1.6449))
        off = np.abs(found.estimate.balance - case.balance[:, rows]) / found.estimate.balance_sd
        balance_hits.append(np.mean(off < 1.6449))
        lengths.append(float(found.scales.length_scale))
    assert 0.85 <= np.mean(force_hits) <= 0.95, force_hits
    assert 0.85 <= np.mean(balance_hits) <= 0.95, balance_hits
    np.testing.assert_allclose(np.median(lengths), 3.0, rtol=0.15)


def test_random_force_beats_none_where_there_is_one(smooth_case):
    data, _ = with_noise(smooth_case.points, 0.05)
    zero = fit(smooth_case, data, LatentForceModel(kernel="none", observation="point"))
    assert float(fit(smooth_case, data).log_likelihood - zero.log_likelihood) > 100
    assert not np.asarray(zero.estimate.force).any()


# --- dynamics -------------------------------------------------------------------------------------


def dynamics(springs, theta):
    strength = jax.nn.softplus(theta["strength"])
    matrix = strength[0] * jnp.eye(len(springs)) + strength[1] * springs
    return matrix, jax.nn.softplus(theta["damping"])


def inverse_softplus(x):
    return np.log(np.expm1(x))


def starts_of(damping, strength):
    return {
        "strength": jnp.asarray(inverse_softplus(np.array(strength))),
        "damping": jnp.asarray(inverse_softplus(np.array(damping))),
    }


@pytest.mark.slow
def test_towns_known_to_be_unforced_identify_the_dynamics_and_free_forces_do_not():
    num_towns = 6
    forced = np.arange(num_towns) % 3 != 0
    springs = stiffness_of(num_towns, confinement=0.0, coupling=1.0)
    force = smooth_force(num_towns)
    case = make_case(
        lambda time: jnp.asarray(forced, float)[:, None] * force(time),
        0.15 * np.eye(num_towns) + 0.4 * springs,
    )
    data, _ = with_noise(case.points, 0.02)
    fn = Partial(dynamics, jnp.asarray(springs))
    starts = starts_of([0.1], [[0.3, 0.2]])

    def errors(found):
        matrix, damping = fn(found.theta)
        return [relative_error(matrix, np.asarray(case.stiffness)), abs(damping / DAMPING - 1)]

    known = fit_latent_dynamics(
        data, fn, starts, force_weight=jnp.asarray(forced, float), model=POINT
    )
    assert max(errors(known)) < 0.05, errors(known)
    assert bool(known.converged)
    np.testing.assert_allclose(known.estimate.force[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(known.stiffness, fn(known.theta)[0], rtol=1e-12)
    free = fit_latent_dynamics(data, fn, starts, force_weight=jnp.ones(num_towns), model=POINT)
    assert free.log_likelihood < known.log_likelihood  # the restriction is true
    assert max(errors(free)) > 0.2, errors(free)


@pytest.mark.slow
def test_unequal_noise_and_missing_years_are_fitted(smooth_case):
    """Weights of noise by town: the common factor and the force come out."""
    rng = np.random.default_rng(8)
    weight = rng.uniform(0.5, 2.0, NUM_TOWNS)
    sd = 0.05 * smooth_case.points.std()
    data = smooth_case.points + sd * weight[:, None] * rng.normal(size=smooth_case.points.shape)
    observed = rng.uniform(size=data.shape) > 0.1
    found = fit(
        smooth_case,
        jnp.asarray(np.where(observed, data, np.nan)),
        observed=jnp.asarray(observed),
        noise_weight=jnp.asarray(weight),
        search=LatentForceSearch(num_starts=1, num_per_year=4),
    )
    assert bool(found.converged)
    np.testing.assert_allclose(found.scales.noise_sd, sd * weight, rtol=0.2)
    assert force_error(found, smooth_case) < 0.25


# --- bad input ------------------------------------------------------------------------------------


def test_bad_choices_are_named(smooth_case):
    with pytest.raises(ValueError, match="counts >= 1"):
        LatentForceSearch(num_starts=0)
    with pytest.raises(ValueError, match="stiffness: expected"):
        fit_latent_force(jnp.asarray(smooth_case.points), jnp.eye(2), DAMPING)
    with pytest.raises(ValueError, match="one length"):
        fit_latent_dynamics(
            jnp.asarray(smooth_case.points),
            Partial(dynamics, jnp.eye(NUM_TOWNS)),
            starts_of([0.1, 0.2], [[0.3, 0.2]]),
        )
