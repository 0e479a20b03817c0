"""Pages of the planner: scenarios, what would have to change, policy by cluster."""

from diffmig import report
from experiments.towns import lever_frames as frames
from experiments.towns.config import Config
from experiments.towns.frames import scenario_frame, scenario_town_frame
from experiments.towns.past import PastChange
from experiments.towns.paths import RULES
from experiments.towns.study import Result

PERSONS = "persons"


def write_levers(run: report.Run, config: Config, result: Result, source: str) -> None:
    """Scenarios, inverse question, past effect, policy."""
    _write_scenarios(run, result, source)
    found, inputs = result.levers, result.inputs
    run.write_text(
        "inverse",
        "What would have to change, and by how much",
        (
            f"For every town the smallest change of its factors (sum of squares, each in standard "
            f"deviations of its cluster) that raises its balance of {result.outlook.years[0]} by "
            f"{config.percent:g} % of its size, within what the towns of its cluster have shown in "
            "the training years. Factors that no decision moves are held: "
            f"{', '.join(n for n in config.fixed if n in inputs.names) or 'none'}.",
            "Every answer is checked by a forward run of all networks; the share of networks for "
            "which it suffices is given (about half is what to expect of an answer for their mean: "
            "ask for more per cent to have more of them agree), and the changes that the networks "
            "ask for one by one. The networks know associations, no causes: an answer says where "
            "to look, not what will happen.",
            f"{int((found.status == 0).sum())} of {len(inputs.towns)} towns can reach it, "
            f"{int((found.status == 1).sum())} cannot within these bounds (the most that was found "
            f"is listed), in {int((found.status == 2).sum())} the search did not settle.",
        ),
    )
    table = frames.lever_frame(result)
    run.write_table(
        "levers", table,
        "Least change by town, what it brings in a forward run, and the share of networks that "
        "agree; a star marks a bound.",
        units={"baseline": PERSONS, "target": PERSONS, "brings": PERSONS}, source=source,
        show=len(inputs.towns) <= 80,
    )  # fmt: skip
    bands = frames.band_frame(result)
    run.write_table(
        "lever_bands", bands,
        "Changes in standard deviations of the cluster: answer of the ensemble, 5 and 95 % of the "
        "answers of single networks.",
        source=source, show=False,
    )  # fmt: skip
    middle = frames.middle_frame(result)
    run.write_figure(
        "levers",
        report.draw_bars(
            middle, title="Least change, middle town of each cluster",
            x_label="change, standard deviations", source=source,
        ),
        middle,
        "Medians over the towns of a cluster that can reach it; lines: the middle of the networks' "
        "own 5 and 95 %.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "cluster_levers", frames.cluster_lever_frame(result),
        "Least changes, each town its own, that raise the sum of a cluster by the same share: "
        "means over its towns.",
        units={"target": PERSONS, "brings": PERSONS}, source=source,
    )  # fmt: skip
    if result.past_change is not None:
        _write_past(run, result, result.past_change, source)


def _write_past(run: report.Run, result: Result, made: PastChange, source: str) -> None:
    inputs = result.inputs
    last, since = inputs.years[-1], inputs.years[made.since]
    factor = inputs.names[made.factor]
    sure = int(((made.found.positive > 0.95) | (made.found.positive < 0.05)).sum())
    run.write_table(
        "past_effect", frames.past_frame(result, made),
        f"Effect of what has happened: balance of {last} less the balance had {factor} stayed as "
        f"in {since}, by networks that have not seen {last}. Explained is what passed through "
        f"{factor}, low and high are 5 and 95 % of it over the networks; the whole effect adds "
        "what the networks did not foresee, which has many reasons, with a band for it. The sign "
        f"of the whole is sure (95 %) in {sure} of {len(inputs.towns)} towns.",
        units=dict.fromkeys(
            ("explained", "low", "high", "whole", "whole_low", "whole_high"), PERSONS
        ),
        source=source, show=len(inputs.towns) <= 80,
    )  # fmt: skip


def _write_scenarios(run: report.Run, result: Result, source: str) -> None:
    run.write_text(
        "scenarios",
        "Scenarios",
        (
            *(f"{name.capitalize()}: {rule}." for name, rule in RULES.items()),
            "The paper describes its scenarios by inflation, finance and the state of the "
            "environment, which are not among its factors: these rules are ours.",
        ),
    )
    lines = scenario_frame(result)
    run.write_figure(
        "scenarios",
        report.draw_series(
            lines, title="Sum of all towns", y_label="balance, persons a year", source=source,
            last_training_year=int(result.inputs.years[-1]), band="5-95 % of networks",
        ),
        lines,
        "Networks end a margin beyond what they were trained on: the column outside_range of the "
        "table says how many factors have left it.",
        source=source,
    )  # fmt: skip
    towns = scenario_town_frame(result)
    run.write_table(
        "scenario_towns", towns,
        f"Balances of {result.outlook.years[-1]} by scenario, mean of the networks, and the "
        "difference from trends kept with the share of networks that agree on its sign.",
        units={name: PERSONS for name in towns.columns if not name.startswith(("town", "agree"))},
        source=source, show=len(result.inputs.towns) <= 80,
    )  # fmt: skip
