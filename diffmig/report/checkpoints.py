"""Stages that survive a kill: a host loop over chunks, the state saved after each of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from diffmig.report.files import json_bytes, write_atomic
from diffmig.report.progress import progress


def run_stage(
    folder: Path,
    name: str,
    state: Any,
    chunk_fn: Callable[[Any, int], Any],
    num_chunks: int,
    *,
    note: Callable[[str], None],
    on_chunk: Callable[[dict[str, Any]], None],
    frozen: bool = False,
) -> Any:
    """State after `num_chunks` chunks: the newest readable checkpoint in `folder`, and the chunks
    that it lacks.

    Ctrl-C lets the running chunk finish and be saved, then raises KeyboardInterrupt; a second one
    stops at once.

    Args:
        folder: checkpoints of this stage, `<step>/` of orbax and `<step>.json` with what must fit
            and a checksum.
        name: name of the stage in messages.
        state: pytree of arrays (typed keys, any dtype; None is structure). Leaves become JAX arrays
            without weak types, so that a restored state is traced exactly like a computed one.
        chunk_fn: state and chunk index to the next state of the same structure, shapes and dtypes.
            What it needs beside the state must follow from the run's config, seed and inputs.
        num_chunks: chunks of the whole stage, at least 1.
        note: receives lines of text for the user.
        on_chunk: receives `stage`, `index`, `seconds`, `save_seconds` of every computed chunk,
            after it was saved.
        frozen: read `folder`, change nothing in it.

    Returns:
        final state, the same bits as without interruption.

    Raises:
        ValueError: `num_chunks` < 1, a leaf is no array, or `chunk_fn` changed structure, shape or
            dtype.
        KeyboardInterrupt: after Ctrl-C, the state being saved.
    """
    if num_chunks < 1:
        raise ValueError(f"num_chunks: expected at least 1, got {num_chunks}")
    state = jax.tree.map(_settle, state)
    layout = _layout(state)
    with _Store(folder, name, note, frozen) as store:
        state, done = store.restore(
            state, {"num_chunks": num_chunks, "layout": layout, "start": _digest(state)}
        )
        with _one_more_chunk() as interrupted, progress(num_chunks, name, done=done) as bar:
            for index in range(done, num_chunks):
                begin = time.perf_counter()
                state = jax.block_until_ready(jax.tree.map(_settle, chunk_fn(state, index)))
                if difference := _difference(layout, _layout(state)):
                    raise ValueError(f"stage {name}: chunk_fn changed the state: {difference}")
                computed = time.perf_counter()
                store.save(index + 1, state)
                saved = time.perf_counter()
                on_chunk(
                    {
                        "stage": name,
                        "index": index,
                        "seconds": round(computed - begin, 6),
                        "save_seconds": round(saved - computed, 6),
                    }
                )
                bar.update()
                if interrupted():
                    raise KeyboardInterrupt
        store.keep({num_chunks})
    return state


class _Store:
    """Checkpoints of one stage; one counts only if its `<step>.json`, written last, agrees."""

    def __init__(self, folder: Path, name: str, note: Callable[[str], None], frozen: bool) -> None:
        self._folder, self._name, self._note, self._frozen = folder.absolute(), name, note, frozen
        self._fits: dict[str, Any] = {}
        self._checkpointer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()

    def _orbax(self) -> Any:
        if self._checkpointer is None:
            import orbax.checkpoint

            self._checkpointer = orbax.checkpoint.StandardCheckpointer()
        return self._checkpointer

    def _steps(self) -> list[int]:
        names = {path.name.partition(".")[0] for path in self._folder.glob("*")}
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def restore(self, start: Any, fits: dict[str, Any]) -> tuple[Any, int]:
        """Newest readable state and its step; `start` and 0 if there is none that fits."""
        self._fits = fits
        for step, before in pairwise([*self._steps(), 0]):
            try:
                saved = json.loads((self._folder / f"{step}.json").read_text())
                if reason := _misfit(saved, fits):
                    self._note(
                        f"stage {self._name}: the checkpoints do not fit ({reason}); "
                        "the stage starts again"
                    )
                    return start, 0
                # Before orbax sees it: its failed restores leave threads that complain at exit.
                if _folder_digest(self._folder / str(step)) != saved["digest"]:
                    raise ValueError("checksum differs")
                state = self._read(step, start)
            except Exception as error:  # orbax and tensorstore raise many kinds for a damaged file
                reason = (
                    "half-written" if isinstance(error, FileNotFoundError) else type(error).__name__
                )
                back = (
                    f"going back to {before}" if before else "the stage starts from its beginning"
                )
                self._note(
                    f"stage {self._name}: checkpoint {step} cannot be read ({reason}); {back}"
                )
            else:
                if step < fits["num_chunks"]:
                    of = fits["num_chunks"]
                    self._note(f"stage {self._name}: {step} of {of} chunks are done, continuing")
                return state, step
        return start, 0

    def _read(self, step: int, start: Any) -> Any:
        leaves, structure = jax.tree.flatten(start)
        arrays = _host_arrays(leaves)
        if stored := _storable(arrays):
            stored = self._orbax().restore(self._folder / str(step), stored)
        return jax.tree.unflatten(
            structure,
            [_place(stored.get(_key(i), arrays[i]), leaf) for i, leaf in enumerate(leaves)],
        )

    def save(self, step: int, state: Any) -> None:
        if self._frozen:
            return
        self._drop(step)  # half-written or unreadable, if there is one
        if stored := _storable(_host_arrays(jax.tree.leaves(state))):
            self._orbax().save(self._folder / str(step), stored)
            self._orbax().wait_until_finished()
        digest = _folder_digest(self._folder / str(step))
        write_atomic(self._folder / f"{step}.json", json_bytes({**self._fits, "digest": digest}))
        # By number, not by age: after a fall-back newer numbers are the unreadable ones.
        self.keep({step, step - 1})

    def keep(self, steps: set[int]) -> None:
        if not self._frozen:
            for step in set(self._steps()) - steps:
                self._drop(step)

    def _drop(self, step: int) -> None:
        (self._folder / f"{step}.json").unlink(
            missing_ok=True
        )  # without it the rest does not count
        for path in [self._folder / str(step), *self._folder.glob(f"{step}.*")]:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _one_more_chunk() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C is only remembered; the yielded function tells of it."""
    seen = False

    def remember(signum: int, frame: Any) -> None:
        nonlocal seen
        if seen:
            signal.default_int_handler(signum, frame)
        seen = True
        print("\nfinishing this chunk; Ctrl-C again stops at once", file=sys.stderr, flush=True)

    before = signal.getsignal(signal.SIGINT)
    # Handlers belong to the main thread, and a job started to ignore Ctrl-C (nohup) goes on
    # ignoring it.
    if threading.current_thread() is not threading.main_thread() or before in (
        signal.SIG_IGN,
        None,
    ):
        yield lambda: False
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, before)


