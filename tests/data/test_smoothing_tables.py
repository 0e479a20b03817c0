"""Tables of the smoothing paper against arithmetic on their own numbers."""

import numpy as np
import pytest

from diffmig import data

NINE = ["x4", "x14", "x18", "x26", "x29", "x40", "x46", "x55", "x60"]
HIGH = ["Dnipropetrovsk", "Donetsk", "Zaporizhzhia", "Kyiv", "Lviv", "Odesa", "Kharkiv"]


@pytest.fixture(scope="module")
def wage():
    return data.load_wage_example().set_index("period")


@pytest.fixture(scope="module")
def regions():
    return data.load_region_indicators()


@pytest.fixture(scope="module")
def growth():
    return data.load_growth_factors()


@pytest.fixture(scope="module")
def printed():
    return data.load_printed("smoothing").set_index("id")["printed"]


def test_wage_example_has_the_printed_rows(wage):
    assert wage.index.tolist() == list(range(15, 26))
    expected = [5893, 5848, 5945, 6468, 6449, 6224, 6660, 6593, 6634, 7447, 7789]
    assert wage["actual"].tolist() == expected
    assert wage.loc[25, ["ses_forecast", "holt_forecast"]].tolist() == [7365.3156, 7892.407]
    assert wage.index[wage.isna().any(axis=1)].tolist() == [25]
    assert list(wage.columns[wage.isna().any()]) == ["ses_error", "holt_error"]


@pytest.mark.parametrize("model", ["ses", "holt"])
def test_printed_errors_follow_from_the_printed_forecasts(wage, model):
    rows = wage.loc[15:24]
    error = 100 * (rows["actual"] - rows[f"{model}_forecast"]).abs() / rows["actual"]
    np.testing.assert_allclose(error, rows[f"{model}_error"], rtol=0, atol=0.005001)
    assert error.mean() == pytest.approx({"ses": 3.915, "holt": 5.100}[model], abs=5e-4)


def test_selective_column_takes_each_winner_in_hindsight(wage):
    rows = wage.loc[15:24]
    holt = (rows["holt_error"] < rows["ses_error"]).to_numpy()
    assert (rows["chosen"] == np.where(holt, "Holt", "SES")).all()
    taken = np.where(holt, rows["holt_forecast"], rows["ses_forecast"])
    np.testing.assert_array_equal(rows["selective_forecast"], taken)
    error = 100 * np.abs(rows["actual"] - taken) / rows["actual"]
    assert error.mean() == pytest.approx(3.347, abs=5e-4)
    worst = np.maximum(rows["ses_error"], rows["holt_error"]).mean()
    assert worst == pytest.approx(5.669, abs=1.5e-3)


def test_both_recursions_reproduce_every_printed_forecast(wage):
    level, holt_level, trend = 5481.47, 5495.28, 141.76
    for period, row in wage.iterrows():
        decimals = 1e-4 if period == 25 else 0.01
        assert level == pytest.approx(row["ses_forecast"], abs=0.51 * decimals + 5e-3)
        assert holt_level + trend == pytest.approx(row["holt_forecast"], abs=0.02)
        level += 0.9 * (row["actual"] - level)
        new_level = 0.9 * row["actual"] + 0.1 * (holt_level + trend)
        trend = 0.7 * (new_level - holt_level) + 0.3 * trend
        holt_level = new_level


def test_region_indicators_have_the_printed_cells(regions):
    assert regions.shape == (24, 14)
    assert not regions.isna().any(axis=None)
    assert regions.loc["Kyiv"].tolist() == [
        *(15634.9, 9393.9, 244.1, 1059.7, 37277.6, 5.1, 82948.5),
        *(1248.3, 115.1, 100817, 4.3, 23290.3, 78337.8, 258188.4),
    ]
    # Column sums of the tables in the paper's text, added up outside this package.
    sums = [
        *(242433.2, 202160.8, 5118.2, 18059.5, 547361.5, 636.4, 1237472.7),
        *(42993.6, 1236.2, 1404806.6, 159.1, 224298.9, 1425815.45, 7306041.6),
    ]
    assert list(regions.columns) == [*NINE, "x43", "x44", "x47", "x51", "x50"]
    np.testing.assert_allclose(regions.sum(), sums, rtol=0, atol=1e-6)


