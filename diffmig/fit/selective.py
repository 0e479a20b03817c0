"""Rolling-origin forecasts of base filters and of every rule that combines them, in one pass."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh

from diffmig.batching import batched_last
from diffmig.fit.smoothing import SmootherConfig, SmootherFit, default_weights, fit_block
from diffmig.smoothing import Rule, Smoother, forecast_table, hindsight_bound, rule_weights

SERIES_PER_BLOCK = 256


@dataclass(frozen=True)
class SelectiveConfig:
    """What is forecast, and when weights are fitted.

    num_horizons: steps ahead, >= 1.
    first_origin: first row from which forecasts are made; the filters are fitted on the rows up
        to it.
    first_scored: first origin that is scored, if later: rules have then seen errors.
    refit_every: rows between later fits, each on the rows up to its own; 0: no later fit.
    smoother: how the weights of a filter are chosen.
    keep: methods whose errors by origin are returned.
    """

    num_horizons: int = 1
    first_origin: int = 0
    first_scored: int = 0
    refit_every: int = 0
    smoother: SmootherConfig = field(default_factory=SmootherConfig)
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = (self.first_origin, self.first_scored, self.refit_every)
        if self.num_horizons < 1 or min(counts) < 0:
            raise ValueError(f"expected num_horizons >= 1, the other counts >= 0, got {self}")


class SelectiveResult(NamedTuple):
    """Forecasts and scores of base filters, then rules: `method_names(models, rules)`.

    Attributes:
        forecast: from the last row, [method, horizon, series].
        absolute, squared: sums of |e| and e^2 over the scored origins, [method, horizon, series];
            NaN for a filter that could not forecast at one of them (its mean would be one over
            other rows), as the two next.
        percentage: sum of 100 |e / y| over scored origins with y not 0, same shape.
        symmetric: sum of 200 |e| / (|y| + |forecast|), 0 where both are 0, same shape.
        count, count_nonzero: scored origins (from `first_scored` on, some filter could forecast,
            the value came), and those with y not 0, [horizon, series].
        hindsight: mean absolute and mean absolute percentage error one step ahead of the model
            that was best each time, [2, series]: a bound, not a forecast.
        weights: of the last row, [rule, model, series].
        usable: bool [model, series], the filter could be fitted at the last row.
        params: last weights of every filter, tuple of [parameter, series].
        errors: of the kept methods by origin, y_{t+h} - forecast, [keep, time, horizon, series];
            inf where the method could not forecast.
        scored: bool [time, horizon, series], where `errors` counts.
    """

    forecast: Array
    absolute: Array
    squared: Array
    percentage: Array
    symmetric: Array
    count: Array  # type: ignore[assignment]
    count_nonzero: Array
    hindsight: Array
    weights: Array
    usable: Array
    params: tuple[Array, ...]
    errors: Array
    scored: Array


def method_names(models: tuple[Smoother, ...], rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Names along the method axis: base filters, then rules."""
    return (*[model.name for model in models], *[rule.name for rule in rules])


def forecast_selectively(
    models: tuple[Smoother, ...],
    rules: tuple[Rule, ...],
    y: Array,
    observed: Array | None = None,
    *,
    config: SelectiveConfig = SelectiveConfig(),
    prior: Array | None = None,
    block: int | None = SERIES_PER_BLOCK,
    mesh: Mesh | None = None,
) -> SelectiveResult:
    """Forecasts from every origin by every base filter and every rule, and their scores.

    At an origin nothing later is known: filters were fitted on the rows up to the last fit, rules
    saw the one-step errors of forecasts made after the first fit.

    Args:
        models: base filters, first one preferred in ties.
        rules: ways to combine them.
        y: values [time, series]; any finite number where not observed.
        observed: bool [time, series]; None: all are.
        config: horizons, origins and fits.
        prior: [model], ranks the filters before the first error, lower is better.
        block: series at a time.
        mesh: devices that share the series.

    Returns:
        SelectiveResult.

    Raises:
        ValueError: no model or rule names twice, shapes that do not fit, a first origin that
            leaves nothing to score, or a kept method that does not exist.

    Notes:
        Memory is that of a block, [model, time, horizon, block] numbers, and of the result. A
        series in which no filter can be fitted has forecasts NaN and count 0.
    """
    names = method_names(models, rules)
    if not models or len(set(names)) != len(names):
        raise ValueError(f"models, rules: expected models, and every name once, got {names}")
    if y.ndim != 2 or (observed is not None and observed.shape != y.shape):
        shapes = y.shape, None if observed is None else observed.shape
        raise ValueError(f"y, observed: expected two equal shapes [time, series], got {shapes}")
    if config.first_origin >= y.shape[0] - 1:
        raise ValueError(
            f"first_origin: expected less than {y.shape[0] - 1}, the last row but one, "
            f"got {config.first_origin}"
        )
    unknown = [name for name in config.keep if name not in names]
    if unknown:
        raise ValueError(f"keep: expected names of {names}, got {unknown}")
    arrays = {"y": y, "observed": jnp.ones(y.shape, bool) if observed is None else observed}
    given = None if prior is None else jnp.asarray(prior, y.dtype)
    return _run(models, rules, config, block, mesh, arrays, given)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _run(
    models: tuple[Smoother, ...],
    rules: tuple[Rule, ...],
    config: SelectiveConfig,
    block: int | None,
    mesh: Mesh | None,
    arrays: dict[str, Array],
    prior: Array | None,
) -> SelectiveResult:
    run = partial(_run_block, models, rules, config, prior)
    return batched_last(run, arrays, block=block, mesh=mesh)


