"""Exact propagator, Diffrax and Verlet: closed forms, order, energy, conservation, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import migration as mg

YEARS = 6


@pytest.fixture(scope="module")
def solved(case):
    """The damped case by Diffrax, tightly."""

    def acceleration(t, q, v):
        return mg.matrix_acceleration(q, v, case.force(t), case.stiffness, case.parameters.damping)

    config = mg.SolverConfig(solver="dopri8", rtol=1e-11, atol=1e-13)
    return jax.jit(lambda q, v: mg.simulate(acceleration, q, v, jnp.arange(YEARS + 1.0), config))(
        case.balance, case.velocity
    )


@pytest.mark.parametrize("value", [0.7, 0.01, 1e-9, 0.0, -0.3])
@pytest.mark.parametrize("damping", [0.0, 0.2, 1.8])
def test_green_function_solves_its_equation(value, damping):
    t = jnp.linspace(0.0, 4.0, 9)
    x, c = jnp.full(9, value), jnp.asarray(damping)
    g, rate = mg.green(x, c, t)
    root = np.sqrt(complex(value - damping**2 / 4))
    t = np.asarray(t)
    exact = np.exp(-damping * t / 2) * (np.sin(root * t) / root if root else t)
    np.testing.assert_allclose(g, exact.real, atol=1e-13)
    slope = jax.vmap(jax.grad(lambda t: mg.green(jnp.asarray(value), c, t)[0]))
    bend = jax.vmap(jax.grad(lambda t: mg.green(jnp.asarray(value), c, t)[1]))
    np.testing.assert_allclose(slope(t), rate, atol=1e-12)
    np.testing.assert_allclose(bend(t), -damping * rate - value * g, atol=1e-12)


def test_green_function_has_derivatives_by_the_eigenvalue_at_zero():
    slope = jax.grad(lambda x: mg.green(x, 0.0, 2.0)[0])
    # G = t - value t^3 / 6 + ...
    assert float(slope(jnp.asarray(0.0))) == pytest.approx(-(2.0**3) / 6)


@pytest.mark.parametrize(("num_nodes", "tolerance"), [(4, 1e-7), (6, 1e-10)])
def test_propagator_equals_diffrax(case, solved, num_nodes, tolerance):
    made = mg.propagate(
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
    for stiffness in (case.stiffness, found, yearly):
        made = mg.propagate(stiffness, c, case.balance, case.velocity, force, 0.5)
        np.testing.assert_allclose(made.balance[:, ::2], expected, atol=1e-9)
    batch = mg.propagate(
        found, c, jnp.stack([case.balance, 0 * case.balance]), case.velocity, force, 0.5
    )
    np.testing.assert_allclose(batch.balance[0, :, ::2], expected, atol=1e-9)
    assert not np.allclose(batch.balance[1], batch.balance[0])


def test_stiffness_that_changes_from_year_to_year(case):
    rng = np.random.default_rng(0)
    factors = jnp.asarray(rng.uniform(0.2, 2.0, YEARS))
    matrices = factors[:, None, None] * case.stiffness[None]
    force, c = case.force_nodes(YEARS), case.parameters.damping
    made = mg.propagate(matrices, c, case.balance, case.velocity, force)
    q, v = case.balance, case.velocity
    for k in range(YEARS):  # one year after the other, each with its own matrix
        one = mg.propagate(matrices[k], c, q, v, force[:, k : k + 1])
        q, v = one.balance[:, -1], one.velocity[:, -1]
        np.testing.assert_allclose(made.balance[:, k + 1], q, atol=1e-12)


def test_linear_in_state_and_force(case):
    def motion(q, v, f):
        return mg.propagate(case.stiffness, case.parameters.damping, q, v, f).balance

    zero, force = jnp.zeros(5), case.force_nodes(YEARS)
    whole = motion(case.balance, case.velocity, force)
    parts = (
        motion(case.balance, zero, 0 * force)
        + motion(zero, case.velocity, 0 * force)
        + motion(zero, zero, force)
    )
    np.testing.assert_allclose(whole, parts, atol=1e-12)


def test_verlet_has_order_two_and_tends_to_the_exact_motion(case):
    exact = mg.propagate(
        case.stiffness, 0.0, case.balance, case.velocity, case.force_nodes(YEARS, num_nodes=6)
    )
    errors = []
    for steps in (16, 32, 64):
        made = mg.verlet(
            lambda t, q: case.force(t) - case.stiffness @ q,
            case.balance, case.velocity, YEARS * steps, step=1 / steps, save_every=steps,
        )  # fmt: skip
        errors.append(float(jnp.max(jnp.abs(made.balance - exact.balance))))
    order = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(order, 2.0, atol=0.05)


def test_verlet_does_not_drift_in_energy(case):
    made = mg.verlet(
        lambda t, q: -(case.stiffness @ q), case.balance, case.velocity, 64 * 400, save_every=64
    )
    energy = jax.vmap(mg.mechanical_energy, (1, 1, None))(
        made.balance, made.velocity, case.stiffness
    )
    swing = np.abs(np.asarray(energy) / float(energy[0]) - 1)
    assert swing.max() < 1e-4
    late, early = swing[300:].max(), swing[1:100].max()
    assert late < 1.5 * early


def test_energy_changes_by_the_power_of_force_and_damping(case):
    """d/dt (T + q.K q / 2) = f.q' - c q'.q'."""
    num_steps, step = 64, 1 / 16
    c = case.parameters.damping
    made = mg.propagate(
        case.stiffness, c, case.balance, case.velocity, case.force_nodes(num_steps, step), step
    )
    energy = jax.vmap(mg.mechanical_energy, (1, 1, None))(
        made.balance, made.velocity, case.stiffness
    )
    force = jax.vmap(case.force, out_axes=1)(made.time)
    power = jnp.sum(force * made.velocity - c * made.velocity**2, axis=0)
    from scipy.integrate import simpson

    for end in (16, 40, 64):
        work = simpson(np.asarray(power[: end + 1]), dx=step)
        assert float(energy[end] - energy[0]) == pytest.approx(work, rel=1e-5, abs=1e-6)


