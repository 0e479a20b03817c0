"""Sets of series from long CSV and parquet files and data frames, each series judged by itself."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from . import cells
from .errors import DataError, Problem
from .grids import (
    FAMILIES,
    Grid,
    Rows,
    alias,
    calendar,
    grid_of,
    grid_times,
    infer_grids,
    positions,
)
from .layouts import Source
from .moments import Moments, moment_text, parse_times
from .readers import read_parquet, starts_as_parquet, typed_source
from .series import SeriesPanel, SeriesSet
from .textfile import read_bytes, read_text_table

_LEFT_OUT = "the series is left out"
_MOST_CELLS_PER_ROW = 100  # a panel may be this much emptier than its rows ...
_FREE_CELLS = 20_000_000  # ... if it has more cells than these
_TIME_CURE = "write dates as 2020-01-31 or whole numbers"


class _Labels(NamedTuple):
    """What messages are made of."""

    file: str
    columns: tuple[str, ...]
    id_column: str
    time_column: str
    value_column: str
    names: tuple[str, ...]
    is_date: bool

    @property
    def has_names(self) -> bool:
        return self.id_column in self.columns


class _Table(NamedTuple):
    """Rows that can be read, sorted by series and time; each array is [row]."""

    series: np.ndarray  # int64, index into the names
    times: np.ndarray  # int64, microseconds since 1970, or integers
    values: np.ndarray  # float64, 0.0 where not observed
    observed: np.ndarray  # bool
    lines: np.ndarray  # int64, line of the input


def read_series(
    source: str | Path | pd.DataFrame,
    *,
    id_column: str = "unique_id",
    time_column: str = "ds",
    value_column: str = "y",
    frequency: str | None = None,
    min_values: int = 2,
    name: str = "frame",
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: cells.Decimal | None = None,
) -> SeriesSet:
    """Series of a long table with a row per series and time; a bad series leaves out only itself.

    Left out and named, with line and value where there is one: a series with a time that cannot be
    read, with text or infinity for a value, with two rows of one time or period, with fewer than
    `min_values` values, or whose frequency cannot be inferred. Rows that cannot be read or name no
    series are left out. Kept and noted: gaps, which are masked (empty cells and the usual tokens,
    NA, nan, -, ..., are missing, never 0), constant series, dates on different days of the period.

    Times are the dates of `parse_times`, or integers. Monthly, quarterly and yearly dates stand for
    the period that contains them, so 1 and 31 January are the same month; a quarter or year dated
    by last days of months ends there, any other starts there.

    Args:
        source: CSV (plain, .gz, .bz2, .xz), parquet, or a data frame, whose named index levels
            count as columns.
        id_column: may be absent under its default name: one series, named after the file.
        time_column: see above.
        value_column: numbers.
        frequency: pandas alias of all series; each date stands for the period that contains it,
            integers are years, and multiples are counted from the first date of all. Default:
            inferred for each series.
        min_values: fewest observed values of a series.
        name: stands for a data frame in messages and for its only series.
        encoding: default: detected, by the rules of `read_text_table`.
        delimiter: default: detected, by the rules of `read_text_table`.
        decimal: "." or ","; default: the mark that most numbers have.

    Returns:
        panels, series sorted by name, times from the first to the last observation of any; and
        what was left out or noted.

    Raises:
        ValueError: a choice that does not exist.
        DataError: a missing column, no usable series, a file that cannot be read, dates or decimal
            commas that can be read in two ways, or series too far apart for one panel.
    """
    if min_values < 1:
        raise ValueError(f"min_values: expected at least 1, got {min_values}")
    if decimal not in (None, ".", ","):
        raise ValueError(f"decimal: expected one of {(None, '.', ',')}, got {decimal!r}")
    if frequency is not None:
        grid_of(frequency)
    table = open_table(source, name, encoding, delimiter)
    labels, rows, problems = _read_cells(
        table, id_column, time_column, value_column, decimal, frequency is not None
    )
    problems = [*table.problems, *problems]
    rows, more = _without_twins(labels, rows, rows.times, "a second row of this time")
    problems += more
    rows, more = _without_short(labels, rows, min_values)
    problems += more
    panels, more = _make_panels(labels, rows, frequency)
    problems += more
    if not panels:
        raise DataError(problems or [no_rows()], table.file)
    return SeriesSet(tuple(panels), tuple(problems))


def open_table(
    source: str | Path | pd.DataFrame, name: str, encoding: str | None, delimiter: str | None
) -> Source:
    """Cells of a data frame or file as text or numbers, with the line of every row."""
    if isinstance(source, pd.DataFrame):
        return typed_source(source, name, name)
    path = Path(source)
    stem = path.name.split(".")[0] or path.name
    if path.suffix.lower() in (".parquet", ".pq") or starts_as_parquet(path):
        return typed_source(read_parquet(read_bytes(path), str(path)), str(path), stem)
    table = read_text_table(path, encoding, delimiter)
    return Source(table.frame, table.lines, str(path), stem, list(table.problems))


def no_rows() -> Problem:
    """The problem of a file with a header and nothing below it."""
    return Problem(None, None, None, "no rows below the header", "add the data")


def _read_cells(
    source: Source,
    id_column: str,
    time_column: str,
    value_column: str,
    decimal: cells.Decimal | None,
    years_are_dates: bool,
) -> tuple[_Labels, _Table, list[Problem]]:
    """Rows with a series, a time and a value or none, of series whose every cell can be read."""
    frame, lines, columns = source.frame, source.lines, tuple(source.frame.columns)
    wanted = [*([id_column] if id_column != "unique_id" else []), time_column, value_column]
    absent = [cells.missing_column(name, columns) for name in wanted if name not in columns]
    if absent:
        raise DataError([*source.problems, *absent], source.file)
    if len(frame) == 0:
        raise DataError(source.problems or [no_rows()], source.file)
    series = np.zeros(len(frame), np.int64)
    names: tuple[str, ...] = (source.only_place,)
    if id_column in columns:
        series, names = _factorize(frame[id_column])
    column = cells.prepare(frame[value_column])
    mark, ambiguous = (decimal, None) if decimal else cells.detect_decimal([column])
    moments = parse_times(frame[time_column])
    unclear = [moments.problem._replace(column=time_column)] if moments.problem else []
    unclear += [ambiguous._replace(column=value_column)] if ambiguous else []
    if unclear:
        raise DataError([*source.problems, *unclear], source.file)
    if years_are_dates and not moments.is_date:
        moments = _years(moments)
    read = cells.parse_numbers(column, mark)
    labels = _Labels(
        source.file, columns, id_column, time_column, value_column, names, moments.is_date
    )

    problems = []
    named = series >= 0
    if not named.all():
        what = f"{(~named).sum()} rows without a series name are left out, this is the first"
        problems.append(Problem(int(lines[~named][0]), id_column, "", what, "fill it in"))
    out = np.zeros(len(names) + 1, bool)
    out[-1] = True  # code -1
    for faulty, where in ((moments.bad, time_column), (read.bad, value_column)):
        rows = np.flatnonzero(faulty & named)
        found, first, count = np.unique(series[rows], return_index=True, return_counts=True)
        texts = cells.as_text(frame[where].iloc[rows[first]])
        for i, row, text, number in zip(found, rows[first], texts, count, strict=True):
            line = int(lines[row])
            problem = Problem(line, where, text, "not a time", _TIME_CURE)
            if where == value_column:
                problem = cells.number_problem(line, where, text, mark)
            more = f" ({number} such cells)" if number > 1 else ""
            what = f"{problem.what} in series {names[i]!r}{more}: {_LEFT_OUT}"
            problems.append(problem._replace(what=what))
        out[found] = True
    table = _Table(series, moments.values, read.values, ~read.missing, lines)
    return labels, _sorted(_take(table, ~out[series])), problems


def _sorted(rows: _Table) -> _Table:
    same = rows.series[1:] == rows.series[:-1]
    later = (rows.series[1:] > rows.series[:-1]) | (same & (rows.times[1:] >= rows.times[:-1]))
    return rows if later.all() else _take(rows, np.lexsort((rows.times, rows.series)))


def _take(rows: _Table, kept: np.ndarray) -> _Table:
    if kept.dtype == np.bool_ and kept.all():
        return rows
    return _Table(*(part[kept] for part in rows))


def _without_twins(
    labels: _Labels, rows: _Table, keys: np.ndarray, what: str
) -> tuple[_Table, list[Problem]]:
    """Rows of the series in which no two neighbours have the same key."""
    twin = np.flatnonzero((np.diff(rows.series) == 0) & (np.diff(keys) == 0)) + 1
    found, first = np.unique(rows.series[twin], return_index=True)
    cure = "keep one row for each time"
    if not labels.has_names:
        listed = cells.missing_column(labels.id_column, labels.columns).cure
        cure += f"; pass id_column= if there are several series: {listed}"
    problems = []
    for i, row in zip(found.tolist(), twin[first].tolist(), strict=True):
        time = moment_text(int(rows.times[row]), labels.is_date)
        said = f"{what} in series {labels.names[i]!r}: {_LEFT_OUT}"
        problems.append(Problem(int(rows.lines[row]), labels.time_column, time, said, cure))
    return _without(labels, rows, found), problems


def _without_short(labels: _Labels, rows: _Table, min_values: int) -> tuple[_Table, list[Problem]]:
    """Rows of the series with at least `min_values` values."""
    size = len(labels.names)
    count = np.bincount(rows.series[rows.observed], minlength=size)
    short = np.flatnonzero((np.bincount(rows.series, minlength=size) > 0) & (count < min_values))
    cure = "add values, or leave the series out"
    problems = []
    for i, number in zip(short.tolist(), count[short].tolist(), strict=True):
        what = f"only {_count(number, 'value')}" if number else "no usable value"
        problems.append(_note(labels, i, f"{what}: {_LEFT_OUT}", cure))
    return _without(labels, rows, short), problems


def _make_panels(
    labels: _Labels, rows: _Table, frequency: str | None
) -> tuple[list[SeriesPanel], list[Problem]]:
    """A panel for each grid; series without one are left out."""
    if rows.series.size == 0:
        return [], []
    problems = []
    if frequency is None:
        parts, found = _parts(rows)
        family, step, phase, regular = infer_grids(parts, labels.is_date)
        what = f"no frequency can be inferred from its times: {_LEFT_OUT}"
        cure = "pass frequency= (such as 'MS' or 'D'), or add the missing dates"
        problems = [_note(labels, i, what, cure) for i in found[~regular].tolist()]
        keys = np.stack([family, step, phase], axis=1)[regular]
        rows, found = _without(labels, rows, found[~regular]), found[regular]
    else:
        given = grid_of(frequency, int(rows.times.min()))
        keys, found = np.array([[FAMILIES.index(given.family), *given[1:]]]), np.array([0])
    different, which = np.unique(keys, axis=0, return_inverse=True)
    grid_of_series = np.zeros(len(labels.names), np.int64)
    grid_of_series[found] = which.ravel()
    panels = []
    for j, (kind, step_, phase_) in enumerate(different.tolist()):
        chosen = _take(rows, grid_of_series[rows.series] == j)
        some, more = _on_grid(labels, chosen, Grid(FAMILIES[kind], step_, phase_))
        panels += some
        problems += more
    return sorted(panels, key=lambda panel: -len(panel.names)), problems


def _on_grid(labels: _Labels, rows: _Table, grid: Grid) -> tuple[list[SeriesPanel], list[Problem]]:
    """One panel of the series on one grid; several where series lie very far apart."""
    at, none = positions(grid, rows.times)
    absent = np.unique(rows.series[none])
    what = f"a date that the frequency {alias(grid)!r} does not have: {_LEFT_OUT}"
    problems = [_note(labels, i, what, "correct it") for i in absent.tolist()]
    rows = _without(labels, rows, absent)
    at, _ = positions(grid, rows.times) if absent.size else (at, none)
    rows, more = _without_twins(labels, rows, at, "a second row of the same period")
    problems += more
    if not rows.observed.any():
        return [], problems
    at, _ = positions(grid, rows.times) if more else (at, none)
    parts, found = _parts(rows)
    firsts, lasts = at[parts.starts], parts.each(np.maximum, at)
    cluster = np.zeros(len(labels.names), np.int64)
    if len(found) * (lasts.max() - firsts.min() + 1) > _most_cells(rows):
        order = np.argsort(firsts, kind="stable")
        apart = firsts[order][1:] > np.maximum.accumulate(lasts[order])[:-1]
        cluster[found[order][1:]] = np.cumsum(apart)
    panels = []
    for k in range(int(cluster.max()) + 1):
        chosen = cluster[rows.series] == k
        panel, more = _make_panel(labels, _take(rows, chosen), at[chosen], grid)
        panels.append(panel)
        problems += more
    return panels, problems


def _most_cells(rows: _Table) -> int:
    return max(_FREE_CELLS, _MOST_CELLS_PER_ROW * len(rows.series))


def _make_panel(
    labels: _Labels, rows: _Table, at: np.ndarray, grid: Grid
) -> tuple[SeriesPanel, list[Problem]]:
    seen, series = at[rows.observed], rows.series[rows.observed]
    first, last = int(seen.min()), int(seen.max())
    found, column = np.unique(series, return_inverse=True)
    shape = (last - first + 1, len(found))
    if shape[0] * shape[1] > _most_cells(rows):
        what = f"{_count(len(seen), 'value')} of {shape[1]} series need a panel of {shape[0]} times"
        cure = "check the dates, or read the series in several parts"
        raise DataError([Problem(None, labels.time_column, None, what, cure)], labels.file)
    values, mask = np.zeros(shape), np.zeros(shape, bool)
    values[seen - first, column] = rows.values[rows.observed]
    mask[seen - first, column] = True
    problems = _remarks(labels, _take(rows, rows.observed), seen)
    days = None
    if grid.family == "month":
        days, differ = _days(rows, grid, at)
        what = "dates on different days of the period, which is dated by its first day"
        problems += [
            _note(labels, i, what, "use one day if that matters") for i in found[differ].tolist()
        ]
    names, times = tuple(labels.names[i] for i in found), grid_times(grid, first, last)
    return SeriesPanel(values, mask, names, times, alias(grid), days), problems


def _days(rows: _Table, grid: Grid, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Day of the period on which all dates of a series stand, 1 where they differ, and where."""
    parts, _ = _parts(rows)
    dates = calendar(rows.times)
    month = dates.month - (at * grid.step + grid.phase)
    same = parts.each(np.minimum, dates.day) == parts.each(np.maximum, dates.day)
    same &= parts.each(np.logical_and, month == 0)
    last = parts.each(np.logical_and, dates.is_last & (month == grid.step - 1))
    days = np.where(last, -1, np.where(same, dates.day[parts.starts], 1))
    return days.astype(np.int64), ~(same | last)


