"""Panels, readers with row-level errors, bundled tables, splits, scalers and deflators."""

from .deflators import implicit_deflator, price_factor, to_comparable_prices, to_current_prices
from .errors import DataError, Problem
from .panel import Panel, check_panel, panel_to_frame, select, select_complete, to_device, variable
from .readers import panel_from_frame, read_panel
from .scalers import Scaler, fit_minmax, fit_standard, scale, unscale
from .splits import Origin, rolling_origins, split_years
from .tables import (
    Erratum,
    errata,
    load_printed,
    load_table,
    load_us_states_munnell,
    package_file,
    table_names,
)

__all__ = [
    "DataError",
    "Erratum",
    "Origin",
    "Panel",
    "Problem",
    "Scaler",
    "check_panel",
    "errata",
    "fit_minmax",
    "fit_standard",
    "implicit_deflator",
    "load_printed",
    "load_table",
    "load_us_states_munnell",
    "package_file",
    "panel_from_frame",
    "panel_to_frame",
    "price_factor",
    "read_panel",
    "rolling_origins",
    "scale",
    "select",
    "select_complete",
    "split_years",
    "table_names",
    "to_comparable_prices",
    "to_current_prices",
    "to_device",
    "unscale",
    "variable",
]
