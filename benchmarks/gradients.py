"""Claim: a reverse-mode gradient of any chapter's default path costs at most four runs of it, for
any number of inputs, and is exact where central differences and Sobol indices cost runs per input.

Command: python -m benchmarks.gradients          (about 4 minutes; --quick: 1 minute)
Device:  CPU, float64, one device.
Peer:    pip install 'diffmig[bench]' (SALib); without it the gradients alone are measured.

Errors of gradients are against forward mode along a random direction. Working memory is what XLA
plans for values in between (`memory_analysis().temp_size_in_bytes`), without arguments and
results. Central differences move some inputs, vectorised over them; the time for all is in
proportion. SALib is asked what the gradient knows: how much of the output's variance each input
makes up where some vary by 1 % about the point (there the total indices are the squares of gradient
times width, over their sum). It gets as many Saltelli samples as it needs for these shares to 0.05
and their ranking to a correlation of 0.95, and runs the same compiled model, vectorised over
samples. Farther from the point the indices say what no gradient does: this is no verdict on them.
"""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from jax.flatten_util import ravel_pytree
from scipy.stats import spearmanr

from benchmarks import _timing as timing
from benchmarks._gradient_cases import Case, made_cases
from benchmarks._ode_cases import Call, Row, compiled, time_rows

ROOT = Path(__file__).resolve().parents[1]
AIM = 4.0  # gradient over forward
CHECKS = {"error": 1e-10, "differences_error": 1e-4}
STEP = 6e-6  # of central differences, relative: the cube root of round-off
WIDTH = 0.01  # of the box that SALib samples, relative
AGREE, CLOSE = 0.95, 0.05  # rank correlation, largest difference of a share


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: few inputs and repeats, no batches.
        chapters: some of fit, smoothing, human_capital, migration, explain.
        batches: also the cases of many copies.
        differences: inputs moved for central differences.
        sobol: inputs varied for SALib; 0: none.
        samples: largest number of Saltelli samples, a power of 2.
        block: runs side by side, of differences and samples.
        repeats, budget: at most so many timed rounds, and seconds per program.
        seed: of data, starts and directions.
        out: file of the rows; empty: none.
    """

    quick: bool = False
    chapters: tuple[str, ...] = ("fit", "smoothing", "human_capital", "migration", "explain")
    batches: bool = True
    differences: int = 64
    sobol: int = 16
    samples: int = 2048
    block: int = 64
    repeats: int = 20
    budget: float = 2.0
    seed: int = 0
    out: str = str(ROOT / "benchmarks" / "results" / "gradients.json")


QUICK: dict[str, Any] = {
    "batches": False,
    "differences": 8,
    "sobol": 4,
    "samples": 256,
    "repeats": 3,
    "budget": 0.3,
}


# --- gradients ------------------------------------------------------------------------------------


def measure(case: Case, options: Options) -> list[Row]:
    """Rows of one case: its gradient, and for a single copy central differences and SALib."""
    value, forward = compiled(case.run, case.inputs, case.given)
    gradient, backward = compiled(jax.value_and_grad(case.run), case.inputs, case.given)
    point, unravel = ravel_pytree(case.inputs)
    slopes = ravel_pytree(gradient(case.inputs, case.given)[1])[0]
    scale = _scale(case.inputs)
    about: Row = {"chapter": case.chapter, "what": case.what, "by": case.by}
    about |= {"inputs": point.size, "copies": case.copies, "dtype": str(point.dtype)}
    row = about | {"tool": "gradient", "error": _adjoint_error(case, slopes, scale, options.seed)}
    row |= backward | {f"forward_{name}": number for name, number in forward.items()}
    rows: list[Row] = [row, {}]
    calls: list[Call] = [
        partial(gradient, case.inputs, case.given),
        partial(value, case.inputs, case.given),
    ]
    chosen = _chosen(slopes, options.differences, options.seed)
    many = partial(_in_blocks, _vectorised(case, unravel), options.block, case.given)
    if case.copies == 1:
        moved = _moved(np.asarray(point), scale, chosen)
        found = _central(many(moved), scale[chosen])
        gap = np.linalg.norm(found - slopes[chosen]) / np.linalg.norm(slopes[chosen])
        other = about | {"tool": "central differences", "differences_error": float(gap)}
        other |= {"runs": 2 * point.size, "moved": chosen.size}
        rows.append(other)
        calls.append(partial(many, moved))
    time_rows(rows, calls, repeats=options.repeats, budget=options.budget)
    single = rows.pop(1)["seconds"]
    for row in rows:
        if row["tool"] == "central differences":
            row["seconds_measured"] = row["seconds"]
            row["seconds"] *= point.size / row["moved"]
        row["forward_seconds"] = single
        row["ratio"] = row["seconds"] / single
    if case.copies == 1 and options.sobol and has_peer():
        few = chosen[: options.sobol]
        run = partial(_at, many, np.asarray(point), few)
        rows.append(about | sobol(run, np.asarray(point), scale, slopes, few, options))
        rows[-1] |= {"forward_seconds": single, "ratio": rows[-1]["seconds"] / single}
    return rows


def _vectorised(case: Case, unravel: Any) -> Callable[..., Array]:
    """The model at several points, [point], compiled once for a number of them."""
    return jax.jit(jax.vmap(lambda x, given: case.run(unravel(x), given), (0, None)))


def _in_blocks(
    many: Callable[..., Array], block: int, given: Any, points: np.ndarray
) -> np.ndarray:
    """The model at any number of points, [point], the last one repeated to fill the last block."""
    filled = np.minimum(np.arange(-(-len(points) // block) * block), len(points) - 1)
    parts = [many(points[part], given) for part in filled.reshape(-1, block)]
    return np.concatenate(parts)[: len(points)]


def _at(
    many: Callable[[np.ndarray], np.ndarray],
    point: np.ndarray,
    few: np.ndarray,
    values: np.ndarray,
) -> np.ndarray:
    """The model where the inputs `few` have other values, [sample]."""
    points = np.repeat(point[None], len(values), axis=0)
    points[:, few] = values
    return many(points)


def _scale(inputs: Any) -> np.ndarray:
    """Size of every input: its own, at least the root mean square of its leaf."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(inputs)]
    sizes = [np.maximum(np.abs(x), np.sqrt(np.mean(x**2)) or 1.0) for x in leaves]
    return np.concatenate([size.ravel() for size in sizes])


