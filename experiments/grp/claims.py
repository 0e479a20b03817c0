"""The claims ledger of the GRP paper: evidence for every printed number, by its id."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from diffmig import data, evaluate
from diffmig.optimize import METHODS
from experiments.grp.economy import Economy
from experiments.grp.models import MODELS, Trained
from experiments.grp.outlook import Outlook
from experiments.grp.statements import (
    Values,
    factor_error,
    statement_evidence,
    values_by_key,
)
from experiments.grp.study import Study

PAPER = "GRP forecasters"
BASES = {"current": "current", "2023": "comparable"}
Kind = Literal["deterministic", "stochastic", "seconds", "statement"]


class Printed(NamedTuple):
    """A row of the bundled table of printed numbers, all text."""

    id: str
    place: str
    quantity: str
    unit: str
    printed: str
    model: str
    prices: str
    sample: str


def ledger_entries(
    economy: Economy,
    described: dict[str, Trained],
    scores: pd.DataFrame,
    study: Study,
    outlooks: list[Outlook],
) -> Iterator[tuple[evaluate.Claim, evaluate.Evidence]]:
    """Claims with evidence, in the order of the bundled table of printed numbers."""
    printed = [Printed(*row) for row in data.load_printed("grp").itertuples(index=False)]
    values = values_by_key(scores)
    settings = _settings(economy, described)
    for row in printed:
        kind, better = _kind(row), {"R2": True, "MAPE": False}.get(row.quantity)
        key = row.id.split(".", 1)[1]
        if kind == "statement":
            evidence = statement_evidence(row.id.split(".")[-1], economy, values, study)
        elif kind == "seconds":
            evidence = evaluate.Evidence(note="see benchmarks/hybrids.py for ratios")
        elif row.quantity in ("R2", "MAPE"):
            evidence = _accuracy(economy, printed, row, values)
        elif row.id.endswith(".error"):
            evidence, better = factor_error(economy, row.id.split(".")[-2]), False
        elif row.quantity == "GRP 2023":
            evidence = evaluate.Evidence(as_described=economy.grp[0, -1])
        elif row.sample == "forecast":
            evidence = _growth(economy, printed, row, described, outlooks)
        elif key in settings:
            evidence = evaluate.Evidence(
                note=f"a setting, not a result; this run: {settings[key]:g}"
            )
        elif row.id.endswith("num_timing_runs"):
            evidence = evaluate.Evidence(note="a setting, not a result")
        elif row.id.endswith("num_hidden"):
            units = described[row.model].fitted.hyper.units[0, :, 0]
            evidence = evaluate.Evidence(units, note="units that our search found, current prices")
        else:
            evidence = evaluate.Evidence(note="no rule for this number")
        quantity = " ".join(x for x in (row.model, row.prices, row.sample, row.quantity) if x)
        claim = evaluate.Claim(PAPER, row.place, quantity, row.unit, row.printed, kind, better)
        yield claim, evidence


def _kind(row: Printed) -> Kind:
    if row.unit == "claim":
        return "statement"
    if row.unit == "s":
        return "seconds"
    searched = row.id.endswith("num_hidden")
    if row.quantity in ("R2", "MAPE") or row.sample == "forecast" or searched:
        return "stochastic"
    return "deterministic"


def _accuracy(
    economy: Economy, printed: list[Printed], row: Printed, values_by: Values
) -> evaluate.Evidence:
    metric, base = row.quantity.lower(), BASES[row.prices]
    same = {
        other.quantity: other.printed
        for other in printed
        if (other.place, other.model, other.prices, other.sample)
        == (row.place, row.model, row.prices, row.sample)
    }
    actual = economy.grp[economy.bases.index(base)]
    training, later = actual[: economy.num_training], actual[economy.num_training :]
    years = later if row.sample == "validation" else training
    pair = evaluate.check_pair(same["MAPE"], same["R2"], years, training=training)
    bound, slack = (
        (pair.r2_bound, pair.r2_slack) if metric == "r2" else (pair.mape_bound, pair.mape_slack)
    )
    values = {
        protocol: values_by[(base, protocol, row.model, row.sample, metric)]
        for protocol in ("as_described", "conditional", "honest")
        if protocol == "as_described" or row.sample == "validation"
    }
    return evaluate.Evidence(
        **values, bound=bound, bound_kind="upper", bound_slack=slack, note=pair.note
    )


def _growth(
    economy: Economy,
    printed: list[Printed],
    row: Printed,
    described: dict[str, Trained],
    outlooks: list[Outlook],
) -> evaluate.Evidence:
    base = economy.bases.index(BASES[row.prices])
    start = float(economy.grp[base, -1])
    end = economy.years.tolist().index(2030)
    ahead = end - (economy.num_data - 1)

    def quantity(level: np.ndarray) -> np.ndarray:
        if row.quantity == "GRP 2030":
            return level
        percent = 100.0 * (level / start - 1.0)
        return percent / ahead if "per year" in row.quantity else percent

    ours = np.asarray(described["BA-LSTM"].fitted.levels, float)[base, :, end]
    primary = next(o for o in outlooks if o.choice.base == base).levels["AR(1)"][:, end]
    note = "honest: primary forecaster trained on all years"
    evidence = evaluate.Evidence(quantity(ours), honest=quantity(primary), note=note)
    same = (row.place, row.prices, "GRP 2030")
    text = [r.printed for r in printed if (r.place, r.prices, r.quantity) == same]
    if row.quantity == "GRP 2030" or not text:
        return evidence
    level, slack = float(text[0]), float(evaluate.half_unit(evaluate.parse_printed(text[0])))
    low, high = (100.0 * ((level + sign * slack) / start - 1.0) for sign in (-1, 1))
    if "per year" in row.quantity:
        low = 100.0 * ((1.0 + low / 100.0) ** (1.0 / ahead) - 1.0)
        bounds, origin = (
            (low, high / ahead),
            "from compound to arithmetic mean of the printed level",
        )
    else:
        bounds, origin = (low, high), "from the printed level, its rounding allowed for"
    return evidence._replace(bound=bounds, bound_kind="interval", note=f"{note}; bound: {origin}")


def _settings(economy: Economy, described: dict[str, Trained]) -> dict[str, float]:
    swarm = METHODS["swarm-literal"].coefficients
    genetic = METHODS["genetic-literal"].coefficients
    values: dict[str, float] = {}
    for model, name in zip(MODELS, ("ba_lstm", "ga_bpnn", "pso_elman"), strict=True):
        hybrid = described[model].hybrid
        steps = "num_generations" if model == "GA-BPNN" else "num_iterations"
        values |= {
            f"{name}.num_inputs": len(economy.factor_names),
            f"{name}.num_outputs": 1,
            f"{name}.num_members": hybrid.num_members,
            f"{name}.{steps}": hybrid.num_steps,
            f"{name}.num_hidden_low": hybrid.units[0][0],
            f"{name}.num_hidden_high": hybrid.units[0][1],
            f"{name}.num_epochs": hybrid.epochs[1],
            f"{name}.learning_rate": 10.0 ** hybrid.log10_learning_rate[0],
        }
    alpha = 2.0  # the code holds the products alpha beta
    return values | {
        "pso_elman.alpha_1": alpha,
        "pso_elman.alpha_2": alpha,
        "pso_elman.beta_1": float(swarm.cognitive) / alpha,
        "pso_elman.beta_2": float(swarm.social) / alpha,
        "ga_bpnn.crossover": float(genetic.crossover_probability),
        "ga_bpnn.mutation": float(genetic.mutation_probability),
    }
