"""Latent force model: choices, hyper-parameters, and the linear system behind them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from diffmig.fit.kalman import Chain, Observations
from diffmig.migration.matern import KERNELS, StateSpace, discretize, matern_state_space
from diffmig.migration.modes import Modes

OBSERVATIONS = ("mean", "point")
PATHS = ("modal", "dense", "full")


@dataclass(frozen=True)
class LatentForceModel:
    """Choices of the model.

    kernel: prior of the force: "matern12", "matern32", "matern52"; "none" has no random force.
    level: each forced town has an unknown constant force as well, of standard deviation
        `initial_scale` times the root mean square of the data per year^2. With kernel "none" this
        is the constant-force model, without it the zero-force model.
    observation: a balance is the "mean" of q over its year, or its "point" value.
    offset: of point values, years from the start of their year; states start at the first value.
    initial_scale: standard deviation of q and q' at the start, in root mean squares of the data
        (per year for q'): wide, so that the start is free.
    path: "modal" filters mode by mode: it needs a constant K, one noise, one prior, and years that
        all towns have or miss. "dense" factors the covariance matrix of all observations: constant
        K and one prior. "full" filters all towns in one state: for any. "auto" takes the first that
        applies; all are exact. Posterior and forecast of "dense" are those of "full".
    """

    kernel: Literal["matern12", "matern32", "matern52", "none"] = "matern52"
    level: bool = False
    observation: Literal["mean", "point"] = "mean"
    offset: float = 0.0
    initial_scale: float = 10.0
    path: Literal["auto", "modal", "dense", "full"] = "auto"

    def __post_init__(self) -> None:
        if self.kernel not in (*KERNELS, "none"):
            raise ValueError(f"kernel: expected one of {(*KERNELS, 'none')}, got {self.kernel!r}")
        if self.observation not in OBSERVATIONS or self.path not in ("auto", *PATHS):
            raise ValueError(
                f"expected observation in {OBSERVATIONS} and path in {('auto', *PATHS)}, got {self}"
            )
        if not self.initial_scale > 0 or not 0.0 <= self.offset < 1.0:
            raise ValueError(f"expected initial_scale > 0 and offset in [0, 1), got {self}")

    @property
    def cumulative(self) -> bool:
        return self.observation == "mean"


DEFAULT_MODEL = LatentForceModel()


class ForceScales(NamedTuple):
    """Hyper-parameters of the prior.

    Attributes:
        length_scale: of the Matern kernel, years, [].
        force_sd: standard deviation of the force, unit of the data per year^2, [], or [town]; 0
            where a town is known to be unforced.
        noise_sd: of the observations, unit of the data, [], [town] or [town, year].
    """

    length_scale: Any
    force_sd: Any
    noise_sd: Any


class Problem(NamedTuple):
    """Inputs after the checks, arrays of one dtype; `observed` None where all are.

    Attributes:
        balance: [town, year], 0 where not observed.
        observed: bool [town, year], or None.
        stiffness: [town, town] or [year, town, town], or modes.
        damping: [].
        scales: ForceScales of arrays.
        start_sd: of q at the start, unit of the data, [].
    """

    balance: Array
    observed: Array | None
    stiffness: Any
    damping: Array
    scales: ForceScales
    start_sd: Array


def choose_path(
    stiffness: Array | Modes, scales: ForceScales, observed: Array | None, model: LatentForceModel
) -> str:
    """One of `PATHS`: the quickest that applies, or the one that the model asks for.

    Raises:
        ValueError: the path asked for does not apply.
    """
    alike = observed is None or (
        not isinstance(observed, jax.core.Tracer)
        and bool((np.asarray(observed) == np.asarray(observed)[:1]).all())
    )
    coupled = {
        "a stiffness by year": not isinstance(stiffness, Modes) and stiffness.ndim == 3,
        "a force_sd by town": jnp.ndim(scales.force_sd) > 0,
    }
    unequal = {
        "noise by town": jnp.ndim(scales.noise_sd) > 0,
        "years that only some towns miss": not alike,
    }
    against = {"modal": coupled | unequal, "dense": coupled, "full": {}}
    reasons = {
        path: [why for why, holds in all_.items() if holds] for path, all_ in against.items()
    }
    path: str = model.path
    if path == "auto":
        path = next(path for path in PATHS if not reasons[path])
    if reasons[path]:
        raise ValueError(f"path: {path!r} cannot have {', '.join(reasons[path])}; use 'auto'")
    if isinstance(stiffness, Modes) and path != "modal":
        raise ValueError(f"stiffness: modes serve the path 'modal' only, not {path!r}; give K")
    return path


def prepare(
    balance: Array,
    stiffness: Array | Modes,
    damping: ArrayLike,
    scales: ForceScales,
    observed: Array | None,
    model: LatentForceModel,
) -> Problem:
    """Problem of arrays of the dtype of the balance; K made symmetric.

    Raises:
        ValueError: shapes that do not fit, or another dtype than float64.
    """
    shape = balance.shape
    if balance.ndim != 2 or shape[1] < 3:
        raise ValueError(f"balance: expected [town, year], at least 3 years, got shape {shape}")
    if balance.dtype != jnp.float64:
        raise ValueError(
            f"balance: expected float64, got {balance.dtype}; the filter needs the digits"
        )
    num_towns, num_years = shape
    square = (num_towns, num_towns)
    got = stiffness.vectors.shape if isinstance(stiffness, Modes) else stiffness.shape
    if got not in (square, (num_years, *square)):
        raise ValueError(
            f"stiffness: expected {square} or, by year, {(num_years, *square)}, got {got}"
        )
    if observed is not None and observed.shape != shape:
        raise ValueError(f"observed: expected {shape} as the balance, got {observed.shape}")
    allowed = {
        "length_scale": ((),),
        "force_sd": ((), (num_towns,)),
        "noise_sd": ((), (num_towns,), shape),
    }
    for name, shapes in allowed.items():
        got = jnp.shape(getattr(scales, name))
        if got not in shapes:
            raise ValueError(f"{name}: expected one of the shapes {shapes}, got {got}")
    dtype = balance.dtype
    if observed is None:
        square_mean = jnp.mean(balance**2)
    else:
        balance = jnp.where(observed, balance, 0.0)
        square_mean = jnp.sum(balance**2) / jnp.maximum(jnp.sum(observed), 1).astype(dtype)
    rms = jnp.sqrt(jnp.where(square_mean > 0.0, square_mean, 1.0))
    return Problem(
        balance=balance,
        observed=observed,
        stiffness=stiffness if isinstance(stiffness, Modes) else symmetric(stiffness),
        damping=jnp.asarray(damping, dtype),
        scales=ForceScales(*(jnp.asarray(x, dtype) for x in scales)),
        start_sd=lax.stop_gradient(model.initial_scale * rms),
    )


def symmetric(stiffness: Array) -> Array:
    """Symmetric part of K, [..., town, town]."""
    return 0.5 * (stiffness + jnp.swapaxes(stiffness, -1, -2))


def mode_chain(value: Array, problem: Problem, model: LatentForceModel) -> Chain:
    """Chain of one mode, yearly steps."""
    feedback, diffusion, start = build_system(value[None, None], problem, model)
    return Chain(*discretize(feedback, diffusion), start)


def mode_observations(row: Array, problem: Problem) -> Observations:
    """Observations of one mode, [year, 1]."""
    variance = jnp.broadcast_to(problem.scales.noise_sd**2, (row.size, 1))
    seen = None if problem.observed is None else problem.observed[0][:, None]
    return Observations(row[:, None], variance, seen)


def full_observations(problem: Problem) -> Observations:
    """Observations of all towns, [year, town]."""
    shape = problem.balance.shape
    noise = jnp.asarray(problem.scales.noise_sd)
    noise = noise[:, None] if noise.ndim == 1 else noise
    variance = jnp.broadcast_to(noise**2, shape).T
    observed = None if problem.observed is None else problem.observed.T
    return Observations(problem.balance.T, variance, observed)


def by_year(fn: Callable[[Array], Any], problem: Problem, model: LatentForceModel) -> Any:
    """`fn(stiffness)` once, or for the step before every observation, with a leading axis."""
    matrix = problem.stiffness
    if matrix.ndim == 2:
        return fn(matrix)
    return lax.map(fn, matrix if model.cumulative else matrix[1:])


def build_chain(problem: Problem, model: LatentForceModel, steps: tuple[Array, Array]) -> Chain:
    """Chain of yearly transitions and covariances."""
    num_towns = problem.stiffness.shape[-1]
    first = problem.stiffness.reshape((-1, num_towns, num_towns))[0]
    return Chain(*steps, build_system(first, problem, model)[2])


def readout(problem: Problem, model: LatentForceModel, basis: Array | None = None) -> Array:
    """Rows that read q, q' and f of every town (or of the mode, or of the places of a basis) from
    the state, [3 town, state]."""
    emission, rest = force_emission(model), int(model.cumulative)
    rows = np.zeros((3, rest + 2 + emission.size))
    rows[0, rest] = rows[1, rest + 1] = 1.0
    rows[2, rest + 2 :] = emission
    dtype = problem.balance.dtype
    eye = jnp.eye(problem.stiffness.shape[-1], dtype=dtype)
    return jnp.kron(jnp.asarray(rows, dtype), eye if basis is None else basis)


def build_system(
    stiffness: Array, problem: Problem, model: LatentForceModel
) -> tuple[Array, Array, Array]:
    """Feedback, diffusion and covariance at the start of all towns (or one mode) in one state.

    The state is, town by town inside each: integral of q (means only), q, q', states of the prior,
    constant force (if any).
    """
    prior, emission = force_prior(problem.scales.length_scale, model), force_emission(model)
    num_towns, rest = stiffness.shape[0], int(model.cumulative)
    size = rest + 2 + emission.size
    dtype = stiffness.dtype

    def place(row: int, column: int) -> Array:
        """1 at one element."""
        one = np.zeros((size, size))
        one[row, column] = 1.0
        return jnp.asarray(one, dtype)

    def force_block(block: Array) -> Array:
        return jnp.pad(block, ((rest + 2, 0), (rest + 2, 0)))

    q, v = rest, rest + 1
    small = np.eye(size, k=1)  # integral' = q, q' = v
    small[v:] = 0.0
    small[v, rest + 2 :] = emission
    feedback = jnp.asarray(small, dtype) - problem.damping * place(v, v)
    feedback = feedback + force_block(prior.feedback)
    eye = jnp.eye(num_towns, dtype=dtype)
    feedback = jnp.kron(feedback, eye) - jnp.kron(place(v, q), stiffness)

    share = jnp.broadcast_to(jnp.asarray(problem.scales.force_sd) ** 2, (num_towns,))
    forced = eye * share[None, :]
    diffusion = jnp.kron(force_block(prior.diffusion), forced)
    wide = problem.start_sd**2
    start = jnp.kron(wide * (place(q, q) + place(v, v)), eye)
    start = start + jnp.kron(force_block(prior.covariance), forced)
    if model.level:
        has = eye if model.kernel == "none" else (forced > 0.0).astype(dtype)
        start = start + jnp.kron(wide * place(size - 1, size - 1), has)
    return feedback, diffusion, start


def force_emission(model: LatentForceModel) -> np.ndarray:
    """Row that reads the force from the states of its prior and the constant, [force state]."""
    num_random = 0 if model.kernel == "none" else KERNELS[model.kernel] + 1
    row = np.zeros(num_random + int(model.level))
    row[: min(num_random, 1)] = 1.0
    row[num_random:] = 1.0
    return row


def force_prior(length_scale: ArrayLike, model: LatentForceModel) -> StateSpace:
    """Prior of one town's force at standard deviation 1; the constant has variance 0 here."""
    emission = jnp.asarray(force_emission(model))
    if model.kernel == "none":
        none = jnp.zeros((emission.size, emission.size))
        return StateSpace(none, none, none, emission)
    prior = matern_state_space(model.kernel, length_scale)
    if not model.level:
        return prior
    feedback, diffusion, covariance = (jnp.pad(x, (0, 1)) for x in prior[:3])
    return StateSpace(feedback, diffusion, covariance, emission)
