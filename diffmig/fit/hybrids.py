"""Networks trained by gradient inside a search: BA-LSTM, GA-BPNN, PSO-Elman."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from diffmig import optimize
from diffmig.fit.gradient import Training, train
from diffmig.fit.losses import weighted_mape, weighted_mse
from diffmig.fit.tasks import Task, cast, levels
from diffmig.networks import Layout, init_network, predict

FIT_STATUS = ("trained", "diverged", "no finite fitness")


@dataclass(frozen=True)
class Hybrid:
    """A network, what is searched by which optimiser, and how every candidate is trained.

    Attributes:
        network, layout: model; see the docstrings of `networks`.
        method: step method of `optimize.METHODS`.
        num_members, num_steps: members and steps of the search; num_members (num_steps + 1)
            evaluations for swarms and bats.
        search: "hyper" searches the hyper-parameters whose bounds differ, and trains every
            candidate from fresh weights; "initial_weights" searches the weights that training
            starts from; "weights" searches the weights, and trains only the best.
        units: bounds of the units of every layer; a layer of 0 units is skipped.
        log10_learning_rate, epochs, log10_weight_decay: bounds; equal bounds fix a value.
        weight_limit: half-width of the box of searched weights.
        common_start: all candidates of a run start from the same weights (a deterministic fitness);
            False draws new ones at every evaluation, as a script that builds a new model each time
            does.
        optimizer: gradient rule.
    """

    network: nn.Module
    layout: Layout
    method: str
    num_members: int = 20
    num_steps: int = 100
    search: Literal["hyper", "initial_weights", "weights"] = "hyper"
    units: tuple[tuple[int, int], ...] = ((10, 10),)
    log10_learning_rate: tuple[float, float] = (-2.0, -2.0)
    epochs: tuple[int, int] = (100, 100)
    log10_weight_decay: tuple[float, float] = (-9.0, -9.0)
    weight_limit: float = 1.0
    common_start: bool = True
    optimizer: str = "adam"

    def __post_init__(self) -> None:
        if self.method not in optimize.METHODS:
            raise ValueError(
                f"method: expected one of {sorted(optimize.METHODS)}, got {self.method!r}"
            )
        if self.search not in ("hyper", "initial_weights", "weights"):
            raise ValueError(
                f"search: expected hyper, initial_weights or weights, got {self.search!r}"
            )
        if len(self.units) != self.network.num_layers:
            raise ValueError(
                f"units: expected bounds for {self.network.num_layers} layers, got {self.units}"
            )
        for name in ("units", "log10_learning_rate", "epochs", "log10_weight_decay"):
            pairs = getattr(self, name) if name == "units" else (getattr(self, name),)
            if any(low > high for low, high in pairs):
                raise ValueError(
                    f"{name}: expected lower bound <= upper bound, got {getattr(self, name)}"
                )
        if self.epochs[0] < 1:
            raise ValueError(f"epochs: expected at least 1, got {self.epochs}")
        if self.search == "hyper" and not self._free():
            raise ValueError("search 'hyper' needs a hyper-parameter whose bounds differ")
        if self.search != "hyper" and self._free():
            raise ValueError(
                f"search {self.search!r} needs fixed hyper-parameters, free: {self._free()}"
            )
        lowest, highest = (pick(n for pair in self.units for n in pair) for pick in (min, max))
        if self.units[0][0] < 1 or lowest < 0 or highest > self.network.width:
            raise ValueError(
                f"units: expected 1..{self.network.width} (the padded width) in the first layer, "
                f"0..{self.network.width} in others, got {self.units}"
            )

    def _bounds(self) -> dict[str, tuple[Any, Any]]:
        low, high = ([float(pair[i]) for pair in self.units] for i in (0, 1))
        return {
            "units": (low, high),
            "log10_learning_rate": self.log10_learning_rate,
            "epochs": (float(self.epochs[0]), float(self.epochs[1])),
            "log10_weight_decay": self.log10_weight_decay,
        }

    def _free(self) -> list[str]:
        return [name for name, (low, high) in self._bounds().items() if low != high]


class Hyper(NamedTuple):
    """Hyper-parameters of a training: units int32 [layer], the rest scalars."""

    units: Array
    learning_rate: Array
    epochs: Array
    weight_decay: Array


class Fitted(NamedTuple):
    """A trained hybrid; batch axes in front.

    Attributes:
        params: weights.  hyper: hyper-parameters they were trained with.
        fitness: [step], best fitness (MAPE, percent) after every step of the search.
        train_mape: [epoch], MAPE on the training years during the final training, percent.
        levels: [year], fitted (training years) and forecast (later years) GRP, money.
        num_evaluations: int32, evaluations of the search.
        status: int8, index into `FIT_STATUS`.
    """

    params: Any
    hyper: Hyper
    fitness: Array
    train_mape: Array
    levels: Array
    num_evaluations: Array
    status: Array


def fit_hybrid(key: Array, hybrid: Hybrid, folds: Task, final: Task) -> Fitted:
    """One run: search on `folds`, then training of the best candidate on `final`.

    Args:
        key: random key of the run.
        hybrid: model and search.
        folds: tasks [fold, ...] on which the fitness of a candidate is the mean MAPE over their
            scored years. The training error of the paper is one fold that scores its training
            years; rolling origins are folds that score the years after theirs.
        final: task that the best candidate is trained on; its later years are forecast.

    Returns:
        Fitted. Pure; vmap over keys and tasks, or `fit_seeds` for many.

    Source: Vavilova, Ketova, Zerari (2025), sections 3.1-3.3.
    """
    key_search, key_start, key_final = jax.random.split(key, 3)
    folds, final = cast(folds, hybrid.network.dtype), cast(final, hybrid.network.dtype)
    space = _space(key_start, hybrid, final)
    method = optimize.METHODS[hybrid.method]
    config = replace(method.config, num_members=hybrid.num_members)

    @jax.jit  # traced once for the first swarm and for the steps
    @jax.vmap
    def fitness(key: Array, candidate: Any) -> Array:
        return _fitness(key, hybrid, candidate, space, folds)

    def evaluate_fn(key: Array, swarm: Any) -> Array:
        keys = jax.random.split(key, hybrid.num_members)
        if hybrid.common_start:
            keys = jnp.broadcast_to(key_start, keys.shape)
        return fitness(keys, swarm)

    found = optimize.run(key_search, method, evaluate_fn, space, hybrid.num_steps, config=config)
    best = _inside(space, found.candidate)
    hyper = _hyper(hybrid, best)
    start = key_start if hybrid.common_start else key_final
    params = _start(start, hybrid, hyper, best, final)
    training = _train(hybrid, params, hyper, final)
    fitted = predict_levels(hybrid, training.params, hyper.units, final)
    diverged = training.diverged | ~jnp.all(jnp.isfinite(fitted))
    status = jnp.where(jnp.isfinite(found.loss), jnp.where(diverged, 1, 0), 2)
    return Fitted(
        params=training.params,
        hyper=hyper,
        fitness=found.history,
        train_mape=training.metric,
        levels=fitted,
        num_evaluations=found.num_evaluations,
        status=status.astype(jnp.int8),
    )


def predict_levels(hybrid: Hybrid, params: Any, units: Array, task: Task) -> Array:
    """GRP of every year by a trained network, [year], money.

    Notes:
        Differentiable in params and in the task, hence in its factors.
    """
    outputs = predict(hybrid.network, params, task.x, units, hybrid.layout)
    return levels(task, outputs.astype(task.offset.dtype))


def train_fixed(key: Array, hybrid: Hybrid, hyper: Hyper, task: Task) -> tuple[Training, Array]:
    """Training with given hyper-parameters, no search, and the GRP of every year, [year], money."""
    task = cast(task, hybrid.network.dtype)
    params = init_network(key, hybrid.network, task.x.shape[-1], hyper.units, hybrid.layout)
    training = _train(hybrid, params, hyper, task)
    return training, predict_levels(hybrid, training.params, hyper.units, task)


def _fitness(
    key: Array, hybrid: Hybrid, candidate: Any, space: optimize.Space, folds: Task
) -> Array:
    """Mean MAPE of a candidate over the scored years of the folds, percent; NaN, which loses, where
    its training diverged."""
    candidate = _inside(space, candidate)
    hyper = _hyper(hybrid, candidate)

    def on_fold(task: Task) -> Array:
        params, diverged = _start(key, hybrid, hyper, candidate, task), jnp.zeros((), bool)
        if hybrid.search != "weights":
            training = _train(hybrid, params, hyper, task)
            params, diverged = training.params, training.diverged
        fitted = predict_levels(hybrid, params, hyper.units, task)
        return jnp.where(diverged, jnp.nan, weighted_mape(task.grp, fitted, task.score))

    return jnp.mean(jax.vmap(on_fold)(folds))


@partial(jax.jit, static_argnums=0)  # traced once for all folds, steps and the end
def _train(hybrid: Hybrid, params: Any, hyper: Hyper, task: Task) -> Training:
    # no weight on later years is not enough: an infinite output times 0 would be NaN
    x = jnp.where(task.after[:, None] > 0, 0.0, task.x)

    def loss_fn(params: Any) -> tuple[Array, Array]:
        outputs = predict(hybrid.network, params, x, hyper.units, hybrid.layout)
        fitted = levels(task, outputs)
        return (
            weighted_mse(task.y, outputs, task.weight),
            weighted_mape(task.grp, fitted, task.weight),
        )

    return train(
        params,
        loss_fn,
        hyper.learning_rate,
        hyper.epochs,
        hyper.weight_decay,
        max_epochs=hybrid.epochs[1],
        optimizer=hybrid.optimizer,
    )


def _start(key: Array, hybrid: Hybrid, hyper: Hyper, candidate: dict[str, Any], task: Task) -> Any:
    """Weights that training starts from: searched, or drawn."""
    if hybrid.search != "hyper":
        return candidate["weights"]
    return init_network(key, hybrid.network, task.x.shape[-1], hyper.units, hybrid.layout)


def _space(key: Array, hybrid: Hybrid, task: Task) -> optimize.Space:
    if hybrid.search != "hyper":
        units = _hyper(hybrid, {}).units
        params = init_network(key, hybrid.network, task.x.shape[-1], units, hybrid.layout)
        return optimize.box_around({"weights": params}, -hybrid.weight_limit, hybrid.weight_limit)
    dtype = jnp.dtype(hybrid.network.dtype)
    bounds = {name: hybrid._bounds()[name] for name in hybrid._free()}
    low, high = ({n: jnp.asarray(b[i], dtype) for n, b in bounds.items()} for i in (0, 1))
    return optimize.Space(low, high, {name: name in ("units", "epochs") for name in bounds})


def _inside(space: optimize.Space, candidate: Any) -> Any:
    """Nearest candidate of the box: the literal searches leave it, and no network has -3 units."""
    return jax.tree.map(jnp.clip, candidate, space.low, space.high)


def _hyper(hybrid: Hybrid, candidate: dict[str, Any]) -> Hyper:
    dtype = jnp.dtype(hybrid.network.dtype)

    def value(name: str) -> Array:
        return (
            candidate[name] if name in candidate else jnp.asarray(hybrid._bounds()[name][0], dtype)
        )

    return Hyper(
        units=value("units").astype(jnp.int32),
        learning_rate=10.0 ** value("log10_learning_rate"),
        epochs=value("epochs").astype(jnp.int32),
        weight_decay=10.0 ** value("log10_weight_decay"),
    )
