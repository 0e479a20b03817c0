"""Known answers, one table per family."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# --- optimize: test functions with a shifted minimum ------------------------------------------


class TestFunction(NamedTuple):
    """Loss of a point [dim] with minimum 0 at `optimum` [dim], searched in [-5, 5].

    The minimum is off the centre, so that a pull to the centre of the box does not help.
    Source: definitions as in BBOB (Hansen et al. 2009), without its rotations and distortions.
    """

    __test__ = False

    name: str
    loss_fn: Callable[[Array, Array], Array]


def sphere(x: Array, optimum: Array) -> Array:
    return jnp.sum((x - optimum) ** 2)


def rastrigin(x: Array, optimum: Array) -> Array:
    z = x - optimum
    return 10.0 * x.size + jnp.sum(z**2 - 10.0 * jnp.cos(2.0 * jnp.pi * z))


def rosenbrock(x: Array, optimum: Array) -> Array:
    z = x - optimum + 1.0
    return jnp.sum(100.0 * (z[1:] - z[:-1] ** 2) ** 2 + (1.0 - z[:-1]) ** 2)


def ackley(x: Array, optimum: Array) -> Array:
    z = x - optimum
    # the guard keeps the gradient finite at the optimum itself
    square = jnp.mean(z**2)
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    waves = jnp.exp(jnp.mean(jnp.cos(2.0 * jnp.pi * z)))
    return 20.0 + jnp.e - 20.0 * jnp.exp(-0.2 * root) - waves


TEST_FUNCTIONS = (
    TestFunction("sphere", sphere),
    TestFunction("rastrigin", rastrigin),
    TestFunction("rosenbrock", rosenbrock),
    TestFunction("ackley", ackley),
)


def random_optimum(key: Array, dim: int) -> Array:
    """Minimum of a test function, uniform in [-4, 4]^dim as in BBOB."""
    return jax.random.uniform(key, (dim,), minval=-4.0, maxval=4.0)


# --- smoothing: average wage of Kharkiv region, periods 15-24, UAH ----------------------------
# Source: Chagovets et al. 2020, CEUR-WS 2649, paper 6, table 1; forecasts of periods 15-25.

WAGE = (5893.0, 5848.0, 5945.0, 6468.0, 6449.0, 6224.0, 6660.0, 6593.0, 6634.0, 7447.0)
# fmt: off
PRINTED_SES = (5481.47, 5851.85, 5848.38, 5935.34, 6414.73, 6445.57, 6246.16, 6618.62, 6595.56,
               6630.16, 7365.3156)
PRINTED_HOLT = (5637.04, 6170.42, 5980.13, 6026.27, 6779.87, 6629.68, 6156.58, 6818.83, 6682.48,
                6675.20, 7892.407)
# fmt: on
WAGE_ERRORS = (3.915, 5.1)  # MAPE of the ten rows, percent: SES, Holt
WAGE_PRIOR = (5.39, 4.69)  # printed MAPE of the training rows
WAGE_HINDSIGHT = 3.347
