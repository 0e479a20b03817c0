"""The search for networks of `benchmarks.towns`, and the same trainings by scikit-learn."""

import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from benchmarks import _timing as timing
from diffmig import fit
from diffmig.batching import batch_mesh

AIMS = {"float64": 5.0, "float32": 9.0}
SAME_LOSS = 1.01  # mean over searches of the ratio of median losses to scikit-learn's
LEAST_LOSS = 1e-6  # of the variance: below, the rows are met
CHECKS = {"float64": 1e-5, "float32": 1e-3}  # linear networks against least squares
FACTORS = 5
Row = dict[str, Any]


@dataclass(frozen=True)
class SearchOptions:
    """The search.

    Attributes:
        towns: of the clusters.
        years: retrospective years, each a search of its own per cluster.
        hidden: hidden units.
        starts: random starts.
        dtypes: of diffmig; scikit-learn has float64.
        max_steps: tries of diffmig and iterations of scikit-learn.
        l2: penalty of the weights, beside the mean squared error.
        block: networks side by side; 0: diffmig's choice.
        num_widths: widths that hidden layers are padded to.
        peers: compare with scikit-learn, if it is installed.
        repeats, budget: at most so many timed rounds, and seconds per program.
        seed: of rows and starts.
    """

    towns: tuple[int, ...] = (15, 5, 7)
    years: int = 3
    hidden: tuple[int, ...] = tuple(range(1, 12))
    starts: int = 10
    dtypes: tuple[str, ...] = ("float64", "float32")
    max_steps: int = 200
    l2: float = 0.0
    block: int = 0
    num_widths: int = 1
    peers: bool = True
    repeats: int = 5
    budget: float = 60.0
    seed: int = 0


QUICK = SearchOptions(years=1, hidden=(1, 3, 6), starts=2, repeats=3, budget=5.0)
# what scikit-learn has as well: it knows no exponential, and only linear outputs
ACTIVATIONS = ("identity", "logistic", "tanh")


def made_problems(options: SearchOptions) -> tuple[np.ndarray, ...]:
    """x, y, year, train, test as of `diffmig.fit.search_networks`: two years train, one tests."""
    rng = np.random.default_rng(options.seed)
    most, span = max(options.towns), options.years + 2
    x = rng.standard_normal((len(options.towns), span, most, FACTORS))
    x += rng.standard_normal((len(options.towns), 1, most, FACTORS))  # towns differ for good
    y = x[..., 0] - 0.5 * x[..., 1] + np.tanh(x[..., 0] * x[..., 2])
    y += 0.5 * rng.standard_normal(y.shape)
    exists = np.arange(most)[None, :] < np.array(options.towns)[:, None]
    parts: list[list[np.ndarray]] = []
    for first in range(options.years):
        for cluster in range(len(options.towns)):
            chosen = slice(first, first + 3)
            year = np.repeat(np.arange(3), most)
            used = np.tile(exists[cluster], 3)
            rows = (x[cluster, chosen].reshape(-1, FACTORS), y[cluster, chosen].ravel(), year)
            parts.append([*rows, used & (year < 2), used & (year == 2)])
    return tuple(np.stack(part) for part in zip(*parts, strict=True))


def trainings(train: np.ndarray, test: np.ndarray, year: np.ndarray) -> list[tuple[Any, ...]]:
    """Rows to train and to score of every training: all years, then each year left out."""
    found = []
    for problem in range(len(train)):
        found.append((problem, train[problem], test[problem]))
        for left in (0, 1):
            out = train[problem] & (year[problem] == left)
            found.append((problem, train[problem] & ~out, out))
    return found


# --- scikit-learn ---------------------------------------------------------------------------------


def has_peer() -> bool:
    return importlib.util.find_spec("sklearn") is not None


