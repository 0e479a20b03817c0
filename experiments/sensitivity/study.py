"""The same steps for every model: gradient, its check and cost, sampling methods, two rankings."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh

from diffmig import data, explain, fit
from experiments.sensitivity import models, places
from experiments.sensitivity.config import NAMES, Config
from experiments.sensitivity.models import Model
from experiments.sensitivity.ranks import ranked

SHORTEST = 2e-3  # seconds: shorter runs are timed several at a time


class Reading(NamedTuple):
    """What is found of one model.

    Attributes:
        model: asked.
        table: a row per input number: gradients, elasticity, indices, effects, ranks.
        error: relative error of the gradient by input name.
        finite: every value of the check of gradients is finite.
        cost: seconds of a gradient over seconds of a forward run, median of this run.
        forward_seconds, compile_seconds: of a forward run, and of compiling both.
        num_points: pairs of points of the Sobol indices.
        variance_status: words.
        bound_holds: share of the inputs whose total index, less its sampling error, is below the
            bound by derivatives.
    """

    model: Model
    table: pd.DataFrame
    error: dict[str, float]
    finite: bool
    cost: float
    forward_seconds: float
    compile_seconds: float
    num_points: int
    variance_status: str
    bound_holds: float


def load(data_file: Path | None, config: Config) -> None:
    """Nothing: every model loads its bundled data.

    Raises:
        DataError: a file is given.
    """
    if data_file is not None:
        what, cure = "this study is of the bundled data", "run a model's own experiment with --data"
        raise data.DataError([data.Problem(None, None, None, what, cure)], file=str(data_file))


def run(
    config: Config, panel: None, key: Array, stage_fn: fit.RunStage, mesh: Mesh | None
) -> list[Reading]:
    """Every model of the config."""
    makers: dict[str, Callable[[Array], Model]] = {
        "grp": partial(models.grp, config),
        "human_capital": partial(models.human_capital, config),
        "migration": partial(places.migration, config),
        "smoothing": partial(models.smoothed, config),
        "town": lambda own: places.town(config, own, stage_fn, mesh),
    }
    readings = []
    for name in config.models:
        keys = jax.random.split(jax.random.fold_in(key, NAMES.index(name)))
        readings.append(read(config, keys[1], makers[name](keys[0])))
    return readings


def read(config: Config, key: Array, model: Model) -> Reading:
    """One model by gradients, Sobol indices, Morris effects and derivatives over its box; all on
    one device, so that costs are those of one."""
    names = ("points", "bootstrap", "trajectories")
    keys = dict(zip(names, jax.random.split(key, 3), strict=True))
    low, high = model.box
    widths = jax.tree.map(lambda a, b: b - a, low, high)
    middle = jax.tree.map(lambda a, b: 0.5 * (a + b), low, high)
    batch: Any = {"block": config.block}
    num = explain.num_inputs(model.box)
    error = explain.error_of_gradient(model.model_fn, model.inputs, scale=widths, **batch)
    slope_fn = partial(explain.sensitivity, model.model_fn)
    slope, cost, forward_seconds, compile_seconds = timed(
        model.model_fn, slope_fn, model.inputs, config.repeats
    )
    here, there = slope(model.inputs), slope(middle)
    fitting = 1 << max(1, (config.most_runs // (num + 2)).bit_length() - 1)
    points = explain.sobol_points(keys["points"], min(config.num_points, fitting), 2 * num)
    sobol = explain.sobol_indices(
        keys["bootstrap"], model.model_fn, model.box, points,
        num_resamples=config.num_resamples, **batch,
    )  # fmt: skip
    derivatives = explain.derivative_measures(model.model_fn, model.box, points[:, :num], **batch)
    morris = explain.morris_effects(
        model.model_fn,
        model.box,
        explain.morris_trajectories(keys["trajectories"], config.num_trajectories, num),
        **batch,
    )
    words: Any = {"input_labels": model.labels, "input_units": model.units}
    table = explain.sensitivity_frame(here, **words)
    for frame in (
        explain.sobol_frame(sobol, **words).drop(columns="status"),
        explain.derivative_frame(derivatives, **words).drop(columns=["status", "variance"]),
        explain.morris_frame(morris, **words).drop(columns="status"),
    ):
        table[frame.columns[3:]] = frame[frame.columns[3:]]
    table["gradient_in_middle"] = explain.sensitivity_frame(there, **words)["gradient"]
    low_end, high_end = (
        np.concatenate([np.ravel(v) for v in jax.tree.leaves(e)]) for e in model.box
    )
    table["width"] = high_end - low_end
    table["from_middle"] = (table["value"] - 0.5 * (low_end + high_end)) / table["width"]
    status = explain.VARIANCE_STATUS[int(sobol.status)]
    above = table["total_low"] > table["total_bound"]
    return Reading(
        model=model._replace(model_fn=_done),
        table=ranked(table.assign(output=model.output)),
        error={name: float(value) for name, value in error.relative.items()},
        finite=int(error.status) == 0,
        cost=cost,
        forward_seconds=forward_seconds,
        compile_seconds=compile_seconds,
        num_points=points.shape[0],
        variance_status=status,
        bound_holds=float(1 - above.mean()),
    )


def _done(inputs: Any) -> Array:
    """Stands for the model when all has been computed: results hold no programs."""
    raise RuntimeError("the model is not kept with its readings")


def timed(
    model_fn: Callable[[Any], Any], slope_fn: Callable[[Any], Any], point: Any, repeats: int
) -> tuple[Callable[[Any], Any], float, float, float]:
    """Compiled gradient, its cost in forward runs, seconds of a forward run and of compiling.

    Both are timed in turn, so that what else the machine does falls on both: medians of the ratio
    and of the seconds.
    """
    started = time.perf_counter()
    both = [jax.jit(fn).lower(point).compile() for fn in (model_fn, slope_fn)]
    compile_seconds = time.perf_counter() - started
    calls = [max(1, int(SHORTEST / min(_seconds(fn, point, 1) for _ in range(3)))) for fn in both]
    seconds = np.array(
        [
            [_seconds(fn, point, number) for fn, number in zip(both, calls, strict=True)]
            for _ in range(repeats)
        ]
    )
    cost = float(np.median(seconds[:, 1] / seconds[:, 0]))
    return both[1], cost, float(np.median(seconds[:, 0])), compile_seconds


def _seconds(fn: Callable[[Any], Any], point: Any, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(fn(point))
    return (time.perf_counter() - started) / calls
