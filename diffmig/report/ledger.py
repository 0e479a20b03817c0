"""Ledgers of runs as files: written, read as text, joined. `evaluate` computes what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffmig.report.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd


def ledger_csv(frame: pd.DataFrame) -> bytes:
    """`frame` as CSV.

    Raises:
        ValueError: its columns or verdicts are not those of `evaluate.ledger_frame`.
    """
    from diffmig.evaluate import VERDICTS, Row

    if list(frame.columns) != list(Row._fields):
        raise ValueError(f"ledger: expected columns {list(Row._fields)}, got {list(frame.columns)}")
    if wrong := sorted(set(map(str, frame["verdict"])) - set(VERDICTS)):
        raise ValueError(f"ledger: verdicts {wrong} are none of {list(VERDICTS)}")
    return frame.to_csv(index=False, lineterminator="\n").encode()


def read_ledger(path: Path) -> pd.DataFrame:
    """A ledger, every cell as text: printed numbers keep their decimals."""
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False)


def join_ledgers(run_folders: Sequence[Path], out: Path) -> pd.DataFrame:
    """Rows of all ledgers, as text in the order of the runs; written to `<out>/ledger.csv`."""
    import pandas as pd

    from diffmig.evaluate import Row

    paths = [Path(folder) / "ledger.csv" for folder in run_folders]
    ledgers = [read_ledger(path) for path in paths if path.exists()]
    empty = pd.DataFrame(columns=list(Row._fields), dtype=str)
    joined = pd.concat([empty, *ledgers], ignore_index=True)
    write_atomic(Path(out) / "ledger.csv", ledger_csv(joined))
    return joined
