"""Functions that run as one program: how many are compiled, and that nothing else changes."""

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.evaluate import linear_trend, mape
from diffmig.programs import as_array, one_program

COMPILED = "/jax/core/compile/backend_compile_duration"


def plain(x, power, shift=0.0):
    if x.ndim != 1:
        raise ValueError(f"x: expected [year], got {x.shape}")
    return jnp.sum(jnp.stack([(x + k) ** power for k in range(5)]), axis=0) + shift


together = one_program("power")(plain)


def compiled_by(call):
    seen = []

    def listen(event, duration, **kwargs):
        if event == COMPILED:
            seen.append(kwargs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.block_until_ready(call())
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return len(seen)


def test_one_program_is_one_program():
    x = np.linspace(1.0, 2.0, 23)  # a length that no other test has
    assert compiled_by(lambda: together(x, 3)) == 1
    assert compiled_by(lambda: together(x, 3)) == 0
    assert compiled_by(lambda: plain(jnp.asarray(x), 3)) > 5
    np.testing.assert_allclose(together(x, 3, shift=1.0), plain(x, 3) + 1.0, rtol=1e-14)


def test_lists_gradients_and_errors_are_those_of_the_function():
    np.testing.assert_allclose(together([1.0, 2.0], power=2), plain(np.array([1.0, 2.0]), 2))
    x = jnp.array([1.0, 2.0])
    got = jax.grad(lambda x: jnp.sum(together(x, 3)))(x)
    np.testing.assert_allclose(got, jax.grad(lambda x: jnp.sum(plain(x, 3)))(x))
    with pytest.raises(ValueError, match=r"x: expected \[year\], got \(1, 2\)"):
        together(x[None], 3)


def test_measures_and_baselines_are_one_program_each():
    actual = np.linspace(1.0, 2.0, 29)
    assert compiled_by(lambda: mape(actual, actual + 1.0)) == 1
    assert compiled_by(lambda: linear_trend(actual, 31)) == 1


def test_arrays_from_the_host_need_no_program():
    host = np.arange(37.0)
    assert compiled_by(lambda: as_array(host)) == 0
    np.testing.assert_array_equal(as_array(host), host)
    assert as_array(device := jnp.ones(3)) is device
