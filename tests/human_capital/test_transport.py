"""Transport on characteristics: closed forms, orders, conserved properties, gradients."""

from functools import partial

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from jax.test_util import check_grads

from diffmig import human_capital as hc
from tests.human_capital import closed_forms as exact

NUM_AGES = 100
CLOSE = {"rtol": 1e-12, "atol": 1e-12}

transport = jax.jit(hc.transport, static_argnames=("step", "offset"))
transport_totals = jax.jit(hc.transport_totals, static_argnames="step")


def constant_source(num_years, sigma, a=0, b=NUM_AGES):
    ages = np.arange(NUM_AGES)
    row = np.where((ages >= a) & (ages < b), sigma, 0.0)
    return jnp.asarray(np.broadcast_to(row, (num_years, NUM_AGES)))


def solve_from_zero(nu, source, offset=0.0):
    return transport(jnp.zeros(NUM_AGES), nu, source, offset=offset)


# --- the exponential step ---------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("z", [0.0, 1e-9, 1e-4, 0.03, 0.2499, 0.2501, 1.0, -0.5, 30.0])
def test_phi_is_the_weighted_mean_and_so_are_its_derivatives(order, z):
    x, w = np.polynomial.legendre.leggauss(60)
    x, w = 0.5 * (1 + x), 0.5 * w
    phi = [hc.phi1, hc.phi2][order - 1]
    weight, away = x ** (order - 1), 1 - x
    for n, derivative in enumerate([phi, jax.grad(phi), jax.grad(jax.grad(phi))]):
        expected = (w * weight * (-away) ** n * np.exp(-z * away)).sum()
        # near the joint the large branch cancels, 1e-16 / z^(order + n); the rule has 1e-12
        close = 1e-12 + 1e-15 / 0.25 ** (order + n + 1)
        np.testing.assert_allclose(derivative(z), expected, rtol=close, atol=1e-17)


def test_step_is_the_solution_of_the_ode():
    h, nu, f, k = 3.0, 0.4, 2.0, 1.7
    expected = f / nu + (h - f / nu) * np.exp(-nu * k)
    np.testing.assert_allclose(
        hc.exponential_step(jnp.float64(h), jnp.float64(nu * k), jnp.float64(f), k), expected
    )


# --- closed forms -----------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("nu", [1e-12, 0.03, 0.6, -0.02])
def test_constant_data(nu, offset):
    rows = solve_from_zero(nu, constant_source(18, 10.0), offset)
    years = np.arange(19.0)[:, None]
    ages = np.arange(NUM_AGES) + offset
    np.testing.assert_allclose(rows, exact.constant_h(years, ages, nu, 10.0), rtol=1e-11)


def test_constant_data_total():
    source = constant_source(18, 10.0)
    total = hc.age_totals(lambda x: solve_from_zero(0.03, source, x))
    np.testing.assert_allclose(total, exact.constant_total(np.arange(19.0), 0.03, 10.0), **CLOSE)
    np.testing.assert_allclose(total[18], 12768.7505725997, rtol=1e-13)


def test_bracket():
    source = constant_source(10, 20.0, 7, 18)
    years, ages = np.arange(11.0)[:, None], np.arange(NUM_AGES) + 0.25
    rows = solve_from_zero(0.05, source, 0.25)
    np.testing.assert_allclose(rows, exact.bracket_h(years, ages, 0.05, 20.0, 7, 18), **CLOSE)
    np.testing.assert_allclose(solve_from_zero(0.05, source)[10, 20], 119.32270332933, rtol=1e-12)
    total = hc.age_totals(lambda x: solve_from_zero(0.05, source, x))
    expected = exact.bracket_total(np.arange(11.0), 0.05, 20.0, 7, 18)
    np.testing.assert_allclose(total, expected, rtol=1e-12)
    np.testing.assert_allclose(total[10], 1731.26509726441, rtol=1e-12)


def test_bracket_between_nodes_by_clipped_cells():
    """Edges at 7.3 and 17.85 cut cells; their parts are solved with their own source."""
    a, b = 7.3, 17.85
    rows = hc.transport_smooth(
        jnp.zeros(NUM_AGES),
        lambda t, tau: jnp.full_like(tau, 0.05),
        lambda t, tau: jnp.where((tau > a) & (tau < b), 20.0, 0.0),
        num_steps=10,
        offset=0.4,
        edges=(a, b),
    )
    years, ages = np.arange(11.0)[:, None], np.arange(NUM_AGES) + 0.4
    np.testing.assert_allclose(rows, exact.bracket_h(years, ages, 0.05, 20.0, a, b), **CLOSE)


