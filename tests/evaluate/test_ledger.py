"""The claims ledger: precedence of verdicts, rounding, ranges over seeds, columns."""

import inspect
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmig.evaluate import (
    VERDICTS,
    Claim,
    Evidence,
    Row,
    assess,
    check_pair,
    half_unit,
    ledger_frame,
    ledger_totals,
    parse_printed,
    round_like,
    spread_frame,
)

COLUMNS = [
    *("paper", "place", "quantity", "unit", "printed", "as_described", "conditional", "honest"),
    *("bound", "bound_kind", "verdict", "beaten", "note"),
]
MAPE = Claim("grp", "table 3", "validation MAPE", "%", "5.48", "stochastic", higher_is_better=False)
R2 = Claim("grp", "table 3", "validation R2", "1", "0.81", "stochastic", higher_is_better=True)
GROWTH = Claim("grp", "section 4.2", "growth to 2030", "%", "18.05", "deterministic")
SECONDS = Claim("grp", "table 2", "BA-LSTM", "s", "767", "seconds", higher_is_better=False)
STATEMENT = Claim("grp", "4.1", "PSO-Elman stays below GA-BPNN", "claim", "true", "statement")
SEEDS = np.linspace(4.0, 7.0, 21)  # 5 % 4.15, median 5.5, 95 % 6.85


def test_columns_are_the_thirteen() -> None:
    assert list(Row._fields) == COLUMNS
    assert list(ledger_frame([]).columns) == COLUMNS
    assert list(ledger_frame([(MAPE, Evidence(SEEDS))]).columns) == COLUMNS


def test_no_parameter_sets_a_verdict() -> None:
    for entry_point in (Claim, Evidence, assess, ledger_frame):
        assert not {"verdict", "beaten"} & set(inspect.signature(entry_point).parameters)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (18.0451, "reproduced"),
        (18.05499, "reproduced"),
        (18.055, "not reproduced"),
        (100 * (1131 / 957.4 - 1), "not reproduced"),
        (None, "not checkable"),
        (np.nan, "not checkable"),
    ],
)
def test_deterministic_is_equality_after_rounding(value, verdict: str) -> None:
    assert assess(GROWTH, Evidence(value)).verdict == verdict


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        (SEEDS, "reproduced"),
        (SEEDS + 1.3, "reproduced"),  # 5 % end 5.45
        (SEEDS + 1.34, "not reproduced"),  # 5 % end 5.49
        (SEEDS[:19], "not checkable"),
        (5.48, "not checkable"),
        (np.full(20, 5.4799), "reproduced"),
        (np.append(SEEDS, np.nan), "reproduced"),
        (np.append(SEEDS[:19], [np.nan, np.inf]), "not checkable"),
    ],
)
def test_stochastic_is_inside_the_range_over_at_least_20_seeds(seeds, verdict: str) -> None:
    row = assess(MAPE, Evidence(seeds))
    assert row.verdict == verdict
    if verdict == "not checkable":
        assert "of at least 20 seeds" in row.note


def test_failed_seeds_are_told() -> None:
    assert assess(MAPE, Evidence(np.append(SEEDS, np.nan))).note == "1 of 22 values not finite"


def test_impossible_comes_first_and_allows_for_rounding() -> None:
    bounded = Evidence(SEEDS, bound=0.8049, bound_kind="upper")
    assert assess(R2, bounded).verdict == "impossible"
    assert assess(R2, bounded._replace(bound=0.8051)).verdict != "impossible"
    assert assess(R2, bounded._replace(bound_slack=0.001)).verdict != "impossible"
    assert assess(R2, bounded._replace(bound=0.8151, bound_kind="lower")).verdict == "impossible"
    for bound in ((0.0, 0.8), (0.82, 0.9)):
        interval = bounded._replace(bound=bound, bound_kind="interval")
        assert assess(R2, interval).verdict == "impossible"
    assert assess(R2, Evidence(bound=-1.0, bound_kind="upper")).verdict == "impossible"
    assert assess(SECONDS, Evidence(bound=1e3, bound_kind="lower")).verdict == "impossible"


def test_printed_pairs_of_the_grp_paper(grp) -> None:
    actual, training = grp["grp_2023_prices"][18:], grp["grp_2023_prices"][:18]
    pair = check_pair("4.19", "0.82", actual, training=training)
    entries = [
        (
            R2._replace(printed="0.82"),
            Evidence(None, None, None, pair.r2_bound, "upper", pair.r2_slack, pair.note),
        ),
        (
            MAPE._replace(printed="4.19"),
            Evidence(None, None, None, pair.mape_bound, "upper", pair.mape_slack, pair.note),
        ),
    ]
    frame = ledger_frame(entries)
    assert list(frame["verdict"]) == ["impossible", "impossible"]
    assert frame["bound"][0] == "-0.235"
    assert frame["note"][0] == (
        "under the printed formula; possible if R2 was taken about the training mean"
    )


