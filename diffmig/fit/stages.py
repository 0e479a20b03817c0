"""Stages: host loops over compiled chunks, in their plain form, and big batches cut into them."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

S = TypeVar("S")


class RunStage(Protocol):
    """Runs a stage of an experiment; `report` has one that saves every chunk and resumes."""

    def __call__(
        self, name: str, state: S, chunk_fn: Callable[[S, int], S], num_chunks: int
    ) -> S: ...


def run_stage(name: str, state: S, chunk_fn: Callable[[S, int], S], num_chunks: int) -> S:
    """State after `num_chunks` calls of `chunk_fn(state, index)`.

    Args:
        name: name of the stage, for those runners that store or show it.
        state: pytree of arrays.
        chunk_fn: pure and compiled; progress, checkpoints and interrupts live between its calls,
            since a program with a Python callback inside is never cached.
        num_chunks: number of calls.
    """
    for index in range(num_chunks):
        state = chunk_fn(state, index)
    return state


def run_rows(
    name: str,
    rows_fn: Callable[[Any], Any],
    rows: Any,
    *,
    rows_per_chunk: int,
    stage_fn: RunStage = run_stage,
    mesh: Mesh | None = None,
) -> Any:
    """`rows_fn(rows)`, computed chunk by chunk as one stage, on the host.

    Args:
        name, stage_fn: the stage and what runs it.
        rows_fn: compiled function of a pytree [row, ...] to a pytree [row, ...]; row by row, so
            that the cut changes nothing. It runs on `mesh`, if any.
        rows: pytree of NumPy arrays, leaves [row, ...].
        rows_per_chunk: rows of one call, rounded up to a multiple of the devices; the last chunk is
            filled with copies of the last row, so that one compiled program serves all.
        mesh: devices that share a chunk.

    Returns:
        pytree of NumPy arrays, leaves [row, ...].

    Raises:
        ValueError: no rows or `rows_per_chunk` < 1.
    """
    num_rows = len(jax.tree.leaves(rows)[0])
    if num_rows < 1 or rows_per_chunk < 1:
        raise ValueError(f"expected rows and rows_per_chunk >= 1, got {num_rows}, {rows_per_chunk}")
    num_devices = 1 if mesh is None else mesh.size
    size = -(-min(rows_per_chunk, num_rows) // num_devices) * num_devices
    num_chunks = -(-num_rows // size)
    index = np.minimum(np.arange(num_chunks * size), num_rows - 1).reshape(num_chunks, size)

    def take(number: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[index[number]], rows)

    def chunk_fn(state: Any, number: int) -> Any:
        # to the host shard by shard: devices that share a processor may deadlock in a collective
        done = jax.device_get(rows_fn(take(number)))
        return jax.tree.map(partial(_with_rows, first=number * size), state, done)

    shapes = jax.eval_shape(rows_fn, take(0))
    empty = jax.tree.map(lambda s: np.zeros((index.size, *s.shape[1:]), s.dtype), shapes)
    done = stage_fn(name, empty, chunk_fn, num_chunks)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:num_rows], done)


def _with_rows(state: Any, rows: np.ndarray, *, first: int) -> np.ndarray:
    filled = np.array(state)
    filled[first : first + len(rows)] = rows
    return filled
