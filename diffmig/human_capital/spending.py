"""Budget lines with age brackets to sources per head, with exact closure.

Arrays are [line, year, ...] for amounts, [year, age, ...] for population and [year, age,
component, ...] for sources, any batch axes (region, scenario) behind.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig.data import OPEN_AGE, Budget


class Lines(NamedTuple):
    """Whom the lines of a budget serve, and what they build.

    Attributes:
        brackets: 1 where a line serves an age, [line, age].
        membership: 1 where a line builds a component, [component, line].
    """

    brackets: Array
    membership: Array


def budget_lines(budget: Budget, num_ages: int, components: Sequence[str] | None = None) -> Lines:
    """Brackets and membership of a budget's lines.

    Ages "a to b" are completed years, the bracket [a, b + 1) of exact ages; an open line serves
    every age from a on.

    Args:
        budget: the lines.
        num_ages: ages 0 to num_ages - 1 of the grid.
        components: their order in `membership`; None takes the order in which they first occur.

    Raises:
        ValueError: a bracket that is not inside the grid, or a component that is not among
            `components`.

    Source: Vavilova, Ketova (2020), table.
    """
    names = tuple(components or dict.fromkeys(budget.components))
    unknown = sorted(set(budget.components) - set(names))
    if unknown:
        raise ValueError(f"components: expected some of {names}, the budget has {unknown} too")
    last = np.where(budget.last_ages == OPEN_AGE, num_ages - 1, budget.last_ages)
    for line, first, end in zip(budget.lines, budget.first_ages, last, strict=True):
        if not 0 <= first <= end < num_ages:
            raise ValueError(
                f"{line}: ages {first} to {end} are not inside 0 to {num_ages - 1}, the ages of "
                "the population; correct the bracket, or leave its end open"
            )
    ages = np.arange(num_ages)
    brackets = (ages >= budget.first_ages[:, None]) & (ages <= last[:, None])
    membership = np.array(names)[:, None] == np.array(budget.components)[None, :]
    return Lines(jnp.asarray(brackets, float), jnp.asarray(membership, float))


def interpolate_amounts(
    amounts: Array,
    printed_years: np.ndarray,
    years: np.ndarray,
    *,
    rule: Literal["log-linear", "linear"] = "log-linear",
) -> Array:
    """Amounts of every year between the printed ones.

    E(t) = E_0^{1 - x} E_1^x, x = (t - t_0) / (t_1 - t_0); linear where E_0 or E_1 is 0

    Args:
        amounts: [line, printed year, ...], >= 0, in comparable prices or in prices of each year.
        printed_years: ascending, [printed year].
        years: wanted, inside the printed ones, [year].
        rule: "linear" is linear throughout.

    Returns:
        [line, year, ...], equal to `amounts` in printed years.

    Raises:
        ValueError: shapes that do not fit, a year outside the printed ones, an unknown rule.

    Notes:
        A reconstruction: the paper prints five years and used nineteen. Differentiable.
    """
    printed_years, years = np.asarray(printed_years), np.asarray(years)
    if amounts.ndim < 2 or amounts.shape[1] != printed_years.size:
        raise ValueError(
            f"amounts: expected [line, {printed_years.size} printed years, ...], got "
            f"{amounts.shape}"
        )
    if (np.diff(printed_years) <= 0).any():
        raise ValueError(f"printed_years: expected ascending years, got {printed_years}")
    if years.min() < printed_years[0] or years.max() > printed_years[-1]:
        raise ValueError(
            f"years: expected {printed_years[0]} to {printed_years[-1]}, got {years.min()} to "
            f"{years.max()}; outside the printed years a forecast is needed"
        )
    if rule not in ("log-linear", "linear"):
        raise ValueError(f"rule: expected log-linear or linear, got {rule!r}")
    if printed_years.size == 1:
        return amounts
    left = np.clip(np.searchsorted(printed_years, years, "right") - 1, 0, printed_years.size - 2)
    gap = printed_years[left + 1] - printed_years[left]
    share = ((years - printed_years[left]) / gap).astype(amounts.dtype)
    return _between(amounts, left, share, rule)


def source_per_head(amounts: Array, lines: Lines, population: Array) -> Array:
    """Spending per head and year by age and component.

    s_i(t, tau) = sum over lines of i: E(t) 1[bracket](tau) / int_bracket rho(t, .)

    Args:
        amounts: E, money per year in comparable prices, [line, year, ...], >= 0.
        lines: from `budget_lines`.
        population: mean annual persons by completed age, [year, age, ...], axes behind as those of
            `amounts`.

    Returns:
        s, money per person and year, [year, age, component, ...].

    Raises:
        ValueError: shapes that do not fit; where not traced: an amount that is negative or not
            finite, a population that is negative, or nobody in a bracket on which money is spent.

    Notes:
        int s rho dtau = E to round-off: see `closure_residual`. Linear in `amounts`,
        differentiable in both.

    Source: Vavilova, Ketova (2020), s_i and p_i of eq (3); specification of the closure by
    diffmig.
    """
    num_lines, num_ages = lines.brackets.shape
    if amounts.shape[0] != num_lines or population.shape[1:2] != (num_ages,):
        raise ValueError(
            f"expected amounts [{num_lines} lines, year, ...] and population [year, {num_ages} "
            f"ages, ...], got {amounts.shape} and {population.shape}"
        )
    if (population.shape[0], *population.shape[2:]) != amounts.shape[1:]:
        raise ValueError(
            f"expected equal years and batch axes, got {amounts.shape} for amounts and "
            f"{population.shape} for population"
        )
    served = jnp.einsum("la,ya...->ly...", lines.brackets, population)
    _check_values(amounts, population, served)
    someone = served > 0
    rate = jnp.where(someone, amounts / jnp.where(someone, served, 1.0), 0.0)
    # line by line into components first: [component, line] is sparse and small
    return jnp.einsum("cl,la,ly...->yac...", lines.membership, lines.brackets, rate)


def closure_residual(source: Array, amounts: Array, lines: Lines, population: Array) -> Array:
    """int s rho dtau - E by component, money per year, [year, component, ...]; 0 to round-off.

    Arguments as in `source_per_head`, `source` its result.
    """
    spent = jnp.einsum("yac...,ya...->yc...", source, population)
    return spent - jnp.einsum("cl,ly...->yc...", lines.membership, amounts)


def _check_values(amounts: Array, population: Array, served: Array) -> None:
    if any(isinstance(array, jax.core.Tracer) for array in (amounts, population, served)):
        return
    for name, array in (("amounts", amounts), ("population", population)):
        bad = ~(np.isfinite(array) & (np.asarray(array) >= 0))
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"{name}: expected finite values >= 0, got {np.asarray(array)[at]} at {at}"
            )
    empty = (np.asarray(served) == 0) & (np.asarray(amounts) > 0)
    if empty.any():
        line, year = (int(i) for i in np.argwhere(empty)[0][:2])
        raise ValueError(
            f"line {line} spends in year {year} on ages without population; correct its bracket "
            "or the population"
        )


@partial(jax.jit, static_argnames="rule")
def _between(amounts: Array, left: np.ndarray, share: np.ndarray, rule: str) -> Array:
    """Amounts [line, year, ...] at the `share` [year] of the way from printed year `left`."""
    share = share.reshape((1, -1) + (1,) * (amounts.ndim - 2))
    first, last = amounts[:, left], amounts[:, left + 1]
    linear = (1.0 - share) * first + share * last
    if rule == "linear":
        return linear
    grows = (first > 0) & (last > 0)
    safe_first, safe_last = jnp.where(grows, first, 1.0), jnp.where(grows, last, 1.0)
    geometric = jnp.exp((1.0 - share) * jnp.log(safe_first) + share * jnp.log(safe_last))
    # exactly the printed amount in printed years, where exp(log E) has its own rounding
    at_left, at_right = share == 0, share == 1
    return jnp.where(grows & ~at_left & ~at_right, geometric, linear)
