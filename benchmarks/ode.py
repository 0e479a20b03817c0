"""Claim: the exact propagator solves a batch of linear balance dynamics, force and all, at least 40
times as fast as scipy's `solve_ivp` in a loop and 3 times as fast as one call with all scenarios
stacked (27 towns, 256 scenarios), and 10 times as fast as the loop for 270 towns, at equal error.
Value and gradient take at most 4 times the forward time.

Command: python -m benchmarks.ode                (about 8 minutes; --quick: 2 minutes)
Device:  2 CPU cores, one device (two where it is said).

Every solver has the loosest tolerance that keeps the relative error below 1e-6 at all yearly points
of all scenarios; the propagator has no tolerance, only a number of nodes a year. scipy runs in a
loop and stacked, by DOP853, RK45 and LSODA; the best counts. OpenBLAS has one thread, except where
the modes of a large matrix are found: its threads wait for each other, and where other work keeps
the cores busy the modes of 270 towns may take a second instead of 6 ms.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks import _ode_gradients as gradients
from benchmarks import _ode_problem as problems
from benchmarks import _ode_programs as programs
from benchmarks import _timing as timing
from benchmarks._ode_cases import Cases, Row, config_of, time_rows
from benchmarks._ode_problem import REACH, Problem, relative_error
from diffmig import migration
from diffmig.batching import batch_mesh

ROOT = Path(__file__).resolve().parents[1]
AIMS = {27: {"loop": 40.0, "stacked": 3.0}, 270: {"loop": 10.0}}
GRADIENT_AIM = 4.0
CHECK = 1e-9  # of the reference, against scipy
TIGHT = 1e-12  # tolerance of scipy as a reference
CHECKED = 4  # scenarios of that comparison
REFERENCE_NODES = 5 * migration.NUM_NODES
SMALL = 27  # towns of the sweeps


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: small sizes.
        parts: speed, undamped, large, sparse, scenarios, years, gradients.
        sizes: towns and scenarios of the comparison with scipy.
        undamped: towns and scenarios of the comparison with Verlet.
        large: towns, scenarios, nearest neighbours; with a matrix and without.
        sparse: the same, only without a matrix.
        scenarios, years: of the sweeps over 27 towns.
        blocks: scenarios of a block in the first of them.
        solvers: of Diffrax.
        gradient_sizes: towns and scenarios.
        gradient_tolerance: of Diffrax there.
        adjoints: of Diffrax there, the default first.
        blas_threads: of OpenBLAS; "large" has all.
        repeats, budget: at most so many timed rounds, and seconds per program.
        seed: of towns and scenarios.
        out: file of the rows; empty: none.
    """

    quick: bool = False
    parts: tuple[str, ...] = (
        *("speed", "undamped", "large", "sparse", "scenarios", "years", "gradients"),
    )
    sizes: tuple[tuple[int, int], ...] = ((27, 256), (270, 32))
    undamped: tuple[int, int] = (27, 256)
    large: tuple[int, int, int] = (3142, 2, 8)
    sparse: tuple[int, int, int] = (20_000, 1, 8)
    scenarios: tuple[int, ...] = (1, 16, 256, 1024)
    years: tuple[int, ...] = (5, 20, 80)
    blocks: tuple[int, ...] = (16, 64)
    solvers: tuple[str, ...] = migration.SOLVERS
    gradient_sizes: tuple[tuple[int, int], ...] = ((27, 1), (270, 1), (27, 256))
    gradient_tolerance: float = 1e-7
    adjoints: tuple[str, ...] = gradients.ADJOINTS
    blas_threads: int = 1
    repeats: int = 20
    budget: float = 2.0
    seed: int = 0
    out: str = str(ROOT / "benchmarks" / "results" / "ode.json")


QUICK: dict[str, Any] = {
    "parts": ("speed", "large", "scenarios", "gradients"),
    "sizes": ((27, 32),),
    "large": (300, 2, 8),
    "scenarios": (1, 64),
    "blocks": (16,),
    "solvers": ("tsit5",),
    "gradient_sizes": ((27, 1),),
    "repeats": 3,
    "budget": 0.5,
}


# --- parts ----------------------------------------------------------------------------------------


