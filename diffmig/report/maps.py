"""Maps of places: a point each, its colour and size a value with a sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffmig.report.figures import check_label, check_table, figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NAMES = 30
_SMALLEST, _LARGEST = 12.0, 260.0  # square points
_SIZE, _LINE, _LETTER, _GAP = 7.0, 9.0, 3.9, 3.0  # of labels, points


def draw_places(
    table: pd.DataFrame,
    *,
    title: str,
    value_label: str,
    source: str,
    names: Sequence[str] = (),
) -> Figure:
    """Places by longitude and latitude; gains are blue, losses red, the area grows with the size.

    Args:
        table: tidy, a row per place and panel: `place`, `latitude`, `longitude` (degrees), `value`
            (missing ones are drawn as crosses) and optionally `panel`, a map each with a common
            scale of colours.
        title, source: as in `figure`.
        value_label: "quantity, unit" of the colours.
        names: places that are labelled, the first ones first; at most 30 keep a map readable. A
            label that finds no room beside its place is left out.

    Returns:
        figure. Longitudes are narrowed by the cosine of the middle latitude, so that distances look
        alike in both directions. The scale ends at the 98 % quantile of sizes: a few places beyond
        it do not make all others pale.

    Raises:
        ValueError: columns are missing, the table is empty, or too many names.
    """
    check_table(table, ("place", "latitude", "longitude", "value"))
    check_label("value_label", value_label)
    if len(names) > _MOST_NAMES:
        raise ValueError(f"names: expected at most {_MOST_NAMES}, got {len(names)}")
    panels = list(dict.fromkeys(table["panel"])) if "panel" in table.columns else [None]
    middle = np.deg2rad(float(table["latitude"].mean()))
    wide = max(float(np.ptp(table["longitude"])) * np.cos(middle), 1e-6)
    tall = float(np.ptp(table["latitude"]))
    each = float(np.clip(5.2 * tall / wide, 1.2, 5.0))
    drawn, axes = figure(
        title, "longitude, °", "latitude, °", source, rows=len(panels),
        height=1.9 + (each + 0.35) * len(panels),
    )  # fmt: skip
    size = table["value"].abs().dropna()
    top = float(size.quantile(0.98)) if len(size) else 1.0
    top = top if top > 0 else 1.0
    points = None
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        part = table if panel is None else table[table["panel"] == panel]
        part = part.sort_values("value", key=np.abs)
        known = part["value"].notna()
        share = np.clip(part.loc[known, "value"].abs() / top, 0.0, 1.0)
        crowd = np.clip(60.0 / max(len(part), 1), 0.12, 1.0)
        points = axis.scatter(
            part.loc[known, "longitude"], part.loc[known, "latitude"],
            c=part.loc[known, "value"], s=(_SMALLEST + _LARGEST * share) * crowd,
            cmap="RdBu", vmin=-top, vmax=top, edgecolors="#444444", linewidths=0.3,
        )  # fmt: skip
        axis.scatter(
            part.loc[~known, "longitude"], part.loc[~known, "latitude"], marker="x", c="#999999",
            s=14.0,
        )  # fmt: skip
        axis.set_aspect(1.0 / np.cos(middle), adjustable="box")
        axis.margins(0.06)
        _label(drawn, axis, part, names)
        if panel is not None:
            axis.set_title(str(panel), fontsize=12)
    assert points is not None
    bar = drawn.colorbar(points, ax=list(axes[:, 0]), location="bottom", shrink=0.9, pad=0.02)
    bar.set_label(value_label, fontsize=11)
    bar.ax.tick_params(labelsize=10)
    return drawn


def _label(drawn: Figure, axis: Axes, part: pd.DataFrame, names: Sequence[str]) -> None:
    """Names beside their points, at the first of four corners where no earlier one is."""
    axis.apply_aspect()
    rows = part[part["place"].isin(names)].drop_duplicates("place")
    points = rows[["longitude", "latitude"]].to_numpy(float)
    printed = axis.transData.transform(points) * 72.0 / drawn.dpi
    where = dict(zip(rows["place"], zip(points, printed, strict=True), strict=True))
    taken: list[tuple[float, float, float, float]] = []
    for name in (n for n in names if n in where):
        at, (x, y) = where[name]
        width = _LETTER * len(str(name))
        for right, up in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            left = x + _GAP if right > 0 else x - _GAP - width
            low = y + _GAP if up > 0 else y - _GAP - _LINE
            box = (left, low, left + width, low + _LINE)
            if any(_overlap(box, other) for other in taken):
                continue
            taken.append(box)
            axis.annotate(
                str(name), (at[0], at[1]), fontsize=_SIZE, xytext=(right * _GAP, up * _GAP),
                textcoords="offset points", ha="left" if right > 0 else "right",
                va="bottom" if up > 0 else "top",
            )  # fmt: skip
            break


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
