"""Balances and factors of the towns: synthetic, packaged or of the user."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from diffmig import data
from experiments import _settlements as settlements
from experiments.towns.config import Config

EXAMPLE_KEY = 7  # the panel is the same whatever the seed of the run
_NO_FACTORS = ("balance", "population")


class Inputs(NamedTuple):
    """What the study knows.

    Attributes:
        towns: [town].  years: [year].
        latitude, longitude: degrees, [town].
        balance: persons a year, [town, year].
        scale: thousands of residents in the first year, [town]; without population the mean size
            of the first half of the balances, so that rates are in units of it.
        unit: of balance / scale.
        factors: [town, year, factor], every cell observed.  names, units: [factor].
        truth: of the synthetic panel, None otherwise.
        source: for figures.  note: what was noticed.  left_out: town and reason.
    """

    towns: tuple[str, ...]
    years: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    balance: np.ndarray
    scale: np.ndarray
    unit: str
    factors: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    truth: data.TownTruth | None
    source: str
    note: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def rate(self) -> np.ndarray:
        """Balance / scale, [town, year]."""
        return self.balance / self.scale[:, None]

    def past_level(self, year: int) -> np.ndarray:
        """Mean rate of all years before the one with index `year`, [town]."""
        return self.rate[:, :year].mean(axis=1)


def load(data_file: Path | None, config: Config) -> Inputs:
    """All data of the experiment.

    Raises:
        DataError: a file cannot be read, or the choices do not fit the data.
    """
    settlements.check_factors(config, config.factors)
    if data_file is None:
        return _packaged(config)
    if not config.factors:
        raise settlements.problem(
            "no factors are named, and what moves people is not guessed",
            "name columns of the file: --config.factors wage unemployment",
        )
    found = settlements.read(data_file, config, config.factors, same_coordinates="keep")
    return make_inputs(config, *found, None)


def make_inputs(
    config: Config, known: data.Settlements, source: str, truth: data.TownTruth | None
) -> Inputs:
    """Rates and complete factors over the years in which all kept factors are observed.

    Raises:
        DataError: factors that are not there or constant everywhere, too few years or towns.
    """
    panel, notes = known.panel, list(known.note)
    wanted = config.factors or tuple(n for n in panel.names if n not in _NO_FACTORS)
    missing = sorted(set(wanted) - set(panel.names))
    if missing or not wanted:
        there = [n for n in panel.names if n not in _NO_FACTORS]
        raise settlements.problem(
            f"factors {missing or 'none'}; the data have {there}", "set --config.factors"
        )
    at = [panel.names.index(name) for name in wanted]
    seen = panel.mask[:, :, at]
    first = _first_year(seen)
    if first:
        notes.append(f"years before {panel.years[first]} are left out: factors have gaps there")
    whole = np.asarray(seen[:, first:].all(axis=(1, 2)))
    left_out = [*known.left_out]
    left_out += [
        (p, "a factor has gaps") for p, ok in zip(panel.places, whole, strict=True) if not ok
    ]
    keep = np.flatnonzero(whole)
    needed = config.training_years + config.test_years + 2
    if len(panel.years) - first < needed:
        raise settlements.problem(
            f"{len(panel.years) - first} years with all factors, at least {needed} are needed",
            "take factors with fewer gaps, or fewer --config.test-years",
            "data",
        )
    if len(keep) < 2 * config.num_clusters:
        raise settlements.problem(
            f"{len(keep)} towns with all factors for {config.num_clusters} clusters",
            "take fewer --config.num-clusters, or factors with fewer gaps",
            "data",
        )
    values = panel.values[keep][:, first:]
    scale, unit = _scale(panel, keep, first, values[:, :, panel.names.index("balance")])
    return Inputs(
        towns=tuple(panel.places[i] for i in keep),
        years=panel.years[first:],
        latitude=known.latitude[keep],
        longitude=known.longitude[keep],
        balance=values[:, :, panel.names.index("balance")],
        scale=scale,
        unit=unit,
        factors=values[:, :, at],
        names=tuple(wanted),
        units=tuple(panel.units[i] for i in at),
        truth=truth,
        source=source,
        note=tuple(notes),
        left_out=tuple(sorted(left_out)),
    )


def _first_year(seen: np.ndarray) -> int:
    """First year from which on most towns have every factor."""
    complete = seen.all(axis=2).mean(axis=0) > 0.5
    return int(np.flatnonzero(~complete)[-1] + 1) if (~complete).any() else 0


def _scale(
    panel: data.Panel, keep: np.ndarray, first: int, balance: np.ndarray
) -> tuple[np.ndarray, str]:
    if "population" in panel.names:
        k = panel.names.index("population")
        seen, people = panel.mask[keep][:, first:, k], panel.values[keep][:, first:, k]
        at = seen.argmax(axis=1)  # the first year in which it is known
        return people[np.arange(len(keep)), at] / 1000.0, "per mille a year"
    half = balance[:, : balance.shape[1] // 2]
    return np.maximum(np.abs(half).mean(axis=1), 1e-12), "of the town's own size"


def _packaged(config: Config) -> Inputs:
    if config.source == "example":
        made, truth = data.example_towns(jax.random.key(EXAMPLE_KEY))
        return make_inputs(config, made, "synthetic panel with known truth; this run", truth)
    if config.source == "counties":
        return make_inputs(config, data.load_us_counties("domestic"), settlements.CENSUS, None)
    return make_inputs(config, *settlements.arctic(), None)
