"""Dates and integer times from the text or typed cells of one column."""

import re
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd

from .cells import as_text, prepare
from .errors import Problem

DAY = 86_400_000_000  # microseconds
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = "|".join(_MONTHS)
_WHOLE = r"[+-]?[0-9]{1,15}(?:\.0*)?"
_COMPACT = (15_000_101, 25_001_231)  # dates written as 20200131
_OFFSET = re.compile(r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)$")
_SLASHES = r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})"
NO_TIME = np.iinfo(np.int64).min


class Moments(NamedTuple):
    """One column of times.

    Attributes:
        values: int64 [row], microseconds since 1970 for dates, else the integers; 0 where bad.
        bad: bool [row].
        is_date: whether the values are dates.
        problem: why the column as a whole cannot be read, else None.
    """

    values: np.ndarray
    bad: np.ndarray
    is_date: bool
    problem: Problem | None = None


def parse_times(column: pd.Series) -> Moments:
    """Times of one column: dates, or integers where at least half of its different cells are.

    Dates: typed dates and periods; text such as 2020-01-31, 2020-01-31T10:30, 2020-01, 20200131,
    31.01.2020, 01.2020, 31/01/2020 (day and month told apart by the days after the 12th), 2020 Q1,
    2020 Jan, Jan 2020, 2020 W05 (an ISO week: its Monday). A period stands for its first day. Times
    with a zone are read as wall-clock dates where all are midnights, else in UTC.
    """
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        wall = column.dt.tz_localize(None)
        midnight = (wall.dropna() == wall.dropna().dt.normalize()).all()
        column = wall if midnight else column.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return _dates(column.to_numpy().astype("datetime64[us]"))
    column = prepare(column)
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _integers(column.to_numpy(dtype=np.float64, na_value=np.nan))
    codes, found = pd.factorize(column)
    text = as_text(pd.Series(found, dtype=object))
    whole = text.str.fullmatch(_WHOLE).to_numpy(dtype=bool)
    if 2 * whole.sum() >= max((text != "").sum(), 1):
        read = _integers(text.where(whole, "nan").astype(np.float64).to_numpy())
    else:
        read = _date_texts(text)
    # Code -1, no value, takes the entry appended behind the others.
    values, bad = np.append(read.values, 0)[codes], np.append(read.bad, True)[codes]
    return read._replace(values=values, bad=bad)


def moment_text(value: int, is_date: bool) -> str:
    """One time for a message."""
    if not is_date:
        return str(value)
    moment = np.datetime64(int(value), "us")
    return str(moment.astype("datetime64[D]") if value % DAY == 0 else moment)


def _dates(values: np.ndarray) -> Moments:
    bad = np.isnat(values)
    return Moments(np.where(bad, 0, values.astype(np.int64)), bad, True)


def _integers(numbers: np.ndarray) -> Moments:
    with np.errstate(invalid="ignore"):
        bad = ~((np.abs(numbers) < 2.0**53) & (numbers == np.floor(numbers)))
    values = np.where(bad, 0.0, numbers).astype(np.int64)
    good = values[~bad]
    if good.size and good.min() >= _COMPACT[0] and good.max() <= _COMPACT[1]:
        found, codes = np.unique(values, return_inverse=True)
        dates = _dates(_strptime(pd.Series(found.astype(str)), "%Y%m%d"))
        if not dates.bad[found != 0].any():
            return Moments(np.where(bad, 0, dates.values[codes]), bad, True)
    return Moments(values, bad, False)


def _date_texts(text: pd.Series) -> Moments:
    values = np.full(len(text), NO_TIME).astype("datetime64[us]")
    problem = None

    def fill(pattern: str, convert: Callable[[pd.Series], np.ndarray]) -> None:
        rows = text.str.fullmatch(pattern, case=False).to_numpy(dtype=bool)
        if rows.any():
            values[rows] = convert(text[rows])

    fill(r"[0-9]{4}-[0-9]{2}(?:-[0-9]{2}(?:[T ][0-9:.,]+(?:Z|[+-][0-9:]+)?)?)?", _iso)
    fill(r"[0-9]{4}[ -]?Q[1-4]", lambda t: _months(t.str[:4], 3 * t.str[-1].astype(int) - 2))
    fill(r"Q[1-4][ -]?[0-9]{4}", lambda t: _months(t.str[-4:], 3 * t.str[1].astype(int) - 2))
    fill(rf"[0-9]{{4}}[ -]?(?:{_NAME})[a-z]*\.?", lambda t: _months(t.str[:4], _named(t)))
    fill(rf"(?:{_NAME})[a-z]*\.?[ -]?[0-9]{{4}}", lambda t: _months(t.str[-4:], _named(t)))
    fill(r"[0-9]{4}[ -]?W[0-9]{1,2}", _weeks)
    fill(r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}", lambda t: _strptime(t, "%d.%m.%Y"))
    fill(r"[0-9]{1,2}\.[0-9]{4}", lambda t: _strptime(t, "%m.%Y"))
    fill(r"[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}", lambda t: _strptime(t, "%Y/%m/%d"))
    fill(r"[0-9]{8}", lambda t: _strptime(t, "%Y%m%d"))
    slashes = text[text.str.fullmatch(_SLASHES)]
    if len(slashes):
        day_first, month_first = (_strptime(slashes, f) for f in ("%d/%m/%Y", "%m/%d/%Y"))
        failed = [int(np.isnat(read).sum()) for read in (day_first, month_first)]
        fill(_SLASHES, lambda t: month_first if failed[1] < failed[0] else day_first)
        if failed == [0, 0] and (day_first != month_first).any():
            what = "day and month cannot be told apart"
            cure = "write dates as 2020-01-31"
            problem = Problem(None, None, str(slashes.iloc[0]), what, cure)
    return _dates(values)._replace(problem=problem)


def _iso(text: pd.Series) -> np.ndarray:
    if not text.str[10:].str.contains(_OFFSET).any():
        return _to_datetime(text, format="ISO8601")
    wall = text.str[:10] + text.str[10:].str.replace(_OFFSET, "", regex=True)
    read = _to_datetime(wall, format="ISO8601")
    if (read[~np.isnat(read)].astype(np.int64) % DAY == 0).all():
        return read
    aware = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    return aware.dt.tz_localize(None).to_numpy().astype("datetime64[us]")


def _months(year: pd.Series, month: pd.Series) -> np.ndarray:
    return _strptime(year + "-" + month.astype(str), "%Y-%m")


def _named(text: pd.Series) -> pd.Series:
    name = text.str.lower().str.extract(f"({_NAME})", expand=False)
    return name.map({name: i + 1 for i, name in enumerate(_MONTHS)})


def _weeks(text: pd.Series) -> np.ndarray:
    def monday(week: str) -> np.datetime64:
        year, number = re.split(r"[ -]?[wW]", week)
        try:
            return np.datetime64(date.fromisocalendar(int(year), int(number), 1), "us")
        except ValueError:
            return np.datetime64("NaT", "us")

    return np.array([monday(week) for week in text], dtype="datetime64[us]")


def _strptime(text: pd.Series, form: str) -> np.ndarray:
    return _to_datetime(text, format=form)


def _to_datetime(text: pd.Series, format: str) -> np.ndarray:
    read = pd.to_datetime(text, format=format, errors="coerce")
    return read.to_numpy().astype("datetime64[us]")
