"""Gaussian-process prior of a force: Matern kernels as linear state-space models, and draws."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

KERNELS = {"matern12": 0, "matern32": 1, "matern52": 2}  # mean-square derivatives of a path

_TAYLOR_ORDER = 10
# in units of the rate: companion row, stationary covariance, spectral density of the noise
_FEEDBACK = ((-1.0,), (-1.0, -2.0), (-1.0, -3.0, -3.0))
_COVARIANCE = (
    ((1.0,),),
    ((1.0, 0.0), (0.0, 1.0)),
    ((1.0, 0.0, -1.0 / 3.0), (0.0, 1.0 / 3.0, 0.0), (-1.0 / 3.0, 0.0, 1.0)),
)
_DIFFUSION = (2.0, 4.0, 16.0 / 3.0)


class StateSpace(NamedTuple):
    """Linear stochastic differential equation dz = F z dt + dw, f = h'z, in its stationary state.

    Attributes:
        feedback: F, 1/year, [state, state].
        diffusion: spectral density of dw, [state, state].
        covariance: of z, stationary: F P + P F' + diffusion = 0, [state, state].
        emission: h, [state].
    """

    feedback: Array
    diffusion: Array
    covariance: Array
    emission: Array


def matern_state_space(kernel: str, length_scale: ArrayLike, sd: ArrayLike = 1.0) -> StateSpace:
    """State-space form of a Matern force: z_p is its p-th derivative divided by rate^p.

    (d/dt + rate)^(p + 1) f = white noise,  rate = sqrt(2 nu) / length_scale,  nu = p + 1/2

    Args:
        kernel: "matern12", "matern32" or "matern52": nu = 1/2, 3/2, 5/2.
        length_scale: years, [], > 0.
        sd: standard deviation of the force, unit of the force, [].

    Returns:
        StateSpace of 1, 2 or 3 states. Divided by powers of the rate all states are of one size,
        which keeps the matrices well conditioned for any length scale. Differentiable.

    Raises:
        ValueError: unknown kernel.

    Source: Hartikainen, Sarkka, 2010, Kalman filtering and smoothing solutions to temporal
    Gaussian process regression models.
    """
    p = _order(kernel)
    rate = _rate(p, jnp.asarray(length_scale, float))
    variance = jnp.asarray(sd, rate.dtype) ** 2
    companion = np.eye(p + 1, k=1)
    companion[-1] = _FEEDBACK[p]
    noise = np.zeros((p + 1, p + 1))
    noise[-1, -1] = _DIFFUSION[p]
    return StateSpace(
        feedback=rate * jnp.asarray(companion),
        diffusion=rate * variance * jnp.asarray(noise),
        covariance=variance * jnp.asarray(np.array(_COVARIANCE[p])),
        emission=jnp.asarray(np.eye(p + 1)[0]),
    )


def matern_kernel(
    kernel: str, lag: ArrayLike, length_scale: ArrayLike, sd: ArrayLike = 1.0
) -> Array:
    """Covariance of a Matern force at two times.

    k(s) = sd^2 exp(-x) {1, 1 + x, 1 + x + x^2 / 3},  x = sqrt(2 nu) |s| / length_scale

    Args:
        kernel, length_scale, sd: as in `matern_state_space`.
        lag: s, years, any shape.

    Returns:
        k, shape of `lag`.

    Raises:
        ValueError: unknown kernel.

    Source: Rasmussen, Williams, 2006, Gaussian processes for machine learning, section 4.2.
    """
    p = _order(kernel)
    x = _rate(p, jnp.asarray(length_scale, float)) * jnp.abs(jnp.asarray(lag, float))
    polynomial = (jnp.ones_like(x), 1.0 + x, 1.0 + x + x**2 / 3.0)[p]
    return jnp.asarray(sd, x.dtype) ** 2 * polynomial * jnp.exp(-x)


def sample_matern(
    key: Array,
    kernel: str,
    time: ArrayLike,
    length_scale: ArrayLike,
    sd: ArrayLike = 1.0,
    shape: tuple[int, ...] = (),
) -> Array:
    """Draws of a Matern force at given times, by the eigenvectors of its covariance matrix.

    Args:
        key: for the draws.
        kernel, length_scale, sd: as in `matern_state_space`.
        time: years, [time], in any order.
        shape: batch axes of independent draws, for example (num_towns,).

    Returns:
        f, [*shape, time]. Exact up to round-off, also where times coincide.
    """
    at = jnp.asarray(time, float)
    matrix = matern_kernel(kernel, at[:, None] - at[None, :], length_scale, sd)
    values, vectors = jnp.linalg.eigh(matrix)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
    return jax.random.normal(key, (*shape, at.size), matrix.dtype) @ root.T


def discretize(
    feedback: Array, diffusion: Array, step: float = 1.0, *, num_doublings: int = 6
) -> tuple[Array, Array]:
    """Exact step of dx = F x dt + dw: x(t + h) = A x(t) + e, Var e = Q.

    A = exp(F h),  Q = integral_0^h exp(F s) D exp(F s)' ds;
    from h to 2 h: A -> A A, Q -> Q + A Q A'

    Args:
        feedback: F, [state, state].
        diffusion: D, spectral density of dw, [state, state].
        step: h, years.
        num_doublings: the series run over h / 2^num_doublings, to order 10: relative errors below
            1e-13 as long as the norm of F times that is below 0.3.

    Returns:
        A and Q, [state, state]. The doublings add positive semi-definite matrices only, so nothing
        cancels. Differentiable to any order in both matrices, also where eigenvalues coincide.

    Source: Van Loan, 1978, Computing integrals involving the matrix exponential, treats both
    integrals; the doubling splits them in the middle.
    """
    h = step / 2**num_doublings
    eye = jnp.eye(feedback.shape[0], dtype=feedback.dtype)

    def extend(series: tuple, k: Array) -> tuple[tuple, None]:
        term, moment, transition, covariance = series
        term = (h / k) * (feedback @ term)
        half = feedback @ moment
        moment = (h / (k + 1.0)) * (half + half.T)
        return (term, moment, transition + term, covariance + moment), None

    def double(pair: tuple, _: None) -> tuple[tuple, None]:
        transition, covariance = pair
        return (transition @ transition, covariance + transition @ covariance @ transition.T), None

    orders = jnp.arange(1, _TAYLOR_ORDER + 1, dtype=feedback.dtype)
    start = (eye, h * diffusion, eye, h * diffusion)
    (_, _, transition, covariance), _ = lax.scan(extend, start, orders)
    pair, _ = lax.scan(double, (transition, covariance), None, length=num_doublings)
    return pair[0], 0.5 * (pair[1] + pair[1].T)


def _order(kernel: str) -> int:
    if kernel not in KERNELS:
        raise ValueError(f"kernel: expected one of {tuple(KERNELS)}, got {kernel!r}")
    return KERNELS[kernel]


def _rate(p: int, length_scale: Array) -> Array:
    return float(np.sqrt(2 * p + 1)) / length_scale
