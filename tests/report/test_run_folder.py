"""A run folder is whole or partial, says all that fixed its numbers, and belongs to one process."""

import dataclasses
import enum
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmig.evaluate import Claim, Evidence, ledger_frame
from diffmig.report import draw_bars, latest_run, open_run
from diffmig.report.files import check_name, json_bytes, write_atomic


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 10
    rate: float = 0.01
    data: Path | None = None


def quiet(_: str) -> None:
    pass


def some_ledger() -> pd.DataFrame:
    claim = Claim("p", "table 2", "MAPE", "%", "5.40", "deterministic")
    return ledger_frame([(claim, Evidence(as_described=5.401))])


def test_finished_folder_holds_all_that_was_written(tmp_path: Path) -> None:
    table = pd.DataFrame({"label": ["a", "b"], "value": [1.0, 2.5]})
    with open_run(
        tmp_path, "grp", "base", Config(), seed=5, inputs={"panel": "ab12"}, note=quiet
    ) as run:
        assert run.folder.name.endswith(".partial")
        run.write_text("intro", "What was done", ["One.", "Two."])
        run.write_table("scores", table, "Scores", units={"value": "%"}, source="own runs")
        figure = draw_bars(table, title="Scores", x_label="MAPE, %", source="own runs")
        run.write_figure("bars", figure, table, "Scores as bars")
        run.write_ledger(some_ledger())
        run.write_metrics({"question": "Does it?", "mape": jnp.float32(0.5)})
        run.write_metrics({"spread": np.array([1.0, np.nan]), "converged": np.bool_(True)})
    assert not run.folder.name.endswith(".partial")
    assert [path.name for path in run.folder.parent.iterdir()] == [run.run_id]
    assert latest_run(tmp_path, "grp", "base") == run.folder

    written = sorted(path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*.*"))
    assert written == sorted(
        ["config.json", "contents.json", "environment.json", "figures/bars.parquet", "ledger.csv",
         "figures/bars.png", "metrics.json", "tables/scores.parquet"]
    )  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_parquet(run.folder / "figures/bars.parquet"), table)
    assert (run.folder / "figures/bars.png").read_bytes().startswith(b"\x89PNG")
    assert "5.40" in (run.folder / "ledger.csv").read_text()
    config = json.loads((run.folder / "config.json").read_text())
    assert config["config"] == {"width": 10, "rate": 0.01, "data": None}
    assert (config["seed"], config["inputs"]) == (5, {"panel": "ab12"})
    assert run.folder.name.endswith(config["hash"])
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics["spread"] == [1.0, None]
    assert metrics["not_finite"] == {"spread.1": "nan"}
    assert (metrics["mape"], metrics["converged"]) == (0.5, True)
    contents = json.loads((run.folder / "contents.json").read_text())
    assert [section["name"] for section in contents] == ["intro", "scores", "bars"]


def test_environment_names_no_machine(tmp_path: Path) -> None:
    with open_run(tmp_path, "e", "v", Config(), seed=0, note=quiet) as run:
        text = (run.folder / "environment.json").read_text()
    facts = json.loads(text)
    assert facts["packages"]["jax"] == jax.__version__
    assert facts["device"]["count"] == len(jax.devices())
    assert facts["x64"] is True
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text
    assert str(Path(__file__).parents[2]) not in text


def test_hash_follows_what_fixes_the_numbers(tmp_path: Path) -> None:
    def digest(config: Any = None, seed: int = 0, **inputs: str) -> str:
        with open_run(
            tmp_path, "e", "v", config or Config(), seed=seed, inputs=inputs, note=quiet
        ) as run:
            return run.run_id.rpartition("-")[2]

    assert digest() == digest()
    others = [digest(Config(width=11)), digest(seed=1), digest(panel="ab"), digest(panel="cd")]
    assert len({digest(), *others}) == 5


def test_resume_takes_the_newest_and_leaves_finished_runs_alone(tmp_path: Path) -> None:
    notes: list[str] = []

    def attempt(answer: str, *, resume: bool, fail: bool = False) -> Any:
        with open_run(
            tmp_path, "e", "v", Config(), seed=0, resume=resume, note=notes.append
        ) as run:
            run.write_metrics({"answer": answer})
            if fail:
                run.write_text("stale", "Left by the attempt that failed")
                raise ArithmeticError
        return run

    with pytest.raises(ArithmeticError):
        attempt("first", resume=True, fail=True)
    assert "no earlier run" in notes[0]
    assert "continue with --resume" in notes[-1]
    (partial,) = (tmp_path / "e" / "v").iterdir()

    finished = attempt("second", resume=True)
    assert f"resuming {partial}" in notes[-1]
    assert finished.run_id == partial.name.removesuffix(".partial")
    assert not (finished.folder / "contents.json").exists()
    before = {path: path.read_bytes() for path in finished.folder.rglob("*.json")}

    reused = attempt("third", resume=True)
    assert reused.finished
    assert reused.folder == finished.folder
    assert "is finished" in notes[-1]
    assert {path: path.read_bytes() for path in finished.folder.rglob("*.json")} == before
    assert attempt("fourth", resume=False).folder > finished.folder


