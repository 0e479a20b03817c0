"""Pages on regressions of the force, Shapley shares, and scenarios."""

import numpy as np

from diffmig import explain, report
from experiments.migration import explanation_frames as tables
from experiments.migration import frames
from experiments.migration.config import Config
from experiments.migration.explanation import PRIMARY, Explanation
from experiments.migration.scenarios import Scenario
from experiments.migration.study import Result


def write_explanation(run: report.Run, config: Config, result: Result, source: str) -> None:
    """Scores, significance, shares, scenario; a line where there are no features."""
    found = result.explanation
    if found is None:
        run.write_text(
            "explanation", "Explanation",
            ("No features: name columns of the data by --config.features.",),
        )  # fmt: skip
        return
    run.write_text(
        "explanation",
        "What explains the force",
        (
            "The yearly force is regressed on features of the year before "
            f"({', '.join(found.names)}), rows weighted by how well the force is known. Scores "
            "are of places, or years, that a fit has not seen; the force of a year is smoothed "
            "over its neighbours, so the split by years is a test of the explanation, not of a "
            "forecast.",
            "Shapley values of the force are carried through the solver: each feature has an exact "
            "share of every balance. All of this is association, not cause"
            + _unfounded(result)
            + ".",
        ),
    )
    run.write_table(
        "scores", tables.score_frame(result),
        "R2 of all rows, of deviations from the place's mean, of the places' means, and what the "
        "places' own means would reach.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "significance", tables.significance_frame(result),
        f"A new split by place and a new seed in each of {config.num_runs} runs; standard errors "
        "as if the runs were independent, and corrected (Nadeau, Bengio 2003); p from permuted "
        "histories.",
        source=source,
    )  # fmt: skip
    lines = tables.share_lines(result)
    place = result.inputs.places[result.scenario.place] if result.scenario else ""
    run.write_figure(
        "shares",
        report.draw_series(
            lines, title=f"Shares of the balance of {place}", y_label="balance, ‰ a year",
            source=source,
        ),
        lines,
        f"Parts of the balance by the {PRIMARY} regression; they sum to the black line.",
        source=source,
    )  # fmt: skip
    if result.scenario is not None:
        _write_scenario(run, config, result, found, result.scenario, source)


def _unfounded(result: Result) -> str:
    table = tables.significance_frame(result).set_index("regressor")
    mean, p = (float(table[name][PRIMARY]) for name in ("mean_r2", "p_value"))
    if mean > 0 and p < 0.05:
        return ""
    return (
        ", and here not even that: the regression does not beat the mean on places it has not "
        "seen, so shares and scenarios show what the method does, not what to expect"
    )


def _write_scenario(
    run: report.Run,
    config: Config,
    result: Result,
    found: Explanation,
    made: Scenario,
    source: str,
) -> None:
    inputs = result.inputs
    place, factor = inputs.places[made.place], found.names[made.factor]
    persons = float(inputs.scale[made.place])
    own, spill = made.effect.own[made.place], made.effect.spill_over
    others = np.delete(spill[:, -1] * inputs.scale, made.place).sum()
    last = int(inputs.years[-1])
    changes = ", ".join(
        f"{name} {float(x):+.3g}" for name, x in zip(found.names, made.least.change, strict=True)
    )
    status = explain.CHANGE_STATUS[int(made.least.status)]
    sign = "agrees in sign with" if made.share * own[-1] >= 0 else "is opposite in sign to"
    run.write_text(
        "scenario",
        "Scenarios",
        (
            f"{place}, {factor} changed by {made.shift:+.3g} from {found.years[0]} on"
            f"{'' if made.allowed else ' (cut to what any place has shown)'}: its balance at the "
            f"end of {last} moves by {own[-1] * persons:+.0f} persons a year "
            f"[{made.low[0, -1] * persons:+.0f}, {made.high[0, -1] * persons:+.0f}: places drawn "
            f"again], {made.effect.cumulated[made.place, -1] * persons:+.0f} persons in all; all "
            f"other places together by {others:+.1f}. The factor's Shapley share of the balance "
            f"there is {made.share * persons:+.0f} persons a year, which {sign} the effect of the "
            "change.",
            f"The other way round: to lift that balance by {made.target * persons:.0f} persons a "
            f"year by the end of {last}, the least change in standard deviations is {changes} "
            f"({status}; a forward run gives {made.reached * persons:+.0f}).",
        ),
    )
    places = frames.scenario_map(result)
    run.write_figure(
        "scenario_map",
        report.draw_places(
            places, title=f"Effect of {factor} in {place} on all balances", names=(place,),
            value_label="change of the balance, per million a year", source=source,
        ),
        places,
        "Own effect, and what spills over to the other places.",
        source=source,
    )  # fmt: skip
