"""Distances on the sphere, kernels, neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffmig import migration as mg

HALF = np.pi * mg.EARTH_RADIUS
degrees = st.floats(-89.9, 89.9), st.floats(-179.9, 179.9)
distance = jax.jit(mg.great_circle_distance)


# Known pairs: haversine on a sphere of 6371.0088 km; the first is Moscow to Saint Petersburg.
@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((55.7558, 37.6173), (59.9343, 30.3351), 633.02),
        ((0.0, 0.0), (0.0, 90.0), HALF / 2),
        ((90.0, 12.0), (-90.0, 70.0), HALF),
        ((0.0, 0.0), (0.0, 180.0), HALF),
        ((10.0, 179.5), (10.0, -179.5), 2 * mg.EARTH_RADIUS * np.arcsin(
            np.cos(np.deg2rad(10.0)) * np.sin(np.deg2rad(0.5)))),
    ],
)  # fmt: skip
def test_known_pairs(a, b, km):
    assert float(distance(*a, *b)) == pytest.approx(km, rel=1e-5)


@settings(deadline=None, max_examples=100)
@given(*degrees, *degrees)
def test_agrees_with_the_angle_between_unit_vectors(phi, lam, phi_, lam_):
    def unit(p, m):
        p, m = np.deg2rad(p), np.deg2rad(m)
        return np.array([np.cos(p) * np.cos(m), np.cos(p) * np.sin(m), np.sin(p)])

    a, b = unit(phi, lam), unit(phi_, lam_)
    angle = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
    assert float(distance(phi, lam, phi_, lam_)) == pytest.approx(
        mg.EARTH_RADIUS * angle, rel=1e-9, abs=1e-6
    )


@pytest.mark.parametrize("metres", [1e-3, 1.0, 100.0])
def test_near_points_and_near_antipodes_keep_their_digits(metres):
    shift = np.rad2deg(metres / 1000.0 / mg.EARTH_RADIUS)
    assert float(distance(48.0, 7.0, 48.0 + shift, 7.0)) == pytest.approx(metres / 1e3, rel=1e-5)
    missing = HALF - float(distance(48.0, 7.0, -48.0 + shift, -173.0))
    assert missing == pytest.approx(metres / 1e3, rel=1e-4)


def test_gradients_are_finite_everywhere_and_right_where_smooth():
    gradient = jax.jit(jax.grad(mg.great_circle_distance, (0, 1, 2, 3)))
    for pair in [(10.0, 20.0, 10.0, 20.0), (10.0, 20.0, -10.0, -160.0), (0.0, 0.0, 0.0, 180.0)]:
        assert np.isfinite(gradient(*pair)).all()
    at = (55.0, 37.0, 50.0, 60.0)
    for i, slope in enumerate(gradient(*at)):
        up, down = list(at), list(at)
        up[i], down[i] = at[i] + 1e-4, at[i] - 1e-4
        expected = (float(distance(*up)) - float(distance(*down))) / 2e-4
        assert float(slope) == pytest.approx(expected, rel=1e-6)


def test_distance_matrix_is_a_metric(case):
    d = np.asarray(mg.distance_matrix(case.latitude, case.longitude))
    assert (np.diag(d) == 0).all()
    assert np.allclose(d, d.T)
    assert (d[:, None, :] <= d[:, :, None] + d[None, :, :] + 1e-9).all()


@pytest.mark.parametrize(
    ("latitude", "longitude", "words"),
    [
        ([10.0, 95.0], [5.0, 6.0], "swapped"),
        ([10.0, np.nan], [5.0, 6.0], "missing"),
        ([10.0, 20.0], [5.0], "equal shapes"),
    ],
)
def test_bad_coordinates_are_refused(latitude, longitude, words):
    with pytest.raises(ValueError, match=words):
        mg.distance_matrix(latitude, longitude)


def test_kernels_decay_and_have_no_self_weight():
    d = jnp.array([[0.0, 100.0], [100.0, 0.0]])
    near = mg.exponential_kernel(d, 100.0)
    assert float(near[0, 1]) == pytest.approx(np.exp(-1.0))
    heavy = mg.power_kernel(d, 100.0, 2.0)
    assert float(heavy[1, 0]) == pytest.approx(0.25)
    assert float(jnp.trace(near) + jnp.trace(heavy)) == 0.0


def test_nearest_edges_equal_the_dense_kernel_cut_down():
    rng = np.random.default_rng(1)
    latitude, longitude = rng.uniform(-60, 60, 40), rng.uniform(-180, 180, 40)
    dense = np.asarray(
        mg.keep_nearest(mg.exponential_kernel(mg.distance_matrix(latitude, longitude), 4e3), 3)
    )
    first, second, km = mg.nearest_edges(latitude, longitude, 3)
    sparse = np.zeros((40, 40))
    sparse[first, second] = sparse[second, first] = np.exp(-km / 4e3)
    assert np.allclose(sparse, dense)
    assert ((dense > 0).sum(axis=1) >= 3).all()
    edges = mg.Edges(*map(jnp.asarray, (first, second, np.exp(-km / 4e3))))
    assert (mg.components(edges, 40) == mg.components(jnp.asarray(dense))).all()
    with pytest.raises(ValueError, match="1 to 39"):
        mg.nearest_edges(latitude, longitude, 40)


def test_components_find_islands():
    weights = np.zeros((5, 5))
    weights[0, 3] = weights[3, 0] = 1.0
    weights[1, 2] = weights[2, 1] = -0.5
    parts = mg.components(jnp.asarray(weights))
    assert parts[0] == parts[3]
    assert parts[1] == parts[2]
    assert len(set(parts)) == 3
