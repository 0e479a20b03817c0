"""Regular grids of times: how pandas names them, their dates, and the grid a series lies on."""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from .moments import DAY

Family: TypeAlias = Literal["integer", "month", "business", "time"]
FAMILIES: tuple[Family, ...] = ("integer", "month", "business", "time")
# A series lies on a grid if at least this share of its steps is one step of the grid.
LEAST_SHARE = 0.25
# ... and if its times span at most this many periods for each of its rows, or few periods.
MOST_PERIODS_PER_ROW, FEW_PERIODS = 100, 10_000
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_UNITS = {"h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
_MONTHS_IN = {"M": 1, "Q": 3, "Y": 12}
_BUSINESS_ROWS = 6  # working days without a weekend in between cannot be more than five


class Grid(NamedTuple):
    """Times phase + step * position.

    Units: integer: 1; month: months since January 1970; business: working days (Monday to Friday)
    since 1 January 1970; time: microseconds since 1 January 1970.
    """

    family: Family
    step: int
    phase: int


class Rows(NamedTuple):
    """Times of several series, sorted by series and time.

    Attributes:
        times: int64 [row], microseconds since 1970, or integers.
        starts: int64 [series], first row of each; each has at least one.
    """

    times: np.ndarray
    starts: np.ndarray

    def each(self, ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
        """`ufunc` over the rows of each series, [series]."""
        return ufunc.reduceat(values, self.starts)

    def steps(self, values: np.ndarray, first: int = 0) -> np.ndarray:
        """Change from the row before, [row]; `first` in the first row of a series."""
        change = np.diff(values, prepend=values[:1])
        change[self.starts] = first
        return change

    @property
    def lengths(self) -> np.ndarray:
        """Number of rows of each series, [series]."""
        return np.diff(self.starts, append=len(self.times))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """A value per series, given to each of its rows."""
        return np.repeat(values, self.lengths)


class Calendar(NamedTuple):
    """Calendar of each row, [row]: month since January 1970, day, last of the month, weekday."""

    month: np.ndarray
    day: np.ndarray
    is_last: np.ndarray
    weekday: np.ndarray  # 0 is Monday
    midnight: np.ndarray


def calendar(times: np.ndarray) -> Calendar:
    """Calendar of microseconds since 1970, computed once for each different time."""
    codes, found = pd.factorize(times)
    days = found // DAY
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    day = days - months.astype("datetime64[D]").astype(np.int64) + 1
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int)
    parts = (months.astype(np.int64), day, day == length, (days + 3) % 7, found % DAY == 0)
    return Calendar(*(part[codes] for part in parts))


def infer_grids(rows: Rows, is_date: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grid of each series.

    Months where every date is a midnight, no month has two, and the dates are first or last days,
    the same day, or at least 28 days and not whole weeks apart; else working days where more than
    five dates avoid all weekends; else the greatest common divisor of the steps.

    Returns:
        family (index into FAMILIES), step, phase, int64 [series], and regular, bool [series]: False
        where no frequency can be inferred.
    """
    size, many = len(rows.starts), rows.lengths > 1
    gaps = rows.steps(rows.times)
    step = rows.each(np.gcd, gaps)
    share = _share(rows, gaps, step)
    family = np.full(size, FAMILIES.index("time" if is_date else "integer"))
    phase = rows.times[rows.starts] % np.maximum(step, 1)
    span = rows.each(np.maximum, rows.times) - rows.times[rows.starts]
    short = span // np.maximum(step, 1) < np.maximum(
        FEW_PERIODS, MOST_PERIODS_PER_ROW * rows.lengths
    )
    if is_date:
        days = calendar(rows.times)
        midnight = rows.each(np.logical_and, days.midnight)
        months = rows.steps(days.month)
        apart = rows.each(np.minimum, rows.steps(days.month, 1)) >= 1
        same = rows.each(np.minimum, days.day) == rows.each(np.maximum, days.day)
        edges = rows.each(np.logical_and, (days.day == 1) | days.is_last)
        far = rows.each(np.minimum, rows.steps(rows.times, 28 * DAY)) >= 28 * DAY
        monthly = midnight & apart & (edges | same | (far & (step % (7 * DAY) != 0)))
        month_step = rows.each(np.gcd, months)
        ends = monthly & rows.each(np.logical_and, days.is_last)
        first = days.month[rows.starts] - np.where(ends, month_step - 1, 0)
        family[monthly] = FAMILIES.index("month")
        phase = np.where(monthly, first % np.maximum(month_step, 1), phase)
        share = np.where(monthly, _share(rows, months, month_step), share)
        short |= monthly
        weekdays = midnight & rows.each(np.logical_and, days.weekday < 5) & ~monthly
        business = weekdays & (step == DAY) & (rows.lengths >= _BUSINESS_ROWS)
        family[business] = FAMILIES.index("business")
        step, phase = np.where(monthly, month_step, step), np.where(business, 0, phase)
        step = np.where(business, 1, step)
    return family, step, phase, many & short & (step > 0) & (share >= LEAST_SHARE)


def positions(grid: Grid, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position on `grid` of the period that contains each time, int64 [row]; True where none does.

    `times` are int64 [row], in microseconds since 1970, or integers.
    """
    none = np.zeros(len(times), bool)
    units = times
    if grid.family == "business":
        dates = (times // DAY).astype("datetime64[D]")
        none = ~np.is_busday(dates)
        dates = np.busday_offset(dates, 0, "backward")
        units = np.busday_count(np.datetime64("1970-01-01"), dates)
    elif grid.family == "month":
        units = calendar(times).month
    elif grid.family == "time" and grid.step % (7 * DAY) == 0:  # a week is named by its last day
        units = times if grid.phase % DAY else times // DAY * DAY
        return -((grid.phase - units) // grid.step), none
    return (units - grid.phase) // grid.step, none


def grid_times(grid: Grid, first: int, last: int) -> pd.Index:
    """Times of the positions first to last, both included; dates are first days of periods."""
    units = np.arange(first, last + 1, dtype=np.int64) * grid.step + grid.phase
    if grid.family == "integer":
        return pd.Index(units)
    if grid.family == "business":
        dates = np.busday_offset(np.datetime64("1970-01-01"), units)
    else:
        dates = units.astype("datetime64[M]" if grid.family == "month" else "datetime64[us]")
    return pd.DatetimeIndex(dates.astype("datetime64[us]"))


def alias(grid: Grid) -> str:
    """Pandas' name of the frequency of `grid`; "" for integers."""
    if grid.family == "integer":
        return ""
    if grid.family == "business":
        return "B"
    if grid.family == "month":
        if grid.step % 12 == 0:
            name = "YS" if grid.phase % 12 == 0 else f"YS-{_MONTHS[grid.phase % 12]}"
            return _times(grid.step // 12, name)
        if grid.step == 3:
            return "QS" if grid.phase == 0 else f"QS-{_MONTHS[grid.phase]}"
        return _times(grid.step, "MS")
    if grid.step % (7 * DAY) == 0:
        return _times(grid.step // (7 * DAY), f"W-{_WEEKDAYS[(grid.phase // DAY + 3) % 7]}")
    if grid.step % DAY == 0:
        return _times(grid.step // DAY, "D")
    name = next(name for name, unit in _UNITS.items() if grid.step % unit == 0)
    return _times(grid.step // _UNITS[name], name)


def grid_of(frequency: str, first: int | None = None) -> Grid:
    """Grid of a pandas alias; period ends (ME, QE, YE) mean the same periods as starts.

    Args:
        frequency: the alias.
        first: microseconds since 1970; multiples such as "2D" are counted from the period that
            contains it. Default: from 1970.

    Raises:
        ValueError: no alias, or one of a calendar not supported (such as working months' ends).
    """
    try:
        offset = pd.tseries.frequencies.to_offset(frequency)
    except (ValueError, TypeError):
        offset = None
    code = "" if offset is None else offset.rule_code.split("-")[0]
    count = 0 if offset is None else int(offset.n)
    grid = None
    if code in ("MS", "ME", "QS", "QE", "YS", "YE"):
        step = _MONTHS_IN[code[0]]
        month = getattr(offset, "startingMonth", None) or getattr(offset, "month", None) or 1
        # A quarter or year that ends in a month starts in the month after the one before it.
        grid = Grid("month", step, (month - 1 + (code[1] == "E" and code[0] != "M")) % step)
    elif code == "W" and (weekday := getattr(offset, "weekday", None)) is not None:
        grid = Grid("time", 7 * DAY, (weekday - 3) % 7 * DAY)
    elif code == "D":
        grid = Grid("time", DAY, 0)
    elif code == "B" and count == 1:
        grid = Grid("business", 1, 0)
    elif code in _UNITS:
        grid = Grid("time", _UNITS[code], 0)
    if grid is not None and count > 0:
        phase = grid.phase
        if count > 1 and first is not None:
            phase += grid.step * int(positions(grid, np.array([first]))[0][0])
        return Grid(grid.family, count * grid.step, phase % (count * grid.step))
    raise ValueError(
        f"frequency: expected a pandas alias such as 'MS', 'QS', 'YS', 'W-SUN', 'D', 'B' or 'h', "
        f"got {frequency!r}"
    )


def _share(rows: Rows, gaps: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Share of the steps of each series that equal `step`, [series]."""
    equal = gaps == rows.spread(step)
    equal[rows.starts] = False
    return rows.each(np.add, equal.astype(np.int64)) / np.maximum(rows.lengths - 1, 1)


def _times(count: int, name: str) -> str:
    return name if count == 1 else f"{count}{name}"
