"""Claim: transport along characteristics reaches an error of 1e-6 at less cost than the schemes on
fixed grids; it accumulates H(t) at 50 % or more of the rate of a warm memory copy, and stores a
trajectory at the rate of a copy that allocates its output; 100 times as many regions, in blocks,
take the same time per cell and the same memory. Value and gradient take at most 3 times the forward
time for all budget lines and years, at most 4 for every input of one region.

Command: python -m benchmarks.transport          (about 8 minutes; --quick: 1 minute)
Device:  2 CPU cores, one device. Peer: pip install 'diffmig[bench]' (py-pde).

Rates count the bytes that must move: 8 per cell for H(t) (the source is read), 16 for a trajectory
(the source is read, a value written), 16 per value for a copy. "Warm" copies write into memory that
has been written before; the others allocate their output, as JAX does for every result, and the
faster one counts. A copy is measured beside the programs, in the same rounds.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array, lax

from benchmarks import _schemes as schemes
from benchmarks import _timing as timing
from diffmig import data
from diffmig.human_capital import (
    Lines,
    budget_lines,
    source_per_head,
    transport,
    transport_totals,
)
from diffmig.runtime import CompileClock

ROOT = Path(__file__).resolve().parents[1]
AIMS = {"totals": 0.5, "stored": 1.0, "amounts": 3.0, "every": 4.0}
FLAT = 1.3  # time per cell of many blocks, against one
REACH = 1e-6  # error whose cost is compared
ORDER = 3.9  # of the exponential scheme on smooth data
CHECKS = {"cells": 1e-10, "totals": 1e-12, "gradient": 1e-6}
CHECKED = 2  # regions compared with a NumPy loop
COMPONENTS = 3
LEAST_SECONDS = 0.02  # of one timed repeat: short programs are called several times
INPUTS = ("amounts", "population", "initial", "wear_rate", "shares")


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: few steps, regions and repeats.
        parts: accuracy, throughput, gradients.
        peers: compare with py-pde if it is installed.
        steps: years, of all schemes.
        peer_steps: of py-pde, which compiles for 10 seconds at each.
        regions, ages, years: of the throughput; 3 components.
        blocks: so many times `regions`, in blocks of `regions`.
        gradient_regions: sizes of the gradients; 1 is the paper's.
        tunables: value of GLIBC_TUNABLES in a second process that repeats the throughput; empty:
            none.
        repeats, budget: at most so many timed rounds, and seconds per program.
        seed: of the data.
        out: file of the rows; empty: none.
    """

    quick: bool = False
    parts: tuple[str, ...] = ("accuracy", "throughput", "gradients")
    peers: bool = True
    steps: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125, 0.0625)
    peer_steps: tuple[float, ...] = (1.0, 0.25, 0.0625)
    regions: int = 1000
    ages: int = 101
    years: int = 60
    blocks: tuple[int, ...] = (10, 100)
    gradient_regions: tuple[int, ...] = (1, 100, 1000)
    tunables: str = "glibc.malloc.hugetlb=1"
    repeats: int = 20
    budget: float = 4.0
    seed: int = 0
    out: str = str(ROOT / "benchmarks" / "results" / "transport.json")


QUICK: dict[str, Any] = {
    "steps": (1.0, 0.5),
    "peer_steps": (1.0,),
    "regions": 100,
    "blocks": (10,),
    "gradient_regions": (1, 10),
    "repeats": 3,
    "budget": 1.0,
}


# --- error against cost ---------------------------------------------------------------------------


def measure_accuracy(name: str, options: Options) -> list[dict[str, Any]]:
    """Rows of one problem: every scheme at every step."""
    problem = schemes.problems()[name]
    rows: list[dict[str, Any]] = []
    calls: dict[str, Callable[[], Any]] = {}
    for step in options.steps:
        initial, nodes = schemes.initial_values(problem, step), schemes.ages(step)
        for scheme, build in schemes.SCHEMES.items():
            program, row = compiled(build(problem, step), initial)
            error = np.abs(np.asarray(program(initial)) - problem.exact(problem.end, nodes)).max()
            call = partial(program, initial)
            rows.append({"scheme": scheme, "step": step, "error": float(error)} | row)
            calls[f"{scheme} {step}"] = call
    for step in options.peer_steps if has_peer(options) else ():
        run = schemes.py_pde(problem, step)
        error = np.abs(run.solve() - problem.exact(problem.end, run.ages)).max()
        rows.append({"scheme": "py-pde", "step": step, "error": float(error)})
        rows[-1] |= {"compile_seconds": run.compile_seconds, "version": version("py-pde")}
        calls[f"py-pde {step}"] = run.solve
    about = {"part": "accuracy", "problem": name, "dtype": "float64"}
    rows = [about | row for row in rows]
    _time(rows, calls, options)
    return rows + _reached(rows)