def _remarks(labels: _Labels, rows: _Table, at: np.ndarray) -> list[Problem]:
    """Gaps and constant series; `rows` are observed, `at` are their positions."""
    parts, found = _parts(rows)
    low, high = (parts.each(extreme, rows.values) for extreme in (np.minimum, np.maximum))
    gaps = parts.each(np.maximum, at) - at[parts.starts] + 1 - parts.lengths
    constant, fill = low == high, "fill in the values if there are any"
    return [
        _note(labels, i, f"{_count(number, 'gap')}, masked", fill)
        for i, number in zip(found[gaps > 0].tolist(), gaps[gaps > 0].tolist(), strict=True)
    ] + [
        _note(labels, i, f"constant, {value!r} throughout", "check that this is meant")
        for i, value in zip(found[constant].tolist(), low[constant].tolist(), strict=True)
    ]


def _parts(rows: _Table) -> tuple[Rows, np.ndarray]:
    """The rows by series, and which series they are."""
    starts = np.flatnonzero(np.diff(rows.series, prepend=-1))
    return Rows(rows.times, starts), rows.series[starts]


def _without(labels: _Labels, rows: _Table, series: np.ndarray) -> _Table:
    if series.size == 0:
        return rows
    out = np.zeros(len(labels.names), bool)
    out[series] = True
    return _take(rows, ~out[rows.series])


def _note(labels: _Labels, series: int, what: str, cure: str) -> Problem:
    column = labels.id_column if labels.has_names else None
    return Problem(None, column, labels.names[series], what, cure)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _factorize(column: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Series of each row, -1 where it has no name, and the sorted names."""
    codes, found = pd.factorize(column)
    again, names = cells.factorize(pd.Series(found, dtype=object))
    if names[:1] == ("",):  # "" sorts first
        again, names = again - 1, names[1:]
    return np.append(again, -1)[codes], names


def _years(moments: Moments) -> Moments:
    """Integers as first moments of years."""
    years = moments.values
    bad = moments.bad | (years < cells.FIRST_YEAR) | (years > cells.LAST_YEAR)
    months = np.where(bad, 0, 12 * (years - 1970)).astype("datetime64[M]")
    return Moments(months.astype("datetime64[us]").astype(np.int64), bad, True)
