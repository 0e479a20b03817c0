"""Sensitivities, Shapley values, factor scenarios, marginal values and cheapest paths, shares of
balances by factor."""

from diffmig.explain.balance_shares import (
    BalanceShares,
    Effect,
    balance_shares,
    force_effect,
    yearly_force,
)
from diffmig.explain.change_band import LeastChangeBand, least_change_band, relative_target
from diffmig.explain.human_capital import MarginalValues, adjoint_values, marginal_values
from diffmig.explain.least_change import (
    CHANGE_STATUS,
    LeastChange,
    least_change,
    least_changes,
)
from diffmig.explain.least_cost import PATH_STATUS, LeastCost, least_cost
from diffmig.explain.past_effect import PastEffect, past_effect
from diffmig.explain.permutation_shapley import SampledShapley, permutation_shapley
from diffmig.explain.policy import (
    POLICIES,
    Policy,
    PolicyConfig,
    cluster_policy,
    strongholds,
)
from diffmig.explain.scenarios import (
    GROWTH_QUANTILES,
    Scenario,
    ar1_scenario,
    constant_scenario,
    growth_scenario,
    growth_scenarios,
)
from diffmig.explain.sensitivity import (
    Sensitivity,
    ensemble_sensitivity,
    sensitivity,
    sensitivity_frame,
)
from diffmig.explain.shapley import MAX_FACTORS, Shapley, shapley_rows, shapley_values
from diffmig.explain.training_range import (
    Room,
    TrainingBox,
    check_inside,
    inside_box,
    inside_hull,
    outside_range,
    room,
    training_box,
)

__all__ = [
    "CHANGE_STATUS",
    "GROWTH_QUANTILES",
    "MAX_FACTORS",
    "PATH_STATUS",
    "POLICIES",
    "BalanceShares",
    "Effect",
    "LeastChange",
    "LeastChangeBand",
    "LeastCost",
    "MarginalValues",
    "PastEffect",
    "Policy",
    "PolicyConfig",
    "Room",
    "SampledShapley",
    "Scenario",
    "Sensitivity",
    "Shapley",
    "TrainingBox",
    "adjoint_values",
    "ar1_scenario",
    "balance_shares",
    "check_inside",
    "cluster_policy",
    "constant_scenario",
    "ensemble_sensitivity",
    "force_effect",
    "growth_scenario",
    "growth_scenarios",
    "inside_box",
    "inside_hull",
    "least_change",
    "least_change_band",
    "least_changes",
    "least_cost",
    "marginal_values",
    "outside_range",
    "past_effect",
    "permutation_shapley",
    "relative_target",
    "room",
    "sensitivity",
    "sensitivity_frame",
    "shapley_rows",
    "shapley_values",
    "strongholds",
    "training_box",
    "yearly_force",
]
