"""Figures drawn from tidy tables: the parquet beside a figure is exactly what is drawn in it.

matplotlib is imported inside; `matplotlib.figure.Figure` is used directly, pyplot and its global
state never are.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

KINDS = ("actual", "fitted", "forecast")
BAND = "5–95 % of runs"

# Okabe and Ito (2008): told apart with every common form of colour blindness; actual values are
# black.
_ACTUAL = "#000000"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# 900 pixels wide: on a phone of 360 pixels 13 pt stay 12 pixels high.
_WIDTH, _HEIGHT, _DPI = 5.6, 4.4, 160
_STYLE: Any = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "legend.fontsize": 12,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 4.0,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
}


def figure(
    title: str,
    x_label: str,
    y_label: str,
    source: str,
    *,
    rows: int = 1,
    columns: int = 1,
    share_y: bool = True,
    height: float | None = None,
) -> tuple[Figure, np.ndarray]:
    """Figure in the house style and its axes [row, column], labelled along the left and lower edge.

    Args:
        title: what the figure shows.
        x_label, y_label: "quantity, unit" (", 1" for a pure number); "year" needs no unit, and
            the y_label "" is for names (bars) and for panels with their own units.
        source: where the numbers come from, printed below; may not be empty.
        rows, columns: grid of axes with a common horizontal scale.
        share_y: common vertical scale too.
        height: inches; None takes 4.4, more for more than one row.

    Raises:
        ValueError: a label has no unit, or title or source is empty.
    """
    import matplotlib
    from matplotlib.figure import Figure

    check_label("x_label", x_label)
    if y_label:
        check_label("y_label", y_label)
    if not title.strip() or not source.strip():
        raise ValueError(f"expected a title and a source, got {title!r} and {source!r}")
    with matplotlib.rc_context(_STYLE):
        height = height or max(_HEIGHT, 1.4 + 2.1 * rows)
        made = Figure(figsize=(_WIDTH, height))
        axes = made.subplots(rows, columns, sharex=True, sharey=share_y, squeeze=False)
        made.suptitle(_wrap(title, 48), x=0.02, ha="left", fontsize=14, fontweight="bold")
        note = _wrap(f"Source: {source}", 90)
        made.text(0.98, 0.005, note, fontsize=8, color="#555555", ha="right", va="bottom")
        below = 0.18 * (note.count("\n") + 1) / height
        made.get_layout_engine().set(rect=(0, below, 1, 1 - below))  # type: ignore[union-attr, call-arg]
        for axis in axes[-1]:
            axis.set_xlabel(x_label)
        if rows * columns == 1:
            axes[0, 0].set_title(y_label, fontsize=12)  # level, above the axis: no wide margin
        elif y_label:
            made.supylabel(y_label, fontsize=13)
    return made, axes


def png_bytes(drawn: Figure) -> bytes:
    """`drawn` as PNG in the house style, without a date, so that equal figures are equal files."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        drawn.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def draw_series(
    table: pd.DataFrame,
    *,
    title: str,
    y_label: str,
    source: str,
    x: str = "year",
    x_label: str = "year",
    last_training_year: float | None = None,
    log_y: bool = False,
    band: str = BAND,
) -> Figure:
    """Lines over years with their bands.

    Args:
        table: tidy, a row per point: `series` (name in the legend), `kind` ("actual" black with
            points, "fitted" thin, "forecast" thick), the column `x`, `value`, and optionally `low`
            and `high`, a band. Missing values break a line.
        title, y_label, x_label, source: as in `figure`.
        x: column of the horizontal axis ("iteration", say).
        last_training_year: where a vertical line parts training from validation.
        log_y: logarithmic vertical axis.
        band: what `low` and `high` are, for the legend.

    Raises:
        ValueError: columns are missing, the table is empty, or a kind is unknown.
    """
    check_table(table, ("series", "kind", x, "value"))
    check_label("y_label", y_label)
    drawn, axes = figure(title, x_label, y_label, source)
    _draw_lines(axes[0, 0], table, x, _styles(table), last_training_year, log_y, band)
    _add_legend(drawn, axes)
    return drawn