def growing(nu, g, step, offset=0.0, sigma=10.0):
    num = round(NUM_AGES / step)
    return hc.transport_smooth(
        jnp.zeros(num),
        lambda t, tau: jnp.full_like(tau, nu),
        lambda t, tau: sigma * jnp.exp(g * t),
        num_steps=round(18 / step),
        step=step,
        offset=offset,
    )


@pytest.mark.parametrize(("nu", "g"), [(0.03, 0.02), (0.03, -0.03), (0.02, 0.0)])
def test_growing_source(nu, g):
    step = 0.125
    rows = growing(nu, g, step)
    ages = np.arange(rows.shape[1]) * step
    expected = exact.growing_h(18.0, ages, nu, 10.0, g)
    np.testing.assert_allclose(rows[-1], expected, rtol=1e-10, atol=1e-10)
    if g == 0.02:
        total = hc.age_totals(lambda x: growing(nu, g, step, x), step=step, num_points=4)
        np.testing.assert_allclose(total[-1], 15707.192303528, rtol=1e-10)
        np.testing.assert_allclose(total[-1], exact.growing_total(18.0, nu, 10.0, g), rtol=1e-10)


def wave(step, offset=0.0):
    w, rate = exact.WAVE["frequency"], exact.WAVE["length"]

    def nu(t, tau):
        return 0.02 + 0.0004 * tau + 0.01 * jnp.sin(0.3 * t) ** 2

    def h(t, tau):
        return exact.WAVE["level"] + jnp.cos(w * t) * tau * jnp.exp(-rate * tau)

    def f(t, tau):
        wave = (-w * tau * jnp.sin(w * t) + (1 - rate * tau) * jnp.cos(w * t)) * jnp.exp(
            -rate * tau
        )
        return wave + nu(t, tau) * h(t, tau)

    ages = (jnp.arange(round(NUM_AGES / step), dtype=float) + offset) * step
    initial = h(jnp.zeros_like(ages), ages)
    level = jnp.asarray(exact.WAVE["level"])

    def born(t):
        # those who are `offset * step` old at the end of the step were born with h = C
        return level

    return hc.transport_smooth(
        initial, nu, f, born, num_steps=round(18 / step), step=step, offset=offset
    )


def test_manufactured_solution_is_of_order_four():
    steps = [1.0, 0.5, 0.25, 0.125]
    errors = []
    for step in steps:
        rows = wave(step)
        ages = np.arange(rows.shape[1]) * step
        errors.append(np.abs(rows[-1] - exact.wave_h(18.0, ages)).max())
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert (orders > 3.9).all(), (orders, errors)
    assert (orders < 4.3).all(), (orders, errors)


@pytest.mark.slow
def test_manufactured_solution_to_ten_digits():
    step = 1 / 64
    rows = wave(step)
    np.testing.assert_allclose(rows[-1, round(40 / step)], 18.0712945110434, rtol=1e-10)
    total = hc.age_totals(lambda x: wave(step, x), step=step, num_points=3)
    np.testing.assert_allclose(total[-1], 1567.44260668517, rtol=1e-10)
    np.testing.assert_allclose(total[-1], exact.wave_total(18.0), rtol=1e-10)


def test_smooth_solver_is_exact_for_constant_wear_and_linear_source():
    nu, slope = 0.3, 0.7
    rows = hc.transport_smooth(
        jnp.zeros(10),
        lambda t, tau: jnp.full_like(tau, nu),
        lambda t, tau: 2.0 + slope * t,
        num_steps=6,
    )
    t = 6.0  # ages above 6: exposed from time 0
    expected = (2.0 + slope * t) / nu - slope / nu**2
    expected -= (2.0 / nu - slope / nu**2) * np.exp(-nu * t)
    np.testing.assert_allclose(rows[6, 6:], expected, rtol=1e-13)


