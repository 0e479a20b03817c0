"""The abstract's numbers and claims with our evidence; the ledger computes the verdicts."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from diffmig import data, evaluate
from diffmig import migration as mg
from experiments.migration import frames
from experiments.migration.explanation_frames import significance_frame
from experiments.migration.skill import beats_last_value
from experiments.migration.study import Result

PAPER = "Lagrangian migration"
_DEFINITION = "a definition of the model, not a result"
_OPINION = "the abstract gives no data or test for it"


def ledger_entries(result: Result) -> Iterator[tuple[evaluate.Claim, evaluate.Evidence]]:
    """Claims with evidence, in the order of the bundled table."""
    known = _known(result)
    definitions = ("kinetic", "four_terms", "energy_unit", "external_force", "one_function")
    for row in data.load_printed("migration").to_dict("records"):
        evidence = known.get(row["id"])
        if evidence is None:
            defined = row["id"].split(".")[-1] in definitions
            evidence = evaluate.Evidence(note=_DEFINITION if defined else _OPINION)
        statement = row["unit"] == "claim"
        kind: Literal["statement", "deterministic"] = "statement" if statement else "deterministic"
        yield (
            evaluate.Claim(PAPER, row["place"], row["quantity"], row["unit"], row["printed"], kind),
            evidence,
        )


def _known(result: Result) -> dict[str, evaluate.Evidence]:
    found = {
        "text.age.young": evaluate.Evidence(float(mg.mobility(20.0)), note="of our smooth step"),
        "text.age.old": evaluate.Evidence(float(mg.mobility(70.0)), note="of our smooth step"),
        "text.explanation.num_runs": evaluate.Evidence(note="a setting, not a result"),
    }
    found |= _explanation(result)
    if result.recovery is not None and result.fits.described_theta is not None:
        table = result.recovery.table.set_index("method")["force_error"]
        plain = table["PINN without penalty, parameters known"]
        smoother = table["latent-force smoother"]
        theta = np.asarray(result.fits.described_theta)
        found["text.claim.network_finds_force"] = evaluate.Evidence(
            note=f"of a known force it misses {100 * plain:.0f} % without a penalty, a smoother "
            f"{100 * smoother:.0f} %; trained together with the force, strengths stay near their "
            f"start (largest spread over seeds {np.ptp(theta, axis=0).max():.2g}): any of them fits"
        )
    scores = frames.solution_frame_of(result).set_index("method")
    found["text.claim.fit_checked"] = evaluate.Evidence(
        note="no value is printed; here R2 "
        + ", ".join(f"{row.r2:.3f} ({name})" for name, row in scores.iterrows())
        + ": as high as one likes with a free force, so no evidence"
    )
    if result.skill is not None:
        horizon = min(result.skill.actual)
        found["conclusion.claim.forecast"] = evaluate.Evidence(
            honest=beats_last_value(result.skill, horizon),
            note=f"on our data, {horizon} year ahead, against the last value: see the table",
        )
    return found


def _explanation(result: Result) -> dict[str, evaluate.Evidence]:
    if result.explanation is None:
        return {}
    table = significance_frame(result).set_index("regressor")
    runs = "; ".join(
        f"{name}: mean {row.mean_r2:.2f} [{row.low:.2f}, {row.high:.2f}], p {row.p_value:.2f}"
        for name, row in table.iterrows()
    )
    other = f"data, split and what is scored are not given; with ours, by place: {runs}"
    honest = bool((table["mean_r2"] > 0).any() and (table["p_value"] < 0.05).any())
    return {
        "text.explanation.r2": evaluate.Evidence(note=other),
        "text.claim.significant": evaluate.Evidence(honest=honest, note=other),
        "text.claim.regression_explains": evaluate.Evidence(
            honest=honest,
            note=f"with {', '.join(result.explanation.names)} of the year before, which are not "
            "the large array of the abstract",
        ),
        "conclusion.claim.explanation": evaluate.Evidence(honest=honest, note=other),
    }
