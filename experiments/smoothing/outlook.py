"""Forecasts of the user's series with intervals, from the last row on."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from diffmig import data, fit, smoothing
from experiments.smoothing.config import Config
from experiments.smoothing.histories import horizon_of
from experiments.smoothing.models import base_models, rules


class Outlook(NamedTuple):
    """Forecasts of one panel.

    Attributes:
        panel: the series.
        table: long: id, time, forecast, low, high, in the columns of the input.
        weights: share of every base filter in the forecast, by series.
    """

    panel: data.SeriesPanel
    table: pd.DataFrame
    weights: pd.DataFrame


def make_outlook(config: Config, panel: data.SeriesPanel) -> Outlook:
    """Primary selection from the last value of every series, with conformal intervals.

    The radius never falls with the horizon; a short history leaves intervals open (NaN).
    """
    season = data.season_length(panel.frequency)
    models, chosen = base_models(config, season), rules(config, season)[:1]
    horizon, length = horizon_of(config, season), len(panel.times)
    rows = min(max(3 * season, 20), max(length - 4, 1))
    selective = fit.SelectiveConfig(
        num_horizons=horizon,
        first_origin=max(length - 1 - rows, 0),
        refit_every=max(rows // 4, 1),
        keep=(chosen[0].name,),
    )
    missing = np.argmax(panel.mask[::-1], axis=0)  # rows after the last value of a series
    y = data.to_device(_moved_down(panel.values, missing))
    observed = jnp.asarray(_moved_down(panel.mask, missing))
    made = fit.forecast_selectively(models, chosen, y, observed, config=selective)
    radius = np.stack(
        [
            np.asarray(
                smoothing.next_radius(
                    made.errors[0][:, h], made.scored[:, h], h + 1, config.level, rate=config.rate
                )
            )
            for h in range(horizon)
        ]
    )
    radius = np.maximum.accumulate(np.where(np.isfinite(radius), radius, np.inf), axis=0)
    radius = np.where(np.isfinite(radius), radius, np.nan)
    forecast = np.asarray(made.forecast[len(models)])
    weights = pd.DataFrame(np.asarray(made.weights[0]).T, columns=[model.name for model in models])
    weights.insert(0, config.id_column, list(panel.names))
    return Outlook(panel, _table(config, panel, missing, forecast, radius), weights)


def _moved_down(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[time, series] with the last `rows` of each series, which are empty, put in front."""
    index = (np.arange(len(array))[:, None] - rows[None]) % len(array)
    return np.take_along_axis(array, index, axis=0)


def _table(
    config: Config,
    panel: data.SeriesPanel,
    missing: np.ndarray,
    forecast: np.ndarray,
    radius: np.ndarray,
) -> pd.DataFrame:
    """Long table, each series from the time after its own last value on."""
    horizon, length = len(forecast), len(panel.times)
    longest = int(missing.max())
    times = panel.times[length - longest :].append(data.future_times(panel, horizon))
    cells = {"forecast": forecast, "low": forecast - radius, "high": forecast + radius}
    rows = np.arange(horizon)[:, None] + longest - missing[None]
    columns = {"id_column": config.id_column, "time_column": config.time_column}
    parts = {}
    for name, values in cells.items():
        wide = np.zeros((len(times), len(panel.names)))
        np.put_along_axis(wide, rows, values, axis=0)
        parts[name] = data.series_to_frame(panel, wide, times=times, value_column=name, **columns)
    kept = np.zeros((len(times), len(panel.names)), bool)
    np.put_along_axis(kept, rows, True, axis=0)
    table = parts["forecast"].assign(low=parts["low"]["low"], high=parts["high"]["high"])
    return table[kept.T.ravel()].reset_index(drop=True)
