"""What every step method promises, checked over the registry."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from diffmig.optimize import (
    METHODS,
    STATUS,
    Method,
    Space,
    base,
    begin,
    best_of,
    finish,
    per_member,
    run,
    run_chunk,
)

UNBOUNDED = {"swarm-literal", "bat-literal"}
STEPS = 30


def quick(method: Method) -> Method:
    """L-BFGS with a short memory: its loop over pairs is unrolled, and the time is compilation."""
    if method.name != "lbfgs":
        return method
    return method._replace(config=dataclasses.replace(method.config, memory=3))


every_method = pytest.mark.parametrize("method", [quick(m) for m in METHODS.values()], ids=METHODS)


def mixed_space(dtype=jnp.float64) -> Space:
    """Two real genes and one integer one, in a tree with two leaves."""
    low = {"weights": jnp.array([-3.0, -1.0], dtype), "units": jnp.asarray(1, dtype)}
    high = {"weights": jnp.array([3.0, 4.0], dtype), "units": jnp.asarray(9, dtype)}
    return Space(low, high, {"weights": False, "units": True})


def mixed_loss(candidate):
    """Minimum 0 at weights (0.7, 2.2), units 4."""
    target = jnp.array([0.7, 2.2], candidate["weights"].dtype)
    return jnp.sum((candidate["weights"] - target) ** 2) + 0.5 * jnp.abs(candidate["units"] - 4.0)


EVALUATE = per_member(mixed_loss)


def assert_same_bits(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@every_method
def test_best_never_rises_and_is_the_loss_of_the_candidate(key, method):
    result = run(key, method, EVALUATE, mixed_space(), STEPS)
    assert result.history.shape == (STEPS,)
    assert np.all(np.diff(result.history) <= 0)
    assert result.history[-1] == result.loss
    np.testing.assert_allclose(mixed_loss(result.candidate), result.loss, rtol=1e-12)
    assert STATUS[int(result.status)] in ("converged", "step limit reached")
    assert bool(result.converged) == (STATUS[int(result.status)] == "converged")
    everything = (STEPS + 1) * method.config.num_members
    if method.name in (
        "genetic-literal",
        "lbfgs",
    ):  # untouched and converged members are not counted
        assert method.config.num_members < int(result.num_evaluations) < everything
    else:
        assert int(result.num_evaluations) == everything


@every_method
def test_same_key_same_bits_in_any_chunks(key, method):
    space = mixed_space()
    whole = run(key, method, EVALUATE, space, STEPS)
    assert_same_bits(whole, run(key, method, EVALUATE, space, STEPS))
    state, parts = begin(key, method, EVALUATE, space), []
    for num_steps in (10, 10, 10):
        state, history = run_chunk(key, state, method, EVALUATE, space, num_steps)
        parts.append(history)
        state = jax.tree.map(lambda x: jnp.asarray(np.array(x)), state)  # as a checkpoint would
    assert int(state.generation) == STEPS
    assert_same_bits(whole, finish(state, jnp.concatenate(parts), method, space))
    other = run(jax.random.key(99), method, EVALUATE, space, STEPS)
    assert float(other.history[0]) != float(whole.history[0])


def test_unequal_chunks(key):
    """10 + 20 is 30, bit for bit, also where the inertia follows a schedule."""
    method = METHODS["swarm-inertia"]
    coefficients = method.coefficients._replace(inertia=0.9, final_inertia=0.4, schedule_steps=25)
    args = (method, EVALUATE, mixed_space())
    state = begin(key, *args, coefficients=coefficients)
    state, first = run_chunk(key, state, *args, 10, coefficients=coefficients)
    state, second = run_chunk(key, state, *args, 20, coefficients=coefficients)
    whole = run(key, *args, STEPS, coefficients=coefficients)
    assert_same_bits(whole, finish(state, jnp.concatenate([first, second]), method, mixed_space()))


def distance(target, key, swarm):
    return jnp.sum((swarm - jnp.broadcast_to(target, swarm.shape)) ** 2, axis=1)


@every_method
def test_restarts_under_vmap_equal_a_loop(key, method):
    keys = jax.random.split(key, 3)
    together = jax.vmap(lambda k: run(k, method, EVALUATE, mixed_space(), STEPS))(keys)
    loop = [run(k, method, EVALUATE, mixed_space(), STEPS) for k in keys]
    np.testing.assert_allclose(together.history, [r.history for r in loop], rtol=1e-6, atol=1e-10)
    best = best_of(together)
    assert best.candidate["weights"].shape == (2,)
    assert float(best.loss) == float(jnp.min(together.loss))


@pytest.mark.parametrize("name", ["swarm-inertia", "genetic-standard", "lbfgs"])
def test_problems_may_differ_under_vmap(key, name):
    """One program, many places: bounds and the data inside the loss are batched."""

    @jax.jit
    def solve(target, width):
        space = Space(jnp.full(2, -1.0) * width, jnp.full(2, 1.0) * width)
        return run(key, quick(METHODS[name]), partial(distance, target), space, 15).history

    targets = jnp.array([[0.2, 0.1], [3.0, -2.0], [0.5, 0.5]])
    widths = jnp.array([1.0, 5.0, 2.0])
    loop = [solve(*args) for args in zip(targets, widths, strict=True)]
    np.testing.assert_allclose(jax.vmap(solve)(targets, widths), loop, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("name", ["swarm-inertia", "genetic-standard", "random-search"])
def test_step_runs_in_a_callers_scan(key, name):
    """init and step are plain pure functions: a user's own jitted scan gives the path of run."""
    space, method = mixed_space(), METHODS[name]

    @jax.jit
    def search(key):
        args = (EVALUATE, space, method.config, method.coefficients)
        state = method.init(jax.random.fold_in(key, 0), *args)

        def advance(state, generation):
            return method.step(jax.random.fold_in(key, generation), state, *args)

        return lax.scan(advance, state, jnp.arange(1, STEPS + 1))

    state, info = search(key)
    result = run(key, method, EVALUATE, space, STEPS)
    np.testing.assert_allclose(info.best_loss, result.history, rtol=1e-6, atol=1e-10)
    assert np.all(info.mean_loss >= info.best_loss[-1])
    assert np.all(info.spread >= 0)
    assert int(state.num_evaluations) == int(result.num_evaluations)


