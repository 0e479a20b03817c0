"""Level, trend and seasonal filters, honest selection and weighting of them, intervals.

A filter is a `Smoother`: SES, HOLT ... or `holt_winters(12)`. `run_filter` gives its one-step
forecasts, `forecast_table` those of every origin; `rule_weights` chooses or weighs filters by their
errors so far; `conformal_intervals` adds intervals. `diffmig.fit` finds the weights of the filters
and puts all of it together for whole panels.
"""

from diffmig.smoothing.base import (
    Filtered,
    Smoother,
    advance,
    forecast_table,
    has_started,
    run_filter,
    sum_squares,
)
from diffmig.smoothing.best_start import BestStart, solve_start
from diffmig.smoothing.intervals import (
    Intervals,
    conformal_intervals,
    conformal_quantile,
    coverage,
    next_radius,
)
from diffmig.smoothing.losses import Loss, gaussian_deviance, multi_step_loss
from diffmig.smoothing.models import DAMPED, DRIFT, HOLT, NAIVE, SES, THETA, TRIGG_LEACH
from diffmig.smoothing.seasonal import holt_winters, seasonal_naive
from diffmig.smoothing.selection import (
    Rule,
    aggregation_rule,
    b_rule,
    cumulative_rule,
    equal_rule,
    first_weights,
    hindsight_bound,
    inverse_rule,
    own_gamma_rule,
    rule_weights,
    weighted_sum,
    window_rule,
)
from diffmig.smoothing.start import RULES, Start, is_honest, start_values

__all__ = [
    "DAMPED",
    "DRIFT",
    "HOLT",
    "NAIVE",
    "RULES",
    "SES",
    "THETA",
    "TRIGG_LEACH",
    "BestStart",
    "Filtered",
    "Intervals",
    "Loss",
    "Rule",
    "Smoother",
    "Start",
    "advance",
    "aggregation_rule",
    "b_rule",
    "conformal_intervals",
    "conformal_quantile",
    "coverage",
    "cumulative_rule",
    "equal_rule",
    "first_weights",
    "forecast_table",
    "gaussian_deviance",
    "has_started",
    "hindsight_bound",
    "holt_winters",
    "inverse_rule",
    "is_honest",
    "multi_step_loss",
    "next_radius",
    "own_gamma_rule",
    "rule_weights",
    "run_filter",
    "seasonal_naive",
    "solve_start",
    "start_values",
    "sum_squares",
    "weighted_sum",
    "window_rule",
]