def test_seconds_are_not_checkable() -> None:
    row = assess(SECONDS, Evidence(SEEDS, conditional=SEEDS))
    assert (row.verdict, row.beaten) == ("not checkable", False)


@pytest.mark.parametrize(
    ("printed", "values", "verdict", "cell"),
    [
        ("true", True, "reproduced", "true"),
        ("true", False, "not reproduced", "false"),
        ("false", False, "reproduced", "false"),
        ("true", [True] * 19 + [False], "reproduced", "true in 95% of 20"),
        ("true", [True] * 18 + [False] * 2, "not reproduced", "true in 90% of 20"),
        ("true", [True] * 19, "not checkable", "true in 100% of 19"),
        ("true", None, "not checkable", ""),
    ],
)
def test_statements(printed: str, values, verdict: str, cell: str) -> None:
    row = assess(STATEMENT._replace(printed=printed), Evidence(values))
    assert (row.verdict, row.as_described, row.beaten) == (verdict, cell, False)


def test_beaten_needs_the_whole_range_and_says_by_which() -> None:
    better = SEEDS - 1.5  # 95 % end 5.35
    row = assess(MAPE, Evidence(SEEDS, conditional=better, honest=SEEDS))
    assert (row.beaten, row.note) == (True, "beaten by conditional")
    assert assess(MAPE, Evidence(SEEDS, better, better)).note == "beaten by conditional and honest"
    assert not assess(MAPE, Evidence(SEEDS, conditional=SEEDS - 1.3)).beaten  # 95 % end 5.55
    assert not assess(MAPE, Evidence(SEEDS, conditional=SEEDS + 9)).beaten
    assert not assess(MAPE, Evidence(SEEDS, conditional=5.476)).beaten  # equal after rounding
    assert assess(MAPE, Evidence(SEEDS, conditional=4.33)).beaten
    few = assess(MAPE, Evidence(SEEDS, honest=better[:5]))
    assert (few.beaten, few.note) == (False, "honest: 5 of at least 20 seeds, not compared")
    failing = assess(MAPE, Evidence(SEEDS, honest=np.append(better, [np.nan] * 2)))
    assert (failing.beaten, failing.note) == (
        False,
        "honest: 2 of 23 values not finite, not compared",
    )


def test_direction_of_better() -> None:
    assert assess(R2, Evidence(conditional=0.9)).beaten
    assert not assess(R2, Evidence(conditional=0.7)).beaten
    assert not assess(R2._replace(higher_is_better=None), Evidence(conditional=0.9)).beaten
    assert assess(R2, Evidence(conditional=0.9, bound=0.5, bound_kind="upper")).beaten


def test_cells() -> None:
    row = assess(MAPE, Evidence(SEEDS, conditional=4.3334, honest=[np.nan], note="as typed"))
    assert row.as_described == "5.500 [4.150, 6.850]"
    assert row.conditional == "4.333"
    assert assess(R2, Evidence(-0.0001)).as_described == "0.000"  # not minus nothing
    assert row.honest == "not finite"
    assert row.note.startswith("as typed; ")
    interval = Evidence(bound=(0.0, 1.0), bound_kind="interval")
    assert assess(R2, interval).bound == "[0.000, 1.000]"


def test_spread_frame_holds_the_numbers() -> None:
    frame = spread_frame([(MAPE, Evidence(SEEDS, conditional=4.33)), (SECONDS, Evidence())])
    assert list(frame["protocol"]) == ["as_described", "conditional"]
    np.testing.assert_allclose(frame["median"], [5.5, 4.33])
    np.testing.assert_allclose(frame["low"], [4.15, 4.33])
    assert list(frame["num_seeds"]) == [21, 1]
    assert list(frame["per_seed"]) == [True, False]


def test_totals_join_ledgers_and_survive_csv(tmp_path) -> None:
    grp = ledger_frame(
        [
            (MAPE, Evidence(SEEDS, conditional=4.33)),
            (SECONDS, Evidence()),
            (GROWTH, Evidence(18.13)),
        ]
    )
    other = ledger_frame([(R2._replace(paper="towns"), Evidence(bound=0.5, bound_kind="upper"))])
    pd.concat([grp, other]).to_csv(tmp_path / "ledger.csv", index=False)
    read = pd.read_csv(tmp_path / "ledger.csv", dtype={"printed": str})
    assert list(read["printed"]) == ["5.48", "767", "18.05", "0.81"]
    totals = ledger_totals(read)
    assert list(totals.columns) == [*VERDICTS, "beaten", "rows"]
    assert totals.loc["grp"].tolist() == [0, 1, 1, 1, 1, 3]
    assert totals.loc["towns"].tolist() == [1, 0, 0, 0, 0, 1]
    assert totals.loc["all"].tolist() == [1, 1, 1, 1, 1, 4]
    as_text = pd.read_csv(tmp_path / "ledger.csv", dtype=str)
    pd.testing.assert_frame_equal(ledger_totals(as_text), totals)
    with pytest.raises(ValueError, match="confirmed"):
        ledger_totals(read.assign(verdict="confirmed"))


