"""All experiments and the report by one command."""

import re
import signal
import subprocess
import sys
import time

import pytest

from diffmig import report
from experiments import NAMES
from experiments._side_by_side import LEFT_OUT, run_side_by_side

from .conftest import ROOT, command


@pytest.mark.slow
def test_one_command_makes_the_report_and_resume_computes_nothing_again(tmp_path):
    arguments = ["experiments.reproduce", "--tiny", "--out", str(tmp_path)]
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in NAMES:
        metrics = report.latest_run(tmp_path, name, "tiny") / "metrics.json"
        assert metrics.exists()
    assert "impossible" in page
    assert re.search(r"compiling [\d.]+ s", done.stdout)
    again = command(*arguments, "--resume", "--jobs", "1")  # in turn, in one process
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is finished") == len(NAMES)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_side_by_side_says_who_failed_and_who_has_no_data(capfd):
    """Exit codes and messages come back in order, each line with its experiment's name."""
    arguments = ["--variant", "tiny", "--data", "nowhere.csv"]
    outcomes = run_side_by_side(["human_capital", "weather"], arguments, 2)
    assert [(o.name, o.code) for o in outcomes] == [("human_capital", LEFT_OUT), ("weather", 1)]
    assert "nowhere.csv" in outcomes[0].messages
    assert "No module named" in outcomes[1].messages
    shown = capfd.readouterr()
    assert "[human_capital] human_capital (tiny)" in shown.out
    assert "[weather] " in shown.err


def test_ctrl_c_reaches_every_experiment_and_resume_continues(tmp_path):
    """SIGINT to the command alone ends its children too, which keep what they have."""
    arguments = ["experiments.reproduce", "--tiny", "--only", "grp", "migration"]  # both take long
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments, "--jobs", "2", "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # shells start what runs in the background deaf to it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if len({x.split("]")[0] for x in lines if "(tiny)" in x}) == 2:
            break
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*/tiny/*.partial"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    assert rest.count("interrupted; continue with --resume") == 3, rest
    assert len(list(tmp_path.glob("*/tiny/*.partial"))) == 2


def test_an_unknown_experiment_is_named(tmp_path):
    done = command("experiments.reproduce", "--only", "weather", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "weather" in done.stderr
    assert "Traceback" not in done.stderr
