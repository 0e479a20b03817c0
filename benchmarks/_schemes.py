"""Closed forms of h_t + h_tau = -nu h + f, and the schemes that `benchmarks.transport` runs on
them.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from diffmig.human_capital import transport, transport_smooth

LAST_AGE = 100
LEVEL, LENGTH, FREQUENCY = 10.0, 0.04, 0.7  # of the manufactured solution

Field = Callable[[Any, Any], Any]  # (t, tau) -> value


class Problem(NamedTuple):
    """A problem with a closed form, ages 0 to 100; h at age 0 is `inflow` at all times.

    Attributes:
        wear_rate, source: nu and f, of (t, tau).
        exact: h, of (t, tau) in NumPy; at t = 0 it is the initial profile.
        inflow: h at age 0.
        end: years.
        on_cells: nu and f are constant on cells of one year.
        formulas: nu and f as py-pde reads them.
    """

    wear_rate: Field
    source: Field
    exact: Field
    inflow: float
    end: float
    on_cells: bool
    formulas: tuple[str, str]


def problems() -> dict[str, Problem]:
    """Constant, bracket, growing (zero data) and manufactured."""
    return {
        "constant": _from_zero(0.03, 10.0, 0.0, (0.0, LAST_AGE), 18.0),
        "bracket": _from_zero(0.05, 20.0, 0.0, (7.0, 18.0), 10.0),
        "growing": _from_zero(0.03, 10.0, 0.02, (0.0, LAST_AGE), 18.0),
        "wave": _wave(),
    }


def _from_zero(
    nu: float, sigma: float, growth: float, bracket: tuple[float, float], end: float
) -> Problem:
    """f = sigma e^{gt} on [a, b): h = (sigma/c) e^{gt} (e^{-c(tau - u)} - e^{-c(tau - l)}) with
    c = nu + g, l = max(a, tau - m), u = min(b, tau), m = min(t, tau)."""
    a, b = bracket

    def exact(t: Any, tau: Any) -> Any:
        low, high = np.maximum(a, tau - np.minimum(t, tau)), np.minimum(b, tau)
        c = nu + growth
        inside = np.exp(-c * (tau - high)) - np.exp(-c * (tau - low))
        return np.where(high > low, sigma / c * np.exp(growth * t) * inside, 0.0)

    def source(t: Any, tau: Any) -> Any:
        return jnp.where((tau >= a) & (tau < b), sigma * jnp.exp(growth * t), 0.0)

    formula = f"{sigma}*exp({growth}*t)*heaviside(x-{a},1)*heaviside({b}-x,0)"
    wear_rate = partial(_constant, nu)
    return Problem(wear_rate, source, exact, 0.0, end, growth == 0.0, (f"{nu}", formula))


def _wave() -> Problem:
    """h = C + cos(wt) tau e^{-l tau}; f = [(1 - l tau) cos wt - w tau sin wt] e^{-l tau} + nu h"""
    w, rate = FREQUENCY, LENGTH

    def wear_rate(t: Any, tau: Any) -> Any:
        return 0.02 + 0.0004 * tau + 0.01 * jnp.sin(0.3 * t) ** 2

    def exact(t: Any, tau: Any, xp: Any = np) -> Any:
        return LEVEL + xp.cos(w * t) * tau * xp.exp(-rate * tau)

    def source(t: Any, tau: Any) -> Any:
        change = (1 - rate * tau) * jnp.cos(w * t) - w * tau * jnp.sin(w * t)
        return change * jnp.exp(-rate * tau) + wear_rate(t, tau) * exact(t, tau, jnp)

    nu = "(0.02+0.0004*x+0.01*sin(0.3*t)**2)"
    change = f"((1-{rate}*x)*cos({w}*t)-{w}*x*sin({w}*t))*exp(-{rate}*x)"
    formula = f"{change}+{nu}*({LEVEL}+cos({w}*t)*x*exp(-{rate}*x))"
    return Problem(wear_rate, source, exact, LEVEL, 18.0, False, (nu, formula))


def _constant(value: float, _: Any, tau: Any) -> Any:
    return jnp.full_like(tau, value)


def ages(step: float) -> np.ndarray:
    """Nodes j k below the last age, on which the schemes of this file answer."""
    return np.arange(round(LAST_AGE / step)) * step


# --- schemes: initial [age] -> h at the end [age] -------------------------------------------------


def exponential(problem: Problem, step: float) -> Callable[[Array], Array]:
    """diffmig: `transport` where data are constant on cells, else `transport_smooth`."""
    num_steps, nodes = round(problem.end / step), jnp.asarray(ages(step))
    if not problem.on_cells:

        def solve(initial: Array) -> Array:
            rows = transport_smooth(
                initial,
                problem.wear_rate,
                problem.source,
                lambda t: jnp.asarray(problem.inflow),
                num_steps=num_steps,
                step=step,
            )
            return rows[-1]

        return solve
    middle = nodes + 0.5 * step  # of the cell
    rate, source = problem.wear_rate(0.0, middle)[0], problem.source(0.0, middle)

    def solve_cells(initial: Array) -> Array:
        rows = jnp.broadcast_to(source, (num_steps, *initial.shape))
        return transport(initial, rate, rows, problem.inflow, step=step)[-1]

    return solve_cells


def upwind(problem: Problem, step: float, *, courant: float = 0.5) -> Callable[[Array], Array]:
    """Explicit, one-sided in age, Euler in time: h+ = h - (k/d)(h_j - h_{j-1}) + k (f - nu h), with
    age cells d and time steps k = courant d."""
    nodes, k = jnp.asarray(ages(step)), courant * step

    def body(h: Array, t: Array) -> tuple[Array, None]:
        before = jnp.concatenate([h[:1], h[:-1]])
        growth = problem.source(t, nodes) - problem.wear_rate(t, nodes) * h
        after = h - courant * (h - before) + k * growth
        return after.at[0].set(problem.inflow), None

    times = k * jnp.arange(round(problem.end / k), dtype=float)
    return lambda initial: lax.scan(body, initial, times)[0]


def crank_nicolson(problem: Problem, step: float) -> Callable[[Array], Array]:
    """Trapezoid in time (step: one age cell), central in age, one-sided at the last: tridiagonal.

    (1 + A(t + k)) h+ = (1 - A(t)) h + k (f(t) + f(t + k)) / 2,  A = k (D + nu) / 2
    """
    nodes = jnp.asarray(ages(step))
    ones = jnp.ones_like(nodes).at[0].set(0.0)  # the first row says h+ = inflow
    last = jnp.zeros_like(nodes).at[-1].set(1.0)
    quarter, half = 0.25 * ones * (1 - last), 0.5 * last
    lower, upper = -quarter - half, quarter

    def diagonal(t: Array) -> Array:
        return half + 0.5 * step * ones * problem.wear_rate(t, nodes)

    def body(h: Array, t: Array) -> tuple[Array, None]:
        left, right = jnp.roll(h, 1), jnp.roll(h, -1)
        source = 0.5 * step * (problem.source(t, nodes) + problem.source(t + step, nodes))
        rest = h - (lower * left + diagonal(t) * h + upper * right) + source
        rest = rest.at[0].set(problem.inflow)
        matrix = (lower, 1.0 + diagonal(t + step), upper)
        return lax.linalg.tridiagonal_solve(*matrix, rest[:, None])[:, 0], None

    times = step * jnp.arange(round(problem.end / step), dtype=float)
    return lambda initial: lax.scan(body, initial, times)[0]


SCHEMES: dict[str, Callable[[Problem, float], Callable[[Array], Array]]] = {
    "exponential": exponential,
    "upwind": upwind,
    "upwind, CFL 1": partial(upwind, courant=1.0),
    "Crank-Nicolson": crank_nicolson,
}


class PeerRun(NamedTuple):
    """A compiled py-pde problem: `solve` returns h at the end at `ages`."""

    solve: Callable[[], np.ndarray]
    ages: np.ndarray
    compile_seconds: float


def py_pde(problem: Problem, step: float) -> PeerRun:
    """py-pde with numba: centres of cells, central in age with h given at age 0 and no curvature at
    the last, 4-step Runge-Kutta with half a cell a step (one-sided d_dx_backward with it is worse).
    """
    import pde

    nu, source = problem.formulas
    grid = pde.CartesianGrid([(0, LAST_AGE)], round(LAST_AGE / step))
    centres = grid.axes_coords[0]
    bounds = {"x-": {"value": problem.inflow}, "x+": {"curvature": 0}}
    equation = pde.PDE({"u": f"-d_dx(u) - {nu}*u + {source}"}, bc=bounds)
    start = pde.ScalarField(grid, problem.exact(0.0, centres))
    begun = time.perf_counter()
    solver = pde.RungeKuttaSolver(equation, backend="numba")
    stepper = solver.make_stepper(start, dt=0.5 * step)
    stepper(start.copy(), 0.0, step)
    compile_seconds = time.perf_counter() - begun

    def solve() -> np.ndarray:
        state = start.copy()
        stepper(state, 0.0, problem.end)
        return state.data

    return PeerRun(solve, centres, compile_seconds)


def initial_values(problem: Problem, step: float) -> Array:
    return jnp.asarray(problem.exact(0.0, ages(step)))