def cracked_loss(candidate):
    """NaN where weights[0] < 0.5, -inf where weights[1] > 3, else the mixed loss."""
    loss = jnp.where(candidate["weights"][0] < 0.5, jnp.nan, mixed_loss(candidate))
    return jnp.where(candidate["weights"][1] > 3.0, -jnp.inf, loss)


def all_nan(key, swarm):
    return jnp.sum(swarm["weights"], axis=1) * jnp.nan


@every_method
def test_nan_and_infinity_lose(key, method):
    space, evaluate_fn = mixed_space(), per_member(cracked_loss)
    state = begin(key, method, evaluate_fn, space)
    state, history = run_chunk(key, state, method, evaluate_fn, space, STEPS)
    result = finish(state, history, method, space)
    assert not np.any(np.isnan(state.loss))
    assert np.isfinite(result.loss)
    assert result.candidate["weights"][0] >= 0.5
    assert result.candidate["weights"][1] <= 3.0


@pytest.mark.parametrize("name", ["bat-yang2020", "lbfgs", "random-search"])
def test_nothing_finite_is_a_status(key, name):
    method, space = quick(METHODS[name]), mixed_space()
    nothing = finish(begin(key, method, all_nan, space), jnp.zeros(0), method, space)
    assert STATUS[int(nothing.status)] == "no finite loss found"
    assert not bool(nothing.converged)
    assert np.isposinf(nothing.loss)


