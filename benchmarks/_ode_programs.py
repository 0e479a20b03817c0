"""The programs that `benchmarks.ode` times: propagator, Diffrax, Verlet.

A program is a function and its arguments; its answer is balances, [scenario, town, 1 + year]. The
force is computed inside from its parameters, as scipy does, unless it is tabulated before.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from benchmarks._ode_problem import CONFINEMENT, DISTANCE, Force, Problem, force_at
from diffmig import migration
from diffmig.batching import batched

Program = tuple[Callable[..., Any], tuple[Any, ...]]


class Inputs(NamedTuple):
    """What a motion depends on besides K; leading axes are scenarios."""

    damping: Array
    balance: Array
    velocity: Array
    force: Force


def inputs(problem: Problem) -> Inputs:
    force = Force(*(jnp.asarray(leaf) for leaf in problem.force))
    start = (jnp.asarray(problem.balance), jnp.asarray(problem.velocity))
    return Inputs(jnp.asarray(problem.damping), *start, force)


def one_scenario(given: Inputs) -> Inputs:
    """The first scenario, without a leading axis."""
    rest = jax.tree.map(lambda x: x[0], given[1:])
    return Inputs(given.damping, *rest)


def force_nodes(force: Force, years: int, num_nodes: int = migration.NUM_NODES) -> Array:
    """f at the nodes of yearly steps, [..., town, step, node]."""
    times = jnp.asarray(migration.node_times(years, num_nodes=num_nodes))
    leaves = Force(*(leaf[..., None, None] for leaf in force))
    return force_at(leaves, times.reshape((1,) * force.phase.ndim + times.shape), jnp)


def exact_motion(
    stiffness: Array | migration.Modes,
    given: Inputs,
    *,
    years: int,
    num_nodes: int = migration.NUM_NODES,
) -> Array:
    """Balances by `propagate`, [..., town, 1 + year]."""
    pushes = force_nodes(given.force, years, num_nodes)
    motion = migration.propagate(stiffness, given.damping, given.balance, given.velocity, pushes)
    return motion.balance


def tabulated_motion(
    stiffness: Array | migration.Modes, damping: Array, q: Array, v: Array, pushes: Array
) -> Array:
    """Balances by `propagate` for forces at nodes that are known before, [..., town, 1 + year]."""
    return migration.propagate(stiffness, damping, q, v, pushes).balance


def adaptive_motion(
    stiffness: Array | migration.Edges,
    given: Inputs,
    *,
    years: int,
    config: migration.SolverConfig,
) -> Array:
    """Balances of one scenario by `simulate`, [town, 1 + year]; edges: without a matrix."""

    def acceleration(t: Array, q: Array, v: Array) -> Array:
        push = force_at(given.force, t, jnp)
        if isinstance(stiffness, migration.Edges):
            pull = DISTANCE * migration.laplacian_product(stiffness, q) + CONFINEMENT * q
            return push - given.damping * v - pull
        return migration.matrix_acceleration(q, v, push, stiffness, given.damping)

    times = jnp.arange(years + 1.0)
    return migration.simulate(acceleration, given.balance, given.velocity, times, config).balance


def verlet_motion(stiffness: Array, given: Inputs, *, years: int, per_year: int) -> Array:
    """Balances of one undamped scenario by `verlet`, [town, 1 + year]."""
    motion = migration.verlet(
        lambda t, q: force_at(given.force, t, jnp) - stiffness @ q,
        given.balance,
        given.velocity,
        years * per_year,
        step=1.0 / per_year,
        save_every=per_year,
    )
    return motion.balance


def by_propagator(
    problem: Problem,
    *,
    modes: migration.Modes | None = None,
    num_nodes: int = migration.NUM_NODES,
    block: int | None = None,
    mesh: Mesh | None = None,
) -> Program:
    """All scenarios as one batch, or in blocks; from the matrix where `modes` are not given."""
    solve = partial(exact_motion, years=problem.years, num_nodes=num_nodes)
    stiffness = jnp.asarray(problem.matrix) if modes is None else modes
    whole = block is None and mesh is None
    return solve if whole else each_scenario(solve, block, mesh), (stiffness, inputs(problem))


def by_table(problem: Problem, modes: migration.Modes) -> Program:
    """The propagator with the force at nodes made before."""
    given = inputs(problem)
    pushes = jax.jit(partial(force_nodes, years=problem.years))(given.force)
    return tabulated_motion, (modes, given.damping, given.balance, given.velocity, pushes)


def by_diffrax(
    problem: Problem,
    config: migration.SolverConfig,
    *,
    matrix_free: bool = False,
    block: int | None = None,
    mesh: Mesh | None = None,
) -> Program:
    """Every scenario with its own steps, under vmap."""
    solve = partial(adaptive_motion, years=problem.years, config=config)
    stiffness = problem.edges if matrix_free else jnp.asarray(problem.matrix)
    return each_scenario(solve, block, mesh), (stiffness, inputs(problem))


def by_verlet(problem: Problem, per_year: int) -> Program:
    """Every scenario under vmap."""
    solve = partial(verlet_motion, years=problem.years, per_year=per_year)
    return each_scenario(solve), (jnp.asarray(problem.matrix), inputs(problem))


def num_steps(problem: Problem, config: migration.SolverConfig) -> int:
    """Steps that Diffrax takes for the first scenario, refused ones too."""
    import diffrax

    given = one_scenario(inputs(problem))
    stiffness = jnp.asarray(problem.matrix)

    def field(t: Any, state: Array, _: Any) -> Array:
        push = force_at(given.force, t, jnp)
        acceleration = migration.matrix_acceleration(
            state[0], state[1], push, stiffness, given.damping
        )
        return jnp.stack([state[1], acceleration])

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        {"tsit5": diffrax.Tsit5(), "dopri8": diffrax.Dopri8()}[config.solver],
        t0=0.0,
        t1=float(problem.years),
        dt0=None,
        y0=jnp.stack([given.balance, given.velocity]),
        stepsize_controller=diffrax.PIDController(rtol=config.rtol, atol=config.atol),
        max_steps=config.max_steps,
    )
    return int(solution.stats["num_steps"])


def each_scenario(
    solve: Callable[[Any, Inputs], Array], block: int | None = None, mesh: Mesh | None = None
) -> Callable[[Any, Inputs], Array]:
    """`solve` of one scenario for all."""

    def run(stiffness: Any, given: Inputs) -> Array:
        def one(rest: tuple[Array, Array, Force]) -> Array:
            return solve(stiffness, Inputs(given.damping, *rest))

        return batched(one, given[1:], block=block, mesh=mesh)

    return run
