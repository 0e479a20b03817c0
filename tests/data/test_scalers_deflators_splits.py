"""Scalers, deflator chains and splits: properties that a lost year or sign would break."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from diffmig import data

YEARS = np.arange(2000, 2006)
TRAINING = YEARS <= 2003
X = np.array([[3.0, 7.0], [1.0, 7.0], [5.0, 7.0], [2.0, 7.0], [9.0, 8.0], [-4.0, 6.0]])


@pytest.mark.parametrize("module", [np, jnp])
def test_minmax_sees_training_years_only(module):
    scaler = data.fit_minmax(module.asarray(X), TRAINING)
    scaled = np.asarray(data.scale(scaler, module.asarray(X)))
    # Low 1, high 5 over 2000-2003; the constant column has spread 1 and is 0 where it was seen.
    np.testing.assert_allclose(scaled[:, 0], [0.5, 0.0, 1.0, 0.25, 2.0, -1.25], atol=1e-15)
    np.testing.assert_allclose(scaled[:, 1], [0, 0, 0, 0, 1, -1], atol=1e-15)
    clipped = np.asarray(data.scale(scaler, module.asarray(X), clip=True))
    np.testing.assert_allclose(clipped[4:], [[1, 0], [0, 0]], atol=1e-15)
    assert np.array_equal(clipped[:4], scaled[:4])


@pytest.mark.parametrize("module", [np, jnp])
def test_standard_against_numpy(module):
    scaler = data.fit_standard(module.asarray(X), TRAINING)
    np.testing.assert_allclose(scaler.center, X[:4].mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(scaler.spread, [X[:4, 0].std(), 1.0], rtol=1e-15)
    scaled = data.scale(scaler, module.asarray(X))
    assert type(scaled) is type(module.asarray(X))
    np.testing.assert_allclose(data.unscale(scaler, scaled), X, atol=1e-14)


def test_constant_column_whose_mean_rounds():
    x = np.full((7, 1), 0.1)
    scaler = data.fit_standard(x, np.ones(7, bool))
    assert np.array_equal(data.scale(scaler, x), np.zeros((7, 1)))


def test_years_after_training_do_not_change_the_scaler():
    other = X.copy()
    other[4:] = 1e6
    for fit in (data.fit_minmax, data.fit_standard):
        for a, b in zip(fit(X, TRAINING), fit(other, TRAINING), strict=True):
            assert np.array_equal(a, b)


def test_missing_values_are_left_out():
    seen = np.broadcast_to(TRAINING[:, None], X.shape).copy()
    seen[2, 0] = False
    assert data.fit_minmax(X, seen).high.tolist() == [3.0, 7.0]
    np.testing.assert_allclose(data.fit_standard(X, seen).center[0], 2.0)


@pytest.mark.parametrize("fit", [data.fit_minmax, data.fit_standard])
def test_scalers_under_jit_vmap_and_grad(fit):
    batch = jnp.stack([jnp.asarray(X), 2.0 * jnp.asarray(X) + 1.0])

    @jax.jit
    def scaled(x):
        return data.scale(fit(x, TRAINING), x)

    one_by_one = jnp.stack([scaled(x) for x in batch])
    np.testing.assert_allclose(jax.vmap(scaled)(batch), one_by_one, atol=1e-14)
    np.testing.assert_allclose(data.scale(fit(batch, TRAINING), batch), one_by_one, atol=1e-14)
    check_grads(lambda x: (scaled(x)[:, 0] ** 2).sum(), (jnp.asarray(X),), order=1, modes=["rev"])
    gradient = jax.grad(lambda x: (scaled(x) ** 2).sum())(jnp.asarray(X))
    assert np.isfinite(gradient).all()  # also where the column is constant


def test_clipped_values_have_no_gradient():
    scaler = data.fit_minmax(jnp.asarray(X), TRAINING)
    gradient = jax.grad(lambda x: data.scale(scaler, x, clip=True).sum())(jnp.asarray(X))
    assert gradient[4, 0] == 0.0
    assert gradient[0, 0] == 0.25


def test_scaler_refuses_what_it_cannot_fit():
    with pytest.raises(ValueError, match="no training value"):
        data.fit_minmax(X, np.zeros(6, bool))
    with pytest.raises(ValueError, match="in_training"):
        data.fit_minmax(X, np.ones(5, bool))
    with pytest.raises(ValueError, match="boolean"):
        data.fit_standard(X, np.ones(6))
    with pytest.raises(ValueError, match="2 factors"):
        data.scale(data.fit_minmax(X, TRAINING), X[:, :1])


def chain(index, years, base_year):
    """Factor of each year by a loop: move from the year to the base one index at a time."""
    factors = []
    for year in years:
        factor = 1.0
        for later in range(year + 1, base_year + 1):
            factor *= index[later - years[0]] / 100
        for later in range(base_year + 1, year + 1):
            factor /= index[later - years[0]] / 100
        factors.append(factor)
    return np.array(factors)


INDICES = st.lists(st.floats(80.0, 260.0), min_size=6, max_size=6).map(np.array)


@settings(max_examples=50, deadline=None)
@given(index=INDICES, base=st.integers(2000, 2005), other=st.integers(2000, 2005))
def test_price_chains(index, base, other):
    factor = data.price_factor(index, YEARS, base)
    np.testing.assert_allclose(factor, chain(index, YEARS, base), rtol=1e-13)
    assert factor[base - 2000] == 1.0
    # Changing the base is one common factor.
    rebased = factor * data.price_factor(index, YEARS, other)[base - 2000]
    np.testing.assert_allclose(rebased, data.price_factor(index, YEARS, other), rtol=1e-13)
    nominal = np.arange(1.0, 7.0)
    real = data.to_comparable_prices(nominal, index, YEARS, base)
    np.testing.assert_allclose(
        data.to_current_prices(real, index, YEARS, base), nominal, rtol=1e-13
    )
    # The first year's index carries prices into the first year: nothing there depends on it.
    first = index.copy()
    first[0] = 77.0
    assert np.array_equal(data.price_factor(first, YEARS, base), factor)


def test_index_enters_the_years_before_it():
    index = np.full(6, 100.0)
    index[3] = 150.0  # prices rise by half from 2002 to 2003
    assert data.price_factor(index, YEARS, 2005).tolist() == [1.5, 1.5, 1.5, 1, 1, 1]
    after = data.price_factor(index, YEARS, 2000)
    np.testing.assert_allclose(after, [1, 1, 1, 1 / 1.5, 1 / 1.5, 1 / 1.5], rtol=1e-15)


def test_implicit_deflator_recovers_the_index():
    index = np.array([100.0, 110.0, 95.0, 120.0, 101.5, 130.0])
    volume_index = np.array([100.0, 103.0, 98.0, 101.0, 107.0, 99.0])
    real = 40.0 * np.cumprod(volume_index / 100)
    nominal = data.to_current_prices(real, index, YEARS, 2000)
    np.testing.assert_allclose(data.implicit_deflator(nominal, volume_index), index, rtol=1e-13)


def test_price_factor_is_differentiable_and_batched():
    index = jnp.array([[110.0, 105.0, 120.0, 98.0, 103.0, 104.0], [101.0, 102, 103, 104, 105, 106]])
    both = data.price_factor(index, YEARS, 2003)
    np.testing.assert_allclose(both[1], data.price_factor(index[1], YEARS, 2003), rtol=1e-15)
    check_grads(lambda i: data.price_factor(i, YEARS, 2003), (index[0],), order=1, modes=["rev"])
    jitted = jax.jit(lambda i: data.price_factor(i, YEARS, 2003))
    np.testing.assert_allclose(jitted(index), both, rtol=1e-15)


def test_price_factor_refuses_bad_input():
    good = np.full(6, 100.0)
    for bad in (0.0, -3.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="1 values are not positive"):
            data.price_factor(np.where(YEARS == 2002, bad, good), YEARS, 2003)
    with pytest.raises(ValueError, match="2000-2005"):
        data.price_factor(good, YEARS, 2006)
    with pytest.raises(ValueError, match="consecutive"):
        data.price_factor(good, YEARS[::-1], 2003)
    with pytest.raises(ValueError, match="6 years"):
        data.price_factor(good[:5], YEARS, 2003)


def test_split_follows_time():
    panel = data.load_table("grp_udmurt")
    train, test = data.split_years(panel, 2017)
    assert (train.years[-1], test.years[0], len(test.years)) == (2017, 2018, 6)
    assert np.array_equal(np.concatenate([train.values, test.values], axis=1), panel.values)
    for last in (1999, 2023):
        with pytest.raises(ValueError, match="2000-2022"):
            data.split_years(panel, last)


def test_rolling_origins():
    origins = data.rolling_origins(YEARS, 2001, 2, step=2)
    assert [(o.train_years[-1], o.test_years.tolist()) for o in origins] == [
        (2001, [2002, 2003]),
        (2003, [2004, 2005]),
    ]
    assert all(o.train_years[0] == 2000 for o in origins)
    every = data.rolling_origins(YEARS, 2000, 1)
    assert [o.test_years[0] for o in every] == [2001, 2002, 2003, 2004, 2005]
    with pytest.raises(ValueError, match="2000-2003"):
        data.rolling_origins(YEARS, 2004, 2)
    with pytest.raises(ValueError, match="horizon"):
        data.rolling_origins(YEARS, 2001, 0)
