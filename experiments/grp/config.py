"""Choices of the GRP experiment and its variants."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Config:
    """How the GRP forecasters are trained, chosen and scored.

    Attributes:
        year_column: column of years in a file of your own.
        place_column: column of the place's name there; may be missing.
        grp: column of GRP in current prices.
        grp_comparable: column of GRP in comparable prices; empty: computed from `price_index`.
        price_index: column of the price index, percent of the previous year; empty: none.
        factors: columns of the factors; empty: all other columns.
        last_training_year: last year that training, scaling and selection see; 0: six before the
            last.
        last_forecast_year: last year of the forecast; 0: seven after the last.
        replicate: train the hybrids as the paper describes them too, and fill its ledger.
        num_seeds: runs of every stochastic method.
        bat_steps: iterations of the bat search as described.
        swarm_steps: iterations of the particle swarm as described.
        generations: generations of the genetic algorithm as described.
        repaired_members: members of the searches of the repaired hybrids.
        repaired_steps: their steps.
        repaired_epochs: longest training that they may choose, epochs.
        horizon: years scored by every rolling origin inside the training years.
        num_origins: number of rolling origins, the last one `horizon` years before the training
            ends.
        study_epochs: training in the study of widths and layers, epochs.
        larger_swarm: train PSO-Elman with twice the particles too (the paper says that it does not
            help).
        runs_per_chunk: training runs between two checkpoints.
    """

    year_column: str = "year"
    place_column: str = "place"
    grp: str = "grp_current"
    grp_comparable: str = "grp_2023_prices"
    price_index: str = "deflator"
    factors: tuple[str, ...] = ("fixed_assets", "labour", "high_tech_share", "deflator")
    last_training_year: int = 2017
    last_forecast_year: int = 2030
    replicate: bool = True
    num_seeds: int = 20
    bat_steps: int = 100
    swarm_steps: int = 100
    generations: int = 10
    repaired_members: int = 10
    repaired_steps: int = 10
    repaired_epochs: int = 200
    horizon: int = 6
    num_origins: int = 3
    study_epochs: int = 100
    larger_swarm: bool = True
    runs_per_chunk: int = 10

    def __post_init__(self) -> None:
        counts = (
            "num_seeds bat_steps swarm_steps generations repaired_members repaired_steps "
            "repaired_epochs horizon num_origins study_epochs runs_per_chunk"
        )
        for name in counts.split():
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.repaired_epochs < 10 or self.repaired_members < 4:
            raise ValueError(
                "expected repaired_epochs >= 10 and repaired_members >= 4, got "
                f"{self.repaired_epochs} and {self.repaired_members}"
            )


BASE = Config()
VARIANTS = {
    "base": BASE,
    "quick": replace(
        BASE,
        bat_steps=2,
        swarm_steps=4,
        generations=10,
        repaired_members=6,
        repaired_steps=2,
        repaired_epochs=60,
        study_epochs=20,
        larger_swarm=False,
    ),
    "tiny": replace(
        BASE,
        num_seeds=2,
        bat_steps=1,
        swarm_steps=1,
        generations=1,
        repaired_members=4,
        repaired_steps=1,
        repaired_epochs=20,
        num_origins=1,
        study_epochs=5,
        larger_swarm=False,
        runs_per_chunk=2,
    ),
}


def own_data(config: Config) -> Config:
    """`config` for a file of the user: column `grp`, all other columns are factors."""
    return replace(
        config,
        grp="grp",
        grp_comparable="",
        price_index="",
        factors=(),
        last_training_year=0,
        last_forecast_year=0,
        replicate=False,
    )
