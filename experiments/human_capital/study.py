"""The experiment as one function of its inputs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from diffmig import human_capital as hc
from experiments.human_capital.assumptions import assumption_frame, participation_frame
from experiments.human_capital.config import Config
from experiments.human_capital.economy import (
    build_region,
    calibrate_regions,
    comparable_amounts,
    component_shares,
    components,
    make_parameters,
    price_factor,
)
from experiments.human_capital.hold_outs import HoldOut, hold_out
from experiments.human_capital.inputs import Inputs
from experiments.human_capital.investment import PRIMARY, Investment, invest
from experiments.human_capital.people import People, account_for
from experiments.human_capital.worth import Worth, worth

HELD = "spending held in comparable prices"
DIVERGED = fit.PERCEPTRON_STATUS.index("diverged")


class Ahead(NamedTuple):
    """H of all years under forecast spending.

    Attributes:
        total: million, [draw, year], the network's spending and the calibration's parameters drawn.
        per_inhabitant: money per person, likewise.
        held: million, with the spending of the last year for ever, [year].
    """

    total: np.ndarray
    per_inhabitant: np.ndarray
    held: np.ndarray


class Result(NamedTuple):
    """Everything that the report shows."""

    inputs: Inputs
    region: hc.Region
    parameters: hc.Parameters
    calibration: fit.Calibration | None
    made: hc.HumanCapital
    closure: np.ndarray
    people: People
    balance: hc.CapitalBalance
    balance_residual: np.ndarray
    worth: Worth
    investment: Investment | None
    hold_outs: tuple[HoldOut, ...]
    ahead: Ahead | None
    assumptions: pd.DataFrame | None
    participation: pd.DataFrame | None


def run(
    config: Config, inputs: Inputs, key: Array, stage_fn: fit.RunStage, mesh: Mesh | None
) -> Result:
    """Model, identities, values, forecast and the study of assumptions; seconds, so no stages."""
    region = build_region(config, inputs)
    shares = component_shares(config, len(components(inputs.budget)))
    calibration = None
    wear_rate, factor = jnp.asarray(config.wear_rate), jnp.asarray(config.initial_factor)
    if config.calibrate:
        (calibration,) = calibrate_regions(config, int(inputs.years[0]), [region], [shares])
        wear_rate, factor = jnp.exp(calibration.parameters)
    parameters = make_parameters(shares, wear_rate, factor)
    made = jax.jit(hc.human_capital)(parameters, region)
    closure = hc.closure_residual(
        made.source / hc.MILLION, region.amounts, region.lines, region.population
    )
    people = account_for(inputs)
    account = people.account
    balance = jax.jit(hc.capital_balance)(
        made, parameters, region, account.deaths, account.migration
    )
    investment = None
    if inputs.all_years.size > inputs.years.size:
        investment = invest(config, inputs, jax.random.fold_in(key, 0))
    return Result(
        inputs=inputs,
        region=region,
        parameters=parameters,
        calibration=calibration,
        made=made,
        closure=np.asarray(closure),
        people=people,
        balance=balance,
        balance_residual=np.asarray(hc.balance_residual(balance)),
        worth=worth(config, parameters, region, made.nodes[0], inputs.budget.payers),
        investment=investment,
        hold_outs=tuple(
            hold_out(config, inputs, jax.random.fold_in(key, 100 + number), origin)
            for number, origin in enumerate(config.origins)
        ),
        ahead=None
        if investment is None
        else _look_ahead(
            config, inputs, jax.random.fold_in(key, 1), parameters, calibration, investment
        ),
        assumptions=assumption_frame(config, inputs) if config.replicate else None,
        participation=participation_frame(config, inputs) if config.replicate else None,
    )


def anchors_hold(config: Config, result: Result) -> bool:
    """Both anchors are met, and the turn in the anchor year is the lowest of all years."""
    if result.calibration is None:
        return False
    low = int(result.inputs.years[int(np.asarray(result.made.total).argmin())])
    return bool(result.calibration.met) and low == config.minimum_year


def comparable_ahead(
    config: Config, inputs: Inputs, investment: Investment, forecast: np.ndarray
) -> np.ndarray:
    """Comparable spending by line of the forecast years, [..., line, year].

    Sums of lines are split as in the last year in which they were spent; prices grow by the
    forecast index.
    forecast [..., horizon, output].
    """
    outputs = investment.outputs
    factor = price_factor(config, inputs)[-1] / np.cumprod(investment.index_ahead / 100.0)
    amounts = comparable_amounts(config, inputs)
    spent = outputs.membership @ amounts > 0  # [output, year]
    last = spent.shape[1] - 1 - spent[:, ::-1].argmax(axis=1)  # year of the split
    within = outputs.membership * amounts[:, last].T
    within = within / within.sum(axis=1, keepdims=True)
    return np.einsum("...ho,ol->...lh", forecast, within) * factor


def _look_ahead(
    config: Config,
    inputs: Inputs,
    key: Array,
    parameters: hc.Parameters,
    calibration: fit.Calibration | None,
    investment: Investment,
) -> Ahead:
    horizon = inputs.all_years.size - inputs.years.size
    primary = comparable_ahead(config, inputs, investment, investment.forecast[PRIMARY])
    whole = build_region(config, inputs, primary[0])
    past = whole.amounts[:, : inputs.years.size]

    @jax.jit
    def solve(moved: Array, ahead: Array) -> tuple[Array, Array]:
        region = whole._replace(amounts=jnp.concatenate([past, ahead], axis=1))
        drawn = parameters._replace(
            wear_rate=parameters.wear_rate * jnp.exp(moved[0]),
            initial_factor=parameters.initial_factor * jnp.exp(moved[1]),
        )
        made = hc.human_capital(drawn, region)
        return made.total, made.per_inhabitant

    spread = jnp.zeros((2, 2))  # of the logarithms
    if calibration is not None and np.isfinite(calibration.covariance).all():
        spread = calibration.covariance
    still = jnp.zeros(2)
    draws = jax.random.multivariate_normal(key, still, spread, (config.num_draws,), method="svd")
    usable = np.flatnonzero(np.asarray(investment.fits[PRIMARY].status) != DIVERGED)
    usable = usable if usable.size else np.arange(len(primary))
    member = usable[np.arange(config.num_draws) % usable.size]
    total, head = jax.jit(jax.vmap(solve))(draws, jnp.asarray(primary[member]))
    held = np.repeat(np.asarray(past[:, -1:]), horizon, axis=1)
    return Ahead(
        total=np.asarray(total),
        per_inhabitant=np.asarray(head),
        held=np.asarray(solve(still, jnp.asarray(held))[0]),
    )
