"""Unevenness of regions: the paper's tables checked, and the same pipeline on real states."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.cluster.vq import kmeans2
from scipy.stats import zscore

from diffmig import data, evaluate, fit
from experiments.smoothing.config import Config
from experiments.smoothing.models import base_models, rules

HIGH_GROUP = ("Dnipropetrovsk", "Donetsk", "Zaporizhzhia", "Kyiv", "Lviv", "Odesa", "Kharkiv")
NUM_STARTS = 50
YEARS_AHEAD = 2  # as in the paper: 2018 and 2019
INDICATORS = ("grp", "private_capital", "labour", "unemployment")


class Unevenness(NamedTuple):
    """The paper's tables.

    Attributes:
        mean_growth: mean growth factor over indicators and years by region, highest first.
        group: regions of the group with the higher means, two-group k-means of the z scores.
        inequality: Gini, coefficient of variation, Theil by indicator; NaN where not defined.
        states: the same pipeline on real states, or None without the data package.
    """

    mean_growth: pd.Series
    group: tuple[str, ...]
    inequality: pd.DataFrame
    states: "States | None"


class States(NamedTuple):
    """Indicators of US states, the last years forecast from those before.

    Attributes:
        path: Gini, coefficient of variation and Theil of each indicator by year, actual and, in the
            last years, of the forecasts.
        growth: forecast growth factor by indicator, year and state, in the form of table 5.
        mape: MAPE of the forecasts by indicator: primary selection, naive, and years ahead.
    """

    path: pd.DataFrame
    growth: pd.DataFrame
    mape: pd.DataFrame


def run_unevenness(config: Config, seed: int) -> Unevenness:
    """Tables 3 to 5, and the states where the package with their data is installed."""
    growth = data.load_growth_factors().drop(columns=["indicator", "period"]).mean()
    regions = data.load_region_indicators()
    return Unevenness(
        growth.sort_values(ascending=False),
        two_groups(regions, seed),
        inequality_frame(regions),
        _states(config),
    )


def two_groups(regions: pd.DataFrame, seed: int) -> tuple[str, ...]:
    """Regions of the group with the higher means: k-means of z scores, the best of many starts."""
    scores = zscore(regions.to_numpy(float), axis=0)
    best, lowest = None, np.inf
    for start in range(NUM_STARTS):
        centres, label = kmeans2(scores, 2, minit="++", rng=np.random.default_rng([seed, start]))
        inertia = float(((scores - centres[label]) ** 2).sum())
        if len(set(label)) == 2 and inertia < lowest:
            best, lowest = label, inertia
    assert best is not None
    means = [scores[best == k].mean() for k in (0, 1)]
    return tuple(regions.index[best == int(np.argmax(means))])


def inequality_frame(regions: pd.DataFrame) -> pd.DataFrame:
    """Gini, coefficient of variation and Theil of every indicator over regions."""
    rows = []
    for name in regions.columns:
        values = regions[name].to_numpy(float)
        negative = bool((values < 0).any())  # profitability: no Gini, no Theil
        rows.append(
            {
                "indicator": name,
                "gini": np.nan if negative else float(evaluate.gini(values)),
                "cv": float(evaluate.coefficient_of_variation(values)),
                "theil": np.nan if negative else float(evaluate.theil(values)),
                "highest": regions.index[int(np.argmax(values))],
                "lowest": regions.index[int(np.argmin(values))],
            }
        )
    return pd.DataFrame(rows)


def _states(config: Config) -> States | None:
    try:
        panel = data.load_us_states_munnell()
    except data.DataError:
        return None
    paths, growths, errors = [], [], []
    known = len(panel.years) - YEARS_AHEAD
    for name in INDICATORS:
        values = data.variable(panel, name)  # [state, year]
        forecast = _forecast(config, values[:, :known])
        paths.append(_path(name, panel.years, values, forecast))
        levels = np.concatenate([values[:, known - 1 : known], forecast], axis=1)
        growth = pd.DataFrame(levels[:, 1:].T / levels[:, :-1].T, columns=list(panel.places))
        growth.insert(0, "indicator", name)
        growth.insert(1, "year", panel.years[known:])
        growths.append(growth)
        naive = np.repeat(values[:, known - 1 : known], YEARS_AHEAD, axis=1)
        percent = partial(_percent, values[:, known:])
        errors.append({"indicator": name, "selective": percent(forecast), "naive": percent(naive)})
    return States(
        pd.concat(paths, ignore_index=True),
        pd.concat(growths, ignore_index=True),
        pd.DataFrame(errors),
    )


def _forecast(config: Config, values: np.ndarray) -> np.ndarray:
    """Primary selection from the last year, [state, year ahead]."""
    models, chosen = base_models(config, 1), rules(config, 1)[:1]
    selective = fit.SelectiveConfig(
        num_horizons=YEARS_AHEAD, first_origin=values.shape[1] - 7, refit_every=6
    )
    made = fit.forecast_selectively(models, chosen, data.to_device(values.T), config=selective)
    return np.asarray(made.forecast[len(models)]).T


def _path(name: str, years: np.ndarray, values: np.ndarray, forecast: np.ndarray) -> pd.DataFrame:
    measures = {
        "Gini": evaluate.gini,
        "coefficient of variation": evaluate.coefficient_of_variation,
        "Theil": evaluate.theil,
    }
    known = len(years) - forecast.shape[1]
    frames = []
    for label, measure in measures.items():
        along = jax.jit(partial(measure, axis=0))
        actual = np.asarray(along(jnp.asarray(values)))
        ahead = np.asarray(along(jnp.asarray(np.c_[values[:, known - 1], forecast])))
        for kind, which, made in (
            ("actual", years, actual),
            ("forecast", years[known - 1 :], ahead),
        ):
            frames.append(
                pd.DataFrame(
                    {
                        "indicator": name,
                        "panel": f"{label}, 1",
                        "series": "actual" if kind == "actual" else "selective",
                        "kind": kind,
                        "year": which,
                        "value": made,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def _percent(actual: np.ndarray, made: np.ndarray) -> float:
    return float(np.mean(np.asarray(evaluate.mape(actual, made))))
