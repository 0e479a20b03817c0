"""The experiment as one function of its inputs."""

from pathlib import Path
from typing import NamedTuple

import jax
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from experiments.smoothing.comparison import Comparison, compare
from experiments.smoothing.config import Config
from experiments.smoothing.example import Example, run_example
from experiments.smoothing.histories import Inputs, load_inputs, own_series, problem_lines
from experiments.smoothing.outlook import Outlook, make_outlook
from experiments.smoothing.study import Scores, score
from experiments.smoothing.unevenness import Unevenness, run_unevenness

SHOWN = 10  # problems on the console


class Result(NamedTuple):
    """Everything that the report shows; the paper's parts are None where a file of the user is
    forecast."""

    inputs: Inputs
    example: Example | None
    unevenness: Unevenness | None
    scores: list[Scores]
    comparisons: list[Comparison]
    outlooks: list[Outlook]


def load(data_file: Path | None, config: Config) -> Inputs:
    """The user's series, or all sources that are there; what is wrong with single series of the
    user is printed, the rest goes on."""
    inputs = load_inputs(config, None if data_file is None else own_series(config, data_file))
    lines = problem_lines(inputs.problems)
    for line in lines[:SHOWN]:
        print(f"{data_file}: {line}")
    if len(lines) > SHOWN:
        print(f"{data_file}: and {len(lines) - SHOWN} more, all listed in the report")
    return inputs


def run(
    config: Config, inputs: Inputs, key: Array, stage_fn: fit.RunStage, mesh: Mesh | None
) -> Result:
    """The paper's example and tables, the study, and forecasts of the user's series."""
    scores = [
        score(config, history, f"study-{number}", stage_fn, mesh)
        for number, history in enumerate(inputs.histories)
    ]
    own = bool(inputs.own)
    seed = int(jax.random.randint(jax.random.fold_in(key, 1), (), 0, 2**31 - 1))
    return Result(
        inputs,
        None if own else run_example(),
        None if own else run_unevenness(config, seed),
        scores,
        compare(config, key, scores),
        [make_outlook(config, panel) for panel in inputs.own],
    )
