"""Tables of the human-capital paper against arithmetic on their own numbers."""

import numpy as np
import pytest

from diffmig import data

YEARS = (2000, 2005, 2010, 2015, 2018)
COMPONENTS = ("health", "education", "culture")


@pytest.fixture(scope="module")
def budget():
    return data.load_budget()


@pytest.fixture(scope="module")
def as_printed():
    return data.load_budget(corrected=False)


@pytest.fixture(scope="module")
def printed():
    return data.load_printed("human_capital").set_index("id")["printed"]


def total(budget, payer, component=None):
    rows = [
        p == payer and component in (None, c)
        for p, c in zip(budget.payers, budget.components, strict=True)
    ]
    return dict(zip(YEARS, budget.amounts[rows].sum(axis=0).round(1).tolist(), strict=True))


def residues(budget, printed):
    """Printed subtotal minus the sum of its lines, million RUB, where they differ."""
    found = {}
    for part in COMPONENTS:
        for year, value in total(budget, "region", part).items():
            found[part, year] = round(float(printed[f"table.{part}.region.{year}"]) - value, 1)
    for year, value in total(budget, "private").items():
        found["private", year] = round(float(printed[f"table.total.private.{year}"]) - value, 1)
    for year in (2015, 2018):
        value = total(budget, "federal")[year]
        found["federal", year] = round(float(printed[f"table.total.federal.{year}"]) - value, 1)
    return {key: value for key, value in found.items() if value != 0.0}


def test_budget_has_the_printed_cells(as_printed):
    assert as_printed.years.tolist() == list(YEARS)
    assert len(as_printed.lines) == 22
    # Column sums of the lines in the paper's text, added up outside this package.
    sums = [4978.0, 20280.3, 48238.0, 89562.4, 102583.2]
    np.testing.assert_allclose(as_printed.amounts.sum(axis=0), sums, rtol=0, atol=1e-8)
    assert [as_printed.components.count(part) for part in COMPONENTS] == [5, 10, 7]
    federal = np.array([payer == "federal" for payer in as_printed.payers])
    assert not as_printed.mask[federal, :3].any()
    assert as_printed.mask[~federal].all()
    assert as_printed.mask[federal, 3:].all()


def test_budget_has_the_printed_brackets(as_printed):
    pairs = zip(as_printed.first_ages.tolist(), as_printed.last_ages.tolist(), strict=True)
    brackets = dict(zip(as_printed.lines, pairs, strict=True))
    closed = {line: ages for line, ages in brackets.items() if ages[1] != data.OPEN_AGE}
    assert closed == {
        "Pre-school education": (3, 6),
        "General education": (7, 17),
        "Initial vocational education": (14, 17),
        "Secondary vocational education": (18, 21),
        "Retraining and advanced training": (25, 59),
        "Higher vocational education": (18, 22),
        "Youth policy and health of children": (3, 59),
    }
    opened = {line: ages[0] for line, ages in brackets.items() if line not in closed}
    assert [line for line, first in opened.items() if first == 7] == ["Periodicals and publishing"]
    three = [line for line, first in opened.items() if first == 3]
    assert three == [
        "Sport and physical culture",
        "Other education matters",
        "Culture",
        "Cinematography",
        "Television and radio broadcasting",
        "Other culture and media spending",
    ]
    assert {first for line, first in opened.items() if line not in three} == {1, 7}


def test_which_subtotals_are_the_sums_of_their_lines(as_printed, budget, printed):
    rounding = {("education", 2000): -0.1, ("culture", 2005): -0.1, ("private", 2018): 0.1}
    assert residues(as_printed, printed) == {
        **rounding,
        ("health", 2010): 785.1,
        ("education", 2010): -787.7,
        ("health", 2018): 30.0,
    }
    assert residues(budget, printed) == {**rounding, ("education", 2010): -2.6}


@pytest.mark.parametrize("year", YEARS)
def test_totals_are_the_sums_of_the_printed_subtotals(printed, year):
    parts = [float(printed[f"table.{part}.region.{year}"]) for part in COMPONENTS]
    assert round(sum(parts), 1) == float(printed[f"table.total.region.{year}"])


