"""The inverse question: least changes that reach a target, against closed forms and SLSQP."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from diffmig import explain

PLACES, FACTORS, BOX, BEYOND = 24, 5, 2.5, 4  # the last places ask for more than there is
REACHED = slice(0, PLACES - BEYOND)


def networks(seed=0, members=5, units=3):
    """Weights of small tanh networks: inner, bias, outer."""
    rng = np.random.default_rng(seed)
    inner = rng.normal(size=(members, units, FACTORS)) * 0.6
    return inner, rng.normal(size=(members, units)), rng.normal(size=(members, units))


def mean_output(weights, x, xp=np):
    """Mean over the members, x [..., factor] -> [...]."""
    inner, bias, outer = weights
    hidden = xp.tanh(xp.einsum("mhf,...f->...mh", inner, x) + xp.broadcast_to(
        bias, (*x.shape[:-1], *bias.shape)))  # fmt: skip
    return xp.mean(xp.einsum("...mh,mh->...m", hidden, outer), axis=-1)


def slope_of(weights, x):
    inner, bias, outer = weights
    hidden = np.tanh(np.einsum("mhf,f->mh", inner, x) + bias)
    return np.einsum("mh,mhf->f", outer * (1 - hidden**2), inner) / len(outer)


WEIGHTS = networks()


def gain(change, x):
    return mean_output(WEIGHTS, x + change, jnp) - mean_output(WEIGHTS, x, jnp)


def problems(seed):
    """x, scale, low, high, target of places; a lever is frozen, one goes up only, by chance."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(PLACES, FACTORS))
    low, high = np.minimum(-BOX - x, 0.0), np.maximum(BOX - x, 0.0)
    number = np.arange(PLACES)
    low[number, rng.integers(0, FACTORS, PLACES)] = 0.0
    frozen = rng.integers(0, FACTORS, PLACES)
    low[number, frozen], high[number, frozen] = 0.0, 0.0
    tries = rng.uniform(low[:, None], high[:, None], (PLACES, 300, FACTORS))
    size = mean_output(WEIGHTS, x[:, None] + tries) - mean_output(WEIGHTS, x)[:, None]
    target = size.max(axis=1) * rng.uniform(0.1, 0.95, PLACES)
    target[-BEYOND:] = 3.0 * np.abs(WEIGHTS[2]).sum()
    return x, rng.uniform(0.5, 2.0, x.shape), low, high, target


@jax.jit
def solve(x, scale, low, high, targets):
    return explain.least_changes(gain, x, scale, low, high, targets, block=16)


@pytest.fixture(scope="module")
def case():
    given = problems(0)
    return given, jax.device_get(solve(*given))


def by_slsqp(x, scale, low, high, target, start):
    """Least cost by a general solver, inf where it does not end at a feasible point."""
    base = mean_output(WEIGHTS, x)
    constraint = {
        "type": "ineq",
        "fun": lambda change: mean_output(WEIGHTS, x + change) - base - target,
        "jac": lambda change: slope_of(WEIGHTS, x + change),
    }
    found = minimize(
        lambda change: (0.5 * np.sum((change / scale) ** 2), change / scale**2),
        start,
        jac=True,
        bounds=np.stack([low, high], axis=1),
        constraints=constraint,
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 300},
    )
    return found.fun if constraint["fun"](found.x) > -2e-8 * target else np.inf


def test_no_general_solver_finds_a_cheaper_change(case):
    (x, scale, low, high, target), found = case
    for i in range(PLACES - BEYOND):
        starts = (np.zeros(FACTORS), 0.5 * (low[i] + high[i]), found.change[i])
        costs = [by_slsqp(x[i], scale[i], low[i], high[i], target[i], s) for s in starts]
        assert found.cost[i] <= min(costs) * (1 + 1e-6)
        assert found.cost[i] >= costs[2] * (1 - 1e-6)  # and it stays there from our answer


