"""Readers: layouts, containers, delimiters, decimal marks, encodings, gaps and choices."""

import gzip

import numpy as np
import pandas as pd
import pytest

from diffmig import data
from diffmig.data import DataError

ROWS = """place,year,grp,labour
Izhevsk,2001,10.5,3
Izhevsk,2002,11,4
Izhevsk,2003,12,5
Arsk,2003,1e2,-7
Arsk,2001,20,6
Arsk,2002,21,6.5
"""
VALUES = np.array([[[20, 6], [21, 6.5], [100, -7]], [[10.5, 3], [11, 4], [12, 5]]])


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="regions.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def problems_of(path, **choices):
    with pytest.raises(DataError) as caught:
        data.read_panel(path, **choices)
    assert str(caught.value).startswith(str(path))
    return caught.value.problems


def assert_is_example(panel):
    assert panel.places == ("Arsk", "Izhevsk")
    assert panel.years.tolist() == [2001, 2002, 2003]
    assert panel.names == ("grp", "labour")
    assert np.array_equal(panel.values, VALUES)
    assert panel.mask.all()


def test_rows_are_sorted_and_units_kept(write):
    panel = data.read_panel(write(ROWS), units={"grp": "bn RUB"})
    assert_is_example(panel)
    assert panel.units == ("bn RUB", "")
    assert (panel.values.dtype, panel.years.dtype) == (np.float64, np.int64)


def test_row_order_is_irrelevant(write):
    header, *rows = ROWS.splitlines()
    shuffled = data.read_panel(write("\n".join([header, *reversed(rows)])))
    assert_is_example(shuffled)


LONG = "place;variable;year;value;unit\n" + "".join(
    f"{place};{name};{year};{VALUES[i, j, k]};x\n"
    for i, place in enumerate(("Arsk", "Izhevsk"))
    for k, name in enumerate(("grp", "labour"))
    for j, year in enumerate((2001, 2002, 2003))
)
WIDE = "variable\tplace\t2001\t2002\t2003\n" + "".join(
    f"{name}\t{place}\t" + "\t".join(str(v) for v in VALUES[i, :, k]) + "\n"
    for i, place in enumerate(("Arsk", "Izhevsk"))
    for k, name in enumerate(("grp", "labour"))
)


@pytest.mark.parametrize("text", [LONG, WIDE])
def test_long_and_wide_layouts(write, text):
    assert_is_example(data.read_panel(write(text)))
    labour = data.read_panel(write(text), variables=["labour"])
    assert np.array_equal(labour.values, VALUES[:, :, 1:])
    swapped = data.read_panel(write(text), variables=["labour", "grp"])
    assert np.array_equal(swapped.values, VALUES[:, :, ::-1])


def test_wide_without_variable_column(write):
    panel = data.read_panel(write("place,2001,2002,2003\nA,1,2,3\nB,4,5,6\n"), value_column="grp")
    assert panel.names == ("grp",)
    assert data.variable(panel, "grp").tolist() == [[1, 2, 3], [4, 5, 6]]


def test_one_place_is_named_after_the_file(write):
    text = "year,grp\n2001,1\n2002,2\n2003,3\n"
    assert data.read_panel(write(text, "Tomsk.csv")).places == ("Tomsk",)


@pytest.mark.parametrize("name", ["r.parquet", "r.data", "r.csv.gz", "r.csv.bz2", "r.CSV.XZ"])
def test_parquet_and_compressed_files(write, tmp_path, name):
    frame = data.panel_to_frame(data.read_panel(write(ROWS)))
    path = tmp_path / name
    if ".csv" in name.lower():
        frame.to_csv(
            path, index=False, compression={"gz": "gzip", "z2": "bz2"}.get(name[-2:], "xz")
        )
    else:
        frame.astype({"labour": "Float32", "year": "int16"}).to_parquet(path)
    assert_is_example(data.read_panel(path))


def test_broken_containers(write, tmp_path):
    good = tmp_path / "good.parquet"
    data.panel_to_frame(data.read_panel(write(ROWS))).to_parquet(good)
    content = good.read_bytes()
    for cut in (content[:4], content[:-9], content[:200] + bytes(50) + content[250:], b""):
        (problem,) = problems_of(write(cut, "cut.parquet"))
        assert "parquet" in problem.what
    packed = gzip.compress(ROWS.encode())
    for cut in (packed[:-10], packed[:5], b"plain"):
        (problem,) = problems_of(write(cut, "cut.csv.gz"))
        assert "cannot be read" in problem.what
    (problem,) = problems_of(write(b"PK\x03\x04....", "sheet.csv"))
    assert "Excel" in problem.what


