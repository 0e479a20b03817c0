"""Mortality and fertility schedules fitted to populations by age: gradients through the exact step.

Parameters are logarithms inside a box, residuals are divided by stated errors, and a prior of
conventional schedules decides what the data do not tell. Newton steps with the Gauss-Newton matrix
fit any number of regions in lockstep: arrays are [year, age, ...] with regions, and for mortality
sexes, behind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig.human_capital import (
    GompertzMakeham,
    NormalFertility,
    Siler,
    net_migration_by_survival,
    normal_fertility,
    phi1,
    schedule_mortality,
    women_years,
)
from diffmig.optimize.pointwise import Evaluated, minimize_newton

MortalityModel = Literal["siler", "gompertz_makeham"]
_MODELS: dict[str, Any] = {"siler": Siler, "gompertz_makeham": GompertzMakeham}
_PIVOT_AGE = 70.0  # where the level is searched: there data tell it apart from the slope
# centre, power of the level (at the pivot age, in units of its centre), standard deviation of the
# logarithm. Mortality: regressions over 300 schedules fitted to death rates of WPP 2024 (10
# countries, both sexes, 1950-2023); fertility: conventional.
_PRIOR = {
    "infant": (0.02, 1.3, 0.65),
    "decline": (1.0, 0.0, 0.3),
    "background": (4e-4, 0.6, 0.4),
    "level": (0.035, 0.0, 0.5),
    "slope": (0.097, -0.3, 0.085),
    "total": (2.5, 0.0, 1.0),
    "mean_age": (28.0, 0.0, 0.07),
    "spread": (5.8, 0.0, 0.15),
}
_BOX = 5.0  # half-width in standard deviations


@dataclass(frozen=True)
class MortalityConfig:
    """How a mortality schedule is fitted.

    model: "siler" or "gompertz_makeham".
    first_age, last_age: survivors who reach these ages, years, both included, are compared; below,
        migration hides mortality, above, ages are often reconstructed. None: to the last one.
    survivor_error: relative error of the survivors in a group of mean size; smaller groups weigh in
        proportion to their size.
    deaths_error: relative error of total deaths.
    num_steps: of Newton.
    """

    model: MortalityModel = "siler"
    first_age: float = 60.0
    last_age: float | None = None
    survivor_error: float = 0.05
    deaths_error: float = 0.01
    num_steps: int = 30

    def __post_init__(self) -> None:
        if self.model not in get_args(MortalityModel):
            raise ValueError(
                f"model: expected one of {get_args(MortalityModel)}, got {self.model!r}"
            )
        if min(self.survivor_error, self.deaths_error) <= 0 or self.num_steps < 1:
            raise ValueError(f"expected errors > 0 and num_steps >= 1, got {self}")


class MortalityFit(NamedTuple):
    """A schedule per region.

    Attributes:
        schedule: Siler or GompertzMakeham, leaves [...].
        mortality: of cohorts, 1/year, [cohort, ...], as `cohort_component` takes it behind a year
            axis.
        loss: half the sum of squared residuals and prior terms, [...].
        status: int8 [...], index into `diffmig.optimize.STATUS`.
        covariance: of the logarithms of the parameters, the level taken at age 70, [parameter,
            parameter, ...]: inverse of the Gauss-Newton matrix under the stated errors and prior.
    """

    schedule: Siler | GompertzMakeham
    mortality: Array
    loss: Array
    status: Array
    covariance: Array


class FertilityFit(NamedTuple):
    """A schedule per region; fields as in `MortalityFit`.

    Attributes:
        schedule: leaves [...].
        fertility: births per woman-year of cohorts, [age, ...].
        loss, status, covariance: of ln total, ln mean_age, ln spread.
    """

    schedule: NormalFertility
    fertility: Array
    loss: Array
    status: Array
    covariance: Array


def fit_mortality(
    population: Array,
    deaths: Array | None = None,
    *,
    step: float = 1.0,
    config: MortalityConfig = MortalityConfig(),
) -> MortalityFit:
    """Mortality schedule from the survival of cohorts and, if known, total deaths.

    r_j = (N(t + k, j) - e^{-z_j} N(t, j - 1)) / (error sqrt(N(t + k, j) mean N)),  old ages only
    r_D = ln(D / sum of (1 - e^{-z_j}) N(t, j - 1) and of newborn deaths) / error

    Args:
        population: persons one step apart, [year + 1, age, ...]; the last age is open.
        deaths: persons who die during a step, all ages, [year, ...]; NaN where not known.
        step: k, years of a step and of an age group.
        config: model, ages and errors.

    Returns:
        MortalityFit: one schedule for all years of the input. Fit parts of a long series apart.

    Raises:
        ValueError: shapes that do not fit, or no age to compare.

    Notes:
        Without deaths the infant and background hazards are those of the prior, and life expectancy
        is known to some years only. Migration at old ages is taken for mortality.
    """
    num_ages = population.shape[1] if population.ndim >= 2 else 0
    shape = (population.shape[0] - 1, *population.shape[2:])
    if num_ages < 2 or shape[0] < 1 or (deaths is not None and deaths.shape != shape):
        raise ValueError(
            "population, deaths: expected [year + 1, age, ...] and [year, ...], got "
            f"{population.shape} and {None if deaths is None else deaths.shape}"
        )
    ages = np.arange(1, num_ages) * step
    last = np.inf if config.last_age is None else config.last_age
    if not ((ages >= config.first_age) & (ages + step - 1 <= last)).any():
        raise ValueError(
            f"config: no age group between {config.first_age} and {last}; the last group starts "
            f"at {ages[-1]}"
        )
    return _fit_mortality(population, deaths, step, config)


@partial(jax.jit, static_argnums=(2, 3))
def _fit_mortality(
    population: Array, deaths: Array | None, step: float, config: MortalityConfig
) -> MortalityFit:
    num_ages, like = population.shape[1], population[0, 0]
    ages = np.arange(1, num_ages) * step
    last = np.inf if config.last_age is None else config.last_age
    used = np.flatnonzero((ages >= config.first_age) & (ages + step - 1 <= last))
    reached = population[1:, 1:][:, used]
    mean = reached.mean(axis=(0, 1), keepdims=True)
    scale = config.survivor_error * jnp.sqrt(jnp.maximum(reached * mean, 1.0))

    def to_schedule(x: Array) -> Siler | GompertzMakeham:
        fields = _MODELS[config.model](*jnp.exp(x))
        return fields._replace(level=fields.level * jnp.exp(-_PIVOT_AGE * fields.slope))

    def mortality_of(x: Array) -> Array:
        return schedule_mortality(to_schedule(x), num_ages, step=step)

    def residual(x: Array) -> Array:
        wear = step * mortality_of(x)
        alive = jnp.exp(-wear[1:])[None] * population[:-1]
        survivors = alive.at[:, -2].add(alive[:, -1])[:, :-1]  # the open age gathers two cohorts
        parts = [((reached - survivors[:, used]) / scale).reshape((-1, *like.shape))]
        if deaths is not None:
            dead = (-jnp.expm1(-wear[1:])[None] * population[:-1]).sum(axis=1)
            dead = dead + population[1:, 0] * (1.0 / phi1(wear[0]) - 1.0)[None]
            known = jnp.isfinite(deaths) & (deaths > 0)
            ratio = jnp.log(jnp.where(known, deaths, 1.0) / jnp.where(known, dead, 1.0))
            parts.append(ratio / config.deaths_error)
        return jnp.concatenate(parts)

    names = _MODELS[config.model]._fields
    x, loss, status, covariance = _least_squares(residual, names, like, config.num_steps)
    return MortalityFit(to_schedule(x), mortality_of(x), loss, status, covariance)


def fit_fertility(
    population: Array,
    mortality: Array,
    births: Array | None = None,
    *,
    step: float = 1.0,
    births_error: float = 0.03,
    num_steps: int = 30,
) -> FertilityFit:
    """Fertility schedule from births, or from the youngest age where births are not known.

    r = ln(B / sum of fertility times woman-years) / error,   B = N(t + k, 0) / phi1(k mu_0)

    The path of the women is the one through both populations: `net_migration_by_survival`.

    Args:
        population: persons one step apart, [year + 1, age, sex, ...].
        mortality: mu, 1/year, [year, cohort, sex, ...], axes of size 1 allowed.
        births: persons born during a step, both sexes, [year, ...].
        step: k, years of a step and of an age group.
        births_error: relative error of births.
        num_steps: of Newton.

    Returns:
        FertilityFit: one schedule for all years of the input. Births tell the level; mean age and
        spread follow the prior unless the age structure changes much.

    Raises:
        ValueError: shapes that do not fit.
    """
    num = population.shape[0] - 1
    if population.ndim < 3 or num < 1:
        raise ValueError(
            f"population: expected [year + 1, age, sex, ...], got shape {population.shape}"
        )
    if births is not None and births.shape != (num, *population.shape[3:]):
        raise ValueError(
            f"births: expected {(num, *population.shape[3:])} [year, ...], got {births.shape}"
        )
    return _fit_fertility(population, mortality, births, step, births_error, num_steps)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _fit_fertility(
    population: Array,
    mortality: Array,
    births: Array | None,
    step: float,
    births_error: float,
    num_steps: int,
) -> FertilityFit:
    num_ages, like = population.shape[1], population[0, 0, 0]
    migration = net_migration_by_survival(population, mortality, step=step)
    lived = women_years(population[:-1], mortality, migration, step=step)
    if births is None:
        births = (population[1:, 0] / phi1(step * mortality[:, 0])).sum(axis=1)
    observed = jnp.log(births)

    def fertility_of(x: Array) -> Array:
        return normal_fertility(NormalFertility(*jnp.exp(x)), num_ages, step=step)

    def residual(x: Array) -> Array:
        born = (fertility_of(x)[None] * lived).sum(axis=1)
        return (observed - jnp.log(born)) / births_error

    names = NormalFertility._fields
    x, loss, status, covariance = _least_squares(residual, names, like, num_steps)
    return FertilityFit(NormalFertility(*jnp.exp(x)), fertility_of(x), loss, status, covariance)


def _least_squares(
    residual_fn: Callable[[Array], Array], names: tuple[str, ...], like: Array, num_steps: int
) -> tuple[Array, Array, Array, Array]:
    """Logarithms [dim, ...] of least squares with the prior; loss, status, covariance."""
    centre, power, deviation = np.array([_PRIOR[name] for name in names]).T
    centre, level = np.log(centre), names.index("level") if "level" in names else 0
    width = _BOX * (deviation + np.abs(power) * deviation[level])
    shape = (-1, *[1] * like.ndim)
    column = [jnp.asarray(row.reshape(shape), like.dtype) for row in (centre, power, deviation)]
    start = jnp.broadcast_to(column[0], (len(names), *like.shape))

    def residual(x: Array) -> Array:
        expected = column[0] + column[1] * (x[level] - column[0][level])[None]
        return jnp.concatenate([residual_fn(x), (x - expected) / column[2]])

    evaluate = gauss_newton_derivatives(residual)
    low, high = (jnp.asarray(side, like.dtype) for side in (centre - width, centre + width))
    found = minimize_newton(evaluate, start, low, high, num_steps=num_steps)
    hessian = jnp.moveaxis(evaluate(found.x).hessian, (0, 1), (-2, -1))
    covariance = jnp.moveaxis(jnp.linalg.inv(hessian), (-2, -1), (0, 1))
    return found.x, found.loss, found.status, covariance


def gauss_newton_derivatives(
    residual_fn: Callable[[Array], Array],
) -> Callable[[Array], Evaluated]:
    """Evaluation for `minimize_newton` of half a sum of squares.

    f = r'r / 2,  g = J'r,  H = J'J

    Args:
        residual_fn: x [dim, ...] -> r [residual, ...], entry by entry.

    Source: Nocedal, Wright, 2006, Numerical Optimization, section 10.3.
    """

    def evaluate(x: Array) -> Evaluated:
        dim = x.shape[0]
        eye = np.eye(dim).reshape((dim, dim, *[1] * (x.ndim - 1)))
        basis = jnp.broadcast_to(jnp.asarray(eye, x.dtype), (dim, *x.shape))

        def along(direction: Array) -> tuple[Array, Array]:
            return jax.jvp(residual_fn, (x,), (direction,))

        residual, slopes = jax.vmap(along, out_axes=(None, 0))(basis)
        return Evaluated(
            0.5 * (residual**2).sum(axis=0),
            (slopes * residual[None]).sum(axis=1),
            jnp.einsum("ir...,jr...->ij...", slopes, slopes),
        )

    return evaluate
