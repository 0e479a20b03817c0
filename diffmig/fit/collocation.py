"""Exact minimum of the physics-informed loss over splines: what a network is to approach.

The loss of data, residual of the equation and curvature of the force is a convex quadratic where
balance and force are splines, so that one linear solve ends what a network takes thousands of steps
for.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.fit.force_estimate import ForceEstimate
from diffmig.migration.bsplines import bspline_basis, uniform_knots
from diffmig.migration.modes import gauss_nodes

_REFINEMENTS = 2


@dataclass(frozen=True)
class CollocationConfig:
    """Splines and observations.

    knots_per_year: polynomial pieces of balance and force in a year.
    balance_degree, force_degree: 5 and 3: one more continuous derivative than the equation and the
        penalty need.
    observation: a balance is the "mean" of q over its year, by `num_nodes` Gauss points as in a
        network's loss, or its "point" value.
    num_nodes: of "mean".
    offset: of point values, years from the start of their year.
    num_per_year: times of the result in a year.
    """

    knots_per_year: int = 2
    balance_degree: int = 5
    force_degree: int = 3
    observation: Literal["mean", "point"] = "mean"
    num_nodes: int = 3
    offset: float = 0.0
    num_per_year: int = 10

    def __post_init__(self) -> None:
        if self.observation not in ("mean", "point") or not 0.0 <= self.offset < 1.0:
            raise ValueError(
                f"expected observation 'mean' or 'point' and offset in [0, 1), got {self}"
            )
        if min(self.knots_per_year, self.num_nodes, self.num_per_year) < 1:
            raise ValueError(f"expected counts >= 1, got {self}")
        if self.balance_degree < 3 or self.force_degree < 3:
            raise ValueError(f"expected degrees >= 3, got {self}")


class CollocationWeights(NamedTuple):
    """Numbers of the loss.

    Attributes:
        residual: w_r.
        curvature: lambda_2, of the mean of f''^2.
        size: lambda_0, of the mean of f^2.
        data_sd: sigma_i, unit of the data, [] or [town].
        residual_sd: rs_i, unit of the data per year^2, [] or [town].
        force_sd: unit of f and f'' in the penalties, [] or [town].
    """

    residual: ArrayLike = 1.0
    curvature: ArrayLike = 1e-2
    size: ArrayLike = 0.0
    data_sd: ArrayLike = 1.0
    residual_sd: ArrayLike = 1.0
    force_sd: ArrayLike = 1.0


DEFAULT_WEIGHTS = CollocationWeights()


class CollocationFit(NamedTuple):
    """Minimum of the loss.

    Attributes:
        estimate: ForceEstimate without bands.
        loss: total, [].
        data_loss, residual_loss, curvature_loss, size_loss: its terms, weights included, [].
        balance_coefficients, force_coefficients: [town, basis].
    """

    estimate: ForceEstimate
    loss: Array
    data_loss: Array
    residual_loss: Array
    curvature_loss: Array
    size_loss: Array
    balance_coefficients: Array
    force_coefficients: Array


def fit_collocation(
    balance: Array,
    stiffness: Array,
    damping: ArrayLike,
    time: ArrayLike,
    weights: CollocationWeights = DEFAULT_WEIGHTS,
    *,
    observed: Array | None = None,
    config: CollocationConfig = CollocationConfig(),
) -> CollocationFit:
    """Splines of balance and force that minimise the physics-informed loss.

    loss = mean_ik ((H q_i)(k) - balance_ik)^2 / data_sd_i^2
         + w_r mean_ij (q_i'' + c q_i' + (K q)_i - f_i)(t_j)^2 / residual_sd_i^2
         + mean_ij (lambda_2 f_i''(t_j)^2 + lambda_0 f_i(t_j)^2) / force_sd_i^2

    Args:
        balance: [town, year]; any number where not observed.
        stiffness: K, 1/year^2, [town, town], or at the collocation times, [time, town, town].
        damping: c, 1/year, [].
        time: t_j, years from the start of the first year, [time], within the data's span.
        weights: of the terms.
        observed: bool [town, year]; the mean is over those observed. None: all are.
        config: splines and observations.

    Returns:
        CollocationFit. One linear solve for all towns together: for tens of towns.

    Raises:
        ValueError: shapes that do not fit, or times outside the data.

    Notes:
        The normal equations are solved by Cholesky factors, refined by residuals of the rows.
        Unique if curvature or size has a weight and the splines are not finer than the collocation
        times. Differentiable in balance, stiffness, damping and weights.

    Source: Cuomo et al., 2022, Scientific machine learning through physics-informed neural
    networks, for the loss; the splines in place of networks are diffmig's.
    """
    shape, at = balance.shape, np.asarray(time, float)
    if balance.ndim != 2 or (observed is not None and observed.shape != shape):
        raise ValueError(
            "balance, observed: expected [town, year] of one shape, got "
            f"{shape} and {None if observed is None else observed.shape}"
        )
    square = (shape[0], shape[0])
    if at.ndim != 1 or stiffness.shape not in (square, (at.size, *square)):
        raise ValueError(
            f"time, stiffness: expected [time] and {square} or (time, {shape[0]}, {shape[0]}), got "
            f"{at.shape} and {stiffness.shape}"
        )
    start, stop = _span(shape[1], config)
    if not (at.size and at.min() >= start - 1e-9 and at.max() <= stop + 1e-9):
        raise ValueError(f"time: expected times in [{start}, {stop}], the span of the data")
    dtype = balance.dtype
    rows = jax.tree.map(lambda x: jnp.asarray(x, dtype), weights)
    bases = _bases(at, shape[1], config)
    return _fit(balance, stiffness, jnp.asarray(damping, dtype), rows, observed, bases, config)


class _Bases(NamedTuple):
    """B-splines of balance and force: derivatives at the collocation times, values elsewhere."""

    seen: np.ndarray  # H B, [year, balance basis]
    balance: np.ndarray  # B, B', B'' [3, time, balance basis]
    force: np.ndarray  # B, B'' [2, time, force basis]
    grid: np.ndarray  # times of the result, [grid]
    balance_grid: np.ndarray  # B, B' [2, grid, balance basis]
    force_grid: np.ndarray  # B [grid, force basis]


def _span(num_years: int, config: CollocationConfig) -> tuple[float, float]:
    if config.observation == "mean":
        return 0.0, float(num_years)
    return config.offset, config.offset + num_years - 1.0


def _bases(time: np.ndarray, num_years: int, config: CollocationConfig) -> _Bases:
    start, stop = _span(num_years, config)
    years = round(stop - start)
    q, f = config.balance_degree, config.force_degree
    knots = uniform_knots(start, stop, years * config.knots_per_year, q)
    force_knots = uniform_knots(start, stop, years * config.knots_per_year, f)
    nodes, shares = gauss_nodes(config.num_nodes)
    if config.observation == "point":
        nodes, shares = np.zeros(1), np.ones(1)
    events = start + np.arange(num_years)[:, None] + nodes[None, :]
    grid = start + np.arange(years * config.num_per_year + 1) / config.num_per_year
    return _Bases(
        seen=np.einsum("kgb,g->kb", bspline_basis(events, knots, q), shares),
        balance=np.stack([bspline_basis(time, knots, q, d) for d in (0, 1, 2)]),
        force=np.stack([bspline_basis(time, force_knots, f, d) for d in (0, 2)]),
        grid=grid,
        balance_grid=np.stack([bspline_basis(grid, knots, q, d) for d in (0, 1)]),
        force_grid=bspline_basis(grid, force_knots, f),
    )


@partial(jax.jit, static_argnums=(6,))
def _fit(
    balance: Array,
    stiffness: Array,
    damping: Array,
    weights: CollocationWeights,
    observed: Array | None,
    bases: _Bases,
    config: CollocationConfig,
) -> CollocationFit:
    num_towns = balance.shape[0]
    dtype = balance.dtype
    b = jax.tree.map(lambda x: jnp.asarray(x, dtype), bases)
    num_times = b.balance.shape[1]
    eye = jnp.eye(num_towns, dtype=dtype)
    seen = jnp.ones(balance.shape, dtype) if observed is None else observed.astype(dtype)
    data = balance if observed is None else jnp.where(observed, balance, 0.0)

    def scaled(weight: ArrayLike, sd: ArrayLike, count: ArrayLike) -> Array:
        """Square root of a term's weight for every town."""
        return jnp.broadcast_to(jnp.sqrt(jnp.asarray(weight) / count) / sd, (num_towns,))

    points = float(num_towns * num_times)
    data_root = scaled(1.0, weights.data_sd, jnp.sum(seen))[:, None] * seen
    residual_root = scaled(weights.residual, weights.residual_sd, points)[:, None]
    curvature_root = scaled(weights.curvature, weights.force_sd, points)[:, None]
    size_root = scaled(weights.size, weights.force_sd, points)[:, None]
    matrix = stiffness if stiffness.ndim == 3 else stiffness[None]
    matrix = jnp.broadcast_to(matrix, (num_times, num_towns, num_towns))
    inert = b.balance[2] + damping * b.balance[1]  # q'' + c q' at the collocation times
    shapes = (num_towns, b.seen.shape[1]), (num_towns, b.force.shape[2])

    def rows(flat: Array) -> tuple[Array, Array, Array, Array]:
        """Square roots of the terms for data of zero: linear in the coefficients."""
        q, f = _unpack(flat, shapes)
        push = f @ b.force[0].T
        left = q @ inert.T + jnp.einsum("jil,lb,jb->ij", matrix, q, b.balance[0]) - push
        bend = curvature_root * (f @ b.force[1].T)
        return data_root * (q @ b.seen.T), residual_root * left, bend, size_root * push

    # normal equations, blocks [town, basis, town, basis]
    weight = residual_root[:, 0] ** 2
    weighted = weight[None, :, None] * matrix
    square = jnp.einsum("jil,jim->jlm", matrix, weighted)
    cross = jnp.einsum("jlm,jb,jd->lbmd", weighted, inert, b.balance[0])
    by_balance = jnp.einsum("jlm,jb,jd->lbmd", square, b.balance[0], b.balance[0])
    by_balance = by_balance + cross + jnp.transpose(cross, (2, 3, 0, 1))
    own = jnp.einsum("l,jb,jd->lbd", weight, inert, inert)
    own = own + jnp.einsum("lk,kb,kd->lbd", data_root**2, b.seen, b.seen)
    by_balance = by_balance + jnp.einsum("lbd,lm->lbmd", own, eye)
    by_both = jnp.einsum("l,jb,jd,lm->lbmd", weight, inert, b.force[0], eye)
    by_both = by_both + jnp.einsum("jil,jb,jd->lbid", weighted, b.balance[0], b.force[0])
    own = jnp.einsum("l,jb,jd->lbd", weight + size_root[:, 0] ** 2, b.force[0], b.force[0])
    own = own + jnp.einsum("l,jb,jd->lbd", curvature_root[:, 0] ** 2, b.force[1], b.force[1])
    by_force = jnp.einsum("lbd,lm->lbmd", own, eye)
    first, second = (n * k for n, k in shapes)
    by_both = -by_both.reshape((first, second))
    left = jnp.concatenate([by_balance.reshape((first, first)), by_both.T])
    right = jnp.concatenate([by_both, by_force.reshape((second, second))])
    root = jax.scipy.linalg.cho_factor(jnp.concatenate([left, right], axis=1), lower=True)

    solution, transpose = jnp.zeros(first + second, dtype), jax.linear_transpose(rows, left[:, 0])
    terms = rows(solution)
    for _ in range(_REFINEMENTS + 1):
        residual = (data_root * data - terms[0], *(-term for term in terms[1:]))
        solution = solution + jax.scipy.linalg.cho_solve(root, transpose(residual)[0])
        terms = rows(solution)
    losses = [jnp.sum(x**2) for x in (terms[0] - data_root * data, *terms[1:])]
    q, f = _unpack(solution, shapes)
    none = jnp.full((num_towns, b.grid.size), jnp.nan, dtype)
    return CollocationFit(
        estimate=ForceEstimate(
            time=b.grid,
            balance=q @ b.balance_grid[0].T,
            velocity=q @ b.balance_grid[1].T,
            force=f @ b.force_grid.T,
            balance_sd=none,
            force_sd=none,
        ),
        loss=jnp.sum(jnp.stack(losses)),
        data_loss=losses[0],
        residual_loss=losses[1],
        curvature_loss=losses[2],
        size_loss=losses[3],
        balance_coefficients=q,
        force_coefficients=f,
    )


def _unpack(flat: Array, shapes: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Array, Array]:
    split = shapes[0][0] * shapes[0][1]
    return flat[:split].reshape(shapes[0]), flat[split:].reshape(shapes[1])
