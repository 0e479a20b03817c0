"""Search over architectures and starts: every candidate on every fold, the best kept."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig.fit.cluster_networks import (
    LAYER_ACTIVATIONS,
    Architecture,
    NetworkEnsemble,
    output_range,
    split_weights,
)
from diffmig.fit.network_rows import prepare_rows, standardise
from diffmig.fit.network_training import (
    DIVERGED,
    Blocks,
    Candidates,
    NetworkSearchConfig,
    Trained,
    train_blocks,
    training_only,
)
from diffmig.fit.stages import RunStage, run_rows, run_stage
from diffmig.programs import as_array

_MOST_IN_BLOCK = 512  # candidates that share the lanes of a device, one after the other
NETWORKS_AS_DESCRIBED = NetworkSearchConfig(selection="test-year", l2=(0.0,), keep=1)


class NetworkSearch(NamedTuple):
    """Outcome of a search; a problem is a cluster of towns and the year that is forecast.

    Attributes:
        candidates: what was tried, leaves [candidate], NumPy.
        train_error: mean squared error on all training rows, trained on them, [problem, candidate],
            unit of y squared.
        selection_error: mean squared error that the best were picked by, [problem, candidate]: on
            the years left out, mean over the starts of the architecture; or, with "test-year", the
            candidate's own on the test rows. Infinite where it failed.
        test_error: mean squared error on the test rows, [problem, candidate]; 0 where there are
            none. With "test-year" it is the selection error, and no measure of accuracy.
        status: int8 [problem, candidate], index into `NETWORK_STATUS`, of the training on all
            training rows.
        kept: numbers of the candidates of the ensemble, the best first, [problem, member].
        ensemble: the kept networks, leaves [problem, ...].
    """

    candidates: Candidates
    train_error: np.ndarray
    selection_error: np.ndarray
    test_error: np.ndarray
    status: np.ndarray
    kept: np.ndarray
    ensemble: NetworkEnsemble


def search_networks(
    key: Array,
    x: ArrayLike,
    y: ArrayLike,
    year: ArrayLike,
    train: ArrayLike,
    test: ArrayLike | None = None,
    *,
    config: NetworkSearchConfig | None = None,
    name: str = "networks",
    stage_fn: RunStage = run_stage,
    blocks_per_chunk: int = 8,
    mesh: Mesh | None = None,
) -> NetworkSearch:
    """The best networks of every problem, found by training all candidates on its rows.

    Args:
        key: random key of the starts, which all problems share.
        x: factors, [problem, row, factor]; a row is a town in a year. Problems with fewer rows are
            filled with rows in neither mask, which may hold anything.
        y: target, [problem, row], any unit.
        year: of every row, int [problem, row].
        train: rows to train on, bool [problem, row].
        test: rows of the year that is forecast, bool [problem, row]; only scored, unless
            `config.selection` is "test-year". None: no such rows.
        config: candidates, training, selection.
        name, stage_fn: stages of the experiment and what runs them (report's form saves and
            resumes); the padded width is added to the name.
        blocks_per_chunk: blocks, of at most 512 candidates for a problem and fold, in one compiled
            call.
        mesh: devices that share a chunk.

    Returns:
        NetworkSearch. A candidate whose loss or error is not finite has status "diverged" and is
        never kept; where fewer than `config.keep` are finite, the best one stands in for the rest.

    Raises:
        ValueError: shapes, no or too few training rows (also with a year left out), a constant
            target, values that are not finite, rows both trained on and tested, no test rows for
            "test-year".

    Notes:
        "leave-one-year-out" trains every candidate once for each training year left out (for
        `config.town_folds` parts of the rows, if there is a single one) and once on all of them,
        always from the same start. It picks architectures, with all their starts, best first: in
        synthetic panels of 14 training rows a start that was lucky on a year left out erred up to
        seven times as much in the next as the least mean over starts did. Baselines on the same
        rows: `fit_regression(key, ridge(), x, y, train)`; one more problem with the rows of all
        clusters is the pooled network; last value and AR(1) are in `diffmig.evaluate`.

    Source: Mishchenko, Krayushkin, Mezhov, Bianchi (2024), section on the training of networks
        (one network per cluster, BFGS until the least error on the test sample).
    """
    config = NetworkSearchConfig() if config is None else config
    if jax.dtypes.canonicalize_dtype(config.dtype) != np.dtype(config.dtype):
        raise ValueError(f"dtype: {config.dtype} needs jax_enable_x64; enable it or take float32")
    leave_out = config.selection == "leave-one-year-out"
    rows, exists = prepare_rows(
        x, y, year, train, test, leave_out=leave_out, town_folds=config.town_folds
    )
    candidates = _candidates(config)
    num_problems, num_candidates = rows.y.shape[0], candidates.start.size
    shape = (num_problems, num_candidates)
    flat = np.zeros((*shape, _size(max(config.hidden), rows.x.shape[-1])), config.dtype)
    train_error, test_error, left_out = (np.zeros(shape) for _ in range(3))
    status = np.zeros(shape, np.int8)
    num_scored = rows.score.sum(axis=-1)
    num_rows = int(rows.train.sum(axis=-1).max())
    arrays = jax.tree.map(as_array, (rows, candidates))
    num_devices = 1 if mesh is None else mesh.size
    # few problems: every device gets a part of each
    num_parts = num_devices if num_problems < 4 * num_devices else 1
    for width, table in _tables(candidates, config, num_parts):
        train_fn = partial(
            train_blocks, key, *arrays, config=training_only(config), width=width,
            num_rows=num_rows, mesh=mesh,
        )  # fmt: skip
        # as many blocks in a call as the smaller of the two stages has: one program serves both
        chunk = min(blocks_per_chunk, num_problems * len(table))
        stage = partial(run_rows, rows_per_chunk=chunk, stage_fn=stage_fn, mesh=mesh)
        blocks = _blocks(exists, table, final=True)
        done = stage(f"{name}-{width}-units", train_fn, blocks)
        place: Any = (blocks.problem[:, None], blocks.candidate)
        train_error[place], test_error[place] = done.train_error, done.score_error
        status[place] = done.status
        flat[(*place, slice(_size(width, rows.x.shape[-1])))] = np.moveaxis(done.flat, 1, -1)
        blocks = _blocks(exists, table, final=False)
        if len(blocks.fold):
            errors_fn = partial(_errors, train_fn)
            error = stage(f"{name}-{width}-units-left-out", errors_fn, blocks)
            for number, fold in enumerate(blocks.fold):  # copies that fill a block count once
                place = (blocks.problem[number], blocks.candidate[number])
                share = num_scored[place[0], fold] / num_scored[place[0], 1:].sum()
                left_out[place] = left_out[place] + share * error[number]
    own = np.where(np.isfinite(train_error), left_out if leave_out else test_error, np.inf)
    selection = np.where(np.isfinite(own), own, np.inf)
    if leave_out:  # the starts of an architecture stand side by side
        by_start = selection.reshape(num_problems, -1, config.starts)
        selection = np.repeat(by_start.mean(axis=-1), config.starts, axis=-1)
    kept = _best(selection, min(config.keep, num_candidates))
    return NetworkSearch(
        candidates=candidates,
        train_error=train_error,
        selection_error=selection,
        test_error=test_error,
        status=np.where(np.isfinite(own), status, np.int8(DIVERGED)),
        kept=kept,
        ensemble=_ensemble(
            (rows.x, rows.y, rows.train[:, 0]),
            jax.tree.map(lambda leaf: leaf[kept], candidates.architecture),
            np.swapaxes(np.take_along_axis(flat, kept[:, :, None], axis=1), 1, 2),
            margin=config.output_margin,
        ),
    )


def _errors(train_fn: Callable[[Blocks], Trained], blocks: Blocks) -> Array:
    return train_fn(blocks).score_error


def _size(width: int, num_factors: int) -> int:
    return 1 + width * (num_factors + 2)


def _candidates(config: NetworkSearchConfig) -> Candidates:
    """Every combination, activations outermost and starts innermost."""
    kinds = [
        [LAYER_ACTIVATIONS.index(word) for word in dict.fromkeys(words)]
        for words in (config.hidden_activations, config.output_activations)
    ]
    sizes, penalties = sorted(set(config.hidden)), sorted(set(config.l2))
    every = product(*kinds, sizes, penalties, range(config.starts))
    hidden, output, units, l2, start = (np.array(column) for column in zip(*every, strict=True))
    kind = np.int32
    architecture = Architecture(units.astype(kind), hidden.astype(kind), output.astype(kind))
    return Candidates(architecture, l2.astype(config.dtype), start.astype(kind))


def _tables(
    candidates: Candidates, config: NetworkSearchConfig, num_parts: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Padded widths, each with the numbers of its candidates, [block, member].

    The number of blocks is a multiple of `num_parts`. Every block has candidates of all kinds,
    those that take longest first, so that devices and lanes end at about the same time; the last
    ones may be copies.
    """
    units = candidates.architecture.units
    sizes = sorted(set(config.hidden))
    least = 0
    for width in _widths(tuple(sizes), config.num_widths):
        members = np.flatnonzero((units > least) & (units <= width))[::-1]
        least = width
        num_blocks = -(-members.size // (_MOST_IN_BLOCK * num_parts)) * num_parts
        size = -(-members.size // num_blocks)
        filled = np.minimum(np.arange(num_blocks * size), members.size - 1)
        yield width, members[filled].reshape(size, num_blocks).T


def _widths(sizes: tuple[int, ...], number: int) -> tuple[int, ...]:
    """At most `number` of the sizes, the largest among them, that pad the least."""

    def padded(widths: tuple[int, ...]) -> int:
        return sum(min(w for w in widths if w >= size) for size in sizes)

    chosen = combinations(sizes[:-1], min(number, len(sizes)) - 1)
    return min(((*some, sizes[-1]) for some in chosen), key=padded)


def _blocks(exists: np.ndarray, table: np.ndarray, *, final: bool) -> Blocks:
    """All blocks of candidates for the fold that leaves nothing out, or for all others."""
    pairs = np.argwhere(exists)
    pairs = pairs[(pairs[:, 1] == 0) == final].astype(np.int32)
    problem, fold = np.repeat(pairs, len(table), axis=0).T
    return Blocks(problem, fold, np.tile(table.astype(np.int32), (len(pairs), 1)))


def _best(error: np.ndarray, number: int) -> np.ndarray:
    """Candidates of least error, [problem, member], the best in the place of failed ones."""
    order = np.argsort(error, axis=1, stable=True)[:, :number]
    failed = ~np.isfinite(np.take_along_axis(error, order, axis=1))
    return np.where(failed, order[:, :1], order)


@partial(jax.jit, static_argnames="margin")
def _ensemble(
    rows: tuple[Array, Array, Array], architecture: Architecture, flat: Array, *, margin: Any
) -> NetworkEnsemble:
    """Kept networks with the scalers of their problem: rows x, y, train and flat weights [problem,
    weight, member]."""

    def of_problem(
        rows: tuple[Array, Array, Array], architecture: Architecture, flat: Array
    ) -> NetworkEnsemble:
        x, y, train = rows
        own = standardise(x, y, train, train, flat.dtype)
        reach = output_range(own.target, train, architecture.output, margin)
        weights = split_weights(flat, x.shape[-1])
        return NetworkEnsemble(weights, architecture, reach, own.inputs, own.center, own.spread)

    return jax.vmap(of_problem)(rows, architecture, flat)
