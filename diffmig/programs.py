"""Pure functions that run as one compiled program each, wherever they are called from."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import jax
import numpy as np

Fn = TypeVar("Fn", bound=Callable[..., Any])


def one_program(*static: str) -> Callable[[Fn], Fn]:
    """Decorator: the function runs as one compiled program, also outside of any other.

    Called without it every operation is a program of its own for every shape: a page of formulas
    makes a hundred of them and takes seconds before it gives a number.

    Args:
        static: names of the arguments that are Python values: counts, choices, functions.

    Returns:
        The decorator. Lists and tuples of numbers become arrays first.

    Notes:
        For public functions that look at shapes and never at values: checks of values belong before
        the call.
    """

    def decorate(fn: Fn) -> Fn:
        program = jax.jit(fn, static_argnames=static)

        @wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            named = {k: v if k in static else _host_numbers(v) for k, v in kwargs.items()}
            return program(*map(_host_numbers, args), **named)

        return cast(Fn, call)

    return decorate


def as_array(value: Any) -> jax.Array:
    """`jnp.asarray(value)` without a program for every shape that comes from the host."""
    return value if isinstance(value, jax.Array) else jax.device_put(np.asarray(value))


def _host_numbers(value: Any) -> Any:
    return np.asarray(value) if type(value) in (list, tuple) else value
