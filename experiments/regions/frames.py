"""Tables of the report, one row per comparison, forecaster, grid point, region or point drawn."""

import jax.numpy as jnp
import numpy as np
import pandas as pd

from diffmig import fit
from experiments.regions.rivals import PROTOCOLS
from experiments.regions.study import Result

MAX_BARS = 30  # regions that a figure of bars still shows on one page
NUM_SAMPLES = 6


def tests_frame(result: Result) -> pd.DataFrame:
    """One row per protocol and baseline."""
    rows = [
        {
            "protocol": c.protocol,
            "baseline": c.baseline,
            "outcome": c.outcome,
            "wins": f"{c.wins} of {c.num_regions}",
            "median_difference": c.interval.median_difference,
            "low": c.interval.low,
            "high": c.interval.high,
            "holm_p": c.adjusted_p,
            "signed_rank_p": c.wilcoxon_p,
            "sign_p": c.sign_p,
        }
        for c in result.comparisons
    ]
    return pd.DataFrame(rows)


def accuracy_frame(result: Result) -> pd.DataFrame:
    """Median MAPE over regions by protocol and forecaster; for networks the spread of runs too."""
    rows = []
    for protocol, runs in zip(PROTOCOLS, result.seed_mape, strict=True):
        spread = fit.band(jnp.asarray(np.nanmedian(runs, axis=0)))
        for name, interval in result.median_mape[protocol].items():
            of_runs = map(float, spread) if name == "network" else (np.nan,) * 3
            rows.append(
                {
                    "protocol": protocol,
                    "label": name,
                    "value": interval.median_difference,
                    "low": interval.low,
                    "high": interval.high,
                }
                | dict(zip(("run_median", "run_low", "run_high"), of_runs, strict=True))
            )
    return pd.DataFrame(rows)


def selection_frame(result: Result) -> pd.DataFrame:
    """Score of every grid point inside the training years, by protocol."""
    scores = pd.DataFrame(result.scores, columns=list(PROTOCOLS))
    return pd.concat([pd.DataFrame(result.settings), scores], axis=1)


def regions_frame(result: Result) -> pd.DataFrame:
    """MAPE by region, protocol and forecaster."""
    tables = [
        pd.DataFrame(errors).assign(region=result.regions.names, protocol=protocol)
        for protocol, errors in result.mape.items()
    ]
    return pd.concat(tables, ignore_index=True).set_index(["protocol", "region"]).reset_index()


def differences_frame(result: Result, protocol: str) -> tuple[str, pd.DataFrame]:
    """The baseline of lowest median MAPE, and network minus it by region, sorted; of more than
    `MAX_BARS` regions the outermost."""
    medians = {name: float(np.nanmedian(errors)) for name, errors in result.mape[protocol].items()}
    rival = min((name for name in medians if name != "network"), key=lambda name: medians[name])
    difference = result.mape[protocol]["network"] - result.mape[protocol][rival]
    table = pd.DataFrame({"label": result.regions.names, "value": difference})
    table = table[np.isfinite(difference)].sort_values("value", ignore_index=True)
    if len(table) > MAX_BARS:
        ends = [table.head(MAX_BARS // 2), table.tail(MAX_BARS // 2)]
        table = pd.concat(ends, ignore_index=True)
    return rival, table


def samples_frame(result: Result) -> pd.DataFrame:
    """Actual and honest forecast GRP at evenly spaced ranks of MAPE, last training year = 100."""
    regions, protocol = result.regions, "honest"
    errors = result.mape[protocol]["network"]
    ranks = np.argsort(errors)[: int(np.isfinite(errors).sum())]
    chosen = ranks[np.unique(np.linspace(0, len(ranks) - 1, NUM_SAMPLES).round().astype(int))]
    ahead = slice(regions.num_training, None)
    tables = []
    for region in chosen:
        unit = regions.grp[region, regions.num_training - 1] / 100.0
        head = {"panel": f"{regions.names[region]}, MAPE {errors[region]:.1f} %"}
        actual = {"series": "actual", "kind": "actual", "year": regions.years}
        tables.append(pd.DataFrame(head | actual | {"value": regions.grp[region] / unit}))
        band = fit.band(
            jnp.asarray(result.levels[PROTOCOLS.index(protocol), region, :, ahead] / unit)
        )
        network = {"series": "network", "kind": "forecast", "year": regions.years[ahead]}
        columns = {"value": band.median, "low": band.low, "high": band.high}
        tables.append(pd.DataFrame(head | network | {k: np.asarray(v) for k, v in columns.items()}))
    return pd.concat(tables, ignore_index=True)
