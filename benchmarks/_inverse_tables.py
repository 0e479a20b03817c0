"""Judges the rows of `benchmarks.inverse` and sets them in tables."""

from typing import Any

import numpy as np

Rows = list[dict[str, Any]]
Table = tuple[list[str], list[list[str]]]
AIMS = {"seeds": 2.5, "sooner": 10.0, "parameters": 0.03, "error": 1.02}
THRESHOLDS = (0.5, 0.3, 0.2, 0.1)
_ERRORS = ("err_c", "err_k0", "err_kc")


def judge(rows: Rows) -> None:
    """Adds status, ratios to the peers' time, and seconds until the error was at most so much."""
    for row in rows:
        row["status"] = "failed" if row.get("failed") else "compared"
        for error in THRESHOLDS:
            row[f"seconds_to_{error}"] = time_to(row, error)
    own = [r for r in rows if r["tool"] == "diffmig" and not r.get("failed")]
    peers = [r for r in rows if r["tool"] != "diffmig" and not r.get("failed")]
    _judge_seeds(own, peers)
    _judge_sooner(own, peers)
    for row in own:
        if row["method"] == "network" and row["variant"] == "linp" and row["towns"] == 27:
            group = [r for r in own if r["method"] == "network" and r["variant"] == "linp"]
            worst = max(np.median([r[name] for r in group]) for name in _ERRORS)
            row["status"] = "met" if worst <= AIMS["parameters"] else "missed"


def _judge_seeds(own: Rows, peers: Rows) -> None:
    """Many networks by the same optimiser and steps: time, and error no worse."""
    for row in own:
        if row.get("what") != "penalised":
            continue
        alike = [p for p in peers if p.get("what") == "penalised" and p["steps"] == row["steps"]]
        if not alike:
            continue
        for peer in alike:
            peer["seconds_of_starts"] = peer["seconds"] * row["starts"] / peer["starts"]
            peer["diffmig_is_times_as_fast"] = peer["seconds_of_starts"] / row["seconds"]
        fast = min(p["diffmig_is_times_as_fast"] for p in alike) >= AIMS["seeds"]
        good = row["err_f"] <= AIMS["error"] * min(p["err_f"] for p in alike)
        row["status"] = "met" if fast and good else "missed"


def _judge_sooner(own: Rows, peers: Rows) -> None:
    """The exact network against the first moment at which a peer's network was as good: with all
    its programs compiled, with programs from disk, and again in the same process.
    """
    exact = [r for r in own if (r["part"], r["method"], r["seed"]) == ("central", "network", 0)]
    networks = [p for p in peers if p["tool"] in ("deepxde", "jinns")]
    if not exact or not networks:
        return
    first = exact[0]
    reached = [time_to(p, first["err_f"] * AIMS["error"]) for p in networks]
    seconds = min((x for x in reached if x is not None), default=None)
    first["peer_seconds_to_error"] = seconds
    if seconds is None:
        return
    for row in exact:
        row["sooner"] = seconds / row["seconds"]
        row["status"] = "met" if row["sooner"] >= AIMS["sooner"] else "missed"
    if "warm_seconds" in first:
        first["sooner_again"] = seconds / first["warm_seconds"]


def time_to(row: dict[str, Any], error: float) -> float | None:
    """Seconds until err_f was at most `error`; None: never."""
    if "trace_err_f" in row:
        path = zip(row["trace_seconds"], row["trace_err_f"], strict=True)
        return next((seconds for seconds, e in path if e <= error), None)
    return row["seconds"] if row.get("err_f", np.inf) <= error else None


def table(rows: Rows) -> str:
    """The rows as text."""
    lines = []
    for r in rows:
        cell = f"{r['variant']:<4} {r['force']:<6} N={r['towns']:<3} {r['points']:>2} points"
        what = f"{r['tool']} {r.get('method', '')} {r.get('what', '')}"
        line = f"{r['part']:<8} {cell} {100 * r['noise']:>4.0f} % seed {r['seed']} {what:<36}"
        if r.get("failed"):
            lines.append(line + " failed")
            continue
        line += f" err_q {r['err_q']:.3f} err_f {r['err_f']:.3f} ({r['err_f_inner']:.3f})"
        line += f" {r['seconds']:>7.2f} s"
        line += f", warm {r['warm_seconds']:.2f} s" if "warm_seconds" in r else ""
        line += f", cover {r['coverage_90']:.2f}" if "coverage_90" in r else ""
        line += "".join(f" {100 * r[n]:.1f} %" for n in _ERRORS if n in r)
        lines.append(f"{line} {r['peak_bytes'] / 2**20:.0f} MiB  {r['status']}")
    return "\n".join(lines)


