"""Tables of the report."""

import numpy as np
import pandas as pd

from experiments.smoothing.config import Config
from experiments.smoothing.outlook import Outlook
from experiments.smoothing.study import AHEAD, ONE_STEP, Scores, tail_length
from experiments.smoothing.whole import Result

LENGTHS = ((0, 30), (30, 60), (60, 120), (120, 10_000))  # values of a series
NUM_DRAWN = 6
RULES = {"b": "selection", "inverse": "weighting"}


def accuracy_frame(scores: Scores) -> pd.DataFrame:
    """Errors of every method over the series of one source."""
    pick, rows = scores.usable, []
    sample = np.all([np.isfinite(e) for e in scores.rivals.values()], axis=0) & pick
    for k, name in enumerate(scores.methods):
        rows.append(
            {
                "source": scores.history.name,
                "method": name,
                "kind": "base model" if k < scores.num_models else "rule",
                "series": int(np.isfinite(scores.ahead[k]).sum()),
                "one_step_mase": _median(scores.one_step[k][pick]),
                "one_step_mape": _median(scores.one_step_percent[k][pick]),
                "mase": _median(scores.ahead[k]),
                "sample_mase": _median(scores.ahead[k][sample]) if scores.rivals else np.nan,
                "mean_mase": _mean(scores.ahead[k]),
                "smape": _mean(scores.symmetric[k]),
                "mape": _median(scores.percent[k]),
            }
        )
    for name, errors in scores.rivals.items():
        rows.append(
            {
                "source": scores.history.name,
                "method": name,
                "kind": "statsforecast",
                "series": int(np.isfinite(errors).sum()),
                "sample_mase": _median(errors[sample]),
            }
        )
    rows.append(
        {
            "source": scores.history.name,
            "method": "best of each row",
            "kind": "hindsight bound",
            "series": int(pick.sum()),
            "one_step_mase": _median(scores.hindsight[0][pick]),
            "one_step_mape": _median(scores.hindsight[1][pick]),
        }
    )
    return pd.DataFrame(rows)


def tests_frame(result: Result) -> pd.DataFrame:
    """One row per source, task, primary rule and other method."""
    rows = [
        {
            "source": c.source,
            "task": c.task,
            "rule": c.rule,
            "against": c.other,
            "outcome": c.outcome,
            "wins": f"{c.wins} of {c.num_series - c.ties}",
            "ties": c.ties,
            "unequal_median": c.direction,
            "median_difference": c.interval.median_difference,
            "low": c.interval.low,
            "high": c.interval.high,
            "holm_p": c.adjusted_p,
        }
        for c in result.comparisons
    ]
    columns = ["source", "task", "rule", "against", "outcome", "wins", "ties"]
    columns += ["unequal_median", "median_difference", "low", "high", "holm_p"]
    return pd.DataFrame(rows, columns=columns)


def lengths_frame(scores: Scores) -> pd.DataFrame:
    """Median MASE of the held-out rows by number of values: first base model, primary rules, equal
    weights."""
    count = scores.history.mask.sum(axis=0)
    shown = dict.fromkeys([0, scores.num_models, scores.num_models + 1, len(scores.methods) - 1])
    rows = []
    for low, high in LENGTHS:
        pick = scores.usable & (count >= low) & (count < high)
        if pick.any():
            label = f"{low}-{high - 1}" if high < LENGTHS[-1][1] else f"{low} and more"
            row = {"source": scores.history.name, "values": label, "series": int(pick.sum())}
            rows.append(row | {scores.methods[k]: _median(scores.ahead[k][pick]) for k in shown})
    return pd.DataFrame(rows)


def coverage_frame(config: Config, result: Result) -> pd.DataFrame:
    """Coverage of the intervals of the primary selection, one step ahead and furthest ahead."""
    rows = []
    for scores in result.scores:
        horizon = len(scores.history.future)
        cases = [(h, kind) for h in (1, horizon) for kind in ("split", "adaptive")]
        for (ahead, kind), shares in zip(cases, scores.coverage, strict=True):
            rows.append(
                {
                    "source": scores.history.name,
                    "intervals": f"{kind} conformal",
                    "horizon": ahead,
                    "nominal": 100 * config.level,
                    "mean_coverage": 100 * _mean(shares),
                    "series": int(np.isfinite(shares).sum()),
                }
            )
    return pd.DataFrame(rows)


def outlook_lines(config: Config, outlook: Outlook) -> pd.DataFrame:
    """The first series of the user with forecasts and intervals, one panel each."""
    panel, frames = outlook.panel, []
    for j, name in enumerate(panel.names[:NUM_DRAWN]):
        seen = np.flatnonzero(panel.mask[:, j])[-tail_length(panel) :]
        part = outlook.table[outlook.table[config.id_column] == name]
        label = f"{name}, unit of the data"
        frames.append(
            pd.DataFrame(
                {
                    "time": _position(panel.times[seen]),
                    "value": panel.values[seen, j],
                    "kind": "actual",
                }
            ).assign(panel=label, series="actual")
        )
        ahead = part.rename(columns={"forecast": "value"})[["value", "low", "high"]]
        when = _position(pd.Index(part[config.time_column]))
        frames.append(ahead.assign(time=when, panel=label, series="selective", kind="forecast"))
    return pd.concat(frames, ignore_index=True)


def _position(times: pd.Index) -> np.ndarray:
    """Years and fractions of dates; integer times as they are."""
    if not isinstance(times, pd.DatetimeIndex):
        return times.to_numpy(float)
    return times.year.to_numpy() + (times.day_of_year.to_numpy() - 1) / 365.25


def answer(result: Result) -> str:
    """What the run says, in one sentence."""
    if result.outlooks:
        count = sum(len(outlook.panel.names) for outlook in result.outlooks)
        return f"{count} series forecast with intervals (tables forecasts_*)."
    if not result.comparisons:
        return "Not measured: fewer than 6 series; for the study install diffmig[data]."
    parts = [
        f"{RULES[rule]} is better in {own['better']} and worse in {own['worse']} of "
        f"{own['all']} paired tests"
        for rule in RULES
        if (own := _count(result, rule, (ONE_STEP, AHEAD)))["all"]
    ]
    return f"Against base models, equal weights and peers {', '.join(parts)}."


def details(result: Result) -> str:
    """Where the primary rules beat what they choose from."""
    if not result.comparisons:
        return ""
    parts = [
        f"{RULES[rule]} {own['better']} better, {own['worse']} worse of {own['all']} ({task})"
        for task in (ONE_STEP, AHEAD)
        for rule in RULES
        if (own := _count(result, rule, (task,)))["all"]
    ]
    series = sum(len(s.history.names) for s in result.scores)
    sources = f"{len(result.scores)} source{'s' * (len(result.scores) > 1)}"
    return (
        f"{series} series of {sources}, each rule against base models, equal weights and peers, "
        f"paired tests after Holm's correction: {'; '.join(parts)}."
    )


def _count(result: Result, rule: str, tasks: tuple[str, ...]) -> dict[str, int]:
    own = [c for c in result.comparisons if c.task in tasks and c.rule.split("-")[0] == rule]
    outcomes = {name: sum(c.outcome == name for c in own) for name in ("better", "worse")}
    return outcomes | {"all": len(own)}


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.mean(finite)) if finite.size else float("nan")
