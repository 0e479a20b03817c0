"""What a change of a factor that has happened did to the balances of the last year."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import explain, fit
from experiments.towns.inputs import Inputs
from experiments.towns.networks import POOLED, with_level
from experiments.towns.retrospective import CONDITIONAL, Retrospective

MOST_RESIDUALS = 200


class PastChange(NamedTuple):
    """The free kept factor that has moved most, and what that did.

    Attributes:
        factor: index among all factors.
        since: index of the year in which it would have stayed.
        found: with leaves [town], persons in the last year; networks that have not seen that year.
    """

    factor: int
    since: int
    found: explain.PastEffect


def past_change(inputs: Inputs, past: Retrospective, fixed: tuple[str, ...]) -> PastChange | None:
    """The last year as it was against the same year had one factor stayed as it once was.

    Residuals are those of all test years and towns with the factors given, as rates; of many
    their quantiles. None where no kept factor is free.
    """
    last = int(past.years[-1])
    problems = [
        (number, p)
        for number, p in enumerate(past.honest.problems)
        if p.test == last and p.cluster != POOLED
    ]
    since = int(problems[0][1].train[0])
    moved = _most_moved(inputs, past.honest.kept, since, fixed)
    if moved is None:
        return None
    actual = inputs.factors[:, last][:, past.honest.kept]
    stayed = actual.copy()
    stayed[:, moved] = inputs.factors[:, since][:, past.honest.kept[moved]]
    off = ((past.actual - past.forecasts[CONDITIONAL]) / inputs.scale).ravel()
    middle = (np.arange(MOST_RESIDUALS) + 0.5) / MOST_RESIDUALS
    off = jnp.asarray(off if off.size <= MOST_RESIDUALS else np.quantile(off, middle))
    parts = []
    for number, p in problems:
        ensemble, scale = past.honest.ensemble(number), jnp.asarray(inputs.scale[p.towns])
        both = [
            with_level(past.honest, inputs, p.towns, x[p.towns], last) for x in (actual, stayed)
        ]
        parts.append(
            explain.past_effect(
                partial(_persons, ensemble, scale),
                jnp.arange(past.honest.search.kept.shape[1]),
                jnp.asarray(inputs.balance[p.towns, last]),
                jnp.asarray(both[0]),
                jnp.asarray(both[1]),
                residuals=off[:, None] * scale[None],
            )
        )
    order = np.argsort(np.concatenate([p.towns for _, p in problems]))
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *jax.device_get(parts))
    return PastChange(int(past.honest.kept[moved]), since, found)


def _persons(ensemble: fit.NetworkEnsemble, scale: Array, member: Array, x: Array) -> Array:
    """Balances [town] by one member for inputs [town, input]."""
    return fit.predict_ensemble(ensemble, x)[member] * scale


def _most_moved(inputs: Inputs, kept: np.ndarray, since: int, fixed: tuple[str, ...]) -> int | None:
    """Index among the kept of the free factor that has moved most, in its spread."""
    values = inputs.factors[:, :, kept]
    moved = np.abs(values[:, -1] - values[:, since]).mean(axis=0)
    spread = values.std(axis=(0, 1))
    held = np.array([inputs.names[i] in fixed for i in kept]) | (spread == 0)
    if held.all():
        return None
    return int(np.argmax(np.where(held, -1.0, moved / np.maximum(spread, 1e-300))))
