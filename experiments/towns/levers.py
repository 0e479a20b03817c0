"""The inverse question: what must change, and by how much, for a balance to rise by so many per
cent."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import explain, fit
from experiments.towns.config import Config
from experiments.towns.inputs import Inputs
from experiments.towns.networks import with_level
from experiments.towns.outlook import TREND, Outlook

SETTLED = 1e-6  # share of a target that counts as reached
SHARES = (0.05, 0.95)


class Levers(NamedTuple):
    """Least changes in the first year after the data, town by town and cluster by cluster.

    Attributes:
        baseline: ensemble mean with factor trends kept, persons, [town].
        target: rise that is asked for, persons, [town].
        change: of the kept factors, their units, [town, kept]; where the target cannot be reached,
            those that bring most.
        response: what the change brings, by a forward run, persons, [town].
        status: 0 reached, 1 cannot be reached within the bounds, 2 not settled, [town].
        active: levers at a bound, bool [town, kept].
        low, high: changes of the members one by one, 5 and 95 %, [town, kept].
        agree: share of the members for which the change brings at least the target, [town].
        scale: standard deviation of the factors over the cluster's training rows, [town, kept].
        cluster_change: mean over towns of the least changes, each town its own, that raise the sum
            of a cluster by the same per cent, [cluster, kept].
        cluster_response, cluster_target, cluster_status: [cluster].
    """

    baseline: np.ndarray
    target: np.ndarray
    change: np.ndarray
    response: np.ndarray
    status: np.ndarray
    active: np.ndarray
    low: np.ndarray
    high: np.ndarray
    agree: np.ndarray
    scale: np.ndarray
    cluster_change: np.ndarray
    cluster_response: np.ndarray
    cluster_target: np.ndarray
    cluster_status: np.ndarray


class _Towns(NamedTuple):
    """Towns of a cluster: inputs [town, input], persons per unit of the rate [town], bounds and
    units of the changes, [town, kept]."""

    x: Array
    scale: Array
    low: Array
    high: Array
    unit: Array


def pull_levers(config: Config, inputs: Inputs, ahead: Outlook) -> Levers:
    """All inverse questions; one program per size of cluster, all towns of it side by side.

    A change stays where the cluster's training rows have been; fixed factors do not move.
    """
    networks, towns = ahead.networks, len(inputs.towns)
    count = networks.kept.size
    shape = (towns, count)
    change, low, high, scale = (np.zeros(shape) for _ in range(4))
    active = np.zeros(shape, bool)
    baseline, response, agree, target = (np.zeros(towns) for _ in range(4))
    status = np.zeros(towns, int)
    clusters: dict[str, list] = {"change": [], "response": [], "target": [], "status": []}
    frozen = np.array([inputs.names[i] in config.fixed for i in networks.kept])
    most = max(p.towns.size for p in networks.problems)
    for number, p in enumerate(networks.problems):
        ensemble = networks.ensemble(number)
        group = _group(inputs, ahead, number, frozen)
        own = np.asarray(_balances(ensemble, group.x, group.scale)).mean(axis=0)
        goal = 0.01 * config.percent * np.abs(own)
        parts = _solve(ensemble, _fill(group, most), _fill(jnp.asarray(goal), most))
        found, single, members = _cut(parts, p.towns.size)
        baseline[p.towns], target[p.towns] = own, goal
        change[p.towns], status[p.towns] = found.change, found.status
        scale[p.towns] = group.unit
        active[p.towns] = (found.active != 0) & ~frozen
        each = np.asarray(members)
        response[p.towns] = each.mean(axis=0)
        agree[p.towns] = (each >= goal * (1 - SETTLED)).mean(axis=0)
        low[p.towns], high[p.towns] = np.quantile(np.asarray(single), SHARES, axis=0)
        whole = 0.01 * config.percent * abs(own.sum())
        counted = jnp.arange(most) < p.towns.size
        together = _solve_together(ensemble, _fill(group, most), counted, jnp.asarray(whole))
        clusters["change"].append(np.asarray(together.change)[: p.towns.size].mean(axis=0))
        clusters["response"].append(float(together.response))
        clusters["target"].append(whole)
        clusters["status"].append(int(together.status))
    by_cluster = {f"cluster_{name}": np.array(values) for name, values in clusters.items()}
    return Levers(
        baseline, target, change, response, status, active, low, high, agree, scale,
        **by_cluster,
    )  # fmt: skip


def _group(inputs: Inputs, ahead: Outlook, number: int, frozen: np.ndarray) -> _Towns:
    networks = ahead.networks
    p, count = networks.problems[number], networks.kept.size
    coming = ahead.factors[TREND][p.towns, 0][:, networks.kept]
    rows = inputs.factors[np.ix_(p.towns, p.train, networks.kept)].reshape(-1, count)
    box = explain.training_box(rows)
    low = np.minimum(np.asarray(box.low) - coming, 0.0)
    high = np.maximum(np.asarray(box.high) - coming, 0.0)
    unit = np.maximum(rows.std(axis=0), 1e-12)
    return _Towns(
        x=jnp.asarray(with_level(networks, inputs, p.towns, coming, inputs.years.size)),
        scale=jnp.asarray(inputs.scale[p.towns]),
        low=jnp.asarray(np.where(frozen, 0.0, low)),
        high=jnp.asarray(np.where(frozen, 0.0, high)),
        unit=jnp.asarray(np.broadcast_to(unit, low.shape)),
    )


def _fill(tree: Any, size: int) -> Any:
    """Leaves [town, ...] filled up with their first town: one program serves all clusters."""

    def fill(leaf: Array) -> Array:
        gap = size - leaf.shape[0]
        return jnp.concatenate([leaf, jnp.broadcast_to(leaf[:1], (gap, *leaf.shape[1:]))])

    return jax.tree.map(fill, tree)


def _cut(parts: tuple[Any, Array, Array], size: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """The results of `_solve` without the filling."""
    found, single, members = jax.device_get(parts)
    return jax.tree.map(lambda leaf: leaf[:size], found), single[:, :size], members[:, :size]


def _gains(ensemble: fit.NetworkEnsemble, x: Array, scale: Array, change: Array) -> Array:
    """What a change of the first inputs brings in one town, persons, [member]."""
    moved = x.at[: change.shape[0]].add(change)
    out = fit.predict_ensemble(ensemble, jnp.stack([moved, x]))
    return (out[:, 0] - out[:, 1]) * scale


@jax.jit
def _balances(ensemble: fit.NetworkEnsemble, x: Array, scale: Array) -> Array:
    """Persons, [member, town]."""
    out = fit.predict_ensemble(ensemble, x)
    return out * jnp.broadcast_to(scale, out.shape)


@jax.jit
def _solve(
    ensemble: fit.NetworkEnsemble, towns: _Towns, target: Array
) -> tuple[explain.LeastChange, Array, Array]:
    """Answers of the ensemble [town, ...] and of every member [member, town, kept]; gains of the
    ensemble's answer by member [member, town]."""

    def answer(pick: Array, town: _Towns, goal: Array) -> explain.LeastChange:
        """`pick` weighs the members."""

        def response(change: Array) -> Array:
            return jnp.sum(pick * _gains(ensemble, town.x, town.scale, change))

        return explain.least_change(response, town.unit, town.low, town.high, goal)

    members = ensemble.weights.offset.shape[0]
    mean = jnp.full(members, 1.0 / members, towns.x.dtype)
    every = jax.vmap(answer, in_axes=(None, 0, 0))
    found = every(mean, towns, target)
    single = jax.vmap(lambda pick: every(pick, towns, target).change)(
        jnp.eye(members, dtype=towns.x.dtype)
    )
    gains = jax.vmap(lambda town, change: _gains(ensemble, town.x, town.scale, change))(
        towns, found.change
    )
    return found, single, gains.T


@jax.jit
def _solve_together(
    ensemble: fit.NetworkEnsemble, towns: _Towns, counted: Array, target: Array
) -> explain.LeastChange:
    """Changes of all counted towns, each its own, that raise their sum."""

    def response(change: Array) -> Array:
        gains = jax.vmap(lambda town, x: _gains(ensemble, town.x, town.scale, x))(towns, change)
        return jnp.sum(jnp.where(counted, jnp.mean(gains, axis=1), 0.0))

    low, high = (jnp.where(counted[:, None], end, 0.0) for end in (towns.low, towns.high))
    return explain.least_change(response, towns.unit, low, high, target)
