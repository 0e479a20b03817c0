"""What goes with the balance of towns, how long it remembers, and which towns are alike."""

from diffmig.towns.autocorrelation import (
    AUTOCORRELATION_STATUS,
    WINDOW_STATUS,
    Autocorrelations,
    Window,
    autocorrelation_bound,
    autocorrelations,
    choose_window,
    critical_autocorrelation,
)
from diffmig.towns.cluster_stability import (
    NumClusters,
    Stability,
    adjusted_rand_index,
    choose_num_clusters,
    stability,
)
from diffmig.towns.clustering import ClusterConfig, Clustering, cluster, silhouette
from diffmig.towns.screening import (
    SCREENING_STATUS,
    Screening,
    adjust_p_values,
    critical_correlation,
    judge_correlations,
    pearson,
    screen,
    within_pearson,
)

__all__ = [
    "AUTOCORRELATION_STATUS",
    "SCREENING_STATUS",
    "WINDOW_STATUS",
    "Autocorrelations",
    "ClusterConfig",
    "Clustering",
    "NumClusters",
    "Screening",
    "Stability",
    "Window",
    "adjust_p_values",
    "adjusted_rand_index",
    "autocorrelation_bound",
    "autocorrelations",
    "choose_num_clusters",
    "choose_window",
    "cluster",
    "critical_autocorrelation",
    "critical_correlation",
    "judge_correlations",
    "pearson",
    "screen",
    "silhouette",
    "stability",
    "within_pearson",
]
