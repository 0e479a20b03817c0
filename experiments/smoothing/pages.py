"""What the run folder shows: the paper's example and tables, the study, the user's forecasts."""

import pandas as pd

from diffmig import evaluate, report
from experiments.smoothing import frames
from experiments.smoothing.claims import ledger_entries
from experiments.smoothing.config import Config
from experiments.smoothing.histories import problem_lines
from experiments.smoothing.outlook import Outlook
from experiments.smoothing.paper_pages import write_example, write_unevenness
from experiments.smoothing.whole import Result


def write(run: report.Run, config: Config, result: Result) -> None:
    """Tables, figures, ledger and metrics."""
    for number, outlook in enumerate(result.outlooks):
        _write_outlook(run, config, outlook, number)
    if result.example is not None and result.unevenness is not None:
        write_example(run, result.example)
        write_unevenness(run, result.unevenness)
        ledger = list(ledger_entries(result.example, result.unevenness))
        run.write_ledger(evaluate.ledger_frame(ledger))
    _write_study(run, config, result)
    run.write_metrics(
        {
            "answer": frames.answer(result),
            "details": frames.details(result),
            "answer_figure": "study_0",
            "num_series": sum(len(s.history.names) for s in result.scores),
            "num_skipped": len(result.inputs.skipped),
            "converged": 1.0,
            "seeds": "nothing is drawn but starts of k-means and bootstrap resamples",
        }
    )


def _write_study(run: report.Run, config: Config, result: Result) -> None:
    skipped = [f"{s.name}: {s.reason}" for s in result.inputs.skipped]
    problems = problem_lines(result.inputs.problems)
    paragraphs = [
        "Weights of the base models are fitted by squared one-step errors on the first part of "
        "each history and again half way and at its end; rules see the one-step errors of "
        "forecasts made after the first fit. One-step errors are scored on the last rows of the "
        "history, the forecasts several steps ahead on rows that nothing has seen. MASE divides by "
        "the mean absolute seasonal difference of the history.",
        "Primary, fixed before any scoring: selection by B with gamma "
        f"{config.gamma:g}, weights by inverse B with kappa {config.kappa:g}. The tests treat "
        "series as independent; series of one source share shocks, so p values are too small.",
        *(["Not used: " + "; ".join(skipped[:8]) + "."] if skipped else []),
        *(["Of your file: " + "; ".join(problems[:12]) + "."] if problems else []),
    ]
    run.write_text("study", "Does selection help?", tuple(paragraphs))
    if not result.scores:
        return
    source = "this run"
    accuracy = pd.concat([frames.accuracy_frame(s) for s in result.scores], ignore_index=True)
    units = {
        "one_step_mase": "1, median", "one_step_mape": "%, median", "mase": "1, median",
        "sample_mase": "1, median", "mean_mase": "1, mean", "smape": "%, mean", "mape": "%, median",
    }  # fmt: skip
    run.write_table(
        "accuracy", accuracy,
        "Errors over series: one step ahead along the last rows, and the held-out rows; "
        "sample_mase on the series that the peers forecast.",
        units=units, source=source,
    )  # fmt: skip
    run.write_table(
        "tests", frames.tests_frame(result),
        "Primary rules against base models, equal weights and peers, MASE by series. Differences "
        "are rule minus other: below 0 the rule is better.",
        units={
            "unequal_median": "1", "median_difference": "1", "low": "1, 5 %", "high": "1, 95 %",
        }, source=source,
    )  # fmt: skip
    lengths = pd.concat([frames.lengths_frame(s) for s in result.scores], ignore_index=True)
    run.write_table(
        "lengths", lengths, "Median MASE of the held-out rows by length of the series.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "coverage", frames.coverage_frame(config, result),
        "Intervals of the primary selection: share of values inside, along the last rows; empty "
        "where too few errors are known for the level.",
        units={"horizon": "steps", "nominal": "%", "mean_coverage": "%"}, source=source,
    )  # fmt: skip
    bars = accuracy.dropna(subset=["mase"]).rename(columns={"method": "label", "mase": "value"})
    for number, (name, part) in enumerate(bars.groupby("source", sort=False)):
        shown = part[["label", "value", "kind"]].rename(columns={"kind": "series"})
        run.write_figure(
            f"study_{number}",
            report.draw_bars(
                shown, title=f"{name}: median MASE of held-out rows", x_label="MASE, 1",
                source=source,
            ),
            shown,
            f"{name}: base models, rules and peers.",
            source=source,
        )  # fmt: skip


def _write_outlook(run: report.Run, config: Config, outlook: Outlook, number: int) -> None:
    source = "your data; this run"
    label = outlook.panel.frequency or "steps"
    caption = (
        f"Selective forecasts ({label}) with {100 * config.level:g} % conformal intervals; empty "
        "where the history is too short for the level."
    )
    run.write_table(f"forecasts_{number}", outlook.table, caption, source=source)
    run.write_table(
        f"weights_{number}", outlook.weights,
        "Base model that each series is forecast by (1: chosen).", source=source,
    )  # fmt: skip
    lines = frames.outlook_lines(config, outlook)
    dates = "year" if outlook.panel.frequency else "time, step"
    run.write_figure(
        f"forecasts_{number}",
        report.draw_grid(
            lines, title="Selective forecasts", source=source, common_scale=False, x="time",
            x_label=dates, band=f"{100 * config.level:g} % interval",
        ),
        lines,
        f"The first {min(frames.NUM_DRAWN, len(outlook.panel.names))} series with intervals.",
        source=source,
    )  # fmt: skip
