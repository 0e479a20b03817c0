"""Generated malformed files: a panel with the numbers of the file, or DataError; nothing else."""

import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffmig import data

SETTINGS = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PLACES, YEARS, NAMES = ("Ижевск", "b c"), (2001, 2002, 2003, 2004), ("grp", "labour")
CELLS = st.one_of(
    st.sampled_from(
        [
            "nan",
            "inf",
            "-Infinity",
            "NA",
            ",",
            ";",
            '"a"',
            '""',
            '"',
            "1e400",
            "1e5",
            ".5",
            "5.",
            "1,5",
            "1,234",
            "1.234,5",
            "1_0",
            "0x1F",
            "2003",
            "-7",
            "x",
            "\xe9",
            "\x00",
            "%",
            "",
            " ",
            "1 000",
            "1\xa0000,5",
            "\n",
            "\ufeff",
            "1\t2",
            "a\nb",
            "\xb2",
            "\u06f5",
            "\u0661",
        ]
    ),
    st.text(max_size=4),
    st.floats(allow_nan=False).map(repr),
)


def read(path, **choices):
    """The panel, checked to be finite; None where the file was refused."""
    try:
        return data.check_panel(data.read_panel(path, **choices))
    except data.DataError as error:
        refusal = error
    assert refusal.file == str(path)  # from the reader, not from the check of its panel
    assert refusal.problems
    assert all(problem.what and problem.cure for problem in refusal.problems)
    return None


@st.composite
def tables(draw):
    numbers = draw(
        st.lists(st.floats(-1e9, 1e9).map(lambda x: f"{x:.6g}"), min_size=16, max_size=16)
    )
    cells = iter(numbers)
    rows = [[place, str(year), next(cells), next(cells)] for place in PLACES for year in YEARS]
    return [["place", "year", *NAMES], *rows]


@st.composite
def mutated(draw):
    rows = draw(tables())
    delimiter = draw(st.sampled_from(",;\t|"))
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["cell", "cell", "cell", "drop", "repeat", "swap", "shuffle"]))
        i = draw(st.integers(0, len(rows) - 1))
        if kind == "cell":
            j = draw(st.integers(0, len(rows[i]) - 1))
            rows[i][j] = draw(CELLS)
        elif kind == "drop" and len(rows) > 1:
            del rows[i]
        elif kind == "repeat":
            rows.insert(draw(st.integers(0, len(rows))), list(rows[i]))
        elif kind == "swap":
            rows[i] = [draw(st.sampled_from(",;\t|")).join(rows[i])]
        else:
            rows[1:] = draw(st.permutations(rows[1:]))
    raw = (
        draw(st.integers(0, 3)) == 0
    )  # unquoted cells let a delimiter or a quotation mark break the line
    if raw:
        text = "\n".join(delimiter.join(row) for row in rows)
    else:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=delimiter).writerows(rows)
        text = buffer.getvalue()
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "cp1251", "utf-16"]))
    return text.encode(encoding, "replace"), text, delimiter, raw


def expected_cells(text, delimiter):
    """Number of every (place, year, name), by the standard library and `float` alone."""
    header, *rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    found = {}
    for row in rows:
        named = dict(zip((" ".join(name.split()) for name in header), row, strict=True))
        for name in named.keys() - {"place", "year"}:
            cell = named[name].strip().replace(" ", "").replace("\u00a0", "").replace(",", ".")
            key = (" ".join(named.get("place", "").split()), int(float(named["year"])), name)
            assert key not in found
            found[key] = (
                float(cell) if cell.lower() not in ("", "na", "nan", "-", ".") else math.nan
            )
    return found


@settings(SETTINGS, max_examples=400)
@given(file=mutated(), gaps=st.sampled_from(["error", "mask"]))
def test_mutated_files(tmp_path, file, gaps):
    content, text, delimiter, raw = file
    path = tmp_path / "mutated.csv"
    path.write_bytes(content)
    panel = read(path, gaps=gaps)
    if panel is None or raw or "\ufeff" in text or "?" in content.decode("latin-1"):
        return
    expected = expected_cells(text.replace("\r\n", "\n"), delimiter)
    if "place" not in text.split("\n")[0]:
        expected = {(panel.places[0], *key[1:]): value for key, value in expected.items()}
    observed = {
        (panel.places[i], int(panel.years[j]), panel.names[k]): panel.values[i, j, k]
        for i, j, k in np.argwhere(panel.mask)
    }
    assert observed == {key: value for key, value in expected.items() if not math.isnan(value)}
    if gaps == "error":
        assert panel.mask.all()


@SETTINGS
@given(rows=tables())
def test_clean_files_are_read_whole(tmp_path, rows):
    path = tmp_path / "clean.csv"
    path.write_text("\n".join(",".join(row) for row in rows))
    panel = read(path)
    assert panel is not None
    cells = [float(cell) for row in rows[1:] for cell in row[2:]]
    order = [1, 0]  # "b c" sorts before the Cyrillic name
    assert np.array_equal(panel.values[order].ravel(), cells)


@SETTINGS
@given(
    content=st.binary(max_size=200), name=st.sampled_from(["x.csv", "x.csv.gz", "x.parquet", "x"])
)
def test_random_bytes(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    read(path)


@SETTINGS
@given(content=st.text(st.sampled_from('place,year2001;3.5\n"\t '), max_size=120))
@pytest.mark.parametrize("choices", [{}, {"gaps": "mask", "min_years": 1, "place_column": "p"}])
def test_random_text(tmp_path, content, choices):
    path = tmp_path / "x.csv"
    path.write_text(content)
    read(path, **choices)


@SETTINGS
@given(at=st.integers(0, 10_000), patch=st.binary(min_size=1, max_size=8))
def test_damaged_parquet(tmp_path, at, patch):
    rows = [(place, year, 1.5) for place in PLACES for year in YEARS]
    path = tmp_path / "x.parquet"
    pd.DataFrame(rows, columns=["place", "year", "grp"]).to_parquet(path)
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at : at + len(patch)] = patch
    path.write_bytes(bytes(content))
    read(path)
