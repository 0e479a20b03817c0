"""Maps of places: what is drawn is what the table says."""

import numpy as np
import pandas as pd
import pytest

from diffmig.report import draw_places, png_bytes

MAP = {"title": "Balances", "value_label": "balance, per mille a year", "source": "a test"}


def table(**columns):
    return pd.DataFrame(
        {
            "place": ["a", "b", "c"],
            "latitude": [50.0, 52.0, 51.0],
            "longitude": [60.0, 70.0, 65.0],
            "value": [2.0, -1.0, np.nan],
        }
        | columns
    )


def test_positions_sizes_and_sides_of_the_scale():
    drawn = draw_places(table(), names=("a",), **MAP)
    known, missing = drawn.axes[0].collections
    offsets = np.asarray(known.get_offsets())
    np.testing.assert_allclose(offsets, [[70.0, 52.0], [60.0, 50.0]])  # largest on top
    assert known.get_sizes()[1] > known.get_sizes()[0]
    assert known.get_clim()[0] == -known.get_clim()[1]
    np.testing.assert_allclose(np.asarray(missing.get_offsets()), [[65.0, 51.0]])
    assert [text.get_text() for text in drawn.axes[0].texts] == ["a"]
    assert len(png_bytes(drawn)) > 10_000


def test_labels_do_not_lie_on_each_other():
    rng = np.random.default_rng(0)
    places = [f"settlement {i}" for i in range(24)]
    crowd = pd.DataFrame(
        {
            "place": places,
            "latitude": 50.0 + np.r_[rng.uniform(size=12), 8.0 * rng.uniform(size=12)],
            "longitude": 60.0 + np.r_[rng.uniform(size=12), 12.0 * rng.uniform(size=12)],
            "value": rng.normal(size=24),
        }
    )
    drawn = draw_places(crowd, names=places, **MAP)
    drawn.canvas.draw()
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts]
    assert drawn.axes[0].texts[0].get_text() == "settlement 0"
    assert 4 < len(boxes) < 24
    for i, box in enumerate(boxes):
        for other in boxes[:i]:
            overlap = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert overlap < 2.0 or height < 2.0


def test_panels_share_one_scale():
    both = pd.concat([table(panel="own"), table(panel="spill-over", value=[0.1, -0.1, 0.0])])
    drawn = draw_places(both, **MAP)
    own, spill = drawn.axes[0].collections[0], drawn.axes[1].collections[0]
    assert own.get_clim() == spill.get_clim()
    assert [axis.get_title() for axis in drawn.axes[:2]] == ["own", "spill-over"]
    assert len(png_bytes(drawn)) > 10_000


def test_a_map_of_nothing_but_zeros_is_drawn():
    assert draw_places(table(value=[0.0, 0.0, 0.0]), **MAP).axes[0].collections[0].get_clim()[1] > 0


def test_refusals():
    with pytest.raises(ValueError, match="at most 30"):
        draw_places(table(), names=[str(i) for i in range(31)], **MAP)
    with pytest.raises(ValueError, match="longitude"):
        draw_places(table().drop(columns="longitude"), **MAP)
    with pytest.raises(ValueError, match="unit"):
        draw_places(table(), **(MAP | {"value_label": "balance"}))
