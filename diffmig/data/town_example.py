"""A synthetic panel of the 27 towns with known truth: only where the towns lie is real.

Shape, names and sizes follow the paper on single-industry towns, whose own panel is not public:
27 towns, 2013-2022, twelve factors of which five matter, clusters of 15, 5 and 7 towns.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from diffmig.random import host_generator

from .panel import Panel
from .settlements import Settlements, check_settlements
from .town_tables import load_kz_towns, load_town_clusters

Array: TypeAlias = Any  # numpy or JAX: numpy in, numpy out

_UNKNOWN_POPULATION = 8_000.0  # Serebryansk, for which GeoNames gives none
# name: unit, centre, spread; whether it matters and with which sign; offsets of the three clusters
_FACTORS = {
    "unemployment": ("%", 5.0, 0.8, -1, (-0.3, 0.0, 0.7)),
    "real_income": ("% of the previous year", 102.0, 4.0, 1, (0.4, 0.2, -0.7)),
    "water_supply": ("million KZT per 1000 residents", 32.0, 7.0, 0, (-0.5, 1.0, 0.0)),
    "hospitals": ("per 100 thousand residents", 6.0, 1.2, 1, (0.5, -0.5, -0.4)),
    "preschools": ("per 10 thousand residents", 7.0, 1.3, 1, (0.3, 0.4, -0.7)),
    "electricity_supply": ("million KZT per 1000 residents", 120.0, 25.0, 1, (-0.4, 1.2, 0.1)),
    "housing": ("m2 per resident", 0.5, 0.1, 0, (0.2, 0.2, -0.3)),
    "schools": ("per 10 thousand residents", 5.0, 1.0, 0, (0.0, -0.6, 0.4)),
    "colleges": ("per 100 thousand residents", 7.0, 1.5, 0, (-0.3, 0.8, 0.0)),
    "universities": ("units", 0.0, 1.0, 0, (0.0, 0.0, 0.0)),
    "research_organisations": ("per 100 thousand residents", 5.0, 1.0, 0, (-0.4, 0.9, 0.1)),
    "youth_unemployment": ("%", 4.5, 0.8, 0, (0.0, -0.3, 0.3)),
}
# By cluster: mean rate, per 1000; response to the five that matter, per 1000 and spread; its
# curvature; the joint effect of unemployment and income.
_MEAN_RATE = (-2.5, -1.5, -8.5)
_SLOPE = ((0.9, 1.0, 1.2, 1.0, 0.8), (1.4, 0.9, 0.8, 1.3, 1.1), (1.0, 1.3, 1.0, 1.4, 1.3))
_CURVE = ((0.4, 0.9, 0.5, 0.7, 0.3), (0.9, 0.4, 0.8, 0.5, 0.6), (0.6, 0.6, 0.9, 0.3, 0.8))
_JOINT = (0.3, -0.4, 0.5)


@dataclass(frozen=True)
class TownExampleConfig:
    """Size and difficulty of the synthetic panel.

    Attributes:
        first_year, num_years: its years, at least 3.
        noise: standard deviation of the observation noise, per 1000 residents, >= 0.
        level: the same of the town levels that no factor explains.
        town_spread: standard deviation of a factor over the towns of a cluster, in its spread.
        year_spread: the same of its autocorrelated deviation from year to year.
        autocorrelation: lag-one autocorrelation of that deviation, in [0, 1).
        trend: standard deviation of a town's trend of a factor, in its spread, over all years.
        youth_link: correlation of the yearly deviations of youth unemployment with those of
            unemployment, in [0, 1]. Above 0 a factor that does not matter correlates with the
            balance, and no correlation can tell.
    """

    first_year: int = 2013
    num_years: int = 10
    noise: float = 0.5
    level: float = 1.5
    town_spread: float = 0.3
    year_spread: float = 0.6
    autocorrelation: float = 0.6
    trend: float = 0.8
    youth_link: float = 0.0


class TownTruth(NamedTuple):
    """What is known about the synthetic panel.

    Attributes:
        label: cluster, int64 [town], 0-2, those of the paper's table 3.
        matters: bool [factor], whether the balance depends on it.
        balance: without noise, [town, year], persons/year.
        effect: d balance / d factor, [town, year, factor], persons/year per unit of the factor.
        population: [town, year], persons.
        level: rate of the town at the centre of all factors, [town], per 1000.
        center, spread: of the factors, [factor], in their units; 1 spread is 1 in z.
        slope: response, [town, factor], per 1000; 0 where a factor does not matter.
        curve: how soon it saturates, [town, factor], >= 0.
        joint: joint effect of unemployment and real income, [town], per 1000.
    """

    label: np.ndarray
    matters: np.ndarray
    balance: np.ndarray
    effect: np.ndarray
    population: np.ndarray
    level: np.ndarray
    center: np.ndarray
    spread: np.ndarray
    slope: np.ndarray
    curve: np.ndarray
    joint: np.ndarray


class _Draws(NamedTuple):
    town: np.ndarray  # [town, factor]
    trend: np.ndarray  # [town, factor]
    universities: np.ndarray  # [town], 0-2
    level: np.ndarray  # [town]
    growth: np.ndarray  # [town]
    year: np.ndarray  # [year, town, factor]
    noise: np.ndarray  # [town, year]


def example_towns(
    key: jax.Array, config: TownExampleConfig | None = None
) -> tuple[Settlements, TownTruth]:
    """A synthetic panel of the 27 towns, and its truth.

    factor = center + spread (offset of the cluster + town + trend + autoregression)
    balance = `true_town_balance` + noise population / 1000

    Args:
        key: random key; equal keys give equal panels.
        config: size and difficulty; None: the defaults.

    Returns:
        settlements, float64, towns in the order of the paper's table 4, variables balance,
        population and the twelve factors, everything observed, noted as synthetic; and the truth.
        Balances are about -1500 to 400 persons/year. The number of universities never changes
        inside a town.

    Raises:
        ValueError: a value of `config` out of range.

    Source: sizes, names, clusters: Mishchenko et al., 2024, tables 1, 3 and 4. Coordinates:
    GeoNames, CC BY 4.0. All else is made up.
    """
    config = config or TownExampleConfig()
    _check(config)
    towns = load_kz_towns()
    label = load_town_clusters().loc[towns.index, "cluster"].to_numpy() - 1
    rng = host_generator(key)
    # What does not depend on the years is drawn first: more years leave it as it is.
    drawn = _Draws(
        town=rng.normal(size=(len(towns), len(_FACTORS))),
        trend=rng.normal(size=(len(towns), len(_FACTORS))),
        universities=rng.integers(3, size=len(towns)),
        level=rng.normal(size=len(towns)),
        growth=rng.normal(size=len(towns)),
        year=rng.normal(size=(config.num_years, len(towns), len(_FACTORS))),
        noise=rng.normal(size=(len(towns), config.num_years)),
    )
    names = tuple(_FACTORS)
    center, spread, sign = (
        np.array([_FACTORS[name][i] for name in names], float) for i in (1, 2, 3)
    )
    factors = center + spread * _standard_factors(drawn, label, config)
    factors[:, :, names.index("universities")] = drawn.universities[:, None]

    matters = sign != 0.0
    slope, curve = np.zeros((2, len(towns), len(names)))
    slope[:, matters] = sign[matters] * np.array(_SLOPE)[label]
    curve[:, matters] = np.array(_CURVE)[label]
    years = config.first_year + np.arange(config.num_years, dtype=np.int64)
    truth = TownTruth(
        label=label,
        matters=matters,
        balance=np.zeros((len(towns), config.num_years)),
        effect=np.zeros(factors.shape),
        population=_population(drawn.growth, towns["population"].to_numpy(), years),
        level=np.zeros(len(towns)),
        center=center,
        spread=spread,
        slope=slope,
        curve=curve,
        joint=np.array(_JOINT)[label],
    )
    offset = _offsets()[label][:, None]  # a town at the centre of its cluster has its mean rate
    own = np.array(_MEAN_RATE)[label] + config.level * drawn.level
    level = own - _response(truth, offset, np)[:, 0]
    truth = truth._replace(level=level)
    truth = truth._replace(
        balance=true_town_balance(truth, factors), effect=_effect(truth, factors)
    )
    noise = config.noise * drawn.noise
    balance = truth.balance + noise * truth.population / 1000.0
    values = np.concatenate([np.stack([balance, truth.population], -1), factors], axis=-1)
    panel = Panel(
        values=values,
        mask=np.ones(values.shape, bool),
        places=tuple(towns.index),
        years=years,
        names=("balance", "population", *names),
        units=("persons/year", "persons", *(_FACTORS[name][0] for name in names)),
    )
    note = "synthetic: only names and coordinates of the towns are real, no number is observed"
    latitude, longitude = (towns[name].to_numpy() for name in ("latitude", "longitude"))
    return check_settlements(Settlements(panel, latitude, longitude, (), (note,))), truth


def true_town_balance(truth: TownTruth, factors: Array, population: Array | None = None) -> Array:
    """The balance that the synthetic towns have, without noise, under given factors.

    balance = population / 1000 (level + sum_j slope_j tanh(curve_j z_j) / curve_j
              + joint tanh(z_unemployment) tanh(z_real_income)),  z = (factor - center) / spread

    Args:
        truth: of `example_towns`.
        factors: [..., town, year, factor], in their units.
        population: [town, year], persons, for years other than those of the panel; None: its own.

    Returns:
        balance, [..., town, year], persons/year; NumPy for NumPy factors, JAX for JAX. Smooth.

    Raises:
        ValueError: `factors` do not have the towns, years and factors of the truth.

    Source: made up for this package.
    """
    people = truth.population if population is None else population
    wanted = (*np.shape(people), len(truth.center))
    if np.shape(people)[:1] != truth.level.shape or np.shape(factors)[-3:] != wanted:
        raise ValueError(
            f"factors: expected [..., town, year, factor] with the last axes {wanted}, got "
            f"{np.shape(factors)}; other years need their population"
        )
    xp = jnp if isinstance(factors, jax.Array) else np
    lead = (1,) * (np.ndim(factors) - 1)
    z = (factors - truth.center.reshape(*lead, -1)) / truth.spread.reshape(*lead, -1)
    level = xp.asarray(truth.level)[:, None]
    scale = xp.asarray(people) / 1000.0
    return xp.broadcast_to(scale, z.shape[:-1]) * (
        xp.broadcast_to(level, z.shape[:-1]) + _response(truth, z, xp)
    )


def _response(truth: TownTruth, z: Array, xp: ModuleType) -> Array:
    """What factors z, [..., town, year, factor], add to the rate, [..., town, year], per 1000."""
    shape = (1,) * (z.ndim - 3) + truth.slope.shape
    slope, curve = (xp.asarray(x.reshape(shape)[..., None, :]) for x in (truth.slope, truth.curve))
    safe = xp.where(curve > 0.0, curve, 1.0)
    single = (slope * xp.tanh(safe * z) / safe).sum(axis=-1)
    first, second = _joint_pair()
    joint = xp.asarray(truth.joint.reshape(*shape[:-1], 1))
    return single + joint * xp.tanh(z[..., first]) * xp.tanh(z[..., second])


def _effect(truth: TownTruth, factors: np.ndarray) -> np.ndarray:
    z = (factors - truth.center) / truth.spread
    effect = truth.slope[:, None] / np.cosh(truth.curve[:, None] * z) ** 2
    first, second = _joint_pair()
    bent = np.tanh(z)
    for one, other in ((first, second), (second, first)):
        flat = 1.0 - bent[..., one] ** 2
        effect[..., one] += truth.joint[:, None] * flat * bent[..., other]
    return effect * truth.population[..., None] / 1000.0 / truth.spread


def _joint_pair() -> tuple[int, int]:
    names = tuple(_FACTORS)
    return names.index("unemployment"), names.index("real_income")


def _offsets() -> np.ndarray:
    return np.array([row[4] for row in _FACTORS.values()]).T


def _standard_factors(drawn: _Draws, label: np.ndarray, config: TownExampleConfig) -> np.ndarray:
    """z of the factors, [town, year, factor]."""
    new = drawn.year.copy()
    names = tuple(_FACTORS)
    adult, youth = names.index("unemployment"), names.index("youth_unemployment")
    link = config.youth_link
    new[..., youth] = link * new[..., adult] + np.sqrt(1.0 - link**2) * new[..., youth]
    root = config.autocorrelation
    deviation = [new[0]]
    for shock in new[1:]:
        deviation.append(root * deviation[-1] + np.sqrt(1.0 - root**2) * shock)
    level = _offsets()[label] + config.town_spread * drawn.town
    slope = config.trend * drawn.trend
    time = np.linspace(-0.5, 0.5, config.num_years)[None, :, None]
    moving = config.year_spread * np.stack(deviation, axis=1)
    return level[:, None] + slope[:, None] * time + moving


def _population(drawn: np.ndarray, last: np.ndarray, years: np.ndarray) -> np.ndarray:
    growth = -0.003 + 0.005 * drawn[:, None]
    ahead = (years - years[-1])[None]
    return np.where(np.isnan(last), _UNKNOWN_POPULATION, last)[:, None] * np.exp(growth * ahead)


def _check(config: TownExampleConfig) -> None:
    if config.num_years < 3:
        raise ValueError(f"num_years: expected at least 3, got {config.num_years}")
    for name in ("noise", "level", "town_spread", "year_spread", "trend"):
        value = getattr(config, name)
        if not 0.0 <= value < np.inf:
            raise ValueError(f"{name}: expected a finite number >= 0, got {value}")
    if not 0.0 <= config.autocorrelation < 1.0 or not 0.0 <= config.youth_link <= 1.0:
        raise ValueError(
            "expected autocorrelation in [0, 1) and youth_link in [0, 1], got "
            f"{config.autocorrelation} and {config.youth_link}"
        )
