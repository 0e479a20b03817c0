"""Several experiments at once, each in a process of its own: compiling takes one core each."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple

from diffmig.runtime import usable_cores
from experiments._command import has_gpu_plugin

INTERRUPT_EVERY = 5.0  # seconds
LEFT_OUT = 2  # exit code of an experiment whose data are not there
LONG = ("grp", "migration", "towns")  # begin first, so that no core waits for them at the end
ROOT = Path(__file__).parents[1]


class Outcome(NamedTuple):
    """How one experiment ended: exit code and the last lines of its messages."""

    name: str
    code: int
    messages: str


def default_jobs(num_experiments: int) -> int:
    """One process per core, on a GPU one in all."""
    return 1 if has_gpu_plugin() else max(1, min(num_experiments, usable_cores()))


def run_side_by_side(names: Sequence[str], arguments: Sequence[str], jobs: int) -> list[Outcome]:
    """Outcomes of `python -m experiments.<name> <arguments>`, in the order of `names`; those that
    take longest start first.

    What they print appears at once, each line with the experiment's name. Ctrl-C reaches all of
    them; each keeps what it has for --resume.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    running: list[subprocess.Popen[str]] = []
    stopped = threading.Event()

    def one(name: str) -> Outcome:
        if stopped.is_set():
            return Outcome(name, 130, "not started")
        process = subprocess.Popen(
            [sys.executable, "-m", f"experiments.{name}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C comes from here, once
        )
        running.append(process)
        messages: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        error = threading.Thread(
            target=_forward, args=(name, process.stderr, sys.stderr, messages), daemon=True
        )
        error.start()
        _forward(name, process.stdout, sys.stdout, [])
        error.join()
        return Outcome(name, process.wait(), "\n".join(messages[-20:]))

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        first = sorted(names, key=lambda name: name not in LONG)
        futures = {name: pool.submit(one, name) for name in first}
        try:
            return [futures[name].result() for name in names]
        except KeyboardInterrupt:
            stopped.set()
            _interrupt(running)
    raise SystemExit("interrupted; continue with --resume")


def _interrupt(running: Sequence[subprocess.Popen[str]]) -> None:
    """Ctrl-C for every process until it ends: Python may lose one that falls into a callback."""
    while alive := [process for process in running if process.poll() is None]:
        for process in alive:
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + INTERRUPT_EVERY
        while time.monotonic() < deadline and any(p.poll() is None for p in alive):
            time.sleep(0.1)


def _forward(name: str, source: IO[str], sink: IO[str], kept: list[str]) -> None:
    for line in source:
        kept.append(line.rstrip("\n"))
        sink.write(f"[{name}] {line}")
        sink.flush()
