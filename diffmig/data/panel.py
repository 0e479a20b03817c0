"""Panels: places x years x variables with a mask, and the views that models take of them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from diffmig.programs import as_array

from .errors import DataError, Problem, expectations, shorten


class Panel(NamedTuple):
    """Observations of several variables in several places over consecutive years.

    Attributes:
        values: float64 [place, year, variable]; 0.0 where not observed, so that no NaN travels
            silently.
        mask: bool [place, year, variable]; True where observed.
        places: name of each place.
        years: int64 [year], consecutive.
        names: name of each variable.
        units: unit of each variable, "" where none was given.
    """

    values: np.ndarray
    mask: np.ndarray
    places: tuple[str, ...]
    years: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]


def check_panel(panel: Panel) -> Panel:
    """`panel` itself, once its shapes, types and values are those that `Panel` promises.

    Raises:
        DataError: a wrong shape or dtype, years that are not consecutive, repeated names, a value
            that is not finite, or a value other than 0.0 where nothing is observed.
    """
    values, mask, years = panel.values, panel.mask, panel.years
    shape = (len(panel.places), len(years), len(panel.names))
    found, expect = expectations()
    expect(
        values.dtype == np.float64,
        f"values are {values.dtype}, expected float64",
        "convert them with values.astype(np.float64)",
    )
    expect(
        mask.dtype == np.bool_, f"mask is {mask.dtype}, expected bool", "use True where observed"
    )
    expect(
        values.shape == shape,
        f"values have shape {values.shape}, expected {shape} [place, year, variable]",
        "order the axes as place, year, variable",
    )
    expect(
        mask.shape == values.shape,
        f"mask has shape {mask.shape}, values have {values.shape}",
        "give one mask entry per value",
    )
    expect(
        years.dtype == np.int64 and years.size > 0 and (np.diff(years) == 1).all(),
        "years are not consecutive int64",
        "keep every year and mask the ones without data",
    )
    expect(len(panel.units) == len(panel.names), "units and names differ in length", "use ''")
    for what, labels in (("place", panel.places), ("variable", panel.names)):
        expect(
            len(set(labels)) == len(labels), f"a {what} name is repeated", "make the names unique"
        )
    if not found:
        bad = np.argwhere(~np.isfinite(values) | (~mask & (values != 0.0)))
        found = [
            Problem(
                None,
                panel.names[k],
                str(values[i, j, k]),
                f"unusable value in {panel.places[i]!r}, {years[j]}",
                "values are finite where observed and 0.0 elsewhere",
            )
            for i, j, k in bad
        ]
    if found:
        raise DataError(found, "panel")
    return panel


def variable(panel: Panel, name: str) -> np.ndarray:
    """Values of one variable, [place, year], in its unit; 0.0 where not observed.

    Raises:
        ValueError: the panel has no such variable.
    """
    return panel.values[:, :, _positions("variable", [name], panel.names)[0]]


def select(
    panel: Panel,
    *,
    places: Sequence[str] | None = None,
    years: tuple[int, int] | None = None,
    names: Sequence[str] | None = None,
) -> Panel:
    """The part of `panel` asked for, its places and variables in the order asked.

    Args:
        panel: the whole.
        places: place names; None keeps all.
        years: first and last year, both included; None keeps all.
        names: variable names; None keeps all.

    Returns:
        panel with copies of the selected values.

    Raises:
        ValueError: a place, variable or year that the panel does not have, or first year after
            last.
    """
    rows = _positions("place", panel.places if places is None else places, panel.places)
    cols = _positions("variable", panel.names if names is None else names, panel.names)
    first, last = (panel.years[0], panel.years[-1]) if years is None else years
    if not panel.years[0] <= first <= last <= panel.years[-1]:
        raise ValueError(
            f"years: expected first <= last inside {panel.years[0]}-{panel.years[-1]}, "
            f"got {first}-{last}"
        )
    start, stop = int(first - panel.years[0]), int(last - panel.years[0]) + 1
    return Panel(
        values=panel.values[np.ix_(rows, range(start, stop), cols)],
        mask=panel.mask[np.ix_(rows, range(start, stop), cols)],
        places=tuple(panel.places[i] for i in rows),
        years=panel.years[start:stop].copy(),
        names=tuple(panel.names[i] for i in cols),
        units=tuple(panel.units[i] for i in cols),
    )


def select_complete(panel: Panel) -> Panel:
    """The places of `panel` in which every variable is observed in every year.

    Raises:
        ValueError: no place is complete.
    """
    complete = panel.mask.all(axis=(1, 2))
    if not complete.any():
        raise ValueError(
            "no place has every variable in every year; select fewer years or variables first"
        )
    return select(panel, places=[panel.places[i] for i in np.flatnonzero(complete)])


def panel_to_frame(panel: Panel) -> pd.DataFrame:
    """Data frame in the rows layout: place, year, a column per variable; NaN where not observed."""
    num_places, num_years, num_names = panel.values.shape
    cells = np.where(panel.mask, panel.values, np.nan).reshape(num_places * num_years, num_names)
    frame = pd.DataFrame(cells, columns=list(panel.names))
    frame.insert(0, "place", np.repeat(np.array(panel.places, dtype=object), num_years))
    frame.insert(1, "year", np.tile(panel.years, num_places))
    return frame


def to_device(values: np.ndarray) -> jax.Array:
    """`values` as a JAX array of the same dtype.

    Raises:
        ValueError: `values` are float64 or int64 and x64 is off, where JAX would truncate them.
    """
    device_dtype = jax.dtypes.canonicalize_dtype(values.dtype)
    if device_dtype != values.dtype:
        raise ValueError(
            f"values: {values.dtype} would be truncated to {device_dtype}; call "
            "diffmig.runtime.configure(), which enables x64, before the first array"
        )
    return as_array(values)


def _positions(kind: str, wanted: Sequence[str], present: tuple[str, ...]) -> list[int]:
    if isinstance(wanted, str):
        raise ValueError(f"{kind}: expected a list of names, got the text {wanted!r}")
    index = {name: i for i, name in enumerate(present)}
    missing = [name for name in wanted if name not in index]
    if missing or len(wanted) == 0:
        listed = ", ".join(shorten(name) for name in present[:20])
        more = f" and {len(present) - 20} more" if len(present) > 20 else ""
        raise ValueError(f"{kind}: {missing or 'nothing'} asked for; the panel has {listed}{more}")
    return [index[name] for name in wanted]
