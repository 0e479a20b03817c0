"""statsforecast for `benchmarks.smoothing`, in a process of its own without JAX: it forks workers.

One JSON line asks, one answers. Data frames are built once and kept, outside of what is timed.
"""

import json
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


class Peer:
    """A process that answers jobs, see `answer`; `with` ends it."""

    def __enter__(self) -> "Peer":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._statsforecast"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        return self

    def __exit__(self, *_: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def __call__(self, **job: Any) -> Any:
        """The answer to a job.

        Raises:
            RuntimeError: the process ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"statsforecast ended with {self.process.wait()} at {job}")
        return json.loads(line)


def serve() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing else may be printed between the answers
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=answers, flush=True)


def answer(
    want: str,
    data: str,
    models: list[str],
    num_series: int,
    num_jobs: int = 1,
    num_horizons: int = 1,
    num_windows: int = 0,
) -> Any:
    """One job.

    want: "seconds" of the forecast of all series from their last row, or of `num_windows` last
        origins, every model fitted anew at each; "bare": seconds of each model's own method in a
        loop over arrays, without data frame and processes; "squares": sums of squared one-step
        errors [model][series] of the fits to all rows.
    data: file of values [series, time].
    """
    from statsforecast import StatsForecast

    if want == "bare":
        rows, makers = np.load(data)[:num_series], [_model(name) for name in models]
        start = time.perf_counter()
        for row in rows:
            for model in makers:
                model.forecast(row, num_horizons)
        return time.perf_counter() - start
    frame = _frame(data, num_series)
    names = list(models)
    forecaster = StatsForecast([_model(name) for name in names], freq=1, n_jobs=num_jobs)
    start = time.perf_counter()
    if want == "squares":
        forecaster.forecast(df=frame, h=num_horizons, fitted=True)
        made = forecaster.forecast_fitted_values()
        y = frame["y"].to_numpy().reshape((num_series, -1))
        fitted = [made[name].to_numpy(float).reshape(y.shape) for name in names]
        # SES starts at the first value, whose forecast is left out: its error is 0
        return [np.nansum((y - one) ** 2, axis=1).tolist() for one in fitted]
    if num_windows:
        forecaster.cross_validation(df=frame, h=num_horizons, n_windows=num_windows, step_size=1)
    else:
        forecaster.forecast(df=frame, h=num_horizons)
    return time.perf_counter() - start


def _model(name: str) -> Any:
    from statsforecast.models import AutoETS, SimpleExponentialSmoothingOptimized

    if name == "ses":
        return SimpleExponentialSmoothingOptimized(alias=name)
    return AutoETS(model="AAN", damped=name == "damped", alias=name)


@lru_cache(maxsize=3)
def _frame(data: str, num_series: int) -> Any:
    import pandas as pd

    y = np.load(data)[:num_series]
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(num_series), y.shape[1]),
            "ds": np.tile(np.arange(y.shape[1]), num_series),
            "y": y.ravel(),
        }
    )


if __name__ == "__main__":
    serve()
