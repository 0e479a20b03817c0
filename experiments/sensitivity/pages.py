"""What the run folder shows: one table of all models, bars of each, ranks against ranks."""

import numpy as np
import pandas as pd

from diffmig import report
from experiments.sensitivity.answers import answer, details
from experiments.sensitivity.config import Config
from experiments.sensitivity.ranks import label, largest_gap, rank_correlation
from experiments.sensitivity.study import Reading

MOST_BARS = 12
GRADIENT, SOBOL = "by the gradient", "total Sobol index"
SOURCE = "bundled data of the five models; this run"
COLUMNS = (
    "output", "input", "index", "value", "input_unit", "gradient", "elasticity", "linear", "first",
    "first_low", "first_high", "total", "total_low", "total_high", "total_bound", "mean_absolute",
    "mu", "mu_star", "sigma", "bend", "interaction", "from_middle", "rank_gradient", "rank_middle",
    "rank_mean_slope", "rank_sobol",
)  # fmt: skip


def write(run: report.Run, config: Config, result: list[Reading]) -> None:
    """Text, tables, figures and metrics."""
    summary = summary_frame(config, result)
    run.write_text(
        "question",
        "Do gradients say what matters?",
        (
            "A gradient is taken at one point; total Sobol indices are shares of the variance over "
            "a whole box of inputs. Both rank the inputs: the gradient by (slope x width of the "
            "box)^2 / 12 over the variance, which is the Sobol index of a linear model.",
            "A study of the models over boxes that are choices, named with each model; inputs vary "
            "independently. Costs are a reading of this run on this machine.",
        ),
    )
    run.write_table(
        "models", summary,
        "Largest relative error of the gradient against central differences (best of several "
        "steps), seconds of a gradient over those of a forward run, rank correlation with total "
        "Sobol indices, the largest gap of ranks among inputs with at least "
        f"{config.small:.0%} of the variance, and what the shape measures say of it.",
        source=SOURCE,
    )  # fmt: skip
    run.write_figure(
        "ranks",
        report.draw_against(
            rank_frame(result),
            title="Ranks by gradient and by total Sobol index",
            x_label="place by total Sobol index, share of inputs before it",
            y_label="place by gradient, share of inputs before it",
            source=SOURCE,
        ),
        rank_frame(result),
        "A point per input; 0 is the most important. On the line both rankings agree.",
        source=SOURCE,
    )
    for reading in result:
        _write_model(run, config, reading)
    run.write_metrics(
        {
            "answer": answer(result),
            "details": details(config, result),
            "answer_figure": "ranks",
            "gradient_error": {r.model.name: max(r.error.values()) for r in result},
            "cost": {r.model.name: r.cost for r in result},
            "spearman": {r.model.name: rank_correlation(r.table, "rank_gradient") for r in result},
            "num_points": {r.model.name: r.num_points for r in result},
            "seeds": 1,
            "converged": all(r.finite and r.variance_status == "estimated" for r in result),
        }
    )


def _write_model(run: report.Run, config: Config, reading: Reading) -> None:
    model = reading.model
    row, why = largest_gap(reading.table, config.small)
    errors = ", ".join(f"{name} {value:.1e}" for name, value in reading.error.items())
    run.write_text(
        model.name,
        f"{model.name.replace('_', ' ')}: {model.output}",
        (
            f"{model.note[0].upper()}{model.note[1:]}.",
            f"Relative error of the gradient by input: {errors}. Tracing and compiling the forward "
            f"run and the gradient took {reading.compile_seconds:.1f} s; a forward run "
            f"{1e3 * reading.forward_seconds:.3f} ms, a gradient {reading.cost:.1f} of it.",
            f"Largest gap of ranks: {label(row)}, {row['rank_gradient']:.0f} by gradient and "
            f"{row['rank_sobol']:.0f} by Sobol index ({why}): interaction {row['interaction']:.3f} "
            f"of a total index of {row['total']:.3f}, sigma over mu* {row['bend']:.2f}, "
            f"{row['from_middle']:+.2f} widths from the middle of the box. The bound of the total "
            f"index by derivatives holds for {reading.bound_holds:.0%} of the inputs within the "
            "sampling error.",
        ),
    )
    bars = bar_frame(reading)
    run.write_figure(
        model.name,
        report.draw_bars(
            bars, title=f"What moves the {model.output}", x_label="share of the variance, 1",
            source=model.source,
        ),
        bars,
        f"The {bars['label'].nunique()} inputs that are first by either; bands hold 90 % of the "
        "resamples.",
        source=model.source,
    )  # fmt: skip
    run.write_table(
        f"{model.name}_inputs",
        reading.table[list(COLUMNS)].sort_values("rank_sobol").astype({"index": str}),
        f"Every input of the {model.output}, {model.unit}.",
        show=False,
        source=model.source,
    )


def bar_frame(reading: Reading) -> pd.DataFrame:
    """Share by the gradient beside the total index, of the inputs first by either."""
    table = reading.table
    best = table[["rank_gradient", "rank_sobol"]].min(axis=1)
    chosen = table.loc[best.nsmallest(MOST_BARS).index].sort_values("rank_sobol")
    rows = []
    for _, row in chosen.iterrows():
        rows.append((label(row), GRADIENT, row["linear"], np.nan, np.nan))
        rows.append((label(row), SOBOL, row["total"], row["total_low"], row["total_high"]))
    return pd.DataFrame(rows, columns=["label", "series", "value", "low", "high"])


def rank_frame(result: list[Reading]) -> pd.DataFrame:
    """Places of all inputs by both rankings, 0 to 1."""
    frames = []
    for reading in result:
        last = max(len(reading.table) - 1, 1)
        frames.append(
            pd.DataFrame(
                {
                    "actual": (reading.table["rank_sobol"] - 1) / last,
                    "forecast": (reading.table["rank_gradient"] - 1) / last,
                    "group": reading.model.name.replace("_", " "),
                    "input": [label(row) for _, row in reading.table.iterrows()],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def summary_frame(config: Config, result: list[Reading]) -> pd.DataFrame:
    """A row per model."""
    rows = []
    for reading in result:
        row, why = largest_gap(reading.table, config.small)
        rows.append(
            {
                "model": reading.model.name.replace("_", " "),
                "output": f"{reading.model.output}, {reading.model.unit}",
                "inputs": len(reading.table),
                "gradient_error": max(reading.error.values()),
                "points": reading.num_points,
                "cost": reading.cost,
                "spearman": rank_correlation(reading.table, "rank_gradient"),
                "spearman_in_middle": rank_correlation(reading.table, "rank_middle"),
                "spearman_mean_slope": rank_correlation(reading.table, "rank_mean_slope"),
                "sum_of_first": float(reading.table["first"].sum()),
                "largest_gap": f"{label(row)}: {row['rank_gradient']:.0f} by gradient, "
                f"{row['rank_sobol']:.0f} by Sobol",
                "why": why,
            }
        )
    return pd.DataFrame(rows)