def _adjoint_error(case: Case, slopes: Array, scale: np.ndarray, seed: int) -> float:
    """|gradient along a random direction - derivative by forward mode| / |terms of the former|."""
    way = scale * np.random.default_rng([seed, 9]).normal(size=scale.size)
    _, unravel = ravel_pytree(case.inputs)
    along = jax.jit(lambda x, v, given: jax.jvp(lambda x: case.run(x, given), (x,), (v,))[1])
    derivative = float(along(case.inputs, unravel(jnp.asarray(way)), case.given))
    terms = np.asarray(slopes) * way
    return abs(terms.sum() - derivative) / float(np.linalg.norm(terms))


def _chosen(slopes: Array, number: int, seed: int) -> np.ndarray:
    """Some inputs, drawn among those that act at all."""
    acting = np.flatnonzero(np.asarray(slopes))
    rng = np.random.default_rng([seed, 10])
    return rng.permutation(acting)[:number]


def _moved(point: np.ndarray, scale: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Points on both sides of the point, input by input, [2 * input, ...]."""
    moves = np.zeros((chosen.size, scale.size))
    moves[np.arange(chosen.size), chosen] = STEP * scale[chosen]
    return np.concatenate([point + moves, point - moves])


def _central(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    high, low = np.split(values, 2)
    return (high - low) / (2.0 * STEP * scale)


# --- SALib ----------------------------------------------------------------------------------------


def has_peer() -> bool:
    return importlib.util.find_spec("SALib") is not None


def sobol(
    run: Callable[[np.ndarray], np.ndarray],
    point: np.ndarray,
    scale: np.ndarray,
    slopes: Array,
    few: np.ndarray,
    options: Options,
) -> Row:
    """Samples, runs and seconds that SALib needs for the ranking of the gradient."""
    half = WIDTH * scale[few]
    shares = (np.asarray(slopes)[few] * half) ** 2
    shares = shares / shares.sum()
    problem = {"num_vars": few.size, "names": [str(i) for i in few]}
    problem |= {"bounds": np.stack([point[few] - half, point[few] + half], axis=1).tolist()}
    tried: list[Row] = []
    number, agreed = 2, 0
    while number <= options.samples and agreed < 2:  # twice in a row: not by luck
        seconds, total = _timed_indices(run, problem, number, options.seed)
        rank = float(spearmanr(total, shares).statistic)
        gap = float(np.abs(total - shares).max())
        tried.append({"samples": number, "rank_correlation": rank, "share_gap": gap} | seconds)
        agreed = agreed + 1 if rank >= AGREE and gap <= CLOSE else 0
        number *= 2
    best = tried[-max(agreed, 1)]
    runs = best["samples"] * (few.size + 2)
    row: Row = {"tool": "SALib", "varied": few.size, "reached": agreed > 0, "runs_made": runs}
    return row | best | {"runs": best["samples"] * (point.size + 2), "tried": tried}


def _timed_indices(
    run: Callable[[np.ndarray], np.ndarray], problem: dict[str, Any], number: int, seed: int
) -> tuple[Row, np.ndarray]:
    """Seconds of sampling, runs and analysis, and total indices, [input]."""
    from SALib.analyze import sobol as analysis
    from SALib.sample import sobol as sampling

    begin = time.perf_counter()
    points = sampling.sample(problem, number, calc_second_order=False, seed=seed)
    sampled = time.perf_counter()
    values = run(points)
    ran = time.perf_counter()
    indices = analysis.analyze(problem, values, calc_second_order=False, seed=seed)
    times = {"sampling": sampled - begin, "runs": ran - sampled}
    times |= {"analysis": time.perf_counter() - ran}
    row: Row = {f"seconds_of_{name}": seconds for name, seconds in times.items()}
    return row | {"seconds": sum(times.values())}, np.asarray(indices["ST"])


# --- judging and tables ---------------------------------------------------------------------------


def judge(rows: list[Row]) -> None:
    """Adds status; gradients are judged by their ratio, others only compared."""
    for row in rows:
        row["status"] = "compared"
        if row["tool"] == "gradient":
            row["status"] = "met" if row["ratio"] <= AIM else "missed"
        if row["tool"] == "SALib" and not row["reached"]:
            row["status"] = "not reached"
        if any(row.get(name, 0.0) > limit for name, limit in CHECKS.items()):
            row["status"] = "answers differ"


def run(options: Options) -> list[Row]:
    """Rows of all cases, printed as they come."""
    rows: list[Row] = []
    for case in made_cases(options.seed):
        if case.chapter not in options.chapters or (case.copies > 1 and not options.batches):
            continue
        new = measure(case, options)
        judge(new)
        print(table(new), flush=True)
        rows += new
    return rows


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = []
    for r in rows:
        what = f"{r['what']} x{r['copies']}"
        line = f"{what:<44} {r['by']:<24} {r['inputs']:>6} inputs {r['tool']:<19} "
        line += f"{1e3 * r['seconds']:>10.3f} ms = {r['ratio']:>8.1f} runs"
        if r["tool"] == "gradient":
            memory = [(r[f"{k}working_bytes"] or 0) / 2**10 for k in ("forward_", "")]
            line += f" error {r['error']:.0e}, memory {memory[0]:.0f} -> {memory[1]:.0f} KiB,"
            line += f" {r['compile_seconds']:.1f} s compiling"
        elif r["tool"] == "SALib":
            line += f" {r['samples']} samples of {r['varied']} inputs, {r['runs_made']} runs,"
            line += f" rank {r['rank_correlation']:.3f}, shares within {r['share_gap']:.0e}"
        else:
            line += f" error {r['differences_error']:.0e}"
        lines.append(f"{line}  {r['status']}")
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.quick:
        options = replace(options, **QUICK)
    timing.setup()
    rows = run(options)
    if options.out:
        timing.write_rows(Path(options.out), rows)


if __name__ == "__main__":
    main()
