"""Which base model to trust next: selection and weights from errors up to now.

Every rule is a state, updated with the one-step errors of all base models, and a map from the state
to weights that add up to 1; a selection is a weight of 1. Weights after row t serve the forecasts
made from row t, so that nothing later than t enters them. Errors are [model, ...]. Equal arguments
give the same rule, so that a program that holds it is compiled once.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

Measure = Literal["squared", "percentage"]


class Rule(NamedTuple):
    """A way to combine base models.

    Attributes:
        name: for example "b-0.3".
        init: (errors-like array [model, ...], prior [model] or None) -> state. The prior ranks the
            models before the first error, lower is better; without one the first model leads, and
            weights are equal.
        weights: state -> [model, ...].
        step: (state, errors [model, ...], y [...], observed [...]) -> state; a missing value leaves
            the state as it is. A model with error inf (it cannot be used yet, or no longer) has no
            weight while others have errors; it starts anew at its next finite error.
    """

    name: str
    init: Callable[[Array, Array | None], Any]
    weights: Callable[[Any], Array]
    step: Callable[[Any, Array, Array, Array], Any]


class Criterion(NamedTuple):
    """What a rule knows of every model.

    value: criterion, lower is better, [model, ...]; the prior before its first error.
    number: finite errors so far, [model, ...]; an infinite one sets it back to 0.
    rest: what the update needs besides.
    """

    value: Array
    number: Array
    rest: Any = None


def best_of_models(value: Array) -> Array:
    """1 for the lowest value, ties to the first model; [model, ...]."""
    winner = jnp.argmin(value, axis=0)
    return (winner[None] == _index(value)).astype(value.dtype)


@cache
def b_rule(gamma: float) -> Rule:
    """Selection by the smoothed squared error B_k(t) = (1 - g) B_k(t-1) + g e_k(t)^2, B_k started
    at its first e^2; g = 1: winner of the last step.

    Source: Chagovets et al. 2020, equations (6) and "(11)7".

    Raises:
        ValueError: gamma outside (0, 1].
    """
    _check_share("gamma", gamma)
    return Rule(f"b-{gamma:g}", _begin, _choose, _smooth(gamma))


@cache
def cumulative_rule(measure: Measure = "squared") -> Rule:
    """Selection by the mean squared, or mean absolute percentage, error of all rows so far; for
    percentages, rows with y = 0 count as missing."""
    loss = _loss(measure)

    def step(state: Criterion, errors: Array, y: Array, observed: Array) -> Criterion:
        past = jnp.where(state.number > 0, state.value, 0.0)
        share = 1.0 / (state.number + 1).astype(errors.dtype)
        value = past + share * (loss(errors, y) - past)
        return _update(state, value, errors, _counted(measure, y, observed))

    return Rule(f"cumulative-{measure}", _begin, _choose, step)


@cache
def window_rule(num_rows: int, measure: Measure = "percentage") -> Rule:
    """Selection by the mean error of the last rows with an observation; for percentages, rows with
    y = 0 count as missing.

    Raises:
        ValueError: num_rows < 1.
    """
    if num_rows < 1:
        raise ValueError(f"num_rows: expected at least 1, got {num_rows}")
    loss = _loss(measure)

    def init(errors: Array, prior: Array | None) -> Criterion:
        none = jnp.zeros((num_rows, *errors.shape), errors.dtype)
        return _begin(errors, prior)._replace(rest=none)

    def step(state: Criterion, errors: Array, y: Array, observed: Array) -> Criterion:
        new = jnp.where(jnp.isfinite(errors), loss(errors, y), 0.0)
        past = jnp.where((state.number > 0)[None], state.rest[1:], 0.0)
        last = jnp.concatenate([past, new[None]])
        number = jnp.minimum(state.number + 1, num_rows).astype(errors.dtype)
        value = jnp.sum(last, axis=0) / number
        return _update(state, value, errors, _counted(measure, y, observed), last)

    return Rule(f"window-{num_rows}-{measure}", init, _choose, step)


@cache
def inverse_rule(gamma: float, kappa: float = 1.0) -> Rule:
    """Weights w_k proportional to (B_k + tiny)^-kappa, B_k as in `b_rule`; equal before the first
    error.

    Source: weights after Bates, Granger, 1969, The combination of forecasts, Operational Research
    Quarterly 20(4), with discounting; the paper only calls them adaptive: a reconstruction.

    Raises:
        ValueError: gamma outside (0, 1] or kappa < 0.
    """
    _check_share("gamma", gamma)
    if not kappa >= 0:
        raise ValueError(f"kappa: expected at least 0, got {kappa}")

    def weights(state: Criterion) -> Array:
        tiny = jnp.finfo(state.value.dtype).tiny
        return _softmax(state, -kappa * jnp.log(jnp.maximum(state.value, tiny)))

    return Rule(f"inverse-{gamma:g}-{kappa:g}", _begin, weights, _smooth(gamma))


@cache
def aggregation_rule(eta: float = 0.5) -> Rule:
    """Exponentially weighted aggregation: w_k proportional to exp(-eta sum_t e_k(t)^2 / s(t)^2),
    s(t)^2 the mean of all squared errors of all models up to t.

    Source: Cesa-Bianchi, Lugosi, 2006, Prediction, Learning, and Games, section 2.2; the running
    scale is ours.

    Raises:
        ValueError: eta < 0.
    """
    if not eta >= 0:
        raise ValueError(f"eta: expected at least 0, got {eta}")

    def init(errors: Array, prior: Array | None) -> Criterion:
        none = jnp.zeros(errors.shape[1:], errors.dtype)
        return _begin(errors, prior)._replace(rest=(none, none))

    def step(state: Criterion, errors: Array, y: Array, observed: Array) -> Criterion:
        total, number = state.rest
        finite = jnp.isfinite(errors)
        square = jnp.where(finite, errors, 0.0) ** 2
        total = total + jnp.sum(square, axis=0)
        number = number + jnp.sum(finite, axis=0).astype(errors.dtype)
        scale = total / jnp.maximum(number, 1.0)
        known = state.number > 0
        # a late comer starts level with the worst
        worst = jnp.max(jnp.where(known, state.value, 0.0), axis=0)
        past = jnp.where(known, state.value, worst[None])
        value = past + square / jnp.where(scale > 0, scale, 1.0)[None]
        return _update(state, value, errors, observed, (total, number))

    def weights(state: Criterion) -> Array:
        return _softmax(state, -eta * state.value)

    return Rule(f"aggregation-{eta:g}", init, weights, step)


@cache
def equal_rule() -> Rule:
    """Equal weights of all usable models."""

    def weights(state: Criterion) -> Array:
        return _softmax(state, jnp.zeros_like(state.value))

    return Rule("equal", _begin, weights, _smooth(1.0))


@cache
def own_gamma_rule(gammas: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)) -> Rule:
    """Selection by B with the gamma, per series, whose selections had the lowest mean squared error
    so far.

    Raises:
        ValueError: no gamma, or one outside (0, 1].
    """
    if not gammas:
        raise ValueError("gammas: expected at least one")
    rules = [b_rule(gamma) for gamma in gammas]

    def init(errors: Array, prior: Array | None) -> Any:
        past = jnp.zeros((len(rules), *errors.shape[1:]), errors.dtype)
        return tuple(rule.init(errors, prior) for rule in rules), past

    def stack(states: Any) -> Array:
        return jnp.stack([rule.weights(s) for rule, s in zip(rules, states, strict=True)])

    def weights(state: Any) -> Array:
        states, past = state
        return jnp.sum(best_of_models(past)[:, None] * stack(states), axis=0)

    def step(state: Any, errors: Array, y: Array, observed: Array) -> Any:
        states, past = state
        made = weighted_sum(stack(states), errors[None], axis=1)
        # a selection that could not forecast says nothing about its gamma
        past = jnp.where(observed[None] & jnp.isfinite(made), past + made**2, past)
        moved = (rule.step(s, errors, y, observed) for rule, s in zip(rules, states, strict=True))
        return tuple(moved), past

    return Rule("own-gamma", init, weights, step)


def weighted_sum(weights: Array, values: Array, axis: int = 0) -> Array:
    """Sum of weights * values over the model axis; models without weight do not count even where
    their values are not finite."""
    return jnp.sum(jnp.where(weights > 0, weights * jnp.where(weights > 0, values, 0.0), 0.0), axis)


def rule_weights(
    rules: tuple[Rule, ...],
    errors: Array,
    y: Array,
    observed: Array,
    prior: Array | None = None,
) -> Array:
    """Weights of every rule after every row.

    Args:
        rules: the rules.
        errors: honest one-step errors [time, model, ...]; inf for models that cannot be used.
        y: values [time, ...].
        observed: bool [time, ...], False where the row has no honest error.
        prior: [model], ranks the models before the first error.

    Returns:
        [time, rule, model, ...]; row t serves forecasts from row t, and uses nothing after it.
    """

    def body(states: Any, row: Any) -> tuple[Any, Array]:
        moved = tuple(rule.step(s, *row) for rule, s in zip(rules, states, strict=True))
        made = [rule.weights(s) for rule, s in zip(rules, moved, strict=True)]
        return moved, jnp.stack(made)

    states = tuple(rule.init(errors[0], prior) for rule in rules)
    return lax.scan(body, states, (errors, y, observed))[1]


def first_weights(rules: tuple[Rule, ...], like: Array, prior: Array | None = None) -> Array:
    """Weights before any error, [rule, model, ...]; `like`: [model, ...]."""
    return jnp.stack([rule.weights(rule.init(like, prior)) for rule in rules])


def hindsight_bound(errors: Array) -> Array:
    """Smallest absolute error of any model, [time, model, ...] -> [time, ...].

    The winner is picked with the value it forecasts: a bound, not a forecast.
    """
    return jnp.min(jnp.abs(errors), axis=1)


def _begin(errors: Array, prior: Array | None) -> Criterion:
    shape = (-1, *[1] * (errors.ndim - 1))
    value = jnp.zeros(len(errors)) if prior is None else jnp.asarray(prior)
    value = jnp.broadcast_to(value.astype(errors.dtype).reshape(shape), errors.shape)
    return Criterion(value, jnp.zeros(errors.shape, jnp.int32))


def _eligible(state: Criterion) -> Array:
    """Models with errors; all before the first error of any."""
    known = state.number > 0
    return known | ~jnp.any(known, axis=0, keepdims=True)


def _choose(state: Criterion) -> Array:
    return best_of_models(jnp.where(_eligible(state), state.value, jnp.inf))


def _smooth(gamma: float) -> Callable[[Criterion, Array, Array, Array], Criterion]:
    def step(state: Criterion, errors: Array, y: Array, observed: Array) -> Criterion:
        square = errors**2
        smoothed = (1.0 - gamma) * state.value + gamma * square if gamma < 1.0 else square
        value = jnp.where(state.number > 0, smoothed, square)
        return _update(state, value, errors, observed)

    return step


def _update(
    old: Criterion, value: Array, errors: Array, observed: Array, rest: Any = None
) -> Criterion:
    """The new criterion where a value was observed, started anew after an infinite error."""
    finite = jnp.isfinite(errors)
    new = Criterion(jnp.where(finite, value, old.value), jnp.where(finite, old.number + 1, 0), rest)
    return jax.tree.map(lambda a, b: jnp.where(_over(observed, a), a, b), new, old)


def _over(choice: Array, like: Array) -> Array:
    missing = like.ndim - choice.ndim
    return jnp.broadcast_to(choice.reshape((*[1] * missing, *choice.shape)), like.shape)


def _softmax(state: Criterion, logits: Array) -> Array:
    """Weights of eligible models by their logits; equal before the first error."""
    started = jnp.any(state.number > 0, axis=0, keepdims=True)
    logits = jnp.where(_eligible(state), jnp.where(started, logits, 0.0), -jnp.inf)
    scaled = jnp.exp(logits - jnp.max(logits, axis=0, keepdims=True))
    return scaled / jnp.sum(scaled, axis=0, keepdims=True)


def _loss(measure: Measure) -> Callable[[Array, Array], Array]:
    if measure == "squared":
        return lambda errors, y: errors**2
    if measure == "percentage":
        return lambda errors, y: jnp.where(
            (y != 0)[None], 100.0 * jnp.abs(errors) / jnp.abs(jnp.where(y != 0, y, 1.0))[None], 0.0
        )
    raise ValueError(f"measure: expected squared or percentage, got {measure!r}")


def _counted(measure: Measure, y: Array, observed: Array) -> Array:
    return observed & (y != 0) if measure == "percentage" else observed


def _index(value: Array) -> Array:
    return jnp.arange(len(value)).reshape((-1, *[1] * (value.ndim - 1)))


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"{name}: expected a value in (0, 1], got {value}")
