"""Networks of the clusters: rows of every problem, searches by every protocol, forecasts."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from experiments.towns.config import Config
from experiments.towns.inputs import Inputs
from experiments.towns.structure import Structure

POOLED = -1  # a "cluster" of all towns


class Problem(NamedTuple):
    """One search: towns, years that train, the year that is forecast (None: none).

    Attributes:
        cluster: number of the cluster, or `POOLED`.
        towns: indices, [town].
        train: indices of years, [year].
        test: index of a year, or None.
    """

    cluster: int
    towns: np.ndarray
    train: np.ndarray
    test: int | None


class Networks(NamedTuple):
    """Networks of all problems of one protocol.

    Attributes:
        problems: what they were trained for.
        kept: indices of the factors, [kept].
        persons: whether the target is the balance itself, and not the rate.
        level: whether the past level of the town is the last input.
        search: with a leading axis of problems.
    """

    problems: tuple[Problem, ...]
    kept: np.ndarray
    persons: bool
    level: bool
    search: fit.NetworkSearch

    def ensemble(self, number: int) -> fit.NetworkEnsemble:
        """Networks of one problem, leaves [member, ...], in float64 whatever they were trained in:
        levers and derivatives need it."""

        def one(leaf: jax.Array) -> jax.Array:
            part = np.asarray(leaf)[number]
            floating = np.issubdtype(part.dtype, np.floating)
            return jax.device_put(part.astype(float) if floating else part)

        return jax.tree.map(one, self.search.ensemble)


def make_problems(
    structure: Structure, tests: Sequence[int], num_training: int, *, pooled: bool
) -> tuple[Problem, ...]:
    """A problem per cluster (and of all towns) and test year, trained on the years before it."""
    label = structure.clusters.label
    groups = [(c, np.flatnonzero(label == c)) for c in range(label.max() + 1)]
    groups += [(POOLED, np.arange(label.size))] if pooled else []
    return tuple(
        Problem(c, members, np.arange(max(1, test - num_training), test), test)
        for test in tests
        for c, members in groups
    )


def final_problems(structure: Structure, num_training: int) -> tuple[Problem, ...]:
    """A problem per cluster on the last years, nothing tested: for the years after the data."""
    last = structure.num_years
    made = make_problems(structure, (last,), num_training, pooled=False)
    return tuple(problem._replace(test=None) for problem in made)


def train_networks(
    config: Config,
    inputs: Inputs,
    structure: Structure,
    problems: tuple[Problem, ...],
    key: Array,
    stage_fn: fit.RunStage,
    mesh: Mesh | None,
    *,
    name: str,
    as_described: bool = False,
) -> Networks:
    """All candidates of all problems; as described the test year picks, and persons are learnt."""
    target = inputs.balance if as_described else inputs.rate
    level = config.past_level and not as_described
    factors = inputs.factors[:, :, structure.kept]
    if level:
        past = [inputs.past_level(max(year, 1)) for year in range(inputs.years.size)]
        factors = np.concatenate([factors, np.stack(past, axis=1)[:, :, None]], axis=2)
    size = max(p.towns.size * (p.train.size + (p.test is not None)) for p in problems)
    rows = [_rows(target, factors, p, size) for p in problems]
    x, y, year, train, test = (np.stack(part) for part in zip(*rows, strict=True))
    choices = fit.NetworkSearchConfig(
        hidden=config.hidden,
        starts=config.starts,
        l2=(0.0,) if as_described else (config.decay,),
        keep=config.keep,
        max_steps=config.max_steps,
        dtype=config.dtype,
        selection="test-year" if as_described else "leave-one-year-out",
    )
    found = fit.search_networks(
        key, x, y, year, train, test, config=choices, name=name, stage_fn=stage_fn, mesh=mesh
    )
    return Networks(problems, structure.kept, as_described, level, found)


def _rows(
    target: np.ndarray, factors: np.ndarray, p: Problem, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Factors, target, year and both masks of one problem, filled up to `size` rows."""
    years = p.train if p.test is None else np.append(p.train, p.test)
    town, year = (a.ravel() for a in np.meshgrid(p.towns, years, indexing="ij"))
    gap = size - town.size

    def fill(part: np.ndarray) -> np.ndarray:
        return np.concatenate([part, np.zeros((gap, *part.shape[1:]), part.dtype)])

    test = year == (-1 if p.test is None else p.test)
    return (
        fill(factors[town, year]),
        fill(target[town, year]),
        fill(year.astype(np.int32)),
        fill(~test),
        fill(test),
    )


def predict_towns(
    networks: Networks, inputs: Inputs, factors: np.ndarray, test: int | None
) -> np.ndarray:
    """Members' forecasts of the test year for all towns of the clusters, persons, [member, town].

    Args:
        networks: searches, of which those with this test year serve.
        inputs: of the study.
        factors: of the forecast year, [town, kept].
        test: index of the year; None: networks of the years after the data.
    """
    keep = networks.search.kept.shape[1]
    found = np.full((keep, len(inputs.towns)), np.nan)
    year = inputs.years.size if test is None else test
    for number, p in enumerate(networks.problems):
        if p.test == test and p.cluster != POOLED:
            found[:, p.towns] = predict_rows(networks, number, inputs, factors, year)[:, p.towns]
    return found


def predict_rows(
    networks: Networks, number: int, inputs: Inputs, factors: np.ndarray, year: int
) -> np.ndarray:
    """Members' forecasts of one problem's networks for every town, persons, [member, town].

    All towns enter, also those of other clusters, so that one program serves all problems.

    Args:
        factors: [town, kept].
        year: index of the year whose past levels are seen.
    """
    x = with_level(networks, inputs, np.arange(len(inputs.towns)), factors, year)
    out = np.asarray(_predict(networks.ensemble(number), jnp.asarray(x)))
    return out if networks.persons else out * inputs.scale


_predict = jax.jit(fit.predict_ensemble)


def with_level(
    networks: Networks, inputs: Inputs, towns: np.ndarray, factors: np.ndarray, year: int
) -> np.ndarray:
    """Inputs of the networks, [town, input]: factors [town, kept] and the past level, if seen."""
    if not networks.level:
        return factors
    return np.concatenate([factors, inputs.past_level(year)[towns][:, None]], axis=1)


def input_names(networks: Networks, inputs: Inputs) -> list[str]:
    """Names of what the networks see."""
    return kept_names(networks, inputs) + ["past level"] * networks.level


def kept_names(networks: Networks, inputs: Inputs) -> list[str]:
    """Names of the kept factors."""
    return [inputs.names[i] for i in networks.kept]
