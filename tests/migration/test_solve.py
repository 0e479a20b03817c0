"""Exact propagator, Diffrax and Verlet: closed forms, order, energy, conservation, gradients.

Motions are compiled once per shape, and most tests share one shape.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import migration as mg

YEARS = 6


propagate = jax.jit(mg.propagate)


@pytest.fixture(scope="module")
def both(case):
    """(motion, its gradient by the parameters) of the damped case: exact, and by Diffrax."""
    tight = mg.SolverConfig(solver="dopri8", rtol=1e-11, atol=1e-13)

    def misfit(parameters, exact):
        k, c = mg.stiffness_matrix(parameters, case.couplings), parameters.damping
        start = (case.balance, case.velocity)
        if exact:
            made = mg.propagate(k, c, *start, case.force_nodes(YEARS, num_nodes=6))
        else:
            made = mg.simulate(
                lambda t, q, v: mg.matrix_acceleration(q, v, case.force(t), k, c),
                *start, jnp.arange(YEARS + 1.0), tight,
            )  # fmt: skip
        return jnp.sum(made.balance**2), made

    fn = jax.grad(misfit, has_aux=True)
    return jax.jit(lambda x: (fn(x, True)[::-1], fn(x, False)[::-1]))(case.parameters)


@pytest.fixture(scope="module")
def solved(both):
    return both[1][0]


@jax.jit
def _green(value, damping, time):
    """G, G', and their derivatives by time."""
    pair = partial(mg.green, value, damping)
    return pair(time), jax.jvp(pair, (time,), (jnp.ones(()),))[1]


GREEN = [(c, x) for c in (0.0, 0.2, 1.8) for x in (0.7, 0.01, 1e-9, 0.0, -0.3)]


def test_green_function_solves_its_equation():
    (c, x), t = np.array(GREEN).T, np.linspace(0.0, 4.0, 9)
    each = jax.jit(jax.vmap(jax.vmap(_green, (None, None, 0)), (0, 0, None)))
    (g, rate), (slope, bend) = each(jnp.asarray(x), jnp.asarray(c), jnp.asarray(t))
    c, x = c[:, None], x[:, None]
    root = np.sqrt(x - c**2 / 4 + 0j)
    sine = np.where(root == 0, t[None], np.sin(root * t) / np.where(root == 0, 1, root))
    np.testing.assert_allclose(g, (np.exp(-c * t / 2) * sine).real, atol=1e-13)
    np.testing.assert_allclose(slope, rate, atol=1e-12)
    np.testing.assert_allclose(bend, -c * np.asarray(rate) - x * np.asarray(g), atol=1e-12)


def test_green_function_has_derivatives_by_the_eigenvalue_at_zero():
    slope = jax.jit(jax.grad(lambda x: mg.green(x, 0.0, 2.0)[0]))
    # G = t - value t^3 / 6 + ...
    assert float(slope(jnp.asarray(0.0))) == pytest.approx(-(2.0**3) / 6)


@pytest.mark.parametrize(("num_nodes", "tolerance"), [(4, 1e-7), (6, 1e-10)])
def test_propagator_equals_diffrax(case, both, solved, num_nodes, tolerance):
    made = both[0][0]
    if num_nodes != 6:
        made = propagate(
            case.stiffness, case.parameters.damping, case.balance, case.velocity,
            case.force_nodes(YEARS, num_nodes=num_nodes),
        )  # fmt: skip
    assert int(solved.status) == int(made.status) == 0
    np.testing.assert_allclose(made.balance, solved.balance, atol=tolerance)
    np.testing.assert_allclose(made.velocity, solved.velocity, atol=tolerance)


def test_forms_of_the_propagator_agree(case, solved):
    force, c = case.force_nodes(2 * YEARS, 0.5), case.parameters.damping
    yearly = jnp.broadcast_to(case.stiffness, (2 * YEARS, 5, 5))
    found = mg.modes(case.stiffness)
    expected = np.asarray(solved.balance)
    starts = jnp.stack([case.balance, 0 * case.balance])

    @jax.jit
    def forms(force):
        single = [
            mg.propagate(k, c, case.balance, case.velocity, force, 0.5).balance
            for k in (case.stiffness, found, yearly)
        ]
        return single, mg.propagate(found, c, starts, case.velocity, force, 0.5).balance

    single, batch = jax.tree.map(np.asarray, forms(force))
    for balance in (*single, batch[0]):
        np.testing.assert_allclose(balance[:, ::2], expected, atol=1e-9)
    assert not np.allclose(batch[1], batch[0])


