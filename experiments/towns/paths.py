"""Paths of the factors after the data: trends kept, and the three scenarios."""

import jax
import jax.numpy as jnp
import numpy as np

from diffmig import explain, fit
from diffmig.smoothing import DAMPED, run_filter
from experiments.towns.config import Config
from experiments.towns.inputs import Inputs

SCENARIOS = ("conservative", "basic", "target")
RULES = {
    "trend kept": "every factor of every town continues its own damped trend (smoothing weights "
    "fitted to its history)",
    "conservative": "every factor grows as in the worse quarter of its own last years; rates stay "
    "at that quartile of their levels",
    "basic": "the same with the median",
    "target": "the same with the better quarter",
}


def continue_trends(factors: np.ndarray, horizon: int) -> np.ndarray:
    """Damped trends of [town, year, factor] for `horizon` years, [town, horizon, factor]; a
    constant factor stays."""
    towns, years, count = factors.shape
    series = jnp.asarray(factors.transpose(1, 0, 2).reshape(years, towns * count))
    made = fit.fit_smoother(DAMPED, series)
    state = run_filter(DAMPED, made.params, series, None, made.start).state
    ahead = np.asarray(DAMPED.predict(made.params, state, horizon))
    usable = np.isfinite(np.asarray(made.loss)) & np.isfinite(ahead).all(axis=0)
    ahead = np.where(usable, ahead, np.asarray(series[-1]))
    return ahead.reshape(horizon, towns, count).transpose(1, 0, 2)


def scenario_paths(config: Config, inputs: Inputs) -> dict[str, np.ndarray]:
    """All factors after the data by name of the path, [town, horizon, factor].

    Growth is that of a factor's own history, so a scenario asks nothing that the town has not seen;
    factors that touch 0 count as rates.
    """
    touching = inputs.factors.min(axis=(0, 1)) <= 0
    rates = [n for n, low in zip(inputs.names, touching, strict=True)
             if low or n in config.rate_factors]  # fmt: skip
    worse = [n for n in inputs.names if n in config.lower_is_better]
    num_years = min(inputs.years.size - 1, 10)

    def of_town(history: jax.Array) -> dict[str, jax.Array]:
        made = explain.growth_scenarios(
            history, inputs.years, inputs.names, config.horizon, num_years=num_years,
            rate_factors=rates, lower_is_better=worse,
        )  # fmt: skip
        return {name: scenario.values for name, scenario in made.items()}

    found = jax.jit(jax.vmap(of_town))(jnp.asarray(inputs.factors))
    paths = {"trend kept": continue_trends(inputs.factors, config.horizon)}
    return paths | {name: np.asarray(found[name]) for name in SCENARIOS}
