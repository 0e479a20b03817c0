"""The model runs of `benchmarks.gradients`: the default path of every chapter that one can
differentiate, as a function of its inputs to one number.

What a run takes besides its inputs is an argument too, so that XLA cannot compute it beforehand.
Batches of `copies` are summed, each with inputs of its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks._ode_problem import CONFINEMENT, DAMPING, DISTANCE, LENGTH, made_problem
from benchmarks._ode_programs import force_nodes, inputs
from benchmarks.batches import MODELS, UNITS, training_task
from diffmig import fit, migration, networks, smoothing
from diffmig import human_capital as hc
from diffmig.explain.chain import (
    ChainParameters,
    ChainRegion,
    ChainState,
    calibrate_chain,
    joined_chain,
)
from diffmig.explain.chain_links import rogers_castro
from diffmig.fit.cluster_networks import (
    Architecture,
    draw_starts,
    output_range,
    split_weights,
)
from diffmig.fit.ensembles import NETWORKS_PER_BLOCK
from diffmig.fit.network_rows import standardise
from diffmig.fit.network_training import Candidates, NetworkSearchConfig, members_loss
from diffmig.fit.pinn_loss import pinn_terms
from diffmig.fit.pinn_problem import PinnConfig, pinn_problem
from diffmig.fit.pinn_training import begin_training
from diffmig.fit.smoothing import SERIES_PER_BLOCK
from experiments.human_capital.config import Config
from experiments.human_capital.economy import build_region, component_shares, make_parameters
from experiments.human_capital.inputs import load

TOWNS, YEARS, SCENARIOS = 27, 20, 256
FACTORS, UNITS_OF_TOWNS, LANES = 12, 11, 32
LENGTH_OF_SERIES, HORIZONS = 24, 3
WEAR_RATE, INITIAL_FACTOR = 0.027, 1.9  # near those calibrated


class Case(NamedTuple):
    """One run to differentiate.

    Attributes:
        chapter: of the package.
        what: the number that comes out.
        by: what it is differentiated by.
        run: (inputs, given) -> number.
        inputs: pytree of arrays.
        given: what else the run takes.
        copies: members of the batch.
    """

    chapter: str
    what: str
    by: str
    run: Callable[[Any, Any], Array]
    inputs: Any
    given: Any
    copies: int = 1


def made_cases(seed: int) -> list[Case]:
    """All cases, chapter by chapter."""
    makers = (_networks, _smoothing, _human_capital, _motion, _pinn, _towns, _chain)
    return [case for make in makers for case in make(seed)]


def _networks(seed: int) -> list[Case]:
    """Loss of the GRP networks on the bundled table, one and a block."""
    cases = []
    layout = networks.Layout()
    units = jnp.full(1, UNITS, jnp.int32)
    for name in ("LSTM", "Elman", "BPNN"):
        network = MODELS[name].clone(dtype="float64")
        task = fit.cast(training_task(), "float64")

        def loss(params: Any, task: fit.Task, network: Any = network) -> Array:
            outputs = networks.predict(network, params, task.x, units, layout)
            return fit.weighted_mse(task.y, outputs, task.weight)

        def start(key: Array, network: Any = network) -> Any:
            return networks.init_network(key, network, 4, units, layout)

        keys = jax.random.split(jax.random.key(seed), NETWORKS_PER_BLOCK)
        about = ("fit", f"training loss of the {name}", "weights")
        cases.append(Case(*about, loss, jax.jit(start)(keys[0]), task))
        if name == "LSTM":
            together = partial(_summed, jax.vmap(loss, (0, None)))
            params = jax.jit(jax.vmap(start))(keys)
            cases.append(Case(*about, together, params, task, NETWORKS_PER_BLOCK))
    return cases


def _smoothing(seed: int) -> list[Case]:
    """Holt's filter: squares by its weights, forecast by every observation."""
    rng = np.random.default_rng([seed, 1])
    steps = rng.normal(30.0, 60.0, (LENGTH_OF_SERIES, SERIES_PER_BLOCK))
    y = jnp.asarray(1e3 + np.cumsum(steps, axis=0))
    weights = jnp.asarray(rng.uniform(0.2, 0.6, (2, SERIES_PER_BLOCK)))
    holt = smoothing.HOLT

    def start(y: Array) -> smoothing.Start:
        return smoothing.start_values(y, None, holt.initial, holt.num_initial)

    def squares(weights: Array, y: Array) -> Array:
        return jnp.sum(smoothing.sum_squares(holt, weights, y, None, start(y)))

    def forecast(y: Array, weights: Array) -> Array:
        state = smoothing.run_filter(holt, weights, y, None, start(y)).state
        return jnp.sum(holt.predict(weights, state, HORIZONS)[-1])

    cases = []
    for number in (1, SERIES_PER_BLOCK):
        w, z = weights[:, :number], y[:, :number]
        by, also = ("weights and", "observations")
        cases.append(Case("smoothing", "squares of Holt's filter", by[:7], squares, w, z, number))
        cases.append(Case("smoothing", "forecast of Holt's filter", also, forecast, z, w, number))
    return cases


