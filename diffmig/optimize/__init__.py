"""Optimisers under one contract: particle swarm, bat, genetic, L-BFGS step by step; BFGS as a
solver.

`METHODS` names every step method. `run(key, METHODS["swarm-constriction"], per_member(loss_fn),
space, 100)` minimises a loss of one candidate; `swarm-literal`, `bat-literal` and `genetic-literal`
are the printed forms with their defects.
"""

from diffmig.optimize.base import (
    STATUS,
    EvaluateFn,
    Info,
    Method,
    Result,
    State,
    begin,
    best_of,
    finish,
    per_member,
    run,
    run_chunk,
    shard_members,
)
from diffmig.optimize.bat import BAT_LITERAL, BAT_YANG2010, BAT_YANG2020, BatCoefficients, BatConfig
from diffmig.optimize.bfgs import solve_bfgs
from diffmig.optimize.boundary import BOUNDARIES
from diffmig.optimize.genetic import (
    GENETIC_LITERAL,
    GENETIC_STANDARD,
    GeneticCoefficients,
    GeneticConfig,
)
from diffmig.optimize.lanes import LaneResult, minimise_in_lanes
from diffmig.optimize.lbfgs import (
    LBFGS,
    LbfgsCoefficients,
    LbfgsConfig,
    member_status,
    minimise_from,
)
from diffmig.optimize.search import RANDOM_SEARCH, SearchCoefficients, SearchConfig
from diffmig.optimize.space import Space, box_around
from diffmig.optimize.swarm import (
    SWARM_CONSTRICTION,
    SWARM_INERTIA,
    SWARM_LITERAL,
    SwarmCoefficients,
    SwarmConfig,
    constriction_coefficients,
    printed_coefficients,
)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        SWARM_LITERAL,
        SWARM_INERTIA,
        SWARM_CONSTRICTION,
        BAT_LITERAL,
        BAT_YANG2010,
        BAT_YANG2020,
        GENETIC_LITERAL,
        GENETIC_STANDARD,
        LBFGS,
        RANDOM_SEARCH,
    )
}

__all__ = [
    "BOUNDARIES",
    "METHODS",
    "STATUS",
    "BatCoefficients",
    "BatConfig",
    "EvaluateFn",
    "GeneticCoefficients",
    "GeneticConfig",
    "Info",
    "LaneResult",
    "LbfgsCoefficients",
    "LbfgsConfig",
    "Method",
    "Result",
    "SearchCoefficients",
    "SearchConfig",
    "Space",
    "State",
    "SwarmCoefficients",
    "SwarmConfig",
    "begin",
    "best_of",
    "box_around",
    "constriction_coefficients",
    "finish",
    "member_status",
    "minimise_from",
    "minimise_in_lanes",
    "per_member",
    "printed_coefficients",
    "run",
    "run_chunk",
    "shard_members",
    "solve_bfgs",
]
