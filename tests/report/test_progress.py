"""Progress is silent for short work and in files, sparse in logs."""

import importlib
import io

import pytest

from diffmig.report import progress

MODULE = importlib.import_module("diffmig.report.progress")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(MODULE, "time", clock)
    monkeypatch.delenv("DIFFMIG_PROGRESS", raising=False)
    return clock


def test_log_gets_a_line_every_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(40, "training", done=10) as bar:
        for loss in range(30):
            clock.now += 1.0
            bar.update(text=f"loss {loss}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "training: 20/40, 10 s, about 20 s left, loss 9",
        "training: 30/40, 20 s, about 10 s left, loss 19",
        "training: 40/40, 30 s, about 0 s left, loss 29",
    ]


def test_it_can_be_silenced(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFMIG_PROGRESS", "0")
    with progress(2, "training") as bar:
        clock.now += 60.0
        bar.update(2)
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("wait", "shown"), [(0.0, False), (5.0, True)])
def test_terminal_sees_a_bar_only_for_long_work(
    monkeypatch: pytest.MonkeyPatch, wait: float, shown: bool
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(MODULE, "FIRST_AFTER", 2.0 - wait)
    with progress(3, "training") as bar:
        for _ in range(3):
            bar.update(text="loss 1")
    assert ("training" in terminal.getvalue()) is shown
