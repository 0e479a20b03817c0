"""The system that `benchmarks.ode` solves: towns, springs, smooth forces; its solutions by scipy.

q'' + c q' + (alpha L + kappa I) q = f(t), natural periods of 6 to 16 years; the force of every town
is a slow wave and a bump. Scenarios differ in start and force and share the matrix.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse import coo_matrix, csr_matrix, diags_array

from diffmig import migration

REACH = 1e-6  # relative error at which times are compared
RUNGS = 4  # tolerances 10^(-k / RUNGS) are tried
LOOSEST, TIGHTEST = RUNGS, 13 * RUNGS
CONFINEMENT, DISTANCE, DAMPING = 0.15, 0.4, 0.25  # 1/year^2, 1/year^2, 1/year
LENGTH = 100.0  # km, of the distance kernel


class Force(NamedTuple):
    """f(t) = amplitude sin(rate t + phase) + height exp(-sharpness (t - centre)^2), [..., town]."""

    amplitude: Any
    rate: Any
    phase: Any
    height: Any
    centre: Any
    sharpness: Any


class Problem(NamedTuple):
    """Scenarios of one system.

    Attributes:
        matrix: K, [town, town], or None: too large.
        edges: joined pairs where only the nearest are joined, else None.
        sparse: K of these pairs for scipy, else None.
        damping: c.
        balance, velocity: at the start, [scenario, town].
        force: leaves [scenario, town].
        years: of the motion; answers are wanted at 0, 1, ... years.
    """

    matrix: np.ndarray | None
    edges: migration.Edges | None
    sparse: csr_matrix | None
    damping: float
    balance: np.ndarray
    velocity: np.ndarray
    force: Force
    years: int


def made_problem(
    num_towns: int,
    num_scenarios: int,
    years: int = 20,
    *,
    damping: float = DAMPING,
    neighbours: int = 0,
    dense: bool = True,
    seed: int = 0,
) -> Problem:
    """Towns drawn in a box of 10 by 30 degrees; 0 neighbours: all pairs are joined."""
    rng = np.random.default_rng([seed, num_towns])
    latitude, longitude = rng.uniform(45, 55, num_towns), rng.uniform(50, 80, num_towns)
    matrix, edges, sparse = None, None, None
    if neighbours:
        first, second, distance = migration.nearest_edges(latitude, longitude, neighbours)
        weight = np.exp(-distance / LENGTH)
        edges = migration.Edges(jnp.asarray(first), jnp.asarray(second), jnp.asarray(weight))
        sparse = _sparse_stiffness(first, second, weight, num_towns)
        matrix = sparse.toarray() if dense else None
    elif dense:
        distances = migration.distance_matrix(latitude, longitude)
        weights = migration.exponential_kernel(distances, LENGTH)
        matrix = DISTANCE * np.asarray(migration.laplacian(weights)) + CONFINEMENT * np.eye(
            num_towns
        )
    shape = (num_scenarios, num_towns)
    force = Force(
        amplitude=rng.uniform(0.5, 1.0, shape),
        rate=2.0 * np.pi / rng.uniform(8.0, 16.0, shape),
        phase=rng.uniform(0.0, 2.0 * np.pi, shape),
        height=rng.uniform(-1.0, 1.0, shape),
        centre=rng.uniform(4.0, 16.0, shape),
        sharpness=0.5 / rng.uniform(1.5, 3.0, shape) ** 2,
    )
    balance, velocity = rng.normal(size=shape), 0.3 * rng.normal(size=shape)
    return Problem(matrix, edges, sparse, damping, balance, velocity, force, years)


def _sparse_stiffness(
    first: np.ndarray, second: np.ndarray, weight: np.ndarray, num_towns: int
) -> csr_matrix:
    """alpha (I - D^{-1/2} W D^{-1/2}) + kappa I."""
    size = (num_towns, num_towns)
    half = coo_matrix((weight, (first, second)), shape=size)
    weights = (half + half.T).tocsr()
    scale = diags_array(1.0 / np.sqrt(np.asarray(weights.sum(axis=1)).ravel()))
    ones = diags_array(np.full(num_towns, DISTANCE + CONFINEMENT))
    return csr_matrix(ones - DISTANCE * (scale @ weights @ scale))


def force_at(force: Force, t: Any, xp: Any = np) -> Any:
    """f at one time, or at times that broadcast against the leaves."""
    wave = force.amplitude * xp.sin(force.rate * t + force.phase)
    return wave + force.height * xp.exp(-force.sharpness * (t - force.centre) ** 2)


# --- scipy ----------------------------------------------------------------------------------------


def solve_one_by_one(
    problem: Problem, method: str, rtol: float, *, sparse: bool = False
) -> np.ndarray:
    """`solve_ivp` for one scenario after the other, [scenario, town, 1 + year]."""
    found = []
    for number in range(problem.balance.shape[0]):
        start = (problem.balance[number], problem.velocity[number])
        force = Force(*(leaf[number] for leaf in problem.force))
        found.append(_solve(problem, start, force, method, rtol, sparse))
    return np.stack(found)


def solve_stacked(
    problem: Problem, method: str, rtol: float, *, sparse: bool = False
) -> np.ndarray:
    """`solve_ivp` for all scenarios as one system, [scenario, town, 1 + year]."""
    start = (problem.balance.T, problem.velocity.T)
    force = Force(*(np.ascontiguousarray(leaf.T) for leaf in problem.force))
    return np.moveaxis(_solve(problem, start, force, method, rtol, sparse), 1, 0)


def _solve(
    problem: Problem,
    start: tuple[np.ndarray, np.ndarray],
    force: Force,
    method: str,
    rtol: float,
    sparse: bool,
) -> np.ndarray:
    """[town, ..., 1 + year] from a start [town, ...]."""
    shape, size = start[0].shape, start[0].size
    stiffness = problem.sparse if sparse else problem.matrix

    def field(t: float, y: np.ndarray) -> np.ndarray:
        slope = np.empty_like(y)
        slope[:size] = y[size:]
        push = force_at(force, t) - stiffness @ y[:size].reshape(shape)
        slope[size:] = push.ravel() - problem.damping * y[size:]
        return slope

    times = np.arange(problem.years + 1.0)
    y0 = np.concatenate([x.ravel() for x in start])
    solution = solve_ivp(field, (0.0, times[-1]), y0, method, t_eval=times, rtol=rtol, atol=rtol)
    if not solution.success:
        raise RuntimeError(f"{method}, rtol {rtol:g}: {solution.message}")
    return solution.y[:size].reshape(*shape, -1)


# --- errors ---------------------------------------------------------------------------------------


def first_scenarios(problem: Problem, number: int) -> Problem:
    """The problem with so many of its scenarios."""
    return problem._replace(
        balance=problem.balance[:number],
        velocity=problem.velocity[:number],
        force=Force(*(leaf[:number] for leaf in problem.force)),
    )


def relative_error(found: Any, expected: np.ndarray) -> float:
    """Largest of |q - q*| / |q*| over scenarios and years, norms over towns."""
    difference = np.linalg.norm(np.asarray(found) - expected, axis=-2)
    return float((difference / np.linalg.norm(expected, axis=-2)).max())


def tuned(run: Callable[[float], Any], expected: np.ndarray, guess: int) -> float:
    """Loosest tolerance 10^(-k / RUNGS) whose answer reaches `REACH`, searched from k = `guess`.

    Raises:
        RuntimeError: none does.
    """

    def error(k: int) -> float:
        return relative_error(run(10.0 ** (-k / RUNGS)), expected)

    k = guess
    if error(k) <= REACH:
        while k > LOOSEST and error(k - 1) <= REACH:
            k -= 1
        return 10.0 ** (-k / RUNGS)
    for k in range(guess + 1, TIGHTEST + 1):
        if error(k) <= REACH:
            return 10.0 ** (-k / RUNGS)
    raise RuntimeError(f"no tolerance down to 10^-{TIGHTEST / RUNGS:g} reaches {REACH:g}")
