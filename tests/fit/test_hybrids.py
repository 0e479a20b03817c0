"""Hybrids: one contract over searches and methods, no later year in any weight, failures by
status."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import fit
from diffmig.fit import FIT_STATUS, Hybrid, Hyper, Target, build_task, fit_hybrid, train_fixed
from diffmig.networks import BPNN, LSTM, Elman, Layout

TRAINING = 8
METHODS = (
    "bat-literal", "bat-yang2020", "swarm-literal", "swarm-constriction", "genetic-literal",
    "genetic-standard",
)  # fmt: skip
PLAIN = BPNN(4, output="identity", dtype="float64", hidden="tanh", bias_terms=True)
DEEP = BPNN(4, 2, output="identity", dtype="float64", hidden="tanh", bias_terms=True)
FREE = {
    "units": ((1, 4),),
    "log10_learning_rate": (-2.0, -1.0),
    "epochs": (10, 30),
    "log10_weight_decay": (-4.0, -2.0),
}
FIXED = {"units": ((3, 3),), "log10_learning_rate": (-1.5, -1.5), "epochs": (20, 20)}

# these programs run for milliseconds: nearly all the time is that of their compilation
QUICK = {"xla_backend_optimization_level": "0"}
run = jax.jit(fit_hybrid, static_argnums=1, compiler_options=QUICK)
train_alone = jax.jit(train_fixed, static_argnums=1, compiler_options=QUICK)


def make(search, method, network=PLAIN, **changes):
    free = FREE if search == "hyper" else FIXED
    options = {"num_members": 6, "num_steps": 5, "weight_limit": 0.5, **free, **changes}
    return Hybrid(network, Layout(), method, search=search, **options)


LEVEL = Target("level")


@partial(jax.jit, static_argnames=("target", "num_seen"))
def task_of(series, score, target=LEVEL, num_training=TRAINING, num_seen=None):
    return build_task(series, target, num_training, score, index_factor=2, num_seen=num_seen)


def years(first, last):
    return jnp.asarray((np.arange(12) >= first) & (np.arange(12) < last), float)


def alone(task):
    """The task as the only fold."""
    return jax.tree.map(lambda leaf: leaf[None], task)


@pytest.fixture(scope="module")
def task(region):
    return task_of(region, years(0, TRAINING))


def training_mape(task, levels):
    actual = np.asarray(task.grp)[:TRAINING]
    return 100.0 * np.mean(np.abs(1.0 - np.asarray(levels)[:TRAINING] / actual))


def same_bits(a, b):
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.mark.parametrize(
    ("search", "method"),
    [
        *(("hyper", method) for method in METHODS if "-literal" in method),
        ("hyper", "genetic-standard"),
        *(("weights", method) for method in METHODS),
        ("initial_weights", "swarm-literal"),
        ("initial_weights", "genetic-standard"),
    ],
)
def test_every_search_keeps_the_contract(task, search, method):
    hybrid = make(search, method)
    got, again = (run(jax.random.key(7), hybrid, alone(task), task) for _ in range(2))
    assert same_bits(got, again)
    other = run(jax.random.key(8), hybrid, alone(task), task)
    assert not np.array_equal(got.levels, other.levels)

    fitness = np.asarray(got.fitness)
    assert fitness.shape == (hybrid.num_steps,)
    assert np.isfinite(fitness).all()
    assert (np.diff(fitness) <= 0).all()
    assert FIT_STATUS[int(got.status)] == "trained"
    most = hybrid.num_members * (hybrid.num_steps + 1)
    assert got.num_evaluations == most or (
        method.startswith("genetic") and hybrid.num_members < got.num_evaluations < most
    )

    units = np.asarray(got.hyper.units)
    assert units.dtype == np.int32
    assert all(low <= n <= high for n, (low, high) in zip(units, hybrid.units, strict=True))
    for name, bounds, value in (
        ("epochs", hybrid.epochs, int(got.hyper.epochs)),
        ("rate", hybrid.log10_learning_rate, np.log10(got.hyper.learning_rate)),
        ("decay", hybrid.log10_weight_decay, np.log10(got.hyper.weight_decay)),
    ):
        assert bounds[0] - 1e-9 <= value <= bounds[1] + 1e-9, name

    # the fitness reported is that of the candidate trained at last: as trained, or (weights) before
    final = got.train_mape[0] if search == "weights" else training_mape(task, got.levels)
    np.testing.assert_allclose(final, fitness[-1], rtol=1e-8)
    assert training_mape(task, got.levels) < got.train_mape[0]


def test_a_repaired_lstm_halves_the_error_of_its_untrained_network(task):
    network = LSTM(4, dtype="float64")
    hybrid = make("initial_weights", "bat-yang2020", network, num_steps=3)
    got = run(jax.random.key(1), hybrid, alone(task), task)
    assert training_mape(task, got.levels) < 0.5 * got.train_mape[0]


def test_new_weights_at_every_evaluation_flatter_the_fitness(task):
    """Without a common start the best fitness is that of one draw, which training again misses."""
    network = Elman(4, dtype="float64")
    hybrid = make("hyper", "swarm-constriction", network, common_start=False)
    got = run(jax.random.key(7), hybrid, alone(task), task)
    assert (np.diff(got.fitness) <= 0).all()
    assert abs(training_mape(task, got.levels) / float(got.fitness[-1]) - 1.0) > 0.01


def changed(series, first):
    """`series` with other values from year `first` on, of capital also one below zero."""
    later = (np.arange(12) >= first)[:, None]
    shock = np.where(later, [3.0, 0.2, 1.8], 1.0)
    shock[first + 1, 0] = -2.0
    return fit.Series(
        series.grp * jnp.where(later[:, 0], 7.0, 1.0),
        series.factors * shock,
        series.price_index * shock[:, 2],
    )


def rolling(series, target, num_seen=None):
    """Folds that train to year 4 and 5 and score the two years after, and the final task."""
    folds = [task_of(series, years(n, n + 2), target, n, num_seen) for n in (4, 5)]
    final = task_of(series, years(0, TRAINING), target, TRAINING, num_seen)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *folds), final


@pytest.mark.parametrize("kind", ["level", "growth"])
def test_fitness_and_weights_see_no_later_year(region, kind):
    hybrid, target = make("hyper", "genetic-standard", DEEP, units=((1, 4), (0, 3))), Target(kind)
    got = run(jax.random.key(3), hybrid, *rolling(region, target))
    # after the last training year (8): only the forecast may change
    later = run(jax.random.key(3), hybrid, *rolling(changed(region, TRAINING), target))
    np.testing.assert_array_equal(later.fitness, got.fitness)
    assert same_bits(
        (later.params, later.hyper, later.train_mape), (got.params, got.hyper, got.train_mape)
    )
    np.testing.assert_array_equal(later.levels[:TRAINING], got.levels[:TRAINING])
    assert not np.array_equal(later.levels[TRAINING:], got.levels[TRAINING:])
    # after the last scored year (7) of the folds: the last training may change too, the search not
    scored = run(jax.random.key(3), hybrid, *rolling(changed(region, 7), target))
    np.testing.assert_array_equal(scored.fitness, got.fitness)
    assert same_bits(scored.hyper, got.hyper)
    assert not same_bits(scored.params, got.params)
    # inside the scored years the fitness does change
    inside = run(jax.random.key(3), hybrid, *rolling(changed(region, 6), target))
    assert not np.array_equal(inside.fitness, got.fitness)


def test_scaling_over_all_years_puts_later_years_into_the_weights(region):
    """The defect of the paper's wording, kept in the protocol as described."""
    hybrid, target = make("hyper", "genetic-standard", DEEP, units=((1, 4), (0, 3))), LEVEL
    got, later = (
        run(jax.random.key(3), hybrid, *rolling(series, target, 12))
        for series in (region, changed(region, TRAINING))
    )
    assert not np.array_equal(got.fitness, later.fitness)
    assert not same_bits(got.params, later.params)


