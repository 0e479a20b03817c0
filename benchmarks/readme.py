"""Writes the README's tables of findings and benchmarks from `benchmarks/results/*.json`.

Command: python -m benchmarks.readme        (--check: only say whether the README is up to date)
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import _inverse_tables as inverse
from benchmarks._finding_tables import TABLES as FINDINGS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Rows = list[dict[str, Any]]
Table = tuple[list[str], list[list[str]]]
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    new = with_tables(text)
    if "--check" in sys.argv[1:]:
        raise SystemExit(0 if new == text else "README.md differs from benchmarks/results")
    readme.write_text(new, encoding="utf-8")


def with_tables(text: str) -> str:
    """`text` with the tables of all stored results between their markers."""
    for name, rows in FINDINGS.items():
        begin, end = f"<!-- table {name} -->", f"<!-- /table {name} -->"
        before, rest = text.split(begin)
        own = [row for row in _read("findings") if row["table"] == name]
        text = f"{before}{begin}\n{_table(*rows(own))}\n{end}{rest.split(end)[1]}"
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    blocks = [
        f"<details><summary><code>python -m benchmarks.{name}</code>: {title}</summary>\n\n"
        f"{_table(*rows(_read(name)))}\n\n</details>"
        for name, tables in TABLES.items()
        if (RESULTS / f"{name}.json").exists()
        for title, rows in tables
    ]
    return f"{before}{BEGIN}\n" + "\n\n".join(blocks) + f"\n{END}{after}"


def _read(name: str) -> Rows:
    content = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content["rows"]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _hybrids(rows: Rows) -> Table:
    head = ["search", "peer", "evaluations", "diffmig", "peer (extrapolated)", "ratio"]
    head += ["training MAPE, both"]
    table = []
    for row in rows:
        if row["hybrid"] == "together":
            whole = f"{row['seconds']:.1f} s"
            table.append(["all three", "", "", whole, "", "", ""])
        elif row.get("peer"):
            table.append(
                [
                    row["hybrid"],
                    row["peer"],
                    f"{row['evaluations']}",
                    f"{row['seconds']:.2f} s + {row['compile_seconds']:.0f} s compiling",
                    f"{row['peer_seconds_extrapolated']:.0f} s",
                    f"{row['ratio']:.0f}",
                    f"{row['mape']:.1f} %, {row['peer_mape']:.1f} %",
                ]
            )
    return head, table


def _optimizers(rows: Rows) -> Table:
    peers = ["evosax", "diffmig, jax.random", "mealpy", "pyswarms"]
    head = ["swarm", "generations/s", *(f"times {peer}" for peer in peers)]
    head += ["best value: diffmig", "evosax"]
    table = []
    for own in (row for row in rows if row["method"] == "diffmig"):
        case = [own[key] for key in ("function", "members", "dim")]
        by = {r["method"]: r for r in rows if [r["function"], r["members"], r["dim"]] == case}
        ratios = [
            f"{by[peer]['diffmig_is_times_as_fast']:.3g}" if peer in by else "" for peer in peers
        ]
        best = [f"{by[name]['best']:.3g}" if name in by else "" for name in ("diffmig", "evosax")]
        size = "{} {} x {}".format(*case)
        table.append([size, f"{own['generations_per_second']:.4g}", *ratios, *best])
    return head, table


def _batches(rows: Rows) -> Table:
    head = ["networks", "epochs", "devices", "block", "ms per network", "against the best"]
    head += ["working memory"]
    table = [
        [
            f"{row['num_networks']:,} {row['model']}",
            f"{row['epochs']}",
            f"{row['devices']}",
            f"{row['block'] or 'none'}",
            f"{row['ms_per_network']:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['working_bytes'] / 2**20:.1f} MiB",
        ]
        for row in rows
        if row["sweep"] == "size"
    ]
    return head, table


def _smoothing(rows: Rows) -> Table:
    head = ["what", "series x values", "precision", "time", "per series", "statsforecast"]
    head += ["ratio", "against its bare loop", "squares worse, better", "against the best"]
    head += ["working memory", "status"]
    names = {"fit": "{} fit, forecast", "origins": "{} fits at {} origins, rules"}
    names |= {"many": "{}, number of series", "length": "{}, length"}
    table = []
    for row in rows:
        if row.get("block") == 0:
            continue
        models = ", ".join(row.get("models", [row["model"]]))
        share = "{:.1f} %, {:.1f} %".format
        peer = f"{row['peer_seconds']:.3g} s" if "peer_seconds" in row else ""
        memory = row["working_bytes"]
        table.append(
            [
                names[row["part"]].format(models, row.get("origins")),
                f"{row['num_series']:,} x {row['length']}",
                row["dtype"],
                f"{row['seconds']:.3g} s",
                f"{row['us_per_series']:.3g} µs",
                f"{peer} (extrapolated)" if row.get("peer_extrapolated") else peer,
                f"{row['ratio']:.1f}" if "ratio" in row else "",
                f"{row['ratio_bare']:.1f}" if "ratio_bare" in row else "",
                share(100 * row["worse_0.0001"], 100 * row["better_0.0001"]) if peer else "",
                f"{row['against_best']:.2f}" if "against_best" in row else "",
                "" if memory is None else f"{memory / 2**20:.1f} MiB",
                row["status"],
            ]
        )
    return head, table


def _transport_accuracy(rows: Rows) -> Table:
    own = [row for row in rows if row.get("summary")]
    names = list(dict.fromkeys(row["problem"] for row in own))
    head = ["scheme"]
    for name in names:
        step = min(row["step"] for row in own if row["problem"] == name)
        head.append(f"{name}: error at step 1/{1 / step:g}, order; time to 1e-6")
    table = []
    for scheme in dict.fromkeys(row["scheme"] for row in own):
        line = [scheme]
        for name in names:
            cell = [row for row in own if (row["scheme"], row["problem"]) == (scheme, name)]
            line.append(_accuracy(cell[0]) if cell else "")
        table.append(line)
    return head, table


def _accuracy(row: dict[str, Any]) -> str:
    order = "" if row["order"] is None else f" ({row['order']:.1f})"
    reach = row["seconds_to_reach"]
    if reach is None or reach > 365 * 86400:
        time = "over a year" if reach else "no order"
    else:
        time = f"{reach:.2g} s" + (" (extrapolated)" if row["extrapolated"] else "")
    return f"{row['error']:.1e}{order}; {time}"


def _transport_speed(rows: Rows) -> Table:
    head = ["what", "regions", "GLIBC_TUNABLES", "time", "rate", "share of the copy or ratio"]
    head += ["working memory", "peak", "status"]
    names = {"totals": "H(t)", "stored": "trajectory", "blocks": "H(t) in {} blocks"}
    names |= {"amounts": "gradient: budget lines and years", "every": "gradient: every input"}
    table = []
    for row in rows:
        one = row["part"] == "accuracy" or row["kind"] == "forward" or row.get("against_one") == 1.0
        if one or (row["kind"], row.get("wear")) == ("stored", "year, age"):
            continue
        what = str(names.get(row["kind"], row["kind"])).format(row.get("blocks"))
        if row["kind"] in ("totals", "stored"):
            changes = {"constant": "constant", "year, age": "by year and age", "cell": "per cell"}
            what += f", wear {changes[row['wear']]}"
            what += ", weights of every region" if row["weight"] == "population" else ""
        judged = row["status"] != "compared" or "allocating" in row["kind"]
        if row["glibc_tunables"] and row["part"] == "throughput" and not judged:
            continue
        rate, measure = "", row.get("share", row.get("against_one", row.get("ratio")))
        if "cells_per_second" in row:
            rate = f"{row['bytes_per_second'] / 1e9:.3g} GB/s"
        memory = (row.get("working_bytes"), row.get("peak_bytes"))
        table.append(
            [
                what,
                f"{row['regions'] * row.get('blocks', 1):,}",
                row["glibc_tunables"],
                f"{1e3 * row['seconds']:.3g} ms",
                rate,
                "" if measure is None else f"{measure:.2f}",
                *("" if size is None else f"{size / 2**20:.1f} MiB" for size in memory),
                row["status"],
            ]
        )
    return head, table


def _ode_solvers(rows: Rows) -> Table:
    head = ["system", "solver", "error", "time", "per scenario", "times scipy's loop"]
    head += ["times scipy stacked", "compiling", "working memory", "status"]
    names = {"speed": "{} x {}", "undamped": "{} x {}, undamped"}
    names |= {"large": "{} x {}, 8 nearest", "sparse": "{} x {}, 8 nearest, no matrix"}
    own, table = [row for row in rows if row["part"] in names], []
    for row in own:
        beside = [r for r in own if (r["part"], r["towns"]) == (row["part"], row["towns"])]
        if row["library"] == "scipy" and row["part"] == "speed":
            best = min(r["seconds"] for r in beside if r["how"] == row["how"])
            if row["seconds"] > best:
                continue
        memory = row.get("working_bytes")
        found = row["solver"] == "modes"
        table.append(
            [
                names[row["part"]].format(f"{row['towns']:,}", row["scenarios"]),
                row["how"] if found else f"{row['library']} {row['solver']}, {row['how']}",
                f"{row['error']:.0e}",
                _seconds(row["seconds"]),
                "" if found else _seconds(1e-6 * row["us_per_scenario"]),
                f"{row['against_loop']:.3g}" if "against_loop" in row else "",
                f"{row['against_stacked']:.3g}" if "against_stacked" in row else "",
                f"{row['compile_seconds']:.1f} s" if "compile_seconds" in row else "",
                "" if memory is None else f"{memory / 2**20:.1f} MiB",
                row["status"],
            ]
        )
    return head, table


def _ode_sweeps(rows: Rows) -> Table:
    head = ["scenarios", "years", "block", "devices", "propagator, per scenario", "memory"]
    head += ["Diffrax, per scenario", "memory"]
    own = [row for row in rows if row["part"] in ("scenarios", "years")]
    keys = ("part", "scenarios", "years", "block", "devices")
    table: dict[tuple, list[str]] = {}
    for row in own:
        case = tuple(row.get(key) for key in keys)
        cut = [str(row.get("block") or "none"), str(row.get("devices", 1))]
        line = table.setdefault(case, [f"{row['scenarios']:,}", str(row["years"]), *cut])
        memory = row["working_bytes"]
        line.append(_seconds(1e-6 * row["us_per_scenario"]))
        line.append("" if memory is None else f"{memory / 2**20:.1f} MiB")
    return head, list(table.values())


def _ode_gradients(rows: Rows) -> Table:
    head = ["towns x scenarios", "program", "by", "value", "value and gradient", "ratio", "error"]
    head += ["compiling", "working memory", "status"]
    table = []
    for row in rows:
        if row["part"] != "gradients" or not row["by"]:
            continue
        adjoint, memory = row.get("adjoint"), row["working_bytes"]
        what = f"Diffrax, {adjoint}" if adjoint else f"propagator, {row['given']} given"
        table.append(
            [
                f"{row['towns']} x {row['scenarios']}",
                what,
                row["by"],
                _seconds(row["forward_seconds"]),
                _seconds(row["seconds"]),
                f"{row['ratio']:.1f}",
                f"{row['error']:.0e}",
                f"{row['compile_seconds']:.1f} s",
                "" if memory is None else f"{memory / 2**20:.1f} MiB",
                row["status"],
            ]
        )
    return head, table


def _shapley(rows: Rows) -> Table:
    head = ["what", "factors", "background rows", "points", "diffmig", "shap", "ratio"]
    head += ["error: diffmig", "shap", "status"]
    table = []
    for own in (row for row in rows if row["tool"] == "diffmig"):
        case = [own[key] for key in ("what", "factors", "background", "points")]
        peer = next((r for r in rows if r["tool"] == "shap" and r["factors"] == own["factors"]
                     and r["background"] == own["background"]), None)  # fmt: skip
        exact = own["what"] == "exact"
        table.append(
            [
                *(str(part) for part in case),
                _seconds(own["seconds"]),
                "" if peer is None else _seconds(peer["seconds"]),
                f"{own['ratio']:.1f}" if "ratio" in own else "",
                f"{own['error']:.0e}" + (", of each other" if exact else "")
                if "error" in own
                else "",
                "" if peer is None or exact else f"{peer['error']:.0e}",
                own["status"],
            ]
        )
    return head, table


def _towns_search(rows: Rows) -> Table:
    head = ["networks", "trainings", "seconds", "compiling", "times scikit-learn", "with compiling"]
    head += ["median losses against scikit-learn's", "status"]
    table = []
    for row in (r for r in rows if r["part"] == "search"):
        own = row["tool"] == "diffmig"
        table.append(
            [
                f"{row['tool']}, {row['dtype']}",
                f"{row['trainings']:,}",
                f"{row['seconds']:.2f}",
                f"{row['compile_seconds']:.1f} s" if own else "",
                f"{row['ratio']:.1f}" if own else "",
                f"{row['ratio_cold']:.1f}" if own else "",
                f"{row['loss_ratio']:.2f}" if own else "",
                row["status"],
            ]
        )
    return head, table


def _towns_inverse(rows: Rows) -> Table:
    head = ["solver", "devices", "places", "seconds", "µs a place", "compiling", "times SLSQP"]
    head += ["highest cost above SLSQP's", "cheaper by more than 1e-6 at", "status"]
    table = []
    for row in (r for r in rows if r["part"] == "inverse"):
        own = row["tool"] == "diffmig"
        table.append(
            [
                row["tool"] if own else "scipy SLSQP, one by one",
                str(row["devices"]),
                f"{row['places']:,}",
                f"{row['seconds']:.3f}",
                f"{row['us_per_place']:.0f}",
                f"{row['compile_seconds']:.1f} s" if own else "",
                f"{row['ratio']:.0f}" if own else "",
                f"{row['cost_excess']:.0e}" if own else "",
                f"{row['cheaper']:.1%}" if own else "",
                row["status"],
            ]
        )
    return head, table


def _gradients(rows: Rows) -> Table:
    head = ["run", "by", "inputs", "forward", "gradient", "ratio", "working memory"]
    head += ["central differences", "their error", "SALib: runs", "time", "status"]
    table = []
    for own in (row for row in rows if row["tool"] == "gradient"):
        case = [own[key] for key in ("what", "by", "copies")]
        by = {r["tool"]: r for r in rows if [r[key] for key in ("what", "by", "copies")] == case}
        moved, peer = by.get("central differences"), by.get("SALib")
        memory = [own[name] for name in ("forward_working_bytes", "working_bytes")]
        table.append(
            [
                own["what"] + (f", {own['copies']} at once" if own["copies"] > 1 else ""),
                own["by"],
                f"{own['inputs']:,}",
                _seconds(own["forward_seconds"]),
                _seconds(own["seconds"]),
                f"{own['ratio']:.1f}",
                "" if None in memory else " to ".join(f"{m / 2**10:.0f}" for m in memory) + " KiB",
                "" if moved is None else _seconds(moved["seconds"]),
                "" if moved is None else f"{moved['differences_error']:.0e}",
                "" if peer is None else f"{peer['runs_made']:,} for {peer['varied']} inputs",
                "" if peer is None else _seconds(peer["seconds"]),
                own["status"],
            ]
        )
    return head, table


def _seconds(seconds: float) -> str:
    """With the unit that leaves a readable number."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1e6 * seconds:.3g} µs"


