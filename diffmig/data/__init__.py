"""Panels, readers with row-level errors, bundled tables, splits, scalers and deflators."""

from .age_reader import read_population
from .ages import OPEN_AGE, AgeTable, age_labels, ages_to_frame, check_ages, check_totals
from .budgets import Budget, budget_to_frame, check_budget, read_budget
from .census import load_arctic, load_us_counties, load_us_states
from .deflators import implicit_deflator, price_factor, to_comparable_prices, to_current_prices
from .errors import DataError, Problem
from .packages import load_tsdata, load_wpp_population, tsdata_names, wpp_places
from .panel import Panel, check_panel, panel_to_frame, select, select_complete, to_device, variable
from .readers import panel_from_frame, read_panel
from .scalers import Scaler, fit_minmax, fit_standard, scale, unscale
from .series import SeriesPanel, SeriesSet, future_times, season_length, series_to_frame
from .series_reader import read_series
from .settlement_reader import read_settlements
from .settlements import Settlements, check_settlements, select_settlements
from .splits import Origin, rolling_origins, split_years
from .tables import (
    Erratum,
    errata,
    load_budget,
    load_growth_factors,
    load_population,
    load_population_changes,
    load_population_totals,
    load_printed,
    load_region_indicators,
    load_table,
    load_us_states_munnell,
    load_wage_example,
    package_file,
    table_names,
)
from .town_example import (
    TownExampleConfig,
    TownTruth,
    example_towns,
    true_town_balance,
)
from .town_tables import (
    load_kz_towns,
    load_kz_towns_balances,
    load_town_autocorrelations,
    load_town_clusters,
    load_town_correlations,
)

__all__ = [
    "OPEN_AGE",
    "AgeTable",
    "Budget",
    "DataError",
    "Erratum",
    "Origin",
    "Panel",
    "Problem",
    "Scaler",
    "SeriesPanel",
    "SeriesSet",
    "Settlements",
    "TownExampleConfig",
    "TownTruth",
    "age_labels",
    "ages_to_frame",
    "budget_to_frame",
    "check_ages",
    "check_budget",
    "check_panel",
    "check_settlements",
    "check_totals",
    "errata",
    "example_towns",
    "fit_minmax",
    "fit_standard",
    "future_times",
    "implicit_deflator",
    "load_arctic",
    "load_budget",
    "load_growth_factors",
    "load_kz_towns",
    "load_kz_towns_balances",
    "load_population",
    "load_population_changes",
    "load_population_totals",
    "load_printed",
    "load_region_indicators",
    "load_table",
    "load_town_autocorrelations",
    "load_town_clusters",
    "load_town_correlations",
    "load_tsdata",
    "load_us_counties",
    "load_us_states",
    "load_us_states_munnell",
    "load_wage_example",
    "load_wpp_population",
    "package_file",
    "panel_from_frame",
    "panel_to_frame",
    "price_factor",
    "read_budget",
    "read_panel",
    "read_population",
    "read_series",
    "read_settlements",
    "rolling_origins",
    "scale",
    "season_length",
    "select",
    "select_complete",
    "select_settlements",
    "series_to_frame",
    "split_years",
    "table_names",
    "to_comparable_prices",
    "to_current_prices",
    "to_device",
    "true_town_balance",
    "tsdata_names",
    "unscale",
    "variable",
    "wpp_places",
]
