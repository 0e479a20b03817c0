"""What the networks make of the factors: exact Shapley values, elasticities, the known truth."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffmig import explain, fit
from diffmig import towns as tw
from experiments.towns.inputs import Inputs
from experiments.towns.networks import Networks, input_names, with_level
from experiments.towns.structure import Structure

SMALLEST = 1e-9  # rate that an elasticity is divided by
BACKGROUND = 60  # training rows of a cluster that Shapley values are measured against


class Explanation(NamedTuple):
    """Of the networks that were trained on the last years, at the last year of the data.

    Attributes:
        shapley: contribution of each input to every town's rate, [member, town, input].
        base: mean of some of the cluster's training rows, [member, town].
        slope: d rate / d input by town, [member, town, input], unit of the rate per unit of input.
        elasticity: slope * factor / rate, [member, town, input].
    """

    shapley: np.ndarray
    base: np.ndarray
    slope: np.ndarray
    elasticity: np.ndarray


class Recovery(NamedTuple):
    """What is found of the known truth of the synthetic panel.

    Attributes:
        rand_index: adjusted, of the clusters.
        factors_found, factors_wrong: kept factors that matter, and that do not.
        num_matter: factors that matter.
        slope_correlation: of the networks' mean derivative with the true one, over towns and the
            kept factors that matter, all in persons per spread of the factor.
        noise: root mean square of the observation noise, persons.
        truth_error: the same of the retrospective forecasts against the truth without noise.
    """

    rand_index: float
    factors_found: int
    factors_wrong: int
    num_matter: int
    slope_correlation: float
    noise: float
    truth_error: float


def explain_networks(inputs: Inputs, networks: Networks) -> Explanation:
    """Shapley values by all coalitions, derivatives of every member, cluster by cluster."""
    towns, last = len(inputs.towns), inputs.years.size - 1
    members = networks.search.kept.shape[1]
    count = len(input_names(networks, inputs))
    shapley, slope, elasticity = (np.zeros((members, towns, count)) for _ in range(3))
    base = np.zeros((members, towns))
    everyone = np.arange(towns)
    points = jnp.asarray(seen(networks, inputs, everyone, last))
    size = min(p.towns.size * p.train.size for p in networks.problems)
    for number, p in enumerate(networks.problems):
        ensemble = networks.ensemble(number)
        rows = np.concatenate([seen(networks, inputs, p.towns, t) for t in p.train])
        some = np.linspace(0, len(rows) - 1, min(size, BACKGROUND)).round().astype(int)
        parts = _explain(ensemble, points, jnp.asarray(rows[some]))
        values, start, value, gradient = (
            np.asarray(part)[..., p.towns, :] if part.ndim == 3 else np.asarray(part)[:, p.towns]
            for part in parts
        )
        shapley[:, p.towns], base[:, p.towns], slope[:, p.towns] = values, start, gradient
        own = np.where(np.abs(value) > SMALLEST, value, np.nan)
        elasticity[:, p.towns] = gradient * np.asarray(points)[p.towns] / own[:, :, None]
    return Explanation(shapley, base, slope, elasticity)


def seen(networks: Networks, inputs: Inputs, towns: np.ndarray, year: int) -> np.ndarray:
    """What the networks see of these towns in a year of the data, [town, input]."""
    factors = inputs.factors[towns, year][:, networks.kept]
    return with_level(networks, inputs, towns, factors, year)


@jax.jit
def _explain(
    ensemble: fit.NetworkEnsemble, points: jax.Array, background: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Shapley values [member, town, input], their base [member, town], rates [member, town] and
    their derivatives [member, town, input]."""
    first, rest_fn = fit.split_ensemble(ensemble)
    made = explain.shapley_rows(rest_fn, points, background, first_layer=first)

    def value(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = fit.predict_ensemble(ensemble, x)
        return out, out

    gradient, out = jax.vmap(jax.jacfwd(value, has_aux=True))(points)
    return jnp.moveaxis(made.values, 2, 0), made.base.T, out.T, jnp.swapaxes(gradient, 0, 1)


def recovered(
    inputs: Inputs,
    structure: Structure,
    found: Explanation,
    forecast: np.ndarray,
    years: np.ndarray,
) -> Recovery | None:
    """Truth and estimate side by side; None where the truth is not known.

    Args:
        forecast: retrospective, persons, [test, town].  years: of it, indices.
    """
    truth = inputs.truth
    if truth is None:
        return None
    kept, matters = structure.kept, truth.matters
    both = np.flatnonzero(matters[kept])
    spread = truth.spread[kept[both]]
    true = truth.effect[:, -1][:, kept[both]] * spread
    own = found.slope.mean(axis=0)[:, both] * spread * inputs.scale[:, None]
    noise = inputs.balance - truth.balance
    return Recovery(
        rand_index=tw.adjusted_rand_index(structure.clusters.label, truth.label),
        factors_found=int(matters[kept].sum()),
        factors_wrong=int((~matters[kept]).sum()),
        num_matter=int(matters.sum()),
        slope_correlation=float(np.corrcoef(true.ravel(), own.ravel())[0, 1]),
        noise=float(np.sqrt(np.mean(noise**2))),
        truth_error=float(np.sqrt(np.mean((forecast - truth.balance[:, years].T) ** 2))),
    )
