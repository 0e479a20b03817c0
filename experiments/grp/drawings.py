"""Tables behind the figures of the GRP report, tidy as `report.draw_*` takes them."""

import jax.numpy as jnp
import numpy as np
import pandas as pd

from diffmig import fit
from experiments.grp.economy import Economy
from experiments.grp.models import Trained
from experiments.grp.study import Study, study_frame


def panel_name(base: str, unit: str) -> str:
    """Title of a panel of GRP: quantity, unit."""
    return f"GRP in {base} prices, {unit}"


def _lines(
    panel: str, series: str, kind: str, x: np.ndarray, runs: np.ndarray, name: str = "year"
) -> pd.DataFrame:
    """Median and 5-95 % band of runs [seed, x]."""
    band = fit.band(jnp.asarray(runs, jnp.float64))
    columns = {"value": band.median, "low": band.low, "high": band.high}
    head = {"panel": panel, "series": series, "kind": kind, name: x}
    return pd.DataFrame(head | {key: np.asarray(value) for key, value in columns.items()})


def _actual(panel: str, years: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    head = {"panel": panel, "series": "actual", "kind": "actual", "year": years}
    return pd.DataFrame(head | {"value": values, "low": np.nan, "high": np.nan})


def loss_table(economy: Economy, described: dict[str, Trained]) -> pd.DataFrame:
    """Figure 1: MAPE on the training years against the training epoch of the chosen network."""
    return pd.concat(
        [
            _lines(
                f"training MAPE in {base} prices, %",
                model,
                "fitted",
                np.arange(1, trained.fitted.train_mape.shape[-1] + 1),
                np.asarray(trained.fitted.train_mape)[b],
                "iteration",
            )
            for b, base in enumerate(economy.bases)
            for model, trained in described.items()
        ]
    )


def fit_table(economy: Economy, described: dict[str, Trained], unit: str) -> pd.DataFrame:
    """Figure 2: actual GRP and the networks as described."""
    years = economy.years[: economy.num_data]
    tables = []
    for b, base in enumerate(economy.bases):
        panel = panel_name(base, unit)
        tables.append(_actual(panel, years, economy.grp[b]))
        for model, trained in described.items():
            runs = np.asarray(trained.fitted.levels)[b, :, : economy.num_data]
            tables.append(_lines(panel, model, "forecast", years, runs))
    return pd.concat(tables)


def factor_table(economy: Economy, units: dict[str, str]) -> pd.DataFrame:
    """Figure 3: factors and their AR(1) forecasts, in levels as printed and by our rule."""
    tables = []
    for j, name in enumerate(economy.factor_names):
        panel = f"{name}, {units.get(name, 'unit of the data')}"
        tables.append(
            _actual(
                panel,
                economy.years[: economy.num_data],
                np.asarray(economy.observed.factors)[0, : economy.num_data, j],
            )
        )
        for series, source in (
            ("AR(1) in levels", economy.printed),
            ("AR(1) by rule", economy.observed),
        ):
            path = np.asarray(source.factors)[0, economy.num_data - 1 :, j]
            tables.append(
                _lines(panel, series, "forecast", economy.years[economy.num_data - 1 :], path[None])
            )
    return pd.concat(tables)


def outlook_table(
    economy: Economy, described: dict[str, Trained], outlook: pd.DataFrame, unit: str
) -> pd.DataFrame:
    """Figure 4: GRP to the last forecast year, BA-LSTM as described and the primary forecaster."""
    tables = []
    last = economy.num_data - 1
    for b, base in enumerate(economy.bases):
        panel = panel_name(base, unit)
        tables.append(_actual(panel, economy.years[: economy.num_data], economy.grp[b]))
        if described:
            runs = np.asarray(described["BA-LSTM"].fitted.levels)[b, :, last:]
            tables.append(
                _lines(panel, "BA-LSTM as described (runs)", "forecast", economy.years[last:], runs)
            )
        rows = outlook[(outlook.prices == base) & (outlook.scenario == "AR(1)")]
        tables.append(
            pd.DataFrame(
                {
                    "panel": panel,
                    "series": "primary forecaster (90 % interval)",
                    "kind": "forecast",
                    "year": rows.year.to_numpy(),
                    "value": rows["median"].to_numpy(),
                    "low": rows.interval_low.to_numpy(),
                    "high": rows.interval_high.to_numpy(),
                }
            )
        )
    return pd.concat(tables)


def scenario_table(economy: Economy, outlook: pd.DataFrame, unit: str) -> pd.DataFrame:
    """GRP under every scenario of the factors."""
    tables = [
        _actual(panel_name(base, unit), economy.years[: economy.num_data], economy.grp[b])
        for b, base in enumerate(economy.bases)
    ]
    for (base, scenario), rows in outlook.groupby(["prices", "scenario"], sort=False):
        frame = rows[["year", "median", "low", "high"]].rename(columns={"median": "value"})
        tables.append(
            frame.assign(panel=panel_name(str(base), unit), series=str(scenario), kind="forecast")
        )
    return pd.concat(tables)


def accuracy_table(
    summary: pd.DataFrame, baselines: pd.DataFrame, prices: str, protocol: str
) -> pd.DataFrame:
    """Validation MAPE of the networks beside the baselines that know as much."""
    rows = summary[
        (summary.prices == prices)
        & (summary["sample"] == "validation")
        & (summary.metric == "mape")
        & (summary.protocol == protocol)
    ]
    networks = pd.DataFrame(
        {"label": rows.model, "value": rows["median"], "low": rows.low, "high": rows.high}
    ).assign(series="network")
    known = baselines[(baselines.prices == prices) & (baselines.protocol == protocol)]
    naive = pd.DataFrame({"label": known.baseline, "value": known.mape, "series": "baseline"})
    return pd.concat([networks, naive], ignore_index=True)


def study_table(economy: Economy, study: Study) -> pd.DataFrame:
    """Validation MAPE by width and layers."""
    frame = study_frame(economy, study)
    frame = frame[frame["sample"] == "validation"]
    frame = frame.assign(
        label=frame.units.astype(str) + " units x " + frame.layers.astype(str),
        series=frame.prices + " prices",
    )
    return (
        frame.groupby(["series", "label"], sort=False)["mape"]
        .agg(
            value="median",
            low=lambda values: values.quantile(0.05),
            high=lambda values: values.quantile(0.95),
        )
        .reset_index()
    )
