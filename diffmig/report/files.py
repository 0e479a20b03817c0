"""Files that are whole or absent: atomic writes, JSON without NaN, parquet, folder locks."""

from __future__ import annotations

import dataclasses
import enum
import io
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def check_name(name: str, what: str) -> str:
    """`name`, if it may be the name of a file on every system.

    Raises:
        ValueError: it holds more than lower-case letters, digits, '-' and '_', or over 64
            characters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{what}: expected 1 to 64 lower-case letters, digits, '-' or '_', "
            f"starting with a letter or digit, got {name!r}"
        )
    return name


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def json_bytes(value: Any) -> bytes:
    """`value` as indented JSON with sorted keys; arrays, JAX scalars, dataclasses, paths and enums
    are converted.

    A number that JSON does not have becomes null, and the key `not_finite` of the outermost object
    says where and what it was: `{"loss": null, "not_finite": {"loss": "nan"}}`.

    Raises:
        ValueError: a key is not text, or a value has no place in JSON.
    """
    not_finite: dict[str, str] = {}
    plain = _plain(value, (), not_finite)
    if not_finite:
        plain = {
            **(plain if isinstance(plain, dict) else {"value": plain}),
            "not_finite": not_finite,
        }
    return (
        json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    ).encode()


def _plain(value: Any, path: tuple[str, ...], not_finite: dict[str, str]) -> Any:
    if value is None or (isinstance(value, bool | str | int) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        not_finite[".".join(path)] = str(float(value))
        return None
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, os.PathLike):
        return Path(value).as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"{'.'.join(path) or 'JSON'}: expected text as keys, got {wrong[0]!r}")
        return {key: _plain(item, (*path, key), not_finite) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item, (*path, str(row)), not_finite) for row, item in enumerate(value)]
    if isinstance(value, np.generic) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biufUM" or array.dtype.name == "bfloat16":
            array = array.astype(float) if array.dtype.name == "bfloat16" else array
            return _plain(
                array.astype(str).tolist() if array.dtype.kind == "M" else array.tolist(),
                path,
                not_finite,
            )
    raise ValueError(
        f"{'.'.join(path) or 'JSON'}: expected numbers, text, dates, arrays or containers of them, "
        f"got {type(value).__name__}"
    )


def parquet_bytes(frame: pd.DataFrame, what: str) -> bytes:
    """`frame` as parquet, without its index.

    Raises:
        ValueError: it has no columns, an index with a name, or columns whose names are not
            different texts.
    """
    if frame.index.nlevels > 1 or frame.index.name is not None:
        raise ValueError(
            f"{what}: the index {list(frame.index.names)} would be lost; call reset_index()"
        )
    columns = list(frame.columns)
    if (
        not columns
        or len(set(columns)) < len(columns)
        or not all(isinstance(c, str) for c in columns)
    ):
        raise ValueError(f"{what}: expected columns with different text names, got {columns}")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


class FolderLock:
    """Exclusive use of a folder by one process, which may rename it meanwhile; `<folder>.lock`
    beside it holds the id.

    The system drops the lock when the process ends, however it ends, so there are no stale locks.

    Raises:
        BlockingIOError: another process holds it; the message names its id.
        FileNotFoundError: the folder is gone (its writer has just finished it).
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder.with_name(f"{folder.name}.lock")
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock_file(self._handle)
        except OSError:
            os.close(self._handle)
            owner = self._path.read_text(errors="replace").strip() if self._path.exists() else ""
            raise BlockingIOError(f"process {owner or '(unknown)'} is writing {folder}") from None
        # Between our open and our lock the former owner may have finished the folder and removed
        # this file.
        ours = self._path.exists() and os.path.samestat(os.fstat(self._handle), self._path.stat())
        if not (ours and folder.is_dir()):
            self.release()
            raise FileNotFoundError(f"{folder} was finished by another process")
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        with suppress(OSError):  # Windows removes no open file: there it stays, unlocked
            self._path.unlink()
        os.close(self._handle)


def _lock_file(handle: int) -> None:
    if os.name == "nt":
        import msvcrt

        os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the text, which others must be able to read
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
