"""Training: losses, gradient steps inside vmap, hybrids of networks and searches, ensembles;
weights of smoothing filters and forecasts by selecting among them."""

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
from diffmig.fit.selective import (
    SelectiveConfig,
    SelectiveResult,
    forecast_selectively,
    method_names,
)
from diffmig.fit.smoothing import (
    SERIES_PER_BLOCK,
    SMOOTHING_STATUS,
    SmootherConfig,
    SmootherFit,
    check_weights,
    fit_smoother,
)
from diffmig.fit.stages import RunStage, run_rows, run_stage
from diffmig.fit.tasks import Series, Target, Task, build_task, cast, levels

__all__ = [
    "FIT_STATUS",
    "NETWORKS_PER_BLOCK",
    "OPTIMIZERS",
    "SERIES_PER_BLOCK",
    "SMOOTHING_STATUS",
    "Band",
    "Fitted",
    "Hybrid",
    "Hyper",
    "RunStage",
    "SelectiveConfig",
    "SelectiveResult",
    "Series",
    "SmootherConfig",
    "SmootherFit",
    "Target",
    "Task",
    "Training",
    "band",
    "build_task",
    "cast",
    "check_weights",
    "fit_hybrid",
    "fit_seeds",
    "fit_smoother",
    "forecast_selectively",
    "levels",
    "member",
    "method_names",
    "predict_levels",
    "run_rows",
    "run_stage",
    "train",
    "train_fixed",
    "weighted_mape",
    "weighted_mse",
]
