"""From economic series to what a network is trained on, and back to levels."""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from diffmig.data import fit_minmax, fit_standard, scale


@dataclass(frozen=True)
class Target:
    """What the network predicts and how its inputs are scaled.

    Attributes:
        kind: "level" (min-max scaled level from min-max scaled factors, as in the paper) or
            "growth" (standardised real log growth from standardised log growth of the factors;
            levels follow by accumulation and, in current prices, the deflator).
        clip: inputs outside the range of the years seen enter as its nearest end (for level breaks
            such as a revaluation).
    """

    kind: Literal["level", "growth"] = "level"
    clip: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("level", "growth"):
            raise ValueError(f"kind: expected level or growth, got {self.kind!r}")


class Series(NamedTuple):
    """One region in one price basis.

    Attributes:
        grp: gross regional product, [year], money, > 0.
        factors: inputs, [year, factor], own units.
        price_index: percent of the previous year, [year]; 100 throughout in comparable prices.
    """

    grp: Array
    factors: Array
    price_index: Array


class Task(NamedTuple):
    """Inputs, outputs and weights of a training problem; batch axes (folds, regions) in front.

    Attributes:
        x: scaled inputs, [year, factor].  y: scaled outputs, [year].
        weight: weight in the training loss, [year].  score: weight in the fitness, [year].
        grp: actual levels, [year]; read only where weight or score is positive.
        offset, spread: raw output = offset + spread * y; scalars.
        anchor: level that a year's growth starts from, [year]: last year's in training, then that
            of the last training year.
        log_price: log price index, [year].
        after: 1 after the last training year, else 0, [year].
        growing: 1 where the output is growth, 0 where it is a level; scalar.
    """

    x: Array
    y: Array
    weight: Array
    score: Array
    grp: Array
    offset: Array
    spread: Array
    anchor: Array
    log_price: Array
    after: Array
    growing: Array


@partial(jax.jit, static_argnames=("target", "index_factor", "first_year"))
def build_task(
    series: Series,
    target: Target,
    num_training: Array | int,
    score: Array,
    *,
    num_seen: Array | int | None = None,
    index_factor: int | None = None,
    first_year: int = 0,
) -> Task:
    """Training problem of one region.

    Args:
        series: actual values, or actual factors up to the last training year and forecast ones
            after it. GRP after the training years enters only through `score` and `num_seen`.
        target: what is predicted.
        num_training: number of training years at the start (may be traced).
        score: weight of every year in the fitness, [year], >= 0.
        num_seen: number of years that the scalers see; None shows them the training years only,
            the paper's wording is all years with data.
        index_factor: column of `factors` that is a price index in percent; enters growth as its
            logarithm.
        first_year: number of years at the start that a layout cannot fill.

    Returns:
        Task, float64.

    Raises:
        ValueError: shapes do not fit.

    Notes:
        Differentiable in the factors; vmap over regions and over `num_training`.
    """
    _check_series(series, score, index_factor)
    num_years = series.grp.shape[0]
    year = jnp.arange(num_years, dtype=jnp.int32)
    num_training = jnp.asarray(num_training).astype(jnp.int32)
    in_training = year < num_training
    seen = in_training
    if num_seen is not None:
        seen = year < jnp.asarray(num_seen).astype(jnp.int32)
    log_price = jnp.log(series.price_index / 100.0)
    last = jnp.take(series.grp, num_training - 1)
    previous = jnp.concatenate([series.grp[:1], series.grp[:-1]])
    first = first_year
    if target.kind == "level":
        scaler = fit_minmax(series.grp[:, None], seen)
        inputs = fit_minmax(series.factors, seen)
        x, raw = series.factors, series.grp
    else:
        x = _growth_inputs(series.factors, seen, index_factor)
        raw = _real_growth(series, log_price)
        seen = seen & (year > 0)  # the first year has no growth
        first = max(first_year, 1)
        scaler, inputs = fit_standard(raw[:, None], seen), fit_standard(x, seen)
    x, y = scale(inputs, x, clip=target.clip), scale(scaler, raw[:, None])[:, 0]
    usable = (year >= first).astype(x.dtype)
    training = in_training.astype(x.dtype)
    return Task(
        x=x,
        y=jnp.where(seen, y, 0.0),
        weight=usable * training,
        score=usable * score.astype(x.dtype),
        grp=series.grp,
        offset=scaler.center[0],
        spread=scaler.spread[0],
        anchor=jnp.where(in_training, previous, last),
        log_price=log_price,
        after=1.0 - training,
        growing=jnp.asarray(target.kind == "growth", x.dtype),
    )


def levels(task: Task, outputs: Array) -> Array:
    """GRP of every year from the network's outputs, [year], money.

    level:  offset + spread y_t
    growth: training years  grp_{t-1} exp(g_t + p_t);  later  grp_T exp(sum_{T < s <= t} (g_s +
            p_s)), g = offset + spread y real log growth, p log price index, T the last training
            year

    Notes:
        Differentiable. `fitted[t]` of a training year knows GRP up to t - 1, that of a later year
        GRP up to T.
    """
    raw = task.offset + task.spread * outputs
    growing = task.growing > 0
    growth = jnp.where(growing, raw, 0.0) + task.log_price
    accumulated = jnp.cumsum(task.after * growth)
    grown = task.anchor * jnp.exp(jnp.where(task.after > 0, accumulated, growth))
    return jnp.where(growing, grown, raw)


def cast(task: Task, dtype: str) -> Task:
    """`task` in the dtype of a network."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.dtype(dtype)), task)


def _growth_inputs(factors: Array, seen: Array, index_factor: int | None) -> Array:
    """Log growth of positive factors, change of others, log of a price index, [year, factor].

    A factor is positive by the years seen; a value that is not, in a later year, enters as the
    lowest seen.
    """
    lowest = jnp.min(jnp.where(seen[:, None], factors, jnp.inf), axis=0)[None, :]
    logs = jnp.log(jnp.where(factors > 0, factors, jnp.where(lowest > 0, lowest, 1.0)))
    values = jnp.where(lowest > 0, logs, factors)
    growth = jnp.concatenate([jnp.zeros_like(values[:1]), jnp.diff(values, axis=0)])
    if index_factor is None:
        return growth
    return growth.at[:, index_factor].set(logs[:, index_factor])


def _real_growth(series: Series, log_price: Array) -> Array:
    """log(GRP_t / GRP_{t-1}) less the log price index, [year], 0 in the first year."""
    growth = jnp.diff(jnp.log(series.grp)) - log_price[1:]
    return jnp.concatenate([jnp.zeros_like(growth[:1]), growth])


def _check_series(series: Series, score: Array, index_factor: int | None) -> None:
    num_years = series.grp.shape[0]
    shapes = (series.grp.shape, series.factors.shape[:1], series.price_index.shape, score.shape)
    if any(shape != (num_years,) for shape in shapes) or series.factors.ndim != 2:
        raise ValueError(
            f"expected grp, price_index and score [year], factors [year, factor], got "
            f"{series.grp.shape}, {series.price_index.shape}, {score.shape}, {series.factors.shape}"
        )
    if index_factor is not None and not 0 <= index_factor < series.factors.shape[1]:
        raise ValueError(
            f"index_factor: expected 0..{series.factors.shape[1] - 1}, got {index_factor}"
        )
