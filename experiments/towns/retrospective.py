"""Years that are known, forecast as if they were not: three protocols and what they must beat."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import evaluate, fit
from experiments.towns.config import Config
from experiments.towns.inputs import Inputs
from experiments.towns.networks import (
    POOLED,
    Networks,
    make_problems,
    predict_rows,
    predict_towns,
    train_networks,
    with_level,
)
from experiments.towns.paths import continue_trends
from experiments.towns.structure import Structure

DESCRIBED = "networks, as described"
DESCRIBED_LATER = "networks, as described, the year after"
CONDITIONAL = "networks, factors given"
HONEST = "networks, factors forecast"
POOLED_NET = "one network for all towns, factors forecast"
RIDGE = "ridge, factors forecast"
LAST, AR1, MEAN = "last value", "AR(1) by town", "mean of the past"
HONEST_METHODS = (HONEST, POOLED_NET, RIDGE, LAST, AR1, MEAN)


class Retrospective(NamedTuple):
    """Forecasts of the test years.

    Attributes:
        years: indices of the test years, [test].
        described, honest: the networks of both protocols.
        forecasts: method -> persons, [test, town]; NaN where a method says nothing.
        spread: standard deviation over the members of `HONEST`, [test, town].
        actual: persons, [test, town].
        structure: as seen before the first test year.
    """

    years: np.ndarray
    described: Networks
    honest: Networks
    forecasts: dict[str, np.ndarray]
    spread: np.ndarray
    actual: np.ndarray
    structure: Structure


def retrospective(
    config: Config,
    inputs: Inputs,
    whole: Structure,
    before: Structure,
    key: Array,
    stage_fn: fit.RunStage,
    mesh: Mesh | None,
) -> Retrospective:
    """All methods on all test years.

    Args:
        whole: structure from all years, as in the paper: a look ahead that `DESCRIBED` alone has.
        before: structure from the years before the first test year.
    """
    last = inputs.years.size
    years = list(range(last - config.test_years, last))
    keys = {n: jax.random.fold_in(key, i) for i, n in enumerate(("described", "honest", "ridge"))}
    described = train_networks(
        config, inputs, whole,
        make_problems(whole, years, config.training_years, pooled=False),
        keys["described"], stage_fn, mesh, name="towns-described", as_described=True,
    )  # fmt: skip
    honest = train_networks(
        config, inputs, before, make_problems(before, years, config.honest_years, pooled=True),
        keys["honest"], stage_fn, mesh, name="towns-honest",
    )  # fmt: skip
    made: dict[str, list[np.ndarray]] = {}
    spread = []
    for year in years:
        found, scatter = _one_year(inputs, described, honest, whole, before, keys["ridge"], year)
        spread.append(scatter)
        for name, values in found.items():
            made.setdefault(name, []).append(values)
    return Retrospective(
        years=np.array(years),
        described=described,
        honest=honest,
        forecasts={name: np.stack(values) for name, values in made.items()},
        spread=np.stack(spread),
        actual=inputs.balance[:, years].T,
        structure=before,
    )


def _one_year(
    inputs: Inputs,
    described: Networks,
    honest: Networks,
    whole: Structure,
    before: Structure,
    key: Array,
    year: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Forecasts of one year by every method, [town], and the scatter of the honest networks."""
    given = inputs.factors[:, year][:, before.kept]
    ahead = continue_trends(inputs.factors[:, :year][:, :, before.kept], 1)[:, 0]
    members = predict_towns(honest, inputs, ahead, year)
    pooled = next(
        i for i, p in enumerate(honest.problems) if p.cluster == POOLED and p.test == year
    )
    history = jnp.asarray(inputs.balance[:, :year])
    found = {
        DESCRIBED: predict_towns(
            described, inputs, inputs.factors[:, year][:, whole.kept], year
        ).mean(axis=0),
        DESCRIBED_LATER: _one_year_later(inputs, described, whole, year),
        CONDITIONAL: predict_towns(honest, inputs, given, year).mean(axis=0),
        HONEST: members.mean(axis=0),
        POOLED_NET: predict_rows(honest, pooled, inputs, ahead, year).mean(axis=0),
        RIDGE: _ridge(inputs, honest, ahead, year, key),
        LAST: np.asarray(evaluate.last_value(history, 1))[:, 0],
        AR1: np.asarray(evaluate.ar1(history, 1).forecast)[:, 0],
        MEAN: np.asarray(history.mean(axis=1)),
    }
    return found, members.std(axis=0)


def _one_year_later(inputs: Inputs, described: Networks, whole: Structure, year: int) -> np.ndarray:
    """The networks that the year before picked, on a year that picked nothing, [town]."""
    if not any(p.test == year - 1 for p in described.problems):
        return np.full(len(inputs.towns), np.nan)
    factors = inputs.factors[:, year][:, whole.kept]
    return predict_towns(described, inputs, factors, year - 1).mean(axis=0)


def _ridge(
    inputs: Inputs, honest: Networks, ahead: np.ndarray, year: int, key: Array
) -> np.ndarray:
    """Ridge on the rows of the networks, cluster by cluster."""
    method, out = fit.ridge(), np.full(len(inputs.towns), np.nan)
    for p in honest.problems:
        if p.test != year or p.cluster == POOLED:
            continue
        x = jnp.stack(
            [
                jnp.asarray(
                    with_level(
                        honest, inputs, p.towns, inputs.factors[p.towns, t][:, honest.kept], t
                    )
                )
                for t in p.train
            ],
            axis=1,
        )
        y = jnp.asarray(inputs.rate[np.ix_(p.towns, p.train)])
        params = fit.fit_regression(key, method, x, y)
        coming = with_level(honest, inputs, p.towns, ahead[p.towns], year)
        rate = fit.predict_regression(method, params, jnp.asarray(coming))
        out[p.towns] = np.asarray(rate) * inputs.scale[p.towns]
    return out
