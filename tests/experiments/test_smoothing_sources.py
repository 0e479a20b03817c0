"""Real series of the smoothing experiment: counts, horizons, held-out values, reasons to skip."""

import numpy as np
import pytest

from diffmig import data
from experiments.smoothing import sources

M3 = "id,type,period,start,n,h,values\n"


def test_rosstat_has_its_series(real_data):
    (source,) = sources.load_rosstat(real_data)
    panel = source.panel
    assert panel.values.shape == (86, 7793)
    assert (panel.mask.sum(axis=0) >= 36).all()
    assert (panel.frequency, source.season, source.held_out) == ("MS", 12, None)
    assert str(panel.times[0])[:7] == "2009-01"
    assert str(panel.times[-1])[:7] == "2016-02"
    # A number of each file, looked up outside this package.
    for file in sources.ROSSTAT_FILES:
        with open(real_data / file, encoding="utf-8") as stream:
            header = stream.readline().rstrip("\n").split(",")
            first = stream.readline().rstrip("\n").split(",")
        name = f"{first[1]}/{header[2]}"
        if name in panel.names and first[2]:
            row = list(panel.times.strftime("%Y-%m")).index(first[0][:7])
            assert panel.values[row, panel.names.index(name)] == float(first[2])
    left_out = [p for p in source.problems if "left out" in p.what]
    assert len(left_out) + len(panel.names) == len({p.value for p in left_out} | {*panel.names})


def test_m3_has_its_series_and_keeps_the_official_horizon_apart(real_data):
    found = {source.name: source for source in sources.load_m3(real_data)}
    shapes = {name: s.held_out.values.shape for name, s in found.items()}
    assert shapes == {
        "M3 yearly": (6, 645),
        "M3 quarterly": (8, 756),
        "M3 monthly": (18, 1428),
        "M3 other": (8, 174),
    }
    assert [source.season for source in found.values()] == [1, 4, 12, 1]
    for source in found.values():
        assert source.panel.names == source.held_out.names
        assert source.panel.mask[-1].all()
        assert source.panel.times[-1] == 0
        assert source.held_out.times[0] == 1
        after = data.future_times(source.panel, len(source.held_out.times))
        assert after.equals(source.held_out.times)
    first = found["M3 yearly"]
    j = first.panel.names.index("N0001")
    assert first.panel.mask[:, j].sum() == 14
    assert first.panel.values[[-14, -1], j].tolist() == [940.66, 4936.99]
    assert first.held_out.values[:, j].tolist() == [
        *(5379.75, 6158.68, 6876.58, 7851.91, 8407.84, 9156.01)
    ]


def test_without_a_folder_sources_are_skipped_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.delenv("DIFFMIG_TEST_DATA", raising=False)
    found, skipped = sources.load_sources()
    assert found == ()
    assert [s.name for s in skipped] == ["Rosstat", "M3"]
    assert all("DIFFMIG_TEST_DATA" in s.reason for s in skipped)
    monkeypatch.setenv("DIFFMIG_TEST_DATA", str(tmp_path))
    found, skipped = sources.load_sources()
    assert found == ()
    assert all("no such file" in s.reason for s in skipped)
    (tmp_path / sources.M3_FILE).write_text(M3 + "N1,MICRO,OTHER,1,3,2,1 2 3 4 5\n")
    (source,), (rosstat,) = sources.load_sources()
    assert (source.name, rosstat.name) == ("M3 other", "Rosstat")
    assert source.panel.times.tolist() == [-2, -1, 0]
    assert source.panel.values[:, 0].tolist() == [1, 2, 3]
    assert source.held_out.values[:, 0].tolist() == [4, 5]
    assert np.all(source.held_out.mask)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("N1,MICRO,OTHER,1,3,2,1 2 3 4", "n \\+ h are 3 \\+ 2"),
        ("N1,MICRO,OTHER,1,3,2,1 2 x 4 5", "could not convert"),
        ("N1,MICRO,DAILY,1,3,2,1 2 3 4 5", "no series of a known period"),
        ("N1,MICRO,OTHER,1,3,2,1 2 3 4 5\nN2,MICRO,OTHER,1,3,1,1 2 3 4", "several horizons"),
    ],
)
def test_wrong_m3_rows_are_named(tmp_path, row, said):
    (tmp_path / sources.M3_FILE).write_text(M3 + row + "\n")
    with pytest.raises(data.DataError, match=said):
        sources.load_m3(tmp_path)
