"""Budget, population, prices and indicators of the region, bundled or of the user."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from diffmig import data
from diffmig import human_capital as hc
from experiments.human_capital.config import Config
from experiments.human_capital.reading import (
    MAX_AGE,
    check_population,
    files,
    problem,
    read_ages,
    read_prices,
    read_totals,
)

__all__ = ["MAX_AGE", "Inputs", "files", "load", "problem"]


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


def load(data_file: Path | None, config: Config) -> Inputs:
    """All data of the experiment.

    Raises:
        DataError: a file cannot be read, or budget, population and prices do not fit together.
    """
    own = data_file is not None
    budget = (
        data.read_budget(data_file) if data_file else data.load_budget(corrected=config.corrected)
    )
    name = str(data_file or "budget")
    years = np.arange(budget.years[0], budget.years[-1] + 1)
    _check_config(config, budget, own)
    last = max(config.last_forecast_year, int(years[-1]))
    all_years = np.arange(years[0], last + 1)
    table, totals = read_ages(config, own), read_totals(config, own)
    notes = check_population(config, own, table, totals, all_years)
    population = hc.population_by_age(
        table, all_years, totals, config.population_rule, max_age=MAX_AGE
    )
    index, indicators, names, labour = read_prices(config, years, own)
    _check_lines(budget, years, population, name)
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
        note=(*notes, *_gaps(config, budget)),
    )


def _check_config(config: Config, budget: data.Budget, own: bool) -> None:
    """Anchors and origins lie inside the budget's years."""
    first, last = int(budget.years[0]), int(budget.years[-1])
    if budget.years.size < 2:
        raise problem("budget", f"one year only, {first}", "a course needs two years at least")
    if own and config.replicate:
        raise problem(
            "config", "replicate is about the paper's own budget", "take --config.no-replicate"
        )
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


def _check_lines(budget: data.Budget, years: np.ndarray, population: np.ndarray, name: str) -> None:
    """Brackets lie inside the ages, somebody lives in them, and something is spent."""
    if not budget.amounts.any():
        raise problem(name, "nothing is spent on any line", "give amounts")
    last = np.where(budget.last_ages == data.OPEN_AGE, MAX_AGE, budget.last_ages)
    for line, low, high in zip(budget.lines, budget.first_ages, last, strict=True):
        if high > MAX_AGE or low > MAX_AGE:
            raise problem(
                name,
                f"{line}: ages {low} to {high} reach beyond {MAX_AGE}",
                "leave the last age empty for 'and older'",
            )
        empty = population[: years.size, low : high + 1].sum(axis=1) == 0
        if empty.any():
            raise problem(
                name,
                f"{line}: nobody is {low} to {high} in {years[empty][0]}",
                "correct the ages of the line or the population",
            )


def _gaps(config: Config, budget: data.Budget) -> list[str]:
    """Which lines have years without a figure, and what is done about it."""
    notes = {
        "before": f"before its first figure ({'0' if config.missing == 'zero' else 'held'})",
        "inside": "between its figures (interpolated)",
        "after": "after its last figure (held in comparable prices)",
    }
    found: dict[str, list[str]] = {key: [] for key in notes}
    for line, mask in zip(budget.lines, budget.mask, strict=True):
        known = np.flatnonzero(mask)
        gaps = {
            "before": known[0] > 0,
            "inside": not mask[known[0] : known[-1] + 1].all(),
            "after": known[-1] < mask.size - 1,
        }
        for key, there in gaps.items():
            found[key] += [line] if there else []
    return [f"{notes[key]}: {', '.join(lines)}" for key, lines in found.items() if lines]
