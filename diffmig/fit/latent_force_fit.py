"""Latent force model: scales of the prior, and strengths of the terms, by maximum marginal
likelihood.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jax.typing import ArrayLike

from diffmig.fit.force_estimate import ForceEstimate
from diffmig.fit.latent_force import smooth_latent_force
from diffmig.fit.latent_force_likelihood import log_likelihood
from diffmig.fit.latent_force_model import (
    DEFAULT_MODEL,
    ForceScales,
    LatentForceModel,
    Problem,
    choose_path,
    prepare,
    symmetric,
)
from diffmig.migration.modes import Modes, modes
from diffmig.optimize import LbfgsConfig, member_status, minimise_from, per_member
from diffmig.optimize.base import CONVERGED

Dynamics = Callable[[Any], tuple[Array, ArrayLike]]

SHORTEST_SCALE = 0.5  # of the force, years: below, yearly data see noise
LONGEST_SPANS = 3.0  # length scale, in spans of the data
_SD_RANGE = (1e-3, 1e2)  # of the force, in root mean squares of the data per year^2
_NOISE_RANGE = (1e-4, 3.0)  # of the noise, in root mean squares of the data
_MEMORY = 5  # pairs of L-BFGS, about as many as there are variables
_GRID = ((0.08, 0.2, 0.5), (0.05, 0.3, 1.5), (0.03, 0.1, 0.4))  # spans, and the units above


@dataclass(frozen=True)
class LatentForceSearch:
    """How the marginal likelihood is maximised.

    num_starts: best points of a coarse grid of scales from which L-BFGS starts (one for every start
        of the dynamics, where these are fitted).
    max_steps: of L-BFGS, all starts side by side.
    tolerance: largest component of the gradient of the log-likelihood, by unconstrained variables,
        at which the search ends.
    num_per_year: times of the estimate in a year.
    """

    num_starts: int = 2
    max_steps: int = 100
    tolerance: float = 1e-3
    num_per_year: int = 10

    def __post_init__(self) -> None:
        if min(self.num_starts, self.max_steps, self.num_per_year) < 1 or not self.tolerance > 0:
            raise ValueError(f"expected counts >= 1 and tolerance > 0, got {self}")


class LatentForceFit(NamedTuple):
    """Maximum of the marginal likelihood, and the posterior there.

    Attributes:
        scales: length scale, years, []; standard deviations of force and noise, [] or as weighted.
        theta: fitted parameters of the dynamics, unconstrained, pytree; () where none.
        stiffness: K, [town, town] or [year, town, town], or its modes where these were given.
        damping: c, [].
        log_likelihood: ln p(balance), [].
        at_bound: bool [3], the length scale, force_sd, noise_sd ended at a bound of its range:
            the data do not determine it.
        converged: bool, the search ended at a maximum.
        status: int8, index into `diffmig.optimize.STATUS`.
        start_log_likelihood: where the search from each start ended, [start].
        num_evaluations: int32, likelihoods evaluated.
        estimate: ForceEstimate at these scales.
    """

    scales: ForceScales
    theta: Any
    stiffness: Array | Modes
    damping: Array
    log_likelihood: Array
    at_bound: Array
    converged: Array
    status: Array
    start_log_likelihood: Array
    num_evaluations: Array
    estimate: ForceEstimate


def fit_latent_force(
    balance: Array,
    stiffness: Array | Modes,
    damping: ArrayLike,
    *,
    observed: Array | None = None,
    force_weight: Array | None = None,
    noise_weight: Array | None = None,
    model: LatentForceModel = DEFAULT_MODEL,
    search: LatentForceSearch = LatentForceSearch(),
) -> LatentForceFit:
    """Length scale and standard deviations of known dynamics, and the posterior of the force.

    maximise ln p(balance | length_scale, force_sd, noise_sd)

    Args:
        balance, stiffness, damping, observed, model: as in `latent_force_log_likelihood`.
        force_weight: factors of force_sd, [town]; 0 where a town is known to be unforced.
        noise_weight: factors of noise_sd, [town] or [town, year], for example 1 / sqrt(population).
        search: choices.

    Returns:
        LatentForceFit. The length scale stays within 0.5 years and 3 spans of the data.

    Raises:
        ValueError: as `latent_force_log_likelihood`.

    Notes:
        Compiled once per shape and choice. The bands of the estimate hold for the scales found:
        they leave out that these are uncertain.

    Source: Rasmussen, Williams, 2006, Gaussian processes for machine learning, section 5.4.
    """
    dynamics = Partial(_constant, stiffness, jnp.asarray(damping, balance.dtype))
    return _fit(balance, dynamics, None, observed, force_weight, noise_weight, model, search)


def fit_latent_dynamics(
    balance: Array,
    dynamics_fn: Dynamics,
    starts: Any,
    *,
    observed: Array | None = None,
    force_weight: Array | None = None,
    noise_weight: Array | None = None,
    model: LatentForceModel = DEFAULT_MODEL,
    search: LatentForceSearch = LatentForceSearch(),
) -> LatentForceFit:
    """Strengths of the dynamics together with the scales of the prior.

    maximise ln p(balance | theta, length_scale, force_sd, noise_sd)

    Args:
        balance, observed, force_weight, noise_weight, model, search: as in `fit_latent_force`.
        dynamics_fn: theta -> (K, c), theta unconstrained: map strengths by softplus inside. A
            `jax.tree_util.Partial` with the couplings as arguments is compiled once for all data
            of one shape; a closure is compiled anew for each.
        starts: theta with a leading start axis, floating leaves of the dtype of the balance.

    Returns:
        LatentForceFit.

    Raises:
        ValueError: as `latent_force_log_likelihood`, or no common start axis.

    Notes:
        A free force per town explains any balance for any theta. What the marginal likelihood finds
        rests on the prior: on the smoothness that it demands and on towns known to be unforced
        (`force_weight` 0). Look at its profile by theta before believing in a value.
    """
    leaves = jax.tree.leaves(starts)
    lengths = {jnp.shape(leaf)[:1] for leaf in leaves}
    if len(lengths) != 1 or () in lengths:
        raise ValueError(
            "starts: expected leaves [start, ...] of one length, got "
            f"{[jnp.shape(leaf) for leaf in leaves]}"
        )
    fn = dynamics_fn if isinstance(dynamics_fn, Partial) else Partial(dynamics_fn)
    return _fit(balance, fn, starts, observed, force_weight, noise_weight, model, search)


def _constant(stiffness: Any, damping: Array, theta: Any) -> tuple[Any, Array]:
    return stiffness, damping


@jax.jit
def _modes(stiffness: Array) -> Modes:
    return modes(symmetric(stiffness))


def _fit(
    balance: Array,
    dynamics: Partial,
    starts: Any,
    observed: Array | None,
    force_weight: Array | None,
    noise_weight: Array | None,
    model: LatentForceModel,
    search: LatentForceSearch,
) -> LatentForceFit:
    example = jax.tree.map(lambda leaf: leaf[0], starts) if starts is not None else ()
    matrix, damping = jax.eval_shape(dynamics, example)
    weights = (force_weight, noise_weight)
    scales = _weighted(ForceScales(1.0, 1.0, 1.0), weights)
    path = choose_path(matrix, scales, observed, model)
    if observed is not None and path == "modal" and bool(np.all(np.asarray(observed))):
        observed = None
    jax.eval_shape(
        lambda b, k, c: prepare(b, k, c, scales, observed, model), balance, matrix, damping
    )
    known = None
    if starts is None and path == "modal" and not isinstance(matrix, Modes):
        known = dynamics.args[0]
        dynamics = Partial(_constant, _modes(known), dynamics.args[1])
    found = _search(balance, dynamics, starts, observed, weights, model, search, path)
    estimate = smooth_latent_force(
        balance,
        found.stiffness,
        found.damping,
        found.scales,
        observed=observed,
        model=model,
        num_per_year=search.num_per_year,
    )
    found = found._replace(estimate=estimate)
    return found if known is None else found._replace(stiffness=known)


@partial(jax.jit, static_argnums=(5, 6, 7))
def _search(
    balance: Array,
    dynamics: Partial,
    starts: Any,
    observed: Array | None,
    weights: tuple[Array | None, Array | None],
    model: LatentForceModel,
    search: LatentForceSearch,
    path: str,
) -> LatentForceFit:
    """Everything but the estimate, which `smooth_latent_force` computes."""
    fixed = starts is None
    example = () if fixed else jax.tree.map(lambda leaf: leaf[0], starts)
    ones = _weighted(ForceScales(1.0, 1.0, 1.0), weights)
    matrix, damping = dynamics(example)
    unit = prepare(balance, matrix, damping, ones, observed, model)
    low, high, grid = _ranges(unit, weights, model)

    def scales_of(z: Array) -> ForceScales:
        return ForceScales(*jnp.exp(low + (high - low) * jax.nn.sigmoid(z)))

    def problem_of(candidate: dict) -> Problem:
        scales = _weighted(scales_of(candidate["scales"]), weights)
        if fixed:
            return unit._replace(scales=scales)
        matrix, damping = dynamics(candidate["theta"])
        return prepare(balance, matrix, damping, scales, observed, model)

    def loss(candidate: dict) -> Array:
        return -log_likelihood(problem_of(candidate), model, path)

    share = (jnp.log(grid) - low[None, :]) / (high - low)[None, :]
    grid = jnp.log(share) - jnp.log1p(-share)

    def best_scales(theta: Any, number: int) -> Array:
        def at(z: Array) -> Array:
            return loss({"scales": z, "theta": theta})

        losses = lax.map(at, grid)
        return grid[lax.top_k(-jnp.where(jnp.isnan(losses), jnp.inf, losses), number)[1]]

    if fixed:
        best = best_scales((), min(search.num_starts, grid.shape[0]))
    else:
        best = lax.map(lambda theta: best_scales(theta, 1)[0], starts)
    initial = {"scales": best, "theta": () if fixed else starts}
    number = best.shape[0]
    config = LbfgsConfig(memory=_MEMORY, tolerance=search.tolerance)
    # large matrices one after the other: their products are slower side by side
    evaluate_fn = per_member(loss, block=None if path == "modal" else 1)
    state = minimise_from(initial, evaluate_fn, search.max_steps, config)
    row = jnp.argmin(state.loss)
    status = member_status(state, config)[row]
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], initial))
    candidate = unravel(state.point[row])
    problem = problem_of(candidate)
    at_bound = jnp.abs(candidate["scales"]) > -float(np.log(1e-3))
    count = state.num_evaluations + jnp.int32(grid.shape[0] * (1 if fixed else number))
    return LatentForceFit(
        scales=problem.scales,
        theta=candidate["theta"],
        stiffness=problem.stiffness,
        damping=problem.damping,
        log_likelihood=-state.loss[row],
        at_bound=at_bound,
        converged=status == CONVERGED,
        status=status,
        start_log_likelihood=-state.loss,
        num_evaluations=count,
        estimate=None,  # type: ignore[arg-type]
    )


def _weighted(scales: ForceScales, weights: tuple[Array | None, Array | None]) -> ForceScales:
    force, noise = weights
    return ForceScales(
        scales.length_scale,
        scales.force_sd if force is None else scales.force_sd * force,
        scales.noise_sd if noise is None else scales.noise_sd * noise,
    )


def _ranges(
    unit: Problem, weights: tuple[Array | None, Array | None], model: LatentForceModel
) -> tuple[Array, Array, Array]:
    """Logarithms of the lower and upper bounds, [3], and starts within them, [start, 3]."""
    span = unit.balance.shape[1] - (0 if model.cumulative else 1)
    rms = unit.start_sd / model.initial_scale
    sizes = [jnp.ones_like(rms) if w is None else jnp.sqrt(jnp.mean(w**2)) for w in weights]
    units = jnp.stack([jnp.full_like(rms, span), rms / sizes[0], rms / sizes[1]])
    low = jnp.array([SHORTEST_SCALE / span, _SD_RANGE[0], _NOISE_RANGE[0]], rms.dtype) * units
    high = jnp.array([LONGEST_SPANS, _SD_RANGE[1], _NOISE_RANGE[1]], rms.dtype) * units
    points = jnp.array(list(product(*_GRID)), rms.dtype) * units[None, :]
    inside = jnp.clip(points, 1.01 * low[None, :], 0.99 * high[None, :])
    return jnp.log(low), jnp.log(high), inside
