"""Gradient boosting of scikit-learn as a regressor; imported only when it is asked for."""

from importlib import import_module
from typing import Any

import jax
import numpy as np
from jax import Array

from diffmig.fit.regression import Regressor

# Small trees, many rows and little data: shrunk steps and subsamples instead of depth.
_DEFAULTS = {
    "n_estimators": 200,
    "learning_rate": 0.05,
    "max_depth": 3,
    "min_samples_leaf": 5,
    "subsample": 0.7,
}


def gradient_boosting(**options: Any) -> Regressor:
    """Gradient-boosted regression trees, scikit-learn's `GradientBoostingRegressor`.

    Args:
        options: of `GradientBoostingRegressor`, instead of the defaults here (200 trees of depth 3,
            steps of 0.05, 70 % of the rows each); `random_state` comes from the key.

    Returns:
        Regressor, not traceable: every fit is host code, one after the other.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
        ValueError: `random_state` among the options.

    Source: Friedman, 2001, Greedy function approximation: a gradient boosting machine, Annals of
    Statistics 29(5); 2002 for the subsamples.
    """
    if "random_state" in options:
        raise ValueError("random_state: expected none, got one; the key decides")
    try:
        ensemble = import_module("sklearn.ensemble")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "gradient_boosting needs scikit-learn: pip install 'diffmig[boosting]'"
        ) from error

    def fit_fn(key: Array, x: Array, y: Array, weight: Array) -> Any:
        seed = int(jax.random.bits(key, dtype=np.uint32) >> 1)
        seen = np.asarray(weight) > 0
        model = ensemble.GradientBoostingRegressor(**{**_DEFAULTS, **options}, random_state=seed)
        return model.fit(np.asarray(x)[seen], np.asarray(y)[seen], np.asarray(weight)[seen])

    def predict_fn(params: Any, x: Array) -> Any:
        return params.predict(np.asarray(x))

    return Regressor("gradient boosting", fit_fn, predict_fn, traceable=False)