def test_answers_carry_their_certificates(case):
    (x, scale, low, high, target), found = case
    assert (found.change >= low).all()
    assert (found.change <= high).all()
    response = mean_output(WEIGHTS, x + found.change) - mean_output(WEIGHTS, x)
    np.testing.assert_allclose(found.response, response, atol=1e-12)
    np.testing.assert_allclose(found.cost, 0.5 * ((found.change / scale) ** 2).sum(axis=1))
    np.testing.assert_array_equal(found.status[REACHED], 0)
    np.testing.assert_allclose(found.response[REACHED], target[REACHED], rtol=1e-7)
    assert found.residual[REACHED].max() < 1e-7
    for i in range(PLACES - BEYOND):  # change / scale = clip(price * scale * slope)
        slope = slope_of(WEIGHTS, x[i] + found.change[i])
        ideal = np.clip(found.price[i] * scale[i] ** 2 * slope, low[i], high[i])
        np.testing.assert_allclose(found.change[i], ideal, atol=1e-6 * np.abs(ideal).max())
        fixed = low[i] == high[i]
        side = np.where(found.change[i] == high[i], 1, np.where(found.change[i] == low[i], -1, 0))
        np.testing.assert_array_equal(found.active[i][~fixed], side[~fixed])
        np.testing.assert_array_equal(found.active[i][fixed], np.sign(slope[fixed]))


def test_what_cannot_be_reached_comes_with_the_best_there_is(case):
    (x, _, low, high, _), found = case
    rng = np.random.default_rng(1)
    for i in range(PLACES - BEYOND, PLACES):
        assert explain.CHANGE_STATUS[found.status[i]] == "cannot be reached within the bounds"
        corners = np.array(list(itertools.product(*zip(low[i], high[i], strict=True))))
        tries = np.vstack([corners, rng.uniform(low[i], high[i], (5000, FACTORS))])
        sampled = (mean_output(WEIGHTS, x[i] + tries) - mean_output(WEIGHTS, x[i])).max()
        assert found.best[i] >= sampled - 1e-9
        assert found.response[i] == pytest.approx(found.best[i], rel=1e-12)
        assert found.price[i] == np.inf
        assert found.residual[i] < 1e-5
    best = found.best[REACHED]
    assert (best >= found.response[REACHED]).all()


def test_price_is_the_derivative_of_the_cost_by_the_target(case):
    (*given, target), found = case
    step = 1e-4 * np.abs(target)
    more, less = (solve(*given, target + sign * step).cost for sign in (1, -1))
    difference = (np.asarray(more) - np.asarray(less)) / (2 * step)
    np.testing.assert_allclose(found.price[REACHED], difference[REACHED], rtol=1e-4)


def test_many_places_are_solved_as_one_by_one(case):
    given, found = case
    one = jax.jit(lambda x, *rest: explain.least_change(partial(gain, x=x), *rest))
    for i in (0, 7, PLACES - 1):
        single = one(*(a[i] for a in given))
        for name in ("cost", "response", "best", "change"):
            expected = getattr(found, name)[i]
            np.testing.assert_allclose(getattr(single, name), expected, rtol=1e-5, atol=1e-9)
        assert int(single.status) == found.status[i]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 10**6), st.floats(-3.0, 3.0))
def test_bounds_hold_and_status_tells_the_truth(seed, factor):
    x, scale, low, high, target = problems(seed)
    target = factor * target
    found = jax.device_get(solve(x, scale, low, high, target))
    assert (found.change >= low).all()
    assert (found.change <= high).all()
    short = found.response < target - 1e-7 * np.abs(target) - 1e-12
    np.testing.assert_array_equal(short, found.status == 1)
    idle = target <= 0
    assert (found.change[idle] == 0).all()
    assert (found.price[idle] == 0).all()
    assert (found.best[short] < target[short]).all()


