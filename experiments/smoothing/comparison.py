"""The primary rules against base filters, equal weights and peers: paired tests over series."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from diffmig import evaluate
from experiments.smoothing.config import Config
from experiments.smoothing.study import AHEAD, ONE_STEP, Scores


class Comparison(NamedTuple):
    """The primary rule against one other method over the series of one history.

    `interval` is that of the median difference, `direction` the median of those that are not 0.
    """

    source: str
    task: str
    rule: str
    other: str
    num_series: int
    wins: int
    ties: int
    direction: float
    interval: evaluate.DifferenceInterval
    p_value: float
    adjusted_p: float
    outcome: str


def compare(config: Config, key: Array, all_scores: list[Scores]) -> list[Comparison]:
    """The two primary rules against every base filter, equal weights and the rivals; p values by
    Wilcoxon's signed-rank test, Holm's correction over all of them."""
    found: list[Comparison] = []
    for number, scores in enumerate(all_scores):
        primary = scores.methods[scores.num_models : scores.num_models + 2]
        others = (*scores.methods[: scores.num_models], scores.methods[-1])
        for task, table in ((ONE_STEP, scores.one_step), (AHEAD, scores.ahead)):
            against = {name: table[scores.methods.index(name)] for name in others}
            against |= scores.rivals if task == AHEAD else {}
            for rule in primary:
                own = table[scores.methods.index(rule)]
                for k, (other, theirs) in enumerate(against.items()):
                    pick = scores.usable & np.isfinite(own) & np.isfinite(theirs)
                    if pick.sum() < evaluate.significance.MIN_PAIRS:
                        continue
                    pair = (own[pick], theirs[pick])
                    seed = jax.random.fold_in(jax.random.fold_in(key, number), k)
                    test = evaluate.wilcoxon_signed_rank(*pair)
                    found.append(
                        Comparison(
                            scores.history.name,
                            task,
                            rule,
                            other,
                            int(pick.sum()),
                            int((pair[0] < pair[1]).sum()),
                            int((pair[0] == pair[1]).sum()),
                            _direction(pair[0] - pair[1]),
                            evaluate.bootstrap_median_difference(seed, *pair, num_resamples=1000),
                            test.p_value,
                            np.nan,
                            "",
                        )
                    )
    adjusted = evaluate.holm([c.p_value for c in found]) if found else np.zeros(0)
    return [
        c._replace(adjusted_p=float(p), outcome=_outcome(c, float(p), config.significance))
        for c, p in zip(found, adjusted, strict=True)
    ]


def _direction(difference: np.ndarray) -> float:
    """Median of the differences that are not 0; a selection often equals one of its models."""
    unequal = difference[difference != 0]
    return float(np.median(unequal)) if unequal.size else 0.0


def _outcome(comparison: Comparison, p: float, level: float) -> str:
    if p >= level or comparison.direction == 0:
        return "no difference"
    return "better" if comparison.direction < 0 else "worse"