def test_stiffness_that_changes_from_year_to_year(case):
    rng = np.random.default_rng(0)
    factors = jnp.asarray(rng.uniform(0.2, 2.0, YEARS))
    matrices = factors[:, None, None] * case.stiffness[None]
    force, c = case.force_nodes(YEARS), case.parameters.damping
    made = propagate(matrices, c, case.balance, case.velocity, force)
    q, v = case.balance, case.velocity
    for k in range(YEARS):  # one year after the other, each with its own matrix
        one = propagate(matrices[k], c, q, v, force[:, k : k + 1])
        q, v = one.balance[:, -1], one.velocity[:, -1]
        np.testing.assert_allclose(made.balance[:, k + 1], q, atol=1e-12)


def test_linear_in_state_and_force(case):
    def motion(q, v, f):
        return propagate(case.stiffness, case.parameters.damping, q, v, f).balance

    zero, force = jnp.zeros(5), case.force_nodes(YEARS)
    whole = motion(case.balance, case.velocity, force)
    parts = (
        motion(case.balance, zero, 0 * force)
        + motion(zero, case.velocity, 0 * force)
        + motion(zero, zero, force)
    )
    np.testing.assert_allclose(whole, parts, atol=1e-12)


def test_verlet_has_order_two_and_tends_to_the_exact_motion(case):
    @jax.jit
    def errors_of(q, v):
        exact = mg.propagate(case.stiffness, 0.0, q, v, case.force_nodes(YEARS, num_nodes=6))
        made = [
            mg.verlet(
                lambda t, q: case.force(t) - case.stiffness @ q,
                q, v, YEARS * steps, step=1 / steps, save_every=steps,
            )
            for steps in (16, 32, 64)
        ]  # fmt: skip
        return jnp.stack([jnp.max(jnp.abs(x.balance - exact.balance)) for x in made])

    errors = np.asarray(errors_of(case.balance, case.velocity))
    order = np.log2(errors[:-1] / errors[1:])
    np.testing.assert_allclose(order, 2.0, atol=0.05)


def test_verlet_does_not_drift_in_energy(case):

    @jax.jit
    def course(q, v):
        made = mg.verlet(lambda t, q: -(case.stiffness @ q), q, v, 64 * 400, save_every=64)
        return jax.vmap(mg.mechanical_energy, (1, 1, None))(
            made.balance, made.velocity, case.stiffness
        )

    energy = course(case.balance, case.velocity)
    swing = np.abs(np.asarray(energy) / float(energy[0]) - 1)
    assert swing.max() < 1e-4
    late, early = swing[300:].max(), swing[1:100].max()
    assert late < 1.5 * early


def test_energy_changes_by_the_power_of_force_and_damping(case):
    """d/dt (T + q.K q / 2) = f.q' - c q'.q'."""
    num_steps, step = 64, 1 / 16
    c = case.parameters.damping

    @jax.jit
    def course(q, v):
        made = mg.propagate(case.stiffness, c, q, v, case.force_nodes(num_steps, step), step)
        energy = jax.vmap(mg.mechanical_energy, (1, 1, None))(
            made.balance, made.velocity, case.stiffness
        )
        force = jax.vmap(case.force, out_axes=1)(made.time)
        return energy, jnp.sum(force * made.velocity - c * made.velocity**2, axis=0)

    energy, power = course(case.balance, case.velocity)
    from scipy.integrate import simpson

    for end in (16, 40, 64):
        work = simpson(np.asarray(power[: end + 1]), dx=step)
        assert float(energy[end] - energy[0]) == pytest.approx(work, rel=1e-5, abs=1e-6)


def test_plain_springs_conserve_the_sum(case):
    """Only V_D with the plain Laplacian: the sum of balances feels the sum of forces alone."""
    matrix = 0.3 * mg.laplacian(case.weights, normalised=False)
    made = propagate(
        matrix, jnp.zeros(()), case.balance, case.velocity, 0 * case.force_nodes(YEARS)
    )
    total = np.asarray(made.balance.sum(axis=0))
    straight = float(case.balance.sum()) + float(case.velocity.sum()) * np.arange(YEARS + 1)
    np.testing.assert_allclose(total, straight, atol=1e-12)
    assert float(np.ptp(made.balance[0])) > 0.5


