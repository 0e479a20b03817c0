"""Claim: the three hybrids of the GRP paper train at least 100 times faster than in the paper's
stack with a Keras model built per evaluation, at least 20 times faster than with one compiled model
that is reused, and in under 20 s together, both price bases, on two cores after compilation.

Command: python -m benchmarks.hybrids            (5 minutes; --quick: 2 minutes)
Device:  2 CPU cores. Keras and DEAP come with the extra `bench`; without them only diffmig is
         measured.

A whole search in Keras takes hours. So diffmig runs whole, its search is followed once more to list
every candidate it evaluated, and an even sample of them (ordered by epochs and width) is trained by
Keras, one by one. Mean seconds times the number of evaluations is the extrapolated duration of the
peer; `--whole-peers` runs the peers' searches whole instead of believing that.
"""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array, lax

from benchmarks import _timing as timing
from benchmarks._keras_hybrids import Job, Outcome
from diffmig import data, fit, optimize
from diffmig.batching import batch_mesh
from diffmig.networks import init_network
from diffmig.optimize.space import flatten, round_integers
from experiments.grp import models
from experiments.grp.config import VARIANTS
from experiments.grp.economy import Economy, first_years, make_economy

ROOT = Path(__file__).resolve().parents[1]
TARGET_RATIO = {"build": 100.0, "reuse": 20.0}
TARGET_SECONDS = 20.0
REUSE_UNITS = {"BA-LSTM": 10, "GA-BPNN": 50, "PSO-Elman": 10}
CHECK_RATE, CHECK_EPOCHS = 0.01, 100  # training of both sides from equal weights
CHECK_TOLERANCE = 0.02  # relative difference in MAPE after it


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: short searches, two evaluations per peer.
        hybrids: those that are measured.
        peers: measure Keras and DEAP where they are installed.
        peer_evaluations: evaluations trained per hybrid and peer.
        whole_peers: also run the peers' searches whole for one price basis (hours).
        devices: host devices that diffmig uses.
        seed: of every random number.
        out: file of the rows; empty: none.
    """

    quick: bool = False
    hybrids: tuple[str, ...] = models.MODELS
    peers: bool = True
    peer_evaluations: int = 9
    whole_peers: bool = False
    devices: int = 2
    seed: int = 0
    out: str = str(ROOT / "benchmarks" / "results" / "hybrids.json")


class Visited(NamedTuple):
    """Every candidate of a search, [basis, evaluation], and its MAPE on the training years."""

    hyper: fit.Hyper
    mape: Array


def run(options: Options) -> list[dict[str, Any]]:
    """Rows: one per hybrid and peer, and one for the three trainings together."""
    config = replace(VARIANTS["quick" if options.quick else "base"], num_seeds=1)
    economy = make_economy(config, data.load_table("grp_udmurt"))
    rows, whole = [], 0.0
    for name in options.hybrids:
        hybrid = models.as_described(config)[name]
        folds, final = _tasks(economy, hybrid)
        own, visited = _measure_own(options, hybrid, folds, final)
        own = {"hybrid": name} | own
        whole += own["seconds"]
        if not has_peers(options):
            rows.append(own | {"peer": None, "status": "not compared"})
            continue
        for mode in TARGET_RATIO:
            job, expected = _peer_job(options, name, hybrid, final, visited)
            job = job._replace(reuse=mode == "reuse")
            rows.append(_compare(mode, own, job, run_peer(job), expected))
    total = {
        "hybrid": "together",
        "seconds": whole,
        "target_seconds": TARGET_SECONDS,
        "peak_bytes": timing.peak_bytes(),
        "status": "met" if whole < TARGET_SECONDS else "missed",
    }
    return [*rows, total]


def has_peers(options: Options) -> bool:
    """Whether Keras and DEAP are wanted and installed."""
    return options.peers and all(importlib.util.find_spec(name) for name in ("keras", "deap"))


def _measure_own(
    options: Options, hybrid: fit.Hybrid, folds: fit.Task, final: fit.Task
) -> tuple[dict[str, Any], Visited]:
    """Row of diffmig, both price bases in one call, and what its searches evaluated."""
    key = jax.random.key(options.seed)
    train = partial(fit.fit_seeds, key, hybrid, folds, final, num_seeds=1)
    mesh = batch_mesh()
    meshes = {"all devices": mesh, "one": batch_mesh(jax.devices()[:1])}
    calls = {which: partial(train, mesh=devices) for which, devices in meshes.items()}
    repeats = 3 if options.quick else 20
    timed, alone = timing.time_together(calls, repeats=repeats).values()
    fitted, peak = train(mesh=mesh), timing.peak_bytes()
    visited = follow_search(key, hybrid, folds, final)
    best, again = np.asarray(fitted.fitness)[:, 0, -1], np.asarray(visited.mape).min(axis=1)
    evaluations = int(np.sum(np.asarray(fitted.num_evaluations)))
    row = {
        "dtype": hybrid.network.dtype,
        "devices": jax.device_count(),
        "evaluations": evaluations,
        "seconds": timed.median,
        "seconds_quartiles": [timed.low, timed.high],
        "repeats": timed.repeats,
        "compile_seconds": timed.compile_seconds,
        "seconds_one_device": alone.median,
        "seconds_per_evaluation": timed.median / evaluations,
        "best_mape": best.tolist(),
        "search_followed": bool(np.allclose(best, again, rtol=0.01)),
        "diverged": int(np.sum(np.asarray(fitted.status) == 1)),
        "mape": float(np.median(np.asarray(visited.mape)[_even_sample(options, visited)])),
        "peak_bytes": peak,
    }
    return row, visited


def _peer_job(
    options: Options, name: str, hybrid: fit.Hybrid, final: fit.Task, visited: Visited
) -> tuple[Job, float]:
    """Job of a peer, and the MAPE that its first evaluation must reach from the same weights."""
    key, units, epochs = jax.random.key(options.seed), REUSE_UNITS[name], CHECK_EPOCHS
    hyper = fit.Hyper(
        jnp.full(1, units, jnp.int32), jnp.float32(CHECK_RATE), jnp.int32(epochs), jnp.float32(0)
    )
    first = jax.tree.map(lambda leaf: leaf[0], final)
    weights = init_network(key, hybrid.network, first.x.shape[-1], hyper.units, hybrid.layout)
    _, levels = jax.jit(fit.train_fixed, static_argnums=1)(key, hybrid, hyper, first)
    sample = zip(*_even_sample(options, visited), strict=True)
    picked = [(b, jax.tree.map(lambda x, i=(b, row): x[i], visited.hyper)) for b, row in sample]
    job = Job(
        hybrid=name,
        reuse=False,
        series=[_series(hybrid, final, base) for base in range(len(final.grp))],
        evaluations=[_evaluation(base, one) for base, one in [(0, hyper), *picked]],
        weights=_keras_weights(name, weights["params"], units),
        reuse_units=units,
        box={gene: bounds for gene, bounds in _bounds(hybrid).items() if bounds[0] < bounds[1]},
        fixed={gene: low for gene, (low, high) in _bounds(hybrid).items() if low == high},
        num_members=hybrid.num_members,
        num_steps=hybrid.num_steps,
        whole=options.whole_peers,
        seed=options.seed,
    )
    return job, float(fit.weighted_mape(first.grp, levels.astype(first.grp.dtype), first.weight))


def _tasks(economy: Economy, hybrid: fit.Hybrid) -> tuple[fit.Task, fit.Task]:
    """Folds [basis, fold, ...] and finals [basis, ...] of `models.run_as_described`."""
    training = slice(0, economy.num_training)
    final = models.tasks_of(
        economy,
        economy.printed,
        (fit.Target("level"),),
        hybrid,
        economy.num_training,
        training,
        economy.num_data,
    )
    return first_years(final, economy.num_training), final


def _bounds(hybrid: fit.Hybrid) -> dict[str, tuple[float, float]]:
    names = ("log10_learning_rate", "epochs")
    bounds = {"units": hybrid.units[0]} | {name: getattr(hybrid, name) for name in names}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def follow_search(key: Array, hybrid: fit.Hybrid, folds: fit.Task, final: fit.Task) -> Visited:
    """The search of `fit.fit_hybrid` for seed 0 of every basis, with all it evaluated."""
    method = optimize.METHODS[hybrid.method]
    config = replace(method.config, num_members=hybrid.num_members)
    free = {name: pair for name, pair in _bounds(hybrid).items() if pair[0] < pair[1]}
    low, high = (
        {
            name: jnp.full(1 if name == "units" else (), pair[i], jnp.float32)
            for name, pair in free.items()
        }
        for i in (0, 1)
    )
    space = optimize.Space(low, high, {name: name in ("units", "epochs") for name in free})
    key_search, key_start, _ = jax.random.split(jax.random.fold_in(key, 0), 3)

    def hyper_of(candidate: dict[str, Array]) -> fit.Hyper:
        fixed = {name: jnp.float32(pair[0]) for name, pair in _bounds(hybrid).items()}
        value = fixed | jax.tree.map(jnp.clip, candidate, space.low, space.high)
        return fit.Hyper(
            value["units"].astype(jnp.int32).reshape(1),
            10.0 ** value["log10_learning_rate"],
            value["epochs"].astype(jnp.int32),
            jnp.float32(0.0),
        )

    def search(folds: fit.Task, final: fit.Task) -> Visited:
        task = fit.cast(jax.tree.map(lambda leaf: leaf[0], folds), hybrid.network.dtype)

        def evaluate_fn(key: Array, swarm: dict[str, Array]) -> Array:
            keys = jax.random.split(key, hybrid.num_members)
            if hybrid.common_start:
                keys = jnp.broadcast_to(key_start, keys.shape)

            def loss(key: Array, candidate: dict[str, Array]) -> Array:
                _, levels = fit.train_fixed(key, hybrid, hyper_of(candidate), task)
                return fit.weighted_mape(task.grp, levels, task.score)

            return jax.vmap(loss)(keys, swarm)

        state = optimize.begin(key_search, method, evaluate_fn, space, config=config)

        def step(state: Any, _: Any) -> tuple[Any, Any]:
            new, _ = optimize.run_chunk(
                key_search, state, method, evaluate_fn, space, 1, config=config
            )
            return new, (new.swarm, new.loss)

        _, (swarm, loss) = lax.scan(step, state, None, length=hybrid.num_steps)
        swarm = jnp.concatenate([state.swarm[None], swarm]).reshape(-1, state.swarm.shape[-1])
        box = flatten(space)
        candidates = jax.vmap(box.unravel)(round_integers(box, swarm))
        losses = jnp.concatenate([state.loss[None], loss]).reshape(-1)
        return Visited(jax.vmap(hyper_of)(candidates), losses)

    rows = [jax.tree.map(lambda leaf, b=b: leaf[b], (folds, final)) for b in range(len(final.grp))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[jax.jit(search)(*row) for row in rows])


def _even_sample(options: Options, visited: Visited) -> tuple[np.ndarray, ...]:
    """Indices (basis, evaluation) of evaluations spread evenly by epochs, then width."""
    count = 2 if options.quick else options.peer_evaluations
    epochs, units = np.asarray(visited.hyper.epochs), np.asarray(visited.hyper.units)[..., 0]
    order = np.lexsort((units.ravel(), epochs.ravel()))
    middles = ((np.arange(count) + 0.5) / count * order.size).astype(int)
    return np.unravel_index(order[middles], epochs.shape)


def _evaluation(series: int, hyper: fit.Hyper) -> dict[str, Any]:
    return {
        "series": int(series),
        "units": int(hyper.units[0]),
        "learning_rate": float(hyper.learning_rate),
        "epochs": int(hyper.epochs),
    }


def _series(hybrid: fit.Hybrid, final: fit.Task, base: int) -> dict[str, Any]:
    """Training years of one price basis as a script has them: inputs already lagged."""
    years = np.flatnonzero(np.asarray(final.after[base]) == 0)
    read = np.maximum(years - hybrid.layout.lag, 0)
    return {
        "x": np.asarray(final.x[base])[read].tolist(),
        "y": np.asarray(final.y[base])[years].tolist(),
        "grp": np.asarray(final.grp[base])[years].tolist(),
        "offset": float(final.offset[base]),
        "spread": float(final.spread[base]),
    }


def _keras_weights(name: str, params: dict[str, Array], units: int) -> list[Any]:
    """Unpadded weights in the order and layout of the Keras model."""
    p = {key: np.asarray(value) for key, value in params.items()}

    def cut(key: str) -> np.ndarray:
        rows = slice(None) if key.endswith("x0") or key == "w_0" else slice(units)
        return p[key][rows, :units] if p[key].ndim == 2 else p[key][:units]

    if name == "GA-BPNN":
        layers = [cut("w_0")]
    elif name == "PSO-Elman":
        layers = [cut("w_x0"), cut("w_c0"), cut("b_0")]
    else:
        layers = [
            np.concatenate([cut(f"w_{gate}x0") for gate in "ifco"], axis=1),
            np.concatenate([cut(f"w_{gate}h0") for gate in "ifco"], axis=1),
            np.concatenate([cut(f"b_{gate}0") for gate in "ifco"]),
        ]
    layers.append(p["w_out"][:units, None])
    if "b_out" in p:
        layers.append(p["b_out"].reshape(1))
    return [layer.tolist() for layer in layers]


def run_peer(job: Job) -> Outcome:
    """Outcome of a job in a process of its own.

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._keras_hybrids"],
        input=json.dumps(job._asdict()),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{job.hybrid}: the peer failed:\n{done.stderr[-2000:]}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def _compare(
    mode: str, own: dict[str, Any], job: Job, outcome: Outcome, expected_mape: float
) -> dict[str, Any]:
    """Row of a hybrid against one peer."""
    each = float(np.mean(outcome.seconds))
    extrapolated = each * own["evaluations"] + len(job.series) * outcome.driver_seconds
    row = own | {
        "peer": f"keras-deap {mode}",
        "peer_evaluations_measured": len(outcome.seconds),
        "peer_seconds_per_evaluation": each,
        "peer_seconds_range": [min(outcome.seconds), max(outcome.seconds)],
        "peer_compile_seconds": outcome.compile_seconds,
        "peer_driver_seconds": outcome.driver_seconds,
        "peer_driver_evaluations": outcome.driver_evaluations,
        "peer_seconds_extrapolated": extrapolated,
        "peer_mape": float(np.median(outcome.mape)),
        "check_mape": [expected_mape, outcome.first_mape] if job.reuse else None,
        "peer_whole_seconds": outcome.whole_seconds,
        "peer_whole_evaluations": outcome.whole_evaluations,
        "peer_whole_mape": outcome.whole_mape,
        "peer_peak_bytes": outcome.peak_bytes,
        "peer_versions": outcome.versions,
        "ratio": extrapolated / own["seconds"],
        "target_ratio": TARGET_RATIO[mode],
    }
    met = row["ratio"] >= row["target_ratio"]
    row["status"] = "met" if met else "missed"
    if job.reuse and not np.isclose(outcome.first_mape, expected_mape, rtol=CHECK_TOLERANCE):
        row["status"] = "answers differ"
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = []
    for row in rows:
        memory = f"{row['peak_bytes'] / 2**20:.0f} MiB"
        if row["hybrid"] == "together":
            lines.append(
                f"together, both price bases: {row['seconds']:.2f} s "
                f"(target {row['target_seconds']:.0f} s: {row['status']}), peak {memory}"
            )
            continue
        lines.append(
            f"{row['hybrid']:<10} diffmig {row['evaluations']:>5} evaluations "
            f"{row['seconds']:.2f} s ({1e3 * row['seconds_per_evaluation']:.2f} ms each; one "
            f"device {row['seconds_one_device']:.2f} s), compilation {row['compile_seconds']:.1f} "
            f"s, MAPE {row['mape']:.2f}, peak {memory}"
        )
        if row["peer"]:
            lines.append(
                f"  {row['peer']:<17} {row['peer_seconds_per_evaluation']:.3f} s each over "
                f"{row['peer_evaluations_measured']}, extrapolated "
                f"{row['peer_seconds_extrapolated']:.0f} s, compilation "
                f"{row['peer_compile_seconds']:.1f} s, MAPE {row['peer_mape']:.2f}, peak "
                f"{row['peer_peak_bytes'] / 2**20:.0f} MiB: {row['ratio']:.0f}x "
                f"(target {row['target_ratio']:.0f}x: {row['status']})"
            )
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    timing.setup(options.devices)
    rows = run(options)
    print(table(rows))
    if options.out:
        timing.write_rows(Path(options.out), rows)


if __name__ == "__main__":
    main()
