"""Panels of time series of one frequency, and the long frames they come from and go to."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from .errors import Problem
from .grids import Grid, grid_of, grid_times
from .moments import DAY


class SeriesPanel(NamedTuple):
    """Series of one frequency on a common calendar.

    Attributes:
        values: float64 [time, series]; 0.0 where not observed, so that no NaN travels silently.
        mask: bool [time, series]; True where observed.
        names: name of each series.
        times: regular times [time]: first moments of the periods (a week: the day that names it),
            or integers.
        frequency: pandas alias ("MS", "QS", "YS", "W-SUN", "D", "B", "h", "30min", ...); "" for
            integer times.
        days: int64 [series], the day of the period on which the dates of the series stand, 1 the
            first, -1 the last; None means 1 for all. Monthly and longer periods only.
    """

    values: np.ndarray
    mask: np.ndarray
    names: tuple[str, ...]
    times: pd.Index
    frequency: str
    days: np.ndarray | None = None


class SeriesSet(NamedTuple):
    """What could be read of an input with several series.

    Attributes:
        panels: one per frequency (and per phase where the same frequency starts in different
            months, days or minutes, or where series lie so far apart that one panel would be all
            but empty), the one with most series first.
        problems: rows and series left out, and rules applied; each names its series.
    """

    panels: tuple[SeriesPanel, ...]
    problems: tuple[Problem, ...]


def series_to_frame(
    panel: SeriesPanel,
    values: np.ndarray | None = None,
    *,
    times: pd.Index | None = None,
    id_column: str = "unique_id",
    time_column: str = "ds",
    value_column: str = "y",
) -> pd.DataFrame:
    """Long data frame of a panel: a row per series and time, series by series.

    Args:
        panel: names, times and days of the rows.
        values: [time, series]; given, each of its cells is a row, as it is. Default: the observed
            values of `panel`.
        times: times of `values`, such as `future_times(panel, horizon)`; default: those of `panel`.
        id_column: name of the column of series names, text.
        time_column: name of the column of times: dates on the day of the period on which those of
            the series stood in the input, or integers.
        value_column: name of the column of values.

    Raises:
        ValueError: `values` are not [time, series], or `times` are given without them.
    """
    if values is None and times is not None:
        raise ValueError("times: given without values; pass both")
    moments = panel.times if times is None else times
    table = np.asarray(panel.values if values is None else values)
    if table.shape != (len(moments), len(panel.names)):
        raise ValueError(
            f"values: expected shape {(len(moments), len(panel.names))} [time, series], got "
            f"{table.shape}; pass times= where they are not those of the panel"
        )
    shown = np.ones(table.shape, bool) if values is not None else panel.mask
    series, time = np.nonzero(shown.T)
    return pd.DataFrame(
        {
            id_column: np.array(panel.names, dtype=object)[series],
            time_column: _dates(panel, moments, series, time),
            value_column: table[time, series],
        }
    )


def future_times(panel: SeriesPanel, horizon: int) -> pd.Index:
    """The `horizon` times that follow those of `panel`.

    Raises:
        ValueError: `horizon` < 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon: expected at least 1, got {horizon}")
    grid, last = _grid(panel), len(panel.times) - 1
    return grid_times(grid, last + 1, last + horizon)


def season_length(frequency: str) -> int:
    """Periods after which a season repeats, 1 where there is none.

    Months, quarters: a year (12, 4); weeks: a year (52); days: a week (7, working days 5); hours
    and minutes: a day (24 for "h", 48 for "30min"); seconds: an hour. Multiples that do not divide
    the season, years and integer times ("") have none.

    Raises:
        ValueError: not a frequency that a panel can have.
    """
    if frequency == "":
        return 1
    grid = grid_of(frequency)
    if grid.family == "month":
        season = 12
    elif grid.family == "business":
        season = 5
    elif grid.step % (7 * DAY) == 0:
        season = 52 * 7 * DAY
    elif grid.step % DAY == 0:
        season = 7 * DAY
    else:
        season = DAY if grid.step >= 60_000_000 else 3_600_000_000
    return season // grid.step if season % grid.step == 0 else 1


def _grid(panel: SeriesPanel) -> Grid:
    """The grid whose position 0 is the first time of `panel`."""
    if panel.frequency == "":
        step = int(panel.times[1] - panel.times[0]) if len(panel.times) > 1 else 1
        return Grid("integer", step, int(panel.times[0]))
    grid = grid_of(panel.frequency)
    first = panel.times.to_numpy().astype("datetime64[us]")[0]
    if grid.family == "month":
        return grid._replace(phase=int(first.astype("datetime64[M]").astype(np.int64)))
    if grid.family == "business":
        return grid._replace(phase=int(np.busday_count("1970-01-01", first.astype("M8[D]"))))
    return grid._replace(phase=int(first.astype(np.int64)))


def _dates(
    panel: SeriesPanel, moments: pd.Index, series: np.ndarray, time: np.ndarray
) -> np.ndarray:
    """Time of each row, on the day of the period of its series."""
    times = moments.to_numpy()
    if panel.days is None or panel.frequency == "" or (panel.days == 1).all():
        return times[time]
    starts = times.astype("datetime64[D]")
    months = starts.astype("datetime64[M]")
    lasts = (months + grid_of(panel.frequency).step).astype("datetime64[D]") - 1
    days = panel.days[series]
    shifted = np.where(days == -1, lasts[time], starts[time] + (days - 1))
    return shifted.astype("datetime64[us]")
