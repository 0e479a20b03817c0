"""Tables of factors, memory and clusters."""

import numpy as np
import pandas as pd

from diffmig import towns as tw
from experiments.towns.study import Result


def screening_frame(result: Result) -> pd.DataFrame:
    """Every factor inside towns and of the country, and what is kept."""
    inputs, made = result.inputs, result.structure
    inside, national = made.screening, made.national
    early = result.past.structure
    return pd.DataFrame(
        {
            "factor": inputs.names,
            "r_within": inside.correlation,
            "low": inside.low,
            "high": inside.high,
            "adjusted_p": inside.adjusted,
            "rows": inside.num_rows,
            "kept": [i in made.kept for i in range(len(inputs.names))],
            "kept_before_tests": [i in early.kept for i in range(len(inputs.names))],
            "r_national": national.correlation,
            "national_rows": national.num_rows,
            "kept_as_described": national.kept,
            "note": [tw.SCREENING_STATUS[s] for s in inside.status],
        }
    ).sort_values("adjusted_p", ignore_index=True)


def memory_frame(result: Result) -> pd.DataFrame:
    """Autocorrelation by lag over towns, both estimators, with bounds and critical values."""
    found, num_years = result.memory, result.inputs.years.size
    lags = np.arange(1, found.pairwise.coefficient.shape[1] + 1)
    return pd.DataFrame(
        {
            "lag": lags,
            "pairwise_mean": np.nanmean(found.pairwise.coefficient, axis=0),
            "critical": tw.critical_autocorrelation(num_years, lags),
            "towns_that_pass": found.window.num_passing,
            "towns_needed": found.window.threshold.astype(int),
            "biased_mean": np.nanmean(found.biased.coefficient, axis=0),
            "biased_bound": tw.autocorrelation_bound(num_years, lags),
        }
    )


def cluster_frame(result: Result) -> pd.DataFrame:
    """Towns, their cluster, distances from its centre, silhouette."""
    made, inputs = result.structure.clusters, result.inputs
    table = pd.DataFrame(
        {
            "town": inputs.towns,
            "cluster": made.label + 1,
            "distance": made.distance_per_factor,
            "silhouette": made.silhouette,
            "mean_rate": inputs.rate.mean(axis=1),
        }
    )
    return table.sort_values(["cluster", "town"], ignore_index=True)


def number_frame(result: Result) -> pd.DataFrame:
    """What speaks for each number of clusters."""
    found = result.num_clusters
    return pd.DataFrame(
        {
            "clusters": found.num_clusters,
            "silhouette": found.silhouette,
            "inertia": found.inertia,
            "rand_index": found.stability.median,
            "rand_low": found.stability.lower,
            "rand_high": found.stability.upper,
        }
    )
