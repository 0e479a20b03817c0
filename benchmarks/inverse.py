"""Claim: the external force is recovered with an error at or below that of the penalised networks
of DeepXDE and jinns; ten networks by the same optimiser and steps take at most 1 / 2.5 of their
time, compilation included; the same error is reached 10 times sooner by any optimiser; stiffness
and damping are found within 3 % where towns without force identify them.

Command: python -m benchmarks.inverse          (about 25 minutes; --quick: 2 minutes)
Device:  one CPU core for every process. Peers: pip install 'diffmig[bench]' (deepxde, jinns), or
         --peer-python of another environment.

Reference problem: `benchmarks._inverse_problem`. Penalties are chosen from the data (generalised
cross-validation, marginal likelihood, years held out), never from the error. The networks that are
compared are alike: two perceptrons 64 x 3, tanh, the same points, weights, Adam, float32; their
penalty is the one that diffmig's cross-validation chose. A plain network has none: its error is
that of its last step, and its path shows what stopping earlier would give.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import _inverse_problem as ip
from benchmarks import _timing as timing
from benchmarks._inverse_own import NETWORK, told_noise

ROOT = Path(__file__).resolve().parents[1]
CENTRAL = ip.Cell()
FACTORS = {
    "towns 3": replace(CENTRAL, towns=3),
    "towns 270": replace(CENTRAL, towns=270),
    "points 11": replace(CENTRAL, points=11),
    "points 41": replace(CENTRAL, points=41),
    "noise 0": replace(CENTRAL, noise=0.0),
    "noise 1 %": replace(CENTRAL, noise=0.01),
    "noise 10 %": replace(CENTRAL, noise=0.1),
    "noise 20 %": replace(CENTRAL, noise=0.2),
    "force gp": replace(CENTRAL, force="gp"),
    "parameters": replace(CENTRAL, variant="linp"),
    "nonlinear": replace(CENTRAL, variant="nl"),
}
ONE_CORE = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
}


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: the central cell once, few steps.
        parts: central, networks, factors, in this order.
        peers: compare with the other tools if they are installed.
        peer_python: interpreter that has them; empty: this one.
        seeds, factor_seeds: drawn problems in the central cell, in the others.
        steps: of Adam.
        network_seeds: starts of networks that train together; peers run one, times so many.
        budget: seconds after which no further cell is begun.
        core: that all processes share, one after the other.
        out: file of the rows; empty: none.
    """

    quick: bool = False
    parts: tuple[str, ...] = ("central", "networks", "factors")
    peers: bool = True
    peer_python: str = ""
    seeds: int = 5
    factor_seeds: int = 3
    steps: int = 8000
    network_seeds: int = 10
    budget: float = 1500.0
    core: int = 0
    out: str = str(ROOT / "benchmarks" / "results" / "inverse.json")


QUICK: dict[str, Any] = {"parts": ("central", "networks"), "seeds": 1, "steps": 400}
QUICK |= {"network_seeds": 2, "factor_seeds": 1}


# --- processes ------------------------------------------------------------------------------------


def own_rows(method: str, cells: list[ip.Cell], options: Options, **job: Any) -> list[dict]:
    """Rows of one of diffmig's methods on cells, in one process."""
    environment = job.pop("environment", None)
    job |= {"method": method, "cells": [asdict(cell) for cell in cells], "core": options.core}
    command = [sys.executable, "-m", "benchmarks._inverse_own"]
    out = _process(command, json.dumps(job), environment)
    about = {"tool": "diffmig", "method": method}
    if out is None:
        return [about | asdict(cell) | {"failed": True} for cell in cells]
    return [about | row for row in json.loads(out.splitlines()[-1])]


def peer_row(tool: str, cell: ip.Cell, options: Options, **choices: Any) -> dict[str, Any]:
    """Row of a peer on a cell, in a process of its own."""
    problem = ip.made_problem(cell)
    stops = choices.pop("stops", [options.steps])
    job: dict[str, Any] = {"method": tool, "network_seed": 0, "stops": stops, "core": options.core}
    job |= {"points": int(ip.YEARS * 8) + 1, "penalty": 0.0, "optimizer": "adam"}
    job |= NETWORK | {"fit_theta": cell.variant == "linp", "guess": ip.GUESS}
    job |= {"theta": [ip.DAMPING, ip.CONFINEMENT, ip.COUPLING]} | choices
    spread = problem.observed.std(axis=1) if cell.variant == "linp" else np.ones(cell.towns)
    told = told_noise(problem) * spread / spread.mean()
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("job.npz", "result.npz")]
        arrays = problem._replace(noise=told)._asdict()
        np.savez(files[0], options=json.dumps(job), **arrays)
        python = options.peer_python or sys.executable
        script = str(ROOT / "benchmarks" / "_inverse_peers.py")
        about = {"tool": tool} | asdict(cell)
        if _process([python, script, *files]) is None:
            return about | {"failed": True}
        with np.load(files[1]) as stored:
            result = {name: stored[name] for name in stored.files}
    row = about | json.loads(str(result.pop("found")))
    row |= ip.scores(problem, result["balance"], result["force"])
    if "trace_force" in result:
        row["trace_step"] = result["trace_step"].tolist()
        row["trace_seconds"] = result["trace_seconds"].tolist()
        row["trace_err_f"] = [ip.relative(f, problem.force) for f in result["trace_force"]]
    if cell.variant == "linp":
        row |= ip.parameter_errors(*row["theta"])
    return row