def reference(problem: Problem, modes: migration.Modes) -> tuple[np.ndarray, float]:
    """Balances by five times as many nodes, and how far scipy is from them at its tightest."""
    run, arguments = programs.by_propagator(problem, modes=modes, num_nodes=REFERENCE_NODES)
    expected = np.asarray(jax.jit(run)(*arguments))
    some = problems.first_scenarios(problem, CHECKED)
    by_scipy = problems.solve_stacked(some, "DOP853", TIGHT, sparse=problem.sparse is not None)
    return expected, relative_error(by_scipy, expected[:CHECKED])


def _begin(problem: Problem, part: str) -> tuple[Cases, migration.Modes]:
    modes = migration.modes(jnp.asarray(problem.matrix))
    expected, gap = reference(problem, modes)
    return Cases(problem, expected, part=part, reference_gap=gap), modes


def measure_speed(options: Options) -> list[Row]:
    """Rows of every solver, size by size."""
    return [row for size in options.sizes for row in _speed(*size, options)]


def _speed(num_towns: int, num_scenarios: int, options: Options) -> list[Row]:
    problem = problems.made_problem(num_towns, num_scenarios, seed=options.seed)
    cases, modes = _begin(problem, "speed")
    for method in ("DOP853", "RK45", "LSODA"):
        one_by_one = partial(problems.solve_one_by_one, problem, method)
        cases.add_tuned(one_by_one, method, library="scipy", how="loop")
        if method != "LSODA":  # it would hold the Jacobian of all scenarios
            stacked = partial(problems.solve_stacked, problem, method)
            cases.add_tuned(stacked, method, library="scipy", how="stacked")
    for solver in options.solvers:
        cases.add_diffrax(solver, library="Diffrax", how="vmap")
    about = {"library": "diffmig", "solver": "propagator", "nodes": migration.NUM_NODES}
    program = programs.by_propagator
    cases.add_program(program(problem, modes=modes), how="modes", **about)
    cases.add_program(program(problem), how="matrix", **about)
    cases.add_program(programs.by_table(problem, modes), how="modes, force tabulated", **about)
    return cases.time(repeats=options.repeats, budget=options.budget)


def measure_undamped(options: Options) -> list[Row]:
    """Rows of Verlet, its steps as few as reach the error, beside propagator and Diffrax."""
    problem = problems.made_problem(*options.undamped, damping=0.0, seed=options.seed)
    cases, modes = _begin(problem, "undamped")
    run, arguments = programs.by_verlet(problem, 64)
    found = relative_error(jax.jit(run)(*arguments), cases.expected)
    per_year = 16 * int(np.ceil(1.02 * 64 * np.sqrt(found / REACH) / 16))  # of order 2
    verlet = programs.by_verlet(problem, per_year)
    cases.add_program(verlet, library="diffmig", solver="verlet", how="vmap", per_year=per_year)
    for solver in options.solvers[:1]:
        cases.add_diffrax(solver, library="Diffrax", how="vmap")
    exact = programs.by_propagator(problem, modes=modes)
    about = {"library": "diffmig", "solver": "propagator", "nodes": migration.NUM_NODES}
    cases.add_program(exact, how="modes", **about)
    return cases.time(repeats=options.repeats, budget=options.budget)


def measure_large(options: Options) -> list[Row]:
    """Rows with a matrix of all counties, its modes apart, and without the matrix."""
    num_towns, num_scenarios, neighbours = options.large
    problem = problems.made_problem(
        num_towns, num_scenarios, neighbours=neighbours, seed=options.seed
    )
    cases, modes = _begin(problem, "large")
    matrix = jnp.asarray(problem.matrix)
    about = {"library": "diffmig", "solver": "propagator", "nodes": migration.NUM_NODES}
    cases.add_program(programs.by_propagator(problem, modes=modes), how="modes", **about)
    solver = options.solvers[-1]  # of the highest order: fewest products with the matrix
    cases.add_diffrax(solver, library="Diffrax", how="vmap")
    cases.add_diffrax(solver, matrix_free=True, library="Diffrax", how="vmap, nearest")
    sparse = partial(problems.solve_one_by_one, problem, "DOP853", sparse=True)
    tolerance = cases.add_tuned(sparse, "DOP853", library="scipy", how="loop, nearest")
    dense = partial(problems.solve_one_by_one, problem, "DOP853", tolerance)
    cases.add(dense, library="scipy", solver="DOP853", how="loop", tolerance=tolerance)
    rows = cases.time(repeats=options.repeats, budget=options.budget)
    values, vectors = (np.asarray(x) for x in modes)
    residual = np.abs(problem.matrix @ vectors - vectors * values).max() / values[-1]
    row = cases.about | {"library": "diffmig", "solver": "modes", "how": "modes of the matrix"}
    row |= {"error": float(residual), "peak_bytes": timing.peak_bytes()}
    time_rows([row], [partial(migration.modes, matrix)], repeats=3, budget=0.0)
    return [*rows, row]


