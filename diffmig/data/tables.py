"""Bundled tables: what the papers print, their errata, and data that other packages carry."""

import importlib.util
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from .age_reader import read_population
from .ages import AgeTable
from .budgets import Budget, check_budget, read_budget
from .errors import DataError, Problem
from .panel import Panel, check_panel
from .readers import read_panel
from .textfile import read_text_table


class Erratum(NamedTuple):
    """A printed entry that does not hold as it stands.

    `year` and `column` say which cell of the bundled table it concerns; None where it concerns
    more, or the text. `used` differs from `printed` only where a cell is corrected.
    """

    place_in_table: str
    year: int | None
    column: str | None
    printed: str
    used: str
    reason: str


class _Table(NamedTuple):
    place: str
    units: dict[str, str]


_TABLES = {
    "grp_udmurt": _Table(
        "Udmurt Republic",
        {
            "grp_current": "bn RUB, current prices",
            "fixed_assets": "bn RUB, residual value at the end of the year",
            "labour": "thousand persons, annual mean",
            "deflator": "% of the previous year",
            "high_tech_share": "% of GRP",
            "grp_2023_prices": "bn RUB, 2023 prices",
        },
    )
}
_PRINTED = ("grp", "smoothing", "human_capital", "migration", "towns")
_ERRATA = (*_TABLES, "smoothing", "human_capital", "kz_towns_balance", "towns")
_REGIONS = {"udmurt": "Udmurt Republic"}  # those with ages and a budget
_MUNNELL = {
    "GSP": ("grp", "million USD of 1982"),
    "PC": ("private_capital", "million USD of 1982"),
    "P_CAP": ("public_capital", "million USD of 1982"),
    "EMP": ("labour", "thousand persons"),
    "UNEMP": ("unemployment", "%"),
}


def table_names() -> tuple[str, ...]:
    """Names of the bundled panels."""
    return tuple(_TABLES)


def load_table(name: str, *, corrected: bool = True) -> Panel:
    """A bundled panel.

    Args:
        name: one of `table_names()`.
        corrected: replace the printed cells for which `errata(name)` gives another value.

    Returns:
        panel with units.

    Raises:
        ValueError: no such table.

    Source: the README beside the tables.
    """
    table = _TABLES[_choose("table", name, _TABLES)]
    with resources.as_file(bundled_file(f"{name}.csv")) as path:
        panel = read_panel(path, variables=list(table.units), units=table.units)
    values = panel.values.copy()
    for entry in errata(name) if corrected else ():
        if entry.used != entry.printed and entry.year is not None and entry.column is not None:
            values[0, entry.year - panel.years[0], panel.names.index(entry.column)] = float(
                entry.used
            )
    return check_panel(panel._replace(values=values, places=(table.place,)))


def errata(name: str) -> tuple[Erratum, ...]:
    """What does not hold in a bundled table and in the text about it, in the order of the paper.

    Args:
        name: "grp_udmurt"; "smoothing" for the wage example, the indicators of regions and the
            growth factors, whose loaders give every cell as printed; "human_capital", whose columns
            are lines of `load_budget`; "kz_towns_balance", whose columns are towns; or "towns", the
            rest of the same paper, whose columns are towns or factors.

    Raises:
        ValueError: no such table.
    """
    rows = _load_text(f"{_choose('table', name, _ERRATA)}_errata.csv")
    return tuple(
        Erratum(
            row["place_in_table"],
            int(row["year"]) if row["year"] else None,
            row["column"] or None,
            row["printed"],
            row["used"],
            row["reason"],
        )
        for row in rows.to_dict("records")
    )


def load_printed(name: str) -> pd.DataFrame:
    """Every number and checkable claim that a paper prints about its results.

    Args:
        name: "grp", "smoothing", "human_capital", "migration" or "towns" (all but its tables 1-4,
            which have loaders of their own).

    Returns:
        text columns: id (unique, for example "table3.ba_lstm.current.validation.mape",
        "table1.holt.forecast.t16" or "table.health.region.2010"), place (in the paper), quantity,
        unit ("claim" where `printed` is "true"), printed (as printed, decimals kept, with a decimal
        point), and, "" where it does not apply, model, prices ("current", "2023", "comparable"
        where the base year is not said), sample ("train", "validation", "forecast").

    Raises:
        ValueError: no such paper.
    """
    return _load_text(f"{_choose('paper', name, _PRINTED)}_printed.csv")


def load_wage_example() -> pd.DataFrame:
    """Mean wage in the Kharkiv region and its one-step forecasts, as printed.

    Returns:
        11 rows, columns period (15-25: months from January 2016), actual, ses_forecast,
        holt_forecast, selective_forecast (UAH per month), ses_error, holt_error (absolute error, %
        of actual, NaN in period 25, where none is printed), chosen ("SES" or "Holt": the base model
        whose forecast the selective model takes).

    Source: Chagovets et al., 2020, tables 1 and 2.
    """
    return bundled_numbers("smoothing_wage.csv", text=("chosen",)).astype({"period": "int64"})


def load_region_indicators() -> pd.DataFrame:
    """Fourteen indicators of the 24 regions of Ukraine, forecast for 2018-2019, as printed.

    Returns:
        row per region (the index), column per indicator, in the order of the paper: x4, x14, x18,
        x26, x29, x40, x46, x55, x60, x43, x44, x47, x51, x50. Their meaning stands in the README
        beside the tables; x44 has negative values.

    Source: Chagovets et al., 2020, tables 3 and 4.
    """
    return bundled_numbers("smoothing_regions.csv", text=("region",)).set_index("region")


