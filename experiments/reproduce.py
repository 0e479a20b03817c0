"""All experiments and one report.

Command: python -m experiments.reproduce [--quick] [--out results] [--seed 0] [--resume]
Device: CPU, two cores suffice. Time: see the README. Expected: report.html and ledger.csv in the
    folder of results.
"""

import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from experiments import NAMES, Name
from experiments._command import execute, start


@dataclass(frozen=True)
class Options:
    """Runs every experiment on its bundled data and joins ledgers and figures into one report."""

    quick: bool = False
    """Smaller searches; same seeds, same report."""
    tiny: bool = False
    """The smallest searches that run at all, two seeds: to see that everything works."""
    out: Path = Path("results")
    """Folder of all results."""
    seed: int = 0
    """Seed of all random numbers."""
    resume: bool = False
    """Continue what an earlier call left unfinished."""
    only: tuple[Name, ...] = NAMES
    """Experiments to run."""


def main(options: Options) -> Path:
    """The report's path."""
    start()
    from diffmig import evaluate, report
    from diffmig.data import DataError

    started = time.perf_counter()
    variant = "tiny" if options.tiny else "quick" if options.quick else "base"
    folders = []
    for name in options.only:
        experiment = import_module(f"experiments.{name}").EXPERIMENT
        config = experiment.variants[variant]
        try:
            folder = execute(
                experiment, variant, config, None, options.out, options.seed, options.resume
            )
        except DataError as error:
            print(f"{name} left out: {error}")
            continue
        folders.append(folder)
    page = report.render_report(
        folders,
        options.out,
        "diffmig: published models, checked",
        [
            "Every printed number that an experiment touches has a row in the claims ledger: what "
            "the paper's own protocol gives, what is left with the evaluated years hidden, and a "
            "computed verdict."
        ],
    )
    totals = evaluate.ledger_totals(report.read_ledger(options.out / "ledger.csv"))
    print(totals.to_string())
    print(f"report: {page} ({time.perf_counter() - started:.0f} s in all)")
    return page


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, prog="python -m experiments.reproduce"))
