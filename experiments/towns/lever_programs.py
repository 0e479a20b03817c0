"""Compiled parts of the inverse question: balances, least changes of towns and of groups."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from diffmig import explain, fit


class Towns(NamedTuple):
    """Towns of a cluster: inputs [town, input], persons per unit of the rate [town], bounds and
    units of the changes, [town, kept]."""

    x: Array
    scale: Array
    low: Array
    high: Array
    unit: Array


def _gains(ensemble: fit.NetworkEnsemble, x: Array, scale: Array, change: Array) -> Array:
    """What a change of the first inputs brings in one town, persons, [member]."""
    moved = x.at[: change.shape[0]].add(change)
    out = fit.predict_ensemble(ensemble, jnp.stack([moved, x]))
    return (out[:, 0] - out[:, 1]) * scale


@jax.jit
def balances(ensemble: fit.NetworkEnsemble, x: Array, scale: Array) -> Array:
    """Persons, [member, town]."""
    out = fit.predict_ensemble(ensemble, x)
    return out * jnp.broadcast_to(scale, out.shape)


@partial(jax.jit, static_argnames="mesh")
def solve(
    ensemble: fit.NetworkEnsemble, towns: Towns, target: Array, mesh: Mesh | None
) -> tuple[explain.LeastChange, Array, Array]:
    """Answers of the ensemble [town, ...] and of every member [member, town, kept]; gains of the
    ensemble's answer by member [member, town]."""
    members, count = ensemble.weights.offset.shape[0], target.size
    whole = jnp.full((1, members), 1.0 / members, towns.x.dtype)
    picks = jnp.concatenate([whole, jnp.eye(members, dtype=towns.x.dtype)])

    def response(change: Array, place: tuple[Array, Array, Array]) -> Array:
        """`pick` weighs the members."""
        pick, x, scale = place
        return jnp.sum(pick * _gains(ensemble, x, scale, change))

    def every(leaf: Array) -> Array:
        """Once for each row of `picks`, [pick x town, ...]."""
        return jnp.concatenate([leaf] * len(picks))

    found = explain.least_changes(
        response,
        (jnp.repeat(picks, count, axis=0), every(towns.x), every(towns.scale)),
        *(every(leaf) for leaf in (towns.unit, towns.low, towns.high, target)),
        mesh=mesh,
    )
    mean = jax.tree.map(lambda leaf: leaf[:count], found)
    single = found.change[count:].reshape(members, *towns.unit.shape)
    gains = jax.vmap(lambda town, change: _gains(ensemble, town.x, town.scale, change))(
        towns, mean.change
    )
    return mean, single, gains.T


@jax.jit
def solve_together(
    ensemble: fit.NetworkEnsemble, towns: Towns, counted: Array, target: Array
) -> explain.LeastChange:
    """Changes of all counted towns, each its own, that raise their sum."""

    def response(change: Array) -> Array:
        gains = jax.vmap(lambda town, x: _gains(ensemble, town.x, town.scale, x))(towns, change)
        return jnp.sum(jnp.where(counted, jnp.mean(gains, axis=1), 0.0))

    low, high = (jnp.where(counted[:, None], end, 0.0) for end in (towns.low, towns.high))
    return explain.least_change(response, towns.unit, low, high, target)
