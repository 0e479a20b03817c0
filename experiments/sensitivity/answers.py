"""The result in one sentence, and in one paragraph."""

import numpy as np

from experiments.sensitivity.config import Config
from experiments.sensitivity.ranks import label, largest_gap, rank_correlation
from experiments.sensitivity.study import Reading


def answer(result: list[Reading]) -> str:
    """How far gradients can be trusted, in one sentence."""
    worst = max(max(r.error.values()) for r in result)
    ranks = [rank_correlation(r.table, "rank_gradient") for r in result]
    return (
        f"Gradients of {len(result)} models are right to {worst:.0e} and cost "
        f"{min(r.cost for r in result):.1f} to {max(r.cost for r in result):.1f} forward runs; "
        f"at one point they rank the inputs as Sobol indices over a box do with Spearman "
        f"{min(ranks):.2f} to {max(ranks):.2f}."
    )


def details(config: Config, result: list[Reading]) -> str:
    """One paragraph below the answer."""
    worst = max(max(r.error.values()) for r in result)
    cost = [r.cost for r in result]
    ranks = {r.model.name: rank_correlation(r.table, "rank_gradient") for r in result}
    least = min(ranks, key=lambda name: np.nan_to_num(ranks[name], nan=-1.0))
    row, why = largest_gap(next(r.table for r in result if r.model.name == least), config.small)
    return (
        f"Gradients of {len(result)} models agree with central differences to {worst:.0e} or "
        f"better and cost {min(cost):.1f} to {max(cost):.1f} forward runs (a reading of this run). "
        f"At one point they rank the inputs as total Sobol indices over the box do with Spearman "
        f"{min(ranks.values()):.2f} to {max(ranks.values()):.2f}; least in {least}, where "
        f"{label(row)} comes {row['rank_gradient']:.0f} by gradient and {row['rank_sobol']:.0f} by "
        f"Sobol index: {why}."
    )
