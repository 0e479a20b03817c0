"""The result in one sentence, and in one paragraph."""

import numpy as np
import pandas as pd

from experiments.human_capital import frames
from experiments.human_capital.config import Config
from experiments.human_capital.study import Result, anchors_hold


def _origin(config: Config, result: Result) -> str:
    """Where the parameters come from, and whether the anchors are met."""
    calibration = result.calibration
    if calibration is None:
        return "taken as given"
    if anchors_hold(config, result):
        return "calibrated to two facts"
    if bool(calibration.met):
        return "which turn H in the anchor year, but not at its lowest"
    missed = ", ".join(f"{float(r):.1f}" for r in calibration.residuals)
    return f"the nearest to two anchors that cannot both be met (missed by {missed} tolerances)"


def answer(result: Result) -> str:
    """What it has cost and yielded, in one sentence."""
    course = frames.course_frame(result).set_index("year")
    first, last = course.index[0], course.index[-1]
    worth = _worth(result)
    return (
        f"H went from {course.total[first]:.0f} bn in {first} to {course.total[last]:.0f} bn in "
        f"{last}, and a million more in {worth.year.iloc[0]} added {worth.value.iloc[0]:.2f} "
        f"({worth.line.iloc[0]}) to {worth.value.iloc[-1]:.2f} million ({worth.line.iloc[-1]})."
    )


def _worth(result: Result) -> pd.DataFrame:
    """Marginal values of the lines that spend in the first year of the last ones, rising."""
    values = frames.marginal_frame(result)
    year = int(result.inputs.years[result.worth.path_years[0]])
    return values[(values["spending"] > 0) & (values["year"] == year)].sort_values("value")


def details(config: Config, result: Result) -> str:
    """One paragraph below the answer."""
    course = frames.course_frame(result).set_index("year")
    first, last = course.index[0], course.index[-1]
    low = int(result.inputs.years[int(course["total"].argmin())])
    worth = _worth(result)
    text = (
        f"H was {course.total[first]:.0f} bn in {first}, lowest in {low} ({course.total[low]:.0f}) "
        f"and {course.total[last]:.0f} bn in {last} ({course.per_inhabitant[last]:.0f} thousand "
        f"per inhabitant), with nu = {float(result.parameters.wear_rate[0]):.4f} a year and an "
        f"initial factor of {float(result.parameters.initial_factor):.2f}, "
        f"{_origin(config, result)}. A million more in {worth.year.iloc[0]} added "
        f"{worth.value.iloc[0]:.3f} ({worth.line.iloc[0]}) to {worth.value.iloc[-1]:.3f} million "
        f"({worth.line.iloc[-1]}) to H of {last}."
    )
    worst = np.max(frames.identities_frame(result)["residual"])
    text += f" Every identity holds to {worst:.0e}."
    if result.ahead is not None:
        lines = frames.capital_lines(result)
        end = lines[(lines["series"] == frames.FORECAST) & (lines["panel"] == "H, bn")].iloc[-1]
        text += (
            f" With the spending that the network forecasts H is {end.value:.0f} bn in "
            f"{end.year:.0f} [{end.low:.0f}, {end.high:.0f}: networks and calibration only], with "
            f"that of {last} held {result.ahead.held[-1] / 1e3:.0f}."
        )
    return text
