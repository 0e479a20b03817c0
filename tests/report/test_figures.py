"""Figures show what their tables hold, name their units, and touch no global state."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from diffmig.report import draw_bars, draw_grid, draw_map, draw_series, figure, png_bytes

LABELS = {"title": "GRP", "y_label": "GRP, bn roubles", "source": "table 1"}


@pytest.fixture
def series() -> pd.DataFrame:
    return pd.DataFrame(
        [
            ("actual", "actual", 2001, 2.0, np.nan, np.nan),
            ("actual", "actual", 2000, 1.0, np.nan, np.nan),
            ("LSTM", "fitted", 2000, 1.1, 0.9, 1.3),
            ("LSTM", "fitted", 2001, np.nan, np.nan, np.nan),
            ("LSTM", "forecast", 2002, 3.0, 2.5, 3.5),
        ],
        columns=["series", "kind", "year", "value", "low", "high"],
    )


def test_lines_are_the_rows_of_the_table(series: pd.DataFrame) -> None:
    drawn = draw_series(series, last_training_year=2001, **LABELS)
    (axis,) = drawn.axes
    lines = {line.get_label(): line for line in axis.lines}
    assert lines["actual"].get_xydata().tolist() == [[2000, 1.0], [2001, 2.0]]
    assert lines["actual"].get_color() == "#000000"
    np.testing.assert_array_equal(lines["LSTM"].get_ydata(), [1.1, np.nan])
    assert lines["LSTM, forecast"].get_xydata().tolist() == [[2002, 3.0]]
    assert lines["LSTM"].get_color() == lines["LSTM, forecast"].get_color() != "#000000"
    assert lines["end of training"].get_xdata() == [2001.5, 2001.5]
    low, high = axis.collections[-1].get_datalim(axis.transData).intervaly
    assert (low, high) == (2.5, 3.5)
    shown = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert sorted(shown) == sorted({*lines, "5–95 % of runs"})
    assert (axis.get_xlabel(), axis.get_title("left")) == ("year", "GRP, bn roubles")
    assert any("table 1" in text.get_text() for text in drawn.texts)


def test_legend_says_what_the_band_is(series: pd.DataFrame) -> None:
    drawn = draw_series(series, band="90 % interval", **LABELS)
    shown = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert "90 % interval" in shown
    assert not any("of runs" in text for text in shown)


def test_grid_gives_every_panel_its_rows(series: pd.DataFrame) -> None:
    panels = [
        series.assign(panel=f"factor {i}, %", value=series["value"] * i) for i in (1, 20, 300)
    ]
    table = pd.concat(panels)
    drawn = draw_grid(table, title="Factors", source="table 1", common_scale=False)
    shown = [axis for axis in drawn.axes if axis.get_visible()]
    assert [axis.get_title("left") for axis in shown] == [f"factor {i}, %" for i in (1, 20, 300)]
    assert [axis.lines[0].get_ydata()[-1] for axis in shown] == [2.0, 40.0, 600.0]
    assert shown[0].get_ylim()[1] < shown[1].get_ylim()[1] < shown[2].get_ylim()[1]
    common = draw_grid(table, title="Factors", y_label="share, %", source="table 1")
    assert common.axes[0].get_ylim() == common.axes[2].get_ylim()
    with pytest.raises(ValueError, match="panel: expected 'quantity, unit'"):
        draw_grid(table.assign(panel="bare"), title="F", source="s", common_scale=False)
    with pytest.raises(ValueError, match="y_label: expected"):
        draw_grid(table, title="F", source="s")


def test_bars_have_their_lengths_and_intervals() -> None:
    table = pd.DataFrame(
        {
            "label": ["drift", "LSTM", "LSTM"],
            "series": ["honest", "honest", "conditional"],
            "value": [6.0, 4.0, 3.0],
            "low": [5.0, 3.5, 1.0],
            "high": [7.0, 4.5, 9.0],
        }
    )
    drawn = draw_bars(
        table, title="Errors", x_label="MAPE, %", source="own", reference=("printed", 5.48)
    )
    (axis,) = drawn.axes
    assert [bar.get_width() for bars in axis.containers for bar in bars] == [6.0, 4.0, 3.0]
    segments = [s[:, 0].tolist() for lines in axis.collections for s in lines.get_segments()]
    assert segments == [[5.0, 7.0], [3.5, 4.5], [1.0, 9.0]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["drift", "LSTM"]
    heights = [bar.get_y() + bar.get_height() / 2 for bars in axis.containers for bar in bars]
    assert np.round(heights).tolist() == [0, 1, 1]
    assert heights[1] != heights[2]
    assert {t.get_text() for t in drawn.legends[0].get_texts()} == {
        "honest", "conditional", "printed",
    }  # fmt: skip


def test_labels_without_units_and_wrong_tables_are_refused(series: pd.DataFrame) -> None:
    for x_label, y_label in (("iteration", "MAPE, %"), ("year", "MAPE"), ("", "MAPE, %")):
        with pytest.raises(ValueError, match="'quantity, unit'"):
            figure("title", x_label, y_label, "source")
    with pytest.raises(ValueError, match="a title and a source"):
        figure("title", "year", "MAPE, %", " ")
    with pytest.raises(ValueError, match=r"missing \['value'\]"):
        draw_series(series.drop(columns="value"), **LABELS)
    with pytest.raises(ValueError, match=r"got \['guess'\]"):
        draw_series(series.assign(kind="guess"), **LABELS)
    with pytest.raises(ValueError, match="expected rows"):
        draw_series(series[:0], **LABELS)


def test_equal_figures_are_equal_files(series: pd.DataFrame) -> None:
    one, other = (png_bytes(draw_series(series, **LABELS)) for _ in range(2))
    assert one == other
    assert one != png_bytes(draw_series(series.assign(value=series["value"] * 2), **LABELS))


def test_heavy_imports_wait_until_they_are_needed() -> None:
    code = """
