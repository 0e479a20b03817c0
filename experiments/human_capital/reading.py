"""Files of the region: population, totals, prices and indicators, with what does not fit named."""

from pathlib import Path

import numpy as np

from diffmig import data
from diffmig import human_capital as hc
from experiments.human_capital.config import Config

MAX_AGE = 100
FEW_PEOPLE = 20_000  # below, the report asks whether figures are thousands
INDEX_RANGE = (20.0, 1000.0)  # of the median of a price index in percent of the previous year
JUMP = 0.2  # largest plausible change of the total from the last age table to the next total


def problem(file: str, what: str, cure: str) -> data.DataError:
    """An error with its cure."""
    return data.DataError([data.Problem(None, None, None, what, cure)], file)


def files(config: Config) -> list[Path]:
    """Files of the user besides the budget."""
    return [Path(p) for p in (config.population, config.totals, config.indicators) if p]


def read_ages(config: Config, own: bool) -> data.AgeTable:
    """Age tables of one place; groups beyond age 100 are joined into an open one."""
    if not config.population:
        if own:
            raise problem("population", "no ages for your budget", "give --config.population a CSV")
        return data.load_population()
    table = data.read_population(config.population, unit=config.population_unit)
    if len(table.places) > 1:
        raise problem(
            config.population,
            f"{len(table.places)} places: {', '.join(table.places[:5])}",
            "keep the one whose budget this is",
        )
    old = np.flatnonzero(table.first_ages > MAX_AGE)
    if old.size:
        keep = int(old[0])
        values = table.values[..., :keep].copy()
        values[..., -1] += table.values[..., keep:].sum(axis=-1)
        first, last = table.first_ages[:keep], table.last_ages[:keep].copy()
        last[-1] = data.OPEN_AGE
        table = table._replace(values=values, first_ages=first, last_ages=last)
    if table.last_ages[-1] != data.OPEN_AGE and table.last_ages[-1] < MAX_AGE:
        raise problem(
            config.population,
            f"the last age group ends with {table.last_ages[-1]}",
            "add the older ones, as one open group such as "
            f"'{table.last_ages[-1] + 1}+', or write the last as '{table.first_ages[-1]}+'",
        )
    return table


def read_totals(config: Config, own: bool) -> dict[int, float]:
    """Persons on 1 January by year."""
    if not config.totals:
        if own:
            return {}
        frame = data.load_population_totals()
        return dict(zip(frame["year"].tolist(), frame["total"].tolist(), strict=True))
    panel = data.read_panel(config.totals, gaps="mask")
    named = [i for i, name in enumerate(panel.names) if name.lower() in ("total", "population")]
    at = [0] if len(panel.names) == 1 else named
    if len(at) != 1 or len(panel.places) != 1:
        raise problem(
            config.totals,
            f"{len(panel.places)} places and the columns {', '.join(panel.names)}",
            "keep one place and one column of totals, or call it 'total'",
        )
    known = panel.mask[0, :, at[0]]
    values = panel.values[0, known, at[0]].tolist()
    return dict(zip(panel.years[known].tolist(), values, strict=True))


def check_population(
    config: Config, own: bool, table: data.AgeTable, totals: dict[int, float], wanted: np.ndarray
) -> list[str]:
    """What is to be noted about ages and totals.

    Raises:
        DataError: they do not reach the years that are wanted, or not each other.
    """
    name, last_table = config.population or "population", int(table.years[-1])
    if own and wanted[0] < table.years[0]:
        raise problem(
            name,
            f"the first age table is of {table.years[0]}, the budget begins in {wanted[0]}",
            "add an age table of the first budget year or an earlier one",
        )
    notes = []
    groups = table.values[0].sum(axis=(0, 2))
    if groups.min() < FEW_PEOPLE:
        notes.append(
            f"the ages sum to {groups.min():.0f} persons; if the file has thousands, give "
            "--config.population-unit thousands"
        )
    annual = hc.mean_annual(totals) if totals else {}
    known = [int(year) for year in table.years if int(year) in annual]
    data.check_totals(table, known, [annual[year] for year in known])
    if wanted[-1] <= last_table:
        return notes
    after = sorted(year for year in annual if year > last_table)
    if len(table.years) < 2 or not after:
        raise problem(
            name if len(table.years) < 2 else config.totals or "totals",
            f"no ages after {last_table}, but years until {wanted[-1]} are asked for",
            "add age tables, or give two of them and by --config.totals the 1 January totals of "
            f"{last_table + 1} and {last_table + 2} at least, or end the forecast earlier",
        )
    ratio = annual[after[0]] / groups[-1]
    if not 1 - JUMP < ratio < 1 + JUMP:
        raise problem(
            config.totals or "totals",
            f"the mean annual total of {after[0]} is {annual[after[0]]:.0f}, the ages of "
            f"{last_table} sum to {groups[-1]:.0f}",
            "bring both to persons: one of them may be in thousands",
        )
    text = f"population after {last_table}: cohort-change ratios scaled to 1 January totals"
    held = f", the mean annual total of {after[-1]} held" if after[-1] < wanted[-1] else ""
    return [*notes, text + held]


def read_prices(
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
    labour = 1e3 * data.variable(panel, "labour")[0] if bundled else None
    if missing := [name for name in wanted if name not in panel.names]:
        raise problem(
            config.indicators,
            f"no columns {', '.join(missing)}",
            f"the columns are {', '.join(panel.names)}",
        )
    if panel.years[0] > years[0] or panel.years[-1] < years[-1] or len(panel.places) != 1:
        raise problem(
            config.indicators,
            f"{len(panel.places)} places, years {panel.years[0]}-{panel.years[-1]}",
            f"give one place and every year of the budget, {years[0]}-{years[-1]}",
        )
    span = (int(years[0]), int(years[-1]))
    inside = slice(int(years[0] - panel.years[0]), int(years[-1] - panel.years[0]) + 1)
    panel = data.select(panel, years=span, names=wanted)
    if not panel.mask.all():
        year = int(years[np.argwhere(~panel.mask[0])[0][0]])
        raise problem(config.indicators, f"no value in {year}", "fill it in")
    values = panel.values[0]
    index = values[:, 0] if config.price_index else None
    if index is not None and not INDEX_RANGE[0] < np.median(index) < INDEX_RANGE[1]:
        raise problem(
            config.indicators,
            f"{config.price_index} has the median {np.median(index):g}",
            "a price index is in percent of the previous year: multiply ratios by 100",
        )
    return index, values, tuple(wanted), None if labour is None else labour[inside]
