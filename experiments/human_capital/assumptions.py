"""Every assumption varied: what is left of the level, the minimum and the growth of H."""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pandas as pd

from diffmig import human_capital as hc
from experiments.human_capital.config import Config
from experiments.human_capital.economy import (
    build_region,
    calibrate_regions,
    component_shares,
    components,
    make_parameters,
)
from experiments.human_capital.inputs import Inputs, load

VARIED: dict[str, Callable[[Config], Config]] = {
    "base": lambda c: c,
    "spending linear between printed years": lambda c: replace(c, interpolation="linear"),
    "federal lines held before 2015": lambda c: replace(c, missing="nearest"),
    "printed table, not corrected": lambda c: replace(c, corrected=False),
    "ages interpolated at fixed ages": lambda c: replace(c, population_rule="age"),
    "all weight on health": lambda c: replace(c, shares=(1.0, 0.0, 0.0)),
    "all weight on education": lambda c: replace(c, shares=(0.0, 1.0, 0.0)),
    "all weight on culture": lambda c: replace(c, shares=(0.0, 0.0, 1.0)),
    "working ages only": lambda c: replace(c, participation="working-age"),
}
FASTER_FROM = 2013  # as the paper says of growth
WEAR_SWEEP = (0.002, 0.01, 0.0225, 0.027, 0.031, 0.05, 0.08, 0.12)


def assumption_frame(config: Config, inputs: Inputs) -> pd.DataFrame:
    """H under each assumption, with the parameters of the base and with parameters found anew.

    Columns: assumption, parameters ("of the base", "found anew"), wear_rate, initial_factor, met
    (both anchors within tolerance, the turn being the lowest year), per_head (thousand, anchor
    year), minimum (year of the lowest H), growth_before, growth_after (mean annual, %, from the
    anchor's minimum to 2013 and from 2013 on).
    """
    configs = [change(config) for change in VARIED.values()]
    loaded = {(config.population_rule, config.corrected): inputs}
    for c in configs:
        if (c.population_rule, c.corrected) not in loaded:
            loaded[c.population_rule, c.corrected] = load(None, c)
    regions = [build_region(c, loaded[c.population_rule, c.corrected]) for c in configs]
    first, num = int(inputs.years[0]), len(components(inputs.budget))
    shares = [component_shares(c, num) for c in configs]
    found = calibrate_regions(config, first, regions, shares)
    rows = []
    for name, alpha, region, new in zip(VARIED, shares, regions, found, strict=True):
        of_base = np.exp(np.asarray(found[0].parameters))
        for label, (nu, factor), met in (
            ("of the base", of_base, None),
            ("found anew", np.exp(np.asarray(new.parameters)), bool(new.met)),
        ):
            shape = _shape(config, first, _run(alpha, nu, factor, region))
            met = None if met is None else met and shape["minimum"] == config.minimum_year
            rows.append(
                {"assumption": name, "parameters": label, "wear_rate": nu,
                 "initial_factor": factor, "met": met, **shape}
            )  # fmt: skip
    return pd.DataFrame(rows)


def participation_frame(config: Config, inputs: Inputs) -> pd.DataFrame:
    """For each wear rate the initial factor that meets the level of the anchor year, and the year
    of the lowest H that results, counting all or working ages: can the published shape be had?

    H is linear in the initial factor, so that the factor is exact; a negative one means that the
    level is exceeded without any initial capital.
    """
    first, num = int(inputs.years[0]), len(components(inputs.budget))
    at = config.per_head_year - first
    shares = component_shares(config, num)
    rows = []
    for mode in ("all", "working-age"):
        c = replace(config, participation=mode)
        region = build_region(c, inputs)
        for nu in WEAR_SWEEP:
            zero, one = (_run(shares, nu, x, region) for x in (0.0, 1.0))
            low, high = (float(x.per_inhabitant[at]) / 1e3 for x in (zero, one))
            factor = (config.per_head_anchor - low) / (high - low)
            made = _run(shares, nu, factor, region)
            rows.append(
                {"counted": mode, "wear_rate": nu, "initial_factor": factor,
                 "possible": factor >= 0, **_shape(config, first, made)}
            )  # fmt: skip
    return pd.DataFrame(rows)


@jax.jit
def _run(
    shares: jax.Array, wear_rate: float, initial_factor: float, region: hc.Region
) -> hc.HumanCapital:
    return hc.human_capital(make_parameters(shares, wear_rate, initial_factor), region)


def _shape(config: Config, first: int, made: hc.HumanCapital) -> dict[str, float]:
    total = np.asarray(made.total)
    low, turn = config.minimum_year - first, FASTER_FROM - first
    growth = 100 * np.diff(np.log(total))
    return {
        "per_head": float(made.per_inhabitant[config.per_head_year - first]) / 1e3,
        "minimum": first + int(total.argmin()),
        "growth_before": float(growth[low:turn].mean()),
        "growth_after": float(growth[turn:].mean()),
    }
