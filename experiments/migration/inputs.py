"""Balances, coordinates and features of the places, bundled, packaged or of the user."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffmig import data
from diffmig import migration as mg
from experiments import _settlements as settlements
from experiments.migration.config import Config

CENSUS_FEATURES = ("birth_rate", "death_rate", "log_population")
# middle of the broad ages of Russian statistics: below 16, working, beyond (56 to 61 and older)
BROAD_AGES = {"share_under_working_age": 8.0, "share_working_age": 38.0,
              "share_over_working_age": 70.0}  # fmt: skip
ROUNDED = 1e-9  # of the sum of sizes: a sum of balances below it is zero


class Inputs(NamedTuple):
    """What the study knows.

    Attributes:
        places: [place].  years: [year].
        latitude, longitude: degrees, [place].
        balance: persons a year, [place, year].
        scale: persons per unit of the rate, a thousandth of the mean population, [place].
        rate: q = balance / scale, per mille of the mean population a year, [place, year].
        unit: of the rate.
        features: [place, year, factor]; every cell observed.  feature_names: [factor].
        immobility: 1 - A, [place]; None where nothing is known of ages.
        closed: balances sum to zero in every year.
        source: for figures.  note: what was noticed.
        left_out: place and reason.
    """

    places: tuple[str, ...]
    years: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    balance: np.ndarray
    scale: np.ndarray
    rate: np.ndarray
    unit: str
    features: np.ndarray
    feature_names: tuple[str, ...]
    immobility: np.ndarray | None
    closed: bool
    source: str
    note: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def load(data_file: Path | None, config: Config) -> Inputs:
    """All data of the experiment.

    Raises:
        DataError: a file cannot be read, or the choices do not fit the data.
    """
    settlements.check_factors(config, config.features)
    if data_file is None:
        return make_inputs(config, *_packaged(config))
    extra = [*config.features, *([config.immobility_column] if config.immobility_column else [])]
    return make_inputs(config, *settlements.read(data_file, config, extra))


def make_inputs(config: Config, known: data.Settlements, source: str) -> Inputs:
    """Rates, scales and complete features of the settlements."""
    panel = known.panel
    balance = data.variable(panel, "balance")
    notes = list(known.note)
    if "population" in panel.names:
        seen = panel.mask[:, :, panel.names.index("population")]
        residents = np.where(seen, data.variable(panel, "population"), np.nan)
        scale = np.nanmean(residents, axis=1) / 1000.0
        unit = "per mille of residents a year"
    else:
        scale = np.std(balance, axis=1)
        unit = "own standard deviations a year"
        notes.append(
            "no population: balances are divided by their own standard deviation, which is known "
            "only afterwards; give the column population for rates"
        )
    closed = bool((np.abs(balance.sum(axis=0)) <= ROUNDED * np.abs(balance).sum(axis=0)).all())
    if config.closed == "yes" and not closed:
        worst = int(np.abs(balance.sum(axis=0)).argmax())
        raise settlements.problem(
            f"balances of {panel.years[worst]} sum to {balance.sum(axis=0)[worst]:.0f}, not to 0",
            "take --config.closed auto",
        )
    names, features, dropped = _features(config, panel)
    notes += dropped
    immobility = _immobility(config, panel)
    if immobility is None:
        notes.append("age term not computed: the data have no ages")
    return Inputs(
        places=panel.places,
        years=panel.years,
        latitude=known.latitude,
        longitude=known.longitude,
        balance=balance,
        scale=scale,
        rate=balance / scale[:, None],
        unit=unit,
        features=features,
        feature_names=names,
        immobility=immobility,
        closed=closed and config.closed != "no",
        source=source,
        note=tuple(notes),
        left_out=known.left_out,
    )


def _packaged(config: Config) -> tuple[data.Settlements, str]:
    census = f"{settlements.CENSUS} ({config.balance})"
    if config.source == "states":
        return data.load_us_states(config.balance), census
    if config.source == "counties":
        return data.load_us_counties(config.balance), census
    return settlements.arctic()


def _features(config: Config, panel: data.Panel) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """Features in every cell; one with gaps is dropped with a note."""
    wanted = config.features or tuple(n for n in CENSUS_FEATURES if n in panel.names)
    missing = sorted(set(wanted) - set(panel.names))
    if missing:
        raise settlements.problem(
            f"features {missing} are not among {list(panel.names[1:])}", "set --config.features"
        )
    whole = {name: bool(panel.mask[:, :, panel.names.index(name)].all()) for name in wanted}
    notes = [f"feature {name} is left out: it has gaps" for name, ok in whole.items() if not ok]
    kept = tuple(name for name, ok in whole.items() if ok)
    columns = [data.variable(panel, name) for name in kept]
    shape = (*panel.mask.shape[:2], 0)
    return kept, np.stack(columns, axis=2) if columns else np.zeros(shape), notes


def _immobility(config: Config, panel: data.Panel) -> np.ndarray | None:
    """1 - A of every place, mean over its observed years."""
    if not config.age:
        return None
    if config.immobility_column in panel.names:
        column = data.variable(panel, config.immobility_column)
        seen = panel.mask[:, :, panel.names.index(config.immobility_column)]
        if not ((column >= 0) & (column <= 1)).all() or not seen.any(axis=1).all():
            raise settlements.problem(
                f"column {config.immobility_column!r} has values outside [0, 1], or a place "
                "without any",
                "give shares",
                "data",
            )
        return np.ma.masked_array(column, ~seen).mean(axis=1).filled(0.0)
    if not set(BROAD_AGES) <= set(panel.names):
        return None
    shares = np.stack([data.variable(panel, name) for name in BROAD_AGES], axis=2)
    seen = panel.mask[:, :, panel.names.index("share_working_age")]
    mobile = np.asarray(mg.mean_mobility(np.where(seen[:, :, None], shares, 1.0),
                                         np.array(list(BROAD_AGES.values()))))  # fmt: skip
    return 1.0 - np.ma.masked_array(mobile, ~seen).mean(axis=1).filled(0.5)