def test_training_is_blind_to_later_inputs_that_overflow(region):
    """A weight of 0 times an infinite error would be NaN, and the training years would know."""
    hybrid = make("weights", "swarm-constriction", LSTM(4, gate="relu"))
    hyper = Hyper(jnp.array([3], jnp.int32), jnp.float32(0.02), jnp.int32(8), jnp.float32(0.0))
    broken = region._replace(factors=region.factors.at[TRAINING + 1 :, 0].multiply(1e38))
    (got, levels), (other, blown) = (
        train_alone(jax.random.key(0), hybrid, hyper, task_of(series, years(0, TRAINING)))
        for series in (region, broken)
    )
    assert np.isfinite(levels).all()
    assert not np.isfinite(blown).all()
    assert not other.diverged
    assert same_bits(got.params, other.params)


@pytest.mark.parametrize(
    ("search", "network", "status"),
    [
        ("weights", LSTM(4, gate="relu"), "diverged"),
        ("initial_weights", BPNN(4, output="identity"), "no finite fitness"),
    ],
)
def test_a_huge_learning_rate_ends_in_a_status_and_finite_weights(task, search, network, status):
    """Weights are searched untrained and only blow up at last; trained in the search, none has a
    fitness."""
    hybrid = make(
        search, "swarm-constriction", network, optimizer="sgd", log10_learning_rate=(6.0, 6.0)
    )
    got = run(jax.random.key(0), hybrid, alone(task), task)
    assert FIT_STATUS[int(got.status)] == status
    assert np.isfinite(got.fitness[-1]) == (search == "weights")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got.params))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "firefly"}, "bat-yang2020.*firefly"),
        ({"search": "architecture"}, "architecture"),
        ({"units": ((1, 4), (1, 4))}, "1 layers"),
        ({"units": ((0, 4),)}, "padded width"),
        ({"units": ((1, 5),)}, "padded width"),
        ({"network": DEEP, "units": ((1, 4), (-1, 3))}, "padded width"),
        ({"units": ((4, 1),)}, "lower bound <= upper"),
        ({"epochs": (9, 3)}, "epochs.*lower bound <= upper"),
        ({"epochs": (0, 3)}, "epochs.*at least 1"),
        ({"log10_learning_rate": (-1.0, -2.0)}, "log10_learning_rate"),
        ({**FIXED, "log10_weight_decay": (-3.0, -3.0)}, "bounds differ"),
        ({"search": "weights"}, "free: .*units"),
    ],
)
def test_wrong_choices_are_named(changes, words):
    options = {"network": PLAIN, "method": "bat-yang2020", "search": "hyper", **FREE, **changes}
    with pytest.raises(ValueError, match=words):
        Hybrid(layout=Layout(), **options)
