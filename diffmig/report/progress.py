"""Progress of long work: a bar on a terminal, a line every ten seconds elsewhere."""

import os
import sys
import time
from types import TracebackType
from typing import Self

FIRST_AFTER = 2.0  # seconds before anything is shown
LINE_EVERY = 10.0  # seconds between two lines where stderr is not a terminal


class Progress:
    """Counter of `total` pieces of work; made by `progress`."""

    def __init__(self, total: int, label: str, done: int) -> None:
        self._total, self._label, self._done, self._before = total, label, done, done
        self._start = self._last_line = time.monotonic()
        self._bar = None
        self._silent = os.environ.get("DIFFMIG_PROGRESS") == "0"
        if not self._silent and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, desc=label, delay=FIRST_AFTER, dynamic_ncols=True
            )

    def update(self, count: int = 1, text: str = "") -> None:
        """Count `count` more pieces as done; `text` (a loss, say) is shown behind the bar."""
        self._done += count
        if self._bar is not None:
            if text:
                self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(count)
        elif not self._silent and time.monotonic() - self._last_line >= LINE_EVERY:
            self._last_line = time.monotonic()
            spent = self._last_line - self._start
            left = spent * max(self._total - self._done, 0) / max(self._done - self._before, 1)
            line = (
                f"{self._label}: {self._done}/{self._total}, {spent:.0f} s, about {left:.0f} s left"
            )
            print(f"{line}, {text}" if text else line, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def progress(total: int, label: str, *, done: int = 0) -> Progress:
    """Progress over `total` pieces of work: `with progress(20, "seeds") as bar: ...; bar.update()`.

    Shown on stderr: a bar after two seconds on a terminal, else at most one line every ten seconds.
    DIFFMIG_PROGRESS=0 silences both. `done` pieces were there before (a resumed run).
    """
    return Progress(total, label, done)
