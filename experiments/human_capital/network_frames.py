"""Tables about the investment network, tidy."""

import numpy as np
import pandas as pd

from experiments.human_capital.economy import is_known
from experiments.human_capital.hold_outs import BASELINES, HoldOut, hold_out_errors
from experiments.human_capital.investment import PRIMARY, RULES, Investment
from experiments.human_capital.study import Result


def investment_lines(result: Result, made: Investment) -> pd.DataFrame:
    """Figures 5-7: spending by component and payer, interpolated and forecast."""
    inputs, rows = result.inputs, []
    ahead = inputs.all_years[inputs.years.size :]
    unknown = made.outputs.membership @ ~is_known(inputs.budget) > 0
    printed = np.where(unknown, np.nan, made.outputs.membership @ inputs.budget.amounts).T
    for j, (part, payer) in enumerate(
        zip(made.outputs.components, made.outputs.payers, strict=True)
    ):
        common = {"panel": f"{part}, bn in prices of each year", "series": payer}
        rows += [
            {**common, "series": f"{payer}, printed", "kind": "actual", "year": int(y), "value": v}
            for y, v in zip(inputs.budget.years, printed[:, j] / 1e3, strict=True)
        ]
        fitted = np.median(made.fitted[PRIMARY][:, :, j], axis=0) / 1e3
        rows += [
            {**common, "kind": "fitted", "year": int(y), "value": v}
            for y, v in zip(inputs.years[1:], fitted, strict=True)
        ]
        quantiles = np.quantile(made.forecast[PRIMARY][:, :, j], (0.05, 0.5, 0.95), axis=0) / 1e3
        rows += [
            {**common, "kind": "forecast", "year": int(y), "value": m, "low": a, "high": b}
            for y, a, m, b in zip(ahead, *quantiles, strict=True)
        ]
    return pd.DataFrame(rows)


def convergence_lines(made: Investment) -> pd.DataFrame:
    """Figure 8: training error (23) against epochs, medians and 5-95 % over runs."""
    rows = []
    for rule, label in RULES.items():
        error = np.asarray(made.fits[rule].error)
        low, mid, high = np.quantile(error, (0.05, 0.5, 0.95), axis=0)
        epochs = np.unique(np.geomspace(1, error.shape[1] - 1, 60).astype(int))
        rows += [
            {"series": label, "kind": "fitted", "epoch": int(e), "value": mid[e], "low": low[e],
             "high": high[e]}
            for e in epochs
        ]  # fmt: skip
    return pd.DataFrame(rows)


def hold_out_frame(made: tuple[HoldOut, ...]) -> pd.DataFrame:
    """MAPE on held-out printed years by origin and method, medians and 5-95 % over runs."""
    rows = []
    for hold in made:
        years = ", ".join(map(str, hold.scored))
        for name, errors in hold_out_errors(hold).items():
            low, mid, high = np.quantile(errors, (0.05, 0.5, 0.95))
            naive = name in BASELINES
            rows.append(
                {"data_to": hold.origin, "scored": years, "method": name,
                 "kind": "naive" if naive else "network", "mape": mid,
                 "low": np.nan if naive else low, "high": np.nan if naive else high}
            )  # fmt: skip
    return pd.DataFrame(rows)


def deviation_frame(made: Investment) -> pd.DataFrame:
    """In-sample deviation (24) by output: all years (interpolated) and printed years only."""
    rows = []
    for rule, label in RULES.items():
        for j, name in enumerate(made.outputs.names):
            rows.append(
                {"rule": label, "output": name,
                 "all_years": np.median(made.deviation[rule][:, j]),
                 "printed_years": np.median(made.printed_deviation[rule][:, j])}
            )  # fmt: skip
    return pd.DataFrame(rows)
