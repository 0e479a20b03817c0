"""What the run folder shows: answer, tests, accuracy, selection, regions, figures."""

import numpy as np
import pandas as pd

from diffmig import report
from experiments.regions.comparison import OUTCOMES, answer, details
from experiments.regions.config import Config
from experiments.regions.frames import (
    accuracy_frame,
    differences_frame,
    regions_frame,
    samples_frame,
    selection_frame,
    tests_frame,
)
from experiments.regions.rivals import PROTOCOLS
from experiments.regions.study import Result


def write(run: report.Run, config: Config, result: Result) -> None:
    """Tables, figures and metrics of the study."""
    regions = result.regions
    first, last = int(regions.years[0]), int(regions.years[-1])
    last_training = int(regions.years[regions.num_training - 1])
    scored = f"{last_training + 1}-{last}"
    source = f"this run, {len(regions.names)} regions, {config.num_seeds} seeds"
    run.write_text("protocol", "Regions: protocol", _protocol(config, result, last_training))
    run.write_table(
        "tests", tests_frame(result),
        f"Networks against baselines over {len(regions.names)} regions, MAPE of {scored}. "
        "Differences are network minus baseline: below 0 the network is better.",
        units={"median_difference": "percentage points", "low": "5 %", "high": "95 %"},
        source=source,
    )  # fmt: skip
    accuracy = accuracy_frame(result)
    run.write_table(
        "accuracy", accuracy,
        f"Median MAPE of {scored} over regions with its 90 % bootstrap interval; for networks also "
        "the median and 5-95 % over single runs instead of the ensemble median.",
        units=dict.fromkeys(accuracy.columns[2:], "%"), source=source,
    )  # fmt: skip
    run.write_table(
        "selection", selection_frame(result),
        f"Grid scored by {config.num_origins} rolling origins inside {first}-{last_training}: mean "
        "MAPE over origins and regions; the lowest of each column was chosen.",
        units=dict.fromkeys(PROTOCOLS, "%"), source="this run",
    )  # fmt: skip
    run.write_table(
        "regions", regions_frame(result), f"MAPE of {scored} by region and forecaster, %.",
        show=False, source=source,
    )  # fmt: skip
    left_out = pd.DataFrame(regions.left_out, columns=["place", "reason"])
    run.write_table(
        "left_out", left_out, f"{len(left_out)} places that do not enter.", source="the data"
    )
    bars = accuracy[["label", "value", "low", "high"]].assign(series=accuracy["protocol"])
    run.write_figure(
        "median_mape",
        report.draw_bars(
            bars, title=f"Median MAPE over regions, {scored}", x_label="MAPE, %", source=source
        ),
        bars,
        "Bars: median over regions; lines: its 90 % bootstrap interval. Baselines without factors "
        "are the same in both protocols.",
        source=source,
    )
    for protocol in PROTOCOLS:
        rival, shown = differences_frame(result, protocol)
        run.write_figure(
            f"differences_{protocol}",
            report.draw_bars(
                shown,
                title=f"Network minus {rival}, {protocol}",
                x_label="difference of MAPE, percentage points",
                source=source,
            ),
            shown,
            f"MAPE of {scored} by region, network minus {rival}: the baseline of lowest median "
            "MAPE in these very years, an advantage given to it. "
            f"{len(shown)} of {len(regions.names)} regions, the outermost if not all.",
            source=source,
        )
    samples = samples_frame(result)
    run.write_figure(
        "forecasts",
        report.draw_grid(
            samples,
            title="Forecasts of six regions from best to worst",
            y_label=f"GRP, {last_training} = 100",
            source=source,
            last_training_year=last_training,
        ),
        samples,
        "Honest forecasts, medians and 5-95 % of runs (the spread of seeds, not a prediction "
        f"interval), at evenly spaced ranks of MAPE in {scored}.",
        source=source,
    )
    run.write_metrics(_metrics(config, result, last_training))


def _protocol(config: Config, result: Result, last_training: int) -> tuple[str, ...]:
    regions = result.regions
    chosen = "; ".join(
        f"{protocol}: {s.network}, target {s.target}, weight decay {s.weight_decay:g}"
        for protocol, s in result.chosen.items()
    )
    return (
        f"Regions: {len(regions.names)}, years {regions.years[0]}-{regions.years[-1]}, GRP in "
        f"constant prices ({regions.unit}), factors {', '.join(regions.factor_names)}. Everything "
        f"after {last_training} is held out; one network of {config.units} units per region and "
        "seed, inputs limited to the range of the training years, forecast is the median over "
        f"{config.num_seeds} seeds.",
        f"Chosen inside the training years, one setting for all regions: {chosen}. No other "
        "setting was scored on the held-out years.",
        "Conditional forecasts know the actual factors of the held-out years, honest ones forecast "
        "them by each region's AR(1). Every baseline knows what the network of its protocol knows, "
        "or less.",
        "The tests treat regions as independent. They share national shocks, so that the p values "
        "are too small, and one window of years is one draw of those shocks.",
    )


def _metrics(config: Config, result: Result, last_training: int) -> dict[str, object]:
    regions = result.regions
    outcomes = {
        protocol: {
            outcome: sum((c.protocol, c.outcome) == (protocol, outcome) for c in result.comparisons)
            for outcome in OUTCOMES
        }
        for protocol in PROTOCOLS
    }
    return {
        "answer_figure": "median_mape",
        "answer": answer(result.mape, result.comparisons),
        "details": details(result.mape, result.comparisons, config.significance),
        "num_regions": len(regions.names),
        "num_left_out": len(regions.left_out),
        "last_training_year": last_training,
        "seeds": config.num_seeds,
        "converged": 1.0 - result.num_diverged / result.num_trained,
        "networks_trained": result.num_trained,
        "settings_compared": len(result.settings),
        "settings_scored_after_training": len(set(result.chosen.values())),
        "chosen": {protocol: s._asdict() for protocol, s in result.chosen.items()},
        "median_mape": {
            protocol: {name: float(np.nanmedian(errors)) for name, errors in by_name.items()}
            for protocol, by_name in result.mape.items()
        },
        "outcomes": outcomes,
    }
