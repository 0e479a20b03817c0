"""Tables of the report, tidy."""

import numpy as np
import pandas as pd

from experiments.migration.explanation import yearly_means
from experiments.migration.fits import DESCRIBED, PINN, SMOOTHER, SPLINE, solution_frame
from experiments.migration.inputs import Inputs
from experiments.migration.outlook import NORMAL_90
from experiments.migration.recovery import Recovery
from experiments.migration.study import Result
from experiments.migration.surrogates import STATISTICS, SURROGATES
from experiments.migration.system import LIMITS

SHOWN = 6  # places in a grid of panels


def shown_places(inputs: Inputs) -> list[int]:
    """Places with the largest mean balances per head, half gains and half losses."""
    order = np.argsort(inputs.rate.mean(axis=1))
    half = min(SHOWN, len(order)) // 2
    return [int(i) for i in np.unique(np.r_[order[-half:][::-1], order[:half]])]


def balance_lines(result: Result) -> pd.DataFrame:
    """Balances, the motion behind them and the years after the data, for some places."""
    inputs, ahead = result.inputs, result.outlook
    found = result.fits.estimates[SMOOTHER]
    num_years = inputs.years.size
    mean = np.asarray(yearly_means(np.asarray(found.time), found.balance, num_years))
    rows = []
    for i in shown_places(inputs):
        panel = inputs.places[i]
        for year, value, fitted in zip(inputs.years, inputs.rate[i], mean[i], strict=True):
            rows.append((panel, "data", "actual", int(year), value, np.nan, np.nan))
            rows.append((panel, "smoother", "fitted", int(year), fitted, np.nan, np.nan))
        half = NORMAL_90 * ahead.sd[i]
        rows += [
            (panel, "dynamics", "forecast", int(y), m, m - h, m + h)
            for y, m, h in zip(ahead.years, ahead.mean[i], half, strict=True)
        ]
    return pd.DataFrame(rows, columns=["panel", "series", "kind", "year", "value", "low", "high"])


def force_lines(result: Result) -> pd.DataFrame:
    """Force on the grid for some places: smoother with its band, spline, network."""
    inputs, fits = result.inputs, result.fits
    time = inputs.years[0] - 0.5 + np.asarray(fits.estimates[SMOOTHER].time)
    rows = []
    for i in shown_places(inputs):
        for name in (SMOOTHER, SPLINE, PINN, DESCRIBED):
            if name not in fits.estimates:
                continue
            found = fits.estimates[name]
            force = np.asarray(found.force)
            force = force if force.ndim == 2 else np.median(force, axis=0)
            half = np.full(time.size, np.nan)
            if name == SMOOTHER:
                half = NORMAL_90 * np.asarray(found.force_sd[i])
            rows += [
                (inputs.places[i], name, "fitted", t, f, f - h, f + h)
                for t, f, h in zip(time, force[i], half, strict=True)
            ]
    return pd.DataFrame(rows, columns=["panel", "series", "kind", "year", "value", "low", "high"])


def strength_frame(result: Result) -> pd.DataFrame:
    """Estimated strengths with the intervals of their profiles."""
    found = result.identification
    rows = []
    for k, name in enumerate(result.system.names):
        row = {
            "strength": name,
            "value": float(getattr(result.parameters, name)),
            "limit": LIMITS[name],
        }
        if found is not None:
            row |= {
                "low": found.interval[k, 0],
                "high": found.interval[k, 1],
                "bounded_below": bool(~found.open_ends[k, 0]),
                "bounded_above": bool(~found.open_ends[k, 1]),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def profile_lines(result: Result) -> pd.DataFrame:
    """Profile log-likelihood below its maximum, by strength as a share of its limit."""
    found = result.identification
    assert found is not None
    profile = found.profile
    top = max(float(np.max(profile.log_likelihood)), float(result.dynamics.log_likelihood))
    rows = []
    for k, name in enumerate(found.names):
        share = 1.0 / (1.0 + np.exp(-np.asarray(profile.grid[k])))
        for x, value in zip(share, np.asarray(profile.log_likelihood[k]), strict=True):
            rows.append((name, "fitted", x, max(value - top, -12.0)))
    ends = [("95 % interval", "actual", x, -1.92) for x in (0.0, 1.0)]
    return pd.DataFrame(rows + ends, columns=["series", "kind", "share", "value"])


def surrogate_bars(result: Result) -> pd.DataFrame:
    """Every statistic of the data and of the surrogates, a panel's worth of bars each."""
    found = result.identification
    assert found is not None
    rows = []
    for name, meaning in STATISTICS.items():
        rows.append((meaning, "data", found.observed[name], np.nan, np.nan, np.nan))
        for kind in SURROGATES:
            values = found.surrogates.loc[found.surrogates["kind"] == kind, name]
            low, middle, high = values.quantile([0.05, 0.5, 0.95])
            rows.append((meaning, kind, middle, low, high, found.p_value[name, kind]))
    columns = ["statistic", "series", "value", "low", "high", "p_value"]
    return pd.DataFrame(rows, columns=columns)


def map_frame(result: Result) -> pd.DataFrame:
    """Mean balance per head of every place, of the data and of the years after them."""
    inputs, ahead = result.inputs, result.outlook
    frames = []
    for panel, values in (
        (f"mean of {inputs.years[0]}-{inputs.years[-1]}", inputs.rate.mean(axis=1)),
        (f"forecast for {ahead.years[0]}-{ahead.years[-1]}", ahead.mean.mean(axis=1)),
    ):
        frames.append(places_frame(inputs, values).assign(panel=panel))
    return pd.concat(frames, ignore_index=True)


def places_frame(inputs: Inputs, values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "place": inputs.places,
            "latitude": inputs.latitude,
            "longitude": inputs.longitude,
            "value": values,
        }
    )


def scenario_map(result: Result) -> pd.DataFrame:
    """Effect of the scenario in the last year: own, and spill-over to the others."""
    inputs, found = result.inputs, result.scenario
    assert found is not None
    own = found.effect.own[:, -1]
    spill = found.effect.spill_over[:, -1]
    here = np.arange(len(inputs.places)) == found.place
    return pd.concat(
        [
            places_frame(inputs, 1000 * np.where(here, own, np.nan)).assign(panel="own effect"),
            places_frame(inputs, 1000 * np.where(here, np.nan, spill)).assign(panel="spill-over"),
        ],
        ignore_index=True,
    )


def solution_frame_of(result: Result) -> pd.DataFrame:
    """R2 and RMSE of data against solution."""
    return solution_frame(result.inputs, result.fits)


def training_lines(found: Recovery) -> pd.DataFrame:
    """Errors along the training without a penalty: median and range of the seeds."""
    rows = []
    for k, name in enumerate(("force", "balance")):
        for step, errors in zip(found.steps, found.errors[:, :, k].T, strict=True):
            low, middle, high = np.quantile(errors, [0, 0.5, 1])
            rows.append((name, "fitted", int(step), middle, low, high))
    columns = ["series", "kind", "step", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
