"""A panel with every kind of gap, and one compiled program per filter."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.smoothing import Start, forecast_table, run_filter
from tests.smoothing.loops import PERIOD

ROWS, HORIZONS = 19, 6


class Panel(NamedTuple):
    """y, observed [time, series]; level, trend [series]; season [period, series] around 0."""

    y: np.ndarray
    observed: np.ndarray
    level: np.ndarray
    trend: np.ndarray
    season: np.ndarray

    def start(self, case, dtype=jnp.float64):
        season = 1.0 + self.season / 50.0 if case.smoother.multiplicative else self.season
        if case.period == 1:
            season = np.zeros((1, self.level.size))
        return Start(*[jnp.asarray(x, dtype) for x in (self.level, self.trend, season)])


@pytest.fixture(scope="session")
def panel() -> Panel:
    """Series: full, late, early end, random gaps, all missing, one value, mostly missing."""
    rng = np.random.default_rng(5)
    series = 7
    t = np.arange(ROWS)[:, None]
    y = 100.0 + 1.3 * t + 9.0 * np.sin(np.pi * t / 2 + 0.4) + rng.normal(0, 4, (ROWS, series))
    observed = np.ones((ROWS, series), bool)
    observed[:7, 1] = False
    observed[-5:, 2] = False
    observed[:, 3] = rng.random(ROWS) < 0.6
    observed[:, 4] = False
    observed[:, 5] = np.arange(ROWS) == 6
    observed[:, 6] = np.isin(np.arange(ROWS), (2, 11, 13))
    return Panel(
        np.where(observed, y, -7e3),  # a value that shows if it is used
        observed,
        100.0 + rng.normal(0, 3, series),
        rng.normal(1.0, 0.3, series),
        rng.normal(0, 6, (PERIOD, series)),
    )


@pytest.fixture(scope="session")
def program():
    """run(case, params, y, observed, start) -> (Filtered, table), compiled once per filter."""
    compiled = {}

    def run(case, params, y, observed, start):
        name = case.smoother.name
        if name not in compiled:

            def both(params, y, observed, start):
                filtered = run_filter(case.smoother, params, y, observed, start)
                table = forecast_table(case.smoother, params, y, observed, start, HORIZONS)
                return filtered, table

            compiled[name] = jax.jit(both)
        return compiled[name](params, jnp.asarray(y), observed, start)

    return run


def spread_params(case, num_series, dtype=jnp.float64):
    """Weights [parameter, series], different for every series, inside (0, 1)."""
    params = np.array(case.params).reshape(-1, 1) * np.linspace(0.8, 1.05, num_series)
    return jnp.asarray(params, dtype)
