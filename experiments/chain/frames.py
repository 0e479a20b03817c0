"""Tables of the report, tidy."""

import numpy as np
import pandas as pd

from experiments.chain.config import ORIGINS, Config, assumptions
from experiments.chain.economy import BALANCE, GRP
from experiments.chain.levers import movable
from experiments.chain.study import Result

CHAIN = "chain, model exercise"
ESTIMATED = ("start_rate",)  # all others are assumed
INDEXED = ("effect on GRP", "effect on the balance", "GRP", "balance")  # rows of the indices
PER_BILLION = 1e3  # persons per million are small numbers
PERCENT = "\N{NO-BREAK SPACE}%"
_TAILS = (0.05, 0.95)


def years_ahead(config: Config) -> np.ndarray:
    """Years in which spending can be changed."""
    return np.arange(config.last_year + 1, config.horizon + 1)


def course_lines(config: Config, result: Result) -> pd.DataFrame:
    """Data and chain, [panel, series, kind, year, value, low, high]."""
    inputs, years = result.inputs, result.middle.years
    ahead = np.arange(config.last_year, config.horizon + 1)
    known, counted = np.array(list(inputs.balances)), inputs.years <= inputs.counted
    people, people_sets = years.population.sum(-1), result.sets.years.population.sum(-1)
    sets = result.sets.years
    panels: dict[str, tuple[np.ndarray | None, np.ndarray | None, np.ndarray, np.ndarray]] = {
        "GRP, bn RUB": (
            inputs.years, inputs.grp / 1e3, np.asarray(years.grp) / 1e3, np.asarray(sets.grp) / 1e3,
        ),
        "migration balance, persons a year": (
            known, np.array(list(inputs.balances.values())), np.asarray(years.balance),
            np.asarray(sets.balance),
        ),
        "population, thousand": (
            inputs.years[counted], np.asarray(inputs.population).sum(1)[counted] / 1e3,
            np.asarray(people) / 1e3, np.asarray(people_sets) / 1e3,
        ),
        "human capital, bn RUB": (
            None, None, np.append(result.past_capital[:-1], years.human_capital) / 1e3,
            np.concatenate([result.past_capitals[:, :-1], sets.human_capital], axis=1) / 1e3,
        ),
    }  # fmt: skip
    rows = []
    for panel, (at, actual, path, band) in panels.items():
        if at is not None:
            data = {"series": "tables", "kind": "actual", "year": at, "value": actual}
            rows.append(pd.DataFrame(data).assign(panel=panel))
        low, high = np.quantile(band, _TAILS, axis=0)
        span = np.append(inputs.years[:-1], ahead) if at is None else ahead
        made = {"series": CHAIN, "kind": "fitted", "year": span, "value": path}
        rows.append(pd.DataFrame({**made, "low": low, "high": high}).assign(panel=panel))
    return pd.concat(rows, ignore_index=True)


def effect_frame(config: Config, result: Result) -> pd.DataFrame:
    """Effect of one million in every line and year: million of GRP and persons of the balance per
    bn, with the default assumptions, and median, 5 and 95 % over the sampled ones."""
    budget, years = result.inputs.budget, years_ahead(config)
    spent = np.asarray(result.inputs.amounts[:, -1]) > 0
    decides = movable(config, result.inputs)
    parts = []
    for name, number, scale in (("grp", GRP, 1.0), ("balance", BALANCE, PER_BILLION)):
        low, middle, high = scale * np.quantile(
            result.sets.effects[:, number], (_TAILS[0], 0.5, _TAILS[1]), axis=0
        )
        default = scale * np.asarray(result.middle.effects[number])
        columns = {"": default, "_median": middle, "_low": low, "_high": high}
        parts.append({f"{name}{ending}": x.ravel() for ending, x in columns.items()})
    num = years.size
    frame = pd.DataFrame(
        {
            "line": np.repeat(budget.lines, num),
            "component": np.repeat(budget.components, num),
            "payer": np.repeat(budget.payers, num),
            "decidable": np.repeat(decides, num),
            "year": np.tile(years, len(budget.lines)),
            **parts[0],
            **parts[1],
        }
    )
    return frame[np.repeat(spent, num)].reset_index(drop=True)


def assumption_frame(config: Config, result: Result) -> pd.DataFrame:
    """Every assumption, its range, where it comes from, and its share of variance (total index) in
    both effects and both outputs, %."""
    rows = []
    for name, a in assumptions(config).items():
        unit, origin = ORIGINS[name]
        rows.append(
            {
                "assumption": name.replace("_", " "), "value": a.value, "low": a.low,
                "high": a.high, "unit": unit, "from": origin,
                **dict(zip(INDEXED, 100 * np.asarray(result.indices.total[name]), strict=True)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def share_bars(result: Result) -> pd.DataFrame:
    """Total indices of both effects with their bootstrap bands, largest first, %."""
    total, low, high = (
        result.indices.total, result.indices.total_low, result.indices.total_high,
    )  # fmt: skip
    names = sorted(total, key=lambda n: -float(np.max(total[n][:2])))
    return pd.DataFrame(
        [
            {
                "label": name.replace("_", " "), "series": INDEXED[k],
                "value": 100 * float(total[name][k]), "low": 100 * float(low[name][k]),
                "high": 100 * float(high[name][k]),
            }
            for name in names
            for k in (0, 1)
        ]
    )  # fmt: skip


def variance_words(result: Result, number: int, most: int = 4) -> str:
    """Who makes the variance of an indexed output: the largest total indices, and what the data
    could tell."""
    total = {name: 100 * float(x[number]) for name, x in result.indices.total.items()}
    largest = sorted(total, key=lambda name: -total[name])[:most]
    words = ", ".join(f"{name.replace('_', ' ')} {total[name]:.0f}{PERCENT}" for name in largest)
    told = sum(total[name] for name in ESTIMATED)
    return (
        f"Variance (total Sobol index): {words}; estimated from tables: {told:.0f}{PERCENT}, "
        "rest assumed"
    )


def check_frame(config: Config, result: Result) -> pd.DataFrame:
    """What can be checked, and how it comes out."""
    years = result.middle.years
    people = years.population.sum(-1)
    closing = np.diff(people) - (years.births - years.deaths + years.balance)[:-1]
    made, real = result.past
    return pd.DataFrame(
        [
            ("people change by births, deaths and the balance, largest residual, persons",
             float(np.abs(closing).max())),
            ("gradients against central differences, largest relative difference",
             result.gradient_error),
            ("GRP of 2023 over 2018 by a chain that starts in 2018", made),
            ("the same, real (table, 2023 prices)", real),
        ],
        columns=["check", "value"],
    )  # fmt: skip


def all_sound(result: Result) -> bool:
    """Every sampled chain is finite, and no age has fewer than 0 persons."""
    sets = result.sets
    finite = all(np.isfinite(x).all() for x in (sets.outputs, sets.effects))
    return finite and bool((np.asarray(sets.years.population) >= 0).all())


def least_frame(config: Config, result: Result) -> pd.DataFrame:
    """Least spending by line, million a year on average, and its sum."""
    change = result.least.change
    used = change.sum(axis=1) > 0
    lines = np.asarray(result.inputs.budget.lines)[used]
    frame = pd.DataFrame({"line": lines, "sum": change[used].sum(axis=1)})
    frame["share_of_spending"] = 100 * frame["sum"] / result.amounts[used].sum(axis=1)
    return frame.sort_values("sum", ascending=False)