def load_growth_factors() -> pd.DataFrame:
    """Forecast growth of nine indicators in seven regions of high development, as printed.

    Returns:
        18 rows, columns indicator (names as in `load_region_indicators`), period (25, 26: the years
        2018, 2019) and one per region: value over that of the year before, 1.

    Source: Chagovets et al., 2020, table 5.
    """
    return bundled_numbers("smoothing_growth.csv", text=("indicator",)).astype({"period": "int64"})


def load_budget(name: str = "udmurt", *, corrected: bool = True) -> Budget:
    """Spending on human capital in the Udmurt Republic: 2000, 2005, 2010, 2015 and 2018.

    Args:
        name: "udmurt".
        corrected: book the 785.1 of "Other education matters" 2010 and the 30.0 by which the lines
            of health fall short in 2018 to "Other health spending", as `errata("human_capital")`
            says.

    Returns:
        22 lines in the order of the paper, million RUB in prices of each year, by component
        ("health", "education", "culture") and payer ("region", "federal", "private"); the federal
        lines have no figures before 2015.

    Raises:
        ValueError: no such budget.

    Source: Vavilova, Ketova, 2020, the only table.
    """
    _choose("budget", name, _REGIONS)
    with resources.as_file(bundled_file("human_capital_budget.csv")) as path:
        budget = read_budget(path, encoding="utf-8", delimiter=",", decimal=".")
    amounts = budget.amounts.copy()
    for entry in errata("human_capital") if corrected else ():
        if entry.used != entry.printed and entry.year is not None and entry.column is not None:
            year = budget.years.tolist().index(entry.year)
            amounts[budget.lines.index(entry.column), year] = float(entry.used)
    return check_budget(budget._replace(amounts=amounts))


def load_population(name: str = "udmurt") -> AgeTable:
    """Mean annual population of the Udmurt Republic by age: 2000, 2005, 2010 and 2014.

    Args:
        name: "udmurt".

    Returns:
        table, both sexes, 19 groups 0, 1-4, 5-9, ..., 80-84, 85+, persons.

    Raises:
        ValueError: no such population.

    Source: Center for Demographic Research, New Economic School, Russian Fertility and Mortality
    Database (RusFMD).
    """
    place = _REGIONS[_choose("population", name, _REGIONS)]
    with resources.as_file(bundled_file(f"population_{name}.csv")) as path:
        table = read_population(path, encoding="utf-8", delimiter=",", decimal=".")
    return table._replace(places=(place,))


def load_population_totals() -> pd.DataFrame:
    """Population of the Udmurt Republic on 1 January: 2000, 2005 and 2012-2020.

    Returns:
        int64 columns year, total (persons).

    Source: Federal State Statistics Service (Rosstat).
    """
    return bundled_numbers("population_udmurt_totals.csv", text=()).astype("int64")


def load_population_changes() -> pd.DataFrame:
    """Births, deaths and net migration of the Udmurt Republic, 2012-2015.

    Returns:
        int64 columns year, births, deaths, net_migration (persons/year, + is a gain). They close
        the balance of `load_population_totals` to the person in 2012 and 2013, and leave -72 in
        2014 and 6 in 2015.

    Source: Federal State Statistics Service (Rosstat).
    """
    return bundled_numbers("population_udmurt_changes.csv", text=()).astype("int64")


def package_file(package: str, relative_path: str) -> Path:
    """Path of a data file inside an installed package, found without importing the package.

    Args:
        package: name of a top-level package.
        relative_path: the file, relative to the package's folder.

    Raises:
        ValueError: `package` is not a top-level name, whose lookup would import its parents.
        DataError: the package or the file is not there.
    """
    if not package.isidentifier():
        raise ValueError(f"package: expected a top-level import name, got {package!r}")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder, relative_path)).is_file():
            return path
    what = f"{package} has no such file" if spec else f"the package {package} is not installed"
    raise DataError([Problem(None, None, None, what, 'pip install "diffmig[data]"')], relative_path)


def load_us_states_munnell() -> Panel:
    """Product, capital, labour and unemployment of the 48 contiguous US states, 1970-1986.

    Returns:
        panel, variables grp, private_capital, public_capital (million USD of 1982), labour
        (thousand persons, payroll employment outside farming), unemployment (%).

    Raises:
        DataError: the package `linearmodels`, which carries the file, is not installed.

    Source: Munnell (1990), Why has productivity growth declined? Productivity and public
    investment, New England Economic Review, January/February, 3-22.
    """
    panel = read_panel(
        package_file("linearmodels", "datasets/munnell/munnell.csv.bz2"),
        place_column="STATE",
        year_column="YR",
        variables=list(_MUNNELL),
    )
    return panel._replace(
        places=tuple(place.replace("_", " ").title() for place in panel.places),
        names=tuple(name for name, _ in _MUNNELL.values()),
        units=tuple(unit for _, unit in _MUNNELL.values()),
    )


def bundled_numbers(file: str, text: tuple[str, ...]) -> pd.DataFrame:
    """A bundled table; float64, NaN where a cell is empty, except in the columns `text`."""
    frame = _load_text(file)
    numbers = {
        name: pd.to_numeric(frame[name].replace("", None)).astype("float64")
        for name in frame.columns
        if name not in text
    }
    return frame.assign(**numbers)


def _choose(kind: str, name: str, names: Mapping[str, object] | tuple[str, ...]) -> str:
    if name not in names:
        raise ValueError(f"{kind}: expected one of {tuple(names)}, got {name!r}")
    return name


def bundled_file(file: str) -> resources.abc.Traversable:
    """A file of the folder of bundled tables."""
    return resources.files(__package__) / "tables" / file


def _load_text(file: str) -> pd.DataFrame:
    with resources.as_file(bundled_file(file)) as path:
        table = read_text_table(path, "utf-8", ",")
    if table.problems:
        raise DataError(table.problems, file)
    return table.frame.astype(object)
