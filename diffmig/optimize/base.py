"""One contract for every step method: states, the loop, the result.

A method is two pure functions,
    init(key, evaluate_fn, space, config, coefficients, initial) -> State
    step(key, state, evaluate_fn, space, config, coefficients) -> (State, Info)
`evaluate_fn(key, swarm)` gets candidates with a leading member axis and returns their losses
[member]; lower is better. `config` holds choices (static), `coefficients` numbers (traced: one
compiled program serves a whole vmap of settings). Keys are not part of a state: generation g draws
from `fold_in(key, g)`, so a run cut into any chunks, or resumed from a checkpoint, has the same
bits.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffmig.batching import batched
from diffmig.optimize.space import Box, Space, as_arrays, flatten, from_unit, round_integers
from diffmig.random import fold_in, uniform_pair

EvaluateFn = Callable[[Array, Any], Array]

STATUS = (
    "converged",
    "step limit reached",
    "no finite loss found",
    "line search failed",
    "line search failed, then L-BFGS converged",
    "line search failed, L-BFGS did not converge either",
)
CONVERGED, STEP_LIMIT, NO_FINITE_LOSS, LINE_SEARCH_FAILED, FALLBACK_CONVERGED, FALLBACK_FAILED = (
    range(6)
)

_SHARED_BY_MEMBERS = ("best", "best_loss", "generation", "num_evaluations")
_EVALUATION = 1 << 31
_INITIAL_STREAM = 254


class State(Protocol):
    """Fields of every method's state, a NamedTuple of arrays; others have a leading member axis.

    swarm: [member, dim], flat candidates, integer genes not necessarily rounded.
    loss: [member], of `swarm`; +inf where the evaluation gave NaN or an infinity.
    best, best_loss: [dim] and scalar, lowest loss evaluated so far, the initial members included.
    generation: int32, steps done.  num_evaluations: int32, losses evaluated.
    """

    @property
    def swarm(self) -> Array: ...
    @property
    def loss(self) -> Array: ...
    @property
    def best(self) -> Array: ...
    @property
    def best_loss(self) -> Array: ...
    @property
    def generation(self) -> Array: ...
    @property
    def num_evaluations(self) -> Array: ...


class Info(NamedTuple):
    """Diagnostics of a step: best loss so far, mean finite loss of the swarm, and its spread.

    spread: standard deviation over members in fractions of the box width, averaged over genes; 1.
    """

    best_loss: Array
    mean_loss: Array
    spread: Array


class Result(NamedTuple):
    """Outcome of any optimiser.

    candidate: pytree like the space, integer genes rounded.  loss: its loss.
    converged: bool.  status: int8, index into `STATUS`.  num_evaluations: int32.
    history: [step], best loss after each step.
    """

    candidate: Any
    loss: Array
    converged: Array
    status: Array
    num_evaluations: Array
    history: Array


class Method(NamedTuple):
    """A step method with its defaults; `status(state, space, config)` judges a final state."""

    name: str
    init: Callable[..., Any]
    step: Callable[..., tuple[Any, Info]]
    status: Callable[[Any, Space, Any], Array]
    config: Any
    coefficients: Any


def run(
    key: Array,
    method: Method,
    evaluate_fn: EvaluateFn,
    space: Space,
    num_steps: int,
    *,
    config: Hashable | None = None,
    coefficients: Any = None,
    initial: Any = None,
) -> Result:
    """Best candidate after `num_steps` steps from a random (or given) initial swarm.

    Args:
        key: typed threefry key.
        method: entry of `METHODS`.
        evaluate_fn: (key, swarm) -> loss [member]; see `per_member`.
        space: bounds.
        num_steps: steps after the initial evaluation.
        config, coefficients: instead of the method's defaults.
        initial: candidates with a leading member axis that replace the first random members.

    Returns:
        Result.

    Raises:
        ValueError: bounds, choices or shapes do not fit.

    Notes:
        Compiled once per `evaluate_fn` object, choices, shapes and `num_steps`; bounds,
        coefficients and starts may change. Restarts: `jax.vmap(lambda key: run(key, ...))(keys)`,
        or `batched` for many, over devices too.
    """
    state = begin(
        key, method, evaluate_fn, space, config=config, coefficients=coefficients, initial=initial
    )
    state, history = run_chunk(
        key, state, method, evaluate_fn, space, num_steps, config=config, coefficients=coefficients
    )
    return finish(state, history, method, space, config=config)


def begin(
    key: Array,
    method: Method,
    evaluate_fn: EvaluateFn,
    space: Space,
    *,
    config: Hashable | None = None,
    coefficients: Any = None,
    initial: Any = None,
) -> Any:
    """State with the initial swarm evaluated (generation 0); arguments as in `run`."""
    config, coefficients = _choices(method, config, coefficients)
    return _begin(key, as_arrays(space), coefficients, initial, method.init, evaluate_fn, config)


def run_chunk(
    key: Array,
    state: Any,
    method: Method,
    evaluate_fn: EvaluateFn,
    space: Space,
    num_steps: int,
    *,
    config: Hashable | None = None,
    coefficients: Any = None,
) -> tuple[Any, Array]:
    """State after `num_steps` further steps, and the best loss after each of them, [step].

    `key` is the key of the whole run: 10 + 20 steps are bitwise the 30 steps of one call.
    """
    config, coefficients = _choices(method, config, coefficients)
    return _run_chunk(
        key, state, as_arrays(space), coefficients, method.step, evaluate_fn, config, num_steps
    )


def finish(
    state: Any, history: Array, method: Method, space: Space, *, config: Hashable | None = None
) -> Result:
    """Result of a final state; `history` as returned by `run_chunk` (chunks concatenated)."""
    config, _ = _choices(method, config, None)
    status = method.status(state, space, config).astype(jnp.int8)
    box = flatten(space)
    return Result(
        candidate=box.unravel(round_integers(box, state.best)),
        loss=state.best_loss,
        converged=(status == CONVERGED) | (status == FALLBACK_CONVERGED),
        status=status,
        num_evaluations=state.num_evaluations,
        history=history,
    )


def best_of(results: Result) -> Result:
    """The result of lowest loss along the leading axis of `results` (restarts or starts)."""
    row = jnp.argmin(jnp.where(jnp.isnan(results.loss), jnp.inf, results.loss))
    return jax.tree.map(lambda leaf: leaf[row], results)


def shard_members(state: Any, mesh: Mesh) -> Any:
    """`state` with the member axis cut over a one-dimensional `mesh`, everything else on every
    device.

    `run_chunk` then runs on all devices of the mesh. Random numbers are counted by global member
    and gene, so the swarm takes the same path on any number of devices (sums over members, such as
    the mean loudness of "bat-yang2010", are equal up to rounding).

    Raises:
        ValueError: the number of members is not a multiple of the number of devices.
    """
    num_members = state.swarm.shape[0]
    if num_members % mesh.size:
        raise ValueError(
            f"expected a multiple of {mesh.size} members (one part per device), got {num_members}"
        )

    def place(name: str, leaf: Array) -> Array:
        spec = PartitionSpec() if name in _SHARED_BY_MEMBERS else PartitionSpec(mesh.axis_names[0])
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return type(state)(*(place(name, getattr(state, name)) for name in state._fields))


@dataclass(frozen=True)
class _PerMember:
    # a dataclass, not a closure: equal arguments give equal hashes, so a second call does not
    # recompile the run
    loss_fn: Callable[[Any], Array]
    block: int | None
    mesh: Mesh | None

    def __call__(self, key: Array, swarm: Any) -> Array:
        return batched(self.loss_fn, swarm, block=self.block, mesh=self.mesh)


def per_member(
    loss_fn: Callable[[Any], Array], *, block: int | None = None, mesh: Mesh | None = None
) -> EvaluateFn:
    """Evaluation of a whole swarm from the loss of one candidate; `block`, `mesh` as in
    `diffmig.batching.batched`.
    """
    return _PerMember(loss_fn, block, mesh)


def evaluate(key: Array, evaluate_fn: EvaluateFn, box: Box, swarm: Array) -> Array:
    """Losses [member] of a flat swarm, in its dtype; NaN and infinities become +inf, so that they
    lose.

    Raises:
        ValueError: `evaluate_fn` does not return one loss per member.
    """
    candidates = jax.vmap(box.unravel)(round_integers(box, swarm))
    loss = evaluate_fn(fold_in(key, jnp.uint32(_EVALUATION)), candidates)
    if jnp.shape(loss) != swarm.shape[:1]:
        raise ValueError(
            f"evaluate_fn: expected losses of shape {swarm.shape[:1]}, got {jnp.shape(loss)}; "
            "lift a loss of one candidate with per_member(loss_fn)"
        )
    return jnp.where(jnp.isfinite(loss), loss, jnp.inf).astype(swarm.dtype)


def initial_swarm(key: Array, box: Box, num_members: int, initial: Any) -> Array:
    """Uniform points of the box, [member, dim], the first of them replaced by the candidates
    `initial`.

    Raises:
        ValueError: `initial` has another structure than the space or more than `num_members`
            members.
    """
    shape = (num_members, box.low.size)
    unit, _ = uniform_pair(key, shape, box.low.dtype, stream=_INITIAL_STREAM)
    swarm = from_unit(box, unit)
    if initial is None:
        return swarm
    example: Any = jax.tree.structure(box.unravel(box.low))
    if jax.tree.structure(initial) != example:
        raise ValueError(
            f"initial: expected candidates like {example}, got {jax.tree.structure(initial)}"
        )
    leaves = [jnp.asarray(leaf).astype(swarm.dtype) for leaf in jax.tree.leaves(initial)]
    given = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)
    if given.shape[0] > num_members or given.shape[1] != shape[1]:
        raise ValueError(
            f"initial: expected at most {shape[0]} members of {shape[1]} numbers, got {given.shape}"
        )
    return swarm.at[: given.shape[0]].set(given)


def lowest(swarm: Array, loss: Array) -> tuple[Array, Array]:
    """Member of lowest loss, [dim], and its loss."""
    row = jnp.argmin(loss)
    return swarm[row], loss[row]


def keep_lower(best: Array, best_loss: Array, swarm: Array, loss: Array) -> tuple[Array, Array]:
    """The best candidate so far and its loss, after `swarm` was evaluated: it never rises."""
    candidate, candidate_loss = lowest(swarm, loss)
    return jnp.where(candidate_loss < best_loss, candidate, best), jnp.minimum(
        candidate_loss, best_loss
    )


def own_pass(generation: Array, fn: Callable[..., Array], old: Array, *args: Array) -> Array:
    """`fn(old, *args)`, like `old` in shape and dtype, computed once and written in its place.

    XLA would fold a cheap `fn` into each of its readers: random numbers would be drawn again for
    each, and an update in place would need a copy of the old array. A branch, always taken, is a
    border that it does not cross (on CPU an `optimization_barrier` is removed too early for that;
    elsewhere a branch costs a round trip to the host).
    """

    def branch(generation: Array, old: Array, *args: Array) -> Array:
        return lax.cond(generation >= 0, fn, lambda old, *args: old, old, *args)

    def barrier(generation: Array, old: Array, *args: Array) -> Array:
        return lax.optimization_barrier(fn(old, *args))

    return lax.platform_dependent(generation, old, *args, cpu=branch, default=barrier)


def describe(state: State, box: Box) -> Info:
    """Info of a state."""
    finite = jnp.isfinite(state.loss)
    total = jnp.sum(jnp.where(finite, state.loss, 0.0))
    count = jnp.maximum(jnp.sum(finite), 1).astype(total.dtype)
    width = jnp.where(box.high > box.low, box.high - box.low, 1.0)
    spread = jnp.mean(jnp.std(state.swarm, axis=0) / width)
    return Info(state.best_loss, total / count, spread)


def contracted_status(state: State, space: Space, config: Any) -> Array:
    """Converged when the spread of the swarm (see `Info`) is at most `config.tolerance`."""
    status = jnp.where(
        describe(state, flatten(space)).spread <= config.tolerance, CONVERGED, STEP_LIMIT
    )
    return jnp.where(jnp.isfinite(state.best_loss), status, NO_FINITE_LOSS)


def in_dtype(coefficients: Any, dtype: Any) -> Any:
    """Every coefficient as an array of the dtype of the search."""
    return jax.tree.map(lambda c: jnp.asarray(c).astype(dtype), coefficients)


def _choices(method: Method, config: Hashable | None, coefficients: Any) -> tuple[Any, Any]:
    config = method.config if config is None else config
    if type(config) is not type(method.config):
        raise ValueError(
            f"{method.name}: expected config {type(method.config).__name__}, got {config!r}"
        )
    coefficients = method.coefficients if coefficients is None else coefficients
    if type(coefficients) is not type(method.coefficients):
        raise ValueError(
            f"{method.name}: expected coefficients {type(method.coefficients).__name__}, "
            f"got {coefficients!r}"
        )
    return config, coefficients


@partial(jax.jit, static_argnums=(4, 5, 6))
def _begin(
    key: Array,
    space: Space,
    coefficients: Any,
    initial: Any,
    init: Any,
    evaluate_fn: EvaluateFn,
    config: Any,
) -> Any:
    return init(fold_in(key, 0), evaluate_fn, space, config, coefficients, initial)


@partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _run_chunk(
    key: Array,
    state: Any,
    space: Space,
    coefficients: Any,
    step: Any,
    evaluate_fn: EvaluateFn,
    config: Any,
    num_steps: int,
) -> tuple[Any, Array]:
    def advance(state: Any, _: None) -> tuple[Any, Array]:
        # generation 0 is the initial swarm, so this step makes number generation + 1
        new_key = fold_in(key, state.generation + 1)
        state, info = step(new_key, state, evaluate_fn, space, config, coefficients)
        return state, info.best_loss

    return lax.scan(advance, state, None, length=num_steps)
