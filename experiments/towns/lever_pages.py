"""Pages of the planner: scenarios, what would have to change, policy by cluster."""

import numpy as np
import pandas as pd

from diffmig import report
from experiments.towns.config import Config
from experiments.towns.frames import scenario_frame
from experiments.towns.networks import input_names
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
            "which it suffices is given, and the changes that the networks ask for one by one. The "
            "networks know associations, no causes: an answer says where to look, not what will "
            "happen.",
            f"{int((found.status == 0).sum())} of {len(inputs.towns)} towns can reach it, "
            f"{int((found.status == 1).sum())} cannot within these bounds (the most that was found "
            f"is listed), in {int((found.status == 2).sum())} the search did not settle.",
        ),
    )
    table = lever_frame(result)
    run.write_table(
        "levers", table,
        "Least change by town, what it brings in a forward run, and the share of networks that "
        "agree; a star marks a bound.",
        units={"baseline": PERSONS, "target": PERSONS, "brings": PERSONS}, source=source,
        show=len(inputs.towns) <= 80,
    )  # fmt: skip
    bands = band_frame(result)
    run.write_table(
        "lever_bands", bands,
        "Changes in standard deviations of the cluster: answer of the ensemble, 5 and 95 % of the "
        "answers of single networks.",
        source=source, show=False,
    )  # fmt: skip
    middle = middle_frame(result)
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
        "cluster_levers", cluster_lever_frame(result),
        "Least changes, each town its own, that raise the sum of a cluster by the same share: "
        "means over its towns.",
        units={"target": PERSONS, "brings": PERSONS}, source=source,
    )  # fmt: skip
    past = past_frame(result)
    factor = inputs.names[result.outlook.networks.kept[found.past_factor]]
    first = inputs.years[result.outlook.networks.problems[0].train[0]]
    run.write_table(
        "past_effect", past,
        f"Effect of what has happened: balance of {inputs.years[-1]} less the balance had {factor} "
        f"stayed as in {first}; median and 90 % of the networks.",
        units=dict.fromkeys(("effect", "low", "high"), PERSONS), source=source,
        show=len(inputs.towns) <= 80,
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


def lever_frame(result: Result) -> pd.DataFrame:
    """A row per town."""
    found, inputs = result.levers, result.inputs
    names = input_names(result.outlook.networks, inputs)[: found.change.shape[1]]
    table: dict[str, object] = {
        "town": inputs.towns,
        "cluster": result.structure.clusters.label + 1,
        "baseline": found.baseline,
        "target": found.target,
        "brings": found.response,
        "networks_agree": found.agree,
        "answer": [("reached", "cannot be reached", "not settled")[s] for s in found.status],
    }
    for k, name in enumerate(names):
        table[name] = [
            f"{value:+.3g}{'*' if at else ''}"
            for value, at in zip(found.change[:, k], found.active[:, k], strict=True)
        ]
    return pd.DataFrame(table).sort_values(["cluster", "town"], ignore_index=True)


def band_frame(result: Result) -> pd.DataFrame:
    """A row per town and factor, in standard deviations."""
    found, inputs = result.levers, result.inputs
    names = input_names(result.outlook.networks, inputs)[: found.change.shape[1]]
    rows = [
        (
            town,
            name,
            *(part[i, k] / found.scale[i, k] for part in (found.change, found.low, found.high)),
        )
        for i, town in enumerate(inputs.towns)
        for k, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=["town", "factor", "change", "low", "high"])


def middle_frame(result: Result) -> pd.DataFrame:
    """Medians over the towns of a cluster that can reach their target."""
    found, inputs = result.levers, result.inputs
    names = input_names(result.outlook.networks, inputs)[: found.change.shape[1]]
    rows = []
    label = result.structure.clusters.label
    for cluster in range(label.max() + 1):
        some = (label == cluster) & (found.status == 0)
        if not some.any():
            continue
        parts = [
            np.median(part[some] / found.scale[some], axis=0)
            for part in (found.change, found.low, found.high)
        ]
        rows += [
            (name, f"cluster {cluster + 1}", *(p[k] for p in parts)) for k, name in enumerate(names)
        ]
    if not rows:
        rows = [(name, "no town", 0.0, 0.0, 0.0) for name in names]
    return pd.DataFrame(rows, columns=["label", "series", "value", "low", "high"])


def cluster_lever_frame(result: Result) -> pd.DataFrame:
    """A row per cluster."""
    found, inputs = result.levers, result.inputs
    names = input_names(result.outlook.networks, inputs)[: found.change.shape[1]]
    words = ("reached", "cannot be reached", "not settled")
    table: dict[str, object] = {
        "cluster": np.arange(len(found.cluster_status)) + 1,
        "target": found.cluster_target,
        "brings": found.cluster_response,
        "answer": [words[s] for s in found.cluster_status],
    }
    table |= {name: found.cluster_change[:, k] for k, name in enumerate(names)}
    return pd.DataFrame(table)


def past_frame(result: Result) -> pd.DataFrame:
    """Effect of the past change of a factor by town."""
    low, middle, high = np.quantile(result.levers.past_effect, [0.05, 0.5, 0.95], axis=0)
    table = pd.DataFrame({"town": result.inputs.towns, "effect": middle, "low": low, "high": high})
    return table.sort_values("effect", ascending=False, ignore_index=True)
