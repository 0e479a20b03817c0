"""Balances and coordinates of the experiments on settlements: a file of the user or packaged."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from diffmig import data

CENSUS = "US Census Bureau, county components of change, Vintage 2019"


class Columns(Protocol):
    """What a config says about a data file."""

    @property
    def coordinates(self) -> str: ...
    @property
    def place_column(self) -> str: ...
    @property
    def year_column(self) -> str: ...
    @property
    def balance_column(self) -> str: ...
    @property
    def population_column(self) -> str: ...


def problem(what: str, cure: str, where: str = "config") -> data.DataError:
    """An error in the words of the data chapter."""
    return data.DataError([data.Problem(None, None, None, what, cure)], where)


def files(config: Columns) -> tuple[Path, ...]:
    """Further input files that the config names."""
    return (Path(config.coordinates),) if config.coordinates else ()


def check_factors(config: Columns, names: Sequence[str]) -> None:
    """Nothing if these columns can serve as factors.

    Raises:
        DataError: the target or its scale is among them.
    """
    parts = {config.balance_column, config.population_column, "balance", "population"}
    if taken := sorted(parts.intersection(names)):
        raise problem(
            f"{', '.join(taken)}: the balance is the target and population its scale, no factors",
            "name other columns",
        )


def read(
    data_file: Path,
    config: Columns,
    features: Sequence[str],
    *,
    same_coordinates: Literal["error", "keep"] = "error",
) -> tuple[data.Settlements, str]:
    """Settlements of a file and their source.

    Raises:
        DataError: with rows and columns.
    """
    settlements = data.read_settlements(
        data_file,
        config.coordinates or None,
        balance_column=config.balance_column,
        population_column=config.population_column,
        place_column=config.place_column,
        year_column=config.year_column,
        features=list(features),
        same_coordinates=same_coordinates,
    )
    return settlements, f"{data_file.name}; this run"


def arctic() -> tuple[data.Settlements, str]:
    """The Arctic municipalities and their source.

    Raises:
        DataError: the folder is not named.
    """
    folder = os.environ.get("DIFFMIG_TEST_DATA", "")
    if not folder:
        raise problem(
            "the Arctic municipalities are not packaged",
            "set DIFFMIG_TEST_DATA to the folder of arctic_municipal_panel_2010_2022.csv",
        )
    return data.load_arctic(folder), "Rosstat, municipal indicators"
