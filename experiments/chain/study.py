"""The experiment as one function of its inputs."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import explain, fit
from diffmig.batching import batched
from experiments.chain.checks import gradient_error, growth_since
from experiments.chain.config import Config
from experiments.chain.economy import (
    GRP,
    Response,
    build,
    default_values,
    respond,
    run_chain,
    value_box,
)
from experiments.chain.inputs import Inputs
from experiments.chain.levers import Least, least, movable


class Result(NamedTuple):
    """Everything that the report shows.

    Attributes:
        inputs: tables.
        amounts: spending of the years after the data, million, [line, year].
        middle: under the default assumptions, with H of the years of the data, [year].
        sets: under the sampled ones, leaves [set, ...], with the same, [set, year].
        reference: line and year whose effects the indices explain.
        indices: Sobol, outputs: effect on GRP and on the balance, GRP and balance themselves.
        gradient_error: largest relative difference from central differences.
        least: inverse question.
        past: as `growth_since`.
    """

    inputs: Inputs
    amounts: np.ndarray
    middle: Response
    past_capital: np.ndarray
    sets: Response
    past_capitals: np.ndarray
    reference: tuple[int, int]
    indices: explain.SobolIndices
    gradient_error: float
    least: Least
    past: tuple[float, float]


def run(
    config: Config, inputs: Inputs, key: Array, stage_fn: fit.RunStage, mesh: Mesh | None
) -> Result:
    """Baseline, gradients, bands, indices, inverse question; seconds, so no stages."""
    chain = jax.jit(partial(build, config, inputs))(default_values(config))
    respond_fn = jax.jit(partial(respond, config, chain))
    amounts = np.asarray(chain.region.amounts[:, 1:])
    middle = jax.tree.map(np.asarray, respond_fn(jnp.zeros(amounts.shape)))
    box = value_box(config)
    to_values = explain.box_fn(box)
    points = explain.sobol_points(
        jax.random.fold_in(key, 0), config.num_points, explain.num_inputs(box)
    )

    def of_set(point: Array) -> tuple[Response, Array]:
        made = build(config, inputs, to_values(point))
        nothing = jnp.zeros_like(made.region.amounts[:, 1:])
        return respond(config, made, nothing), made.past_capital

    @jax.jit
    def all_sets(points: Array) -> tuple[Response, Array]:
        return batched(of_set, points, block=config.block, mesh=mesh)

    sets, past_capitals = jax.tree.map(np.asarray, all_sets(points))
    reference = _reference(config, inputs, middle)
    return Result(
        inputs=inputs,
        amounts=amounts,
        middle=middle,
        past_capital=np.asarray(chain.past_capital),
        sets=sets,
        past_capitals=past_capitals,
        reference=reference,
        indices=_indices(config, inputs, reference, key, mesh),
        gradient_error=gradient_error(
            respond_fn, np.asarray(inputs.amounts[:, -1]), middle.effects
        ),
        least=least(config, inputs, amounts, respond_fn),
        past=growth_since(config),
    )


def _reference(config: Config, inputs: Inputs, middle: Response) -> tuple[int, int]:
    """The movable line of largest effect on GRP in the first year that can be decided on."""
    effect = np.where(movable(config, inputs), middle.effects[GRP, :, 0], -np.inf)
    return int(effect.argmax()), 0


def _indices(
    config: Config, inputs: Inputs, reference: tuple[int, int], key: Array, mesh: Mesh | None
) -> explain.SobolIndices:
    def outputs(values: dict[str, Array]) -> Array:
        chain = build(config, inputs, values)
        nothing = jnp.zeros_like(chain.region.amounts[:, 1:])
        one = nothing.at[reference].set(1.0)
        level, effect = jax.jvp(lambda x: run_chain(config, chain, x)[0], (nothing,), (one,))
        return jnp.concatenate([effect, level])

    box = value_box(config)
    pairs = explain.sobol_points(
        jax.random.fold_in(key, 1), config.num_pairs, 2 * explain.num_inputs(box)
    )
    return explain.sobol_indices(
        jax.random.fold_in(key, 2),
        outputs,
        box,
        pairs,
        num_resamples=config.num_resamples,
        block=config.block,
        mesh=mesh,
    )
