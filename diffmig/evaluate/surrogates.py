"""Surrogate series: what chance alone makes of the same persistence or the same spectrum.

Whatever a pipeline finds in surrogates as well is not a finding about the data:
`permutation_p_value(found, of_surrogates)` says how far it stands out.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from diffmig.evaluate._arrays import as_float, check_count, check_years, rounding_level, safe_ratio


class Autoregression(NamedTuple):
    """Stationary first-order autoregression of every town, each [...].

    Attributes:
        mean: unit of the series.
        root: phi, in (-1, 1); 0 for a constant series.
        innovation_sd: standard deviation of what is new every year, unit of the series.
    """

    mean: Array
    root: Array
    innovation_sd: Array


@partial(jax.jit, static_argnames="bias_corrected")
def fit_autoregression(series: ArrayLike, *, bias_corrected: bool = False) -> Autoregression:
    """Mean, lag-one autocorrelation and innovations of every series.

    root = sum_t d_t d_{t+1} / sum_t d_t^2,  d = series - mean
    innovation_sd^2 = (1 - root^2) mean d^2

    Args:
        series: [..., year], at least 4 years.
        bias_corrected: give back what series of n years lose on average, (1 + 4 root) / n:
            (n root + 1) / (n - 4), between -0.99 and 0.99; at least 5 years.

    Returns:
        Autoregression. Always stationary, and with the variance of the series.

    Raises:
        ValueError: too few years.

    Source: Hamilton, 1994, Time Series Analysis, section 3.4 (Yule-Walker); Marriott, Pope, 1954,
    Bias in the estimation of autocorrelations, Biometrika 41.
    """
    (series,) = as_float(series)
    check_years(series, 5 if bias_corrected else 4)
    mean = jnp.mean(series, axis=-1)
    deviation = series - mean[..., None]
    square = jnp.sum(deviation**2, axis=-1)
    varies = square > rounding_level(series, series.shape[-1])
    product = jnp.sum(deviation[..., 1:] * deviation[..., :-1], axis=-1)
    root = jnp.where(varies, safe_ratio(product, square, varies), 0.0)
    if bias_corrected:
        num_years = series.shape[-1]
        lifted = (num_years * root + 1) / (num_years - 4)
        root = jnp.where(varies, jnp.clip(lifted, -0.99, 0.99), 0.0)
    variance = jnp.where(varies, square, 0.0) / series.shape[-1] * (1 - root**2)
    sd = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
    return Autoregression(mean, root, sd)


@partial(jax.jit, static_argnames=("num_years", "num"))
def ar1_surrogates(key: Array, model: Autoregression, num_years: int, *, num: int) -> Array:
    """Independent paths of every town's autoregression, started from its stationary distribution.

    series_{t+1} = mean + root (series_t - mean) + innovation_sd * normal

    Args:
        key: random key; surrogate n draws from fold_in(key, n).
        model: leaves [...], such as [town].
        num_years: length.
        num: surrogates.

    Returns:
        series, [surrogate, ..., year]. No town is related to another.

    Raises:
        ValueError: no year or no surrogate.

    Notes:
        The mean is that of the process, not of every path. Differentiable in `model`.

    Source: Theiler, Eubank, Longtin, Galdrikian, Farmer, 1992, Testing for nonlinearity in time
    series: the method of surrogate data, Physica D 58.
    """
    check_count(num_years, 1, "num_years")
    check_count(num, 1, "num")
    shape = model.mean.shape
    stationary = model.innovation_sd / jnp.sqrt(1 - model.root**2)

    def one(number: Array) -> Array:
        normal = jax.random.normal(
            jax.random.fold_in(key, number), (num_years, *shape), model.mean.dtype
        )

        def year(deviation: Array, new: Array) -> tuple[Array, Array]:
            deviation = model.root * deviation + model.innovation_sd * new
            return deviation, deviation

        first = stationary * normal[0]
        later = lax.scan(year, first, normal[1:])[1]
        return model.mean[..., None] + jnp.moveaxis(jnp.concatenate([first[None], later]), 0, -1)

    return jax.vmap(one)(jnp.arange(num, dtype=jnp.uint32))


@partial(jax.jit, static_argnames=("num", "common_phases"))
def phase_surrogates(
    key: Array, series: ArrayLike, *, num: int, common_phases: bool = False
) -> Array:
    """Series with the power spectrum of the given ones and random phases.

    series = mean + sum_k |X_k| cos(2 pi k t / n + phase_k + angle_k),  angle_k ~ U(0, 2 pi)

    Args:
        key: random key; surrogate n draws from fold_in(key, n).
        series: [..., town, year], at least 4 years, finite.
        num: surrogates.
        common_phases: all towns are turned by the same angles, which keeps every cross-correlation;
            False: each by its own.

    Returns:
        series, [surrogate, ..., town, year]. Mean, variance and circular autocorrelations of every
        town are those of its series.

    Raises:
        ValueError: too few years, no town axis or no surrogate.

    Notes:
        A trend has a jump from the last year back to the first in its spectrum: take it out first.
        Differentiable in `series` where no Fourier coefficient is 0.

    Source: Theiler et al., 1992, Physica D 58; Prichard, Theiler, 1994, Generating surrogate data
    for time series with several simultaneously measured variables, Physical Review Letters 73(7).
    """
    (series,) = as_float(series)
    check_years(series, 4)
    check_count(num, 1, "num")
    if series.ndim < 2:
        raise ValueError(f"series: expected [..., town, year], got shape {series.shape}")
    num_years = series.shape[-1]
    spectrum = jnp.fft.rfft(series, axis=-1)
    shape = spectrum.shape[-1:] if common_phases else spectrum.shape
    place = jnp.arange(spectrum.shape[-1])
    # the mean keeps its sign; the coefficient of period 2 is real and can only change its own
    fixed, real = place == 0, (place == num_years // 2) & (num_years % 2 == 0)

    def one(number: Array) -> Array:
        angle = jax.random.uniform(
            jax.random.fold_in(key, number), shape, series.dtype, maxval=2 * jnp.pi
        )
        flip = jnp.where(angle < jnp.pi, 0.0, jnp.pi)
        angle = jnp.where(jnp.broadcast_to(real, shape), flip, angle)
        angle = jnp.where(jnp.broadcast_to(fixed, shape), 0.0, angle)
        turn = jnp.broadcast_to(lax.complex(jnp.cos(angle), jnp.sin(angle)), spectrum.shape)
        return jnp.fft.irfft(spectrum * turn, num_years, axis=-1)

    return jax.vmap(one)(jnp.arange(num, dtype=jnp.uint32))
