"""Budgets: what is read, what is refused and why."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffmig import data
from diffmig.data import OPEN_AGE, DataError

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WIDE = """line,component,payer,first_age,last_age,2010,2005
Schools,education,region,7,17,20.5,10
Clinics,health,federal,0,,*,7
Clubs,culture,private,3,+,–,1.5
"""
LONG = """line,component,first_age,last_age,year,amount
Schools,education,7,17,2010,20.5
Clinics,health,0,,2005,7
Schools,education,7,17,2005,10
Clubs,culture,3,,2005,1.5
Clubs,culture,3,,2010,-
"""


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="budget.csv"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write_file


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def rows_of(budget):
    """The lines as a set, for comparisons in which their order does not matter."""
    attributes = zip(*budget[2:7], strict=True)
    amounts = zip(budget.amounts.tolist(), budget.mask.tolist(), strict=True)
    pairs = zip(attributes, amounts, strict=True)
    return sorted((*map(str, a), *map(tuple, b)) for a, b in pairs), budget.years.tolist()


def test_wide_file(write):
    budget = data.read_budget(write(WIDE))
    assert budget.lines == ("Schools", "Clinics", "Clubs")
    assert budget.components == ("education", "health", "culture")
    assert budget.payers == ("region", "federal", "private")
    assert budget.first_ages.tolist() == [7, 0, 3]
    assert budget.last_ages.tolist() == [17, OPEN_AGE, OPEN_AGE]
    assert budget.years.tolist() == [2005, 2010]
    assert budget.amounts.tolist() == [[10, 20.5], [7, 0], [1.5, 0]]
    assert budget.mask.tolist() == [[True, True], [True, False], [True, True]]


def test_long_file_says_the_same(write):
    budget = data.read_budget(write(LONG))
    assert budget.payers == ("region",) * 3
    wide = data.read_budget(write(WIDE))
    assert same(budget, wide._replace(payers=budget.payers))


def test_minus_zero_is_zero(write):
    budget = data.read_budget(write(WIDE.replace("20.5", "-0")))
    assert not np.signbit(budget.amounts).any()


def test_column_names_in_any_case_and_decimal_commas(write):
    text = "Line;Component;First age;LAST_AGE;note;2001;2003\nA;b;1;;x;1,5;2,25\n"
    budget = data.read_budget(write(text))
    assert budget.amounts.tolist() == [[1.5, 2.25]]
    assert budget.years.tolist() == [2001, 2003]


@pytest.mark.parametrize("corrected", [True, False])
def test_frames_csv_and_parquet_read_back(tmp_path, corrected):
    budget = data.load_budget(corrected=corrected)
    frame = data.budget_to_frame(budget)
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    for source in (frame, tmp_path / "x.csv", tmp_path / "x.parquet", frame.set_index("line")):
        assert same(data.read_budget(source), budget)


# text, (line, column, value, part of what, part of cure)
ONE_PROBLEM = {
    "ages swapped": (
        WIDE.replace("7,17", "17,7"),
        (2, "last_age", "7", "before the first age 17", "swap"),
    ),
    "half an age": (WIDE.replace("7,17", "7,17.5"), (2, "last_age", "17.5", "not an age", "whole")),
    "negative age": (WIDE.replace("7,17", "-7,17"), (2, "first_age", "-7", "not an age", "0-150")),
    "age in words": (
        WIDE.replace("7,17", "7,max"),
        (2, "last_age", "max", "not an", "nothing"),
    ),
    "dash for an age": (WIDE.replace("7,17", "7,-"), (2, "last_age", "-", "not an age", "nothing")),
    "no first age": (WIDE.replace("7,17", ",17"), (2, "first_age", "", "no age", "0-150")),
    "open first age": (WIDE.replace("7,17", "+,17"), (2, "first_age", "+", "not an age", "0-150")),
    "negative": (WIDE.replace("20.5", "-20.5"), (2, "2010", "-20.5", "negative", "sign")),
    "text": (WIDE.replace("20.5", "much"), (2, "2010", "much", "text in a number", "plain number")),
    "two asterisks": (WIDE.replace("*", "**"), (3, "2010", "**", "text in a number", "plain")),
    "infinite": (WIDE.replace("20.5", "inf"), (2, "2010", "inf", "not finite", "finite")),
    "overflow": (WIDE.replace("20.5", "1e999"), (2, "2010", "1e999", "not finite", "finite")),
    "duplicate line": (
        WIDE + "Schools ,x,y,1,2,3,4\n",
        (5, "line", "Schools", "same line, the first is on line 2", "rename"),
    ),
    "duplicate year of a line": (
        LONG + "Clubs,culture,3,,2010,1\n",
        (7, "line", "Clubs, 2010", "same line and year, the first is on line 6", "keep one"),
    ),
    "two components": (
        LONG.replace("Schools,education,7,17,2005", "Schools,health,7,17,2005"),
        (4, "component", "health", "than on line 2, 'education'", "make them equal"),
    ),
    "two brackets": (
        LONG.replace("Schools,education,7,17,2005", "Schools,education,7,18,2005"),
        (4, "last_age", "18", "than on line 2, '17'", "make them equal"),
    ),
    "no figure": (WIDE.replace("*,7", "*,"), (3, None, "Clinics", "without any figure", "leave")),
    "no figure, long": (
        LONG.replace("2005,7", "2005,*"),
        (3, None, "Clinics", "without any figure", "leave the line out"),
    ),
    "no name": (WIDE.replace("Schools", ""), (2, "line", "", "an empty name", "fill")),
    "no component": (WIDE.replace("education", ""), (2, "component", "", "an empty name", "fill")),
    "no payer": (WIDE.replace("federal", ""), (3, "payer", "", "an empty name", "fill")),
    "no years": (
        WIDE.replace("2010", "now").replace("2005", "then"),
        (None, None, None, "no column is named by a year", "a column per year"),
    ),
    "misspelt year": (WIDE.replace("2010", "20l0"), (None, "20l0", None, "no year", "correct")),
    "two columns of a year": (
        WIDE.replace("2010", "2005.0"),
        (None, None, None, "two columns of one year", "keep one"),
    ),
    "missing column": (
        WIDE.replace("component", "kind"),
        (None, "component", None, "missing column", "'kind'"),
    ),
    "misspelt column": (
        WIDE.replace("first_age", "frist_age"),
        (None, "first_age", None, "missing column", "did you mean 'frist_age'?"),
    ),
    "year without amount": (
        LONG.replace("amount", "sum"),
        (None, "amount", None, "missing column", "'sum'"),
    ),
    "not a year": (LONG.replace("2005,7", "5,7"), (3, "year", "5", "not a year", "whole year")),
    "one column twice": (
        WIDE.replace("payer", "Component"),
        (None, "Component", None, "can both be the component", "rename"),
    ),
    "short row": (WIDE.replace("20.5", "20,5"), (2, None, None, "8 fields", "as many")),
    "ambiguous comma": (
        "line;component;first_age;last_age;2001\nA;b;1;2;1,234\n",
        (None, None, "1,234", "decimal mark or a thousands", "decimal="),
    ),
    "empty": ("", (None, None, None, "the file is empty", "header")),
    "header only": (WIDE.splitlines()[0], (None, None, None, "no rows", "add")),
}


@pytest.mark.parametrize("case", ONE_PROBLEM)
def test_one_problem_is_told_precisely(write, case):
    text, (line, column, value, what, cure) = ONE_PROBLEM[case]
    path = write(text)
    with pytest.raises(DataError) as caught:
        data.read_budget(path)
    assert caught.value.file == str(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.value) == (line, column, value)
    assert what in problem.what
    assert cure in problem.cure


def test_every_problem_is_collected(write):
    text = WIDE.replace("20.5", "x").replace("0,,*", "-1,,*").replace("3,+,–", "3,+,-2")
    with pytest.raises(DataError) as caught:
        data.read_budget(write(text))
    assert [(p.line, p.column) for p in caught.value.problems] == [
        (2, "2010"),
        (3, "first_age"),
        (4, "2010"),
    ]


def test_check_budget_names_what_is_broken():
    budget = data.load_budget()
    assert data.check_budget(budget) is budget
    broken = [
        (budget._replace(amounts=budget.amounts[:, :3]), "shape"),
        (budget._replace(amounts=budget.amounts.astype(np.float32)), "float32"),
        (budget._replace(amounts=-budget.amounts), "unusable amount of 'Health care'"),
        (budget._replace(amounts=budget.amounts + 1), "0.0 elsewhere"),
        (budget._replace(mask=budget.mask & False, amounts=0 * budget.amounts), "any figure"),
        (budget._replace(lines=("a",) * 22), "line name is repeated"),
        (budget._replace(payers=budget.payers[:3]), "differ in length"),
        (budget._replace(components=("",) * 22), "empty names"),
        (budget._replace(years=budget.years[::-1].copy()), "not ascending"),
        (budget._replace(first_ages=budget.first_ages + 90), "no bracket of 'Pre-school"),
        (budget._replace(last_ages=budget.last_ages[:3]), r"int64 \[line\]"),
    ]
    for wrong, what in broken:
        with pytest.raises(DataError, match=what):
            data.check_budget(wrong)
    with pytest.raises(ValueError, match="decimal"):
        data.read_budget(data.budget_to_frame(budget), decimal=";")


@st.composite
def budgets(draw):
    """A valid budget."""
    names = st.sampled_from(["Школы", "a b", "A,", "x", "1"])
    lines = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    years = sorted(draw(st.sets(st.integers(1900, 2100), min_size=1, max_size=3)))
    size = len(lines) * len(years)
    observed = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    mask = np.array(observed).reshape(len(lines), len(years))
    mask[0], mask[:, 0] = True, True  # each line and each year has a figure
    eighths = draw(st.lists(st.integers(0, 10**9), min_size=size, max_size=size))
    amounts = np.where(mask, np.reshape(eighths, mask.shape) / 8, 0.0)
    first = np.array([draw(st.integers(0, 60)) for _ in lines])
    last = np.array([draw(st.sampled_from([OPEN_AGE, 60, 99])) for _ in lines])
    components = tuple(draw(names) for _ in lines)
    payers = tuple(draw(names) for _ in lines)
    return data.Budget(
        amounts, mask, tuple(lines), components, payers, first, last, np.array(years)
    )


@SETTINGS
@given(budget=budgets(), random=st.randoms(use_true_random=False), is_long=st.booleans())
def test_any_order_of_rows_gives_the_same_lines(tmp_path, budget, random, is_long):
    frame = data.budget_to_frame(budget)
    assert same(data.read_budget(frame), budget)
    if is_long:
        keys = ["line", "component", "payer", "first_age", "last_age"]
        frame = frame.melt(keys, var_name="year", value_name="amount").dropna(subset="amount")
    order = random.sample(range(len(frame)), len(frame))
    path = tmp_path / "x.csv"
    frame.iloc[order].to_csv(path, index=False)
    assert rows_of(data.read_budget(path)) == rows_of(budget)


CELL = st.sampled_from(
    ["", "0", "17", "*", "-", "+", "-1", "2005", "x", "inf", "nan", "1e400", "1,5", '"', "\n"]
) | st.text(max_size=4)


@settings(SETTINGS, max_examples=100)
@given(
    text=st.sampled_from([LONG, WIDE]),
    edits=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), CELL), max_size=3),
    drop=st.integers(0, 12),
)
def test_damaged_files_are_read_or_refused(tmp_path, text, edits, drop):
    rows = [line.split(",") for line in text.splitlines()]
    for i, j, cell in edits:
        row = rows[i % len(rows)]
        row[j % len(row)] = cell
    if drop < len(rows):
        del rows[drop]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8", errors="replace")
    try:
        data.check_budget(data.read_budget(path))
    except DataError as error:
        refusal = error
    else:
        return
    assert refusal.file == str(path)  # from the reader, not from the check of its budget
    assert all(problem.what and problem.cure for problem in refusal.problems)


def test_frame_with_integer_years_and_missing_numbers():
    frame = pd.DataFrame(
        {
            "line": ["A"],
            "component": ["b"],
            "first_age": [1],
            "last_age": [np.nan],
            2001: [np.nan],
            2002: [3],
        }
    )
    budget = data.read_budget(frame)
    assert budget.mask.tolist() == [[False, True]]
    assert budget.last_ages.tolist() == [OPEN_AGE]
