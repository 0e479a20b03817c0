"""Panels: selection, round trips, validation, and the refusal to truncate."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from diffmig import data


@pytest.fixture
def panel():
    values = np.arange(24.0).reshape(2, 4, 3) + 1.0
    mask = np.ones((2, 4, 3), bool)
    mask[1, 2, 0] = False
    return data.Panel(
        np.where(mask, values, 0.0),
        mask,
        ("a", "b"),
        np.arange(2001, 2005),
        ("x", "y", "z"),
        ("m", "", "kg"),
    )


def test_variable_and_select(panel):
    assert data.variable(panel, "y").tolist() == panel.values[:, :, 1].tolist()
    part = data.select(panel, places=["b"], years=(2002, 2003), names=["z", "x"])
    assert part.values.tolist() == [[[18.0, 16.0], [21.0, 0.0]]]
    assert part.mask.tolist() == [[[True, True], [True, False]]]
    assert (part.places, part.names, part.units) == (("b",), ("z", "x"), ("kg", "m"))
    assert part.years.tolist() == [2002, 2003]
    part.values[:] = -1.0  # a copy
    assert panel.values.min() >= 0.0


def test_select_complete(panel):
    assert data.select_complete(panel).places == ("a",)
    assert data.select_complete(data.select(panel, names=["y"])).places == ("a", "b")
    panel.mask[0, 0, 0] = False
    with pytest.raises(ValueError, match="no place"):
        data.select_complete(panel)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"places": ["c"]}, r"\['c'\] asked for; the panel has 'a', 'b'"),
        ({"names": []}, "nothing asked for"),
        ({"names": "x"}, "list of names"),
        ({"years": (2000, 2002)}, "2001-2004"),
        ({"years": (2003, 2002)}, "first <= last"),
    ],
)
def test_select_names_what_is_not_there(panel, choice, message):
    with pytest.raises(ValueError, match=message):
        data.select(panel, **choice)


def test_frame_round_trip(panel):
    frame = data.panel_to_frame(panel)
    assert frame.shape == (8, 5)
    assert np.isnan(frame.loc[6, "x"])
    units = dict(zip(panel.names, panel.units, strict=True))
    again = data.panel_from_frame(frame, gaps="mask", units=units)
    for a, b in zip(panel, again, strict=True):
        assert np.array_equal(a, b)


def test_check_panel(panel):
    assert data.check_panel(panel) is panel
    broken = {
        "float32": panel._replace(values=panel.values.astype(np.float32)),
        "expected bool": panel._replace(mask=panel.mask.astype(int)),
        r"\[place, year, variable\]": panel._replace(values=panel.values[:1]),
        "not consecutive": panel._replace(years=panel.years * 2),
        "variable name is repeated": panel._replace(names=("x", "x", "z")),
        "units and names": panel._replace(units=("m",)),
        "in 'b', 2003": panel._replace(values=np.where(panel.mask, panel.values, 7.0)),
        "in 'a', 2001": panel._replace(values=np.where(panel.values == 1.0, np.nan, panel.values)),
    }
    for message, wrong in broken.items():
        with pytest.raises(data.DataError, match=message):
            data.check_panel(wrong)


def test_to_device_keeps_float64(panel):
    assert data.to_device(panel.values).dtype == np.float64


def test_to_device_refuses_to_truncate():
    code = (
        "import numpy as np; from diffmig import data\n"
        "assert data.to_device(np.ones(3, np.float32)).dtype == np.float32\n"
        "x = data.fit_minmax(np.eye(3) / 3, np.ones(3, bool)).high; assert x.dtype == np.float64\n"
        "try: data.to_device(np.ones(3))\n"
        "except ValueError as error: assert 'x64' in str(error)\n"
        "else: raise SystemExit('truncated')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_errors_survive_pickling():
    error = data.DataError([data.Problem(3, "x", "?", "what", "cure")], "file.csv")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems, again.file) == (str(error), error.problems, "file.csv")
