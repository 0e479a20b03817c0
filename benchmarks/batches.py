"""Claim: the time of a network hardly depends on how many are trained in one call: at 10,000 LSTMs
it is at most 1.3 times its best, and the working memory is that of one block.

Command: python -m benchmarks.batches            (about 15 minutes; --quick: 1 minute)
Device:  2 CPU cores, seen as one device and as two.

LSTM 4-10-1 (padded to 16 units), whole sequence, 18 years, 100 Adam epochs, float32, through
`diffmig.batching.batched`; the plain alternative is one vmap (no blocks). A second sweep compares
block sizes for LSTM, Elman and BPNN, on which `fit.ensembles.NETWORKS_PER_BLOCK` rests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array, lax

from benchmarks import _timing as timing
from diffmig import data, fit, networks
from diffmig.batching import batch_mesh, batched
from diffmig.fit.ensembles import NETWORKS_PER_BLOCK
from diffmig.runtime import CompileClock

ROOT = Path(__file__).resolve().parents[1]
TARGET_RATIO = 1.3
FACTORS = ("fixed_assets", "labour", "high_tech_share", "deflator")
UNITS, WIDTH = 10, 16
COMPARED = 8  # networks checked against a plain loop
TOLERANCE = 0.02  # relative difference in MAPE after the training, float32
MODELS: dict[str, networks.LSTM | networks.Elman | networks.BPNN] = {
    "LSTM": networks.LSTM(width=WIDTH),
    "Elman": networks.Elman(width=WIDTH),
    "BPNN": networks.BPNN(width=WIDTH, hidden="tanh", output="identity", bias_terms=True),
}


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: at most 100 networks, 10 epochs.
        models: networks of the sweep of block sizes.
        sizes: numbers of LSTMs.
        block_sizes: members of a block; 0 is one block, a plain vmap.
        block_sweep: number of networks in the sweep of block sizes.
        epochs: Adam epochs of a network.
        devices: numbers of host devices, each in a process of its own.
        repeats, budget: at most so many timed rounds over all cases, and seconds per case.
        seed: of the first weights.
        out: file of the rows; empty: none.
    """

    quick: bool = False
    models: tuple[str, ...] = tuple(MODELS)
    sizes: tuple[int, ...] = (1, 10, 100, 1000, 10000)
    block_sizes: tuple[int, ...] = (0, 64, 128, 256, 512)
    block_sweep: int = 1024
    epochs: int = 100
    devices: tuple[int, ...] = (1, 2)
    repeats: int = 20
    budget: float = 10.0
    seed: int = 0
    out: str = str(ROOT / "benchmarks" / "results" / "batches.json")


QUICK: dict[str, Any] = {
    "sizes": (1, 100),
    "block_sizes": (0, 64),
    "block_sweep": 128,
    "epochs": 10,
}


@dataclass(frozen=True)
class Case:
    """One call: so many networks of a model in blocks of `block` (0: none)."""

    sweep: str
    model: str
    num_networks: int
    block: int


def cases(options: Options) -> list[Case]:
    """Number of networks (in blocks and in one vmap), then block sizes of every model."""
    by_size = [
        Case("size", "LSTM", size, block)
        for size in options.sizes
        for block in (NETWORKS_PER_BLOCK, 0)
        if block < size  # else both are the same program
    ]
    by_block = [
        Case("block", model, options.block_sweep, block)
        for model in options.models
        for block in options.block_sizes
    ]
    return by_size + by_block


def training_task() -> fit.Task:
    """The bundled table, 2000-2017, current prices."""
    panel = data.select(data.load_table("grp_udmurt"), years=(2000, 2017))
    factors = [data.variable(panel, name)[0] for name in FACTORS]
    grp = jnp.asarray(data.variable(panel, "grp_current")[0])
    every_year = jnp.ones(len(panel.years))
    series = fit.Series(grp, jnp.asarray(np.stack(factors, axis=1)), 100.0 * every_year)
    return fit.build_task(series, fit.Target("level"), len(panel.years), every_year)


def trainer(model: str, epochs: int) -> Callable[[Array], Array]:
    """Key of a network -> its MAPE on the training years after training, percent."""
    network = MODELS[model]
    hybrid = fit.Hybrid(
        network, networks.Layout(), "random-search", units=((1, WIDTH),), epochs=(epochs, epochs)
    )
    hyper = fit.Hyper(
        jnp.full(1, UNITS, jnp.int32), jnp.float32(0.01), jnp.int32(epochs), jnp.float32(0.0)
    )
    task = fit.cast(training_task(), network.dtype)

    def train_one(key: Array) -> Array:
        _, levels = fit.train_fixed(key, hybrid, hyper, task)
        return fit.weighted_mape(task.grp, levels, task.weight)

    return train_one


