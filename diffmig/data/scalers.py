"""Scalers: fitted where the training mask says, pure, and differentiable."""

from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Array: TypeAlias = Any  # numpy or JAX: numpy in, numpy out (float64 even where x64 is off)


class Scaler(NamedTuple):
    """scaled = (x - center) / spread; all [..., factor], in the unit of each factor.

    A factor that is constant over the training values has spread 1, so that it is scaled to 0
    there.

    Attributes:
        center: training minimum (min-max) or mean (standard).
        spread: training range (min-max) or population standard deviation (standard), > 0.
        low, high: training range, to which `scale(..., clip=True)` limits its input.
    """

    center: Array
    spread: Array
    low: Array
    high: Array


def fit_minmax(x: Array, in_training: Array) -> Scaler:
    """Scaler that maps the training range of each factor to [0, 1].

    center = min x, spread = max x - min x, over the training values

    Args:
        x: factors, [..., year, factor].
        in_training: bool, [year], or the shape of `x` where single values are missing; True where a
            value may be seen.

    Returns:
        scaler, leaves [..., factor], dtype of `x`.

    Raises:
        ValueError: wrong shapes, a mask that is not boolean, or a factor without a training value
            (checked where `in_training` is not traced; traced, such a factor gets center 0 and
            spread 1).

    Notes:
        Differentiable in `x`. The paper takes min and max over the whole data set: pass a mask of
        ones for that.

    Source: Vavilova, Ketova, Zerari (2025), section 2, the min-max formula.
    """
    xp, mask = _training_mask(x, in_training)
    low, high = _training_range(xp, x, mask)
    return Scaler(center=low, spread=xp.where(high > low, high - low, 1.0), low=low, high=high)


def fit_standard(x: Array, in_training: Array) -> Scaler:
    """Scaler that gives the training values of each factor mean 0 and standard deviation 1.

    center = mean x, spread = sqrt(mean (x - mean x)^2), over the training values

    Args, Returns, Raises: as `fit_minmax`. Differentiable in `x`, also where a factor is constant.
    """
    xp, mask = _training_mask(x, in_training)
    low, high = _training_range(xp, x, mask)
    varies = high > low
    count = xp.maximum(mask.sum(axis=-2), 1).astype(x.dtype)
    # A constant column takes its own value as mean: the rounded mean would leave a deviation of
    # 1e-17, not 0.
    center = xp.where(varies, xp.where(mask, x, 0.0).sum(axis=-2) / count, low)
    deviation = xp.where(mask, x - center[..., None, :], 0.0)
    variance = (deviation * deviation).sum(axis=-2) / count
    spread = xp.where(varies, xp.sqrt(xp.where(varies, variance, 1.0)), 1.0)
    return Scaler(center=center, spread=spread, low=low, high=high)


def scale(scaler: Scaler, x: Array, clip: bool = False) -> Array:
    """`x` in scaled units, [..., year, factor].

    With `clip`, values outside the training range enter as its nearest end. It is meant for level
    breaks after the training years, such as a revaluation of capital, which otherwise carry a
    network far outside what it has seen; the gradient with respect to a clipped value is 0.

    Raises:
        ValueError: `x` does not have the scaler's factors on its last axis.
    """
    _check_factors(scaler, x)
    if clip:
        xp = _namespace(x)
        x = xp.clip(x, scaler.low[..., None, :], scaler.high[..., None, :])
    return (x - scaler.center[..., None, :]) / scaler.spread[..., None, :]


def unscale(scaler: Scaler, x: Array) -> Array:
    """Scaled `x`, [..., year, factor], in the unit of each factor; inverse of unclipped `scale`.

    Raises:
        ValueError: `x` does not have the scaler's factors on its last axis.
    """
    _check_factors(scaler, x)
    return x * scaler.spread[..., None, :] + scaler.center[..., None, :]


def _namespace(x: Array) -> ModuleType:
    return jnp if isinstance(x, jax.Array) else np


def _training_mask(x: Array, in_training: Array) -> tuple[ModuleType, Array]:
    if np.ndim(x) < 2 or in_training.dtype != bool:
        raise ValueError(
            f"expected x [..., year, factor] and a boolean mask, got {np.shape(x)} "
            f"and {in_training.dtype}"
        )
    if in_training.shape not in ((x.shape[-2],), x.shape):
        raise ValueError(
            f"in_training: expected shape {(x.shape[-2],)} or {x.shape}, got {in_training.shape}"
        )
    xp = _namespace(x)
    if in_training.ndim == 1:
        in_training = in_training.reshape((1,) * (x.ndim - 2) + (-1, 1))
    mask = xp.broadcast_to(xp.asarray(in_training), x.shape)
    if not isinstance(in_training, jax.core.Tracer) and not in_training.any(axis=-2).all():
        raise ValueError("in_training: a factor has no training value; train on more years")
    return xp, mask


def _training_range(xp: ModuleType, x: Array, mask: Array) -> tuple[Array, Array]:
    seen = mask.any(axis=-2)
    low = xp.where(mask, x, xp.inf).min(axis=-2)
    high = xp.where(mask, x, -xp.inf).max(axis=-2)
    return xp.where(seen, low, 0.0), xp.where(seen, high, 0.0)


def _check_factors(scaler: Scaler, x: Array) -> None:
    if np.ndim(x) < 2 or x.shape[-1] != scaler.center.shape[-1]:
        raise ValueError(
            f"x: expected [..., year, factor] with {scaler.center.shape[-1]} factors, "
            f"got {np.shape(x)}"
        )
