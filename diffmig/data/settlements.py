"""Settlements: migration balances by place and year, with the places' coordinates."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .errors import DataError, Problem, expectations
from .panel import Panel, check_panel, select

UNITS = {"balance": "persons/year", "population": "persons"}


class Settlements(NamedTuple):
    """Migration balances of settlements, what is known about them, and where they lie.

    Attributes:
        panel: variables "balance" (arrivals minus departures, persons/year, + is a gain; observed
            everywhere), "population" (mean annual or mid-year residents, persons, > 0, where
            known), then features.
        latitude: float64 [place], degrees, + is north.
        longitude: float64 [place], degrees from -180 to 180, + is east.
        left_out: name of each place that was not taken, and the reason, sorted.
        note: what else is to be known about the data.
    """

    panel: Panel
    latitude: np.ndarray
    longitude: np.ndarray
    left_out: tuple[tuple[str, str], ...]
    note: tuple[str, ...]


def check_settlements(settlements: Settlements) -> Settlements:
    """`settlements` itself, once shapes, types and values are those that `Settlements` promises.

    Two places may have the same coordinates: their distance is 0.

    Raises:
        DataError: what `check_panel` refuses, no balance or one that is not first or not observed
            everywhere, a population that is not positive, coordinates of a wrong shape, dtype or
            range, fewer than two places, or a place that was left out among the others.
    """
    panel = check_panel(settlements.panel)
    found, expect = expectations()
    expect(
        panel.names[:1] == ("balance",) and "population" not in panel.names[2:],
        f"the variables are {panel.names}, expected balance, population if known, features",
        "name and order them so",
    )
    expect(len(panel.places) > 1, f"{len(panel.places)} settlement", "give at least two")
    for name, degrees in (("latitude", settlements.latitude), ("longitude", settlements.longitude)):
        expect(
            degrees.dtype == np.float64 and degrees.shape == (len(panel.places),),
            f"the {name} is {degrees.dtype} of shape {degrees.shape}, "
            f"expected float64 {(len(panel.places),)} [place]",
            "give one number per place, in their order",
        )
    both = sorted({name for name, _ in settlements.left_out} & set(panel.places))
    expect(not both, f"left out and there: {both}", "take them out of one of the two")
    if not found:
        found = _bad_values(settlements)
    if found:
        raise DataError(found, "settlements")
    return settlements


def select_settlements(
    settlements: Settlements,
    *,
    places: Sequence[str] | None = None,
    years: tuple[int, int] | None = None,
    names: Sequence[str] | None = None,
) -> Settlements:
    """The part of `settlements` asked for, its places and variables in the order asked.

    Args:
        settlements: the whole.
        places: place names; None keeps all.
        years: first and last year, both included; None keeps all.
        names: variables, "balance" first; None keeps all.

    Returns:
        settlements with copies of the selected values; what was left out and noted stays.

    Raises:
        ValueError: a place, variable or year that is not there.
        DataError: fewer than two places, or no balance.
    """
    panel = select(settlements.panel, places=places, years=years, names=names)
    index = {name: i for i, name in enumerate(settlements.panel.places)}
    at = [index[name] for name in panel.places]
    return check_settlements(
        settlements._replace(
            panel=panel, latitude=settlements.latitude[at], longitude=settlements.longitude[at]
        )
    )


def unusable_places(panel: Panel) -> dict[str, str]:
    """Places whose balance cannot be modelled, and why.

    A balance with a gap has no rate of change there; one that never changes correlates with no
    other. A place without any population cannot be scaled where the others can.
    """
    reasons = {}
    population = panel.names.index("population") if "population" in panel.names else None
    for i, place in enumerate(panel.places):
        balance, seen = panel.values[i, :, 0], panel.mask[i, :, 0]
        if not seen.all():
            first = panel.years[np.argmin(seen)]
            reasons[place] = f"no balance in {(~seen).sum()} of {seen.size} years, first in {first}"
        elif (balance == balance[0]).all():
            reasons[place] = f"the balance is {balance[0]:.10g} in every year"
        elif population is not None and not panel.mask[i, :, population].any():
            reasons[place] = "no population in any year"
    return reasons


def without_unusable(settlements: Settlements, file: str) -> Settlements:
    """`settlements` without the places that `unusable_places` names, which join `left_out`.

    Raises:
        DataError: fewer than two places remain.
    """
    reasons = unusable_places(settlements.panel)
    left_out = tuple(sorted([*settlements.left_out, *reasons.items()]))
    kept = [place for place in settlements.panel.places if place not in reasons]
    if len(kept) < 2:
        raise DataError([too_few(len(kept), left_out)], file)
    return select_settlements(settlements._replace(left_out=left_out), places=kept)


def too_few(count: int, left_out: Sequence[tuple[str, str]]) -> Problem:
    """The problem of fewer than two usable places."""
    what = f"{count} settlement{'' if count == 1 else 's'} with a usable balance, two are needed"
    listed = "; ".join(f"{place!r}: {reason}" for place, reason in left_out[:5])
    more = f"; and {len(left_out) - 5} more" if len(left_out) > 5 else ""
    cure = "add settlements"
    if left_out:
        cure = f"complete those left out ({listed}{more}), or take years that they cover"
    return Problem(None, None, None, what, cure)


def _bad_values(settlements: Settlements) -> list[Problem]:
    panel = settlements.panel
    cure = "complete it, or leave the place out"
    problems = [
        Problem(None, "balance", None, f"none of {panel.places[i]!r} in {panel.years[k]}", cure)
        for i, k in np.argwhere(~panel.mask[:, :, 0])
    ]
    if "population" in panel.names:
        j = panel.names.index("population")
        wrong = panel.mask[:, :, j] & (panel.values[:, :, j] <= 0.0)
        problems += [
            Problem(
                None,
                "population",
                f"{panel.values[i, k, j]:.10g}",
                f"no people in {panel.places[i]!r}, {panel.years[k]}",
                "give the residents, or mask the year",
            )
            for i, k in np.argwhere(wrong)
        ]
    for name, degrees, most in (
        ("latitude", settlements.latitude, 90.0),
        ("longitude", settlements.longitude, 180.0),
    ):
        what, cure = f"outside -{most:.0f} to {most:.0f} degrees", "give decimal degrees"
        problems += [
            Problem(None, name, str(degrees[i]), f"{panel.places[i]!r} lies {what}", cure)
            for i in np.flatnonzero(~(np.abs(degrees) <= most))
        ]
    return problems
