"""Pages on the assumptions and on the inverse question."""

from diffmig import explain, report
from experiments.chain import frames
from experiments.chain.config import LABEL, Config
from experiments.chain.study import Result


def write_assumptions(run: report.Run, config: Config, result: Result, source: str) -> None:
    frame = frames.assumption_frame(config, result)
    run.write_table(
        "assumptions", frame,
        f"Every varied number, and its total Sobol index, %, from {config.num_pairs} pairs of "
        "scrambled Sobol points: the share of the variance that would be left if all but it were "
        "known. Not varied: income share and income of the country, which the neutral rate takes "
        "up where the gap is a logarithm.",
        units=dict.fromkeys(frames.INDEXED, "%"), source=source,
    )  # fmt: skip
    bars = frames.share_bars(result)
    run.write_figure(
        "variance",
        report.draw_bars(
            bars, title=f"What the effects owe to each assumption, {LABEL}",
            x_label="total Sobol index, %", source=source,
        ),
        bars,
        "Total indices with 5-95 % of a bootstrap. All numbers but the start rate are assumed.",
        source=source,
    )  # fmt: skip


def write_least(run: report.Run, config: Config, result: Result, source: str, prices: str) -> None:
    least = result.least
    total = least.change.sum()
    words = (
        f"{total / 1e3:.1f} bn RUB over {config.last_year + 1}-{config.horizon} lift the balance "
        f"of {config.horizon} by {least.attained:.0f} persons a year (forward run): "
        f"{total / least.attained:.0f} million RUB per person."
        if least.status == 0
        else f"{explain.PATH_STATUS[least.status]}."
    )
    run.write_text(
        "least",
        f"Least spending that lifts the balance by {config.lift:g} persons a year",
        (
            f"{words} All movable lines at their bound of +{100 * config.lift_bound:g} % lift it "
            f"by {least.most:.0f}. Under the default assumptions; a {LABEL}.",
        ),
    )
    run.write_table(
        "least", frames.least_frame(config, result),
        f"Rises of spending by line, million RUB ({prices}), and their share of it.",
        units={"sum": "million", "share_of_spending": "%"}, source=source,
    )  # fmt: skip
