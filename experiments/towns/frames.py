"""Tables of known years and of those to come."""

import numpy as np
import pandas as pd

from diffmig import fit
from experiments.towns.inputs import Inputs
from experiments.towns.outlook import TREND
from experiments.towns.retrospective import DESCRIBED, DESCRIBED_LATER, HONEST, LAST
from experiments.towns.scores import accuracy
from experiments.towns.study import Result

SHOWN = 6  # towns in a grid of panels


def accuracy_frame(result: Result) -> pd.DataFrame:
    """Accuracy by cluster and year: what the paper prints, and what is left of it."""
    past, years = result.past, result.inputs.years
    rows = []
    for name in (DESCRIBED, DESCRIBED_LATER, HONEST, LAST):
        label = (
            result.structure if name in (DESCRIBED, DESCRIBED_LATER) else past.structure
        ).clusters.label
        for cluster in range(label.max() + 1):
            some = label == cluster
            for t, year in enumerate(past.years):
                value = accuracy(past.actual[t, some], past.forecasts[name][t, some])
                rows.append((name, cluster + 1, int(years[year]), value))
    return pd.DataFrame(rows, columns=["method", "cluster", "year", "accuracy"])


def against_frame(result: Result, cluster: int) -> pd.DataFrame:
    """Forecast against actual of the towns of a cluster, as described and honest."""
    past = result.past
    rows = []
    for panel, made in ((DESCRIBED, result.structure), (HONEST, past.structure)):
        some = made.clusters.label == cluster
        for t, year in enumerate(past.years):
            group = int(result.inputs.years[year])
            rows += [
                (panel, group, a, f)
                for a, f in zip(past.actual[t, some], past.forecasts[panel][t, some], strict=True)
            ]
    table = pd.DataFrame(rows, columns=["panel", "group", "actual", "forecast"])
    return table[np.isfinite(table["forecast"])]


def optimism_frame(result: Result) -> pd.DataFrame:
    """Errors of the kept networks where they were picked, by protocol, per problem's spread."""
    rows = []
    for name, made in (("as described", result.past.described), ("honest", result.past.honest)):
        kept = made.search.kept
        take = np.take_along_axis
        rows.append(
            {
                "protocol": name,
                "networks_tried": made.search.train_error.shape[1],
                "training_rmse": _rms(take(made.search.train_error, kept, 1)),
                "selection_rmse": _rms(take(made.search.selection_error, kept, 1)),
                "test_rmse": _rms(take(made.search.test_error, kept, 1)),
                "diverged": float(
                    (made.search.status == fit.NETWORK_STATUS.index("diverged")).mean()
                ),
            }
        )
    return pd.DataFrame(rows)


def _rms(squares: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(squares)))


def forecast_frame(result: Result) -> pd.DataFrame:
    """The paper's table 4: balances of the years after the data, trends kept, with intervals."""
    ahead, inputs = result.outlook, result.inputs
    mean = ahead.members[TREND].mean(axis=0)
    table: dict[str, object] = {
        "town": inputs.towns,
        "cluster": result.structure.clusters.label + 1,
        "last": inputs.balance[:, -1],
    }
    for h, year in enumerate(ahead.years):
        table |= {str(year): mean[:, h]}
    for h in (0, len(ahead.years) - 1):
        table |= {
            f"{ahead.years[h]}_low": ahead.low[:, h],
            f"{ahead.years[h]}_high": ahead.high[:, h],
        }
    return pd.DataFrame(table).sort_values(["cluster", "town"], ignore_index=True)


def scenario_frame(result: Result) -> pd.DataFrame:
    """Sum of balances by scenario and year, median and 90 % of the networks."""
    ahead = result.outlook
    rows = []
    for name, members in ahead.members.items():
        total = members.sum(axis=1)
        low, middle, high = np.quantile(total, [0.05, 0.5, 0.95], axis=0)
        for h, year in enumerate(ahead.years):
            rows.append(
                (name, "forecast", int(year), middle[h], low[h], high[h], ahead.beyond[name][h])
            )
    last = int(result.inputs.years[-1])
    rows += [
        ("data", "actual", int(y), v, np.nan, np.nan, np.nan)
        for y, v in zip(result.inputs.years, result.inputs.balance.sum(axis=0), strict=True)
        if y > last - 6
    ]
    columns = ["series", "kind", "year", "value", "low", "high", "outside_range"]
    return pd.DataFrame(rows, columns=columns)


def scenario_town_frame(result: Result) -> pd.DataFrame:
    """Balances of the last forecast year by town and scenario, against trends kept."""
    ahead, inputs = result.outlook, result.inputs
    last = {name: members[:, :, -1] for name, members in ahead.members.items()}
    table: dict[str, object] = {"town": inputs.towns, TREND: last[TREND].mean(axis=0)}
    for name in (n for n in last if n != TREND):
        gain = last[name] - last[TREND]
        mean = gain.mean(axis=0)
        table[f"{name}: difference"] = mean
        agreed = (np.sign(gain) == np.sign(mean)).mean(axis=0)
        table[f"agree: {name}"] = np.where(mean == 0, np.nan, agreed)
    return pd.DataFrame(table).sort_values("town", ignore_index=True)


def town_lines(result: Result) -> pd.DataFrame:
    """Data, retrospective and coming years of some towns."""
    inputs, past, ahead = result.inputs, result.past, result.outlook
    rows = []
    for i in shown_towns(inputs):
        panel = inputs.towns[i]
        rows += [
            (panel, "data", "actual", int(y), v, np.nan, np.nan)
            for y, v in zip(inputs.years, inputs.balance[i], strict=True)
        ]
        rows += [
            (panel, "one year ahead, honest", "fitted", int(inputs.years[y]), v, np.nan, np.nan)
            for y, v in zip(past.years, past.forecasts[HONEST][:, i], strict=True)
        ]
        mean = ahead.members[TREND].mean(axis=0)[i]
        rows += [
            (panel, "trend kept", "forecast", int(y), *v)
            for y, v in zip(
                ahead.years, np.stack([mean, ahead.low[i], ahead.high[i]], 1), strict=True
            )
        ]
    return pd.DataFrame(rows, columns=["panel", "series", "kind", "year", "value", "low", "high"])


def shown_towns(inputs: Inputs) -> list[int]:
    """Towns with the largest gains and losses."""
    order = np.argsort(inputs.balance.mean(axis=1))
    half = min(SHOWN, len(order)) // 2
    return [int(i) for i in np.unique(np.r_[order[-half:][::-1], order[:half]])]
