"""Claim: weights and start of exponential smoothing are found for all series of a panel at 10 or
more times the rate of statsforecast in float64 (SES in float32: 25, Holt in float32: 18), with both
on all cores and one-step squared errors no worse; 15 times where every origin is fitted anew. Time
per series hardly depends on their number, time per value hardly on the length of a series.

Command: python -m benchmarks.smoothing          (about 7 minutes; --quick: 1 minute)
Device:  2 CPU cores, seen as two devices. Peer: pip install 'diffmig[bench]'.

Random walk plus noise, ratio of their variances and drift drawn per series. The peer minimises the
same squares over the same weights: SES starts at the first value and alpha is in [0.01, 0.99], Holt
chooses its start. It is timed through data frames with 1 and 2 processes, the faster counts; ETS on
a sample of series, extrapolated beyond the start-up, SES on all. "bare" is its own method in a loop
over arrays, taken as if its cores were used without loss.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from jax.sharding import Mesh

from benchmarks import _timing as timing
from benchmarks._statsforecast import Peer
from diffmig.batching import batch_mesh, batched_last
from diffmig.fit.selective import SelectiveConfig, SelectiveResult, forecast_selectively
from diffmig.fit.smoothing import SERIES_PER_BLOCK, SmootherConfig, SmootherFit, fit_smoother
from diffmig.runtime import CompileClock
from diffmig.smoothing import (
    DAMPED,
    HOLT,
    SES,
    Smoother,
    b_rule,
    cumulative_rule,
    equal_rule,
    inverse_rule,
    run_filter,
    solve_start,
    start_values,
    sum_squares,
)

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {
    ("fit", "ses", "float64"): 10.0,
    ("fit", "ses", "float32"): 25.0,
    ("fit", "holt", "float64"): 10.0,
    ("fit", "holt", "float32"): 18.0,
    ("origins", "all", "float64"): 15.0,
    ("origins", "all", "float32"): 15.0,
}
FLAT = 1.3  # time per series, per value, memory per series, against the best of the sweep
MARGINS = (1e-4, 1e-3)  # relative, of the sum of squares
WORSE_AT_MOST = 0.05  # share of series whose squares may exceed the peer's by the larger margin
CHECKED = 64  # series compared with a NumPy loop
CHECKS = {"float64": 1e-8, "float32": 1e-3}
START_UP = 16  # series whose time is taken as the peer's start-up
# num_linear 0: starts at the first value, as the peer's, where others get the best start
PEER_SES = SES._replace(bounds=((0.01, 0.99),), num_linear=0)
MODELS: dict[str, Smoother] = {"ses": PEER_SES, "holt": HOLT, "damped": DAMPED}
EXACT = SmootherConfig(initial="exact")
RULES = (b_rule(0.3), cumulative_rule(), inverse_rule(0.3), equal_rule())


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: few series and repeats.
        peers: compare with statsforecast if it is installed.
        models: fitted alone: ses, holt, damped.
        sizes: numbers of series.
        length: values of a series.
        horizons: steps ahead.
        unblocked: a size that is also run without blocks.
        sample: series that the peer's ETS is timed on.
        origins: origins that all models are fitted at.
        origin_series, origin_sample: series of that part, ours and the peer's.
        many: numbers of series of the sweep, float32.
        lengths, length_series: values of a series in the other sweep, and its number of series.
        devices: host devices.
        repeats, budget: at most so many timed rounds, and seconds per method and case.
        seed: of the data.
        out: file of the rows; empty: none.
    """

    quick: bool = False
    peers: bool = True
    models: tuple[str, ...] = ("ses", "holt")
    sizes: tuple[int, ...] = (1000, 10_000, 100_000)
    length: int = 100
    horizons: int = 12
    unblocked: int = 10_000
    sample: int = 2000
    origins: int = 24
    origin_series: int = 2048
    origin_sample: int = 128
    many: tuple[int, ...] = (1000, 10_000, 100_000, 1_000_000)
    lengths: tuple[int, ...] = (50, 100, 200, 400)
    length_series: int = 10_240
    devices: int = 2
    repeats: int = 20
    budget: float = 4.0
    seed: int = 0
    out: str = str(ROOT / "benchmarks" / "results" / "smoothing.json")


QUICK: dict[str, Any] = {
    "sizes": (1000,),
    "unblocked": 1000,
    "sample": 200,
    "origins": 4,
    "origin_series": 128,
    "origin_sample": 32,
    "many": (1000, 10_000),
    "lengths": (50, 100),
    "length_series": 1024,
    "repeats": 3,
    "budget": 1.0,
}


