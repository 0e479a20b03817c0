"""Rankings of the inputs by gradient and by total Sobol index, and why they differ."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

FAR = 0.25  # of the box: the point counts as far from the middle
BENT = 1.0  # sigma over mu*: the effect changes by its own size over the box


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Shares of the variance that slopes alone would give, ranks (1: first) and interactions.

    linear = (slope width)^2 / 12 / variance: the index of a linear model with that slope
    """
    for name, slope in (("linear", "gradient"), ("linear_in_middle", "gradient_in_middle")):
        table[name] = (table[slope] * table["width"]) ** 2 / 12 / table["variance"]
    table["mean_slope"] = (table["mean_absolute"] * table["width"]) ** 2 / 12 / table["variance"]
    for rank, name in (
        ("rank_gradient", "linear"), ("rank_middle", "linear_in_middle"),
        ("rank_mean_slope", "mean_slope"), ("rank_sobol", "total"),
    ):  # fmt: skip
        table[rank] = rankdata(-np.nan_to_num(table[name].to_numpy()))
    table["interaction"] = table["total"] - table["first"]
    table["bend"] = table["sigma"] / table["mu_star"].where(table["mu_star"] > 0)
    return table


def rank_correlation(table: pd.DataFrame, rank: str) -> float:
    """Spearman's, of a ranking with that by total Sobol indices; NaN where one is constant."""
    a, b = table[rank].to_numpy(), table["rank_sobol"].to_numpy()
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def largest_gap(table: pd.DataFrame, small: float) -> tuple[pd.Series, str]:
    """Input of the largest difference of ranks among those that matter by either, and why.

    The reason is read off the row: interaction beyond the sampling error, an effect that changes
    over the box, a point far from the middle; each is named where it is large.
    """
    matters = table[(table["total"] >= small) | (table["linear"] >= small)]
    matters = table if matters.empty else matters
    gap = (matters["rank_gradient"] - matters["rank_sobol"]).abs()
    row = matters.iloc[int(gap.to_numpy().argmax())]
    if gap.max() == 0:
        return row, "the rankings are the same"
    reasons = []
    if row["interaction"] > 0.5 * row["total"] and row["total_low"] > row["first_high"]:
        reasons.append("it acts mostly together with others")
    if row["bend"] > BENT:
        reasons.append("its effect changes over the box by more than its mean size")
    if abs(row["from_middle"]) > FAR and row["rank_middle"] != row["rank_gradient"]:
        reasons.append("the point lies far from the middle of the box, where it ranks otherwise")
    if row["total_low"] <= row["first_high"] and not reasons:
        reasons.append("neighbours in the ranking have nearly equal shares")
    return row, "; ".join(reasons) or "none of the measures of shape is large"


def label(row: pd.Series) -> str:
    """Name of an input; arrays with the label inside."""
    name = str(row["input"]).replace("_", " ")
    return name if row["index"] == 0 else f"{name} {row['index']}"
