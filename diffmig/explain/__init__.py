"""Sensitivities, Shapley values and factor scenarios."""

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
from diffmig.explain.shapley import MAX_FACTORS, Shapley, shapley_values

__all__ = [
    "GROWTH_QUANTILES",
    "MAX_FACTORS",
    "Scenario",
    "Sensitivity",
    "Shapley",
    "ar1_scenario",
    "constant_scenario",
    "ensemble_sensitivity",
    "growth_scenario",
    "growth_scenarios",
    "sensitivity",
    "sensitivity_frame",
    "shapley_values",
]
