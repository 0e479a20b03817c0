"""Energies, Euler-Lagrange equations, the closed system."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmig import migration as mg


def test_each_energy_is_its_sum(case):
    q, v = np.asarray(case.balance), np.asarray(case.velocity)
    k, f = case.couplings, np.arange(1.0, 6.0)
    assert float(mg.kinetic_energy(case.velocity)) == pytest.approx(0.5 * (v**2).sum())
    mass = jnp.asarray(np.diag(np.arange(1.0, 6.0)) + 0.1)
    assert float(mg.kinetic_energy(case.velocity, mass)) == pytest.approx(
        0.5 * v @ np.asarray(mass) @ v
    )
    terms = {
        "distance": mg.distance_energy(case.balance, k.distance, jnp.asarray(2.0)),
        "similarity": mg.similarity_energy(case.balance, k.similarity, jnp.asarray(2.0)),
        "age": mg.age_energy(case.balance, k.immobility, jnp.asarray(2.0)),
        "confinement": mg.confinement_energy(case.balance, jnp.asarray(2.0)),
    }
    expected = {
        "distance": q @ np.asarray(k.distance) @ q,
        "similarity": q @ np.asarray(k.similarity) @ q,
        "age": (np.asarray(k.immobility) * q**2).sum(),
        "confinement": (q**2).sum(),
    }
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(value), name
    assert float(mg.force_energy(case.balance, jnp.asarray(f))) == pytest.approx(-f @ q)


def test_the_external_force_is_minus_the_slope_of_its_energy(case):
    f = jnp.arange(1.0, 6.0)
    np.testing.assert_array_equal(-jax.grad(mg.force_energy)(case.balance, f), f)


def test_potential_adds_up(case):
    p, k, q, f = case.parameters, case.couplings, case.balance, case.force(jnp.asarray(2.0))
    whole = mg.potential_energy(q, f, p, k)
    parts = (
        mg.distance_energy(q, k.distance, p.distance)
        + mg.similarity_energy(q, k.similarity, p.similarity)
        + mg.age_energy(q, k.immobility, p.age)
        + mg.confinement_energy(q, p.confinement)
        + mg.force_energy(q, f)
    )
    assert float(whole) == pytest.approx(float(parts))
    quadratic = 0.5 * q @ case.stiffness @ q - f @ q
    assert float(whole) == pytest.approx(float(quadratic))


@pytest.mark.parametrize("mass", ["unit", "diagonal", "full"])
def test_euler_lagrange_equals_the_matrix_form(case, mass):
    matrix = {
        "unit": None,
        "diagonal": jnp.linspace(0.5, 2.0, 5),
        "full": jnp.diag(jnp.linspace(0.5, 2.0, 5)) + 0.2,
    }[mass]
    damping = jnp.asarray(0.0 if mass == "full" else 0.2)

    def lagrangian(t, q, v):
        return mg.lagrangian(q, v, case.force(t), case.parameters, case.couplings, matrix)

    def rayleigh(v):
        return damping * mg.kinetic_energy(v, matrix)

    time = jnp.asarray(1.7)
    found = jax.jit(mg.euler_lagrange(lagrangian, rayleigh))(time, case.balance, case.velocity)
    expected = mg.matrix_acceleration(
        case.balance, case.velocity, case.force(time), case.stiffness, damping, matrix
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_euler_lagrange_follows_a_mass_that_depends_on_time_and_place():
    # pendulum on a string of length l(t): L = m l^2 a'^2 / 2 + l'^2 / 2 + g l cos a,
    # l^2 a'' = -2 l l' a' - g l sin a; and the damping by a rising weight exp(c t)
    def length(t):
        return 1.0 + 0.3 * t

    def lagrangian(t, q, v):
        return jnp.sum(0.5 * length(t) ** 2 * v**2 + 9.8 * length(t) * jnp.cos(q))

    q, v, t = jnp.array([0.4]), jnp.array([0.7]), jnp.asarray(2.0)
    found = mg.euler_lagrange(lagrangian)(t, q, v)
    size = length(2.0)
    expected = (-2 * size * 0.3 * v - 9.8 * size * jnp.sin(q)) / size**2
    np.testing.assert_allclose(found, expected, rtol=1e-12)

    def on_a_surface(t, q, v):  # mass 1 + q^2: (1 + q^2) q'' + q q'^2 = 0
        return jnp.sum(0.5 * (1.0 + q**2) * v**2)

    found = mg.euler_lagrange(on_a_surface)(t, q, v)
    np.testing.assert_allclose(found, -q * v**2 / (1 + q**2), rtol=1e-12)


def test_rising_weight_of_the_lagrangian_is_damping(case):
    """L = exp(c t) (T - V) gives q'' + c q' + K q = f without a Rayleigh function."""
    c = 0.2

    def lagrangian(t, q, v):
        return jnp.exp(c * t) * mg.lagrangian(q, v, case.force(t), case.parameters, case.couplings)

    time = jnp.asarray(1.7)
    found = mg.euler_lagrange(lagrangian)(time, case.balance, case.velocity)
    expected = mg.matrix_acceleration(
        case.balance, case.velocity, case.force(time), case.stiffness, c
    )
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@settings(deadline=None, max_examples=25)
@given(*[st.floats(0.0, 5.0)] * 4)
def test_stiffness_is_positive_and_within_its_bound(case, alpha, beta, gamma, kappa):
    p = mg.Parameters(*map(jnp.asarray, (alpha, beta, gamma, kappa, 0.0)))
    values = np.linalg.eigvalsh(mg.stiffness_matrix(p, case.couplings))
    assert values.min() > -1e-12
    assert values.max() <= float(mg.stiffness_bound(p)) + 1e-12