def test_gridded_and_smooth_solvers_agree_on_constant_cells(key):
    """Offset 0: a cohort stays in one cell a year, so that a callable of the cell is the same."""
    grid = jax.random.uniform(key, (2, 7, 12))
    nu_grid, f_grid = 0.1 * grid[0], grid[1]

    def lookup(values):
        return lambda t, tau: values[jnp.floor(t).astype(int), jnp.floor(tau).astype(int)]

    initial = jnp.linspace(1.0, 2.0, 12)
    smooth = hc.transport_smooth(
        initial, lookup(nu_grid), lookup(f_grid), lambda t: jnp.asarray(0.5), num_steps=7
    )
    exact_rows = transport(initial, nu_grid, f_grid, 0.5)
    np.testing.assert_allclose(smooth, exact_rows, rtol=1e-14)


# --- an independent loop ----------------------------------------------------------------------


def loop(initial, nu, source, inflow, offset):
    """Cohort by cohort, substep by substep, in plain Python."""
    years, ages = source.shape
    rows = [list(initial)]
    for m in range(years):
        new = []
        for j in range(ages):
            if j == 0:
                value = inflow[m]
            else:
                rate, f, k = nu[m, j - 1], source[m, j - 1], 1 - offset
                value = rows[-1][j - 1] * np.exp(-rate * k) + f * (1 - np.exp(-rate * k)) / rate
            rate, f, k = nu[m, j], source[m, j], offset
            new.append(value * np.exp(-rate * k) + f * (1 - np.exp(-rate * k)) / rate)
        rows.append(new)
    return np.array(rows)


