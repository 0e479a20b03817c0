"""What the paper on single-industry towns prints: coordinates, balances and its four tables."""

from importlib import resources

import pandas as pd

from .panel import Panel, check_panel
from .readers import read_panel
from .tables import bundled_file, bundled_numbers, errata


def load_kz_towns() -> pd.DataFrame:
    """Coordinates and population of 27 single-industry towns of Kazakhstan.

    Returns:
        row per town (the index), in the order of the paper's table 4, float64 columns latitude,
        longitude (degrees) and population (persons, NaN for Serebryansk, where none is given; the
        years differ and are not told).

    Source: GeoNames (geonames.org), CC BY 4.0; the towns are those of Mishchenko et al., 2024.
    """
    towns = bundled_numbers("kz_towns.csv", text=("town",)).set_index("town")
    return towns.assign(population=towns["population"].where(towns["population"] > 0.0))


def load_kz_towns_balances(*, corrected: bool = False) -> Panel:
    """Migration balance of 27 single-industry towns of Kazakhstan as printed: model output.

    No data: 2023 and 2024 are estimates, 2025 and 2026 forecasts of the paper's networks.

    Args:
        corrected: Zhanaozen and Tekeli in persons, as `errata("kz_towns_balance")` says. They look
            like thousands of persons; all other towns are in persons.

    Returns:
        panel, variable "balance", persons/year, + is a gain; towns sorted by name, 2023-2026.

    Source: Mishchenko et al., 2024, table 4.
    """
    with resources.as_file(bundled_file("kz_towns_balance.csv")) as path:
        panel = read_panel(path, place_column="town", value_column="balance")
    values = panel.values.copy()
    for entry in errata("kz_towns_balance") if corrected else ():
        if entry.used != entry.printed and entry.year is not None and entry.column is not None:
            year = entry.year - panel.years[0]
            values[panel.places.index(entry.column), year, 0] = float(entry.used)
    return check_panel(panel._replace(values=values, units=("persons/year",)))


def load_town_correlations() -> pd.DataFrame:
    """Correlation of the migration balance with twelve factors, as printed.

    Returns:
        row per factor (the index, short names), in the order of the paper: name (as printed) and
        correlation, 1. `errata("towns")` says what is unclear.

    Source: Mishchenko et al., 2024, table 1.
    """
    return bundled_numbers("towns_correlations.csv", text=("factor", "name")).set_index("factor")


def load_town_autocorrelations() -> pd.DataFrame:
    """Autocorrelations of the migration balance of the 27 towns, as printed.

    Returns:
        row per town (the index), column per lag 1-5 (years, int), 1. The rows of the paper carry no
        names: those of table 4 are ASSUMED in its order. The colour that marks significant ones is
        not kept.

    Source: Mishchenko et al., 2024, table 2.
    """
    rows = bundled_numbers("towns_autocorrelations.csv", text=("row",)).drop(columns="row")
    rows.columns = pd.Index([int(lag) for lag in rows.columns], name="lag")
    return rows.set_index(load_kz_towns().index)


def load_town_clusters() -> pd.DataFrame:
    """Clusters of the 27 towns, as printed.

    Returns:
        row per town (the index), in the order of the paper: cluster (int64, 1-3) and distance (from
        its centre; unit and standardisation are not told).

    Source: Mishchenko et al., 2024, table 3.
    """
    rows = bundled_numbers("towns_clusters.csv", text=("town",)).set_index("town")
    return rows.astype({"cluster": "int64"})
