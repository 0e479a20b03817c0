"""The claims ledger of the smoothing paper: evidence for every printed number, by its id."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from diffmig import data, evaluate
from experiments.smoothing.example import ACTUAL_25, Example
from experiments.smoothing.unevenness import HIGH_GROUP, Unevenness

PAPER = "Selective smoothing"
_HINDSIGHT = "each winner is picked with the value it forecasts"
_NOT_PRINTED = "the first 14 values are not printed"
_HONEST = "b-1"  # winner of the last step: what the text describes


def ledger_entries(
    example: Example, unevenness: Unevenness
) -> Iterator[tuple[evaluate.Claim, evaluate.Evidence]]:
    """Claims with evidence, in the order of the bundled table of printed numbers."""
    known = {**_forecasts(example), **_accuracy(example), **_regions(unevenness)}
    for row in data.load_printed("smoothing").to_dict("records"):
        evidence = known.get(row["id"])
        if evidence is None:
            setting = row["id"].startswith(("text.num", "text.ses.alpha", "text.holt.a"))
            note = "a setting, not a result" if setting else _NOT_PRINTED
            evidence = evaluate.Evidence(note=note)
        better = False if row["unit"] == "%" else None
        kind: Literal["statement", "deterministic"] = (
            "statement" if row["unit"] == "claim" else "deterministic"
        )
        quantity = " ".join(x for x in (row["model"], row["quantity"]) if x)
        yield (
            evaluate.Claim(
                PAPER, row["place"], quantity, row["unit"], row["printed"], kind, better
            ),
            evidence,
        )


def _forecasts(example: Example) -> dict[str, evaluate.Evidence]:
    """Rows of tables 1 and 2 and of figure 5."""
    found = {}
    selective = np.where(example.chosen == "Holt", example.fitted["Holt"], example.fitted["SES"])
    for k, period in enumerate(example.periods):
        for model, short in (("SES", "ses"), ("Holt", "holt")):
            start = "start of our run, solved back from the print" if k == 0 else ""
            value = float(example.fitted[model][k])
            error = float(example.percent[model][k])
            found[f"table1.{short}.forecast.t{period}"] = evaluate.Evidence(value, note=start)
            found[f"table1.{short}.error.t{period}"] = evaluate.Evidence(error)
            found[f"fig5.{short}.forecast.t{period}"] = evaluate.Evidence(value, note=start)
            found[f"fig5.{short}.error.t{period}"] = evaluate.Evidence(error)
        found[f"fig5.actual.t{period}"] = evaluate.Evidence(float(example.actual[k]))
        found[f"table2.selective.forecast.t{period}"] = evaluate.Evidence(
            float(selective[k]), note=_HINDSIGHT
        )
        printed = data.load_wage_example().set_index("period").loc[period, "chosen"]
        found[f"table2.selective.choice.t{period}"] = evaluate.Evidence(
            bool(example.chosen[k] == printed), note=_HINDSIGHT
        )
    for model, short in (("SES", "ses"), ("Holt", "holt")):
        found[f"table1.{short}.forecast.t25"] = evaluate.Evidence(example.forecast[model])
    last = str(example.chosen[-1])
    found["table2.selective.forecast.t25"] = evaluate.Evidence(
        example.forecast[last], note="7892.407, cut and not rounded in table 2"
    )
    found["table2.selective.choice.t25"] = evaluate.Evidence(last == "Holt")
    found["text.ses.forecast.t15"] = evaluate.Evidence(
        float(example.fitted["SES"][0]), note="figure 5 and table 1 say 5481.47"
    )
    return found


def _accuracy(example: Example) -> dict[str, evaluate.Evidence]:
    """Mean errors of rows 15 to 24 and what is claimed from them."""
    low, high = example.bounds
    ses, holt, honest = example.mape("SES"), example.mape("Holt"), example.rules[_HONEST]
    between = evaluate.Evidence(bound=(low, high), bound_kind="interval", bound_slack=0.005)
    error_25 = 100 * abs(ACTUAL_25 - example.forecast["Holt"]) / ACTUAL_25
    selective = between._replace(
        as_described=low,
        honest=honest,
        note=f"{_HINDSIGHT}; honest: winner of the last step",
    )
    note = "any choice between the two columns of table 1 lies inside the bound"
    picks = set(example.chosen)
    return {
        "table2.selective.mape": selective,
        "fig7.selective": selective,
        "fig7.ses": between._replace(as_described=ses, honest=ses, note=note),
        "fig7.holt": between._replace(as_described=holt, honest=holt, note=note),
        "table2.selective.error.t25": evaluate.Evidence(error_25),
        "text.quality_ratio": evaluate.Evidence(
            holt / low,
            honest=holt / honest,
            note=f"Holt over hindsight; figure 7 would give {6.036 / 4.569:.3f} or "
            f"{5.691 / 4.569:.3f}",
        ),
        "text.claim.holt_best_t15": evaluate.Evidence(
            bool(example.percent["Holt"][0] < example.percent["SES"][0])
        ),
        "text.claim.interchangeable": evaluate.Evidence(picks == {"SES", "Holt"}),
        "text.claim.selective_better": evaluate.Evidence(
            bool(low < min(ses, holt)), honest=bool(honest < min(ses, holt)), note=_HINDSIGHT
        ),
        "abstract.claim.quality_increased": evaluate.Evidence(
            bool(low < min(ses, holt)), honest=bool(honest < min(ses, holt)), note=_HINDSIGHT
        ),
        "text.claim.excellent_t25": evaluate.Evidence(bool(error_25 < 10)),
    }


def _regions(unevenness: Unevenness) -> dict[str, evaluate.Evidence]:
    """Who leads, who is lowest, and the two groups."""
    order = list(unevenness.mean_growth.index)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in unevenness.mean_growth.items())
    extra = sorted(set(unevenness.group) ^ set(HIGH_GROUP))
    return {
        "text.claim.kyiv_leads": evaluate.Evidence(order[0] == "Kyiv", note=shown),
        "text.claim.dnipropetrovsk_second": evaluate.Evidence(
            order[1] == "Dnipropetrovsk", note="mean growth factors as above"
        ),
        "text.claim.donetsk_lowest": evaluate.Evidence(order[-1] == "Donetsk"),
        "text.claim.high_group": evaluate.Evidence(
            set(unevenness.group) == set(HIGH_GROUP),
            note="two-group k-means of z scores; differs in " + (", ".join(extra) or "nothing"),
        ),
        "text.claim.two_groups": evaluate.Evidence(
            note="any table can be cut in two; the rule is in another paper"
        ),
    }
