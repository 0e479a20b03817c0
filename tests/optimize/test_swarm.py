"""Particle swarm against a plain loop, and the defect of the printed constants."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.optimize import (
    METHODS,
    Space,
    SwarmCoefficients,
    SwarmConfig,
    begin,
    constriction_coefficients,
    printed_coefficients,
    run_chunk,
)
from diffmig.random import uniform_pair

SPACE = Space(jnp.full(3, -4.0), jnp.full(3, 4.0))
OPTIMUM = np.array([0.3, -1.2, 2.0])


def loss(key, swarm):
    return jnp.sum((swarm - jnp.broadcast_to(jnp.asarray(OPTIMUM), swarm.shape)) ** 2, axis=1)


def flat(key, swarm):
    """The first evaluation decides the bests for ever: later losses are never lower."""
    return jnp.zeros(swarm.shape[0])


def trajectory(key, method, evaluate_fn, num_steps, **kwargs):
    state = begin(key, method, evaluate_fn, SPACE, **kwargs)
    states = [state]
    for _ in range(num_steps):
        state, _ = run_chunk(key, state, method, evaluate_fn, SPACE, 1, **kwargs)
        states.append(state)
    return states


@pytest.mark.parametrize("boundary", ["absorb", "reflect", "clip"])
def test_step_equals_a_plain_loop(key, boundary):
    """NumPy, particle by particle: velocity, clamp, move, boundary, bests after the generation."""
    method = METHODS["swarm-inertia"]
    config = SwarmConfig(num_members=5, velocity_clamp=0.3, boundary=boundary)
    numbers = SwarmCoefficients(0.9, 0.5, 4.0, 1.7, 1.3)
    states = trajectory(key, method, loss, 6, config=config, coefficients=numbers)
    x, v = np.array(states[0].swarm), np.array(states[0].velocity)
    p, p_loss, crossings = x.copy(), np.array(states[0].loss), 0
    for generation in range(6):
        g = p[np.argmin(p_loss)].copy()
        draw = jax.random.fold_in(key, generation + 1)
        r1, r2 = (np.array(r) for r in uniform_pair(draw, (5, 3), jnp.float64))
        w = 0.9 - 0.4 * min(generation / 4, 1)
        for i in range(5):
            v[i] = w * v[i] + 1.7 * r1[i] * (p[i] - x[i]) + 1.3 * r2[i] * (g - x[i])
            v[i] = np.clip(v[i], -0.3 * 8, 0.3 * 8)
            x[i] = x[i] + v[i]
            outside = np.abs(x[i]) > 4
            crossings += outside.sum()
            if boundary == "reflect":
                x[i] = np.where(outside, np.sign(x[i]) * 8 - x[i], x[i])
                v[i] = np.where(outside, -v[i], v[i])
            elif boundary == "absorb":
                v[i][outside] = 0.0
            x[i] = np.clip(x[i], -4, 4)
            new_loss = np.sum((x[i] - OPTIMUM) ** 2)
            if new_loss < p_loss[i]:
                p[i], p_loss[i] = x[i], new_loss
        np.testing.assert_allclose(states[generation + 1].swarm, x, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(states[generation + 1].own_best, p, rtol=1e-12, atol=1e-12)
    assert crossings > 0


def test_printed_constants_visit_the_same_three_points_for_ever(key):
    states = trajectory(key, METHODS["swarm-literal"], flat, 12)
    swarms = np.stack([s.swarm for s in states])
    np.testing.assert_allclose(swarms[3:], swarms[:-3], atol=1e-9)
    assert np.abs(swarms[1] - swarms[0]).max() > 0.5
    # the printed weights make the cycle, not the code: half of one weight breaks it
    other = printed_coefficients(beta2=0.25)
    swarms = np.stack(
        [s.swarm for s in trajectory(key, METHODS["swarm-literal"], flat, 6, coefficients=other)]
    )
    assert np.abs(swarms[3:] - swarms[:-3]).max() > 0.5


def test_printed_map_has_third_roots_of_unity_as_eigenvalues():
    w, _, _, cognitive, social = printed_coefficients()
    step = np.array([[w, -(cognitive + social)], [w, 1 - (cognitive + social)]])
    np.testing.assert_allclose(np.linalg.matrix_power(step, 3), np.eye(2), atol=1e-12)


def test_constriction_formula():
    chi, _, _, cognitive, social = constriction_coefficients()
    np.testing.assert_allclose([chi, cognitive, social], [0.72984, 1.49618, 1.49618], atol=5e-6)
    chi, _, _, cognitive, social = constriction_coefficients(3.0, 2.0, 0.5)
    np.testing.assert_allclose(chi, 1.0 / (3.0 + np.sqrt(5.0)))
    np.testing.assert_allclose([cognitive, social], [3 * chi, 2 * chi])
    batched = jax.vmap(lambda c: constriction_coefficients(c, 2.05))(jnp.array([2.05, 1.0]))
    np.testing.assert_allclose(batched.inertia[0], 0.72984, atol=5e-6)
    assert np.isnan(batched.inertia[1])


@pytest.mark.parametrize("pull", [2.0, 1.0, jnp.asarray(2.0)])
def test_constriction_needs_phi_above_four(pull):
    with pytest.raises(ValueError, match="cognitive \\+ social > 4"):
        constriction_coefficients(pull, 2.0)


def test_velocity_clamp_and_no_clamp(key):
    method = METHODS["swarm-inertia"]
    wild = SwarmCoefficients(1.0, 1.0, 1.0, 2.0, 2.0)
    for clamp in (0.2, None):
        config = dataclasses.replace(method.config, velocity_clamp=clamp, boundary="none")
        state = begin(key, method, loss, SPACE, config=config, coefficients=wild)
        state, _ = run_chunk(key, state, method, loss, SPACE, 60, config=config, coefficients=wild)
        fastest = float(jnp.max(jnp.abs(state.velocity)))
        # without inertia below one or a clamp the mean square grows by 1.387 a step
        assert fastest == pytest.approx(1.6) if clamp else fastest > 1e3


def test_random_weights_leave_the_span_of_the_swarm(key):
    """Numbers per gene: two particles at rest reach points off the line between them."""
    space = Space(jnp.full(6, -4.0), jnp.full(6, 4.0))
    method = METHODS["swarm-inertia"]
    config = dataclasses.replace(method.config, num_members=2, initial_speed=0.0)

    def far(key, swarm):
        return jnp.sum((swarm - 1.0) ** 2, axis=1)

    start = begin(key, method, far, space, config=config)
    state, _ = run_chunk(key, start, method, far, space, 20, config=config)
    line = start.swarm[1] - start.swarm[0]
    offset = state.best - start.swarm[0]
    off_line = offset - line * jnp.dot(offset, line) / jnp.dot(line, line)
    assert float(jnp.linalg.norm(off_line)) > 0.1


@pytest.mark.parametrize(
    "choice", [{"boundary": "bounce"}, {"num_members": 0}, {"velocity_clamp": 0.0}]
)
def test_wrong_choices_raise(choice):
    with pytest.raises(ValueError, match="expected"):
        SwarmConfig(**choice)
