"""Scores of all forecasters on training and validation years, and the baselines beside them."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from diffmig import evaluate
from experiments.grp.economy import Economy
from experiments.grp.models import TARGETS, Trained, choose_target, task_index

METRICS = ("mape", "r2")


class Choice(NamedTuple):
    """Primary forecaster of a price basis, chosen by rolling origins in the training years."""

    base: int
    model: str
    target: int
    rolling_mape: float


def score(
    economy: Economy, base: int, forecast: np.ndarray, sample: str, skip: int = 0
) -> dict[str, np.ndarray]:
    """MAPE (percent) and R2 of forecasts [..., year]; `skip` training years have no fit."""
    where = economy.validation if sample == "validation" else slice(skip, economy.num_training)
    actual = economy.grp[base, where]
    values = _scores(actual, np.asarray(forecast, actual.dtype)[..., where])
    return dict(zip(METRICS, map(np.asarray, values), strict=True))


@jax.jit
def _scores(actual: Array, forecast: Array) -> tuple[Array, Array]:
    return evaluate.mape(actual, forecast), evaluate.r2(actual, forecast)


def choose(economy: Economy, repaired: dict[str, Trained]) -> list[Choice]:
    """Primary forecaster of every price basis: lowest median rolling-origin MAPE of all.

    The rule was fixed before any forecast of the validation years was scored.
    """
    choices = []
    for base in range(len(economy.bases)):
        found = {
            model: choose_target(economy, trained, base) for model, trained in repaired.items()
        }
        model = min(found, key=lambda name: found[name][1])
        choices.append(Choice(base, model, *found[model]))
    return choices


def forecasts(
    economy: Economy, described: dict[str, Trained], repaired: dict[str, Trained]
) -> Iterator[tuple[str, str, int, np.ndarray, int]]:
    """(protocol, model, base, GRP [seed, year], first fitted year) of all that is ever scored."""
    for base in range(len(economy.bases)):
        for model, trained in described.items():
            yield (
                "as_described",
                model,
                base,
                np.asarray(trained.fitted.levels)[base],
                trained.hybrid.layout.lag,
            )
        for model, trained in repaired.items():
            target, _ = choose_target(economy, trained, base)
            row = task_index(economy, target, base)
            skip = int(TARGETS[target].kind == "growth")
            yield "conditional", model, base, np.asarray(trained.fitted.levels)[row], skip
            yield "honest", model, base, np.asarray(trained.ex_ante)[row], skip
    for base, model, target, _ in choose(economy, repaired):
        row, skip = task_index(economy, target, base), int(TARGETS[target].kind == "growth")
        trained = repaired[model]
        for protocol, levels in (
            ("conditional", trained.fitted.levels),
            ("honest", trained.ex_ante),
        ):
            middle = np.median(np.asarray(levels)[row], axis=0)
            yield protocol, f"primary: median of {model} runs", base, middle[None], skip


def score_frame(
    economy: Economy, described: dict[str, Trained], repaired: dict[str, Trained]
) -> pd.DataFrame:
    """Scores of every run: prices, protocol, model, sample, metric, seed, value."""
    rows = []
    for protocol, model, base, levels, skip in forecasts(economy, described, repaired):
        for sample in ("train", "validation"):
            for metric, values in score(economy, base, levels, sample, skip).items():
                head = (economy.bases[base], protocol, model, sample, metric)
                rows += [(*head, seed, float(value)) for seed, value in enumerate(values)]
    columns = ["prices", "protocol", "model", "sample", "metric", "seed", "value"]
    return pd.DataFrame(rows, columns=columns)


def summary_frame(scores: pd.DataFrame) -> pd.DataFrame:
    """Median and 5-95 % range over the seeds."""
    keys = ["prices", "protocol", "model", "sample", "metric"]
    grouped = scores.groupby(keys, sort=False)["value"]
    return grouped.agg(
        median="median",
        low=lambda values: values.quantile(0.05),
        high=lambda values: values.quantile(0.95),
        seeds="count",
    ).reset_index()


def baseline_frame(economy: Economy) -> pd.DataFrame:
    """Baselines on the validation years: prices, protocol (what they know), baseline, mape, r2."""
    rows = []
    horizon = economy.num_data - economy.num_training

    def add(base: int, protocol: str, name: str, path: np.ndarray) -> None:
        full = np.concatenate([economy.grp[base, : economy.num_training], path])
        values = score(economy, base, full, "validation")
        rows.append(
            (economy.bases[base], protocol, name, float(values["mape"]), float(values["r2"]))
        )

    for base in range(len(economy.bases)):
        known = jnp.asarray(economy.grp[base, : economy.num_training])
        for name, baseline in evaluate.BASELINES.items():
            add(base, "honest", name, np.asarray(baseline(known, horizon)))
        index = np.asarray(economy.observed.price_index)[base, economy.validation] / 100.0
        if not np.allclose(index, 1.0):
            add(
                base,
                "conditional",
                "last real value x actual price index",
                float(known[-1]) * np.cumprod(index),
            )
            ex_ante = np.asarray(economy.ex_ante.price_index)[base, economy.validation] / 100.0
            add(
                base,
                "honest",
                "last real value x AR(1) price index",
                float(known[-1]) * np.cumprod(ex_ante),
            )
        else:
            add(base, "conditional", "last value", np.repeat(float(known[-1]), horizon))
        add(base, "conditional", "log-linear production function", _production(economy, base))
        one_step = economy.grp[base, economy.num_training - 1 : economy.num_data - 1]
        add(base, "knows last year's GRP", "one-step last value", one_step)
    return pd.DataFrame(rows, columns=["prices", "protocol", "baseline", "mape", "r2"])


def ar1_table(economy: Economy) -> pd.DataFrame:
    """AR(1) of every factor: roots, one-step errors in the data, error of the path ahead."""
    rows = []
    for j, name in enumerate(economy.factor_names):
        series = np.asarray(economy.observed.factors)[0, : economy.num_data, j]
        path = np.asarray(economy.ex_ante.factors)[0, economy.validation, j]
        cells: list[object] = [name]
        for known in (series, series[: economy.num_training]):
            model = evaluate.ar1(known, 1)
            cells += [float(model.root), float(evaluate.mape(known[1:], model.fitted[1:]))]
        cells.append(float(evaluate.mape(series[economy.validation], path)))
        rows.append((*cells, economy.factor_status[name]))
    columns = [
        "factor",
        "root (all years)",
        "MAPE (all years)",
        "root (training)",
        "MAPE (training)",
    ]
    return pd.DataFrame(rows, columns=[*columns, "MAPE of the path ahead", "forecast by"])


def _production(economy: Economy, base: int) -> np.ndarray:
    """log GRP on the logs of the positive factors but the price index, by least squares."""
    factors = np.asarray(economy.observed.factors)[base]
    columns = [
        j
        for j in range(factors.shape[1])
        if j != economy.index_factor and (factors[:, j] > 0).all()
    ]
    design = np.column_stack([np.ones(len(factors)), np.log(factors[:, columns])])
    train = slice(0, economy.num_training)
    weights, *_ = np.linalg.lstsq(design[train], np.log(economy.grp[base, train]), rcond=None)
    return np.exp(design[economy.validation] @ weights)
