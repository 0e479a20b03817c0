"""Budget, population, prices and indicators of the region, bundled or of the user."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from diffmig import data
from diffmig import human_capital as hc
from experiments.human_capital.config import Config

MAX_AGE = 100


class Inputs(NamedTuple):
    """What the study knows about the region.

    Attributes:
        budget: lines in prices of each year.
        years: int64, of the budget, every year from its first to its last.
        all_years: the same and those of the forecast.
        population: mean annual persons, [all year, age].
        price_index: price index, percent of the previous year, [year]; None: prices are comparable.
        indicators: further inputs of the network, [year, indicator]; with their names.
        indicator_names: names.
        labour: labour resources, persons, [year]; None where unknown.
        changes: births, deaths, net migration by year; None where unknown.
        totals: persons on 1 January by year, those that are known.
        note: what was noticed about the data.
    """

    budget: data.Budget
    years: np.ndarray
    all_years: np.ndarray
    population: np.ndarray
    price_index: np.ndarray | None
    indicators: np.ndarray
    indicator_names: tuple[str, ...]
    labour: np.ndarray | None
    changes: pd.DataFrame | None
    totals: dict[int, float]
    note: tuple[str, ...]


def files(config: Config) -> list[Path]:
    """Files of the user besides the budget."""
    return [Path(p) for p in (config.population, config.totals, config.indicators) if p]


def load(data_file: Path | None, config: Config) -> Inputs:
    """All data of the experiment.

    Raises:
        DataError: a file cannot be read, or budget, population and prices do not fit together.
    """
    own = data_file is not None
    budget = (
        data.read_budget(data_file) if data_file else data.load_budget(corrected=config.corrected)
    )
    years = np.arange(budget.years[0], budget.years[-1] + 1)
    _check_years(config, budget, years)
    last = max(config.last_forecast_year, int(years[-1]))
    all_years = np.arange(years[0], last + 1)
    table, totals = _tables(config, own)
    note = []
    rest = all_years[all_years > max(table.years)]
    if rest.size and not totals:
        raise problem(
            config.population or "population",
            f"no ages after {table.years[-1]}, but spending until {last}",
            "add age tables, give 1 January totals by --config.totals, or end the forecast earlier",
        )
    if own and years[0] < table.years[0]:
        raise problem(
            config.population or "population",
            f"the first age table is of {table.years[0]}, the budget begins in {years[0]}",
            "add an age table of the first budget year or an earlier one",
        )
    population = hc.population_by_age(
        table, all_years, totals, config.population_rule, max_age=MAX_AGE
    )
    if totals:
        annual = hc.mean_annual(totals)
        known = [int(year) for year in table.years if int(year) in annual]
        data.check_totals(table, known, [annual[year] for year in known])
    if rest.size:
        held = max(totals)
        note.append(
            f"population after {table.years[-1]}: cohort-change ratios scaled to 1 January totals, "
            f"the total of {held} held"
        )
    index, indicators, names, labour = _prices(config, years, own)
    return Inputs(
        budget=budget,
        years=years,
        all_years=all_years,
        population=population,
        price_index=index,
        indicators=indicators,
        indicator_names=names,
        labour=labour,
        changes=None if own else data.load_population_changes(),
        totals=totals,
        note=tuple(note),
    )


def _check_years(config: Config, budget: data.Budget, years: np.ndarray) -> None:
    """Anchors and origins lie inside the budget's years."""
    first, last = int(years[0]), int(years[-1])
    wanted = {}
    if config.calibrate:
        wanted["per-head-year"] = (config.per_head_year, first, last)
        wanted["minimum-year"] = (config.minimum_year, first + 1, last - 1)
    for name, (year, low, high) in wanted.items():
        if not low <= year <= high:
            raise problem(
                "config",
                f"{name}: {year} is not in {low}-{high}, which the budget allows",
                f"set --config.{name}, or take --config.no-calibrate",
            )
    allowed = budget.years[1:-1].tolist()
    if bad := sorted(set(config.origins) - set(allowed)):
        raise problem(
            "config",
            f"origins {bad} are not among {allowed}, the budget's years but for the first and last",
            "set --config.origins",
        )
    if config.base_year and not first <= config.base_year <= last:
        raise problem(
            "config", f"base-year {config.base_year} is not in {first}-{last}", "choose another"
        )


def _tables(config: Config, own: bool) -> tuple[data.AgeTable, dict[int, float]]:
    if config.population:
        table = data.read_population(config.population, unit=config.population_unit)
        if len(table.places) > 1:
            raise problem(
                config.population,
                f"{len(table.places)} places: {', '.join(table.places[:5])}",
                "keep the one whose budget this is",
            )
    elif own:
        raise problem("population", "no ages for your budget", "give --config.population a CSV")
    else:
        table = data.load_population()
    if config.totals:
        panel = data.read_panel(config.totals, gaps="mask")
        known = panel.mask[0, :, 0]
        years, values = panel.years[known].tolist(), panel.values[0, known, 0].tolist()
        return table, dict(zip(years, values, strict=True))
    if own:
        return table, {}
    frame = data.load_population_totals()
    return table, dict(zip(frame["year"].tolist(), frame["total"].tolist(), strict=True))


def _prices(
    config: Config, years: np.ndarray, own: bool
) -> tuple[np.ndarray | None, np.ndarray, tuple[str, ...], np.ndarray | None]:
    """Price index, indicators with names, labour resources in persons."""
    wanted = [name for name in (config.price_index, *config.inputs) if name]
    if not wanted and own:
        return None, np.zeros((years.size, 0)), (), None
    bundled = not config.indicators
    if bundled and own:
        raise problem("indicators", f"{wanted} have no file", "give --config.indicators a CSV")
    panel = data.load_table("grp_udmurt") if bundled else data.read_panel(config.indicators)
    panel = data.select(panel, years=(int(years[0]), int(years[-1])))
    panel = panel if bundled else data.select_complete(panel)

    def column(name: str) -> np.ndarray:
        return data.variable(panel, name)[0]

    index = column(config.price_index) if config.price_index else None
    indicators = np.stack([column(name) for name in wanted], axis=1)
    labour = 1e3 * column("labour") if "labour" in panel.names and bundled else None
    return index, indicators, tuple(wanted), labour


def problem(file: str, what: str, cure: str) -> data.DataError:
    """An error with its cure."""
    return data.DataError([data.Problem(None, None, None, what, cure)], file)
