"""Rows of a search for networks: folds that leave years out, standardised, checked."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.data import Scaler, fit_standard, scale


class FoldRows(NamedTuple):
    """Rows of all problems; those that are never used hold zeros.

    Attributes:
        x: factors, [problem, row, factor].
        y: target, [problem, row].
        train, score: rows of a fold, bool [problem, fold, row].
    """

    x: Any
    y: Any
    train: Any
    score: Any


class Standardised(NamedTuple):
    """Rows of a fold in units of its training rows, and back.

    Attributes:
        z: factors, [row, factor].  target: [row].
        train, score: shares of the rows in the two errors, [row].
        inputs: scaler of the factors.
        center, spread: of the target, [].
    """

    z: Array
    target: Array
    train: Array
    score: Array
    inputs: Scaler
    center: Array
    spread: Array


def standardise(x: Array, y: Array, train: Array, score: Array, dtype: Any) -> Standardised:
    """Rows [row, factor] and [row] scaled by the training rows alone."""
    inputs, own = fit_standard(x, train), fit_standard(y[:, None], train)
    z, target = scale(inputs, x).astype(dtype), scale(own, y[:, None])[:, 0].astype(dtype)
    z = jnp.where((train | score)[:, None], z, 0.0)
    train_share, score_share = (
        seen.astype(dtype) / jnp.maximum(jnp.sum(seen), 1).astype(dtype) for seen in (train, score)
    )
    return Standardised(z, target, train_share, score_share, inputs, own.center[0], own.spread[0])


def prepare_rows(
    x: ArrayLike,
    y: ArrayLike,
    year: ArrayLike,
    train: ArrayLike,
    test: ArrayLike | None,
    *,
    leave_out: bool,
    town_folds: int,
) -> tuple[FoldRows, np.ndarray]:
    """Rows of all folds, NumPy, and which folds a problem has, bool [problem, fold].

    Fold 0 trains on all training rows and scores the test rows. With `leave_out` each further one
    leaves out, and scores, the rows of a training year, or one of `town_folds` parts of the rows
    where there is a single year.

    Args, Raises: as `diffmig.fit.search_networks`.
    """
    x, y, year, train = (np.asarray(array) for array in (x, y, year, train))
    test = np.zeros_like(train) if test is None else np.asarray(test)
    _check(x, y, year, train, test, leave_out)
    used = train | test
    x, y = np.where(used[..., None], x, 0.0), np.where(used, y, 0.0)
    left_out: list[list[np.ndarray]] = []
    for number in range(len(y)):
        left_out.append([])
        if leave_out:
            left_out[-1] = _left_out(year[number], train[number], town_folds)
            _check_folds(number, year[number], train[number], left_out[-1])
    num_folds = 1 + max(map(len, left_out))
    trained, scored = (np.zeros((len(y), num_folds, y.shape[1]), bool) for _ in range(2))
    exists = np.zeros((len(y), num_folds), bool)
    for number, parts in enumerate(left_out):
        for fold, part in enumerate([test[number], *parts]):
            trained[number, fold] = train[number] & ~part
            scored[number, fold] = part
            exists[number, fold] = True
    return FoldRows(x, y, trained, scored), exists


def _left_out(year: np.ndarray, train: np.ndarray, town_folds: int) -> list[np.ndarray]:
    """Training rows of each year, or of each part of the towns where there is one year."""
    years = np.unique(year[train])
    if len(years) > 1:
        return [train & (year == one) for one in years]
    number = np.cumsum(train) - 1
    return [train & (number % town_folds == k) for k in range(min(town_folds, int(train.sum())))]


def _check(
    x: np.ndarray,
    y: np.ndarray,
    year: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    leave_out: bool,
) -> None:
    shapes = [array.shape for array in (y, year, train, test)]
    if x.ndim != 3 or 0 in x.shape or any(shape != x.shape[:2] for shape in shapes):
        raise ValueError(
            "expected x [problem, row, factor] and y, year, train, test [problem, row], got "
            f"{x.shape} and {shapes}; a single problem is x[None]"
        )
    kinds = [array.dtype.kind for array in (x, y, year, train, test)]
    if kinds != ["f", "f", kinds[2], "b", "b"] or kinds[2] not in "iu" or x.dtype != y.dtype:
        raise ValueError(
            "expected floating x and y of one dtype, integer years and boolean train and test, got "
            f"{[str(array.dtype) for array in (x, y, year, train, test)]}"
        )
    if (train & test).any():
        raise ValueError(
            f"train and test: problem {np.argwhere(train & test)[0, 0]} has rows in both"
        )
    if not leave_out and not test.any(axis=1).all():
        missing = np.flatnonzero(~test.any(axis=1))[0]
        raise ValueError(f"test: problem {missing} has no test rows to select by")
    bad = (train | test) & ~(np.isfinite(y) & np.isfinite(x).all(axis=-1))
    if bad.any():
        raise ValueError(
            "x and y: expected finite values in all rows used, got others in problem, row "
            f"{np.argwhere(bad)[0].tolist()}; fill them or take the row out of the masks"
        )
    for number in range(len(y)):
        own = y[number][train[number]]
        if own.size < 2:
            raise ValueError(
                f"train: problem {number} has {own.size} training rows, expected at least 2"
            )
        if np.ptp(own) == 0:
            raise ValueError(
                f"y: the target of problem {number} is {own[0]} in all training rows: there is "
                "nothing to learn"
            )


def _check_folds(
    number: int, year: np.ndarray, train: np.ndarray, left_out: list[np.ndarray]
) -> None:
    for part in left_out:
        rest = int((train & ~part).sum())
        if rest < 2:
            raise ValueError(
                f"train: problem {number} keeps {rest} training rows when the year "
                f"{year[part][0]} (or a part of the towns) is left out, expected at least 2; train "
                "on more rows or choose selection 'test-year'"
            )