def test_frames(write):
    panel = data.read_panel(write(ROWS))
    frame = data.panel_to_frame(panel)
    assert_is_example(data.panel_from_frame(frame))
    assert_is_example(data.panel_from_frame(frame.set_index(["place", "year"])))
    assert_is_example(data.panel_from_frame(frame.astype(object)))
    assert_is_example(data.panel_from_frame(frame.astype({"year": float, "grp": "Float64"})))
    wide = frame.pivot_table(index="place", columns="year", values="grp")
    assert np.array_equal(data.panel_from_frame(wide).values[..., 0], VALUES[..., 0])
    with pytest.raises(DataError) as caught:
        data.panel_from_frame(frame.assign(grp=[1.0, None, np.inf, 2.0, 3.0, 4.0]))
    assert [(p.line, p.what) for p in caught.value.problems] == [(2, "no value"), (3, "not finite")]
    with pytest.raises(DataError, match="text in a number"):
        data.panel_from_frame(frame.assign(grp=[True, False, 1.5, 2.5, 3.5, 4.5]))
    for name, values in (("complex", np.ones(6) * 1j), ("dates", pd.date_range("2001", periods=6))):
        with pytest.raises(DataError, match="no numbers"):
            data.panel_from_frame(frame.assign(grp=values), name=name)
    for empty in (pd.DataFrame(), frame.iloc[:0], frame[["place"]], frame[["year"]]):
        with pytest.raises(DataError):
            data.panel_from_frame(empty)
    twice = pd.concat([frame, frame[["grp"]]], axis=1)
    with pytest.raises(DataError, match="second column of this name"):
        data.panel_from_frame(twice)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_detected(write, delimiter, newline):
    text = ROWS.replace(",", delimiter).replace("\n", newline)
    assert_is_example(data.read_panel(write(text)))
    assert_is_example(data.read_panel(write(text), delimiter=delimiter))


def test_wrong_delimiter_is_told(write):
    (problem, *_) = problems_of(write(ROWS), delimiter=";")
    assert "the columns are 'place,year,grp,labour'" in problem.cure


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas(write, delimiter):
    text = ROWS.replace(",", delimiter).replace(".", ",")
    assert_is_example(data.read_panel(write(text)))
    assert_is_example(data.read_panel(write(text), decimal=","))
    (first, *_) = problems_of(write(text), decimal=".")
    assert (first.line, first.value) == (2, "10,5")
    assert "decimal=','" in first.cure


def test_header_with_commas_does_not_hide_the_semicolons(write):
    text = "year;grp, bn;labour, thousand\n2001;1,5;2,5\n2002;1,6;2,7\n2003;1,7;2,9\n"
    panel = data.read_panel(write(text))
    assert panel.names == ("grp, bn", "labour, thousand")
    assert panel.values[0, 0].tolist() == [1.5, 2.5]


def test_mixed_decimal_marks_are_refused(write):
    text = "year;grp\n2001;1,5\n2002;1.6\n2003;1,7\n"
    (problem,) = problems_of(write(text))
    assert (problem.line, problem.value) == (3, "1.6")
    assert "decimal mark is ','" in problem.what


def test_grouped_digits_and_minus_signs(write):
    text = (
        "year;grp\n2001;1 234 567,25\n2002;\u22121\u00a0000,5\n2003;12\u202f000\n2004; +7,5 \n"
        "2005;,5\n"
    )
    values = data.read_panel(write(text)).values[0, :, 0]
    assert values.tolist() == [1234567.25, -1000.5, 12000.0, 7.5, 0.5]
    (problem,) = problems_of(write(text.replace("1 234 567", "1 2345")))
    assert problem.line == 2


def test_numbers_are_read_to_the_last_bit(write):
    rng = np.random.default_rng(3)
    numbers = rng.normal(size=400) * 10.0 ** rng.integers(-300, 300, size=400)
    texts = [repr(float(x)) for x in numbers] + ["0.1", "123456789.123456789", "2e-308", "5e-324"]
    rows = "".join(f"{1600 + i},{text}\n" for i, text in enumerate(texts))
    values = data.read_panel(write("year,x\n" + rows)).values[0, :, 0]
    assert values.tolist() == [float(text) for text in texts]


RUSSIAN = "регион;год;ВРП\nг. Москва;2001;1,5\nг. Москва;2002;2,5\nг. Москва;2003;3\n"
GERMAN = "place;year;wert\nKöln;2001;1,5\nKöln;2002;2,5\nKöln;2003;3\nTübingen;2001;1\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1251", "utf-16", "utf-16-le", "utf-16-be"]
)
def test_russian_text(write, encoding):
    content = RUSSIAN.encode(encoding)
    choices = {"place_column": "регион", "year_column": "год"}
    if encoding.startswith("utf-16-"):  # no byte order mark: has to be named
        assert "zero byte" in problems_of(write(content), **choices)[0].what
        choices["encoding"] = encoding
    panel = data.read_panel(write(content), **choices)
    assert (panel.places, panel.names) == (("г. Москва",), ("ВРП",))


