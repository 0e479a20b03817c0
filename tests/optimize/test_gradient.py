"""L-BFGS in lockstep and BFGS of jax.scipy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from diffmig.optimize import (
    METHODS,
    STATUS,
    LbfgsConfig,
    Space,
    begin,
    best_of,
    member_status,
    per_member,
    run,
    run_chunk,
    solve_bfgs,
)
from tests.cases import rosenbrock

LBFGS = METHODS["lbfgs"]
SHIFT = jnp.array([0.5, -0.7, 1.2, 0.1])
SPACE = Space(jnp.full(4, -2.0), jnp.full(4, 2.0))


def valley(x):
    return rosenbrock(x, SHIFT)


STARTS = jax.random.uniform(jax.random.key(1), (24, 4), minval=-2.0, maxval=2.0)


@pytest.mark.parametrize("bounded", [True, False])
def test_lockstep_lbfgs_finds_the_minima_that_scipy_finds(key, bounded):
    config = LbfgsConfig(num_members=24, bounded=bounded, memory=5)
    state = begin(key, LBFGS, per_member(valley), SPACE, config=config, initial=STARTS)
    state, _ = run_chunk(key, state, LBFGS, per_member(valley), SPACE, 300, config=config)
    status = member_status(state, config)
    assert np.mean(status == 0) > 0.9
    # from four dimensions on there are two minima, with losses 0 and 3.70; the box adds more
    loss = np.asarray(state.loss)
    reached = np.isclose(loss, 0, atol=1e-8) | np.isclose(loss, 3.7014, atol=1e-3)
    assert np.mean(reached) >= (0.9 if bounded else 1.0)
    exact = scipy.optimize.minimize(valley, STARTS[0], jac=jax.grad(valley), method="L-BFGS-B")
    assert float(state.best_loss) <= exact.fun + 1e-8
    np.testing.assert_allclose(state.best, SHIFT, atol=1e-4)


def test_quadratic_takes_few_steps_and_never_rises(key):
    """Convex, condition number 100: 45 tries are enough, and no accepted loss is higher."""
    scale = jnp.array([1.0, 10.0, 100.0, 3.0])

    def bowl(x):
        return jnp.sum(scale * (x - SHIFT) ** 2)

    config = LbfgsConfig(num_members=5, bounded=False, tolerance=1e-8)
    state = begin(key, LBFGS, per_member(bowl), SPACE, config=config)
    for _ in range(45):
        before = state.loss
        state, _ = run_chunk(key, state, LBFGS, per_member(bowl), SPACE, 1, config=config)
        assert np.all(state.loss <= before)
    assert np.all(member_status(state, config) == 0)
    np.testing.assert_allclose(state.swarm, np.tile(SHIFT, (5, 1)), atol=1e-7)


def test_a_minimum_outside_the_box_is_met_at_the_bound(key):
    def slope(x):
        return jnp.sum((x - 3.0) ** 2)

    result = run(key, LBFGS, per_member(slope), SPACE, 200)
    np.testing.assert_allclose(result.candidate, 2.0, atol=1e-3)
    assert np.all(np.asarray(result.candidate) <= 2.0)
    free = dataclasses.replace(LBFGS.config, bounded=False)
    result = run(key, LBFGS, per_member(slope), SPACE, 200, config=free)
    np.testing.assert_allclose(result.candidate, 3.0, atol=1e-5)
    assert bool(result.converged)


def test_members_do_not_disturb_each_other(key):
    """A member with a bad start changes nothing for the others."""

    def cliff(x):
        return jnp.where(x[0] > 1.9, jnp.nan, valley(x))

    bad = STARTS[:5].at[2, 0].set(1.95)
    config = LbfgsConfig(num_members=5, bounded=False, memory=5)
    losses = []
    for starts in (bad, STARTS[:5]):
        state = begin(key, LBFGS, per_member(cliff), SPACE, config=config, initial=starts)
        state, _ = run_chunk(key, state, LBFGS, per_member(cliff), SPACE, 60, config=config)
        losses.append(np.asarray(state.loss))
    others = np.array([0, 1, 3, 4])
    np.testing.assert_allclose(losses[0][others], losses[1][others], rtol=1e-9, atol=1e-12)
    assert np.isposinf(losses[0][2])


def test_a_loss_with_a_wrong_gradient_stops_with_a_status(key):
    """Straight-through gradient of the wrong sign: no step length decreases the loss."""

    @jax.custom_vjp
    def liar(x):
        return jnp.sum(x**2)

    liar.defvjp(lambda x: (liar(x), x), lambda x, g: (-2.0 * g * x,))
    config = LbfgsConfig(num_members=2, bounded=False, max_backtracks=5)
    result = run(key, LBFGS, per_member(liar), SPACE, 40, config=config)
    assert STATUS[int(result.status)] == "line search failed"
    assert not bool(result.converged)


def test_bfgs_converges_from_every_start_with_the_fallback():
    alone = solve_bfgs(valley, STARTS, fallback_steps=0)
    both = solve_bfgs(valley, STARTS)
    words = {STATUS[int(code)] for code in alone.status}
    assert words <= {"converged", "line search failed", "step limit reached"}
    assert "line search failed" in words, "no failure: the fallback may no longer be needed"
    assert np.all(both.converged)
    failed = np.array([STATUS[int(code)] == "line search failed" for code in alone.status])
    rescued = [STATUS[int(code)] for code in both.status[failed]]
    assert set(rescued) == {"line search failed, then L-BFGS converged"}
    np.testing.assert_allclose(both.loss[~failed], alone.loss[~failed], rtol=1e-12, atol=1e-12)
    assert np.all(both.num_evaluations[failed] > alone.num_evaluations[failed])
    assert np.all(both.loss <= both.history[:, 0])
    np.testing.assert_allclose(both.history[:, 1], both.loss)
    np.testing.assert_allclose(best_of(both).candidate, SHIFT, atol=1e-4)
    np.testing.assert_allclose([valley(x) for x in both.candidate], both.loss, atol=1e-12)


def test_bfgs_takes_trees_and_reports_a_hopeless_start():
    def loss(c):
        return jnp.where(c["a"] > 5.0, jnp.nan, (c["a"] - 1.0) ** 2 + jnp.sum((c["b"] + 2.0) ** 2))

    starts = {"a": jnp.array([0.0, 9.0]), "b": jnp.ones((2, 3))}
    result = solve_bfgs(loss, starts, fallback_steps=20)
    assert [STATUS[int(code)] for code in result.status] == ["converged", "no finite loss found"]
    np.testing.assert_allclose(result.candidate["b"][0], -2.0, atol=1e-5)
    assert float(best_of(result).loss) < 1e-9
    assert result.candidate["a"].shape == (2,)


def test_bfgs_step_limit():
    result = solve_bfgs(valley, STARTS[:1], max_iterations=1)
    assert STATUS[int(result.status[0])] == "step limit reached"
    assert not bool(result.converged[0])


@pytest.mark.parametrize(
    "starts",
    [
        {"a": jnp.zeros(2), "b": jnp.zeros((3, 2))},
        {"a": jnp.zeros(2), "b": jnp.zeros(2, jnp.float32)},
    ],
)
def test_wrong_starts_raise(starts):
    with pytest.raises(ValueError, match="starts"):
        solve_bfgs(lambda c: jnp.sum(c["a"]), starts)


@pytest.mark.parametrize("choice", [{"num_members": 0}, {"memory": 0}, {"margin": 0.5}])
def test_wrong_choices_raise(choice):
    with pytest.raises(ValueError, match="expected"):
        LbfgsConfig(**choice)
