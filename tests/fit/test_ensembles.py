"""Ensembles: a run is itself whatever the chunks, interruptions, devices and neighbours."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.fit import Hybrid, Target, band, build_task, fit_hybrid, fit_seeds, member
from diffmig.networks import BPNN, Layout

SEEDS = 3
HYBRID = Hybrid(
    BPNN(4, hidden="tanh", output="identity", dtype="float64"),
    Layout(),
    "genetic-standard",
    num_members=4,
    num_steps=2,
    search="weights",
    units=((3, 3),),
    epochs=(6, 6),
)


@pytest.fixture(scope="module")
def tasks(region):
    """Folds [task, 1, ...] and finals [task, ...] of a level and a growth target."""
    score = jnp.asarray(np.arange(12) < 8, float)
    both = [build_task(region, Target(kind), 8, score) for kind in ("level", "growth")]
    finals = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
    return jax.tree.map(lambda leaf: leaf[:, None], finals), finals


@pytest.fixture(scope="module")
def fitted(tasks):
    return fit_seeds(jax.random.key(5), HYBRID, *tasks, SEEDS)


def assert_close(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-11)


def test_a_run_is_the_hybrid_of_its_folded_key(tasks, fitted):
    folds, finals = tasks
    assert fitted.levels.shape == (2, SEEDS, 12)
    run = jax.jit(fit_hybrid, static_argnums=1)
    for task, seed in ((0, 2), (1, 0)):
        key = jax.random.fold_in(jax.random.key(5), seed)
        alone = run(key, HYBRID, member(folds, task), member(finals, task))
        assert_close(member(fitted, task, seed), alone)
    # tasks share their seeds: the same first weights, trained on different outputs
    assert len({float(level) for level in fitted.levels[:, :, -1].ravel()}) == 2 * SEEDS


@pytest.mark.parametrize("runs_per_chunk", [1, 4])
def test_chunks_do_not_change_the_runs(tasks, fitted, runs_per_chunk):
    chunked = fit_seeds(jax.random.key(5), HYBRID, *tasks, SEEDS, runs_per_chunk=runs_per_chunk)
    assert_close(chunked, fitted)


def test_a_run_does_not_depend_on_how_many_there_are(tasks, fitted):
    fewer = fit_seeds(jax.random.key(5), HYBRID, *tasks, 2, runs_per_chunk=4)
    assert_close(fewer, jax.tree.map(lambda leaf: leaf[:, :2], fitted))


def test_a_stage_that_stops_half_way_resumes_to_the_same_bits(tasks):
    saved, computed = {}, []

    def stage(name, state, chunk_fn, num_chunks):
        first, state = saved.get(name, (0, state))
        for index in range(first, num_chunks):
            if index == stop_before:
                raise KeyboardInterrupt
            state = chunk_fn(state, index)
            computed.append(index)
            saved[name] = (index + 1, jax.tree.map(np.copy, state))
        return state

    def run(stage_fn=None):
        options = {} if stage_fn is None else {"name": "level", "stage_fn": stage_fn}
        return fit_seeds(jax.random.key(5), HYBRID, *tasks, SEEDS, runs_per_chunk=1, **options)

    stop_before = 3
    with pytest.raises(KeyboardInterrupt):
        run(stage)
    stop_before = None
    resumed = run(stage)
    assert computed == [0, 1, 2, 3, 4, 5]
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(run()), strict=True):
        np.testing.assert_array_equal(a, b)


ON_DEVICES = """
import sys
from diffmig import runtime
runtime.configure(cache_dir=None, host_devices=8)
import jax
from diffmig.batching import batch_mesh
sys.path[:0] = sys.argv[1:]
import conftest, test_ensembles as t
tasks = t.tasks.__wrapped__(conftest.region.__wrapped__())
runs = [
    t.fit_seeds(jax.random.key(5), t.HYBRID, *tasks, t.SEEDS, mesh=mesh)
    for mesh in (None, batch_mesh(jax.devices()[:2]), batch_mesh())
]
assert len(jax.devices()) == 8
for run in runs[1:]:
    t.assert_close(run, runs[0])
print("equal")
"""


def test_two_and_eight_devices_give_the_runs_of_one():
    done = subprocess.run(
        [sys.executable, "-c", ON_DEVICES, str(__file__).rsplit("/", 1)[0]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "equal", done.stderr


@pytest.mark.parametrize(
    ("num_seeds", "options", "words"),
    [(0, {}, "num_seeds"), (2, {"runs_per_chunk": 0}, "rows_per_chunk >= 1")],
)
def test_wrong_choices_are_named(tasks, num_seeds, options, words):
    with pytest.raises(ValueError, match=words):
        fit_seeds(jax.random.key(0), HYBRID, *tasks, num_seeds, **options)


def test_folds_and_finals_must_be_of_the_same_tasks(tasks):
    folds, finals = tasks
    with pytest.raises(ValueError, match="2 tasks"):
        fit_seeds(jax.random.key(0), HYBRID, member(folds, slice(0, 1)), finals, 2)


def test_a_band_is_the_quantiles_of_the_finite_members(key):
    values = np.array(jax.random.normal(key, (40, 3)))
    values[3, 0], values[7, 0], values[:, 2] = np.nan, -np.inf, np.inf
    got = band(jnp.asarray(values))
    for column, finite in ((0, np.delete(values[:, 0], [3, 7])), (1, values[:, 1])):
        low, median, high = np.quantile(finite, [0.05, 0.5, 0.95])
        for part, expected in ((got.low, low), (got.median, median), (got.high, high)):
            np.testing.assert_allclose(part[column], expected, rtol=1e-14)
    assert np.isnan(got.median[2])
    across = band(jnp.asarray(values[:, :2].T), axis=1)
    np.testing.assert_array_equal(across.high, got.high[:2])
