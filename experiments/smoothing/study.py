"""Base filters, rules and rivals on the same series, scored on rows held out."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import data, fit, smoothing
from experiments.smoothing.config import Config
from experiments.smoothing.histories import History
from experiments.smoothing.models import base_models, rules
from experiments.smoothing.rivals import forecast_rivals

ONE_STEP, AHEAD = "one step, rolling", "held out"
ADAPTIVE_RATE = 0.05  # of the adaptive intervals where the config has none


class Scores(NamedTuple):
    """Errors of every method on one history.

    Attributes:
        history: the series.
        methods: names: base filters, rules.
        num_models: how many of them are base filters.
        one_step: MASE of one-step forecasts over the last rows of the history, [method, series].
        one_step_percent: MAPE of them, percent, [method, series].
        hindsight: MASE and MAPE of the best filter of each row, [2, series]: a bound.
        ahead: MASE of the held-out rows, [method, series].  percent, symmetric: MAPE and sMAPE of
            them, percent.
        coverage: share of values inside the intervals of the primary selection, [4, series]: split
            and adaptive one step ahead, split and adaptive at the longest horizon; NaN where none
            was scored.
        rivals: MASE of the held-out rows by peer, [series], NaN outside their sample.
        usable: series scored by every method, bool [series].
    """

    history: History
    methods: tuple[str, ...]
    num_models: int
    one_step: np.ndarray
    one_step_percent: np.ndarray
    hindsight: np.ndarray
    ahead: np.ndarray
    percent: np.ndarray
    symmetric: np.ndarray
    coverage: np.ndarray
    rivals: dict[str, np.ndarray]
    usable: np.ndarray


def selective_config(config: Config, history: History) -> fit.SelectiveConfig:
    """First fit before the selection rows, a second one half way, the last at the last row."""
    length, season = history.values.shape[0], history.season
    rows = 10 if season == 1 else max(config.selection_rows * season, 16)
    rows = 2 * max(min(rows, length // 2) // 2, 1)
    return fit.SelectiveConfig(
        num_horizons=history.future.shape[0],
        first_origin=length - 1 - rows,
        first_scored=length - 1 - rows + 1,
        refit_every=rows // 2,
        keep=(rules(config, season)[0].name,),
    )


def score(
    config: Config,
    history: History,
    name: str,
    stage_fn: fit.RunStage,
    mesh: Mesh | None,
) -> Scores:
    """Forecasts of every method for one history, as one resumable stage."""
    models, chosen = base_models(config, history.season), rules(config, history.season)
    selective = selective_config(config, history)
    run = partial(_run_rows, config, models, chosen, selective, mesh)
    rows = {"y": history.values.T, "observed": history.mask.T}
    done = fit.run_rows(name, run, rows, rows_per_chunk=config.series_per_chunk, stage_fn=stage_fn)
    count, nonzero = done["count"], np.maximum(done["count_nonzero"], 1)
    mean = done["absolute"] / np.maximum(count, 1)[:, None] / history.scale[:, None]
    forecast = np.moveaxis(done["forecast"], 0, 1)  # [method, series, horizon]
    ahead, percent, symmetric = _errors(forecast, history)
    hindsight = done["hindsight"] / np.stack([history.scale, np.ones_like(history.scale)], axis=1)
    rivals = forecast_rivals(config, history, f"{name}-peers", stage_fn)
    peers = {peer: _errors(made[None], history) for peer, made in rivals.items()}
    names = fit.method_names(models, chosen)
    return Scores(
        history=history,
        methods=names,
        num_models=len(models),
        one_step=mean.T,
        one_step_percent=(done["percentage"] / nonzero[:, None]).T,
        hindsight=hindsight.T,
        ahead=ahead,
        percent=percent,
        symmetric=symmetric,
        coverage=done["coverage"].T,
        rivals={peer: errors[0][0] for peer, errors in peers.items()},
        usable=np.isfinite(ahead[len(models) :]).all(axis=0) & (count > 0),
    )


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _run_rows(
    config: Config,
    models: tuple[smoothing.Smoother, ...],
    chosen: tuple[smoothing.Rule, ...],
    selective: fit.SelectiveConfig,
    mesh: Mesh | None,
    rows: dict[str, Array],
) -> dict[str, Array]:
    """What is kept of the forecasts, series first."""
    y, observed = rows["y"].T, rows["observed"].T
    made = fit.forecast_selectively(models, chosen, y, observed, config=selective, mesh=mesh)
    horizon = selective.num_horizons
    shares = [
        smoothing.coverage(
            smoothing.conformal_intervals(
                made.errors[0, :, h - 1], made.scored[:, h - 1], h, config.level, rate=rate
            )
        )
        for h in (1, horizon)
        for rate in (0.0, config.rate or ADAPTIVE_RATE)
    ]
    kept = {
        "forecast": made.forecast,
        "absolute": made.absolute[:, 0],
        "percentage": made.percentage[:, 0],
        "count": made.count[0],
        "count_nonzero": made.count_nonzero[0],
        "hindsight": made.hindsight,
        "coverage": jax.numpy.stack(shares),
    }
    return {
        name: jax.numpy.moveaxis(value, -1, 0).reshape(y.shape[1], *value.shape[:-1])
        for name, value in kept.items()
    }


def _errors(forecast: np.ndarray, history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MASE, MAPE and sMAPE of the held-out rows, [method, series]; forecast [method, series, h]."""
    actual, known = history.future.T[None], history.known.T[None]
    error = np.where(known, np.abs(actual - forecast), 0.0)
    number = np.maximum(known.sum(axis=-1), 1)
    nonzero = known & (actual != 0)
    share = np.where(nonzero, error / np.where(nonzero, np.abs(actual), 1.0), 0.0)
    size = np.abs(actual) + np.abs(forecast)
    double = np.where(size > 0, error / np.where(size > 0, size, 1.0), 0.0)
    return (
        error.sum(axis=-1) / number / history.scale,
        100.0 * share.sum(axis=-1) / np.maximum(nonzero.sum(axis=-1), 1),
        200.0 * double.sum(axis=-1) / number,
    )


def tail_length(panel: data.SeriesPanel) -> int:
    """Rows of a panel that figures show."""
    return max(3 * data.season_length(panel.frequency), 24)
