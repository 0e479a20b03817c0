"""Tables of what the networks make of the factors."""

import numpy as np
import pandas as pd

from experiments.towns.networks import input_names
from experiments.towns.study import Result


def shapley_frame(result: Result) -> pd.DataFrame:
    """Mean absolute Shapley value of each factor by cluster, median and 90 % of the networks."""
    inputs, found = result.inputs, result.explanation
    names = input_names(result.outlook.networks, inputs)
    rows = []
    for cluster in range(result.structure.clusters.label.max() + 1):
        some = result.structure.clusters.label == cluster
        size = np.abs(found.shapley[:, some]).mean(axis=1)
        low, middle, high = np.quantile(size, [0.05, 0.5, 0.95], axis=0)
        rows += [
            (name, f"cluster {cluster + 1}", middle[k], low[k], high[k])
            for k, name in enumerate(names)
        ]
    return pd.DataFrame(rows, columns=["label", "series", "value", "low", "high"])


def elasticity_frame(result: Result) -> pd.DataFrame:
    """Change of the rate by 1 % more of a factor, by cluster: median town, 90 % of networks."""
    inputs, found = result.inputs, result.explanation
    rows = []
    last = inputs.factors[:, -1]
    for cluster in range(result.structure.clusters.label.max() + 1):
        some = result.structure.clusters.label == cluster
        for k, factor in enumerate(result.structure.kept):
            effect = 0.01 * found.slope[:, some, k] * last[some, factor]
            low, middle, high = np.quantile(np.median(effect, axis=1), [0.05, 0.5, 0.95])
            rows.append((cluster + 1, inputs.names[factor], middle, low, high))
    return pd.DataFrame(rows, columns=["cluster", "factor", "effect", "low", "high"])


def network_frame(result: Result, cluster: int) -> pd.DataFrame:
    """Weights of the best network of a cluster, standardised."""
    made = result.outlook.networks
    number = next(i for i, p in enumerate(made.problems) if p.cluster == cluster)
    ensemble = made.ensemble(number)
    first = np.asarray(ensemble.weights.first)[:, 1:, 0]
    second = np.asarray(ensemble.weights.second)[:, 0]
    names = input_names(made, result.inputs)
    rows = []
    for unit in range(int(np.asarray(ensemble.architecture.units)[0])):
        rows += [(n, f"unit {unit + 1}", w) for n, w in zip(names, first[unit], strict=True)]
        rows.append((f"unit {unit + 1}", "balance", second[unit]))
    return pd.DataFrame(rows, columns=["from", "to", "weight"])