def test_plain_springs_conserve_the_sum(case):
    """Only V_D with the plain Laplacian: the sum of balances feels the sum of forces alone."""
    matrix = 0.3 * mg.laplacian(case.weights, normalised=False)
    made = mg.propagate(matrix, 0.0, case.balance, case.velocity, 0 * case.force_nodes(YEARS))
    total = np.asarray(made.balance.sum(axis=0))
    straight = float(case.balance.sum()) + float(case.velocity.sum()) * np.arange(YEARS + 1)
    np.testing.assert_allclose(total, straight, atol=1e-12)
    assert float(np.ptp(made.balance[0])) > 0.5


def test_closed_motion_stays_closed(case):
    g = jnp.linspace(0.5, 2.0, 5)
    matrix = mg.closed_stiffness(case.stiffness, g)
    q, v = mg.project_closed(case.balance, g), mg.project_closed(case.velocity, g)
    force = jnp.moveaxis(mg.project_closed(jnp.moveaxis(case.force_nodes(YEARS), 0, -1), g), -1, 0)
    made = mg.propagate(matrix, 0.1, q, v, force)
    np.testing.assert_allclose(g @ made.balance, 0.0, atol=1e-12)


@jax.jit
def _total(k, c, q, v, f):
    made = mg.propagate(k, c, q, v, f)
    return jnp.sum(jnp.sin(made.balance)) + jnp.sum(made.velocity**2)


_gradient = jax.jit(jax.grad(_total, (0, 1, 2, 3, 4)))


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
    gradient = _gradient(*at)
    rng = np.random.default_rng(7)
    for i, (x, g) in enumerate(zip(at, gradient, strict=True)):
        along = jnp.asarray(rng.normal(size=x.shape))
        if i == 0:
            along = along + jnp.swapaxes(along, -1, -2)
        up, down = list(at), list(at)
        up[i], down[i] = x + 1e-5 * along, x - 1e-5 * along
        expected = (float(_total(*up)) - float(_total(*down))) / 2e-5
        assert float(jnp.sum(g * along)) == pytest.approx(expected, rel=2e-6), i


def test_gradient_by_parameters_agrees_with_the_checkpointed_solver(case):
    def misfit(parameters, exact):
        stiffness = mg.stiffness_matrix(parameters, case.couplings)
        if exact:
            made = mg.propagate(
                stiffness, parameters.damping, case.balance, case.velocity,
                case.force_nodes(3, num_nodes=6),
            )  # fmt: skip
        else:
            made = mg.simulate(
                lambda t, q, v: mg.matrix_acceleration(
                    q, v, case.force(t), stiffness, parameters.damping
                ),
                case.balance, case.velocity, jnp.arange(4.0),
                mg.SolverConfig(rtol=1e-10, atol=1e-12),
            )  # fmt: skip
        return jnp.sum(made.balance**2)

    gradient = jax.jit(jax.grad(misfit), static_argnums=1)
    for a, b in zip(gradient(case.parameters, True), gradient(case.parameters, False), strict=True):
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
    zero = jnp.zeros((5, 60, 4))
    gravity = mg.propagate(-case.weights, 0.0, case.balance, case.velocity, zero)
    springs = mg.propagate(mg.laplacian(case.weights), 0.0, case.balance, 0 * case.velocity, zero)
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