def test_towns_of_a_group_share_one_price(case):
    """Each with its own change: every part is the answer for what it brings to the sum."""
    (x, scale, low, high, _), _ = case
    total = 2.0
    group = jax.jit(
        lambda x, *rest: explain.least_change(
            lambda change: jnp.sum(jax.vmap(gain)(change, x)), *rest, total
        )
    )(x, scale, low, high)
    assert int(group.status) == 0
    brought = np.asarray(jax.vmap(gain)(group.change, jnp.asarray(x)))
    assert brought.sum() == pytest.approx(total, rel=1e-9)
    each = solve(x, scale, low, high, brought)
    moved = brought > 1e-6
    assert moved.sum() > PLACES / 2
    np.testing.assert_allclose(each.price[moved], group.price, rtol=1e-5)
    np.testing.assert_allclose(np.sum(each.cost), group.cost, rtol=1e-6)


@jax.jit
def toy(slope, hump, height, scale, low, high, target):
    """Linear response, two humps in the first lever and a logarithm."""

    def response(x):
        near, far = jnp.exp(-4.0 * (x[0] - 1.0) ** 2), jnp.exp(-((x[0] - 4.0) ** 2))
        return 7.0 + jnp.sum(slope * x) + hump * (0.5 * near + far) + jnp.log(height)

    return explain.least_change(response, scale, low, high, target, equal=True)


