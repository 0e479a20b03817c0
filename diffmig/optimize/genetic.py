"""Genetic algorithm: as printed (DEAP's eaSimple), and with standard operators for integer and real
genes.

A generation: select parents, cross consecutive pairs, mutate, evaluate; the offspring replace the
swarm. `num_elites` of the old swarm survive in place of the worst offspring (0 in the printed form,
whose best is only remembered).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from diffmig.optimize.base import (
    EvaluateFn,
    Info,
    Method,
    contracted_status,
    describe,
    evaluate,
    in_dtype,
    initial_swarm,
    keep_lower,
    lowest,
    own_pass,
)
from diffmig.optimize.boundary import check_boundary, repair
from diffmig.optimize.space import Box, Space, flatten, from_unit, round_integers
from diffmig.random import to_normal, uniform_pair, uniform_rows

SELECTIONS = ("random", "tournament")
CROSSOVERS = ("one-point", "uniform", "sbx")
REAL_MUTATIONS = ("reset", "gaussian", "polynomial")
INTEGER_MUTATIONS = ("reset", "creep")
_SELECT, _MATE, _CUT, _CROSS, _MUTATE, _CHOOSE, _CHANGE = range(7)


@dataclass(frozen=True)
class GeneticConfig:
    """Choices of the genetic algorithm.

    num_members: individuals.
    selection: "random" (every individual equally likely: no selection pressure) or "tournament" of
        `tournament_size`.
    crossover: "one-point", "uniform" (each gene with probability 1/2) or "sbx" (simulated binary
        for real genes, exchange for integer ones, each gene with probability 1/2).
    real_mutation: "reset" (uniform in the range), "gaussian" or "polynomial".
    integer_mutation: "reset" or "creep" (one up or down).
    num_elites: best individuals that survive.
    boundary: see `diffmig.optimize.boundary`.
    tolerance: converged when the spread is at most this fraction of the range.
    """

    num_members: int = 40
    selection: str = "tournament"
    tournament_size: int = 3
    crossover: str = "sbx"
    real_mutation: str = "polynomial"
    integer_mutation: str = "reset"
    num_elites: int = 1
    boundary: str = "clip"
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_boundary(self.boundary)
        choices = {
            "selection": SELECTIONS,
            "crossover": CROSSOVERS,
            "real_mutation": REAL_MUTATIONS,
            "integer_mutation": INTEGER_MUTATIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {allowed}, got {getattr(self, name)!r}")
        if (
            self.num_members < 1
            or self.tournament_size < 1
            or not 0 <= self.num_elites < self.num_members
        ):
            raise ValueError(
                "expected num_members >= 1, tournament_size >= 1, 0 <= num_elites < num_members, "
                f"got {self.num_members}, {self.tournament_size}, {self.num_elites}"
            )


class GeneticCoefficients(NamedTuple):
    """Numbers of the genetic algorithm.

    crossover_probability: per pair.  mutation_probability: per individual.
    mutated_genes: expected number of changed genes in a mutated individual.
    crossover_eta: distribution index of "sbx", larger is closer to the parents.
    mutation_eta: distribution index of "polynomial".  mutation_scale: standard deviation of
        "gaussian" as a fraction of the range.
    """

    crossover_probability: Any = 0.9
    mutation_probability: Any = 1.0
    mutated_genes: Any = 1.0
    crossover_eta: Any = 15.0
    mutation_eta: Any = 20.0
    mutation_scale: Any = 0.1


class GeneticState(NamedTuple):
    """Individuals and the best ever seen; fields as in `diffmig.optimize.base.State`.

    num_evaluations counts individuals that crossover or mutation touched, as eaSimple does; the
    others keep their loss, though the whole swarm is evaluated in one call.
    """

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
    config: GeneticConfig,
    coefficients: GeneticCoefficients,
    initial: Any = None,
) -> GeneticState:
    """Uniform individuals (or `initial`), integer genes rounded, evaluated."""
    box = flatten(space)
    swarm = round_integers(box, initial_swarm(key, box, config.num_members, initial))
    loss = evaluate(key, evaluate_fn, box, swarm)
    best, best_loss = lowest(swarm, loss)
    return GeneticState(swarm, loss, best, best_loss, jnp.int32(0), jnp.int32(config.num_members))


def step(
    key: Array,
    state: GeneticState,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: GeneticConfig,
    coefficients: GeneticCoefficients,
) -> tuple[GeneticState, Info]:
    """One generation: selection, crossover, mutation, replacement.

    Source of the printed form: Back, Fogel, Michalewicz 2000, chapter 7, as DEAP's eaSimple;
    probabilities 0.5 and 0.2: Vavilova, Ketova, Zerari 2025, section 4.1.
    """
    box = flatten(space)
    num_members = state.swarm.shape[0]
    c = in_dtype(coefficients, state.swarm.dtype)

    parents = _select(key, state.loss, config)
    crossed, cut = _chance_to_cross(key, num_members, c)
    mutated = (
        uniform_rows(key, num_members, c.mutated_genes.dtype, stream=_MUTATE)[0]
        < c.mutation_probability
    )
    changed = crossed | mutated

    def vary(old: Array) -> Array:
        own, mate = old[parents], old[parents[_partners(num_members)]]
        child = jnp.where(crossed[:, None], _cross(key, own, mate, cut, box, config, c), own)
        child = jnp.where(mutated[:, None], _mutate(key, child, box, config, c), child)
        return repair(key, config.boundary, box, round_integers(box, child), child)[0]

    swarm = own_pass(state.generation, vary, state.swarm)
    loss = jnp.where(changed, evaluate(key, evaluate_fn, box, swarm), state.loss[parents])

    best, best_loss = keep_lower(state.best, state.best_loss, swarm, loss)
    num_evaluations = state.num_evaluations + jnp.sum(changed, dtype=jnp.int32)
    if config.num_elites:
        _, elites = lax.top_k(-state.loss, config.num_elites)
        _, worst = lax.top_k(loss, config.num_elites)
        swarm = swarm.at[worst].set(state.swarm[elites])
        loss = loss.at[worst].set(state.loss[elites])
    state = GeneticState(swarm, loss, best, best_loss, state.generation + 1, num_evaluations)
    return state, describe(state, box)


def _partners(num_members: int) -> Array:
    # 1, 0, 3, 2, ...; the last individual of an odd swarm is its own partner, so it is never
    # crossed
    return jnp.minimum(jnp.arange(num_members) ^ 1, num_members - 1)


def _select(key: Array, loss: Array, config: GeneticConfig) -> Array:
    num_members = loss.shape[0]
    size = config.tournament_size if config.selection == "tournament" else 1
    unit, _ = uniform_pair(key, (num_members, size), loss.dtype, stream=_SELECT)
    rivals = jnp.minimum((unit * num_members).astype(jnp.int32), num_members - 1)
    winner = jnp.argmin(loss[rivals], axis=1)
    return jnp.take_along_axis(rivals, winner[:, None], axis=1)[:, 0]


def _chance_to_cross(key: Array, num_members: int, c: GeneticCoefficients) -> tuple[Array, Array]:
    """Which individuals are crossed [member], and a uniform number for the cut [member], equal
    within a pair.
    """
    pair = jnp.arange(num_members) // 2
    chance, cut = uniform_rows(key, num_members, c.crossover_probability.dtype, stream=_MATE)
    paired = _partners(num_members) != jnp.arange(num_members)
    return paired & (chance[pair] < c.crossover_probability), cut[pair]


def _cross(
    key: Array,
    own: Array,
    mate: Array,
    cut: Array,
    box: Box,
    config: GeneticConfig,
    c: GeneticCoefficients,
) -> Array:
    """Children [member, dim]; both individuals of a pair see the same random numbers.

    A cut of "one-point" lies between two genes: an individual of one gene has none, so its pair
    exchanges nothing (DEAP raises an error there), and only mutation changes it.
    """
    num_members, dim = own.shape
    if config.crossover == "one-point":
        point = 1 + jnp.floor(cut * (dim - 1)).astype(jnp.int32)
        exchanged = lax.broadcasted_iota(jnp.int32, own.shape, 1) >= point[:, None]
        return jnp.where(exchanged, mate, own)
    pair = jnp.arange(num_members) // 2
    u, coin = uniform_pair(key, own.shape, own.dtype, stream=_CROSS, rows=pair)
    child = mate
    if config.crossover == "sbx":
        # beta = (2u)^(1/(eta+1)) for u < 1/2, else (2(1-u))^(-1/(eta+1)); child = ((1+beta) own +
        # (1-beta) mate)/2 Source: Deb, Agrawal 1995, Simulated binary crossover for continuous
        # search space
        power = 1.0 / (c.crossover_eta + 1.0)
        beta = jnp.where(u < 0.5, (2.0 * u) ** power, (2.0 * (1.0 - u)) ** -power)
        blend = 0.5 * ((1.0 + beta) * own + (1.0 - beta) * mate)
        child = blend if box.integer is None else jnp.where(_rows(box.integer, own), mate, blend)
    return jnp.where(coin < 0.5, child, own)


def _mutate(
    key: Array, swarm: Array, box: Box, config: GeneticConfig, c: GeneticCoefficients
) -> Array:
    """Individuals with each gene changed with probability mutated_genes / dim, [member, dim]."""
    choose, _ = uniform_pair(key, swarm.shape, swarm.dtype, stream=_CHOOSE)
    u1, u2 = uniform_pair(key, swarm.shape, swarm.dtype, stream=_CHANGE)
    reset = from_unit(box, u1)
    width = _rows(box.high - box.low, swarm)
    if config.real_mutation == "gaussian":
        changed = swarm + c.mutation_scale * width * to_normal(u1, u2)
    elif config.real_mutation == "polynomial":
        # delta = (2u)^(1/(eta+1)) - 1 for u < 1/2, else 1 - (2(1-u))^(1/(eta+1)); x + delta (high -
        # low) Source: Deb, Goyal 1996, A combined genetic adaptive search (GeneAS) for engineering
        # design
        power = 1.0 / (c.mutation_eta + 1.0)
        delta = jnp.where(u1 < 0.5, (2.0 * u1) ** power - 1.0, 1.0 - (2.0 * (1.0 - u1)) ** power)
        changed = swarm + delta * width
    else:
        changed = reset
    if box.integer is not None:
        whole = (
            reset if config.integer_mutation == "reset" else swarm + jnp.where(u1 < 0.5, -1.0, 1.0)
        )
        changed = jnp.where(_rows(box.integer, swarm), whole, changed)
    return jnp.where(choose < c.mutated_genes / swarm.shape[1], changed, swarm)


def _rows(vector: Array, like: Array) -> Array:
    return jnp.broadcast_to(vector, like.shape)


GENETIC_LITERAL = Method(
    "genetic-literal",
    init,
    step,
    contracted_status,
    GeneticConfig(10, "random", crossover="one-point", real_mutation="reset", num_elites=0),
    GeneticCoefficients(crossover_probability=0.5, mutation_probability=0.2),
)
GENETIC_STANDARD = Method(
    "genetic-standard", init, step, contracted_status, GeneticConfig(), GeneticCoefficients()
)