@pytest.mark.parametrize("offset", [0.0, 0.6])
def test_equals_a_plain_loop(key, offset):
    a, b, c, d = jax.random.split(key, 4)
    nu = jax.random.uniform(a, (5, 9), minval=0.01, maxval=0.8)
    source, inflow = jax.random.normal(b, (5, 9)), jax.random.normal(c, (5,))
    initial = jax.random.normal(d, (9,))
    rows = transport(initial, nu, source, inflow, offset=offset)
    expected = loop(*map(np.asarray, (initial, nu, source, inflow)), offset)
    np.testing.assert_allclose(rows, expected, rtol=1e-12)
    if offset == 0.0:
        middle = hc.mid_values(rows, nu, source)
        half = np.exp(-0.5 * nu) * expected[:-1] - source * np.expm1(-0.5 * nu) / nu
        np.testing.assert_allclose(middle, half, rtol=1e-12)
        weight = jax.random.uniform(a, (5, 9))
        total = transport_totals(initial, nu, source, weight, inflow)
        np.testing.assert_allclose(total, (weight * half).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("shape", [(), (1, 1), (1, 9), (5, 1), (5, 9)])
def test_totals_are_sums_of_mid_values_for_every_form_of_wear(key, shape):
    a, b, c = jax.random.split(key, 3)
    nu = jax.random.uniform(a, shape, minval=0.05, maxval=0.8)
    source, initial = jax.random.normal(b, (5, 9)), jax.random.normal(c, (9,))
    weight = jax.random.uniform(c, (5, 9))
    nodes = transport(initial, nu, source, 0.4)
    middle = jax.jit(hc.mid_values)(nodes, nu, source)
    total = transport_totals(initial, nu, source, weight, 0.4)
    np.testing.assert_allclose(total, (weight * middle).sum(axis=1), rtol=1e-12)
    flat = np.broadcast_to(nu, (5, 9))
    expected = loop(np.asarray(initial), flat, np.asarray(source), np.full(5, 0.4), 0.0)
    np.testing.assert_allclose(nodes, expected, rtol=1e-12)


@pytest.mark.parametrize("solver", ["nodes", "totals"])
def test_forward_and_reverse_derivatives_agree_and_so_do_the_orders_of_the_loop(key, solver):
    """Values and derivatives run through different loops; both give the same values."""
    initial, source, inflow = random_problem(3)
    nu, weight = 0.2 * random_problem(4)[1], random_problem(5)[1]

    def solve(initial, nu, source, inflow):
        if solver == "nodes":
            return hc.transport(initial, nu, source, inflow, offset=0.3)
        return hc.transport_totals(initial, nu, source, weight, inflow)

    arguments = (initial, nu, source, inflow)
    value = jax.jit(solve)(*arguments)
    by_year, _ = jax.jit(lambda *a: jax.jvp(solve, a, a))(*arguments)
    np.testing.assert_allclose(by_year, value, rtol=1e-13)
    forward = jax.jit(jax.jacfwd(solve, argnums=(0, 1, 2, 3)))(*arguments)
    reverse = jax.jit(jax.jacrev(solve, argnums=(0, 1, 2, 3)))(*arguments)
    for one, other in zip(forward, reverse, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_batch_axes_are_independent_problems(key):
    a, b, c = jax.random.split(key, 3)
    source = jax.random.normal(a, (4, 6, 3, 2))
    nu = jax.random.uniform(b, (1, 1, 3, 1))
    initial = jax.random.normal(c, (6, 3, 2))
    weight = jax.random.uniform(c, (4, 6, 1, 2))
    rows = transport(initial, nu, source, offset=0.2)
    totals = transport_totals(initial, nu, source, weight)
    for i in range(3):
        for j in range(2):
            one = (initial[:, i, j], nu[0, 0, i, 0], source[:, :, i, j])
            np.testing.assert_allclose(rows[..., i, j], transport(*one, offset=0.2), rtol=1e-13)
            alone = transport_totals(*one, weight[:, :, 0, j])
            np.testing.assert_allclose(totals[:, i, j], alone, rtol=1e-13)


def test_finer_steps_do_not_change_constant_cells(key):
    """Cells of a quarter of a year with the data of the year: the same exact solution."""
    source = jax.random.uniform(key, (3, 8))
    coarse = transport(jnp.zeros(8), 0.1, source)
    fine_source = jnp.repeat(jnp.repeat(source, 4, axis=0), 4, axis=1)
    # the cohort at the lower edge of a cell stays in it for the whole year
    fine = transport(jnp.zeros(32), 0.1, fine_source, step=0.25)
    np.testing.assert_allclose(fine[::4, ::4], coarse, rtol=1e-13)


# --- properties -------------------------------------------------------------------------------

PROBLEM = st.tuples(
    st.integers(0, 2**31 - 1), st.floats(-0.2, 2.0), st.sampled_from([0.0, 0.25, 0.9])
)


def random_problem(seed, shape=(4, 7)):
    a, b, c = jax.random.split(jax.random.key(seed), 3)
    return (
        jax.random.uniform(a, shape[1:]),
        jax.random.uniform(b, shape),
        jax.random.uniform(c, shape[:1]),
    )


@settings(max_examples=20, deadline=None)
@given(PROBLEM)
def test_positive_data_keep_h_positive_and_order_is_preserved(problem):
    seed, nu, offset = problem
    initial, source, inflow = random_problem(seed)
    rows = transport(initial, nu, source, inflow, offset=offset)
    assert (rows >= 0).all()
    more = transport(initial + 0.1, nu, source + 0.1, inflow + 0.1, offset=offset)
    assert (more >= rows).all()


@settings(max_examples=20, deadline=None)
@given(PROBLEM)
def test_linear_in_data(problem):
    seed, nu, offset = problem
    one, two = random_problem(seed), random_problem(seed + 1)
    solve = partial(transport, offset=offset)
    first, second = (solve(d[0], nu, d[1], d[2]) for d in (one, two))
    mixed = [2.0 * a - 3.0 * b for a, b in zip(one, two, strict=True)]
    both = solve(mixed[0], nu, mixed[1], mixed[2])
    np.testing.assert_allclose(both, 2.0 * first - 3.0 * second, rtol=1e-12, atol=1e-11)


def test_a_box_moves_without_a_trace_elsewhere():
    box = jnp.zeros(30).at[4:9].set(1.0)
    rows = transport(box, 0.1, jnp.zeros((12, 30)))
    expected = np.zeros(30)
    expected[16:21] = np.exp(-1.2)
    np.testing.assert_allclose(rows[12], expected, rtol=1e-14, atol=0.0)


@settings(max_examples=20, deadline=None)
@given(PROBLEM)
def test_well_balanced(problem):
    """f = nu c with h = c at the start and at birth stays c, for any nu(t, tau)."""
    seed, scale, offset = problem
    nu = scale * random_problem(seed)[1]
    rows = transport(jnp.full(7, 3.0), nu, 3.0 * nu, 3.0, offset=offset)
    np.testing.assert_allclose(rows, 3.0, rtol=1e-14)


def test_domain_of_dependence_is_the_cohort(key):
    """d h(m, j) / d f(n, i) is exactly zero but on the cohort i - n = j - m, before m."""
    source = jax.random.uniform(key, (5, 8))
    slope = jax.jacrev(lambda f: transport(jnp.zeros(8), 0.2, f)[4])(source)  # [age, year, age]
    later = np.arange(5)[None, :, None]
    i, j = np.arange(8)[None, None, :], np.arange(8)[:, None, None]
    on = (i - later == j - 4) & (later < 4)
    assert (slope[~on] == 0).all()
    assert (slope[on] > 0).all()


def test_vanishing_wear_is_a_smooth_limit():
    source = constant_source(18, 10.0)
    rows = solve_from_zero(0.0, source)
    expected = 10.0 * np.minimum(np.arange(19.0)[:, None], np.arange(NUM_AGES))
    np.testing.assert_allclose(rows, expected, rtol=1e-14)

    def total(nu):
        return transport_totals(jnp.zeros(NUM_AGES), nu, source, jnp.ones((1, NUM_AGES)))[-1]

    slope, total = jax.jit(jax.grad(total)), jax.jit(total)
    at_zero, near = slope(0.0), slope(1e-7)
    difference = (total(1e-4) - total(-1e-4)) / 2e-4
    np.testing.assert_allclose(at_zero, difference, rtol=1e-6)
    np.testing.assert_allclose(near, at_zero, rtol=1e-4)
    assert np.isfinite(jax.hessian(total)(0.0))


def test_gradients_against_finite_differences():
    initial, source, inflow = random_problem(7)
    nu = 0.2 * random_problem(8)[1]

    def last(initial, nu, source, inflow):
        return transport(initial, nu, source, inflow, offset=0.4)[-1]

    check_grads(jax.jit(last), (initial, nu, source, inflow), order=1, rtol=1e-6)

    def totals(initial, nu, source, weight):
        return transport_totals(initial, nu, source, weight)

    check_grads(jax.jit(totals), (initial, nu, source, source), order=1, rtol=1e-6)


def test_smooth_solver_is_differentiable_in_what_its_functions_close_over():
    def last(theta):
        return hc.transport_smooth(
            jnp.ones(6),
            lambda t, tau: theta[0] + theta[1] * tau,
            lambda t, tau: theta[2] * jnp.exp(-theta[3] * t),
            num_steps=4,
            offset=0.5,
            edges=(2.2,),
        )[-1]

    check_grads(jax.jit(last), (jnp.array([0.1, 0.01, 2.0, 0.3]),), order=1, rtol=1e-6)


def test_adjoint_identity():
    """dH(T)/df(t, tau) = w(T, tau + T - t) x survival from the cell's end x k phi1."""
    nu, years, ages = 0.07, 6, 12
    weight = jnp.linspace(1.0, 2.0, ages)

    def total(source):
        return weight @ transport(jnp.zeros(ages), nu, source)[-1]

    slope = jax.grad(total)(jnp.ones((years, ages)))
    expected = np.zeros((years, ages))
    for m in range(years):
        for j in range(ages - (years - m)):
            survival = np.exp(-nu * (years - m - 1))
            expected[m, j] = weight[j + years - m] * survival * -np.expm1(-nu) / nu
    np.testing.assert_allclose(slope, expected, rtol=1e-13)


def test_float32_stays_float32():
    rows = transport(jnp.ones(4, jnp.float32), 0.1, jnp.ones((3, 4), jnp.float32))
    assert rows.dtype == jnp.float32


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": jnp.ones((3, 5))}, r"source: expected \[year, 4\]"),
        ({"source": jnp.ones((0, 4))}, "source"),
        ({"source": jnp.ones((3, 4), jnp.float32)}, "source: expected float64"),
        ({"initial": jnp.ones(4, int)}, "initial: expected floating"),
        ({"initial": jnp.ones(0)}, "initial"),
        ({"wear_rate": jnp.ones((4, 3))}, "wear_rate: expected a scalar or shape"),
        ({"wear_rate": jnp.ones(4)}, "axes of size 1"),
        ({"inflow": jnp.ones(4)}, "inflow"),
        ({"step": 0.0}, "step > 0"),
        ({"offset": 1.0}, "offset in"),
    ],
)
def test_bad_input_is_named_before_tracing(change, message):
    arguments = {"initial": jnp.ones(4), "wear_rate": 0.1, "source": jnp.ones((3, 4)), **change}
    with pytest.raises(ValueError, match=message):
        hc.transport(**arguments)


def test_edges_in_one_cell_are_refused():
    with pytest.raises(ValueError, match="edges"):
        hc.transport_smooth(
            jnp.zeros(5), lambda t, a: 0 * a, lambda t, a: a, num_steps=2, edges=(2.1, 2.6)
        )
