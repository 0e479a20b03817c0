"""Gradients of `benchmarks.ode`: value and gradient of the sum of squared balances, beside the
value alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import _ode_programs as programs
from benchmarks import _timing as timing
from benchmarks._ode_cases import Call, Row, compiled, config_of, time_rows
from benchmarks._ode_problem import Problem
from diffmig import migration

FEW_CHECKPOINTS = 8
ADJOINTS = ("default", "checkpoints = steps", "8 checkpoints", "direct", "forward")
CHECKS = {"propagator": 1e-5, "Diffrax": 1e-3}  # of gradients, against 5 times as many nodes
DIFFERENCES = 1e-6  # of the reference, against central differences
BY_NODES = "damping, start, force at nodes"
BY_PARAMETERS = "damping, start, parameters of the force"
ALONG = "damping, forwards"
Motion = Callable[..., Array]
Gradient = tuple[Array, programs.Inputs]  # by K, by the rest


class _Rows:
    """Rows and calls of one problem."""

    def __init__(self, about: Row, expected: Gradient) -> None:
        self.about, self.expected = about, expected
        self.rows: list[Row] = []
        self.calls: list[Call] = []

    def add(
        self,
        motion: Motion,
        arguments: tuple,
        by: str,
        positions: tuple[int, ...],
        as_gradient: Callable[[Any], list[Array | None]] | None = None,
        **row: Any,
    ) -> None:
        """The value of the sum, and its gradient by the arguments at `positions`.

        `as_gradient` orders what the program answers as K and the leaves of `Inputs`, None where
        it is not asked for.
        """
        loss = partial(_loss, motion)
        run = jax.value_and_grad(loss, positions) if positions else loss
        if by == ALONG:
            run = partial(_along_damping, loss)
        ready, compiling = compiled(run, *arguments)
        answer, error = ready(*arguments), 0.0
        if as_gradient is not None:
            error = _error(as_gradient(answer[1]), self.expected)
        row |= {"by": by, "error": error, "peak_bytes": timing.peak_bytes()}
        self.rows.append(self.about | compiling | row)
        self.calls.append(partial(ready, *arguments))


def measure(
    problem: Problem,
    tolerance: float,
    reference_nodes: int,
    adjoints: tuple[str, ...],
    *,
    repeats: int,
    budget: float,
) -> list[Row]:
    """Rows of every program, for one scenario without a batch axis or for all; one scenario by the
    `adjoints` of Diffrax ("default" first), all by the default."""
    num_scenarios, num_towns = problem.balance.shape
    given = programs.inputs(problem)
    given = programs.one_scenario(given) if num_scenarios == 1 else given
    matrix = jnp.asarray(problem.matrix)
    modes = migration.modes(matrix)
    exact = partial(programs.exact_motion, years=problem.years)
    expected, gap = _reference(partial(exact, num_nodes=reference_nodes), matrix, given)
    about = {"part": "gradients", "dtype": "float64", "towns": num_towns}
    about |= {"scenarios": num_scenarios, "years": problem.years, "reference_gap": gap}
    made = _Rows(about, expected)

    # the propagator, by the force at its nodes
    nodes_fn = partial(programs.force_nodes, years=problem.years)
    pushes, pull_back = jax.vjp(nodes_fn, given.force)
    rest = (given.damping, given.balance, given.velocity, pushes)

    def from_nodes(found: tuple) -> list[Array | None]:
        *by_matrix, damping, q, v, force = found
        leaves = jax.tree.leaves((damping, q, v, pull_back(force)))
        return [by_matrix[0] if by_matrix else None, *leaves]

    table, by_rest = programs.tabulated_motion, (1, 2, 3, 4)
    for name, stiffness in (("modes", modes), ("matrix", matrix)):
        about = {"solver": "propagator", "given": name}
        made.add(table, (stiffness, *rest), "", (), **about)
        made.add(table, (stiffness, *rest), BY_NODES, by_rest, from_nodes, **about)
    by_all = (0, *by_rest)
    made.add(table, (matrix, *rest), f"{BY_NODES}, K", by_all, from_nodes, **about)

    # the force inside
    def from_inputs(found: tuple) -> list[Array | None]:
        *by_matrix, other = found
        return [by_matrix[0] if by_matrix else None, *jax.tree.leaves(other)]

    about = {"solver": "propagator", "given": "modes"}
    made.add(exact, (modes, given), "", (), **about)
    made.add(exact, (modes, given), BY_PARAMETERS, (1,), from_inputs, **about)
    steps = programs.num_steps(problem, config_of("tsit5", tolerance))
    choices_of: dict[str, dict[str, Any]] = {
        "default": {},
        "checkpoints = steps": {"checkpoints": steps},
        f"{FEW_CHECKPOINTS} checkpoints": {"checkpoints": FEW_CHECKPOINTS},
        "direct": {"adjoint": "direct"},
        "forward": {"adjoint": "forward"},
    }
    for name in adjoints if num_scenarios == 1 else ("default",):
        choices = choices_of[name]
        config = config_of("tsit5", tolerance, **choices)
        one = partial(programs.adaptive_motion, years=problem.years, config=config)
        motion = one if num_scenarios == 1 else programs.each_scenario(one)
        about = {"solver": "Diffrax", "given": "matrix", "adjoint": name, "steps": steps}
        about |= {"tolerance": tolerance}
        both = (matrix, given)
        if name == "forward":
            made.add(motion, both, ALONG, (), lambda found: [None, found], **about)
            continue
        if name == "default":
            made.add(motion, both, "", (), **about)
            made.add(motion, both, f"{BY_PARAMETERS}, K", (0, 1), from_inputs, **about)
        made.add(motion, both, BY_PARAMETERS, (1,), from_inputs, **about)
    time_rows(made.rows, made.calls, repeats=repeats, budget=budget)
    forward = made.rows[0]
    for row in made.rows:  # the value stands before its gradients
        forward = row if not row["by"] else forward
        row["ratio"] = row["seconds"] / forward["seconds"]
        row["forward_seconds"] = forward["seconds"]
    return made.rows


def judge(row: Row, aim: float) -> str:
    if row["error"] > CHECKS[row["solver"]] or row["reference_gap"] > DIFFERENCES:
        return "answers differ"
    if row["by"].startswith(BY_NODES) or (row["by"] and row.get("adjoint") == "default"):
        return "met" if row["ratio"] <= aim else "missed"
    return "compared"


def _loss(motion: Motion, *arguments: Any) -> Array:
    return jnp.sum(motion(*arguments) ** 2)


def _along_damping(
    loss: Callable[..., Array], stiffness: Any, given: programs.Inputs
) -> tuple[Array, Array]:
    """Value and derivative by the damping."""

    def at(damping: Array) -> Array:
        return loss(stiffness, given._replace(damping=damping))

    return jax.jvp(at, (given.damping,), (jnp.ones_like(given.damping),))


def _reference(motion: Motion, matrix: Array, given: programs.Inputs) -> tuple[Gradient, float]:
    """Gradient, and its largest relative difference to central differences along one direction of
    each input."""
    loss = jax.jit(partial(_loss, motion))
    gradient = jax.jit(jax.grad(partial(_loss, motion), (0, 1)))(matrix, given)
    leaves, tree = jax.tree.flatten((matrix, given))
    slopes = jax.tree.leaves(gradient)
    rng, gaps = np.random.default_rng(1), []
    for number, (leaf, slope) in enumerate(zip(leaves, slopes, strict=True)):
        way = np.asarray(leaf) * rng.uniform(0.5, 1.5, leaf.shape)
        way = jnp.asarray(way + way.T if number == 0 else way)
        low, high = (
            loss(
                *jax.tree.unflatten(tree, [*leaves[:number], leaf + s * way, *leaves[number + 1 :]])
            )
            for s in (-1e-5, 1e-5)
        )
        predicted = float((slope * way).sum())
        gaps.append(abs(predicted - float(high - low) / 2e-5) / abs(predicted))
    return gradient, max(gaps)


def _error(found: list[Array | None], expected: Gradient) -> float:
    """Largest relative difference of an input, in the norm over its entries; K stays symmetric."""
    errors = []
    for number, (one, other) in enumerate(zip(found, jax.tree.leaves(expected), strict=False)):
        if one is not None:
            a, b = np.asarray(one), np.asarray(other)
            a, b = (a + a.T, b + b.T) if number == 0 else (a, b)
            errors.append(np.linalg.norm(a - b) / np.linalg.norm(b))
    return float(max(errors))
