"""AutoETS and AutoTheta of statsforecast on the same series, where it is installed."""

import importlib.util

import numpy as np
import pandas as pd

from diffmig import fit
from experiments.smoothing.config import Config
from experiments.smoothing.histories import History

NAMES = ("AutoETS", "AutoTheta")
SERIES_PER_CHUNK = 25


def has_rivals() -> bool:
    """Whether statsforecast can be imported."""
    return importlib.util.find_spec("statsforecast") is not None


def forecast_rivals(
    config: Config, history: History, name: str, stage_fn: fit.RunStage
) -> dict[str, np.ndarray]:
    """Forecasts of the held-out rows by peer, [series, horizon], as one resumable stage; NaN for
    series outside the sample and for those with gaps, which the peers cannot read; nothing where
    it is not installed."""
    shape = (len(history.names), history.future.shape[0])
    first = np.argmax(history.mask, axis=0)
    whole = [j for j in range(shape[0]) if history.mask[first[j] :, j].all()]
    if not (has_rivals() and config.rivals and whole):
        return {}
    sample = np.array(whole[:: max(len(whole) // config.rival_series, 1)][: config.rival_series])

    def chunk_fn(state: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
        part = sample[number * SERIES_PER_CHUNK : (number + 1) * SERIES_PER_CHUNK]
        made = {peer: np.array(values) for peer, values in state.items()}
        table = _forecast(history, part, first)
        for peer in NAMES:
            made[peer][part] = table[peer].to_numpy(float).reshape(len(part), -1)
        return made

    empty = {peer: np.full(shape, np.nan) for peer in NAMES}
    return stage_fn(name, empty, chunk_fn, -(-len(sample) // SERIES_PER_CHUNK))


def _forecast(history: History, part: np.ndarray, first: np.ndarray) -> pd.DataFrame:
    """Forecasts of the series in `part`, in their order."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, AutoTheta, SeasonalNaive

    values = [history.values[first[j] :, j] for j in part]
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(part, [len(v) for v in values]),
            "ds": np.concatenate([np.arange(len(v)) for v in values]),
            "y": np.concatenate(values),
        }
    )
    # beyond 24 rows of a season AutoETS gives the season up, as its documentation says
    runner = StatsForecast(
        models=[AutoETS(season_length=history.season), AutoTheta(season_length=history.season)],
        freq=1,
        n_jobs=1,  # it would fork a process that runs threads of JAX
        fallback_model=SeasonalNaive(history.season),
    )
    return runner.forecast(df=frame, h=history.future.shape[0]).sort_values(["unique_id", "ds"])