def _settle(leaf: Any) -> jax.Array:
    if isinstance(leaf, jax.Array) and not getattr(leaf, "weak_type", False):  # keys have none
        return leaf
    array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
    if array.dtype.kind in "OSU":
        raise ValueError(f"state: expected arrays and numbers, got {leaf!r}")
    settled = jnp.asarray(array, dtype=jax.dtypes.canonicalize_dtype(array.dtype))
    if isinstance(leaf, np.ndarray | np.generic) and settled.dtype != leaf.dtype:
        raise ValueError(
            f"state: a {leaf.dtype} array would become {settled.dtype}; "
            "enable x64 (diffmig.runtime.configure)"
        )
    return settled


def _layout(state: Any) -> list[str]:
    """One line per leaf (where, dtype, shape), then the structure for what has no leaves."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(state)
    lines = [
        f"{jax.tree_util.keystr(path) or 'state'}: {leaf.dtype}{list(leaf.shape)}"
        for path, leaf in leaves
    ]
    return [*lines, str(structure)]


def _difference(expected: list[str], got: list[str]) -> str | None:
    if expected == got:
        return None
    for old, new in zip(expected, got, strict=False):
        if old != new:
            return f"expected {old}, got {new}"
    return f"expected {len(expected) - 1} leaves, got {len(got) - 1}"


def _misfit(saved: dict[str, Any], fits: dict[str, Any]) -> str | None:
    if saved["num_chunks"] != fits["num_chunks"]:
        return f"they belong to {saved['num_chunks']} chunks, now there are {fits['num_chunks']}"
    if difference := _difference(saved["layout"], fits["layout"]):
        words = difference.removeprefix("expected ").replace(", got ", ", now ")
        return f"another state: saved {words}"
    if saved["start"] != fits["start"]:
        return "they began from another initial state: the code has changed, or the machine"
    return None


def _key(index: int) -> str:
    return f"leaf{index:04d}"


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _host_arrays(leaves: list[jax.Array]) -> list[np.ndarray]:
    return [np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for leaf in leaves]


def _storable(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Orbax refuses arrays of size 0; their shape says all there is to say."""
    return {_key(i): array for i, array in enumerate(arrays) if array.size}


def _place(array: np.ndarray, like: jax.Array) -> jax.Array:
    if _is_key(like):
        placed = jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(like))
    else:
        placed = jnp.asarray(array, dtype=like.dtype)
    # An uncommitted array goes wherever the chunk computes; committing it to one device would
    # forbid a mesh.
    return jax.device_put(placed, like.sharding) if like.committed else placed


def _digest(state: Any) -> str:
    sha = hashlib.sha256()
    for array in _host_arrays(jax.tree.leaves(state)):
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _folder_digest(folder: Path) -> str:
    sha = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        sha.update(path.relative_to(folder).as_posix().encode() + b"\0")
        sha.update(hashlib.sha256(path.read_bytes()).digest())
    return sha.hexdigest()
