"""What the run folder shows: factors, memory, clusters, known years, years to come, levers."""

from diffmig import evaluate, report
from experiments.towns import frames, structure_frames
from experiments.towns.answers import answer, details, kept_words
from experiments.towns.claims import ledger_entries
from experiments.towns.config import Config
from experiments.towns.lever_pages import PERSONS, write_levers
from experiments.towns.network_pages import write_networks
from experiments.towns.policy_pages import write_policy
from experiments.towns.retrospective import HONEST
from experiments.towns.scores import score_frame
from experiments.towns.study import Result

PAPER = "Mishchenko, Krayushkin, Mezhov, Bianchi (2024)"


def write(run: report.Run, config: Config, result: Result) -> None:
    """Tables, figures, ledger and metrics."""
    source = result.inputs.source
    _write_factors(run, config, result, source)
    _write_clusters(run, result, source)
    _write_known_years(run, config, result, source)
    _write_outlook(run, config, result, source)
    write_networks(run, result, source)
    write_levers(run, config, result, source)
    write_policy(run, result, source)
    if result.inputs.truth is not None:
        run.write_ledger(evaluate.ledger_frame(list(ledger_entries(result))))
    scores = score_frame(result.inputs, result.past).set_index("method")
    run.write_metrics(
        {
            "answer": answer(config, result),
            "details": details(result),
            "answer_figure": "levers",
            **{kind: scores[kind].astype(float).to_dict() for kind in ("accuracy", "mae")},
            "networks_tried": int(result.past.honest.search.train_error.shape[1]),
            "seeds": config.keep,
            "converged": float((result.levers.status < 2).mean()),
        }
    )


def _write_factors(run: report.Run, config: Config, result: Result, source: str) -> None:
    inputs, found = result.inputs, result.memory
    left = "; ".join(f"{town}: {reason}" for town, reason in inputs.left_out[:20])
    notes = [f"Note: {text}." for text in inputs.note]
    notes += [f"Left out: {left}."] if left else []
    run.write_text(
        "factors",
        "Factors",
        (
            f"{len(inputs.towns)} towns, {inputs.years[0]}-{inputs.years[-1]}, "
            f"{len(inputs.names)} factors. Correlations inside towns (deviations from the town's "
            f"mean) tell what changes with the balance; rule {config.screening} at 5 %. "
            + kept_words(result),
            "As described, the sums over towns are correlated with the means of the factors, one "
            "row a year, without a correction for the number of factors. Years of a town are not "
            "independent, so that even inside towns too many factors pass.",
            *notes,
        ),
    )
    run.write_table(
        "screening", structure_frames.screening_frame(result),
        "Correlation with the balance, 95 % interval and p-value adjusted for the number of "
        "factors; beside it the national series and what its critical value keeps.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "memory", structure_frames.memory_frame(result),
        "Autocorrelation of the balances: mean over towns by lag, by pairs of years and by the "
        "usual biased estimator with the most it can reach. The window ends before the first lag "
        "at which no more towns pass than chance explains: "
        f"{found.window.lag} years here, {found.as_described.lag} as described.",
        units={"lag": "years"}, source=source,
    )  # fmt: skip


def _write_clusters(run: report.Run, result: Result, source: str) -> None:
    inputs, made = result.inputs, result.structure.clusters
    truth = result.recovery
    known = (
        f" The clusters that were built into the panel are found with an adjusted Rand index of "
        f"{truth.rand_index:.2f}."
        if truth is not None
        else ""
    )
    run.write_text(
        "clusters",
        "Clusters",
        (
            "Towns are grouped by their mean rate and the means of the kept factors, standardised: "
            f"tree by Ward's rule, then k-means.{known}",
            "A silhouette near 1 means well apart, near 0 on a border. The distance is the root "
            "mean square per factor: with standardised factors it is near 1 even without any "
            "clusters, so that a distance below 1 proves nothing.",
        ),
    )
    if len(inputs.towns) <= 80:
        table = structure_frames.cluster_frame(result)
        run.write_figure(
            "tree",
            report.draw_tree(
                made.tree, inputs.towns, [int(x) for x in made.label],
                title="Tree of towns", x_label="distance, 1", source=source,
            ),
            table,
            "Who joins whom; colours are the clusters of k-means.",
            source=source,
        )  # fmt: skip
    run.write_table(
        "number_of_clusters", structure_frames.number_frame(result),
        "Silhouette, squared distances, and agreement (adjusted Rand index, median and quartiles) "
        "with the clusters of towns drawn anew.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "towns", structure_frames.cluster_frame(result), "Clusters of the towns.",
        units={"mean_rate": inputs.unit}, source=source, show=len(inputs.towns) <= 80,
    )  # fmt: skip


