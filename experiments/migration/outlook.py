"""Balances of the years after the data, the force going on as its prior says."""

from typing import NamedTuple

import numpy as np

from diffmig import fit
from experiments.migration.config import Config
from experiments.migration.dynamics import coordinates, force_model
from experiments.migration.inputs import Inputs
from experiments.migration.system import System

HORIZON = 5
NORMAL_90 = 1.6448536


class Outlook(NamedTuple):
    """Forecast, per mille a year.

    Attributes:
        years: [horizon].
        mean, sd: of the rates, noise included, [place, horizon].
    """

    years: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


def look_ahead(config: Config, inputs: Inputs, system: System, made: fit.LatentForceFit) -> Outlook:
    """Predictive distribution of the next five years at the fitted strengths."""
    found = fit.forecast_latent_force(
        coordinates(system, inputs.rate),
        made.stiffness,
        made.damping,
        made.scales,
        HORIZON,
        model=force_model(config.smoothness),
        basis=system.basis,
    )
    return Outlook(
        years=inputs.years[-1] + 1 + np.arange(HORIZON),
        mean=np.asarray(found.forecast),
        sd=np.asarray(found.forecast_sd),
    )