finite = st.floats(-1e6, 1e6)
# Numbers of seeds at which both quantiles are members, so that no interpolation enters.
seeds = st.sampled_from([1, 21, 41]).flatmap(
    lambda number: st.lists(finite, min_size=number, max_size=number)
)
texts = st.decimals(-9999, 9999, places=2, allow_nan=False).map(str)


@settings(max_examples=200, deadline=None)
@given(texts, finite)
def test_deterministic_verdict_is_the_distance_to_the_printed_number(
    text: str, value: float
) -> None:
    distance = abs(Decimal(repr(value)) - Decimal(text))
    row = assess(GROWTH._replace(printed=text), Evidence(value))
    assert row.verdict == ("reproduced" if distance < Decimal("0.005") else row.verdict)
    assert row.verdict == ("not reproduced" if distance > Decimal("0.005") else row.verdict)


@settings(max_examples=100, deadline=None)
@given(
    texts,
    seeds,
    seeds,
    st.booleans(),
    st.none() | finite,
)
def test_every_row_has_one_verdict_and_beaten_is_symmetric(
    text, ours, other, higher, bound
) -> None:
    kind = "" if bound is None else "upper"
    claim = MAPE._replace(printed=text, higher_is_better=higher)
    row = assess(claim, Evidence(ours, conditional=other, bound=bound, bound_kind=kind))
    assert row.verdict in VERDICTS
    if len(ours) < 20:
        assert row.verdict in ("impossible", "not checkable")
    negated = claim._replace(printed=str(-Decimal(text)), higher_is_better=not higher)
    mirror = Evidence([-x for x in ours], conditional=[-x for x in other])
    mirrored = assess(negated, mirror)
    assert mirrored.beaten == row.beaten
    if row.verdict != "impossible":
        assert mirrored.verdict == row.verdict


@settings(max_examples=200, deadline=None)
@given(finite, st.integers(0, 6))
def test_rounding_equals_decimal_quantize(value: float, decimals: int) -> None:
    printed = Decimal(1).scaleb(-decimals)
    assert round_like(value, printed) == Decimal(repr(value)).quantize(printed, ROUND_HALF_UP)


@pytest.mark.parametrize(
    ("text", "value", "half"),
    [
        ("5.480", "5.48", "0.0005"),
        ("+32.0", "32", "0.05"),
        ("1131", "1131", "0.5"),
        (".81", "0.81", "0.005"),
        ("\N{MINUS SIGN}0.5", "-0.5", "0.05"),
        ("1e3", "1000", "500"),
    ],
)
def test_printed_text_keeps_its_decimals(text: str, value: str, half: str) -> None:
    assert parse_printed(text) == Decimal(value)
    assert half_unit(parse_printed(text)) == Decimal(half)


@pytest.mark.parametrize("text", ["", "5,48", "5.48 %", "nan", "inf", "about 5"])
def test_unreadable_printed_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one finite number"):
        assess(MAPE._replace(printed=text), Evidence())


@pytest.mark.parametrize(
    ("claim", "evidence", "message"),
    [
        (GROWTH, Evidence([18.0, 18.1]), "kind stochastic"),
        (MAPE, Evidence(np.zeros((2, 20))), "array \\[seed\\]"),
        (R2, Evidence(bound=0.5), "bound_kind"),
        (R2, Evidence(bound_kind="upper"), "bound_kind"),
        (R2, Evidence(bound=0.5, bound_kind="interval"), "two for interval"),
        (R2, Evidence(bound=(0.9, 0.5), bound_kind="interval"), "lower <= upper"),
        (R2, Evidence(bound=np.nan, bound_kind="upper"), "finite"),
        (STATEMENT, Evidence(bound=1.0, bound_kind="upper"), "none for a statement"),
        (STATEMENT._replace(printed="yes"), Evidence(), "'true' or 'false'"),
        (MAPE._replace(kind="guess"), Evidence(), "kind"),
    ],
)
def test_wrong_input_is_refused(claim: Claim, evidence: Evidence, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assess(claim, evidence)
