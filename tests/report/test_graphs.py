"""Trees, networks and scatter plots show what the tables say."""

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import linkage

from diffmig import report


def test_a_tree_names_every_leaf_and_joins_at_its_distances():
    points = np.array([[0.0], [1.0], [10.0], [12.0]])
    tree = linkage(points, "single")
    drawn = report.draw_tree(
        tree, ["a", "b", "c", "d"], [0, 0, 1, 1], title="Tree", x_label="distance, 1", source="here"
    )
    axis = drawn.axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert sorted(labels) == ["a", "b", "c", "d"]
    colours = {label.get_text(): label.get_color() for label in axis.get_yticklabels()}
    assert colours["a"] == colours["b"] != colours["c"] == colours["d"]
    heights = sorted(max(line.get_xdata()) for line in axis.lines)
    np.testing.assert_allclose(heights, [1.0, 2.0, 9.0])
    assert report.png_bytes(drawn)[:4] == b"\x89PNG"


def test_a_tree_refuses_missing_names_and_forests():
    tree = linkage(np.arange(3.0)[:, None], "single")
    with pytest.raises(ValueError, match="a name and a group for each of 3 leaves"):
        report.draw_tree(tree, ["a"], [0], title="t", x_label="d, 1", source="s")
    many = linkage(np.arange(100.0)[:, None], "single")
    with pytest.raises(ValueError, match="at most 80"):
        report.draw_tree(
            many, [str(i) for i in range(100)], [0] * 100, title="t", x_label="d, 1", source="s"
        )


def test_points_lie_where_actual_and_forecast_say():
    table = pd.DataFrame(
        {"actual": [1.0, 2.0], "forecast": [1.5, 1.0], "group": [2020, 2021], "panel": ["x", "y"]}
    )
    drawn = report.draw_against(
        table, title="Against", x_label="actual, persons", y_label="forecast, persons", source="s"
    )
    found = [
        tuple(point)
        for axis in drawn.axes
        for dots in axis.collections
        for point in np.asarray(dots.get_offsets())
    ]
    assert sorted(found) == [(1.0, 1.5), (2.0, 1.0)]


def test_a_network_has_a_line_per_weight_wider_for_larger_ones():
    table = pd.DataFrame(
        {"from": ["wage", "jobs", "unit 1"], "to": ["unit 1", "unit 1", "balance"],
         "weight": [1.0, -0.1, 2.0]}
    )  # fmt: skip
    drawn = report.draw_network(table, title="Network", output="balance", source="s")
    axis = drawn.axes[0]
    wide = [line.get_linewidth() for line in axis.lines]
    assert len(wide) == 3
    assert wide[2] > wide[0] > wide[1]
    assert axis.lines[0].get_color() != axis.lines[1].get_color()
    assert {t.get_text() for t in axis.texts} == {"wage", "jobs", "unit 1", "balance"}
