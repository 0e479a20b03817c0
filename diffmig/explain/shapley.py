"""Exact Shapley values: a model's output at one point, divided among its factors."""

from collections.abc import Callable
from math import factorial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.batching import batched

MAX_FACTORS = 12


class Shapley(NamedTuple):
    """Additive explanation: output = base + sum of `values` over factors.

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
    block: int | None = None,
) -> Shapley:
    """Exact interventional Shapley values over all coalitions of factors.

    v(S) = mean_b model_fn(point where in S, background_b elsewhere)
    values_i = sum_{S without i} |S|! (d - |S| - 1)! / d! * (v(S + i) - v(S)),  d factors

    Args:
        model_fn: one input [..., factor] -> output of any shape.
        point: the explained input, [..., factor], 1 to 12 factors. Leading axes (such as years)
            belong to the factor: a whole path is one player.
        background: reference inputs, [sample, ..., factor].
        block: coalitions per block, to bound memory; None evaluates all 2^d at once.

    Returns:
        Shapley. Sums to model_fn(point) - mean_b model_fn(background_b) exactly; a factor that the
        model does not use gets 0.

    Raises:
        ValueError: more than 12 factors, or a background that does not fit the point.

    Notes:
        2^d * sample model runs. Differentiable in the model's parameters and `point`; explain many
        points or members by `jax.vmap` of this function.

    Source: Shapley, 1953, A value for n-person games; Janzing, Minorics, Bloebaum, 2020, Feature
    relevance quantification in explainable AI (interventional v).
    """
    point, background = jnp.asarray(point), jnp.asarray(background)
    if point.ndim < 1 or not 1 <= point.shape[-1] <= MAX_FACTORS:
        raise ValueError(
            f"point: expected [..., factor] with 1 to {MAX_FACTORS} factors, "
            f"got shape {point.shape}; group factors that belong together"
        )
    if background.shape[1:] != point.shape or not background.shape[0]:
        raise ValueError(f"background: expected [sample, *{point.shape}], got {background.shape}")
    num_factors = point.shape[-1]
    coalitions = _coalitions(num_factors)

    def coalition_value(members: Array) -> Array:
        chosen = jnp.broadcast_to(members, point.shape)
        outputs = jax.vmap(lambda row: model_fn(jnp.where(chosen, point, row)))(background)
        return jnp.mean(outputs, axis=0)

    values = batched(coalition_value, jnp.asarray(coalitions), block=block)
    weights = jnp.asarray(_weights(coalitions), values.dtype)
    return Shapley(jnp.tensordot(weights, values, axes=1), values[0], values[-1])


def _coalitions(num_factors: int) -> np.ndarray:
    """All subsets, bool [2^factor, factor]; the first is empty, the last is full."""
    return (np.arange(2**num_factors)[:, None] >> np.arange(num_factors)) % 2 == 1


def _weights(coalitions: np.ndarray) -> np.ndarray:
    """[factor, coalition]: v has a + where the factor belongs to the coalition, else a -."""
    num_factors = coalitions.shape[1]
    sizes = coalitions.sum(axis=1)
    # Orders of the other players in which exactly k of them come first, as a share of all orders.
    share = np.array([factorial(k) * factorial(num_factors - k - 1) for k in range(num_factors)])
    share = share / factorial(num_factors)
    joined, absent = share[np.maximum(sizes - 1, 0)], share[np.minimum(sizes, num_factors - 1)]
    return np.where(coalitions, joined[:, None], -absent[:, None]).T
