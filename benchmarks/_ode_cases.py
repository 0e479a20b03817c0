"""Rows of `benchmarks.ode` and the calls that they time."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks import _timing as timing
from benchmarks._ode_problem import Problem, relative_error, tuned
from benchmarks._ode_programs import Program, by_diffrax
from diffmig import migration
from diffmig.runtime import CompileClock

LEAST_SECONDS = 0.02  # of one timed repeat: short programs are called several times
GUESS = {"DOP853": 26, "RK45": 26, "LSODA": 27, "tsit5": 25, "dopri8": 29}
Call = Callable[[], Any]
Row = dict[str, Any]


def compiled(run: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], Row]:
    """Program, with the seconds of its compilation and its working memory."""
    clock = CompileClock()
    program = jax.jit(run).lower(*arguments).compile()
    memory = program.memory_analysis()
    working = None if memory is None else memory.temp_size_in_bytes
    return program, {"compile_seconds": clock.seconds, "working_bytes": working}


def time_rows(rows: list[Row], calls: list[Call], *, repeats: int, budget: float) -> None:
    """Adds seconds to the rows, all calls in the same rounds."""
    counts = [_count(call) for call in calls]
    repeated = {
        str(number): partial(_repeat, call, count)
        for number, (call, count) in enumerate(zip(calls, counts, strict=True))
    }
    results = timing.time_together(repeated, repeats=repeats, budget=budget)
    for row, count, one in zip(rows, counts, results.values(), strict=True):
        row["seconds"] = one.median / count
        row["seconds_quartiles"] = [one.low / count, one.high / count]
        row |= {"repeats": one.repeats, "calls": count, "load": os.getloadavg()[0]}
        row["blas_threads"] = os.environ.get("OPENBLAS_NUM_THREADS", "")


def _count(call: Call) -> int:
    """Calls of one timed repeat; every call has been made before, for its answer."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return max(1, min(1000, round(LEAST_SECONDS / (time.perf_counter() - start))))


def _repeat(call: Call, count: int) -> Any:
    for _ in range(count):
        out = jax.block_until_ready(call())
    return out


class Cases:
    """Solvers of one problem; every answer is compared with the reference before it is timed."""

    def __init__(self, problem: Problem, expected: np.ndarray, **about: Any) -> None:
        num_scenarios, num_towns = problem.balance.shape
        self.problem, self.expected = problem, expected
        self.about = {"dtype": "float64", "towns": num_towns, "scenarios": num_scenarios}
        self.about |= {"years": problem.years} | about
        self.rows: list[Row] = []
        self.calls: list[Call] = []

    def add(self, call: Call, **row: Any) -> None:
        error = relative_error(call(), self.expected)
        self.rows.append(self.about | {"error": error, "peak_bytes": timing.peak_bytes()} | row)
        self.calls.append(call)

    def add_program(self, program: Program, **row: Any) -> None:
        run, arguments = program
        ready, compiling = compiled(run, *arguments)
        self.add(partial(ready, *arguments), **compiling, **row)

    def add_tuned(self, run: Callable[[float], np.ndarray], solver: str, **row: Any) -> float:
        """`run` at the loosest tolerance that reaches the error at which times are compared."""
        tolerance = tuned(run, self.expected, GUESS[solver])
        self.add(partial(run, tolerance), solver=solver, tolerance=tolerance, **row)
        return tolerance

    def add_diffrax(self, solver: Any, *, matrix_free: bool = False, **row: Any) -> float:
        """`simulate`, tuned; every tolerance is a program of its own."""
        made: dict[float, tuple[Call, Row]] = {}

        def answer(tolerance: float) -> Any:
            run, arguments = by_diffrax(
                self.problem, config_of(solver, tolerance), matrix_free=matrix_free
            )
            ready, compiling = compiled(run, *arguments)
            made[tolerance] = (partial(ready, *arguments), compiling)
            return ready(*arguments)

        tolerance = tuned(answer, self.expected, GUESS[solver])
        call, compiling = made[tolerance]
        self.add(call, solver=solver, tolerance=tolerance, **compiling, **row)
        return tolerance

    def time(self, *, repeats: int, budget: float) -> list[Row]:
        time_rows(self.rows, self.calls, repeats=repeats, budget=budget)
        return self.rows


def config_of(solver: Any, tolerance: float, **choices: Any) -> migration.SolverConfig:
    return migration.SolverConfig(solver=solver, rtol=tolerance, atol=tolerance, **choices)
