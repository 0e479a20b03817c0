"""Pages on marginal values and on the cheapest way to a target."""

from diffmig import explain, report
from experiments.human_capital import frames
from experiments.human_capital.config import Config
from experiments.human_capital.study import Result


def write_values(run: report.Run, config: Config, result: Result, source: str) -> None:
    """Table and picture of dH(T) / dE, and both ways to the target."""
    worth, years = result.worth, result.inputs.years
    last = int(years[-1])
    marginal = frames.marginal_frame(result)
    paths = [
        f"{label}: {explain.PATH_STATUS[int(path.status)]}"
        + (
            f" with {float(path.change.sum()) / 1e3:.1f} bn more; a forward run of the model "
            f"gives {reached / 1e3:.2f} bn"
            if not int(path.status)
            else f"; all bounds together give {reached / 1e3:.2f} bn"
        )
        for label, path, reached in (
            ("Cheapest", worth.cheapest, worth.reached[0]),
            ("with costs that grow with the rise", worth.smooth, worth.reached[1]),
        )
    ]
    run.write_text(
        "values",
        "What a million is worth",
        (
            f"dH({last}) / dE of every line and year, by reverse differentiation through the "
            "model; the adjoint identity and a finite change agree (see the identities). H is "
            "linear in spending, so these values hold for changes of any size. A million is worth "
            "no more than its component's share alpha (at most "
            f"{float(result.parameters.shares.max()):.2f} here) where all count. Within a year "
            "lines differ by that share and by how many of those whom they reach are there and "
            "count at the end. The last year counts by half, because H is taken in its middle.",
            f"Target: H of {last} {100 * config.target_growth:g} % above its course "
            f"({worth.target / 1e3:.2f} bn), by spending of {years[worth.path_years[0]]}-{last}, "
            f"no line more than {100 * config.target_bound:g} % above its amount of the year, "
            f"none of the payers {', '.join(config.frozen_payers) or '(no one)'} moved. "
            + "; ".join(paths)
            + ".",
        ),
    )
    shown = marginal.rename(columns={"value": "marginal"}).assign(value=marginal["value"])
    shown = shown[["line", "year", "value"]]
    run.write_figure(
        "marginal_values",
        report.draw_map(
            shown, title=f"Marginal value of spending for H of {last}", x="year", y="line",
            x_label="year", source=source,
            value_label="million of H per million spent, 1",
        ),
        shown,
        f"What a million more in each line and year adds to human capital of {last}.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "marginal_values", marginal,
        "Marginal values and elasticities by line and year.", show=False,
        units={"spending": "million", "value": "1", "elasticity": "1"}, source=source,
    )  # fmt: skip
    by_year = marginal[marginal["year"] == int(years[worth.path_years[0]])]
    run.write_table(
        "marginal_year", by_year.drop(columns="year"),
        f"The same for {years[worth.path_years[0]]}.",
        units={"spending": "million", "value": "1", "elasticity": "1"}, source=source,
    )  # fmt: skip
    path = frames.path_frame(result)
    run.write_table(
        "path", path,
        f"Spending of {years[worth.path_years[0]]}-{last} and its rises on the two ways to the "
        "target, million.",
        source=source,
    )  # fmt: skip
