"""Sections of the GRP report: the replication of the paper, and the response to factors."""

import pandas as pd

from diffmig import data, evaluate, report
from experiments.grp import drawings
from experiments.grp.claims import ledger_entries
from experiments.grp.pipeline import Result
from experiments.grp.response import sensitivity_frame, shapley_frame


def write_replication(run: report.Run, result: Result, source: str, unit: str, last: int) -> None:
    """Errata, figures 1 and 2, the study of widths and layers, and the ledger."""
    economy, study = result.economy, result.study
    assert study is not None
    errata = pd.DataFrame(data.errata("grp_udmurt")).astype({"year": "Int64"}).astype(str)
    run.write_table("errata", errata, "Errata of the paper's table 1 and text.")
    losses = drawings.loss_table(economy, result.described)
    drawn = report.draw_grid(
        losses, title="Loss curves of the chosen networks", source=source,
        x="iteration", x_label="training epoch, 1", columns=1, common_scale=False,
    )  # fmt: skip
    run.write_figure(
        "loss", drawn, losses, "Figure 1 of the paper, from our runs: median and 5-95 %."
    )
    fits = drawings.fit_table(economy, result.described, unit)
    drawn = report.draw_grid(
        fits, title="Actual GRP and the networks as described", source=source,
        columns=1, last_training_year=last, common_scale=False,
    )  # fmt: skip
    run.write_figure("fit", drawn, fits, "Figure 2 of the paper, from our runs: median and 5-95 %.")
    widths = drawings.study_table(economy, study)
    drawn = report.draw_bars(
        widths,
        title="Width and layers: validation error",
        x_label="validation MAPE, %",
        source=source,
    )
    run.write_figure(
        "widths", drawn, widths, "Section 4.1: LSTMs of other widths and layers, 5-95 %."
    )
    entries = list(ledger_entries(economy, result.described, result.scores, study, result.outlooks))
    run.write_ledger(evaluate.ledger_frame(entries))
    run.write_table(
        "ledger-spread", evaluate.spread_frame(entries), "Numbers of the ledger.", show=False
    )


def write_response(run: report.Run, result: Result, source: str, unit: str) -> None:
    """Elasticities and Shapley values of the primary forecasters."""
    economy = result.economy
    slopes, shares = [], []
    for outlook in result.outlooks:
        trained = result.trained[outlook.choice.model]
        slopes.append(sensitivity_frame(economy, trained, outlook))
        shares.append(shapley_frame(economy, trained, outlook))
    slope, share = pd.concat(slopes), pd.concat(shares)
    run.write_table(
        "sensitivity", slope, "Gradient and elasticity of GRP by factor, 5-95 % of runs."
    )
    ahead = slope[slope["when"] == "forecast years"]
    bars = pd.DataFrame(
        {"label": ahead.input, "series": ahead.prices + " prices", "value": ahead.elasticity,
         "low": ahead.elasticity_low, "high": ahead.elasticity_high}
    )  # fmt: skip
    drawn = report.draw_bars(
        bars,
        title=f"Elasticity of GRP in {economy.years[-1]}",
        x_label="elasticity, % per %",
        source=source,
    )
    run.write_figure(
        "elasticity", drawn, bars,
        "Response of GRP in the last forecast year to one percent more of a factor in all forecast "
        "years; primary forecaster, 5-95 % of the runs.",
    )  # fmt: skip
    bars = share.rename(columns={"factor": "label", "prices": "series"})
    drawn = report.draw_bars(
        bars,
        title="What the factors' paths added to GRP",
        x_label=f"GRP, {unit}",
        source=source,
    )
    run.write_figure(
        "shapley", drawn, bars,
        "Exact Shapley values: the factor moved as it did against it stayed at its last training "
        "value; GRP of the last year with data, primary forecaster, 5-95 % of the runs.",
    )  # fmt: skip
