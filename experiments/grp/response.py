"""Sensitivity of the forecasters to every factor: gradients, elasticities, Shapley values."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from diffmig import explain, fit
from experiments.grp.economy import Economy
from experiments.grp.models import TARGETS, Trained, tasks_of
from experiments.grp.outlook import Outlook, with_factors


def response_fn(economy: Economy, trained: Trained, outlook: Outlook) -> Callable[..., Array]:
    """(weights and units of a run, factors [year, factor]) -> GRP of every year, differentiable."""
    choice = outlook.choice

    def grp(run: tuple[object, Array], factors: Array) -> Array:
        params, units = run
        series = with_factors(economy, factors)
        tasks = tasks_of(
            economy,
            series,
            (TARGETS[choice.target],),
            trained.hybrid,
            economy.num_data,
            slice(0, economy.num_data),
        )
        task = jax.tree.map(lambda leaf: leaf[choice.base], tasks)
        return fit.predict_levels(
            trained.hybrid, params, units, fit.cast(task, trained.hybrid.network.dtype)
        )

    return grp


def sensitivity_frame(economy: Economy, trained: Trained, outlook: Outlook) -> pd.DataFrame:
    """Response of GRP to each factor's last observed value and to its whole path ahead.

    `when` is "last year of data" (one value changes) or "forecast years" (every later value changes
    in proportion); gradient in GRP per unit of the factor, elasticity in percent per percent,
    medians and 5-95 % over the runs.
    """
    grp = response_fn(economy, trained, outlook)
    factors = outlook.paths["AR(1)"]
    year, last = np.arange(len(economy.years)), economy.num_data - 1
    runs = (outlook.params, outlook.units)

    @jax.jit
    def respond(values: dict[str, Array], at: Array, changed: Array) -> explain.Sensitivity:
        def moved(run: tuple[object, Array], values: dict[str, Array]) -> Array:
            ratio = jnp.stack([values[n] for n in economy.factor_names]) / jnp.asarray(factors)[at]
            path = jnp.where(changed[:, None], factors * ratio[None, :], factors)
            return grp(run, path)[at].astype(jnp.float64)

        return explain.ensemble_sensitivity(moved, runs, values)

    frames = []
    for when, changed, at in (
        ("last year of data", year == last, last),
        ("forecast years", year > last, len(economy.years) - 1),
    ):
        values = {name: factors[at, j] for j, name in enumerate(economy.factor_names)}
        result = respond(values, np.int32(at), changed)
        frame = explain.sensitivity_frame(result, members=True)
        frames.append(
            frame.assign(
                prices=economy.bases[outlook.choice.base], when=when, year=int(economy.years[at])
            )
        )
    return pd.concat(frames, ignore_index=True)


def shapley_frame(economy: Economy, trained: Trained, outlook: Outlook) -> pd.DataFrame:
    """What each factor's path after the training years added to GRP of the last year with data.

    Exact Shapley values of "the factor moved as it did" against "it stayed at its last training
    value", over all coalitions, per run; medians and 5-95 %.
    """
    grp = response_fn(economy, trained, outlook)
    factors, ahead = np.split(outlook.paths["AR(1)"], [economy.num_data])
    frozen = factors.copy()
    frozen[economy.num_training :] = factors[economy.num_training - 1]

    def one(run: tuple[object, Array]) -> Array:
        def output(path: Array) -> Array:
            return grp(run, jnp.concatenate([path, ahead]))[economy.num_data - 1].astype(
                jnp.float64
            )

        return explain.shapley_values(output, factors, frozen[None]).values

    values = np.asarray(jax.jit(jax.vmap(one))((outlook.params, outlook.units)))
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
    return pd.DataFrame(
        {
            "prices": economy.bases[outlook.choice.base],
            "factor": economy.factor_names,
            "value": median,
            "low": low,
            "high": high,
        }
    )
