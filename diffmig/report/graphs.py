"""Trees, networks, and actual values against fitted ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffmig.report.figures import check_table, figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_GAIN, _LOSS = "#0072B2", "#D55E00"
_GROUPS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_LEAVES = 80


def draw_tree(
    linkage: np.ndarray,
    names: Sequence[str],
    groups: Sequence[int],
    *,
    title: str,
    x_label: str,
    source: str,
) -> Figure:
    """Dendrogram: who joins whom at which distance.

    Args:
        linkage: SciPy's matrix, [leaf - 1, 4].
        names: of the leaves, at most 80.
        groups: number of the group of each leaf, which colours its name.
        title, source: as in `figure`.
        x_label: "quantity, unit" of the distance.

    Raises:
        ValueError: numbers of names, groups and leaves differ, or too many leaves to read.
    """
    from scipy.cluster.hierarchy import dendrogram

    leaves = len(linkage) + 1
    if not len(names) == len(groups) == leaves or leaves > MOST_LEAVES:
        raise ValueError(
            f"expected a name and a group for each of {leaves} leaves, at most {MOST_LEAVES}, got "
            f"{len(names)} and {len(groups)}"
        )
    drawn, axes = figure(title, x_label, "", source, height=1.6 + 0.2 * leaves)
    axis = axes[0, 0]
    made = dendrogram(linkage, no_plot=True)
    for xs, ys in zip(made["dcoord"], made["icoord"], strict=True):
        axis.plot(xs, ys, color="#555555", linewidth=1.2)
    at = 5.0 + 10.0 * np.arange(leaves)
    axis.yaxis.tick_right()
    axis.set_yticks(at, [names[i] for i in made["leaves"]], fontsize=9)
    for label, leaf in zip(axis.get_yticklabels(), made["leaves"], strict=True):
        label.set_color(_GROUPS[groups[leaf] % len(_GROUPS)])
    axis.set_ylim(0.0, 10.0 * leaves)
    axis.grid(False, axis="y")
    axis.invert_xaxis()
    return drawn


def draw_against(
    table: pd.DataFrame, *, title: str, x_label: str, y_label: str, source: str
) -> Figure:
    """Forecasts against actual values; on the line they are equal.

    Args:
        table: tidy, a row per point: `actual`, `forecast`, `group` (colour and marker) and
            optionally `panel`.
        title, x_label, y_label, source: as in `figure`.
    """
    check_table(table, ("actual", "forecast", "group"))
    panels = list(dict.fromkeys(table["panel"])) if "panel" in table.columns else [None]
    groups = sorted(set(table["group"]))
    drawn, axes = figure(
        title, x_label, y_label, source, columns=len(panels), height=4.2 if len(panels) > 1 else 5.0
    )
    ends = table[["actual", "forecast"]].to_numpy(float)
    low, high = np.nanmin(ends), np.nanmax(ends)
    for axis, panel in zip(axes[0], panels, strict=True):
        part = table if panel is None else table[table["panel"] == panel]
        axis.plot([low, high], [low, high], color="#000000", linewidth=1.0, linestyle="--")
        for number, group in enumerate(groups):
            some = part[part["group"] == group]
            axis.scatter(
                some["actual"], some["forecast"], s=22.0, color=_GROUPS[number % len(_GROUPS)],
                marker=_MARKERS[number % len(_MARKERS)], label=str(group), alpha=0.85,
            )  # fmt: skip
        if panel is not None:
            axis.set_title(str(panel), fontsize=12)
        axis.tick_params(labelsize=9)
        axis.locator_params(axis="x", nbins=4)
    if len(panels) > 1:  # one label under both: two would run into each other
        for axis in axes[0]:
            axis.set_xlabel("")
        drawn.supxlabel(x_label, fontsize=13)
    axes[0, 0].legend(fontsize=10)
    return drawn


def draw_network(table: pd.DataFrame, *, title: str, output: str, source: str) -> Figure:
    """Graph of a network with one hidden layer: line width by weight, blue raises, red lowers.

    Args:
        table: tidy, a row per weight: `from`, `to` (names of nodes; the hidden ones are those that
            are both) and `weight` of standardised values.
        title, source: as in `figure`.
        output: name of the output node.
    """
    check_table(table, ("from", "to", "weight"))
    hidden = [n for n in dict.fromkeys(table["to"]) if n != output]
    inputs = [n for n in dict.fromkeys(table["from"]) if n not in hidden]
    tall = max(len(inputs), len(hidden))
    drawn, axes = figure(title, "layer, 1", "", source, height=2.0 + 0.42 * tall)
    axis = axes[0, 0]
    place = {output: (2.0, 0.0)}
    for column, nodes in ((0.0, inputs), (1.0, hidden)):
        height = np.linspace(1.0, -1.0, len(nodes)) if len(nodes) > 1 else [0.0]
        place |= {name: (column, float(y)) for name, y in zip(nodes, height, strict=True)}
    top = float(table["weight"].abs().max()) or 1.0
    for start, end, weight in table[["from", "to", "weight"]].itertuples(index=False):
        (x0, y0), (x1, y1) = place[start], place[end]
        axis.plot(
            [x0, x1], [y0, y1], color=_GAIN if weight > 0 else _LOSS,
            linewidth=0.3 + 4.0 * abs(weight) / top, alpha=0.8, zorder=1,
        )  # fmt: skip
    for name, (x, y) in place.items():
        axis.scatter([x], [y], s=160.0, color="white", edgecolors="#333333", zorder=2)
        axis.annotate(
            str(name), (x, y), fontsize=9, ha="right" if x == 0 else "left", va="center",
            xytext=(-9 if x == 0 else 9, 0), textcoords="offset points",
        )  # fmt: skip
    axis.set_xlim(-0.9, 2.6)
    axis.set_ylim(-1.25, 1.25)
    axis.set_xticks([0, 1, 2])
    axis.set_yticks([])
    axis.grid(False)
    return drawn