def _run_block(
    models: tuple[Smoother, ...],
    rules: tuple[Rule, ...],
    config: SelectiveConfig,
    prior: Array | None,
    arrays: dict[str, Array],
) -> SelectiveResult:
    y, observed = arrays["y"], arrays["observed"]
    num_models, num_rows = len(models), y.shape[0]
    fitted = [_base_table(model, config, y, observed) for model in models]
    table = jnp.stack([made for made, _ in fitted], axis=1)  # [time, model, horizon, ...]
    usable = jnp.isfinite(table).all(axis=2)

    forecast = _forecast(usable.any(axis=1), observed, config)
    rows = jnp.arange(num_rows).reshape((-1, 1, *[1] * (y.ndim - 1)))
    scored = forecast & (rows >= config.first_scored)
    ahead = jnp.where(usable[:-1], y[1:, None] - table[:-1, :, 0], jnp.inf)
    none = jnp.full((1, *ahead.shape[1:]), jnp.inf, ahead.dtype)
    errors = jnp.concatenate([none, ahead])  # row t: error of the forecast of row t
    honest = jnp.concatenate([jnp.zeros_like(observed[:1]), forecast[:-1, 0]])
    weights = jnp.zeros((num_rows, 0, num_models, *y.shape[1:]), y.dtype)
    if rules:
        weights = rule_weights(rules, errors, y, honest, prior)

    methods = [jnp.where(usable[:, k, None], table[:, k], 0.0) for k in range(num_models)]
    able = [jnp.broadcast_to(usable[:, k, None], table[:, k].shape) for k in range(num_models)]
    for r in range(len(rules)):
        methods.append(_combine(weights[:, r], usable, methods[:num_models]))
        able.append(jnp.broadcast_to(usable.any(axis=1)[:, None], table[:, 0].shape))
    actual = _actual(y, config.num_horizons)
    sums = [_score(*pair, actual, scored) for pair in zip(methods, able, strict=True)]
    absolute, squared, percentage, symmetric = (jnp.stack(kind) for kind in zip(*sums, strict=True))
    pairs = dict(zip(method_names(models, rules), zip(methods, able, strict=True), strict=True))
    keep = [_errors(*pairs[name], actual, scored) for name in config.keep]
    shape = (0, num_rows, config.num_horizons, *y.shape[1:])
    last = jnp.stack([jnp.where(able[-1], made[-1], jnp.nan) for made, able in pairs.values()])
    nonzero = scored & (actual != 0)
    return SelectiveResult(
        forecast=last,
        absolute=absolute,
        squared=squared,
        percentage=percentage,
        symmetric=symmetric,
        count=jnp.sum(scored, axis=0),
        count_nonzero=jnp.sum(nonzero, axis=0),
        hindsight=_hindsight(errors, y, honest & jnp.roll(scored[:, 0], 1, axis=0)),
        weights=weights[-1],
        usable=usable[-1],
        params=tuple(params for _, params in fitted),
        errors=jnp.stack(keep) if keep else jnp.zeros(shape, y.dtype),
        scored=scored,
    )


def _base_table(
    model: Smoother, config: SelectiveConfig, y: Array, observed: Array
) -> tuple[Array, Array]:
    """Forecasts of one filter from every origin, [time, horizon, ...], inf where it could not be
    fitted; its last weights. A later fit starts from the weights of the one before, or
    where there was none from the defaults."""
    num_rows = y.shape[0]
    rows = jnp.arange(num_rows).reshape((-1, *[1] * (y.ndim - 1)))

    def fit_at(last: Array, params: Array | None) -> SmootherFit:
        arrays = {"y": y, "observed": observed & (rows <= last)}
        if params is not None and model.parameters and config.smoother.method != "fixed":
            arrays["params"] = params
        return fit_block(model, config.smoother, arrays)

    def forecast(fit: SmootherFit) -> Array:
        table = forecast_table(model, fit.params, y, observed, fit.start, config.num_horizons)
        return jnp.where(jnp.isfinite(fit.loss)[None, None], table, jnp.inf)

    if config.refit_every == 0:
        fit = fit_at(jnp.asarray(config.first_origin), None)
        return forecast(fit), fit.params
    defaults = default_weights(model, y[0])
    params, loss = _begin(model, config, y, observed & (rows <= config.first_origin))
    # twice at the first origin: a fit from given weights takes fewer steps
    origins = np.arange(config.first_origin, num_rows, config.refit_every)
    fits = jnp.asarray(np.concatenate([origins[:1], origins]))

    def body(carry: tuple[Array, Array, Array], last: Array) -> tuple[Any, None]:
        table, params, loss = carry
        fit = fit_at(last, jnp.where(jnp.isfinite(loss)[None], params, defaults))
        table = jnp.where((rows >= last)[:, None], forecast(fit), table)
        return (table, fit.params, fit.loss), None

    empty = jnp.full((num_rows, config.num_horizons, *y.shape[1:]), jnp.inf, y.dtype)
    (table, params, _), _ = lax.scan(body, (empty, params, loss), fits)
    return table, params


