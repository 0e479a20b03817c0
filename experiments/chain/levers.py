"""The inverse question: least spending that lifts the balance of the horizon."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import explain
from experiments.chain.config import Config
from experiments.chain.economy import BALANCE, Response
from experiments.chain.inputs import Inputs

TURNS = 4  # the response is nearly linear


class Least(NamedTuple):
    """Least spending that lifts the balance of the horizon.

    Attributes:
        change: million, [line, year after the data].
        attained: by a forward run, persons a year.
        most: the same with every line at its bound.
        status: index into `explain.PATH_STATUS`.
    """

    change: np.ndarray
    attained: float
    most: float
    status: int


def movable(config: Config, inputs: Inputs) -> np.ndarray:
    """Lines that a budget decides on: with spending in its last year, payers not frozen, [line]."""
    spent = np.asarray(inputs.amounts[:, -1]) > 0
    return spent & [payer not in config.frozen_payers for payer in inputs.budget.payers]


def least(
    config: Config, inputs: Inputs, amounts: np.ndarray, respond_fn: Callable[[Array], Response]
) -> Least:
    """Least money by the linear rule, its gradient renewed where the last answer lies.

    Args:
        config, inputs: of the study.
        amounts: spending of the years after the data, [line, year].
        respond_fn: further spending [line, year] -> Response.
    """
    moving = movable(config, inputs).astype(float)
    high = jnp.asarray(config.lift_bound * moving[:, None] * amounts)
    low, cost = jnp.zeros_like(high), jnp.ones_like(high)
    cheapest = jax.jit(explain.least_cost)
    made = respond_fn(low)
    before, change = made.outputs[BALANCE], low
    for _ in range(TURNS):
        gradient = made.effects[BALANCE]
        needed = config.lift - (made.outputs[BALANCE] - before) + jnp.sum(gradient * change)
        found = cheapest(gradient, cost, low, high, needed)
        change = found.change
        made = respond_fn(change)
    return Least(
        change=np.asarray(change),
        attained=float(made.outputs[BALANCE] - before),
        most=float(respond_fn(high).outputs[BALANCE] - before),
        status=int(found.status),
    )
