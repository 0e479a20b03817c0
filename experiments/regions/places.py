"""From a panel with many places to GRP and factors of complete regions in constant prices."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from diffmig import data, evaluate
from experiments.regions.config import Config

MIN_TRAINING_YEARS = 5  # fewest for an autoregression of log differences


class Regions(NamedTuple):
    """Complete regions on the years of data.

    Attributes:
        names: [region].  years: [year].  factor_names: [factor].
        num_training: number of training years at the start.
        grp: GRP in constant prices, [region, year].  unit: its unit.
        factors: [region, year, factor].
        left_out: place and reason, for every place that does not enter.
    """

    names: tuple[str, ...]
    years: np.ndarray
    factor_names: tuple[str, ...]
    num_training: int
    grp: np.ndarray
    unit: str
    factors: np.ndarray
    left_out: tuple[tuple[str, str], ...]


def load(data_file: Path | None, config: Config) -> data.Panel:
    """The user's panel, or the US states; gaps are masked."""
    if data_file is None:
        return data.load_us_states_munnell()
    special = (config.grp, config.price_index, config.volume_index, config.aggregate)
    wanted = [*special, *config.factors] if config.factors else None
    return data.read_panel(
        data_file,
        place_column=config.place_column,
        year_column=config.year_column,
        variables=None if wanted is None else [name for name in wanted if name],
        gaps="mask",
    )


def make_regions(config: Config, panel: data.Panel) -> Regions:
    """The regions of `panel` that are complete.

    Aggregates are left out. So are, at both ends, years in which no place has GRP and all factors;
    then places with a gap in the years left, with GRP that is not positive, or with a factor that
    is positive in the training years only. Each is listed.

    Raises:
        DataError: columns are missing, both indices are named, or too few years or regions.
    """
    config = _with_factors(config, panel)
    index = config.price_index or config.volume_index
    names, left_out = list(panel.places), []
    if config.aggregate:
        sums = np.any(data.variable(panel, config.aggregate), axis=1)
        left_out += [(p, "sum of other places") for p, s in zip(names, sums, strict=True) if s]
        names = [p for p, s in zip(names, sums, strict=True) if not s]
    columns = [config.grp, *config.factors, *([index] if index else [])]
    if not names:
        raise _error(f"{config.aggregate!r} marks every place", "leave --config.aggregate empty")
    whole = data.select(panel, places=names, names=columns)
    usable = whole.mask[:, :, : 1 + len(config.factors)].all(axis=2).any(axis=0)
    if not usable.any():
        raise _error("no place has GRP and all factors in any year", "name fewer --config.factors")
    first, last = (int(whole.years[k]) for k in np.flatnonzero(usable)[[0, -1]])
    whole = data.select(whole, years=(first, last))
    if index:  # the index of the first year leads to it from the year before: nothing uses it
        whole.mask[:, 0, -1], whole.values[:, 0, -1] = True, 100.0
    last_training = config.last_training_year or last - 6
    num_training = last_training - first + 1
    shortest = num_training - config.selection_horizon - config.num_origins + 1
    if shortest < MIN_TRAINING_YEARS or last_training >= last:
        raise _error(
            f"years {first}-{last} do not fit training to {last_training} with "
            f"{config.num_origins} origins of {config.selection_horizon} years: the first would "
            f"train on {shortest} years ({MIN_TRAINING_YEARS} are needed), and a year must be left",
            "set --config.last-training-year, --config.num-origins, --config.selection-horizon",
        )
    reasons = [_unfit(whole, place, num_training, bool(index)) for place in range(len(names))]
    left_out += [(n, reason) for n, reason in zip(names, reasons, strict=True) if reason]
    keep = [n for n, reason in zip(names, reasons, strict=True) if not reason]
    if len(keep) < evaluate.significance.MIN_PAIRS:
        raise _error(
            f"{len(keep)} complete regions in {first}-{last}, the tests need "
            f"{evaluate.significance.MIN_PAIRS}; left out: {left_out[:5]}",
            "name fewer --config.factors",
        )
    whole = data.select_complete(data.select(whole, places=keep))
    money = _constant_prices(config, whole, last_training)
    deflated = f", {last_training} prices" if index else ""
    return Regions(
        names=whole.places,
        years=whole.years,
        factor_names=config.factors,
        num_training=num_training,
        grp=money[:, :, 0],
        unit=(whole.units[0] or "unit of the data") + deflated,
        factors=money[:, :, 1 : 1 + len(config.factors)],
        left_out=tuple(left_out),
    )


def _unfit(panel: data.Panel, place: int, num_training: int, has_index: bool) -> str:
    """Why a place cannot enter, or nothing."""
    gaps = int((~panel.mask[place]).sum())
    if gaps:
        return f"{gaps} gaps in {panel.years[0]}-{panel.years[-1]}"
    money, factors = panel.values[place, :, [0, -1] if has_index else [0]], panel.values[place]
    if (money <= 0).any():
        return "GRP or index not positive"
    # inputs are logarithms where a factor is positive: they must be so before and after
    turned = (factors[:num_training] > 0).all(axis=0) & ~(factors > 0).all(axis=0)
    if turned.any():
        return f"{panel.names[int(np.argmax(turned))]} is positive in the training years only"
    return ""


def _constant_prices(config: Config, panel: data.Panel, base_year: int) -> np.ndarray:
    """Values with GRP and the `deflated` factors in prices of `base_year`."""
    values = panel.values.copy()
    if not (config.price_index or config.volume_index):
        return values
    index = values[:, :, -1]
    if config.volume_index:
        index = data.implicit_deflator(values[:, :, 0], index)
    factor = data.price_factor(index, panel.years, base_year)
    for name in (config.grp, *config.deflated):
        values[:, :, panel.names.index(name)] *= factor
    return values


def _with_factors(config: Config, panel: data.Panel) -> Config:
    special = (config.grp, config.price_index, config.volume_index, config.aggregate)
    factors = config.factors or tuple(n for n in panel.names if n not in special)
    wanted = [name for name in (*special, *factors, *config.deflated) if name]
    missing = [name for name in wanted if name not in panel.names]
    if missing or not factors or not set(config.deflated) <= set(factors):
        raise _error(
            f"columns {missing} are missing; there are {list(panel.names)}"
            if missing
            else f"factors {factors}, of which deflated {config.deflated}",
            "name yours with --config.grp and --config.factors (at least one); "
            "--config.deflated are some of the factors",
        )
    if (config.price_index and config.volume_index) or (
        config.deflated and not (config.price_index or config.volume_index)
    ):
        raise _error(
            f"price_index {config.price_index!r}, volume_index {config.volume_index!r}, deflated "
            f"{config.deflated}",
            "name one index, which deflated factors need",
        )
    return replace(config, factors=factors)


def _error(what: str, cure: str) -> data.DataError:
    return data.DataError([data.Problem(None, None, None, what, cure)])
