"""Policy by cluster and strongholds: stated rules on the forecasts."""

import numpy as np
import pandas as pd

from diffmig import explain, report
from experiments.towns.outlook import TREND
from experiments.towns.study import Result

RULES = explain.PolicyConfig()


def policy_frame(result: Result) -> pd.DataFrame | None:
    """Policy of every cluster with factor trends kept, and how many networks agree; None where the
    population is not known."""
    inputs, members = result.inputs, result.outlook.members[TREND]
    if not inputs.unit.startswith("per mille"):
        return None
    people, label = 1000.0 * inputs.scale, result.structure.clusters.label
    mean = explain.cluster_policy(members.mean(axis=0), people, label, RULES)
    each = explain.cluster_policy(members, people, label, RULES)
    return pd.DataFrame(
        {
            "cluster": mean.clusters + 1,
            "towns": np.bincount(label),
            "loss": mean.loss,
            "policy": [explain.POLICIES[p] for p in mean.policy],
            "networks_agree": (each.policy == mean.policy).mean(axis=0),
        }
    )


def write_policy(run: report.Run, result: Result, source: str) -> None:
    """Table of policies and the list of strongholds."""
    mean = result.outlook.members[TREND].mean(axis=0)
    gains = explain.strongholds(mean, RULES)
    sure = explain.strongholds(result.outlook.low, RULES)
    names = [result.inputs.towns[i] for i in np.flatnonzero(gains)]
    run.write_text(
        "policy",
        "Policy by cluster, strongholds",
        (
            f"A rule that can be argued with: a median loss up to {RULES.stimulating_loss:g} per "
            f"1000 residents a year calls for a stimulating policy, from {RULES.shift_loss:g} on "
            "for shift work, between for compensatory measures. The borders are ours; the paper "
            "gives classes and no rule.",
            f"Strongholds gain people in every forecast year: {', '.join(names[:20]) or 'none'}. "
            f"In {int(sure.sum())} of them also the lower end of the interval is a gain.",
        ),
    )
    table = policy_frame(result)
    if table is not None:
        run.write_table(
            "policy", table, "Policy by cluster, factor trends kept.",
            units={"loss": "per 1000 residents a year"}, source=source,
        )  # fmt: skip