def _reached(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per scheme: observed order, and seconds to an error of `REACH`, extrapolated by the
    order from the finest step where no step reaches it (cost ~ 1 / step^2)."""
    summaries = []
    for scheme in dict.fromkeys(row["scheme"] for row in rows):
        own = sorted((r for r in rows if r["scheme"] == scheme), key=lambda r: -r["step"])
        fine, order = own[-1], None  # of the finest steps that are not at round-off
        above = [row for row in own if row["error"] > CHECKS["cells"]][-2:]
        if len(above) == 2:
            halvings = np.log2(above[0]["step"] / above[1]["step"])
            order = float(np.log2(above[0]["error"] / above[1]["error"]) / halvings)
        good = [row["seconds"] for row in own if row["error"] <= REACH]
        reach = good[0] if good else None
        if not good and order is not None and order > 0:
            reach = fine["seconds"] * (fine["error"] / REACH) ** (2.0 / order)
        summary = {k: fine[k] for k in ("part", "problem", "dtype", "scheme", "step", "error")}
        summary |= {"summary": True, "seconds": fine["seconds"], "order": order}
        summary |= {"seconds_to_reach": reach, "extrapolated": not good}
        summaries.append(summary | {"first_error": own[0]["error"]})
    return summaries


# --- throughput -----------------------------------------------------------------------------------


def made_regions(options: Options, num_regions: int) -> dict[str, np.ndarray]:
    """Source [year, age, component, region], initial, population and wear of each kind."""
    rng = np.random.default_rng([options.seed, num_regions])
    shape = (options.years, options.ages, COMPONENTS, num_regions)
    return {
        "source": rng.uniform(0.5, 1.5, shape),
        "initial": rng.uniform(0.0, 10.0, shape[1:]),
        "weight": rng.uniform(0.5, 1.0, (options.years, options.ages, 1, 1)),
        "population": rng.uniform(0.5, 1.0, (options.years, options.ages, 1, num_regions)),
        "constant": rng.uniform(0.02, 0.04, (1, 1, COMPONENTS, 1)),
        "year, age": rng.uniform(0.02, 0.04, (options.years, options.ages, 1, 1)),
    }


def plain_loop(
    initial: np.ndarray, wear: np.ndarray, source: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """H [year, ...] and nodes [year + 1, age, ...] by NumPy, year by year."""
    rows, totals = [initial], []
    wear, weight = np.broadcast_to(wear, source.shape), np.broadcast_to(weight, source.shape)
    for nu, f, w in zip(wear, source, weight, strict=True):
        middle, end = (np.exp(-nu * k) * rows[-1] - np.expm1(-nu * k) / nu * f for k in (0.5, 1.0))
        totals.append((w * middle).sum(axis=0))
        rows.append(np.concatenate([np.zeros_like(end[:1]), end[:-1]]))
    return np.stack(totals), np.stack(rows)


def measure_throughput(options: Options) -> list[dict[str, Any]]:
    """Rows of H(t), trajectories and copies in this process."""
    made = made_regions(options, options.regions)
    wear_cells = np.broadcast_to(made["year, age"], made["source"].shape)
    source, initial = jnp.asarray(made["source"]), jnp.asarray(made["initial"])
    wears = {"constant": made["constant"], "year, age": made["year, age"], "cell": wear_cells}
    first = {name: array[..., :CHECKED] for name, array in made.items()}
    cases = [("totals", wear, "weight") for wear in wears]
    cases += [("totals", "constant", "population"), ("stored", "constant", "weight")]
    cases += [("stored", "year, age", "weight")]
    rows: list[dict[str, Any]] = []
    calls: dict[str, Callable[[], Any]] = {}
    for kind, wear, weight in cases:
        rate = jnp.asarray(wears[wear])
        arrays: tuple[Array, ...] = (initial, rate, source)
        arrays += (jnp.asarray(made[weight]),) if kind == "totals" else ()
        program, row = compiled(transport_totals if kind == "totals" else transport, *arrays)
        expected = plain_loop(
            first["initial"], wears[wear][..., :CHECKED], first["source"], first[weight]
        )[kind == "stored"]
        row["error"] = _difference(np.asarray(program(*arrays)[..., :CHECKED]), expected)
        row |= {"kind": kind, "wear": wear, "weight": weight, "blocks": 1}
        row |= {"bytes_per_cell": 8 if kind == "totals" else 16, "cells": source.size}
        rows.append(row | {"peak_bytes": timing.peak_bytes()})
        calls[f"{kind} {wear} {weight}"] = partial(program, *arrays)
    for name, call in _copies(made["source"], source).items():
        rows.append({"kind": f"copy, {name}", "cells": source.size, "bytes_per_cell": 16})
        rows[-1] |= {"blocks": 1, "error": 0.0, "compile_seconds": 0.0}
        calls[name] = call
    _time(_throughput_about(rows, options), calls, options)
    return rows


def _copies(there: np.ndarray, here: Array) -> dict[str, Callable[[], Any]]:
    return {
        "warm": partial(np.copyto, np.ones_like(there), there),
        "NumPy, allocating": there.copy,
        "JAX, allocating": partial(jnp.copy, here),
    }


def measure_blocks(options: Options) -> list[dict[str, Any]]:
    """Rows of many times `regions`, block after block.

    Every region has its own initial values; the source is the memory of one block in all of them:
    making or holding 145 MB for each block is not what is timed, reading them is.
    """
    made = made_regions(options, options.regions)
    arrays = {name: jnp.asarray(array) for name, array in made.items()}
    rest = (arrays["constant"], arrays["source"], arrays["weight"])
    rows: list[dict[str, Any]] = []
    calls: dict[str, Callable[[], Any]] = {}
    for blocks in (1, *options.blocks):
        numbers = jnp.arange(1, blocks + 1, dtype=float)
        starts = arrays["initial"][None] * numbers[:, None, None, None]

        def run(starts: Array, *rest: Array) -> Array:
            return lax.map(lambda initial: transport_totals(initial, *rest), starts)

        program, row = compiled(run, starts, *rest)
        last = program(starts, *rest)[-1, ..., :CHECKED]
        expected = plain_loop(
            blocks * made["initial"][..., :CHECKED],
            made["constant"],
            made["source"][..., :CHECKED],
            made["weight"],
        )[0]
        row |= {"error": _difference(np.asarray(last), expected), "kind": "blocks"}
        row |= {"wear": "constant", "weight": "weight", "blocks": blocks, "bytes_per_cell": 8}
        row |= {"cells": blocks * made["source"].size, "peak_bytes": timing.peak_bytes()}
        rows.append(row)
        calls[f"blocks {blocks}"] = partial(program, starts, *rest)
    _time(_throughput_about(rows, options), calls, options)
    return rows


def _throughput_about(rows: list[dict[str, Any]], options: Options) -> list[dict[str, Any]]:
    about = {"part": "throughput", "dtype": "float64", "regions": options.regions}
    about |= {"ages": options.ages, "years": options.years, "components": COMPONENTS}
    for row in rows:
        row |= about
    return rows


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


# --- gradients ------------------------------------------------------------------------------------


def last_total(lines: Lines, inputs: dict[str, Array]) -> Array:
    """H of the last year, summed over regions: spending, transport, weights and shares."""
    source = source_per_head(inputs["amounts"], lines, inputs["population"])
    totals = transport_totals(
        inputs["initial"],
        inputs["wear_rate"][None, None, :, None],
        source,
        inputs["population"][:, :, None, :],
    )
    return jnp.einsum("c,cr->", inputs["shares"], totals[-1])


def measure_gradients(options: Options) -> list[dict[str, Any]]:
    """Rows of value and gradient at every size, beside the forward model; lines of the bundled
    budget, amounts and population drawn."""
    lines = budget_lines(data.load_budget(), options.ages)
    num_lines, rows = lines.brackets.shape[0], []

    def model(some: dict[str, Array], others: dict[str, Array]) -> Array:
        return last_total(lines, others | some)

    for num_regions in options.gradient_regions:
        rng = np.random.default_rng([options.seed, num_regions, 1])
        drawn = {
            "amounts": rng.uniform(50.0, 150.0, (num_lines, options.years, num_regions)),
            "population": rng.uniform(0.5, 1.0, (options.years, options.ages, num_regions)),
            "initial": rng.uniform(0.0, 10.0, (options.ages, COMPONENTS, num_regions)),
            "wear_rate": rng.uniform(0.02, 0.04, COMPONENTS),
            "shares": np.full(COMPONENTS, 1.0 / COMPONENTS),
        }
        inputs = {name: jnp.asarray(array) for name, array in drawn.items()}
        wanted = {"forward": (), "amounts": ("amounts",), "every": INPUTS}
        calls: dict[str, Callable[[], Any]] = {}
        group = []
        for name, names in wanted.items():
            some = {key: inputs[key] for key in names}
            others = {key: value for key, value in inputs.items() if key not in names}
            program, row = compiled(jax.value_and_grad(model) if names else model, some, others)
            row |= {"kind": name, "error": 0.0}
            if names:
                row["error"] = _slope_error(model, program(some, others)[1], some, others, rng)
            row |= {"part": "gradients", "dtype": "float64", "regions": num_regions}
            row |= {"components": COMPONENTS, "ages": options.ages, "years": options.years}
            row |= {"lines": num_lines, "peak_bytes": timing.peak_bytes()}
            group.append(row)
            calls[name] = partial(program, some, others)
        _time(group, calls, options)
        for row in group:
            row["ratio"] = row["seconds"] / group[0]["seconds"]
        rows += group
    return rows


def _slope_error(
    value_fn: Callable[..., Array],
    gradient: dict[str, Array],
    some: dict[str, Array],
    others: dict[str, Array],
    rng: np.random.Generator,
) -> float:
    """Largest relative difference to central differences, input by input, all entries moved."""
    value_fn, errors = jax.jit(value_fn), []
    for name, array in some.items():
        way = array * rng.uniform(0.5, 1.5, array.shape)
        low, high = (value_fn(some | {name: array + s * way}, others) for s in (-1e-4, 1e-4))
        slope, expected = float((gradient[name] * way).sum()), float(high - low) / 2e-4
        errors.append(abs(slope / expected - 1.0))
    return max(errors)


# --- measuring and judging ------------------------------------------------------------------------


def compiled(run: Callable[..., Any], *arrays: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Program, with the seconds of its compilation and its working memory."""
    clock = CompileClock()
    program = jax.jit(run).lower(*arrays).compile()
    memory = program.memory_analysis()
    working = None if memory is None else memory.temp_size_in_bytes
    return program, {"compile_seconds": clock.seconds, "working_bytes": working}


def _time(
    rows: list[dict[str, Any]], calls: dict[str, Callable[[], Any]], options: Options
) -> None:
    """Adds seconds to `rows`, which are in the order of `calls`."""
    counts = {name: _count(call) for name, call in calls.items()}
    repeated = {name: partial(_repeat, call, counts[name]) for name, call in calls.items()}
    timed = timing.time_together(repeated, repeats=options.repeats, budget=options.budget)
    for row, (name, one) in zip(rows, timed.items(), strict=True):
        count = counts[name]
        row["seconds"] = one.median / count
        row["seconds_quartiles"] = [one.low / count, one.high / count]
        row |= {"repeats": one.repeats, "calls": count, "load": os.getloadavg()[0]}
        row["glibc_tunables"] = os.environ.get("GLIBC_TUNABLES", "")
        if "cells" in row:
            row["cells_per_second"] = row["cells"] / row["seconds"]
            row["bytes_per_second"] = row["bytes_per_cell"] * row["cells_per_second"]


def _count(call: Callable[[], Any]) -> int:
    jax.block_until_ready(call())
    seconds = timing.time_call(call, repeats=1, budget=0.0).median
    return max(1, min(1000, round(LEAST_SECONDS / seconds)))


def _repeat(call: Callable[[], Any], count: int) -> Any:
    for _ in range(count):
        out = jax.block_until_ready(call())
    return out


def judge(rows: list[dict[str, Any]]) -> None:
    """Adds status, and to rates their share of the copy of the same process."""
    for row in rows:
        row["status"] = "compared"
        {"accuracy": _judge_accuracy, "throughput": _judge_rate, "gradients": _judge_ratio}[
            row["part"]
        ](row, rows)


def _judge_accuracy(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    if row["scheme"] != "exponential" or not row.get("summary"):
        return
    rivals = [r for r in rows if r.get("summary") and r["problem"] == row["problem"]]
    cheapest = min(rivals, key=lambda r: r["seconds_to_reach"] or np.inf) is row
    exact = schemes.problems()[row["problem"]].on_cells
    good = row["first_error"] < CHECKS["cells"] if exact else (row["order"] or 0.0) > ORDER
    row["status"] = "met" if cheapest and good else "missed"


def _judge_rate(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    if row["error"] > CHECKS["totals"]:
        row["status"] = "answers differ"
        return
    beside = [r for r in rows if r["part"] == "throughput"]
    beside = [r for r in beside if r["glibc_tunables"] == row["glibc_tunables"]]
    if row["kind"] == "blocks":
        one, *more = (r for r in beside if r["kind"] == "blocks")
        row["against_one"] = one["cells_per_second"] / row["cells_per_second"]
        if row is not one:  # one block holds no copy of its initial values: memory of the fewest
            memory = [r["working_bytes"] or 0 for r in (more[0], row)]
            flat = row["against_one"] <= FLAT and memory[1] <= FLAT * memory[0]
            row["status"] = "met" if flat else "missed"
    elif row["kind"] in ("totals", "stored"):
        word = "warm" if row["kind"] == "totals" else "allocating"
        copies = [r for r in beside if r["kind"].startswith("copy") and word in r["kind"]]
        fastest = max(copies, key=lambda r: r["bytes_per_second"])
        row["share"] = row["bytes_per_second"] / fastest["bytes_per_second"]
        row["cells_per_copied_value"] = row["cells_per_second"] / fastest["cells_per_second"]
        claimed = row["wear"] == "constant" and row["weight"] == "weight"
        met = row["share"] >= AIMS[row["kind"]]
        row["status"] = "compared" if not claimed else "met" if met else "missed"


def _judge_ratio(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    if row["error"] > CHECKS["gradient"]:
        row["status"] = "answers differ"
    elif row["kind"] == "amounts" or (row["kind"] == "every" and row["regions"] == 1):
        row["status"] = "met" if row["ratio"] <= AIMS[row["kind"]] else "missed"


# --- processes and tables -------------------------------------------------------------------------

PARTS: dict[str, Callable[[Options], list[dict[str, Any]]]] = {
    "throughput": measure_throughput,
    "blocks": measure_blocks,
    "gradients": measure_gradients,
}


def in_process(part: str, options: Options, tunables: str | None = None) -> list[dict[str, Any]]:
    """Rows of a part in a process of its own, whose peak memory is then that of the part.

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.transport import worker; worker()"],
        input=json.dumps({"part": part, "options": asdict(options)}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | ({} if tunables is None else {"GLIBC_TUNABLES": tunables}),
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process of {part} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def worker() -> None:
    """The part on stdin for the options on stdin, rows on stdout."""
    job: dict[str, Any] = json.load(sys.stdin)
    given = job["options"]
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    timing.setup()
    print(json.dumps(PARTS[job["part"]](Options(**(given | lists)))))


def has_peer(options: Options) -> bool:
    return options.peers and importlib.util.find_spec("pde") is not None


def run(options: Options) -> Iterator[list[dict[str, Any]]]:
    """Rows, part after part."""
    if "accuracy" in options.parts:
        for name in schemes.problems():
            yield measure_accuracy(name, options)
    if "throughput" in options.parts:
        yield in_process("throughput", options)
        if options.tunables:
            yield in_process("throughput", options, options.tunables)
        yield in_process("blocks", options)
    if "gradients" in options.parts:
        yield in_process("gradients", options)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = []
    for r in rows:
        if r["part"] == "accuracy":
            end = f"{r['compile_seconds']:>6.1f} s compiling" if "compile_seconds" in r else ""
            if r.get("summary"):
                mark = "extrapolated" if r["extrapolated"] else "reached"
                order, reach = (r[k] or np.nan for k in ("order", "seconds_to_reach"))
                end = f"order {order:.2f}, {REACH:g} at {reach:.3g} s ({mark})"
            what = f"{r['problem']:<9} {r['scheme']:<15} step {r['step']:<7g} {r['error']:>9.2e}"
        else:
            memory = f"{(r.get('working_bytes') or 0) / 2**20:>7.1f} MiB"
            if r["part"] == "throughput":
                what = f"{r['kind']:<22} {r.get('wear', ''):<10} {r.get('weight', ''):<10}"
                what += f" x{r['blocks']:<4} {r['bytes_per_second'] / 1e9:>6.2f} GB/s"
                end = f"{r.get('share', r.get('against_one', float('nan'))):>6.2f}"
                end = f"{memory} {end} {r['glibc_tunables']}"
            else:
                what = f"{r['kind']:<10} {r['regions']:>5} regions"
                peak = f"peak {r['peak_bytes'] / 2**20:.0f} MiB"
                end = f"{memory} {peak} ratio {r['ratio']:.2f}"
        lines.append(f"{r['part']:<10} {what} {1e3 * r['seconds']:>9.3f} ms {end}  {r['status']}")
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.quick:
        options = replace(options, **QUICK)
    timing.setup()
    rows: list[dict[str, Any]] = []
    for new in run(options):
        rows += new
        judge(rows)
        print(table(new), flush=True)
        if options.out:  # after every part: what is measured stays, whatever comes later
            timing.write_rows(Path(options.out), rows)


if __name__ == "__main__":
    main()