def test_latin_1_text(write):
    panel = data.read_panel(write(GERMAN.encode("latin-1")), gaps="mask")
    assert panel.places == ("Köln", "Tübingen")
    forced = data.read_panel(write(GERMAN.encode("latin-1")), gaps="mask", encoding="cp1251")
    assert forced.places[0] == "Kцln"


def test_wrong_encodings_are_told(write):
    (problem,) = problems_of(write(RUSSIAN.encode("cp1251")), encoding="utf-8")
    assert problem.line == 1
    assert "encoding=" in problem.cure
    for encoding in ("no-such-code", "hex", "rot13", "\0"):
        (problem,) = problems_of(write(RUSSIAN), encoding=encoding)
        assert "text encoding" in problem.cure


def test_paths(tmp_path):
    (tmp_path / "region.csv").write_text(ROWS)
    (problem,) = problems_of(tmp_path / "regions.csv")
    assert (problem.what, problem.cure) == (
        "no such file",
        "check the path; did you mean 'region.csv'?",
    )
    for path in (tmp_path, tmp_path / "no" / "x.parquet", tmp_path / "a\0b.csv"):
        problems_of(path)


def test_masked_gaps(write):
    text = ROWS.replace("Arsk,2002,21,6.5\n", "").replace("11,4", "...,4")
    panel = data.read_panel(write(text), gaps="mask")
    expected = np.ones((2, 3, 2), bool)
    expected[0, 1], expected[1, 1, 0] = False, False
    assert np.array_equal(panel.mask, expected)
    assert np.array_equal(panel.values, np.where(expected, VALUES, 0.0))
    (problem,) = problems_of(write("year,a,b\n2001,1,\n2002,1,-\n2003,1,NA\n"), gaps="mask")
    assert (problem.column, problem.what) == ("b", "no value at all")


def test_gaps_of_long_files_name_the_variable(write):
    (problem,) = problems_of(write(LONG.replace("Arsk;labour;2002;6.5;x\n", "")))
    assert (problem.value, problem.what) == ("Arsk", "no row for 'labour' in 2002")


def test_many_gaps_are_summarised(write):
    rows = "".join(f"p{i},{2001 + i % 3},1\n" for i in range(600))
    found = problems_of(write("place,year,x\n" + rows))
    assert len(found) == 201
    assert "600 of 600 places lack years" in found[-1].what


def test_missing_names(write):
    (problem,) = problems_of(write(LONG), variables=["grp", "labor"])
    assert problem.what == "missing variable"
    assert "did you mean 'labour'?" in problem.cure
    (problem,) = problems_of(write(ROWS), variables=["labor"])
    assert (problem.column, problem.what) == ("labor", "missing column")
    (problem,) = problems_of(write(ROWS), place_column="town")
    assert "the columns are 'place', 'year', 'grp', 'labour'" in problem.cure
    (problem,) = problems_of(write(ROWS), units={"gpr": "RUB"})
    assert "did you mean 'grp'?" in problem.cure
    (problem,) = problems_of(write(ROWS), layout="wide")
    assert problem.what == "no column is named by a year"
    assert [p.column for p in problems_of(write(ROWS), layout="long")] == ["variable", "value"]


@pytest.mark.parametrize(
    "choice",
    [
        {"layout": "tall"},
        {"gaps": "fill"},
        {"decimal": ";"},
        {"variables": "grp"},
        {"variables": []},
        {"variables": ["grp", "grp"]},
        {"delimiter": ""},
        {"delimiter": '"'},
        {"delimiter": "¦"},
    ],
)
def test_wrong_choices_are_not_the_files_fault(write, choice):
    with pytest.raises(ValueError, match=next(iter(choice))) as caught:
        data.read_panel(write(ROWS), **choice)
    assert not isinstance(caught.value, DataError)


def test_real_regions(real_data):
    file = real_data / "rosstat_regions_grp_health_2000_2018.csv"
    panel = data.read_panel(file, place_column="region", gaps="mask")
    assert panel.values.shape == (96, 19, 10)
    frame = pd.read_csv(file).set_index(["region", "year"])
    some = frame.loc[[("г. Москва", 2010), ("Республика Крым", 2000)]]
    for (place, year), row in some.iterrows():
        i, j = panel.places.index(place), year - 2000
        expected = row.to_numpy()
        assert np.array_equal(panel.mask[i, j], ~np.isnan(expected))
        assert np.array_equal(panel.values[i, j], np.nan_to_num(expected))
    assert panel.mask.sum() == frame.notna().to_numpy().sum()
    grp = data.select(panel, years=(2000, 2017), names=["grp_mln_rub"])
    whole = data.select_complete(grp).places
    parts = ("федеральный округ", "без автоном", "Российская Федерация")
    assert len([place for place in whole if not any(part in place for part in parts)]) == 82
