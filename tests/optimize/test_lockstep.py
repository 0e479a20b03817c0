"""The inner program of L-BFGS: both layouts, and runs that end by themselves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from diffmig.optimize import (
    METHODS,
    STATUS,
    LbfgsCoefficients,
    LbfgsConfig,
    Space,
    begin,
    lockstep,
    member_status,
    minimise_from,
    minimise_in_lanes,
    per_member,
    run_chunk,
)
from tests.cases import rosenbrock

SHIFT = jnp.array([0.5, -0.7, 1.2])
STARTS = jax.random.uniform(jax.random.key(2), (12, 3), minval=-2.0, maxval=2.0)
CONFIG = LbfgsConfig(num_members=12, bounded=False, memory=3)


def valley(x):
    return rosenbrock(x, SHIFT)


@partial(jax.jit, static_argnames=("members_last", "num_steps"))
def path(starts, members_last, num_steps):
    """Losses [step, member] of all members with the member axis first or last."""
    axis = -1 if members_last else 0
    evaluate = jax.vmap(jax.value_and_grad(valley), in_axes=axis, out_axes=(0, axis))
    settings = {"members_last": members_last}

    def advance(state, _):
        active, trial = lockstep.propose(state, CONFIG.tolerance, **settings)
        loss, gradient = evaluate(trial)
        state, _ = lockstep.judge(
            state, active, trial, loss, gradient, CONFIG.max_backtracks, LbfgsCoefficients(),
            **settings,
        )  # fmt: skip
        return state, state.loss

    point = starts.T if members_last else starts
    state = lockstep.begin_unevaluated(point, CONFIG.memory, CONFIG.tolerance, **settings)
    return lax.scan(advance, state, None, length=num_steps)


def test_members_first_and_last_take_the_same_path(key):
    first, losses = path(STARTS, False, 20)
    last, same = path(STARTS, True, 20)
    np.testing.assert_allclose(same, losses, rtol=1e-9)
    assert first.steps.shape == (12, 3, 3)
    assert last.steps.shape == (3, 3, 12)
    assert np.all(np.diff(losses, axis=0) <= 0.0)
    # one step later than the method, which evaluates its starts before the first step
    space = Space(jnp.full(3, -2.0), jnp.full(3, 2.0))
    args = (METHODS["lbfgs"], per_member(valley), space)
    state = begin(key, *args, config=CONFIG, initial=STARTS)
    np.testing.assert_allclose(losses[0], state.loss, rtol=1e-12)
    state, _ = run_chunk(key, state, *args, 19, config=CONFIG)
    np.testing.assert_allclose(losses[19], state.loss, rtol=1e-9)


def test_runs_from_given_starts_end_by_themselves():
    """Converged members wait; one without a finite loss does not keep the others going."""

    def cliff(x):
        return jnp.where(x["a"] > 1.9, jnp.nan, valley(jnp.stack([x["a"], *x["b"]])))

    starts = {"a": STARTS[:, 0].at[4].set(1.95), "b": STARTS[:, 1:]}

    @jax.jit
    def search(starts, max_steps):
        return minimise_from(starts, per_member(cliff), max_steps, CONFIG)

    state = search(starts, 500)
    words = [STATUS[code] for code in member_status(state, CONFIG)]
    assert words == ["no finite loss found" if n == 4 else "converged" for n in range(12)]
    assert int(state.generation) < 200
    others = np.arange(12) != 4
    np.testing.assert_allclose(state.point[others], np.tile(SHIFT, (11, 1)), atol=1e-4)
    assert float(state.best_loss) == float(jnp.min(state.loss))
    few = search(starts, 7)
    assert int(few.generation) == 7
    assert "step limit reached" in {STATUS[code] for code in member_status(few, CONFIG)}


# --- lanes ----------------------------------------------------------------------------------------

TASKS = jax.random.uniform(jax.random.key(3), (24, 3), minval=-2.0, maxval=2.0)
SHIFTS = jnp.linspace(-0.5, 0.5, 24)


def shifted(x, shift):
    """Infinite for the first task; minimum 0 at the shift for the others."""
    return jnp.where(shift == SHIFTS[0], jnp.inf, rosenbrock(x, jnp.full(3, shift)))


def evaluate(points, shift):
    loss, gradient = jax.vmap(jax.value_and_grad(shifted), (-1, 0), (0, -1))(points, shift)
    return loss, gradient, jnp.sum((points - 1.0) ** 2, axis=0)


@partial(jax.jit, static_argnames=("num_lanes", "by_score"))
def in_lanes(order, num_lanes, max_tries, by_score=False):
    return minimise_in_lanes(
        TASKS[order], SHIFTS[order], evaluate, num_lanes=num_lanes, max_tries=max_tries,
        config=CONFIG, by_score=by_score,
    )  # fmt: skip


def test_tasks_find_their_minimum_in_any_lane_and_order():
    order = jnp.arange(24)
    found = in_lanes(order, 5, 400)
    words = [STATUS[code] for code in found.status]
    assert words == ["no finite loss found"] + ["converged"] * 23
    np.testing.assert_allclose(found.point[1:], np.tile(SHIFTS[1:, None], 3), atol=1e-4)
    np.testing.assert_array_equal(found.point[0], TASKS[0])
    assert np.all(np.asarray(found.num_tries) % 10 == 0)
    assert found.num_tries[0] == 10 < found.num_tries.max() < 400
    for num_lanes, back in ((40, order), (5, order[::-1])):
        again = in_lanes(back, num_lanes, 400)
        np.testing.assert_array_equal(again.status[back], found.status)
        np.testing.assert_allclose(again.point[back], found.point, rtol=1e-5, atol=1e-5)
    few = in_lanes(order, 5, 11)
    assert {int(tries) for tries in few.num_tries} == {10, 20}
    assert "step limit reached" in {STATUS[code] for code in few.status}


def test_the_least_score_on_the_way_is_kept():
    """Recomputed from all accepted points of the same tasks, recorded step by step."""
    order = jnp.arange(24)
    found = in_lanes(order, 24, 60, by_score=True)
    last = in_lanes(order, 24, 60)

    @jax.jit
    def points(start):
        def advance(state, _):
            active, trial = lockstep.propose(state, CONFIG.tolerance, members_last=True)
            loss, gradient, _ = evaluate(trial, SHIFTS)
            state, _ = lockstep.judge(
                state, active, trial, loss, gradient, CONFIG.max_backtracks, LbfgsCoefficients(),
                members_last=True,
            )  # fmt: skip
            return state, state.point

        state = lockstep.begin_unevaluated(
            start.T, CONFIG.memory, CONFIG.tolerance, members_last=True
        )
        return lax.scan(advance, state, None, length=60)[1]

    scores = np.sum((np.asarray(points(TASKS)) - 1.0) ** 2, axis=1).min(axis=0)
    np.testing.assert_allclose(np.sum((found.point - 1.0) ** 2, axis=1), scores, rtol=1e-6)
    assert np.mean(np.sum((last.point - 1.0) ** 2, axis=1) > 1.01 * scores) > 0.3
    np.testing.assert_allclose(found.loss, last.loss, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("wrong", [{"num_lanes": 0}, {"starts": TASKS[0]}, {"starts": TASKS[:0]}])
def test_no_tasks_or_lanes_raise(wrong):
    given = {"starts": TASKS, "num_lanes": 4, "max_tries": 10} | wrong
    with pytest.raises(ValueError, match="expected starts"):
        minimise_in_lanes(given.pop("starts"), SHIFTS, evaluate, config=CONFIG, **given)
