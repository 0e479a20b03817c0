"""What the GRP experiment writes: tables, figures, ledger and the answer in one sentence."""

import numpy as np
import pandas as pd

from diffmig import data, evaluate, fit, report
from experiments.grp import drawings
from experiments.grp.claims import ledger_entries
from experiments.grp.config import Config
from experiments.grp.outlook import outlook_frame
from experiments.grp.pipeline import Result
from experiments.grp.response import sensitivity_frame, shapley_frame
from experiments.grp.scores import baseline_frame, summary_frame

PAPER_SOURCE = "Vavilova, Ketova, Zerari (2025), table 1 (corrected); diffmig"
UNITS = {
    "fixed_assets": "bn RUB",
    "labour": "thousand persons",
    "high_tech_share": "%",
    "deflator": "% of the previous year",
}


def write(run: report.Run, config: Config, result: Result) -> None:
    """All sections of the report, in order."""
    economy, summary = result.economy, summary_frame(result.scores)
    baselines, outlook = baseline_frame(economy), outlook_frame(economy, result.outlooks)
    source = PAPER_SOURCE if config.replicate else f"{economy.place}: own data; diffmig"
    units = UNITS if config.replicate else {}
    money = "GRP, bn RUB" if config.replicate else "GRP, unit of the data"
    last = int(economy.years[economy.num_training - 1])
    _write_protocol(run, config, result)
    if config.replicate:
        _write_replication(run, result, summary, source, money, last)
    for base in economy.bases:
        _write_accuracy(run, summary, baselines, base, source)
    run.write_table("scores", summary, "Scores of all networks: median and 5-95 % over the runs.")
    run.write_table("scores-by-seed", result.scores, "Scores of every run.", show=False)
    run.write_table("baselines", baselines, "Baselines on the validation years, by what they know.")
    factors = drawings.factor_table(economy, units)
    drawn = report.draw_grid(
        factors, title="Factors and their forecasts", y_label="own units, see panels", source=source,
        common_scale=False,
    )  # fmt: skip
    run.write_figure(
        "factors", drawn, factors, "Figure 3 of the paper: factors and AR(1) forecasts."
    )
    run.write_table("ar1", drawings.ar1_table(economy), "AR(1) of the factors, MAPE in percent.")
    ahead = drawings.outlook_table(economy, result.described, outlook)
    drawn = report.draw_grid(
        ahead, title=f"GRP to {economy.years[-1]}", y_label=money, source=source, columns=1, common_scale=False
    )  # fmt: skip
    run.write_figure(
        "forecast", drawn, ahead,
        "Figure 4 of the paper: forecasts. Band of the network as described: 5-95 % of its runs, which says nothing "
        "of the future; of the primary forecaster: 90 % interval, runs and year-to-year growth risk.",
    )  # fmt: skip
    run.write_table("outlook", outlook, "Forecasts by scenario: runs and 90 % interval.")
    coverage = drawings.interval_coverage(economy, result.trained, result.outlooks)
    run.write_table("coverage", coverage, "Validation years inside the 90 % interval.")
    scenarios = drawings.scenario_table(economy, outlook)
    drawn = report.draw_grid(
        scenarios, title="GRP under factor scenarios", y_label=money, source=source, columns=1, common_scale=False
    )  # fmt: skip
    run.write_figure(
        "scenarios", drawn, scenarios,
        "Scenarios continue the lower quartile, median and upper quartile of each factor's growth in the last ten "
        "years. Bands: 5-95 % of the runs.",
    )  # fmt: skip
    _write_response(run, result, source)
    run.write_metrics(_metrics(config, result, summary, baselines, outlook))


def _write_protocol(run: report.Run, config: Config, result: Result) -> None:
    economy, years = result.economy, result.economy.years
    scored = result.scores[["prices", "protocol", "model"]].drop_duplicates()
    extra = 0 if result.study is None else len(result.study.settings) * len(economy.bases)
    extra += 0 if result.study is None or result.study.larger_swarm is None else len(economy.bases)
    chosen = [
        f"{economy.bases[o.choice.base]} prices: {o.choice.model}, target "
        f"{('level', 'growth')[o.choice.target]}, rolling-origin MAPE {o.choice.rolling_mape:.2f} %"
        for o in result.outlooks
    ]
    train, test = f"{years[0]}-{years[economy.num_training - 1]}", (
        f"{years[economy.num_training]}-{years[economy.num_data - 1]}"
    )  # fmt: skip
    run.write_text(
        "protocol",
        f"How {economy.place} was forecast",
        [
            f"Training years {train}, validation years {test}. As described: the paper's own protocol, scalers see "
            "all years. Conditional: actual factors of the validation years are given, nothing else from them. "
            "Honest: the factors are forecast too.",
            "The primary forecaster of a price basis was fixed before the validation years were scored: lowest "
            f"median MAPE over {config.num_origins} rolling origins of {config.horizon} years inside the training "
            "years, among three networks and two targets; its forecast is the median of its runs.",
            "Primary: " + "; ".join(chosen) + ".",
            f"Forecasters ever scored on the validation years: {len(scored) + extra}. With so many on six years, "
            "the best of them is no evidence of skill.",
        ],
    )


