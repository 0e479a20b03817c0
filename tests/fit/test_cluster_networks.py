"""Cluster networks: forward pass, training, folds, selection, explanations."""

import dataclasses
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.explain import shapley_values
from diffmig.fit import (
    LAYER_ACTIVATIONS,
    NETWORK_STATUS,
    NETWORKS_AS_DESCRIBED,
    NetworkSearchConfig,
    predict_ensemble,
    run_stage,
    search_networks,
    split_ensemble,
)
from diffmig.fit.cluster_networks import Architecture, OutputRange, activate, draw_starts
from diffmig.fit.network_rows import prepare_rows, standardise
from diffmig.fit.network_search import _widths
from diffmig.fit.network_training import Candidates, members_loss

KEY = jax.random.key(5)
TOWNS, FACTORS = 8, 3
IDENTITY, LOGISTIC, TANH, EXPONENTIAL = range(4)
WIDE = NetworkSearchConfig(
    hidden=(1, 2, 4), l2=(0.0, 0.1), starts=2, keep=4, max_steps=150, tolerance=1e-6, memory=4,
)  # fmt: skip


def panel(seed, num_problems, num_years=3, noise=0.3):
    """x, y, year of towns in years; the target is curved in the first factor."""
    rng = np.random.default_rng(seed)
    x = 50.0 + 20.0 * rng.standard_normal((num_problems, num_years * TOWNS, FACTORS))
    z = (x - 50.0) / 20.0
    signal = np.tanh(2.0 * z[..., 0]) - 0.5 * z[..., 1] if noise < 1.0 else 0.0
    y = -300.0 + 400.0 * (signal + noise * rng.standard_normal(x.shape[:2]))
    return x, y, np.tile(np.repeat(2018 + np.arange(num_years), TOWNS), (num_problems, 1))


X, Y, YEAR = panel(0, 2)
TRAIN, TEST = YEAR < 2020, YEAR == 2020
TRAIN = TRAIN & ~((np.arange(2)[:, None] == 1) & (np.arange(3 * TOWNS)[None] == 3))  # 15 rows
X[1, 3], Y[1, 3] = np.nan, np.nan


@pytest.fixture(scope="module")
def found():
    chunks = []

    def watched(name, state, chunk_fn, num_chunks):
        chunks.append((name, num_chunks))
        return run_stage(name, state, chunk_fn, num_chunks)

    search = search_networks(KEY, X, Y, YEAR, TRAIN, TEST, config=WIDE, stage_fn=watched)
    assert chunks == [("networks-4-units", 1), ("networks-4-units-left-out", 2)]
    return search


def of(search, hidden, output, l2=0.0):
    """Numbers of the candidates with these activations."""
    a = search.candidates.architecture
    chosen = (a.hidden == hidden) & (a.output == output) & (search.candidates.l2 == l2)
    return np.flatnonzero(chosen)


# --- the network ----------------------------------------------------------------------------------

PLAIN = (
    lambda t: t,
    lambda t: 1.0 / (1.0 + np.exp(-t)),
    np.tanh,
    np.exp,
)
RANGES = ((0.0, 1.0), (0.0, 1.0), (-1.0, 2.0), (0.0, 1.0))


