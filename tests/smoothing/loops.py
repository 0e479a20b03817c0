"""Plain loops of every filter, written from the equations; seasons by phase, lines by polyfit.

`CASES` is the table of all filters. A loop keeps numbers of one series; `run_loop` adds the rule
for missing values: nothing moves before the first one, later ones are replaced by their forecast.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from diffmig.smoothing import (
    DAMPED,
    DRIFT,
    HOLT,
    NAIVE,
    SES,
    THETA,
    TRIGG_LEACH,
    Smoother,
    holt_winters,
    seasonal_naive,
)

PERIOD = 4


class Level:
    """Naive and SES."""

    def __init__(self, params, level, trend, season):
        self.alpha = params[0] if len(params) else 1.0
        self.level = level

    def predict(self, h):
        return self.level

    def update(self, y, seen):
        self.level = self.level + self.alpha * (y - self.level)


class Drift:
    """Line through the first and the last value."""

    def __init__(self, params, level, trend, season):
        self.values, self.level = [], level

    def predict(self, h):
        if not self.values:
            return self.level
        if len(self.values) == 1:
            return self.values[0]
        slope = (self.values[-1] - self.values[0]) / (len(self.values) - 1)
        return self.values[-1] + h * slope

    def update(self, y, seen):
        self.values.append(y)


class Trend:
    """Holt, damped or not, in error-correction form: beta_ets = alpha beta."""

    def __init__(self, params, level, trend, season):
        self.alpha, self.beta = params[:2]
        self.phi = params[2] if len(params) == 3 else 1.0
        self.level, self.trend = level, trend

    def predict(self, h):
        return self.level + sum(self.phi**k for k in range(1, h + 1)) * self.trend

    def update(self, y, seen):
        error = y - self.predict(1)
        self.level, self.trend = (
            self.predict(1) + self.alpha * error,
            self.phi * self.trend + self.alpha * self.beta * error,
        )


class Theta:
    """Half of a least-squares line on top of SES."""

    def __init__(self, params, level, trend, season):
        self.alpha, self.level = params[0], level
        self.rows, self.values, self.elapsed = [], [], 0

    def predict(self, h):
        slope = np.polyfit(self.rows, self.values, 1)[0] if len(self.rows) > 1 else 0.0
        lag = 1 / self.alpha - (1 - self.alpha) ** self.elapsed / self.alpha
        return self.level + slope / 2 * (h - 1 + lag)

    def update(self, y, seen):
        self.elapsed += 1
        if seen:
            self.rows.append(self.elapsed)
            self.values.append(y)
        self.level = self.alpha * y + (1 - self.alpha) * self.level


class Trigg:
    """alpha_t = |E_t / M_t|."""

    def __init__(self, params, level, trend, season):
        self.phi, self.level, self.mean, self.size = params[0], level, 0.0, 0.0

    def predict(self, h):
        return self.level

    def update(self, y, seen):
        if not seen:
            return
        error = y - self.level
        self.mean = self.phi * error + (1 - self.phi) * self.mean
        self.size = self.phi * abs(error) + (1 - self.phi) * self.size
        self.level += abs(self.mean / self.size) * error


class HoltWinters:
    """Season by phase of the row, counted from the first value."""

    multiplicative = False

    def __init__(self, params, level, trend, season):
        self.alpha, self.beta, self.gamma = params[:3]
        self.phi = params[3] if len(params) == 4 else 1.0
        self.level, self.trend, self.season, self.row = level, trend, list(season), 0

    def predict(self, h):
        line = self.level + sum(self.phi**k for k in range(1, h + 1)) * self.trend
        season = self.season[(self.row + h - 1) % len(self.season)]
        return line * season if self.multiplicative else line + season

    def update(self, y, seen):
        phase = self.row % len(self.season)
        season, line = self.season[phase], self.level + self.phi * self.trend
        free, effect = (y / season, y / line) if self.multiplicative else (y - season, y - line)
        level = self.alpha * free + (1 - self.alpha) * line
        self.trend = self.beta * (level - self.level) + (1 - self.beta) * self.phi * self.trend
        self.level = level
        self.season[phase] = self.gamma * effect + (1 - self.gamma) * season
        self.row += 1


class Multiplicative(HoltWinters):
    multiplicative = True


class SeasonalNaive:
    """Last value of the same phase."""

    def __init__(self, params, level, trend, season):
        self.season, self.row = [level + s for s in season], 0

    def predict(self, h):
        return self.season[(self.row + h - 1) % len(self.season)]

    def update(self, y, seen):
        self.season[self.row % len(self.season)] = y
        self.row += 1


class Case(NamedTuple):
    """A filter, its loop, and weights to run them with."""

    smoother: Smoother
    loop: Callable[..., Any]
    params: tuple[float, ...]

    @property
    def period(self) -> int:
        return self.smoother.period


CASES = {
    case.smoother.name: case
    for case in (
        Case(NAIVE, Level, ()),
        Case(DRIFT, Drift, ()),
        Case(SES, Level, (0.37,)),
        Case(HOLT, Trend, (0.42, 0.23)),
        Case(DAMPED, Trend, (0.42, 0.23, 0.87)),
        Case(THETA, Theta, (0.31,)),
        Case(TRIGG_LEACH, Trigg, (0.28,)),
        Case(seasonal_naive(PERIOD), SeasonalNaive, ()),
        Case(holt_winters(PERIOD), HoltWinters, (0.35, 0.21, 0.44)),
        Case(holt_winters(PERIOD, damped=True), HoltWinters, (0.35, 0.21, 0.44, 0.91)),
        Case(holt_winters(PERIOD, multiplicative=True), Multiplicative, (0.35, 0.21, 0.44)),
        Case(
            holt_winters(PERIOD, multiplicative=True, damped=True),
            Multiplicative,
            (0.35, 0.21, 0.44, 0.91),
        ),
    )
}


def run_loop(case, params, y, seen, start, num_horizons):
    """(fitted [time], table [time, horizon]) of one series; start: level, trend, season."""
    model = case.loop(params, *start)
    fitted, table, begun = [], [], False
    for value, there in zip(y, seen, strict=True):
        forecast = model.predict(1)
        fitted.append(forecast)
        begun = begun or bool(there)
        if begun:
            model.update(value if there else forecast, bool(there))
        table.append([model.predict(h) for h in range(1, num_horizons + 1)])
    return np.array(fitted), np.array(table)
