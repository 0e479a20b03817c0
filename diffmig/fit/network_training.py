"""Training of many small networks side by side, each on the rows of its problem and fold."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from diffmig.batching import batched_last
from diffmig.fit.cluster_networks import (
    LAYER_ACTIVATIONS,
    MAX_UNITS,
    Architecture,
    OutputRange,
    Weights,
    draw_starts,
    join_weights,
    network_outputs,
    output_range,
    split_weights,
)
from diffmig.fit.network_rows import FoldRows, Standardised, standardise
from diffmig.optimize import LbfgsConfig, minimise_in_lanes, solve_bfgs

NETWORK_STATUS = ("converged", "step limit reached", "diverged", "line search failed")
CONVERGED, STEP_LIMIT, DIVERGED, LINE_SEARCH_FAILED = range(4)
# what the words of `diffmig.optimize.STATUS` mean here
_WORDS = (CONVERGED, STEP_LIMIT, DIVERGED, LINE_SEARCH_FAILED, CONVERGED, LINE_SEARCH_FAILED)
_LANES = {"float64": 32, "float32": 64}  # whose states fit the cache: benchmarks/towns.py


@dataclass(frozen=True)
class NetworkSearchConfig:
    """Which networks are tried, how they are trained, and how the best are picked.

    Every combination of `hidden`, `hidden_activations`, `output_activations` and `l2` is trained
    from `starts` random starts: a candidate each.

    Attributes:
        hidden: hidden units.
        hidden_activations, output_activations: of `LAYER_ACTIVATIONS`.
        l2: weights of the sum of squared weights (biases left out) beside the mean squared error of
            the standardised target, 1; the paper has none.
        starts: random starts.
        selection: "leave-one-year-out" picks by the error on training years left out one at a time
            and trains the picked on all of them; "test-year" stops every training at its least
            error on the test rows and picks by that error, as the paper and STATISTICA do: the test
            year is then no measure of accuracy.
        keep: networks of the ensemble; with "leave-one-year-out" the starts of one architecture
            after the other.
        town_folds: folds of rows where there is a single training year to leave out.
        method: "lbfgs", all members in lockstep, or "bfgs", `diffmig.optimize.solve_bfgs` one after
            the other, as a reference.
        max_steps: tries of "lbfgs", rounded up to whole tens; iterations of "bfgs".
        tolerance: converged when no component of the gradient of the loss exceeds it, 1.
        memory: pairs of "lbfgs".
        output_margin: logistic and tanh outputs reach this share of the target's training range
            beyond it; None: bare activations of a standardised target.
        dtype: of weights and training.
        block: networks trained side by side on one device, the next one where one is done; None:
            32 in float64, 64 in float32, whose states fit the cache.
        num_widths: widths that hidden layers are padded to; each has a program of its own, which
            takes seconds to compile, and with two a long search of 1-11 units is a fifth faster.
    """

    hidden: tuple[int, ...] = tuple(range(1, 12))
    hidden_activations: tuple[str, ...] = LAYER_ACTIVATIONS
    output_activations: tuple[str, ...] = LAYER_ACTIVATIONS
    l2: tuple[float, ...] = (0.0, 0.01, 0.1)
    starts: int = 5
    selection: Literal["leave-one-year-out", "test-year"] = "leave-one-year-out"
    keep: int = 10
    town_folds: int = 5
    method: Literal["lbfgs", "bfgs"] = "lbfgs"
    max_steps: int = 200
    tolerance: float = 1e-4
    memory: int = 8
    output_margin: float | None = 0.1
    dtype: str = "float64"
    block: int | None = None
    num_widths: int = 1

    def __post_init__(self) -> None:
        block = 1 if self.block is None else self.block
        counts = (self.starts, self.keep, self.max_steps, self.memory, block, self.num_widths)
        if min(counts) < 1 or self.town_folds < 2 or not self.tolerance > 0:
            raise ValueError(f"expected counts >= 1, town_folds >= 2, tolerance > 0, got {self}")
        if not self.hidden or not 1 <= min(self.hidden) <= max(self.hidden) < MAX_UNITS:
            raise ValueError(
                f"hidden: expected numbers of units 1..{MAX_UNITS - 1}, got {self.hidden}"
            )
        for name in ("hidden_activations", "output_activations"):
            chosen = getattr(self, name)
            if not chosen or not set(chosen) <= set(LAYER_ACTIVATIONS):
                raise ValueError(f"{name}: expected some of {LAYER_ACTIVATIONS}, got {chosen}")
        if not self.l2 or not all(0 <= value < float("inf") for value in self.l2):
            raise ValueError(f"l2: expected numbers >= 0, got {self.l2}")
        if self.output_margin is not None and not 0 <= self.output_margin < float("inf"):
            raise ValueError(f"output_margin: expected >= 0 or None, got {self.output_margin}")
        if self.selection not in ("leave-one-year-out", "test-year"):
            raise ValueError(
                f"selection: expected leave-one-year-out or test-year, got {self.selection!r}"
            )
        if self.dtype not in ("float64", "float32"):
            raise ValueError(f"dtype: expected float64 or float32, got {self.dtype!r}")
        if self.method not in ("lbfgs", "bfgs"):
            raise ValueError(f"method: expected lbfgs or bfgs, got {self.method!r}")
        if self.method == "bfgs" and self.selection == "test-year":
            raise ValueError(
                "selection 'test-year' stops inside the iterations, which bfgs does not show: use "
                "method 'lbfgs'"
            )


class Candidates(NamedTuple):
    """Networks of a search, leaves [candidate].

    Attributes:
        architecture: units and activations.
        l2: penalty, 1.
        start: number of the random start, int32.
    """

    architecture: Architecture
    l2: Any
    start: Any


class Blocks(NamedTuple):
    """Trainings that share the lanes of a device, leaves int32.

    Attributes:
        problem, fold: [block].
        candidate: [block, member].
    """

    problem: Any
    fold: Any
    candidate: Any


class Trained(NamedTuple):
    """Outcome of blocks.

    Attributes:
        flat: weights, [block, weight, member].
        train_error, score_error: mean squared errors, unit of the target squared, [block, member];
            0 without rows to score.
        status: int8 [block, member], index into `NETWORK_STATUS`.
    """

    flat: Any
    train_error: Any
    score_error: Any
    status: Any


def members_loss(
    flat: Array, members: Candidates, reach: OutputRange, rows: Standardised
) -> tuple[Array, Array]:
    """Loss and error on the rows to score of every member, [member].

    loss = sum_r train_r (net(z_r) - target_r)^2 + l2 * (sum of squared weights without biases)

    Args:
        flat: weights, [weight, member].
        members: candidates, leaves [member].
        reach: of their outputs.
        rows: of the fold.
    """
    weights = split_weights(flat, rows.z.shape[1])
    return _loss(weights, members, reach, rows)


def _loss(weights: Weights, members: Candidates, reach: OutputRange, rows: Standardised) -> Any:
    outputs = network_outputs(weights, members.architecture, reach, rows.z)
    squares = (outputs - rows.target[:, None]) ** 2
    decay = jnp.sum(weights.first[:, 1:] ** 2, axis=(0, 1)) + jnp.sum(weights.second**2, axis=0)
    return rows.train @ squares + members.l2 * decay, rows.score @ squares


@partial(jax.jit, static_argnames=("config", "width", "num_rows", "mesh"))
def train_blocks(
    key: Array,
    rows: FoldRows,
    candidates: Candidates,
    blocks: Blocks,
    *,
    config: NetworkSearchConfig,
    width: int,
    num_rows: int,
    mesh: Mesh | None,
) -> Trained:
    """Networks trained block after block, until all have converged, failed or reached the limit.

    Args:
        key: of the starts, which are the same for all problems and folds.
        rows: of all problems.  candidates: of the search.  blocks: what to train.
        config: of the training (`training_only`).
        width: padded hidden units.
        num_rows: most training rows that a fold has.
        mesh: devices that share the blocks.
    """

    def train_block(block: Blocks) -> Trained:
        problem, fold = block.problem[0], block.fold[0]
        members: Candidates = jax.tree.map(lambda leaf: leaf[block.candidate[:, 0]], candidates)
        fold_rows = (rows.x[problem], rows.y[problem], rows.train[problem, fold])
        own = standardise(*fold_rows, rows.score[problem, fold], jnp.dtype(config.dtype))
        done = _train(key, members, own, config=config, width=width, num_rows=num_rows)
        return jax.tree.map(lambda leaf: leaf[..., None], done)

    last = jax.tree.map(lambda leaf: jnp.moveaxis(jnp.asarray(leaf), 0, -1), blocks)
    done = batched_last(train_block, last, block=1, mesh=mesh)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), done)


def training_only(config: NetworkSearchConfig) -> NetworkSearchConfig:
    """`config` with what does not concern a training set to one value, so that searches share their
    programs."""
    return replace(
        config, hidden=(1,), hidden_activations=("tanh",), output_activations=("identity",),
        l2=(0.0,), starts=1, keep=1, town_folds=2, num_widths=1,
    )  # fmt: skip


def _train(
    key: Array,
    members: Candidates,
    rows: Standardised,
    *,
    config: NetworkSearchConfig,
    width: int,
    num_rows: int,
) -> Trained:
    num_factors = rows.z.shape[1]
    reach = output_range(
        rows.target, rows.train > 0, members.architecture.output, config.output_margin
    )
    start = draw_starts(
        key, members.architecture, members.start, (width, num_factors), rows.z.dtype
    )
    stops = config.selection == "test-year"
    used = rows
    if not stops:  # rows to score wait until the end
        chosen = jnp.argsort(rows.train == 0, stable=True)[:num_rows]
        seen = rows.train[chosen] > 0
        used = rows._replace(
            # no weight is not enough: what is not finite times 0 would be NaN
            z=jnp.where(seen[:, None], rows.z[chosen], 0.0),
            target=rows.target[chosen],
            train=rows.train[chosen],
            score=rows.score[chosen],
        )
    if config.method == "bfgs":
        flat, status = _one_after_the_other(start, members, reach, used, config)
    else:
        flat, status = _in_lanes(start, members, reach, used, config)
    words = jnp.asarray(_WORDS, jnp.int8)[status]
    weights = split_weights(flat, num_factors)
    outputs = network_outputs(weights, members.architecture, reach, rows.z)
    squares = (outputs - rows.target[:, None]) ** 2
    train_error, score_error = (
        jnp.sum(jnp.where(share[:, None] > 0, share[:, None] * squares, 0.0), axis=0)
        for share in (rows.train, rows.score)
    )
    unit = (rows.spread**2).astype(train_error.dtype)
    return Trained(
        flat=flat,
        train_error=unit * train_error,
        score_error=unit * score_error,
        status=jnp.where(jnp.isfinite(train_error), words, jnp.int8(DIVERGED)),
    )


def _in_lanes(
    start: Array,
    members: Candidates,
    reach: OutputRange,
    rows: Standardised,
    config: NetworkSearchConfig,
) -> tuple[Array, Array]:
    """Weights and status after L-BFGS; with a test year, the weights of the least error there."""
    num_factors = rows.z.shape[1]

    def evaluate(
        flat: Array, constants: tuple[Candidates, OutputRange]
    ) -> tuple[Array, Array, Array]:
        # by the parts: the derivative of a part of an array is an array of zeros around it
        def total(weights: Weights) -> tuple[Array, tuple[Array, Array]]:
            loss, score = _loss(weights, *constants, rows)
            return jnp.sum(jnp.where(jnp.isfinite(loss), loss, 0.0)), (loss, score)

        weights = split_weights(flat, num_factors)
        (_, (loss, score)), gradient = jax.value_and_grad(total, has_aux=True)(weights)
        return loss, join_weights(gradient), score

    done = minimise_in_lanes(
        start.T,
        (members, reach),
        evaluate,
        num_lanes=config.block or _LANES[config.dtype],
        max_tries=config.max_steps,
        config=LbfgsConfig(memory=config.memory, tolerance=config.tolerance),
        by_score=config.selection == "test-year",
    )
    return done.point.T, done.status


def _one_after_the_other(
    start: Array,
    members: Candidates,
    reach: OutputRange,
    rows: Standardised,
    config: NetworkSearchConfig,
) -> tuple[Array, Array]:
    """Weights and status after BFGS of jax.scipy."""

    def solve(one: tuple[Array, Candidates, OutputRange]) -> tuple[Array, Array]:
        flat, member, own = jax.tree.map(lambda leaf: leaf[..., None], one)
        found = solve_bfgs(
            lambda flat: members_loss(flat[:, None], member, own, rows)[0][0],
            flat.T,
            tolerance=config.tolerance,
            max_iterations=config.max_steps,
        )
        return found.candidate[0], found.status[0]

    flat, status = lax.map(solve, (start.T, members, reach))
    return flat.T, status
