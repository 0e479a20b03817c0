"""What a decision of the past has changed: the actual balance against the path without it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from diffmig.fit.ensembles import Band, band


class PastEffect(NamedTuple):
    """Effect of a decision on balances, unit of the balance.

    Attributes:
        effect: actual balance minus the model's under the factors without the decision, [...].
        explained: its part by the change of the factors, model(actual) - model(no decision).
        unexplained: the rest, actual - model(actual): noise, and what the decision did by other
            ways than the factors.
        band: of `effect` over members and draws of the residual.
        explained_band: of `explained` over members.
        positive: share of the draws of `effect` above 0, [...].
    """

    effect: Array
    explained: Array
    unexplained: Array
    band: Band
    explained_band: Band
    positive: Array


def past_effect(
    model_fn: Callable[[Any, Array], Array],
    params: Any,
    actual: Array,
    factors: Array,
    no_decision: Array,
    residuals: Array,
) -> PastEffect:
    """Effect of a past decision with a band.

    effect = actual - mean_m model_m(no decision) = explained + unexplained
    draws:   actual - model_m(no decision) - residual_r,  every member m with every residual r

    The balance without the decision was never seen: it would have had a residual of its own, of
    which the model knows the size and not the value. So the band of `effect` holds the spread of
    the members and fresh residuals. If instead the same shocks are assumed to come with and without
    the decision they cancel, and the effect is `explained`, whose band holds the members alone: the
    narrower claim, blind to anything that did not pass through the factors. Report both; they agree
    where `unexplained` is small.

    Args:
        model_fn: (params of one member, factors) -> balances, shape of `actual`.
        params: pytree, leaves [member, ...], fitted to data from before the decision or from
            elsewhere.
        actual: balances that were seen, [...], for example [town, year].
        factors: as they were, whatever `model_fn` takes.
        no_decision: as they would have been, same shape.
        residuals: actual - model in years that no member was fitted to and no decision touched,
            [draw] for all balances alike, or [draw, ...] with the axes of `actual`. They are not
            centred: a bias of the model is taken out of the band.

    Returns:
        PastEffect; bands are medians, 5 and 95 % quantiles.

    Raises:
        ValueError: shapes that differ.

    Notes:
        Differentiable almost everywhere. Draws at different places and years are independent: sums
        over them need draws of their own.

    Source: Mishchenko et al., 2024, section on proposals (assessment of management decisions);
    decomposition of diffmig.
    """
    if factors.shape != no_decision.shape:
        raise ValueError(
            f"no_decision: expected the shape of factors, {factors.shape}, got {no_decision.shape}"
        )
    if not residuals.size or residuals.shape[1:] not in ((), actual.shape):
        raise ValueError(
            f"residuals: expected [draw] or [draw, ...] with the axes {actual.shape} of actual, "
            f"got {residuals.shape}"
        )
    seen, without = (
        jax.vmap(lambda p, x=x: model_fn(p, x))(params) for x in (factors, no_decision)
    )
    if seen.shape[1:] != actual.shape:
        raise ValueError(
            f"model_fn: expected balances of shape {actual.shape}, got {seen.shape[1:]}"
        )
    return _summarise(actual, seen, without, residuals)


@jax.jit
def _summarise(actual: Array, seen: Array, without: Array, residuals: Array) -> PastEffect:
    num_members, num_draws = seen.shape[0], residuals.shape[0]
    shape = (num_members, num_draws, *actual.shape)
    spread = residuals.reshape(1, num_draws, *residuals.shape[1:] or (1,) * actual.ndim)
    draws = jnp.broadcast_to((actual[None] - without)[:, None], shape) - jnp.broadcast_to(
        spread, shape
    )
    draws = draws.reshape(-1, *actual.shape)
    model = jnp.mean(seen, axis=0)
    effect = actual - jnp.mean(without, axis=0)
    return PastEffect(
        effect=effect,
        explained=effect - (actual - model),
        unexplained=actual - model,
        band=band(draws),
        explained_band=band(seen - without),
        positive=jnp.mean((draws > 0).astype(actual.dtype), axis=0),
    )
