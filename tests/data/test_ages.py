"""Populations by age: what is read, what is refused and why, totals, and the UN's table."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffmig import data
from diffmig.data import OPEN_AGE, DataError, ages

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LONG = """year,age,population
2010,0,1100
2010,1-4,4000
2010,5+,9000
2005,0,1000
2005,1-4,4200
2005,5+,9500
"""
WIDE = "year,0,1-4,5+\n2010,1100,4000,9000\n2005,1000,4200,9500\n"


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="ages.csv"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write_file


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("text", [LONG, WIDE])
def test_long_and_wide_files_say_the_same(write, text):
    table = data.read_population(write(text))
    assert table.places == ("ages",)
    assert table.sexes == ("both",)
    assert table.years.tolist() == [2005, 2010]
    assert table.first_ages.tolist() == [0, 1, 5]
    assert table.last_ages.tolist() == [0, 4, OPEN_AGE]
    assert table.values.tolist() == [[[[1000, 4200, 9500], [1100, 4000, 9000]]]]
    assert data.age_labels(table) == ("0", "1-4", "5+")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1-4", "1-4"),
        ("1–4", "1-4"),
        ("01 - 04", "1-4"),
        ("1 to 4 years", "1-4"),
        ("85 and over", "85+"),
        ("85 years and older", "85+"),
        ("85 +", "85+"),
        ("85 лет и старше", "85+"),
        ("100+", "100+"),
        ("7.0", "7"),
        ("under 1", "0"),
        ("<5", "0-4"),
    ],
)
def test_ways_to_write_an_age_group(written, read):
    first, last = ages.parse_age(written)
    assert ages.age_label(first, last) == read


def test_sexes_and_places_are_named_and_sorted(write):
    rows = [
        f"{place},{year},{sex},{age},{value + 10 * year}"
        for place in ("Izhevsk", "Arsk")
        for year in (2001, 2003)
        for sex in ("M", "women")
        for age, value in (("0-14", 1), ("15+", 2))
    ]
    table = data.read_population(write("\n".join(["Region,Year,Sex,Age group,Persons", *rows])))
    assert table.places == ("Arsk", "Izhevsk")
    assert table.sexes == ("female", "male")
    assert table.values.shape == (2, 2, 2, 2)
    assert table.values[0, 1, 1].tolist() == [20031, 20032]


def test_thousands_and_decimal_commas(write):
    text = "year;age;population\n2010;0;15,76\n2010;1+;1580,5\n"
    table = data.read_population(write(text), unit="thousands")
    np.testing.assert_allclose(table.values.ravel(), [15760, 1580500], rtol=1e-15)


def test_columns_asked_for_by_name(write):
    text = "kind,t,group,people,population\nA,2010,0+,1,2\n"
    path = write(text)
    names = {"place_column": "kind", "year_column": "t", "age_column": "group"}
    assert data.read_population(path, value_column="people", **names).values.ravel() == 1
    with pytest.raises(DataError, match="can both be the value; pass value_column="):
        data.read_population(path, **names)


def test_parquet_and_frames(tmp_path):
    table = data.load_population()
    frame = data.ages_to_frame(table)
    frame.to_parquet(tmp_path / "x.parquet")
    for source in (frame, tmp_path / "x.parquet", frame.set_index(["place", "year", "age"])):
        assert same(data.read_population(source), table)


# text, (line, column, value, part of what, part of cure)
ONE_PROBLEM = {
    "negative": (
        LONG.replace("4000", "-4000"),
        (3, "population", "-4000", "negative", "sign"),
    ),
    "text": (LONG.replace("4000", "four"), (3, "population", "four", "text in a number", "plain")),
    "infinite": (LONG.replace("4000", "inf"), (3, "population", "inf", "not finite", "finite")),
    "missing value": (LONG.replace("4000", ""), (3, "population", "", "no value", "with 0")),
    "token": (LONG.replace("4000", "NA"), (3, "population", "NA", "no value", "fill it in")),
    "too many": (LONG.replace("4000", "4e12"), (3, "population", "4e12", "more people", "unit=")),
    "not a year": (LONG.replace("2010,1-4", "20I0,1-4"), (3, "year", "20I0", "not a year", "")),
    "not an age": (LONG.replace("2010,1-4", "2010,all"), (3, "age", "all", "not an age", "totals")),
    "no age": (LONG.replace("2010,1-4", "2010,"), (3, "age", "", "no age", "1-4")),
    "backward age": (LONG.replace("2010,1-4", "2010,4-1"), (3, "age", "4-1", "not an age", "1-4")),
    "a date": (LONG.replace("2010,1-4", "2010,04-Jan"), (3, "age", "04-Jan", "not", "as text")),
    "duplicate": (
        LONG + "2010,1–4,1\n",
        (8, None, "ages, 2010, 1-4", "second row of the same year, age", "place_column="),
    ),
    "row missing": (
        LONG.replace("2005,1-4,4200\n", ""),
        (None, "age", None, "no row for 'ages', 2005, age 1-4", "add the rows"),
    ),
    "gap everywhere": (
        LONG.replace("2010,1-4,4000\n", "").replace("2005,1-4,4200\n", ""),
        (5, "age", "5+", "no 1-4 before 5+ ('ages', 2005)", "none left out"),
    ),
    "overlap": (
        LONG.replace("2010,1-4", "2010,0-4"),
        (3, "age", "0-4", "0-4 overlaps 0 ('ages', 2010)", "same groups"),
    ),
    "open group not last": (
        LONG + "2010,10-14,5\n",
        (4, "age", "5+", "the open group 5+ is not the last", "same groups"),
    ),
    "not from 0": (
        "year,age,population\n2010,1-4,5\n2010,5+,6\n",
        (2, "age", "1-4", "no 0 before 1-4", "from age 0"),
    ),
    "other groups in one year": (
        LONG + "2000,0-4,5000\n2000,5+,9000\n",
        (8, "age", "0-4", "age groups other than those of most", "same groups"),
    ),
    "wide, gap": ("year,0,5+\n2010,1,2\n", (None, None, "5+", "no 1-4 before 5+", "1-4")),
    "wide, odd column": (
        WIDE.replace("5+", "5-9,l0+").replace("9000", "1,8999").replace("9500", "1,9499"),
        (None, "l0+", None, "no age group", "1-4"),
    ),
    "wide, two rows of a year": (
        WIDE.replace("2005", "2010"),
        (3, None, "ages, 2010", "second row of the same year", "keep one"),
    ),
    "wide, two columns of a group": (
        WIDE.replace("1-4", "1–4,1-4").replace("40", "7,40").replace("42", "7,42"),
        (None, None, "1-4", "two columns of one age group", "keep one"),
    ),
    "thousands": (
        "year,age,population\n2010,0,15.8\n2010,1+,1500\n",
        (None, None, "1515.8", "it looks like thousands", "unit='thousands'"),
    ),
    "no year column": (
        LONG.replace("year", "jahr"),
        (None, "year", None, "missing column", "pass year_column="),
    ),
    "years as columns": (
        "age,population,2000,2005\n0+,1,1,1\n",
        (None, "year", None, "missing column", "a row per year"),
    ),
    "no age column": (
        LONG.replace("age,", "class,"),
        (None, "age", None, "missing column", "pass age_column="),
    ),
    "no value column": (
        LONG.replace("population", "inhabitants"),
        (None, "value", None, "missing column", "pass value_column="),
    ),
    "both and parts": (
        "year,age,sex,population\n2010,0+,Total,3\n2010,0+,F,1\n2010,0+,M,2\n",
        (None, "sex", "both", "count everyone twice", "leave one"),
    ),
    "no place": (
        "place,year,age,population\nA,2010,0+,3\n,2010,0+,3\n",
        (3, "place", "", "an empty name", "fill"),
    ),
    "a year of one place missing": (
        "place,year,age,population\nA,2010,0+,3\nA,2015,0+,3\nB,2010,0+,3\n",
        (None, None, "B", "no row for 'B', 2015", "leave the place or year out"),
    ),
    "short row": (LONG.replace("4000", "4,000"), (3, None, None, "4 fields", "as many")),
    "ambiguous comma": (
        "year;age;population\n2010;0+;1,234\n",
        (None, None, "1,234", "decimal mark or a thousands", "decimal="),
    ),
    "empty": ("", (None, None, None, "the file is empty", "header")),
    "header only": ("year,age,population\n", (None, None, None, "no rows", "add")),
}


@pytest.mark.parametrize("case", ONE_PROBLEM)
def test_one_problem_is_told_precisely(write, case):
    text, (line, column, value, what, cure) = ONE_PROBLEM[case]
    path = write(text)
    with pytest.raises(DataError) as caught:
        data.read_population(path)
    assert caught.value.file == str(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.value) == (line, column, value)
    assert what in problem.what
    assert cure in problem.cure


def test_choices_that_do_not_exist(write):
    with pytest.raises(ValueError, match="unit: expected 'persons' or 'thousands', got 'm'"):
        data.read_population(write(LONG), unit="m")
    with pytest.raises(ValueError, match="decimal"):
        data.read_population(write(LONG), decimal=";")
    with pytest.raises(DataError, match="did you mean 'population'"):
        data.read_population(write(LONG), value_column="populatoin")


def test_check_ages_names_what_is_broken():
    table = data.load_population()
    assert data.check_ages(table) is table
    broken = [
        (table._replace(values=table.values[:, :, :3]), "shape"),
        (table._replace(values=table.values.astype(np.float32)), "float32"),
        (table._replace(values=-table.values), "unusable value in 'Udmurt Republic', 2000, age 0"),
        (table._replace(years=table.years[::-1].copy()), "not ascending"),
        (table._replace(first_ages=table.first_ages + 1), "no 0 before"),
        (table._replace(places=("a", "a")), "a place name is repeated"),
        (table._replace(last_ages=table.last_ages[:3]), "of one length"),
        (
            table._replace(values=np.repeat(table.values, 2, 1), sexes=("both", "male")),
            "count everyone twice",
        ),
    ]
    for wrong, what in broken:
        with pytest.raises(DataError, match=what):
            data.check_ages(wrong)


def test_totals():
    table = data.load_population()
    deviation = data.check_totals(table, [2014], [1517258])
    assert deviation.shape == (1, 1)
    assert deviation[0, 0] == 1517266 / 1517258 - 1
    with pytest.raises(DataError) as caught:
        data.check_totals(table, [2014, 2000], [[1517258, 1640000]])
    (problem,) = caught.value.problems
    assert problem.value == "2000"
    assert "add up to 1591817 in 2000, the total is 1640000" in problem.what
    with pytest.raises(DataError, match="multiply the totals by 1000"):
        data.check_totals(table, [2014], [1517.258])
    small = table._replace(values=table.values / 1000)
    with pytest.raises(DataError, match="multiply the ages by 1000"):
        data.check_totals(small, [2014], [1517258])
    with pytest.raises(DataError, match="check both sources"):
        data.check_totals(table._replace(values=0.0 * table.values), [2014], [1517258])
    with pytest.raises(ValueError, match="2001"):
        data.check_totals(table, [2001], [1.0])
    with pytest.raises(ValueError, match="shape"):
        data.check_totals(table, [2000, 2005], [1.0])
    with pytest.raises(ValueError, match="> 0"):
        data.check_totals(table, [2000], [0.0])


def test_totals_of_several_places_and_sexes():
    values = np.arange(1.0, 17.0).reshape(2, 2, 2, 2)
    groups = np.array([0, 5]), np.array([4, OPEN_AGE])
    years = np.array([2000, 2007])
    table = data.AgeTable(values, ("a", "b"), ("female", "male"), years, *groups)
    sums = [[1 + 2 + 5 + 6, 3 + 4 + 7 + 8], [9 + 10 + 13 + 14, 11 + 12 + 15 + 16]]
    assert data.check_totals(table, years, sums).tolist() == [[0, 0], [0, 0]]
    assert data.check_totals(table, [2007], [[22], [55]]).tolist() == [[0], [54 / 55 - 1]]


@st.composite
def populations(draw):
    """A valid table, with its rows in any order."""
    bounds = sorted(draw(st.sets(st.integers(1, 99), max_size=5)) | {0})
    last = [first - 1 for first in bounds[1:]] + [draw(st.sampled_from([OPEN_AGE, 100]))]
    years = sorted(draw(st.sets(st.integers(1900, 2100), min_size=1, max_size=3)))
    places = sorted(draw(st.sets(st.sampled_from(["Ижевск", "b c", "A,"]), min_size=1)))
    sexes = draw(st.sampled_from([("both",), ("female", "male")]))
    shape = (len(places), len(sexes), len(years), len(bounds))
    size = int(np.prod(shape))
    counts = draw(st.lists(st.integers(0, 10**10), min_size=size, max_size=size))
    values = np.array(counts, float).reshape(shape)
    groups = np.array(bounds), np.array(last)
    table = data.AgeTable(values, tuple(places), sexes, np.array(years), *groups)
    return table, draw(st.permutations(range(size)))


@SETTINGS
@given(case=populations())
def test_any_order_of_rows_reads_back(tmp_path, case):
    table, order = case
    frame = data.ages_to_frame(table).iloc[list(order)]
    path = tmp_path / "x.csv"
    frame.to_csv(path, index=False)
    assert same(data.read_population(path), table)
    wide = frame.pivot_table(index=["place", "sex", "year"], columns="age", values="population")
    if len(table.first_ages) > 1:
        wide.to_csv(path)
        assert same(data.read_population(path), table)


CELL = st.sampled_from(
    ["", "0", "1-4", "5+", "5", "-1", "2010", "x", "inf", "nan", "1e400", "1,5", '"', "1–4", "\n"]
) | st.text(max_size=4)


@settings(SETTINGS, max_examples=100)
@given(
    text=st.sampled_from([LONG, WIDE]),
    edits=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), CELL), max_size=3),
    drop=st.integers(0, 12),
    unit=st.sampled_from(["persons", "thousands"]),
)
def test_damaged_files_are_read_or_refused(tmp_path, text, edits, drop, unit):
    rows = [line.split(",") for line in text.splitlines()]
    for i, j, cell in edits:
        row = rows[i % len(rows)]
        row[j % len(row)] = cell
    if drop < len(rows):
        del rows[drop]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8", errors="replace")
    try:
        data.check_ages(data.read_population(path, unit=unit))
    except DataError as error:
        refusal = error
    else:
        return
    assert refusal.file == str(path)  # from the reader, not from the check of its table
    assert all(problem.what and problem.cure for problem in refusal.problems)


@SETTINGS
@given(content=st.text(st.sampled_from('year,age2001;0-4+5.5\n"pop'), max_size=100))
def test_random_text(tmp_path, content):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        data.read_population(path)
    assert caught.value.file == str(path)


def wpp(places=None):
    try:
        return data.load_wpp_population(places)
    except DataError as error:
        pytest.skip(str(error))


def test_wpp_ages_and_units():
    table = wpp(["World", "Russian Federation"])
    assert table.values.shape == (2, 2, 31, 21)
    assert table.places == ("World", "Russian Federation")
    assert table.sexes == ("female", "male")
    assert table.years.tolist() == list(range(1950, 2101, 5))
    assert data.age_labels(table)[::20] == ("0-4", "100+")
    # WPP 2024, 1 July 2020: 7.887 bn people, 146.4 million in Russia.
    data.check_totals(table, [2020], [[7.887e9], [146.4e6]], tolerance=0.001)


def test_wpp_places_and_nearest_names():
    wpp(["Kenya"])
    assert len(data.wpp_places()) == 266
    for wrong, right in (("Russia", "Russian Federation"), ("Germny", "Germany")):
        with pytest.raises(ValueError, match=right):
            data.load_wpp_population([wrong])
    with pytest.raises(ValueError, match="list of names"):
        data.load_wpp_population("Kenya")
    with pytest.raises(ValueError, match="different names"):
        data.load_wpp_population(["Kenya", "Kenya"])


def test_wpp_whole():
    table = wpp()
    assert table.values.shape == (266, 2, 31, 21)
    assert table.places == data.wpp_places()
    europe = [f"{side} Europe" for side in ("Eastern", "Northern", "Southern", "Western")]
    of = dict(zip(table.places, table.values, strict=True))
    np.testing.assert_allclose(sum(of[name] for name in europe), of["Europe"], rtol=0, atol=4)


def test_one_row_of_two_places_asks_for_their_column(write):
    text = "oblast,year,0-14,15+\nA,2010,1,2\nB,2010,1,2\n"
    path = write(text)
    with pytest.raises(DataError, match=r"pass place_column= or sex_column= .*'oblast'"):
        data.read_population(path)
    assert data.read_population(path, place_column="oblast").places == ("A", "B")


def test_wide_frame_with_integer_columns():
    frame = pd.DataFrame({"Year": [2000], 0: [5], 1: [6], "2+": [7]})
    table = data.read_population(frame)
    assert table.values.ravel().tolist() == [5, 6, 7]
    assert table.places == ("frame",)
