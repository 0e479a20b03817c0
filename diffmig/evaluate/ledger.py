"""The claims ledger: one row per printed number, its verdict computed and never passed in."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jax.typing import ArrayLike

from diffmig.evaluate.printed import half_unit, parse_printed, round_like

MIN_SEEDS = 20
RANGE = (0.05, 0.95)
VERDICTS = ("impossible", "not checkable", "reproduced", "not reproduced")
PROTOCOLS = ("as_described", "conditional", "honest")
_TRUTH = {"true": True, "false": False}


class Claim(NamedTuple):
    """What a paper prints.

    Attributes:
        paper, place, quantity, unit: who says it, in which table or section, of what, in which
            unit.
        printed: the number as text, decimals kept ("5.48"); for a statement "true" or "false".
        kind: "deterministic" (equal after rounding), "stochastic" (inside the range over seeds),
            "seconds" (another machine: never checkable) or "statement" (yes or no, named by
            `quantity`).
        higher_is_better: direction of `beaten`; None where no value is better than another.
    """

    paper: str
    place: str
    quantity: str
    unit: str
    printed: str
    kind: Literal["deterministic", "stochastic", "seconds", "statement"]
    higher_is_better: bool | None = None


class Evidence(NamedTuple):
    """What we computed about a claim.

    A scalar is a deterministic value, an array [seed] has one value per seed.

    Attributes:
        as_described: under the paper's own protocol; booleans for a statement.
        conditional: actual factors of the evaluated years given, nothing else from them.
        honest: ex ante.
        bound: mathematical limit of the printed number; (lower, upper) for "interval".
        bound_kind: "upper", "lower" or "interval".
        bound_slack: how far the bound gives way when the printed numbers it was computed from move
            inside their own rounding, >= 0.
        note: free text; the ledger appends its own findings.
    """

    as_described: ArrayLike | None = None
    conditional: ArrayLike | None = None
    honest: ArrayLike | None = None
    bound: float | tuple[float, float] | None = None
    bound_kind: Literal["", "upper", "lower", "interval"] = ""
    bound_slack: float = 0.0
    note: str = ""


class Row(NamedTuple):
    """One row of `ledger.csv`; its fields are the 13 columns, in order."""

    paper: str
    place: str
    quantity: str
    unit: str
    printed: str
    as_described: str
    conditional: str
    honest: str
    bound: str
    bound_kind: str
    verdict: str
    beaten: bool
    note: str


class Spread(NamedTuple):
    """Median and 5-95 % range of the finite values; a deterministic value is not `per_seed`."""

    median: float
    low: float
    high: float
    num_seeds: int
    num_finite: int
    per_seed: bool

    @property
    def too_few(self) -> bool:
        return self.num_finite == 0 or (self.per_seed and self.num_finite < MIN_SEEDS)


def assess(claim: Claim, evidence: Evidence) -> Row:
    """The ledger row of a printed number.

    The verdict, in this order of precedence:
        impossible: even with rounding allowed for, the printed number lies beyond the bound.
        not checkable: seconds; no finite `as_described`; or a stochastic quantity with fewer than
            20 finite seeds.
        reproduced: deterministic: equal after rounding to the printed decimals; stochastic: inside
            our 5-95 % range, its ends rounded to the printed decimals; statement: true or false as
            printed, over seeds in at least 95 %.
        not reproduced: otherwise.

    `beaten` compares with the printed number `conditional` and, separately, `honest`: the median is
    better and the 5-95 % range excludes the printed number after rounding (at least 20 finite seeds
    and 95 % of all; a deterministic value is its own range). The note says which of the two beat
    it.

    Args:
        claim: the printed number.
        evidence: our values for it.

    Returns:
        Row, text cells "median [5 %, 95 %]" with one decimal more than printed.

    Raises:
        ValueError: unreadable printed text, unknown kind, bound and bound_kind that do not fit, an
            array for a deterministic `as_described`, evidence of more than one axis.

    Source: diffmig's protocol rules for printed accuracy figures.
    """
    _check(claim, evidence)
    spreads = {name: _spread(getattr(evidence, name)) for name in PROTOCOLS}
    verdict, reasons = _verdict(claim, evidence, spreads["as_described"])
    beaten_by, doubts = _beaten_by(claim, spreads)
    remarks = [evidence.note, *reasons, *doubts]
    if beaten_by:
        remarks.append("beaten by " + " and ".join(beaten_by))
    decimals = _decimals(claim)
    return Row(
        *claim[:5],
        **{name: _cell(claim, getattr(evidence, name), decimals) for name in PROTOCOLS},
        bound=_bound_cell(evidence, decimals),
        bound_kind=evidence.bound_kind,
        verdict=verdict,
        beaten=bool(beaten_by),
        note="; ".join(remark for remark in remarks if remark),
    )


def ledger_frame(entries: Iterable[tuple[Claim, Evidence]]) -> pd.DataFrame:
    """The ledger as a table of exactly the 13 columns of `Row`.

    Args:
        entries: claims with their evidence, in the order of the rows; verdicts enter by `assess`
            alone.

    Returns:
        DataFrame, one row per claim; `beaten` boolean, all other columns text.

    Raises:
        ValueError: see `assess`.
    """
    frame = pd.DataFrame(
        [assess(claim, evidence) for claim, evidence in entries], columns=list(Row._fields)
    )
    return frame.astype({"beaten": bool})


def spread_frame(entries: Iterable[tuple[Claim, Evidence]]) -> pd.DataFrame:
    """The numbers behind the ledger's cells, one row per claim and protocol with evidence.

    Args:
        entries: claims with their evidence.

    Returns:
        DataFrame: paper, place, quantity, unit, printed, protocol, median, low, high (5 and 95 %),
            num_seeds, num_finite, per_seed.

    Raises:
        ValueError: see `assess`.
    """
    rows = []
    for claim, evidence in entries:
        _check(claim, evidence)
        for name in PROTOCOLS:
            spread = _spread(getattr(evidence, name))
            if spread is not None:
                rows.append((*claim[:5], name, *spread))
    return pd.DataFrame(rows, columns=[*Claim._fields[:5], "protocol", *Spread._fields])


def ledger_totals(ledger: pd.DataFrame) -> pd.DataFrame:
    """Rows per verdict and beaten rows, by paper, with a last row "all".

    Args:
        ledger: one ledger, or several joined.

    Returns:
        DataFrame indexed by paper: the four verdicts in order of precedence, beaten, rows.

    Raises:
        ValueError: a verdict that `assess` does not give.
    """
    unknown = sorted(set(ledger["verdict"]) - set(VERDICTS))
    if unknown:
        raise ValueError(
            f"verdict: expected one of {VERDICTS}, got {unknown}; build ledgers by ledger_frame"
        )
    counts = pd.crosstab(ledger["paper"], ledger["verdict"]).reindex(
        columns=list(VERDICTS), fill_value=0
    )
    counts["beaten"] = (ledger["beaten"].astype(str) == "True").groupby(ledger["paper"]).sum()
    counts["rows"] = ledger.groupby("paper").size()
    counts.loc["all"] = counts.sum()
    counts.columns.name = None
    return counts.astype(int)


def _check(claim: Claim, evidence: Evidence) -> None:
    if claim.kind not in ("deterministic", "stochastic", "seconds", "statement"):
        raise ValueError(
            f"kind: expected deterministic, stochastic, seconds or statement, got {claim.kind!r}"
        )
    if claim.kind != "statement":
        parse_printed(claim.printed)
    elif claim.printed not in _TRUTH:
        raise ValueError(
            f"printed: expected 'true' or 'false' for a statement, got {claim.printed!r}"
        )
    if claim.kind == "deterministic" and np.ndim(np.asarray(evidence.as_described)):
        raise ValueError(
            "as_described: expected one number for a deterministic claim; "
            "several seeds need kind stochastic"
        )
    numbers = {"": 0, "upper": 1, "lower": 1, "interval": 2}.get(evidence.bound_kind)
    given = 0 if evidence.bound is None else np.size(evidence.bound)
    if numbers != given or (claim.kind == "statement" and given):
        raise ValueError(
            "bound: expected one number for upper or lower, two for interval, "
            "none for a statement; "
            f"got {evidence.bound} with bound_kind {evidence.bound_kind!r}"
        )
    if evidence.bound is None:
        return
    limits = np.ravel(evidence.bound)
    if (
        not np.isfinite([*limits, evidence.bound_slack]).all()
        or limits[0] > limits[-1]
        or evidence.bound_slack < 0
    ):
        raise ValueError(
            f"bound: expected finite numbers, lower <= upper and slack >= 0, got {evidence.bound}, "
            f"slack {evidence.bound_slack}"
        )


def _spread(values: ArrayLike | None) -> Spread | None:
    if values is None:
        return None
    array = np.asarray(values, float)
    if array.ndim > 1:
        raise ValueError(f"evidence: expected a number or an array [seed], got shape {array.shape}")
    finite = np.ravel(array)[np.isfinite(np.ravel(array))]
    low, median, high = (
        np.quantile(finite, [RANGE[0], 0.5, RANGE[1]]) if finite.size else [np.nan] * 3
    )
    return Spread(float(median), float(low), float(high), array.size, finite.size, array.ndim == 1)


def _verdict(claim: Claim, evidence: Evidence, ours: Spread | None) -> tuple[str, list[str]]:
    if _beyond_bound(claim, evidence):
        return "impossible", []
    if claim.kind == "seconds":
        return "not checkable", ["seconds of another machine"]
    if ours is None:
        return "not checkable", ["not computed"]
    diverged = ours.num_seeds - ours.num_finite
    reasons = [f"{diverged} of {ours.num_seeds} values not finite"] if diverged else []
    scalar_for_stochastic = claim.kind == "stochastic" and not ours.per_seed
    if ours.too_few or scalar_for_stochastic:
        if ours.num_finite:
            reasons.append(f"{ours.num_finite} of at least {MIN_SEEDS} seeds")
        return "not checkable", reasons
    if claim.kind == "statement":
        share = _share_true(evidence.as_described)
        agreeing = share if _TRUTH[claim.printed] else 1 - share
        return ("reproduced" if agreeing >= RANGE[1] else "not reproduced"), reasons
    printed = parse_printed(claim.printed)
    inside = round_like(ours.low, printed) <= printed <= round_like(ours.high, printed)
    return ("reproduced" if inside else "not reproduced"), reasons


def _beyond_bound(claim: Claim, evidence: Evidence) -> bool:
    if evidence.bound is None:
        return False
    printed = parse_printed(claim.printed)
    smallest, largest = float(printed - half_unit(printed)), float(printed + half_unit(printed))
    limits = np.ravel(evidence.bound)
    above = evidence.bound_kind != "lower" and smallest > limits[-1] + evidence.bound_slack
    below = evidence.bound_kind != "upper" and largest < limits[0] - evidence.bound_slack
    return bool(above or below)


def _beaten_by(claim: Claim, spreads: dict[str, Spread | None]) -> tuple[list[str], list[str]]:
    beaten_by: list[str] = []
    doubts: list[str] = []
    if claim.higher_is_better is None or claim.kind in ("seconds", "statement"):
        return beaten_by, doubts
    printed = parse_printed(claim.printed)
    for name in PROTOCOLS[1:]:
        spread = spreads[name]
        if spread is None:
            continue
        if spread.num_finite < RANGE[1] * spread.num_seeds:
            failed = spread.num_seeds - spread.num_finite
            doubts.append(f"{name}: {failed} of {spread.num_seeds} values not finite, not compared")
        elif spread.too_few:
            doubts.append(
                f"{name}: {spread.num_finite} of at least {MIN_SEEDS} seeds, not compared"
            )
        elif claim.higher_is_better:
            beaten_by += [name] if round_like(spread.low, printed) > printed else []
        else:
            beaten_by += [name] if round_like(spread.high, printed) < printed else []
    return beaten_by, doubts


def _decimals(claim: Claim) -> int:
    if claim.kind == "statement":
        return 0
    return max(0, -int(parse_printed(claim.printed).as_tuple().exponent)) + 1


def _cell(claim: Claim, values: ArrayLike | None, decimals: int) -> str:
    spread = _spread(values)
    if spread is None:
        return ""
    if not spread.num_finite:
        return "not finite"
    if claim.kind == "statement":
        share = _share_true(values)
        return (
            f"true in {share:.0%} of {spread.num_finite}"
            if spread.per_seed
            else str(share == 1).lower()
        )
    if not spread.per_seed:
        return f"{spread.median:z.{decimals}f}"
    return (
        f"{spread.median:z.{decimals}f} [{spread.low:z.{decimals}f}, {spread.high:z.{decimals}f}]"
    )


def _share_true(values: ArrayLike | None) -> float:
    array = np.ravel(np.asarray(values, float))
    return float(np.mean(array[np.isfinite(array)] != 0))


def _bound_cell(evidence: Evidence, decimals: int) -> str:
    if evidence.bound is None:
        return ""
    texts = [f"{limit:z.{decimals}f}" for limit in np.ravel(evidence.bound)]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
