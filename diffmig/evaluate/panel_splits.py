"""Splits of a panel of towns and years into rows to fit and rows to score.

Rows of one town are alike, and so are neighbouring years of a smooth series: a split must keep
whole towns, or the future, away from the fit.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig.evaluate._arrays import check_count
from diffmig.programs import one_program
from diffmig.random import uniform_pair


class Splits(NamedTuple):
    """Rows to fit and rows to score, bool [run, town, year]; rows in neither are left out."""

    train: Array
    test: Array


def town_splits(
    key: Array, num_towns: int, num_years: int, *, num_runs: int, test_share: float = 0.2
) -> Splits:
    """Random splits by town: all years of a town are fitted or all are scored.

    Args:
        key: random key; run r is the same for any `num_runs`.
        num_towns, num_years: of the panel.
        num_runs: splits.
        test_share: towns to score, rounded, at least one and at most all but one.

    Returns:
        Splits.

    Raises:
        ValueError: fewer than 2 towns, a count < 1, or a share outside (0, 1).

    Notes:
        Towns near each other may be alike too: then towns left out by region are the fairer test.

    Source: Roberts et al., 2017, Cross-validation strategies for data with temporal, spatial,
    hierarchical, or phylogenetic structure, Ecography 40(8).
    """
    num_test = _num_test(num_towns, test_share)
    check_count(num_years, 1, "num_years")
    check_count(num_runs, 1, "num_runs")
    order = random_orders(key, num_runs, num_towns)
    shape = (num_runs, num_towns, num_years)
    test = jnp.broadcast_to((order < num_test)[:, :, None], shape)
    return Splits(~test, test)


def row_splits(
    key: Array, num_towns: int, num_years: int, *, num_runs: int, test_share: float = 0.2
) -> Splits:
    """Random splits by single row, which leak: scores of years beside fitted years of one town.

    Only to show by how much; arguments as `town_splits`.
    """
    splits = town_splits(key, num_towns * num_years, 1, num_runs=num_runs, test_share=test_share)
    shape = (num_runs, num_towns, num_years)
    return Splits(splits.train.reshape(shape), splits.test.reshape(shape))


def forward_splits(
    num_towns: int, num_years: int, *, num_initial: int, horizon: int = 1, gap: int = 0
) -> Splits:
    """Splits forward in time: fitted to all towns up to an origin, scored on the years after it.

    Args:
        num_towns, num_years: of the panel.
        num_initial: years fitted at the first origin.
        horizon: years scored.
        gap: years left out between them; a force smoothed over several years needs some.

    Returns:
        Splits, [origin, town, year], one per year that leaves a whole horizon.

    Raises:
        ValueError: no origin, a count < 1 or `gap` < 0.

    Source: Tashman, 2000, Out-of-sample tests of forecasting accuracy, International Journal of
    Forecasting 16(4).
    """
    for name, count in (("num_towns", num_towns), ("num_initial", num_initial)):
        check_count(count, 1, name)
    check_count(horizon, 1, "horizon")
    check_count(gap, 0, "gap")
    if num_initial + gap + horizon > num_years:
        raise ValueError(
            f"num_years: expected at least num_initial + gap + horizon = "
            f"{num_initial + gap + horizon}, got {num_years}"
        )
    ends = np.arange(num_initial, num_years - gap - horizon + 1)[:, None]
    year = np.arange(num_years)[None, :]
    train, test = year < ends, (year >= ends + gap) & (year < ends + gap + horizon)
    return _all_towns(train, test, num_towns)


def time_block_splits(num_towns: int, num_years: int, *, num_blocks: int, gap: int = 0) -> Splits:
    """Splits by block of years: every block is scored once, fitted to the others of all towns.

    Args:
        num_towns, num_years: of the panel.
        num_blocks: blocks of nearly equal length, >= 2.
        gap: years left out on either side of the scored block.

    Returns:
        Splits, [block, town, year]. A fit sees years after the scored ones: a test of the
        explanation, not of a forecast.

    Raises:
        ValueError: fewer than 2 blocks, more blocks than years, or a block without fitted years.
    """
    check_count(num_towns, 1, "num_towns")
    check_count(num_blocks, 2, "num_blocks")
    check_count(gap, 0, "gap")
    if num_blocks > num_years:
        raise ValueError(f"num_blocks: expected at most {num_years} years, got {num_blocks}")
    block = np.arange(num_years) * num_blocks // num_years
    test = block[None, :] == np.arange(num_blocks)[:, None]
    near = np.stack([np.convolve(row, np.ones(2 * gap + 1), "same")[:num_years] for row in test])
    if num_years < 2 * gap + 1 or (near > 0).all(axis=1).any():
        raise ValueError(f"gap: expected one that leaves years to fit, got {gap}")
    return _all_towns(near == 0, test, num_towns)


@one_program("num", "size")
def random_orders(key: Array, num: int, size: int) -> Array:
    """Random orders of `size` things, int32 [order, size]; the first do not depend on `num`."""
    draws, _ = uniform_pair(key, (num, size), jnp.result_type(float))
    return jnp.argsort(draws, axis=-1).astype(jnp.int32)


def _num_test(num_towns: int, test_share: float) -> int:
    check_count(num_towns, 2, "num_towns")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: expected a share in (0, 1), got {test_share}")
    return min(max(round(test_share * num_towns), 1), num_towns - 1)


def _all_towns(train: np.ndarray, test: np.ndarray, num_towns: int) -> Splits:
    def spread(rows: np.ndarray) -> Array:
        shape = (rows.shape[0], num_towns, rows.shape[1])
        return jnp.asarray(np.broadcast_to(rows[:, None, :], shape))

    return Splits(spread(train), spread(test))
