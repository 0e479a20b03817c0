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
from experiments._side_by_side import LEFT_OUT, default_jobs, run_side_by_side


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
    jobs: int = 0
    """Experiments that run side by side, each in its own process; 0: one per CPU core, and one in
    all on a GPU."""


def main(options: Options) -> Path:
    """The report's path."""
    variant = "tiny" if options.tiny else "quick" if options.quick else "base"
    # the processes of the experiments inherit it
    start(short=variant != "base" and len(options.only) > 1)
    from diffmig import evaluate, report

    started = time.perf_counter()
    jobs = options.jobs or default_jobs(len(options.only))
    run = _run_in_turn if jobs == 1 else _run_at_once
    folders = run(options, variant, jobs)
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


def _run_in_turn(options: Options, variant: str, jobs: int) -> list[Path]:
    """Folders of the runs, one after the other in this process."""
    from diffmig.data import DataError

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
    return folders


def _run_at_once(options: Options, variant: str, jobs: int) -> list[Path]:
    """Folders of the runs, `jobs` processes at a time."""
    from diffmig.report import latest_run

    arguments = ["--variant", variant, "--out", str(options.out), "--seed", str(options.seed)]
    arguments += ["--resume"] if options.resume else []
    outcomes = run_side_by_side(options.only, arguments, jobs)
    failed = [o.name for o in outcomes if o.code not in (0, LEFT_OUT)]
    if failed:
        raise SystemExit(f"not finished: {', '.join(failed)}; continue with --resume")
    for outcome in outcomes:
        if outcome.code == LEFT_OUT:
            print(f"{outcome.name} left out: {outcome.messages}")
    return [latest_run(options.out, o.name, variant) for o in outcomes if o.code == 0]


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, prog="python -m experiments.reproduce"))
