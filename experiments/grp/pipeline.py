"""The GRP experiment as one pure function."""

from pathlib import Path
from typing import NamedTuple

import jax
import pandas as pd
from jax import Array
from jax.sharding import Mesh

from diffmig import data, fit
from experiments.grp.config import Config
from experiments.grp.economy import Economy, make_economy
from experiments.grp.models import (
    Trained,
    as_described,
    repaired,
    run_as_described,
    run_repaired,
)
from experiments.grp.outlook import Outlook, refit
from experiments.grp.scores import choose, score_frame
from experiments.grp.study import Study, run_study


class Result(NamedTuple):
    """All that is computed; `described` is empty and `study` None unless replicating."""

    economy: Economy
    described: dict[str, Trained]
    trained: dict[str, Trained]
    study: Study | None
    outlooks: list[Outlook]
    scores: pd.DataFrame


def load(file: Path | None, config: Config) -> data.Panel:
    """The bundled table of the Udmurt Republic, its errata applied, or one region from a file.

    Raises:
        DataError: the file cannot be read, or has more than one place.
    """
    if file is None:
        return data.load_table("grp_udmurt")
    panel = data.read_panel(file, year_column=config.year_column, place_column=config.place_column)
    if len(panel.places) > 1:
        what = f"{len(panel.places)} places in one file, expected one"
        cure = "run `python -m experiments.regions --data FILE`, or keep one place's rows"
        raise data.DataError([data.Problem(None, None, None, what, cure)], file=str(file))
    return panel


def run(
    config: Config, panel: data.Panel, key: Array, stage_fn: fit.RunStage, mesh: Mesh
) -> Result:
    """Training, choice, scores, refitting on all years and forecast."""
    as_printed = data.load_table("grp_udmurt", corrected=False) if config.replicate else None
    economy = make_economy(config, panel, as_printed)
    keys = dict(
        zip(("described", "repaired", "study", "refit"), jax.random.split(key, 4), strict=True)
    )
    described, study = {}, None
    if config.replicate:
        for model, hybrid in as_described(config).items():
            name = f"{model.lower()}-as-described"
            described[model] = run_as_described(
                keys["described"], config, economy, hybrid, name, stage_fn, mesh
            )
        study = run_study(keys["study"], config, economy, stage_fn, mesh)
    trained = {
        model: run_repaired(
            keys["repaired"], config, economy, hybrid, f"{model.lower()}-repaired", stage_fn, mesh
        )
        for model, hybrid in repaired(config).items()
    }
    outlooks = [
        refit(keys["refit"], config, economy, trained, choice)
        for choice in choose(economy, trained)
    ]
    scores = score_frame(economy, described, trained)
    return Result(economy, described, trained, study, outlooks, scores)
