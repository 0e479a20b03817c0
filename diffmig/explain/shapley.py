"""Exact Shapley values: a model's output at a point, divided among its factors."""

from collections.abc import Callable
from math import factorial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import batched

MAX_FACTORS = 12


class Shapley(NamedTuple):
    """Additive explanation: output = base + sum of `values` over factors (or groups of them).

    Attributes:
        values: contribution of each factor, [factor, *out], unit of the output.
        base: mean output over the background, [*out].
        output: output at the explained point, [*out].
    """

    values: Array
    base: Array
    output: Array


def shapley_values(
    model_fn: Callable[[Array], Array],
    point: ArrayLike,
    background: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    first_layer: Array | None = None,
    block: int | None = None,
) -> Shapley:
    """Exact interventional Shapley values over all coalitions of factors.

    v(S) = mean_b model_fn(point where in S, background_b elsewhere)
    values_i = sum_{S without i} |S|! (d - |S| - 1)! / d! * (v(S + i) - v(S)),  d players

    Args:
        model_fn: one input [..., factor] -> output of any shape.
        point: the explained input, [..., factor]. Leading axes (such as years) belong to the
            factor: a whole path is one player.
        background: reference inputs, [sample, ..., factor].
        groups: number 0, 1, ... of the player that each factor belongs to, [factor]; factors that
            move together (collinear ones) belong to one player. None: each is a player of its own.
            1 to 12 players.
        first_layer: [factor, unit]; the model is then model_fn(x @ first_layer), x [factor], and
            each of its inputs costs one product of the coalitions with a matrix.
        block: coalitions per block, to bound memory; None evaluates all 2^d at once.

    Returns:
        Shapley, `values` [factor, *out], or [group, *out]. Sums to model_fn(point) - mean_b
        model_fn(background_b) exactly; a factor that the model does not use gets 0.

    Raises:
        ValueError: more than 12 players, groups that are not 0, 1, ..., or a background or first
            layer that does not fit the point.

    Notes:
        2^d * sample model runs. Differentiable in the model's parameters and `point`; many points:
        `shapley_rows`, members of an ensemble: `jax.vmap` of this function.

    Source: Shapley, 1953, A value for n-person games; Janzing, Minorics, Bloebaum, 2020, Feature
    relevance quantification in explainable AI (interventional v).
    """
    point, background = jnp.asarray(point), jnp.asarray(background)
    players = check_players(point.shape, background, groups, first_layer)
    num_players = int(players.max()) + 1
    if num_players > MAX_FACTORS:
        raise ValueError(
            f"point: expected 1 to {MAX_FACTORS} factors, got shape {point.shape}; group factors "
            "that belong together, or sample with permutation_shapley"
        )
    coalitions = _coalitions(num_players)
    value_fn = coalition_value_fn(model_fn, point, background, first_layer)
    values = batched(value_fn, jnp.asarray(coalitions[:, players]), block=block)
    weights = jnp.asarray(_weights(coalitions), values.dtype)
    return Shapley(jnp.tensordot(weights, values, axes=1), values[0], values[-1])


def shapley_rows(
    model_fn: Callable[[Array], Array],
    points: ArrayLike,
    background: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    first_layer: Array | None = None,
    block: int | None = 1,
    mesh: Mesh | None = None,
) -> Shapley:
    """`shapley_values` of many points, leaves [row, ...].

    Args:
        points: explained inputs, [row, ..., factor].
        model_fn, background, groups, first_layer: as `shapley_values`.
        block: points side by side, None: all.  mesh: devices that share them.
    """
    background = jnp.asarray(background)
    return batched(
        lambda point: shapley_values(
            model_fn, point, background, groups=groups, first_layer=first_layer
        ),
        jnp.asarray(points),
        block=block,
        mesh=mesh,
    )


def check_players(
    shape: tuple[int, ...],
    background: Array,
    groups: ArrayLike | None,
    first_layer: Array | None,
) -> np.ndarray:
    """Player of every factor, int [factor]; raises ValueError as `shapley_values`."""
    if not shape or not shape[-1]:
        raise ValueError(f"point: expected [..., factor] with a factor, got shape {shape}")
    if background.shape[1:] != shape or not background.shape[0]:
        raise ValueError(f"background: expected [sample, *{shape}], got {background.shape}")
    num_factors = shape[-1]
    if first_layer is not None and (len(shape) > 1 or first_layer.shape[:-1] != (num_factors,)):
        raise ValueError(
            f"first_layer: expected [{num_factors}, unit] and points [factor], got "
            f"{first_layer.shape} and {shape}"
        )
    players = np.arange(num_factors) if groups is None else np.asarray(groups)
    whole = players.dtype.kind in "iu" and players.shape == (num_factors,)
    if not whole or set(players.tolist()) != set(range(int(players.max()) + 1)):
        raise ValueError(
            f"groups: expected {num_factors} integers that are 0, 1, ... without a gap, got "
            f"{players.tolist()}"
        )
    return players


def coalition_value_fn(
    model_fn: Callable[[Array], Array],
    point: Array,
    background: Array,
    first_layer: Array | None = None,
) -> Callable[[Array], Array]:
    """v: members bool [factor] -> mean output with the members' factors taken from `point`."""
    if first_layer is None:

        def value(members: Array) -> Array:
            chosen = jnp.broadcast_to(members, point.shape)
            outputs = jax.vmap(lambda row: model_fn(jnp.where(chosen, point, row)))(background)
            return jnp.mean(outputs, axis=0)

        return value

    # x @ w is linear: what factor i of the point adds to the signals of every background row
    signals = background @ first_layer
    steps = jnp.swapaxes(point[None, :] - background, 0, 1)[:, :, None] * first_layer[:, None, :]
    steps = steps.reshape(point.shape[0], -1)

    def value_of_signals(members: Array) -> Array:
        added = (members.astype(steps.dtype) @ steps).reshape(signals.shape)
        return jnp.mean(jax.vmap(model_fn)(signals + added), axis=0)

    return value_of_signals


def _coalitions(num_players: int) -> np.ndarray:
    """All subsets, bool [2^player, player]; the first is empty, the last is full."""
    return (np.arange(2**num_players)[:, None] >> np.arange(num_players)) % 2 == 1


def _weights(coalitions: np.ndarray) -> np.ndarray:
    """[player, coalition]: v has a + where the player belongs to the coalition, else a -."""
    num_players = coalitions.shape[1]
    sizes = coalitions.sum(axis=1)
    # Orders of the other players in which exactly k of them come first, as a share of all orders.
    share = np.array([factorial(k) * factorial(num_players - k - 1) for k in range(num_players)])
    share = share / factorial(num_players)
    joined, absent = share[np.maximum(sizes - 1, 0)], share[np.minimum(sizes, num_players - 1)]
    return np.where(coalitions, joined[:, None], -absent[:, None]).T