def test_stiffness_by_year(case):
    by_year = jnp.stack([case.couplings.immobility, 0.5 * case.couplings.immobility])
    matrix = mg.stiffness_matrix(case.parameters, case.couplings._replace(immobility=by_year))
    assert matrix.shape == (2, 5, 5)
    np.testing.assert_allclose(matrix[0], case.stiffness)
    difference = np.asarray(matrix[0] - matrix[1])
    np.testing.assert_allclose(difference, np.diag(0.15 * 0.5 * case.couplings.immobility))


def test_closed_system_keeps_the_count_of_persons(case):
    g = jnp.asarray(np.random.default_rng(9).uniform(0.5, 3.0, 5))
    free = mg.matrix_acceleration(
        case.balance, case.velocity, case.force(jnp.asarray(1.0)), case.stiffness
    )
    held, multiplier = mg.closed_acceleration(free, g)
    assert abs(float(g @ held)) < 1e-12
    np.testing.assert_allclose(held - free, multiplier * g, atol=1e-14)
    mass = jnp.linspace(0.5, 2.0, 5)
    for m in (mass, jnp.diag(mass)):
        held, _ = mg.closed_acceleration(free, g, m)
        assert abs(float(g @ held)) < 1e-12
    # the projected system moves as the constrained one
    q, f = mg.project_closed(case.balance, g), case.force(jnp.asarray(1.0))
    matrix = mg.closed_stiffness(case.stiffness, g)
    constrained, _ = mg.closed_acceleration(f - case.stiffness @ q, g)
    np.testing.assert_allclose(mg.project_closed(f, g) - matrix @ q, constrained, atol=1e-13)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)
    np.testing.assert_allclose(mg.project_closed(q, g), q, atol=1e-14)
    basis = mg.closed_basis(g)
    np.testing.assert_allclose(g @ basis, 0.0, atol=1e-14)
    np.testing.assert_allclose(basis.T @ basis, jnp.eye(4), atol=1e-14)
    np.testing.assert_allclose(basis @ basis.T @ q, q, atol=1e-14)
    assert jnp.isfinite(mg.closed_basis(-g)).all()
    batch = jnp.stack([case.balance, 2 * case.balance])
    np.testing.assert_allclose(mg.project_closed(batch, g)[1], 2 * q, atol=1e-13)
