"""Forecasts after the data: factor trends kept (the paper's table 4) and the scenarios."""

from typing import NamedTuple

import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from experiments.towns.config import Config
from experiments.towns.inputs import Inputs
from experiments.towns.networks import Networks, final_problems, predict_towns, train_networks
from experiments.towns.paths import scenario_paths
from experiments.towns.retrospective import HONEST, Retrospective
from experiments.towns.structure import Structure

NORMAL_90 = 1.6448536
TREND = "trend kept"


class Outlook(NamedTuple):
    """Balances after the data, persons a year.

    Attributes:
        years: [horizon].
        networks: of every cluster, trained on the last years of the data.
        factors: path -> all factors, [town, horizon, factor].
        members: path -> every network, [member, town, horizon].
        error: root mean square one-year error of the retrospective forecasts, per thousand
            residents (or in units of the town's size), [].
        low, high: ends of the 90 % interval under `TREND`, [town, horizon].
        beyond: share of the towns' kept factors outside the training range, by path, [horizon].
    """

    years: np.ndarray
    networks: Networks
    factors: dict[str, np.ndarray]
    members: dict[str, np.ndarray]
    error: float
    low: np.ndarray
    high: np.ndarray
    beyond: dict[str, np.ndarray]


def look_ahead(
    config: Config,
    inputs: Inputs,
    structure: Structure,
    past: Retrospective,
    key: Array,
    stage_fn: fit.RunStage,
    mesh: Mesh | None,
) -> Outlook:
    """Networks of the last years on every path of the factors.

    The interval adds the scatter of the networks and the error of the retrospective forecasts,
    which grows with the square root of the years ahead: a rule of ours, not a derivation.
    """
    networks = train_networks(
        config, inputs, structure, final_problems(structure, config.honest_years), key, stage_fn,
        mesh, name="towns-final",
    )  # fmt: skip
    factors = scenario_paths(config, inputs)
    members = {
        name: np.stack(
            [
                predict_towns(networks, inputs, path[:, h][:, structure.kept], None)
                for h in range(config.horizon)
            ],
            axis=2,
        )
        for name, path in factors.items()
    }
    rate_error = (past.forecasts[HONEST] - past.actual) / inputs.scale
    error = float(np.sqrt(np.mean(rate_error**2)))
    ahead = np.arange(1, config.horizon + 1)
    variance = members[TREND].var(axis=0) + (error * inputs.scale[:, None]) ** 2 * ahead
    half = NORMAL_90 * np.sqrt(variance)
    mean = members[TREND].mean(axis=0)
    return Outlook(
        years=inputs.years[-1] + ahead,
        networks=networks,
        factors=factors,
        members=members,
        error=error,
        low=mean - half,
        high=mean + half,
        beyond={name: _beyond(networks, path) for name, path in factors.items()},
    )


def _beyond(networks: Networks, path: np.ndarray) -> np.ndarray:
    """Share of towns and kept factors outside the range of their cluster's training rows."""
    outside = np.zeros(path[:, :, networks.kept].shape, bool)
    for number, p in enumerate(networks.problems):
        scaler = networks.ensemble(number).inputs
        count = networks.kept.size
        low, high = np.asarray(scaler.low)[:count], np.asarray(scaler.high)[:count]
        x = path[p.towns][:, :, networks.kept]
        outside[p.towns] = (x < low) | (x > high)
    return outside.mean(axis=(0, 2))
