"""Particle swarm: as printed with constant weights, with inertia, with constriction."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
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
    lowest,
    own_pass,
)
from diffmig.optimize.boundary import check_boundary, repair
from diffmig.optimize.space import Space, flatten
from diffmig.random import uniform_pair

_VELOCITY_STREAM = 1


@dataclass(frozen=True)
class SwarmConfig:
    """Choices of the particle swarm.

    num_members: particles.
    random_weights: multiply both pulls by numbers ~ U(0, 1), one per particle and gene. False:
        constant pulls.
    velocity_clamp: largest |velocity| of a gene in fractions of its range; None: no clamp. It does
        not keep the position inside: `boundary` does.
    initial_speed: initial velocity ~ U(-1, 1) times this fraction of the range; 0 starts at rest.
    boundary: see `diffmig.optimize.boundary`.
    tolerance: converged when the spread is at most this fraction of the range.
    """

    num_members: int = 40
    random_weights: bool = True
    velocity_clamp: float | None = 0.2
    initial_speed: float = 0.2
    boundary: str = "absorb"
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        check_boundary(self.boundary)
        if self.num_members < 1:
            raise ValueError(f"num_members: expected at least 1, got {self.num_members}")
        if self.velocity_clamp is not None and self.velocity_clamp <= 0:
            raise ValueError(
                f"velocity_clamp: expected a positive fraction or None, got {self.velocity_clamp}"
            )


class SwarmCoefficients(NamedTuple):
    """Weights of the velocity.

    inertia, final_inertia: w in the first step and from step `schedule_steps` on, linear between.
    cognitive, social: pull to the particle's own best and to the swarm's best.

    Source: the defaults are those of SPSO 2006/2011 (Clerc): w = 1/(2 ln 2), c = 1/2 + ln 2; second
    moments shrink by 0.864 a step under stagnation. Shi, Eberhart 1998 let w fall from 0.9 to 0.4
    with c = 2.
    """

    inertia: Any = 1 / (2 * math.log(2))
    final_inertia: Any = 1 / (2 * math.log(2))
    schedule_steps: Any = 100.0
    cognitive: Any = 0.5 + math.log(2)
    social: Any = 0.5 + math.log(2)


class SwarmState(NamedTuple):
    """Swarm, its velocity and own bests; fields as in `diffmig.optimize.base.State`."""

    swarm: Array
    velocity: Array
    loss: Array
    own_best: Array
    own_best_loss: Array
    best: Array
    best_loss: Array
    generation: Array
    num_evaluations: Array


def printed_coefficients(
    alpha1: Any = 2.0, alpha2: Any = 2.0, beta1: Any = 1.0, beta2: Any = 0.5
) -> SwarmCoefficients:
    """Coefficients of the regional product paper, no inertia (w = 1).

    V <- V + alpha1 beta1 (p - X) + alpha2 beta2 (p* - X), with constant beta.

    Notes:
        With the printed values and fixed bests the map (X, V) has the eigenvalues exp(+-2 pi i/3):
        its third power is the identity, and every particle visits the same three points for ever.

    Source: Vavilova, Ketova, Zerari 2025, Computer Research and Modeling 17(6), section 3.3 and the
        values of 4.1.
    """
    return SwarmCoefficients(1.0, 1.0, 1.0, alpha1 * beta1, alpha2 * beta2)


def constriction_coefficients(
    cognitive: Any = 2.05, social: Any = 2.05, k: Any = 1.0
) -> SwarmCoefficients:
    """Constriction written as inertia: w = chi, weights chi c1 and chi c2.

    V <- chi (V + c1 r1 (p - X) + c2 r2 (p* - X)),   chi = 2 k / |2 - phi - sqrt(phi^2 - 4 phi)|,
    phi = c1 + c2 > 4

    Args:
        cognitive, social: c1, c2.
        k: in (0, 1].

    Returns:
        SwarmCoefficients; 0.72984 and 1.49618 for phi = 4.1.

    Raises:
        ValueError: phi <= 4, where chi is not defined. A traced phi <= 4 gives NaN, and every loss
            loses.

    Source: Clerc, Kennedy 2002, IEEE Transactions on Evolutionary Computation 6(1), 58-73.
    """
    phi = cognitive + social
    if not isinstance(phi, jax.core.Tracer) and not (jnp.ndim(phi) or phi > 4):
        raise ValueError(f"constriction: expected cognitive + social > 4, got {phi}")
    root = math.sqrt if isinstance(phi, float | int) else jnp.sqrt
    chi = 2.0 * k / abs(2.0 - phi - root(phi * phi - 4.0 * phi))
    return SwarmCoefficients(chi, chi, 1.0, chi * cognitive, chi * social)


def init(
    key: Array,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: SwarmConfig,
    coefficients: SwarmCoefficients,
    initial: Any = None,
) -> SwarmState:
    """Uniform swarm (or `initial`), evaluated: these members are the first own bests."""
    box = flatten(space)
    swarm = initial_swarm(key, box, config.num_members, initial)
    unit, _ = uniform_pair(key, swarm.shape, swarm.dtype, stream=_VELOCITY_STREAM)
    speed = jnp.broadcast_to(config.initial_speed * (box.high - box.low), swarm.shape)
    loss = evaluate(key, evaluate_fn, box, swarm)
    best, best_loss = lowest(swarm, loss)
    return SwarmState(
        swarm=swarm,
        velocity=(2.0 * unit - 1.0) * speed,
        loss=loss,
        own_best=swarm,
        own_best_loss=loss,
        best=best,
        best_loss=best_loss,
        generation=jnp.int32(0),
        num_evaluations=jnp.int32(config.num_members),
    )


def step(
    key: Array,
    state: SwarmState,
    evaluate_fn: EvaluateFn,
    space: Space,
    config: SwarmConfig,
    coefficients: SwarmCoefficients,
) -> tuple[SwarmState, Info]:
    """One generation: all particles move, then all are evaluated, then the bests change.

    V <- w V + c1 r1 (p - X) + c2 r2 (p* - X),   X <- X + V

    Source: Kennedy, Eberhart 1995; inertia w: Shi, Eberhart 1998. Own bests change only for a lower
        loss.
    """
    box = flatten(space)
    w0, w1, schedule, c1, c2 = in_dtype(coefficients, state.swarm.dtype)
    w = w0 + (w1 - w0) * jnp.minimum(state.generation.astype(w0.dtype) / schedule, 1.0)
    # "absorb" clips after the move and stops the gene before its velocity is next used: so the
    # velocity is written once a generation
    absorb = config.boundary == "absorb"
    rule = "clip" if absorb else config.boundary

    def accelerate(v: Array, x: Array, p: Array) -> Array:
        if absorb:
            _, v = repair(key, "absorb", box, x, v)
        r1, r2 = uniform_pair(key, x.shape, x.dtype) if config.random_weights else (1.0, 1.0)
        v = w * v + c1 * r1 * (p - x) + c2 * r2 * (jnp.broadcast_to(state.best, x.shape) - x)
        if config.velocity_clamp is None:
            return v
        limit = jnp.broadcast_to(config.velocity_clamp * (box.high - box.low), x.shape)
        return jnp.clip(v, -limit, limit)

    def move(x: Array, v: Array) -> Array:
        return repair(key, rule, box, x + v, v)[0]

    v = accelerate(state.velocity, state.swarm, state.own_best)
    x = own_pass(state.generation, move, state.swarm, v)
    _, v = repair(key, rule, box, state.swarm + v, v)
    loss = evaluate(key, evaluate_fn, box, x)
    improved = loss < state.own_best_loss
    own_best = jnp.where(improved[:, None], x, state.own_best)
    own_best_loss = jnp.where(improved, loss, state.own_best_loss)
    best, best_loss = lowest(own_best, own_best_loss)
    state = SwarmState(
        swarm=x,
        velocity=v,
        loss=loss,
        own_best=own_best,
        own_best_loss=own_best_loss,
        best=best,
        best_loss=best_loss,
        generation=state.generation + 1,
        num_evaluations=state.num_evaluations + config.num_members,
    )
    return state, describe(state, box)


def _method(name: str, config: SwarmConfig, coefficients: SwarmCoefficients) -> Method:
    return Method(name, init, step, contracted_status, config, coefficients)


SWARM_LITERAL = _method(
    "swarm-literal",
    SwarmConfig(num_members=10, random_weights=False, velocity_clamp=None, boundary="none"),
    printed_coefficients(),
)
SWARM_INERTIA = _method("swarm-inertia", SwarmConfig(), SwarmCoefficients())
SWARM_CONSTRICTION = _method("swarm-constriction", SwarmConfig(), constriction_coefficients())
