"""What the run folder shows: the course, the effects of a million, who makes the variance."""

import textwrap

import pandas as pd
from matplotlib.figure import Figure

from diffmig import report
from experiments.chain import frames
from experiments.chain.assumption_pages import write_assumptions, write_least
from experiments.chain.config import LABEL, Config
from experiments.chain.study import Result

BAND = "5–95 % of assumptions"
LABEL_WIDTH, WORDS_WIDTH = 22, 46  # characters that fit
# column of the effects: number of its index, what it is, unit
SHOWN = {
    "grp": (0, "GRP", "million RUB per million spent"),
    "balance": (1, "the balance", "persons a year per bn RUB"),
}


def write(run: report.Run, config: Config, result: Result) -> None:
    """Tables, figures and metrics."""
    source = f"this run, a {LABEL}; bundled tables of the Udmurt Republic"
    prices = f"prices of {config.last_year}"
    effects = frames.effect_frame(config, result)
    _write_course(run, config, result, source, prices)
    _write_effects(run, config, result, effects, source, prices)
    write_assumptions(run, config, result, source)
    write_least(run, config, result, source, prices)
    run.write_metrics(
        {
            "answer": answer(config, effects),
            "details": details(config, result, effects),
            "answer_figure": f"grp_of_{config.last_year + 1}",
            "label": LABEL,
            "gradient_error": result.gradient_error,
            "converged": float(result.gradient_error < 1e-6 and frames.all_sound(result)),
            "sets_of_assumptions": config.num_points,
            "model_runs_for_indices": config.num_pairs * (len(result.indices.total) + 2),
            "growth_2018_2023": {"chain": result.past[0], "real": result.past[1]},
            "seeds": "scrambled Sobol points of one key",
        }
    )


def answer(config: Config, effects: pd.DataFrame) -> str:
    """The smallest and the largest effect, in one sentence."""
    low, top = _extremes(config, effects, "grp")
    return (
        f"In a {LABEL}, a million RUB more in one line of the region's budget in one year before "
        f"{config.horizon} lifts GRP of {config.horizon} by {low['grp']:.2f} ({low.line}, "
        f"{low.year}) to {top['grp']:.2f} million RUB ({top.line}, {top.year})."
    )


def _extremes(config: Config, effects: pd.DataFrame, name: str) -> tuple[pd.Series, pd.Series]:
    """Rows of the smallest and the largest effect of what the region decides; without the last
    year, whose spending counts for half a year."""
    own = effects[effects["decidable"] & (effects["year"] < config.horizon)]
    return own.iloc[own[name].argmin()], own.iloc[own[name].argmax()]


def details(config: Config, result: Result, effects: pd.DataFrame) -> str:
    """The smallest and the largest effects with their bands, and what the bands are due to."""
    parts = {
        name: [
            f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}] "
            f"({row.line}, {row.year})"
            for row in _extremes(config, effects, name)
        ]
        for name in ("grp", "balance")
    }
    made, real = result.past
    grp, balance = parts["grp"], parts["balance"]
    return (
        f"A {LABEL}. One million RUB (prices of {config.last_year}) more in one line of the "
        f"region's budget in one year before {config.horizon} lifts GRP of that year by {grp[0]} "
        f"to {grp[1]} million RUB and its migration balance by {balance[0]} to {balance[1]} "
        "thousandths of a person; in brackets 5-95 % over the assumptions. "
        f"{frames.variance_words(result, 1)} (effect on the balance). The same chain from "
        f"2018 makes GRP of 2023 {made:.2f} times that of 2018 where the table has {real:.2f}: it "
        "says what follows from what, not what comes."
    )


