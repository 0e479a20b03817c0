"""Least changes over an ensemble, and targets in per cent."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import batched, on_one_device
from diffmig.explain.least_change import NUM_ROUNDS, LeastChange, least_change
from diffmig.fit.ensembles import Band, band


class LeastChangeBand(NamedTuple):
    """Smallest change for an ensemble and for each of its members.

    Attributes:
        ensemble: for the mean response.
        members: for the response of each member alone, leaves [member, ...].
        change: median, 5 and 95 % quantiles of the members' changes, over members that reach the
            target; NaN where none does.
        reachable: share of members that can reach the target, each with its own change.
        response: of each member to the change for the ensemble, [member].
        share: share of members that this change brings to the target.
    """

    ensemble: LeastChange
    members: LeastChange
    change: Band
    reachable: Array
    response: Array
    share: Array


def least_change_band(
    response_fn: Callable[[Array, Any], Array],
    params: Any,
    scale: Array,
    low: Array,
    high: Array,
    target: ArrayLike,
    *,
    equal: bool = False,
    num_rounds: int = NUM_ROUNDS,
    tolerance: float = 1e-8,
    mesh: Mesh | None = None,
) -> LeastChangeBand:
    """The least change for the mean of an ensemble, and how far its members agree with it.

    Args:
        response_fn: (change, params of one member) -> response, [].
        params: pytree, leaves [member, ...].
        scale, low, high, target, equal, num_rounds, tolerance: as in `least_change`.
        mesh: devices that share the members.

    Returns:
        LeastChangeBand.

    Raises:
        ValueError: as `least_change`.

    Notes:
        A target that the mean meets exactly is met by about half of the members: `share` near 1 / 2
        is what to expect, and a change that most members call enough needs a higher target.

    Source: percentile bands over ensemble members.
    """
    solve = partial(
        least_change,
        scale=scale,
        low=low,
        high=high,
        target=target,
        equal=equal,
        num_rounds=num_rounds,
        tolerance=tolerance,
    )

    def response(x: Array) -> Array:
        return jax.vmap(lambda member: response_fn(x, member))(params)

    ensemble = solve(lambda x: jnp.mean(response(x)))
    members = batched(lambda member: solve(lambda x: response_fn(x, member)), params, mesh=mesh)
    members = on_one_device(members, len(members.status), mesh)
    reached = members.status == 0
    spread = jnp.where(reached.reshape(-1, *[1] * scale.ndim), members.change, jnp.nan)
    attained, before = response(ensemble.change), response(jnp.zeros_like(scale))
    target = jnp.asarray(target, scale.dtype)
    slack = tolerance * jnp.abs(target - before)
    down = equal & (target < before)
    enough = jnp.where(down, attained <= target + slack, attained >= target - slack)
    return LeastChangeBand(
        ensemble=ensemble,
        members=members,
        change=band(spread),
        reachable=jnp.mean(reached.astype(scale.dtype)),
        response=attained,
        share=jnp.mean(enough.astype(scale.dtype)),
    )


def relative_target(
    baseline: ArrayLike, percent: ArrayLike, *, direction: Literal["more", "fewer"] = "more"
) -> np.ndarray:
    """Change of a balance that is so many per cent of its size.

    more:  target = + percent / 100 |baseline|: a loss shrinks, a gain grows
    fewer: target = - percent / 100 |baseline|: a loss grows, a gain shrinks

    Args:
        baseline: balance without the change, any shape.
        percent: > 0, same shape or one for all; more than 100 turns a loss into a gain.
        direction: "more" or "fewer" people than without the change. A target of fewer is reached by
            `least_change(..., equal=True)`.

    Returns:
        target for a response that is the change of the balance, [...], unit of the baseline.

    Raises:
        ValueError: percent <= 0 (the direction is asked for in words, because -10 % of a loss can
            be read both ways), or a baseline of zero, of which no share is a change.
    """
    base, share = np.broadcast_arrays(np.asarray(baseline, float), np.asarray(percent, float))
    if direction not in ("more", "fewer"):
        raise ValueError(f"direction: expected 'more' or 'fewer', got {direction!r}")
    for wrong, words in (
        (~np.isfinite(base) | ~np.isfinite(share), "expected finite baseline and percent"),
        (base == 0, "a baseline of zero has no per cent; give the target in persons"),
    ):
        if wrong.any():
            raise ValueError(f"{words}, got {base[wrong][0]} and {share[wrong][0]} %")
    if (share <= 0).any():
        at = np.flatnonzero(share.ravel() <= 0)[0]
        value, asked = base.flat[at], share.flat[at]
        sort = "gain would mean fewer people" if value > 0 else "loss could mean less or more of it"
        raise ValueError(
            f"percent: expected > 0, got {asked:g} for a balance of {value:g}; a negative share of "
            f"a {sort}: give {abs(asked):g} with direction='fewer' for fewer people, 'more' for "
            "more"
        )
    return np.where(direction == "more", 1.0, -1.0) * share / 100.0 * np.abs(base)
