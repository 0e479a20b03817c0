"""The paper's stack in a process of its own: Keras on JAX, DEAP, plain loops for bat and swarm.

Reads a `Job` as JSON from stdin and writes an `Outcome` as JSON to stdout. It runs with the
defaults of its libraries (float32, one device) and shares nothing with diffmig but the compile
clock.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Fitness = Callable[[Sequence[float]], float]
BATCH_SIZE = 32  # Keras' default; more than the training years, so every epoch is one full batch


class Job(NamedTuple):
    """What one peer process does.

    Attributes:
        hybrid: "BA-LSTM", "GA-BPNN" or "PSO-Elman".
        reuse: one compiled model whose weights are reset; False builds a model per evaluation.
        series: one dict per price basis: x [year, factor], y [year], grp [year], offset, spread.
        evaluations: dicts series, units, learning_rate, epochs; the first warms up.
        weights: None, or weights that the first evaluation of a reused model starts from.
        reuse_units: width of the reused model.
        box: name of every gene and its bounds.
        fixed: hyper-parameters that are not searched.
        num_members, num_steps: size of the search.
        whole: also run the whole search with this fitness (hours for the large ones).
        seed: of every random number.
    """

    hybrid: str
    reuse: bool
    series: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    weights: list[Any] | None
    reuse_units: int
    box: dict[str, tuple[float, float]]
    fixed: dict[str, float]
    num_members: int
    num_steps: int
    whole: bool
    seed: int


class Outcome(NamedTuple):
    """What it measured.

    Attributes:
        seconds: of every evaluation but the warm-up.  mape: [evaluation], percent, of the same.
        compile_seconds: of them, spent on compiling; for a reused model: that of the warm-up.
        first_mape: of the warm-up.
        driver_seconds: of the whole search with a fitness that costs nothing.
        driver_evaluations: evaluations of that search.
        whole_seconds, whole_evaluations, whole_mape: the whole search of the first price basis.
        peak_bytes: peak memory of this process.
        versions: of the libraries.
    """

    seconds: list[float]
    mape: list[float]
    compile_seconds: float
    first_mape: float
    driver_seconds: float
    driver_evaluations: int
    whole_seconds: float | None
    whole_evaluations: int | None
    whole_mape: float | None
    peak_bytes: int
    versions: dict[str, str]


def build_model(hybrid: str, units: int, learning_rate: float, shape: tuple[int, ...]) -> Any:
    """A compiled Keras model; `shape` is that of one sample."""
    import keras
    from keras import layers

    body = {
        "BA-LSTM": lambda: [
            layers.LSTM(units, recurrent_activation="relu", recurrent_initializer="glorot_uniform"),
            layers.Dense(1),
        ],
        "GA-BPNN": lambda: [
            layers.Dense(units, use_bias=False),
            layers.Dense(1, activation="sigmoid", use_bias=False),
        ],
        "PSO-Elman": lambda: [
            layers.SimpleRNN(units, recurrent_initializer="glorot_uniform", return_sequences=True),
            layers.Cropping1D((1, 0)),
            layers.Dense(1),
        ],
    }[hybrid]()
    model = keras.Sequential([keras.Input(shape), *body])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="mse")
    return model


class Trainer:
    """Trains a network per call; the two ways in which scripts use Keras."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.data = [_samples(job.hybrid, one) for one in job.series]
        self.model: Any = None
        self.calls = 0
        self.random = np.random.default_rng(job.seed)

    def __call__(self, series: int, units: int, learning_rate: float, epochs: int) -> float:
        """MAPE on the training years after `epochs`, percent."""
        x, y = self.data[series]
        if not self.job.reuse:
            self.model = build_model(self.job.hybrid, units, learning_rate, x.shape[1:])
        elif self.model is None:
            units = self.job.reuse_units
            self.model = build_model(self.job.hybrid, units, learning_rate, x.shape[1:])
        if self.job.reuse:
            self._reset(learning_rate)
        self.calls += 1
        self.model.fit(x, y, epochs=epochs, batch_size=BATCH_SIZE, verbose=0)
        one = self.job.series[series]
        outputs = self.model.predict(x, batch_size=BATCH_SIZE, verbose=0).reshape(-1)
        grp = np.asarray(one["grp"])[-outputs.size :]
        return float(100 * np.mean(np.abs(1 - (one["offset"] + one["spread"] * outputs) / grp)))

    def _reset(self, learning_rate: float) -> None:
        first = self.calls == 0 and self.job.weights is not None
        weights = self.job.weights if first else [self._draw(w) for w in self.model.get_weights()]
        self.model.set_weights([np.asarray(w, np.float32) for w in weights or []])
        for variable in self.model.optimizer.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        self.model.optimizer.learning_rate = learning_rate

    def _draw(self, weights: np.ndarray) -> np.ndarray:
        if weights.ndim == 1:  # biases: zero, but the forget gate of an LSTM (second of four) is 1
            bias = np.zeros_like(weights)
            if self.job.hybrid == "BA-LSTM" and weights.size > 1:
                bias[weights.size // 4 : weights.size // 2] = 1.0
            return bias
        gates = 4 if self.job.hybrid == "BA-LSTM" and weights.shape[1] > 1 else 1
        limit = np.sqrt(6 / (weights.shape[0] + weights.shape[1] // gates))
        return self.random.uniform(-limit, limit, weights.shape)


def _samples(hybrid: str, series: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and outputs in the shape that Keras wants."""
    x, y = (np.asarray(series[name], np.float32) for name in "xy")
    if hybrid == "BA-LSTM":  # one window of one year per output
        return x[:, None, :], y
    if hybrid == "PSO-Elman":  # one sequence; its first output is cropped
        return x[None, :, :], y[None, 1:, None]
    return x, y


def bat_search(fitness: Fitness, low: np.ndarray, high: np.ndarray, job: Job) -> float:
    """Lowest fitness of V <- V + q (X - X*), X <- X + V as the paper prints it, q ~ U(0, 2)."""
    rng = np.random.default_rng(job.seed)
    x = rng.uniform(low, high, (job.num_members, low.size))
    v = np.zeros_like(x)
    loss = [fitness(row) for row in x]
    best, best_loss = x[int(np.argmin(loss))].copy(), min(loss)
    for _ in range(job.num_steps):
        for i in range(job.num_members):
            v[i] += rng.uniform(0, 2) * (x[i] - best)
            x[i] += v[i]
            loss[i] = fitness(x[i])
        if min(loss) < best_loss:
            best, best_loss = x[int(np.argmin(loss))].copy(), min(loss)
    return best_loss


def swarm_search(fitness: Fitness, low: np.ndarray, high: np.ndarray, job: Job) -> float:
    """Lowest fitness of V <- V + 2 (p - X) + (p* - X), X <- X + V as the paper prints it."""
    rng = np.random.default_rng(job.seed)
    x = rng.uniform(low, high, (job.num_members, low.size))
    v = np.zeros_like(x)
    own, own_loss = x.copy(), [fitness(row) for row in x]
    for _ in range(job.num_steps):
        best = own[int(np.argmin(own_loss))].copy()
        for i in range(job.num_members):
            v[i] += 2.0 * (own[i] - x[i]) + 2.0 * 0.5 * (best - x[i])
            x[i] += v[i]
            loss = fitness(x[i])
            if loss < own_loss[i]:
                own[i], own_loss[i] = x[i].copy(), loss
    return min(own_loss)


def genetic_search(fitness: Fitness, low: np.ndarray, high: np.ndarray, job: Job) -> float:
    """Lowest fitness of DEAP's eaSimple: random selection, crossover 0.5, mutation 0.2."""
    from deap import algorithms, base, creator, tools

    random.seed(job.seed)
    if not hasattr(creator, "Minimum"):
        creator.create("Minimum", base.Fitness, weights=(-1.0,))
        creator.create("Individual", list, fitness=creator.Minimum)
    bounds = [(int(a), int(b)) for a, b in zip(low, high, strict=True)]
    toolbox = base.Toolbox()
    toolbox.register(
        "individual", lambda: creator.Individual(random.randint(a, b) for a, b in bounds)
    )
    toolbox.register("population", tools.initRepeat, list, toolbox.individual)
    toolbox.register("evaluate", lambda individual: (fitness(individual),))
    # DEAP's one-point crossover raises for the paper's one gene: it has nothing to exchange
    toolbox.register("mate", tools.cxOnePoint if len(bounds) > 1 else lambda a, b: (a, b))
    toolbox.register(
        "mutate",
        tools.mutUniformInt,
        low=[a for a, _ in bounds],
        up=[b for _, b in bounds],
        indpb=1.0,
    )
    toolbox.register("select", tools.selRandom)
    best = tools.HallOfFame(1)
    algorithms.eaSimple(
        toolbox.population(n=job.num_members),
        toolbox,
        cxpb=0.5,
        mutpb=0.2,
        ngen=job.num_steps,
        halloffame=best,
        verbose=False,
    )
    return float(best[0].fitness.values[0])


SEARCHES = {"BA-LSTM": bat_search, "GA-BPNN": genetic_search, "PSO-Elman": swarm_search}


class _Counted:
    """A fitness on the box of the job that counts its calls."""

    def __init__(self, job: Job, trainer: Trainer | None) -> None:
        self.job, self.trainer, self.calls = job, trainer, 0

    def __call__(self, genes: Sequence[float]) -> float:
        self.calls += 1
        pairs = zip(self.job.box.items(), genes, strict=True)
        value = {name: min(max(float(g), a), b) for (name, (a, b)), g in pairs}
        if self.trainer is None:
            return abs(hash(tuple(value.values()))) % 1000 / 10
        value |= self.job.fixed
        rate = 10.0 ** value["log10_learning_rate"]
        return self.trainer(0, round(value["units"]), rate, round(value["epochs"]))


def measure(job: Job) -> Outcome:
    """Runs the job."""
    import keras

    from benchmarks import _timing as timing
    from diffmig.runtime import CompileClock

    keras.utils.set_random_seed(job.seed)
    trainer = Trainer(job)
    low, high = (np.array([pair[i] for pair in job.box.values()]) for i in (0, 1))
    stub = _Counted(job, None)
    start = time.perf_counter()
    SEARCHES[job.hybrid](stub, low, high, job)
    driver_seconds = time.perf_counter() - start

    clock = CompileClock()
    first_mape = trainer(**job.evaluations[0])
    compile_seconds = clock.seconds
    clock, seconds, mape = CompileClock(), [], []
    for evaluation in job.evaluations[1:]:
        start = time.perf_counter()
        mape.append(trainer(**evaluation))
        seconds.append(time.perf_counter() - start)
    if not job.reuse:
        compile_seconds = clock.seconds

    whole: tuple[float | None, int | None, float | None] = (None, None, None)
    if job.whole:
        counted = _Counted(job, trainer)
        start = time.perf_counter()
        best = SEARCHES[job.hybrid](counted, low, high, job)
        whole = (time.perf_counter() - start, counted.calls, best)
    return Outcome(
        seconds=seconds,
        mape=mape,
        compile_seconds=compile_seconds,
        first_mape=first_mape,
        driver_seconds=driver_seconds,
        driver_evaluations=stub.calls,
        whole_seconds=whole[0],
        whole_evaluations=whole[1],
        whole_mape=whole[2],
        peak_bytes=timing.peak_bytes(),
        versions={"keras": keras.__version__, "deap": _version("deap")},
    )


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"
    outcome = measure(Job(**json.load(sys.stdin)))
    print(json.dumps(outcome._asdict()))
