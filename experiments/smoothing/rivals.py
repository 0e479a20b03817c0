"""AutoETS and Theta of statsforecast on the same series, where it is installed."""

import importlib.util

import numpy as np
import pandas as pd

from experiments.smoothing.config import Config
from experiments.smoothing.histories import History

NAMES = ("AutoETS", "AutoTheta")


def has_rivals() -> bool:
    """Whether statsforecast can be imported."""
    return importlib.util.find_spec("statsforecast") is not None


def forecast_rivals(config: Config, history: History) -> dict[str, np.ndarray]:
    """Forecasts of the held-out rows by peer, [series, horizon]; NaN for series outside the sample
    and for those with gaps, which the peers cannot read; nothing where it is not installed."""
    if not has_rivals():
        return {}
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, AutoTheta, SeasonalNaive

    whole = [j for j in range(len(history.names)) if history.mask[first_row(history, j) :, j].all()]
    if not whole:
        return {}
    step = max(len(whole) // config.rival_series, 1)
    sample = whole[::step][: config.rival_series]
    parts = [history.values[first_row(history, j) :, j] for j in sample]
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(sample, [len(part) for part in parts]),
            "ds": np.concatenate([np.arange(len(part)) for part in parts]),
            "y": np.concatenate(parts),
        }
    )
    # beyond 24 rows of a season AutoETS gives the season up, as its documentation says
    models = [
        AutoETS(season_length=history.season, alias="AutoETS"),
        AutoTheta(season_length=history.season, alias="AutoTheta"),
    ]
    runner = StatsForecast(
        models=models,
        freq=1,
        n_jobs=1,  # it would fork a process that runs threads of JAX
        fallback_model=SeasonalNaive(history.season),
    )
    horizon = history.future.shape[0]
    table = runner.forecast(df=frame, h=horizon).sort_values(["unique_id", "ds"])
    made = {name: np.full((len(history.names), horizon), np.nan) for name in NAMES}
    for name in NAMES:
        made[name][np.sort(sample)] = table[name].to_numpy(float).reshape(-1, horizon)
    return made


def first_row(history: History, series: int) -> int:
    """First observed row of a series."""
    return int(np.argmax(history.mask[:, series]))
