"""The search of a shooting fit: coordinates of equal curvature, L-BFGS, and the result."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from diffmig.fit.force_estimate import ForceEstimate
from diffmig.fit.pinn_penalty import PenaltyChoice
from diffmig.fit.shooting_config import ShootingConfig
from diffmig.fit.shooting_force import basis_on
from diffmig.fit.shooting_linear import (
    Linear,
    Path,
    band_shapes,
    degrees_of_freedom,
    first_unknowns,
    linearise,
    smooth,
    theta_scale,
    unwhiten,
)
from diffmig.fit.shooting_problem import (
    ShootingProblem,
    Unknowns,
    observe,
    shoot,
    shooting_terms,
    terms_of,
)
from diffmig.optimize import LbfgsConfig, member_status, minimise_from
from diffmig.optimize.lbfgs import LbfgsState

SHOOTING_STATUS = (
    "converged",
    "step limit of the search reached",
    "a value is not finite",
    "line search failed",
    "step limit of the solver reached",
)
CONVERGED, STEP_LIMIT, NOT_FINITE, LINE_SEARCH_FAILED, SOLVER_LIMIT = range(5)
_HIDDEN_UNIT = 0.01  # change of hidden weights by one unit of the search
_LINE_SEARCH_ENDED = 1e-3  # gradient below which a failed line search is only round-off


class ShootingFit(NamedTuple):
    """Force and motion of least loss.

    Attributes:
        estimate: ForceEstimate. Its bands are those of the dynamics linearised about the result
            with their mean matrices, theta taken as known; NaN for networks and without
            `config.bands`.
        fitted: H q, what the motion says at every observation, [town, year].
        start: q and q' at the first time, [2, town].
        coefficients: of the force, [town, basis], 0 in unforced towns: of B-splines, or of
            combinations of the network's last hidden units.
        knots: of the spline, years, [basis + 4]; None for networks.
        params: of the network; None for splines.
        theta: parameters of the dynamics, as they came in where frozen.
        theta_covariance: flat, [parameter, parameter], Gauss-Newton with the penalty as prior and
            `noise_sd`, of the dynamics linearised about the result; [0, 0] where frozen. Infinite
            where the data do not determine theta.
        terms: sum of weighted squares of the misfit, integral f''^2 over towns, [2].
        loss: misfit + lambda integral f''^2, [].
        penalty: lambda, [].
        choice: penalties that were tried; None where one was given.
        degrees_of_freedom: effective number of fitted parameters of these linear dynamics, [].
        noise_sd: root of the misfit per residual degree of freedom, in units of the noise weights,
            [].
        gradient: largest component at the end, 1; see `ShootingConfig.tolerance`.
        num_steps: motions with gradients, int32.
        converged: bool.
        status: int8, index into `SHOOTING_STATUS`.
    """

    estimate: ForceEstimate
    fitted: Array
    start: Array
    coefficients: Array
    knots: np.ndarray | None
    params: Any
    theta: Any
    theta_covariance: Array
    terms: Array
    loss: Array
    penalty: Array
    choice: PenaltyChoice | None
    degrees_of_freedom: Array
    noise_sd: Array
    gradient: Array
    num_steps: Array
    converged: Array
    status: Array


@partial(jax.jit, static_argnums=(4, 5))
def search(
    problem: ShootingProblem,
    theta: Any,
    hidden: Any,
    max_steps: Array,
    linear: bool,
    config: ShootingConfig,
) -> tuple[Unknowns, tuple[Array, Array], Array]:
    """Unknowns of least loss; steps done and largest component of the gradient; status."""
    path, scale = smooth(problem, config)
    first, path = first_unknowns(path, hidden, theta, problem, linear, config)
    model = linearise(path, hidden, theta, problem, linear, config.steps_per_year, config)
    build, z = _coordinates(first, model, path, scale, problem, linear, config)

    def loss(z: Array) -> Array:
        terms = shooting_terms(build(z), problem, linear, config)
        return 0.5 * (terms[0] + problem.penalty * terms[1]) / scale

    state, status = _minimise(loss, z, max_steps, config)
    steepest = jnp.max(jnp.abs(state.gradient))
    return build(state.point[0]), (state.num_evaluations, steepest), status


def _coordinates(
    first: Unknowns,
    model: Linear,
    path: Path,
    scale: Array,
    problem: ShootingProblem,
    linear: bool,
    config: ShootingConfig,
) -> tuple[Any, Array]:
    """Map from the search's flat coordinates to unknowns, and the coordinates of `first`, zeros.

    Start and coefficients: roots of the linear problem's normal matrices. Theta: root of its
    information there, together with what it asks of the others; one unit moves it by 1 at most.
    """
    root = jnp.sqrt(scale)
    size, unravel_theta = ravel_pytree(first.theta)
    weights = first.hidden.weights if config.train_hidden else None
    flat_hidden, unravel_hidden = ravel_pytree(weights)
    parts = {"linear": jnp.zeros_like(model.whitening[0])}
    if flat_hidden.size:
        parts["hidden"] = jnp.zeros_like(flat_hidden)
    if config.fit_theta:
        parts["theta"] = jnp.zeros_like(size)
        found = theta_scale(model, path, first.theta, problem, linear, config)
        values, vectors = jnp.linalg.eigh(found.information / scale)
        spread = vectors / jnp.sqrt(jnp.maximum(values, 0.0) + 1.0)[None, :]
    flat, unravel = ravel_pytree(parts)

    def build(z: Array) -> Unknowns:
        parts = unravel(z)
        x = root * unwhiten(model, parts["linear"], problem.forced)
        theta, hidden = first.theta, first.hidden
        if config.fit_theta:
            step = spread @ parts["theta"]
            x = x - (step @ found.moves).reshape(x.shape)
            theta = unravel_theta(size + step)
        if "hidden" in parts:
            moved = flat_hidden + _HIDDEN_UNIT * parts["hidden"]
            hidden = hidden._replace(weights=unravel_hidden(moved))
        return Unknowns(first.start + x[:, :2].T, first.coefficients + x[:, 2:], hidden, theta)

    return build, flat


def _minimise(
    loss_fn: Any, z: Array, max_steps: Array, config: ShootingConfig
) -> tuple[LbfgsState, Array]:
    """L-BFGS of a single member; the state, and its status as an index into `SHOOTING_STATUS`."""
    choices = LbfgsConfig(memory=config.memory, tolerance=config.tolerance)

    def evaluate(key: Array, swarm: Array) -> Array:
        return loss_fn(swarm[0])[None]

    state = minimise_from(z[None], evaluate, max_steps, choices)
    status = member_status(state, choices)[0]
    known = jnp.array([CONVERGED, STEP_LIMIT, NOT_FINITE, LINE_SEARCH_FAILED], jnp.int8)[status]
    settled = jnp.max(jnp.abs(state.gradient)) <= _LINE_SEARCH_ENDED
    ended = (known == LINE_SEARCH_FAILED) & settled
    return state, jnp.where(ended, CONVERGED, known).astype(jnp.int8)


@partial(jax.jit, static_argnums=(4, 5))
def finish(
    problem: ShootingProblem,
    unknowns: Unknowns,
    steps: tuple[Array, Array],
    status: Array,
    linear: bool,
    config: ShootingConfig,
) -> ShootingFit:
    """Motion on the grid of the result, and errors by the linear problem about it."""
    num_years, dtype = problem.balance.shape[1], problem.balance.dtype
    coefficients = problem.forced[:, None] * unknowns.coefficients
    motion = shoot(unknowns, problem, linear, config.num_per_year, config)
    fitted = observe(motion.balance, motion.velocity, config.num_per_year, config.observation)
    grid = config.offset + np.arange(motion.time.size) / config.num_per_year
    basis = basis_on(unknowns.hidden, grid, num_years, config, dtype)
    force = coefficients @ basis.T
    time = jnp.asarray(grid, dtype)
    path = Path(time, motion.balance, motion.velocity, force)
    per_year = config.num_per_year
    model = linearise(path, unknowns.hidden, unknowns.theta, problem, linear, per_year, config)
    theta_size = ravel_pytree(unknowns.theta)[0].size if config.fit_theta else 0
    freedom = degrees_of_freedom(model) + float(theta_size)
    terms = terms_of(fitted, unknowns, problem, config)
    count = jnp.sum(problem.weight > 0.0).astype(dtype)
    variance = terms[0] / jnp.maximum(count - freedom, 1e-9)
    covariance = jnp.zeros((0, 0), dtype)
    if config.fit_theta:
        found = theta_scale(model, path, unknowns.theta, problem, linear, config)
        covariance = variance * _inverse(found.information)
    bands = [jnp.full_like(force, jnp.nan)] * 2
    if config.bands and config.force == "spline":
        shapes = band_shapes(model, basis, problem.forced)
        bands = [jnp.sqrt(variance * shape) for shape in shapes]
    finite = jnp.all(jnp.isfinite(motion.balance))
    status = jnp.where(finite, status, NOT_FINITE)
    status = jnp.where(motion.status == 1, SOLVER_LIMIT, status).astype(jnp.int8)
    return ShootingFit(
        estimate=ForceEstimate(time, motion.balance, motion.velocity, force, *bands),
        fitted=fitted,
        start=unknowns.start,
        coefficients=coefficients,
        knots=None,
        params=unknowns.hidden,
        theta=unknowns.theta,
        theta_covariance=covariance,
        terms=terms,
        loss=terms[0] + problem.penalty * terms[1],
        penalty=problem.penalty,
        choice=None,
        degrees_of_freedom=freedom,
        noise_sd=jnp.sqrt(variance),
        gradient=steps[1],
        num_steps=steps[0],
        converged=status == CONVERGED,
        status=status,
    )


def _inverse(information: Array) -> Array:
    """Covariance of theta; infinite where the information is singular."""
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(information), 1e-300))
    values, vectors = jnp.linalg.eigh(information / (scale[:, None] * scale[None, :]))
    full = values[0] > values[-1] * 1e-12
    inverse = (vectors / jnp.where(full, values, 1.0)[None, :]) @ vectors.T
    return jnp.where(full, inverse / (scale[:, None] * scale[None, :]), jnp.inf)
