"""Claim: a particle swarm with random numbers per particle and gene runs at 0.6 or more of the
generations/s of stock evosax (numbers per particle), 7 or more times those of the same code with
`jax.random`, and 20 or more times those of mealpy. Aimed at where moving the swarm is the work
(Sphere); every row says whether it is met.

Command: python -m benchmarks.optimizers         (about 15 minutes; --quick: 1 minute)
Device:  2 CPU cores. Peers: pip install 'diffmig[bench]'; those not installed are left out.

float32. "diffmig" is swarm-constriction with its bounds (absorb) and velocity clamp, "diffmig
unbounded" computes what evosax and pyswarms compute. Peers run with their own defaults, which are
other coefficients: the best value after equally many generations (mealpy, pyswarms: at most 50)
stands beside the speed: after 300 generations lower than that of evosax with 100 genes, not always
with 1000. The ratios depend on the function: the cosines of Rastrigin cost more than
the random numbers, so no generator makes much difference there.
"""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array, lax

from benchmarks import _timing as timing
from diffmig.optimize import METHODS, Method, Space, begin, run_chunk, swarm

ROOT = Path(__file__).resolve().parents[1]
BOUND = 5.0
TARGETS = {"evosax": 0.6, "diffmig, jax.random": 7.0, "mealpy": 20.0}
COMPILED = ("diffmig", "diffmig unbounded", "diffmig, jax.random", "evosax")
PLAIN = ("mealpy", "pyswarms")  # one Python call per generation or particle: fewer generations


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        quick: the smallest size, few generations and repeats.
        peers: compare with the peers that are installed.
        functions: losses.
        dims: genes.
        members: particles.
        best_generations: after which the best value is taken; at most 50 for the plain peers.
        seeds: runs for the best value; the plain peers and "diffmig, jax.random" run once.
        repeats: timed calls.
        budget: seconds of timing per method and case.
        out: result file; empty: none is written.
    """

    quick: bool = False
    peers: bool = True
    functions: tuple[str, ...] = ("sphere", "rastrigin", "rosenbrock")
    dims: tuple[int, ...] = (100, 1000)
    members: tuple[int, ...] = (256, 4096)
    best_generations: int = 300
    seeds: int = 5
    repeats: int = 20
    budget: float = 30.0
    out: str = str(ROOT / "benchmarks" / "results" / "optimizers.json")


# --- losses of a swarm [member, dim], minimum 0 off the centre, for JAX and NumPy alike ----------


def sphere(z: Any, xp: Any) -> Any:
    return xp.sum(z**2, axis=-1)


def rastrigin(z: Any, xp: Any) -> Any:
    return xp.sum(z**2 - 10.0 * xp.cos(2.0 * np.pi * z) + 10.0, axis=-1)


def rosenbrock(z: Any, xp: Any) -> Any:
    y = z + 1.0
    return xp.sum(100.0 * (y[..., 1:] - y[..., :-1] ** 2) ** 2 + (1.0 - y[..., :-1]) ** 2, axis=-1)


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sphere": sphere,
    "rastrigin": rastrigin,
    "rosenbrock": rosenbrock,
}


@dataclass(frozen=True)
class Case:
    """A function at a size; `shift` moves its minimum to (shift, shift, ...)."""

    function: str
    dim: int
    members: int
    shift: float = 1.5

    def __call__(self, key: Array, swarm: Array) -> Array:
        return FUNCTIONS[self.function](swarm - self.shift, jnp)

    def numpy(self, swarm: np.ndarray) -> np.ndarray:
        return FUNCTIONS[self.function](swarm - self.shift, np)

    @property
    def generations(self) -> int:
        """Generations of a timed call: 20 million gene updates, at least 20."""
        return max(20, 20_000_000 // (self.dim * self.members))


# --- methods: a search is prepared from (generations, seed) outside the timer; it gives the best --

Prepare = Callable[[int, int], Callable[[], Any]]


def diffmig_runner(case: Case, method: Method, **choices: Any) -> Prepare:
    space = Space(jnp.full(case.dim, -BOUND, jnp.float32), jnp.full(case.dim, BOUND, jnp.float32))
    config = replace(method.config, num_members=case.members, **choices)

    def prepare(generations: int, seed: int) -> Callable[[], Array]:
        key = jax.random.key(seed)
        state = begin(key, method, case, space, config=config)

        def search() -> Array:
            return run_chunk(key, state, method, case, space, generations, config=config)[1][-1]

        return search

    return prepare


def jax_random_pair(
    key: Array, shape: tuple[int, ...], dtype: Any, **_: Any
) -> tuple[Array, Array]:
    """The plain alternative to the fused generator."""
    first, second = jax.random.split(key)
    return jax.random.uniform(first, shape, dtype), jax.random.uniform(second, shape, dtype)


def step_with_jax_random(*args: Any) -> Any:
    # another function than swarm.step, so that the two are compiled apart
    with mock.patch.object(swarm, "uniform_pair", jax_random_pair):
        return swarm.step(*args)


def evosax_runner(case: Case) -> Prepare:
    from evosax.algorithms import PSO

    algorithm = PSO(case.members, jnp.zeros(case.dim, jnp.float32))
    params = algorithm.default_params

    @jax.jit
    def start(key: Array) -> Any:
        shape = (case.members, case.dim)
        points = jax.random.uniform(key, shape, jnp.float32, -BOUND, BOUND)
        return algorithm.init(key, points, case(key, points), params)

    @jax.jit
    def search(state: Any, keys: Array) -> Array:
        def advance(state: Any, key: Array) -> tuple[Any, Array]:
            ask, tell = jax.random.split(key)
            points, state = algorithm.ask(ask, state, params)
            state, _ = algorithm.tell(tell, points, case(key, points), state, params)
            return state, state.best_fitness

        return lax.scan(advance, state, keys)[1][-1]

    def prepare(generations: int, seed: int) -> Callable[[], Array]:
        key = jax.random.key(seed)
        state, keys = start(key), jax.random.split(key, generations)
        return lambda: search(state, keys)

    return prepare


def mealpy_runner(case: Case) -> Prepare:
    from mealpy import PSO, FloatVar

    problem = {
        "obj_func": lambda x: float(case.numpy(np.asarray(x))),
        "bounds": FloatVar(lb=[-BOUND] * case.dim, ub=[BOUND] * case.dim),
        "minmax": "min",
        "log_to": None,
    }

    def prepare(generations: int, seed: int) -> Callable[[], float]:
        method = PSO.OriginalPSO(epoch=generations, pop_size=case.members)
        return lambda: float(method.solve(problem, seed=seed).target.fitness)

    return prepare


def pyswarms_runner(case: Case) -> Prepare:
    from pyswarms.single import GlobalBestPSO

    options = {"c1": 0.5, "c2": 0.3, "w": 0.9}  # of its documentation; it has no defaults

    def prepare(generations: int, seed: int) -> Callable[[], float]:
        np.random.seed(seed)  # noqa: NPY002  it draws from the global generator
        start = np.random.uniform(-BOUND, BOUND, (case.members, case.dim))  # noqa: NPY002

        def search() -> float:
            method = GlobalBestPSO(case.members, case.dim, options, init_pos=start)
            return float(method.optimize(case.numpy, generations, verbose=False)[0])

        return search

    return prepare


@contextmanager
def _elsewhere() -> Iterator[None]:
    """pyswarms writes a report.log into the working folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def installed(case: Case, with_peers: bool) -> dict[str, Prepare]:
    """diffmig's variants, and the peers that are installed."""
    method = METHODS["swarm-constriction"]
    found = {
        "diffmig": diffmig_runner(case, method),
        "diffmig unbounded": diffmig_runner(case, method, boundary="none", velocity_clamp=None),
        "diffmig, jax.random": diffmig_runner(case, method._replace(step=step_with_jax_random)),
    }
    peers = {"evosax": evosax_runner, "mealpy": mealpy_runner, "pyswarms": pyswarms_runner}
    if with_peers:
        found |= {n: make(case) for n, make in peers.items() if importlib.util.find_spec(n)}
    return found


