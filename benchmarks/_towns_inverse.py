"""The inverse question of `benchmarks.towns`: least changes for thousands of places, and the same
by scipy's SLSQP one by one."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.optimize import minimize

from benchmarks import _timing as timing
from diffmig import explain
from diffmig.batching import batch_mesh

AIM = 50.0
SAME = 1e-6  # relative: cost above scipy's, shortfall of the response
TOLERANCES = (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)  # of SLSQP
TUNED = 200  # places on which its tolerance is chosen
BOX = 2.5  # training range of the standardised factors
Row = dict[str, Any]


@dataclass(frozen=True)
class InverseOptions:
    """The question.

    Attributes:
        places, factors: each place has its own factors, bounds and target.
        members, units: tanh networks of the ensemble and their hidden units.
        beyond: share of places whose target cannot be reached.
        block: searches of diffmig side by side.
        repeats, budget: at most so many timed rounds, and seconds per program.
        seed: of networks and places.
    """

    places: int = 3142
    factors: int = 5
    members: int = 5
    units: int = 3
    beyond: float = 0.05
    block: int = 128
    repeats: int = 10
    budget: float = 30.0
    seed: int = 0


QUICK = InverseOptions(places=256, repeats=3, budget=2.0)


class Problem(NamedTuple):
    """Networks (inner [unit, factor], bias and outer [unit], all members together) and places.

    `x`, `scale`, `low`, `high` are [place, factor], `target` [place]: a change of the output.
    """

    inner: np.ndarray
    bias: np.ndarray
    outer: np.ndarray
    x: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    target: np.ndarray
    beyond: np.ndarray


def made_problem(options: InverseOptions) -> Problem:
    """Random networks; targets are 10 to 90 % of the best of 300 random changes, or too high."""
    rng = np.random.default_rng(options.seed)
    size, factors = options.members * options.units, options.factors
    inner, bias = 0.6 * rng.normal(size=(size, factors)), rng.normal(size=size)
    outer = rng.normal(size=size) / options.members
    shape = (options.places, factors)
    x = rng.normal(size=shape)
    low, high = np.minimum(-BOX - x, 0.0), np.maximum(BOX - x, 0.0)
    best = np.full(options.places, -np.inf)
    before = np.tanh(x @ inner.T + bias) @ outer
    for _ in range(300):
        best = np.maximum(
            best, np.tanh((x + rng.uniform(low, high)) @ inner.T + bias) @ outer - before
        )
    beyond = rng.random(options.places) < options.beyond
    most = 2.0 * np.abs(outer).sum()  # no output changes by more
    target = np.where(beyond, most, rng.uniform(0.1, 0.9, options.places) * best)
    scale = rng.uniform(0.5, 2.0, shape)
    return Problem(inner, bias, outer, x, scale, low, high, target, beyond)


def gains(problem: Problem, change: np.ndarray) -> np.ndarray:
    """What changes [place, factor] bring, [place]."""
    inner, bias, outer = problem[:3]
    after, before = (np.tanh(x @ inner.T + bias) @ outer for x in (problem.x + change, problem.x))
    return after - before


# --- scipy ----------------------------------------------------------------------------------------


def solve_one(problem: Problem, place: int, tolerance: float) -> np.ndarray:
    """Change of one place by SLSQP from no change, with exact gradients."""
    inner, bias, outer = problem[:3]
    x, weight = problem.x[place], problem.scale[place] ** -2.0
    aim = outer @ np.tanh(inner @ x + bias) + problem.target[place]

    def surplus(change: np.ndarray) -> float:
        return outer @ np.tanh(inner @ (x + change) + bias) - aim

    def slope(change: np.ndarray) -> np.ndarray:
        return (outer * (1.0 - np.tanh(inner @ (x + change) + bias) ** 2)) @ inner

    found = minimize(
        lambda change: (0.5 * change @ (weight * change), weight * change),
        np.zeros_like(x),
        jac=True,
        bounds=np.stack([problem.low[place], problem.high[place]], axis=1),
        constraints={"type": "ineq", "fun": surplus, "jac": slope},
        method="SLSQP",
        options={"ftol": tolerance, "maxiter": 200},
    )
    return found.x


def one_by_one(problem: Problem, tolerance: float, places: int) -> np.ndarray:
    return np.stack([solve_one(problem, place, tolerance) for place in range(places)])


def tuned(problem: Problem) -> float:
    """The loosest tolerance of SLSQP with which 99 % of the costs are those of the tightest."""
    places = min(TUNED, len(problem.x))

    def cost(tolerance: float) -> np.ndarray:
        changes = one_by_one(problem, tolerance, places)
        costs = 0.5 * np.sum((changes / problem.scale[:places]) ** 2, axis=1)
        return costs[~problem.beyond[:places]]

    best = cost(TOLERANCES[-1])
    for tolerance in TOLERANCES:
        off = np.abs(cost(tolerance) - best) / best
        if np.quantile(off, 0.99) <= SAME:
            return tolerance
    return TOLERANCES[-1]


# --- diffmig --------------------------------------------------------------------------------------


def own_solver(problem: Problem, options: InverseOptions, devices: int) -> Callable[[], Any]:
    """Least changes of all places, compiled at the first call."""
    inner, bias, outer = map(jnp.asarray, problem[:3])
    mesh = batch_mesh(jax.devices()[:devices]) if devices > 1 else None

    def output(x: Array) -> Array:
        return jnp.tanh(inner @ x + bias) @ outer

    def response(change: Array, x: Array) -> Array:
        return output(x + change) - output(x)

    solve = jax.jit(
        lambda x, *rest: explain.least_changes(response, x, *rest, block=options.block, mesh=mesh)
    )
    given = tuple(map(jnp.asarray, problem[3:8]))
    return lambda: jax.block_until_ready(solve(*given))


# --- rows -----------------------------------------------------------------------------------------


def measure(options: InverseOptions) -> list[Row]:
    """A row for diffmig on one device and on all, and one for scipy, timed in the same rounds."""
    problem = made_problem(options)
    tolerance = tuned(problem)
    counts = sorted({1, jax.device_count()})
    fns: dict[str, Callable[[], Any]] = {
        f"diffmig {count}": own_solver(problem, options, count) for count in counts
    }
    fns["scipy"] = lambda: one_by_one(problem, tolerance, options.places)
    times, answers = timing.with_answers(
        fns,
        repeats=options.repeats,
        budget=options.budget,
    )
    peer = quality(problem, answers["scipy"])
    rows = []
    for name, seconds in times.items():
        own = name != "scipy"
        answer = jax.device_get(answers[name])
        change = answer.change if own else answer
        found = quality(problem, change)
        # places where scipy ends at a feasible change
        both = ~problem.beyond & (peer["short"] <= SAME)
        excess = found["cost"][both] / peer["cost"][both] - 1.0
        rows.append(
            {
                "part": "inverse",
                "tool": name.split()[0],
                "dtype": "float64",
                "places": options.places,
                "factors": options.factors,
                "members": options.members,
                "units": options.units,
                "devices": int(name.split()[1]) if own else 1,
                "block": options.block if own else None,
                "tolerance": None if own else tolerance,
                "seconds": seconds.median,
                "seconds_quartiles": [seconds.low, seconds.high],
                "repeats": seconds.repeats,
                "us_per_place": 1e6 * seconds.median / options.places,
                "compile_seconds": seconds.compile_seconds if own else 0.0,
                "cost_excess": float(excess.max()),
                "cheaper": float(np.mean(excess < -SAME)),
                "compared": float(np.mean(both[~problem.beyond])),
                "reached": float(np.mean(found["short"][~problem.beyond] <= SAME)),
                "bounds_broken": float(found["broken"]),
                "residual": float(answers[name].residual[~problem.beyond].max()) if own else None,
                "statuses": np.bincount(answers[name].status, minlength=4).tolist()
                if own
                else None,
                "beyond": int(problem.beyond.sum()),
                "load": os.getloadavg()[0],
            }
        )
    return rows


def quality(problem: Problem, change: np.ndarray) -> dict[str, Any]:
    """Cost and relative shortfall [place], and by how much the worst bound is broken."""
    cost = 0.5 * np.sum((change / problem.scale) ** 2, axis=1)
    short = np.maximum(1.0 - gains(problem, change) / problem.target, 0.0)
    broken = np.maximum(problem.low - change, change - problem.high).max()
    return {"cost": cost, "short": short, "broken": max(broken, 0.0)}


def judge(rows: list[Row]) -> None:
    """Adds how many times scipy's speed, with and without compiling, and a status."""
    mine = [row for row in rows if row["part"] == "inverse"]
    peer = next(row for row in mine if row["tool"] == "scipy")
    most = max(row["devices"] for row in mine)
    for row in mine:
        row["status"] = "compared"
        if row["tool"] != "diffmig":
            continue
        row["ratio"] = peer["seconds"] / row["seconds"]
        row["ratio_cold"] = peer["seconds"] / (row["seconds"] + row["compile_seconds"])
        equal = row["cost_excess"] <= SAME and row["bounds_broken"] == 0.0
        whole = row["reached"] == 1.0 and row["statuses"][1] == row["beyond"]
        if not (equal and whole):
            row["status"] = "answers differ"
        elif row["devices"] == most:
            row["status"] = "met" if row["ratio"] >= AIM else "missed"


def line(row: Row) -> str:
    """The row as text."""
    text = (
        f"inverse {row['tool']:<8}{row['devices']} dev. {row['places']:>5} places "
        f"{1e3 * row['seconds']:>9.1f} ms {row['us_per_place']:>7.1f} us each "
        f"cost excess {row['cost_excess']:.1e} cheaper at {row['cheaper']:.1%} "
        f"reached {row['reached']:.1%} bounds broken by {row['bounds_broken']:.0e}"
    )
    if row["tool"] == "diffmig":
        text += f" {row['compile_seconds']:.1f} s compiling"
    if "ratio" in row:
        text += f" x{row['ratio']:.1f} (cold x{row['ratio_cold']:.1f})"
    return f"{text}  {row['status']}"