def made_series(num_series: int, length: int, seed: int, dtype: Any = np.float64) -> np.ndarray:
    """Random walk plus noise, [time, series], at least 10; the first ones do not depend on how many
    there are.
    """
    y = np.empty((length, num_series), dtype)
    for first in range(0, num_series, 1000):
        rng = np.random.default_rng([seed, first])
        moves, noise = rng.standard_normal((2, length, 1000))
        share, drift = rng.uniform(size=1000), 0.1 * rng.standard_normal(1000)
        part = np.cumsum(np.sqrt(share) * moves + drift, axis=0) + np.sqrt(1.0 - share) * noise
        part += 10.0 - part.min(axis=0)
        y[:, first : first + 1000] = part[:, : num_series - first]
    return y


# --- ours -----------------------------------------------------------------------------------------


def fit_and_forecast(
    model: Smoother, block: int | None, mesh: Mesh | None, num_horizons: int, y: Array
) -> tuple[SmootherFit, Array]:
    """Fit of every series, and forecasts [horizon, series] from its last row."""
    fitted = fit_smoother(model, y, config=EXACT, block=block, mesh=mesh)

    def ahead(arrays: tuple[Array, Any, Array]) -> Array:
        params, start, values = arrays
        state = run_filter(model, params, values, None, start).state
        return model.predict(params, state, num_horizons)

    arrays = (fitted.params, fitted.start, y)
    return fitted, batched_last(ahead, arrays, block=block, mesh=mesh)


def every_origin(options: Options, mesh: Mesh | None, y: Array) -> SelectiveResult:
    """All models fitted anew at each of the last origins, and every rule on top; one origin more
    than the peer's, the last row.
    """
    config = SelectiveConfig(
        first_origin=y.shape[0] - 1 - options.origins, refit_every=1, smoother=EXACT
    )
    return forecast_selectively(tuple(MODELS.values()), RULES, y, config=config, mesh=mesh)


def compiled(run: Callable[[Array], Any], y: Array) -> tuple[Callable[[Array], Any], dict]:
    """Program, with the seconds of its compilation and its working memory."""
    clock = CompileClock()
    program = jax.jit(run).lower(y).compile()
    memory = program.memory_analysis()
    working = None if memory is None else memory.temp_size_in_bytes
    return program, {"compile_seconds": clock.seconds, "working_bytes": working}


