"""Regression of a target of many towns and years (such as the external force) on factors.

A regressor is a pair of pure functions on rows. Rows of weight 0 are seen neither by the fit nor by
its scaling, so that many splits or bootstrap resamples are one `vmap` over weights.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.batching import batched, on_one_device
from diffmig.programs import as_array, one_program
from diffmig.random import fold_in, uniform_pair


class Regressor(NamedTuple):
    """A method of regression.

    Attributes:
        name: of tables and figures.
        fit_fn: (key, x [row, factor], y [row], weight [row]) -> params.
        predict_fn: (params, x [row, factor]) -> [row], unit of y.
        traceable: both may run under jit and vmap; False: host code, called with NumPy arrays.
    """

    name: str
    fit_fn: Callable[[Array, Array, Array, Array], Any]
    predict_fn: Callable[[Any, Array], Array]
    traceable: bool = True


@cache
def town_mean(num_towns: int, column: int = -1) -> Regressor:
    """Weighted mean of a town's own training rows, of all training rows where it has none.

    Args:
        num_towns: towns are numbered 0 ... num_towns - 1.
        column: factor that holds the number of the row's town.

    Returns:
        Regressor, parameters [town + 1], the last one of towns that were not seen.

    Raises:
        ValueError: no town.
    """
    if num_towns < 1:
        raise ValueError(f"num_towns: expected at least 1, got {num_towns}")
    return Regressor(
        "town mean",
        partial(_fit_town_mean, num_towns=num_towns, column=column),
        partial(_predict_town_mean, num_towns=num_towns, column=column),
    )


@one_program()
def precision_weights(sd: ArrayLike, residual_sd: ArrayLike = 0.0) -> Array:
    """Weights of rows whose target is known with an error: 1 / (sd^2 + residual_sd^2), mean 1.

    Args:
        sd: posterior standard deviation of the target, any shape, > 0 or NaN.
        residual_sd: of what the factors leave unexplained, same unit, scalar; at 0 a few rows with
            tiny `sd` may rule the fit.

    Returns:
        weights, shape of `sd`; 1 where `sd` is not finite (a method without a posterior).
    """
    sd = jnp.asarray(sd)
    known = jnp.isfinite(sd)
    variance = jnp.where(known, sd, 1.0) ** 2 + jnp.asarray(residual_sd, sd.dtype) ** 2
    weight = jnp.where(known, 1 / variance, 0.0)
    count = jnp.sum(known, dtype=sd.dtype)
    mean = jnp.sum(weight) / jnp.where(count > 0, count, 1.0)
    return jnp.where(known, weight / jnp.where(count > 0, mean, 1.0), 1.0)


def fit_regression(
    key: Array, regressor: Regressor, x: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None
) -> Any:
    """Parameters of a regression on all rows.

    Args:
        key: random key.
        regressor: method.
        x: factors, [..., factor], such as [town, year, factor].
        y: target, [...].
        weight: >= 0, [...]; None: 1. Rows of weight 0 may hold anything.

    Returns:
        parameters of the regressor, for `predict_regression`.

    Raises:
        ValueError: shapes, no row with weight, or values that are not finite in such rows (the last
            two are not checked where traced).
    """
    rows = checked_rows(x, y, weight)
    if regressor.traceable:
        return _fit(key, *rows, regressor=regressor)
    return regressor.fit_fn(key, *_flat(*rows))


def predict_regression(regressor: Regressor, params: Any, x: ArrayLike) -> Array:
    """Target at factors `x` [..., factor], [...], in its unit; differentiable if traceable."""
    x = jnp.asarray(x)
    rows = x.reshape(-1, x.shape[-1])
    if regressor.traceable:
        predicted = _predict(params, rows, regressor=regressor)
    else:
        predicted = jnp.asarray(regressor.predict_fn(params, rows))
    return predicted.reshape(x.shape[:-1])


def bootstrap_regression(
    key: Array,
    regressor: Regressor,
    x: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    num_resamples: int = 200,
    block: int | None = None,
    mesh: Mesh | None = None,
) -> Any:
    """Parameters refitted to towns drawn with replacement, leaves [resample, ...].

    Args:
        key: random key; resample b draws its towns and its start from fold_in(key, b).
        regressor: traceable method.
        x: factors, [town, year, factor].  y: target, [town, year].  weight: as `fit_regression`.
        num_resamples: refits.
        block: refits side by side, None: all.  mesh: devices that share them.

    Returns:
        parameters; predictions by `jax.vmap` over them. A town's whole history is drawn at once, so
        that bands stay honest where its years are alike.

    Raises:
        ValueError: as `fit_regression`, another rank, a regressor that is not traceable, or no
            resample.

    Source: Davison, Hinkley, 1997, Bootstrap Methods and their Application, section 3.8 (cluster).
    """
    if np.ndim(x) != 3 or num_resamples < 1 or not regressor.traceable:
        raise ValueError(
            "expected x [town, year, factor], num_resamples >= 1 and a traceable regressor, got "
            f"{np.shape(x)}, {num_resamples} and {regressor.name}"
        )
    shape = np.shape(x)[:2]
    settings = {"shape": shape, "num_resamples": num_resamples, "block": block, "mesh": mesh}
    made = _bootstrap(key, *checked_rows(x, y, weight), regressor=regressor, **settings)
    return on_one_device(made, num_resamples, mesh)


@partial(jax.jit, static_argnames="regressor")
def _fit(key: Array, x: Array, y: Array, weight: Array, *, regressor: Regressor) -> Any:
    return regressor.fit_fn(key, *_flat(x, y, weight))


@partial(jax.jit, static_argnames="regressor")
def _predict(params: Any, x: Array, *, regressor: Regressor) -> Array:
    return regressor.predict_fn(params, x)


@partial(jax.jit, static_argnames=("regressor", "shape", "num_resamples", "block", "mesh"))
def _bootstrap(
    key: Array,
    x: Array,
    y: Array,
    weight: Array,
    *,
    regressor: Regressor,
    shape: tuple[int, int],
    num_resamples: int,
    block: int | None,
    mesh: Mesh | None,
) -> Any:
    num_towns, num_years = shape
    x, y, weight = _flat(x, y, weight)

    def refit(number: Array) -> Any:
        own = fold_in(key, number)
        key_towns, key_fit = fold_in(own, 0), fold_in(own, 1)
        draws, _ = uniform_pair(key_towns, (1, num_towns), weight.dtype)
        drawn = jnp.floor(num_towns * draws[0]).astype(jnp.int32)
        counts = jnp.zeros(num_towns, weight.dtype).at[drawn].add(1.0)
        return regressor.fit_fn(key_fit, x, y, weight * jnp.repeat(counts, num_years))

    return batched(refit, jnp.arange(num_resamples, dtype=jnp.uint32), block=block, mesh=mesh)


def _fit_town_mean(
    key: Array, x: Array, y: Array, weight: Array, *, num_towns: int, column: int
) -> Array:
    towns = jnp.arange(num_towns + 1, dtype=jnp.int32)
    own = _town_numbers(x, num_towns, column)[:, None] == towns[None, :]
    own = jnp.where(towns[None, :] < num_towns, own, True)  # the last one stands for all
    own = own & (weight > 0)[:, None]
    total = jnp.sum(jnp.where(own, weight[:, None], 0.0), axis=0)
    sums = jnp.sum(jnp.where(own, (weight * y)[:, None], 0.0), axis=0)
    return jnp.where(total > 0, sums / jnp.where(total > 0, total, 1.0), sums[-1] / total[-1])


def _predict_town_mean(params: Array, x: Array, *, num_towns: int, column: int) -> Array:
    return params[_town_numbers(x, num_towns, column)]


def _town_numbers(x: Array, num_towns: int, column: int) -> Array:
    """Number of the town of every row; `num_towns` where there is no such town."""
    number = jnp.round(x[:, column])
    known = (number >= 0) & (number < num_towns)
    return jnp.where(known, number, float(num_towns)).astype(jnp.int32)


def check_rows(x: Array, y: Array, weight: Array, *, all_finite: bool = False) -> None:
    """Raise ValueError unless factors x [..., factor], target y [...] and weight [...] fit.

    Values that are not finite are refused in rows with weight (`all_finite`: factors everywhere),
    as are negative weights and rows all of weight 0; none of these is checked where traced.
    """
    if x.ndim < 2 or y.shape != x.shape[:-1] or weight.shape != y.shape:
        raise ValueError(
            "expected x [..., factor], y [...] and weight [...], got "
            f"{x.shape}, {y.shape} and {weight.shape}"
        )
    if not (jnp.issubdtype(x.dtype, jnp.floating) and y.dtype == x.dtype):
        raise ValueError(f"expected x and y of one floating dtype, got {x.dtype} and {y.dtype}")
    if any(isinstance(array, jax.core.Tracer) for array in (x, y, weight)):
        return
    seen = np.asarray(weight) > 0
    if not np.all(np.asarray(weight) >= 0) or not seen.any():
        raise ValueError("weight: expected numbers >= 0, at least one of them > 0")
    rows_of_x = np.isfinite(x).all(axis=-1)
    bad = (seen & ~(np.isfinite(y) & rows_of_x)) | (all_finite & ~rows_of_x)
    if bad.any():
        raise ValueError(
            f"x and y: expected finite values, got others in row {np.argwhere(bad)[0].tolist()}; "
            + ("fill the factor" if all_finite else "give the row weight 0")
        )


def checked_rows(
    x: ArrayLike, y: ArrayLike, weight: ArrayLike | None, *, all_finite: bool = False
) -> tuple[Array, Array, Array]:
    """x [..., factor], y [...] and weight [...], 1 where none is given, after `check_rows`."""
    x, y = as_array(x), as_array(y)
    weights = as_array(np.ones(y.shape, y.dtype) if weight is None else weight)
    weights = weights if weights.dtype == y.dtype else weights.astype(y.dtype)
    check_rows(x, y, weights, all_finite=all_finite)
    return x, y, weights


def _flat(x: Array, y: Array, weight: Array) -> tuple[Array, Array, Array]:
    """x [row, factor], y [row] and weight [row]."""
    return x.reshape(-1, x.shape[-1]), y.reshape(-1), weight.reshape(-1)
