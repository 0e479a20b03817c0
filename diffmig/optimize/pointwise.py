"""Many small problems at once: one minimum per entry of an array, all in lockstep.

`loss_fn` maps x to losses entry by entry: entry s of the result depends on entry s of x alone, so
elementwise code serves any number of problems. A loss that is not finite loses against any other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from diffmig.optimize.base import CONVERGED, NO_FINITE_LOSS, STEP_LIMIT

LossFn = Callable[[Array], Array]

_POINTS_AT_ONCE = 5  # of a grid, side by side: fewer passes, still in the cache
_GOLDEN = 0.5 * (5.0**0.5 - 1.0)


class PointwiseResult(NamedTuple):
    """One minimum per problem.

    Attributes:
        x: [...] (golden section) or [dim, ...].
        loss: [...].
        status: int8 [...], index into `STATUS`.
        num_evaluations: evaluations of every problem's loss, with derivatives where the method
            takes them; Python int.
    """

    x: Array
    loss: Array
    status: Array
    num_evaluations: int


def grid_search(loss_fn: LossFn, points: np.ndarray, like: Array) -> tuple[Array, Array, Array]:
    """Best of the same candidates for every problem.

    Args:
        loss_fn: x [dim, ...] -> loss [...].
        points: candidates [point, dim].
        like: array [...] with the shape and dtype of the problems.

    Returns:
        (index of the best candidate, int32 [...]; the candidate [dim, ...]; its loss [...], inf
        where none is finite).
    """
    grid = jnp.asarray(points, like.dtype)
    num_points, dim = grid.shape
    width = min(_POINTS_AT_ONCE, num_points)
    order = np.resize(np.arange(num_points, dtype=np.int32), (-(-num_points // width), width))

    def body(best: tuple[Array, Array], rows: Array) -> tuple[tuple[Array, Array], None]:
        candidates = grid[rows].reshape((width, dim, *[1] * like.ndim))
        losses = jax.vmap(loss_fn)(jnp.broadcast_to(candidates, (width, dim, *like.shape)))
        lowest = jnp.argmin(_finite(losses), axis=0)
        loss = jnp.min(_finite(losses), axis=0)
        better = loss < best[1]
        return (jnp.where(better, rows[lowest], best[0]), jnp.where(better, loss, best[1])), None

    worst = (jnp.zeros(like.shape, jnp.int32), jnp.full(like.shape, jnp.inf, like.dtype))
    (index, loss), _ = lax.scan(body, worst, jnp.asarray(order))
    return index, jnp.moveaxis(grid[index], -1, 0), loss


def minimize_golden(
    loss_fn: LossFn,
    low: float,
    high: float,
    like: Array,
    *,
    num_grid: int = 8,
    num_steps: int = 18,
) -> PointwiseResult:
    """Minimum over an interval by golden section around the best of a grid.

    Args:
        loss_fn: x [...] -> loss [...].
        low, high: the interval, of all problems.
        like: array [...] with the shape and dtype of the problems.
        num_grid: equidistant candidates; several local minima need them. 1: the plain method.
        num_steps: shortenings of the bracket by 0.618; one evaluation each.

    Returns:
        PointwiseResult, the best point evaluated; the bracket's last width is
        (high - low) * 2 / (num_grid + 1) * 0.618^num_steps.

    Raises:
        ValueError: low >= high or a count < 1.

    Source: Kiefer, 1953, Sequential minimax search for a maximum, Proceedings of the American
    Mathematical Society 4(3).
    """
    if not low < high or num_grid < 1 or num_steps < 1:
        raise ValueError(
            f"expected low < high, num_grid and num_steps >= 1, got {low}, {high}, {num_grid}, "
            f"{num_steps}"
        )
    spacing = (high - low) / (num_grid + 1)
    points = np.array([[low + spacing * k] for k in range(1, num_grid + 1)])
    _, (best,), best_loss = grid_search(lambda x: loss_fn(x[0]), points, like)
    left, right = best - spacing, best + spacing
    width = right - left

    def inner(left: Array, width: Array) -> tuple[Array, Array]:
        return left + (1.0 - _GOLDEN) * width, left + _GOLDEN * width

    x_low, x_high = inner(left, width)
    f_low, f_high = _finite(loss_fn(x_low)), _finite(loss_fn(x_high))

    def body(carry: Any, _: None) -> tuple[Any, None]:
        left, width, f_low, f_high, best, best_loss = carry
        x_low, x_high = inner(left, width)
        lower = f_low < f_high
        x_kept, f_kept = jnp.where(lower, x_low, x_high), jnp.where(lower, f_low, f_high)
        improved = f_kept < best_loss
        best, best_loss = jnp.where(improved, x_kept, best), jnp.where(improved, f_kept, best_loss)
        left = jnp.where(lower, left, x_low)
        width = _GOLDEN * width
        x_low, x_high = inner(left, width)
        new = _finite(loss_fn(jnp.where(lower, x_low, x_high)))
        f_low, f_high = jnp.where(lower, new, f_high), jnp.where(lower, f_low, new)
        return (left, width, f_low, f_high, best, best_loss), None

    carry = (left, width, f_low, f_high, best, best_loss)
    carry, _ = lax.scan(body, carry, None, length=num_steps)
    left, width, f_low, f_high, best, best_loss = carry
    for x, f in zip(inner(left, width), (f_low, f_high), strict=True):
        best, best_loss = jnp.where(f < best_loss, x, best), jnp.minimum(f, best_loss)
    status = jnp.where(jnp.isfinite(best_loss), CONVERGED, NO_FINITE_LOSS).astype(jnp.int8)
    return PointwiseResult(best, best_loss, status, num_grid + 2 + num_steps)


class Evaluated(NamedTuple):
    """A point with what Newton needs: loss [...], gradient [dim, ...], Hessian [dim, dim, ...]."""

    loss: Array
    gradient: Array
    hessian: Array


class _Newton(NamedTuple):
    x: Array
    at: Evaluated
    radius: Array  # longest step allowed, in widths of the box


def minimize_newton(
    evaluate_fn: Callable[[Array], Evaluated],
    start: Array,
    low: Array,
    high: Array,
    *,
    num_steps: int = 8,
    tolerance: float | None = None,
) -> PointwiseResult:
    """Minimum inside a box by projected Newton steps with a trust radius.

    A coordinate on a bound that the gradient pushes out of the box is held; the others solve
    H dx = -g with pivots made positive, the step is shortened to a trust radius and cut off at the
    box. A point of higher loss is refused and the radius becomes a quarter of the step; an accepted
    one doubles it. One evaluation of a trial point gives its loss and all derivatives.

    Args:
        evaluate_fn: x [dim, ...] -> Evaluated, from `difference_derivatives` or
            `forward_derivatives`.
        start: x [dim, ...]; cut off at the box.
        low, high: bounds [dim].
        num_steps: trial points.
        tolerance: converged when no component of the gradient, times the width of the box, exceeds
            it times the loss; held coordinates do not count. None: 1e-5 in float64, 1e-3 in
            float32.

    Returns:
        PointwiseResult, x [dim, ...], never worse than the start.

    Notes:
        A sigmoid map of the box was tried: weights whose best value is a bound, common in
        smoothing, then need twice the steps.

    Source: Bertsekas, 1982, Projected Newton methods for optimization problems with simple
    constraints, SIAM Journal on Control and Optimization 20(2).
    """
    shape = (-1, *[1] * (start.ndim - 1))
    floor, ceiling = low.reshape(shape), high.reshape(shape)

    def evaluate(x: Array) -> Evaluated:
        at = evaluate_fn(x)
        return at._replace(loss=_finite(at.loss))

    def held(x: Array, gradient: Array) -> Array:
        return ((x <= floor) & (gradient > 0)) | ((x >= ceiling) & (gradient < 0))

    def body(state: Any, _: None) -> tuple[Any, None]:
        x, at, radius = state
        width = ceiling - floor
        step = _solve(at.gradient, at.hessian, held(x, at.gradient), width)
        length = jnp.max(jnp.abs(step) / width, axis=0)
        share = jnp.where(length > radius, radius / jnp.where(length > 0, length, 1.0), 1.0)
        step = step * share[None]
        trial = jnp.clip(x - step, floor, ceiling)
        new = evaluate(trial)
        usable = jnp.isfinite(new.loss) & jnp.all(jnp.isfinite(new.gradient), axis=0)
        usable = usable & jnp.all(jnp.isfinite(new.hessian), axis=(0, 1))
        taken = usable & (new.loss <= at.loss)
        kept = Evaluated(
            jnp.where(taken, new.loss, at.loss),
            jnp.where(taken[None], new.gradient, at.gradient),
            jnp.where(taken[None, None], new.hessian, at.hessian),
        )
        x = jnp.where(taken[None], trial, x)
        radius = jnp.where(taken, 2.0 * radius, 0.25 * jnp.minimum(radius, length))
        return _Newton(x, kept, jnp.minimum(radius, 1.0)), None

    x = jnp.clip(start, floor, ceiling)
    at = evaluate(x)
    radius = jnp.full(at.loss.shape, 0.25, at.loss.dtype)
    (x, at, _), _ = lax.scan(body, _Newton(x, at, radius), None, length=num_steps)
    free = jnp.where(held(x, at.gradient), 0.0, jnp.abs(at.gradient) * (ceiling - floor))
    if tolerance is None:
        tolerance = 1e-5 if x.dtype == jnp.float64 else 1e-3
    flat = jnp.max(free, axis=0) <= tolerance * jnp.abs(at.loss)
    status = jnp.where(flat, CONVERGED, STEP_LIMIT)
    status = jnp.where(jnp.isfinite(at.loss), status, NO_FINITE_LOSS).astype(jnp.int8)
    return PointwiseResult(x, at.loss, status, 1 + num_steps)


def difference_derivatives(loss_fn: LossFn, step: float) -> Callable[[Array], Evaluated]:
    """Evaluation for `minimize_newton` by differences, all points of a stencil side by side.

    d_i = (f(+i) - f(-i)) / 2 s,  d_ii = (f(+i) - 2 f + f(-i)) / s^2,
    d_ij = (f(+i+j) - f(+i) - f(+j) + f) / s^2.

    Args:
        loss_fn: x [dim, ...] -> loss [...]; defined up to a step outside the box.
        step: s; errors of order s^2 in the gradient, s in the Hessian, to which rounding adds
            eps / s^2 of the loss.

    Notes:
        For losses that run through a scan this costs a third of `forward_derivatives`, whose rules
        carry every product of the recursion along.
    """

    def evaluate(x: Array) -> Evaluated:
        dim = x.shape[0]
        pairs = [(i, j) for i in range(dim) for j in range(i + 1, dim)]
        stencil = np.zeros((1 + 2 * dim + len(pairs), dim))
        for i in range(dim):
            stencil[1 + 2 * i, i], stencil[2 + 2 * i, i] = step, -step
        for k, pair in enumerate(pairs):
            stencil[1 + 2 * dim + k, pair] = step
        moves = jnp.asarray(stencil.reshape((*stencil.shape, *[1] * (x.ndim - 1))), x.dtype)
        f = jax.vmap(loss_fn)(x[None] + moves)
        ahead, behind = f[1 : 1 + 2 * dim : 2], f[2 : 2 + 2 * dim : 2]
        hessian = [[f[0]] * dim for _ in range(dim)]
        for i in range(dim):
            hessian[i][i] = (ahead[i] - 2.0 * f[0] + behind[i]) / step**2
        for k, (i, j) in enumerate(pairs):
            mixed = (f[1 + 2 * dim + k] - ahead[i] - ahead[j] + f[0]) / step**2
            hessian[i][j] = hessian[j][i] = mixed
        rows = jnp.stack([jnp.stack(row) for row in hessian])
        return Evaluated(f[0], (ahead - behind) / (2.0 * step), rows)

    return evaluate


def forward_derivatives(loss_fn: LossFn) -> Callable[[Array], Evaluated]:
    """Evaluation for `minimize_newton`: exact derivatives of entrywise `loss_fn`, forward mode.

    Args:
        loss_fn: x [dim, ...] -> loss [...]; twice differentiable.
    """

    def evaluate(x: Array) -> Evaluated:
        dim = x.shape[0]
        eye = np.eye(dim).reshape((dim, dim, *[1] * (x.ndim - 1)))
        basis = jnp.broadcast_to(jnp.asarray(eye, x.dtype), (dim, *x.shape))

        def slopes(x: Array) -> tuple[Array, Array]:
            def along(direction: Array) -> tuple[Array, Array]:
                return jax.jvp(loss_fn, (x,), (direction,))

            return jax.vmap(along, out_axes=(None, 0))(basis)

        def curvature(direction: Array) -> tuple[tuple[Array, Array], Array]:
            primal, tangent = jax.jvp(slopes, (x,), (direction,))
            return primal, tangent[1]

        (loss, gradient), hessian = jax.vmap(curvature, out_axes=(None, 0))(basis)
        return Evaluated(loss, gradient, hessian)

    return evaluate


def _solve(gradient: Array, hessian: Array, held: Array, width: Array) -> Array:
    """H^-1 g over the coordinates not held, by elimination, entry by entry;
    pivots are made positive and large enough to keep a step within the box's width."""
    dim = gradient.shape[0]
    free = [~held[i] for i in range(dim)]
    right = [jnp.where(free[i], gradient[i], 0.0) for i in range(dim)]
    rows = [
        [jnp.where(free[i] & free[j], hessian[i, j], 0.0) for j in range(dim)] for i in range(dim)
    ]
    for i in range(dim):
        least = jnp.abs(right[i]) / width[i]
        pivot = jnp.maximum(jnp.abs(rows[i][i]), jnp.where(least > 0, least, 1.0))
        rows[i][i] = pivot
        for k in range(i + 1, dim):
            factor = rows[k][i] / pivot
            for j in range(i + 1, dim):
                rows[k][j] = rows[k][j] - factor * rows[i][j]
            right[k] = right[k] - factor * right[i]
    for i in reversed(range(dim)):
        total = right[i]
        for j in range(i + 1, dim):
            total = total - rows[i][j] * right[j]
        right[i] = total / rows[i][i]
    return jnp.stack(right)


def _finite(loss: Array) -> Array:
    return jnp.where(jnp.isfinite(loss), loss, jnp.inf)
