"""The paper's numbers and claims with our evidence; the ledger computes the verdicts."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from diffmig import data, evaluate, explain
from diffmig import towns as tw
from experiments.towns.frames import accuracy_frame
from experiments.towns.outlook import TREND
from experiments.towns.policy_pages import RULES
from experiments.towns.retrospective import DESCRIBED, DESCRIBED_LATER, HONEST, LAST
from experiments.towns.scores import score_frame
from experiments.towns.study import Result

PAPER = "Single-industry towns"
YEARS = 10  # of the paper's panel, 2013-2022
_PANEL = "the panel is not public"
_OPINION = "the paper gives no data or test for it"
_SETTING = "a setting, not a result"


def ledger_entries(result: Result) -> Iterator[tuple[evaluate.Claim, evaluate.Evidence]]:
    """Claims with evidence, in the order of the bundled table."""
    known = _tables() | _forecasts(result) | _accuracies(result)
    for row in data.load_printed("towns").to_dict("records"):
        statement = row["unit"] == "claim"
        note = _OPINION if statement else _SETTING
        kind: Literal["statement", "deterministic"] = "statement" if statement else "deterministic"
        yield (
            evaluate.Claim(PAPER, row["place"], row["quantity"], row["unit"], row["printed"], kind),
            known.get(row["id"], evaluate.Evidence(note=note)),
        )


def _tables() -> dict[str, evaluate.Evidence]:
    """What follows from the printed tables alone."""
    printed = data.load_town_correlations()
    r = printed["correlation"].to_numpy()
    rows = np.full(r.size, YEARS)
    passing = {
        rule: int(tw.judge_correlations(r, rows, rule=rule).kept.sum())
        for rule in ("critical", "bonferroni", "holm", "bh")
    }
    critical = float(tw.critical_correlation(YEARS))
    strongest = printed.index[np.argsort(-np.abs(r))]
    lags = data.load_town_autocorrelations().to_numpy()
    described = tw.choose_window(lags, YEARS, rule="as_described")
    share = tw.choose_window(lags, YEARS)
    beyond = int((np.abs(lags) > tw.autocorrelation_bound(YEARS, np.arange(1, 6)) + 0.005).sum())
    groups = data.load_town_clusters()
    sizes = groups["cluster"].value_counts().sort_index().tolist()
    largest = float(groups["distance"].max())
    five = _kept_as_printed(printed.index[np.abs(r) > critical])
    return {
        "table1.claim.kept": evaluate.Evidence(
            as_described=five,
            note=f"those beyond the critical r of {critical:.3f} (10 years, 5 %); after Holm "
            f"{passing['holm']} are left, after Benjamini-Hochberg {passing['bh']}",
        ),
        "table1.claim.critical": evaluate.Evidence(
            as_described=passing["critical"] == 5,
            note="10 rows are inferred: with 27 towns x 10 years 11 of 12 factors would pass",
        ),
        "text.claim.maximum_impact": evaluate.Evidence(
            as_described=set(strongest[:2]) == {"unemployment", "real_income"},
            note=f"by table 1 {strongest[0]} and {strongest[1]} correlate most",
        ),
        "window.lag": evaluate.Evidence(
            as_described=float(described.lag),
            note="longest lag with a mean above 0, a reading; the share of towns that pass exceeds "
            f"chance up to lag {share.lag}",
        ),
        "table2.claim.steady_trend": evaluate.Evidence(
            as_described=described.lag == 3,
            honest=share.lag >= 3,
            note=f"{', '.join(str(n) for n in share.num_passing)} of 27 towns pass at lags 1-5; "
            f"{beyond} entries exceed what the usual estimator can give",
        ),
        "table3.claim.sizes": evaluate.Evidence(as_described=sizes == [15, 5, 7]),
        "table3.claim.distance": evaluate.Evidence(
            as_described=largest < 1,
            note="with standardised factors the mean square distance is below 1 even in a single "
            "cluster of all towns: the bound says nothing",
        ),
    }


def _kept_as_printed(names: object) -> bool:
    """Whether these are the five factors that the text keeps."""
    wanted = {"unemployment", "real_income", "hospitals", "preschools", "electricity_supply"}
    return set(names) == wanted  # type: ignore[call-overload]


def _forecasts(result: Result) -> dict[str, evaluate.Evidence]:
    """What follows from table 4."""
    panel = data.load_kz_towns_balances(corrected=True)
    balance = data.variable(panel, "balance")
    groups = data.load_town_clusters()["cluster"].loc[list(panel.places)].to_numpy()
    people = data.load_kz_towns()["population"].loc[list(panel.places)].to_numpy()
    rate = {c: float(np.nanmedian(1000 * balance[groups == c, 0] / people[groups == c]))
            for c in (1, 2, 3)}  # fmt: skip
    rates = ", ".join(f"{value:.1f}" for value in rate.values())
    growing = [p for p, row in zip(panel.places, balance, strict=True) if (row > 0).all()]
    known = ~np.isnan(people)
    policies = explain.cluster_policy(balance[known], people[known], groups[known], RULES)
    losses = ", ".join(f"{loss:.1f}" for loss in policies.loss)
    classes = {
        f"text.claim.policy.cluster{c}": evaluate.Evidence(
            note=f"a proposal without a rule; median losses of {losses} per 1000 stand in the "
            f"order of the classes; borders ({RULES.stimulating_loss:g}, {RULES.shift_loss:g}) can "
            "always be found between three medians"
        )
        for c in (1, 2, 3)
    }
    own = result.outlook.members[TREND].mean(axis=0)
    ours = int((own > 0).all(axis=1).sum())
    return classes | {
        "table4.claim.almost_all_lose": evaluate.Evidence(
            as_described=int((balance > 0).all(axis=1).sum()) <= 3,
            note=f"{len(growing)} of 27 grow",
        ),
        "text.claim.growth": evaluate.Evidence(
            as_described=growing == ["Rudnyi", "Satpayev", "Stepnogorsk"],
            note=f"in table 4; on our panel {ours} towns grow in every year",
        ),
        "text.claim.growth_in_cluster1": evaluate.Evidence(
            as_described=bool((groups[[panel.places.index(p) for p in growing]] == 1).all()),
            note="table 3 has Rudnyi in cluster 2",
        ),
        "text.claim.cluster1_stable": evaluate.Evidence(
            as_described=max(rate, key=rate.__getitem__) == 1,
            note=f"median balance of 2023 per 1000 residents by cluster: {rates}",
        ),
        "text.claim.cluster3_worst": evaluate.Evidence(
            as_described=min(rate, key=rate.__getitem__) == 3,
            note=f"median balance of 2023 per 1000 residents by cluster: {rates}",
        ),
    }


def _accuracies(result: Result) -> dict[str, evaluate.Evidence]:
    """The same protocol on our panel; the paper's own numbers cannot be had."""
    table = accuracy_frame(result)

    def of(method: str, cluster: int | None) -> float:
        some = table[table["method"] == method]
        if cluster is not None:
            some = some[some["cluster"] == cluster]
        return 100 * float(some["accuracy"].mean())

    found = {}
    for name, cluster in (
        *((f"text.accuracy.cluster{c}", c) for c in (1, 2, 3)),
        ("conclusion.accuracy.best", None),
    ):
        found[name] = evaluate.Evidence(
            note=f"{_PANEL}, no formula is given; with 1 - MAE / mean |y| on ours: as described "
            f"{of(DESCRIBED, cluster):.0f} %, the same networks the year after "
            f"{of(DESCRIBED_LATER, cluster):.0f} %, honest {of(HONEST, cluster):.0f} %, last value "
            f"{of(LAST, cluster):.0f} %"
        )
    scores = score_frame(result.inputs, result.past).set_index("method")
    error, p = scores["mae"].to_dict(), scores["p_against_last_value"].to_dict()
    better = bool(error[HONEST] < error[LAST] and p[HONEST] < 0.05)
    note = (
        f"on our panel the honest networks miss by {error[HONEST]:.0f} persons, the last value by "
        f"{error[LAST]:.0f} (p {p[HONEST]:.2f} after Holm)"
    )
    found["text.claim.networks_better"] = evaluate.Evidence(honest=better, note=note)
    found["text.claim.accurate"] = evaluate.Evidence(note=f"{_PANEL}; {note}")
    return found
