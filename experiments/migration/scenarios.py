"""What a change of a factor in one place does to all balances, and the least change for an aim."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig import explain, fit
from diffmig import migration as mg
from experiments._settlements import problem
from experiments.migration.config import Config
from experiments.migration.explanation import PRIMARY, Explanation, regressors
from experiments.migration.inputs import Inputs

BAND = (0.05, 0.95)
MAX_DRAWS = 100


class Scenario(NamedTuple):
    """Forward and inverse scenario.

    Attributes:
        place, factor: indices of what is changed.
        shift: lasting change of the factor, its unit.
        allowed: whether the changed values lie within those of the training rows.
        effect: on all balances, unit of the rate.
        low, high: band of the own effect and of the mean spill-over, [2, 1 + year], over places
            drawn again; the strengths stay.
        ends: own effect in the last year at both ends of every strength's interval, [end].
        share: Shapley share of the factor in the place's balance of the last year.
        least: smallest changes of all factors in that place that move its balance by `target`.
        target: unit of the rate.
        reached: by a forward run with them.
    """

    place: int
    factor: int
    shift: float
    allowed: bool
    effect: explain.Effect
    low: np.ndarray
    high: np.ndarray
    share: float
    least: explain.LeastChange
    target: float
    reached: float


def scenarios(
    config: Config, inputs: Inputs, found: Explanation, stiffness: Array | mg.Modes, damping: Array
) -> Scenario:
    """A lasting change of the factor with the largest effect, in one place.

    Raises:
        DataError: the place named in the config is not there.
    """
    shares = found.shares
    place = _place(config, inputs)
    sd = jnp.std(found.features, axis=(0, 1))
    x = found.features

    def response(change: Array) -> Array:
        """Balance of the place at the end of the last year after a lasting change [factor]."""
        moved = x.at[place].add(change[None])
        return _effect(found.params, stiffness, damping, x, moved, place).total[place, -1]

    gain = jax.grad(response)(jnp.zeros(x.shape[-1])) * sd
    factor = int(jnp.argmax(jnp.abs(gain)))
    towards = jnp.sign(gain[factor])  # a gain of people
    wanted = float(config.scenario_shift * towards * sd[factor])
    shift, allowed = _within(np.asarray(x), place, factor, wanted)

    moved = x.at[place, :, factor].add(shift)
    effect = _effect(found.params, stiffness, damping, x, moved, place)
    num = min(jax.tree.leaves(found.bootstrap)[0].shape[0], MAX_DRAWS)
    draws = jax.tree.map(lambda leaf: leaf[:num], found.bootstrap)
    paths = _summaries(draws, stiffness, damping, x, moved, place)
    low, high = np.quantile(np.asarray(paths), BAND, axis=0)
    box = explain.training_box(x.reshape(-1, x.shape[-1]))
    room = (box.low - jnp.min(x[place], axis=0), box.high - jnp.max(x[place], axis=0))
    size = float(jnp.mean(jnp.abs(inputs.rate[place])))
    target = config.target_share * size
    least = explain.least_change(
        response, sd, jnp.minimum(room[0], 0.0), jnp.maximum(room[1], 0.0), target
    )
    return Scenario(
        place=place,
        factor=factor,
        shift=shift,
        allowed=allowed,
        effect=jax.tree.map(np.asarray, effect),
        low=low,
        high=high,
        share=float(shares.factor[factor, place, -1]),
        least=least,
        target=target,
        reached=float(response(least.change)),
    )


@jax.jit
def _effect(
    params: fit.Linear,
    stiffness: Array | mg.Modes,
    damping: Array,
    x: Array,
    moved: Array,
    place: ArrayLike,
) -> explain.Effect:
    """Change of all balances if the factors are `moved` instead of `x`, in one place."""
    method = regressors()[PRIMARY]
    force = fit.predict_regression(method, params, moved) - fit.predict_regression(
        method, params, x
    )
    return explain.force_effect(stiffness, damping, force, changed=jnp.asarray(place)[None])


@jax.jit
def _summaries(
    draws: fit.Linear,
    stiffness: Array | mg.Modes,
    damping: Array,
    x: Array,
    moved: Array,
    place: ArrayLike,
) -> Array:
    """Own effect and mean spill-over of every draw, [draw, 2, time]."""
    others = jnp.arange(x.shape[0]) != place

    def summary(params: fit.Linear) -> Array:
        made = _effect(params, stiffness, damping, x, moved, place)
        spill = jnp.sum(jnp.where(others[:, None], made.total, 0.0), axis=0) / (x.shape[0] - 1)
        return jnp.stack([made.own[place], spill])

    return jax.vmap(summary)(draws)


def _place(config: Config, inputs: Inputs) -> int:
    if not config.scenario_place:
        return int(inputs.rate.mean(axis=1).argmin())
    if config.scenario_place not in inputs.places:
        near = [p for p in inputs.places if config.scenario_place.lower() in p.lower()][:5]
        raise problem(
            f"scenario-place: {config.scenario_place!r} is not among the places",
            f"take one of {near or list(inputs.places[:5])}",
        )
    return inputs.places.index(config.scenario_place)


def _within(x: np.ndarray, place: int, factor: int, wanted: float) -> tuple[float, bool]:
    """The change asked for, cut to what any place has shown, and whether it was allowed as it
    stood."""
    low, high = x[:, :, factor].min(), x[:, :, factor].max()
    room = (low - x[place, :, factor].min(), high - x[place, :, factor].max())
    cut = float(np.clip(wanted, *room))
    return cut, cut == wanted