def _human_capital(seed: int) -> list[Case]:
    """H of the last year, bundled budget and population."""
    config = Config()
    region = build_region(config, load(None, config))
    shares = component_shares(config, region.lines.membership.shape[0])
    parameters = make_parameters(shares, WEAR_RATE, INITIAL_FACTOR)

    def by_amounts(amounts: Array, given: Any) -> Array:
        parameters, region = given
        return hc.human_capital(parameters, region._replace(amounts=amounts)).total[-1]

    def by_all(some: Any, lines: hc.Lines) -> Array:
        parameters, amounts, *ages = some
        return hc.human_capital(parameters, hc.Region(amounts, lines, *ages)).total[-1]

    every = (parameters, region.amounts, region.population, region.participation)
    what = "human capital of the last year"
    return [
        Case("human_capital", what, "budget lines, years", by_amounts, region.amounts,
             (parameters, region)),
        Case("human_capital", what, "every input", by_all, every, region.lines),
    ]  # fmt: skip


def _motion(seed: int) -> list[Case]:
    """Squares of the balances by the exact propagator."""
    given = inputs(made_problem(TOWNS, SCENARIOS, YEARS, seed=seed))
    many = (given.damping, given.balance, given.velocity, force_nodes(given.force, YEARS))
    state = (given.damping, *(leaf[0] for leaf in many[1:]))

    def path(some: Any, modes: migration.Modes) -> Array:
        return jnp.sum(migration.propagate(modes, *some).balance ** 2)

    rng = np.random.default_rng([seed, 3])
    distances = migration.distance_matrix(rng.uniform(45, 55, TOWNS), rng.uniform(50, 80, TOWNS))
    similar = migration.similarity_matrix(rng.normal(size=(TOWNS, FACTORS)), shrinkage=0.1)
    couplings = migration.Couplings(
        migration.laplacian(migration.exponential_kernel(distances, LENGTH)),
        migration.laplacian(similar),
        jnp.asarray(rng.uniform(0, 1, TOWNS)),
    )
    strengths = migration.Parameters(*map(jnp.asarray, (DISTANCE, 0.2, 0.1, CONFINEMENT, DAMPING)))

    def whole(some: Any, couplings: migration.Couplings) -> Array:
        strengths, balance, velocity, pushes = some
        matrix = migration.stiffness_matrix(strengths, couplings)
        made = migration.propagate(matrix, strengths.damping, balance, velocity, pushes)
        return jnp.sum(made.balance**2)

    modes = migration.modes(migration.stiffness_matrix(strengths, couplings))
    return [
        Case("migration", "path of balances", "damping, start, force", path, state, modes),
        Case("migration", "path of balances", "damping, start, force", path, many, modes,
             SCENARIOS),
        Case("migration", "path of balances", "strengths, start, force", whole,
             (strengths, *state[1:]), couplings),
    ]  # fmt: skip


def _pinn(seed: int) -> list[Case]:
    """Loss of the physics-informed networks, default sizes."""
    rng = np.random.default_rng([seed, 4])
    config = PinnConfig(penalty=0.01)
    t = np.arange(float(YEARS))
    balance = np.sin(0.5 * t[None, :] + rng.uniform(0, 6, (TOWNS, 1)))
    balance += 0.05 * rng.normal(size=balance.shape)
    problem = jax.tree.map(jnp.asarray, pinn_problem(t, balance, 0.05, config))
    weights = np.array(config.weights())
    matrix = jnp.asarray(made_problem(TOWNS, 1, YEARS, seed=seed).matrix)
    theta = (matrix, jnp.asarray(DAMPING))
    state = begin_training(jax.random.key(seed), 1, problem, theta, weights, config)
    params = jax.tree.map(lambda x: x[0], state.params)

    def loss(params: Any, given: Any) -> Array:
        problem, (stiffness, damping), weights = given
        return weights @ pinn_terms(params, stiffness, damping, problem, config)

    given = (problem, theta, jnp.asarray(weights))
    return [Case("fit", "loss of the physics-informed networks", "weights", loss, params, given)]


