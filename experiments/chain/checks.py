"""What can be checked: gradients against finite changes, and the chain against years that came."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import data
from experiments.chain.config import Config
from experiments.chain.economy import GRP, Response, build, default_values, run_chain
from experiments.chain.inputs import load

PAST_YEAR, LAST_YEAR = 2018, 2023  # last years of the budget and of the GRP table
PROBES = 3  # lines and years in which the gradient meets a finite change


def gradient_error(
    respond_fn: Callable[[Array], Response], amounts: np.ndarray, effects: np.ndarray
) -> float:
    """Largest relative difference of effects from central differences over 1 % of the spending, for
    the largest lines in the first year, one in the middle and the last but one.

    Args:
        respond_fn: further spending [line, year] -> Response.
        amounts: spending of the last year of the budget, [line].
        effects: [output, line, year].
    """
    lines = np.argsort(-amounts)[:PROBES]
    columns = np.linspace(0, max(effects.shape[-1] - 2, 0), PROBES).astype(int)
    worst = 0.0
    for line, column in zip(lines, columns, strict=True):
        step = 0.01 * amounts[line]
        moved = np.zeros(effects.shape[1:])
        moved[line, column] = step
        up, down = (np.asarray(respond_fn(jnp.asarray(x)).outputs) for x in (moved, -moved))
        finite = (up - down) / (2.0 * step)
        worst = max(worst, float(np.abs(finite / effects[:, line, column] - 1.0).max()))
    return worst


def growth_since(config: Config) -> tuple[float, float]:
    """GRP of `LAST_YEAR` over that of `PAST_YEAR`, in comparable prices: of a chain that starts in
    `PAST_YEAR` and knows nothing later (but the deflator and the mean population, which the
    human-capital study extends), and real."""
    earlier = replace(config, last_year=PAST_YEAR, horizon=LAST_YEAR)
    inputs = load(None, earlier)

    @jax.jit
    def ahead(values: dict[str, Array]) -> Array:
        chain = build(earlier, inputs, values)
        return run_chain(earlier, chain, jnp.zeros_like(chain.region.amounts[:, 1:]))[0][GRP]

    made = float(ahead(default_values(earlier))) / inputs.grp[-1]
    panel = data.select(data.load_table("grp_udmurt"), years=(PAST_YEAR, LAST_YEAR))
    real = data.variable(panel, "grp_2023_prices")[0]
    return made, float(real[-1] / real[0])
