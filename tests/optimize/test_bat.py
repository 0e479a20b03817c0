"""Bat algorithm against plain loops of its sources, and the defect of the printed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.optimize import METHODS, BatConfig, Space, begin, run_chunk
from diffmig.random import to_normal, uniform_pair, uniform_rows

SPACE = Space(jnp.full(2, -4.0), jnp.full(2, 4.0))
OPTIMUM = np.array([0.3, -1.2])


def loss(key, swarm):
    return jnp.sum((swarm - jnp.broadcast_to(jnp.asarray(OPTIMUM), swarm.shape)) ** 2, axis=1)


def plain_loss(x):
    return float(np.sum((x - OPTIMUM) ** 2))


@pytest.mark.parametrize("name", ["bat-literal", "bat-yang2010", "bat-yang2020"])
@pytest.mark.parametrize("toward_best", [False, True])
def test_step_equals_a_plain_loop(key, name, toward_best):
    method = METHODS[name]
    config = dataclasses.replace(method.config, num_members=6, toward_best=toward_best)
    state = begin(key, method, loss, SPACE, config=config)
    c = method.coefficients
    x, v, f = np.array(state.swarm), np.zeros((6, 2)), np.array(state.loss)
    loudness, pulse = np.full(6, c.loudness), np.zeros(6)
    best, best_loss = x[np.argmin(f)].copy(), f.min()
    unit = 4.0 if config.relative_walk else 1.0
    accepted_moves = 0
    for t in range(1, 26):
        draw = jax.random.fold_in(key, t)
        beta, pulse_chance = (np.array(u) for u in uniform_rows(draw, 6, jnp.float64, stream=1))
        chance = np.array(uniform_rows(draw, 6, jnp.float64, stream=2)[0])
        r1, r2 = (np.array(u) for u in uniform_pair(draw, (6, 2), jnp.float64))
        normal = np.array(to_normal(jnp.asarray(r1), jnp.asarray(r2)))
        old_best, old_best_loss, mean_loudness = best.copy(), best_loss, loudness.mean()
        for i in range(6):
            frequency = c.min_frequency + (c.max_frequency - c.min_frequency) * beta[i]
            v[i] += (-1 if toward_best else 1) * frequency * (x[i] - old_best)
            new = x[i] + v[i]
            if name == "bat-yang2010" and pulse_chance[i] > pulse[i]:
                new = old_best + c.walk * unit * (2 * r1[i] - 1) * mean_loudness
            if name == "bat-yang2020" and pulse_chance[i] < pulse[i]:
                new = old_best + c.walk * unit * loudness[i] * normal[i]
            new = new if name == "bat-literal" else np.clip(new, -4, 4)
            new_loss = plain_loss(new)
            accepted = {
                "bat-literal": True,
                "bat-yang2010": chance[i] < loudness[i] and new_loss < old_best_loss,
                "bat-yang2020": chance[i] > loudness[i] and new_loss <= f[i],
            }[name]
            if accepted:
                x[i], f[i] = new, new_loss
                accepted_moves += 1
                if name == "bat-yang2010":
                    loudness[i] *= 0.9
                    pulse[i] = 1 - np.exp(-0.9 * t)
            if new_loss < best_loss:
                best, best_loss = new.copy(), new_loss
        if name == "bat-yang2020":
            loudness *= 0.97
            pulse[:] = 1 - np.exp(-0.1 * t)
        state, _ = run_chunk(key, state, method, loss, SPACE, 1, config=config)
        np.testing.assert_allclose(state.swarm, x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.best_loss, best_loss, rtol=1e-9)
    assert accepted_moves >= 3


def growth(key, toward_best, max_frequency):
    """Growth of the root mean square position per step of the printed form, best fixed at 0."""
    method = METHODS["bat-literal"]
    config = dataclasses.replace(method.config, num_members=2000, toward_best=toward_best)
    numbers = method.coefficients._replace(max_frequency=max_frequency)
    space = Space(jnp.full(1, -1.0), jnp.full(1, 1.0))
    start = jnp.zeros((1, 1))

    def at_zero(key, swarm):
        return jnp.abs(swarm[:, 0])

    state = begin(key, method, at_zero, space, config=config, coefficients=numbers, initial=start)
    sizes = []
    for _ in range(2):
        state, _ = run_chunk(
            key, state, method, at_zero, space, 20, config=config, coefficients=numbers
        )
        sizes.append(float(jnp.sqrt(jnp.mean(state.swarm**2))))
    assert float(state.best_loss) == 0.0
    return (sizes[1] / sizes[0]) ** (1 / 20)


def test_printed_sign_blows_up_by_two_per_step(key):
    assert growth(key, False, 1.0) == pytest.approx(2.0, abs=0.2)
    assert growth(key, False, 2.0) == pytest.approx(2.7, abs=0.3)


def test_the_other_sign_does_not_converge_either(key):
    """Mean square grows by about 1.10 a step in expectation; a finite sample still grows."""
    assert 1.0 < growth(key, True, 1.0) < 1.2


def test_relative_walk_is_absolute_in_a_box_of_half_width_one(key):
    method, space = METHODS["bat-yang2020"], Space(jnp.full(2, -1.0), jnp.full(2, 1.0))
    swarms = []
    for relative in (True, False):
        config = dataclasses.replace(method.config, relative_walk=relative)
        state = begin(key, method, loss, space, config=config)
        state, _ = run_chunk(key, state, method, loss, space, 10, config=config)
        swarms.append(state.swarm)
    np.testing.assert_array_equal(*swarms)


@pytest.mark.parametrize("choice", [{"variant": "yang"}, {"boundary": "x"}, {"num_members": 0}])
def test_wrong_choices_raise(choice):
    with pytest.raises(ValueError, match="expected"):
        BatConfig(**choice)