def numpy_squares(
    model: str, params: np.ndarray, level: np.ndarray, trend: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of squared one-step errors by a plain loop, and the forecast after it, [series]."""
    alpha = params[0]
    beta = 0.0 if model == "ses" else params[1]
    phi = params[2] if model == "damped" else 1.0
    total = np.zeros(y.shape[1])
    for row in y:
        error = row - (level + phi * trend)
        total += error**2
        level, trend = level + phi * trend + alpha * error, phi * trend + alpha * beta * error
    return total, level + phi * trend


def difference(model: str, y: np.ndarray, out: tuple[SmootherFit, Array]) -> float:
    """Largest relative difference of squares and next forecast to a NumPy loop in float64."""
    fitted, forecast = jax.tree.map(lambda x: np.asarray(x, float)[..., :CHECKED], out)
    start = fitted.start
    total, ahead = numpy_squares(model, fitted.params, start.level, start.trend, y[:, :CHECKED])
    return float(
        max(np.max(np.abs(fitted.loss / total - 1)), np.max(np.abs(forecast[0] / ahead - 1)))
    )


def squares(model: Smoother, params: Array, start: Any, y: Array) -> np.ndarray:
    """Sum of squared one-step errors in float64 of weights and starts of any precision."""
    params, start = jax.tree.map(lambda x: jnp.asarray(x, float), (params, start))
    return np.asarray(sum_squares(model, params, y, None, start))


# --- the peer -------------------------------------------------------------------------------------


def compare_squares(ours: np.ndarray, peer: np.ndarray) -> dict[str, Any]:
    """Shares of series that are worse and better than the peer's by more than each margin."""
    excess = ours[: len(peer)] / peer - 1.0
    row: dict[str, Any] = {"squares_compared": len(peer)}
    for margin in MARGINS:
        row[f"worse_{margin:g}"] = float(np.mean(excess > margin))
        row[f"better_{margin:g}"] = float(np.mean(excess < -margin))
    return row | {"squares_ratio": float(np.sum(ours[: len(peer)]) / np.sum(peer))}


def peer_calls(peer: Peer, sizes: dict[str, int], **job: Any) -> dict[str, Callable[[], Any]]:
    """Calls with 1 and 2 processes at each named size."""
    return {
        f"{name} {jobs}": partial(peer, want="seconds", num_series=size, num_jobs=jobs, **job)
        for name, size in sizes.items()
        for jobs in (1, 2)
    }


def peer_seconds(
    timed: dict[str, timing.Timing], sizes: dict[str, int], num_series: int
) -> dict[str, Any]:
    """Seconds of the faster number of processes, extrapolated where only a sample was timed."""
    seconds = {}
    for jobs in (1, 2):
        whole = timed[f"peer {jobs}"].median
        if sizes["peer"] != num_series:
            start = timed[f"start {jobs}"].median
            each = (whole - start) / (sizes["peer"] - sizes["start"])
            whole = start + each * (num_series - sizes["start"])
        seconds[jobs] = whole
    best = min(seconds, key=lambda jobs: seconds[jobs])
    return {
        "peer_seconds": seconds[best],
        "peer_processes": best,
        "peer_seconds_by_processes": [seconds[1], seconds[2]],
        "peer_repeats": timed["peer 1"].repeats,
        "peer_measured_series": sizes["peer"],
        "peer_extrapolated": sizes["peer"] != num_series,
    }


# --- measurement ----------------------------------------------------------------------------------


def measure_fit(
    name: str, num_series: int, options: Options, peer: Peer | None, folder: str
) -> list[dict[str, Any]]:
    """Rows of one model at one size: both precisions and, at one size, no blocks."""
    model, mesh = MODELS[name], _mesh()
    y = made_series(num_series, options.length, options.seed)
    kinds = [("float64", SERIES_PER_BLOCK), ("float32", SERIES_PER_BLOCK)]
    kinds += [("float64", 0)] if num_series == options.unblocked else []
    calls: dict[str, Callable[[], Any]] = {}
    rows, results = [], []
    for dtype, block in kinds:
        values = jnp.asarray(y, dtype)
        run = partial(fit_and_forecast, model, block or None, mesh, options.horizons)
        program, row = compiled(run, values)
        results.append(program(values))
        calls[f"{dtype} {block}"] = partial(program, values)
        rows.append(_about("fit", name, dtype, num_series, options) | {"block": block} | row)
        rows[-1]["error"] = difference(name, y, results[-1])
        rows[-1]["unusable"] = int(np.sum(~np.isfinite(results[-1][0].loss)))
        rows[-1]["at_limit"] = float(np.mean(np.asarray(results[-1][0].status) != 0))
    job = _job(folder, [name], y, options.horizons)
    sizes = {"peer": num_series if name == "ses" else min(options.sample, num_series)}
    if sizes["peer"] != num_series:
        sizes["start"] = START_UP
    if peer is not None:
        calls |= peer_calls(peer, sizes, **job)
    timed = timing.time_together(calls, repeats=options.repeats, budget=options.budget)
    for row, call in zip(rows, calls, strict=False):
        _add_seconds(row, timed[call])
    if peer is None:
        return rows
    seconds = peer_seconds(timed, sizes, num_series)
    few = min(options.sample, num_series)
    bare = peer(want="bare", num_series=few, **job) / few * num_series / 2
    (peer_squares,) = peer(want="squares", num_series=few, num_jobs=2, **job)
    for row, (fitted, _) in zip(rows, results, strict=True):
        ours = squares(model, fitted.params, fitted.start, jnp.asarray(y))
        row |= seconds | compare_squares(ours, np.asarray(peer_squares))
        row |= {"ratio": row["peer_seconds"] / row["seconds"], "ratio_bare": bare / row["seconds"]}
        row["peer_version"] = version("statsforecast")
    return rows


def measure_origins(options: Options, peer: Peer | None, folder: str) -> list[dict[str, Any]]:
    """Rows of all models fitted at every origin, both precisions."""
    y = made_series(options.origin_series, options.length, options.seed)
    calls: dict[str, Callable[[], Any]] = {}
    rows, results = [], []
    for dtype in ("float64", "float32"):
        values = jnp.asarray(y, dtype)
        program, row = compiled(partial(every_origin, options, _mesh()), values)
        results.append(program(values))
        calls[dtype] = partial(program, values)
        rows.append(_about("origins", "all", dtype, options.origin_series, options) | row)
        rows[-1] |= {"origins": options.origins, "models": list(MODELS), "rules": len(RULES)}
        rows[-1]["unusable"] = int(np.sum(~np.asarray(results[-1].usable)))
    sample = min(options.origin_sample, options.origin_series)
    sizes = {"peer": sample, "start": min(START_UP, sample // 2)}
    job = _job(folder, list(MODELS), y, 1)
    if peer is not None:
        calls |= peer_calls(peer, sizes, num_windows=options.origins, **job)
    timed = timing.time_together(calls, repeats=options.repeats, budget=options.budget)
    for row in rows:
        _add_seconds(row, timed[row["dtype"]])
    few = min(options.sample, options.origin_series)
    one = jnp.asarray(y[:, :few])
    best = {k: fit_smoother(m, one, config=EXACT, mesh=_mesh()).loss for k, m in MODELS.items()}
    theirs = peer(want="squares", num_series=few, num_jobs=2, **job) if peer is not None else None
    for row, result in zip(rows, results, strict=True):
        ours = {
            name: _left(model, params[:, :few], one)
            for (name, model), params in zip(MODELS.items(), result.params, strict=True)
        }
        # against a fit of all values that starts from the grid: is the last of many steps lost?
        row["error"] = float(np.quantile([ours[k] / np.asarray(best[k]) - 1 for k in ours], 0.95))
        if theirs is not None:
            row |= peer_seconds(timed, sizes, options.origin_series)
            row["ratio"] = row["peer_seconds"] / row["seconds"]
            row["peer_version"] = version("statsforecast")
            row["squares_by_model"] = {
                name: compare_squares(own, np.asarray(peers))
                for (name, own), peers in zip(ours.items(), theirs, strict=True)
            }
            row |= compare_squares(np.concatenate(list(ours.values())), np.concatenate(theirs))
    return rows


def measure_sweeps(options: Options) -> list[dict[str, Any]]:
    """Rows of the number of series and of their length, float32, without a peer."""
    cases = [("many", "ses", size, options.length) for size in options.many]
    cases += [
        ("length", name, options.length_series, length)
        for name in options.models
        for length in options.lengths
    ]
    rows = []
    for part in ("many", *options.models):
        calls: dict[str, Callable[[], Any]] = {}
        group = [c for c in cases if part == ("many" if c[0] == "many" else c[1])]
        largest = max(size * length for _, _, size, length in group)
        for kind, name, size, length in group:
            values = jnp.asarray(made_series(size, length, options.seed, np.float32))
            run = partial(fit_and_forecast, MODELS[name], SERIES_PER_BLOCK, _mesh(), 1)
            program, row = compiled(run, values)
            unusable = int(np.sum(~np.isfinite(jax.block_until_ready(program(values))[0].loss)))
            count = max(1, min(20, largest // (size * length)))
            calls[str(len(calls))] = partial(_repeat, program, values, count)
            rows.append(_about(kind, name, "float32", size, options) | row)
            rows[-1] |= {"length": length, "unusable": unusable, "calls": count}
            rows[-1] |= {"input_bytes": values.nbytes, "peak_bytes": timing.peak_bytes()}
        timed = timing.time_together(calls, repeats=options.repeats, budget=options.budget)
        for row, one in zip(rows[-len(group) :], timed.values(), strict=True):
            _add_seconds(row, one, row["calls"])
    return rows


def _left(model: Smoother, params: Array, y: Array) -> np.ndarray:
    """Squares left with the best start, in float64; SES: with the first value."""
    params = jnp.asarray(params, float)
    near = start_values(y, None, model.initial, model.num_initial)
    if model.num_linear:
        return np.asarray(solve_start(model, params, y, None, near).sum_squares)
    return np.asarray(sum_squares(model, params, y, None, near))


def _repeat(program: Callable[[Array], Any], values: Array, count: int) -> Any:
    for _ in range(count):
        out = jax.block_until_ready(program(values))
    return out


def _mesh() -> Mesh | None:
    return batch_mesh() if jax.device_count() > 1 else None


def _about(part: str, model: str, dtype: str, size: int, options: Options) -> dict[str, Any]:
    about = {"part": part, "model": model, "dtype": dtype, "num_series": size}
    return about | {"length": options.length, "devices": jax.device_count()}


def _add_seconds(row: dict[str, Any], one: timing.Timing, calls: int = 1) -> None:
    row["seconds"] = one.median / calls
    row["seconds_quartiles"] = [one.low / calls, one.high / calls]
    row |= {"repeats": one.repeats, "load": os.getloadavg()[0]}
    row["us_per_series"] = 1e6 * row["seconds"] / row["num_series"]


def _job(folder: str, models: list[str], y: np.ndarray, num_horizons: int) -> dict[str, Any]:
    path = Path(folder) / f"{y.shape[1]}.npy"
    if not path.exists():
        np.save(path, np.ascontiguousarray(y.T))
    return {"data": str(path), "models": models, "num_horizons": num_horizons}


def judge(rows: list[dict[str, Any]]) -> None:
    """Adds status, and in the sweeps time per value or series against the best of its sweep."""
    for row in rows:
        if row["part"] in ("many", "length"):
            _judge_sweep(row, rows)
        elif row["error"] > CHECKS[row["dtype"]] and row["part"] == "fit":
            row["status"] = "answers differ"
        elif row.get("block") == 0:
            row["status"] = "compared"
        elif "ratio" not in row:
            row["status"] = "not compared"
        else:
            fast = row["ratio"] >= TARGETS[row["part"], row["model"], row["dtype"]]
            good = row[f"worse_{MARGINS[-1]:g}"] <= WORSE_AT_MOST
            row["status"] = "met" if fast and good else "missed"


def _judge_sweep(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    def per(r: dict[str, Any], *names: str) -> float:
        whole = sum(r[name] or 0 for name in names)
        return whole / r["num_series"] / (r["length"] if row["part"] == "length" else 1)

    rivals = [r for r in rows if (r["part"], r["model"]) == (row["part"], row["model"])]
    row["against_best"] = per(row, "seconds") / min(per(r, "seconds") for r in rivals)
    large = [r for r in rivals if r["num_series"] >= 10_000]
    if row not in large:
        row["status"] = "compared"
        return
    held = ("input_bytes", "working_bytes")
    flat = per(row, *held) <= FLAT * min(per(r, *held) for r in large)
    row["status"] = "met" if row["against_best"] <= FLAT and flat else "missed"


# --- processes and tables -------------------------------------------------------------------------


def sweeps_in_process(options: Options) -> list[dict[str, Any]]:
    """`measure_sweeps` in a process of its own, whose peak memory is then that of the sweeps.

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.smoothing import worker; worker()"],
        input=json.dumps(asdict(options)),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process of the sweeps failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def worker() -> None:
    """`measure_sweeps` for options on stdin, rows on stdout."""
    given: dict[str, Any] = json.load(sys.stdin)
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    options = Options(**(given | lists))
    timing.setup(options.devices)
    print(json.dumps(measure_sweeps(options)))


def has_peer(options: Options) -> bool:
    return options.peers and importlib.util.find_spec("statsforecast") is not None


def run(options: Options) -> Iterator[list[dict[str, Any]]]:
    """Rows, part after part."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        peer = stack.enter_context(Peer()) if has_peer(options) else None
        for name in options.models:
            for size in options.sizes:
                yield measure_fit(name, size, options, peer, folder)
        yield measure_origins(options, peer, folder)
    yield sweeps_in_process(options)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [
        "part    model  dtype     series length block   seconds us/series  ratio   bare"
        "  worse better working MiB  compile  status"
    ]
    for r in rows:
        shares = [r.get(f"{kind}_{MARGINS[0]:g}") for kind in ("worse", "better")]
        worse, better = ("" if s is None else f"{100 * s:.1f}%" for s in shares)
        ratio, bare = (f"{r[name]:.1f}" if name in r else "" for name in ("ratio", "ratio_bare"))
        ratio = ratio or (f"{r['against_best']:.2f}" if "against_best" in r else "")
        block = "none" if r.get("block") == 0 else ""
        lines.append(
            f"{r['part']:<7} {r['model']:<6} {r['dtype']:<8}{r['num_series']:>8} {r['length']:>6} "
            f"{block:>5} {r['seconds']:>9.4f} {r['us_per_series']:>9.2f} {ratio:>6} {bare:>6} "
            f"{worse:>6} {better:>6} {(r['working_bytes'] or 0) / 2**20:>11.1f} "
            f"{r['compile_seconds']:>6.1f} s  {r['status']}"
        )
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.quick:
        options = replace(options, **QUICK)
    timing.setup(options.devices)
    rows: list[dict[str, Any]] = []
    for new in run(options):
        rows += new
        judge(rows)
        print(table(new), flush=True)
        if options.out:  # after every part: what is measured stays, whatever comes later
            timing.write_rows(Path(options.out), rows)


if __name__ == "__main__":
    main()
