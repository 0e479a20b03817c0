"""Tables of the inverse question and of what a past change has done."""

import numpy as np
import pandas as pd

from experiments.towns.networks import kept_names
from experiments.towns.past import PastChange
from experiments.towns.study import Result

# by status of `explain.least_change`
ANSWERS = ("reached", "cannot be reached", "not settled", "the networks' answer is not finite")


def lever_frame(result: Result) -> pd.DataFrame:
    """A row per town."""
    found, inputs = result.levers, result.inputs
    names = kept_names(result.outlook.networks, inputs)
    table: dict[str, object] = {
        "town": inputs.towns,
        "cluster": result.structure.clusters.label + 1,
        "baseline": found.baseline,
        "target": found.target,
        "brings": found.response,
        "networks_agree": found.agree,
        "answer": [ANSWERS[s] for s in found.status],
    }
    for k, name in enumerate(names):
        table[name] = [
            f"{value:+.3g}{'*' if at else ''}"
            for value, at in zip(found.change[:, k], found.active[:, k], strict=True)
        ]
    return pd.DataFrame(table).sort_values(["cluster", "town"], ignore_index=True)


def band_frame(result: Result) -> pd.DataFrame:
    """A row per town and factor, in standard deviations."""
    found, inputs = result.levers, result.inputs
    names = kept_names(result.outlook.networks, inputs)
    rows = [
        (
            town,
            name,
            *(part[i, k] / found.scale[i, k] for part in (found.change, found.low, found.high)),
        )
        for i, town in enumerate(inputs.towns)
        for k, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=["town", "factor", "change", "low", "high"])


def middle_frame(result: Result) -> pd.DataFrame:
    """Medians over the towns of a cluster that can reach their target."""
    found, inputs = result.levers, result.inputs
    names = kept_names(result.outlook.networks, inputs)
    rows = []
    label = result.structure.clusters.label
    for cluster in range(label.max() + 1):
        some = (label == cluster) & (found.status == 0)
        if not some.any():
            continue
        parts = [
            np.median(part[some] / found.scale[some], axis=0)
            for part in (found.change, found.low, found.high)
        ]
        rows += [
            (name, f"cluster {cluster + 1}", *(p[k] for p in parts)) for k, name in enumerate(names)
        ]
    if not rows:
        rows = [(name, "no town", 0.0, 0.0, 0.0) for name in names]
    return pd.DataFrame(rows, columns=["label", "series", "value", "low", "high"])


def cluster_lever_frame(result: Result) -> pd.DataFrame:
    """A row per cluster."""
    found, inputs = result.levers, result.inputs
    names = kept_names(result.outlook.networks, inputs)
    table: dict[str, object] = {
        "cluster": np.arange(len(found.cluster_status)) + 1,
        "target": found.cluster_target,
        "brings": found.cluster_response,
        "answer": [ANSWERS[s] for s in found.cluster_status],
    }
    table |= {name: found.cluster_change[:, k] for k, name in enumerate(names)}
    return pd.DataFrame(table)


def past_frame(result: Result, made: PastChange) -> pd.DataFrame:
    """Effect of the past change of a factor by town."""
    found = made.found
    table = pd.DataFrame(
        {
            "town": result.inputs.towns,
            "explained": found.explained,
            "low": found.explained_band.low,
            "high": found.explained_band.high,
            "whole": found.effect,
            "whole_low": found.band.low,
            "whole_high": found.band.high,
            "positive": found.positive,
        }
    )
    return table.sort_values("explained", ascending=False, ignore_index=True)
