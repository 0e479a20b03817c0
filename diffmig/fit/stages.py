"""The plain form of a stage: a host loop over compiled chunks."""

from collections.abc import Callable
from typing import Protocol, TypeVar

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
