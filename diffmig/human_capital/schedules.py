"""Mortality and fertility by age as few numbers, and the rates of cohorts that follow from them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.stats import norm

from diffmig.human_capital.cells import behind, phi1, phi2
from diffmig.programs import one_program

_OLDEST = 131.0  # years to which lives are followed, then as in the last one
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_NUM_NEWTON = 7


class GompertzMakeham(NamedTuple):
    """mu(x) = c + a e^{b x}: background c and level a, 1/year at age 0; slope b, 1/year."""

    background: Array
    level: Array
    slope: Array


class Siler(NamedTuple):
    """mu(x) = a1 e^{-b1 x} + c + a e^{b x}: infant a1 and its decline b1, 1/year, with the
    numbers of `GompertzMakeham`."""

    infant: Array
    decline: Array
    background: Array
    level: Array
    slope: Array


class NormalFertility(NamedTuple):
    """total: births per woman; mean_age and spread (standard deviation) of mothers, years."""

    total: Array
    mean_age: Array
    spread: Array


def gompertz_makeham(age: Array, schedule: GompertzMakeham) -> Array:
    """Hazard mu(x) = c + a e^{b x}, 1/year; `age` and the schedule of one shape, or scalars.

    Source: Makeham, 1860, On the law of mortality, Journal of the Institute of Actuaries 8(6).
    """
    return schedule.background + schedule.level * jnp.exp(schedule.slope * age)


def gompertz_makeham_integral(low: Array, high: Array, schedule: GompertzMakeham) -> Array:
    """Integral of `gompertz_makeham` from `low` to `high`, 1.

    c h + a e^{b low} (e^{b h} - 1) / b,   h = high - low
    """
    length = high - low
    rise = jnp.exp(schedule.slope * low) * phi1(-schedule.slope * length)
    return length * (schedule.background + schedule.level * rise)


def siler(age: Array, schedule: Siler) -> Array:
    """Hazard mu(x) = a1 e^{-b1 x} + c + a e^{b x}, 1/year; shapes as in `gompertz_makeham`.

    Source: Siler, 1979, A competing-risk model for animal mortality, Ecology 60(4).
    """
    young = schedule.infant * jnp.exp(-schedule.decline * age)
    return young + gompertz_makeham(age, GompertzMakeham(*schedule[2:]))


def siler_integral(low: Array, high: Array, schedule: Siler) -> Array:
    """Integral of `siler` from `low` to `high`, 1.

    a1 e^{-b1 low} (1 - e^{-b1 h}) / b1 + that of `gompertz_makeham`,   h = high - low
    """
    length = high - low
    young = schedule.infant * jnp.exp(-schedule.decline * low) * phi1(schedule.decline * length)
    return length * young + gompertz_makeham_integral(low, high, GompertzMakeham(*schedule[2:]))


def cohort_mortality(
    cumulative_fn: Callable[[Array], Array], num_ages: int, *, step: float = 1.0
) -> Array:
    """Mortality of cohorts from a hazard by exact age, by its stationary population.

    L_a = int over age group a of e^{-Z(x)} dx, Z the cumulative hazard, T_a = L_a + L_{a + 1} + ...
    newborn: phi1(k mu) = L_0 / k;  k mu_j = ln(L_{j - 1} / L_j);  last: ln(T_{A - 1} / T_A)

    Args:
        cumulative_fn: exact ages [point], years -> Z, 1, [point, ...].
        num_ages: A, age groups of length `step`, the last one open.
        step: k, years.

    Returns:
        mu, 1/year, [cohort, ...], A + 1 cohorts as in `cohort_component`.

    Notes:
        Exact for cohorts whose ages inside a group are those of the stationary population, up to
        6-point quadrature in every year of age. Differentiable.

    Source: Preston, Heuveline, Guillot, 2001, Demography, sections 3.1 and 6.3.
    """
    parts = max(1, round(step))
    width = step / parts
    num_cells = max(num_ages + 1, int(np.ceil(_OLDEST / step)))
    left = np.arange(num_cells * parts) * width
    points = (left[:, None] + width * 0.5 * (1.0 + _POINTS)).ravel()
    end = np.array([left[-1], left[-1] + width])
    hazard = cumulative_fn(jnp.asarray(np.concatenate([points, end])))
    tail = hazard.shape[1:]
    alive = jnp.exp(-hazard)
    weights = behind(jnp.asarray(np.tile(0.5 * width * _WEIGHTS, parts)), len(tail) + 1)
    lived = (alive[:-2].reshape((num_cells, -1, *tail)) * weights[None]).sum(axis=1)
    last_rate = jnp.maximum((hazard[-1] - hazard[-2]) / width, 1e-6)
    rest = alive[-1] / last_rate
    older = lived[num_ages:].sum(axis=0) + rest
    lived = jnp.maximum(lived[:num_ages], jnp.finfo(lived.dtype).tiny)
    newborn = _invert_phi1(lived[0] / step)
    last = jnp.log1p(lived[-1] / jnp.maximum(older, jnp.finfo(lived.dtype).tiny))
    wear = jnp.concatenate([newborn[None], jnp.log(lived[:-1] / lived[1:]), last[None]])
    return wear / step


def schedule_mortality(
    schedule: GompertzMakeham | Siler, num_ages: int, *, step: float = 1.0
) -> Array:
    """`cohort_mortality` of a schedule whose numbers are [...]; mu, 1/year, [cohort, ...]."""

    def cumulative(ages: Array) -> Array:
        ages = behind(ages, 1 + jnp.ndim(schedule[0]))
        low = jnp.zeros_like(ages)
        spread = type(schedule)(*(jnp.asarray(x)[None] for x in schedule))
        if isinstance(spread, Siler):
            return siler_integral(low, ages, spread)
        return gompertz_makeham_integral(low, ages, spread)

    return cohort_mortality(cumulative, num_ages, step=step)


def group_mortality(
    rates: Array, first_ages: np.ndarray, num_ages: int, *, step: float = 1.0
) -> Array:
    """Mortality of cohorts from death rates of age groups, taken as constant hazards.

    Args:
        rates: m, deaths per person-year, [year, group, sex, ...].
        first_ages: first exact age of every group, years, [group], ascending from 0; the last group
            is open.
        num_ages: age groups of the result, of length `step`, the last one open.
        step: years.

    Returns:
        mu, 1/year, [year, cohort, sex, ...].

    Raises:
        ValueError: ages that do not fit the rates.

    Notes:
        Infants who die do so early in their year; a constant hazard shifts that by some weeks.
    """
    first = np.asarray(first_ages, float)
    if first.shape != rates.shape[1:2] or first[0] != 0 or (np.diff(first) <= 0).any():
        raise ValueError(
            f"first_ages: expected {rates.shape[1:2]} ages ascending from 0, got {first_ages}"
        )
    width = np.append(np.diff(first), np.inf)
    by_group = jnp.moveaxis(rates, 1, 0)

    def cumulative(ages: Array) -> Array:
        exposed = jnp.clip(ages[:, None] - jnp.asarray(first)[None], 0.0, jnp.asarray(width)[None])
        return jnp.tensordot(exposed, by_group, axes=1)

    return jnp.moveaxis(cohort_mortality(cumulative, num_ages, step=step), 0, 1)


@one_program()
def survival(mortality: Array, *, step: float = 1.0) -> Array:
    """Person-years lived in every age group per birth: the stationary population.

    L_0 = k phi1(k mu_0),  L_j = L_{j - 1} e^{-k mu_j},  last: L_{A - 1} / (1 - e^{-k mu_A})

    Args:
        mortality: mu, 1/year, [year, cohort, ...], its last age open.
        step: k, years.

    Returns:
        L, years, [year, age, ...]; inf in an open age in which nobody dies.
    """
    wear = step * mortality
    reached = jnp.exp(-jnp.cumsum(wear[:, 1:-1], axis=1))
    reached = jnp.concatenate([jnp.ones_like(wear[:, :1]), reached], axis=1)
    lived = step * phi1(wear[:, :1]) * reached
    last = lived[:, -1:] / -jnp.expm1(-wear[:, -1:])
    return jnp.concatenate([lived[:, :-1], last], axis=1)


@one_program()
def life_expectancy(mortality: Array, *, step: float = 1.0) -> Array:
    """Life expectancy at birth under the mortality of one step, years: the sum of `survival`.

    Arguments of `survival`; [year, ...]. That of the hazard behind `cohort_mortality` exactly.
    """
    return survival(mortality, step=step).sum(axis=1)


def normal_fertility(schedule: NormalFertility, num_ages: int, *, step: float = 1.0) -> Array:
    """Births per woman-year of cohorts with normally distributed ages of mothers.

    b_a = F mean of n(x; m, s) over the ages that women of group a pass in a step
        = F (G((a + 2) k) - 2 G((a + 1) k) + G(a k)) / k^2,   G'' = n

    Args:
        schedule: F, m, s, [...].
        num_ages, step: age groups and their length, years.

    Returns:
        fertility, [age, ...], as `cohort_component` takes it behind a year axis.
    """
    edges = behind(step * jnp.arange(num_ages + 2.0), 1 + jnp.ndim(schedule.total))
    total, mean, spread = (jnp.asarray(x)[None] for x in schedule)
    z = (edges - mean) / spread
    twice = spread * (z * norm.cdf(z) + norm.pdf(z))
    return total * jnp.diff(twice, n=2, axis=0) / step**2


def cohort_fertility(rates: Array) -> Array:
    """Births per woman-year of cohorts from those of age groups: the mean of both groups passed.

    b_j = (f_j + f_{j + 1}) / 2, 0 behind the last

    Args:
        rates: f, births per woman-year, [year, age, ...].

    Returns:
        b, [year, age, ...]; women who start a step in an age spend half of it in the next.
    """
    return 0.5 * (rates + jnp.concatenate([rates[:, 1:], jnp.zeros_like(rates[:, :1])], axis=1))


def total_fertility(fertility: Array, *, step: float = 1.0) -> Array:
    """Births per woman who lives through all ages: k sum_a b_a.

    Args:
        fertility: b, births per woman-year, [year, age, ...].
        step: k, years.

    Returns:
        births per woman, [year, ...].
    """
    return step * fertility.sum(axis=1)


@jax.custom_jvp
def _invert_phi1(share: Array) -> Array:
    """z with phi1(z) = share <= 1: Newton from 2 (1 - share), below the root of a convex curve."""

    def improve(_: int, z: Array) -> Array:
        value = phi1(z)
        return z + (value - share) / (value - phi2(z))  # -phi1' = phi1 - phi2

    return lax.fori_loop(0, _NUM_NEWTON, improve, 2.0 * (1.0 - share))


@_invert_phi1.defjvp
def _invert_phi1_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    z = _invert_phi1(primals[0])
    return z, tangents[0] / (phi2(z) - phi1(z))
