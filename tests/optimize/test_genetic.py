"""Genetic operators, and the missing selection pressure of the printed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.optimize import METHODS, GeneticConfig, Space, begin, run, run_chunk
from diffmig.optimize.genetic import _cross, _mutate, _select
from diffmig.optimize.space import flatten

LITERAL, STANDARD = METHODS["genetic-literal"], METHODS["genetic-standard"]
BOX = flatten(Space(jnp.full(6, 0.0), jnp.full(6, 10.0), jnp.arange(6) < 2))
OWN = jnp.broadcast_to(jnp.arange(4.0)[:, None], (4, 6))
MATE = OWN[jnp.array([1, 0, 3, 2])]
C = jax.tree.map(jnp.asarray, STANDARD.coefficients)


def crossed(key, crossover, cut=0.5):
    config = dataclasses.replace(STANDARD.config, crossover=crossover)
    return np.array(_cross(key, OWN, MATE, jnp.full(4, cut), BOX, config, C))


@pytest.mark.parametrize(("cut", "point"), [(0.0, 1), (0.39, 2), (0.999, 5)])
def test_one_point_cut_swaps_the_tails(key, cut, point):
    child = crossed(key, "one-point", cut)
    np.testing.assert_array_equal(child[0], [0] * point + [1] * (6 - point))
    np.testing.assert_array_equal(child[1], [1] * point + [0] * (6 - point))


@pytest.mark.parametrize("crossover", ["one-point", "uniform", "sbx"])
def test_a_pair_keeps_its_sum(key, crossover):
    """Exchange keeps the two genes of a pair, simulated binary crossover their mean."""
    child = crossed(key, crossover)
    np.testing.assert_allclose(child[0] + child[1], 1.0)
    np.testing.assert_allclose(child[2] + child[3], 5.0)
    if crossover == "sbx":
        np.testing.assert_array_equal(child[:, :2], np.round(child[:, :2]))
        assert np.any(child[:, 2:] != np.round(child[:, 2:]))


def test_one_gene_has_no_cut(key):
    """DEAP raises an error here; we exchange nothing, and only mutation makes new values."""
    own, mate = jnp.array([[3.0], [7.0]]), jnp.array([[7.0], [3.0]])
    box = flatten(Space(jnp.ones(1), jnp.full(1, 99.0), True))
    np.testing.assert_array_equal(
        _cross(key, own, mate, jnp.full(2, 0.5), box, LITERAL.config, C), own
    )
    space = Space({"units": 1.0}, {"units": 99.0}, True)
    result = run(key, LITERAL, lambda key, s: jnp.abs(s["units"] - 40.0), space, 10)
    assert float(result.candidate["units"]) == round(float(result.candidate["units"]))


@pytest.mark.parametrize(
    ("real", "integer", "typical"),
    [
        ("reset", "reset", 10 / 3),
        ("gaussian", "creep", np.sqrt(2 / np.pi)),
        # mean of |delta| for the index 20 is 1/22, of a range of 10
        ("polynomial", "creep", 10 / 22),
    ],
)
def test_mutation_sizes(key, real, integer, typical):
    config = dataclasses.replace(STANDARD.config, real_mutation=real, integer_mutation=integer)
    everything = C._replace(mutated_genes=jnp.asarray(6.0))
    middle = jnp.full((20_000, 6), 5.0)
    change = np.array(_mutate(key, middle, BOX, config, everything)) - 5.0
    assert np.mean(np.abs(change[:, 2:])) == pytest.approx(
        2.5 if real == "reset" else typical, rel=0.02
    )
    assert abs(np.mean(change[:, 2:])) < 0.05
    np.testing.assert_array_equal(change[:, :2], np.round(change[:, :2]))
    if integer == "creep":
        assert set(np.unique(change[:, :2])) == {-1.0, 1.0}


def test_expected_number_of_mutated_genes(key):
    middle = jnp.full((20_000, 6), 5.0)
    change = np.array(_mutate(key, middle, BOX, STANDARD.config, C)) != 5.0
    assert change.sum(axis=1).mean() == pytest.approx(1.0 - 2 / 6 / 11, abs=0.03)


def test_tournament_prefers_low_loss_and_random_does_not(key):
    loss = jnp.arange(30.0)
    many = jax.vmap(lambda k: _select(k, loss, STANDARD.config))(jax.random.split(key, 300))
    # P(best of three among 30, with replacement) = 1 - (29/30)^3
    assert np.mean(many == 0) == pytest.approx(1 - (29 / 30) ** 3, abs=0.01)
    evenly = jax.vmap(lambda k: _select(k, loss, LITERAL.config))(jax.random.split(key, 300))
    assert float(jnp.mean(loss[evenly])) == pytest.approx(14.5, abs=0.4)


def test_elites_survive(key):
    space = Space(jnp.full(6, 0.0), jnp.full(6, 10.0))

    def loss(key, swarm):
        return jnp.sum(swarm, axis=1)

    config = dataclasses.replace(STANDARD.config, num_elites=3, num_members=9)
    state = begin(key, STANDARD, loss, space, config=config)
    for _ in range(5):
        elite = np.sort(state.loss)[:3]
        state, _ = run_chunk(key, state, STANDARD, loss, space, 1, config=config)
        assert np.isin(elite, state.loss).all()
        assert np.sort(state.loss)[0] <= elite[0]


def test_printed_form_has_no_selection_pressure(key):
    """eaSimple with random parents: the swarm's mean stays; only a lucky draw is remembered."""
    space = Space(jnp.full(5, 0.0), jnp.full(5, 1.0))

    def loss(key, swarm):
        return jnp.sum(swarm, axis=1)

    def means(config, key):
        state = begin(key, LITERAL, loss, space, config=config)
        after, _ = run_chunk(key, state, LITERAL, loss, space, 40, config=config)
        count = after.num_evaluations.astype(float)
        return jnp.stack([state.loss.mean(), after.loss.mean(), after.best_loss, count])

    keys = jax.random.split(key, 200)
    printed = jax.vmap(lambda k: means(LITERAL.config, k))(keys)
    tournament = dataclasses.replace(LITERAL.config, selection="tournament")
    selected = jax.vmap(lambda k: means(tournament, k))(keys)
    before, after, best, evaluations = printed.mean(axis=0)
    assert before == pytest.approx(2.5, abs=0.1)
    assert after == pytest.approx(float(before), abs=0.15)
    assert selected.mean(axis=0)[1] < 0.6 * after
    assert best < 0.6 * after
    # 10 + 40 generations x 10 individuals x (1 - 0.5 0.8) are crossed or mutated
    assert evaluations == pytest.approx(10 + 40 * 10 * 0.6, rel=0.02)


