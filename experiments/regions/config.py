"""Choices of the regions experiment and its variants."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Config:
    """Which columns enter, what the grid holds, how long everything trains.

    Attributes:
        place_column: column of place names in a file of your own.
        year_column: column of years in a file of your own.
        grp: column of gross regional product: in constant prices, or in current prices together
            with `price_index` or `volume_index`.
        price_index: column of the price index, percent of the previous year; empty: none.
        volume_index: column of the volume index of GRP, percent of the previous year, from which
            the price index follows; empty: none.
        factors: columns of the factors; empty: all others.
        deflated: those factors that are money of current prices, deflated by the same index.
        aggregate: column that is not 0 for places that are sums of others; these are left out.
        last_training_year: last year that training, scaling and selection see; 0: six before the
            last.
        networks: grid that selection chooses from: LSTM, Elman, BPNN.
        targets: grid: growth (log growth of GRP from that of the factors), level.
        weight_decays: grid: decoupled weight decay, 1 per unit of learning rate.
        units: hidden units of every network.
        learning_rate: step of Adam, 1.
        epochs: full-batch steps of every training.
        selection_horizon: years scored by every rolling origin inside the training years.
        num_origins: rolling origins, the last one `selection_horizon` years before training ends.
        selection_seeds: runs of every grid point, region and origin.
        num_seeds: runs of the chosen model in every region.
        significance: level of the tests after Holm's correction, 1.
        runs_per_chunk: training runs between two checkpoints.
    """

    place_column: str = "place"
    year_column: str = "year"
    grp: str = "grp"
    price_index: str = ""
    volume_index: str = ""
    factors: tuple[str, ...] = ("private_capital", "public_capital", "labour", "unemployment")
    deflated: tuple[str, ...] = ()
    aggregate: str = ""
    last_training_year: int = 0
    networks: tuple[str, ...] = ("LSTM", "Elman", "BPNN")
    targets: tuple[str, ...] = ("growth", "level")
    weight_decays: tuple[float, ...] = (0.01, 0.3, 3.0)
    units: int = 10
    learning_rate: float = 0.01
    epochs: int = 200
    selection_horizon: int = 3
    num_origins: int = 3
    selection_seeds: int = 3
    num_seeds: int = 20
    significance: float = 0.05
    runs_per_chunk: int = 960


BASE = Config()
VARIANTS = {
    "base": BASE,
    "quick": replace(
        BASE,
        networks=("Elman", "BPNN"),
        weight_decays=(0.01, 3.0),
        epochs=100,
        num_origins=2,
        selection_seeds=1,
    ),
    "tiny": replace(
        BASE,
        networks=("BPNN",),
        weight_decays=(0.01, 3.0),
        units=4,
        epochs=20,
        num_origins=1,
        selection_seeds=1,
        num_seeds=2,
        runs_per_chunk=128,
    ),
}


def own_data(config: Config) -> Config:
    """`config` for a file of the user: every column but GRP and the indices is a factor."""
    return replace(config, factors=())
