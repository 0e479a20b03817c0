"""How many members of a batch may run side by side on a CPU device without waiting for threads that
all devices share.

jaxlib (0.10) hands a batch of decompositions that is worth it to XLA's threads. It does so from one
of these threads, which then waits for the others: with two devices on two cores both may wait, and
then nothing is left that could end it. Smaller batches are computed where they are.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jax.sharding import Mesh

SHARED_OUT = 200_000  # operations of a batch, as jaxlib counts them
_LEAST_TRANSFORMS = 8  # Fourier transforms that are shared out
_FACTORS = {"cholesky": 1, "lu": 1, "qr": 2, "geqrf": 2, "eigh": 30, "svd": 30, "eig": 30}


def shares_threads(mesh: Mesh) -> bool:
    """Whether several CPU devices of one process are in the mesh."""
    counts = Counter(d.process_index for d in mesh.devices.flat if d.platform == "cpu")
    return max(counts.values(), default=0) > 1


def trace_once(fn: Callable[[Any], Any], member: Any) -> tuple[Callable[[Any], Any], int | None]:
    """`fn` without its Python, and the largest number of members side by side.

    Args:
        fn: function of one member.
        member: pytree of what has shape and dtype.

    Returns:
        A function that equals `fn` for such members, and how many of them may be batched by `vmap`
        on one of several devices: None for any number, 0 where already one waits.
    """
    closed, shape = jax.make_jaxpr(fn, return_shape=True)(member)
    structure: Any = jax.tree.structure(shape)
    flat = jaxpr_as_fun(closed)

    def run(member: Any) -> Any:
        return jax.tree.unflatten(structure, flat(*jax.tree.leaves(member)))

    return run, min(_members(closed.jaxpr), default=None)


def _members(jaxpr: Jaxpr) -> Iterator[int]:
    """Members that may run side by side, by each decomposition anywhere inside."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        shapes: list[Any] = [getattr(x.aval, "shape", ()) for x in equation.invars]
        if name in _FACTORS:
            *batch, rows, columns = shapes[0]
            one = _FACTORS[name] * rows * columns * min(rows, columns)
            yield _side_by_side(batch, one)
        elif name == "triangular_solve":
            *batch, rows, columns = shapes[1]
            yield _side_by_side(batch, rows * columns * shapes[0][-1])
        elif name == "fft":
            yield _side_by_side(shapes[0][:-1], SHARED_OUT // _LEAST_TRANSFORMS)
        for part in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: isinstance(x, ClosedJaxpr | Jaxpr)
        ):
            if isinstance(part, ClosedJaxpr):
                yield from _members(part.jaxpr)
            elif isinstance(part, Jaxpr):
                yield from _members(part)


def _side_by_side(batch: tuple[int, ...] | list[int], cost: int) -> int:
    """Members whose decompositions stay below what is shared out; a single one never is."""
    own = int(np.prod(batch))
    members = (SHARED_OUT - 1) // max(own * cost, 1)
    return max(members, 1) if own == 1 else members
