"""Bundled tables against arithmetic on their own numbers, and data that other packages carry."""

import bz2
import sys

import numpy as np
import pytest

from diffmig import data

MODELS = ("ba_lstm", "ga_bpnn", "pso_elman")


@pytest.fixture(scope="module")
def udmurt():
    return data.load_table("grp_udmurt")


@pytest.fixture(scope="module")
def as_printed():
    return data.load_table("grp_udmurt", corrected=False)


@pytest.fixture(scope="module")
def printed():
    return data.load_printed("grp").set_index("id")["printed"]


def column(panel, name):
    return data.variable(panel, name)[0]


def test_table_has_the_printed_rows(as_printed):
    assert as_printed.places == ("Udmurt Republic",)
    assert as_printed.years.tolist() == list(range(2000, 2024))
    assert as_printed.mask.all()
    assert as_printed.values[0, 5].tolist() == [140.0, 177.785, 994.398, 119.3, 17.6, 702.38]
    # Column sums of the table in the paper's text, added up outside this package.
    sums = as_printed.values[0].sum(axis=0)
    expected = [9768.93, 13439.004, 21596.374, 2707.0, 461.2, 20052.21]
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-9)


def test_corrections_touch_one_cell(udmurt, as_printed):
    changed = np.argwhere(udmurt.values != as_printed.values)
    assert [(int(udmurt.years[j]), udmurt.names[k]) for _, j, k in changed] == [(2023, "deflator")]
    assert column(as_printed, "deflator")[-1] == 118.8
    assert column(udmurt, "deflator")[-1] == 106.3


def test_every_printed_deflator_but_2023_is_implied_by_the_two_grp_columns(as_printed):
    nominal, real = column(as_printed, "grp_current"), column(as_printed, "grp_2023_prices")
    implied = 100 * (nominal / real)[1:] / (nominal / real)[:-1]
    # The GRP columns are rounded to 0.005, which moves the implied index by at most 0.022.
    wrong = np.abs(implied - column(as_printed, "deflator")[1:]) > 0.05 + 0.022
    assert as_printed.years[1:][wrong].tolist() == [2023]
    assert implied[-1] == pytest.approx(106.3, abs=0.05)


@pytest.mark.parametrize(("deflator_2023", "reproduced"), [(106.3, True), (118.8, False)])
def test_deflator_chain_reproduces_the_2023_price_column(udmurt, deflator_2023, reproduced):
    index = column(udmurt, "deflator").copy()
    index[-1] = deflator_2023
    nominal = column(udmurt, "grp_current")
    real = data.to_comparable_prices(nominal, index, udmurt.years, 2023)
    # What one-decimal indices allow: each index that enters is known to 0.05, nominal to 0.005.
    known = (0.05 / index[1:])[::-1].cumsum()[::-1]
    slack = real * (np.append(known, 0.0) + 0.005 / nominal) + 0.005
    target = column(udmurt, "grp_2023_prices")
    inside = np.abs(real - target) <= slack
    assert inside.all() == reproduced
    # A chain one year off (the index of t entering year t) is up to 29-38 % away.
    assert (np.abs(real / target - 1).max() < 3e-4) == reproduced


def test_errata_hold_by_the_tables_own_numbers(udmurt, as_printed, printed):
    years, real = udmurt.years, column(udmurt, "grp_2023_prices")
    growth = dict(zip(years[1:].tolist(), 100 * (real[1:] / real[:-1] - 1), strict=True))
    assert [round(growth[year], 1) for year in (2003, 2004, 2005)] == [-0.2, -5.9, 16.4]
    assets = dict(zip(years.tolist(), column(udmurt, "fixed_assets"), strict=True))
    assert round(100 * (assets[2019] / assets[2018] - 1)) == 133

    def grp(key):
        return float(printed[f"section4_2.grp_{key}"])

    current, real_growth = grp("2030.current") / 957.4, grp("2030.2023") / 957.4
    assert round(100 * (current - 1) / 7, 2) == 4.58
    assert round(100 * (current ** (1 / 7) - 1), 2) == 4.05
    assert round(100 * (real_growth - 1), 2) == 18.13
    assert round(100 * (real_growth - 1) / 7, 2) == 2.59
    assert round(100 * (real_growth ** (1 / 7) - 1), 2) == 2.41


def test_errata_quote_what_is_printed(as_printed, printed):
    errata = data.errata("grp_udmurt")
    for entry in errata:
        if entry.year is not None:
            j, k = entry.year - 2000, as_printed.names.index(entry.column)
            assert float(entry.printed) == as_printed.values[0, j, k], entry
    quoted = {entry.printed for entry in errata}
    for id_ in (
        "section4_1.ga_bpnn.current.validation.mape",
        "section4_2.growth_2030.2023",
        "section4_2.growth_per_year.current",
        "section4_2.grp_2030.current",
    ):
        assert printed[id_] in quoted


