"""Tables of the report, tidy."""

import numpy as np
import pandas as pd

from diffmig import human_capital as hc
from experiments.human_capital.economy import components
from experiments.human_capital.study import HELD, Result

FORECAST = "network's spending"


def course_frame(result: Result) -> pd.DataFrame:
    """H, per inhabitant, and by component with shares, by year."""
    made, inputs = result.made, result.inputs
    frame = pd.DataFrame(
        {
            "year": inputs.years,
            "total": np.asarray(made.total) / 1e3,
            "per_inhabitant": np.asarray(made.per_inhabitant) / 1e3,
            "growth": np.r_[np.nan, 100 * np.diff(np.log(np.asarray(made.total)))],
        }
    )
    for i, name in enumerate(components(inputs.budget)):
        frame[name] = np.asarray(made.by_component[:, i]) / 1e3
        frame[f"{name}_share"] = np.asarray(made.by_component[:, i] / made.total)
    return frame


def balance_frame(result: Result) -> pd.DataFrame:
    """Terms of dH/dt summed over components, bn a year, and the residual of the worst component."""
    years = result.inputs.years
    frame = pd.DataFrame({"from": years[:-1], "to": years[1:]})
    for name, value in zip(hc.CapitalBalance._fields, result.balance, strict=True):
        frame[name] = np.asarray(value).sum(axis=1) / 1e3
    frame["residual"] = np.abs(result.balance_residual).max(axis=1)
    return frame


def identities_frame(result: Result) -> pd.DataFrame:
    """Every identity of the model and how well it holds in this run."""
    spent = np.asarray(result.region.amounts).sum()
    gradient = np.asarray(result.worth.values.gradient)
    adjoint = np.abs(gradient - np.asarray(result.worth.values.adjoint)).max()
    finite = abs(result.worth.finite / gradient[result.worth.probe] - 1.0)
    population = np.abs(result.people.residual).max() / result.inputs.population[0].sum()
    rows = [
        ("spending per head times population = spending", np.abs(result.closure).sum() / spent),
        ("change of H = investment - wear - deaths + migration + participation + inflow - outflow",
         np.abs(result.balance_residual).max()),
        ("change of population = births - deaths + net migration - left the last age", population),
        ("components sum to H", np.abs(
            np.asarray(result.made.by_component).sum(axis=1) / np.asarray(result.made.total) - 1
        ).max()),
        ("gradient of H by spending = adjoint identity", adjoint / gradient.max()),
        ("gradient of H by spending = effect of one million more", finite),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["identity", "residual"])


def surface_frame(result: Result) -> pd.DataFrame:
    """h(t, tau), thousand per head, in the middle of each year."""
    h = np.asarray(result.made.by_age) / 1e3
    years, ages = np.meshgrid(result.inputs.years, np.arange(h.shape[1]), indexing="ij")
    return pd.DataFrame({"year": years.ravel(), "age": ages.ravel(), "value": h.ravel()})


def marginal_frame(result: Result) -> pd.DataFrame:
    """Marginal value and elasticity of H(T) by line and year."""
    values, budget = result.worth.values, result.inputs.budget
    rows = []
    for k, line in enumerate(budget.lines):
        rows.append(
            pd.DataFrame(
                {
                    "line": line,
                    "component": budget.components[k],
                    "payer": budget.payers[k],
                    "year": result.inputs.years,
                    "spending": np.asarray(result.region.amounts[k]),
                    "value": np.asarray(values.gradient[k]),
                    "elasticity": np.asarray(values.elasticity[k]),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def path_frame(result: Result) -> pd.DataFrame:
    """Rises of spending on both ways to the target, by line, million over the path's years."""
    worth, budget = result.worth, result.inputs.budget
    frame = pd.DataFrame({"line": budget.lines, "component": budget.components})
    frame["spent"] = np.asarray(result.region.amounts[:, worth.path_years]).sum(axis=1)
    for name, path in (("cheapest", worth.cheapest), ("smooth", worth.smooth)):
        frame[name] = np.asarray(path.change).sum(axis=1)
    for i, year in enumerate(result.inputs.years[worth.path_years]):
        frame[f"smooth_{year}"] = np.asarray(worth.smooth.change[:, i])
    return frame


def capital_lines(result: Result) -> pd.DataFrame:
    """Figure 9: H and H per inhabitant with the band of draws, and H under held spending."""
    ahead, inputs = result.ahead, result.inputs
    past = course_frame(result)
    rows = []
    for panel, column in (("H, bn", "total"), ("H per inhabitant, thousand", "per_inhabitant")):
        rows += [
            {"panel": panel, "series": "model", "kind": "actual", "year": int(y), "value": v}
            for y, v in zip(past["year"], past[column], strict=True)
        ]
        if ahead is None:
            continue
        draws = ahead.total / 1e3 if column == "total" else ahead.per_inhabitant / 1e3
        low, mid, high = np.quantile(draws, (0.05, 0.5, 0.95), axis=0)
        rows += [
            {"panel": panel, "series": FORECAST, "kind": "forecast", "year": int(y),
             "value": m if y >= inputs.years[-1] else np.nan, "low": a, "high": b}
            for y, a, m, b in zip(inputs.all_years, low, mid, high, strict=True)
        ]  # fmt: skip
        if column == "total":
            at = inputs.years.size - 1
            rows += [
                {"panel": panel, "series": HELD, "kind": "fitted", "year": int(y), "value": v}
                for y, v in zip(inputs.all_years[at:], ahead.held[at:] / 1e3, strict=True)
            ]
    return pd.DataFrame(rows)


def structure_lines(result: Result) -> pd.DataFrame:
    """Shares of the components in H, %, by year."""
    shares = 100 * np.asarray(result.made.by_component / result.made.total[:, None])
    return pd.DataFrame(
        [
            {"series": name, "kind": "fitted", "year": int(year), "value": share}
            for name, row in zip(components(result.inputs.budget), shares.T, strict=True)
            for year, share in zip(result.inputs.years, row, strict=True)
        ]
    )
