"""Shapley values of any number of factors by sampling orders in which they join."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import batched
from diffmig.explain.shapley import check_players, coalition_value_fn
from diffmig.random import fold_in, uniform_pair


class SampledShapley(NamedTuple):
    """Additive explanation of many points: output = base + sum of `values` over factors.

    Attributes:
        values: contribution of each factor (or group), [row, factor, *out], unit of the output.
        standard_error: of `values` over the pairs of orders, same shape; NaN for one pair.
        base: mean output over the background, [row, *out], equal in all rows.
        output: output at the explained points, [row, *out].
    """

    values: Array
    standard_error: Array
    base: Array
    output: Array


def permutation_shapley(
    key: Array,
    model_fn: Callable[[Array], Array],
    points: ArrayLike,
    background: ArrayLike,
    *,
    num_pairs: int = 16,
    groups: ArrayLike | None = None,
    first_layer: Array | None = None,
    block: int | None = 1,
    mesh: Mesh | None = None,
) -> SampledShapley:
    """Interventional Shapley values by pairs of a random order of joining and its reverse.

    values_i = mean over orders of v(those before i, and i) - v(those before i),
    v(S) = mean_b model_fn(point where in S, background_b elsewhere)

    Args:
        key: random key; row n draws its orders from fold_in(key, n).
        model_fn: one input [..., factor] -> output of any shape.
        points: explained inputs, [row, ..., factor].
        background: reference inputs, [sample, ..., factor].
        num_pairs: pairs of orders.
        groups, first_layer: as `shapley_values`, any number of players.
        block: points side by side, None: all.  mesh: devices that share them.

    Returns:
        SampledShapley. Every pair, hence their mean, sums exactly to model_fn(point) - mean_b
        model_fn(background_b); a factor that the model does not use gets 0. Exact for a model
        without interactions of more than two factors.

    Raises:
        ValueError: shapes and groups as `shapley_values`, or no pair.

    Notes:
        2 (d - 1) num_pairs + 2 values v per point, each the mean of sample model runs.
        Differentiable in the model's parameters and `points`. Rows draw different orders, so that
        sampling errors average out over rows.

    Source: Strumbelj, Kononenko, 2014, Explaining prediction models and individual predictions with
    feature contributions; Mitchell et al., 2022, Sampling permutations for Shapley value
    estimation, JMLR 23 (antithetic pairs).
    """
    points, background = jnp.asarray(points), jnp.asarray(background)
    if points.ndim < 2 or num_pairs < 1:
        raise ValueError(
            f"expected points [row, ..., factor] and num_pairs >= 1, got {points.shape} and "
            f"{num_pairs}"
        )
    players = check_players(points.shape[1:], background, groups, first_layer)
    num_players = int(players.max()) + 1

    def explain(row: tuple[Array, Array]) -> SampledShapley:
        number, point = row
        value_fn = coalition_value_fn(model_fn, point, background, first_layer)
        ends = jnp.stack([jnp.zeros(players.size, bool), jnp.ones(players.size, bool)])
        base, output = jax.vmap(value_fn)(ends)
        draws, _ = uniform_pair(
            fold_in(key, number), (num_pairs, num_players), jnp.result_type(float)
        )
        ranks = jnp.argsort(draws, axis=-1)
        gains = jax.vmap(lambda rank: _pair_gains(value_fn, rank, players, base, output))(ranks)
        spread = jnp.std(gains, axis=0, ddof=1) if num_pairs > 1 else jnp.full_like(base, jnp.nan)
        error = jnp.broadcast_to(spread / num_pairs**0.5, gains.shape[1:])
        return SampledShapley(jnp.mean(gains, axis=0), error, base, output)

    numbers = jnp.arange(points.shape[0], dtype=jnp.uint32)
    return batched(explain, (numbers, points), block=block, mesh=mesh)


def _pair_gains(
    value_fn: Callable[[Array], Array], rank: Array, players: np.ndarray, base: Array, output: Array
) -> Array:
    """What each player adds when it joins, mean of an order and its reverse, [player, *out].

    rank: place of every player in the order, [player].
    """
    num_players = rank.shape[0]
    if num_players == 1:
        return (output - base)[None]
    sizes = jnp.arange(1, num_players, dtype=rank.dtype)
    first = (rank[None, :] < sizes[:, None])[:, players]  # the first 1, 2, ... of the order
    forth = jax.vmap(value_fn)(first)
    back = jax.vmap(value_fn)(~first)  # the others: the first of the reverse order
    ends = base[None], output[None]
    rising = jnp.concatenate([ends[0], forth, ends[1]])
    falling = jnp.concatenate([ends[1], back, ends[0]])
    gain = 0.5 * (jnp.diff(rising, axis=0) - jnp.diff(falling, axis=0))
    return gain[rank]
