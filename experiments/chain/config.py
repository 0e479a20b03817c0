"""Choices of the chain experiment: every assumption with its range, and the variants."""

from dataclasses import dataclass, fields, replace
from typing import Literal

LABEL = "model exercise, not a forecast"


@dataclass(frozen=True)
class Assumption:
    """A number that the tables do not tell, and the range in which it is varied, evenly."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high or not self.low < self.high:
            raise ValueError(f"expected low <= value <= high and low < high, got {self}")


@dataclass(frozen=True)
class Config:
    """What is assumed between spending and people, and how far it is varied.

    Attributes:
        wear_rate: nu of human capital, 1/year.
        health_share, education_share: alpha, weights of the components, 1; culture has the rest.
        capital_share: a of the production function, 1.
        depreciation: of fixed assets, 1/year.
        asset_factor: value of fixed assets at prices of the last year over that in the books, 1.
        productivity_growth: of A, 1/year.
        country_growth: of real income per head of the country, 1/year.
        response: b, per 1000 inhabitants and year per unit of the log gap of incomes.
        period: of the undamped balance, years.
        damping_ratio: zeta, 1.
        start_rate: net migration rate of the first year, per 1000 inhabitants and year.
        migrant_age: mu2 of the Rogers-Castro schedule, years.
        fertility_factor, mortality_factor: rates over those fitted to the tables, 1.
        spending_growth: of all lines in comparable prices after the budget's last year, 1/year.
        income_share: of GRP that is income of inhabitants, 1.
        country_income: income per head of the country in the last year, thousand RUB of the base
            year. With the log gap this and the share before cancel: the neutral rate takes them up.
        gap: form of the income gap.
        last_year: of the data; the chain starts from it. Its prices are used.
        horizon: year whose balance and GRP are asked for.
        asset_years: last years whose fixed assets and GRP give the investment share.
        num_points: sampled sets of assumptions for the bands, a power of two.
        num_pairs: pairs of sets for the Sobol indices, a power of two.
        num_resamples: bootstrap of the indices.
        block: sets that run side by side.
        lift: inverse question: by how much the balance of the horizon shall rise, persons a year.
        lift_bound: largest rise of a line in a year, over its amount, 1.
        frozen_payers: whose lines do not rise on the way.
    """

    wear_rate: Assumption = Assumption(0.0259, 0.0225, 0.031)
    health_share: Assumption = Assumption(1 / 3, 0.2, 0.45)
    education_share: Assumption = Assumption(1 / 3, 0.2, 0.45)
    capital_share: Assumption = Assumption(0.35, 0.25, 0.5)
    depreciation: Assumption = Assumption(0.05, 0.03, 0.08)
    asset_factor: Assumption = Assumption(1.5, 1.0, 2.0)
    productivity_growth: Assumption = Assumption(0.005, -0.01, 0.02)
    country_growth: Assumption = Assumption(0.015, 0.0, 0.03)
    response: Assumption = Assumption(4.0, 1.0, 8.0)
    period: Assumption = Assumption(8.0, 4.0, 16.0)
    damping_ratio: Assumption = Assumption(1.0, 0.3, 2.0)
    start_rate: Assumption = Assumption(-2.09, -2.7, -1.43)
    migrant_age: Assumption = Assumption(20.0, 17.0, 25.0)
    fertility_factor: Assumption = Assumption(0.8, 0.65, 1.0)
    mortality_factor: Assumption = Assumption(1.0, 0.85, 1.1)
    spending_growth: Assumption = Assumption(0.0, -0.01, 0.02)
    income_share: float = 0.75
    country_income: float = 640.0
    gap: Literal["log", "relative"] = "log"
    last_year: int = 2023
    horizon: int = 2035
    asset_years: int = 4
    num_points: int = 256
    num_pairs: int = 256
    num_resamples: int = 100
    block: int = 32
    lift: float = 50.0
    lift_bound: float = 0.5
    frozen_payers: tuple[str, ...] = ("private", "federal")

    def __post_init__(self) -> None:
        if not 2018 <= self.last_year <= 2023 or self.horizon <= self.last_year:
            raise ValueError(
                "expected last_year 2018 to 2023 (budget and GRP table) and a later horizon, got "
                f"{self.last_year} and {self.horizon}"
            )
        if not 1 <= self.asset_years <= self.last_year - 2000:
            raise ValueError(f"asset_years: expected years after 2000, got {self.asset_years}")
        if (self.last_year, self.asset_years) == (2019, 1):
            raise ValueError("asset_years: in 2019 assets were valued anew, expected 2 or more")
        if self.health_share.high + self.education_share.high >= 1:
            raise ValueError("health_share, education_share: nothing is left for culture")
        if min(self.period.low, self.income_share, self.country_income) <= 0 or (
            min(self.block, self.num_resamples) < 1 or self.lift <= 0 or self.lift_bound <= 0
        ):
            raise ValueError(f"expected numbers > 0, got {self}")


# unit and where each number comes from
ORIGINS = {
    "wear_rate": ("1/year", "calibrated in the human-capital study to two printed facts"),
    "health_share": ("1", "assumed: the source prints no weights; equal ones"),
    "education_share": ("1", "assumed: the source prints no weights; equal ones"),
    "capital_share": ("1", "assumed: a usual range of production functions"),
    "depreciation": ("1/year", "assumed; the investment share follows from it and the table"),
    "asset_factor": ("1", "assumed: books keep the prices at which assets were bought"),
    "productivity_growth": ("1/year", "assumed; its level is calibrated to GRP of the last year"),
    "country_growth": ("1/year", "assumed: the tables have no income of the country"),
    "response": ("per 1000 per unit of log gap", "assumed: four balances without incomes beside "
                 "them cannot tell it"),
    "period": ("years", "assumed: four balances cannot tell it"),
    "damping_ratio": ("1", "assumed: four balances cannot tell it"),
    "start_rate": ("per 1000 a year", "estimated: mean and range of the balances of 2012-2015"),
    "migrant_age": ("years", "assumed: standard schedule of Rogers and Castro (1981)"),
    "fertility_factor": ("1", "assumed: fertility fitted to births of 2012-2015, lowered"),
    "mortality_factor": ("1", "assumed: mortality fitted to survival and deaths, held"),
    "spending_growth": ("1/year", "assumed: spending of 2018 held in comparable prices"),
}  # fmt: skip

NAMES = tuple(f.name for f in fields(Config) if isinstance(f.default, Assumption))
BASE = Config()
VARIANTS = {
    "base": BASE,
    "quick": replace(BASE, num_pairs=64),
    "tiny": replace(BASE, num_points=16, num_pairs=8, num_resamples=10),
}


def assumptions(config: Config) -> dict[str, Assumption]:
    """The varied numbers by name."""
    return {name: getattr(config, name) for name in NAMES}


def own_data(config: Config) -> Config:
    """`config` itself: `load` says why a file of the user makes no chain."""
    return config
