"""Real series: Rosstat's regional months and the M3 competition, read where they are.

The environment variable DIFFMIG_TEST_DATA names the folder with the files; without it both sources
are skipped, with the reason.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from diffmig import data
from diffmig.data.cells import missing_column
from diffmig.data.textfile import read_text_table

ROSSTAT_FILES = (
    "rosstat_regional_monthly_2009_2016_part1.csv",
    "rosstat_regional_monthly_2009_2016_part2.csv",
)
ROSSTAT_MIN_VALUES = 36
M3_FILE = "m3_competition.csv"
M3_SEASONS = {"YEARLY": 1, "QUARTERLY": 4, "MONTHLY": 12, "OTHER": 1}


class Source(NamedTuple):
    """Series to forecast.

    Attributes:
        name: for tables and figures.
        panel: series [time, series]; what a forecaster may see.
        season: rows after which a season repeats, 1 where there is none.
        held_out: the values of the official horizon, which follow those of `panel`; None where
            there is no official horizon.
        problems: series left out, and what was noted.
    """

    name: str
    panel: data.SeriesPanel
    season: int
    held_out: data.SeriesPanel | None
    problems: tuple[data.Problem, ...]


class Skipped(NamedTuple):
    """A source that is not there, and why."""

    name: str
    reason: str


def load_sources(folder: Path | None = None) -> tuple[tuple[Source, ...], tuple[Skipped, ...]]:
    """The sources that can be read, and those that cannot.

    Args:
        folder: where the files are; default: what DIFFMIG_TEST_DATA says.
    """
    named = os.environ.get("DIFFMIG_TEST_DATA")
    folder = folder or (Path(named) if named else None)
    found: list[Source] = []
    skipped = []
    for name, load in (("Rosstat", load_rosstat), ("M3", load_m3)):
        try:
            if folder is None:
                skipped.append(Skipped(name, "no folder of data; set DIFFMIG_TEST_DATA"))
            else:
                found += load(folder)
        except data.DataError as error:
            skipped.append(Skipped(name, str(error)))
    return tuple(found), tuple(skipped)


def load_rosstat(folder: Path) -> list[Source]:
    """Monthly indicators of Russian regions, January 2009 - February 2016, as one source.

    Series are named "indicator/region"; those with fewer than 36 values are left out.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    parts = [_melted(folder / file) for file in ROSSTAT_FILES]
    done = data.read_series(
        pd.concat(parts, ignore_index=True),
        min_values=ROSSTAT_MIN_VALUES,
        frequency="MS",
        name="Rosstat",
    )
    (panel,) = done.panels
    return [Source("Rosstat", panel, data.season_length("MS"), None, done.problems)]


def load_m3(folder: Path) -> list[Source]:
    """The 3,003 series of the M3 competition, a source for each kind of period.

    The series have no common calendar: their last training values stand at time 0, and the held-out
    values of the official horizon (years 6, quarters 8, months 18, other 8) at 1, 2, ...

    Raises:
        DataError: the file is missing, cannot be read, or counts and values do not fit.
    """
    path = folder / M3_FILE
    table = read_text_table(path, "utf-8", ",")
    problems = list(table.problems)
    problems += [
        missing_column(name, table.frame.columns)
        for name in ("id", "period", "n", "h", "values")
        if name not in table.frame
    ]
    if problems:
        raise data.DataError(problems, str(path))
    sources = []
    for period, season in M3_SEASONS.items():
        chosen = (table.frame["period"] == period).to_numpy()
        if chosen.any():
            rows, lines = table.frame[chosen], table.lines[chosen]
            sources.append(_m3_source(f"M3 {period.lower()}", rows, lines, season, str(path)))
    if not sources:
        what, cure = "no series of a known period", f"expected {', '.join(M3_SEASONS)}"
        raise data.DataError([data.Problem(None, "period", None, what, cure)], str(path))
    return sources


def _melted(path: Path) -> pd.DataFrame:
    """Long frame of one file, which has a column per region and a row per date and indicator."""
    table = read_text_table(path, "utf-8", ",")
    problems = list(table.problems)
    problems += [
        missing_column(name, table.frame.columns)
        for name in ("date", "varname")
        if name not in table.frame
    ]
    if problems:
        raise data.DataError(problems, str(path))
    long = table.frame.melt(["date", "varname"], var_name="region", value_name="y")
    return pd.DataFrame(
        {"unique_id": long["varname"] + "/" + long["region"], "ds": long["date"], "y": long["y"]}
    )


def _m3_source(name: str, rows: pd.DataFrame, lines: np.ndarray, season: int, file: str) -> Source:
    histories, futures, problems = [], [], []
    for line, row in zip(lines.tolist(), rows.to_dict("records"), strict=True):
        try:
            values = np.array(row["values"].split(), dtype=np.float64)
            split, horizon = int(row["n"]), int(row["h"])
        except ValueError as error:
            problems.append(data.Problem(line, "values", None, str(error), "give plain numbers"))
            continue
        if split < 2 or horizon < 1 or len(values) != split + horizon:
            what = f"{len(values)} values, n + h are {split} + {horizon}"
            problems.append(data.Problem(line, "values", None, what, "correct n, h or the values"))
            continue
        histories.append(values[:split])
        futures.append(values[split:])
    if len({len(future) for future in futures}) > 1:
        what = f"several horizons among {name}"
        problems.append(data.Problem(None, "h", None, what, "give each period one horizon"))
    if problems:
        raise data.DataError(problems, file)
    length = max(len(history) for history in histories)
    values, mask = np.zeros((length, len(rows))), np.zeros((length, len(rows)), bool)
    for j, history in enumerate(histories):
        values[length - len(history) :, j] = history
        mask[length - len(history) :, j] = True
    names, held = tuple(rows["id"]), np.stack(futures, axis=1)
    panel = data.SeriesPanel(values, mask, names, pd.RangeIndex(1 - length, 1), "")
    after = pd.RangeIndex(1, len(held) + 1)
    held_out = data.SeriesPanel(held, np.ones(held.shape, bool), names, after, "")
    return Source(name, panel, season, held_out, ())