def measure(options: Options) -> list[dict[str, Any]]:
    """Rows of every case on the devices of this process; rounds over all cases share the noise."""
    mesh = batch_mesh() if jax.device_count() > 1 else None
    key = jax.random.key(options.seed)
    all_cases = cases(options)
    loop = {
        model: np.asarray(
            jax.jit(partial(lax.map, trainer(model, options.epochs)))(_keys(key, COMPARED))
        )
        for model in {case.model for case in all_cases}
    }
    programs, keys, rows = [], [], []
    for case in all_cases:
        keys.append(_keys(key, case.num_networks))
        run = partial(
            batched, trainer(case.model, options.epochs), block=case.block or None, mesh=mesh
        )
        clock = CompileClock()
        programs.append(jax.jit(run).lower(keys[-1]).compile())
        memory = programs[-1].memory_analysis()
        rows.append(
            asdict(case)
            | {
                "devices": jax.device_count(),
                "epochs": options.epochs,
                "dtype": MODELS[case.model].dtype,
                "compile_seconds": clock.seconds,
                "working_bytes": None if memory is None else memory.temp_size_in_bytes,
            }
        )
    calls: dict[str, Callable[[], Array]] = {}
    for case, program, every, row in zip(all_cases, programs, keys, rows, strict=True):
        row["calls"] = _calls(case, options)
        calls[str(case)] = partial(_repeat, program, every, row["calls"])
        # neither blocks nor devices may change an answer
        mape, num = np.asarray(program(every)), min(COMPARED, case.num_networks)
        row["error"] = float(np.max(np.abs(mape[:num] / loop[case.model][:num] - 1)))
        row["mape"] = float(np.median(mape))
        row["peak_bytes"] = timing.peak_bytes()
    timed = timing.time_together(calls, repeats=options.repeats, budget=options.budget)
    for one, row in zip(timed.values(), rows, strict=True):
        row |= {
            "seconds": one.median / row["calls"],
            "seconds_quartiles": [one.low / row["calls"], one.high / row["calls"]],
            "repeats": one.repeats,
            "ms_per_network": 1e3 * one.median / row["calls"] / row["num_networks"],
            "load": os.getloadavg()[0],
        }
    return rows


def _calls(case: Case, options: Options) -> int:
    """Calls in one timed repeat. Sizes in blocks are timed over as long as the largest, so that
    other work on the machine meets both alike; small ones over a tenth of it.
    """
    if case.sweep == "block":
        return 1
    largest = max(options.sizes)
    return max(1, (largest if case.block else largest // 10) // case.num_networks)


def _repeat(program: Callable[[Array], Array], keys: Array, calls: int) -> Array:
    for _ in range(calls):
        out = jax.block_until_ready(program(keys))
    return out


def _keys(key: Array, num_networks: int) -> Array:
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num_networks, dtype=jnp.uint32))


def judge(rows: list[dict[str, Any]]) -> None:
    """Adds ratio (time per network against the best of its sweep) and status to every row."""
    for row in rows:
        group = ("sweep", "model", "devices")
        rivals = [r for r in rows if all(r[name] == row[name] for name in group)]
        row["ratio"] = row["ms_per_network"] / min(r["ms_per_network"] for r in rivals)
        claimed = row["sweep"] == "size" and row["block"] and row["num_networks"] >= 10_000
        met = row["ratio"] <= TARGET_RATIO
        row["status"] = ("met" if met else "missed") if claimed else "compared"
        if row["error"] > TOLERANCE:
            row["status"] = "answers differ"


def in_process(options: Options, devices: int) -> list[dict[str, Any]]:
    """Rows of `measure` in a process of its own with so many host devices.

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.batches import worker; worker()"],
        input=json.dumps(asdict(replace(options, devices=(devices,)))),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process with {devices} devices failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def worker() -> None:
    """`measure` for options on stdin, rows on stdout."""
    given: dict[str, Any] = json.load(sys.stdin)
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    options = Options(**(given | lists))
    timing.setup(options.devices[0])
    print(json.dumps(measure(options)))


def run(options: Options) -> list[dict[str, Any]]:
    """Rows of all cases and numbers of devices."""
    if options.quick:
        options = replace(options, **QUICK)
    rows = [row for devices in options.devices for row in in_process(options, devices)]
    judge(rows)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = ["sweep model devices networks block ms/network  ratio   working  compile  status"]
    lines += [
        f"{r['sweep']:<5} {r['model']:<5} {r['devices']:>7} {r['num_networks']:>8} "
        f"{r['block'] or 'none':>5} {r['ms_per_network']:>10.3f} {r['ratio']:>6.2f} "
        f"{(r['working_bytes'] or 0) / 2**20:>6.1f} MiB {r['compile_seconds']:>6.1f} s  "
        f"{r['status']}"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    rows = run(options)
    print(table(rows))
    if options.out:
        timing.write_rows(Path(options.out), rows)


if __name__ == "__main__":
    main()