@every_method
def test_bounds_integers_dtype_and_initial_members(key, method):
    """In float32: the answer given at the start is kept; all evaluated points lie in the space."""
    space, seen = mixed_space(jnp.float32), []
    answer = {"weights": jnp.array([[2.0, 1.0], [0.7, 2.2]]), "units": jnp.array([7.0, 4.0])}

    def watched(key, swarm):
        jax.debug.callback(seen.append, swarm)
        return EVALUATE(key, swarm)

    state = begin(key, method, watched, space, initial=answer)
    state, history = run_chunk(key, state, method, watched, space, 10)
    result = finish(state, history, method, space)
    jax.effects_barrier()
    np.testing.assert_allclose(history, 0.0, atol=1e-12)
    np.testing.assert_allclose(result.candidate["weights"], [0.7, 2.2], rtol=1e-6)

    assert state.swarm.shape == (method.config.num_members, 3)
    for name, leaf in zip(state._fields, state, strict=True):
        assert isinstance(leaf, jax.Array), name
        assert leaf.dtype in (jnp.float32, jnp.int32, jnp.bool_), name
        if name not in ("best", "best_loss", "generation", "num_evaluations"):
            assert leaf.shape[0] == method.config.num_members, name
    assert {leaf.dtype.name for leaf in jax.tree.leaves(result.candidate)} == {"float32"}
    assert jax.tree.structure(result.candidate) == jax.tree.structure(space.low)

    units = np.concatenate([s["units"] for s in seen])
    weights = np.concatenate([s["weights"] for s in seen])
    assert len(units) == 11 * method.config.num_members
    np.testing.assert_array_equal(units, np.round(units))
    if method.name not in UNBOUNDED:
        assert np.all((units >= 1) & (units <= 9))
        assert np.all((weights >= [-3, -1]) & (weights <= [3, 4]))


@pytest.mark.parametrize(
    ("name", "field", "values"),
    [
        ("swarm-inertia", "social", [0.5, 1.5]),
        ("bat-yang2020", "walk", [0.1, 0.5]),
        ("genetic-standard", "crossover_probability", [0.1, 0.9]),
    ],
)
def test_settings_may_be_batched(key, name, field, values):
    """One compiled program for a grid of coefficients, equal to the runs one by one."""
    method = METHODS[name]

    def solve(value):
        coefficients = method.coefficients._replace(**{field: value})
        args = (key, method, EVALUATE, mixed_space(), STEPS)
        return run(*args, coefficients=coefficients).history

    together = jax.vmap(solve)(jnp.array(values))
    one_by_one = [solve(v) for v in values]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-6, atol=1e-10)
    assert not np.array_equal(together[0], together[1])


def test_equal_evaluations_do_not_recompile(key):
    method, space = METHODS["random-search"], mixed_space()
    run(key, method, per_member(mixed_loss), space, STEPS)
    before = base._run_chunk._cache_size()
    run(jax.random.key(5), method, per_member(mixed_loss), space, STEPS)
    assert base._run_chunk._cache_size() == before


def test_wrong_arguments_raise(key):
    space, swarm = mixed_space(), METHODS["swarm-inertia"]
    with pytest.raises(ValueError, match="losses of shape"):
        run(key, swarm, lambda key, s: jnp.sum(s["weights"]), space, 1)
    with pytest.raises(ValueError, match="config"):
        run(key, swarm, EVALUATE, space, 1, config=METHODS["lbfgs"].config)
    with pytest.raises(ValueError, match="coefficients"):
        run(key, swarm, EVALUATE, space, 1, coefficients=METHODS["lbfgs"].coefficients)
    with pytest.raises(ValueError, match="initial"):
        run(key, swarm, EVALUATE, space, 1, initial={"weights": jnp.zeros((1, 2))})
    many = {"weights": jnp.zeros((41, 2)), "units": jnp.ones(41)}
    with pytest.raises(ValueError, match="at most 40 members"):
        run(key, swarm, EVALUATE, space, 1, initial=many)


def test_registry_names_are_the_methods_own():
    assert all(name == method.name for name, method in METHODS.items())
