"""Tasks: levels come back exactly, growth accumulates in closed form, nothing later is seen."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from diffmig.data import load_table, variable
from diffmig.fit import Series, Target, build_task, cast, levels

PRICES = 2  # column of the price index
TARGETS = [Target("level"), Target("growth"), Target("level", clip=True), Target("growth", True)]
KINDS = TARGETS[:2]


@pytest.fixture(scope="module")
def num_training():
    return 8


@pytest.fixture(scope="module")
def build(num_training):
    """Tasks of 12 years, 8 for training, all scored; one compiled program per choice."""

    @partial(jax.jit, static_argnames=("target", "num_seen", "index_factor", "first_year"))
    def build(series, target, num_training=num_training, index_factor=PRICES, **options):
        score = jnp.ones(series.grp.shape)
        return build_task(series, target, num_training, score, index_factor=index_factor, **options)

    return build


def udmurt(base):
    """Table 1 in current prices, or in 2023 prices, where the index is 100 throughout."""
    panel = load_table("grp_udmurt")
    names = ("fixed_assets", "labour", "deflator", "high_tech_share")
    factors = np.stack([variable(panel, name)[0] for name in names], axis=1)
    column = {"current": "grp_current", "comparable": "grp_2023_prices"}[base]
    index = factors[:, 2] if base == "current" else np.full(len(factors), 100.0)
    return Series(*(jnp.asarray(v) for v in (variable(panel, column)[0], factors, index)))


@pytest.mark.parametrize("base", ["current", "comparable"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_right_outputs_give_the_actual_levels_of_the_training_years(build, base, target):
    series = udmurt(base)
    task = build(series, target, 18)
    got, actual = np.asarray(levels(task, task.y)), np.asarray(series.grp)
    first = int(np.flatnonzero(task.weight)[0])
    assert first == (target.kind == "growth")
    np.testing.assert_allclose(got[first:18], actual[first:18], rtol=1e-12)
    # the later outputs are unknown: y is 0 there, and only the scale of the training years is left
    assert not np.asarray(task.y)[18:].any()


def test_scaled_outputs_are_min_max_levels_or_standardised_real_log_growth(build, region):
    grp, prices = np.asarray(region.grp), np.asarray(region.price_index)
    level = build(region, Target("level"))
    known = grp[:8]
    np.testing.assert_allclose(
        level.y[:8], (known - known.min()) / (known.max() - known.min()), rtol=1e-12, atol=1e-15
    )
    growth = np.log(grp[1:] / grp[:-1]) - np.log(prices[1:] / 100.0)
    known = growth[:7]
    task = build(region, Target("growth"))
    np.testing.assert_allclose(task.y[1:8], (known - known.mean()) / known.std(), rtol=1e-10)


def test_growth_inputs_are_log_changes_changes_and_the_log_of_a_price_index(build, region):
    """A factor that is not positive has no logarithm; its plain change enters."""
    balance = jnp.linspace(-3.0, 4.0, 12) ** 3
    series = region._replace(factors=jnp.column_stack([region.factors, balance]))
    task = build(series, Target("growth"))
    capital, labour, prices, _ = np.asarray(series.factors).T
    raw = [np.diff(np.log(capital)), np.diff(np.log(labour)), np.log(prices[1:]), np.diff(balance)]
    for column, values in enumerate(raw):
        known = values[:7]
        expected = (values - known.mean()) / known.std()
        np.testing.assert_allclose(task.x[1:, column], expected, rtol=1e-9, atol=1e-11)
    plain = build(series, Target("growth"), index_factor=None)
    known = np.diff(np.log(prices))[:7]
    expected = (np.diff(np.log(prices)) - known.mean()) / known.std()
    np.testing.assert_allclose(plain.x[1:, PRICES], expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("inflation", [0.0, 8.0])
def test_constant_growth_accumulates_in_closed_form(build, region, inflation):
    """Real growth g a year, prices + pi %: GRP_T+k = GRP_T exp(k g) (1 + pi)^k."""
    real = 0.03
    index = jnp.full(12, 100.0 + inflation)
    task = build(region._replace(price_index=index), Target("growth"))
    outputs = jnp.full(12, (real - task.offset) / task.spread)
    got, actual = np.asarray(levels(task, outputs)), np.asarray(region.grp)
    step = np.exp(real) * (1.0 + inflation / 100.0)
    # a training year starts from the actual year before it, a later one from the last training year
    np.testing.assert_allclose(got[1:8], actual[:7] * step, rtol=1e-12)
    np.testing.assert_allclose(got[8:], actual[7] * step ** np.arange(1, 5), rtol=1e-12)


def test_a_constant_output_is_a_constant_level(build, region):
    task = build(region, Target("level"))
    low, high = float(region.grp[:8].min()), float(region.grp[:8].max())
    np.testing.assert_allclose(levels(task, jnp.full(12, 0.25)), low + 0.25 * (high - low))


def after_training(series, num_training):
    """`series` with other values in every later year, of capital also one below zero."""
    later = np.arange(12) >= num_training
    shock = np.where(later[:, None], [3.0, 0.2, 1.8], 1.0)
    shock[num_training + 1, 0] = -2.0
    return Series(
        grp=series.grp * jnp.where(later, 7.0, 1.0),
        factors=series.factors * shock,
        price_index=series.price_index * shock[:, PRICES],
    )


@pytest.mark.parametrize("target", TARGETS)
def test_training_years_and_scalers_see_nothing_later(build, region, num_training, target):
    task, other = build(region, target), build(after_training(region, num_training), target)
    training = slice(0, num_training)
    for name in ("x", "y", "weight", "grp", "anchor", "log_price"):
        np.testing.assert_array_equal(
            getattr(task, name)[training], getattr(other, name)[training], err_msg=name
        )
    assert task.offset == other.offset
    assert task.spread == other.spread
    np.testing.assert_array_equal(task.anchor, other.anchor)
    assert np.isfinite(other.x).all()


@pytest.mark.parametrize("target", KINDS)
def test_scaling_over_all_years_looks_ahead(build, region, num_training, target):
    """The wording of the paper: later years change what the network is trained on."""
    task, other = (
        build(series, target, num_seen=12)
        for series in (region, after_training(region, num_training))
    )
    assert np.abs(task.x - other.x)[1:num_training].max() > 0.01
    assert np.abs(task.y - other.y)[1:num_training].max() > 0.01
    assert task.spread != other.spread
    # and the outputs of the later years are known, though they have no weight
    first = int(target.kind == "growth")
    np.testing.assert_array_equal(task.weight, [first == 0] + [1] * 7 + [0] * 4)
    if target.kind == "level":
        np.testing.assert_allclose(levels(task, task.y), region.grp, rtol=1e-12)


@pytest.mark.parametrize("kind", ["level", "growth"])
def test_clip_holds_later_inputs_at_the_range_of_the_years_seen(build, region, kind):
    broken = region._replace(factors=region.factors.at[9:, 0].multiply(2.5))
    free, held = (build(broken, Target(kind, clip)) for clip in (False, True))
    first = int(kind == "growth")
    known = np.asarray(free.x)[first:8]
    assert free.x[9, 0] > known[:, 0].max() + 1.0
    np.testing.assert_array_equal(held.x[first:8], known)
    np.testing.assert_allclose(
        held.x[first:], np.clip(free.x[first:], known.min(axis=0), known.max(axis=0)), rtol=1e-12
    )


def test_first_years_that_a_layout_cannot_fill_have_no_weight(build, region):
    for first_year, target, expected in (
        (0, KINDS[0], 0), (0, KINDS[1], 1), (3, KINDS[0], 3), (3, KINDS[1], 3),
    ):  # fmt: skip
        task = build(region, target, first_year=first_year)
        year = np.arange(12)
        np.testing.assert_array_equal(task.weight, (year >= expected) & (year < 8))
        np.testing.assert_array_equal(task.score, year >= expected)


@pytest.mark.parametrize("target", KINDS)
def test_regions_and_training_lengths_in_one_vmap_equal_a_loop(build, region, target):
    regions = [region._replace(grp=region.grp * k, factors=region.factors**k) for k in (1.0, 1.3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *regions)
    lengths = jnp.array([5, 9], jnp.int32)
    over_lengths = jax.vmap(lambda s, n: build(s, target, n), in_axes=(None, 0))
    together = jax.vmap(over_lengths, in_axes=(0, None))(stacked, lengths)
    for r, series in enumerate(regions):
        for i, n in enumerate((5, 9)):
            alone = build(series, target, n)
            for name, leaf in alone._asdict().items():
                got = getattr(together, name)[r, i]
                np.testing.assert_allclose(got, leaf, rtol=1e-9, atol=1e-12, err_msg=name)
    assert np.ptp(together.spread) > 0


@pytest.mark.parametrize("target", KINDS)
def test_levels_are_differentiable_in_every_factor(build, region, target):
    """Through scalers, growth and accumulation, against finite differences."""
    weights = jnp.array([0.4, -0.3, 0.7])

    def forecast(factors):
        prices = factors[:, PRICES]
        task = build(region._replace(factors=factors, price_index=prices), target)
        return levels(task, jnp.tanh(task.x @ weights)) / 1e3

    check_grads(jax.jit(forecast), (region.factors,), order=1, modes=("rev",), rtol=1e-5)
    jacobian = jax.jit(jax.jacobian(forecast))(region.factors)
    assert np.isfinite(jacobian).all()
    # a later factor changes no earlier level
    assert not np.triu(np.abs(jacobian[7:, 8:, 0]), k=2).any()
    assert np.abs(jacobian[11, 11]).min() > 0


def test_cast_changes_the_dtype_and_rounds_only(build, region):
    task = build(region, Target("growth"))
    for a, b in zip(task, cast(task, "float32"), strict=True):
        assert b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"grp": jnp.ones(11)}, {}, "grp"),
        ({"factors": jnp.ones(12)}, {}, "factors"),
        ({"price_index": jnp.ones(3)}, {}, "price_index"),
        ({}, {"index_factor": 3}, "index_factor"),
    ],
)
def test_wrong_shapes_are_named(build, region, change, options, words):
    with pytest.raises(ValueError, match=words):
        build(region._replace(**change), KINDS[0], **options)


def test_an_unknown_target_is_named():
    with pytest.raises(ValueError, match="difference"):
        Target("difference")
