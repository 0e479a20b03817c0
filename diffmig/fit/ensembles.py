"""Many runs of a hybrid at once: tasks x seeds, in blocks over devices, chunk by chunk."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig.batching import batched
from diffmig.fit.hybrids import Fitted, Hybrid, fit_hybrid
from diffmig.fit.stages import RunStage, run_rows, run_stage
from diffmig.fit.tasks import Task

NETWORKS_PER_BLOCK = 64  # trained side by side on one device: see benchmarks/batches.py


class Band(NamedTuple):
    """Median and 5 and 95 % quantiles over the members of an ensemble."""

    median: Array
    low: Array
    high: Array


def fit_seeds(
    key: Array,
    hybrid: Hybrid,
    folds: Task,
    finals: Task,
    num_seeds: int,
    *,
    name: str = "hybrid",
    stage_fn: RunStage = run_stage,
    runs_per_chunk: int = 10,
    mesh: Mesh | None = None,
) -> Fitted:
    """`num_seeds` runs of a hybrid on every task, [task, seed, ...].

    A run draws from fold_in(key, seed), so that tasks share their seeds
    and a run does not depend on how many there are, nor on chunks, blocks and devices.

    Args:
        key: random key.
        hybrid: model and search.
        folds: [task, fold, ...].  finals: [task, ...].
        num_seeds: runs per task.
        name, stage_fn: stage of the experiment and what runs it (report's form saves and resumes).
        runs_per_chunk: runs of one compiled call.
        mesh: devices that share a chunk.

    Returns:
        Fitted, leaves NumPy arrays [task, seed, ...]: picking runs out compiles nothing.

    Raises:
        ValueError: `num_seeds` or `runs_per_chunk` < 1, or task axes that differ.
    """
    num_tasks = finals.grp.shape[0]
    if num_seeds < 1 or folds.grp.shape[0] != num_tasks:
        raise ValueError(
            f"expected num_seeds >= 1 and one set of folds per task, got {num_seeds} and "
            f"{folds.grp.shape[0]} sets for {num_tasks} tasks"
        )
    networks_per_run = hybrid.num_members * folds.grp.shape[1]
    block = max(1, NETWORKS_PER_BLOCK // networks_per_run)
    rows = np.indices((num_tasks, num_seeds)).reshape(2, -1)
    fitted = run_rows(
        name,
        lambda rows: _fit_rows(key, folds, finals, rows, hybrid=hybrid, block=block, mesh=mesh),
        tuple(rows),
        rows_per_chunk=runs_per_chunk,
        stage_fn=stage_fn,
        mesh=mesh,
    )
    shape = (num_tasks, num_seeds)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), fitted)


@partial(jax.jit, static_argnames=("hybrid", "block", "mesh"))
def _fit_rows(
    key: Array,
    folds: Task,
    finals: Task,
    rows: tuple[Array, Array],
    *,
    hybrid: Hybrid,
    block: int,
    mesh: Mesh | None,
) -> Fitted:
    task, seed = rows
    keys = jax.vmap(lambda s: jax.random.fold_in(key, s))(seed)
    take = partial(jax.tree.map, lambda leaf: leaf[task])
    return batched(
        lambda run: fit_hybrid(run[0], hybrid, run[1], run[2]),
        (keys, take(folds), take(finals)),
        block=block,
        mesh=mesh,
    )


@partial(jax.jit, static_argnames="axis")
def band(values: Array, axis: int = 0) -> Band:
    """Median and 5 and 95 % quantiles along `axis`; members that are not finite are left out.

    Differentiable almost everywhere.
    """
    finite = jnp.where(jnp.isfinite(values), values, jnp.nan)
    low, median, high = jnp.nanquantile(finite, jnp.array([0.05, 0.5, 0.95], finite.dtype), axis)
    return Band(median, low, high)


def member(fitted: Any, *index: int) -> Any:
    """One run of a batch, for example `member(fitted, task, seed)`."""
    return jax.tree.map(lambda leaf: leaf[index], fitted)
