"""All experiments and the report by one command."""

import re

import pytest

from diffmig import report
from experiments import NAMES

from .conftest import command


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
    again = command(*arguments, "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is finished") == len(NAMES)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_an_unknown_experiment_is_named(tmp_path):
    done = command("experiments.reproduce", "--only", "weather", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "weather" in done.stderr
    assert "Traceback" not in done.stderr
