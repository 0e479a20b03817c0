"""Policies and strongholds: the printed forecasts, and how much of the rule they support."""

import numpy as np
import pytest

from diffmig import data, explain

CONFIG = explain.PolicyConfig()


@pytest.fixture(scope="module", params=[False, True], ids=["as printed", "all in persons"])
def printed(request):
    """Names, balances [town, year], population and cluster in one order."""
    panel = data.load_kz_towns_balances(corrected=request.param)
    names = list(panel.places)
    population = data.load_kz_towns()["population"].reindex(names).to_numpy()
    cluster = data.load_town_clusters()["cluster"].reindex(names).to_numpy()
    return names, panel.values[:, :, 0], population, cluster


def test_the_paper_s_strongholds_and_policies_follow_from_its_forecasts(printed):
    names, balance, population, cluster = printed
    strong = explain.strongholds(balance, CONFIG)
    chosen = [name for name, is_strong in zip(names, strong, strict=True) if is_strong]
    assert chosen == ["Rudnyi", "Satpayev", "Stepnogorsk"]
    found = explain.cluster_policy(balance, population, cluster, CONFIG)
    assert [explain.POLICIES[i] for i in found.policy] == list(explain.POLICIES)
    np.testing.assert_array_equal(found.clusters, [1, 2, 3])
    assert found.loss[1:] == pytest.approx([9.946, 13.351], abs=1e-3)
    in_persons = balance[names.index("Tekeli"), 0] < -1
    assert found.loss[0] == pytest.approx(7.221 if in_persons else 4.714, abs=1e-3)
    assert np.isnan(found.town_loss[names.index("Serebryansk")])  # population is not given
    moved = np.where(np.array(names) == "Rudnyi", 1, cluster)  # where the text has it
    np.testing.assert_array_equal(
        explain.cluster_policy(balance, population, moved, CONFIG).policy, found.policy
    )


def test_the_order_of_the_clusters_is_supported_and_the_borders_are_not(printed):
    """Claims of the docstring: other measures, single towns, towns left out, random clusters."""
    names, balance, population, cluster = printed
    mean = balance.mean(axis=1)
    known = np.isfinite(population)
    for measure in (np.mean, np.median):  # losses in persons stand in the same order
        persons = [measure(-mean[cluster == k]) for k in (1, 2, 3)]
        assert persons == sorted(persons)
    found = explain.cluster_policy(balance, population, cluster, CONFIG)
    each = np.arange(known.sum())
    single = explain.cluster_policy(balance[known], population[known], each, CONFIG)
    assert 0.45 < np.mean(single.policy + 1 == cluster[known]) < 0.55
    fragile = []
    for i, name in enumerate(names):
        rest = np.arange(len(names)) != i
        some = balance[rest], population[rest], cluster[rest]
        policy = explain.cluster_policy(*some, CONFIG).policy
        if not np.array_equal(policy, found.policy):
            assert policy.tolist() == [0, 0, 2]
            fragile.append(name)
    assert fragile == ["Aksai", "Balkhash"]
    rng = np.random.default_rng(0)
    shuffled = [
        explain.cluster_policy(balance, population, rng.permutation(cluster), CONFIG)
        for _ in range(1000)
    ]
    ordered = np.mean([(np.diff(s.loss) > 0).all() for s in shuffled])
    same = np.mean([np.array_equal(s.policy, [0, 1, 2]) for s in shuffled])
    assert 0.10 < ordered < 0.18
    assert 0.01 < same < 0.05


def test_thresholds_and_members():
    population = np.full(4, 1000.0)
    cluster = np.array([5, 5, 9, 9])
    loss = np.array([[8.0, 8.0, 12.0, 12.0], [8.1, 8.1, 11.9, 11.9], [-1.0, 30.0, -3.0, 20.0]])
    balance = np.repeat(-loss[..., None], 3, axis=-1)
    found = explain.cluster_policy(balance, population, cluster, CONFIG)
    np.testing.assert_array_equal(found.policy, [[0, 2], [1, 1], [2, 1]])
    np.testing.assert_allclose(found.loss[2], [14.5, 8.5])
    balance[2, 0] = [1.0, 0.0, 1.0]  # a year without gain
    expected = np.zeros((3, 4), bool)
    expected[2, 2] = True
    np.testing.assert_array_equal(explain.strongholds(balance, CONFIG), expected)
    higher = explain.PolicyConfig(stronghold_balance=3.0)
    assert not explain.strongholds(balance, higher).any()


def test_what_cannot_be_judged_is_refused():
    balance, population, cluster = -np.ones((2, 3)), np.array([1.0, np.nan]), np.array([1, 2])
    with pytest.raises(ValueError, match="no town of cluster 2"):
        explain.cluster_policy(balance, population, cluster, CONFIG)
    with pytest.raises(ValueError, match="in persons"):
        explain.cluster_policy(balance, np.array([1.0, 0.0]), cluster, CONFIG)
    with pytest.raises(ValueError, match="expected balance"):
        explain.cluster_policy(balance, population[:1], cluster, CONFIG)
    with pytest.raises(ValueError, match="leave such towns out"):
        explain.strongholds(np.array([[1.0, np.nan]]), CONFIG)
    with pytest.raises(ValueError, match="stimulating_loss < shift_loss"):
        explain.PolicyConfig(stimulating_loss=12.0)
