"""Test-wide settings: float64, no silent promotion, real data folder, keys."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("EQX_ON_ERROR", "nan")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # workers share the cores
# Tests compile much and compute little: the plainest code costs half as much time in all.
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
        os.environ.get("XLA_FLAGS", ""),  # the caller's come last and win
    ]
)

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

TEST_DATA = Path(os.environ.get("DIFFMIG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


MAPS = Path("/proc/self/maps")  # Linux: memory mapped by this process, one line each
MOST_MAPS = 20_000  # a compiled program holds about ten; the kernel allows 65,530 a process


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_programs() -> Iterator[None]:
    """Forget compiled programs before there are so many that the kernel refuses the next."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(20)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data that the project does not ship; its tests are skipped without it."""
    if not TEST_DATA.is_dir():
        pytest.skip(f"no data folder at {TEST_DATA}; set DIFFMIG_TEST_DATA to run this test")
    return TEST_DATA
