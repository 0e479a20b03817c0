"""The motion by general solvers: Diffrax for any acceleration, Verlet for the undamped case.

`propagate` is the quick and exact way where the dynamics are linear; these solve what is not, or
what is too large for a matrix of modes, and are the reference that it must equal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from diffmig.migration.modes import Motion

SOLVERS = ("tsit5", "dopri8")
ADJOINTS = ("checkpointed", "direct", "forward")

Acceleration = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class SolverConfig:
    """Choices of the adaptive solver.

    solver: "tsit5" (order 5) or "dopri8" (order 8, better below relative errors of 1e-8).
    rtol, atol: tolerances of a step, relative and in the unit of the balance.
    max_steps: more end with status 1.
    adjoint: how derivatives are taken. "checkpointed" (reverse mode, one checkpoint per step up to
        `checkpoints`: memory grows with them, time with the steps) is right for gradients of a
        scalar by many inputs; "forward" for many outputs by few inputs; "direct" allows both, its
        cost grows with `max_steps`.
    checkpoints: of "checkpointed".
    """

    solver: Literal["tsit5", "dopri8"] = "tsit5"
    rtol: float = 1e-8
    atol: float = 1e-10
    max_steps: int = 4096
    adjoint: Literal["checkpointed", "direct", "forward"] = "checkpointed"
    checkpoints: int = 512

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS or self.adjoint not in ADJOINTS:
            raise ValueError(f"expected solver in {SOLVERS}, adjoint in {ADJOINTS}, got {self}")
        if not (self.rtol > 0 and self.atol > 0 and self.max_steps > 0 and self.checkpoints > 0):
            raise ValueError(f"expected tolerances and limits > 0, got {self}")


def simulate(
    acceleration_fn: Acceleration,
    balance: Array,
    velocity: Array,
    time: Array,
    config: SolverConfig = SolverConfig(),
) -> Motion:
    """Motion q'' = a(t, q, q') at given times, by an adaptive Runge-Kutta method of Diffrax.

    Args:
        acceleration_fn: (t [], q [town], q' [town]) -> q'', [town]; from `euler_lagrange`,
            `matrix_acceleration` or sparse products.
        balance, velocity: q and q' at `time[0]`, [town].
        time: increasing, years, [time], at least 2.
        config: solver, tolerances, adjoint.

    Returns:
        Motion, [town, time]. Where the solver stopped, `status` says why and the times not reached
        are not finite. Batches by `jax.vmap`.

    Raises:
        ValueError: shapes that do not fit.

    Notes:
        Differentiable in the states, in what `acceleration_fn` closes over and, in "direct" and
        "forward" mode, forwards.

    Source: Tsitouras, 2011; Prince, Dormand, 1981; Kidger, 2021, On neural differential equations.
    """
    import diffrax

    _check(balance, velocity, time)

    def field(t: Any, state: Array, _: Any) -> Array:
        return jnp.stack([state[1], acceleration_fn(t, state[0], state[1])])

    adjoints = {
        "checkpointed": diffrax.RecursiveCheckpointAdjoint(checkpoints=config.checkpoints),
        "direct": diffrax.DirectAdjoint(),
        "forward": diffrax.ForwardMode(),
    }
    solvers = {"tsit5": diffrax.Tsit5(), "dopri8": diffrax.Dopri8()}
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solvers[config.solver],
        t0=time[0],
        t1=time[-1],
        dt0=None,
        y0=jnp.stack([balance, velocity]),
        saveat=diffrax.SaveAt(ts=time),
        stepsize_controller=diffrax.PIDController(rtol=config.rtol, atol=config.atol),
        adjoint=adjoints[config.adjoint],
        max_steps=config.max_steps,
        throw=False,
    )
    states = solution.ys
    finite = jnp.all(jnp.isfinite(states))
    reached = solution.result == diffrax.RESULTS.successful
    status = jnp.where(reached, jnp.where(finite, 0, 2), 1)
    return Motion(
        time=time,
        balance=states[:, 0].T,
        velocity=states[:, 1].T,
        status=status.astype(jnp.int8),
    )


def verlet(
    acceleration_fn: Callable[[Array, Array], Array],
    balance: Array,
    velocity: Array,
    num_steps: int,
    *,
    step: float = 1.0 / 64.0,
    save_every: int = 64,
) -> Motion:
    """Undamped motion q'' = a(t, q) by velocity Verlet (Stoermer), symplectic, of order 2.

    q' -> q' + h a / 2;  q -> q + h q';  q' -> q' + h a / 2

    Args:
        acceleration_fn: (t, q [town]) -> q'', [town], without velocities.
        balance, velocity: q and q' at time 0, [town].
        num_steps: number of steps, a multiple of `save_every`.
        step: h, years; stable below 2 / (largest angular frequency).
        save_every: steps between rows of the result.

    Returns:
        Motion, [town, 1 + num_steps / save_every]. The energy of a system without force oscillates
        by O(h^2) and does not drift. Differentiable.

    Raises:
        ValueError: shapes that do not fit, or a number of steps that is no multiple.

    Source: Hairer, Lubich, Wanner, 2003, Geometric numerical integration illustrated by the
    Stoermer-Verlet method, Acta Numerica 12, equation 1.7.
    """
    if num_steps < 1 or save_every < 1 or num_steps % save_every:
        raise ValueError(
            f"num_steps: expected a multiple of save_every = {save_every}, got {num_steps}"
        )
    rows = num_steps // save_every
    time = jnp.arange(rows + 1, dtype=balance.dtype) * (step * save_every)
    _check(balance, velocity, time)

    def advance(state: tuple[Array, Array, Array], index: Array) -> tuple[tuple, None]:
        q, v, a = state
        half = v + 0.5 * step * a
        q = q + step * half
        a = acceleration_fn((index + 1).astype(q.dtype) * step, q)
        return (q, half + 0.5 * step * a, a), None

    def row(state: tuple[Array, Array, Array], number: Array) -> tuple[tuple, Array]:
        state, _ = lax.scan(advance, state, number * save_every + jnp.arange(save_every))
        return state, jnp.stack(state[:2])

    start = (balance, velocity, acceleration_fn(jnp.zeros((), balance.dtype), balance))
    _, rest = lax.scan(row, start, jnp.arange(rows))
    states = jnp.concatenate([jnp.stack(start[:2])[None], rest])
    finite = jnp.all(jnp.isfinite(states))
    return Motion(
        time=time,
        balance=states[:, 0].T,
        velocity=states[:, 1].T,
        status=jnp.where(finite, 0, 2).astype(jnp.int8),
    )


def _check(balance: Array, velocity: Array, time: Array) -> None:
    if balance.ndim != 1 or balance.shape != velocity.shape:
        raise ValueError(
            f"balance and velocity: expected equal shapes [town], got {balance.shape}, "
            f"{velocity.shape}; use jax.vmap for batches"
        )
    if time.ndim != 1 or time.size < 2:
        raise ValueError(f"time: expected [time] with at least 2 times, got shape {time.shape}")
    if not isinstance(time, jax.core.Tracer) and not (np.diff(np.asarray(time)) > 0).all():
        raise ValueError("time: expected increasing years; sort them and drop repetitions")