def test_closed_motion_stays_closed(case):
    g = jnp.linspace(0.5, 2.0, 5)
    matrix = mg.closed_stiffness(case.stiffness, g)
    q, v = mg.project_closed(case.balance, g), mg.project_closed(case.velocity, g)
    force = jnp.moveaxis(mg.project_closed(jnp.moveaxis(case.force_nodes(YEARS), 0, -1), g), -1, 0)
    made = propagate(matrix, jnp.asarray(0.1), q, v, force)
    np.testing.assert_allclose(g @ made.balance, 0.0, atol=1e-12)


@jax.jit
@partial(jax.value_and_grad, argnums=(0, 1, 2, 3, 4))
def _total(k, c, q, v, f):
    made = mg.propagate(k, c, q, v, f)
    return jnp.sum(jnp.sin(made.balance)) + jnp.sum(made.velocity**2)


@pytest.mark.parametrize("kind", ["distinct", "equal eigenvalues", "zero", "by year"])
def test_gradients_against_differences(case, kind):
    eye = jnp.eye(5)
    stiffness = {
        "distinct": case.stiffness,
        "equal eigenvalues": 0.4 * eye,
        "zero": 0 * eye,
        "by year": jnp.stack([case.stiffness, 0.4 * eye, 0.5 * case.stiffness]),
    }[kind]
    at = (stiffness, jnp.asarray(0.2), case.balance, case.velocity, case.force_nodes(3))
    at = [np.asarray(x) for x in at]
    _, gradient = _total(*at)
    rng = np.random.default_rng(7)
    for i, (x, g) in enumerate(zip(at, gradient, strict=True)):
        along = rng.normal(size=x.shape)
        if i == 0:
            along = along + np.swapaxes(along, -1, -2)
        up, down = list(at), list(at)
        up[i], down[i] = x + 1e-5 * along, x - 1e-5 * along
        expected = (float(_total(*up)[0]) - float(_total(*down)[0])) / 2e-5
        assert float(np.sum(np.asarray(g) * along)) == pytest.approx(expected, rel=2e-6), i


def test_gradient_by_parameters_agrees_with_the_checkpointed_solver(both):
    (_, exact), (_, checkpointed) = both
    for a, b in zip(exact, checkpointed, strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-6)


def test_the_step_limit_is_a_status_and_not_an_exception(case):
    made = mg.simulate(
        lambda t, q, v: -(case.stiffness @ q),
        case.balance, case.velocity, jnp.array([0.0, 50.0]),
        mg.SolverConfig(max_steps=4),
    )  # fmt: skip
    assert mg.MOTION_STATUS[int(made.status)] == "step limit reached"


def test_an_indefinite_gravity_form_explodes_and_the_laplacian_does_not(case):
    """-alpha/2 sum w_ij q_i q_j fits in the sample and is unusable forward."""
    rest = (jnp.zeros(()), case.balance)
    zero = jnp.zeros((5, 60, 4))
    gravity = propagate(-case.weights, *rest, case.velocity, zero)
    springs = propagate(mg.laplacian(case.weights), *rest, 0 * case.velocity, zero)
    assert float(jnp.abs(gravity.balance).max()) > 1e6
    assert float(jnp.abs(springs.balance).max()) < 10


def test_wrong_shapes_are_refused(case):
    force = case.force_nodes(2)
    with pytest.raises(ValueError, match="step, node"):
        mg.propagate(case.stiffness, 0.0, case.balance, case.velocity, force[0, 0])
    with pytest.raises(ValueError, match="balance"):
        mg.propagate(case.stiffness, 0.0, case.balance[:3], case.velocity, force)
    with pytest.raises(ValueError, match="stiffness"):
        mg.propagate(case.stiffness[:3, :3], 0.0, case.balance, case.velocity, force)
    with pytest.raises(ValueError, match="use jax"):
        mg.simulate(lambda t, q, v: -q, jnp.zeros((2, 5)), jnp.zeros((2, 5)), jnp.arange(3.0))
    with pytest.raises(ValueError, match="increasing"):
        mg.simulate(lambda t, q, v: -q, case.balance, case.velocity, jnp.array([0.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match="multiple"):
        mg.verlet(lambda t, q: -q, case.balance, case.velocity, 10, save_every=4)
    with pytest.raises(ValueError, match="solver"):
        mg.SolverConfig(solver="euler")