def test_one_cell_of_the_regions_is_suspect(regions):
    ratio = regions["x51"] / regions["x43"]
    assert ratio.idxmax() == "Chernivtsi"
    assert round(ratio.max(), 1) == 5.4
    assert ratio.drop("Chernivtsi").between(0.45, 1.78).all()
    assert regions["x51"].rank(ascending=False)["Chernivtsi"] == 2
    assert (regions < 0).any().pipe(lambda any_: list(any_.index[any_])) == ["x44"]


def test_growth_factors_have_the_printed_cells(growth):
    assert growth["indicator"].tolist()[::2] == NINE
    assert growth["period"].tolist() == [25, 26] * 9
    # Column sums of table 5 in the paper's text, added up outside this package.
    expected = [18.053, 17.167, 18.354, 18.236, 18.074, 18.707, 18.370]
    np.testing.assert_allclose(growth[HIGH].sum(), expected, rtol=0, atol=1e-9)
    mean = growth[HIGH].mean().round(3).sort_values(ascending=False)
    assert list(mean.index) == [
        *("Odesa", "Kharkiv", "Zaporizhzhia", "Kyiv", "Lviv", "Dnipropetrovsk", "Donetsk")
    ]
    assert mean.tolist() == [1.039, 1.021, 1.020, 1.013, 1.004, 1.003, 0.954]


def test_printed_results_are_complete_and_machine_readable(wage, printed):
    table = data.load_printed("smoothing")
    assert table["id"].is_unique
    assert (table[["id", "place", "quantity", "unit", "printed"]] != "").all(axis=None)
    numbers = table[table["unit"] != "claim"]
    assert np.isfinite(numbers["printed"].astype(float)).all()
    assert set(table.loc[table["unit"] == "claim", "printed"]) == {"true"}
    assert set(table["model"]) == {"", "SES", "Holt", "selective"}
    assert set(table["sample"]) == {"", "train", "validation", "forecast"}
    for model, column in (("ses", "forecast"), ("holt", "forecast"), ("ses", "error")):
        for period, value in wage[f"{model}_{column}"].dropna().items():
            assert float(printed[f"table1.{model}.{column}.t{period}"]) == value
    for period, value in wage["selective_forecast"].items():
        assert float(printed[f"table2.selective.forecast.t{period}"]) == value
    assert printed["fig7.selective"] == printed["table2.selective.mape"] == "4.569"


def test_errata_quote_what_is_printed(regions, printed):
    errata = {entry.place_in_table: entry for entry in data.errata("smoothing")}
    assert float(errata["table 4, x51 of Chernivtsi"].printed) == regions.loc["Chernivtsi", "x51"]
    quoted = {entry.printed for entry in errata.values()}
    for id_ in (
        "text.ses.forecast.t15",
        "table2.selective.forecast.t25",
        "table2.selective.error.t25",
        "fig7.selective",
        "fig7.ses",
        "fig7.holt",
        "text.quality_ratio",
        "text.num_indicators",
    ):
        assert printed[id_] in quoted, id_


def test_errata_hold_by_the_tables_own_numbers(wage, printed):
    last = wage.loc[25]
    error = 100 * abs(last["actual"] - last["holt_forecast"]) / last["actual"]
    assert round(error, 3) == 1.328
    assert round(5.100 / 3.347, 2) == float(printed["text.quality_ratio"])
    shown = [float(printed[f"fig7.{name}"]) for name in ("holt", "ses", "selective")]
    assert [round(value / shown[2], 3) for value in shown[:2]] == [1.321, 1.246]
    training = [float(printed[f"fig4.{model}.mape_share"]) * 100 for model in ("ses", "holt")]
    pooled = [(14 * t + 10 * v) / 24 for t, v in zip(training, (3.915, 5.100), strict=True)]
    assert [round(value, 2) for value in pooled] == [4.78, 4.86]
    # SES with 5481.47, not with 5481.7, leads to the printed forecast of period 16.
    assert round(0.9 * 5893 + 0.1 * 5481.47, 2) == 5851.85
    assert round(0.9 * 5893 + 0.1 * 5481.7, 2) == 5851.87