TABLES: dict[str, tuple[tuple[str, Callable[[Rows], Table]], ...]] = {
    "hybrids": (
        ("the paper's stack, Keras on JAX and DEAP, doing the same evaluations", _hybrids),
    ),
    "optimizers": (("particle swarms, float32; ratios of generations per second", _optimizers),),
    "batches": (("LSTM 4-10-1, against the number trained in one call", _batches),),
    "smoothing": (
        (
            "statsforecast on the same data and cores; squares: share of series whose one-step sum "
            "is more than 1e-4 above, below; bare: its methods in a loop, without data frames, as "
            "if on two cores without loss",
            _smoothing,
        ),
    ),
    "transport": (
        (
            "closed forms: largest error over ages at the end, observed order, time to reach an "
            "error of 1e-6; upwind is explicit with CFL 1/2 where nothing else is said",
            _transport_accuracy,
        ),
        (
            "3 components; 8 bytes a cell for H(t), 16 for a trajectory and a copy; ratio of "
            "gradients: value and gradient to the forward model",
            _transport_speed,
        ),
    ),
    "ode": (
        (
            "20 years, every solver tuned to a relative error below 1e-6 at yearly points; scipy: "
            "the best of DOP853, RK45, LSODA",
            _ode_solvers,
        ),
        ("27 towns, in blocks of scenarios and on two devices", _ode_sweeps),
        (
            "value and gradient of the sum of squared balances; ratio to the value alone",
            _ode_gradients,
        ),
    ),
    "gradients": (
        (
            "reverse mode against forward runs; working memory of run and gradient as XLA plans "
            "it; central differences by every input; SALib's samples until it knows shares of the "
            "variance near the point, as the gradient does",
            _gradients,
        ),
    ),
    "inverse": (
        (
            "27 places, 20 years, 21 points, 5 % noise, K and c known: relative error of force, "
            "medians of 5 seeds; the statistical floor is 0.128",
            inverse.central_table,
        ),
        ("networks alike in three tools, float32, the same penalty", inverse.networks_table),
        ("one factor at a time, medians of 3 seeds", inverse.factors_table),
    ),
    "shapley": (("a perceptron of 8 units; sampled: 10 pairs of orders in both", _shapley),),
    "towns": (
        (
            "all networks of the retrospective years of the paper, 10 of 16 architectures a width; "
            "scikit-learn on both cores",
            _towns_search,
        ),
        (
            "least changes of five factors through an ensemble of five networks, bounds on every "
            "factor; aim 50 times",
            _towns_inverse,
        ),
    ),
}


if __name__ == "__main__":
    main()
