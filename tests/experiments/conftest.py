"""Tiny runs of the experiments as their commands make them."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

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


STUDY = """
import importlib, pathlib, pickle, sys
from experiments._command import start
start()
import jax
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
from diffmig import fit
from diffmig.batching import batch_mesh
experiment = importlib.import_module("experiments." + sys.argv[1]).EXPERIMENT
config = experiment.variants["tiny"]
inputs = experiment.load(None, config)
result = experiment.run(config, inputs, jax.random.key(0), fit.run_stage, batch_mesh())
pathlib.Path(sys.argv[2]).write_bytes(pickle.dumps(result))
"""


def tiny_result(name: str, folder: Path) -> Any:
    """Result of a tiny run: of a process with the settings of the command, so that its programs are
    those in the compilation cache."""
    path = folder / "result.pickle"
    done = subprocess.run(
        [sys.executable, "-c", STUDY, name, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return pickle.loads(path.read_bytes())


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """Folder of a finished tiny run."""
    from diffmig.report import latest_run

    out = tmp_path_factory.mktemp("results")
    done = command("experiments.grp", "--variant", "tiny", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return latest_run(out, "grp", "tiny")
