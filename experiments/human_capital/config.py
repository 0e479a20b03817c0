"""Choices of the human-capital experiment and its variants."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Which budget and population, what is assumed, how investment is forecast.

    Attributes:
        population: CSV of your own (year, age, population); empty: the bundled tables.
        population_unit: of its figures.
        totals: CSV of your own (year, total on 1 January), needed after the last age table.
        indicators: CSV of your own (year and columns such as a price index); empty: bundled.
        price_index: column of the price index there, percent of the previous year; empty: spending
            is in comparable prices already.
        inputs: further columns there that the investment network sees.
        corrected: repair the cells of the bundled budget that the errata name.
        base_year: whose prices are used; 0: the last year of the budget.
        last_forecast_year: 0: no forecast.
        interpolation: rule between the years of the budget.
        missing: amount of a line before its first figure; "nearest" holds the first in comparable
            prices.
        population_rule: between age tables, along cohorts or at fixed ages.
        participation: who counts: all, or working ages scaled to labour resources (bundled only).
        calibrate: find wear rate and initial factor from the two anchors; else take the two below.
        wear_rate: nu, 1/year.
        initial_factor: initial profile over the stationary one of the first year, 1.
        per_head_anchor, per_head_year: thousand of money per inhabitant in a year (printed).
        per_head_tolerance: thousand; the paper says "about".
        minimum_year: in which H is lowest (printed).
        minimum_tolerance: slope of H there, 1/year, that counts as one tolerance; 0.003 moves the
            minimum by about half a year.
        shares: alpha by component; empty: equal.
        target_growth: how far above its course H of the last year shall be, 1.
        target_bound: largest rise of a line in a year on the way there, 1.
        frozen_payers: whose lines do not rise on the way: a budget does not decide on them.
        replicate: write the paper's ledger and run the study of assumptions.
        num_seeds: networks of every kind.
        num_draws: draws of parameters and networks for the band of H.
        widths: neurons of the hidden layers.
        epochs: of every training.
        origins: last years known to the hold-outs.
    """

    population: str = ""
    population_unit: Literal["persons", "thousands"] = "persons"
    totals: str = ""
    indicators: str = ""
    price_index: str = "deflator"
    inputs: tuple[str, ...] = ("grp_current",)
    corrected: bool = True
    base_year: int = 2018
    last_forecast_year: int = 2023
    interpolation: Literal["log-linear", "linear"] = "log-linear"
    missing: Literal["zero", "nearest"] = "zero"
    population_rule: Literal["cohort", "age"] = "cohort"
    participation: Literal["all", "working-age"] = "all"
    calibrate: bool = True
    wear_rate: float = 0.027
    initial_factor: float = 1.905
    per_head_anchor: float = 400.0
    per_head_year: int = 2018
    per_head_tolerance: float = 5.0
    minimum_year: int = 2006
    minimum_tolerance: float = 0.003
    shares: tuple[float, ...] = ()
    target_growth: float = 0.02
    target_bound: float = 0.5
    frozen_payers: tuple[str, ...] = ("private",)
    replicate: bool = True
    num_seeds: int = 20
    num_draws: int = 400
    widths: tuple[int, ...] = (8, 8)
    epochs: int = 2000
    origins: tuple[int, ...] = (2010, 2015)

    def __post_init__(self) -> None:
        if self.num_seeds < 1 or self.num_draws < 1 or self.epochs < 1:
            raise ValueError(
                "expected num_seeds, num_draws and epochs >= 1, got "
                f"{self.num_seeds}, {self.num_draws}, {self.epochs}"
            )
        if not -1 < self.wear_rate < 10 or self.initial_factor < 0:
            raise ValueError(
                "expected wear_rate in (-1, 10) and initial_factor >= 0, got "
                f"{self.wear_rate}, {self.initial_factor}"
            )
        anchors = (self.per_head_anchor, self.per_head_tolerance, self.minimum_tolerance)
        if min(anchors) <= 0:
            raise ValueError(f"expected anchors and tolerances > 0, got {anchors}")
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths: expected at least one neuron a layer, got {self.widths}")
        if self.shares and (min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-9):
            raise ValueError(f"shares: expected numbers >= 0 with sum 1, got {self.shares}")
        if self.target_growth <= 0 or self.target_bound <= 0:
            raise ValueError(
                "expected target_growth and target_bound > 0, got "
                f"{self.target_growth}, {self.target_bound}"
            )


BASE = Config()
VARIANTS = {
    "base": BASE,
    "quick": replace(BASE, epochs=1000, num_draws=200),
    "tiny": replace(BASE, num_seeds=2, epochs=50, num_draws=10, origins=(2015,)),
    "working-age": replace(BASE, participation="working-age", calibrate=False),
}


def own_data(config: Config) -> Config:
    """`config` for a budget of the user: no anchors, prices comparable, no forecast."""
    return replace(
        config,
        price_index="",
        inputs=(),
        base_year=0,
        last_forecast_year=0,
        calibrate=False,
        replicate=False,
        origins=(),
    )
