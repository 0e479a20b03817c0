"""Process-wide settings of an entry point (`main`, benchmarks): precision, devices, compilation
cache, compile clock, processes that compute together.

Importing this module changes nothing and does not import JAX; `configure` does both, once, before
the first array.
"""

import importlib
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Literal, NamedTuple

CACHE_VARIABLE = "DIFFMIG_CACHE_DIR"


def configure(
    *,
    x64: bool = True,
    cache_dir: Path | Literal["user"] | None = "user",
    host_devices: int | None = None,
) -> Path | None:
    """Set precision, CPU devices and the persistent compilation cache of this process; start the
    compile clock.

    Sets EQX_ON_ERROR=nan unless the caller's environment says otherwise: equinox' error checks are
    Python callbacks, and JAX never caches a program that holds one. Call it before equinox or
    diffrax is imported.

    Args:
        x64: compute in float64 by default.
        cache_dir: folder of compiled programs; "user" is the user's cache folder, None switches the
            cache off. The environment variable DIFFMIG_CACHE_DIR overrides it; set but empty, it
            switches the cache off.
        host_devices: number of CPU devices to split the host into; None leaves it as it is.

    Returns:
        The folder of the cache in use, or None.

    Raises:
        ValueError: `host_devices` < 1.
        RuntimeError: `host_devices` differs from the devices that JAX has already started with.

    Notes:
        A cache folder that cannot be written costs a warning line on stderr and the cache, not the
        run.
    """
    if host_devices is not None and host_devices < 1:
        raise ValueError(f"host_devices: expected at least 1, got {host_devices}")
    if "equinox" in sys.modules and os.environ.get("EQX_ON_ERROR") != "nan":
        _warn("equinox was imported before configure(): diffrax programs will not be cached")
    os.environ.setdefault("EQX_ON_ERROR", "nan")

    import jax

    if host_devices is not None:
        _set_host_devices(jax, host_devices)
    jax.config.update("jax_enable_x64", x64)
    jax.config.update("jax_default_matmul_precision", "highest")  # GPUs would use TF32 for float32
    folder = _usable_folder(_wanted_folder(cache_dir))
    jax.config.update("jax_compilation_cache_dir", None if folder is None else str(folder))
    jax.config.update("jax_enable_compilation_cache", folder is not None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "all")
    # JAX decides once, at the first compilation, whether there is a cache: make it decide again.
    cache = importlib.import_module("jax.experimental.compilation_cache.compilation_cache")
    cache.reset_cache()
    _start_clock()
    return folder


def join_processes(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout_seconds: int = 300,
) -> int:
    """Number of this process among those that compute together from here on, from 0.

    Every process makes this call once, after `configure` and before its first array; it starts
    JAX. `jax.devices()` are then those of all processes, and a mesh over them
    (`diffmig.batching.batch_mesh()`) shares batches between processes. A process that writes files
    should be number 0.

    Args:
        coordinator: "host:port" of process 0, which listens there; the same in all processes.
        num_processes: how many there are.
        process_id: which one this is, 0 <= process_id < num_processes.
        timeout_seconds: JAX waits so long for process 0, and then ends this process.

    Without arguments all three are those of the cluster environment in which JAX finds itself:
    Slurm, Open MPI, Kubernetes or Cloud TPU.

    Raises:
        ValueError: some arguments without the others, an address without a port, a number out of
            range, or no arguments outside a cluster.
        RuntimeError: JAX has started or the processes are joined already.

    Notes:
        CPU devices of several processes exchange data by gloo, JAX's default
        (`jax_cpu_collectives_implementation`).
    """
    given = (coordinator, num_processes, process_id)
    alone = all(value is None for value in given)
    if not alone and (coordinator is None or num_processes is None or process_id is None):
        raise ValueError(
            f"expected coordinator, num_processes and process_id or none of them, got {given}"
        )
    if coordinator is not None and not coordinator.rpartition(":")[2].isdecimal():
        raise ValueError(f"coordinator: expected 'host:port', got {coordinator!r}")
    if process_id is not None and not 0 <= process_id < (num_processes or 0):
        raise ValueError(
            f"expected 0 <= process_id < num_processes, got {process_id} and {num_processes}"
        )

    import jax

    try:
        jax.distributed.initialize(*given, initialization_timeout=timeout_seconds)
    except ValueError as error:
        if not alone:
            raise
        raise ValueError(
            "no cluster environment found (Slurm, Open MPI, Kubernetes, Cloud TPU): give "
            "coordinator 'host:port', num_processes and process_id"
        ) from error
    return jax.process_index()


