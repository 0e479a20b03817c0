"""Forecast after the data: refitted on all years, under AR(1) factors and under scenarios."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from diffmig import explain, fit
from experiments.grp.config import Config
from experiments.grp.economy import Economy
from experiments.grp.models import TARGETS, Trained, predict_all, task_index, tasks_of
from experiments.grp.scores import Choice

NORMAL_90 = 1.645  # half-width of a central 90 % interval, standard deviations


class Outlook(NamedTuple):
    """The primary forecaster of a price basis, trained on all years with data.

    Attributes:
        choice: what was chosen.
        params, units: weights and widths, [seed, ...].
        levels: scenario -> GRP, [seed, year], bn RUB for the bundled table.
        paths: scenario -> factors, [year, factor].
        growth_std: standard deviation of annual real log growth in the data, 1.
    """

    choice: Choice
    params: object
    units: Array
    levels: dict[str, np.ndarray]
    paths: dict[str, np.ndarray]
    growth_std: float


def refit(
    key: Array, config: Config, economy: Economy, repaired: dict[str, Trained], choice: Choice
) -> Outlook:
    """Training on all years with the hyper-parameters already chosen, then forecasts."""
    trained = repaired[choice.model]
    row = task_index(economy, choice.target, choice.base)
    hyper = jax.tree.map(lambda leaf: leaf[row], trained.fitted.hyper)
    target = TARGETS[choice.target]
    everything = slice(0, economy.num_data)

    def task(series: fit.Series) -> fit.Task:
        tasks = tasks_of(economy, series, (target,), trained.hybrid, economy.num_data, everything)
        return jax.tree.map(lambda leaf: leaf[choice.base], tasks)

    keys = jax.vmap(lambda s: jax.random.fold_in(key, s))(jnp.arange(config.num_seeds))
    training, _ = _train_all(trained.hybrid, keys, hyper, task(economy.observed))
    paths = {"AR(1)": np.asarray(economy.observed.factors)[choice.base]}
    paths |= _scenarios(config, economy)
    levels = {}
    for name, factors in paths.items():
        one = jax.tree.map(lambda leaf: leaf[None], task(with_factors(economy, factors)))
        params = jax.tree.map(lambda leaf: leaf[None], training.params)
        levels[name] = np.asarray(
            predict_all(trained.hybrid, params, hyper.units[None], one)[0], np.float64
        )
    growth = np.diff(np.log(economy.grp[choice.base])) - np.log(
        np.asarray(economy.observed.price_index)[choice.base, 1 : economy.num_data] / 100.0
    )
    return Outlook(choice, training.params, hyper.units, levels, paths, float(growth.std(ddof=1)))


def with_factors(economy: Economy, factors: np.ndarray | Array) -> fit.Series:
    """Series of all price bases with other factors [year, factor]; a price index moves along."""
    bases = len(economy.bases)
    stacked = jnp.broadcast_to(jnp.asarray(factors), (bases, *factors.shape))
    index = economy.observed.price_index
    if economy.index_factor is not None:
        prices = stacked[0, :, economy.index_factor]
        index = jnp.stack(
            [prices if base == "current" else index[b] for b, base in enumerate(economy.bases)]
        )
    return fit.Series(economy.observed.grp, stacked, index)


def outlook_frame(economy: Economy, outlooks: list[Outlook]) -> pd.DataFrame:
    """Forecasts: prices, scenario, year, median, 5-95 % of the runs, 90 % interval.

    The interval adds to the spread between runs a random walk of log GRP whose steps have the
    standard deviation of annual
    real growth in the data: log GRP_h +- 1.645 sqrt(runs^2 + h growth_std^2). It is a calibrated
        default.
    """
    frames = []
    ahead = np.arange(1, len(economy.years) - economy.num_data + 1)
    for outlook in outlooks:
        for scenario, levels in outlook.levels.items():
            logs = np.log(levels[:, economy.num_data :])
            median = np.median(logs, axis=0)
            width = NORMAL_90 * np.sqrt(logs.var(axis=0) + ahead * outlook.growth_std**2)
            low, high = np.quantile(logs, [0.05, 0.95], axis=0)
            frames.append(
                pd.DataFrame(
                    {
                        "prices": economy.bases[outlook.choice.base],
                        "model": outlook.choice.model,
                        "scenario": scenario,
                        "year": economy.years[economy.num_data :],
                        "median": np.exp(median),
                        "low": np.exp(low),
                        "high": np.exp(high),
                        "interval_low": np.exp(median - width),
                        "interval_high": np.exp(median + width),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def interval_coverage(
    economy: Economy, trained: dict[str, Trained], outlooks: list[Outlook]
) -> pd.DataFrame:
    """Validation years inside the 90 % interval that is built on training years only."""
    rows = []
    ahead = np.arange(1, economy.num_data - economy.num_training + 1)
    for outlook in outlooks:
        base, choice = outlook.choice.base, outlook.choice
        index = np.asarray(economy.observed.price_index)[base, 1 : economy.num_training] / 100.0
        growth = np.diff(np.log(economy.grp[base, : economy.num_training])) - np.log(index)
        fitted = trained[choice.model]
        row = task_index(economy, choice.target, base)
        for protocol, levels in (("conditional", fitted.fitted.levels), ("honest", fitted.ex_ante)):
            logs = np.log(np.asarray(levels, float)[row][:, economy.validation])
            width = NORMAL_90 * np.sqrt(logs.var(axis=0) + ahead * growth.var(ddof=1))
            error = np.abs(np.log(economy.grp[base, economy.validation]) - np.median(logs, axis=0))
            rows.append((economy.bases[base], protocol, int((error <= width).sum()), len(ahead)))
    return pd.DataFrame(rows, columns=["prices", "protocol", "years inside", "years"])


def _scenarios(config: Config, economy: Economy) -> dict[str, np.ndarray]:
    """Conservative, basic and target paths of the factors, from the quartiles of their growth."""
    history = np.asarray(economy.observed.factors)[0, : economy.num_data]
    index = economy.index_factor
    rates = () if index is None else (economy.factor_names[index],)
    if not (np.delete(history, [] if index is None else index, axis=1) > 0).all():
        return {}
    ahead = len(economy.years) - economy.num_data
    made = explain.growth_scenarios(
        history,
        economy.years[: economy.num_data],
        economy.factor_names,
        ahead,
        num_years=min(10, economy.num_data - 1),
        rate_factors=rates,
        lower_is_better=rates,
    )
    return {name: np.concatenate([history, np.asarray(path.values)]) for name, path in made.items()}


@partial(jax.jit, static_argnums=0)
def _train_all(
    hybrid: fit.Hybrid, keys: Array, hyper: fit.Hyper, task: fit.Task
) -> tuple[fit.Training, Array]:
    return jax.vmap(lambda k, h: fit.train_fixed(k, hybrid, h, task))(keys, hyper)
