"""Splits that follow time."""

from typing import NamedTuple

import numpy as np

from .panel import Panel, select


class Origin(NamedTuple):
    """One forecast origin: training years up to it, and the test years of its horizon."""

    train_years: np.ndarray
    test_years: np.ndarray


def split_years(panel: Panel, last_training_year: int) -> tuple[Panel, Panel]:
    """Panels of the years up to and including `last_training_year`, and of the years after it.

    Raises:
        ValueError: one of the two would be empty.
    """
    first, last = int(panel.years[0]), int(panel.years[-1])
    if not first <= last_training_year < last:
        raise ValueError(
            f"last_training_year: expected {first}-{last - 1}, so that both parts have years, "
            f"got {last_training_year}"
        )
    return (
        select(panel, years=(first, last_training_year)),
        select(panel, years=(last_training_year + 1, last)),
    )


def rolling_origins(
    years: np.ndarray, first_origin: int, horizon: int, step: int = 1
) -> list[Origin]:
    """Every origin from `first_origin` on whose whole horizon lies inside `years`.

    Args:
        years: int [year], consecutive.
        first_origin: last training year of the first origin; later origins train on all years up to
            theirs.
        horizon: number of test years of each origin.
        step: years between origins.

    Returns:
        origins in order of time.

    Raises:
        ValueError: years that are not consecutive, `first_origin` outside them, horizon or step
            below 1, or no origin with a whole horizon.
    """
    years = np.asarray(years)
    if years.ndim != 1 or years.size == 0 or (np.diff(years) != 1).any():
        raise ValueError(f"years: expected consecutive years, got {years}")
    if horizon < 1 or step < 1:
        raise ValueError(f"expected horizon >= 1 and step >= 1, got {horizon} and {step}")
    if not years[0] <= first_origin <= years[-1] - horizon:
        raise ValueError(
            f"first_origin: expected {years[0]}-{years[-1] - horizon} for a horizon of {horizon}, "
            f"got {first_origin}"
        )
    ends = np.arange(first_origin - years[0], years.size - horizon, step) + 1
    return [Origin(years[:end], years[end : end + horizon]) for end in ends]