def measure_sparse(options: Options) -> list[Row]:
    """Rows of more towns than a matrix can hold; the reference is scipy's."""
    num_towns, num_scenarios, neighbours = options.sparse
    problem = problems.made_problem(
        num_towns, num_scenarios, neighbours=neighbours, dense=False, seed=options.seed
    )
    solve = partial(problems.solve_one_by_one, problem, "DOP853", sparse=True)
    expected = solve(TIGHT)
    gap = relative_error(solve(10 * TIGHT), expected)
    cases = Cases(problem, expected, part="sparse", reference_gap=gap)
    for solver in options.solvers:
        cases.add_diffrax(solver, matrix_free=True, library="Diffrax", how="vmap, nearest")
    cases.add_tuned(solve, "DOP853", library="scipy", how="loop, nearest")
    return cases.time(repeats=options.repeats, budget=options.budget)


def measure_scenarios(options: Options) -> list[Row]:
    """Rows against the number of scenarios: at once, in blocks, on two devices."""
    largest = problems.made_problem(SMALL, max(options.scenarios), seed=options.seed)
    modes = migration.modes(jnp.asarray(largest.matrix))
    expected, gap = reference(largest, modes)
    tolerance = Cases(largest, expected).add_diffrax("tsit5")
    both = jax.device_count() > 1
    rows: list[Row] = []
    calls: list[Callable[[], Any]] = []
    for number in options.scenarios:
        problem = problems.first_scenarios(largest, number)
        cases = Cases(problem, expected[:number], part="scenarios", reference_gap=gap)
        ways = [(None, 1), *((block, 1) for block in options.blocks if block < number)]
        for block, devices in [*ways, *([(None, 2)] if both and number > 1 else [])]:
            mesh = batch_mesh() if devices == 2 else None
            how: Row = {"block": block or 0, "devices": devices}
            exact = programs.by_propagator(problem, modes=modes, block=block, mesh=mesh)
            about = {"library": "diffmig", "solver": "propagator", "how": "modes"}
            cases.add_program(exact, **about, **how)
            config = config_of("tsit5", tolerance)
            diffrax = programs.by_diffrax(problem, config, block=block, mesh=mesh)
            about = {"library": "Diffrax", "solver": "tsit5", "how": "vmap"}
            cases.add_program(diffrax, tolerance=tolerance, **about, **how)
        rows, calls = rows + cases.rows, calls + cases.calls
    time_rows(rows, calls, repeats=options.repeats, budget=options.budget)
    return rows


def measure_years(options: Options) -> list[Row]:
    """Rows against the length of the motion, 256 scenarios."""
    rows: list[Row] = []
    calls: list[Callable[[], Any]] = []
    for years in options.years:
        number = min(256, max(options.scenarios))
        problem = problems.made_problem(SMALL, number, years, seed=options.seed)
        cases, modes = _begin(problem, "years")
        exact = programs.by_propagator(problem, modes=modes)
        cases.add_program(exact, library="diffmig", solver="propagator", how="modes")
        cases.add_diffrax("tsit5", library="Diffrax", how="vmap")
        rows, calls = rows + cases.rows, calls + cases.calls
    time_rows(rows, calls, repeats=options.repeats, budget=options.budget)
    return rows


def measure_gradients(options: Options) -> list[Row]:
    """Rows of value and gradient beside the value, size by size."""
    rows: list[Row] = []
    for num_towns, num_scenarios in options.gradient_sizes:
        problem = problems.made_problem(num_towns, num_scenarios, seed=options.seed)
        rows += gradients.measure(
            problem,
            options.gradient_tolerance,
            REFERENCE_NODES,
            options.adjoints,
            repeats=options.repeats,
            budget=options.budget,
        )
    return rows


