"""Parameters from anchors: a few printed facts, each with a tolerance, met by gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

from diffmig.optimize import Result, best_of, solve_bfgs


class Calibration(NamedTuple):
    """Parameters that meet anchors, and how well anchors determine them.

    Attributes:
        parameters: in the optimiser's unconstrained form, pytree like one start.
        residuals: of the anchors, in tolerances, [anchor].
        covariance: of the flattened parameters, (J'J)^{-1} with J = d residuals / d parameters:
            the inverse Hessian of half the sum of squares where the anchors are met,
            [parameter, parameter]; infinite where the anchors do not determine them.
        standard_error: square roots of its diagonal, pytree like the parameters.
        converged: bool, the search ended at a minimum.
        status: int8, index into `optimize.STATUS`.
        met: bool, every residual is within one tolerance.
    """

    parameters: Any
    residuals: Array
    covariance: Array
    standard_error: Any
    converged: Array
    status: Array
    met: Array


def calibrate(
    residual_fn: Callable[[Any], Array],
    starts: Any,
    *,
    tolerance: float = 1e-8,
    mesh: Mesh | None = None,
) -> Calibration:
    """Parameters of least squares, by BFGS through the model from several starts.

    minimise 1/2 sum_k r_k^2,  r_k = (computed_k - anchor_k) / tolerance_k

    Args:
        residual_fn: unconstrained parameters -> r, [anchor], differentiable. Rates and shares enter
            through a map inside it (exp, softplus, sigmoid).
        starts: parameters with a leading start axis, float64.
        tolerance: largest component of the gradient at which the search ends.
        mesh: devices that share the starts.

    Returns:
        Calibration. The standard errors say how far each parameter can move before the anchors miss
        by their tolerances; they are no sampling errors.

    Raises:
        ValueError: see `optimize.solve_bfgs`.

    Source: inverse Gauss-Newton Hessian, Nocedal, Wright 2006, Numerical Optimization, chapter 10.
    """

    def loss_fn(parameters: Any) -> Array:
        return 0.5 * jnp.sum(residual_fn(parameters) ** 2)

    found: Result = best_of(solve_bfgs(loss_fn, starts, tolerance=tolerance, mesh=mesh))
    flat, unravel = ravel_pytree(found.candidate)
    jacobian = jax.jacfwd(lambda x: residual_fn(unravel(x)))(flat)
    residuals = residual_fn(found.candidate)
    covariance = _inverse(jacobian.T @ jacobian)
    return Calibration(
        parameters=found.candidate,
        residuals=residuals,
        covariance=covariance,
        standard_error=unravel(jnp.sqrt(jnp.diagonal(covariance))),
        converged=found.converged,
        status=found.status,
        met=jnp.all(jnp.abs(residuals) <= 1.0),
    )


def _inverse(hessian: Array) -> Array:
    """Inverse of a symmetric matrix; infinite everywhere if it has no full rank."""
    values, vectors = jnp.linalg.eigh(hessian)
    full = values[0] > values[-1] * 1e-12
    inverse = (vectors / jnp.where(full, values, 1.0)[None, :]) @ vectors.T
    return jnp.where(full, inverse, jnp.inf)
