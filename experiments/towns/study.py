"""The experiment as one function of its inputs."""

from typing import NamedTuple

import jax
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from diffmig import towns as tw
from experiments.towns.config import Config
from experiments.towns.explanation import Explanation, Recovery, explain_networks, recovered
from experiments.towns.inputs import Inputs
from experiments.towns.levers import Levers, pull_levers
from experiments.towns.outlook import Outlook, look_ahead
from experiments.towns.past import PastChange, past_change
from experiments.towns.retrospective import HONEST, Retrospective, retrospective
from experiments.towns.structure import (
    Memory,
    Structure,
    find_structure,
    memory,
    number_of_clusters,
)


class Result(NamedTuple):
    """Everything that the report shows; None where it has no data."""

    inputs: Inputs
    structure: Structure
    num_clusters: tw.NumClusters
    memory: Memory
    past: Retrospective
    outlook: Outlook
    explanation: Explanation
    levers: Levers
    past_change: PastChange | None
    recovery: Recovery | None


def run(
    config: Config, inputs: Inputs, key: Array, stage_fn: fit.RunStage, mesh: Mesh | None
) -> Result:
    """Factors, memory, groups, networks on known years, forecasts, levers, the known truth."""
    names = ("clusters", "stability", "past", "final")
    keys = {name: jax.random.fold_in(key, number) for number, name in enumerate(names)}
    num_years = inputs.years.size
    structure = find_structure(config, inputs, num_years, keys["clusters"])
    before = find_structure(config, inputs, num_years - config.test_years, keys["clusters"])
    past = retrospective(config, inputs, structure, before, keys["past"], stage_fn, mesh)
    outlook = look_ahead(config, inputs, structure, past, keys["final"], stage_fn, mesh)
    explanation = explain_networks(inputs, outlook.networks)
    return Result(
        inputs=inputs,
        structure=structure,
        num_clusters=number_of_clusters(config, inputs, keys["stability"]),
        memory=memory(inputs),
        past=past,
        outlook=outlook,
        explanation=explanation,
        levers=pull_levers(config, inputs, outlook, mesh),
        past_change=past_change(inputs, past, config.fixed),
        recovery=recovered(inputs, structure, explanation, past.forecasts[HONEST], past.years),
    )