def test_corrections_touch_three_cells(budget, as_printed):
    changed = {
        (budget.lines[i], int(budget.years[k])): (as_printed.amounts[i, k], budget.amounts[i, k])
        for i, k in np.argwhere(budget.amounts != as_printed.amounts)
    }
    assert changed == {
        ("Other education matters", 2010): (785.1, 0.0),
        ("Other health spending", 2010): (0.0, 785.1),
        ("Other health spending", 2018): (0.0, 30.0),
    }
    assert np.array_equal(budget.mask, as_printed.mask)


def test_errata_quote_what_is_printed(as_printed, printed):
    errata = data.errata("human_capital")
    for entry in errata:
        if entry.column is not None:
            cell = as_printed.amounts[as_printed.lines.index(entry.column), YEARS.index(entry.year)]
            assert cell == (0.0 if entry.printed == "–" else float(entry.printed)), entry
    quoted = {entry.printed for entry in errata}
    for id_ in (
        "table.education.region.2010",
        "table.education.region.2000",
        "table.culture.region.2005",
        "table.total.private.2018",
        "conclusion.deviation",
    ):
        assert printed[id_] in quoted, id_
    used = {entry.place_in_table: entry.used for entry in errata}
    deviations = [printed[f"text.deviation.{part}"] for part in COMPONENTS]
    assert used["conclusion, deviation of investments"] == ", ".join(deviations)


def test_printed_results_are_complete_and_machine_readable():
    table = data.load_printed("human_capital")
    assert table["id"].is_unique
    assert (table[["id", "place", "quantity", "unit", "printed"]] != "").all(axis=None)
    numbers = table[table["unit"] != "claim"]
    assert np.isfinite(numbers["printed"].astype(float)).all()
    assert set(table.loc[table["unit"] == "claim", "printed"]) == {"true"}
    assert (table["unit"] == "claim").tolist() == [".claim." in id_ for id_ in table["id"]]
    assert set(table["model"]) == {"", "network", "transport"}
    assert set(table["prices"]) == {"", "current", "comparable"}
    assert set(table["sample"]) == {"", "train", "forecast"}
    assert sum(id_.startswith("table.") for id_ in table["id"]) == 4 * 5 + 2 + 5


def test_settings_add_up(printed):
    parts = ("budget_inputs", "private_inputs", "indicators")
    inputs = sum(int(printed[f"text.num_{part}"]) for part in parts)
    assert inputs + 2 == int(printed["text.num_inputs"])  # the deflator and the bias


def test_population_has_the_published_cells():
    table = data.load_population()
    assert table.places == ("Udmurt Republic",)
    assert table.sexes == ("both",)
    assert table.years.tolist() == [2000, 2005, 2010, 2014]
    labels = data.age_labels(table)
    assert (len(labels), *labels[:3], *labels[-2:]) == (19, "0", "1-4", "5-9", "80-84", "85+")
    # Row sums of the published tables, added up outside this package.
    sums = table.values.sum(axis=(0, 1, 3)).tolist()
    assert sums == [1591817, 1550061, 1522758, 1517266]
    assert table.values[0, 0, 2, [0, -1]].tolist() == [20951, 11015]


def test_ages_of_2014_agree_with_the_totals():
    totals = data.load_population_totals().set_index("year")["total"]
    mean = (totals[2014] + totals[2015]) / 2
    assert mean == 1517258
    deviation = data.check_totals(data.load_population(), [2014], [mean], tolerance=1e-5)
    assert deviation[0, 0] == pytest.approx(8 / 1517258)
    # No total of 1 January 2001 or 2006: the mean population lies below that of 1 January.
    ages = data.load_population().values.sum(axis=(0, 1, 3))
    assert 0 < totals[2000] - ages[0] < 5000
    assert 0 < totals[2005] - ages[1] < 5000


def test_balance_of_the_population_closes_where_it_does():
    totals = data.load_population_totals().set_index("year")["total"]
    assert totals.index.tolist() == [2000, 2005, *range(2012, 2021)]
    changes = data.load_population_changes().set_index("year")
    assert (changes.dtypes == np.int64).all()
    balance = changes["births"] - changes["deaths"] + changes["net_migration"]
    left = {year: int(totals[year + 1] - totals[year] - balance[year]) for year in changes.index}
    assert left == {2012: 0, 2013: 0, 2014: -72, 2015: 6}


def test_unknown_names_are_named():
    for call in (data.load_budget, data.load_population):
        with pytest.raises(ValueError, match="'nowhere'"):
            call("nowhere")