def test_outputs_and_loss_equal_a_plain_loop():
    rng = np.random.default_rng(1)
    kinds = list(product(range(4), range(4), (1, 3)))
    hidden, output, units = (jnp.array(v, jnp.int32) for v in zip(*kinds, strict=True))
    architecture = Architecture(units, hidden, output)
    members = Candidates(architecture, jnp.linspace(0.0, 0.2, 32), jnp.zeros(32, jnp.int32))
    x, y, train = X[0], Y[0], TRAIN[0]
    reach = OutputRange(*rng.uniform(0.5, 2.0, (2, 32)))

    @jax.jit
    def everything(key, x, y):
        flat = draw_starts(key, architecture, members.start, (4, FACTORS), jnp.float64)
        rows = standardise(x, y, jnp.array(train), jnp.array(TEST[0]), jnp.float64)
        ours = OutputRange(*(jnp.array(part) for part in reach))

        def total(flat):
            loss, score = members_loss(flat, members, ours, rows)
            return jnp.sum(loss), (loss, score)

        (_, both), gradient = jax.value_and_grad(total, has_aux=True)(flat)
        narrow = draw_starts(key, architecture, members.start, (3, FACTORS), jnp.float64)
        return flat, both, gradient, narrow

    flat, (loss, score), gradient, narrow = jax.device_get(everything(KEY, x, y))
    z = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    target = (y - y[train].mean()) / y[train].std()
    penalties = np.linspace(0.0, 0.2, 32)
    for m, (f, g, n) in enumerate(kinds):
        own = [flat[1 + h * (FACTORS + 2) :, m][: FACTORS + 2] for h in range(n)]
        squares = []
        for r in range(len(z)):
            total = flat[0, m]
            for w in own:
                total += w[-1] * PLAIN[f](w[0] + w[1:-1] @ z[r])
            low, span = RANGES[g]
            out = reach.low[m] + reach.width[m] * (PLAIN[g](total) - low) / span
            squares.append((out - target[r]) ** 2)
        decay = sum(np.sum(w[1:] ** 2) for w in own)
        expected = np.mean(np.array(squares)[train]) + penalties[m] * decay
        np.testing.assert_allclose(loss[m], expected, rtol=1e-10)
        np.testing.assert_allclose(score[m], np.mean(np.array(squares)[TEST[0]]), rtol=1e-10)

    number = np.arange(flat.shape[0])[:, None] - 1
    padded = number >= np.asarray(units)[None] * (FACTORS + 2)
    assert np.all(gradient[padded] == 0.0)
    assert np.all(flat[padded] == 0.0)
    assert np.all(gradient[~padded] != 0.0)
    np.testing.assert_array_equal(narrow, flat[: narrow.shape[0]])  # padding changes no start


def test_activations_are_guarded_far_out():
    t = np.repeat([[-1e6], [-40.0], [0.0], [40.0], [1e6]], 4, axis=1)
    kinds = jnp.arange(4)

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def both(t):
        value = activate(t, kinds)
        return jnp.sum(value), value

    (_, value), slope = jax.device_get(both(t))
    assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(value[:, LOGISTIC], [0, 0, 0.5, 1, 1], atol=1e-12)
    np.testing.assert_allclose(value[:, TANH], [-1, -1, 0, 1, 1], atol=1e-12)
    np.testing.assert_allclose(value[:, EXPONENTIAL], np.exp([-30.0, -30, 0, 30, 30]))
    np.testing.assert_array_equal(value[:, IDENTITY], t[:, 0])
    np.testing.assert_allclose(slope[2], [1.0, 0.25, 1.0, 1.0])
    np.testing.assert_array_equal(slope[-1], [1.0, 0.0, 0.0, 0.0])


# --- training -------------------------------------------------------------------------------------


def test_linear_networks_reach_least_squares(found):
    for problem in range(2):
        rows = TRAIN[problem]
        design = np.column_stack([np.ones(rows.sum()), X[problem][rows]])
        _, squares, _, _ = np.linalg.lstsq(design, Y[problem][rows], rcond=None)
        errors = found.train_error[problem, of(found, IDENTITY, IDENTITY)]
        np.testing.assert_allclose(errors, squares[0] / rows.sum(), rtol=1e-6)


def test_curved_networks_fit_better_and_decay_costs_fit(found):
    linear = found.train_error[:, of(found, IDENTITY, IDENTITY)].min(axis=1)
    curved = found.train_error[:, of(found, TANH, IDENTITY)]
    shrunk = found.train_error[:, of(found, TANH, IDENTITY, 0.1)]
    assert np.all(curved.min(axis=1) < 0.2 * linear)
    assert np.all(shrunk.min(axis=1) > 2.0 * curved.min(axis=1))
    words = {NETWORK_STATUS[code] for code in np.unique(found.status)}
    assert words <= {"converged", "step limit reached", "line search failed"}
    assert np.mean(found.status == 0) > 0.3


