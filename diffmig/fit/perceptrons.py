"""Forecasts of several outputs by a perceptron: pairs of years, scaling, fits, recursion.

Equation numbers are those of Vavilova, Ketova (2020), Intelligent Systems in Manufacturing 18(1),
26-35, doi 10.22213/2410-9304-2020-1-26-35.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh

from diffmig.batching import batched
from diffmig.data import Scaler, fit_minmax, scale, unscale
from diffmig.fit.backpropagation import (
    AIM_PERCENT,
    percent_error,
    train_batch,
    train_per_sample,
)
from diffmig.networks import Perceptron, layer_outputs, layer_weights

LEARNING_RATES = {"batch": 0.03, "per-sample": 1.0}
PERCEPTRON_STATUS = ("ok", "diverged", "no better than the mean")


@dataclass(frozen=True)
class PerceptronConfig:
    """A perceptron and how it is trained; the paper names two hidden layers and none of the values.

    Attributes:
        widths: neurons of the hidden layers.
        slope: a of the sigmoid, > 0.
        learning_rate: lambda, > 0; of Adam in batch training. None: `LEARNING_RATES` of the rule.
            The paper has lambda in (0, 1].
        epochs: passes over the samples.
        rule: "batch" (Adam on the mean of (9)) or "per-sample" (10), as printed.
        shuffle: a new order of the samples in every epoch, per-sample only; the paper keeps one.
        input_margin: h_j of (20), share of the training range.
        output_margin: distance of [phi_min, phi_max] of (21) from the training range on either
            side, share of that range. No output leaves the interval: it bounds every forecast.
        dtype: of weights and training.
    """

    widths: tuple[int, ...] = (8, 8)
    slope: float = 1.0
    learning_rate: float | None = None
    epochs: int = 2000
    rule: Literal["batch", "per-sample"] = "batch"
    shuffle: bool = False
    input_margin: float = 0.1
    output_margin: float = 0.25
    dtype: str = "float64"

    def __post_init__(self) -> None:
        if self.rule not in ("batch", "per-sample"):
            raise ValueError(f"rule: expected batch or per-sample, got {self.rule!r}")
        if self.shuffle and self.rule == "batch":
            raise ValueError("shuffle: a batch has no order; leave it False or train per-sample")
        if not (self.slope > 0 and self.rate > 0 and self.epochs >= 1):
            raise ValueError(
                f"expected slope > 0, learning_rate > 0 and epochs >= 1, got {self.slope}, "
                f"{self.learning_rate}, {self.epochs}"
            )
        if not (self.input_margin >= 0 and self.output_margin >= 0):
            raise ValueError(
                f"margins: expected shares >= 0, got {self.input_margin}, {self.output_margin}"
            )
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths: expected at least one neuron a layer, got {self.widths}")

    @property
    def rate(self) -> float:
        """The learning rate given, or that of the rule."""
        return LEARNING_RATES[self.rule] if self.learning_rate is None else self.learning_rate


class PerceptronFit(NamedTuple):
    """A trained perceptron; batch axes in front.

    Attributes:
        params: weights.  slope: a of the sigmoid, scalar.
        inputs, outputs: scalers (20) and (21).
        error, epochs_to_one_percent: as in `PerceptronTraining`.
        status: int8, index into `PERCEPTRON_STATUS`.
    """

    params: Any
    slope: Array
    inputs: Scaler
    outputs: Scaler
    error: Array
    epochs_to_one_percent: Array
    status: Array


def lagged_pairs(values: Array, num_outputs: int, lag: int = 1) -> tuple[Array, Array]:
    """Inputs x(t - lag) and outputs r(t) from one table.

    Args:
        values: [year, column], the outputs in the first `num_outputs` columns (budget and private
            investments), then all other inputs (indicators, deflator).
        num_outputs: l.
        lag: years between inputs and outputs, >= 1; the paper does not give it.

    Returns:
        inputs, [year - lag, column], and targets, [year - lag, output]; row t belongs to inputs of
        year t and outputs of year t + lag.

    Raises:
        ValueError: shapes, or a lag that leaves no pair.

    Notes:
        A step is a row: the "monthly" outputs that the paper announces cannot be had from its
        annual tables.
    """
    if values.ndim != 2 or not 1 <= num_outputs <= values.shape[1]:
        raise ValueError(
            f"expected values [year, column] and 1 <= num_outputs <= columns, got {values.shape} "
            f"and {num_outputs}"
        )
    if not 1 <= lag < values.shape[0]:
        raise ValueError(f"lag: expected 1..{values.shape[0] - 1} years, got {lag}")
    return values[:-lag], values[lag:, :num_outputs]


def fit_input_scaler(inputs: Array, seen: Array, margin: float) -> Scaler:
    """Scaler of inputs: (x_j - (b_j + a_j) / 2) / ((b_j - a_j) / 2 + h_j), eq (20).

    Args:
        inputs: [year, input].
        seen: bool, [year], rows that a_j and b_j are the least and greatest value of.
        margin: h_j / (b_j - a_j), >= 0.

    Returns:
        Scaler to [-1, 1] over [a_j - h_j, b_j + h_j] = [low, high]. A constant column takes its
        size, or 1 if it is 0, for b_j - a_j, so that a later change enters relative to it.
    """
    middle, width = _range(inputs, seen)
    half = width / 2 + margin * width
    return Scaler(center=middle, spread=half, low=middle - half, high=middle + half)


def fit_output_scaler(targets: Array, seen: Array, margin: float) -> Scaler:
    """Scaler of outputs: (r_i - phi_i^min) / (phi_i^max - phi_i^min), eq (21); `unscale` is (22).

    Args:
        targets: [year, output].
        seen: bool, [year], rows that phi_i^min and phi_i^max are taken from.
        margin: what the interval exceeds the range of these rows by on either side, as a share of
            the range; the paper does not give it. At 0 the extremes are 0 and 1, which a sigmoid
            does not reach.

    Returns:
        Scaler to [0, 1] over [phi_min, phi_max] = [low, high]; a constant output stands at 1/2, its
        size (or 1) is the range.
    """
    middle, width = _range(targets, seen)
    half = width / 2 + margin * width
    return Scaler(center=middle - half, spread=2 * half, low=middle - half, high=middle + half)


def fit_perceptron(
    key: Array,
    config: PerceptronConfig,
    inputs: Array,
    targets: Array,
    weights: Array | None = None,
) -> PerceptronFit:
    """A perceptron trained on pairs of inputs and outputs, eq (4)-(23).

    Args:
        key: random key of the start (and of the order, if shuffled).
        config: network and training.
        inputs: [year, input], own units.  targets: [year, output], own units.
        weights: [year], factor of a year's error, >= 0; None: 1. Rows of weight 0 are seen neither
            by the training nor by the scalers, whatever they hold.

    Returns:
        PerceptronFit; `predict_perceptron` gives outputs in own units.

    Raises:
        ValueError: shapes, fewer than two rows with weight, negative weights, or values that are
            not finite there. Traced, the last three are not checked: negative weights count as 0,
            and status says "diverged" where nothing has weight or a value is not finite.

    Notes:
        Pure; vmap over keys, data and weights. Status "no better than the mean" marks a network
        whose error (23) is above 1 % and above that of the outputs' means: a saturated one.
    """
    fixed, traced = _prepare(config, inputs, targets, weights)
    return _fit(key, traced, config=fixed)


def fit_perceptrons(
    key: Array,
    config: PerceptronConfig,
    inputs: Array,
    targets: Array,
    weights: Array | None = None,
    *,
    num_seeds: int,
    block: int | None = None,
    mesh: Mesh | None = None,
) -> PerceptronFit:
    """`num_seeds` runs of `fit_perceptron`, leaves [seed, ...]; run s draws from fold_in(key, s).

    Args:
        key, config, inputs, targets, weights: as `fit_perceptron`.
        block: runs side by side, None: all.  mesh: devices that share the runs.

    Raises:
        ValueError: as `fit_perceptron`, or `num_seeds` < 1.
    """
    if num_seeds < 1:
        raise ValueError(f"num_seeds: expected at least 1, got {num_seeds}")
    fixed, traced = _prepare(config, inputs, targets, weights)
    return _fit_seeds(key, traced, config=fixed, num_seeds=num_seeds, block=block, mesh=mesh)


@jax.jit
def predict_perceptron(fit: PerceptronFit, inputs: Array) -> Array:
    """Outputs in own units, [..., year, output], from inputs [..., year, input], eq (20), (22).

    Differentiable in the weights, slope and scalers of `fit` and in `inputs`.

    Raises:
        ValueError: `inputs` does not have the inputs of the fit on its last axis.
    """
    x = scale(fit.inputs, inputs).astype(layer_weights(fit.params)[0].dtype)
    y = layer_outputs(fit.params, x, fit.slope)[-1]
    return unscale(fit.outputs, y.astype(fit.outputs.center.dtype))


@jax.jit
def forecast_recursively(fit: PerceptronFit, first_inputs: Array, exogenous: Array) -> Array:
    """Outputs of the years after the data: those of year t are the first inputs of year t + 1.

    forecast_t = net([forecast_{t-1}, exogenous_t]),  forecast_{-1} = first_inputs

    Args:
        fit: trained on `lagged_pairs`, whose lag is the step.
        first_inputs: outputs of the last year with data, [output].
        exogenous: other inputs, [horizon, num_exogenous]; row t is of the year before the one that
            forecast[t] is for, hence row 0 of the last year with data.

    Returns:
        forecast, [horizon, output], own units; forecast[0] is the first year after the data.
        Differentiable in everything.

    Raises:
        ValueError: shapes that do not fit the network.
    """
    num_inputs, num_outputs = fit.inputs.center.shape[-1], fit.outputs.center.shape[-1]
    num_exogenous = num_inputs - num_outputs
    if first_inputs.shape != (num_outputs,) or exogenous.shape[1:] != (num_exogenous,):
        raise ValueError(
            f"expected first_inputs ({num_outputs},) and exogenous (horizon, {num_exogenous}), got "
            f"{first_inputs.shape} and {exogenous.shape}"
        )

    def one_year(before: Array, given: Array) -> tuple[Array, Array]:
        after = predict_perceptron(fit, jnp.concatenate([before, given])[None, :])[0]
        return after, after

    return lax.scan(one_year, first_inputs, exogenous)[1]


class _Traced(NamedTuple):
    """What one compiled program serves any values of."""

    inputs: Array
    targets: Array
    weights: Array
    slope: Array
    rate: Array


def _prepare(
    config: PerceptronConfig, inputs: Array, targets: Array, weights: Array | None
) -> tuple[PerceptronConfig, _Traced]:
    """What a program is compiled for, and what it is run with."""
    if weights is None:
        weights = jnp.ones(inputs.shape[:1], inputs.dtype)
    _check_pairs(inputs, targets, weights)
    slope, rate = (jnp.asarray(value, config.dtype) for value in (config.slope, config.rate))
    fixed = replace(config, slope=1.0, learning_rate=None)
    return fixed, _Traced(inputs, targets, weights, slope, rate)


@partial(jax.jit, static_argnames=("config", "num_seeds", "block", "mesh"))
def _fit_seeds(
    key: Array,
    traced: _Traced,
    *,
    config: PerceptronConfig,
    num_seeds: int,
    block: int | None,
    mesh: Mesh | None,
) -> PerceptronFit:
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num_seeds, dtype=jnp.uint32))
    return batched(lambda key: _fit(key, traced, config=config), keys, block=block, mesh=mesh)


@partial(jax.jit, static_argnames="config")
def _fit(key: Array, traced: _Traced, *, config: PerceptronConfig) -> PerceptronFit:
    inputs, targets, weights, slope, rate = traced
    key_start, key_order = jax.random.split(key)
    seen, dtype = weights > 0, jnp.dtype(config.dtype)
    # no weight is not enough: what is not finite times 0 would be NaN
    inputs, targets = (jnp.where(seen[:, None], rows, 0.0) for rows in (inputs, targets))
    input_scaler = fit_input_scaler(inputs, seen, config.input_margin)
    output_scaler = fit_output_scaler(targets, seen, config.output_margin)
    x, r = scale(input_scaler, inputs).astype(dtype), scale(output_scaler, targets).astype(dtype)
    params = Perceptron(r.shape[-1], config.widths, config.dtype).init(key_start, x, slope)
    weight = jnp.where(seen, weights, 0.0).astype(dtype)
    settings: dict[str, Any] = {"num_epochs": config.epochs, "weight": weight}
    if config.rule == "batch":
        training = train_batch(params, x, r, slope, rate, **settings)
    else:
        order = key_order if config.shuffle else None
        training = train_per_sample(params, x, r, slope, rate, **settings, shuffle_key=order)
    mean = jnp.average(r, axis=0, weights=weight)[None, :]
    of_mean = 0.5 * jnp.average(jnp.sum((r - mean) ** 2, axis=-1), weights=weight)
    least = percent_error(of_mean, r.shape[-1])
    poor = training.error[-1] > jnp.maximum(least, AIM_PERCENT)
    status = jnp.where(training.diverged, 1, jnp.where(poor, 2, 0)).astype(jnp.int8)
    return PerceptronFit(
        training.params, slope, input_scaler, output_scaler, training.error,
        training.epochs_to_one_percent, status,
    )  # fmt: skip


def _range(values: Array, seen: Array) -> tuple[Array, Array]:
    """Middle and width of the range of every column over the rows seen."""
    found = fit_minmax(values, seen)
    size = jnp.where(found.low != 0, jnp.abs(found.low), 1.0)
    width = jnp.where(found.high > found.low, found.high - found.low, size)
    return (found.low + found.high) / 2, width


def _check_pairs(inputs: Array, targets: Array, weights: Array) -> None:
    num_years = inputs.shape[0] if inputs.ndim else 0
    if inputs.ndim != 2 or targets.ndim != 2 or targets.shape[0] != num_years:
        raise ValueError(
            f"expected inputs [year, input] and targets [year, output], got {inputs.shape} and "
            f"{targets.shape}"
        )
    if weights.shape != (num_years,):
        raise ValueError(f"weights: expected shape ({num_years},), one a year, got {weights.shape}")
    if any(isinstance(array, jax.core.Tracer) for array in (inputs, targets, weights)):
        return
    seen = np.asarray(weights) > 0
    if not np.all(np.asarray(weights) >= 0) or seen.sum() < 2:
        raise ValueError(
            f"weights: expected numbers >= 0 and at least two years with weight, got {weights}"
        )
    for name, rows in (("inputs", inputs), ("targets", targets)):
        bad = np.argwhere(~np.isfinite(np.asarray(rows)) & seen[:, None])
        if len(bad):
            raise ValueError(
                f"{name}: value that is not finite in row {bad[0, 0]}, column {bad[0, 1]}; fill it "
                "or give the year weight 0"
            )
