"""Regressors against NumPy loops and closed forms; weights, masks and resamples."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from diffmig.fit.boosting import gradient_boosting
from diffmig.fit.regression import (
    bootstrap_regression,
    fit_regression,
    precision_weights,
    predict_regression,
    town_mean,
)
from diffmig.fit.regressors import NetworkConfig, constant, mlp, ridge, split_first_layer

TOWNS, YEARS, FACTORS = 20, 6, 4
RNG = np.random.default_rng(3)
# factors of very different size and offset, the last one nearly a copy of the first
X = RNG.normal(size=(TOWNS, YEARS, FACTORS)) * [1.0, 100.0, 0.01, 1.0] + [0.0, 2000.0, 5.0, -1.0]
X[..., 3] = X[..., 0] + 0.1 * RNG.normal(size=(TOWNS, YEARS))
Z = (X - X.mean(axis=(0, 1))) / X.std(axis=(0, 1))
Y = 3.0 + 2.0 * Z[..., 0] - Z[..., 1] + 0.5 * RNG.normal(size=(TOWNS, YEARS))
WEIGHT = RNG.uniform(0.2, 3.0, size=(TOWNS, YEARS)) * (RNG.random((TOWNS, YEARS)) < 0.8)
GRID = (1e-3, 1e-2, 0.1, 1.0, 10.0)
SMALL = NetworkConfig(width=5, steps=150, decay=1e-3)
DEEP = NetworkConfig(width=3, num_layers=2, method="adam", steps=3)


def normal_equations(z, y, share, penalty):
    """Intercept and slopes from one linear system, intercept not penalised."""
    design = np.column_stack([np.ones(len(z)), z])
    matrix = design.T @ (share[:, None] * design) + penalty * np.diag([0.0] + [1.0] * z.shape[1])
    solution = np.linalg.solve(matrix, design.T @ (share * y))
    hat = design @ np.linalg.solve(matrix, design.T * share)
    return solution, hat


def rows_by_hand():
    seen = WEIGHT.ravel() > 0
    x, y, w = X.reshape(-1, FACTORS)[seen], Y.ravel()[seen], WEIGHT.ravel()[seen]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    return seen, z, y, w / w.sum()


def test_ridge_equals_normal_equations_at_the_penalty_of_least_gcv(key):
    seen, z, y, share = rows_by_hand()
    scores, fitted = [], []
    for penalty in GRID:
        solution, hat = normal_equations(z, y, share, penalty)
        values = solution[0] + z @ solution[1:]
        scores.append(np.sum(share * (y - values) ** 2) / (1 - np.trace(hat) / len(y)) ** 2)
        fitted.append(values)
    regressor = ridge(GRID)
    params = fit_regression(key, regressor, X, Y, WEIGHT)
    assert params.penalty == GRID[int(np.argmin(scores))]
    got = predict_regression(regressor, params, X).reshape(-1)[seen]
    np.testing.assert_allclose(got, fitted[int(np.argmin(scores))], rtol=1e-9)


def test_ridge_leaves_whole_towns_out(key):
    """The penalty of a brute-force loop over folds; rows stand town by town."""
    seen, z, y, share = rows_by_hand()
    fold = (np.arange(TOWNS * YEARS) // YEARS)[seen] % 3
    errors = []
    for penalty in GRID:
        error = 0.0
        for number in range(3):
            held = fold == number
            part = share[~held] / share[~held].sum()
            (intercept, *slopes), _ = normal_equations(z[~held], y[~held], part, penalty)
            error += share[held] @ (y[held] - intercept - z[held] @ slopes) ** 2
        errors.append(error)
    params = fit_regression(key, ridge(GRID, rows_per_group=YEARS, num_folds=3), X, Y, WEIGHT)
    assert params.penalty == GRID[int(np.argmin(errors))]
    persistent = np.repeat(RNG.normal(size=(TOWNS, 1, FACTORS)), YEARS, axis=1)
    noise = np.repeat(RNG.normal(size=(TOWNS, 1)), YEARS, axis=1)
    noise += 0.1 * RNG.normal(size=noise.shape)
    by_row, by_town = (
        fit_regression(key, ridge(rows_per_group=rows), persistent, noise).penalty
        for rows in (None, YEARS)
    )
    assert by_town > 10 * by_row  # rows of a town pretend to confirm each other


def test_a_tiny_penalty_is_least_squares_whatever_the_units(key):
    design = np.column_stack([np.ones(X[..., 0].size), X.reshape(-1, FACTORS)])
    solution = np.linalg.lstsq(design, Y.ravel(), rcond=None)[0]
    params = fit_regression(key, ridge((1e-12,)), X, Y)
    np.testing.assert_allclose(params.slopes, solution[1:], rtol=1e-6)
    assert params.intercept == pytest.approx(solution[0], rel=1e-6)
    scaled = fit_regression(key, ridge(GRID), X * 7.0 - 4.0, Y)
    plain = fit_regression(key, ridge(GRID), X, Y)
    np.testing.assert_allclose(
        predict_regression(ridge(GRID), scaled, X * 7.0 - 4.0),
        predict_regression(ridge(GRID), plain, X),
        rtol=1e-9,
    )


@pytest.mark.parametrize("regressor", [ridge(), constant(), mlp(SMALL)], ids=lambda r: r.name)
def test_rows_without_weight_are_not_seen(regressor, key):
    """Whatever they hold, side by side in one vmap; and their number does not matter either."""
    spoilt = np.where(WEIGHT[..., None] > 0, X, np.nan), np.where(WEIGHT > 0, Y, np.inf)
    cases = [(X, Y, WEIGHT), (*spoilt, WEIGHT), (X, Y, WEIGHT[::-1])]
    rows = [jnp.stack([jnp.asarray(a) for a in column]) for column in zip(*cases, strict=True)]
    x, y, weight = rows[0].reshape(3, -1, FACTORS), rows[1].reshape(3, -1), rows[2].reshape(3, -1)

    @jax.jit
    @jax.vmap
    def fitted(x_fit, y, weight):
        return regressor.predict_fn(regressor.fit_fn(key, x_fit, y, weight), x[0])

    plain, blind, other = fitted(x, y, weight)
    np.testing.assert_array_equal(plain, blind)
    assert jnp.max(jnp.abs(plain - other)) > 1e-3
    if regressor.name != "mlp":
        seen = WEIGHT.ravel() > 0
        cut = fit_regression(key, regressor, x[0][seen], y[0][seen], weight[0][seen])
        np.testing.assert_allclose(predict_regression(regressor, cut, x[0]), plain, rtol=1e-8)


def test_weights_are_counts_of_rows(key):
    counts = RNG.integers(1, 4, size=X.shape[:2])
    rows, targets = X.reshape(-1, FACTORS), Y.ravel()
    repeated = (np.repeat(values, counts.ravel(), axis=0) for values in (rows, targets))
    # the scaling differs (it sees rows, not weights): take the penalty away
    a = fit_regression(key, ridge((1e-12,)), X, Y, counts.astype(float))
    b = fit_regression(key, ridge((1e-12,)), *repeated)
    np.testing.assert_allclose(a.slopes, b.slopes, rtol=1e-6)


def curved(x):
    return np.sin(2.0 * x[..., 0]) + x[..., 0] * x[..., 1]


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_network_learns_what_no_line_can(method, key):
    x = RNG.normal(size=(40, 8, 2))
    y, fresh = 50.0 + 10.0 * curved(x), RNG.normal(size=(30, 8, 2))
    config = NetworkConfig(width=12, decay=1e-5, steps=300, method=method, learning_rate=0.05)
    errors = {}
    for regressor in (ridge(), mlp(config)):
        params = fit_regression(key, regressor, x, y)
        left = predict_regression(regressor, params, fresh) - 50.0 - 10.0 * curved(fresh)
        errors[regressor.name] = np.mean(left**2) / np.var(10.0 * curved(fresh))
    assert errors["mlp"] < 0.1
    assert errors["ridge"] > 0.7


def test_trained_network_is_a_minimum_of_the_printed_loss(key):
    """Weighted squared error of the standardised target plus decay, differentiated in NumPy."""
    regressor = mlp(SMALL)
    params = fit_regression(key, regressor, X, Y, WEIGHT)
    seen, z, y, share = rows_by_hand()
    y = (y - share @ y) / np.sqrt(share @ (y - share @ y) ** 2)
    assert params.spread == pytest.approx(
        np.sqrt(WEIGHT.ravel() @ (Y.ravel() - params.center) ** 2 / WEIGHT.sum()), rel=1e-12
    )
    weights = {name: np.asarray(leaf) for name, leaf in params.weights["params"].items()}

    def loss(weights):
        hidden = np.tanh(z @ weights["w_0"] + weights["b_0"])
        error = share @ (y - hidden @ weights["w_out"] - weights["b_out"]) ** 2
        return error + SMALL.decay * sum(np.sum(weights[name] ** 2) for name in ("w_0", "w_out"))

    for name, leaf in weights.items():
        change = np.random.default_rng(1).normal(size=leaf.shape)
        ends = [loss(weights | {name: leaf + h * change}) for h in (1e-4, -1e-4)]
        assert abs(ends[0] - ends[1]) / 2e-4 < 3e-3
        assert ends[0] + ends[1] > 2 * loss(weights)
    np.testing.assert_array_equal(params.inputs.high, X.reshape(-1, FACTORS)[seen].max(axis=0))


@pytest.mark.parametrize("regressor", [ridge(), mlp(SMALL), mlp(DEEP)])
def test_first_layer_and_the_rest_are_the_regressor(regressor, key):
    params = fit_regression(key, regressor, X, Y)
    first, rest_fn = split_first_layer(regressor, params)
    expected = predict_regression(regressor, params, X)
    np.testing.assert_allclose(rest_fn(jnp.asarray(X) @ first), expected, rtol=1e-8)
    with pytest.raises(ValueError, match="Linear or Network"):
        split_first_layer(regressor, expected)


def test_town_mean_and_constant(key):
    number = np.repeat(np.arange(TOWNS, dtype=float)[:, None, None], YEARS, axis=1)
    weight = np.where(np.arange(TOWNS)[:, None] < TOWNS - 2, WEIGHT, 0.0)
    regressor = town_mean(TOWNS)
    got = predict_regression(regressor, fit_regression(key, regressor, number, Y, weight), number)
    overall = np.sum(weight * Y) / np.sum(weight)
    for town in range(TOWNS):
        own = weight[town]
        expected = own @ Y[town] / own.sum() if own.sum() > 0 else overall
        np.testing.assert_allclose(got[town], expected, rtol=1e-12)
    assert predict_regression(
        constant(), fit_regression(key, constant(), X, Y, weight), X
    )[0, 0] == pytest.approx(overall)  # fmt: skip


def test_precision_weights_make_the_fit_efficient(key):
    sd = np.where(np.arange(TOWNS)[:, None] < TOWNS // 2, 0.1, 5.0) * np.ones((TOWNS, YEARS))
    weight = precision_weights(sd)
    assert jnp.mean(weight) == pytest.approx(1.0)
    assert weight[0, 0] / weight[-1, 0] == pytest.approx(2500.0)
    limited = precision_weights(sd, 5.0)
    assert limited[0, 0] / limited[-1, 0] == pytest.approx(50.0 / 25.01)
    np.testing.assert_array_equal(precision_weights(np.full(3, np.nan)), 1.0)
    truth, errors = np.array([2.0, -1.0]), []
    x = jnp.asarray(RNG.normal(size=(TOWNS, YEARS, 2)))
    for w in (None, weight):
        total = 0.0
        for repeat in range(20):
            noise = np.random.default_rng(repeat).normal(size=sd.shape) * sd
            params = fit_regression(key, ridge((1e-9,)), x, np.asarray(x) @ truth + noise, w)
            total += float(np.sum((params.slopes - truth) ** 2))
        errors.append(total)
    assert errors[1] < 0.01 * errors[0]


def test_bootstrap_by_town_knows_that_years_are_alike(key):
    """Spread of a slope: the known standard error, and sqrt(YEARS) times it for equal years."""
    rng = np.random.default_rng(8)
    towns = 60
    x, noise = rng.normal(size=(towns, 1, 1)), rng.normal(size=(towns, 1))
    spreads = []
    for years in (1, YEARS):
        rows, target = (np.repeat(a, years, axis=1) for a in (x, 2 * x[..., 0] + noise))
        fits = bootstrap_regression(key, ridge((1e-9,)), rows, target, num_resamples=400, block=100)
        spreads.append(float(jnp.std(fits.slopes)))
    known = np.std(noise) / np.std(x) / np.sqrt(towns)
    assert spreads[0] == pytest.approx(known, rel=0.25)
    assert spreads[1] == pytest.approx(spreads[0], rel=1e-6)  # not 1 / sqrt(YEARS) of it


def test_ridge_is_differentiable_in_factors_target_and_weights(key):
    """Also where factors are equal, so that the Gram matrix has equal eigenvalues."""
    z = np.random.default_rng(0).normal(size=(TOWNS * YEARS, 3))
    z = np.linalg.qr(z - z.mean(axis=0))[0]  # orthogonal: all eigenvalues are equal
    data = jnp.asarray(z), jnp.asarray(Y.ravel()), jnp.ones(Y.size)
    fit_fn = ridge((0.1,)).fit_fn

    @jax.jit
    def total(x, y, weight):
        params = fit_fn(key, x, y, weight)
        return params.intercept + params.slopes @ jnp.array([1.0, 2.0, -3.0])

    check_grads(total, data, order=1, modes=["rev"], rtol=1e-5)


def test_boosting_without_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        gradient_boosting()


def test_boosting_is_a_regressor(key):
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="key decides"):
        gradient_boosting(random_state=3)
    x = RNG.normal(size=(40, 8, 2))
    regressor = gradient_boosting(n_estimators=60, learning_rate=0.2)
    params = fit_regression(key, regressor, x, curved(x))
    again = fit_regression(key, regressor, x, curved(x))
    left = predict_regression(regressor, params, x) - curved(x)
    assert jnp.mean(left**2) < 0.1 * np.var(curved(x))
    np.testing.assert_array_equal(
        predict_regression(regressor, params, x), predict_regression(regressor, again, x)
    )
    with pytest.raises(ValueError, match="traceable"):
        bootstrap_regression(key, regressor, x, curved(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ridge(()), "penalties"),
        (lambda: ridge((0.0,)), "penalties"),
        (lambda: ridge(num_folds=1), "num_folds"),
        (lambda: town_mean(0), "num_towns"),
        (lambda: NetworkConfig(method="sgd"), "lbfgs or adam"),
        (lambda: NetworkConfig(width=0), "width"),
        (lambda: NetworkConfig(decay=-1.0), "decay"),
    ],
)
def test_wrong_choices_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["x", "y", "weight"]),
    st.sampled_from([np.nan, np.inf, -1.0]),
    st.integers(0, TOWNS * YEARS - 1),
)
def test_values_that_cannot_be_fitted_are_refused(which, value, place):
    data = {"x": X.copy(), "y": Y.copy(), "weight": np.ones_like(Y)}
    if value == -1.0:
        which = "weight"
    data[which].reshape(TOWNS * YEARS, -1)[place] = value
    if which == "weight" and value == np.inf:
        return
    with pytest.raises(ValueError, match=r"weight|finite"):
        fit_regression(jax.random.key(0), constant(), **data)
    if which != "weight":
        data["weight"].ravel()[place] = 0.0
        fit_regression(jax.random.key(0), constant(), **data)


@pytest.mark.parametrize(
    ("x", "y", "weight", "message"),
    [
        (X, Y.T, None, "expected x"),
        (X, Y, np.ones(3), "expected x"),
        (X[0, 0], Y[0, 0], None, "expected x"),
        (X, Y.astype(np.float32), None, "dtype"),
        (X, Y, np.zeros_like(Y), "at least one"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x, y, weight, message, key):
    with pytest.raises(ValueError, match=message):
        fit_regression(key, constant(), x, y, weight)
