"""Training: losses, gradient steps inside vmap, hybrids of networks and searches, ensembles;
weights of smoothing filters and forecasts by selecting among them; perceptrons with several
outputs; the external force of balance dynamics (latent force, splines, physics-informed networks,
shooting), how well it is determined, and regressions of it."""

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
from diffmig.fit.boosting import gradient_boosting
from diffmig.fit.calibration import Calibration, calibrate
from diffmig.fit.cluster_networks import (
    LAYER_ACTIVATIONS,
    NetworkEnsemble,
    predict_ensemble,
    split_ensemble,
)
from diffmig.fit.collocation import (
    CollocationConfig,
    CollocationFit,
    CollocationWeights,
    fit_collocation,
)
from diffmig.fit.demography import (
    FertilityFit,
    MortalityConfig,
    MortalityFit,
    fit_fertility,
    fit_mortality,
)
from diffmig.fit.ensembles import NETWORKS_PER_BLOCK, Band, band, fit_seeds, member
from diffmig.fit.force_estimate import ForceEstimate
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
from diffmig.fit.latent_force import (
    LatentForceForecast,
    forecast_latent_force,
    smooth_latent_force,
)
from diffmig.fit.latent_force_fit import (
    SHORTEST_SCALE,
    LatentForceFit,
    LatentForceSearch,
    fit_latent_dynamics,
    fit_latent_force,
)
from diffmig.fit.latent_force_likelihood import latent_force_log_likelihood
from diffmig.fit.latent_force_model import ForceScales, LatentForceModel
from diffmig.fit.least_force import (
    LeastForce,
    ar1_null_r2,
    ar1_null_stiffness,
    least_force_stiffness,
)
from diffmig.fit.losses import weighted_mape, weighted_mse
from diffmig.fit.network_search import NETWORKS_AS_DESCRIBED, NetworkSearch, search_networks
from diffmig.fit.network_training import NETWORK_STATUS, NetworkSearchConfig
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
from diffmig.fit.pinn import AS_DESCRIBED, as_given, fit_pinn
from diffmig.fit.pinn_estimate import (
    PINN_STATUS,
    PinnFit,
    SolutionScore,
    Trace,
    evaluate_pinn,
    score_solution,
)
from diffmig.fit.pinn_penalty import PenaltyChoice, choose_penalty, penalty_of_spline
from diffmig.fit.pinn_problem import PinnConfig, PinnProblem, pinn_problem
from diffmig.fit.profiles import PROFILE_LEVEL, Profile, profile_likelihood
from diffmig.fit.regression import (
    Regressor,
    bootstrap_regression,
    fit_regression,
    precision_weights,
    predict_regression,
    town_mean,
)
from diffmig.fit.regressors import Linear, Network, NetworkConfig, constant, mlp, ridge
from diffmig.fit.selective import (
    SelectiveConfig,
    SelectiveResult,
    forecast_selectively,
    method_names,
)
from diffmig.fit.shooting import choose_shooting_penalty, fit_shooting
from diffmig.fit.shooting_config import ShootingConfig
from diffmig.fit.shooting_search import ShootingFit
from diffmig.fit.smoothing import (
    SERIES_PER_BLOCK,
    SMOOTHING_STATUS,
    SmootherConfig,
    SmootherFit,
    check_weights,
    fit_smoother,
)
from diffmig.fit.spline_force import SplineForce, SplineForceConfig, fit_spline_force
from diffmig.fit.stages import RunStage, run_rows, run_stage
from diffmig.fit.tasks import Series, Target, Task, build_task, cast, levels

__all__ = [
    "AIM_PERCENT",
    "AS_DESCRIBED",
    "FIT_STATUS",
    "LAYER_ACTIVATIONS",
    "LEARNING_RATES",
    "NETWORKS_AS_DESCRIBED",
    "NETWORKS_PER_BLOCK",
    "NETWORK_STATUS",
    "OPTIMIZERS",
    "PERCEPTRON_STATUS",
    "PINN_STATUS",
    "PROFILE_LEVEL",
    "SERIES_PER_BLOCK",
    "SHORTEST_SCALE",
    "SMOOTHING_STATUS",
    "Band",
    "Calibration",
    "CollocationConfig",
    "CollocationFit",
    "CollocationWeights",
    "FertilityFit",
    "Fitted",
    "ForceEstimate",
    "ForceScales",
    "Hybrid",
    "Hyper",
    "LatentForceFit",
    "LatentForceForecast",
    "LatentForceModel",
    "LatentForceSearch",
    "LeastForce",
    "Linear",
    "MortalityConfig",
    "MortalityFit",
    "Network",
    "NetworkConfig",
    "NetworkEnsemble",
    "NetworkSearch",
    "NetworkSearchConfig",
    "PenaltyChoice",
    "PerceptronConfig",
    "PerceptronFit",
    "PerceptronTraining",
    "PinnConfig",
    "PinnFit",
    "PinnProblem",
    "Profile",
    "Regressor",
    "RunStage",
    "SelectiveConfig",
    "SelectiveResult",
    "Series",
    "ShootingConfig",
    "ShootingFit",
    "SmootherConfig",
    "SmootherFit",
    "SolutionScore",
    "SplineForce",
    "SplineForceConfig",
    "Target",
    "Task",
    "Trace",
    "Training",
    "ar1_null_r2",
    "ar1_null_stiffness",
    "as_given",
    "backpropagate",
    "band",
    "bootstrap_regression",
    "build_task",
    "calibrate",
    "cast",
    "check_weights",
    "choose_penalty",
    "choose_shooting_penalty",
    "constant",
    "deviation_percent",
    "evaluate_pinn",
    "fit_collocation",
    "fit_fertility",
    "fit_hybrid",
    "fit_input_scaler",
    "fit_latent_dynamics",
    "fit_latent_force",
    "fit_mortality",
    "fit_output_scaler",
    "fit_perceptron",
    "fit_perceptrons",
    "fit_pinn",
    "fit_regression",
    "fit_seeds",
    "fit_shooting",
    "fit_smoother",
    "fit_spline_force",
    "forecast_latent_force",
    "forecast_recursively",
    "forecast_selectively",
    "gradient_boosting",
    "lagged_pairs",
    "latent_force_log_likelihood",
    "least_force_stiffness",
    "levels",
    "member",
    "method_names",
    "mlp",
    "penalty_of_spline",
    "pinn_problem",
    "precision_weights",
    "predict_ensemble",
    "predict_levels",
    "predict_perceptron",
    "predict_regression",
    "profile_likelihood",
    "ridge",
    "run_rows",
    "run_stage",
    "sample_loss",
    "score_solution",
    "search_networks",
    "smooth_latent_force",
    "split_ensemble",
    "town_mean",
    "train",
    "train_batch",
    "train_fixed",
    "train_per_sample",
    "training_error",
    "update_sample",
    "weighted_mape",
    "weighted_mse",
]
