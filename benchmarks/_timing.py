"""What every benchmark shares: settings, warm-up, repeats, quartiles, result file."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from diffmig.report.environment import environment
from diffmig.report.files import json_bytes, write_atomic
from diffmig.runtime import CompileClock, configure

MIN_REPEATS = 3


class Timing(NamedTuple):
    """Median and quartiles of the repeats, seconds; compilation and warm-up apart."""

    median: float
    low: float
    high: float
    repeats: int
    compile_seconds: float


def setup(host_devices: int | None = None, *, x64: bool = True) -> None:
    """Precision and number of CPU devices, before the first array; every start compiles anew."""
    configure(x64=x64, cache_dir=None, host_devices=host_devices)


def time_call(fn: Callable[[], Any], *, repeats: int = 20, budget: float = 30.0) -> Timing:
    """Seconds of a call, finished: `repeats` times or `budget` seconds, whichever comes first, but
    at least three times.
    """
    return time_together({"": fn}, repeats=repeats, budget=budget)[""]


def time_together(
    fns: Mapping[str, Callable[[], Any]], *, repeats: int = 20, budget: float = 30.0
) -> dict[str, Timing]:
    """`time_call` of each function, in rounds over all of them, so that other work on the machine
    meets all alike; `budget` is for each.
    """
    compile_seconds: dict[str, float] = {}
    for name, fn in fns.items():
        clock = CompileClock()
        jax.block_until_ready(fn())
        compile_seconds[name] = clock.seconds
    times: dict[str, list[float]] = {name: [] for name in fns}
    for repeat in range(repeats):
        if repeat >= MIN_REPEATS and sum(map(sum, times.values())) >= budget * len(fns):
            break
        for name, fn in fns.items():
            start = time.perf_counter()
            jax.block_until_ready(fn())
            times[name].append(time.perf_counter() - start)
    return {name: _quartiles(seconds, compile_seconds[name]) for name, seconds in times.items()}


def with_answers(
    fns: Mapping[str, Callable[[], Any]], *, repeats: int = 20, budget: float = 30.0
) -> tuple[dict[str, Timing], dict[str, Any]]:
    """`time_together`, and the last answer of each function, which ends when it has its answer."""
    answers: dict[str, Any] = {}

    def remembered(name: str, fn: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            answers[name] = fn()
            return ()

        return call

    calls = {name: remembered(name, fn) for name, fn in fns.items()}
    return time_together(calls, repeats=repeats, budget=budget), answers


def peak_bytes() -> int:
    """Largest resident memory of this process so far, bytes (Linux)."""
    # not getrusage: the ru_maxrss of a child process starts at the size of its parent
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("no VmHWM line in /proc/self/status")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Result file: environment, XLA flags, load average of the machine, one JSON row per case."""
    content = {
        "environment": environment() | {"xla_flags": os.environ.get("XLA_FLAGS", "")},
        "load": os.getloadavg(),
        "rows": rows,
    }
    write_atomic(path, json_bytes(content))


def _quartiles(seconds: list[float], compile_seconds: float) -> Timing:
    low, median, high = (float(q) for q in np.quantile(seconds, [0.25, 0.5, 0.75]))
    return Timing(median, low, high, len(seconds), compile_seconds)
