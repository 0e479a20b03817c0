"""Section 4.1: do wider or deeper networks, or larger swarms, help?"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from diffmig.batching import batched
from diffmig.networks import LSTM
from experiments.grp.config import Config
from experiments.grp.economy import Economy
from experiments.grp.models import Trained, as_described, run_as_described, tasks_of
from experiments.grp.scores import score

WIDTHS, LAYERS = (5, 10, 15, 20, 40), (1, 2)


class Study(NamedTuple):
    """GRP by every network, [setting, base, seed, year], and the runs of the larger swarm."""

    settings: tuple[tuple[int, int], ...]
    levels: np.ndarray
    larger_swarm: Trained | None


def run_study(
    key: Array, config: Config, economy: Economy, stage_fn: fit.RunStage, mesh: Mesh
) -> Study:
    """LSTMs of all widths and layers, trained with a learning rate of 0.01, in one vmap."""
    plain = as_described(config)["BA-LSTM"]
    hybrid = replace(
        plain,
        network=LSTM(width=64, num_layers=2, gate="relu"),
        units=((1, 64), (0, 64)),
        epochs=(config.study_epochs, config.study_epochs),
    )
    training = slice(0, economy.num_training)
    tasks = tasks_of(
        economy,
        economy.printed,
        (fit.Target("level"),),
        hybrid,
        economy.num_training,
        training,
        economy.num_data,
    )
    settings = tuple((width, layers) for layers in LAYERS for width in WIDTHS)
    units = jnp.array([[w, w if n == 2 else 0] for w, n in settings], jnp.int32)
    shape = (len(settings), len(economy.bases), config.num_seeds)

    def one(run: tuple[Array, Array, Array]) -> Array:
        setting, base, seed = run
        hyper = fit.Hyper(
            units[setting], jnp.float32(0.01), jnp.int32(config.study_epochs), jnp.float32(0.0)
        )
        task = jax.tree.map(lambda leaf: leaf[base], tasks)
        return fit.train_fixed(jax.random.fold_in(key, seed), hybrid, hyper, task)[1]

    levels = fit.run_rows(
        "widths-and-layers",
        jax.jit(partial(batched, one, block=32, mesh=mesh)),
        tuple(index.ravel() for index in np.indices(shape)),
        rows_per_chunk=math.prod(shape),
        stage_fn=stage_fn,
        mesh=mesh,
    )
    larger = None
    if config.larger_swarm:
        swarm = as_described(config)["PSO-Elman"]
        doubled = replace(swarm, num_members=2 * swarm.num_members)
        larger = run_as_described(key, config, economy, doubled, "larger-swarm", stage_fn, mesh)
    return Study(settings, levels.reshape(*shape, -1), larger)


def study_frame(economy: Economy, study: Study) -> pd.DataFrame:
    """Scores of every run of the study: prices, layers, units, seed, sample, mape."""
    rows = []
    for (units, layers), by_base in zip(study.settings, study.levels, strict=True):
        for base, levels in zip(economy.bases, by_base, strict=True):
            for sample in ("train", "validation"):
                values = score(economy, economy.bases.index(base), levels, sample)["mape"]
                rows += [
                    (base, layers, units, seed, sample, float(v)) for seed, v in enumerate(values)
                ]
    return pd.DataFrame(rows, columns=["prices", "layers", "units", "seed", "sample", "mape"])