def _write_known_years(run: report.Run, config: Config, result: Result, source: str) -> None:
    inputs, past = result.inputs, result.past
    years = ", ".join(str(inputs.years[y]) for y in past.years)
    run.write_text(
        "known_years",
        "Known years, forecast",
        (
            f"{years}, each from the years before it. As described: {config.training_years} years "
            "train, the test year itself stops the training and picks the networks, clusters and "
            "factors have seen all years, and accuracy is that of the picked year. The year after "
            "is what such networks can do.",
            f"Honest: up to {config.honest_years} years train, networks are picked by training "
            "years left out, factors and clusters come from the years before the first test year, "
            "and the factors of the test year are forecast by their own trends (factors given: "
            "their actual values).",
            "Accuracy is 1 - mean |error| / mean |balance|: the paper gives no formula. p-values: "
            "signed ranks over towns, after Holm.",
        ),
    )
    run.write_table(
        "scores", score_frame(inputs, past),
        "All test years together.",
        units=dict.fromkeys(("mae", "rmse", "bias"), PERSONS), source=source,
    )  # fmt: skip
    run.write_table(
        "accuracy", frames.accuracy_frame(result), "By cluster and year.", source=source, show=False
    )
    run.write_table(
        "optimism", frames.optimism_frame(result),
        "Root mean square errors of the kept networks on the rows that trained them, those that "
        "picked them, and the test year (the same as picked, as described).",
        units={"training_rmse": "own unit", "selection_rmse": "own unit", "test_rmse": "own unit"},
        source=source,
    )  # fmt: skip
    for cluster in range(result.structure.clusters.label.max() + 1):
        table = frames.against_frame(result, cluster)
        run.write_figure(
            f"cluster_{cluster + 1}",
            report.draw_against(
                table, title=f"Cluster {cluster + 1}: forecast against actual",
                x_label="actual balance, persons a year", y_label="forecast, persons a year",
                source=source,
            ),
            table,
            "Left the year that picked the networks, right a year they have not seen.",
            source=source,
        )  # fmt: skip


def _write_outlook(run: report.Run, config: Config, result: Result, source: str) -> None:
    ahead, inputs = result.outlook, result.inputs
    run.write_text(
        "outlook",
        "Years to come",
        (
            "Factors continue their own damped trends. The interval adds the scatter of the "
            f"{config.keep} networks and the error of the known years ({ahead.error:.2f} "
            f"{inputs.unit}, protocol: {HONEST}), which grows with the square root of the years "
            "ahead: a rule of ours.",
        ),
    )
    lines = frames.town_lines(result)
    run.write_figure(
        "forecasts",
        report.draw_grid(
            lines, title="Balances of some towns", y_label="balance, persons a year",
            source=source, last_training_year=int(inputs.years[-1]), band="90 % interval",
        ),
        lines,
        "Towns with the largest gains and losses.",
        source=source,
    )  # fmt: skip
    table = frames.forecast_frame(result)
    run.write_table(
        "forecast", table, "Forecast balances with factor trends kept, in the form of table 4.",
        units=dict.fromkeys(table.columns.drop(["town", "cluster"], errors="ignore"), PERSONS),
        source=source, show=len(inputs.towns) <= 80,
    )  # fmt: skip