def fit_one(
    rows: tuple[np.ndarray, ...], units: int, activation: str, l2: float, seed: int, max_steps: int
) -> tuple[float, float]:
    """Mean squared errors of one `MLPRegressor`, trained and scored, of the standardised target."""
    import sklearn
    from sklearn.neural_network import MLPRegressor

    x, y, score_x, score_y = rows
    with (
        warnings.catch_warnings(),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        warnings.simplefilter("ignore")  # it warns at the step limit
        network = MLPRegressor(
            hidden_layer_sizes=(units,), activation=activation, solver="lbfgs",
            alpha=l2 * len(y), max_iter=max_steps, random_state=seed,
        ).fit(x, y)  # fmt: skip
        errors = (np.mean((network.predict(a) - b) ** 2) for a, b in ((x, y), (score_x, score_y)))
        return float(next(errors)), float(next(errors))


def peer_search(options: SearchOptions, problems: tuple[np.ndarray, ...]) -> Callable[[], Any]:
    """The same trainings, spread over all cores by joblib; errors [training, candidate, 2]."""
    from joblib import Parallel, delayed

    x, y, year, train, test = problems
    jobs = []
    for problem, inside, outside in trainings(train, test, year):
        center, spread = x[problem][inside].mean(axis=0), x[problem][inside].std(axis=0)
        mean, sd = y[problem][inside].mean(), y[problem][inside].std()
        z, target = (x[problem] - center) / spread, (y[problem] - mean) / sd
        rows = (z[inside], target[inside], z[outside], target[outside])
        jobs += [
            delayed(fit_one)(rows, units, activation, options.l2, start, options.max_steps)
            for activation in ACTIVATIONS
            for units in options.hidden
            for start in range(options.starts)
        ]
    pool = Parallel(n_jobs=os.cpu_count())
    return lambda: np.array(pool(jobs)).reshape(3 * len(train), -1, 2)


# --- diffmig --------------------------------------------------------------------------------------


def own_search(
    options: SearchOptions, problems: tuple[np.ndarray, ...], dtype: str
) -> Callable[[], fit.NetworkSearch]:
    config = fit.NetworkSearchConfig(
        hidden=options.hidden,
        hidden_activations=ACTIVATIONS,
        output_activations=("identity",),
        l2=(options.l2,),
        starts=options.starts,
        max_steps=options.max_steps,
        dtype=dtype,
        block=options.block or None,
        num_widths=options.num_widths,
    )
    mesh = batch_mesh() if jax.device_count() > 1 else None
    key = jax.random.key(options.seed)
    return lambda: fit.search_networks(key, *problems, config=config, mesh=mesh)


def least_squares_error(found: fit.NetworkSearch, problems: tuple[np.ndarray, ...]) -> float:
    """Largest relative difference of linear networks to least squares, training error."""
    x, y, _, train, _ = problems
    linear = found.candidates.architecture.hidden == 0
    worst = 0.0
    for problem, rows in enumerate(train):
        design = np.column_stack([np.ones(rows.sum()), x[problem][rows]])
        left = y[problem][rows] - design @ np.linalg.lstsq(design, y[problem][rows], rcond=None)[0]
        ratio = found.train_error[problem, linear] / np.mean(left**2)
        worst = max(worst, float(np.abs(ratio - 1.0).max()))
    return worst


def measure(options: SearchOptions) -> list[Row]:
    """A row for each dtype of diffmig and one for scikit-learn, timed in the same rounds."""
    problems = made_problems(options)
    variance = np.array([y[rows].var() for y, rows in zip(problems[1], problems[3], strict=True)])
    fns: dict[str, Callable[[], Any]] = {
        dtype: own_search(options, problems, dtype) for dtype in options.dtypes
    }
    if options.peers and has_peer():
        fns["scikit-learn"] = peer_search(options, problems)
    times, answers = timing.with_answers(
        fns,
        repeats=options.repeats,
        budget=options.budget,
    )
    num_trainings = 3 * len(variance) * len(ACTIVATIONS) * len(options.hidden) * options.starts
    rows = []
    for name, seconds in times.items():
        own = name in options.dtypes
        answer = answers[name]
        loss = answer.train_error / variance[:, None] if own else answer[::3, :, 0]
        rows.append(
            {
                "part": "search",
                "tool": "diffmig" if own else name,
                "dtype": name if own else "float64",
                "trainings": num_trainings,
                "problems": len(variance),
                "max_steps": options.max_steps,
                "devices": jax.device_count() if own else os.cpu_count(),
                "seconds": seconds.median,
                "seconds_quartiles": [seconds.low, seconds.high],
                "repeats": seconds.repeats,
                "per_second": num_trainings / seconds.median,
                "compile_seconds": seconds.compile_seconds if own else 0.0,
                "loss_quartiles": [float(q) for q in np.quantile(loss, [0.25, 0.5, 0.75])],
                "loss_medians": np.median(loss, axis=1).tolist(),
                "loss_least": float(np.mean(loss.min(axis=1))),
                "error": least_squares_error(answer, problems) if own else None,
                "peak_bytes": timing.peak_bytes() if own else None,
                "load": os.getloadavg()[0],
            }
        )
    return rows


def judge(rows: list[Row]) -> None:
    """Adds how many times scikit-learn's speed, with and without compiling, and a status."""
    mine = [row for row in rows if row["part"] == "search"]
    peer = next((row for row in mine if row["tool"] == "scikit-learn"), None)
    for row in mine:
        row["status"] = "compared"
        if row["tool"] != "diffmig":
            continue
        if row["error"] > CHECKS[row["dtype"]]:
            row["status"] = "answers differ"
        elif peer is not None:
            row["ratio"] = peer["seconds"] / row["seconds"]
            row["ratio_cold"] = peer["seconds"] / (row["seconds"] + row["compile_seconds"])
            mine_and_theirs = np.maximum([row["loss_medians"], peer["loss_medians"]], LEAST_LOSS)
            logs = np.log(mine_and_theirs)
            row["loss_ratio"] = float(np.exp(np.mean(logs[0] - logs[1])))
            met = row["ratio"] >= AIMS[row["dtype"]] and row["loss_ratio"] <= SAME_LOSS
            row["status"] = "met" if met else "missed"
        else:
            row["status"] = "not compared"


def line(row: Row) -> str:
    """The row as text."""
    low, middle, high = row["loss_quartiles"]
    text = (
        f"search {row['tool']:<13}{row['dtype']:<8} {row['trainings']:>6} trainings "
        f"{row['seconds']:>8.2f} s {row['per_second']:>7.0f}/s loss {low:.2g} {middle:.3g} "
        f"{high:.2g}"
    )
    if row["tool"] == "diffmig":
        text += (
            f" error {row['error']:.0e} {row['compile_seconds']:.1f} s compiling "
            f"{row['peak_bytes'] / 2**20:.0f} MiB"
        )
    if "ratio" in row:
        text += f" x{row['ratio']:.1f}, x{row['ratio_cold']:.1f} with compiling"
        text += f", median losses x{row['loss_ratio']:.2f}"
    return f"{text}  {row['status']}"