def test_bfgs_without_padding_finds_the_same_from_the_same_starts(found):
    """BFGS of jax.scipy on networks of 2 units against lockstep L-BFGS padded to 4."""
    config = dataclasses.replace(
        WIDE, hidden=(2,), hidden_activations=("identity", "tanh"), method="bfgs",
        output_activations=("identity",), l2=(0.1,),
    )  # fmt: skip
    reference = search_networks(KEY, X, Y, YEAR, TRAIN, config=config)
    for hidden in (IDENTITY, TANH):
        same = of(found, hidden, IDENTITY, 0.1)
        same = same[found.candidates.architecture.units[same] == 2]
        mine = of(reference, hidden, IDENTITY, 0.1)
        for name in ("train_error", "selection_error"):
            theirs = getattr(found, name)[:, same]
            np.testing.assert_allclose(getattr(reference, name)[:, mine], theirs, rtol=1e-4)
    assert np.all(reference.status == 0)
    np.testing.assert_array_equal(reference.test_error, 0.0)  # no test rows


# --- selection ------------------------------------------------------------------------------------


def test_selection_error_is_the_mean_over_years_left_out_and_starts(found):
    """Recomputed for a linear network by least squares without each year."""
    number = of(found, IDENTITY, IDENTITY)
    for problem in range(2):
        squares = []
        for left in (2018, 2019):
            inside = TRAIN[problem] & (YEAR[problem] != left)
            outside = TRAIN[problem] & (YEAR[problem] == left)
            a = np.column_stack([np.ones(inside.sum()), X[problem][inside]])
            b = np.linalg.lstsq(a, Y[problem][inside], rcond=None)[0]
            out = np.column_stack([np.ones(outside.sum()), X[problem][outside]]) @ b
            squares += list((out - Y[problem][outside]) ** 2)
        np.testing.assert_allclose(
            found.selection_error[problem, number], np.mean(squares), rtol=1e-4
        )
    assert np.all(np.diff(np.take_along_axis(found.selection_error, found.kept, 1), axis=1) >= 0)


