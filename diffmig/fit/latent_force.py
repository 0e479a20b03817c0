"""Latent force model: exact posterior of force and motion, and forecasts, for given scales."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from diffmig.fit.force_estimate import ForceEstimate
from diffmig.fit.kalman import Observations, kalman_filter, smooth_adjoint
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
    mode_observations,
    prepare,
    readout,
)
from diffmig.migration.matern import discretize
from diffmig.migration.modes import Modes, modes


class LatentForceForecast(NamedTuple):
    """Predictive distributions, normal and given the scales.

    Attributes:
        fitted: of every observed year given the years before it, [town, year]; row 0 is the prior.
        fitted_sd: standard deviation, noise included, [town, year].
        forecast: of the years after the data, [town, horizon].
        forecast_sd: noise included, [town, horizon].
        balance_sd: of the balance itself, without noise, [town, horizon].
    """

    fitted: Array
    fitted_sd: Array
    forecast: Array
    forecast_sd: Array
    balance_sd: Array


def smooth_latent_force(
    balance: Array,
    stiffness: Array | Modes,
    damping: ArrayLike,
    scales: ForceScales,
    *,
    observed: Array | None = None,
    model: LatentForceModel = DEFAULT_MODEL,
    num_per_year: int = 10,
    basis: Array | None = None,
) -> ForceEstimate:
    """Posterior mean and standard deviation of force and motion given all balances.

    Args:
        balance, stiffness, damping, scales, observed, model: as in `latent_force_log_likelihood`.
        num_per_year: times of the result in a year.
        basis: orthonormal columns, [place, town], if the balances are coordinates q_place = basis
            q_town (`migration.closed_basis`); the result is that of the places.

    Returns:
        ForceEstimate from the first year's start to the last year's end (means), or from the first
        to the last value (points), both included.

    Raises:
        ValueError: as `latent_force_log_likelihood`, or num_per_year < 1.

    Notes:
        Exact at every time, not interpolated. Differentiable (on the modal path the eigenvectors
        count as constants).

    Source: Hartikainen, Sarkka, 2010; Bryson, Frazier, 1963, for the backward pass.
    """
    if num_per_year < 1:
        raise ValueError(f"num_per_year: expected at least 1, got {num_per_year}")
    modal = choose_path(stiffness, scales, observed, model) == "modal"
    problem = prepare(balance, stiffness, damping, scales, observed, model)
    return _smooth(problem, basis, model, modal, num_per_year)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _smooth(
    problem: Problem,
    basis: Array | None,
    model: LatentForceModel,
    modal: bool,
    num_per_year: int,
) -> ForceEstimate:
    def inside(problem: Problem, data: Observations, basis: Array | None) -> tuple[Array, Array]:
        return _inside(problem, data, basis, model, num_per_year)

    mean, variance = _in_towns(inside, problem, basis, modal)
    start = 0.0 if model.cumulative else model.offset
    time = start + jnp.arange(mean.shape[-1], dtype=mean.dtype) / num_per_year
    sd = jnp.sqrt(jnp.maximum(variance, 0.0))
    return ForceEstimate(time, mean[0], mean[1], mean[2], sd[0], sd[2])


def _in_towns(
    fn: Callable[[Problem, Observations, Array | None], tuple[Array, Array]],
    problem: Problem,
    basis: Array | None,
    modal: bool,
) -> tuple[Array, Array]:
    """Mean and variance of towns or places, [..., town, time], from one filter or from one per
    mode."""
    if not modal:
        return fn(problem, full_observations(problem), basis)
    known = isinstance(problem.stiffness, Modes)
    values, vectors = problem.stiffness if known else modes(problem.stiffness)

    def one(value: Array, row: Array) -> tuple[Array, Array]:
        own = problem._replace(stiffness=value[None, None])
        mean, variance = fn(own, mode_observations(row, problem), None)
        return mean[..., 0, :], variance[..., 0, :]

    means, variances = jax.vmap(one)(values, vectors.T @ problem.balance)
    vectors = vectors if basis is None else basis @ vectors
    return (
        jnp.einsum("im,m...t->...it", vectors, means),
        jnp.einsum("im,m...t->...it", vectors**2, variances),
    )


def _inside(
    problem: Problem,
    data: Observations,
    basis: Array | None,
    model: LatentForceModel,
    num_per_year: int,
) -> tuple[Array, Array]:
    """Posterior mean and variance of q, q', f, [3, town, time] each, by one filter."""

    def moments(matrix: Array) -> tuple[Array, Array]:
        """Transition and covariance from the start of a year to each of its moments."""
        feedback, diffusion, _ = build_system(matrix, problem, model)
        transition, noise = discretize(feedback, diffusion, 1.0 / num_per_year)

        def advance(now: tuple, _: None) -> tuple[tuple, tuple]:
            new = transition @ now[0], transition @ now[1] @ transition.T + noise
            return new, new

        eye = jnp.eye(feedback.shape[0], dtype=feedback.dtype)
        start = (eye, jnp.zeros_like(eye))
        later = lax.scan(advance, start, None, length=num_per_year)[1]
        first, second = (jnp.concatenate([a[None], b]) for a, b in zip(start, later, strict=True))
        return first, second

    within = by_year(moments, problem, model)
    last = tuple(x[..., -1, :, :] for x in within)
    chain = build_chain(problem, model, last)
    found = kalman_filter(chain, data, cumulative=model.cumulative)
    adjoint = smooth_adjoint(chain, data, found, cumulative=model.cumulative)
    read = readout(problem, model, basis)

    def moment(before: Array, after: Array, noise: Array, ends: tuple) -> tuple[Array, Array]:
        """At one moment, from the state at the start and the adjoint at the end of its year."""
        start, cov, vector, matrix = ends
        rows = read @ before
        spread = (rows @ cov) @ before.T + read @ noise  # covariance of what is read and the state
        onward = spread @ after.T
        mean = rows @ start + onward @ vector
        known = jnp.sum((onward @ matrix) * onward, axis=1)
        return mean, jnp.sum(spread * read, axis=1) - known

    def year(within: tuple, ends: tuple) -> tuple[Array, Array]:
        transition, noise = within
        both = jax.vmap(moment, in_axes=(0, 0, 0, None))
        return both(transition, transition[::-1], noise, ends)

    ends = (found.mean[:-1], found.covariance[:-1], adjoint.vector, adjoint.matrix)
    if problem.stiffness.ndim == 2:
        out = lax.map(lambda ends: year(within, ends), ends)
    else:
        out = lax.map(lambda now: year(*now), (within, ends))

    def in_order(x: Array) -> Array:  # [year, moment, read], the end of a year is the next's start
        rows = x[:, :-1].reshape((-1, x.shape[-1]))
        return jnp.concatenate([rows, x[-1, -1:]]).T.reshape((3, -1, rows.shape[0] + 1))

    return in_order(out[0]), in_order(out[1])