def has_peers(options: Options) -> bool:
    if not options.peers:
        return False
    if options.peer_python:
        return Path(options.peer_python).exists()
    return all(importlib.util.find_spec(name) for name in ("deepxde", "jinns"))


def _process(
    command: list[str], given: str | None = None, environment: dict[str, str] | None = None
) -> str | None:
    """Output of a process on one core; None if it failed, with its last words on stderr."""

    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | ONE_CORE | (environment or {}),
        check=False,
    )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return done.stdout


# --- parts ----------------------------------------------------------------------------------------

Clock = Callable[[], bool]


def measure_central(options: Options, in_time: Clock) -> Iterator[list[dict[str, Any]]]:
    """Every method on the central cell, every seed."""
    cells = [replace(CENTRAL, seed=seed) for seed in range(options.seeds)]
    for method in ("network", "latent force", "spline", "shooting"):
        yield own_rows(method, cells, options)
    with tempfile.TemporaryDirectory() as folder:  # programs kept on disk, as entry points do
        kept = {"environment": {"DIFFMIG_CACHE_DIR": folder}, "again": False}
        own_rows("network", cells[:1], options, **kept)
        rows = own_rows("network", cells[:1], options, **kept)
        yield [row | {"what": "programs from disk"} for row in rows]
    if has_peers(options):
        for cell in cells:
            yield [peer_row("scipy", cell, options)]


def measure_networks(options: Options, in_time: Clock) -> Iterator[list[dict[str, Any]]]:
    """Networks alike in three tools: penalised, timed and traced; plain, traced."""
    (chosen,) = own_rows("network", [CENTRAL], options, again=False)
    steps, seeds = options.steps, options.network_seeds
    alike = {"again": False, "network_seed": 0, "steps": steps, "block": 1}
    penalised = {"penalty": chosen["penalty"]}
    (row,) = own_rows(
        "network, Adam", [CENTRAL], options, **alike, **penalised, chunk=steps, network_seeds=seeds
    )
    yield [row | {"what": "penalised", "starts": seeds, "steps": steps}]
    if has_peers(options):
        for tool in ("deepxde", "jinns"):
            row = peer_row(tool, CENTRAL, options, **penalised)
            yield [row | {"what": "penalised", "starts": 1, "steps": steps}]
    for what, choice in (("penalised, path", penalised), ("plain", {"penalty": 0.0})):
        if not in_time():
            return
        stops = [s for s in (250, 500, 1000, 2000, 4000) if s < steps] + [steps]
        (row,) = own_rows(
            "network, Adam", [CENTRAL], options, **alike, **choice, chunk=250, network_seeds=1
        )
        yield [row | {"what": what, "starts": 1, "steps": steps}]
        if has_peers(options):
            row = peer_row("deepxde", CENTRAL, options, stops=stops, **choice)
            yield [row | {"what": what, "starts": 1, "steps": steps}]
    if has_peers(options) and in_time():
        few = max(steps // 20, 10)
        row = peer_row(
            "jinns", CENTRAL, options, optimizer="ssbroyden", width=16, stops=[few], **penalised
        )
        yield [row | {"what": "penalised, SSBroyden, 16 x 3", "starts": 1, "steps": few}]


def measure_factors(options: Options, in_time: Clock) -> Iterator[list[dict[str, Any]]]:
    """One factor at a time."""
    for name, cell in FACTORS.items():
        if not in_time():
            return
        cells = [replace(cell, seed=seed) for seed in range(options.factor_seeds)]
        linear, known = cell.variant != "nl", cell.variant == "lin"
        methods = ["network"] * linear + ["latent force"] * linear + ["spline"] * known
        if cell.towns <= 30:
            methods.append("shooting")
        for method in methods:
            rows = own_rows(method, cells, options, again=False)
            yield [row | {"factor": name} for row in rows]
        if has_peers(options) and cell.towns <= 30:
            yield [peer_row("scipy", one, options) | {"factor": name} for one in cells]


PARTS = {"central": measure_central, "networks": measure_networks, "factors": measure_factors}


def run(options: Options) -> Iterator[list[dict[str, Any]]]:
    """Rows, process after process."""
    start = time.monotonic()

    def in_time() -> bool:
        return time.monotonic() - start < options.budget

    for part in options.parts:
        if in_time():
            for rows in PARTS[part](options, in_time):
                load = {"part": part, "load": os.getloadavg()[0]}
                yield [load | {"what": row.get("what", "")} | row for row in rows]


def main() -> None:
    from benchmarks._inverse_tables import judge, table

    options = tyro.cli(Options, description=__doc__)
    if options.quick:
        options = replace(options, **QUICK)
    rows: list[dict[str, Any]] = []
    for new in run(options):
        rows += new
        judge(rows)
        print(table(new), flush=True)
        if options.out:  # after every process: what is measured stays, whatever comes later
            timing.write_rows(Path(options.out), rows)


if __name__ == "__main__":
    main()
