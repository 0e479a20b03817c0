"""The joined chain: an independent loop, gradients, identities, limits of its links."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.linalg import expm

from diffmig import human_capital as hc
from diffmig import migration
from diffmig.explain.chain import (
    ChainParameters,
    ChainRegion,
    ChainState,
    calibrate_chain,
    joined_chain,
)
from diffmig.explain.chain_links import balance_step, production, rogers_castro
from tests.human_capital.conftest import case  # noqa: F401

GAPS = ("log", "relative")


@pytest.fixture(scope="module")
def chain(case):  # noqa: F811
    """Parameters, region and state with everything unequal."""
    rng = np.random.default_rng(8)
    years, ages = case.region.population.shape
    ages_of_cohorts = rogers_castro(jnp.arange(ages + 1.0), 4.0)
    parameters = ChainParameters(
        case.parameters,
        *(jnp.asarray(x, float) for x in (1.3, 0.02, 0.35, 0.06, 0.2, 0.6, 3.0, 0.015, -2.0, 7.0)),
        *(jnp.asarray(x, float) for x in (0.9, 1.2)),
    )
    region = ChainRegion(
        amounts=case.region.amounts,
        lines=case.region.lines,
        participation=case.region.participation[0],
        labour_share=jnp.asarray(rng.uniform(0.1, 0.9, ages)),
        mortality=jnp.asarray(rng.uniform(0.01, 0.2, (years, ages + 1))),
        fertility=jnp.asarray(rng.uniform(0.0, 0.06, (years, ages))),
        migrant_ages=ages_of_cohorts,
    )
    components = case.parameters.shares.size
    start = ChainState(
        population=case.region.population[0],
        capital_per_head=jnp.asarray(rng.uniform(1e4, 1e6, (ages, components))),
        fixed_assets=jnp.asarray(9e3, float),
        rate=jnp.asarray(-1.5, float),
        velocity=jnp.asarray(0.3, float),
    )
    return parameters, region, start


run = jax.jit(joined_chain, static_argnames="gap")
calibrate = jax.jit(calibrate_chain, static_argnames="gap")


def changed(parameters, **values):
    """Parameters with other numbers."""
    return parameters._replace(
        **{name: jnp.asarray(value, float) for name, value in values.items()}
    )


@jax.jit
def effects(parameters, region, start):
    """d (H, Y, balance, births) of each year / d spending, [output, year, line, year]."""

    def outputs(extra):
        years = joined_chain(parameters, region, start, extra).years
        return jnp.stack([years.human_capital, years.grp, years.balance, years.births])

    return jax.jacrev(outputs)(jnp.zeros_like(region.amounts))


def loop(parameters, region, start, gap):
    """The same chain, written again in NumPy from the equations."""
    p = {name: float(x) for name, x in parameters._asdict().items() if name != "capital"}
    nu, alpha = np.asarray(parameters.capital.wear_rate), np.asarray(parameters.capital.shares)
    inflow = np.asarray(parameters.capital.inflow)
    bracket, member = (np.asarray(x) for x in region.lines)
    share, works, movers = (
        np.asarray(x) for x in (region.participation, region.labour_share, region.migrant_ages)
    )
    people, h = np.asarray(start.population), np.asarray(start.capital_per_head)
    k, q, v = float(start.fixed_assets), float(start.rate), float(start.velocity)
    w, damping = p["frequency"], 2 * p["damping_ratio"] * p["frequency"]
    rows = []
    for t in range(region.amounts.shape[1]):
        rate = np.asarray(region.amounts[:, t]) * 1e6 / (bracket @ people)
        f = np.einsum("cl,la,l->ac", member, bracket, rate)
        rest = f / nu  # h tends to it
        middle = rest + (h - rest) * np.exp(-nu / 2)
        capital = ((middle @ alpha) * share * people).sum() / 1e6
        effective = (works @ people) * capital / people.sum()
        grp = p["productivity"] * (1 + p["productivity_growth"]) ** t
        grp *= k ** p["capital_share"] * effective ** (1 - p["capital_share"])
        ratio = p["income_share"] * grp * 1e3 / people.sum()
        ratio /= p["country_income"] * (1 + p["country_growth"]) ** t
        target = np.log(ratio) if gap == "log" else ratio - 1
        target = p["neutral_rate"] + p["response"] * target
        # q, q', integral of q, 1
        flow = np.array(
            [[0, 1, 0, 0], [-(w**2), -damping, 0, w**2 * target], [1, 0, 0, 0], [0, 0, 0, 0]]
        )
        q, v, mean, _ = expm(flow) @ [q, v, 0.0, 1.0]
        balance = mean * people.sum() / 1e3
        moving = movers * np.append(people[0] / 2, people)
        come = balance * moving / moving.sum()
        mu = np.asarray(region.mortality[t])
        lived = -np.expm1(-mu) / mu  # of those who are there, and of those who come, evenly
        stay = (1 - lived) / mu
        years = lived[1:] * people + stay[1:] * come[1:]
        births = (np.asarray(region.fertility[t]) * years).sum()
        reached = np.concatenate([[lived[0] * births], np.exp(-mu[1:]) * people]) + lived * come
        later = np.append(reached[:-2], reached[-2:].sum())
        deaths = people.sum() + births + balance - later.sum()
        rows.append((capital, grp, balance, births, deaths, later.sum()))
        h = np.concatenate([inflow[None], (rest + (h - rest) * np.exp(-nu))[:-1]])
        people, k = later, (1 - p["depreciation"]) * k + p["investment_share"] * grp
    return np.array(rows).T


@pytest.mark.parametrize("gap", GAPS)
def test_chain_equals_an_independent_loop(chain, gap):
    made = run(*chain, gap=gap)
    after = jnp.append(made.years.population.sum(axis=1)[1:], made.final.population.sum())
    got = [made.years.human_capital, made.years.grp, made.years.balance]
    got += [made.years.births, made.years.deaths, after]
    np.testing.assert_allclose(np.stack(got), loop(*chain, gap), rtol=1e-11)


def test_people_change_by_births_deaths_and_the_balance_alone(chain):
    years, final = run(*chain)
    people = jnp.append(years.population.sum(axis=1), final.population.sum())
    change = jnp.diff(people) - (years.births - years.deaths + years.balance)
    np.testing.assert_allclose(change, 0.0, atol=1e-12 * float(people[0]))
    assert (jnp.abs(years.balance) > 1.0).all()


def test_capital_is_that_of_the_human_capital_model_on_the_same_people(chain):
    """Year by year inside the chain, or all years at once on the population that results."""
    parameters, region, start = chain
    made = run(*chain)
    whole = hc.Region(
        region.amounts,
        region.lines,
        made.years.population,
        jnp.broadcast_to(region.participation, made.years.population.shape),
    )
    alone = jax.jit(hc.human_capital)(parameters.capital, whole, start.capital_per_head)
    np.testing.assert_allclose(made.years.human_capital, alone.total, rtol=1e-13)
    np.testing.assert_allclose(made.final.capital_per_head, alone.nodes[-1], rtol=1e-13)


def test_no_further_spending_is_no_change(chain):
    _, region, _ = chain
    for one, other in zip(
        jax.tree.leaves(run(*chain)),
        jax.tree.leaves(run(*chain, jnp.zeros_like(region.amounts))),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_one_gradient_through_the_whole_chain(chain):
    """By every number of parameters, region and state along a direction, leaf by leaf."""
    _, region, _ = chain
    inputs = (*chain, jnp.zeros_like(region.amounts))

    def output(inputs):
        years, final = joined_chain(*inputs)
        return years.balance[-1] / 10.0 + jnp.log(years.grp[-1]) + final.population[3] / 1e3

    leaves = jax.tree.leaves(inputs)
    rng = np.random.default_rng(2)
    ways = []
    for leaf in leaves:
        size = leaf if np.any(leaf) else region.amounts
        way = np.asarray(size) * rng.choice([-1.0, 1.0], leaf.shape) * rng.uniform(0.5, 1.0)
        ways.append(
            np.concatenate([np.ravel(way) if x is leaf else np.zeros(x.size) for x in leaves])
        )
    at, build = ravel_pytree(inputs)
    ways, h = jnp.stack(ways), 2e-3
    steps = jnp.asarray([1.0, -1.0, 2.0, -2.0]) * h
    points = at[None, None] + steps[:, None, None] * ways[None]
    many = jax.vmap(jax.vmap(lambda x: output(build(x))))
    ends, gradient = jax.jit(lambda x: (many(x), jax.grad(output)(build(at))))(points)
    finite = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)  # of order 4
    exact = ways @ ravel_pytree(gradient)[0]
    np.testing.assert_allclose(finite, exact, rtol=1e-6, atol=1e-11)
    moved = [bool(np.any(x)) for x in jax.tree.leaves(gradient)]
    assert [leaves[i] is inputs[0].capital.initial_factor for i in np.flatnonzero(~np.array(moved))]
    assert sum(moved) == len(leaves) - 1


def test_spending_acts_forward_and_with_the_expected_sign(chain):
    """Critical damping: no swing turns a gain into a loss; nothing acts before its year."""
    parameters, region, start = chain
    made = np.asarray(effects(changed(parameters, damping_ratio=1.0), region, start))
    capital, grp, balance, births = made
    years = np.arange(capital.shape[0])
    before = years[:, None] < years[None, :]
    assert (made[:, before.nonzero()[0], :, before.nonzero()[1]] == 0).all()
    served = np.asarray(region.lines.brackets @ start.population) > 0
    assert served.all()
    for effect in (capital, grp, balance, births):
        assert (effect >= 0).all()
    assert (np.einsum("tlt->tl", grp) > 0).all()
    assert (np.einsum("tlt->tl", balance) > 0).all()


def test_without_response_the_balance_does_not_answer(chain):
    parameters, region, start = chain
    capital, grp, balance, births = np.asarray(
        effects(changed(parameters, response=0.0), region, start)
    )
    assert (balance == 0).all()
    assert (births == 0).all()
    assert (capital > 0).any()
    assert (grp > 0).any()


def test_production_by_fixed_assets_alone_needs_no_human_capital(chain):
    parameters, region, start = chain
    capital, grp, balance, _ = np.asarray(
        effects(changed(parameters, capital_share=1.0), region, start)
    )
    assert (capital > 0).any()
    assert (grp == 0).all()
    assert (balance == 0).all()


def test_many_sets_of_parameters_are_a_loop(chain):
    parameters, region, start = chain
    scale = jnp.array([0.7, 1.0, 1.3])
    many = jax.tree.map(lambda x: x[None] * scale.reshape((3,) + (1,) * x.ndim), parameters)
    together = jax.jit(jax.vmap(lambda p: joined_chain(p, region, start)))(many)
    for i in range(3):
        alone = run(jax.tree.map(lambda x, i=i: x[i], many), region, start)
        for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(one[i], other, rtol=1e-12)


def test_calibration_meets_the_first_year_and_rests(chain):
    """A from GRP, and a force that holds the balance: with the country growing at the region's own
    pace the balance would stay where it is."""
    parameters, region, start = chain
    start = start._replace(velocity=jnp.zeros(()))
    for gap in GAPS:
        found = calibrate(parameters, region, start, 5e3, gap=gap)
        years = run(found, region, start, gap=gap).years
        np.testing.assert_allclose(years.grp[0], 5e3, rtol=1e-12)
        np.testing.assert_allclose(years.force[0] / found.frequency**2, start.rate, rtol=1e-12)
        expected = start.rate * years.population[0].sum() / 1e3
        np.testing.assert_allclose(years.balance[0], expected, rtol=1e-12)


def test_income_share_and_the_country_cancel_where_the_gap_is_a_logarithm(chain):
    """The neutral rate takes them up; with a relative gap they count."""
    parameters, region, start = chain
    other = changed(parameters, income_share=0.45, country_income=5.0)
    for gap, same in (("log", True), ("relative", False)):
        paths = []
        for values in (parameters, other):
            found = calibrate(values, region, start, 5e3, gap=gap)
            paths.append(run(found, region, start, gap=gap).years)
        assert np.allclose(paths[0].balance, paths[1].balance, rtol=1e-10) == same
        assert not np.allclose(paths[0].income, paths[1].income, rtol=0.1)


@pytest.fixture(scope="module")
def steps():
    """`balance_step` over frequencies and damping ratios, [case] each."""
    w, zeta = (x.ravel() for x in np.meshgrid([0.3, 0.9, 2.0], [0.0, 0.4, 1.0, 2.5]))
    state = jnp.full(w.shape, -1.5), jnp.full(w.shape, 0.8), jnp.full(w.shape, 2.0)
    return state, jnp.asarray(w), jnp.asarray(zeta)


step_all = jax.jit(jax.vmap(balance_step, in_axes=(0, 0, 0, 0, 0, None)))


def test_balance_moves_as_the_chapter_on_migration_moves_it(steps):
    (q, v, target), w, zeta = steps
    later, speed, mean = step_all(q, v, target, w, zeta, 1.0)
    move = jax.jit(partial(migration.propagate, step=1.0 / 8))
    points, weights = np.polynomial.legendre.leggauss(8)
    for i in range(w.size):
        force = jnp.full((1, 8, 6), w[i] ** 2 * target[i])
        moved = move(w[i : i + 1, None] ** 2, 2 * zeta[i] * w[i], q[i : i + 1], v[i : i + 1], force)
        np.testing.assert_allclose(moved.balance[0, -1], later[i], rtol=1e-10)
        np.testing.assert_allclose(moved.velocity[0, -1], speed[i], rtol=1e-9, atol=1e-10)
    at = step_all
    middle = [at(q, v, target, w, zeta, float(0.5 + 0.5 * x))[0] for x in points]
    by_points = sum(0.5 * weight * x for weight, x in zip(weights, middle, strict=True))
    np.testing.assert_allclose(mean, by_points, rtol=1e-10)


def test_balance_steps_add_up(steps):
    (q, v, target), w, zeta = steps
    later, speed, mean = step_all(q, v, target, w, zeta, 1.0)
    first = step_all(q, v, target, w, zeta, 0.3)
    second = step_all(first[0], first[1], target, w, zeta, 0.7)
    np.testing.assert_allclose(second[0], later, rtol=1e-12)
    np.testing.assert_allclose(second[1], speed, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(0.3 * first[2] + 0.7 * second[2], mean, rtol=1e-10)


def test_limits_of_damping(steps):
    """None: energy is kept. Very strong: it creeps at the rate w / (2 zeta). Quick and critical: it
    is at the target. At rest: it stays."""
    (q, v, target), w, _ = steps
    ones = jnp.ones_like(w)
    later, speed, _ = step_all(q, v, target, w, 0.0 * ones, 1.0)
    energy = [s**2 + w**2 * (x - target) ** 2 for s, x in ((v, q), (speed, later))]
    np.testing.assert_allclose(energy[1], energy[0], rtol=1e-12)
    slow, _, _ = step_all(q, 0.0 * v, target, w, 300.0 * ones, 1.0)
    np.testing.assert_allclose(slow - target, (q - target) * np.exp(-w / 600.0), rtol=1e-5)
    quick, _, _ = step_all(q, v, target, 60.0 * ones, ones, 1.0)
    np.testing.assert_allclose(quick, target, rtol=1e-10)
    for zeta in (0.0, 1.0, 3.0):
        rest = step_all(target, 0.0 * v, target, w, zeta * ones, 1.0)
        np.testing.assert_allclose(rest[0], target, rtol=1e-14)
        np.testing.assert_allclose(rest[2], target, rtol=1e-14)


def test_production_has_degree_one_and_both_ends():
    k, e = jnp.asarray(800.0), jnp.asarray(350.0)
    for share in (0.0, 0.3, 1.0):
        once, twice = (production(1.7, x * k, x * e, jnp.asarray(share)) for x in (1.0, 2.0))
        np.testing.assert_allclose(twice, 2.0 * once, rtol=1e-13)
        np.testing.assert_allclose(once, 1.7 * 800.0**share * 350.0 ** (1 - share), rtol=1e-13)
    slopes = jax.grad(production, argnums=(1, 2))(1.7, k, e, jnp.asarray(0.3))
    product = production(1.7, k, e, jnp.asarray(0.3))
    np.testing.assert_allclose(slopes[0] * k / product, 0.3, rtol=1e-12)
    np.testing.assert_allclose(slopes[1] * e / product, 0.7, rtol=1e-12)


def test_migrants_peak_where_the_schedule_says():
    """The slope of the labour part is zero at mu2 + ln(lambda2 / alpha2) / lambda2."""
    ages = jnp.linspace(0.0, 100.0, 10_001)
    for peak_age in (18.0, 25.0):
        made = np.asarray(rogers_castro(ages, peak_age))
        young = ages < 10
        labour = made - 0.02 * np.exp(-0.1 * np.asarray(ages)) - 0.003
        assert ages[labour.argmax()] == pytest.approx(peak_age + np.log(4.0) / 0.4, abs=0.01)
        assert (np.diff(made[young]) < 0).all()
        np.testing.assert_allclose(made[-1], 0.003, rtol=0.02)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("mortality", lambda x: x[:, :-1], r"mortality: expected shape \(6, 16\)"),
        ("fertility", lambda x: x[1:], r"fertility: expected shape \(6, 15\)"),
        ("migrant_ages", lambda x: x[1:], r"migrant_ages: expected shape \(16,\)"),
        ("labour_share", lambda x: x[None], r"labour_share: expected shape \(15,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(chain, name, wrong, message):
    parameters, region, start = chain
    bad = region._replace(**{name: wrong(getattr(region, name))})
    with pytest.raises(ValueError, match=message):
        joined_chain(parameters, bad, start)


def test_other_wrong_arguments_are_named(chain):
    parameters, region, start = chain
    with pytest.raises(ValueError, match="gap: expected one of"):
        joined_chain(parameters, region, start, gap="logs")
    with pytest.raises(ValueError, match=r"extra: expected shape \(4, 6\)"):
        joined_chain(parameters, region, start, jnp.zeros((6, 4)))
    short = start._replace(capital_per_head=start.capital_per_head[:, :2])
    with pytest.raises(ValueError, match=r"capital_per_head: expected shape \(15, 3\)"):
        calibrate_chain(parameters, region, short, 1.0)


def test_gaps_agree_near_equal_incomes(chain):
    """ln x and x - 1 differ by half the square of the gap."""
    parameters, region, start = chain
    income = float(run(*chain).years.income[0])
    near = changed(parameters, country_income=1.001 * income)
    log, relative = (float(run(near, region, start, gap=gap).years.gap[0]) for gap in GAPS)
    assert log == pytest.approx(-0.0009995, rel=1e-6)
    assert relative - log == pytest.approx(log**2 / 2, rel=2e-3)


def test_years_follow_each_other(chain):
    """Two chains end to end are one; the years of the second count from its own start."""
    parameters, region, start = chain
    whole = run(parameters, region, start)
    cut = [
        region._replace(
            amounts=region.amounts[:, part],
            mortality=region.mortality[part],
            fertility=region.fertility[part],
        )
        for part in (slice(0, 3), slice(3, 6))
    ]
    first = run(parameters, cut[0], start)
    later = parameters._replace(
        productivity=parameters.productivity * (1 + parameters.productivity_growth) ** 3,
        country_income=parameters.country_income * (1 + parameters.country_growth) ** 3,
    )
    second = run(later, cut[1], first.final)
    for all_years, one, two in zip(whole.years, first.years, second.years, strict=True):
        np.testing.assert_allclose(np.concatenate([one, two]), all_years, rtol=1e-12)
    assert all(a != b for a, b in pairwise(whole.years.balance.tolist()))