def usable_cores() -> int:
    """CPU cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _set_host_devices(jax: Any, count: int) -> None:
    # Outranks --xla_force_host_platform_device_count, works after `import jax`,
    # and unlike XLA_FLAGS does not leak into child processes.
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        started = len(jax.devices("cpu"))
        if started != count:
            raise RuntimeError(
                f"host_devices={count} has no effect: JAX has already started with {started} CPU "
                "device(s). Call diffmig.runtime.configure() before anything creates an array."
            ) from None


def _wanted_folder(cache_dir: Path | Literal["user"] | None) -> Path | None:
    named = os.environ.get(CACHE_VARIABLE)
    if named is not None:
        return Path(named).expanduser() if named else None
    if cache_dir == "user":
        from platformdirs import user_cache_path

        return user_cache_path("diffmig", appauthor=False) / "xla"
    return cache_dir


def _usable_folder(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder.resolve()
    except OSError as error:
        reason = error.strerror or error
        _warn(f"no compilation cache: cannot write {folder} ({reason}); set {CACHE_VARIABLE}")
        return None


def _warn(line: str) -> None:
    print(f"diffmig: warning: {line}", file=sys.stderr)


class CompileTimes(NamedTuple):
    """Seconds that JAX spent on making programs, and where the persistent cache helped.

    `total` counts a moment once, also where one kind ran inside another; `backend` includes cache
    retrieval.
    """

    trace: float
    lower: float
    backend: float
    total: float
    cache_hits: int
    cache_misses: int


_KINDS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lower",
    "/jax/core/compile/backend_compile_duration": "backend",
}
_COUNTS = {
    "/jax/compilation_cache/cache_hits": "cache_hits",
    "/jax/compilation_cache/cache_misses": "cache_misses",
}


class _Union:
    """Length of a union of time spans that arrive in the order of their ends (jits nest)."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._spans: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> None:
        while self._spans and self._spans[-1][1] > start:
            inner_start, inner_end = self._spans.pop()
            self.seconds -= inner_end - inner_start
            start, end = min(start, inner_start), max(end, inner_end)
        self._spans.append((start, end))
        self.seconds += end - start


_clock_lock = threading.Lock()
_clock: dict[str, _Union] = {}
_counts: dict[str, int] = {}


def _start_clock() -> None:
    with _clock_lock:
        if _clock:
            return
        _clock.update({kind: _Union() for kind in (*_KINDS.values(), "total")})
        _counts.update(dict.fromkeys(_COUNTS.values(), 0))
    import jax.monitoring

    jax.monitoring.register_event_time_span_listener(_on_span)
    jax.monitoring.register_event_listener(_on_event)


def _on_span(event: str, start_time: float, end_time: float, **kwargs: str | int) -> None:
    kind = _KINDS.get(event)
    if kind is not None:
        with _clock_lock:
            _clock[kind].add(start_time, end_time)
            _clock["total"].add(start_time, end_time)


def _on_event(event: str, **kwargs: str | int) -> None:
    name = _COUNTS.get(event)
    if name is not None:
        with _clock_lock:
            _counts[name] += 1


def compile_times() -> CompileTimes:
    """Compile times of this process since `configure` (or the first call) started the clock."""
    _start_clock()
    with _clock_lock:
        return CompileTimes(**{kind: union.seconds for kind, union in _clock.items()}, **_counts)  # type: ignore[arg-type]


def compile_seconds() -> float:
    """Seconds of tracing, lowering and compiling (or cache retrieval) since the clock started."""
    return compile_times().total


class CompileClock:
    """Compile times from the creation of this object up to `times()`; `seconds` is their total."""

    def __init__(self) -> None:
        self._start = compile_times()

    def times(self) -> CompileTimes:
        now = compile_times()
        return CompileTimes(*(b - a for a, b in zip(self._start, now, strict=True)))  # type: ignore[arg-type]

    @property
    def seconds(self) -> float:
        return self.times().total
