"""Kalman filter and fixed-interval smoother of a state whose first components are observed.

The smoother carries adjoint variables backwards instead of inverting predicted covariances, which
are singular here: the first components may be set to zero after every observation (an integral that
starts anew each year).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

_LOG_TWO_PI = 1.8378770664093453
_ELIMINATED = 64  # largest number of observations at once that is eliminated without LAPACK


class Chain(NamedTuple):
    """x_{k+1} = A_k x_k + e_k, Var e_k = Q_k.

    Attributes:
        transition: A, [step, state, state], or [state, state] where all steps are alike.
        covariance: Q, likewise.
        start: covariance of x_0, which has mean zero, [state, state].
    """

    transition: Array
    covariance: Array
    start: Array


class Observations(NamedTuple):
    """Values of the first components of the state.

    Attributes:
        values: [event, seen]; any finite number where not observed.
        variance: of the noise, independent, [event, seen].
        observed: bool [event, seen], or None: all are.
    """

    values: Array
    variance: Array
    observed: Array | None


class Filtered(NamedTuple):
    """Forward pass.

    Attributes:
        log_likelihood: ln p(values), [].
        mean, covariance: of the state at the start of every step and at the end of the last, given
            the past, an observation at that moment included, [step + 1, state], [..., state].
        residual: observed minus predicted, [event, seen]; 0 where not observed.
        variance: of the prediction of an observation, given those before it, [event, seen, seen].
        gain: [event, state, seen].
    """

    log_likelihood: Array
    mean: Array
    covariance: Array
    residual: Array
    variance: Array
    gain: Array


class Adjoint(NamedTuple):
    """Backward pass: what the observations from the end of a step on say about the state there.

    mean given all = x + P r,  covariance given all = P - P N P,  x and P given the past

    Attributes:
        vector: r, at the end of every step before its observation enters x, [step, state].
        matrix: N, [step, state, state].
        weighted: S^{-1} y of all observations, S their covariance matrix, y the values, [event,
            seen]; minus the derivative of the log-likelihood by the values.
    """

    vector: Array
    matrix: Array
    weighted: Array


def kalman_filter(chain: Chain, data: Observations, *, cumulative: bool) -> Filtered:
    """Forward pass over all steps.

    Args:
        chain: the model.
        data: `cumulative`: an event at the end of every step; else one at the start of the first
            step as well.
        cumulative: the observed components are integrals over a step, set to zero after their
            observation.

    Returns:
        Filtered.

    Notes:
        Covariances are updated in Joseph's form, which keeps them positive semi-definite.
        Differentiable.

    Source: Kalman, 1960; Bucy, Joseph, 1968, Filtering for stochastic processes with applications
    to guidance, for the update.
    """
    num_seen = data.values.shape[1]

    def receive(mean: Array, cov: Array, event: Any) -> tuple:
        rows, residual, variance = cov[:num_seen], event.values - mean[:num_seen], event.variance
        count: Array | float = float(num_seen)
        if event.observed is not None:
            seen = event.observed.astype(mean.dtype)
            rows, residual = seen[:, None] * rows, seen * residual
            variance = jnp.where(event.observed, variance, 1.0)
            count = jnp.sum(seen)
        own = rows[:, :num_seen]
        if event.observed is not None:
            own = own * seen[None, :]
        total = own + jnp.diag(variance)
        solved, log_det = _solve(total, jnp.concatenate([rows, residual[:, None]], axis=1))
        gain, weighted = solved[:, :-1].T, solved[:, -1]
        log_density = -0.5 * (residual @ weighted + log_det + count * _LOG_TWO_PI)
        mean = mean + gain @ residual
        cov = cov - gain @ rows
        cov = cov - cov[:, :num_seen] @ gain.T + (gain * variance[None, :]) @ gain.T
        if cumulative:
            mean = mean.at[:num_seen].set(0.0)
            cov = cov.at[:num_seen].set(0.0).at[:, :num_seen].set(0.0)
        return mean, 0.5 * (cov + cov.T), (log_density, residual, total, gain)

    def advance(state: tuple, now: Any) -> tuple:
        event, step = now
        transition, noise = (chain.transition, chain.covariance) if step is None else step
        mean, cov = state
        mean, cov = transition @ mean, transition @ cov @ transition.T + noise
        mean, cov, out = receive(mean, cov, event)
        return (mean, cov), (mean, cov, out)

    mean, cov = jnp.zeros(chain.start.shape[0], chain.start.dtype), chain.start
    later = data
    if not cumulative:
        mean, cov, first = receive(mean, cov, jax.tree.map(lambda x: x[0], data))
        later = jax.tree.map(lambda x: x[1:], data)
    steps = (chain.transition, chain.covariance) if chain.transition.ndim == 3 else None
    passed: Any = lax.scan(advance, (mean, cov), (later, steps))[1]
    means, covs, outs = passed
    if not cumulative:
        outs = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, outs)
    return Filtered(
        log_likelihood=jnp.sum(outs[0]),
        mean=jnp.concatenate([mean[None], means]),
        covariance=jnp.concatenate([cov[None], covs]),
        residual=outs[1],
        variance=outs[2],
        gain=outs[3],
    )


def smooth_adjoint(
    chain: Chain, data: Observations, found: Filtered, *, cumulative: bool
) -> Adjoint:
    """Backward pass over all steps.

    Args:
        chain, data, cumulative: as given to `kalman_filter`.
        found: its result.

    Returns:
        Adjoint.

    Source: Bryson, Frazier, 1963, Smoothing for linear and nonlinear dynamic systems; de Jong,
    1989, Smoothing and interpolation with the state-space model, for `weighted`.
    """
    num_seen = data.values.shape[1]
    num_states = chain.start.shape[0]

    def before(vector: Array, matrix: Array, event: Any) -> tuple[Array, Array, Array]:
        residual, total, gain, observed = event
        if cumulative:
            vector = vector.at[:num_seen].set(0.0)
            matrix = matrix.at[:num_seen].set(0.0).at[:, :num_seen].set(0.0)
        solved, _ = _solve(total, jnp.concatenate([residual[:, None], _eye(total)], axis=1))
        weighted, inverse = solved[:, 0] - gain.T @ vector, solved[:, 1:]
        if observed is not None:
            inverse = jnp.where(observed[:, None] & observed[None, :], inverse, 0.0)
        vector = vector.at[:num_seen].add(weighted)
        through = gain.T @ matrix
        corner = inverse + through @ gain
        matrix = matrix.at[:num_seen].add(-through).at[:, :num_seen].add(-through.T)
        matrix = matrix.at[:num_seen, :num_seen].add(corner)
        return vector, matrix, weighted

    def retreat(state: Any, now: Any) -> tuple:
        event, step = now
        transition = chain.transition if step is None else step
        vector, matrix, weighted = before(state[0], state[1], event)
        out = (vector, matrix, weighted)
        return (transition.T @ vector, transition.T @ matrix @ transition), out

    events = (found.residual, found.variance, found.gain, data.observed)
    later = events if cumulative else jax.tree.map(lambda x: x[1:], events)
    steps = chain.transition if chain.transition.ndim == 3 else None
    dtype = chain.start.dtype
    nothing = (jnp.zeros(num_states, dtype), jnp.zeros((num_states, num_states), dtype))
    passed: Any = lax.scan(retreat, nothing, (later, steps), reverse=True)
    (vector, matrix), (vectors, matrices, weighted) = passed
    if not cumulative:
        _, _, first = before(vector, matrix, jax.tree.map(lambda x: x[0], events))
        weighted = jnp.concatenate([first[None], weighted])
    return Adjoint(vectors, matrices, weighted)


def event_covariance(chain: Chain, num_events: int, *, cumulative: bool) -> Array:
    """Covariance of what is seen at all events, without noise, if one component is seen.

    Args:
        chain: the model, all steps alike.
        num_events: as many as observations in `kalman_filter`.
        cumulative: as there.

    Returns:
        [event, event]. Differentiable.
    """

    def advance(state: tuple, event: Array) -> tuple:
        cov, past = state  # past: covariance of the state with what was seen before
        past = past.at[:, event].set(cov[:, 0])
        row = past[0]
        if cumulative:
            cov, past = cov.at[0].set(0.0).at[:, 0].set(0.0), past.at[0].set(0.0)
        return move(cov, past), row

    def move(cov: Array, past: Array) -> tuple[Array, Array]:
        step = chain.transition
        return step @ cov @ step.T + chain.covariance, step @ past

    past = jnp.zeros((chain.start.shape[0], num_events), chain.start.dtype)
    start = move(chain.start, past) if cumulative else (chain.start, past)
    lower: Array = lax.scan(advance, start, jnp.arange(num_events))[1]
    return lower + jnp.tril(lower, -1).T


def _solve(matrix: Array, right: Array) -> tuple[Array, Array]:
    """M^{-1} B and ln det M of a positive definite M.

    Small matrices by elimination, without pivots as they need none: calls of LAPACK inside a loop
    cost more in waiting for its threads than in arithmetic.
    """
    size = matrix.shape[0]
    if size == 1:
        return right / matrix, jnp.log(matrix[0, 0])
    if size > _ELIMINATED:
        root = jnp.linalg.cholesky(matrix)
        half = lax.linalg.triangular_solve(root, right, left_side=True, lower=True)
        solved = lax.linalg.triangular_solve(
            root, half, left_side=True, lower=True, transpose_a=True
        )
        return solved, 2.0 * jnp.sum(jnp.log(jnp.diagonal(root)))

    def eliminate(table: Array, k: Array) -> tuple[Array, Array]:
        pivot = table[k, k]
        row = table[k] / pivot
        column = table[:, k].at[k].add(-1.0)
        return table - column[:, None] * row[None, :], pivot

    table = jnp.concatenate([matrix, right], axis=1)
    table, pivots = lax.scan(eliminate, table, jnp.arange(size))
    return table[:, size:], jnp.sum(jnp.log(pivots))


def _eye(like: Array) -> Array:
    return jnp.eye(like.shape[0], dtype=like.dtype)