import sys, diffmig.report as report
assert not {"pandas", "matplotlib", "orbax", "jinja2", "tqdm"} & set(sys.modules), "at import"
import pandas as pd
table = pd.DataFrame({"label": ["a"], "value": [1.0]})
report.png_bytes(report.draw_bars(table, title="t", x_label="MAPE, %", source="s"))
assert "matplotlib.pyplot" not in sys.modules, "pyplot"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


MAP = {"title": "h", "x_label": "year", "value_label": "h, thousand", "source": "table 1"}


def test_map_shows_every_cell_where_it_is() -> None:
    table = pd.DataFrame({"year": [2000, 2000, 2001], "age": [0, 1, 1], "value": [1.0, 2.0, 3.0]})
    drawn, again = (
        draw_map(table, x="year", y="age", y_label="age, years", cohorts=[2000], **MAP)
        for _ in range(2)
    )
    axis = drawn.axes[0]
    image = axis.images[0]
    np.testing.assert_array_equal(image.get_array().filled(np.nan), [[1.0, np.nan], [2.0, 3.0]])
    assert image.get_extent() == [2000, 2002, 0, 2]
    assert image.origin == "lower"
    # a life line leaves age 0 at birth and ages one year a year
    born, later = axis.lines[0].get_xydata()
    assert born.tolist() == [2000, 0]
    assert later[0] - born[0] == later[1] - born[1]
    assert drawn.axes[1].get_xlabel() == "h, thousand"
    assert png_bytes(drawn) == png_bytes(again)


def test_map_of_named_rows_keeps_their_order() -> None:
    table = pd.DataFrame(
        {"year": [2000, 2000], "line": ["schools", "clinics"], "value": [1.0, 2.0]}
    )
    axis = draw_map(table, x="year", y="line", **MAP).axes[0]
    low, high = axis.get_ylim()
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["schools", "clinics"]
    assert low > high  # the first name is on top
    np.testing.assert_array_equal(axis.images[0].get_array(), [[1.0], [2.0]])


@pytest.mark.parametrize("rows", [[(2000, 0, 1.0), (2000, 0, 2.0)], []])
def test_map_refuses_repeated_cells_and_nothing(rows: list) -> None:
    table = pd.DataFrame(rows, columns=["year", "age", "value"])
    with pytest.raises(ValueError, match="table of a figure"):
        draw_map(table, x="year", y="age", y_label="age, years", **MAP)