def _write_replication(
    run: report.Run, result: Result, summary: pd.DataFrame, source: str, money: str, last: int
) -> None:
    economy, study = result.economy, result.study
    assert study is not None
    errata = pd.DataFrame(data.errata("grp_udmurt")).astype(str)
    run.write_table("errata", errata, "Errata of the paper's table 1 and text.")
    losses = drawings.loss_table(economy, result.described)
    drawn = report.draw_grid(
        losses, title="Loss curves of the chosen networks", y_label="training MAPE, %", source=source,
        x="iteration", x_label="training epoch, 1", columns=1, common_scale=False,
    )  # fmt: skip
    run.write_figure(
        "loss", drawn, losses, "Figure 1 of the paper, from our runs: median and 5-95 %."
    )
    fits = drawings.fit_table(economy, result.described)
    drawn = report.draw_grid(
        fits, title="Actual GRP and the networks as described", y_label=money, source=source,
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


def _write_accuracy(
    run: report.Run, summary: pd.DataFrame, baselines: pd.DataFrame, base: str, source: str
) -> None:
    for protocol in ("conditional", "honest"):
        table = drawings.accuracy_table(summary, baselines, base, protocol)
        drawn = report.draw_bars(
            table,
            title=f"Validation error, {base} prices, {protocol}",
            x_label="MAPE, %",
            source=source,
        )
        run.write_figure(
            f"accuracy-{base}-{protocol}", drawn, table,
            "Networks (median, 5-95 % over runs) beside the baselines that know as much.",
        )  # fmt: skip


def _write_response(run: report.Run, result: Result, source: str) -> None:
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
        "Response of GRP in the last forecast year to one percent more of a factor in all forecast years; "
        "primary forecaster, 5-95 % of the runs.",
    )  # fmt: skip
    bars = share.rename(columns={"factor": "label", "prices": "series"})
    drawn = report.draw_bars(
        bars,
        title="What the factors' paths added to GRP",
        x_label="GRP, unit of the data",
        source=source,
    )
    run.write_figure(
        "shapley", drawn, bars,
        "Exact Shapley values: the factor moved as it did against it stayed at its last training value; GRP of "
        "the last year with data, primary forecaster, 5-95 % of the runs.",
    )  # fmt: skip


def _metrics(
    config: Config,
    result: Result,
    summary: pd.DataFrame,
    baselines: pd.DataFrame,
    outlook: pd.DataFrame,
) -> dict[str, object]:
    economy, words, values = result.economy, [], {}
    for o in result.outlooks:
        base = economy.bases[o.choice.base]
        for protocol in ("conditional", "honest"):
            rows = summary[
                (summary.prices == base) & (summary.protocol == protocol) & (summary.metric == "mape")
                & (summary["sample"] == "validation") & summary.model.str.startswith("primary")
            ]  # fmt: skip
            own = float(rows["median"].iloc[0])
            known = baselines[(baselines.prices == base) & (baselines.protocol == protocol)]
            best = known.loc[known.mape.idxmin()]
            values[f"{base}.{protocol}"] = {
                "mape": own, "best_baseline": best.baseline, "best_baseline_mape": float(best.mape)
            }  # fmt: skip
            verdict = "beats" if own < best.mape else "does not beat"
            words.append(
                f"{base} prices, {protocol}: MAPE {own:.2f} % {verdict} {best.baseline} ({best.mape:.2f} %)"
            )
    final = outlook[(outlook.scenario == "AR(1)") & (outlook.year == economy.years[-1])]
    ahead = "; ".join(
        f"{row.median:.0f} [{row.interval_low:.0f}, {row.interval_high:.0f}] in {row.prices} prices"
        for row in final.itertuples()
    )
    runs = [*result.described.values(), *result.trained.values()]
    status = np.concatenate([np.asarray(t.fitted.status).ravel() for t in runs])
    return {
        "answer": f"By {economy.years[-1]} GRP of {economy.place} is forecast at {ahead} (90 % intervals). "
        f"Scored on the hidden years: {'; '.join(words)}.",
        "primary": values,
        "num_seeds": config.num_seeds,
        "converged": float(np.mean(status == 0)),
        "status": {name: int(np.sum(status == i)) for i, name in enumerate(fit.FIT_STATUS)},
    }