def test_two_processes_never_share_a_folder(tmp_path: Path) -> None:
    code = """
import sys
from dataclasses import dataclass
from pathlib import Path
from test_run_folder import Config
from diffmig.report import open_run
try:
    with open_run(Path(sys.argv[1]), "e", "v", Config(), seed=0, resume=True):
        print("took it")
except RuntimeError as error:
    print("refused:", error)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def refused_meanwhile() -> None:
        with open_run(tmp_path, "e", "v", Config(), seed=0, note=quiet):
            done = subprocess.run(
                command, capture_output=True, timeout=60, text=True, env=environment,
                cwd=Path(__file__).parent,
            )  # fmt: skip
            assert f"refused: cannot resume: process {os.getpid()} is writing" in done.stdout
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        refused_meanwhile()
    (partial,) = (tmp_path / "e" / "v").iterdir()  # no lock is left
    partial.with_name(f"{partial.name}.lock").write_text("999999\n")  # by a process that was killed
    with open_run(tmp_path, "e", "v", Config(), seed=0, resume=True, note=quiet) as run:
        assert run.folder == partial
    assert [path.name for path in run.folder.parent.iterdir()] == [run.run_id]


def test_ctrl_c_outside_a_stage_exits_with_130(tmp_path: Path) -> None:
    notes: list[str] = []
    with (
        pytest.raises(SystemExit) as caught,
        open_run(tmp_path, "e", "v", Config(), seed=0, note=notes.append),
    ):
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert notes == ["interrupted; continue with --resume"]


def test_misuse_is_explained(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Thawed:
        width: int = 3

    for config in (Thawed(), Config, {"width": 3}):
        with pytest.raises(ValueError, match="frozen dataclass"):
            open_run(tmp_path, "e", "v", config, seed=0).__enter__()
    with pytest.raises(ValueError, match="variant: expected 1 to 64 lower-case"):
        open_run(tmp_path, "e", "../v", Config(), seed=0).__enter__()
    good = pd.DataFrame({"x": [1]})
    with open_run(tmp_path, "e", "v", Config(), seed=0, note=quiet) as run:
        run.write_table("t", good, "T")
        with pytest.raises(ValueError, match="written before"):
            run.write_table("t", pd.DataFrame({"x": [2]}), "T")
        with pytest.raises(ValueError, match="call reset_index"):
            run.write_table("u", good.set_index("x"), "U")
        with pytest.raises(ValueError, match="different text names"):
            run.write_table("u", pd.DataFrame({0: [1]}), "U")
        with pytest.raises(ValueError, match="unknown columns"):
            run.write_table("u", good, "U", units={"y": "m"})
        with pytest.raises(ValueError, match="sequence of paragraphs"):
            run.write_text("w", "Heading", "one text")
        with pytest.raises(ValueError, match="ledger: expected columns"):
            run.write_ledger(some_ledger().drop(columns="note"))
        with pytest.raises(ValueError, match="'fine'"):
            run.write_ledger(some_ledger().assign(verdict="fine"))
        with pytest.raises(ValueError, match="f: expected numbers"):
            run.write_metrics({"f": object()})
    assert pd.read_parquet(run.folder / "tables/t.parquet")["x"].tolist() == [1]
    with pytest.raises(RuntimeError, match="closed"):
        run.write_metrics({"late": 1})


class Pair(NamedTuple):
    left: Any
    right: Any


class Colour(enum.Enum):
    RED = 1


def test_json_takes_what_experiments_have() -> None:
    value = {
        "pair": Pair(np.int64(3), jnp.arange(2)),
        "half": jnp.ones((), jnp.bfloat16),
        "enum": Colour.RED,
        "path": Path("a") / "b",
        "set": {3, 1},
        "when": np.datetime64("2020-01-02"),
        "bad": {"deep": [1.0, -np.inf]},
    }
    content = json.loads(json_bytes(value))
    assert content["pair"] == {"left": 3, "right": [0, 1]}
    assert (content["half"], content["enum"], content["path"]) == (1.0, "RED", "a/b")
    assert (content["set"], content["when"]) == ([1, 3], "2020-01-02")
    assert content["bad"] == {"deep": [1.0, None]}
    assert content["not_finite"] == {"bad.deep.1": "-inf"}
    with pytest.raises(ValueError, match="expected text as keys"):
        json_bytes({"a": {1: 2}})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_json_never_holds_nan(value: dict[str, Any]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(json_bytes(value), parse_constant=refuse)
    assert set(value) <= set(content)


@given(st.text(max_size=70))
def test_names_are_safe_on_every_system(name: str) -> None:
    try:
        check_name(name, "name")
    except ValueError:
        return
    assert Path(name).name == name == name.lower()
    assert name.isascii()


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
