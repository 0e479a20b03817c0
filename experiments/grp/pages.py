"""What the GRP experiment writes: tables, figures, ledger and the answer in one sentence."""

import numpy as np
import pandas as pd

from diffmig import fit, report
from experiments.grp import drawings
from experiments.grp.config import Config
from experiments.grp.outlook import interval_coverage, outlook_frame
from experiments.grp.pipeline import Result
from experiments.grp.scores import ar1_table, baseline_frame, summary_frame
from experiments.grp.sections import write_replication, write_response

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
    unit = "bn RUB" if config.replicate else "unit of the data"
    last = int(economy.years[economy.num_training - 1])
    _write_protocol(run, config, result)
    if config.replicate:
        write_replication(run, result, source, unit, last)
    for base in economy.bases:
        _write_accuracy(run, summary, baselines, base, source)
    run.write_table("scores", summary, "Scores of all networks: median and 5-95 % over the runs.")
    run.write_table("scores-by-seed", result.scores, "Scores of every run.", show=False)
    run.write_table("baselines", baselines, "Baselines on the validation years, by what they know.")
    factors = drawings.factor_table(economy, units)
    drawn = report.draw_grid(
        factors, title="Factors and their forecasts", source=source,
        common_scale=False,
    )  # fmt: skip
    run.write_figure(
        "factors", drawn, factors, "Figure 3 of the paper: factors and AR(1) forecasts."
    )
    run.write_table("ar1", ar1_table(economy), "AR(1) of the factors, MAPE in percent.")
    ahead = drawings.outlook_table(economy, result.described, outlook, unit)
    drawn = report.draw_grid(
        ahead, title=f"GRP to {economy.years[-1]}", source=source, columns=1, common_scale=False
    )  # fmt: skip
    run.write_figure(
        "forecast", drawn, ahead,
        "Figure 4 of the paper: forecasts. Band of the network as described: 5-95 % of its runs, "
        "which says nothing of the future; of the primary forecaster: 90 % interval, from its "
        "runs and year-to-year growth risk.",
    )  # fmt: skip
    run.write_table("outlook", outlook, "Forecasts by scenario: runs and 90 % interval.")
    coverage = interval_coverage(economy, result.trained, result.outlooks)
    run.write_table("coverage", coverage, "Validation years inside the 90 % interval.")
    scenarios = drawings.scenario_table(economy, outlook, unit)
    drawn = report.draw_grid(
        scenarios, title="GRP under factor scenarios", source=source, columns=1, common_scale=False
    )  # fmt: skip
    run.write_figure(
        "scenarios", drawn, scenarios,
        "Scenarios continue the lower quartile, median and upper quartile of each factor's growth "
        "in the last ten years. Bands: 5-95 % of the runs.",
    )  # fmt: skip
    write_response(run, result, source, unit)
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
            f"Training years {train}, validation years {test}. As described: the paper's own "
            "protocol, scalers see all years. Conditional: actual factors of the validation years "
            "are given, nothing else from them. Honest: the factors are forecast too.",
            "The primary forecaster of a price basis was fixed before the validation years were "
            f"scored: lowest median MAPE over {config.num_origins} rolling origins of "
            f"{config.horizon} years inside the training years, among three networks and two "
            "targets; its forecast is the median of its runs.",
            "Primary: " + "; ".join(chosen) + ".",
            f"Forecasters ever scored on the validation years: {len(scored) + extra}. With so many "
            "on so few years, the best of them is no evidence of skill.",
        ],
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


def _metrics(
    config: Config,
    result: Result,
    summary: pd.DataFrame,
    baselines: pd.DataFrame,
    outlook: pd.DataFrame,
) -> dict[str, object]:
    economy, words, beaten, values = result.economy, [], [], {}
    for o in result.outlooks:
        base = economy.bases[o.choice.base]
        for protocol in ("conditional", "honest"):
            rows = summary[
                (summary.prices == base) & (summary.protocol == protocol)
                & (summary.metric == "mape") & (summary["sample"] == "validation")
                & summary.model.str.startswith("primary")
            ]  # fmt: skip
            own = float(rows["median"].iloc[0])
            known = baselines[(baselines.prices == base) & (baselines.protocol == protocol)]
            name, error = known.sort_values("mape")[["baseline", "mape"]].iloc[0]
            beaten.append(own < error)
            values[f"{base}.{protocol}"] = {
                "mape": own, "best_baseline": str(name), "best_baseline_mape": float(error)
            }  # fmt: skip
            verdict = "beats" if own < error else "does not beat"
            words.append(
                f"{base} prices, {protocol}: MAPE {own:.2f} % {verdict} {name} ({error:.2f} %)"
            )
    unit = " bn RUB" if config.replicate else ""
    final = outlook[(outlook.scenario == "AR(1)") & (outlook.year == economy.years[-1])]
    ahead = [
        f"{row.median:.0f} [{row.interval_low:.0f}, {row.interval_high:.0f}]{unit} in "
        f"{row.prices} prices"
        for row in final.itertuples()
    ]
    place = f"GRP of {economy.place}" if economy.place else "GRP"
    runs = [*result.described.values(), *result.trained.values()]
    status = np.concatenate([np.asarray(t.fitted.status).ravel() for t in runs])
    return {
        "answer_figure": "forecast",
        "answer": f"By {economy.years[-1]} {place} is forecast at {ahead[0]} (90 % interval), "
        f"by networks that beat the best naive forecast in {sum(beaten)} of {len(beaten)} tests on "
        "hidden years.",
        "details": f"Forecasts for {economy.years[-1]}: {'; '.join(ahead)} (90 % intervals). "
        f"Scored on the hidden years: {'; '.join(words)}.",
        "primary": values,
        "num_seeds": config.num_seeds,
        "converged": float(np.mean(status == 0)),
        "status": {name: int(np.sum(status == i)) for i, name in enumerate(fit.FIT_STATUS)},
    }