def test_the_test_year_is_only_scored(found):
    rng = np.random.default_rng(3)
    x, y = np.where(TEST[..., None], 1e3 * rng.standard_normal(X.shape), X), np.where(TEST, 0.0, Y)
    other = search_networks(KEY, x, y, YEAR, TRAIN, TEST, config=WIDE)
    for name in ("kept", "train_error", "selection_error", "status"):
        np.testing.assert_array_equal(getattr(other, name), getattr(found, name))
    for a, b in zip(jax.tree.leaves(other.ensemble), jax.tree.leaves(found.ensemble), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.all(other.test_error != found.test_error)


def test_the_ensemble_holds_the_kept_networks(found):
    says = np.asarray(jax.jit(jax.vmap(predict_ensemble))(found.ensemble, np.nan_to_num(X)))
    assert says.shape == (2, WIDE.keep, 3 * TOWNS)
    for error, rows in ((found.train_error, TRAIN), (found.test_error, TEST)):
        squares = (says - np.nan_to_num(Y)[:, None]) ** 2
        mean = np.sum(np.where(rows[:, None], squares, 0), axis=2) / rows.sum(axis=1)[:, None]
        np.testing.assert_allclose(mean, np.take_along_axis(error, found.kept, 1), rtol=1e-8)
    architecture = found.candidates.architecture
    np.testing.assert_array_equal(found.ensemble.architecture.units, architecture.units[found.kept])


def test_a_candidate_that_fails_on_a_year_left_out_is_never_kept():
    """A value far outside the other year: linear units give an error that is not finite."""
    x = X.copy()
    x[0, 0, 2] = 1e200
    search = search_networks(KEY, x, Y, YEAR, TRAIN, TEST, config=WIDE)
    failed = of(search, IDENTITY, IDENTITY)
    assert np.all(np.isposinf(search.selection_error[0, failed]))
    assert np.all(search.status[0, failed] == NETWORK_STATUS.index("diverged"))
    assert not set(failed) & set(search.kept[0])
    assert np.all(np.isfinite(np.take_along_axis(search.selection_error, search.kept, 1)))


def test_picking_by_the_test_year_flatters_itself():
    """Pure noise: the selecting year looks predictable, the next is not; years left out are
    honest."""
    x, y, year = panel(7, 8, num_years=4, noise=1.0)
    train, test, after = year < 2020, year == 2020, year == 2021
    config = dataclasses.replace(
        NETWORKS_AS_DESCRIBED, hidden=(1, 2, 4), starts=2, max_steps=60, num_widths=2
    )
    search = search_networks(KEY, x, y, year, train, test, config=config)
    picked = np.take_along_axis(search.selection_error, search.kept, axis=1)[:, 0]
    np.testing.assert_array_equal(picked, search.selection_error.min(axis=1))
    says = np.asarray(jax.jit(jax.vmap(predict_ensemble))(search.ensemble, x))[:, 0]

    def mean_square(error, rows):
        return np.array([np.mean(e[r] ** 2) for e, r in zip(error, rows, strict=True)])

    np.testing.assert_allclose(picked, mean_square(says - y, test), rtol=1e-8)
    by_mean = y - np.array([row[r].mean() for row, r in zip(y, train, strict=True)])[:, None]
    assert np.median(picked / mean_square(by_mean, test)) < 0.6
    assert np.median(mean_square(says - y, after) / mean_square(by_mean, after)) > 1.0
    promised = []
    for pair in (slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)):
        rows = (part[pair, : X.shape[1]] for part in (x, y, year, train, test))
        honest = search_networks(KEY, *rows, config=WIDE)
        promised += list(honest.selection_error.min(axis=1))
    assert np.all(picked < promised)
    assert np.median(promised / mean_square(by_mean, train)) > 0.8


def test_years_and_towns_left_out():
    rows, exists = prepare_rows(X, Y, YEAR, TRAIN, TEST, leave_out=True, town_folds=5)
    np.testing.assert_array_equal(exists, np.ones((2, 3), bool))
    np.testing.assert_array_equal(rows.train[:, 0], TRAIN)
    np.testing.assert_array_equal(rows.score[:, 0], TEST)
    for fold, year in ((1, 2018), (2, 2019)):
        np.testing.assert_array_equal(rows.score[:, fold], TRAIN & (year == YEAR))
        np.testing.assert_array_equal(rows.train[:, fold], TRAIN & (year != YEAR))
    one = YEAR == 2019
    rows, exists = prepare_rows(X, Y, YEAR, one, None, leave_out=True, town_folds=3)
    assert exists.shape == (2, 4)
    np.testing.assert_array_equal(rows.score[:, 1:].sum(axis=1), one)  # each town left out once
    np.testing.assert_array_equal(rows.score[:, 1:].sum(axis=2), [[3, 3, 2]] * 2)
    assert not np.any(rows.train & rows.score)
    assert np.all(np.isfinite(rows.x))


def test_widths_pad_least():
    assert _widths(tuple(range(1, 12)), 1) == (11,)
    assert _widths(tuple(range(1, 12)), 2) == (5, 11)
    assert _widths((1, 2, 4), 7) == (1, 2, 4)


# --- use ------------------------------------------------------------------------------------------


