"""Sets the rows of `benchmarks.findings` in tables, one function per table of the README."""

from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]
Table = tuple[list[str], list[list[str]]]
_VERDICTS = ("reproduced", "not reproduced", "impossible", "not checkable", "beaten")
_RECOVERY = {
    "latent-force smoother": "latent-force smoother (exact, strengths by marginal likelihood)",
    "penalised spline": "penalised spline, solver in the loop",
    "PINN, penalised": "physics-informed network with a penalty (= the spline)",
    "PINN without penalty, parameters known": "physics-informed network without a penalty",
}
_TOWNS = {
    "networks, as described": "networks as described: the test year itself picks them",
    "networks, as described, the year after": "the same networks a year later",
    "networks, factors given": "honest networks, factors of the year given",
    "networks, factors forecast": "honest networks, factors forecast",
    "one network for all towns, factors forecast": "one network for all towns, factors forecast",
}


def forecasters(rows: Rows) -> Table:
    head = ["validation MAPE 2018-2023, %", "printed", "as described", "conditional", "honest"]
    head += ["best naive baseline: conditional, honest"]
    table = []
    for row in rows:
        printed = f"{row['printed']:.2f}"
        printed += " (impossible)" if row["verdict"] == "impossible" else ""
        bands = [
            "{:.1f} [{:.1f}, {:.1f}]".format(*row[protocol])
            for protocol in ("as_described", "conditional", "honest")
        ]
        naive = f"{row['naive_conditional']:.2f}, {row['naive_honest']:.2f}"
        table.append([f"{row['model']}, {row['prices']}", printed, *bands, naive])
    return head, table


def recovery(rows: Rows) -> Table:
    head = ["force by", "relative error", "without the first and last year"]
    head += ["true force inside 90 % bands"]
    table = []
    for row in rows:
        seeds = f"; median of {row['seeds']} seeds" if row["seeds"] > 1 else ""
        covered = "no bands" if row["covered"] is None else f"{100 * row['covered']:.0f} %"
        errors = [f"{100 * row[name]:.0f} %" for name in ("force_error", "inner_force_error")]
        table.append([f"{_RECOVERY[row['method']]}{seeds}", *errors, covered])
    return head, table


def towns(rows: Rows) -> Table:
    head = ["forecast of a year", "accuracy", "mean error, persons"]
    table = [
        [
            _TOWNS.get(row["forecast"], str(row["forecast"])),
            f"{100 * row['accuracy']:.0f} %",
            f"{row['mae']:.0f}",
        ]
        for row in rows
    ]
    return head, table


def rankings(rows: Rows) -> Table:
    head = ["model", "output", "inputs", "error of the gradient", "its cost, forward runs"]
    head += ["Spearman with total Sobol indices", "first-order indices add up to"]
    table = [
        [
            row["model"],
            row["output"],
            f"{row['inputs']}",
            f"{row['gradient_error']:.0e}",
            f"{row['cost']:.1f}",
            f"{row['spearman']:.2f}",
            f"{row['sum_of_first']:.2f}",
        ]
        for row in rows
    ]
    return head, table


def verdicts(rows: Rows) -> Table:
    head = ["paper", "printed numbers and claims", *_VERDICTS]
    return head, [[r["paper"], f"{r['rows']}", *(f"{r[v]}" for v in _VERDICTS)] for r in rows]


TABLES: dict[str, Callable[[Rows], Table]] = {
    "verdicts": verdicts,
    "forecasters": forecasters,
    "recovery": recovery,
    "towns": towns,
    "rankings": rankings,
}
