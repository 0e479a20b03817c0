"""Choices of the migration experiment and its variants."""

from dataclasses import dataclass, replace
from typing import Literal

Source = Literal["states", "counties", "arctic"]


@dataclass(frozen=True)
class Config:
    """Which balances, which terms of the potential, how the force is found and explained.

    Attributes:
        source: bundled or packaged data where no file is given; "arctic" reads the folder named by
            the environment variable DIFFMIG_TEST_DATA.
        balance: "domestic" (a closed system) or "net", of the US data.
        coordinates: CSV of your own (place, latitude, longitude) if they are not in the data file.
        place_column, year_column, balance_column, population_column: of the data file; arrivals
            and departures serve where there is no balance.
        features: columns of the data file that may explain the force, from the year before.
        closed: whether balances sum to zero by construction; "auto" looks.
        kernel: decay of the distance term: exp(-d/l) or (1 + d/l)^-2.
        kernel_length: l, km; 0: the median distance to the third nearest place.
        neighbours: k; weights are kept between places of which one is among the k nearest of the
            other; 0: between all.
        similarity: whether the similarity term is there (correlations of training years); places
            beyond 400 share too few years for it, and it is left out.
        age: whether the age term is there: needs ages or the column below.
        immobility_column: share that age keeps from moving, 1 - A, between 0 and 1; empty: none.
        smoothness: Matern prior of the force: 0.5, 1.5 or 2.5.
        points_per_year: of the output grid.
        pinn_members: networks with different seeds.
        described_iterations: Adam steps of the fit as described, without a penalty.
        num_surrogates: series of each kind that run through the same fit.
        num_runs: new splits and seeds of the significance test (the abstract says 200).
        min_training: fewest training years of an origin.
        horizons: years ahead that are scored.
        scenario_place: where a factor is changed; empty: the largest loss per head.
        scenario_shift: change of the factor, in standard deviations over places and years.
        target_share: inverse scenario: share of the balance's own size to be gained.
        synthetic: whether the system with known truth is run as well.
    """

    source: Source = "states"
    balance: Literal["domestic", "net"] = "domestic"
    coordinates: str = ""
    place_column: str = "place"
    year_column: str = "year"
    balance_column: str = "balance"
    population_column: str = "population"
    features: tuple[str, ...] = ()
    closed: Literal["auto", "yes", "no"] = "auto"
    kernel: Literal["exponential", "power"] = "exponential"
    kernel_length: float = 0.0
    neighbours: int = 0
    similarity: bool = True
    age: bool = True
    immobility_column: str = ""
    smoothness: float = 1.5
    points_per_year: int = 8
    pinn_members: int = 3
    described_iterations: int = 5000
    num_surrogates: int = 20
    num_runs: int = 200
    min_training: int = 5
    horizons: tuple[int, ...] = (1, 3)
    scenario_place: str = ""
    scenario_shift: float = 0.5
    target_share: float = 0.1
    synthetic: bool = True

    def __post_init__(self) -> None:
        counts = {
            "points_per_year": self.points_per_year,
            "pinn_members": self.pinn_members,
            "described_iterations": self.described_iterations,
            "num_surrogates": self.num_surrogates,
            "num_runs": self.num_runs,
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.min_training < 4:
            raise ValueError(f"min_training: expected at least 4 years, got {self.min_training}")
        if not self.horizons or min(self.horizons) < 1:
            raise ValueError(f"horizons: expected years ahead >= 1, got {self.horizons}")
        if self.kernel_length < 0:
            raise ValueError(f"kernel_length: expected km >= 0, got {self.kernel_length}")
        if self.neighbours < 0:
            raise ValueError(f"neighbours: expected 0 (all) or more, got {self.neighbours}")
        if self.smoothness not in (0.5, 1.5, 2.5):
            raise ValueError(f"smoothness: expected 0.5, 1.5 or 2.5, got {self.smoothness}")
        if self.target_share <= 0:
            raise ValueError(f"target_share: expected a share > 0, got {self.target_share}")


BASE = Config()
VARIANTS = {
    "base": BASE,
    "quick": replace(BASE, pinn_members=2, described_iterations=1500, num_surrogates=10),
    "tiny": replace(
        BASE,
        points_per_year=4,
        pinn_members=2,
        described_iterations=40,
        num_surrogates=2,
        num_runs=3,
        horizons=(1,),
        min_training=7,
    ),
    "net": replace(BASE, balance="net"),
    "counties": replace(BASE, source="counties", synthetic=False, pinn_members=1),
    "arctic": replace(
        BASE,
        source="arctic",
        synthetic=False,
        features=("wage", "employees", "birth_rate", "death_rate", "log_population"),
    ),
}


def own_data(config: Config) -> Config:
    """`config` for data of the user."""
    return replace(config, synthetic=False)