def forecast_latent_force(
    balance: Array,
    stiffness: Array | Modes,
    damping: ArrayLike,
    scales: ForceScales,
    horizon: int,
    *,
    observed: Array | None = None,
    model: LatentForceModel = DEFAULT_MODEL,
    basis: Array | None = None,
) -> LatentForceForecast:
    """Predictive means and standard deviations of balances: one year ahead and after the data.

    Args:
        balance, stiffness, damping, scales, observed, model: as in `latent_force_log_likelihood`.
            The force goes on as its prior says; the stiffness and the noise stay those of the last
            year.
        horizon: years after the data.
        basis: as in `smooth_latent_force`; needs one noise_sd.

    Returns:
        LatentForceForecast. `fitted` is a forecast of every year from the years before it, with
        the scales of the call: no forecast in the strict sense where later years have set them.
        Years that are not observed move nothing: after the last observed one, `fitted` is 1, 2, ...
        years ahead.

    Raises:
        ValueError: as `latent_force_log_likelihood`, or horizon < 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon: expected at least 1 year, got {horizon}")
    modal = choose_path(stiffness, scales, observed, model) == "modal"
    problem = prepare(balance, stiffness, damping, scales, observed, model)
    return _forecast(problem, basis, model, modal, horizon)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _forecast(
    problem: Problem,
    basis: Array | None,
    model: LatentForceModel,
    modal: bool,
    horizon: int,
) -> LatentForceForecast:
    def ahead(problem: Problem, data: Observations, basis: Array | None) -> tuple[Array, Array]:
        return _ahead(problem, data, basis, model, horizon)

    mean, variance = _in_towns(ahead, problem, basis, modal)
    num_years = problem.balance.shape[1]
    noise = full_observations(problem).variance.T
    if basis is not None:  # one noise, which a turn of orthonormal axes leaves as it is
        noise = jnp.broadcast_to(noise[:1], (basis.shape[0], num_years))
    sd = jnp.sqrt(variance.at[:, :num_years].add(noise).at[:, num_years:].add(noise[:, -1:]))
    return LatentForceForecast(
        fitted=mean[:, :num_years],
        fitted_sd=sd[:, :num_years],
        forecast=mean[:, num_years:],
        forecast_sd=sd[:, num_years:],
        balance_sd=jnp.sqrt(variance[:, num_years:]),
    )


def _ahead(
    problem: Problem,
    data: Observations,
    basis: Array | None,
    model: LatentForceModel,
    horizon: int,
) -> tuple[Array, Array]:
    """Mean and variance of what is observed, without noise, given the years before it."""

    def year(matrix: Array) -> tuple[Array, Array]:
        feedback, diffusion, _ = build_system(matrix, problem, model)
        return discretize(feedback, diffusion)

    chain = build_chain(problem, model, by_year(year, problem, model))
    found = kalman_filter(chain, data, cumulative=model.cumulative)
    num_seen = data.values.shape[1]

    def step(mean: Array, cov: Array, steps: tuple[Array, Array]) -> tuple[Array, Array]:
        return steps[0] @ mean, steps[0] @ cov @ steps[0].T + steps[1]

    def seen(mean: Array, cov: Array) -> tuple[Array, Array]:
        mean, cov = mean[..., :num_seen], cov[..., :num_seen, :num_seen]
        if basis is None:
            return mean, jnp.diagonal(cov, axis1=-2, axis2=-1)
        return mean @ basis.T, jnp.sum((basis @ cov) * basis, axis=-1)

    varying = chain.transition.ndim == 3
    steps = (chain.transition, chain.covariance)
    inside = jax.vmap(step, in_axes=(0, 0, 0 if varying else None))
    parts = [seen(*inside(found.mean[:-1], found.covariance[:-1], steps))]
    if not model.cumulative:
        parts.insert(0, seen(jnp.zeros_like(found.mean[:1]), chain.start[None]))
    last = (chain.transition[-1], chain.covariance[-1]) if varying else steps

    def advance(state: tuple, _: None) -> tuple[tuple, tuple]:
        mean, cov = step(state[0], state[1], last)
        out = seen(mean, cov)
        if model.cumulative:
            mean = mean.at[:num_seen].set(0.0)
            cov = cov.at[:num_seen].set(0.0).at[:, :num_seen].set(0.0)
        return (mean, cov), out

    state = (found.mean[-1], found.covariance[-1])
    parts.append(lax.scan(advance, state, None, length=horizon)[1])
    means, variances = zip(*parts, strict=True)
    return jnp.concatenate(means).T, jnp.concatenate(variances).T
