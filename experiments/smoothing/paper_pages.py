"""The paper's example and tables in the run folder."""

import numpy as np
import pandas as pd

from diffmig import report
from experiments.smoothing.example import ACTUAL_25, Example
from experiments.smoothing.unevenness import Unevenness

PAPER = "Chagovets et al. 2020, CEUR-WS 2649, paper 6"


def write_example(run: report.Run, example: Example) -> None:
    source = f"{PAPER}, table 1; this run"
    run.write_text(
        "example",
        "Selective smoothing: the paper's example",
        (
            "Monthly mean wage in the Kharkiv region, SES with alpha 0.9, Holt with 0.9 and 0.7. "
            "The first 14 values are not printed, so figures 1 to 3 can be redrawn from period 15 "
            "on only; SES starts from its printed forecast, Holt from the level and trend that the "
            "printed columns imply.",
            f"The paper's selective column picks each winner with the value it forecasts: "
            f"{example.bounds[0]:.3f} % is a bound, not a forecast error (4.569 % is printed). "
            f"Rules that see the past only score "
            f"{min(example.rules.values()):.3f} to {max(example.rules.values()):.3f} %, always SES "
            f"{example.mape('SES'):.3f} %: on these ten rows no honest rule beats plain SES.",
            f"Period 25: SES {example.forecast['SES']:.2f}, Holt {example.forecast['Holt']:.2f}, "
            f"actual {ACTUAL_25:.0f} UAH.",
        ),
    )
    table = example_frame(example)
    run.write_table(
        "example", table, "Tables 1 and 2 recomputed: one-step forecasts and errors.",
        units={"actual": "UAH", "ses": "UAH", "ses_error": "%", "holt": "UAH", "holt_error": "%"},
        source=source,
    )  # fmt: skip
    lines = example_lines(example)
    run.write_figure(
        "example",
        report.draw_series(
            lines, title="Mean wage, Kharkiv region", y_label="wage, UAH", source=source,
            x="period", x_label="period, months from January 2016",
        ),
        lines,
        "Figures 1 to 3 and 6 of the paper, from period 15 on.",
        source=source,
    )  # fmt: skip
    rules = rules_frame(example)
    run.write_figure(
        "example_rules",
        report.draw_bars(
            rules, title="One-step MAPE, periods 15-24", x_label="MAPE, %", source=source,
            reference=("printed for the selective model", 4.569),
        ),
        rules,
        "Figure 7 of the paper from its own rows: base models, rules that know only the past, and "
        "the best and worst choice with hindsight.",
        source=source,
    )  # fmt: skip
    influence = influence_frame(example)
    run.write_figure(
        "example_influence",
        report.draw_bars(
            influence, title="Influence of each month on the forecast of period 25",
            x_label="change of the forecast per UAH, 1", source=source,
        ),
        influence,
        "Gradient of the forecast by every value. SES: 0.9 times 0.1 per month back. Holt: the "
        "last month counts more than once, the one before against it.",
        source=source,
    )  # fmt: skip


def write_unevenness(run: report.Run, unevenness: Unevenness) -> None:
    source = f"{PAPER}, tables 3 to 5; this run"
    growth = unevenness.mean_growth
    run.write_text(
        "unevenness",
        "Unevenness of regions",
        (
            "Mean growth factor over the printed indicators and years: "
            + ", ".join(f"{name} {value:.3f}" for name, value in growth.items())
            + ".",
            "Two-group k-means of the z scores of tables 3 and 4 puts into the group with higher "
            f"means: {', '.join(unevenness.group)}.",
        ),
    )
    run.write_table(
        "inequality", unevenness.inequality,
        "Inequality of the printed forecasts over 24 regions; no Gini or Theil where an indicator "
        "has negative values. The figure for x51 of Chernivtsi is a suspect print.",
        units={"gini": "1", "cv": "1", "theil": "1"}, source=source,
    )  # fmt: skip
    states = unevenness.states
    if states is None:
        return
    munnell = "Munnell 1990, 48 US states 1970-1986; this run"
    run.write_table(
        "states_growth", states.growth,
        "Forecast growth factors of US states, made from the years up to 1984 (table 5 form).",
        show=False, source=munnell,
    )  # fmt: skip
    run.write_table(
        "states", states.mape, "Mean MAPE of the two forecast years over the states.",
        units={"selective": "%", "naive": "%"}, source=munnell,
    )  # fmt: skip
    grp = states.path[states.path["indicator"] == "grp"]
    run.write_figure(
        "states_inequality",
        report.draw_grid(
            grp, title="Inequality of gross state product", source=munnell, common_scale=False,
            last_training_year=1984,
        ),
        grp,
        "Measured, and of the forecasts of the last two years.",
        source=munnell,
    )  # fmt: skip


def example_frame(example: Example) -> pd.DataFrame:
    """Tables 1 and 2 of the paper, recomputed."""
    return pd.DataFrame(
        {
            "period": [*example.periods, 25],
            "actual": [*example.actual, np.nan],
            "ses": [*example.fitted["SES"], example.forecast["SES"]],
            "ses_error": [*example.percent["SES"], np.nan],
            "holt": [*example.fitted["Holt"], example.forecast["Holt"]],
            "holt_error": [*example.percent["Holt"], np.nan],
            "better_in_hindsight": [*example.chosen, ""],
        }
    )


def rules_frame(example: Example) -> pd.DataFrame:
    """One-step MAPE of rows 15 to 24: base models, honest rules, the hindsight bound."""
    rows = [("always " + name, "base model", example.mape(name)) for name in example.fitted]
    rows += [(name, "honest rule", value) for name, value in example.rules.items()]
    rows.append(("best of each row", "hindsight bound", example.bounds[0]))
    rows.append(("worst of each row", "hindsight bound", example.bounds[1]))
    return pd.DataFrame(rows, columns=["label", "series", "value"])


def example_lines(example: Example) -> pd.DataFrame:
    """Figures 1, 2, 3 and 6 as far as their data are printed: rows 15 to 25."""
    parts = [("actual", "actual", example.periods, example.actual)]
    ahead = np.append(example.periods, 25)
    for name, made in example.fitted.items():
        parts.append((name, "forecast", ahead, np.append(made, example.forecast[name])))
    chosen = np.where(example.chosen == "Holt", example.fitted["Holt"], example.fitted["SES"])
    parts.append(("selective, hindsight", "fitted", example.periods, chosen))
    frames = [
        pd.DataFrame({"series": series, "kind": kind, "period": when, "value": value})
        for series, kind, when, value in parts
    ]
    return pd.concat(frames, ignore_index=True)


def influence_frame(example: Example) -> pd.DataFrame:
    """Change of the forecast of period 25 per unit of each value."""
    return pd.concat(
        [
            pd.DataFrame({"label": [f"period {p}" for p in example.periods], "value": slope})
            .assign(series=name)
            for name, slope in example.influence.items()
        ],
        ignore_index=True,
    )  # fmt: skip