# --- measurement ----------------------------------------------------------------------------------


def check(case: Case) -> float:
    """Largest relative difference of the JAX loss to NumPy in float64, on random points."""
    points = np.random.default_rng(0).uniform(-BOUND, BOUND, (32, case.dim))
    ours = np.asarray(case(jax.random.key(0), jnp.asarray(points, jnp.float32)), float)
    return float(np.max(np.abs(ours / case.numpy(points) - 1.0)))


def measure(case: Case, options: Options) -> list[dict[str, Any]]:
    """Rows of one case: generations/s, ratios to "diffmig", best value, compile seconds."""
    error = check(case)
    if error > 1e-4:
        raise RuntimeError(f"{case}: loss differs from NumPy by {error:.1e}")
    generations = 20 if options.quick else case.generations
    found = installed(case, options.peers)
    calls = {name: generations if name in COMPILED else 5 for name in found}

    def timed(names: tuple[str, ...]) -> dict[str, timing.Timing]:
        fns = {name: found[name](calls[name], 0) for name in names if name in found}
        return timing.time_together(fns, repeats=options.repeats, budget=options.budget)

    times = timed(COMPILED) | timed(PLAIN)
    rows: list[dict[str, Any]] = []
    for name, seconds in times.items():
        best_after = min(options.best_generations, 50 if name in PLAIN else 10**6)
        seeds = options.seeds if name in ("diffmig", "diffmig unbounded", "evosax") else 1
        best = [float(found[name](best_after, seed)()) for seed in range(seeds)]
        rows.append(
            {
                "function": case.function,
                "dim": case.dim,
                "members": case.members,
                "dtype": "float32" if name in COMPILED else "float64",
                "method": name,
                "generations_per_second": calls[name] / seconds.median,
                "quartiles": [calls[name] / seconds.high, calls[name] / seconds.low],
                "repeats": seconds.repeats,
                "compile_seconds": seconds.compile_seconds,
                "best": float(np.median(best)),
                "best_range": [min(best), max(best)],
                "best_after_generations": best_after,
                "best_seeds": seeds,
                "error": error,
            }
        )
    own = rows[0]["generations_per_second"]
    for row in rows:
        row["diffmig_is_times_as_fast"] = own / row["generations_per_second"]
        target = TARGETS.get(row["method"])
        met = target is None or row["diffmig_is_times_as_fast"] >= target
        row["status"] = "no target" if target is None else "met" if met else "missed"
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    head = (
        f"{'function':<11}{'members x dim':>14}  {'method':<20}{'gen/s':>9}{'quartiles':>17}"
        f"{'diffmig x':>10}{'status':>10}{'best':>11} after{'compile':>9}"
    )
    lines = [head]
    for r in rows:
        size = f"{r['members']} x {r['dim']}"
        low, high = r["quartiles"]
        lines.append(
            f"{r['function']:<11}{size:>14}  {r['method']:<20}{r['generations_per_second']:>9.4g}"
            f"{f'{low:.4g} - {high:.4g}':>17}{r['diffmig_is_times_as_fast']:>10.2f}"
            f"{r['status']:>10}{r['best']:>11.3g}{r['best_after_generations']:>6}"
            f"{r['compile_seconds']:>8.1f}s"
        )
    return "\n".join(lines)


def run(options: Options) -> Iterator[list[dict[str, Any]]]:
    """Rows of one case after the other."""
    if options.quick:
        options = replace(
            options,
            functions=options.functions[:1],
            dims=(100,),
            members=(256,),
            best_generations=20,
            repeats=3,
            seeds=1,
        )
    for function in options.functions:
        for members in options.members:
            for dim in options.dims:
                yield measure(Case(function, dim, members), options)


def main(options: Options) -> None:
    timing.setup(x64=False)
    out = Path(options.out).resolve()
    rows: list[dict[str, Any]] = []
    with _elsewhere():
        for new in run(options):
            rows += new
            print(table(new), flush=True)
            if options.out:  # after every case: what is measured stays, whatever comes later
                timing.write_rows(out, rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