def draw_grid(
    table: pd.DataFrame,
    *,
    title: str,
    y_label: str = "",
    source: str,
    panel: str = "panel",
    columns: int = 2,
    x: str = "year",
    x_label: str = "year",
    last_training_year: float | None = None,
    common_scale: bool = True,
    band: str = BAND,
) -> Figure:
    """Small multiples: `draw_series` for every value of the column `panel`, with the same colours
    in each.

    With a `common_scale` all panels measure `y_label`. Without, each has its own vertical axis, no
    `y_label` is drawn, and the values of `panel` are "quantity, unit".
    """
    check_table(table, (panel, "series", "kind", x, "value"))
    names = list(dict.fromkeys(table[panel]))
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    for label in [y_label] if common_scale else map(str, names):
        check_label("y_label" if common_scale else panel, label)
    y_label = y_label if common_scale else ""
    drawn, axes = figure(
        title, x_label, y_label, source, rows=rows, columns=columns, share_y=common_scale
    )
    styles = _styles(table)
    for axis, name in zip(axes.flat, names, strict=False):
        _draw_lines(axis, table[table[panel] == name], x, styles, last_training_year, False, band)
        axis.set_title(_wrap(str(name), 48 // columns), fontsize=12, loc="left")
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    _add_legend(drawn, axes)
    return drawn


def draw_bars(
    table: pd.DataFrame,
    *,
    title: str,
    x_label: str,
    source: str,
    reference: tuple[str, float] | None = None,
) -> Figure:
    """Horizontal bars with intervals, in the order of the table.

    Args:
        table: tidy, a row per bar: `label`, `value`, optionally `low` and `high` (5-95 %) and
            `series`, which makes groups of bars with a colour per series.
        title, x_label, source: as in `figure`; the values lie along x.
        reference: name and value of a vertical line (the baseline, the printed number).
    """
    check_table(table, ("label", "value"))
    labels = list(dict.fromkeys(table["label"]))
    series = list(dict.fromkeys(table["series"])) if "series" in table else [None]
    beside = 1 if table["label"].is_unique else len(series)  # bars that share a label
    thickness = 0.8 / beside
    num_lines = len(labels) * max(1.0, 0.6 * beside)
    drawn, axes = figure(title, x_label, "", source, height=max(_HEIGHT, 1.8 + 0.42 * num_lines))
    axis = axes[0, 0]
    for row, name in enumerate(series):
        part = table if name is None else table[table["series"] == name]
        at = np.array([labels.index(label) for label in part["label"]]) + (
            row - (len(series) - 1) / 2
        ) * thickness * (beside > 1)
        axis.barh(
            at,
            part["value"],
            height=0.9 * thickness,
            color=_COLOURS[row % len(_COLOURS)],
            label=name,
        )
        if {"low", "high"} <= set(part.columns):
            axis.hlines(at, part["low"], part["high"], color="#333333", linewidth=1.6)
            axis.plot(
                np.r_[part["low"], part["high"]], np.r_[at, at], "|", color="#333333", markersize=7
            )
    if reference is not None:
        axis.axvline(reference[1], color=_ACTUAL, linestyle="--", linewidth=1.4, label=reference[0])
    axis.set_yticks(range(len(labels)), [_wrap(str(label), 22) for label in labels])
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    if series != [None] or reference is not None:
        _add_legend(drawn, axes)
    return drawn


def draw_map(
    table: pd.DataFrame,
    *,
    title: str,
    x: str,
    y: str,
    x_label: str,
    y_label: str = "",
    value_label: str,
    source: str,
    cohorts: Sequence[float] = (),
) -> Figure:
    """A value over a plane as colours: age and time (a Lexis diagram), line and year.

    Args:
        table: tidy, a row per cell: the columns `x` and `y` and `value`; missing cells stay white.
            Numbers of `x` (and of `y`, if they are numbers) are the lower edges of cells one unit
            wide; text in `y` makes a row of cells each, in the order of the table.
        title, x_label, y_label, source: as in `figure`; `y_label` "" where `y` is text.
        value_label: "quantity, unit" of the colours.
        cohorts: values of `x` at which people are born whose lines of life are drawn; only where
            `y` is an age.

    Raises:
        ValueError: columns are missing, the table is empty, or a cell is given twice.
    """
    check_table(table, (x, y, "value"))
    check_label("value_label", value_label)
    if table.duplicated([x, y]).any():
        raise ValueError(f"table of a figure: expected one row per {x} and {y}, some are repeated")
    wide = table.set_index([y, x])["value"].unstack().sort_index(axis=1)  # noqa: PD010
    named = table[y].dtype.kind not in "iuf"
    wide = wide.reindex(list(dict.fromkeys(table[y])) if named else sorted(wide.index))
    height = max(_HEIGHT, 1.6 + 0.3 * len(wide)) if named else 5.2
    drawn, axes = figure(title, x_label, y_label, source, height=height)
    axis = axes[0, 0]
    left, low = float(wide.columns[0]), 0.0 if named else float(wide.index[0])
    right, high = float(wide.columns[-1]) + 1.0, low + len(wide) if named else wide.index[-1] + 1.0
    image = axis.imshow(
        wide.to_numpy(float), extent=(left, right, low, high), origin="lower", aspect="auto",
        cmap="viridis", interpolation="nearest",
    )  # fmt: skip
    if named:
        axis.set_yticks(np.arange(len(wide)) + 0.5, [_wrap(str(name), 30) for name in wide.index])
        axis.tick_params(axis="y", labelsize=9)
        axis.invert_yaxis()
    for birth in cohorts:
        axis.plot([birth, birth + high], [0.0, high], color="white", linewidth=0.8, alpha=0.7)
    axis.set_xlim(left, right)
    axis.set_ylim((high, low) if named else (low, high))
    axis.xaxis.set_major_locator(_whole_numbers(6))
    axis.grid(False)
    bar = drawn.colorbar(image, ax=axis, location="bottom", shrink=0.9, pad=0.02)
    bar.set_label(value_label, fontsize=11)
    bar.ax.tick_params(labelsize=10)
    return drawn


def check_label(what: str, label: str) -> None:
    quantity, _, unit = label.rpartition(", ")
    if label.lower() != "year" and not (quantity.strip() and unit.strip()):
        raise ValueError(
            f"{what}: expected 'quantity, unit' (', 1' for a pure number) or 'year', got {label!r}"
        )


def check_table(table: pd.DataFrame, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in table.columns]
    if missing or not len(table):
        raise ValueError(
            f"table of a figure: expected rows with columns {list(needed)}, missing {missing}"
        )
    if "kind" in needed and (unknown := sorted(set(table["kind"]) - set(KINDS))):
        raise ValueError(f"kind: expected {list(KINDS)}, got {unknown}")


def _styles(table: pd.DataFrame) -> dict[str, tuple[str, str, str]]:
    """Colour, dashes and marker of every modelled series."""
    names = list(dict.fromkeys(table.loc[table["kind"] != "actual", "series"]))
    return {
        str(name): (
            _COLOURS[i % len(_COLOURS)],
            _DASHES[i // len(_COLOURS) % len(_DASHES)],
            _MARKERS[i % len(_MARKERS)],
        )
        for i, name in enumerate(names)
    }


def _draw_lines(
    axis: Axes,
    table: pd.DataFrame,
    x: str,
    styles: dict[str, tuple[str, str, str]],
    last_training_year: float | None,
    log_y: bool,
    band: str,
) -> None:
    for (name, kind), part in table.groupby(["series", "kind"], sort=False):
        part = part.sort_values(x)
        colour, dashes, marker = styles.get(str(name), (_ACTUAL, "-", "o"))
        if kind == "actual":
            axis.plot(
                part[x],
                part["value"],
                color=_ACTUAL,
                marker="o",
                linewidth=1.4,
                zorder=3,
                label=name,
            )
        elif kind == "fitted":
            many = len(part) > 40
            axis.plot(
                part[x], part["value"], color=colour, linestyle=dashes, linewidth=1.6,
                marker=None if many else marker, markersize=3.0, label=name,
            )  # fmt: skip
        else:
            axis.plot(
                part[x],
                part["value"],
                color=colour,
                linestyle="--",
                linewidth=2.4,
                label=f"{name}, forecast",
            )
        if {"low", "high"} <= set(part.columns) and part["low"].notna().any():
            axis.fill_between(
                part[x].to_numpy(float), part["low"].to_numpy(float), part["high"].to_numpy(float),
                color=colour, alpha=0.18, linewidth=0, label=band,
            )  # fmt: skip
    if last_training_year is not None:
        axis.axvline(
            last_training_year + 0.5,
            color="#666666",
            linestyle=":",
            linewidth=1.4,
            label="end of training",
        )
    if log_y:
        axis.set_yscale("log")
    if x == "year" or np.issubdtype(table[x].to_numpy().dtype, np.integer):
        columns = axis.get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
        axis.xaxis.set_major_locator(_whole_numbers(6 // columns))


def _whole_numbers(most: int) -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=most, integer=True)


def _add_legend(drawn: Figure, axes: np.ndarray) -> None:
    """Legend below the axes; the figure grows by its lines, so that the axes keep their size."""
    import matplotlib

    entries: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = max(1, min(3, 56 // (max(map(len, entries), default=0) + 6)))
    lines = -(-len(entries) // columns)
    drawn.set_figheight(drawn.get_figheight() + 0.24 * (lines - 1))
    with matplotlib.rc_context(_STYLE):
        drawn.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns)


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
