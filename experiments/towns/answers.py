"""The result in words."""

import numpy as np

from experiments.towns.config import Config
from experiments.towns.networks import kept_names
from experiments.towns.outlook import TREND
from experiments.towns.retrospective import DESCRIBED, DESCRIBED_LATER, HONEST, LAST
from experiments.towns.scores import score_frame
from experiments.towns.study import Result


def kept_words(result: Result) -> str:
    """Which factors are kept, and whether the choice was alike before the test years."""
    names = result.inputs.names
    now = [names[i] for i in result.structure.kept]
    before = [names[i] for i in result.past.structure.kept]
    alike = "the same" if now == before else ", ".join(before)
    return f"Kept: {', '.join(now)}; from the years before the tests: {alike}."


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.0f} %" if accuracy > -1.0 else "less than -100 %"


def answer(config: Config, result: Result) -> str:
    """Whether towns can be helped, by networks of what worth, in one sentence."""
    inputs = result.inputs
    error = score_frame(inputs, result.past).set_index("method")["mae"]
    kept = kept_names(result.outlook.networks, inputs)
    if set(kept) <= set(config.fixed):
        return f"What must change cannot be asked: no decision moves {', '.join(kept)}."
    reached = int((result.levers.status == 0).sum())
    return (
        f"A rise of the balance by {config.percent:g} % of its size within what a town's cluster "
        f"has shown can be reached in {reached} of {len(inputs.towns)} towns, by networks that "
        f"miss the balance by {error[HONEST]:.0f} persons (the last value by {error[LAST]:.0f})."
    )


def details(result: Result) -> str:
    """One paragraph below the answer."""
    inputs = result.inputs
    scores = score_frame(inputs, result.past).set_index("method")
    error, accurate = scores["mae"].to_dict(), scores["accuracy"].to_dict()
    picked, later = accurate[DESCRIBED], accurate[DESCRIBED_LATER]
    p = scores["p_against_last_value"].to_dict()[HONEST]
    verdict = "no proven difference" if p >= 0.05 else "a proven difference"
    parts = [
        f"{len(inputs.towns)} towns ({inputs.source.split(';')[0]}).",
        f"As described, networks that the test year picks have an accuracy of {_percent(picked)} "
        f"on it and {_percent(later)} a year later.",
        f"Honest networks miss the balance by {error[HONEST]:.0f} persons, the last value by "
        f"{error[LAST]:.0f} (p {p:.2f}: {verdict}).",
    ]
    mean = result.outlook.members[TREND].mean(axis=0)
    growing = [inputs.towns[i] for i in np.flatnonzero((mean > 0).all(axis=1))]
    parts.append(
        f"With factor trends kept {len(growing)} towns gain people in every year to "
        f"{result.outlook.years[-1]}"
        + (f": {', '.join(growing[:5])}{'...' if len(growing) > 5 else ''}." if growing else ".")
    )
    return " ".join(parts)
