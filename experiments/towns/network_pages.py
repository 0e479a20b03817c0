"""Pages on what the networks make of the factors."""

from diffmig import report
from experiments.towns import explanation_frames as frames
from experiments.towns.study import Result


def write_networks(run: report.Run, result: Result, source: str) -> None:
    """Shapley values, elasticities, graph of a network, the known truth."""
    unit = result.inputs.unit
    words = [
        "Exact Shapley values divide each town's forecast rate of the last year among the factors, "
        "against the training rows of its cluster. They describe the networks, not causes.",
    ]
    found = result.recovery
    if found is not None:
        words.append(
            f"Of the {found.num_matter} factors that matter in the synthetic panel "
            f"{found.factors_found} are kept, and {found.factors_wrong} that do not. The networks' "
            "derivatives by those that matter correlate with the true ones by "
            f"{found.slope_correlation:.2f}. Against the truth without noise the honest forecasts "
            f"miss by {found.truth_error:.0f} persons (root mean square); the noise of the "
            f"observations is {found.noise:.0f}."
        )
    run.write_text("networks", "What the networks see", words)
    table = frames.shapley_frame(result)
    run.write_figure(
        "shapley",
        report.draw_bars(
            table, title="Mean size of the Shapley values", x_label=f"effect, {unit}", source=source
        ),
        table,
        "Over the towns of each cluster; bars end at 5 and 95 % of the networks.",
        source=source,
    )
    run.write_table(
        "elasticities", frames.elasticity_frame(result),
        "Change of the rate by 1 % more of a factor: the middle town of each cluster, 90 % of the "
        "networks.",
        units=dict.fromkeys(("effect", "low", "high"), unit), source=source,
    )  # fmt: skip
    cluster = int(result.structure.clusters.label.max())
    graph = frames.network_frame(result, cluster)
    run.write_figure(
        "network",
        report.draw_network(
            graph, title=f"Best network of cluster {cluster + 1}", output="balance", source=source
        ),
        graph,
        "Width by weight of standardised values; blue raises, red lowers.",
        source=source,
    )
