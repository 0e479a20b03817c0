"""Surrogates keep what they promise; what noise alone gives as a stiffness of least force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.evaluate.surrogates import ar1_surrogates, fit_autoregression, phase_surrogates
from diffmig.fit.least_force import (
    ar1_null_r2,
    ar1_null_stiffness,
    least_force_stiffness,
)

RNG = np.random.default_rng(12)


def autoregression_by_hand(roots, num_years, sd=1.0):
    """Started from the stationary distribution, unit variance times sd^2."""
    roots = np.asarray(roots)
    path = [sd * RNG.normal(size=roots.shape)]
    for _ in range(num_years - 1):
        path.append(roots * path[-1] + sd * np.sqrt(1 - roots**2) * RNG.normal(size=roots.shape))
    return np.stack(path, axis=-1)


def test_fit_of_an_autoregression_equals_a_loop():
    series = autoregression_by_hand([0.8, -0.4], 30) + np.array([[5.0], [-3.0]])
    model = fit_autoregression(series)
    for town in range(2):
        d = series[town] - series[town].mean()
        root = sum(d[t] * d[t + 1] for t in range(29)) / sum(d * d)
        assert model.root[town] == pytest.approx(root)
        assert model.innovation_sd[town] == pytest.approx(np.sqrt(np.mean(d**2) * (1 - root**2)))
    still = fit_autoregression(np.full((1, 9), 0.3))
    assert (still.root[0], still.innovation_sd[0]) == (0.0, 0.0)


def test_correction_of_short_series_takes_the_bias_away():
    series = autoregression_by_hand(np.full(4000, 0.6), 12)
    plain = jnp.mean(fit_autoregression(series).root)
    corrected = jnp.mean(fit_autoregression(series, bias_corrected=True).root)
    assert plain < 0.45
    assert corrected == pytest.approx(0.6, abs=0.08)


def test_ar1_surrogates_have_each_towns_mean_persistence_and_variance(key):
    roots, sds = np.array([0.9, 0.0, -0.5]), np.array([2.0, 1.0, 3.0])
    series = autoregression_by_hand(roots, 4000, sds) + np.array([[10.0], [0.0], [-20.0]])
    model = fit_autoregression(series)
    got = np.asarray(ar1_surrogates(key, model, 400, num=200))
    assert got.shape == (200, 3, 400)
    np.testing.assert_allclose(got.mean(axis=(0, 2)), model.mean, atol=0.1)
    np.testing.assert_allclose(got.std(axis=(0, 2)), series.std(axis=-1), rtol=0.03)
    d = got - got.mean(axis=(0, 2), keepdims=True)
    lagged = np.mean(d[..., 1:] * d[..., :-1], axis=(0, 2)) / np.mean(d**2, axis=(0, 2))
    np.testing.assert_allclose(lagged, model.root, atol=0.02)
    # stationary from the first year on, and towns are unrelated
    np.testing.assert_allclose(got[:, :, 0].std(axis=0), series.std(axis=-1), rtol=0.2)
    assert abs(np.corrcoef(got[:, 0].ravel(), got[:, 2].ravel())[0, 1]) < 0.05
    again = ar1_surrogates(key, model, 400, num=3)
    np.testing.assert_allclose(again, got[:3], rtol=1e-12)


@pytest.mark.parametrize("num_years", [14, 15])
@pytest.mark.parametrize("common", [False, True])
def test_phase_surrogates_keep_mean_and_power_spectrum(num_years, common, key):
    series = autoregression_by_hand(np.full(4, 0.7), num_years) + np.arange(4.0)[:, None]
    series[1] += 2 * series[0]
    got = np.asarray(phase_surrogates(key, series, num=300, common_phases=common))
    np.testing.assert_allclose(
        np.abs(np.fft.rfft(got)), np.abs(np.fft.rfft(series))[None].repeat(300, 0), atol=1e-10
    )
    np.testing.assert_allclose(got.mean(axis=-1), np.tile(series.mean(axis=-1), (300, 1)))
    assert np.abs(got - series).max(axis=(1, 2)).min() > 0.1
    own = np.corrcoef(series)
    between = np.array([np.corrcoef(one) for one in got])
    if common:
        np.testing.assert_allclose(between, own[None].repeat(300, 0), atol=1e-10)
    else:  # relations between towns are gone, on average
        assert abs(own[0, 1]) > 0.5
        np.testing.assert_allclose(between.mean(axis=0), np.eye(4), atol=0.12)


@pytest.mark.parametrize("root", [0.0, 0.5, 0.8, 0.95])
def test_noise_alone_gives_the_null_stiffness_and_r2(root, key):
    """kappa = 2 (1 - root) and R2 = 2 (1 - root) / (3 - root), damping 0 or fitted."""
    series = autoregression_by_hand(np.full(50, root), 4000)
    for damping in (0.0, None):
        found = least_force_stiffness(series, np.eye(50)[None], damping=damping)
        assert found.strengths[0] == pytest.approx(float(ar1_null_stiffness(root)), abs=0.02)
        assert found.r2 == pytest.approx(float(ar1_null_r2(root)), abs=0.02)
        assert found.damping == pytest.approx(0.0, abs=0.02)


def chain(num_towns):
    """Laplacian of a chain."""
    steps = np.diff(np.eye(num_towns), axis=0)
    return steps.T @ steps


def free_oscillation(stiffness, damping, years, step):
    """Exact solution at equidistant times, by eigenvectors."""
    values, vectors = np.linalg.eigh(stiffness)
    frequency = np.sqrt(values - damping**2 / 4)
    time = step * np.arange(round(years / step) + 1)
    phase = np.linspace(0.3, 2.0, len(values))[:, None]
    modes = np.exp(-damping / 2 * time) * np.cos(frequency[:, None] * time + phase)
    return vectors @ modes


def test_an_unforced_system_is_found(key):
    """Strengths and damping of a free decay, second order in the step; no force is left."""
    laplacian, local = chain(5), np.diag([1.0, 0.2, 0.5, 0.0, 0.7])
    stiffness, terms = 0.3 * laplacian + 0.6 * local, np.stack([laplacian, local])
    errors = []
    for step in (0.2, 0.1):
        q = free_oscillation(stiffness, 0.2, 20.0, step)
        found = least_force_stiffness(q, terms, step=step, damping=None)
        errors.append(np.abs(np.array([*found.strengths, found.damping]) - [0.3, 0.6, 0.2]).max())
    assert errors[1] < 0.01
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)
    assert found.r2 > 0.999
    assert found.condition < 20


def test_normal_equations_and_gram_matrix_by_a_loop():
    q, terms = RNG.normal(size=(4, 9)), RNG.normal(size=(2, 9, 4, 4))
    found = least_force_stiffness(q, terms, damping=0.3, step=0.5)
    columns = np.stack(
        [
            np.concatenate([terms[a, t] @ q[:, t] for t in range(1, 8)])
            for a in range(2)
        ],
        axis=1,
    )  # fmt: skip
    known = np.concatenate(
        [
            (q[:, t + 1] - 2 * q[:, t] + q[:, t - 1]) / 0.25 + 0.3 * (q[:, t + 1] - q[:, t - 1])
            for t in range(1, 8)
        ]
    )
    expected, (left,) = np.linalg.lstsq(columns, -known, rcond=None)[:2]
    np.testing.assert_allclose(found.strengths, expected, rtol=1e-9)
    np.testing.assert_allclose(found.gram, columns.T @ columns, rtol=1e-10)
    assert found.r2 == pytest.approx(1 - left / np.sum(known**2))
    np.testing.assert_allclose(found.force.T.ravel(), known + columns @ expected, rtol=1e-9)
    assert abs(np.sum(columns * found.force.T.reshape(-1, 1))) < 1e-9 * np.sum(known**2)
    unit = columns / np.linalg.norm(columns, axis=0)
    assert found.condition == pytest.approx(np.linalg.cond(unit.T @ unit))


def test_collinear_terms_are_reported():
    q = autoregression_by_hand(np.full(5, 0.5), 40)
    found = least_force_stiffness(q, np.stack([np.eye(5), 2 * np.eye(5)]))
    alone = least_force_stiffness(q, np.eye(5)[None])
    assert found.condition > 1e12
    assert found.strengths[0] + 2 * found.strengths[1] == pytest.approx(float(alone.strengths[0]))
    assert alone.condition == pytest.approx(1.0)


def test_strengths_below_zero_are_left_out_on_request():
    """Least squares over the allowed quadrant, compared with a fine grid."""
    q = autoregression_by_hand(np.full(6, 0.6), 30)
    terms = np.stack([np.eye(6), chain(6), -np.eye(6)[::-1]])
    free = least_force_stiffness(q, terms)
    held = least_force_stiffness(q, terms, nonnegative=True)
    assert jnp.min(free.strengths) < 0 <= jnp.min(held.strengths)
    rest = [
        float(least_force_stiffness(q, terms[list(some)]).strengths.min())
        for some in ([0], [1], [2], [0, 1], [0, 2], [1, 2])
    ]
    assert max(rest) > 0
    pulls = np.einsum("aij,jt->ait", terms, q[:, 1:-1])
    gradient = np.einsum("ait,it->a", pulls, held.force)
    # conditions of Karush, Kuhn and Tucker
    np.testing.assert_array_less(-1e-8, gradient)
    np.testing.assert_allclose(gradient * held.strengths, 0.0, atol=1e-7)


def test_a_constant_force_changes_nothing_if_it_is_allowed_for():
    q = autoregression_by_hand(np.full(4, 0.5), 30)
    moved = q + np.array([[100.0], [0.0], [-40.0], [7.0]])
    a, b = (least_force_stiffness(z, np.eye(4)[None], constant_force=True) for z in (q, moved))
    assert a.strengths[0] == pytest.approx(float(b.strengths[0]), rel=1e-9)
    assert least_force_stiffness(moved, np.eye(4)[None]).strengths[0] < 0.1 * a.strengths[0]


def test_surrogates_of_a_pipeline_are_one_vmap(key):
    """The stiffness of autoregressions is what their surrogates give as well."""
    series = autoregression_by_hand(np.linspace(0.2, 0.8, 20), 60)
    terms = np.eye(20)[None]
    found = least_force_stiffness(series, terms).strengths[0]
    chance = ar1_surrogates(key, fit_autoregression(series), 60, num=100)
    of_chance = least_force_stiffness(chance, terms).strengths[:, 0]
    one_by_one = jax.vmap(lambda q: least_force_stiffness(q, terms).strengths[0])(chance)
    np.testing.assert_allclose(of_chance, one_by_one, rtol=1e-9)
    assert jnp.min(of_chance) < found < jnp.max(of_chance)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_autoregression(np.zeros((2, 3))), "4 years"),
        (lambda: phase_surrogates(jax.random.key(0), np.zeros(9), num=2), "town, year"),
        (lambda: phase_surrogates(jax.random.key(0), np.zeros((2, 9)), num=0), "num"),
        (lambda: least_force_stiffness(np.zeros((2, 2)), np.eye(2)[None]), "3 years"),
        (lambda: least_force_stiffness(np.zeros((2, 5)), np.eye(3)[None]), "terms"),
        (lambda: least_force_stiffness(np.zeros((2, 5)), np.eye(2)), "terms"),
        (lambda: least_force_stiffness(np.zeros((2, 5)), np.zeros((9, 2, 2))), "1 to 8"),
        (lambda: least_force_stiffness(np.zeros((2, 5)), np.eye(2)[None], step=0.0), "step"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
