"""Prices of one year in prices of another."""

import jax
import jax.numpy as jnp
import numpy as np

from .scalers import Array, _namespace


def price_factor(index_percent: Array, years: np.ndarray, base_year: int) -> Array:
    """Factor that turns money of each year into money of `base_year`.

    factor[t] = P[base_year] / P[t],   P[t] = P[t - 1] * index_percent[t] / 100

    The index of year t carries prices from t - 1 to t. So the factor of a year before the base
    multiplies the indices of the years after it up to and including the base year, and the index of
    the first year enters nothing.

    Args:
        index_percent: price index, percent of the previous year, [..., year], > 0.
        years: int [year], consecutive.
        base_year: year whose prices are wanted, one of `years`.

    Returns:
        factor, 1, [..., year], dtype of `index_percent`; 1 in the base year.

    Raises:
        ValueError: wrong length, years that are not consecutive, base year outside them, or (where
            it is not traced) an index that is not positive and finite.

    Notes:
        Differentiable.
    """
    xp = _namespace(index_percent)
    years = np.asarray(years)
    if years.ndim != 1 or years.size == 0 or (np.diff(years) != 1).any():
        raise ValueError(f"years: expected consecutive years, got {years}")
    if np.ndim(index_percent) < 1 or index_percent.shape[-1] != years.size:
        raise ValueError(
            f"index_percent: expected [..., {years.size} years], got {np.shape(index_percent)}"
        )
    if not years[0] <= base_year <= years[-1]:
        raise ValueError(f"base_year: expected {years[0]}-{years[-1]}, got {base_year}")
    _check_positive("index_percent", index_percent)
    base = int(base_year - years[0])
    # Products start at the base year on both sides: far from it nothing is divided out that need
    # not enter.
    growth = index_percent / 100.0
    before = xp.cumprod(xp.flip(growth[..., 1 : base + 1], axis=-1), axis=-1)
    after = xp.cumprod(growth[..., base + 1 :], axis=-1)
    one = xp.ones_like(growth[..., :1])
    return xp.concatenate([xp.flip(before, axis=-1), one, 1.0 / after], axis=-1)


def to_comparable_prices(
    nominal: Array, index_percent: Array, years: np.ndarray, base_year: int
) -> Array:
    """Money in prices of `base_year`: nominal * factor, [..., year], unit of `nominal`.

    Arguments and errors of `price_factor`; `nominal` has the shape of `index_percent`.
    """
    return nominal * price_factor(index_percent, years, base_year)


def to_current_prices(
    real: Array, index_percent: Array, years: np.ndarray, base_year: int
) -> Array:
    """Money in prices of each year: real / factor; inverse of `to_comparable_prices`."""
    return real / price_factor(index_percent, years, base_year)


def implicit_deflator(nominal: Array, volume_index_percent: Array) -> Array:
    """Price index implied by growth of nominal money and of volume.

    index[t] = 100 * (nominal[t] / nominal[t - 1]) / (volume_index_percent[t] / 100)

    Args:
        nominal: money in prices of its year, [..., year], > 0.
        volume_index_percent: volume index, percent of the previous year, [..., year], > 0.

    Returns:
        index, percent of the previous year, [..., year]; 100 in the first year, whose growth is
        unknown and which no chain uses.

    Raises:
        ValueError: the shapes differ, or a value that is not traced is not positive and finite.
    """
    if np.shape(nominal) != np.shape(volume_index_percent) or np.ndim(nominal) < 1:
        raise ValueError(
            f"expected equal shapes [..., year], got {np.shape(nominal)} for nominal and "
            f"{np.shape(volume_index_percent)} for volume_index_percent"
        )
    _check_positive("nominal", nominal)
    _check_positive("volume_index_percent", volume_index_percent)
    xp = _namespace(nominal)
    growth = nominal[..., 1:] / nominal[..., :-1]
    first = xp.full_like(nominal[..., :1], 100.0)
    return xp.concatenate([first, 1e4 * growth / volume_index_percent[..., 1:]], axis=-1)


def _check_positive(name: str, x: Array) -> None:
    if isinstance(x, jax.core.Tracer):
        return
    bad = ~((x > 0) & jnp.isfinite(x)) if isinstance(x, jax.Array) else ~((x > 0) & np.isfinite(x))
    if bad.any():
        raise ValueError(
            f"{name}: {int(bad.sum())} values are not positive and finite; select observed years"
        )
