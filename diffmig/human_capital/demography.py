"""Population by age and sex: rho_t + rho_tau = -mu rho + g, rho(t, 0) = int b rho dtau.

The cohort-component method is this equation solved on characteristics by `exponential_step`, wear
the integral of mu and source g a year. Arrays are [year, age, sex, ...]: a row per step, a column
per age group of the length of a step, sexes in the order (women, men) or one column for both
together, and any batch axes (region, scenario) behind.

Rates and flows belong to cohorts, [year, cohort, sex, ...], one cohort more than ages: cohort 0 is
born during the step, cohort j starts it in age j - 1 and ends it in age j, the last one starts in
the last age. Rates are constant on the piece of a cohort's life that one step is, so that a step
has no discretisation error; births are spread evenly over it.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from diffmig.human_capital.cells import exponential_step, phi1, phi2
from diffmig.human_capital.transport import broadcast_axes

WOMEN = 0  # column of the sex axis


class Projection(NamedTuple):
    """A population and all flows that change it.

    Attributes:
        population: persons at the ends of the steps, [year + 1, age, sex, ...]; row 0 is the start.
        births: persons born during a step, [year, sex, ...].
        deaths: persons who die during a step, newborns and migrants included,
            [year, cohort, sex, ...].
        migration: net arrivals during a step, [year, cohort, sex, ...].
        outflow: survivors who pass the last age, [year, sex, ...]; 0 where it is open.
    """

    population: Array
    births: Array
    deaths: Array
    migration: Array
    outflow: Array


class Reconstruction(NamedTuple):
    """A past population.

    Attributes:
        population: persons, [year + 1, age, sex, ...]; 0.0 where not known. The last row is given.
        known: bool [year + 1, age], False for ages whose survivors are no longer told apart.
        births: persons born during a step, [year, sex, ...].
    """

    population: Array
    known: np.ndarray
    births: Array


def cohort_component(
    initial: Array,
    mortality: Array,
    fertility: Array | None = None,
    net_migration: Array | float = 0.0,
    *,
    births: Array | None = None,
    step: float = 1.0,
    open_last: bool = True,
    boys_per_girl: Array | float = 1.05,
    num_steps: int | None = None,
) -> Projection:
    """Population projected by cohorts.

    N(t + k, j) = e^{-z} N(t, j - 1) + k phi1(z) g,       z = k mu
    N(t + k, 0) = phi1(z) B + k phi1(z) g                 born evenly, source B / k + g
    deaths      = (1 - e^{-z}) N(t, j - 1) + k (1 - phi1(z)) (g, + B / k for j = 0)
    B           = sum_j b_j int over the step of women(t + s, j + s) ds, on their exact path

    Args:
        initial: persons, [age, sex, ...].
        mortality: mu, 1/year, [year, cohort, sex, ...], axes of size 1 where it is the same for
            all.
        fertility: b, births per woman-year of those who start the step in an age,
            [year, age, ...], axes of size 1 allowed; per person where there is one sex column.
        net_migration: g, persons/year, evenly over the step, a scalar or like `mortality`.
        births: persons born during a step instead of `fertility`, [year, sex, ...].
        step: k, years of a step and of an age group: one cohort moves one age per step.
        open_last: the last age holds all older ones too; otherwise they leave as `outflow`.
        boys_per_girl: sex ratio at birth, a scalar or [year, ...]; unused with one sex column.
        num_steps: steps; needed where no input has more than one row.

    Returns:
        Projection.

    Raises:
        ValueError: shapes that do not fit, both or none of fertility and births, more than two
            sexes with fertility, step <= 0.

    Notes:
        Linear in initial, births and migration, positive for positive ones; differentiable in all
        arrays, at mu = 0 too. Deaths are computed, not left over: `projection_residual` is a check.

    Source: McKendrick, 1926, Applications of mathematics to medical problems, Proceedings of the
    Edinburgh Mathematical Society 44; Preston, Heuveline, Guillot, 2001, Demography, section 6.3.
    """
    if (fertility is None) == (births is None):
        raise ValueError("give either fertility or births")
    given = (mortality, fertility, net_migration, births, boys_per_girl)
    num = _num_rows(given, num_steps)
    rates = _rates(initial, num, mortality, net_migration, step)
    tail = initial.shape[1:]
    split = None
    if births is not None:
        known = _rows(births, "births", (num, *tail), initial)
    else:
        known = _rows(fertility, "fertility", (num, initial.shape[0], *tail[1:]), initial)
        split = _split(boys_per_girl, num, initial)

    def body(
        population: Array, row: tuple[Array, Array, Array, Array | None]
    ) -> tuple[Array, Projection]:
        mu, g, known, split = row
        wear = step * mu
        start = jnp.concatenate([jnp.zeros_like(population[:1]), population])
        g = jnp.broadcast_to(g, start.shape)
        born = known if split is None else split * _born(population, wear, g, known, step)
        born = jnp.broadcast_to(born, start.shape[1:])
        source = g.at[0].add(born / step)
        end = exponential_step(start, wear, source, step)
        dead = deaths_in_step(start, wear, source, step)
        after, left = (_pool(end), jnp.zeros_like(end[-1])) if open_last else (end[:-1], end[-1])
        return after, Projection(after, born, dead, step * g, left)

    _, made = lax.scan(body, initial, (*rates, known, split))
    return made._replace(population=jnp.concatenate([initial[None], made.population]))


def deaths_in_step(start: Array, wear: Array, source: Array, length: Array | float) -> Array:
    """Deaths on a piece of characteristic on which mortality and source are constant.

    D = (1 - e^{-z}) N + k (1 - phi1(z)) f

    Arguments of `exponential_step`; together with it N+ = N + k f - D.
    """
    return -jnp.expm1(-wear) * start + length * wear * phi2(wear) * source


def person_years(start: Array, wear: Array, source: Array, length: Array | float) -> Array:
    """Person-years lived on a piece of characteristic: the integral of `exponential_step`.

    int N ds = k phi1(z) N + k^2 phi2(z) f

    Arguments of `exponential_step`.
    """
    return length * phi1(wear) * start + length**2 * phi2(wear) * source


def fertility_births(
    population: Array,
    mortality: Array,
    fertility: Array,
    net_migration: Array | float = 0.0,
    *,
    step: float = 1.0,
    boys_per_girl: Array | float = 1.05,
) -> Array:
    """Births by sex during the steps from given populations.

    Args:
        population: persons at the starts of the steps, [year, age, sex, ...].
        mortality, fertility, net_migration, step, boys_per_girl: as in `cohort_component`.

    Returns:
        persons, [year, sex, ...].

    Raises:
        ValueError: as `cohort_component`.
    """
    num, initial = population.shape[0], population[0]
    lived = women_years(population, mortality, net_migration, step=step)
    b = _rows(fertility, "fertility", (num, *initial.shape[:1], *initial.shape[2:]), initial)
    return _split(boys_per_girl, num, initial) * (b * lived).sum(axis=1)[:, None]


def women_years(
    population: Array,
    mortality: Array,
    net_migration: Array | float = 0.0,
    *,
    step: float = 1.0,
) -> Array:
    """Years lived during a step by women who start it in an age: `person_years` of their cohorts.

    Args:
        population, mortality, net_migration, step: as in `fertility_births`.

    Returns:
        woman-years, [year, age, ...]; of the first sex column.

    Raises:
        ValueError: as `cohort_component`.
    """
    mu, g = _rates(population[0], population.shape[0], mortality, net_migration, step)
    mu, g = (jnp.broadcast_to(x[:, 1:, WOMEN], population[:, :, WOMEN].shape) for x in (mu, g))
    return person_years(population[:, :, WOMEN], step * mu, g, step)


def population_residual(
    population: Array,
    births: Array,
    deaths: Array,
    net_migration: Array,
    outflow: Array | float = 0.0,
) -> Array:
    """What a balance of totals leaves unexplained, persons.

    residual = N(t + 1) - N(t) - (births - deaths + migration - outflow)

    Args:
        population: persons at the ends of the steps, [year + 1, ...].
        births, deaths, net_migration, outflow: persons during a step, [year, ...].

    Returns:
        residual, [year, ...].
    """
    change = population[1:] - population[:-1]
    return change - (births - deaths + net_migration - outflow)


def projection_residual(projection: Projection) -> Array:
    """`population_residual` of sums over age, [year, sex, ...]; round-off where all is right."""
    totals = projection.population.sum(axis=1)
    deaths, migration = projection.deaths.sum(axis=1), projection.migration.sum(axis=1)
    return population_residual(totals, projection.births, deaths, migration, projection.outflow)


def reverse_survival(
    final: Array,
    mortality: Array,
    net_migration: Array | float = 0.0,
    *,
    step: float = 1.0,
    open_last: bool = True,
    num_steps: int | None = None,
) -> Reconstruction:
    """Past population from the present one: the step of `cohort_component` solved for its start.

    N(t, j - 1) = e^z (N(t + k, j) - k phi1(z) g),   B = N(t + k, 0) / phi1(z) - k g

    Args:
        final: persons, [age, sex, ...].
        mortality, net_migration, step, open_last, num_steps: as in `cohort_component`, rows in the
            order of time.

    Returns:
        Reconstruction; every step back one age more is not known at the end of life, and in the
        first one two where the last age is open.

    Raises:
        ValueError: as `cohort_component`.

    Notes:
        Exact where known; differentiable. Errors of `final` grow as 1 / survival.

    Source: United Nations, 1983, Manual X: Indirect techniques for demographic estimation,
    chapter VIII.
    """
    num = _num_rows((mortality, net_migration), num_steps)
    rates = _rates(final, num, mortality, net_migration, step)
    num_ages = final.shape[0]
    ages, back = np.arange(num_ages), np.arange(num, -1, -1)[:, None]
    known = ages < num_ages - back - (1 if open_last else 0) * (back > 0)

    def body(
        population: Array, row: tuple[Array, Array, Array]
    ) -> tuple[Array, tuple[Array, Array]]:
        mu, g, known = row
        wear = step * mu
        arrived = population - (step * phi1(wear) * g)[:-1]
        births = arrived[0] / phi1(wear[0])
        start = jnp.exp(wear[1:-1]) * arrived[1:]
        start = jnp.concatenate([start, jnp.zeros_like(population[:1])])
        start = jnp.where(known.reshape((-1, *[1] * (start.ndim - 1))), start, 0.0)
        return start, (start, births)

    rows = (*rates, jnp.asarray(known[:-1]))
    _, (population, births) = lax.scan(body, final, rows, reverse=True)
    return Reconstruction(jnp.concatenate([population, final[None]]), known, births)


def net_migration_by_survival(
    population: Array,
    mortality: Array,
    births: Array | None = None,
    *,
    step: float = 1.0,
    open_last: bool = True,
) -> Array:
    """Net migration that makes `cohort_component` run through the given populations.

    g_j = (N(t + k, j) - e^{-z} N(t, j - 1)) / (k phi1(z))
    g_0 = N(t + k, 0) / (k phi1(z)) - B / k

    Args:
        population: persons at the ends of the steps, [year + 1, age, sex, ...].
        mortality, step, open_last: as in `cohort_component`.
        births: persons born during a step, [year, sex, ...]; None: those that leave no migration
            of newborns, so that g_0 = 0.

    Returns:
        g, persons/year, [year, cohort, sex, ...]. The two cohorts that meet in an open last age get
        the same; the one that leaves a closed last age gets 0.

    Raises:
        ValueError: as `cohort_component`.

    Notes:
        A residual: errors of counts and of mortality are in it.

    Source: United Nations, 1970, Manual VI: Methods of measuring internal migration, chapter II.
    """
    num = population.shape[0] - 1
    mu, _ = _rates(population[0], num, mortality, 0.0, step)
    wear = step * mu
    zero = jnp.zeros_like(population[:-1, :1])
    survivors = jnp.exp(-wear) * jnp.concatenate([zero, population[:-1]], axis=1)
    growth = jnp.broadcast_to(step * phi1(wear), survivors.shape)
    if births is None:
        born = population[1:, :1]
    else:
        known = _rows(births, "births", (num, *population.shape[2:]), population)
        born = growth[:, :1] * known[:, None] / step
    survivors = jnp.concatenate([born, survivors[:, 1:]], axis=1)
    if not open_last:
        rest = (population[1:] - survivors[:, :-1]) / growth[:, :-1]
        return jnp.concatenate([rest, zero], axis=1)
    rest = population[1:] - jnp.moveaxis(_pool(jnp.moveaxis(survivors, 1, 0)), 0, 1)
    last = rest[:, -1:] / (growth[:, -2:-1] + growth[:, -1:])
    return jnp.concatenate([rest[:, :-1] / growth[:, :-2], last, last], axis=1)


def _born(population: Array, wear: Array, source: Array, fertility: Array, step: float) -> Array:
    """Births of one step, both sexes, [1, ...]; newborn girls bear none."""
    women = population[:, WOMEN]
    lived = person_years(women, wear[1:, WOMEN], source[1:, WOMEN], step)
    return (fertility * lived).sum(axis=0, keepdims=True)


def _pool(end: Array) -> Array:
    """[cohort, ...] at the end of a step to [age, ...]: the last two cohorts share an open age."""
    return jnp.concatenate([end[:-2], end[-2:].sum(axis=0, keepdims=True)])


def _split(boys_per_girl: Array | float, num: int, initial: Array) -> Array:
    """Share of each sex among the newborn, [year, sex, ...]."""
    num_sexes = initial.shape[1]
    if num_sexes > 2:
        raise ValueError(f"initial: expected (women, men) or one column, got {num_sexes} sexes")
    ratio = _rows(boys_per_girl, "boys_per_girl", (num, *initial.shape[2:]), initial)
    if num_sexes == 1:
        return jnp.ones_like(ratio)[:, None]
    return jnp.stack([1.0 / (1.0 + ratio), ratio / (1.0 + ratio)], axis=1)


def _rates(
    initial: Array, num: int, mortality: Array, net_migration: Array | float, step: float
) -> tuple[Array, Array]:
    """Mortality and migration, [year, cohort, sex, ...] with axes of size 1 behind the year."""
    fits = initial.ndim >= 2 and initial.shape[0] >= 2
    if not fits or not jnp.issubdtype(initial.dtype, jnp.floating):
        raise ValueError(
            f"expected a floating population [age >= 2, sex, ...], got {initial.dtype} of shape "
            f"{initial.shape}"
        )
    if not step > 0:
        raise ValueError(f"step: expected > 0, got {step}")
    shape = (num, initial.shape[0] + 1, *initial.shape[1:])
    mu = _rows(mortality, "mortality", shape, initial)
    g = _rows(net_migration, "net_migration", shape, initial)
    full = (num, shape[1], *[1] * (initial.ndim - 1))
    mu, g = (jnp.broadcast_to(x, np.broadcast_shapes(x.shape, full)) for x in (mu, g))
    return mu, g


def _rows(array: Array | float | None, name: str, shape: tuple[int, ...], like: Array) -> Array:
    """`array` with the axes of `shape`, of size 1 where it is the same for all, but all years."""
    array = broadcast_axes(name, jnp.asarray(array, dtype=like.dtype), shape)
    return jnp.broadcast_to(array, (shape[0], *array.shape[1:]))


def _num_rows(arrays: tuple[Array | float | None, ...], num_steps: int | None) -> int:
    rows = [np.shape(array)[0] for array in arrays if array is not None and np.ndim(array)]
    found = max(rows, default=1)
    if num_steps is not None and found not in (1, num_steps):
        raise ValueError(f"num_steps: the inputs have {found} rows, got {num_steps}")
    return found if num_steps is None else num_steps
