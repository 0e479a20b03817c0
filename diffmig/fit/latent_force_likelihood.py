"""Latent force model: exact marginal likelihood of balances under a Gaussian-process force.

q'' + c q' + K q = f with one independent Matern force per town is a linear stochastic differential
equation; the yearly balances are noisy values or averages of q. Where every town has the same
noise, the same prior and all its data, the modes of K are independent small problems.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from diffmig.fit.kalman import Filtered, event_covariance, kalman_filter, smooth_adjoint
from diffmig.fit.latent_force_model import (
    DEFAULT_MODEL,
    ForceScales,
    LatentForceModel,
    Problem,
    build_chain,
    build_system,
    by_year,
    choose_path,
    full_observations,
    mode_chain,
    mode_observations,
    prepare,
)
from diffmig.migration.matern import discretize
from diffmig.migration.modes import Modes

_NEAR = 1e-4  # relative distance of eigenvalues below which a difference quotient is a derivative


def latent_force_log_likelihood(
    balance: Array,
    stiffness: Array | Modes,
    damping: ArrayLike,
    scales: ForceScales,
    *,
    observed: Array | None = None,
    model: LatentForceModel = DEFAULT_MODEL,
) -> Array:
    """Logarithm of the density of all observed balances, the force integrated out.

    Args:
        balance: [town, year]; any number where not observed.
        stiffness: K, 1/year^2, symmetric, [town, town], or by year, [year, town, town]: year k's
            from observation k - 1 (its beginning, for means) to observation k. Or the modes of a
            constant K: quicker where it is the same for many calls, without derivatives by it.
        damping: c, 1/year, [].
        scales: hyper-parameters.
        observed: bool [town, year]; None: all are.
        model: choices.

    Returns:
        ln p(balance), [].

    Raises:
        ValueError: shapes that do not fit, another dtype than float64, or a path that does not
            apply.

    Notes:
        Exact up to round-off. Differentiable in scales, damping, stiffness and balance, also where
        eigenvalues of K coincide. On the modal and dense paths derivatives by K exist to first
        order (the second raise NotImplementedError); on the full path, and by the others, to any
        order. The asymmetric part of K is ignored.

    Source: Alvarez, Luengo, Lawrence, 2013, Linear latent force models using Gaussian processes;
    Hartikainen, Sarkka, 2010, for the filter.
    """
    path = choose_path(stiffness, scales, observed, model)
    problem = prepare(balance, stiffness, damping, scales, observed, model)
    return _log_likelihood(problem, model, path)


@partial(jax.jit, static_argnums=(1, 2))
def _log_likelihood(problem: Problem, model: LatentForceModel, path: str) -> Array:
    return log_likelihood(problem, model, path)


def log_likelihood(problem: Problem, model: LatentForceModel, path: str) -> Array:
    """`latent_force_log_likelihood` without checks, traceable."""
    if path == "full":
        return full_filter(problem, model).log_likelihood
    matrix = problem.stiffness
    if isinstance(matrix, Modes):
        data = matrix.vectors.T @ problem.balance
        return modal_log_likelihood(matrix.values, data, problem, model)
    _, vectors = jnp.linalg.eigh(lax.stop_gradient(matrix))
    moved = vectors.T @ matrix @ vectors  # diagonal, but its derivative is full
    values = jnp.diagonal(moved)
    if path == "dense":
        smooth = dense_log_likelihood(values, vectors, problem, model)
        return smooth + _rotation(_dense_weights, model, moved, values, vectors, problem)
    data = vectors.T @ problem.balance
    smooth = modal_log_likelihood(values, data, problem, model)
    return smooth + _rotation(_modal_weights, model, moved, values, data, problem)


def modal_log_likelihood(
    values: Array, data: Array, problem: Problem, model: LatentForceModel
) -> Array:
    """Sum over modes, given eigenvalues [mode] and data in modes [mode, year]."""

    def one(value: Array, row: Array) -> Array:
        chain = mode_chain(value, problem, model)
        seen = mode_observations(row, problem)
        return kalman_filter(chain, seen, cumulative=model.cumulative).log_likelihood

    return jnp.sum(jax.vmap(one)(values, data))


def dense_log_likelihood(
    values: Array, vectors: Array, problem: Problem, model: LatentForceModel
) -> Array:
    """By the covariance matrix of all observations, given eigenvalues and eigenvectors of K."""
    data = problem.balance.reshape(-1)
    covariance = _joint(_mode_covariances(values, problem, model), vectors, problem)
    count = data.size if problem.observed is None else jnp.sum(problem.observed)
    constant = jnp.asarray(count, data.dtype) * float(np.log(2.0 * np.pi))
    return _log_density(covariance, data) - 0.5 * constant


@jax.custom_jvp
def _log_density(covariance: Array, data: Array) -> Array:
    """-(y'S^{-1}y + ln det S) / 2. Its derivative needs one inverse; that of the Cholesky factor
    would take several products of the same size one after the other."""
    root = jnp.linalg.cholesky(covariance)
    half = jax.scipy.linalg.solve_triangular(root, data, lower=True)
    return -0.5 * half @ half - jnp.sum(jnp.log(jnp.diagonal(root)))


@_log_density.defjvp
def _log_density_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    a, inner = _inner(*primals)
    return _log_density(*primals), 0.5 * jnp.sum(inner * tangents[0]) - a @ tangents[1]


def _inner(covariance: Array, data: Array) -> tuple[Array, Array]:
    """a = S^{-1} y and a a' - S^{-1}, twice the derivative of the log-density by S."""
    root = jnp.linalg.cholesky(covariance)
    inverse = jax.scipy.linalg.cho_solve((root, True), jnp.eye(data.size, dtype=data.dtype))
    a = inverse @ data
    return a, a[:, None] * a[None, :] - inverse


def _mode_covariances(values: Array, problem: Problem, model: LatentForceModel) -> Array:
    """Of every mode's values at the observations, without noise, [mode, year, year]."""
    num_years = problem.balance.shape[1]

    def one(value: Array) -> Array:
        chain = mode_chain(value, problem, model)
        return event_covariance(chain, num_years, cumulative=model.cumulative)

    return jax.vmap(one)(values)


def _joint(covariances: Array, vectors: Array, problem: Problem) -> Array:
    """Covariance matrix of all observations, noise included; 1 where there is none."""
    shape = problem.balance.shape
    size = shape[0] * shape[1]
    joint = jnp.einsum("im,jm,mst->isjt", vectors, vectors, covariances).reshape((size, size))
    variance = full_observations(problem).variance.T.reshape(-1)
    if problem.observed is not None:
        seen = problem.observed.reshape(-1)
        joint = jnp.where(seen[:, None] & seen[None, :], joint, 0.0)
        variance = jnp.where(seen, variance, 1.0)
    return joint + jnp.diag(variance)


def full_filter(problem: Problem, model: LatentForceModel) -> Filtered:
    """Forward pass of all towns in one state."""

    def year(matrix: Array) -> tuple[Array, Array]:
        feedback, diffusion, _ = build_system(matrix, problem, model)
        return discretize(feedback, diffusion)

    chain = build_chain(problem, model, by_year(year, problem, model))
    return kalman_filter(chain, full_observations(problem), cumulative=model.cumulative)


# --- derivative by the off-diagonal elements of K in the basis of its modes --------------------


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _rotation(
    weights_fn: Callable[..., Array],
    model: LatentForceModel,
    moved: Array,
    values: Array,
    context: Array,
    problem: Problem,
) -> Array:
    """0, with the derivative of the log-likelihood by rotations of the modes.

    d ln p = 1/2 sum_{i != j} W_ij dE_ij,  E = U'K U,  W from `weights_fn`. The eigenvectors
    themselves have no derivative where eigenvalues coincide; this has.

    Source: Higham, 2008, Functions of Matrices, theorem 3.11 (Daleckii and Krein).
    """
    return jnp.zeros((), values.dtype)


@partial(_rotation.defjvp, symbolic_zeros=True)
def _rotation_jvp(
    weights_fn: Callable[..., Array], model: LatentForceModel, primals: tuple, tangents: tuple
) -> tuple[Array, Array]:
    _, values, context, problem = primals
    change = tangents[0]
    zero = jnp.zeros((), values.dtype)
    if isinstance(change, SymbolicZero):
        return zero, zero
    weights = _first_order_only(weights_fn(model, values, context, problem))
    return zero, 0.5 * jnp.sum(weights * change)


def _modal_weights(model: LatentForceModel, values: Array, data: Array, problem: Problem) -> Array:
    """W_ij = (y_i'a_j - y_j'a_i) / (l_i - l_j),  a_i = S(l_i)^{-1} y_i;
    -(y_i'da_j/dl + y_j'da_i/dl) / 2 for l_i -> l_j."""

    def weighted(at: Array) -> Array:
        def one(value: Array, row: Array) -> Array:
            chain = mode_chain(value, problem, model)
            seen = mode_observations(row, problem)
            found = kalman_filter(chain, seen, cumulative=model.cumulative)
            adjoint = smooth_adjoint(chain, seen, found, cumulative=model.cumulative)
            return adjoint.weighted[:, 0]

        return jax.vmap(one)(at, data)

    a, slope = jax.jvp(weighted, (values,), (jnp.ones_like(values),))
    return -_quotients(values, a @ data.T, slope @ data.T)


def _dense_weights(
    model: LatentForceModel, values: Array, vectors: Array, problem: Problem
) -> Array:
    """W_ij = sum_st M_is,jt (S(l_i) - S(l_j))_st / (l_i - l_j),  M = a a' - S^{-1} in modes."""
    shape = problem.balance.shape

    def covariances(at: Array) -> Array:
        return _mode_covariances(at, problem, model)

    own, slope = jax.jvp(covariances, (values,), (jnp.ones_like(values),))
    inner = _inner(_joint(own, vectors, problem), problem.balance.reshape(-1))[1]
    if problem.observed is not None:
        seen = problem.observed.reshape(-1)
        inner = jnp.where(seen[:, None] & seen[None, :], inner, 0.0)
    inner = jnp.einsum("ki,ksjt->isjt", vectors, inner.reshape((*shape, *shape)))
    inner = jnp.einsum("iskt,kj->isjt", inner, vectors)
    before, after = (jnp.einsum("isjt,ist->ij", inner, x) for x in (own, slope))
    return _quotients(values, before, after)


def _quotients(values: Array, first: Array, slope: Array) -> Array:
    """(F - F')_ij / (l_i - l_j), (D + D')_ij / 2 where eigenvalues meet, zero diagonal."""
    a, b = values[:, None], values[None, :]
    near = jnp.abs(a - b) <= _NEAR * (1.0 + jnp.abs(a) + jnp.abs(b))
    quotient = (first - first.T) / jnp.where(near, 1.0, a - b)
    weights = jnp.where(near, 0.5 * (slope + slope.T), quotient)
    return weights * (1.0 - jnp.eye(values.size, dtype=values.dtype))


@jax.custom_jvp
def _first_order_only(x: Array) -> Array:
    return x


@_first_order_only.defjvp
def _first_order_only_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    raise NotImplementedError(
        "latent_force_log_likelihood: second derivatives by the stiffness are not available on the "
        "modal and dense paths; use LatentForceModel(path='full')"
    )
