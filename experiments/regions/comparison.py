"""Chosen networks against baselines, paired by region, and the sentence that sums it up."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from diffmig import evaluate

OUTCOMES = ("better", "worse", "no difference shown")


class Comparison(NamedTuple):
    """Network against one baseline over all regions; differences are network minus baseline.

    Attributes:
        protocol, baseline: what is compared.
        wins, num_regions: regions in which the network has the lower MAPE, and all.
        wilcoxon_p, sign_p: two-sided p of the paired tests of MAPE by region.
        adjusted_p: `wilcoxon_p` after Holm's correction over the baselines of the protocol.
        interval: median difference and its 90 % bootstrap interval, percentage points.
        outcome: one of `OUTCOMES`.
    """

    protocol: str
    baseline: str
    wins: int
    num_regions: int
    wilcoxon_p: float
    sign_p: float
    adjusted_p: float
    interval: evaluate.DifferenceInterval
    outcome: str


def compare(
    key: Array, mape: dict[str, dict[str, np.ndarray]], significance: float
) -> tuple[Comparison, ...]:
    """Paired tests of "network" against every other forecaster, by protocol.

    Args:
        key: random key of the bootstrap.
        mape: MAPE by protocol and forecaster, [region], percent; regions in which either is not
            finite are left out of a pair of forecasters.
        significance: level after Holm's correction.
    """
    found = []
    for number, (protocol, by_name) in enumerate(mape.items()):
        network = by_name["network"]
        names = [name for name in by_name if name != "network"]
        pairs = []
        for name in names:
            finite = np.isfinite(network) & np.isfinite(by_name[name])
            pairs.append((network[finite], by_name[name][finite]))
        wilcoxon = [evaluate.wilcoxon_signed_rank(*pair) for pair in pairs]
        adjusted = evaluate.holm([test.p_value for test in wilcoxon])
        for k, (name, pair) in enumerate(zip(names, pairs, strict=True)):
            resampled = jax.random.fold_in(jax.random.fold_in(key, number), k)
            interval = evaluate.bootstrap_median_difference(resampled, *pair)
            differs = adjusted[k] < significance and interval.median_difference != 0
            lower = interval.median_difference < 0
            found.append(
                Comparison(
                    protocol=protocol,
                    baseline=name,
                    wins=int(np.sum(pair[0] < pair[1])),
                    num_regions=len(pair[0]),
                    wilcoxon_p=wilcoxon[k].p_value,
                    sign_p=evaluate.sign_test(*pair).p_value,
                    adjusted_p=float(adjusted[k]),
                    interval=interval,
                    outcome=OUTCOMES[2] if not differs else OUTCOMES[0] if lower else OUTCOMES[1],
                )
            )
    return tuple(found)


def median_intervals(
    key: Array, mape: dict[str, dict[str, np.ndarray]]
) -> dict[str, dict[str, evaluate.DifferenceInterval]]:
    """Median MAPE over regions with its 90 % bootstrap interval, by protocol and forecaster.

    All are resampled with the same regions.
    """
    return {
        protocol: {
            name: evaluate.bootstrap_median_difference(
                key, errors[np.isfinite(errors)], np.zeros(int(np.isfinite(errors).sum()))
            )
            for name, errors in by_name.items()
        }
        for protocol, by_name in mape.items()
    }


def details(
    mape: dict[str, dict[str, np.ndarray]], comparisons: Sequence[Comparison], significance: float
) -> str:
    """What the tests say, in words computed from the numbers."""
    sentences = []
    for protocol, factors in (("honest", "forecast"), ("conditional", "actual")):
        mine, rival, best = _medians(mape[protocol])
        groups = {
            outcome: [
                c.baseline for c in comparisons if (c.protocol, c.outcome) == (protocol, outcome)
            ]
            for outcome in OUTCOMES
        }
        total = sum(map(len, groups.values()))
        parts = [f"it beats {_listed(groups['better'], total)}"]
        if groups["worse"]:
            parts.append(f"loses to {_listed(groups['worse'], total)}")
        if groups["no difference shown"]:
            parts.append(f"shows no difference to {_listed(groups['no difference shown'], total)}")
        sentences.append(
            f"With {factors} factors ({protocol}) the chosen network has median MAPE {mine:.2f} %, "
            f"the best baseline ({rival}) {best:.2f} %: {'; '.join(parts)}."
        )
    tests = f"Signed-rank tests at {significance:g} after Holm's correction"
    return f"{tests}. {' '.join(sentences)}"


def answer(mape: dict[str, dict[str, np.ndarray]], comparisons: Sequence[Comparison]) -> str:
    """Yes, only some or no, by the honest protocol, in one sentence."""
    verdicts = [c.outcome == "better" for c in comparisons if c.protocol == "honest"]
    head = "Yes" if all(verdicts) else "Only some" if any(verdicts) else "No"
    mine, rival, best = _medians(mape["honest"])
    return (
        f"{head}: over {len(mape['honest']['network'])} regions, with forecast factors, the chosen "
        f"network beats {sum(verdicts)} of {len(verdicts)} baselines (median MAPE {mine:.2f} %, "
        f"of the best, {rival}, {best:.2f} %)."
    )


def _medians(errors: dict[str, np.ndarray]) -> tuple[float, str, float]:
    """Median over the regions of the network, name of the best baseline and its median."""
    medians = {name: float(np.nanmedian(values)) for name, values in errors.items()}
    mine = medians.pop("network")
    rival = min(medians, key=lambda name: medians[name])
    return mine, rival, medians[rival]


def _listed(names: Sequence[str], total: int) -> str:
    if not names or len(names) == total:
        return f"{'all' if names else 'none'} of the {total} baselines"
    return f"{len(names)} of {total} baselines ({', '.join(names)})"
