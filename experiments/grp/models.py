"""The three hybrids of the paper, as printed and repaired, and the runs of each."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from diffmig.networks import BPNN, LSTM, Elman, Layout, first_valid_year
from experiments.grp.config import Config
from experiments.grp.economy import Economy, first_years

MODELS = ("BA-LSTM", "GA-BPNN", "PSO-Elman")
TARGETS = (fit.Target("level", clip=True), fit.Target("growth", clip=True))


class Trained(NamedTuple):
    """Runs of one hybrid.

    Attributes:
        hybrid: what was trained.
        fitted: its runs, leaves [task, seed, ...].
        ex_ante: forecasts with forecast factors by the same weights, [task, seed, year], or None.
    """

    hybrid: fit.Hybrid
    fitted: fit.Fitted
    ex_ante: Array | None


def as_described(config: Config) -> dict[str, fit.Hybrid]:
    """The hybrids as the paper prints them.

    What it leaves open is set so: look-back 1; Adam; Glorot-uniform first weights, new at every
    evaluation; bat and swarm move as printed and a candidate outside the box is evaluated at its
    nearest point; the searches score the training error.
    """
    return {
        "BA-LSTM": fit.Hybrid(
            LSTM(width=16, gate="relu"),
            Layout("window", lookback=1),
            "bat-literal",
            num_members=20,
            num_steps=config.bat_steps,
            units=((1, 16),),
            log10_learning_rate=(-4.0, -1.0),
            epochs=(10, 100),
            common_start=False,
        ),
        "GA-BPNN": fit.Hybrid(
            BPNN(width=99),
            Layout(),
            "genetic-literal",
            num_members=10,
            num_steps=config.generations,
            units=((1, 99),),
            log10_learning_rate=(-3.0, -3.0),
            common_start=False,
        ),
        "PSO-Elman": fit.Hybrid(
            Elman(width=16),
            Layout(lag=1),
            "swarm-literal",
            num_members=10,
            num_steps=config.swarm_steps,
            units=((1, 16),),
            common_start=False,
        ),
    }


def repaired(config: Config) -> dict[str, fit.Hybrid]:
    """The hybrids with standard, bounded searches scored by rolling origins, and weight decay.

    Whole-sequence layouts; a biased tanh network instead of the printed BPNN.
    """
    hybrid = partial(
        fit.Hybrid,
        layout=Layout(),
        num_members=config.repaired_members,
        num_steps=config.repaired_steps,
        units=((1, 16),),
        log10_learning_rate=(-3.0, -1.0),
        epochs=(10, config.repaired_epochs),
        log10_weight_decay=(-3.0, 0.5),
    )
    plain = BPNN(width=16, hidden="tanh", output="identity", bias_terms=True)
    return {
        "BA-LSTM": hybrid(LSTM(width=16), method="bat-yang2020"),
        "GA-BPNN": hybrid(plain, method="genetic-standard"),
        "PSO-Elman": hybrid(Elman(width=16), method="swarm-constriction"),
    }


def stack(tasks: list[fit.Task]) -> fit.Task:
    """Tasks with one more leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *tasks)


def tasks_of(
    economy: Economy,
    series: fit.Series,
    targets: tuple[fit.Target, ...],
    hybrid: fit.Hybrid,
    num_training: int,
    score: slice,
    num_seen: int | None = None,
) -> fit.Task:
    """Tasks [target x base, ...] that train on the first `num_training` years and score `score`."""
    weight = jnp.zeros(len(economy.years)).at[score].set(1.0)
    build = partial(
        fit.build_task,
        num_training=num_training,
        score=weight,
        num_seen=num_seen,
        index_factor=economy.index_factor,
        first_year=first_valid_year(hybrid.layout),
    )
    rows = [jax.tree.map(lambda x, b=b: x[b], series) for b in range(len(economy.bases))]
    return stack([build(row, target) for target in targets for row in rows])


def run_as_described(
    key: Array,
    config: Config,
    economy: Economy,
    hybrid: fit.Hybrid,
    name: str,
    stage_fn: fit.RunStage,
    mesh: Mesh,
) -> Trained:
    """Runs [base, seed]: scaled over all data years, fitness is the training error."""
    training = slice(0, economy.num_training)
    finals = tasks_of(
        economy,
        economy.printed,
        (fit.Target("level"),),
        hybrid,
        economy.num_training,
        training,
        economy.num_data,
    )
    folds = first_years(finals, economy.num_training)
    fitted = fit.fit_seeds(
        key, hybrid, folds, finals, config.num_seeds,
        name=name, stage_fn=stage_fn, runs_per_chunk=config.runs_per_chunk, mesh=mesh,
    )  # fmt: skip
    return Trained(hybrid, fitted, None)


def run_repaired(
    key: Array,
    config: Config,
    economy: Economy,
    hybrid: fit.Hybrid,
    name: str,
    stage_fn: fit.RunStage,
    mesh: Mesh,
) -> Trained:
    """Runs [target x base, seed]: fitness by rolling origins inside the training years."""
    tasks = partial(tasks_of, economy, targets=TARGETS, hybrid=hybrid)
    ends = [economy.num_training - config.horizon - k for k in range(config.num_origins)]
    folds = [
        tasks(economy.observed, num_training=n, score=slice(n, n + config.horizon)) for n in ends
    ]
    final = partial(tasks, num_training=economy.num_training, score=slice(0, economy.num_training))
    by_task = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *folds)
    fitted = fit.fit_seeds(
        key, hybrid, by_task, final(economy.observed), config.num_seeds,
        name=name, stage_fn=stage_fn, runs_per_chunk=config.runs_per_chunk, mesh=mesh,
    )  # fmt: skip
    ex_ante = predict_all(hybrid, fitted.params, fitted.hyper.units, final(economy.ex_ante))
    return Trained(hybrid, fitted, ex_ante)


@partial(jax.jit, static_argnums=0)
def predict_all(hybrid: fit.Hybrid, params: object, units: Array, tasks: fit.Task) -> Array:
    """GRP by every run, [task, seed, year], for tasks [task, ...]."""
    predict = partial(fit.predict_levels, hybrid)
    over_seeds = jax.vmap(predict, in_axes=(0, 0, None))
    return jax.vmap(over_seeds)(params, units, fit.cast(tasks, hybrid.network.dtype))


def task_index(economy: Economy, target: int, base: int) -> int:
    """Row of `tasks_of` for a target and a price base."""
    return target * len(economy.bases) + base


def choose_target(economy: Economy, trained: Trained, base: int) -> tuple[int, float]:
    """Target of lowest median rolling-origin MAPE over the seeds, and that MAPE, percent."""
    last = np.asarray(trained.fitted.fitness)[:, :, -1]
    scores = [float(np.median(last[task_index(economy, t, base)])) for t in range(len(TARGETS))]
    best = int(np.argmin(scores))
    return best, scores[best]
