"""Series without physics through the same fit: what they reach as well is no finding."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh
from jax.tree_util import Partial

from diffmig import evaluate, fit
from diffmig.batching import batched
from experiments.migration import system as systems
from experiments.migration.config import Config
from experiments.migration.dynamics import force_model
from experiments.migration.explanation import yearly_means
from experiments.migration.inputs import Inputs
from experiments.migration.system import LIMITS, System

STATISTICS = {
    "coupling": "gain of ln L by the terms that couple places",
    "confinement": "stiffness of least force about the places' means, 1/year^2",
    "least_force_r2": "share of the second differences that the least force explains",
    "solution_r2": "R2 of data against the solution of the equation",
}
SURROGATES = ("AR(1)", "phases, common", "phases, own")
PER_CHUNK = 4


def statistics_of(
    config: Config, system: System, weights: Array, inputs: Inputs
) -> Callable[[Array], dict[str, Array]]:
    """Statistics of series [place, year] as a function that is compiled once; the similarity term
    is made again from each series."""
    model = force_model(config.smoothness)
    search = fit.LatentForceSearch(max_steps=60, num_per_year=2)
    active = system.active
    uncoupled = active.at[:2].set(0.0)
    starts = jnp.zeros((1, len(LIMITS)))
    num_years = inputs.years.size
    eye = jnp.eye(system.basis.shape[1])
    rebuild = partial(systems.make_terms, similar=bool(system.active[1]))
    held = jnp.zeros(len(inputs.places)) if inputs.immobility is None else jnp.asarray(
        inputs.immobility)  # fmt: skip

    def one(series: Array) -> dict[str, Array]:
        terms = rebuild(system.basis, weights, series, held)
        data = system.basis.T @ series

        def climb(active: Array) -> fit.LatentForceFit:
            fn = Partial(systems.dynamics, terms, active)
            return fit.fit_latent_dynamics(data, fn, starts, model=model, search=search)

        both = jax.lax.map(climb, jnp.stack([system.active, uncoupled]))
        time = np.arange(2 * num_years + 1) / 2
        solved = yearly_means(time, both.estimate.balance[0], num_years)
        centred = data - jnp.mean(data, axis=1, keepdims=True)
        least = fit.least_force_stiffness(centred, eye[None])
        spread = jnp.sum((data - jnp.mean(data)) ** 2)
        return {
            "coupling": both.log_likelihood[0] - both.log_likelihood[1],
            "confinement": least.strengths[0],
            "least_force_r2": least.r2,
            "solution_r2": 1.0 - jnp.sum((data - solved) ** 2) / spread,
        }

    return one


def run_surrogates(
    config: Config,
    inputs: Inputs,
    system: System,
    key: Array,
    stage_fn: fit.RunStage,
    mesh: Mesh | None,
) -> tuple[dict[str, float], pd.DataFrame]:
    """Statistics of the data, and of every surrogate."""
    rate = jnp.asarray(inputs.rate)
    num = config.num_surrogates
    keys = jax.random.split(key, 3)
    made = {
        "AR(1)": evaluate.ar1_surrogates(
            keys[0], evaluate.fit_autoregression(rate), inputs.years.size, num=num
        ),
        "phases, common": evaluate.phase_surrogates(keys[1], rate, num=num, common_phases=True),
        "phases, own": evaluate.phase_surrogates(keys[2], rate, num=num),
    }
    series = jnp.concatenate([rate[None], *made.values()])
    if inputs.closed:  # what leaves one place arrives in another, here too
        series = jnp.einsum("ik,jk,sjt->sit", system.basis, system.basis, series)
    weights = systems.kernel_weights(config, inputs)
    one = statistics_of(config, system, weights, inputs)
    rows_fn = jax.jit(lambda rows: batched(one, rows, mesh=mesh))
    done = fit.run_rows(
        "surrogates", rows_fn, np.asarray(series), rows_per_chunk=PER_CHUNK, stage_fn=stage_fn,
        mesh=mesh,
    )  # fmt: skip
    table = pd.DataFrame({name: values[1:] for name, values in done.items()})
    table.insert(0, "kind", np.repeat(list(made), num))
    return {name: float(values[0]) for name, values in done.items()}, table