def test_ensembles_are_differentiable_and_split(found):
    """Gradient in x by finite differences; Shapley values by all 2^3 coalitions."""
    one = jax.tree.map(lambda leaf: leaf[0], found.ensemble)
    point, background = X[0, 0], X[0, 1:5]
    says_fn = jax.jit(predict_ensemble)
    moved = 1e-4 * np.eye(FACTORS)
    rows = np.concatenate([point + moved, point - moved, point[None]])
    says = np.asarray(says_fn(one, rows))
    gradient = jax.jit(jax.jacfwd(lambda x: predict_ensemble(one, x)))(point)
    differences = (says[:, :FACTORS] - says[:, FACTORS : 2 * FACTORS]) / 2e-4
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-6)

    @jax.jit
    def explain(one, point, background):
        matrix, rest_fn = split_ensemble(one)
        return rest_fn(point @ matrix), shapley_values(
            rest_fn, point, background, first_layer=matrix
        )

    split, shapley = explain(one, point, background)
    np.testing.assert_allclose(split, says[:, -1], rtol=1e-9)
    coalitions = np.array(list(product([False, True], repeat=FACTORS)))
    mixed = np.where(coalitions[:, None], point, background[None])
    value = says_fn(one, mixed).mean(axis=2)  # [member, coalition]
    order = [4, 2, 1]  # what joining adds to the number of a coalition
    for factor, step in enumerate(order):
        absent = np.flatnonzero(~coalitions[:, factor])
        share = np.array([1 / 3, 1 / 6, 1 / 3])[coalitions[absent].sum(axis=1)]
        expected = (value[:, absent + step] - value[:, absent]) @ share
        np.testing.assert_allclose(shapley.values[factor], expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(shapley.base + shapley.values.sum(axis=0), split, rtol=1e-9)


def changed(**parts):
    return {"x": X, "y": Y, "year": YEAR, "train": TRAIN, "test": TEST} | parts


@pytest.mark.parametrize(
    ("parts", "config", "words"),
    [
        (changed(x=X[0]), {}, "a single problem is x"),
        (changed(y=Y[:, 1:]), {}, "expected x"),
        (changed(y=Y.astype(np.float32)), {}, "of one dtype"),
        (changed(train=TRAIN.astype(float)), {}, "boolean"),
        (changed(year=YEAR.astype(float)), {}, "integer years"),
        (changed(train=np.zeros_like(TRAIN)), {}, "0 training rows, expected at least 2"),
        (changed(train=YEAR == 2018, test=YEAR == 2018), {}, "rows in both"),
        (changed(test=np.zeros_like(TEST)), {"selection": "test-year"}, "no test rows"),
        (changed(y=np.where(TRAIN, 5.0, Y)), {}, "nothing to learn"),
        (changed(x=np.where(TEST[..., None], np.nan, X)), {}, r"problem, row \[0, 16\]"),
        (changed(train=np.arange(24)[None] % 8 + 0 * YEAR < 2), {"town_folds": 2}, "in both"),
        (
            changed(train=(np.arange(24)[None] % 15 + 0 * YEAR) == 1, test=None),
            {},
            "keeps 1 training rows",
        ),
        (changed(), {"hidden": (0,)}, "hidden"),
        (changed(), {"hidden_activations": ("relu",)}, "hidden_activations"),
        (changed(), {"l2": (-1.0,)}, "l2"),
        (changed(), {"starts": 0}, "counts"),
        (changed(), {"block": 0}, "counts"),
        (changed(), {"dtype": "float16"}, "float64 or float32"),
        (changed(), {"selection": "best"}, "selection"),
        (changed(), {"method": "adam"}, "method"),
        (changed(), {"output_margin": -1.0}, "output_margin"),
        (changed(), {"method": "bfgs", "selection": "test-year"}, "use method 'lbfgs'"),
    ],
)
def test_bad_input_gives_clear_words(parts, config, words):
    with pytest.raises(ValueError, match=words):
        search_networks(KEY, **parts, config=dataclasses.replace(WIDE, **config))


def test_activation_names_are_those_of_the_paper():
    assert LAYER_ACTIVATIONS == ("identity", "logistic", "tanh", "exponential")
