"""Selection inside the training years, forecasts of the held-out years, and the paired tests."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig import data, evaluate, fit
from experiments.regions.comparison import Comparison, compare, median_intervals
from experiments.regions.config import Config
from experiments.regions.places import Regions, make_regions
from experiments.regions.rivals import PROTOCOLS, forecast_baselines
from experiments.regions.training import (
    Rows,
    Runs,
    build_tasks,
    train_rows,
    training_ends,
)


class Setting(NamedTuple):
    """A point of the grid."""

    network: str
    target: str
    weight_decay: float


class Result(NamedTuple):
    """Everything that the report shows.

    Attributes:
        regions: the data.
        settings, scores: grid, and its mean MAPE over origins and regions inside the training
            years, [setting, protocol], percent.
        chosen: setting of lowest score, by protocol.
        levels: GRP by every run of the chosen models, [protocol, region, seed, year].
        baselines: forecasts of the years after training, [region, horizon], by protocol and name.
        mape: MAPE after training of the ensemble median ("network") and of every baseline,
            [region], percent, by protocol and name.
        median_mape: median of `mape` over regions with its 90 % bootstrap interval.
        seed_mape: MAPE after training of every run, [protocol, region, seed].
        comparisons: network against every baseline, protocol by protocol.
        num_trained, num_diverged: trainings, and those that met a value that is not finite.
    """

    regions: Regions
    settings: tuple[Setting, ...]
    scores: np.ndarray
    chosen: dict[str, Setting]
    levels: np.ndarray
    baselines: dict[str, dict[str, np.ndarray]]
    mape: dict[str, dict[str, np.ndarray]]
    median_mape: dict[str, dict[str, evaluate.DifferenceInterval]]
    seed_mape: np.ndarray
    comparisons: tuple[Comparison, ...]
    num_trained: int
    num_diverged: int


def run(
    config: Config, panel: data.Panel, key: Array, stage_fn: fit.RunStage, mesh: Mesh | None
) -> Result:
    """The study on one panel.

    Raises:
        DataError: the panel does not fit the config, see `make_regions`.
    """
    regions = make_regions(config, panel)
    key_selection, key_final, key_tests, key_median = jax.random.split(key, 4)
    tasks = build_tasks(config, regions)
    rows_of = partial(_rows, config, len(regions.names))
    train = partial(train_rows, config=config, tasks=tasks, stage_fn=stage_fn, mesh=mesh)
    settings = tuple(
        Setting(*point) for point in product(config.networks, config.targets, config.weight_decays)
    )
    selection = [
        train(
            key_selection,
            network=network,
            rows=rows_of(
                [setting for setting in settings if setting.network == network],
                range(config.num_origins),
                config.selection_seeds,
            ),
            name=f"select-{network.lower()}",
        )
        for network in config.networks
    ]
    scores = np.concatenate([_selection_scores(config, regions, runs) for runs in selection])
    best = np.argmin(np.where(np.isfinite(scores), scores, np.inf), axis=0)
    chosen = {name: settings[i] for name, i in zip(PROTOCOLS, best, strict=True)}
    final = {  # one training serves both protocols where they choose the same
        setting: train(
            key_final,
            network=setting.network,
            rows=rows_of([setting], [config.num_origins], config.num_seeds),
            name=f"final-{number}",
        )
        for number, setting in enumerate(dict.fromkeys(chosen.values()))
    }
    levels = np.stack([final[chosen[name]].levels[:, p] for p, name in enumerate(PROTOCOLS)])
    levels = levels.reshape(len(PROTOCOLS), len(regions.names), config.num_seeds, -1).astype(float)
    baselines = forecast_baselines(regions)
    after = slice(regions.num_training, None)
    network = dict(zip(PROTOCOLS, _ensemble_median(levels, 2)[..., after], strict=True))
    mape = {
        protocol: {
            name: _mape(regions.grp[:, after], forecast)
            for name, forecast in {"network": network[protocol], **baselines[protocol]}.items()
        }
        for protocol in PROTOCOLS
    }
    trained = [*selection, *final.values()]
    return Result(
        regions=regions,
        settings=settings,
        scores=scores,
        chosen=chosen,
        levels=levels,
        baselines=baselines,
        mape=mape,
        median_mape=median_intervals(key_median, mape),
        seed_mape=_mape(regions.grp[:, None, after], levels[..., after]),
        comparisons=compare(key_tests, mape, config.significance),
        num_trained=sum(len(runs.diverged) for runs in trained),
        num_diverged=sum(int(runs.diverged.sum()) for runs in trained),
    )


def _rows(
    config: Config,
    num_regions: int,
    settings: Sequence[Setting],
    origins: Sequence[int],
    num_seeds: int,
) -> Rows:
    """Runs [setting, origin, region, seed] in one row."""
    target = np.array([config.targets.index(setting.target) for setting in settings])
    decay = np.array([setting.weight_decay for setting in settings])
    axes = (np.arange(len(settings)), origins, np.arange(num_regions), np.arange(num_seeds))
    setting, origin, region, seed = (a.ravel() for a in np.meshgrid(*axes, indexing="ij"))
    return Rows(target[setting], origin, region, seed, decay[setting])


def _selection_scores(config: Config, regions: Regions, runs: Runs) -> np.ndarray:
    """Mean MAPE of the ensemble median over origins and regions, [setting, protocol], percent."""
    ends, horizon = training_ends(config, regions)[:-1], config.selection_horizon
    shape = (len(ends), len(regions.names), config.selection_seeds, *runs.levels.shape[1:])
    median = _ensemble_median(runs.levels.reshape(-1, *shape).astype(float), 3)
    by_origin = [
        _mape(regions.grp[:, None, end : end + horizon], median[:, k, :, :, end : end + horizon])
        for k, end in enumerate(ends)
    ]
    return np.mean(by_origin, axis=(0, 2))


def _ensemble_median(levels: np.ndarray, axis: int) -> np.ndarray:
    """Median over the finite runs of an ensemble."""
    return np.asarray(fit.band(jnp.asarray(levels), axis).median)


def _mape(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    return np.asarray(evaluate.mape(np.broadcast_to(actual, forecast.shape), forecast))
