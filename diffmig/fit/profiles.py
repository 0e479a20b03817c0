"""Profile likelihood: what the data say about one parameter once all others may adapt."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from scipy import stats

from diffmig.batching import batched, on_one_device
from diffmig.optimize import STATUS, LbfgsConfig, member_status, minimise_from

PROFILE_LEVEL = 0.95
_LINE_SEARCH_ENDED = 1e-3  # gradient at which a failed line search is only round-off


class Profile(NamedTuple):
    """Profile log-likelihood of one parameter.

    Attributes:
        grid: values of the parameter, [grid], in the unconstrained form of the search.
        log_likelihood: highest value with the parameter held there, [grid].
        argument: where it is attained, all parameters, [grid, parameter].
        settled: bool [grid], the search over the others ended at a maximum.
        low, high: ends of the interval in which the profile is within chi^2 / 2 of its maximum,
            by straight lines between grid points; the end of the grid where it does not fall.
        bounded_below, bounded_above: bool, the profile falls by so much before that end of the
            grid. Where it does not, the data do not bound the parameter.
    """

    grid: Array
    log_likelihood: Array
    argument: Array
    settled: Array
    low: Array
    high: Array
    bounded_below: Array
    bounded_above: Array


def profile_likelihood(
    log_likelihood_fn: Callable[[Array], Array],
    best: Array,
    grids: Array,
    *,
    num_steps: int = 60,
    level: float = PROFILE_LEVEL,
    tolerance: float = 1e-4,
    mesh: Mesh | None = None,
) -> Profile:
    """Profile likelihoods of the first parameters, each on its own grid.

    profile_a(x) = max over theta with theta_a = x of ln L(theta)

    Args:
        log_likelihood_fn: theta, [parameter], unconstrained -> ln L, [], differentiable.
        best: maximum of ln L, [parameter]; every search starts there.
        grids: values of parameter a in row a, [profiled, grid], ascending, at least 3; the
            first `profiled` parameters are held in turn.
        num_steps: of L-BFGS over the others, all points of all grids in lockstep.
        level: of the intervals.
        tolerance: largest component of the gradient that counts as a maximum.
        mesh: devices that share the points.

    Returns:
        Profile with a leading axis [profiled]. `log_likelihood` is never below what the start
        gives; where `settled` is False it is a lower bound.

    Raises:
        ValueError: shapes that do not fit, or a level outside (0, 1).

    Notes:
        The interval rests on the chi-square of one degree of freedom; a parameter on its boundary
        (a strength of 0) makes it conservative.

    Source: Raue et al., 2009, Structural and practical identifiability analysis of partially
    observed dynamical models by exploiting the profile likelihood, Bioinformatics 25(15).
    """
    if grids.ndim != 2 or best.ndim != 1 or not 0 < grids.shape[0] <= best.size:
        raise ValueError(
            f"expected best [parameter] and grids [profiled, grid], got {best.shape}, {grids.shape}"
        )
    if grids.shape[1] < 3 or not 0.0 < level < 1.0:
        raise ValueError(
            f"expected at least 3 grid points and level in (0, 1), got {grids.shape[1]}, {level}"
        )
    searched, top = _search(best, grids, log_likelihood_fn, num_steps, tolerance, mesh)
    found, argument, settled = on_one_device(searched, len(grids), mesh)
    drop = float(stats.chi2.ppf(level, 1)) / 2.0
    ends = [
        _interval(x, y, float(top) - drop)
        for x, y in zip(np.asarray(grids), np.asarray(found), strict=True)
    ]
    low, high, below, above = (jax.device_put(np.array(x)) for x in zip(*ends, strict=True))
    return Profile(
        grid=grids,
        log_likelihood=found,
        argument=argument,
        settled=settled,
        low=low,
        high=high,
        bounded_below=below,
        bounded_above=above,
    )


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def _search(
    best: Array,
    grids: Array,
    log_likelihood_fn: Callable[[Array], Array],
    num_steps: int,
    tolerance: float,
    mesh: Mesh | None,
) -> tuple[tuple[Array, Array, Array], Array]:
    """Highest ln L of every point, its parameters and whether it is a maximum; highest of all."""
    num, size = grids.shape
    config = LbfgsConfig(tolerance=tolerance)

    def climb(point: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        number, value = point
        held = jnp.arange(best.size) == number

        def evaluate(key: Array, swarm: Array) -> Array:
            return -log_likelihood_fn(jnp.where(held, value, swarm[0]))[None]

        state = minimise_from(best[None], evaluate, 1 + num_steps, config)
        status = member_status(state, config)[0]
        flat = jnp.max(jnp.abs(state.gradient)) <= _LINE_SEARCH_ENDED
        settled = (status == STATUS.index("converged")) | (
            flat & (status == STATUS.index("line search failed"))
        )
        return -state.loss[0], jnp.where(held, value, state.point[0]), settled

    which = jnp.repeat(jnp.arange(num), size, total_repeat_length=num * size)
    found, argument, settled = batched(climb, (which, grids.reshape(-1)), mesh=mesh)
    found = found.reshape(num, size)
    # the maximum itself counts, also where it lies between two points of the grid
    top = jnp.maximum(jnp.max(found), log_likelihood_fn(best))
    return (found, argument.reshape(num, size, best.size), settled.reshape(num, size)), top


def _interval(
    grid: np.ndarray, values: np.ndarray, threshold: float
) -> tuple[float, float, bool, bool]:
    inside = np.flatnonzero(values >= threshold)
    if not inside.size:  # the grid misses the maximum: its highest point is all there is
        at = float(grid[values.argmax()])
        return at, at, True, True
    first, last = int(inside[0]), int(inside[-1])
    low, high = float(grid[first]), float(grid[last])
    if first > 0:
        low = _crossing(grid, values, threshold, first - 1)
    if last < grid.size - 1:
        high = _crossing(grid, values, threshold, last)
    return low, high, first > 0, last < grid.size - 1


def _crossing(grid: np.ndarray, values: np.ndarray, threshold: float, at: int) -> float:
    """Where the straight line between points at and at + 1 meets the threshold."""
    left, right = values[at], values[at + 1]
    return float(grid[at] + (threshold - left) / (right - left) * (grid[at + 1] - grid[at]))