def _write_course(
    run: report.Run, config: Config, result: Result, source: str, prices: str
) -> None:
    run.write_text(
        "chain",
        f"One chain: {LABEL}",
        (
            "Budget lines build human capital by age; with fixed assets and labour it makes GRP, "
            "Y = A K^a (L H / N)^(1 - a); a share of it per head is real income; the gap to the "
            "country's income is an external force on one damped migration balance; people by age "
            "follow from births, deaths and the balance, and enter human capital and labour of "
            "later years. Spending comes from outside: nobody pays for it in the chain, and it "
            "creates no demand.",
            f"From the tables: spending to {result.inputs.budget.years[-1]} (then held, "
            f"{config.spending_growth.value:+.0%} a year), GRP, fixed assets and labour to "
            f"{config.last_year}, ages and totals to 2020, balances of 2012-2015. "
            f"{result.inputs.fits}. Money is in {prices} (national GDP deflator).",
            f"What the tables identify: A (GRP of {config.last_year} is met), the neutral rate "
            "(the balance would rest at the gap of that year), the investment share for a given "
            "depreciation, mortality and fertility of the past. The response to income, period and "
            "damping are not identified: four balances, and no income of the country beside them.",
        ),
    )
    lines = frames.course_lines(config, result)
    run.write_figure(
        "course",
        report.draw_grid(
            lines, title=f"Baseline to {config.horizon}, {LABEL}", source=source,
            common_scale=False, columns=1, band=BAND,
        ),
        lines,
        f"Default assumptions and 5-95 % over {config.num_points} sampled sets, {prices}. Of the "
        "migration balance only 2012-2015 are published; it starts from their mean. Population "
        f"after {result.inputs.counted} is held to {config.last_year}.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "checks", frames.check_frame(config, result),
        "Identities, gradients, and the chain against years that came: it is no forecaster.",
        source=source,
    )  # fmt: skip


def _write_effects(
    run: report.Run,
    config: Config,
    result: Result,
    effects: pd.DataFrame,
    source: str,
    prices: str,
) -> None:
    first = int(effects["year"].iloc[0])
    for name, (_, what, unit) in SHOWN.items():
        cells = effects[["line", "year"]].assign(value=effects[name])
        run.write_figure(
            f"{name}_by_year",
            report.draw_map(
                cells, title=f"Effect on {what} of {config.horizon}, {LABEL}",
                x="year", y="line", x_label="year", value_label=f"effect, {unit}", source=source,
            ),
            cells,
            f"One million RUB ({prices}) more in each line and year, default assumptions. Spending "
            f"of {config.horizon} counts for half a year, because capital is taken in the middle.",
            source=source,
        )  # fmt: skip
        drawn, bars = effect_bars(config, result, effects, name, source)
        run.write_figure(
            f"{name}_of_{first}", drawn, bars,
            f"Medians and 5-95 % over {config.num_points} sets of assumptions; who makes the "
            "variance stands on the figure, for the line "
            f"{result.inputs.budget.lines[result.reference[0]]}.",
            source=source,
        )  # fmt: skip
    run.write_table(
        "effects", effects,
        f"Effects of one million RUB ({prices}) by line and year: GRP in million RUB, balance in "
        "persons a year per bn; default assumptions, median, 5 and 95 %.",
        show=False, source=source,
    )  # fmt: skip


def effect_bars(
    config: Config, result: Result, effects: pd.DataFrame, name: str, source: str
) -> tuple[Figure, pd.DataFrame]:
    """Effects of the lines that a budget decides on in the first year, with bands; who makes their
    variance is printed above the bars, part of the picture."""
    number, what, unit = SHOWN[name]
    first = int(effects["year"].iloc[0])
    shown = effects[(effects["year"] == first) & effects["decidable"]]
    bars = pd.DataFrame(
        {
            "label": [textwrap.shorten(line, LABEL_WIDTH, placeholder=" …") for line in shown.line],
            "value": shown[f"{name}_median"],
            "low": shown[f"{name}_low"],
            "high": shown[f"{name}_high"],
        }
    )
    drawn = report.draw_bars(
        bars, title=f"One million in {first}: effect on {what} of {config.horizon}, {LABEL}",
        x_label=f"effect, {unit}", source=source,
    )  # fmt: skip
    words = "\n".join(textwrap.wrap(frames.variance_words(result, number), WORDS_WIDTH))
    drawn.axes[0].set_title(words, fontsize=9, loc="left")
    return drawn, bars
