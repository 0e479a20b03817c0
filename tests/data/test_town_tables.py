"""Tables of the paper on single-industry towns against arithmetic on their own numbers."""

import re

import numpy as np
import pytest

from diffmig import data

GROWING = ["Rudnyi", "Satpayev", "Stepnogorsk"]
KEPT = ["unemployment", "real_income", "hospitals", "preschools", "electricity_supply"]


@pytest.fixture(scope="module")
def correlations():
    return data.load_town_correlations()["correlation"]


@pytest.fixture(scope="module")
def clusters():
    return data.load_town_clusters()


@pytest.fixture(scope="module")
def balances():
    """Table 4 in one unit, [town], a column a year."""
    panel = data.load_kz_towns_balances(corrected=True)
    frame = data.panel_to_frame(panel).pivot_table(index="place", columns="year", values="balance")
    return frame.loc[data.load_kz_towns().index]


@pytest.fixture(scope="module")
def printed():
    return data.load_printed("towns").set_index("id")


def test_correlations_are_those_of_table_1(correlations):
    expected = [-0.75778, 0.742508, 0.51744, 0.823862, 0.832707, 0.711722]
    expected += [0.39744, 0.29512, 0.428152, 9.54e-17, 0.378317, -0.51174]
    assert correlations.tolist() == expected
    assert correlations.abs().nlargest(5).index.sort_values().tolist() == sorted(KEPT)
    names = data.load_town_correlations()["name"]
    assert names["youth_unemployment"] == "Youth unemployment rate 15-28 years old"


def test_autocorrelations_are_those_of_table_2():
    table = data.load_town_autocorrelations()
    assert table.shape == (27, 5)
    assert list(table.columns) == [1, 2, 3, 4, 5]
    assert table.loc["Abay"].tolist() == [0.53, 0.74, 0.54, -0.33, -0.26]
    assert table.loc["Ekibastuz"].tolist() == [1.0, 1.0, 0.91, 0.45, 0.55]
    # Column sums of the table in the paper's text, added up outside this package.
    np.testing.assert_allclose(table.sum(), [10.46, 9.29, 5.89, -1.75, 0.95], atol=1e-9)


def test_clusters_are_those_of_table_3(clusters):
    assert clusters["cluster"].value_counts().to_dict() == {1: 15, 2: 5, 3: 7}
    assert sorted(clusters.index) == sorted(data.load_kz_towns().index)
    assert clusters.loc["Arkalyk"].tolist() == [3, 0.999928]
    assert clusters["distance"].max() == 0.999928
    sums = clusters.groupby("cluster")["distance"].sum()  # added up outside this package
    np.testing.assert_allclose(sums, [6.457665, 3.077701, 4.385002], atol=1e-9)


def test_balances_of_table_4_under_both_readings_of_the_unit(balances):
    panel = data.load_kz_towns_balances()
    assert np.round(panel.values.sum(axis=(0, 2))).tolist() == [-9632, -10670, -11780, -13288]
    assert balances.sum().tolist() == [-10391, -11559, -12969, -14826]
    assert sorted(balances.index[(balances > 0).all(axis=1)]) == GROWING
    assert sorted(balances.index[(balances > 0).any(axis=1)]) == GROWING


def test_claims_about_the_clusters_by_table_4(balances, clusters):
    rate = 1000 * balances[2023] / data.load_kz_towns()["population"]  # no population: left out
    median = rate.groupby(clusters["cluster"]).median()
    assert median.is_monotonic_decreasing  # cluster 1 is the most stable, cluster 3 the worst
    np.testing.assert_allclose(median, [-4.93, -7.84, -11.34], atol=0.01)
    assert clusters.loc[GROWING, "cluster"].tolist() == [2, 1, 1]  # the text has all in 1


def test_printed_results_are_complete_and_machine_readable(printed):
    table = printed.reset_index()
    assert table["id"].is_unique
    assert (table[["id", "place", "quantity", "unit", "printed"]] != "").all(axis=None)
    assert (table["unit"] == "claim").tolist() == [".claim." in id_ for id_ in table["id"]]
    assert set(table.loc[table["unit"] == "claim", "printed"]) == {"true"}
    assert set(table["model"]) == {"", "baseline", "k_means", "mlp", "pearson", "tree"}
    assert set(table["sample"]) == {"", "validation", "forecast"}
    values = table[table["unit"] != "claim"].set_index("id")["printed"]
    accuracies = values[values.index.str.contains("accuracy")]
    assert accuracies.to_dict() == {
        "text.accuracy.cluster1": "93",
        "text.accuracy.cluster2": "95",
        "text.accuracy.cluster3": "95",
        "conclusion.accuracy.best": "98",
    }
    window = values[values.index.str.startswith("window.")]
    assert window.tolist() == ["3", "2", "1", "2017", "2022"]
    assert values["table3.distance.bound"] == "1"
    for claim in ("table1.claim.kept", "table1.claim.critical", "table3.claim.distance"):
        assert claim in printed.index


def test_errata_hold_by_the_tables(correlations, clusters):
    errata = {entry.place_in_table: entry for entry in data.errata("towns")}
    assert len(errata) == 9
    rudnyi = errata["section on proposals and conclusion, Rudnyi"]
    assert rudnyi.column == "Rudnyi"
    assert rudnyi.used == f"cluster {clusters.loc['Rudnyi', 'cluster']}" != rudnyi.printed
    universities = errata["table 1, universities"]
    assert float(universities.printed) == correlations["universities"]
    assert abs(correlations["universities"]) < np.finfo(float).eps
    strongest = correlations.abs().nlargest(2).index.tolist()
    assert strongest == ["preschools", "hospitals"]
    assert errata["section on proposals, maximum impact"].used == "pre-schools and hospitals"
    for entry in errata.values():
        for number in re.findall(r"-?0\.\d{5,}", entry.reason):
            known = [*correlations, *clusters["distance"]]
            assert float(number) in known, entry
    # The mean over towns is positive up to lag 3, as the text can be read.
    assert (data.load_town_autocorrelations().mean() > 0).tolist()[:4] == [True] * 3 + [False]


def test_unknown_paper_is_refused():
    with pytest.raises(ValueError, match="towns"):
        data.load_printed("cities")
    with pytest.raises(ValueError, match="kz_towns_balance"):
        data.errata("cities")
