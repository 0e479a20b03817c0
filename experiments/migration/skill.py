"""Forecasts one and three years ahead from every origin, beside naive rules and regressions."""

from importlib.util import find_spec
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jax import Array

from diffmig import evaluate, fit
from experiments.migration.config import Config
from experiments.migration.dynamics import fit_dynamics, in_places
from experiments.migration.inputs import Inputs
from experiments.migration.system import build_system

MODEL = "Lagrangian dynamics"


class Skill(NamedTuple):
    """Forecasts of every origin.

    Attributes:
        forecasts: (method, horizon) -> [origin, place], unit of the rate.
        actual: horizon -> [origin, place].
        covered: horizon -> share of balances inside the model's 90 % band.
        origins: last year known, [origin], by horizon.
    """

    forecasts: dict[tuple[str, int], np.ndarray]
    actual: dict[int, np.ndarray]
    covered: dict[int, float]
    origins: dict[int, np.ndarray]


def skill(config: Config, inputs: Inputs, key: Array) -> Skill | None:
    """Everything is fitted again from the years up to each origin; None where there are too few."""
    num_years = inputs.years.size
    counts = range(config.min_training, num_years)
    horizons = [h for h in config.horizons if config.min_training + h <= num_years]
    if not horizons:
        return None
    forecasts: dict[tuple[str, int], list[np.ndarray]] = {}
    actual: dict[int, list[np.ndarray]] = {h: [] for h in horizons}
    inside: dict[int, list[np.ndarray]] = {h: [] for h in horizons}
    origins: dict[int, list[int]] = {h: [] for h in horizons}
    for number, count in enumerate(counts):
        past = inputs.rate[:, :count]
        system = build_system(config, inputs, past)
        made = fit_dynamics(config, system, inputs.rate, count)
        mean, sd = in_places(config, system, made, inputs.rate, count)
        for h in horizons:
            if count + h > num_years:
                continue
            truth = inputs.rate[:, count + h - 1]
            actual[h].append(truth)
            origins[h].append(int(inputs.years[count - 1]))
            half = 1.6448536 * sd[:, count + h - 1]
            inside[h].append(np.abs(truth - mean[:, count + h - 1]) <= half)
            rows = {
                MODEL: mean[:, count + h - 1],
                "last value": past[:, -1],
                "mean of the past": past.mean(axis=1),
                "AR(1), pooled": pooled_ar1(past, h),
                **_regressions(inputs, jax.random.fold_in(key, number), count, h),
            }
            for name, row in rows.items():
                forecasts.setdefault((name, h), []).append(np.asarray(row))
    return Skill(
        forecasts={k: np.stack(v) for k, v in forecasts.items()},
        actual={h: np.stack(v) for h, v in actual.items()},
        covered={h: float(np.mean(v)) for h, v in inside.items()},
        origins={h: np.array(v) for h, v in origins.items()},
    )


def pooled_ar1(past: np.ndarray, horizon: int) -> np.ndarray:
    """q_{t+1} = a + b q_t with one a and b for all places by least squares, iterated."""
    before, after = past[:, :-1].ravel(), past[:, 1:].ravel()
    slope, level = np.polyfit(before, after, 1)
    value = past[:, -1]
    for _ in range(horizon):
        value = level + slope * value
    return value


def _regressions(inputs: Inputs, key: Array, count: int, horizon: int) -> dict[str, np.ndarray]:
    """Direct regressions of the balance `horizon` years later on balance and features of a year."""
    known = np.concatenate([inputs.rate[:, :, None], inputs.features], axis=2)
    if count - horizon < 2:
        return {}
    x, y = known[:, : count - horizon], inputs.rate[:, horizon:count]
    methods = {"ridge on last year and features": fit.ridge()}
    if find_spec("sklearn"):
        methods["gradient boosting on last year and features"] = fit.gradient_boosting()
    found = {}
    for name, method in methods.items():
        params = fit.fit_regression(key, method, x, y)
        found[name] = np.asarray(fit.predict_regression(method, params, known[:, count - 1]))
    return found


def skill_frame(found: Skill) -> pd.DataFrame:
    """RMSE, R2, gain against the last value, and a paired test over places."""
    rows = []
    for (method, horizon), values in found.forecasts.items():
        truth, naive = found.actual[horizon], found.forecasts["last value", horizon]
        own, base = np.abs(values - truth).mean(axis=0), np.abs(naive - truth).mean(axis=0)
        paired = evaluate.wilcoxon_signed_rank(own, base) if len(own) >= 6 else None
        rows.append(
            {
                "horizon": horizon,
                "method": method,
                "origins": len(truth),
                "rmse": float(np.sqrt(np.mean((values - truth) ** 2))),
                "r2": float(evaluate.r2(truth.ravel(), values.ravel())),
                "skill": 1.0
                - float(np.mean((values - truth) ** 2) / np.mean((naive - truth) ** 2)),
                "p_value": np.nan if method == "last value" or paired is None else paired.p_value,
            }
        )
    frame = pd.DataFrame(rows)
    adjusted = frame["p_value"].copy()
    tested = adjusted.notna()
    adjusted[tested] = evaluate.holm(adjusted[tested].to_numpy())
    return frame.assign(p_value=adjusted).sort_values(["horizon", "rmse"], ignore_index=True)


def beats_last_value(found: Skill, horizon: int) -> bool:
    """Whether the model's mean square error is below that of the last value."""
    model, naive = (found.forecasts[name, horizon] for name in (MODEL, "last value"))
    truth = found.actual[horizon]
    return bool(np.mean((model - truth) ** 2) < np.mean((naive - truth) ** 2))
