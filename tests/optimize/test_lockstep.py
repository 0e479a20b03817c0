"""The inner program of L-BFGS: both layouts, and runs that end by themselves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
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
