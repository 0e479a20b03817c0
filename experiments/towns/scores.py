"""Errors of the forecasts of known years."""

import numpy as np
import pandas as pd

from diffmig import evaluate
from experiments.towns.inputs import Inputs
from experiments.towns.retrospective import HONEST_METHODS, LAST, Retrospective


def accuracy(actual: np.ndarray, forecast: np.ndarray) -> float:
    """1 - mean |error| / mean |actual|, our reading of the "accuracy" that has no formula."""
    seen = np.isfinite(forecast)
    if not seen.any():
        return float("nan")
    return float(1 - np.abs(forecast - actual)[seen].mean() / np.abs(actual)[seen].mean())


def score_frame(inputs: Inputs, found: Retrospective) -> pd.DataFrame:
    """Errors of every method over all test years, against the last value."""
    base = np.abs(found.forecasts[LAST] - found.actual)
    rows = []
    for name, forecast in found.forecasts.items():
        seen = np.isfinite(forecast)
        error = np.where(seen, forecast - found.actual, np.nan)
        p = np.nan
        if name in HONEST_METHODS and name != LAST:
            own = np.abs(error).mean(axis=0)  # by town: its years are not independent
            p = evaluate.wilcoxon_signed_rank(own, base.mean(axis=0)).p_value
        rows.append(
            {
                "method": name,
                "accuracy": accuracy(found.actual, forecast),
                "mae": float(np.nanmean(np.abs(error))),
                "rmse": float(np.sqrt(np.nanmean(error**2))),
                "bias": float(np.nanmean(error)),
                "p_against_last_value": p,
            }
        )
    table = pd.DataFrame(rows)
    tested = table["p_against_last_value"].notna()
    table.loc[tested, "p_against_last_value"] = evaluate.holm(
        table.loc[tested, "p_against_last_value"].to_numpy()
    )
    return table
