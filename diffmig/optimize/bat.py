"""Bat algorithm: as printed in the product paper, Yang's paper (2010), Yang's program (2020).

The three share the flight
    f_i = f_min + (f_max - f_min) beta,  beta ~ U(0, 1) per bat
    V_i <- V_i + f_i (X_i - X*),   X_i' = X_i + V_i
With this printed sign a bat flies away from the best one X*; `toward_best` turns the sign. Neither
sign converges by itself (the mean square of X grows for both): acceptance and the local walk make
the method work, where it has them.

literal: every move is accepted; no local walk, loudness or pulse rate.
yang2010: if rand > r_i the candidate is X* + eps mean(A), eps ~ U(-1, 1) per gene. It is accepted
    if rand < A_i and it is better than X*; then A_i <- alpha A_i, r_i <- r0 (1 - exp(-gamma t)),
    with alpha = gamma = 0.9.
yang2020: if rand < r the candidate is X* + 0.1 A N(0, 1) per gene. It is accepted if rand > A and
    it is not worse than the bat's own loss; A = 0.97^t and r = 1 - exp(-0.1 t) for all bats.
The best is the lowest of all evaluated candidates, accepted or not, in all three.

Sources: Vavilova, Ketova, Zerari 2025, Computer Research and Modeling 17(6), section 3.1 (literal:
the print uses X_i^t, which depends on V_i^t itself; X_i^(t-1) is meant; loudness, pulse rate,
bounds and frequencies are not given); Yang 2010, NICSO, Studies in Computational Intelligence 284,
65-74 (frequencies, first loudness and first pulse rate depend on the problem there; the defaults
are those of the 2020 program); Yang 2020, The standard bat algorithm, MATLAB File Exchange 74768.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

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
from diffmig.optimize.space import Space, flatten
from diffmig.random import to_normal, uniform_pair, uniform_rows

VARIANTS = ("literal", "yang2010", "yang2020")
_WALK, _FLIGHT, _CHANCE = range(3)


@dataclass(frozen=True)
class BatConfig:
    """Choices of the bat algorithm.

    variant: "literal", "yang2010" or "yang2020", see the table of this module.
    num_members: bats.
    toward_best: True turns the printed sign of the flight.
    relative_walk: local steps are multiples of half the range of each gene, so that genes of
        different units move alike; False: in the units of the genes, as in the sources. In a box
        of [-1, 1] the two agree.
    boundary: see `diffmig.optimize.boundary`.
    tolerance: converged when the spread is at most this fraction of the range.
    """

    variant: str = "yang2020"
    num_members: int = 20
    toward_best: bool = False
    relative_walk: bool = True
    boundary: str = "clip"
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_boundary(self.boundary)
        if self.variant not in VARIANTS:
            raise ValueError(f"variant: expected one of {VARIANTS}, got {self.variant!r}")
        if self.num_members < 1:
            raise ValueError(f"num_members: expected at least 1, got {self.num_members}")


class BatCoefficients(NamedTuple):
    """Numbers of the bat algorithm; "literal" uses the frequencies only.

    min_frequency, max_frequency: f_min, f_max; 1.
    loudness, loudness_decay: first A and alpha.  pulse_rate, pulse_growth: r0 and gamma.
    walk: factor of the local step.
    """

    min_frequency: Any = 0.0
    max_frequency: Any = 2.0
    loudness: Any = 1.0
    loudness_decay: Any = 0.97
    pulse_rate: Any = 1.0
    pulse_growth: Any = 0.1
    walk: Any = 0.1


class BatState(NamedTuple):
    """Swarm with velocity, loudness A and pulse rate r; fields as in
    `diffmig.optimize.base.State`."""

    swarm: Array
    velocity: Array
    loss: Array
    loudness: Array
    pulse_rate: Array
    best: Array
    best_loss: Array
    generation: Array
    num_evaluations: Array


def init(
    key: Array,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: BatConfig,
    coefficients: BatCoefficients,
    initial: Any = None,
) -> BatState:
    """Uniform swarm (or `initial`), at rest, evaluated; pulse rate 0, since r0 (1 - exp(0)) = 0."""
    box = flatten(space)
    swarm = initial_swarm(key, box, config.num_members, initial)
    loss = evaluate(key, evaluate_fn, box, swarm)
    best, best_loss = lowest(swarm, loss)
    return BatState(
        swarm=swarm,
        velocity=jnp.zeros_like(swarm),
        loss=loss,
        loudness=jnp.full_like(loss, in_dtype(coefficients, swarm.dtype).loudness),
        pulse_rate=jnp.zeros_like(loss),
        best=best,
        best_loss=best_loss,
        generation=jnp.int32(0),
        num_evaluations=jnp.int32(config.num_members),
    )


def step(
    key: Array,
    state: BatState,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: BatConfig,
    coefficients: BatCoefficients,
) -> tuple[BatState, Info]:
    """One generation: every bat flies or walks about the best one, is evaluated, and moves if it is
    accepted.
    """
    box = flatten(space)
    x, loudness, pulse_rate = state.swarm, state.loudness, state.pulse_rate
    num_members, dtype = x.shape[0], x.dtype
    c = in_dtype(coefficients, dtype)
    beta, pulse_chance = uniform_rows(key, num_members, dtype, stream=_FLIGHT)
    chance, _ = uniform_rows(key, num_members, dtype, stream=_CHANCE)
    best = jnp.broadcast_to(state.best, x.shape)

    # f = f_min + (f_max - f_min) beta;  V <- V + f (X - X*);  X' = X + V
    frequency = c.min_frequency + (c.max_frequency - c.min_frequency) * beta
    sign = -1.0 if config.toward_best else 1.0
    flight = state.velocity + sign * frequency[:, None] * (x - best)
    _, velocity = repair(key, config.boundary, box, x + flight, flight)

    def move(x: Array) -> Array:
        candidate = x + flight
        if config.variant != "literal":
            unit = 0.5 * (box.high - box.low) if config.relative_walk else jnp.ones_like(box.low)
            reach = jnp.broadcast_to(c.walk * unit, x.shape)
            r1, r2 = uniform_pair(key, x.shape, dtype, stream=_WALK)
            if config.variant == "yang2010":
                walks = pulse_chance > pulse_rate
                local = best + reach * (2.0 * r1 - 1.0) * jnp.mean(loudness)
            else:
                walks = pulse_chance < pulse_rate
                local = best + reach * loudness[:, None] * to_normal(r1, r2)
            candidate = jnp.where(walks[:, None], local, candidate)
        return repair(key, config.boundary, box, candidate, flight)[0]

    candidate = own_pass(state.generation, move, x)
    loss = evaluate(key, evaluate_fn, box, candidate)

    time = (state.generation + 1).astype(dtype)
    grown_rate = c.pulse_rate * (1.0 - jnp.exp(-c.pulse_growth * time))
    if config.variant == "literal":
        accepted = jnp.ones(num_members, bool)
    elif config.variant == "yang2010":
        accepted = (chance < loudness) & (loss < state.best_loss)
        loudness = jnp.where(accepted, c.loudness_decay * loudness, loudness)
        pulse_rate = jnp.where(accepted, grown_rate, pulse_rate)
    else:
        accepted = (chance > loudness) & (loss <= state.loss)
        loudness = c.loudness_decay * loudness
        pulse_rate = jnp.full_like(pulse_rate, grown_rate)
    new_best, best_loss = keep_lower(state.best, state.best_loss, candidate, loss)
    state = BatState(
        swarm=jnp.where(accepted[:, None], candidate, x),
        velocity=velocity,
        loss=jnp.where(accepted, loss, state.loss),
        loudness=loudness,
        pulse_rate=pulse_rate,
        best=new_best,
        best_loss=best_loss,
        generation=state.generation + 1,
        num_evaluations=state.num_evaluations + config.num_members,
    )
    return state, describe(state, box)


def _method(name: str, config: BatConfig, coefficients: BatCoefficients) -> Method:
    return Method(name, init, step, contracted_status, config, coefficients)


BAT_LITERAL = _method("bat-literal", BatConfig("literal", boundary="none"), BatCoefficients())
BAT_YANG2010 = _method(
    "bat-yang2010",
    BatConfig("yang2010", relative_walk=False),
    BatCoefficients(loudness_decay=0.9, pulse_growth=0.9, walk=1.0),
)
BAT_YANG2020 = _method("bat-yang2020", BatConfig("yang2020"), BatCoefficients())