def central_table(rows: Rows) -> Table:
    """Central cell: medians over seeds."""
    head = ["method", "err_f, median (range)", "1-19 years", "err_q", "90 % bands cover"]
    head += ["time, first", "again", "peak memory"]
    lines = []
    own = [r for r in rows if r["part"] == "central" and not r.get("failed")]
    stored = next((r["seconds"] for r in own if r.get("what")), None)
    own = [r for r in own if not r.get("what")]
    for name in dict.fromkeys(_name(r) for r in own):
        group = [r for r in own if _name(r) == name]
        f = [r["err_f"] for r in group]
        again = [r["warm_seconds"] for r in group if "warm_seconds" in r]
        cover = [r["coverage_90"] for r in group if "coverage_90" in r]
        lines.append(
            [
                name,
                f"{np.median(f):.3f} ({min(f):.3f}-{max(f):.3f})",
                f"{_median(group, 'err_f_inner'):.3f}",
                f"{_median(group, 'err_q'):.3f}",
                f"{100 * np.median(cover):.0f} %" if cover else "",
                f"{group[0]['seconds']:.2g} s"
                + (f", from disk {stored:.2g} s" if stored and name.endswith("network") else ""),
                f"{np.median(again):.2g} s" if again else "",
                f"{group[0]['peak_bytes'] / 2**20:.0f} MiB",
            ]
        )
    return head, lines


def networks_table(rows: Rows) -> Table:
    """Networks alike in several tools."""
    head = ["networks", "tool", "steps", "err_f at the end", "lowest on the way, at step"]
    head += ["time", "of as many starts", "times diffmig's", "to err_f 0.3, 0.2", "status"]
    lines = []
    for r in rows:
        if r["part"] != "networks" or r.get("failed"):
            continue
        lowest = ""
        if "trace_err_f" in r:
            at = int(np.argmin(r["trace_err_f"]))
            lowest = f"{r['trace_err_f'][at]:.3f}, {r['trace_step'][at]}"
        reached = [r.get(f"seconds_to_{e}") for e in (0.3, 0.2)]
        starts = r.get("seconds_of_starts", r["seconds"] if r["starts"] > 1 else None)
        ratio = r.get("diffmig_is_times_as_fast")
        lines.append(
            [
                r["what"],
                r["tool"],
                f"{r['steps']}",
                f"{r['err_f']:.3f}",
                lowest,
                f"{r['seconds']:.1f} s",
                "" if starts is None else f"{starts:.0f} s",
                "" if ratio is None else f"{ratio:.1f}",
                ", ".join("-" if s is None else f"{s:.1f} s" for s in reached),
                r["status"],
            ]
        )
    return head, lines


def factors_table(rows: Rows) -> Table:
    """err_f, median over seeds, of every method in every cell."""
    own = [r for r in rows if r["part"] in ("central", "factors") and not r.get("failed")]
    own = [r for r in own if not r.get("what")]
    names = list(dict.fromkeys(_name(r) for r in own))
    head = ["cell", *(f"{name}: err_f (1-19 years)" for name in names), "errors of c, k0, kc"]
    lines = []
    for factor in dict.fromkeys(r.get("factor", "central") for r in own):
        line, errors = [factor], ""
        for name in names:
            group = [r for r in own if (r.get("factor", "central"), _name(r)) == (factor, name)]
            cell = ""
            if group:
                cell = f"{_median(group, 'err_f'):.3f} ({_median(group, 'err_f_inner'):.3f})"
            line.append(cell)
            if group and _ERRORS[0] in group[0]:
                found = ", ".join(f"{100 * _median(group, n):.1f}" for n in _ERRORS)
                errors += f"{name}: {found} %; "
        lines.append([*line, errors.rstrip("; ")])
    return head, lines


def _name(row: dict[str, Any]) -> str:
    return row["tool"] if row["tool"] != "diffmig" else f"diffmig, {row['method']}"


def _median(rows: Rows, name: str) -> float:
    return float(np.median([row[name] for row in rows]))