def test_grp_of_2016_and_2017_against_the_2019_vintage(as_printed, real_data):
    file = real_data / "rosstat_regions_grp_health_2000_2018.csv"
    vintage = data.read_panel(file, place_column="region", variables=["grp_mln_rub"], gaps="mask")
    place = data.select(vintage, places=["Удмуртская Республика"], years=(2000, 2017))
    ratio = column(as_printed, "grp_current")[:18] * 1000 / place.values[0, :, 0]
    np.testing.assert_allclose(ratio[:16], 1.0, atol=1e-4)
    assert [round(100 * (r - 1), 1) for r in ratio[16:]] == [7.2, 6.4]


def test_printed_results_are_complete_and_machine_readable():
    table = data.load_printed("grp")
    assert table["id"].is_unique
    assert (table[["id", "place", "quantity", "unit", "printed"]] != "").all(axis=None)
    numbers = table[table["unit"] != "claim"]
    assert np.isfinite(numbers["printed"].astype(float)).all()
    assert set(table.loc[table["unit"] == "claim", "printed"]) == {"true"}
    expected = {
        f"table3.{m}.{p}.{s}.{q}"
        for m in MODELS
        for p in ("current", "2023")
        for s in ("train", "validation")
        for q in ("r2", "mape")
    } | {f"table2.{m}.{p}.seconds" for m in MODELS for p in ("current", "2023")}
    assert {i for i in table["id"] if i.startswith("table")} == expected
    assert set(table["prices"]) == {"", "current", "2023"}
    assert set(table["sample"]) == {"", "train", "validation", "forecast"}


def test_printed_text_repeats_table_3_except_in_one_place(printed):
    differs = {
        id_: (printed[id_], printed["table3" + id_[len("section4_1") :]])
        for id_ in printed.index
        if id_.startswith("section4_1.") and id_.endswith((".r2", ".mape"))
    }
    assert len(differs) == 20
    different = {id_: pair for id_, pair in differs.items() if pair[0] != pair[1]}
    assert different == {"section4_1.ga_bpnn.current.validation.mape": ("5.76", "6.76")}


def test_unknown_names_are_named():
    for call in (data.load_table, data.errata, data.load_printed):
        with pytest.raises(ValueError, match="'nowhere'"):
            call("nowhere")
    assert data.table_names() == ("grp_udmurt",)


def fake_package(folder, monkeypatch, name="linearmodels"):
    (folder / name / "datasets" / "munnell").mkdir(parents=True)
    (folder / name / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return folder / name


def test_package_file_is_found_without_importing_the_package(tmp_path, monkeypatch):
    package = fake_package(tmp_path, monkeypatch, "a_package_of_data")
    (package / "table.csv").write_text("x")
    assert data.package_file("a_package_of_data", "table.csv") == package / "table.csv"
    assert "a_package_of_data" not in sys.modules
    with pytest.raises(data.DataError, match="no such file"):
        data.package_file("a_package_of_data", "other.csv")


def test_absent_package_says_how_to_install_it():
    with pytest.raises(data.DataError, match=r'pip install "diffmig\[data\]"'):
        data.package_file("surely_not_installed", "x.csv")
    with pytest.raises(ValueError, match="top-level"):
        data.package_file("os.path", "x.csv")


def test_munnell_layout(tmp_path, monkeypatch):
    package = fake_package(tmp_path, monkeypatch)
    header = "STATE,ST_ABB,YR,P_CAP,HWY,WATER,UTIL,PC,GSP,EMP,UNEMP\n"
    rows = [
        f"NEW_YORK,NY,{year},2.5,1,1,1,7,{year - 1900},100,4.7\n" for year in (1970, 1971, 1972)
    ]
    content = bz2.compress((header + "".join(rows)).encode())
    (package / "datasets" / "munnell" / "munnell.csv.bz2").write_bytes(content)
    panel = data.load_us_states_munnell()
    assert panel.places == ("New York",)
    assert data.variable(panel, "grp").tolist() == [[70.0, 71.0, 72.0]]
    assert data.variable(panel, "public_capital")[0, 0] == 2.5
    assert panel.units[panel.names.index("unemployment")] == "%"


def test_munnell_installed():
    try:
        panel = data.load_us_states_munnell()
    except data.DataError as error:
        pytest.skip(str(error))
    assert panel.values.shape == (48, 17, 5)
    assert panel.mask.all()
    assert panel.years[[0, -1]].tolist() == [1970, 1986]
    alabama = data.select(panel, places=["Alabama"], years=(1970, 1970)).values[0, 0]
    assert alabama.tolist() == [28418.0, 35793.8, 15032.67, 1010.5, 4.7]