def test_printed_budget_is_seventy_evaluations(key):
    """Population 10, 10 generations: 69.9 evaluations in DEAP, not 110."""
    space = Space({"units": 1.0}, {"units": 99.0}, True)
    counts = jax.vmap(
        lambda k: run(k, LITERAL, lambda key, s: s["units"], space, 10).num_evaluations
    )(jax.random.split(key, 400))
    assert float(jnp.mean(counts)) == pytest.approx(70.0, abs=1.0)


def test_mixed_genes_are_solved(key):
    space = Space({"n": 1.0, "x": -3.0}, {"n": 99.0, "x": 3.0}, {"n": True, "x": False})

    def loss(key, swarm):
        return jnp.abs(swarm["n"] - 37.0) + (swarm["x"] - 0.7) ** 2

    for config in (
        GeneticConfig(crossover="uniform", real_mutation="gaussian", integer_mutation="creep"),
        GeneticConfig(crossover="one-point", num_members=21),
    ):
        result = run(key, STANDARD, loss, space, 100, config=config)
        assert float(result.candidate["n"]) == 37.0
        assert float(result.loss) < 1e-2


@pytest.mark.parametrize(
    "choice",
    [
        {"selection": "roulette"},
        {"crossover": "two-point"},
        {"real_mutation": "creep"},
        {"integer_mutation": "gaussian"},
        {"num_elites": 40},
        {"tournament_size": 0},
        {"boundary": "bounce"},
    ],
)
def test_wrong_choices_raise(choice):
    with pytest.raises(ValueError, match="expected"):
        GeneticConfig(**choice)
