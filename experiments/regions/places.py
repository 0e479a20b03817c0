"""From a panel with many places to GRP and factors of complete regions in constant prices."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from diffmig import data, evaluate
from experiments.regions.config import Config

MIN_TRAINING_YEARS = 5  # fewest for an autoregression of log differences


class Regions(NamedTuple):
    """Complete regions on the years of data.

    Attributes:
        names: [region].  years: [year].  factor_names: [factor].
        num_training: number of training years at the start.
        grp: GRP in constant prices, [region, year].
        factors: [region, year, factor].
        left_out: place and reason, for every place that does not enter.
    """

    names: tuple[str, ...]
    years: np.ndarray
    factor_names: tuple[str, ...]
    num_training: int
    grp: np.ndarray
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
    then places with a gap in the years left or with a GRP that is not positive. Each is listed.

    Raises:
        DataError: columns are missing, both indices are named, or too few years or regions.
    """
    config = _with_factors(config, panel)
    index = config.price_index or config.volume_index
    names, left_out = list(panel.places), []
    if config.aggregate:
        sums = data.variable(panel, config.aggregate).any(axis=1)
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
    gaps = (~whole.mask).sum(axis=(1, 2))
    must_be_positive = whole.values[:, :, [0, -1] if index else [0]]
    positive = (must_be_positive > 0).all(axis=(1, 2))
    left_out += [(p, f"{g} gaps in {first}-{last}") for p, g in zip(names, gaps, strict=True) if g]
    left_out += [
        (place, "GRP or index not positive")
        for place, gap, ok in zip(names, gaps, positive, strict=True)
        if not gap and not ok
    ]
    keep = [p for p, g, ok in zip(names, gaps, positive, strict=True) if not g and ok]
    if len(keep) < evaluate.significance.MIN_PAIRS:
        raise _error(
            f"{len(keep)} complete regions in {first}-{last}, the tests need "
            f"{evaluate.significance.MIN_PAIRS}; left out: {left_out[:5]}",
            "name fewer --config.factors",
        )
    whole = data.select_complete(data.select(whole, places=keep))
    last_training = config.last_training_year or last - 6
    num_training = last_training - first + 1
    shortest = num_training - config.selection_horizon - config.num_origins + 1
    if shortest < MIN_TRAINING_YEARS or last_training >= last:
        raise _error(
            f"years {first}-{last} do not fit training to {last_training} with {config.num_origins} "
            f"origins of {config.selection_horizon} years: the first origin would train on "
            f"{shortest} years, {MIN_TRAINING_YEARS} are needed, and one year must be left to score",
            "set --config.last-training-year, --config.num-origins, --config.selection-horizon",
        )
    money = _constant_prices(config, whole, last_training)
    return Regions(
        whole.places, whole.years, config.factors, num_training,
        money[:, :, 0], money[:, :, 1 : 1 + len(config.factors)], tuple(left_out),
    )  # fmt: skip


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


def extend_factors(known: np.ndarray, num_years: int) -> np.ndarray:
    """Factors known to some year, then forecast by each region's own AR(1), [region, year, factor].

    AR(1) in levels; of log differences where its root is not inside (-1, 1) and the factor is
    positive, so that a growing factor does not explode.
    """
    ahead = num_years - known.shape[1]
    if ahead == 0:
        return known
    series = jnp.asarray(np.moveaxis(known, 1, 2))
    positive = (series > 0).all(axis=-1, keepdims=True)
    level = evaluate.ar1(series, ahead)
    logs = evaluate.ar1(jnp.where(positive, series, 1.0), ahead, log_difference=True)
    in_logs = (level.status == 1)[..., None] & positive
    path = jnp.where(in_logs, logs.forecast, level.forecast)
    return np.concatenate([known, np.moveaxis(np.asarray(path), 2, 1)], axis=1)


def cobb_douglas(
    grp: np.ndarray, factors: np.ndarray, num_training: int, *, differences: bool
) -> np.ndarray:
    """Production function of every region by ordinary least squares, [region, year after training].

    log grp_t = a + sum_k b_k log factor_kt, or the same for annual differences of the logarithms,
    accumulated from the last training year. A factor that is not always positive enters as it is.

    Args:
        grp: [region, year]; only training years are read.
        factors: actual or forecast factors of all years, [region, year, factor].
        num_training: number of training years.

    Notes:
        More coefficients than years, or collinear factors: the solution of least norm in units of
        the factors' training spread.
    """
    positive = (factors > 0).all(axis=1, keepdims=True)
    x = np.where(positive, np.log(np.where(positive, factors, 1.0)), factors)
    y = np.log(grp[:, :num_training])
    end = num_training
    if differences:
        x, y, end = np.diff(x, axis=1), np.diff(y, axis=1), num_training - 1
    center, spread = (f(x[:, :end], axis=1, keepdims=True) for f in (np.mean, np.std))
    x = (x - center) / np.where(spread > 0, spread, 1.0)
    slope = np.linalg.pinv(x[:, :end], rcond=1e-10) @ (y - y.mean(axis=1, keepdims=True))[..., None]
    forecast = y.mean(axis=1, keepdims=True) + (x[:, end:] @ slope)[..., 0]
    if differences:
        forecast = np.log(grp[:, num_training - 1 : num_training]) + np.cumsum(forecast, axis=1)
    return np.exp(forecast)


def _error(what: str, cure: str) -> data.DataError:
    return data.DataError([data.Problem(None, None, None, what, cure)])