# --- judging --------------------------------------------------------------------------------------


def judge(rows: list[Row]) -> None:
    """Adds status, and to speeds how many times scipy's best they are."""
    for row in rows:
        if row["part"] == "gradients":
            row["status"] = gradients.judge(row, GRADIENT_AIM)
            continue
        row["us_per_scenario"] = 1e6 * row["seconds"] / row["scenarios"]
        row["status"] = "compared"
        if row["part"] == "speed":
            _judge_speed(row, rows)
        if row["error"] > REACH or row["reference_gap"] > CHECK:
            row["status"] = "answers differ"


def _judge_speed(row: Row, rows: list[Row]) -> None:
    beside = [r for r in rows if r["part"] == "speed" and r["towns"] == row["towns"]]
    for how in ("loop", "stacked"):
        best = min(r["seconds"] for r in beside if r["how"] == how)
        row[f"against_{how}"] = best / row["seconds"]
    aims = AIMS.get(row["towns"], {})
    if row["solver"] == "propagator" and row["how"] in ("modes", "matrix") and aims:
        met = all(row[f"against_{how}"] >= aim for how, aim in aims.items())
        row["status"] = "met" if met else "missed"


# --- processes and tables -------------------------------------------------------------------------

PARTS: dict[str, Callable[[Options], list[Row]]] = {
    "speed": measure_speed,
    "undamped": measure_undamped,
    "large": measure_large,
    "sparse": measure_sparse,
    "scenarios": measure_scenarios,
    "years": measure_years,
    "gradients": measure_gradients,
}


def in_process(part: str, options: Options) -> list[Row]:
    """Rows of a part in a process of its own, with its own threads and peak of memory.

    Raises:
        RuntimeError: the process failed.
    """
    threads = {} if part == "large" else {"OPENBLAS_NUM_THREADS": str(options.blas_threads)}
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.ode import worker; worker()"],
        input=json.dumps({"part": part, "options": asdict(options)}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | threads,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process of {part} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def worker() -> None:
    """The part on stdin for the options on stdin, rows on stdout."""
    job: dict[str, Any] = json.load(sys.stdin)
    given = {name: _tuples(value) for name, value in job["options"].items()}
    timing.setup(2 if job["part"] == "scenarios" else None)
    print(json.dumps(PARTS[job["part"]](Options(**given))))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def run(options: Options) -> Iterator[list[Row]]:
    """Rows, part after part."""
    for part in options.parts:
        yield in_process(part, options)


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = []
    for r in rows:
        what = f"{r['part']:<9} {r['towns']:>5} towns x {r['scenarios']:<4} {r['years']:>2} years"
        what += f" {r['solver']:<10}"
        if r["part"] == "gradients":
            ratio = f" ratio {r['ratio']:.2f}" if r["by"] else ""
            what += f" {r.get('adjoint', r['given']):<22} {r['by'] or 'value':<31}"
        else:
            cut = f" block {r['block'] or 'none'}, {r['devices']} dev." if "block" in r else ""
            what += f" {r['how']:<22}{cut} {r['us_per_scenario']:>10.1f} us each"
            ratio = f" loop x{r['against_loop']:.1f}" if "against_loop" in r else ""
            ratio += f" stacked x{r['against_stacked']:.1f}" if "against_stacked" in r else ""
        compiling = f"{r['compile_seconds']:>5.1f} s compiling" if "compile_seconds" in r else ""
        memory = f"{(r.get('working_bytes') or 0) / 2**20:>7.1f} MiB"
        lines.append(
            f"{what} {1e3 * r['seconds']:>10.3f} ms error {r['error']:.1e} {compiling:<15} "
            f"{memory}{ratio}  {r['status']}"
        )
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.quick:
        options = replace(options, **QUICK)
    timing.setup()
    rows: list[Row] = []
    for new in run(options):
        rows += new
        judge(rows)
        print(table(new), flush=True)
        if options.out:  # after every part: what is measured stays, whatever comes later
            timing.write_rows(Path(options.out), rows)


if __name__ == "__main__":
    main()
