"""Settings of an entry point take effect whenever they are made; the cache saves compiling."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffmig import runtime

COMPILE = """
import json, sys
from pathlib import Path
from diffmig import runtime
runtime.configure(cache_dir=Path(sys.argv[1]))
import jax, jax.numpy as jnp
def program(x):
    for _ in range(12):
        x = jnp.tanh(x @ x) + jnp.linalg.solve(x @ x.T + 9 * jnp.eye(8), x)
    return x.sum()
value = jax.jit(jax.grad(program))(jnp.eye(8)).block_until_ready()
print(json.dumps({**runtime.compile_times()._asdict(), "dtype": str(value.dtype)}))
"""


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = (runtime.CACHE_VARIABLE, "EQX_ON_ERROR", "XLA_FLAGS")
    kept = {k: v for k, v in os.environ.items() if k not in own}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=120, env={**kept, **environment},
        cwd=Path(__file__).parents[1],
    )  # fmt: skip


def test_second_process_compiles_almost_nothing(tmp_path: Path) -> None:
    first, second = (run_python(COMPILE, str(tmp_path / "cache")) for _ in range(2))
    cold, warm = json.loads(first.stdout), json.loads(second.stdout)
    assert cold["dtype"] == "float64"
    assert cold["cache_misses"] > 0 == cold["cache_hits"]
    assert warm["cache_hits"] == cold["cache_misses"]
    assert warm["cache_misses"] == 0
    assert warm["backend"] <= max(0.25 * cold["backend"], 0.1)
    for times in (cold, warm):
        parts = times["trace"] + times["lower"] + times["backend"]
        assert max(times["trace"], times["lower"], times["backend"]) <= times["total"]
        assert times["total"] <= parts * (1 + 1e-9)


def test_configure_takes_effect_after_jax_has_compiled(tmp_path: Path) -> None:
    code = """
import os, sys, jax, jax.numpy as jnp
from pathlib import Path
jax.jit(lambda x: x + 1)(1.0)
from diffmig import runtime
clock = runtime.CompileClock()
folder = runtime.configure(cache_dir=Path(sys.argv[1]))
jax.jit(lambda x: jnp.sin(x) * 3)(jnp.ones(5))
assert jnp.ones(2).dtype == jnp.float64
assert os.environ["EQX_ON_ERROR"] == "nan"
assert any(folder.iterdir()) and 0 < clock.seconds < runtime.compile_seconds() + 1e-9
try:
    runtime.configure(cache_dir=None, host_devices=4)
except RuntimeError as error:
    print(error)
"""
    done = run_python(code, str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "already started with 1 CPU device(s)" in done.stdout


def test_environment_names_the_cache_and_devices_are_split(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from diffmig import runtime
print(runtime.configure(cache_dir=Path("elsewhere"), host_devices=3, x64=False))
import jax, jax.numpy as jnp
print(len(jax.devices()), jnp.ones(1).dtype)
"""
    named = run_python(code, DIFFMIG_CACHE_DIR=str(tmp_path / "named"))
    assert named.stdout.split("\n")[:2] == [str(tmp_path / "named"), "3 float32"], named.stderr
    assert run_python(code, DIFFMIG_CACHE_DIR="").stdout.startswith("None")


def test_unwritable_cache_costs_a_line_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    code = "from diffmig import runtime; print(runtime.configure(host_devices=1))"
    done = run_python(code, DIFFMIG_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert done.stdout.strip() == "None"
    assert done.stderr.count("\n") == 1
    assert "no compilation cache" in done.stderr


def test_nested_time_spans_are_counted_once() -> None:
    union = runtime._Union()
    for span in [(1.0, 2.0), (3.0, 4.0), (0.5, 4.5), (5.0, 6.0), (5.5, 7.0)]:
        union.add(*span)
    assert union.seconds == pytest.approx(4.0 + 2.0)


def test_host_devices_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        runtime.configure(host_devices=0)
