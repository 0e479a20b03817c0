"""Choices of the sensitivity experiment and its variants."""

from dataclasses import dataclass, replace

NAMES = ("grp", "human_capital", "migration", "smoothing", "town")


@dataclass(frozen=True)
class Config:
    """Which models, over which boxes, by how many runs.

    Attributes:
        models: of `NAMES`.
        num_points: pairs of points of the Sobol indices, and points of the derivative-based
            measures; a power of two.
        most_runs: of the Sobol indices of a model; one with many inputs takes fewer points.
        num_trajectories: of Morris.
        num_resamples: bootstrap of the Sobol indices.
        block: model runs side by side.
        repeats: timed runs; the median counts.
        small: share of the variance below which an input does not count as one that matters.
        years: last years whose factors GRP is asked about.
        box_years: last years whose range is the box of a factor of GRP.
        grp_networks, grp_units, grp_epochs: networks whose mean GRP is taken, their hidden units
            and training.
        learning_rate, weight_decay: of that training.
        spread: budget lines and distances vary by this share of themselves up and down.
        wear_rate, initial_factor: of human capital, lowest, value, highest; 1/year and 1.
        neighbours: nearest states whose distance varies.
        distance, confinement, damping: strengths of the motion, lowest, value, highest; 1/year^2,
            and 1/year for damping.
        horizon: years after which the migration balance is asked for.
        observation_spread: observations vary by this share of themselves up and down.
        smoothing_weight: alpha and beta, lowest, value, highest.
        discount, power: gamma and kappa of the weights of the filters.
        hidden, starts, max_steps: hidden units of the town's networks, starts, training.
    """

    models: tuple[str, ...] = NAMES
    num_points: int = 512
    most_runs: int = 60_000
    num_trajectories: int = 30
    num_resamples: int = 100
    block: int = 256
    repeats: int = 20
    small: float = 0.01
    years: int = 3
    box_years: int = 10
    grp_networks: int = 5
    grp_units: int = 4
    grp_epochs: int = 200
    learning_rate: float = 0.02
    weight_decay: float = 0.1
    spread: float = 0.2
    wear_rate: tuple[float, float, float] = (0.0225, 0.0259, 0.031)
    initial_factor: tuple[float, float, float] = (1.4, 1.82, 2.2)
    neighbours: int = 8
    distance: tuple[float, float, float] = (0.05, 0.2, 0.4)
    confinement: tuple[float, float, float] = (0.05, 0.2, 0.4)
    damping: tuple[float, float, float] = (0.1, 0.6, 1.5)
    horizon: int = 3
    observation_spread: float = 0.05
    smoothing_weight: tuple[float, float, float] = (0.2, 0.4, 0.8)
    discount: float = 0.3
    power: float = 1.0
    hidden: tuple[int, ...] = (1, 2, 3)
    starts: int = 2
    max_steps: int = 150

    def __post_init__(self) -> None:
        unknown = sorted(set(self.models) - set(NAMES))
        if unknown or not self.models:
            raise ValueError(f"models: expected some of {NAMES}, got {self.models}")
        if self.num_points < 2 or self.num_points & (self.num_points - 1):
            raise ValueError(f"num_points: expected a power of two, got {self.num_points}")
        counts = ("num_trajectories", "num_resamples", "block", "repeats", "years", "neighbours")
        for name in (*counts, "most_runs", "grp_networks", "horizon", "starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("wear_rate", "initial_factor", "distance", "confinement", "damping"):
            low, value, high = getattr(self, name)
            if not 0 <= low <= value <= high or low == high:
                raise ValueError(
                    f"{name}: expected 0 <= low <= value <= high, got {low, value, high}"
                )
        if not (0 < self.spread < 1 and 0 < self.observation_spread < 1):
            raise ValueError(
                "spread, observation_spread: expected shares in (0, 1), got "
                f"{self.spread}, {self.observation_spread}"
            )


BASE = Config()
VARIANTS = {
    "base": BASE,
    "quick": replace(BASE, num_points=128, num_trajectories=10, repeats=10),
    "tiny": replace(
        BASE, num_points=16, num_trajectories=4, num_resamples=10, repeats=3, grp_networks=2,
        grp_epochs=20, hidden=(1,), starts=1, max_steps=10,
    ),
}  # fmt: skip


def own_data(config: Config) -> Config:
    """`config`: there is nothing to set for data of the user, which `load` refuses."""
    return config
