"""The reference problem of `benchmarks.inverse`: coupled towns under known forces, with noise.

q'' + c q' + k0 q + kc L q + k3 q^3 = f(t), T = 20 years, L the Laplacian of the weights exp(-d/60)
scaled to a largest degree of 1. Everything is drawn from [seed, towns]: cells that differ in points
or noise share the motion. No JAX here: tools are compared in processes of their own.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

YEARS = 20.0
DAMPING, CONFINEMENT, COUPLING, CUBIC = 0.25, 0.15, 0.40, 0.2  # c 1/year; k0, kc, k3 1/year^2
GUESS = (0.1, 0.4, 0.15)  # of c, k0, kc, where they are unknown
NUM_DENSE = 1001
MARGIN = 1.0  # years at either end that the inner score leaves out
LENGTH, DEVIATION = 3.0, 0.7  # of the Matern force: years, unit of the force
_BOX, _DECAY = 200.0, 60.0  # km


@dataclass(frozen=True)
class Cell:
    """What is drawn and solved.

    Attributes:
        variant: "lin" (known parameters), "linp" (c, k0, kc unknown, every third town unforced) or
            "nl" (k3 known).
        force: "smooth" (a wave and a bump) or "gp" (Matern-5/2).
        towns, points: numbers; points are evenly spaced over the 20 years, ends included.
        noise: standard deviation in shares of that of each town's balance.
        seed: of places, forces, starts and noise.
    """

    variant: str = "lin"
    force: str = "smooth"
    towns: int = 27
    points: int = 21
    noise: float = 0.05
    seed: int = 0


class Problem(NamedTuple):
    """A cell with its truth and its data.

    laplacian, stiffness: [town, town].  damping, cubic: c and k3.
    time: [dense].  balance, force: true, [town, dense].
    observed_time: [point].  observed: with noise, [town, point].  noise: [town], its standard
        deviation; where the data have none, a millionth of the balance's.
    forced: bool [town].
    """

    laplacian: np.ndarray
    stiffness: np.ndarray
    damping: float
    cubic: float
    time: np.ndarray
    balance: np.ndarray
    force: np.ndarray
    observed_time: np.ndarray
    observed: np.ndarray
    noise: np.ndarray
    forced: np.ndarray


def made_problem(cell: Cell) -> Problem:
    """The data of a cell, by DOP853 at a relative tolerance of 1e-10."""
    n = cell.towns
    rng = np.random.default_rng([cell.seed, n])
    laplacian = _laplacian(rng.uniform(0.0, _BOX, (n, 2)))
    stiffness = CONFINEMENT * np.eye(n) + COUPLING * laplacian
    forced = np.ones(n, bool)
    if cell.variant == "linp":
        forced = np.arange(n) % 3 != 2
    drawn = {"smooth": _smooth, "gp": _matern}[cell.force](rng, n)
    cubic = CUBIC if cell.variant == "nl" else 0.0
    start = np.concatenate([rng.normal(0.0, 1.0, n), rng.normal(0.0, 0.3, n)])

    def field(t: float, state: np.ndarray) -> np.ndarray:
        q, v = state[:n], state[n:]
        push = forced * drawn(t) - DAMPING * v - stiffness @ q - cubic * q**3
        return np.concatenate([v, push])

    time = np.linspace(0.0, YEARS, NUM_DENSE)
    solved = solve_ivp(
        field, (0.0, YEARS), start, method="DOP853", rtol=1e-10, atol=1e-12, t_eval=time
    )
    if not solved.success:
        raise RuntimeError(f"{cell}: {solved.message}")
    balance = solved.y[:n]
    seen = np.round(np.linspace(0, NUM_DENSE - 1, cell.points)).astype(int)
    deviation = balance.std(axis=1)
    white = np.random.default_rng([cell.seed, n, cell.points]).normal(size=(n, cell.points))
    return Problem(
        laplacian=laplacian,
        stiffness=stiffness,
        damping=DAMPING,
        cubic=cubic,
        time=time,
        balance=balance,
        force=forced[:, None] * np.stack([drawn(t) for t in time], axis=1),
        observed_time=time[seen],
        observed=balance[:, seen] + cell.noise * deviation[:, None] * white,
        noise=max(cell.noise, 1e-6) * deviation,
        forced=forced,
    )


def scores(problem: Problem, balance: np.ndarray, force: np.ndarray) -> dict[str, float]:
    """Relative L2 errors of q and f, all towns stacked; of f also 1 to 19 years alone."""
    inner = (problem.time >= MARGIN) & (problem.time <= YEARS - MARGIN)
    return {
        "err_q": relative(balance, problem.balance),
        "err_f": relative(force, problem.force),
        "err_f_inner": relative(force[:, inner], problem.force[:, inner]),
    }


def coverage(problem: Problem, force: np.ndarray, force_sd: np.ndarray) -> dict[str, float]:
    """Share of true forces in bands of 90 %, and mean half-width of these."""
    half = 1.6449 * force_sd
    inside = np.abs(force - problem.force) <= half
    return {"coverage_90": float(inside.mean()), "band_half_width": float(half.mean())}


def parameter_errors(damping: float, confinement: float, coupling: float) -> dict[str, float]:
    """Relative errors of c, k0, kc."""
    found = {"c": (damping, DAMPING), "k0": (confinement, CONFINEMENT), "kc": (coupling, COUPLING)}
    return {f"err_{name}": abs(a / b - 1.0) for name, (a, b) in found.items()}


def relative(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def as_json(cell: Cell) -> dict[str, Any]:
    return asdict(cell)


def _laplacian(place: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(place[:, None] - place[None], axis=-1)
    weights = np.exp(-distance / _DECAY)
    np.fill_diagonal(weights, 0.0)
    weights /= weights.sum(axis=1).max()
    return np.diag(weights.sum(axis=1)) - weights


def _smooth(rng: np.random.Generator, n: int) -> Callable[[float], np.ndarray]:
    """f = a sin(2 pi t / P + phi) + b exp(-(t - tau)^2 / 2 s^2)."""
    low = (0.5, 8.0, 0.0, -1.0, 4.0, 1.5)
    high = (1.0, 16.0, 2.0 * np.pi, 1.0, 16.0, 3.0)
    a, period, phase, b, centre, width = rng.uniform(low, high, (n, 6)).T

    def at(t: float) -> np.ndarray:
        bump = np.exp(-(((t - centre) / width) ** 2) / 2.0)
        return a * np.sin(2.0 * np.pi * t / period + phase) + b * bump

    return at


def _matern(rng: np.random.Generator, n: int) -> Callable[[float], np.ndarray]:
    """A draw of a Matern-5/2 process at 401 times, splines between them."""
    grid = np.linspace(0.0, YEARS, 401)
    r = np.sqrt(5.0) * np.abs(grid[:, None] - grid[None, :]) / LENGTH
    covariance = DEVIATION**2 * (1.0 + r + r**2 / 3.0) * np.exp(-r)
    root = np.linalg.cholesky(covariance + 1e-10 * np.eye(grid.size))
    return CubicSpline(grid, root @ rng.normal(size=(grid.size, n)))
