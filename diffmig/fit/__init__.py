"""Training: losses, gradient steps inside vmap, hybrids of networks and searches, ensembles;
weights of smoothing filters and forecasts by selecting among them; perceptrons with several
outputs."""

from diffmig.fit.backpropagation import (
    AIM_PERCENT,
    PerceptronTraining,
    backpropagate,
    deviation_percent,
    sample_loss,
    train_batch,
    train_per_sample,
    training_error,
    update_sample,
)
from diffmig.fit.calibration import Calibration, calibrate
from diffmig.fit.demography import (
    FertilityFit,
    MortalityConfig,
    MortalityFit,
    fit_fertility,
    fit_mortality,
)
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
from diffmig.fit.perceptrons import (
    LEARNING_RATES,
    PERCEPTRON_STATUS,
    PerceptronConfig,
    PerceptronFit,
    fit_input_scaler,
    fit_output_scaler,
    fit_perceptron,
    fit_perceptrons,
    forecast_recursively,
    lagged_pairs,
    predict_perceptron,
)
from diffmig.fit.profiles import PROFILE_LEVEL, Profile, profile_likelihood
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
    "AIM_PERCENT",
    "FIT_STATUS",
    "LEARNING_RATES",
    "NETWORKS_PER_BLOCK",
    "OPTIMIZERS",
    "PERCEPTRON_STATUS",
    "PROFILE_LEVEL",
    "SERIES_PER_BLOCK",
    "SMOOTHING_STATUS",
    "Band",
    "Calibration",
    "FertilityFit",
    "Fitted",
    "Hybrid",
    "Hyper",
    "MortalityConfig",
    "MortalityFit",
    "PerceptronConfig",
    "PerceptronFit",
    "PerceptronTraining",
    "Profile",
    "RunStage",
    "SelectiveConfig",
    "SelectiveResult",
    "Series",
    "SmootherConfig",
    "SmootherFit",
    "Target",
    "Task",
    "Training",
    "backpropagate",
    "band",
    "build_task",
    "calibrate",
    "cast",
    "check_weights",
    "deviation_percent",
    "fit_fertility",
    "fit_hybrid",
    "fit_input_scaler",
    "fit_mortality",
    "fit_output_scaler",
    "fit_perceptron",
    "fit_perceptrons",
    "fit_seeds",
    "fit_smoother",
    "forecast_recursively",
    "forecast_selectively",
    "lagged_pairs",
    "levels",
    "member",
    "method_names",
    "predict_levels",
    "predict_perceptron",
    "profile_likelihood",
    "run_rows",
    "run_stage",
    "sample_loss",
    "train",
    "train_batch",
    "train_fixed",
    "train_per_sample",
    "training_error",
    "update_sample",
    "weighted_mape",
    "weighted_mse",
]
