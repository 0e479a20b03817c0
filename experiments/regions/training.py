"""Every network of the study: grid points x origins x regions x seeds as rows of one batch."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from diffmig.batching import batched
from diffmig.networks import BPNN, LSTM, Elman, Layout
from experiments.regions.config import Config
from experiments.regions.places import Regions
from experiments.regions.rivals import extend_factors

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "LSTM": LSTM,
    "Elman": Elman,
    "BPNN": partial(BPNN, hidden="tanh", output="identity", bias_terms=True),
}


class Runs(NamedTuple):
    """Trained networks, leaves [run, ...].

    Attributes:
        levels: GRP, fitted in training years and forecast after them, [run, protocol, year].
        diverged: bool, training met a loss that is not finite, or a level is not finite.
    """

    levels: np.ndarray
    diverged: np.ndarray


class Rows(NamedTuple):
    """What every run trains, int64 [run] each but the decay."""

    target: np.ndarray
    origin: np.ndarray
    region: np.ndarray
    seed: np.ndarray
    weight_decay: np.ndarray


def training_ends(config: Config, regions: Regions) -> np.ndarray:
    """Number of training years at every rolling origin, in order of time, then of the whole."""
    last = regions.num_training - config.selection_horizon
    return np.array([*range(last - config.num_origins + 1, last + 1), regions.num_training])


def build_tasks(config: Config, regions: Regions) -> fit.Task:
    """Training problems, leaves [target, origin, region, protocol, ...]; the last origin is the end
    of the training years.

    The protocols differ in the inputs after the origin only, so that one training serves both.
    """
    ends, num_years = training_ends(config, regions), len(regions.years)
    actual = jnp.asarray(regions.factors)
    factors = jnp.stack(
        [jnp.stack([actual, extend_factors(actual, int(end))], axis=1) for end in ends]
    )
    nothing, constant_prices = jnp.zeros(num_years), jnp.full(num_years, 100.0)

    def tasks_of(kind: str) -> fit.Task:
        def one(factors: Array, grp: Array, end: Array) -> fit.Task:
            series = fit.Series(grp, factors, constant_prices)
            return fit.build_task(series, fit.Target(kind, clip=True), end, nothing)  # type: ignore[arg-type]

        over_protocols = jax.vmap(one, (0, None, None))
        over_regions = jax.vmap(over_protocols, (0, 0, None))
        over_origins = jax.jit(jax.vmap(over_regions, (0, None, 0)))
        return over_origins(factors, jnp.asarray(regions.grp), jnp.asarray(ends))

    return jax.tree.map(lambda *t: jnp.stack(t), *(tasks_of(kind) for kind in config.targets))


def train_rows(
    key: Array,
    config: Config,
    network: str,
    tasks: fit.Task,
    rows: Rows,
    name: str,
    stage_fn: fit.RunStage,
    mesh: Mesh | None,
) -> Runs:
    """All `rows` by one compiled program of fixed size, saved chunk by chunk.

    A run draws from fold_in(fold_in(key, region), seed): beyond float32 rounding it depends
    neither on the other rows nor on chunks, blocks and devices.
    """
    hybrid = _hybrid(config, network)
    return fit.run_rows(
        name,
        lambda rows: Runs(*_train_rows(key, tasks, rows, hybrid=hybrid, mesh=mesh)),
        rows,
        rows_per_chunk=config.runs_per_chunk,
        stage_fn=stage_fn,
        mesh=mesh,
    )


@partial(jax.jit, static_argnames=("hybrid", "mesh"))
def _train_rows(
    key: Array, tasks: fit.Task, rows: Rows, *, hybrid: fit.Hybrid, mesh: Mesh | None
) -> tuple[Array, Array]:
    fold_in = jax.vmap(jax.random.fold_in)
    keys = fold_in(jax.vmap(partial(jax.random.fold_in, key))(rows.region), rows.seed)
    chosen = jax.tree.map(lambda leaf: leaf[rows.target, rows.origin, rows.region], tasks)
    chosen = fit.cast(chosen, hybrid.network.dtype)
    hyper = fit.Hyper(
        units=jnp.full((len(rows.seed), 1), hybrid.units[0][0], jnp.int32),
        learning_rate=jnp.full(len(rows.seed), 10.0 ** hybrid.log10_learning_rate[0]),
        epochs=jnp.full(len(rows.seed), hybrid.epochs[0], jnp.int32),
        weight_decay=jnp.asarray(rows.weight_decay),
    )

    def one(run: tuple[Array, fit.Hyper, fit.Task]) -> tuple[Array, Array]:
        key, hyper, both = run
        known = jax.tree.map(lambda leaf: leaf[0], both)
        training, _ = fit.train_fixed(key, hybrid, hyper, known)
        levels = jax.vmap(partial(fit.predict_levels, hybrid, training.params, hyper.units))(both)
        return levels, training.diverged | ~jnp.all(jnp.isfinite(levels))

    return batched(one, (keys, hyper, chosen), block=fit.NETWORKS_PER_BLOCK, mesh=mesh)


def _hybrid(config: Config, network: str) -> fit.Hybrid:
    if network not in NETWORKS:
        raise ValueError(f"networks: expected some of {sorted(NETWORKS)}, got {network!r}")
    rate = float(np.log10(config.learning_rate))
    return fit.Hybrid(
        NETWORKS[network](width=16),
        Layout(),
        "random-search",  # unused: the grid is searched by rolling origins
        units=((config.units, config.units),),
        log10_learning_rate=(rate, rate),
        epochs=(config.epochs, config.epochs),
        log10_weight_decay=(-9.0, 1.0),
    )
