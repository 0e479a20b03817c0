"""Tables on what explains the force."""

import numpy as np
import pandas as pd

from experiments.migration.study import Result


def score_frame(result: Result) -> pd.DataFrame:
    """Scores of the regressions of the force by split."""
    found = result.explanation
    assert found is not None
    rows = []
    for (name, split), scores in found.scores.items():
        row = {"regressor": name, "scored": split}
        rows.append(row | {key: float(value) for key, value in scores._asdict().items()})
    return pd.DataFrame(rows)


def significance_frame(result: Result) -> pd.DataFrame:
    """The runs of the abstract: mean, percentiles, both standard errors and p."""
    found = result.explanation
    assert found is not None
    rows = []
    for name, made in found.significance.items():
        scores = np.asarray(made.scores.pooled)
        rows.append(
            {
                "regressor": name,
                "runs": scores.size,
                "mean_r2": float(made.pooled.mean),
                "low": float(made.pooled.low),
                "high": float(made.pooled.high),
                "naive_error": float(scores.std(ddof=1) / np.sqrt(scores.size)),
                "corrected_error": float(made.pooled.standard_error),
                "p_value": float(made.p_value),
            }
        )
    return pd.DataFrame(rows)


def share_lines(result: Result) -> pd.DataFrame:
    """Shares of the balance of the scenario's place, by factor."""
    found, place = result.explanation, result.scenario.place if result.scenario else 0
    assert found is not None
    start = int(found.years[0])
    parts = {"start": found.shares.free, "mean force": found.shares.base}
    parts |= {name: found.shares.factor[k] for k, name in enumerate(found.names)}
    parts |= {"unexplained force": found.shares.unexplained}
    rows = [("all together", "actual", start + t - 0.5, v)
            for t, v in enumerate(np.asarray(found.shares.balance[place]))]  # fmt: skip
    for name, values in parts.items():
        shown = np.broadcast_to(np.asarray(values), found.shares.balance.shape)[place]
        rows += [(name, "fitted", start + t - 0.5, v) for t, v in enumerate(shown)]
    return pd.DataFrame(rows, columns=["series", "kind", "year", "value"])
