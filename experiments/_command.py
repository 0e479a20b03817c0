"""What every experiment's command line does: options, keys, devices, run folder, closing lines."""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from diffmig import runtime

MAX_HOST_DEVICES = 16  # chunks of runs are rarely larger
PLAIN_CODE = "--xla_cpu_use_fusion_emitters=false"
PLAIN_CODE_KNOWN = "0.10."  # jaxlib; a flag that XLA does not know ends the process


class Experiment(NamedTuple):
    """One question: its variants, its data, the pure part and the writing part.

    Attributes:
        name: as in `python -m experiments.<name>`.
        question: what it asks.
        variants: frozen configs by name; "base" and "quick" are what `experiments.reproduce` runs.
        load: (data file or None, config) -> panel.
        run: (config, panel, key, stage_fn, mesh) -> result; prints nothing, knows no paths.
        write: (run folder, config, result) -> None.
        own_data: config that a data file of the user starts from.
        files: further input files that a config names.
    """

    name: str
    question: str
    variants: Mapping[str, Any]
    load: Callable[[Path | None, Any], Any]
    run: Callable[..., Any]
    write: Callable[..., None]
    own_data: Any
    files: Callable[[Any], Sequence[Path]] = lambda config: ()


def main(experiment: Experiment, arguments: list[str] | None = None) -> None:
    """Command line of an experiment."""
    start()
    import tyro

    from diffmig.data import DataError

    argv = sys.argv[1:] if arguments is None else arguments
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--variant", default="base")
    first.add_argument("--data", default=None)
    known, _ = first.parse_known_args(argv)
    if known.variant not in experiment.variants:
        _stop(f"--variant: expected one of {', '.join(experiment.variants)}, got {known.variant!r}")
    config = experiment.variants[known.variant]
    if known.data is not None:
        config = experiment.own_data(config)

    config_type, defaults = type(config), config

    @dataclass(frozen=True)
    class Options:
        variant: str = known.variant
        """Named configuration to start from."""
        data: Path | None = None
        """CSV or parquet file of your own instead of the bundled table."""
        out: Path = Path("results")
        """Folder of all results."""
        seed: int = 0
        """Seed of all random numbers."""
        resume: bool = False
        """Continue the newest unfinished run with the same options."""
        config: config_type = field(default_factory=lambda: defaults)  # type: ignore[valid-type]
        """Choices of the experiment; defaults are those of the variant."""

    names = ", ".join(experiment.variants)
    options = tyro.cli(
        Options,
        args=argv,
        prog=f"python -m experiments.{experiment.name}",
        description=f"{experiment.question} Variants: {names}.",
    )
    try:
        execute(
            experiment,
            options.variant,
            options.config,
            options.data,
            options.out,
            options.seed,
            options.resume,
        )
    except DataError as error:
        _stop(str(error))


def start(*, short: bool = False) -> None:
    """Settings of the process: float64, one CPU device per core, compilation cache.

    On a CPU, LLVM optimises at level 1: the long training programs compile in two thirds of the
    time and run as fast. With `short` XLA also writes plainer code, which compiles in a quarter
    less time and runs up to twice as long: for processes that mostly compile. LAPACK gets one
    thread: its threads wait for each other by spinning, which makes small decompositions ten times
    slower where other processes want the cores too.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy and SciPy are imported
    if not has_gpu_plugin():
        flags = os.environ.get("XLA_FLAGS", "")
        if "xla_backend_optimization_level" not in flags:
            flags = f"{flags} --xla_backend_optimization_level=1"
        plain = short and version("jaxlib").startswith(PLAIN_CODE_KNOWN)
        if plain and "xla_cpu_use_fusion_emitters" not in flags:
            flags = f"{flags} {PLAIN_CODE}"
        os.environ["XLA_FLAGS"] = flags.strip()
    runtime.configure(host_devices=min(runtime.usable_cores(), MAX_HOST_DEVICES))


def has_gpu_plugin() -> bool:
    """Whether JAX was installed for a GPU."""
    return any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))


def execute(
    experiment: Experiment,
    variant: str,
    config: Any,
    data_file: Path | None,
    out: Path,
    seed: int,
    resume: bool,
) -> Path:
    """Folder of a finished run.

    Raises:
        DataError: the data or the choices do not allow it.
    """
    import jax

    from diffmig import report
    from diffmig.batching import batch_mesh

    clock, started = runtime.CompileClock(), time.perf_counter()
    print(f"{experiment.name} ({variant}): {experiment.question}")
    panel = experiment.load(data_file, config)
    inputs = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in (
            *([("data", data_file)] if data_file else []),
            *((str(path), path) for path in experiment.files(config)),
        )
    }
    with report.open_run(
        out, experiment.name, variant, config, seed=seed, resume=resume, inputs=inputs
    ) as run:
        if not run.finished:
            key = jax.random.key(seed)
            result = experiment.run(config, panel, key, run.run_stage, batch_mesh())
            run.write_metrics({"question": experiment.question})
            experiment.write(run, config, result)
            wall = time.perf_counter() - started
            run.write_metrics(
                {"wall_seconds": round(wall, 1), "compile_seconds": round(clock.seconds, 1)}
            )
    wall, times = time.perf_counter() - started, clock.times()
    print(*filter(None, (run.metrics.get(part) for part in ("answer", "details"))), sep="\n")
    print(
        f"{run.folder}: {wall:.1f} s, of which compiling {times.total:.1f} s "
        f"({times.cache_hits} of {times.cache_hits + times.cache_misses} programs from the cache)"
    )
    return run.folder


def _stop(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(2)