def test_a_linear_response_has_a_closed_form():
    slope, scale = jnp.array([1.0, -2.0, 0.5]), jnp.array([1.0, 0.5, 2.0])
    wide = jnp.full(3, 100.0)
    run = partial(toy, slope, 0.0, 1.0, scale)
    for rise in (3.0, -3.0):
        found = run(-wide, wide, 7.0 + rise)
        square = jnp.sum((scale * slope) ** 2)
        np.testing.assert_allclose(found.change, scale**2 * slope * rise / square, rtol=1e-9)
        assert float(found.price) == pytest.approx(rise / float(square))
        assert float(found.best) == pytest.approx(7.0 + np.sign(rise) * 350.0)
        assert int(found.status) == 0
    low, high = jnp.array([0.0, -0.5, 0.0]), jnp.array([0.3, 0.0, 0.0])
    found = run(low, high, 8.2)
    expected = explain.least_cost(slope, jnp.zeros(3), low, high, 1.2, curvature=scale**-2.0)
    np.testing.assert_allclose(found.change, expected.change, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(found.active, [1, 0, 1])  # the frozen one presses upwards
    assert float(found.price) == pytest.approx(float(expected.price))
    short = run(low, high, 8.4)
    np.testing.assert_allclose(short.change, [0.3, -0.5, 0.0])
    assert explain.CHANGE_STATUS[int(short.status)] == "cannot be reached within the bounds"
    assert float(short.best) == pytest.approx(8.3)


def test_a_target_beyond_a_lower_hump_is_found():
    none, one = jnp.zeros(3), jnp.ones(3)
    found = toy(none, 1.0, 1.0, one, -one, 5.0 * one, 7.8)
    expected = brentq(lambda x: np.exp(-((x - 4.0) ** 2)) - 0.8, 2.0, 4.0)
    np.testing.assert_allclose(found.change, [expected, 0.0, 0.0], rtol=1e-6)
    assert float(found.best) == pytest.approx(8.0, abs=1e-6)
    assert explain.CHANGE_STATUS[int(found.status)] == "reached"


def test_a_response_that_is_not_a_number_is_told():
    one = jnp.ones(3)
    found = toy(one, 0.0, -1.0, one, -one, one, 8.0)
    assert explain.CHANGE_STATUS[int(found.status)] == "response not finite"


def test_bands_hold_the_members_and_test_the_answer_by_each():
    """Linear members: a member alone has the closed form, the last one has no effect at all."""
    slopes = jnp.array([[1.0, 0.2], [0.8, 0.6], [1.2, 0.1], [0.0, 0.0]])
    ones, target = jnp.ones(2), 0.9
    found = jax.jit(
        lambda slopes: explain.least_change_band(
            lambda x, slope: jnp.sum(slope * x), slopes, ones, -9.0 * ones, 9.0 * ones, target
        )
    )(slopes)
    mean = np.asarray(slopes).mean(axis=0)
    np.testing.assert_allclose(found.ensemble.change, mean * target / (mean @ mean), rtol=1e-9)
    own = np.asarray(slopes)[:3]
    own = own * target / (own**2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.members.change[:3], own, rtol=1e-9)
    np.testing.assert_allclose(found.change.median, np.median(own, axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.change.high, np.quantile(own, 0.95, axis=0), rtol=1e-9)
    np.testing.assert_array_equal(found.members.status, [0, 0, 0, 1])
    assert float(found.reachable) == 0.75
    response = np.asarray(slopes) @ np.asarray(found.ensemble.change)
    np.testing.assert_allclose(found.response, response, rtol=1e-12)
    assert float(found.share) == np.mean(response >= target)
    assert 0 < float(found.share) < 1


def test_per_cent_of_a_balance_say_who_gains():
    np.testing.assert_allclose(explain.relative_target([-200.0, 50.0], 10.0), [20.0, 5.0])
    np.testing.assert_allclose(explain.relative_target([-200.0, 50.0], [10.0, 30.0]), [20.0, 15.0])
    np.testing.assert_allclose(explain.relative_target(50.0, 10.0, direction="fewer"), -5.0)
    with pytest.raises(ValueError, match="gain would mean fewer people: give 10"):
        explain.relative_target([-200.0, 50.0], [5.0, -10.0])
    with pytest.raises(ValueError, match="give the target in persons"):
        explain.relative_target([0.0, 50.0], 10.0)
    with pytest.raises(ValueError, match="finite"):
        explain.relative_target([np.nan, 50.0], 10.0)
    with pytest.raises(ValueError, match="direction"):
        explain.relative_target(1.0, 10.0, direction="less")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_room_leads_back_into_the_training_range_and_never_further_out(seed):
    rng = np.random.default_rng(seed)
    training = explain.training_box(rng.normal(size=(9, 4)))
    x = 1.5 * rng.normal(size=(6, 4))
    low, high = jax.device_get(explain.room(training, x))
    box = jax.device_get(training)
    assert (low <= 0).all()
    assert (high >= 0).all()
    inside = ~np.asarray(explain.outside_range(x, *training))
    for end, edge in zip((low, high), box, strict=True):
        np.testing.assert_allclose((x + end)[inside], np.broadcast_to(edge, x.shape)[inside])
        worst = np.maximum(x - box.high, box.low - x)  # distance outside
        after = np.maximum(x + end - box.high, box.low - x - end)
        assert (after <= np.maximum(worst, 0.0) + 1e-12).all()
    with pytest.raises(ValueError, match="4"):
        explain.room(training, x[:, :3])


def test_wrong_questions_are_refused():
    one = jnp.ones(2)

    def ask(scale=one, low=-one, high=one, target=1.0, response=jnp.sum):
        return explain.least_change(response, scale, low, high, target)

    for wrong, words in (
        ({"low": -jnp.ones(1)}, "one shape"),
        ({"target": jnp.ones(2)}, "one target"),
        ({"scale": jnp.zeros(2)}, "freeze a lever"),
        ({"low": 0.5 * one}, "low <= 0 <= high"),
        ({"high": jnp.inf * one}, "finite"),
        ({"target": jnp.nan}, "target"),
        ({"response": jnp.tanh}, "one number"),
    ):
        with pytest.raises(ValueError, match=words):
            ask(**wrong)
    rows = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="target for every"):
        explain.least_changes(lambda x, c: jnp.sum(x) + c, jnp.ones(3), rows, -rows, rows, one)
