"""Collects from a finished full run the numbers that the README's tables of findings show.

Command: python -m experiments.reproduce && python -m benchmarks.findings [--results results]
    python -m benchmarks.readme        then writes the tables
Device: none. Time: a second. Expected: benchmarks/results/findings.json.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

from benchmarks._timing import write_rows
from diffmig import evaluate, report

Rows = list[dict[str, Any]]
PRICES = {"current": "current prices", "comparable": "2023 prices"}
HYBRIDS = ("BA-LSTM", "GA-BPNN", "PSO-Elman")
FORECASTS = (
    "networks, as described",
    "networks, as described, the year after",
    "networks, factors given",
    "networks, factors forecast",
    "one network for all towns, factors forecast",
    "last value",
)


@dataclass(frozen=True)
class Options:
    """Rows of benchmarks/results/findings.json from runs with their defaults."""

    results: Path = Path("results")
    """Folder of results of `experiments.reproduce`."""
    out: Path = Path(__file__).parent / "results" / "findings.json"
    """File of rows."""


def collect(results: Path) -> Rows:
    """Rows of all tables; every value is read from a run's own tables, metrics and ledger."""
    runs = {name: report.latest_run(results, name, "base") for name in ("grp", "migration")}
    runs |= {name: report.latest_run(results, name, "base") for name in ("towns", "sensitivity")}
    return [
        *_verdicts(report.read_ledger(results / "ledger.csv")),
        *_forecasters(runs["grp"]),
        *_recovery(runs["migration"]),
        *_towns(runs["towns"]),
        *_rankings(runs["sensitivity"]),
    ]


def _verdicts(ledger: pd.DataFrame) -> Rows:
    totals = evaluate.ledger_totals(ledger)
    return [
        {"table": "verdicts", "paper": str(paper), **{str(k): int(v) for k, v in row.items()}}
        for paper, row in totals.iterrows()
    ]


def _forecasters(run: Path) -> Rows:
    """Errors of the validation years by protocol, and of the best baseline that knows as much."""
    tables = run / "tables"
    scores, naive = (pd.read_parquet(tables / f"{n}.parquet") for n in ("scores", "baselines"))
    scores = scores[(scores["sample"] == "validation") & (scores["metric"] == "mape")]
    ledger = report.read_ledger(run / "ledger.csv").set_index("quantity")
    rows = []
    for prices, words in PRICES.items():
        best = naive[naive["prices"] == prices].groupby("protocol")["mape"].min()
        for model in HYBRIDS:
            of_base = "current" if prices == "current" else "2023"
            claims = ledger.loc[[f"{model} {of_base} validation MAPE"]]
            claim = claims[claims["place"] == "table 3"].iloc[0]
            own = scores[(scores["prices"] == prices) & (scores["model"] == model)]
            row: dict[str, Any] = {"table": "forecasters", "model": model, "prices": words}
            row |= {"printed": float(claim["printed"]), "verdict": str(claim["verdict"])}
            for protocol, at in own.set_index("protocol").iterrows():
                row[str(protocol)] = [float(at[x]) for x in ("median", "low", "high")]
            row |= {f"naive_{p}": float(best[p]) for p in ("conditional", "honest")}
            rows.append(row)
    return rows


def _recovery(run: Path) -> Rows:
    frame = pd.read_parquet(run / "tables" / "recovery.parquet")
    return [{"table": "recovery", **row} for row in _records(frame)]


def _towns(run: Path) -> Rows:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return [
        {
            "table": "towns",
            "forecast": name,
            "accuracy": metrics["accuracy"][name],
            "mae": metrics["mae"][name],
        }
        for name in FORECASTS
    ]


def _rankings(run: Path) -> Rows:
    names = ["model", "output", "inputs", "gradient_error", "cost", "spearman", "sum_of_first"]
    frame = pd.read_parquet(run / "tables" / "models.parquet")[names]
    return [{"table": "rankings", **row} for row in _records(frame)]


def _records(frame: pd.DataFrame) -> Rows:
    """Rows of plain Python values, None where a value is missing."""
    found = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(k): getattr(v, "item", lambda v=v: v)() for k, v in row.items()} for row in found]


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    rows = collect(options.results)
    write_rows(options.out, rows)
    print(f"{len(rows)} rows: {options.out}")


if __name__ == "__main__":
    main()
