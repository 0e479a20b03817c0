"""Forecasts without networks: factors by autoregression, naive rules, production functions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import evaluate
from experiments.regions.places import Regions

PROTOCOLS = ("conditional", "honest")  # factors after the training years: actual, forecast


def forecast_baselines(regions: Regions) -> dict[str, dict[str, np.ndarray]]:
    """Forecasts of the years after training, [region, horizon], by protocol and name.

    Those of `evaluate.BASELINES` read no factor and stand in both protocols (mean growth of 10
    years only where there are 11 training years); the production function reads the factors that
    the networks of the protocol read.
    """
    num_training = regions.num_training
    horizon = len(regions.years) - num_training
    known = regions.grp[:, :num_training]
    forecasters = {
        name: forecaster
        for name, forecaster in evaluate.BASELINES.items()
        if num_training > 10 or name != "mean growth of 10 years"
    }
    naive = jax.jit(lambda grp: [f(grp, horizon) for f in forecasters.values()])(known)
    forecast = extend_factors(jnp.asarray(regions.factors), num_training)
    return {
        protocol: {
            **dict(zip(forecasters, jax.device_get(naive), strict=True)),
            "Cobb-Douglas": cobb_douglas(known, path, differences=False),
            "Cobb-Douglas of growth": cobb_douglas(known, path, differences=True),
        }
        for protocol, path in zip(PROTOCOLS, (regions.factors, np.asarray(forecast)), strict=True)
    }


@partial(jax.jit, static_argnames=("num_known",))
def extend_factors(factors: Array, num_known: int) -> Array:
    """Factors known for `num_known` years, then forecast region by region, [region, year, factor].

    AR(1) in levels; of log differences where its root is not inside (-1, 1) or a positive factor
    would lose its sign; the last value where that root is not inside either, as happens in short
    series, or logarithms do not exist. Years after `num_known` are not read.
    """
    known, ahead = factors[:, :num_known], factors.shape[1] - num_known
    if ahead == 0:
        return factors
    series = jnp.moveaxis(known, 1, 2)
    positive = (series > 0).all(axis=-1)
    level = evaluate.ar1(series, ahead)
    logs = evaluate.ar1(jnp.where(positive[..., None], series, 1.0), ahead, log_difference=True)
    keeps_sign = ~positive | (level.forecast > 0).all(axis=-1)
    in_levels = (level.status != 1) & keeps_sign
    in_logs = positive & (logs.status != 1)
    path = jnp.where(in_logs[..., None], logs.forecast, evaluate.last_value(series, ahead))
    path = jnp.where(in_levels[..., None], level.forecast, path)
    return jnp.concatenate([known, jnp.moveaxis(path, 2, 1)], axis=1)


def cobb_douglas(known_grp: np.ndarray, factors: np.ndarray, *, differences: bool) -> np.ndarray:
    """Production function of every region by ordinary least squares, [region, year after training].

    log grp_t = a + sum_k b_k log factor_kt, or the same for annual differences of the logarithms,
    accumulated from the last training year. A factor that is not always positive enters as it is.

    Args:
        known_grp: GRP of the training years, [region, year].
        factors: actual or forecast factors of all years, [region, year, factor].

    Notes:
        More coefficients than years, or collinear factors: the solution of least norm in units of
        the factors' training spread.
    """
    positive = (factors > 0).all(axis=1, keepdims=True)
    x = np.where(positive, np.log(np.where(positive, factors, 1.0)), factors)
    y = np.log(known_grp)
    end = y.shape[1]
    if differences:
        x, y, end = np.diff(x, axis=1), np.diff(y, axis=1), end - 1
    center, spread = (f(x[:, :end], axis=1, keepdims=True) for f in (np.mean, np.std))
    x = (x - center) / np.where(spread > 0, spread, 1.0)
    slope = np.linalg.pinv(x[:, :end], rcond=1e-10) @ (y - y.mean(axis=1, keepdims=True))[..., None]
    forecast = y.mean(axis=1, keepdims=True) + (x[:, end:] @ slope)[..., 0]
    if differences:
        forecast = np.log(known_grp[:, -1:]) + np.cumsum(forecast, axis=1)
    return np.exp(forecast)