def _towns(seed: int) -> list[Case]:
    """Networks of a cluster of towns: forecast by the factors, training loss by the weights."""
    config = NetworkSearchConfig()
    rng = np.random.default_rng([seed, 5])
    x = jnp.asarray(rng.normal(size=(2 * TOWNS, FACTORS)))
    y = jnp.tanh(x[:, 0] * x[:, 1]) + x[:, 2]
    seen = jnp.ones(y.shape, bool)
    rows = standardise(x, y, seen, ~seen, jnp.dtype("float64"))
    kinds = jnp.asarray(rng.integers(0, 4, (2, LANES)), jnp.int32)
    units = jnp.asarray(rng.integers(2, UNITS_OF_TOWNS + 1, LANES), jnp.int32)
    architecture = Architecture(units, *kinds)
    starts = jnp.arange(LANES, dtype=jnp.int32)
    reach = output_range(rows.target, seen, architecture.output, config.output_margin)
    key = jax.random.key(seed)
    shape = (UNITS_OF_TOWNS, FACTORS)
    flat = draw_starts(key, architecture, starts, shape, jnp.dtype("float64"))
    members = Candidates(architecture, jnp.full(LANES, 0.01), starts)

    def loss(flat: Array, given: Any) -> Array:
        return jnp.sum(members_loss(flat, *given)[0])

    few, kinds_of_few, reach_of_few = jax.tree.map(
        lambda leaf: leaf[..., : config.keep], (flat, architecture, reach)
    )
    ensemble = fit.NetworkEnsemble(
        weights=split_weights(few, FACTORS),
        architecture=kinds_of_few,
        reach=reach_of_few,
        inputs=rows.inputs,
        center=rows.center,
        spread=rows.spread,
    )

    def mean(x: Array, ensemble: fit.NetworkEnsemble) -> Array:
        return jnp.sum(jnp.mean(fit.predict_ensemble(ensemble, x), axis=0))

    return [
        Case("fit", "forecast of a cluster's networks", "factors", mean, x[:TOWNS], ensemble),
        Case("fit", "training loss of a cluster's networks", "weights", loss, flat,
             (members, reach, rows), LANES),
    ]  # fmt: skip


def _chain(seed: int) -> list[Case]:
    """Balance of the last year of the joined chain; bundled budget and population, the constants
    and rates assumed."""
    config = Config()
    region = build_region(config, load(None, config))
    num_years, num_ages = region.population.shape
    capital = make_parameters(
        component_shares(config, region.lines.membership.shape[0]), WEAR_RATE, INITIAL_FACTOR
    )
    age = jnp.arange(num_ages + 1.0)
    rates = jnp.minimum(1e-4 * jnp.exp(0.085 * age), 0.5)
    fertile = jnp.where((age >= 18) & (age < 40), 0.04, 0.0)[:num_ages]
    movers = rogers_castro(age, 4.0)
    constants = (1.0, 0.01, 0.35, 0.06, 0.2, 0.6, 300.0, 0.015, 0.0, 7.0, 0.9, 1.2)
    parameters = ChainParameters(capital, *(jnp.asarray(x) for x in constants))
    chain = ChainRegion(
        amounts=region.amounts,
        lines=region.lines,
        participation=region.participation[0],
        labour_share=jnp.where((age >= 16) & (age < 60), 0.8, 0.0)[:num_ages],
        mortality=jnp.broadcast_to(rates, (num_years, num_ages + 1)),
        fertility=jnp.broadcast_to(fertile, (num_years, num_ages)),
        migrant_ages=movers / movers.sum(),
    )
    start = ChainState(
        population=region.population[0],
        capital_per_head=hc.human_capital(capital, region).nodes[0],
        fixed_assets=jnp.asarray(5e5),
        rate=jnp.asarray(-1.5),
        velocity=jnp.asarray(0.0),
    )
    parameters = calibrate_chain(parameters, chain, start, 3e5)

    def balance(amounts: Array, given: Any) -> Array:
        parameters, region, start = given
        path = joined_chain(parameters, region._replace(amounts=amounts), start)
        return path.years.balance[-1]

    what, by = "balance at the end of the joined chain", "budget lines, years"
    return [Case("explain", what, by, balance, chain.amounts, (parameters, chain, start))]


def _summed(run: Callable[[Any, Any], Array], inputs: Any, given: Any) -> Array:
    return jnp.sum(run(inputs, given))
