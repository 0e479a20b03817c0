"""Random search: the baseline that every optimiser has to beat at equal budget."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from diffmig.optimize.base import (
    NO_FINITE_LOSS,
    STEP_LIMIT,
    EvaluateFn,
    Info,
    Method,
    describe,
    evaluate,
    initial_swarm,
    keep_lower,
    lowest,
)
from diffmig.optimize.space import Space, flatten, from_unit
from diffmig.random import uniform_pair


@dataclass(frozen=True)
class SearchConfig:
    """num_members: points drawn per step."""

    num_members: int = 40

    def __post_init__(self) -> None:
        if self.num_members < 1:
            raise ValueError(f"num_members: expected at least 1, got {self.num_members}")


class SearchCoefficients(NamedTuple):
    """Random search has no coefficients."""


class SearchState(NamedTuple):
    """Last points drawn; fields as in `diffmig.optimize.base.State`."""

    swarm: Array
    loss: Array
    best: Array
    best_loss: Array
    generation: Array
    num_evaluations: Array


def init(
    key: Array,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: SearchConfig,
    coefficients: SearchCoefficients,
    initial: Any = None,
) -> SearchState:
    """Uniform points (or `initial`), evaluated."""
    box = flatten(space)
    swarm = initial_swarm(key, box, config.num_members, initial)
    loss = evaluate(key, evaluate_fn, box, swarm)
    best, best_loss = lowest(swarm, loss)
    return SearchState(swarm, loss, best, best_loss, jnp.int32(0), jnp.int32(config.num_members))


def step(
    key: Array,
    state: SearchState,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: SearchConfig,
    coefficients: SearchCoefficients,
) -> tuple[SearchState, Info]:
    """New uniform points of the box, independent of the old ones."""
    box = flatten(space)
    unit, _ = uniform_pair(key, state.swarm.shape, state.swarm.dtype)
    swarm = from_unit(box, unit)
    loss = evaluate(key, evaluate_fn, box, swarm)
    best, best_loss = keep_lower(state.best, state.best_loss, swarm, loss)
    num_evaluations = state.num_evaluations + config.num_members
    state = SearchState(swarm, loss, best, best_loss, state.generation + 1, num_evaluations)
    return state, describe(state, box)


def _status(state: SearchState, space: Space, config: SearchConfig) -> Array:
    return jnp.where(jnp.isfinite(state.best_loss), STEP_LIMIT, NO_FINITE_LOSS)


RANDOM_SEARCH = Method("random-search", init, step, _status, SearchConfig(), SearchCoefficients())
