"""Sets of series: each rule, frequencies, calendars, containers, and the way back to a frame."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmig import data
from diffmig.data import DataError, SeriesPanel


def long(**series):
    """Long frame of (times, values) by name."""
    return pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": list(times), "y": list(values)})
            for name, (times, values) in series.items()
        ],
        ignore_index=True,
    )


def months(count, first="2020-01-01", freq="MS"):
    return pd.date_range(first, periods=count, freq=freq)


def only(frame, **choices) -> SeriesPanel:
    (panel,) = data.read_series(frame, **choices).panels
    check(panel)
    return panel


def check(panel):
    """What SeriesPanel promises."""
    assert panel.values.shape == panel.mask.shape == (len(panel.times), len(panel.names))
    assert (panel.values.dtype, panel.mask.dtype) == (np.float64, np.bool_)
    assert np.isfinite(panel.values).all()
    assert (panel.values[~panel.mask] == 0).all()
    assert panel.mask.any(axis=0).all()
    assert panel.mask[0].any()
    assert panel.mask[-1].any()
    if panel.frequency:
        pd.DatetimeIndex(panel.times, freq=panel.frequency)  # raises where they do not conform
    else:
        assert len(set(np.diff(panel.times))) <= 1
    data.season_length(panel.frequency)


def test_panel_of_two_series_of_different_length():
    frame = long(b=(months(3), [1, 2, 4]), a=(months(2, "2020-03-01"), [7.5, -8]))
    panel = only(frame)
    assert panel.names == ("a", "b")
    assert panel.frequency == "MS"
    assert panel.times[[0, -1]].tolist() == list(pd.to_datetime(["2020-01-01", "2020-04-01"]))
    assert panel.values.T.tolist() == [[0, 0, 7.5, -8], [1, 2, 4, 0]]
    assert panel.mask.T.tolist() == [[False, False, True, True], [True, True, True, False]]
    assert data.read_series(frame).problems == ()
    again = only(frame.sample(frac=1, random_state=1))
    assert np.array_equal(again.values, panel.values)


FREQUENCIES = {
    "MS": 12,
    "QS": 4,
    "QS-FEB": 4,
    "YS": 1,
    "YS-APR": 1,
    "6MS": 2,
    "5MS": 1,
    "2YS": 1,
    "W-SUN": 52,
    "W-WED": 52,
    "2W-MON": 26,
    "D": 7,
    "2D": 1,
    "B": 5,
    "h": 24,
    "3h": 8,
    "30min": 48,
    "5min": 288,
    "s": 3600,
    "7s": 1,
}


@pytest.mark.parametrize("name", FREQUENCIES)
def test_frequency_is_inferred_and_continued(name):
    times = pd.date_range("2019-12-29 00:00", periods=40, freq=name)
    frame = long(a=(times, np.arange(40.0)), b=(times.delete([3, 4, 17]), np.arange(37.0)))
    done = data.read_series(frame)
    (panel,) = done.panels
    check(panel)
    assert pd.tseries.frequencies.to_offset(panel.frequency).freqstr == times.freqstr
    assert (panel.times == times).all()
    assert data.season_length(panel.frequency) == FREQUENCIES[name]
    assert [(p.value, p.what) for p in done.problems] == [("b", "3 gaps, masked")]
    after = pd.date_range(times[-1], periods=6, freq=name)[1:]
    assert (data.future_times(panel, 5) == after).all()
    same = only(frame, frequency=name)
    assert (same.times == times).all()
    assert np.array_equal(same.values, panel.values)


@pytest.mark.parametrize(
    ("start", "end"), [("MS", "ME"), ("QS", "QE"), ("YS", "YE"), ("YS-JUL", "YE-JUN")]
)
def test_starts_and_ends_of_periods_are_the_same_periods(start, end):
    starts = pd.date_range("2019-03-01", periods=9, freq=start)
    ends = pd.date_range(starts[0], periods=9, freq=end)
    values = np.arange(9) ** 2
    frame = long(start=(starts, values), end=(ends, values + 1))
    panel = only(frame)
    assert (panel.times == starts).all()
    assert panel.mask.all()
    assert panel.days.tolist() == [-1, 1]
    # Dates come back as they were, and go on in the same way.
    back = data.series_to_frame(panel)
    pd.testing.assert_frame_equal(
        back, frame.sort_values(["unique_id", "ds"], ignore_index=True), check_dtype=False
    )
    after = data.series_to_frame(panel, np.ones((2, 2)), times=data.future_times(panel, 2))
    expected = [
        *pd.date_range(ends[-1], periods=3, freq=end)[1:],
        *pd.date_range(starts[-1], periods=3, freq=start)[1:],
    ]
    assert after["ds"].tolist() == expected
    for name in (start, end):
        assert np.array_equal(only(frame, frequency=name).values, panel.values)


def test_monthly_dates_on_other_days():
    middle = months(5) + pd.Timedelta(days=14)
    business = pd.date_range("2020-01-01", periods=5, freq="BME")
    done = data.read_series(long(middle=(middle, range(5)), business=(business, range(5))))
    (panel,) = done.panels
    assert panel.frequency == "MS"
    assert panel.days.tolist() == [1, 15]
    assert data.series_to_frame(panel)["ds"].tolist()[5:] == list(middle)
    assert [(p.value, p.what[:23]) for p in done.problems] == [
        ("business", "dates on different days")
    ]


def test_mixed_frequencies_give_a_panel_each():
    frame = long(
        m=(months(12), range(12)),
        m2=(months(12), range(12)),
        q=(months(6, freq="QS"), range(6)),
        d=(months(6, freq="D"), range(6)),
    )
    panels = data.read_series(frame).panels
    assert panels[0].names == ("m", "m2")
    assert {p.frequency: p.names for p in panels[1:]} == {"QS": ("q",), "D": ("d",)}


def test_integer_times():
    frame = long(a=([3, 1, 2], [30, 10, 20]), b=([1896, 1900, 1908], [1, 2, 3]))
    panels = {p.names[0]: p for p in data.read_series(frame).panels}
    assert panels["a"].values[:, 0].tolist() == [10, 20, 30]
    assert panels["a"].frequency == panels["b"].frequency == ""
    assert panels["b"].times.tolist() == [1896, 1900, 1904, 1908]
    assert panels["b"].mask[:, 0].tolist() == [True, True, False, True]
    assert data.future_times(panels["b"], 2).tolist() == [1912, 1916]
    assert data.season_length("") == 1
    pd.testing.assert_frame_equal(
        data.series_to_frame(panels["a"]),
        pd.DataFrame({"unique_id": ["a"] * 3, "ds": [1, 2, 3], "y": [10.0, 20, 30]}),
        check_dtype=False,
    )
    years = only(long(a=([2001, 2002, 2004], [1, 2, 3])), frequency="YS")
    assert years.times[0] == pd.Timestamp("2001-01-01")
    assert years.frequency == "YS"


GOOD = (months(4), [1.0, 2, 3, 4])
BAD = {
    "repeated": ((months(3).take([0, 1, 1]), [1, 2, 3]), "second row of this time"),
    "no value": ((months(4), [np.nan] * 4), "no usable value"),
    "one value": ((months(4), [np.nan, 5, np.nan, np.nan]), "only 1 value"),
    "one row": ((months(1), [5]), "only 1 value"),
    "infinite": ((months(4), [1, np.inf, 3, -np.inf]), "not finite"),
    "irregular": ((months(8, freq="D").take([0, 2, 7]), [1, 2, 3]), "no frequency"),
    "no date": (([months(1)[0], pd.NaT, months(3)[2]], [1, 2, 3]), "not a time"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_series_leaves_out_only_itself(fault):
    series, said = BAD[fault]
    frame = long(bad=series, good=GOOD)
    done = data.read_series(frame)
    assert [p.names for p in done.panels] == [("good",)]
    assert done.panels[0].values[:, 0].tolist() == GOOD[1]
    (problem,) = done.problems
    assert said in problem.what
    assert "the series is left out" in problem.what
    assert problem.value == "bad" or "'bad'" in problem.what
    assert problem.cure
    with pytest.raises(DataError, match=said):
        data.read_series(frame[frame["unique_id"] == "bad"])


def test_bad_cells_are_named_by_line_column_and_value(tmp_path):
    path = tmp_path / "sales.csv"
    path.write_text(
        "unique_id,ds,y\na,2020-01,1\na,2020-02,2\nb,2020-01,x1\nb,2020-02,1\nb,2020-03,?\n"
        "c,soon,1\nc,2020-02,2\n,2020-03,5\nd,2020-01\na,2020-04,3\n"
    )
    done = data.read_series(path)
    assert done.panels[0].names == ("a",)
    assert done.panels[0].mask[:, 0].tolist() == [True, True, False, True]
    found = {(p.line, p.column, p.value) for p in done.problems}
    assert found == {
        (4, "y", "x1"),
        (7, "ds", "soon"),
        (9, "unique_id", ""),
        (10, None, None),
        (None, "unique_id", "a"),
    }
    assert any("series 'b' (2 such cells)" in p.what for p in done.problems)


def test_gaps_and_constant_series_are_noted():
    frame = long(
        g=(months(6).delete(2), [1, 2, np.nan, 4, np.nan]), k=(months(3), [5, 5, 5]), ok=GOOD
    )
    done = data.read_series(frame)
    assert [(p.value, p.what) for p in done.problems] == [
        ("g", "2 gaps, masked"),
        ("k", "constant, 5.0 throughout"),
    ]
    assert done.panels[0].names == ("g", "k", "ok")
    assert done.panels[0].mask[:, 0].tolist() == [True, True, False, False, True]


def test_given_frequency_puts_dates_into_their_periods():
    times = pd.to_datetime(["2020-01-15", "2020-02-03", "2020-05-31"])
    panel = only(long(a=(times, [1, 2, 3])), frequency="MS")
    assert panel.mask[:, 0].tolist() == [True, True, False, False, True]
    weekly = only(long(a=(pd.to_datetime(["2020-01-01", "2020-01-12"]), [1, 2])), frequency="W")
    assert weekly.times.tolist() == list(pd.to_datetime(["2020-01-05", "2020-01-12"]))
    with pytest.raises(DataError, match="second row of the same period"):
        data.read_series(long(a=(times, [1, 2, 3])), frequency="QS")
    with pytest.raises(DataError, match="frequency 'B' does not have"):
        data.read_series(long(a=(months(8, freq="D"), range(8))), frequency="B")
    for wrong in ("", "fortnight", "-1D", "BME"):
        with pytest.raises(ValueError, match="pandas alias"):
            data.read_series(long(a=GOOD), frequency=wrong)


TIMES = {
    "iso": ["2020-01-31", "2020-02-29", "2020-03-31"],
    "months": ["2020-01", "2020-02", "2020-03"],
    "compact": ["20200101", "20200201", "20200301"],
    "dotted": ["01.01.2020", "01.02.2020", "01.03.2020"],
    "month.year": ["01.2020", "02.2020", "03.2020"],
    "names": ["2020 Jan", "2020 Feb", "2020 Mar"],
    "names first": ["January 2020", "Feb. 2020", "mar 2020"],
    "slashes": ["31/01/2020", "29/02/2020", "31/03/2020"],
    "american": ["1/31/2020", "2/29/2020", "3/31/2020"],
    "year first": ["2020/1/1", "2020/2/1", "2020/3/1"],
    "clock": ["2020-01-01 00:00:00", "2020-02-01 00:00:00", "2020-03-01 00:00"],
    "zone": ["2020-01-01T00:00:00+03:00", "2020-02-01T00:00:00Z", "2020-03-01T00:00:00+0300"],
}


@pytest.mark.parametrize("form", TIMES)
def test_dates_of_many_forms(form):
    panel = only(pd.DataFrame({"ds": TIMES[form], "y": [1, 2, 3]}))
    assert (panel.times == months(3)).all()
    assert panel.names == ("frame",)


def test_other_periods_and_typed_times():
    assert (
        only(pd.DataFrame({"ds": ["2020 Q1", "2020Q2", "Q3 2020"], "y": [1, 2, 3]})).frequency
        == "QS"
    )
    weeks = only(pd.DataFrame({"ds": ["2020 W01", "2020-W02", "2020W03"], "y": [1, 2, 3]}))
    assert (weeks.frequency, weeks.times[0]) == ("W-MON", pd.Timestamp("2019-12-30"))
    period = pd.DataFrame({"ds": pd.period_range("2020-01", periods=3, freq="M"), "y": [1, 2, 3]})
    assert (only(period).times == months(3)).all()
    local = pd.DataFrame({"ds": months(3).tz_localize("Europe/Moscow"), "y": [1, 2, 3]})
    assert (only(local).times == months(3)).all()
    hours = pd.date_range("2020-10-25", periods=30, freq="h", tz="Europe/Berlin")
    assert only(pd.DataFrame({"ds": hours, "y": range(30)})).mask.all()
    with pytest.raises(DataError, match="cannot be told apart"):
        data.read_series(pd.DataFrame({"ds": ["1/2/2020", "2/2/2020"], "y": [1, 2]}))


def test_dialects_and_containers(tmp_path):
    text = "unique_id;ds;y\n" + "".join(
        f"{name};2020-0{month};{month},{i}5\n" for i, name in enumerate("ЖА") for month in (1, 2, 3)
    )
    path = tmp_path / "x.csv"
    for encoding in ("utf-8", "utf-8-sig", "cp1251", "utf-16"):
        path.write_bytes(text.replace("Ж", "Рыба").replace("А", "Дом").encode(encoding))
        panel = only(path)
        assert panel.names == ("Дом", "Рыба")
        assert panel.values[:, 1].tolist() == [1.05, 2.05, 3.05]
    frame = data.series_to_frame(panel, id_column="id", time_column="t", value_column="v")
    for target in (tmp_path / "x.parquet", tmp_path / "x.csv.gz"):
        if target.suffix == ".gz":
            frame.to_csv(target, index=False)
        else:
            frame.set_index(["id", "t"]).to_parquet(target)
        again = only(target, id_column="id", time_column="t", value_column="v")
        assert np.array_equal(again.values, panel.values)


def test_one_series_is_named_after_the_file(tmp_path):
    path = tmp_path / "Tomsk.csv"
    path.write_text("ds,y\n2020-01,1\n2020-02,2\n")
    assert only(path).names == ("Tomsk",)
    path.write_text("ds,city,y\n2020-01,a,1\n2020-01,b,2\n2020-02,a,3\n")
    with pytest.raises(DataError, match="pass id_column="):
        data.read_series(path)


def test_missing_columns_empty_files_and_choices(tmp_path):
    frame = long(a=GOOD)
    with pytest.raises(DataError, match="did you mean 'ds'"):
        data.read_series(frame, time_column="DS")
    with pytest.raises(DataError, match=r"'region': missing column"):
        data.read_series(frame, id_column="region")
    with pytest.raises(DataError, match="no rows"):
        data.read_series(frame[:0])
    path = tmp_path / "x.csv"
    for content in ("", "\n", "unique_id,ds,y\n"):
        path.write_text(content)
        with pytest.raises(DataError):
            data.read_series(path)
    with pytest.raises(ValueError, match="min_values"):
        data.read_series(frame, min_values=0)
    with pytest.raises(ValueError, match="decimal"):
        data.read_series(frame, decimal=";")
    assert data.read_series(frame, min_values=4).panels[0].names == ("a",)
    with pytest.raises(DataError, match="only 4 values"):
        data.read_series(frame, min_values=5)


def test_huge_and_tiny_values_are_kept():
    values = [1.7e308, -1.7e308, 5e-324, 0.0]
    assert only(long(a=(months(4), values))).values[:, 0].tolist() == values


def test_series_far_apart_do_not_share_a_panel():
    near = pd.date_range("2020-01-01", periods=50, freq="s")
    far = near + pd.Timedelta(days=3000)
    frame = long(a=(near, range(50)), b=(far, range(50)), c=(near[10:20], range(10)))
    panels = data.read_series(frame).panels
    assert [p.names for p in panels] == [("a", "c"), ("b",)]
    assert [p.frequency for p in panels] == ["s", "s"]
    for panel in panels:
        check(panel)
    both = long(a=(near, range(50)), b=(near.union(far), range(100)))
    done = data.read_series(both)
    assert [p.names for p in done.panels] == [("a",)]
    assert ["no frequency" in p.what for p in done.problems] == [True]
    with pytest.raises(DataError, match="need a panel of"):
        data.read_series(both, frequency="s")
    numbers = long(a=([1, 2, 3], [1, 2, 3]), b=([1, 2, 10**12], [1, 2, 3]))
    assert [p.names for p in data.read_series(numbers).panels] == [("a",)]


def test_frames_of_values_and_times():
    panel = only(long(a=GOOD, b=(months(3), [1, 2, 3])))
    assert len(data.series_to_frame(panel)) == 7
    assert len(data.series_to_frame(panel, panel.values)) == 8
    with pytest.raises(ValueError, match="pass times="):
        data.series_to_frame(panel, np.ones((3, 2)))
    with pytest.raises(ValueError, match="pass both"):
        data.series_to_frame(panel, times=panel.times)
    with pytest.raises(ValueError, match="horizon"):
        data.future_times(panel, 0)
    bare = panel._replace(days=None)
    pd.testing.assert_frame_equal(data.series_to_frame(bare), data.series_to_frame(panel))


VALUES = st.one_of(st.floats(width=64), st.none())
SERIES = st.lists(VALUES, min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text("ab Ж0", max_size=4), SERIES, min_size=1, max_size=4),
    st.sampled_from(["MS", "ME", "QE", "YS", "D", "W-TUE", "h", "B", None]),
    st.randoms(use_true_random=False),
)
def test_made_frames_come_back_or_are_named(series, freq, random):
    parts = {}
    for name, values in series.items():
        count = len(values)
        times = range(5, 5 + count) if freq is None else months(count, freq=freq)
        parts[name] = (list(times), [np.nan if v is None else v for v in values])
    frame = pd.concat(
        [pd.DataFrame({"unique_id": n, "ds": t, "y": v}) for n, (t, v) in parts.items()]
    )
    order = list(range(len(frame)))
    random.shuffle(order)
    try:
        done = data.read_series(frame.iloc[order])
    except DataError:
        return
    said = "".join(f"{p.value} {p.what}" for p in done.problems)
    kept = {}
    for panel in done.panels:
        check(panel)
        for name, rows in data.series_to_frame(panel).groupby("unique_id"):
            kept[name] = dict(zip(rows["ds"], rows["y"], strict=True))
    for name, (times, values) in parts.items():
        label = " ".join(name.split())
        twins = [other for other in parts if " ".join(other.split()) == label]
        if label not in kept:
            assert label == "" or label in said
        elif len(twins) == 1:
            expected = {t: v for t, v in zip(times, values, strict=True) if v == v}
            assert kept[label] == expected


CELLS = st.sampled_from(
    [
        *("a", "b", "", "2020-01-01", "2020-02-01", "2020-13-01", "1", "2", "1e400", "nan", "-"),
        *("x", "1,5", "01.02.2020", "2020 Q1", "2020 W99", "Q9 2020", "1/2/2020", "0001-01-01"),
        *("\n", '"', "9" * 20),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), st.sampled_from([",", ";", "\t"]))
def test_malformed_text_gives_panels_or_data_errors(tmp_path_factory, rows, delimiter):
    path = tmp_path_factory.mktemp("series") / "x.csv"
    lines = [delimiter.join(row) for row in [("unique_id", "ds", "y"), *rows]]
    path.write_text("\n".join(lines))
    for source in (path, pd.DataFrame(rows, columns=["unique_id", "ds", "y"])):
        try:
            done = data.read_series(source)
        except DataError:
            continue
        for panel in done.panels:
            check(panel)
