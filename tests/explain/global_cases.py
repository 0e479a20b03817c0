"""Functions whose Sobol indices and derivative-based measures are known in closed form."""

import jax.numpy as jnp
import numpy as np

from diffmig.explain import InputBox

A, B = 7.0, 0.1  # of the Ishigami function
SLOPES = np.array([1.0, -2.0, 0.5])  # of the additive function, over the box below
SPREADS = np.array([0.9, 0.5, 0.2])  # of the product

# three inputs with names, one of them an array, on (-pi, pi)
BOX = InputBox(
    {"first": jnp.array(-jnp.pi), "rest": jnp.full(2, -jnp.pi)},
    {"first": jnp.array(jnp.pi), "rest": jnp.full(2, jnp.pi)},
)
UNIT = InputBox(*[{"x": jnp.full(3, end)} for end in (0.0, 1.0)])


def flat(inputs):
    return jnp.concatenate([inputs["first"][None], inputs["rest"]])


def ishigami(x):
    """sin x1 + a sin^2 x2 + b x3^4 sin x1; x [..., 3], NumPy or JAX."""
    lib = np if isinstance(x, np.ndarray) else jnp
    x1, x2, x3 = (x[..., k] for k in range(3))
    return lib.sin(x1) + A * lib.sin(x2) ** 2 + B * x3**4 * lib.sin(x1)


def three_outputs(inputs):
    """Ishigami, additive, constant."""
    x = flat(inputs)
    return jnp.stack([ishigami(x), jnp.sum(jnp.asarray(SLOPES) * x), 0.0 * x[0] + 3.7])


def product(inputs):
    """prod (1 + c_i (2 u_i - 1))."""
    return jnp.prod(1.0 + jnp.asarray(SPREADS) * (2.0 * inputs["x"] - 1.0))


VARIANCE = A**2 / 8 + B * np.pi**4 / 5 + B**2 * np.pi**8 / 18 + 0.5
_ALONE = np.array([0.5 * (1 + B * np.pi**4 / 5) ** 2, A**2 / 8, 0.0])
_PAIR = B**2 * np.pi**8 * (1 / 18 - 1 / 50)  # of x1 and x3
ISHIGAMI_FIRST = _ALONE / VARIANCE
ISHIGAMI_TOTAL = (_ALONE + np.array([_PAIR, 0.0, _PAIR])) / VARIANCE
ISHIGAMI_PAIR = _PAIR / VARIANCE
ISHIGAMI_SQUARES = np.array(
    [
        0.5 * (1 + 2 * B * np.pi**4 / 5 + B**2 * np.pi**8 / 9),
        A**2 / 2,
        8 * B**2 * np.pi**6 / 7,
    ]
)
ADDITIVE = SLOPES**2 / np.sum(SLOPES**2)

_PARTS = SPREADS**2 / 3
PRODUCT_VARIANCE = np.prod(1 + _PARTS) - 1
PRODUCT_FIRST = _PARTS / PRODUCT_VARIANCE
PRODUCT_TOTAL = _PARTS * np.prod(1 + _PARTS) / (1 + _PARTS) / PRODUCT_VARIANCE
PRODUCT_PAIRS = np.outer(_PARTS, _PARTS) / PRODUCT_VARIANCE


def on_two_devices(code: str) -> str:
    """Python text whose program prints "equal" if `code` does the same on one and on two devices.

    `code` defines results_fn(mesh) -> pytree.
    """
    return f"""
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from diffmig import explain
from diffmig.batching import batch_mesh
assert len(jax.devices()) == 2
{code}
one, two = (jax.tree.leaves(results_fn(mesh)) for mesh in (None, batch_mesh()))
for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
print("equal", len(one))
"""
