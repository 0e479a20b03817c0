"""Stages survive kills, damaged checkpoints and Ctrl-C, and end in the same bits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import StandardCheckpointer

from diffmig.report import Run, open_run

NUM_CHUNKS = 6


@dataclass(frozen=True)
class Config:
    size: int = 40


class State(NamedTuple):
    key: jax.Array
    values: jax.Array
    weights: jax.Array
    seen: jax.Array
    count: Any
    empty: jax.Array
    nothing: None


def start(seed: int = 3) -> State:
    ones = jnp.ones(40, jnp.float64)
    return State(
        jax.random.split(jax.random.key(seed), 2), ones, jnp.ones((2, 3), jnp.float32),
        ones < 0, 0, jnp.zeros((0, 4)), None,
    )  # fmt: skip


@jax.jit
def advance(state: State) -> State:
    drawn = jax.vmap(lambda key: jax.random.normal(key, (40,), jnp.float64))(state.key)
    values = jnp.cos(state.values) + drawn.sum(0)
    key = jax.vmap(lambda key: jax.random.fold_in(key, state.count))(state.key)
    weights = state.weights * values[:6].reshape(2, 3).astype(jnp.float32)
    return State(key, values, weights, values < 0, state.count + 1, state.empty, None)


def chunk(state: State, index: int) -> State:
    if os.environ.get("HANG_AT") == str(index):  # in the worker: here it is killed, or gets Ctrl-C
        print("hanging", flush=True)
        time.sleep(float(os.environ["HANG_SECONDS"]))
    return advance(state)


def run_all(
    out: Path, *, resume: bool = False, num_chunks: int = NUM_CHUNKS, seed: int = 3, name: str = "a"
) -> tuple[Run, State, list[str]]:
    notes: list[str] = []
    with open_run(out, "e", "base", Config(), seed=0, resume=resume, note=notes.append) as run:
        final = run.run_stage(name, start(seed), chunk, num_chunks)
    return run, final, notes


def work(out: str) -> None:
    jax.config.update("jax_enable_x64", True)
    with open_run(Path(out), "e", "base", Config(), seed=0) as run:
        run.run_stage("a", start(), chunk, NUM_CHUNKS)


def logged(folder: Path) -> list[int]:
    return [json.loads(line)["index"] for line in (folder / "chunks.log").read_text().splitlines()]


def same_bits(one: State, other: State) -> bool:
    keys = np.array_equal(jax.random.key_data(one.key), jax.random.key_data(other.key))
    pairs = zip(jax.tree.leaves(one[1:]), jax.tree.leaves(other[1:]), strict=True)
    return keys and all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> State:
    return run_all(tmp_path_factory.mktemp("whole"))[1]


WORKER = """
import signal, sys
import test_checkpoints as t
# a shell lets its background jobs ignore Ctrl-C, and children inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
t.work(sys.argv[1])
"""


def stopped_worker(out: Path, stop: signal.Signals, seconds: float) -> tuple[int, str, str]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "HANG_AT": str(NUM_CHUNKS // 2),
            "HANG_SECONDS": str(seconds),
        },
    )  # fmt: skip
    assert worker.stdout is not None
    printed = worker.stdout.readline()
    assert printed == "hanging\n", printed
    worker.send_signal(stop)
    output, errors = worker.communicate(timeout=60)
    return worker.returncode, output, errors


def test_killed_run_resumes_to_the_same_bits(tmp_path: Path, expected: State) -> None:
    code, _, _ = stopped_worker(tmp_path, signal.SIGKILL, 60)
    assert code == -signal.SIGKILL
    (partial,) = (tmp_path / "e" / "base").glob("*.partial")
    assert logged(partial) == [0, 1, 2]

    run, final, notes = run_all(tmp_path, resume=True)
    assert same_bits(final, expected)
    assert logged(run.folder) == [0, 1, 2, 3, 4, 5]
    assert any("resuming" in note and "3 chunks" in note for note in notes)
    assert run.folder.name == partial.name.removesuffix(".partial")
    assert sorted(path.name for path in (run.folder / "checkpoints" / "a").iterdir()) == [
        "6",
        "6.json",
    ]

    again, final, notes = run_all(tmp_path, resume=True)
    assert again.finished
    assert again.folder == run.folder
    assert same_bits(final, expected)
    assert logged(run.folder) == [0, 1, 2, 3, 4, 5]
    assert "is finished" in notes[0]


def test_ctrl_c_finishes_the_chunk_and_says_how_to_go_on(tmp_path: Path, expected: State) -> None:
    code, output, errors = stopped_worker(tmp_path, signal.SIGINT, 2)
    assert code == 130
    assert "interrupted; continue with --resume" in output
    assert "finishing this chunk" in errors
    assert "Traceback" not in errors
    run, final, _ = run_all(tmp_path, resume=True)
    assert same_bits(final, expected)
    assert logged(run.folder) == [0, 1, 2, 3, 4, 5]


class Stop(Exception):
    pass


def interrupted_at(out: Path, index: int) -> Path:
    def stop_at(state: State, at: int) -> State:
        if at == index:
            raise Stop
        return chunk(state, at)

    notes: list[str] = []
    with (
        pytest.raises(Stop),
        open_run(out, "e", "base", Config(), seed=0, note=notes.append) as run,
    ):
        run.run_stage("a", start(), stop_at, NUM_CHUNKS)
    assert "continue with --resume" in notes[-1]
    return run.folder / "checkpoints" / "a"


def flip_a_bit(step: Path) -> None:
    for path in step.rglob("*"):
        if path.is_file() and path.parent.name == "d":
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 16
            path.write_bytes(content)


def truncate(step: Path) -> None:
    for path in step.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_half(step: Path) -> None:
    step.with_suffix(".json").unlink()
    step.rename(step.with_name(f"{step.name}.orbax-checkpoint-tmp"))


def swap_states(step: Path) -> None:
    """A readable checkpoint of the wrong state: only the checksum tells."""
    shutil.rmtree(step)
    shutil.copytree(step.with_name(str(int(step.name) - 1)), step)


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, lose_half, swap_states])
def test_damaged_newest_checkpoint_falls_back(
    tmp_path: Path,
    expected: State,
    damage: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = interrupted_at(tmp_path, 4)
    damage(folder / "4")
    asked = []
    restore = StandardCheckpointer.restore
    monkeypatch.setattr(
        StandardCheckpointer,
        "restore",
        lambda self, path, *rest: asked.append(path.name) or restore(self, path, *rest),
    )
    run, final, notes = run_all(tmp_path, resume=True)
    assert same_bits(final, expected)
    assert any("checkpoint 4 cannot be read" in note and "back to 3" in note for note in notes)
    assert logged(run.folder) == [0, 1, 2, 3, 3, 4, 5]
    assert asked == ["3"]  # orbax' own failures print tracebacks from its threads at exit
    assert sorted(os.listdir(run.folder / "checkpoints" / "a")) == ["6", "6.json"]


def test_without_a_readable_checkpoint_the_stage_starts_again(
    tmp_path: Path, expected: State
) -> None:
    folder = interrupted_at(tmp_path, 4)
    truncate(folder / "4")
    (folder / "3.json").write_text('{"num_chunks"')
    run, final, notes = run_all(tmp_path, resume=True)
    assert same_bits(final, expected)
    assert any("starts from its beginning" in note for note in notes)
    assert logged(run.folder) == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]


def test_checkpoints_that_do_not_fit_are_explained(tmp_path: Path) -> None:
    interrupted_at(tmp_path / "chunks", 2)
    _, _, notes = run_all(tmp_path / "chunks", resume=True, num_chunks=5)
    assert any("belong to 6 chunks, now there are 5" in note for note in notes)

    interrupted_at(tmp_path / "start", 2)
    _, _, notes = run_all(tmp_path / "start", resume=True, seed=4)
    assert any("another initial state" in note for note in notes)

    interrupted_at(tmp_path / "shape", 2)
    notes = []
    with open_run(
        tmp_path / "shape", "e", "base", Config(), seed=0, resume=True, note=notes.append
    ) as run:
        final = run.run_stage("a", {"x": np.ones(3)}, lambda state, index: state, NUM_CHUNKS)
    assert isinstance(final["x"], jax.Array)
    assert any("another state: saved .key: key<fry>[2]" in note for note in notes)


def test_wrong_stages_are_refused(tmp_path: Path) -> None:
    with open_run(tmp_path, "e", "base", Config(), seed=0, note=lambda _: None) as run:
        with pytest.raises(ValueError, match="at least 1"):
            run.run_stage("none", start(), chunk, 0)
        with pytest.raises(ValueError, match=r"changed the state: expected .*float64\[\]"):
            run.run_stage("b", jnp.ones(()), lambda state, index: state.astype(jnp.float32), 2)
        with pytest.raises(ValueError, match="has been run before"):
            run.run_stage("b", jnp.ones(()), lambda state, index: state, 2)
        with pytest.raises(ValueError, match="expected arrays and numbers"):
            run.run_stage("c", {"name": "text"}, lambda state, index: state, 2)
        weak = jnp.asarray(1.0)
        assert not run.run_stage("d", weak, lambda state, index: state * 2.0, 2).weak_type


def test_saving_is_cheap(tmp_path: Path) -> None:
    with open_run(tmp_path, "e", "base", Config(), seed=0, note=lambda _: None) as run:
        run.run_stage("big", jnp.ones(125_000), lambda state, index: state * 1.5, 8)
    lines = [json.loads(line) for line in (run.folder / "chunks.log").read_text().splitlines()]
    assert min(line["save_seconds"] for line in lines) < 0.1
