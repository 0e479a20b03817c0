"""Regressors: ridge, perceptron, and the constant that they have to beat."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from diffmig.data import Scaler, fit_standard, scale
from diffmig.fit.gradient import train
from diffmig.fit.regression import Regressor
from diffmig.networks import BPNN
from diffmig.optimize import LBFGS, LbfgsConfig, box_around, run

# Of a ridge, in units of the variance of a standardised factor: from none to a constant.
PENALTIES = tuple(float(penalty) for penalty in np.logspace(-4, 4, 33))


class Linear(NamedTuple):
    """y = intercept + slopes' x.

    Attributes:
        intercept: unit of y.
        slopes: [factor], unit of y per unit of the factor.
        penalty: chosen for the slopes, 1; at an end of the grid the grid may be too short.
    """

    intercept: Array
    slopes: Array
    penalty: Array


class Network(NamedTuple):
    """Perceptron on standardised factors.

    Attributes:
        weights: of the network.
        inputs: scaler of the factors; its low and high are the training range.
        center, spread: mean and standard deviation of y over the training rows.
        diverged: bool, a loss or gradient was not finite.
    """

    weights: Any
    inputs: Scaler
    center: Array
    spread: Array
    diverged: Array


@dataclass(frozen=True)
class NetworkConfig:
    """A perceptron for regression and its training.

    Attributes:
        width: units of a hidden layer.
        num_layers: hidden layers.
        decay: weight of the sum of squared weights (biases left out) beside the mean squared error
            of the standardised target, 1.
        method: "lbfgs" or "adam"; both on all rows at once and to a fixed number of steps.
        steps: of the method.
        learning_rate: of Adam.
        dtype: of weights and training.
    """

    width: int = 8
    num_layers: int = 1
    decay: float = 1e-2
    method: Literal["lbfgs", "adam"] = "lbfgs"
    steps: int = 100
    learning_rate: float = 0.02
    dtype: str = "float64"

    def __post_init__(self) -> None:
        if self.method not in ("lbfgs", "adam"):
            raise ValueError(f"method: expected lbfgs or adam, got {self.method!r}")
        if min(self.width, self.num_layers, self.steps) < 1:
            raise ValueError(f"expected width, num_layers and steps >= 1, got {self}")
        if not (self.decay >= 0 and self.learning_rate > 0):
            raise ValueError(f"expected decay >= 0 and learning_rate > 0, got {self}")


@cache
def ridge(
    penalties: tuple[float, ...] = PENALTIES,
    *,
    rows_per_group: int | None = None,
    num_folds: int = 5,
) -> Regressor:
    """Linear regression with penalised slopes, closed form; parameters are `Linear`.

    slopes = argmin sum_r w_r (y_r - a - slopes' z_r)^2 / sum_r w_r + penalty |slopes|^2,
    z standardised factors; penalty of least GCV = mean_w(residual^2) / (1 - trace(hat) / rows)^2,
    or of least squared error on left-out groups.

    Args:
        penalties: grid, > 0, 1.
        rows_per_group: rows of a town when they stand side by side; the penalty is then chosen by
            leaving whole towns out, group g in fold g mod `num_folds`. None: generalised
            cross-validation by row, too trusting where the rows of a town are alike.
        num_folds: folds of groups, >= 2.

    Returns:
        Regressor.

    Raises:
        ValueError: penalties that are not positive, or a count too small.

    Notes:
        Works with fewer rows than factors. Differentiable, at the chosen penalty.

    Source: Golub, Heath, Wahba, 1979, Generalized cross-validation as a method for choosing a good
    ridge parameter, Technometrics 21(2).
    """
    if not penalties or not all(penalty > 0 for penalty in penalties):
        raise ValueError(f"penalties: expected a grid of numbers > 0, got {penalties}")
    if (rows_per_group is not None and rows_per_group < 1) or num_folds < 2:
        raise ValueError(
            f"expected rows_per_group >= 1 and num_folds >= 2, got {rows_per_group}, {num_folds}"
        )
    fit_fn = partial(
        _fit_ridge, penalties=penalties, rows_per_group=rows_per_group, num_folds=num_folds
    )
    return Regressor("ridge", fit_fn, _predict_linear)


@cache
def mlp(config: NetworkConfig | None = None) -> Regressor:
    """Perceptron with tanh units and a linear output; parameters are `Network`.

    weights = argmin sum_r w_r (y_r - net(z_r))^2 / sum_r w_r + decay |weights|^2, y standardised

    Args:
        config: network and training; None takes the defaults.

    Returns:
        Regressor.

    Notes:
        Starts Glorot-uniform from the key. No early stopping: the decay alone bounds the fit.

    Source: Bishop, 2006, Pattern Recognition and Machine Learning, sections 5.1 and 5.5.
    """
    config = NetworkConfig() if config is None else config
    return Regressor(
        "mlp", partial(_fit_network, config=config), partial(_predict_network, config=config)
    )


@cache
def constant() -> Regressor:
    """Weighted mean of the training rows, whatever the factors; parameters are `Linear`."""
    return Regressor("constant", _fit_constant, _predict_linear)


def split_first_layer(regressor: Regressor, params: Any) -> tuple[Array, Callable[[Array], Array]]:
    """First layer of a fitted `ridge` or `mlp` as a matrix, and what follows: y = rest_fn(x @ w).

    Shapley values of many coalitions need the product with `w` only once per factor.

    Args:
        regressor: that the parameters belong to.
        params: `Linear` or `Network`.

    Returns:
        w, [factor, unit], and rest_fn: [..., unit] -> [...].

    Raises:
        ValueError: parameters of another kind.
    """
    if isinstance(params, Linear):
        return params.slopes[:, None], lambda signal: params.intercept + signal[..., 0]
    if not isinstance(params, Network):
        raise ValueError(
            f"params: expected Linear or Network, got {type(params).__name__} of {regressor.name}"
        )
    config = regressor.fit_fn.keywords["config"]  # type: ignore[attr-defined]
    scaler, weights = params.inputs, params.weights["params"]
    dtype = scaler.center.dtype
    first = weights["w_0"].astype(dtype) / scaler.spread[:, None]
    shift = weights["b_0"].astype(dtype) - scaler.center @ first

    def rest_fn(signal: Array) -> Array:
        unit = jnp.tanh(signal + jnp.broadcast_to(shift, signal.shape))
        for layer in range(1, config.num_layers):
            signal = unit @ weights[f"w_{layer}"].astype(dtype)
            bias = weights[f"b_{layer}"].astype(dtype)
            unit = jnp.tanh(signal + jnp.broadcast_to(bias, signal.shape))
        output = unit @ weights["w_out"].astype(dtype) + weights["b_out"].astype(dtype)
        return params.center + params.spread * output

    return first, rest_fn


class _Rows(NamedTuple):
    """Standardised factors [row, factor] (0 where unseen), target [row], shares of the weight."""

    z: Array
    y: Array
    share: Array
    scaler: Scaler


def _standardise(x: Array, y: Array, weight: Array) -> _Rows:
    seen = weight > 0
    # no weight is not enough: what is not finite times 0 would be NaN
    x, y = jnp.where(seen[:, None], x, 0.0), jnp.where(seen, y, 0.0)
    scaler = fit_standard(x, seen)
    z = jnp.where(seen[:, None], scale(scaler, x), 0.0)
    return _Rows(z, y, _shares(weight), scaler)


def _shares(weight: Array) -> Array:
    weight = jnp.where(weight > 0, weight, 0.0)
    total = jnp.sum(weight)
    return weight / jnp.where(total > 0, total, 1.0)


def _fit_ridge(
    key: Array,
    x: Array,
    y: Array,
    weight: Array,
    *,
    penalties: tuple[float, ...],
    rows_per_group: int | None,
    num_folds: int,
) -> Linear:
    rows = _standardise(x, y, weight)
    grid = jnp.asarray(penalties, y.dtype)
    # the choice has no derivative, and eigenvectors none where eigenvalues are equal
    known = jax.tree.map(lax.stop_gradient, rows)
    if grid.size == 1:
        loss = jnp.zeros(1, y.dtype)
    elif rows_per_group is None:
        intercepts, slopes, spent = _ridge_path(known, grid)
        error = _errors(known, intercepts, slopes) ** 2 @ known.share
        left = 1 - spent / jnp.sum(known.share > 0, dtype=y.dtype)
        loss = jnp.where(left > 0, error / jnp.where(left > 0, left, 1.0) ** 2, jnp.inf)
    else:
        fold = np.arange(y.size) // rows_per_group % num_folds
        loss = _left_out(known, grid, jnp.asarray(fold), num_folds)
    penalty = grid[jnp.argmin(loss)]
    mean, mean_y, gram, right = _moments(rows)
    slope = jnp.linalg.solve(gram + penalty * jnp.eye(mean.size, dtype=gram.dtype), right)
    own = slope / rows.scaler.spread
    return Linear(mean_y - slope @ mean - own @ rows.scaler.center, own, penalty)


def _moments(rows: _Rows) -> tuple[Array, Array, Array, Array]:
    """Means of z and y, covariances of z and those of z with y, over the weighted rows."""
    mean, mean_y = rows.share @ rows.z, rows.share @ rows.y
    weighted = rows.share[:, None] * (rows.z - mean[None, :])
    return mean, mean_y, weighted.T @ (rows.z - mean[None, :]), weighted.T @ (rows.y - mean_y)


def _errors(rows: _Rows, intercepts: Array, slopes: Array) -> Array:
    return rows.y[None, :] - intercepts[:, None] - slopes @ rows.z.T


def _ridge_path(rows: _Rows, grid: Array) -> tuple[Array, Array, Array]:
    """Intercept [penalty], slopes [penalty, factor] and trace of the hat matrix [penalty]."""
    mean, mean_y, gram, right = _moments(rows)
    values, vectors = jnp.linalg.eigh(gram)
    values = jnp.maximum(values, 0.0)
    shrunk = 1 / (values[None, :] + grid[:, None])
    slopes = (shrunk * (vectors.T @ right)[None, :]) @ vectors.T
    return mean_y - slopes @ mean, slopes, 1 + jnp.sum(values[None, :] * shrunk, axis=1)


def _left_out(rows: _Rows, grid: Array, fold: Array, num_folds: int) -> Array:
    """Squared error of rows whose fold was left out, [penalty]."""

    def one_fold(number: Array) -> Array:
        held = jnp.where(fold == number, rows.share, 0.0)
        fitted = rows._replace(share=_shares(rows.share - held))
        intercepts, slopes, _ = _ridge_path(fitted, grid)
        return _errors(rows, intercepts, slopes) ** 2 @ held

    return jnp.sum(jax.vmap(one_fold)(jnp.arange(num_folds)), axis=0)


def _predict_linear(params: Linear, x: Array) -> Array:
    return params.intercept + x @ params.slopes


def _network(config: NetworkConfig) -> BPNN:
    return BPNN(
        config.width, config.num_layers, "identity", config.dtype, hidden="tanh", bias_terms=True
    )


def _units(config: NetworkConfig) -> Array:
    return jnp.full(config.num_layers, config.width, jnp.int32)


def _outputs(config: NetworkConfig, weights: Any, z: Array) -> Array:
    return cast(Array, _network(config).apply(weights, z, _units(config)))


def _fit_network(
    key: Array, x: Array, y: Array, weight: Array, *, config: NetworkConfig
) -> Network:
    rows = _standardise(x, y, weight)
    center = rows.share @ rows.y
    variance = rows.share @ jnp.where(rows.share > 0, rows.y - center, 0.0) ** 2
    spread = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 1.0)
    dtype = jnp.dtype(config.dtype)
    z, share = rows.z.astype(dtype), rows.share.astype(dtype)
    target = ((rows.y - center) / spread).astype(dtype)
    start = _network(config).init(key, z, _units(config))

    def loss_fn(weights: Any) -> Array:
        error = share @ (target - _outputs(config, weights, z)) ** 2
        squares = sum(
            jnp.sum(leaf**2) for name, leaf in weights["params"].items() if name.startswith("w")
        )
        return error + config.decay * squares

    if config.method == "adam":
        rate = jnp.asarray(config.learning_rate, dtype)
        done = train(
            start, lambda weights: (loss_fn(weights), ()), rate, jnp.int32(config.steps),
            jnp.zeros((), dtype), max_epochs=config.steps,
        )  # fmt: skip
        weights, diverged = done.params, done.diverged
    else:
        found = run(
            key,
            LBFGS,
            lambda key, members: jax.vmap(loss_fn)(members),
            box_around(start, -1.0, 1.0),
            config.steps,
            config=LbfgsConfig(num_members=1, bounded=False),
            initial=jax.tree.map(lambda leaf: leaf[None], start),
        )
        weights, diverged = found.candidate, ~jnp.isfinite(found.loss)
    return Network(weights, rows.scaler, center, spread, diverged)


def _predict_network(params: Network, x: Array, *, config: NetworkConfig) -> Array:
    z = scale(params.inputs, x).astype(jnp.dtype(config.dtype))
    output = _outputs(config, params.weights, z)
    return params.center + params.spread * output.astype(params.center.dtype)


def _fit_constant(key: Array, x: Array, y: Array, weight: Array) -> Linear:
    mean = _shares(weight) @ jnp.where(weight > 0, y, 0.0)
    return Linear(mean, jnp.zeros(x.shape[-1:], x.dtype), jnp.asarray(jnp.inf, x.dtype))
