"""One run, one folder: all that a report, a README or a notebook may quote."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffmig import __version__
from diffmig.report.checkpoints import run_stage
from diffmig.report.environment import environment
from diffmig.report.files import (
    FolderLock,
    check_name,
    json_bytes,
    parquet_bytes,
    sync_folder,
    write_atomic,
)
from diffmig.report.ledger import ledger_csv

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PARTIAL = ".partial"
_SURVIVES_RESUME = {"checkpoints", "chunks.log"}


class Run:
    """Writer of one run folder; made by `open_run`, which sets `folder` to its final place at the
    end.

    A `finished` run (resumed after its end) is read-only: stages are restored, `write_*` calls
    change nothing.
    """

    def __init__(self, folder: Path, note: Callable[[str], None], finished: bool) -> None:
        self.folder, self.note, self.finished = folder, note, finished
        self.metrics: dict[str, Any] = {}
        self._contents: list[dict[str, Any]] = []
        self._stages: set[str] = set()
        self._closed = False

    @property
    def run_id(self) -> str:
        return self.folder.name.removesuffix(PARTIAL)

    def run_stage(
        self, name: str, state: Any, chunk_fn: Callable[[Any, int], Any], num_chunks: int
    ) -> Any:
        """State after `num_chunks` chunks, saved after every chunk and resumed: see
        `checkpoints.run_stage`.

        Every computed chunk adds a line to `chunks.log` (stage, index, seconds, save_seconds).

        Raises:
            ValueError: the name was used before in this run, and as `checkpoints.run_stage`.
        """
        check_name(name, "stage")
        if name in self._stages:
            raise ValueError(
                f"stage {name!r} has been run before in this run; stages need different names"
            )
        self._stages.add(name)
        folder = self.folder / "checkpoints" / name
        return run_stage(
            folder,
            name,
            state,
            chunk_fn,
            num_chunks,
            note=self.note,
            on_chunk=self._log_chunk,
            frozen=self.finished,
        )

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Add to metrics.json. `question` and `answer`, one sentence, stand on the report's first
        page, `details` at the head of the run; `converged` False marks the run's numbers.

        NaN and infinities become null, listed under `not_finite`.
        """
        merged = {**self.metrics, **metrics}
        self._put("metrics.json", json_bytes(merged))
        self.metrics = merged

    def write_text(self, name: str, heading: str, paragraphs: Sequence[str] = ()) -> None:
        """Heading and paragraphs of plain text, at this place of the report."""
        if isinstance(paragraphs, str):
            raise ValueError(
                f"text {name!r}: expected a sequence of paragraphs, got one text; put it in a tuple"
            )
        self._add_section("text", name, {"heading": heading, "paragraphs": list(paragraphs)}, {})

    def write_table(
        self,
        name: str,
        frame: pd.DataFrame,
        caption: str,
        *,
        show: bool = True,
        units: Mapping[str, str] | None = None,
        source: str = "",
    ) -> None:
        """Table as tables/<name>.parquet, without its index; `show` puts it into the report."""
        if unknown := set(units or {}) - set(frame.columns):
            raise ValueError(f"table {name!r}: units of unknown columns {sorted(unknown)}")
        files = {f"tables/{name}.parquet": parquet_bytes(frame, f"table {name!r}")}
        fields = {"caption": caption, "show": show, "units": dict(units or {}), "source": source}
        self._add_section("table", name, fields, files)

    def write_figure(
        self, name: str, figure: Figure, table: pd.DataFrame, caption: str, *, source: str = ""
    ) -> None:
        """Figure as figures/<name>.png beside its table, figures/<name>.parquet."""
        from diffmig.report.figures import png_bytes

        files = {
            f"figures/{name}.parquet": parquet_bytes(table, f"figure {name!r}"),
            f"figures/{name}.png": png_bytes(figure),
        }
        self._add_section("figure", name, {"caption": caption, "source": source}, files)

    def write_ledger(self, frame: pd.DataFrame) -> None:
        """Claims ledger as ledger.csv; rows as `evaluate.ledger_frame` makes them."""
        self._put("ledger.csv", ledger_csv(frame))

    def _add_section(
        self, kind: str, name: str, fields: dict[str, Any], files: dict[str, bytes]
    ) -> None:
        check_name(name, kind)
        if any((section["kind"], section["name"]) == (kind, name) for section in self._contents):
            raise ValueError(
                f"{kind} {name!r} has been written before in this run; give it another name"
            )
        for relative, content in files.items():
            self._put(relative, content)
        self._contents.append({"kind": kind, "name": name, **fields})
        self._put("contents.json", json_bytes(self._contents))

    def _put(self, relative: str, content: bytes) -> None:
        if self._closed:
            raise RuntimeError(f"run {self.run_id} is closed: write inside `with open_run(...)`")
        if not self.finished:
            write_atomic(self.folder / relative, content)

    def _log_chunk(self, record: dict[str, Any]) -> None:
        if self.finished:
            return
        line = json.dumps(record) + "\n"
        handle = os.open(self.folder / "chunks.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


@contextmanager
def open_run(
    out: Path,
    experiment: str,
    variant: str,
    config: Any,
    *,
    seed: int,
    resume: bool = False,
    inputs: Mapping[str, str] | None = None,
    note: Callable[[str], None] = print,
) -> Iterator[Run]:
    """Run folder `<out>/<experiment>/<variant>/<run id>/`, called `<run id>.partial` until the body
    has succeeded.

    The run id is the UTC time and a hash of all that fixes the numbers: experiment, variant,
    config, seed, inputs and package version. Every file in it is replaced in one step, so that a
    kill leaves the old one or the new one.

    Args:
        out: folder of all results.
        experiment, variant: names, lower-case letters, digits, '-' and '_'.
        config: frozen dataclass instance.
        seed: the seed that `main` turned into a key.
        resume: take up the newest run with the same hash. If that is unfinished, its checkpoints
            are continued and everything else is written anew. If it is finished, `Run.finished` is
            True: stages return their saved result and `write_*` calls change nothing, so that
            nothing is computed again. If there is none, or if `resume` is False, a new run starts.
        inputs: sha256 of every input file, by name.
        note: receives lines of text for the user.

    Raises:
        ValueError: a name or `config` is unfit.
        RuntimeError: another process is writing the run that would be resumed.
        SystemExit: with code 130 after Ctrl-C; the folder is kept and can be resumed, as after any
            exception.
    """
    parameters = getattr(config, "__dataclass_params__", None)
    if isinstance(config, type) or parameters is None or not parameters.frozen:
        raise ValueError(f"config: expected an instance of a frozen dataclass, got {config!r}")
    parent = Path(out) / check_name(experiment, "experiment") / check_name(variant, "variant")
    identity = {
        "experiment": experiment,
        "variant": variant,
        "config": config,
        "seed": seed,
        "inputs": dict(inputs or {}),
        "version": __version__,
    }
    digest = hashlib.sha256(json_bytes(identity)).hexdigest()[:10]
    found = _newest(parent, rf"{digest}(\{PARTIAL})?")
    if resume and found and found.suffix != PARTIAL:
        note(f"{found} is finished: its results are used as they are")
        run = Run(found, note, finished=True)
        run.metrics = json.loads(_text(found / "metrics.json") or "{}")
        try:
            yield run
        finally:
            run._closed = True
        return
    folder, lock = (
        _take(found, note) if resume and found else _create(parent, digest, resume, found, note)
    )
    run = Run(folder, note, finished=False)
    try:
        run._put("config.json", json_bytes({**identity, "hash": digest}))
        run._put("environment.json", json_bytes({**environment(), "resumed": folder == found}))
        yield run
        final = folder.with_name(run.run_id)
        os.replace(folder, final)
        sync_folder(parent)
        run.folder = final
    except KeyboardInterrupt:
        note("interrupted; continue with --resume")
        raise SystemExit(130) from None
    except BaseException:
        note(f"not finished: what was computed is kept in {folder}; continue with --resume")
        raise
    finally:
        run._closed = True
        lock.release()


def latest_run(out: Path, experiment: str, variant: str) -> Path:
    """Folder of the newest finished run of an experiment's variant.

    Raises:
        FileNotFoundError: there is none.
    """
    parent = Path(out) / check_name(experiment, "experiment") / check_name(variant, "variant")
    found = _newest(parent, "[0-9a-f]{10}")
    if found is None:
        raise FileNotFoundError(f"no finished run in {parent}")
    return found


def _newest(parent: Path, ending: str) -> Path | None:
    pattern = re.compile(rf"\d{{8}}T\d{{12}}Z-{ending}")
    runs = [path for path in parent.glob("*Z-*") if pattern.fullmatch(path.name) and path.is_dir()]
    return max(runs, key=lambda path: path.name, default=None)


def _create(
    parent: Path, digest: str, resume: bool, found: Path | None, note: Callable[[str], None]
) -> tuple[Path, FolderLock]:
    if resume:
        note("there is no earlier run with this configuration: a new one starts")
    elif found and found.suffix == PARTIAL:
        note(f"a new run starts; --resume would have continued {found}")
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = parent / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}Z-{digest}{PARTIAL}"
        try:
            folder.mkdir()
        except FileExistsError:  # another process, the same microsecond
            continue
        return folder, FolderLock(folder)


def _take(folder: Path, note: Callable[[str], None]) -> tuple[Path, FolderLock]:
    try:
        lock = FolderLock(folder)
    except (BlockingIOError, FileNotFoundError) as error:
        raise RuntimeError(
            f"cannot resume: {error}. Wait for it, or start a new run without --resume."
        ) from None
    for path in folder.iterdir():
        if path.name not in _SURVIVES_RESUME:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in folder.rglob(".*.tmp"):
        path.unlink()
    lines = _text(folder / "chunks.log").splitlines()
    note(f"resuming {folder}: {len(lines)} chunks computed so far")
    return folder, lock


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
