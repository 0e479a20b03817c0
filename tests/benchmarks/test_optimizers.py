"""The optimiser benchmark in a tiny size, without peers."""

import numpy as np
import pytest

from benchmarks import optimizers
from benchmarks._timing import time_together

OPTIONS = optimizers.Options(quick=True, peers=False, best_generations=30, repeats=3, seeds=2)


def test_rows_compare_the_same_search_with_both_generators() -> None:
    case = optimizers.Case("rosenbrock", 8, 64)
    rows = optimizers.measure(case, OPTIONS)
    assert [row["method"] for row in rows] == list(optimizers.COMPILED[:3])
    start = np.min(case.numpy(np.random.default_rng(0).uniform(-5, 5, (64, 8))))
    for row in rows:
        assert row["generations_per_second"] > 0
        assert row["compile_seconds"] > 0
        assert row["best"] < start
    assert rows[0]["best"] != rows[2]["best"]
    assert "rosenbrock" in optimizers.table(rows)


def test_timing_keeps_the_least_number_of_repeats() -> None:
    calls: list[str] = []
    times = time_together(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=9, budget=0.0
    )
    assert calls == ["a", "b"] * 4  # warm-up, then three rounds
    assert times["a"].repeats == 3
    assert times["b"].low <= times["b"].median <= times["b"].high


def test_loss_is_checked_against_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "check", lambda case: 1.0)
    with pytest.raises(RuntimeError, match="differs from NumPy"):
        optimizers.measure(optimizers.Case("sphere", 4, 8), OPTIONS)
