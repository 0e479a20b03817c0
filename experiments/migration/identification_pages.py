"""Pages on what the data determine, and on forecasts."""

import numpy as np

from diffmig import migration, report
from experiments.migration import frames
from experiments.migration.answers import physics
from experiments.migration.skill import skill_frame
from experiments.migration.study import Result
from experiments.migration.surrogates import STATISTICS


def write_identification(run: report.Run, result: Result, source: str) -> None:
    found = result.identification
    assert found is not None
    bound = float(migration.stiffness_bound(result.parameters))
    run.write_text(
        "identification",
        "What the data determine",
        (
            "For any strengths a force exists that fits: f := q'' + c q' + K q. They are "
            "determined only through what is assumed of the force. " + physics(result),
            f"The terms have a Gram matrix of condition {found.condition:.0f}; the stiffest period "
            f"is at least {2 * np.pi / np.sqrt(max(bound, 1e-9)):.1f} years. Surrogates: "
            "autoregressions with each place's own memory; series with the same spectra and "
            "random phases, common to all places or each its own; all through the same fit, their "
            "similarity computed anew.",
        ),
    )
    lines = frames.profile_lines(result)
    run.write_figure(
        "profiles",
        report.draw_series(
            lines, x="share", x_label="strength, share of its limit", source=source,
            y_label="log-likelihood below its maximum, 1", title="Profile likelihoods",
        ),
        lines,
        "The highest likelihood with one strength held; where a curve does not fall below the "
        "line at an end, the data do not bound the strength there.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "ends", found.ends,
        "At both ends of every interval: the force against the one above (correlation, relative "
        "size). Conclusions that flip here are none.",
        source=source,
    )  # fmt: skip
    bars = frames.surrogate_bars(result)
    run.write_table(
        "surrogates", bars,
        "Statistics of the data and of surrogates (median, 5-95 %), p: share of surrogates that "
        "reach the data's.",
        source=source,
    )  # fmt: skip
    drawn = bars[bars["statistic"].isin([STATISTICS["solution_r2"], STATISTICS["confinement"],
                                         STATISTICS["least_force_r2"]])]  # fmt: skip
    shown = drawn.rename(columns={"statistic": "label"})
    run.write_figure(
        "surrogate_comparison",
        report.draw_bars(
            shown, title="Data and series without physics", x_label="value, 1 or 1/year²",
            source=source,
        ),
        shown,
        "What surrogates reach as well is no finding about the data.",
        source=source,
    )  # fmt: skip


def write_skill(run: report.Run, result: Result, source: str) -> None:
    if result.skill is None:
        run.write_text("skill", "Forecasts", ("Too few years for an honest origin.",))
        return
    covered = ", ".join(
        f"{100 * share:.0f} % at {horizon} year{'s' if horizon > 1 else ''}"
        for horizon, share in result.skill.covered.items()
    )
    run.write_text(
        "skill",
        "Forecasts",
        (
            "From every origin everything is fitted again on the years up to it: similarity, "
            f"strengths, force. The 90 % intervals of the dynamics cover {covered}.",
        ),
    )
    run.write_table(
        "skill", skill_frame(result.skill),
        "Errors of held-out years; skill: gain in mean square error against the last value; p: "
        "Wilcoxon over places against the last value, after Holm.",
        units={"rmse": "‰ a year", "r2": "1", "skill": "1"}, source=source,
    )  # fmt: skip
