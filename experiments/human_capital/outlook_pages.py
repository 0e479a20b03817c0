"""Pages on the investment network and on assumptions."""

import numpy as np
import pandas as pd

from diffmig import fit, report
from experiments.human_capital import network_frames
from experiments.human_capital.assumptions import WEAR_SWEEP
from experiments.human_capital.config import Config
from experiments.human_capital.investment import PRIMARY, RULES, Investment
from experiments.human_capital.study import Result


def write_investment(
    run: report.Run, config: Config, result: Result, made: Investment, source: str
) -> None:
    """Figures 5-8, hold-outs and in-sample deviations."""
    known = list(result.inputs.indicator_names)
    ended = "; ".join(
        f"{label}: {int((np.asarray(made.fits[rule].status) == 0).sum())} of {config.num_seeds} "
        "runs ended well"
        for rule, label in RULES.items()
    )
    margin = fit.PerceptronConfig().output_margin
    run.write_text(
        "investment",
        "Investment and its forecast",
        (
            "The paper's network (two hidden layers, sigmoids of one slope, outputs of this year "
            "from the inputs of the last) trained per sample as described and in batches; "
            f"{config.num_seeds} runs each. Inputs: the sums of spending themselves and "
            f"{', '.join(known) or 'nothing else'}. Of the paper's eight indicators only GRP is "
            "printed; money income, output per head, housing, crimes, natural increase, mortality "
            "at working age and the minimum income are missing."
            if config.replicate
            else "Sums of spending forecast by a network from their last values and "
            f"{', '.join(known) or 'nothing else'}; {config.num_seeds} runs.",
            "Of the years between printed ones only interpolated figures exist, so that a small "
            "deviation in the sample says nothing. Hold-outs are scored on printed years alone, "
            "with everything, also the interpolation, made without the later figures. A sigmoid "
            "output cannot leave its training range widened by "
            f"{100 * margin:g} %: the network cannot follow growth far. {ended}.",
        ),
    )
    lines = network_frames.investment_lines(result, made)
    run.write_figure(
        "investment",
        report.draw_grid(
            lines, title="Spending and its forecast", source=source, common_scale=False,
            last_training_year=int(result.inputs.years[-1]), columns=1,
        ),
        lines,
        f"Budget and private spending (figures 5-7), {RULES[PRIMARY]}, medians and 5-95 % of runs.",
        source=source,
    )  # fmt: skip
    errors = network_frames.convergence_lines(made)
    run.write_figure(
        "convergence",
        report.draw_series(
            errors, title="Training error", y_label="error (23), %", x="epoch",
            x_label="epoch, 1", source=source, log_y=True,
        ),
        errors,
        "Training error (23) against passes over the samples (figure 8).",
        source=source,
    )  # fmt: skip
    if result.hold_outs:
        run.write_table(
            "hold_outs", network_frames.hold_out_frame(result.hold_outs),
            "MAPE over all sums of spending on printed years after the last one known; medians and "
            "5-95 % of runs. Conditional: actual indicators given; honest: forecast too. Naive "
            "rules see what the honest ones see.",
            units={"mape": "%", "low": "%", "high": "%"}, source=source,
        )  # fmt: skip
    run.write_table(
        "deviations", network_frames.deviation_frame(made),
        "Deviation (24) inside the sample, medians of runs.",
        units={"all_years": "%", "printed_years": "%"}, source=source,
    )  # fmt: skip


def write_assumptions(
    run: report.Run,
    config: Config,
    assumptions: pd.DataFrame,
    participation: pd.DataFrame,
    source: str,
) -> None:
    """What the result owes to each assumption."""
    shaped = participation[
        (participation["counted"] == "working-age")
        & (participation["minimum"] == config.minimum_year)
    ]
    run.write_text(
        "assumptions",
        "What is assumed",
        (
            "Each assumption is changed alone; once with the parameters of the base, once with "
            "parameters found anew from the same two anchors.",
            "Counting only men of 16-59 and women of 16-54, scaled to labour resources, which "
            "shrink, "
            + (
                f"no wear rate of {', '.join(map(str, WEAR_SWEEP))} a year gives a minimum in "
                f"{config.minimum_year} and the level of {config.per_head_year} together."
                if shaped.empty
                else f"gives the published shape for nu = {shaped['wear_rate'].tolist()}."
            ),
        ),
    )
    units = {
        "wear_rate": "1/year", "initial_factor": "1", "per_head": "thousand",
        "growth_before": "% a year", "growth_after": "% a year",
    }  # fmt: skip
    run.write_table(
        "assumptions", assumptions,
        f"H per inhabitant {config.per_head_year}, year of the lowest H, mean growth from "
        f"{config.minimum_year} to 2013 and from 2013 on.",
        units=units, source=source,
    )  # fmt: skip
    run.write_table(
        "participation", participation,
        "Initial factor that meets the level for each wear rate, and the shape that results.",
        units=units, source=source,
    )  # fmt: skip
