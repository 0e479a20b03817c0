"""Sensitivities local and global, Shapley values, factor scenarios, marginal values and cheapest
paths, shares of balances by factor."""

from diffmig.explain.balance_shares import (
    BalanceShares,
    Effect,
    balance_shares,
    force_effect,
    yearly_force,
)
from diffmig.explain.chain import (
    ChainDrivers,
    ChainParameters,
    ChainPath,
    ChainRegion,
    ChainState,
    ChainYear,
    calibrate_chain,
    chain_step,
    joined_chain,
)
from diffmig.explain.chain_links import balance_step, production, rogers_castro
from diffmig.explain.change_band import LeastChangeBand, least_change_band, relative_target
from diffmig.explain.derivative_measures import (
    DerivativeMeasures,
    derivative_frame,
    derivative_measures,
)
from diffmig.explain.gradient_error import GRADIENT_STATUS, GradientError, error_of_gradient
from diffmig.explain.human_capital import MarginalValues, adjoint_values, marginal_values
from diffmig.explain.input_box import InputBox, box_fn, num_inputs, sobol_points
from diffmig.explain.least_change import (
    CHANGE_STATUS,
    LeastChange,
    least_change,
    least_changes,
)
from diffmig.explain.least_cost import PATH_STATUS, LeastCost, least_cost
from diffmig.explain.morris import (
    EFFECT_STATUS,
    MorrisEffects,
    morris_effects,
    morris_frame,
    morris_trajectories,
)
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
from diffmig.explain.second_order import (
    MOST_INPUTS,
    SecondOrder,
    hessian_diagonal,
    hessian_vector_product,
    second_order,
    second_order_frame,
)
from diffmig.explain.sensitivity import (
    Sensitivity,
    ensemble_sensitivity,
    sensitivity,
    sensitivity_frame,
)
from diffmig.explain.shapley import MAX_FACTORS, Shapley, shapley_rows, shapley_values
from diffmig.explain.sobol_indices import (
    FIRST_ORDER,
    VARIANCE_STATUS,
    SobolIndices,
    sobol_frame,
    sobol_indices,
    sobol_pairs_frame,
)
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
    "EFFECT_STATUS",
    "FIRST_ORDER",
    "GRADIENT_STATUS",
    "GROWTH_QUANTILES",
    "MAX_FACTORS",
    "MOST_INPUTS",
    "PATH_STATUS",
    "POLICIES",
    "VARIANCE_STATUS",
    "BalanceShares",
    "ChainDrivers",
    "ChainParameters",
    "ChainPath",
    "ChainRegion",
    "ChainState",
    "ChainYear",
    "DerivativeMeasures",
    "Effect",
    "GradientError",
    "InputBox",
    "LeastChange",
    "LeastChangeBand",
    "LeastCost",
    "MarginalValues",
    "MorrisEffects",
    "PastEffect",
    "Policy",
    "PolicyConfig",
    "Room",
    "SampledShapley",
    "Scenario",
    "SecondOrder",
    "Sensitivity",
    "Shapley",
    "SobolIndices",
    "TrainingBox",
    "adjoint_values",
    "ar1_scenario",
    "balance_shares",
    "balance_step",
    "box_fn",
    "calibrate_chain",
    "chain_step",
    "check_inside",
    "cluster_policy",
    "constant_scenario",
    "derivative_frame",
    "derivative_measures",
    "ensemble_sensitivity",
    "error_of_gradient",
    "force_effect",
    "growth_scenario",
    "growth_scenarios",
    "hessian_diagonal",
    "hessian_vector_product",
    "inside_box",
    "inside_hull",
    "joined_chain",
    "least_change",
    "least_change_band",
    "least_changes",
    "least_cost",
    "marginal_values",
    "morris_effects",
    "morris_frame",
    "morris_trajectories",
    "num_inputs",
    "outside_range",
    "past_effect",
    "permutation_shapley",
    "production",
    "relative_target",
    "rogers_castro",
    "room",
    "second_order",
    "second_order_frame",
    "sensitivity",
    "sensitivity_frame",
    "shapley_rows",
    "shapley_values",
    "sobol_frame",
    "sobol_indices",
    "sobol_pairs_frame",
    "sobol_points",
    "strongholds",
    "training_box",
    "yearly_force",
]
