"""Settlements: what is read, what is left out, what is refused and why."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffmig import data
from diffmig.data import DataError

SETTINGS = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TOWNS = {"Abay": (49.635, 72.865), "Rudnyi": (52.972, 63.111), "Kentau": (43.517, 68.505)}
BALANCES = {"Abay": [-288, -296, -302, -333], "Rudnyi": [270, 313, 405, 417]}
BALANCES["Kentau"] = [-828.5, -1028, -1273, -1430]
YEARS = range(2019, 2023)


def table(**columns):
    """The towns, a row per town and year, wages as a feature; `columns` replaces or adds some."""
    rows = [
        {
            "place": town,
            "year": year,
            "balance": BALANCES[town][k],
            "population": 35000 + 100 * k,
            "latitude": at[0],
            "longitude": at[1],
            "wage": 10.5 + k,
        }
        for town, at in TOWNS.items()
        for k, year in enumerate(YEARS)
    ]
    return pd.DataFrame(rows).assign(**columns)


def text(**columns):
    return table(**columns).to_csv(index=False)


PLACES = "place,latitude,longitude\n" + "".join(
    f"{town},{north},{east}\n" for town, (north, east) in TOWNS.items()
)
BALANCE_ONLY = table()[["place", "year", "balance"]].to_csv(index=False)


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="towns.csv"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write_file


def problems_of(*sources, **choices):
    with pytest.raises(DataError) as caught:
        data.read_settlements(*sources, **choices)
    assert all(problem.what and problem.cure for problem in caught.value.problems)
    return caught.value


def same(left, right):
    panels = zip(left.panel, right.panel, strict=True)
    return all(np.array_equal(a, b) for a, b in panels) and all(
        np.array_equal(a, b) for a, b in zip(left[1:], right[1:], strict=True)
    )


def test_one_file(write):
    settlements = data.read_settlements(write(text()), features=["wage"], units={"wage": "KZT"})
    panel = settlements.panel
    assert panel.places == ("Abay", "Kentau", "Rudnyi")
    assert panel.names == ("balance", "population", "wage")
    assert panel.units == ("persons/year", "persons", "KZT")
    assert panel.years.tolist() == list(YEARS)
    assert panel.values[1, :, 0].tolist() == BALANCES["Kentau"]
    assert panel.values[0, :, 2].tolist() == [10.5, 11.5, 12.5, 13.5]
    assert panel.mask.all()
    assert settlements.latitude.tolist() == [49.635, 43.517, 52.972]
    assert settlements.longitude.tolist() == [72.865, 68.505, 63.111]
    assert settlements.left_out == settlements.note == ()


def test_second_file_and_its_further_places(write):
    whole = data.read_settlements(write(text()), population_column=None)
    places = write(PLACES, "places.csv")
    apart = data.read_settlements(write(BALANCE_ONLY, "b.csv"), places)
    assert same(apart, whole)
    more = data.read_settlements(write(BALANCE_ONLY), write(PLACES + "Aksu,52.04,76.927\n", "p"))
    assert more.note == ("1 places of the table of coordinates have no balance",)
    assert same(more._replace(note=()), whole)


def layouts(frame):
    """The same table long, with coordinates as variables or as columns, and wide."""
    keys, at = ["place", "year"], ["latitude", "longitude"]
    numbers = ["balance", "population", "wage"]
    yield frame.melt(keys, numbers + at)
    yield frame.melt(keys + at, numbers)
    constant = frame.drop_duplicates("place")[["place", *at]].melt("place")
    yield pd.concat([frame.melt(keys, numbers), constant.assign(year=None)])
    yield frame.melt(keys + at, numbers).pivot_table(
        index=["place", *at, "variable"], columns="year", values="value"
    )


@pytest.mark.parametrize("number", range(4))
def test_layouts_say_the_same(tmp_path, number):
    frame = list(layouts(table()))[number]
    expected = data.read_settlements(table(), features=["wage"])
    assert same(data.read_settlements(frame, features=["wage"]), expected)
    path = tmp_path / "towns.csv"
    frame.reset_index().to_csv(path, index=False)
    assert same(data.read_settlements(path, features=["wage"]), expected)


def test_wide_file_without_variables_holds_the_balance(write):
    keys = ["place", "latitude", "longitude"]
    wide = table().pivot_table(index=keys, columns="year", values="balance")
    found = data.read_settlements(wide)
    assert same(found, data.read_settlements(table(), population_column=None))
    renamed = data.read_settlements(wide, balance_column="net_migration")
    assert same(renamed, found)


def test_balance_is_arrivals_minus_departures():
    whole = table(arrivals=2000.0)
    whole["departures"] = whole["arrivals"] - whole["balance"]
    expected = data.read_settlements(table())
    assert same(data.read_settlements(whole), expected)
    flows = data.read_settlements(whole.drop(columns="balance"))
    assert flows.note == ("the balance is 'arrivals' minus 'departures'",)
    assert same(flows._replace(note=()), expected)
    moved = whole.rename(columns={"arrivals": "in", "departures": "out"}).drop(columns="balance")
    named = data.read_settlements(moved, arrivals_column="in", departures_column="out")
    assert same(named._replace(note=()), expected)
    whole.loc[5, "arrivals"] += 7
    differs = data.read_settlements(whole)
    assert "in 1 cells of the table, by up to 7: 'balance' is taken" in differs.note[0]
    assert same(differs._replace(note=()), expected)


@pytest.mark.parametrize(
    ("value", "year", "reason"),
    [
        (0.0, None, "the balance is 0 in every year"),
        (-3.5, None, "the balance is -3.5 in every year"),
        (np.nan, 2020, "no balance in 1 of 4 years, first in 2020"),
        (np.nan, None, "no balance in 4 of 4 years, first in 2019"),
    ],
)
def test_unusable_places_are_left_out_with_the_reason(value, year, reason):
    frame = table()
    rows = (frame["place"] == "Kentau") & ((frame["year"] == year) | (year is None))
    frame.loc[rows, "balance"] = value
    settlements = data.read_settlements(frame)
    assert settlements.panel.places == ("Abay", "Rudnyi")
    assert settlements.left_out == (("Kentau", reason),)
    assert settlements.latitude.tolist() == [49.635, 52.972]
    # What is left out needs no coordinates, and nobody else's place is closed to another.
    frame.loc[frame["place"] == "Kentau", "latitude"] = np.nan
    assert same(data.read_settlements(frame), settlements)
    frame.loc[frame["place"] == "Kentau", ["latitude", "longitude"]] = TOWNS["Abay"]
    assert same(data.read_settlements(frame), settlements)


def test_absent_rows_are_gaps():
    frame = table().drop(index=[9])
    settlements = data.read_settlements(frame)
    assert settlements.left_out == (("Kentau", "no balance in 1 of 4 years, first in 2020"),)


def test_gaps_of_features_and_population_are_masked():
    frame = table()
    frame.loc[0, ["wage", "population"]] = np.nan
    panel = data.read_settlements(frame, features=["wage"]).panel
    assert np.argwhere(~panel.mask).tolist() == [[0, 0, 1], [0, 0, 2]]
    frame.loc[frame["place"] == "Abay", "population"] = np.nan
    settlements = data.read_settlements(frame)
    assert settlements.left_out == (("Abay", "no population in any year"),)


def test_years_without_any_balance_are_not_taken():
    extra = table(balance=np.nan)
    extra["year"] = extra["year"].replace({2019: 2016, 2020: 2017, 2021: 2018, 2022: 2023})
    settlements = data.read_settlements(pd.concat([table(), extra]))
    assert settlements.panel.years.tolist() == list(YEARS)
    assert "[2016, 2017, 2018, 2023]" in settlements.note[0]
    shorter = data.read_settlements(table(), years=(2020, 2022), min_years=3)
    assert shorter.panel.values[0, :, 0].tolist() == BALANCES["Abay"][1:]
    with pytest.raises(ValueError, match="inside 2019-2022"):
        data.read_settlements(table(), years=(2018, 2022))


def test_two_places_must_remain():
    frame = table()
    frame.loc[frame["place"] != "Abay", "balance"] = 0.0
    problem = problems_of(frame).problems[0]
    assert "1 settlement with a usable balance, two are needed" in problem.what
    assert "'Kentau': the balance is 0 in every year; 'Rudnyi'" in problem.cure
    alone = problems_of(table().query("place == 'Abay'")).problems[0]
    assert alone.cure == "add settlements"


def test_mixed_units_are_noted():
    frame = table()
    at = frame["place"] == "Kentau"
    frame.loc[at, "balance"] = [-0.26, -0.29, -0.49, -0.54]
    (note,) = data.read_settlements(frame).note
    assert "'Kentau'" in note
    assert "thousands?" in note
    frame.loc[at, "balance"] = [-26.5, -29, -49, -54]
    assert data.read_settlements(frame).note == ()


def test_decimal_commas(write):
    frame = table(balance=[f"{b:.1f}".replace(".", ",") for b in table()["balance"]])
    for column in ("latitude", "longitude"):  # three decimals: no thousands in a coordinate
        frame[column] = [f"{degrees:.3f}".replace(".", ",") for degrees in frame[column]]
    path = write(frame.drop(columns="wage").to_csv(index=False, sep=";"))
    assert same(data.read_settlements(path), data.read_settlements(table()))
    # The mark of the coordinates settles that of "1,028" and "35,000".
    frame["balance"] = [f"{b / 1000:.3f}".replace(".", ",") for b in table()["balance"]]
    found = data.read_settlements(write(frame.to_csv(index=False, sep=";"), "2.csv"))
    assert found.panel.values[1, 1, 0] == -1.028


# frame or text, choices, (line, column, value, part of what, part of cure)
ONE_PROBLEM = {
    "swapped": (
        text().replace("72.865", "94.5").replace("49.635,94.5", "94.5,49.635"),
        {},
        (2, "latitude", "94.5", "longitude 49.635 of 'Abay' look swapped", "swap the columns"),
    ),
    "latitude out of range": (
        text().replace("49.635", "-149.635").replace("72.865", "92.865"),
        {},
        (2, "latitude", "-149.635", "outside -90 to 90", "decimal degrees"),
    ),
    "lost decimal mark": (
        text().replace("49.635", "49635"),
        {},
        (2, "latitude", "49635", "outside -90 to 90", "decimal mark lost"),
    ),
    "longitudes to 360": (
        text().replace("72.865", "288"),
        {},
        (2, "longitude", "288", "outside -180 to 180", "subtract 360"),
    ),
    "degrees and minutes": (
        text().replace("49.635", "49°38'N", 1),
        {},
        (2, "latitude", "49°38'N", "not decimal degrees", "such as 49.635"),
    ),
    "text for a coordinate": (
        text().replace("49.635", "far", 1),
        {},
        (2, "latitude", "far", "text in a number", "plain number"),
    ),
    "infinite coordinate": (
        text().replace("49.635", "1e999", 1),
        {},
        (2, "latitude", "1e999", "not finite", "finite"),
    ),
    "no coordinates": (
        text().replace("49.635,72.865", ","),
        {},
        (None, "latitude", "Abay", "without coordinates", "or leave it out"),
    ),
    "no longitude": (
        text().replace("49.635,72.865", "49.635,NA"),
        {},
        (None, "longitude", "Abay", "without a longitude", "or leave it out"),
    ),
    "a place that moves": (
        text().replace("49.635", "49.7", 1),
        {},
        (3, "latitude", "49.635", "another latitude of 'Abay' than on line 2, '49.7'", "the same"),
    ),
    "two names at one place": (
        text().replace("52.972,63.111", "49.635,72.865"),
        {},
        (None, "latitude", "49.635, 72.865", "'Abay' and 'Rudnyi' have the same", "keep one"),
    ),
    "the date line from both sides": (
        text().replace("49.635,72.865", "50,180").replace("52.972,63.111", "50,-180"),
        {},
        (None, "latitude", "50, 180", "distance 0", "same_coordinates='keep'"),
    ),
    "no coordinate column": (
        text().replace("latitude", "lat"),
        {},
        (
            None,
            "latitude",
            None,
            "missing column",
            "'lat'? pass latitude_column=, or a second table",
        ),
    ),
    "town twice": (
        text() + "Abay,2019,1,1,49.635,72.865,1\n",
        {},
        (14, None, "Abay, 2019", "a second row of the same place, year", "keep one"),
    ),
    "too few years": (
        table().query("year < 2022"),
        {},
        (None, None, None, "3 years with a balance (2019-2021), at least 4", "min_years="),
    ),
    "no place column": (
        text().replace("place", "town"),
        {},
        (None, "place", None, "missing column", "pass place_column=; the columns are 'town'"),
    ),
    "no balance column": (
        text().replace("balance", "saldo"),
        {},
        (None, "balance", None, "missing column", "arrivals_column= and departures_column=; the"),
    ),
    "arrivals alone": (
        text().replace("balance", "arrivals"),
        {},
        (None, "balance", None, "missing column", "balance_column="),
    ),
    "misspelt balance": (
        text(),
        {"balance_column": "balanse"},
        (None, "balanse", None, "missing column", "did you mean 'balance'?"),
    ),
    "misspelt population": (
        text(),
        {"population_column": "populace"},
        (None, "populace", None, "missing column", "did you mean 'population'?"),
    ),
    "misspelt feature": (
        text(),
        {"features": ["wages"]},
        (None, "wages", None, "missing column", "did you mean 'wage'?"),
    ),
    "text for a balance": (
        text().replace("-288.0", "loss"),
        {},
        (2, "balance", "loss", "text in a number", "plain number"),
    ),
    "infinite balance": (
        text().replace("-288.0", "-inf"),
        {},
        (2, "balance", "-inf", "not finite", "finite"),
    ),
    "nobody": (
        text().replace("35000", "0", 1),
        {},
        (None, "population", "0", "no people in 'Abay', 2019", "residents"),
    ),
    "negative population": (
        text().replace("35000", "-35000", 1),
        {},
        (None, "population", "-35000", "no people in 'Abay', 2019", "residents"),
    ),
    "population in thousands": (
        text().replace("35000", "35.0", 1),
        {},
        (None, "population", "35", "half the balance -288 of 'Abay', 2019: one", "in persons"),
    ),
    "negative arrivals": (
        table(arrivals=-1.0, departures=5.0)
        .drop(columns="balance")
        .assign(arrivals=lambda t: t["arrivals"].where(t.index == 0, 7.0 + t.index)),
        {},
        (None, "arrivals", "-1", "negative in 'Abay', 2019", "persons who moved"),
    ),
    "not a year": (
        text().replace("Abay,2019", "Abay,19"),
        {},
        (2, "year", "19", "not a year", "whole year"),
    ),
}


@pytest.mark.parametrize("case", ONE_PROBLEM)
def test_one_problem_is_told_precisely(write, case):
    source, choices, (line, column, value, what, cure) = ONE_PROBLEM[case]
    source = write(source) if isinstance(source, str) else source.reset_index(drop=True)
    error = problems_of(source, **choices)
    assert error.file == ("frame" if isinstance(source, pd.DataFrame) else str(source))
    (problem,) = error.problems
    assert (problem.line, problem.column, problem.value) == (line, column, value)
    assert what in problem.what
    assert cure in problem.cure


# text of the second file, (line, column, value, part of what, part of cure)
ONE_PLACE_PROBLEM = {
    "town twice": (
        PLACES + "Abay,49.635,72.865\n",
        (5, "place", "Abay", "a second row of the same settlement, the first is on line 2", "keep"),
    ),
    "another spelling": (
        PLACES.replace("Rudnyi", "Rudny"),
        (None, "latitude", "Rudnyi", "without coordinates", "is it 'Rudny'?"),
    ),
    "absent town": (
        PLACES.replace("Rudnyi,52.972,63.111\n", ""),
        (None, "latitude", "Rudnyi", "without coordinates", "give its latitude"),
    ),
    "no name": (PLACES + ",1,1\n", (5, "place", "", "an empty name", "fill it in")),
    "short row": (PLACES + "Aksu,1\n", (5, None, None, "2 fields, the header has 3", "as many")),
    "no place column": (
        PLACES.replace("place", "town"),
        (None, "place", None, "missing column", "pass place_column=; the columns are 'town'"),
    ),
    "no longitude column": (
        PLACES.replace("longitude", "lon"),
        (None, "longitude", None, "missing column", "did you mean 'lon'? pass longitude_column=;"),
    ),
}


@pytest.mark.parametrize("case", ONE_PLACE_PROBLEM)
def test_one_problem_of_the_second_file(write, case):
    content, (line, column, value, what, cure) = ONE_PLACE_PROBLEM[case]
    places = write(content, "places.csv")
    error = problems_of(write(BALANCE_ONLY), places)
    assert error.file == str(places)
    (problem,) = error.problems
    assert (problem.line, problem.column, problem.value) == (line, column, value)
    assert what in problem.what
    assert cure in problem.cure


def test_problems_of_both_files_come_at_once(write):
    balances = write(BALANCE_ONLY.replace("-288.0", "loss"))
    places = write(
        PLACES.replace("49.635", "x").replace("Kentau,43.517", "Kentau,143.517"), "p.csv"
    )
    error = problems_of(balances, places)
    assert error.file == str(balances)
    assert [(p.line, p.column, p.value) for p in error.problems] == [
        (2, "balance", "loss"),
        (2, "latitude", "x"),
        (4, "latitude", "143.517"),
    ]
    assert [str(places) in problem.what for problem in error.problems] == [False, True, True]


def test_all_problems_of_one_file_come_at_once(write):
    faulty = text().replace("-288.0", "loss").replace("52.972,63.111", "163.111,52.972")
    faulty = faulty.replace("43.517", "")
    found = {(p.column, p.value) for p in problems_of(write(faulty)).problems}
    assert found == {("balance", "loss"), ("latitude", "163.111"), ("latitude", "Kentau")}


def test_same_coordinates_can_be_kept():
    frame = table()
    frame.loc[frame["place"] == "Rudnyi", ["latitude", "longitude"]] = TOWNS["Abay"]
    settlements = data.read_settlements(frame, same_coordinates="keep")
    assert len(settlements.panel.places) == 3
    assert settlements.note == ("'Abay' and 'Rudnyi' have the same coordinates",)


@pytest.mark.parametrize(
    ("choices", "what"),
    [
        ({"features": "wage"}, "list of names"),
        ({"features": ["wage", "wage"]}, "different names"),
        ({"features": ["balance"]}, "never features"),
        ({"features": ["arrivals"]}, "never features"),
        ({"features": ["population"]}, "population_column="),
        ({"same_coordinates": "drop"}, "'error' or 'keep'"),
        ({"layout": "tall"}, "layout"),
        ({"decimal": ";"}, "decimal"),
    ],
)
def test_choices_that_do_not_exist(choices, what):
    with pytest.raises(ValueError, match=what):
        data.read_settlements(table(), **choices)


def test_check_settlements_names_what_is_broken():
    good = data.read_settlements(table(), features=["wage"])
    assert data.check_settlements(good) is good
    panel = good.panel
    hole = panel.mask.copy()
    hole[0, 0, 0] = False
    people = panel.values * np.array([1.0, -1.0, 1.0])
    cases = [
        (good._replace(latitude=good.latitude[:2]), "the latitude is float64 of shape"),
        (good._replace(longitude=good.longitude.astype(np.float32)), "the longitude is float32"),
        (good._replace(latitude=good.latitude + 50.0), "outside -90 to 90"),
        (good._replace(longitude=good.longitude * np.nan), "outside -180 to 180"),
        (good._replace(left_out=(("Abay", "x"),)), r"left out and there: \['Abay'\]"),
        (good._replace(panel=panel._replace(names=("a", "b", "c"))), "expected balance, pop"),
        (good._replace(panel=panel._replace(values=people)), "no people in 'Abay', 2019"),
        (
            good._replace(panel=panel._replace(mask=hole, values=panel.values * hole)),
            "none of 'Abay' in 2019",
        ),
        (good._replace(panel=panel._replace(units=())), "units and names"),
    ]
    for broken, what in cases:
        with pytest.raises(DataError, match=what):
            data.check_settlements(broken)


def test_selection_keeps_coordinates_with_their_places():
    whole = data.read_settlements(table(), features=["wage"])
    part = data.select_settlements(
        whole, places=["Rudnyi", "Abay"], years=(2020, 2022), names=["balance", "wage"]
    )
    assert part.latitude.tolist() == [52.972, 49.635]
    assert part.longitude.tolist() == [63.111, 72.865]
    assert part.panel.values[0, :, 0].tolist() == BALANCES["Rudnyi"][1:]
    with pytest.raises(DataError, match="1 settlement"):
        data.select_settlements(whole, places=["Abay"])
    with pytest.raises(DataError, match="expected balance"):
        data.select_settlements(whole, names=["wage"])
    with pytest.raises(ValueError, match="'Aksu'"):
        data.select_settlements(whole, places=["Aksu", "Abay"])


names = st.lists(
    st.sampled_from(["Abay", "Усть-Кут", "St. John, B.", 'the "new" town', "x y", "1"]),
    min_size=2,
    max_size=5,
    unique=True,
)


@SETTINGS
@given(towns=names, seed=st.integers(0, 2**32 - 1), random=st.randoms(use_true_random=False))
def test_any_order_of_rows_and_columns_gives_the_same(tmp_path, towns, seed, random):
    generator = np.random.default_rng(seed)
    at = generator.uniform([-90, -180], [90, 180], (len(towns), 2)).round(6)
    balance = generator.normal(0, 1e4, (len(towns), 5)).round(2)
    frame = pd.DataFrame(
        {
            "place": np.repeat(np.array(towns, dtype=object), 5),
            "year": np.tile(np.arange(2001, 2006), len(towns)),
            "balance": balance.ravel(),
            "latitude": np.repeat(at[:, 0], 5),
            "longitude": np.repeat(at[:, 1], 5),
        }
    )
    found = data.read_settlements(frame)
    order = np.argsort(np.array(towns, dtype=object))
    assert found.panel.places == tuple(sorted(towns))
    assert np.array_equal(found.panel.values[:, :, 0], balance[order])
    assert np.array_equal(found.latitude, at[order, 0])
    assert np.array_equal(found.longitude, at[order, 1])
    path, places = tmp_path / "x.csv", tmp_path / "p.csv"
    rows = random.sample(range(len(frame)), len(frame))
    columns = random.sample(list(frame.columns), 5)
    frame.iloc[rows][columns].to_csv(path, index=False)
    assert same(data.read_settlements(path), found)
    once = frame.groupby("place").head(1)[["longitude", "place", "latitude"]]
    once.sample(frac=1, random_state=seed % 1000).to_csv(places, index=False)
    frame.iloc[rows].drop(columns=["latitude", "longitude"]).to_csv(path, index=False)
    assert same(data.read_settlements(path, places), found)


CELL = st.sampled_from(
    ["", "0", "17", "-", "95", "-181", "1e9", "2005", "x", "inf", "nan", "1e400", "1,5", '"', "\n"]
) | st.text(max_size=4)


@settings(SETTINGS, max_examples=100)
@given(
    edits=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), CELL), max_size=4),
    drop=st.integers(0, 20),
)
def test_damaged_files_are_read_or_refused(tmp_path, edits, drop):
    rows = [line.split(",") for line in text().splitlines()]
    for i, j, cell in edits:
        rows[i][j] = cell
    if drop < len(rows):
        del rows[drop]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8", errors="replace")
    try:
        found = data.read_settlements(path, features=["wage"])
    except DataError as error:
        refusal = error
    else:
        assert np.isfinite(found.latitude).all()
        assert not {place for place, _ in found.left_out} & set(found.panel.places)
        return
    assert refusal.file == str(path)  # from the reader, not from the check of what it read
    assert all(problem.what and problem.cure for problem in refusal.problems)


@SETTINGS
@given(
    kind=st.sampled_from(["swapped", "missing", "twin", "text", "infinite"]),
    town=st.sampled_from(list(TOWNS)),
)
def test_a_bad_place_is_named_whichever_it_is(kind, town):
    frame = table().astype({"latitude": object, "longitude": object})
    at = frame["place"] == town
    other = next(name for name in TOWNS if name != town)
    frame.loc[at, ["latitude", "longitude"]] = {
        "swapped": (120.5, 40.25),
        "missing": (None, None),
        "twin": TOWNS[other],
        "text": ("unknown", 40.25),
        "infinite": (np.inf, 40.25),
    }[kind]
    problems = problems_of(frame).problems
    assert {problem.column for problem in problems} == {"latitude"}
    lines = set((np.flatnonzero(at) + 1).tolist())
    for problem in problems:
        told = f"{problem.value} {problem.what}"
        assert town in told or problem.line in lines
