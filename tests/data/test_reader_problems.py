"""What a person is told about a file with something wrong in it: line, column, value, cure."""

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


# text, what is expected of the one problem: (line, column, value, part of what, part of cure)
ONE_PROBLEM = {
    "text in a number": (
        ROWS.replace("11,4", "eleven,4"),
        (3, "grp", "eleven", "text in a number", "plain number"),
    ),
    "percent sign": (ROWS.replace("11,4", "11%,4"), (3, "grp", "11%", "text", "plain number")),
    "infinity": (ROWS.replace("11,4", "-inf,4"), (3, "grp", "-inf", "not finite", "finite")),
    "overflow": (ROWS.replace("11,4", "1e999,4"), (3, "grp", "1e999", "not finite", "finite")),
    "blank": (ROWS.replace("11,4", " ,4"), (3, "grp", "", "no value", "gaps='mask'")),
    "token": (ROWS.replace("11,4", "n/a,4"), (3, "grp", "n/a", "no value", "gaps='mask'")),
    "thousands": (
        ROWS.replace("11,4", '"1,100.5",4'),
        (3, "grp", "1,100.5", "',' in a number", "thousands separators"),
    ),
    "python number": (ROWS.replace("11,4", "1_1,4"), (3, "grp", "1_1", "text in a number", "")),
    "not ASCII digits": (ROWS.replace("11,4", "\u0661,4"), (3, "grp", "\u0661", "text", "")),
    "duplicate": (
        ROWS + "Arsk,2003,1,1\n",
        (
            8,
            None,
            "Arsk, 2003",
            "second row of the same place, year, the first is on line 5",
            "keep",
        ),
    ),
    "duplicate up to space": (
        ROWS + " Arsk ,2003.0,1,1\n",
        (8, None, "Arsk, 2003", "first is on line 5", "keep"),
    ),
    "year missing": (
        ROWS.replace("Arsk,2002,21,6.5\n", ""),
        (None, None, "Arsk", "no row in 2002", "gaps='mask'"),
    ),
    "half a year": (
        ROWS.replace("Arsk,2002", "Arsk,2002.5"),
        (7, "year", "2002.5", "not a year", "whole year"),
    ),
    "absurd year": (
        ROWS.replace("Arsk,2002", "Arsk,20020"),
        (7, "year", "20020", "not a year", "1500-2500"),
    ),
    "no year": (ROWS.replace("Arsk,2002", "Arsk,"), (7, "year", "", "no year", "whole year")),
    "no place": (ROWS.replace("Arsk,2002", ",2002"), (7, "place", "", "an empty name", "fill")),
    "short row": (
        ROWS.replace("11,4", "11"),
        (3, None, None, "3 fields, the header has 4", "as many fields"),
    ),
    "decimal commas between commas": (
        ROWS.replace("11,4", "11,5,4"),
        (3, None, None, "5 fields, the header has 4", "decimal commas"),
    ),
    "missing column": (
        ROWS.replace("year", "Year"),
        (None, "year", None, "missing column", "did you mean 'Year'?"),
    ),
    "stray quote": (
        ROWS.replace("11,4", '11",4'),
        (3, None, None, "quotation mark", "remove it"),
    ),
    "open quote": (
        ROWS.replace("Arsk,2003", '"Arsk,2003'),
        (5, None, None, "quotation mark", "remove it"),
    ),
    "duplicate column": (
        ROWS.replace("labour", "grp"),
        (1, "grp", None, "a second column of this name", "rename"),
    ),
    "nameless column": (
        ROWS.replace("labour", ""),
        (1, None, None, "field 4 of the header has no name", "name the column"),
    ),
    "too few years": (
        "\n".join(line for line in ROWS.splitlines() if "2003" not in line),
        (None, None, None, "2 years (2001-2002), at least 3", "min_years="),
    ),
    "column of text": (
        "year,grp,okato\n2001,1,a\n2002,2,b\n2003,3,c\n",
        (2, "okato", "a", "no numbers in this column", "variables="),
    ),
    "several places, no column for them": (
        "year,grp\n2001,1\n2002,2\n2003,3\n2001,1\n2002,2\n2003,3\n",
        (5, None, None, "no column names the place", "place_column="),
    ),
    "empty": ("", (None, None, None, "the file is empty", "header")),
    "only space": ("\ufeff\n  \n\n", (None, None, None, "the file is empty", "header")),
    "header only": ("place,year,grp\n", (None, None, None, "no rows below the header", "add")),
    "no numbers": ("place,year\nA,2001\n", (None, None, None, "no column of numbers", "add")),
    "binary": (b"place,year,grp\nA,2001,\x00\n", (2, None, None, "a zero byte", "CSV UTF-8")),
    "two columns of a year": (
        "place,2001,2002,2002.0,2003\nA,1,2,3,4\n",
        (None, None, None, "two columns of one year", "keep one"),
    ),
    "ambiguous comma": (
        'year;grp\n2001;"1,234"\n2002;"1,250"\n2003;1260\n',
        (None, None, "1,234", "decimal mark or a thousands separator", "decimal="),
    ),
    "wide, place column unknown": (
        "region,2001,2002,2003\nA,1,2,3\n",
        (None, "place", None, "missing column", "'region'"),
    ),
}


@pytest.mark.parametrize("case", ONE_PROBLEM)
def test_one_problem_is_told_precisely(write, case):
    text, (line, column, value, what, cure) = ONE_PROBLEM[case]
    (problem,) = problems_of(write(text))
    assert (problem.line, problem.column, problem.value) == (line, column, value)
    assert what in problem.what
    assert cure in problem.cure


def test_message_reads_as_one_line_per_problem(write):
    path = write(ROWS.replace("11,4", "eleven,4"))
    with pytest.raises(DataError) as caught:
        data.read_panel(path)
    assert str(caught.value) == (
        f"{path}: 1 problem\n  line 3, column 'grp', value 'eleven': text in a number; "
        "write a plain number; leave the cell empty if there is no value"
    )


def test_every_problem_is_collected_and_ten_are_shown(write):
    bad = (
        ROWS.replace("10.5", "x").replace("11,4", ",y").replace("Arsk,2002,21,6.5", "Arsk,2002,21")
    )
    found = problems_of(write(bad))
    assert [(p.line, p.column) for p in found] == [
        (2, "grp"),
        (3, "labour"),
        (3, "grp"),
        (7, None),
    ]
    many = "year,grp,labour\n" + "".join(f"{year},1,x\n" for year in range(2000, 2030))
    with pytest.raises(DataError) as caught:
        data.read_panel(write(many), variables=["grp", "labour"])
    assert len(caught.value.problems) == 30
    assert str(caught.value).splitlines()[-1] == "  and 20 more"
    assert len(str(caught.value).splitlines()) == 12


def test_lines_are_those_of_the_file(write):
    text = '\n\nplace,year,"grp\nin bn"\nA,2001,1\n\n"A\nB",2002,bad\n,,\nA,2002,2\nA,2003,bad\n'
    found = problems_of(write(text.replace("\n", "\r\n")), gaps="mask")
    assert [(p.line, p.column, p.value) for p in found] == [
        (7, "grp in bn", "bad"),
        (11, "grp in bn", "bad"),
    ]
