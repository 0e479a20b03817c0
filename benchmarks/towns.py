"""Claim: the search for the networks of clusters of towns trains at least 5 times (float64) and 9
times (float32) as many networks a second as scikit-learn's MLPRegressor(solver="lbfgs") on both
cores by joblib, at equal or lower median losses of the searches.

Command: python -m benchmarks.towns              (about 15 minutes; --quick: 2 minutes)
Device:  2 CPU cores, as two devices. Peer: pip install 'diffmig[boosting]'.

Search: 3 clusters with the towns of the paper, two training years, each retrospective year; hidden
units 1-11, the activations that scikit-learn knows, a linear output; every candidate is trained on
all rows and with each year left out, from scikit-learn's distribution of starts (not its numbers),
for the same number of steps. Rows of small clusters are padded to those of the largest, networks to
the widest: that is paid for. Ratios are given for programs that are compiled and with compiling.

Claim: the least changes of 3,142 places are found at least 50 times sooner than by scipy's SLSQP,
place after place with exact gradients and the loosest tolerance that finds the same costs, at equal
or lower cost and with no bound broken.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from benchmarks import _timing as timing
from benchmarks import _towns_inverse as questions
from benchmarks import _towns_search as networks

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]


class Part(NamedTuple):
    """A part of the benchmark, measured in a process of its own.

    Attributes:
        options: class of its options; the field of `Options` has the name of the part.
        quick: options of a small run.
        measure: options -> rows, each with "part".
        judge: adds statuses to the rows of the part, among all rows.
        line: a row as text.
        host_devices: CPU devices.
    """

    options: Callable[..., Any]
    quick: Any
    measure: Callable[[Any], list[Row]]
    judge: Callable[[list[Row]], None]
    line: Callable[[Row], str]
    host_devices: int


PARTS: dict[str, Part] = {
    "search": Part(
        networks.SearchOptions, networks.QUICK, networks.measure, networks.judge, networks.line, 2
    ),
    "inverse": Part(
        questions.InverseOptions,
        questions.QUICK,
        questions.measure,
        questions.judge,
        questions.line,
        2,
    ),
}


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: small sizes, in place of the options of the parts.
        parts: of the benchmark.
        search, inverse: options of the parts.
        out: file of the rows; empty: none.
    """

    quick: bool = False
    parts: tuple[str, ...] = tuple(PARTS)
    search: networks.SearchOptions = field(default_factory=networks.SearchOptions)
    inverse: questions.InverseOptions = field(default_factory=questions.InverseOptions)
    out: str = str(ROOT / "benchmarks" / "results" / "towns.json")


def in_process(part: str, options: Any) -> list[Row]:
    """Rows of a part in a process of its own, with its own devices and peak of memory.

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.towns import worker; worker()"],
        input=json.dumps({"part": part, "options": asdict(options)}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process of {part} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def worker() -> None:
    """The part on stdin for the options on stdin, rows on stdout."""
    job: dict[str, Any] = json.load(sys.stdin)
    part = PARTS[job["part"]]
    given = {name: _tuples(value) for name, value in job["options"].items()}
    timing.setup(part.host_devices)
    print(json.dumps(part.measure(part.options(**given))))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def run(options: Options) -> Iterator[list[Row]]:
    """Rows, part after part."""
    for name in options.parts:
        own = PARTS[name].quick if options.quick else getattr(options, name)
        yield in_process(name, own)


def table(rows: list[Row]) -> str:
    """The rows as text."""
    return "\n".join(PARTS[row["part"]].line(row) for row in rows)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    timing.setup()
    rows: list[Row] = []
    for new in run(options):
        for name in {row["part"] for row in new}:
            PARTS[name].judge(new)
        rows += new
        print(table(new), flush=True)
        if options.out:  # after every part: what is measured stays, whatever comes later
            timing.write_rows(Path(options.out), rows)


if __name__ == "__main__":
    main()
