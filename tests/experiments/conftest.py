"""One tiny run of the GRP experiment, shared by its tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def command(*arguments: str, **options) -> subprocess.CompletedProcess:
    """`python -m ...` in the repository, output captured."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """Folder of a finished tiny run."""
    from diffmig.report import latest_run

    out = tmp_path_factory.mktemp("results")
    done = command("experiments.grp", "--variant", "tiny", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return latest_run(out, "grp", "tiny")