def _begin(
    model: Smoother, config: SelectiveConfig, y: Array, observed: Array
) -> tuple[Array, Array]:
    """Weights that the first fit starts from, the grid's best as in any fit without given weights,
    and their loss. So one program of the fit serves the first and the later ones."""
    if config.smoother.method == "fixed" or not model.parameters:
        return default_weights(model, y[0]), jnp.zeros_like(y[0])
    grid = replace(config.smoother, method="grid")
    fit = fit_block(model, grid, {"y": y, "observed": observed})
    return fit.params, fit.loss


def _forecast(usable: Array, observed: Array, config: SelectiveConfig) -> Array:
    """Origins and horizons with a forecast and a value, [time, horizon, ...]: from the first fit
    on, some filter usable, the value there."""
    num_rows = observed.shape[0]
    rows = jnp.arange(num_rows).reshape((-1, *[1] * (observed.ndim - 1)))
    origin = (rows >= config.first_origin) & usable
    return origin[:, None] & _actual(observed, config.num_horizons)


def _actual(y: Array, num_horizons: int) -> Array:
    """Row t + h of `y` at [t, h - 1]; 0 (False) beyond the data."""
    empty = jnp.zeros((num_horizons, *y.shape[1:]), y.dtype)
    longer = jnp.concatenate([y, empty])
    num_rows = y.shape[0]
    return jnp.stack([longer[h : num_rows + h] for h in range(1, num_horizons + 1)], axis=1)


def _combine(weights: Array, usable: Array, tables: list[Array]) -> Array:
    """Weighted forecasts [time, horizon, ...]; weight of filters that cannot be used at an origin
    goes to the others."""
    shares = jnp.where(usable, weights, 0.0)
    total = jnp.sum(shares, axis=1, keepdims=True)
    number = jnp.maximum(jnp.sum(usable, axis=1, keepdims=True), 1).astype(weights.dtype)
    equal = usable.astype(weights.dtype) / number
    shares = jnp.where(total > 0, shares / jnp.where(total > 0, total, 1.0), equal)
    made = [shares[:, k, None] * table for k, table in enumerate(tables)]
    return jnp.sum(jnp.stack(made), axis=0)


def _errors(made: Array, able: Array, actual: Array, scored: Array) -> Array:
    """actual - made; 0 where not scored, inf where a forecast is missing."""
    return jnp.where(scored, jnp.where(able, actual - made, jnp.inf), 0.0)


def _score(made: Array, able: Array, actual: Array, scored: Array) -> tuple[Array, ...]:
    """Sums over origins of |e|, e^2, 100 |e / y| and 200 |e| / (|y| + |forecast|); NaN where a
    forecast is missing."""
    error = jnp.where(scored, jnp.where(able, actual - made, jnp.nan), 0.0)
    size, total = jnp.abs(actual), jnp.abs(actual) + jnp.abs(made)
    percent = 100.0 * jnp.abs(error) / jnp.where(size > 0, size, 1.0)
    symmetric = 200.0 * jnp.abs(error) / jnp.where(total > 0, total, 1.0)
    return (
        jnp.sum(jnp.abs(error), axis=0),
        jnp.sum(error**2, axis=0),
        jnp.sum(jnp.where(size > 0, percent, 0.0), axis=0),
        jnp.sum(symmetric, axis=0),
    )


def _hindsight(errors: Array, y: Array, honest: Array) -> Array:
    """Mean |e| and mean 100 |e / y| of the best filter of each row, [2, ...]."""
    best = jnp.where(honest, hindsight_bound(errors), 0.0)
    best = jnp.where(jnp.isfinite(best), best, 0.0)
    nonzero = honest & (y != 0)
    percent = jnp.where(nonzero, 100.0 * best / jnp.abs(jnp.where(nonzero, y, 1.0)), 0.0)
    number = jnp.maximum(jnp.sum(honest, axis=0), 1).astype(y.dtype)
    other = jnp.maximum(jnp.sum(nonzero, axis=0), 1).astype(y.dtype)
    return jnp.stack([jnp.sum(best, axis=0) / number, jnp.sum(percent, axis=0) / other])
