"""The result in one sentence, and in one paragraph."""

import numpy as np

from experiments.migration import frames
from experiments.migration.explanation_frames import significance_frame
from experiments.migration.skill import MODEL, skill_frame
from experiments.migration.study import Result
from experiments.migration.surrogates import SURROGATES
from experiments.migration.system import LIMITS


def at_limits(result: Result) -> list[str]:
    """Strengths that ended within 1 % of their limits, or at 0."""
    found = []
    for name in result.system.names:
        share = float(getattr(result.parameters, name)) / LIMITS[name]
        if share > 0.99 or share < 0.01:
            found.append(f"{name} at {'its limit' if share > 0.5 else '0'}")
    return found


def physics(result: Result) -> str:
    """What the surrogates say about the physics."""
    found = result.identification
    if found is None:
        return "With so many places neither profiles nor surrogates are computed."
    p = max(found.p_value["coupling", kind] for kind in SURROGATES)
    fit = max(found.p_value["solution_r2", kind] for kind in SURROGATES)
    r2 = found.observed["solution_r2"]
    text = (
        f"The solution of the equation meets the data with R2 {r2:.3f}, and series without any "
        f"physics do so as well (p up to {fit:.2f})"
        if fit > 0.05
        else f"The solution of the equation meets the data with R2 {r2:.3f}, better than surrogates"
    )
    coupling = (
        f"; that places act on each other is more than chance gives (p {p:.2f})"
        if p <= 0.05
        else f"; that places act on each other is not more than chance gives (p up to {p:.2f})"
    )
    return text + coupling + "."


def answer(result: Result) -> str:
    """Whether the data tell, in one sentence."""
    ends = at_limits(result)
    head = (
        f"The data do not tell: the likelihood ends at a border ({', '.join(ends)})"
        if ends
        else "The likelihood has its maximum inside its borders"
    )
    if result.explanation is None:
        return f"{head}."
    row = significance_frame(result).set_index("regressor").loc["ridge"]
    return (
        f"{head}, and features of the year before explain the force of other places with R2 "
        f"{row.mean_r2:.2f} (p {row.p_value:.2f}; the paper prints 0.84)."
    )


def details(result: Result) -> str:
    """One paragraph below the answer."""
    inputs = result.inputs
    parts = [
        f"{len(inputs.places)} places, {inputs.years[0]}-{inputs.years[-1]}"
        f"{', a closed system' if inputs.closed else ''}."
    ]
    if result.recovery is not None:
        table = result.recovery.table.set_index("method")["force_error"]
        best = ", ".join(f"{name} {100 * value:.0f} %" for name, value in table.items())
        parts.append(f"Of a known force (27 places, 5 % noise) is missed: {best}.")
    ends = at_limits(result)
    if ends:
        parts.append(
            f"On the data the likelihood ends at a border: {', '.join(ends)}"
            f"{', force of the shortest memory' if bool(result.dynamics.at_bound[0]) else ''}; "
            "yearly balances show no oscillator."
        )
    parts.append(physics(result))
    if result.skill is not None:
        errors = skill_frame(result.skill)
        for horizon in sorted(result.skill.actual):
            part = errors[errors["horizon"] == horizon]
            rows = dict(zip(part["method"], part["rmse"], strict=True))
            parts.append(
                f"{horizon} year{'s' if horizon > 1 else ''} ahead the dynamics have RMSE "
                f"{rows[MODEL]:.2f}, the last value {rows['last value']:.2f} "
                f"(best: {min(rows, key=rows.__getitem__)})."
            )
    return " ".join(parts)


def solution_note(result: Result) -> str:
    table = frames.solution_frame_of(result)
    low, high = table["force_size"].min(), table["force_size"].max()
    size = np.ceil(high / max(low, 1e-12) * 10) / 10
    return (
        "All methods meet the data, with forces whose sizes differ up to "
        f"{size:.1f}-fold: a good fit says nothing about the force."
    )
