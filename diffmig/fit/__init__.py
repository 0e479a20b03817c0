"""Training: losses, gradient steps inside vmap, hybrids of networks and searches, ensembles."""

from diffmig.fit.ensembles import NETWORKS_PER_BLOCK, Band, band, fit_seeds, member
from diffmig.fit.gradient import OPTIMIZERS, Training, train
from diffmig.fit.hybrids import (
    FIT_STATUS,
    Fitted,
    Hybrid,
    Hyper,
    fit_hybrid,
    predict_levels,
    train_fixed,
)
from diffmig.fit.losses import weighted_mape, weighted_mse
from diffmig.fit.stages import RunStage, run_rows, run_stage
from diffmig.fit.tasks import Series, Target, Task, build_task, cast, levels

__all__ = [
    "FIT_STATUS",
    "NETWORKS_PER_BLOCK",
    "OPTIMIZERS",
    "Band",
    "Fitted",
    "Hybrid",
    "Hyper",
    "RunStage",
    "Series",
    "Target",
    "Task",
    "Training",
    "band",
    "build_task",
    "cast",
    "fit_hybrid",
    "fit_seeds",
    "levels",
    "member",
    "predict_levels",
    "run_rows",
    "run_stage",
    "train",
    "train_fixed",
    "weighted_mape",
    "weighted_mse",
]
