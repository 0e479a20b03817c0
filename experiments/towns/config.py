"""Choices of the towns experiment and its variants."""

from dataclasses import dataclass, replace
from typing import Literal

Source = Literal["example", "arctic", "counties"]
_CENSUS = ("birth_rate", "death_rate", "log_population")


@dataclass(frozen=True)
class Config:
    """Which towns, which factors are kept, how the networks are found, what is asked of them.

    Attributes:
        source: "example" (27 synthetic towns with known truth), "arctic" (the folder named by the
            environment variable DIFFMIG_TEST_DATA) or "counties" (extra `data`), where no file is
            given.
        coordinates: CSV of your own (place, latitude, longitude) if they are not in the data file.
        place_column, year_column, balance_column, population_column: of the data file; arrivals
            and departures serve where there is no balance.
        factors: columns that may go with the balance; a file of your own needs them named.
        lower_is_better: factors of which less is better: the outer scenarios exchange them.
        rate_factors: factors that are rates, or may be 0: scenarios move their level, not their
            growth.
        fixed: factors that no decision changes, frozen in the inverse question.
        screening: rule that keeps factors, inside towns.
        max_factors: most factors kept, those with the smallest p-values; 12 is the most that exact
            Shapley values allow.
        past_level: whether the honest networks also see the mean rate of the years before: towns
            differ for reasons that no factor names.
        num_clusters: groups of towns, each with networks of its own.
        training_years: years before the test year that train as described (the paper: 2).
        honest_years: the same of the honest protocol, those that exist.
        test_years: last years of the data, scored in turn (the paper: 3).
        hidden: numbers of hidden units that are tried.
        starts: random starts of every architecture.
        max_steps: of L-BFGS.
        decay: weight of the squared weights in the honest protocol; as described has none.
        keep: networks of an ensemble.
        dtype: of the search; "float32" is faster.
        horizon: years that are forecast.
        percent: inverse question: by how much of its own size a town's balance is to rise.
        num_resamples: of the stability of the clusters.
    """

    source: Source = "example"
    coordinates: str = ""
    place_column: str = "place"
    year_column: str = "year"
    balance_column: str = "balance"
    population_column: str = "population"
    factors: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ("unemployment", "youth_unemployment", "death_rate")
    rate_factors: tuple[str, ...] = (
        *("unemployment", "youth_unemployment", "real_income", "universities"),
        *("birth_rate", "death_rate", "log_population"),
    )
    fixed: tuple[str, ...] = ("universities", "birth_rate", "death_rate", "log_population")
    screening: Literal["critical", "bonferroni", "holm", "bh"] = "bh"
    max_factors: int = 8
    past_level: bool = True
    num_clusters: int = 3
    training_years: int = 2
    honest_years: int = 6
    test_years: int = 3
    hidden: tuple[int, ...] = tuple(range(1, 12))
    starts: int = 2
    max_steps: int = 150
    decay: float = 1e-2
    keep: int = 10
    dtype: Literal["float32", "float64"] = "float32"
    horizon: int = 4
    percent: float = 10.0
    num_resamples: int = 50

    def __post_init__(self) -> None:
        counts = ("num_clusters", "test_years", "starts", "max_steps", "keep", "horizon")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.training_years < 2 or self.honest_years < 2:
            raise ValueError(
                "training_years, honest_years: expected at least 2, got "
                f"{self.training_years}, {self.honest_years}"
            )
        if not 1 <= self.max_factors <= 12:
            raise ValueError(f"max_factors: expected 1 to 12, got {self.max_factors}")
        if not self.percent > 0:
            raise ValueError(
                f"percent: expected by how much the balance is to rise, above 0, got {self.percent}"
            )
        if self.decay < 0 or self.num_resamples < 4:
            raise ValueError(
                "expected decay >= 0 and num_resamples >= 4, got "
                f"{self.decay} and {self.num_resamples}"
            )


BASE = Config()
VARIANTS = {
    "base": BASE,
    "quick": replace(BASE, hidden=(1, 2, 3, 5, 8), starts=1, max_steps=100, num_resamples=20),
    "tiny": replace(BASE, hidden=(1, 2), starts=1, max_steps=20, keep=3, num_resamples=4),
    "arctic": replace(
        BASE,
        source="arctic",
        factors=("wage", "employees", "birth_rate", "death_rate", "log_population"),
        screening="critical",
    ),
    "counties": replace(
        BASE,
        source="counties",
        factors=_CENSUS,
        screening="critical",
        hidden=(1, 3),
        starts=1,
        max_steps=100,
    ),
}


def own_data(config: Config) -> Config:
    """`config` for data of the user, who names the factors."""
    return config
