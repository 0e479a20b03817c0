"""The inverse question: what must change, and by how much, for a balance to rise by so many per
cent."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import explain
from experiments.towns.config import Config
from experiments.towns.inputs import Inputs
from experiments.towns.lever_programs import Towns, balances, solve, solve_together
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
        status: index into `explain.CHANGE_STATUS`, [town].
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


def pull_levers(config: Config, inputs: Inputs, ahead: Outlook, mesh: Mesh | None) -> Levers:
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
        own = np.asarray(balances(ensemble, group.x, group.scale)).mean(axis=0)
        goal = 0.01 * config.percent * np.abs(own)
        parts = solve(ensemble, _fill(group, most), _fill(jnp.asarray(goal), most), mesh)
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
        together = solve_together(ensemble, _fill(group, most), counted, jnp.asarray(whole))
        clusters["change"].append(np.asarray(together.change)[: p.towns.size].mean(axis=0))
        clusters["response"].append(float(together.response))
        clusters["target"].append(whole)
        clusters["status"].append(int(together.status))
    by_cluster = {f"cluster_{name}": np.array(values) for name, values in clusters.items()}
    return Levers(
        baseline, target, change, response, status, active, low, high, agree, scale,
        **by_cluster,
    )  # fmt: skip


def _group(inputs: Inputs, ahead: Outlook, number: int, frozen: np.ndarray) -> Towns:
    networks = ahead.networks
    p, count = networks.problems[number], networks.kept.size
    coming = ahead.factors[TREND][p.towns, 0][:, networks.kept]
    rows = inputs.factors[np.ix_(p.towns, p.train, networks.kept)].reshape(-1, count)
    box = explain.training_box(rows)
    low = np.minimum(np.asarray(box.low) - coming, 0.0)
    high = np.maximum(np.asarray(box.high) - coming, 0.0)
    unit = np.maximum(rows.std(axis=0), 1e-12)
    return Towns(
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
    """The results of `solve` without the filling."""
    found, single, members = jax.device_get(parts)
    return jax.tree.map(lambda leaf: leaf[:size], found), single[:, :size], members[:, :size]
