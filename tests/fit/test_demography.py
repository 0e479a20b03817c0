"""Schedules fitted to populations: known ones come back, countries come near, gaps are survived."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from diffmig import data
from diffmig.fit import MortalityConfig, fit_fertility, fit_mortality
from diffmig.fit.demography import gauss_newton_derivatives
from diffmig.human_capital import (
    GompertzMakeham,
    NormalFertility,
    Siler,
    cohort_component,
    fertility_births,
    life_expectancy,
    net_migration_by_survival,
    normal_fertility,
    population_by_age,
    projection_residual,
    schedule_mortality,
)
from diffmig.optimize import STATUS

CONVERGED = STATUS.index("converged")
# two regions
TRUE = Siler(
    *(
        jnp.asarray(x)
        for x in ([0.02, 0.03], [1.0, 0.9], [4e-4, 9e-4], [3.3e-5, 9e-5], [0.097, 0.09])
    )
)
BIRTHS = NormalFertility(*(jnp.asarray(x) for x in ([1.6, 3.9], [29.0, 27.0], [5.5, 6.1])))


@pytest.fixture(scope="module")
def closed():
    """Two regions over 15 years without migration, 5-year groups, women and men."""
    rng = np.random.default_rng(5)
    initial = 1e5 * np.exp(-np.arange(18)[:, None, None] / 9) * rng.uniform(0.7, 1.3, (18, 2, 2))

    @jax.jit
    def project(initial):
        mortality = schedule_mortality(TRUE, 18, step=5.0)
        fertility = normal_fertility(BIRTHS, 18, step=5.0)
        rates = mortality[None, :, None], fertility[None]
        return mortality, cohort_component(initial, *rates, step=5.0, num_steps=3)

    return project(jnp.asarray(initial))


@jax.jit
def expectancy(mortality):
    return life_expectancy(mortality[None], step=5.0)[0]


def test_a_known_schedule_comes_back(closed):
    mortality, made = closed
    deaths = made.deaths.sum(axis=1)
    config = MortalityConfig(survivor_error=1e-4, deaths_error=1e-4)
    fit = fit_mortality(made.population, deaths, step=5.0, config=config)
    assert fit.mortality.shape == (19, 2, 2)  # cohort, sex, region
    assert (fit.status == CONVERGED).all()
    np.testing.assert_allclose(fit.schedule.slope, jnp.stack([TRUE.slope] * 2), rtol=0.01)
    np.testing.assert_allclose(fit.schedule.level, jnp.stack([TRUE.level] * 2), rtol=0.05)
    true = jnp.broadcast_to(mortality[:, None], fit.mortality.shape)
    np.testing.assert_allclose(expectancy(fit.mortality), expectancy(true), atol=0.15)
    # what data tell is known well, what only the prior tells is not
    error = np.sqrt(np.diagonal(np.asarray(fit.covariance), axis1=0, axis2=1))
    names = fit.schedule._fields
    assert error[..., names.index("slope")].max() < 0.003
    assert error[..., names.index("decline")].min() > 0.03


def test_deaths_that_are_not_known_leave_the_prior(closed):
    _, made = closed
    deaths = np.array(made.deaths.sum(axis=1))
    deaths[:, :, 0] = np.nan
    config = MortalityConfig(survivor_error=1e-4, deaths_error=1e-4)
    fit = fit_mortality(made.population, jnp.asarray(deaths), step=5.0, config=config)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fit))
    names = fit.schedule._fields
    variance = np.asarray(fit.covariance)[names.index("infant"), names.index("infant")]
    assert (variance[:, 0] > variance[:, 1]).all()
    np.testing.assert_allclose(
        fit.schedule.slope, jnp.stack([TRUE.slope] * 2), rtol=0.02
    )  # the old ages are enough for it


def test_fertility_comes_back_from_births_and_from_children(closed):
    mortality, made = closed
    rates = mortality[None, :, None]
    births = made.births.sum(axis=1)
    known = fit_fertility(made.population, rates, births, step=5.0, births_error=1e-3)
    children = fit_fertility(made.population, rates, step=5.0)
    assert (known.status == CONVERGED).all()
    assert (children.status == CONVERGED).all()
    np.testing.assert_allclose(known.schedule.total, BIRTHS.total, rtol=0.02)
    np.testing.assert_allclose(children.schedule.total, BIRTHS.total, rtol=0.05)
    run = jax.jit(partial(fertility_births, step=5.0))
    again = run(made.population[:-1], rates, known.fertility[None])
    np.testing.assert_allclose(again.sum(axis=1), births, rtol=1e-3)


def test_derivatives_are_those_of_half_the_sum_of_squares():
    def residual(x):
        return jnp.stack([x[0] * x[1] - 2.0, jnp.sin(x[0]), x[1] ** 2])

    x = jnp.asarray([[0.7, 1.4], [1.1, -0.3]])  # dim, problem
    at = jax.jit(gauss_newton_derivatives(residual))(x)
    np.testing.assert_allclose(at.loss, 0.5 * (residual(x) ** 2).sum(axis=0), rtol=1e-14)
    gradient = jax.grad(lambda x: 0.5 * (residual(x) ** 2).sum())(x)
    np.testing.assert_allclose(at.gradient, gradient, rtol=1e-13)
    for k in range(2):
        slopes = np.asarray(jax.jit(jax.jacobian(residual))(x[:, k]))
        np.testing.assert_allclose(at.hessian[:, :, k], slopes.T @ slopes, rtol=1e-13)


def test_inputs_that_do_not_fit_are_refused(closed):
    mortality, made = closed
    population = made.population
    with pytest.raises(ValueError, match="model"):
        MortalityConfig(model="weibull")
    with pytest.raises(ValueError, match="errors > 0"):
        MortalityConfig(deaths_error=0.0)
    with pytest.raises(ValueError, match="year \\+ 1"):
        fit_mortality(population[:1], step=5.0)
    with pytest.raises(ValueError, match="no age group"):
        fit_mortality(population, step=1.0)
    with pytest.raises(ValueError, match="births"):
        fit_fertility(population, mortality[None, :, None], jnp.ones((2, 2)), step=5.0)


def test_the_udmurt_mortality_of_2010_2014():
    """Measured: life expectancy 71.9 years with Gompertz-Makeham, which has no infants; 70.7 with
    Siler."""
    table, changes = data.load_population("udmurt"), data.load_population_changes()
    population = population_by_age(table, range(2010, 2015))
    between = changes.set_index("year")["deaths"].rolling(2).mean()  # middle to middle of a year
    deaths = np.array([np.nan, np.nan, between[2013], between[2014]])
    config = MortalityConfig(model="gompertz_makeham", last_age=84.0)
    fit = fit_mortality(jnp.asarray(population), jnp.asarray(deaths), config=config)
    assert isinstance(fit.schedule, GompertzMakeham)
    assert fit.status == CONVERGED
    found = float(life_expectancy(fit.mortality[None])[0])
    assert 69.0 < found < 72.5

    @jax.jit
    def balance(mortality, population, births):
        rates = mortality[None, :, None]
        flow = net_migration_by_survival(population, rates, births)
        return cohort_component(population[0], rates, None, flow, births=births)

    births = changes["births"].rolling(2).mean()[1:3].to_numpy()[:, None]
    made = balance(fit.mortality, jnp.asarray(population[2:, :, None]), jnp.asarray(births))
    np.testing.assert_allclose(made.population[:, :, 0], population[2:], rtol=1e-12)
    np.testing.assert_allclose(projection_residual(made), 0.0, atol=1e-6)
    np.testing.assert_allclose(made.deaths.sum(axis=(1, 2)), deaths[2:], rtol=0.03)


def test_any_of_the_266_areas_is_fitted_and_projected(real_data):
    """Two populations five years apart, 2010 and 2015, no deaths and no migration known.

    Measured for ten countries and five periods 1970-2020: life expectancy of women 0.5, of men 0.9
    years off (median); total fertility of the five here up to 8 %.
    """
    pytest.importorskip("bokeh_sampledata")
    table = data.load_wpp_population()
    population = jnp.asarray(np.transpose(table.values, (2, 3, 1, 0))[12:14])
    assert table.years[12] == 2010
    fit = fit_mortality(population, step=5.0)
    rates = fit.mortality[None]
    births = fit_fertility(population, rates, step=5.0)
    for status in (fit.status, births.status):
        assert (np.asarray(status) == CONVERGED).mean() > 0.95
    made = jax.jit(partial(cohort_component, step=5.0))(
        population[0], rates, births.fertility[None]
    )
    assert np.isfinite(made.population).all()
    assert (np.asarray(made.population) >= 0).all()

    places = ["Belarus", "Ukraine", "Uzbekistan", "Republic of Korea", "Austria"]
    where = [table.places.index(place) for place in places]

    def mean(name, value):
        frame = pd.read_csv(real_data / f"wpp2024_{name}.csv")
        frame = frame[frame["year"].between(2010, 2014)]
        return frame.groupby("country")[value].mean().loc[places].to_numpy()

    known = np.stack([mean("e0_1yr", "e0F"), mean("e0_1yr", "e0M")])
    assert np.abs(np.asarray(expectancy(fit.mortality))[:, where] - known).max() < 2.0
    total = np.asarray(births.schedule.total)[where]
    assert np.abs(total / mean("tfr_1yr", "tfr") - 1).max() < 0.12
    change = np.asarray(made.population[1].sum(axis=(0, 1)) / population[1].sum(axis=(0, 1)))
    assert np.abs(change[where] - 1)[:3].max() < 0.01
    assert np.abs(change[where] - 1)[3:].max() < 0.04  # many came to Korea and Austria
