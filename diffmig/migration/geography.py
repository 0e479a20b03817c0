"""Great-circle distances, kernels that decay with them, and who is joined to whom."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from diffmig.programs import one_program

EARTH_RADIUS = 6371.0088  # km, mean radius (2 a + b) / 3 of the IUGG


class Edges(NamedTuple):
    """Symmetric weights of few pairs, for many places; every pair once, no place with itself.

    Attributes:
        first, second: int32 [edge], places of the pair, first < second.
        weight: [edge].
    """

    first: Array
    second: Array
    weight: Array


@one_program()
def great_circle_distance(
    latitude: ArrayLike,
    longitude: ArrayLike,
    other_latitude: ArrayLike,
    other_longitude: ArrayLike,
) -> Array:
    """Length of the geodesic on the sphere between points and other points.

    h = sin^2((phi - phi') / 2) + cos phi cos phi' sin^2((lam - lam') / 2)
    d = 2 R atan2(sqrt(h), sqrt(1 - h)),  1 - h being h of the antipode of the second point

    Args:
        latitude, longitude: degrees, north and east positive, shapes that broadcast.
        other_latitude, other_longitude: degrees.

    Returns:
        d, km, in [0, pi R].

    Notes:
        Exact to round-off for near points (the arc cosine loses them below 0.1 km) and near
        antipodes (where the arc sine does). The distance has a cone at 0 and at the antipode: the
        gradient there is 0.

    Source: Sinnott, 1984, Virtues of the haversine, Sky and Telescope 68(2), 159.
    """
    phi, lam, phi_, lam_ = (
        jnp.asarray(x, float) for x in (latitude, longitude, other_latitude, other_longitude)
    )
    cosines = jnp.cos(jnp.deg2rad(phi)) * jnp.cos(jnp.deg2rad(phi_))
    # differences in degrees: those of products would be rounded twice, and not be 0 for one place
    half = jnp.deg2rad(lam - lam_) / 2
    near = jnp.sin(jnp.deg2rad(phi - phi_) / 2) ** 2 + cosines * jnp.sin(half) ** 2
    far = jnp.sin(jnp.deg2rad(phi + phi_) / 2) ** 2 + cosines * jnp.cos(half) ** 2
    return 2.0 * EARTH_RADIUS * jnp.arctan2(_root(near), _root(far))


def distance_matrix(latitude: ArrayLike, longitude: ArrayLike) -> Array:
    """Great-circle distances of all pairs, [town, town], km; symmetric with a zero diagonal.

    Args:
        latitude, longitude: [town], degrees.

    Raises:
        ValueError: shapes that differ, or coordinates out of range.
    """
    phi, lam = _check_coordinates(latitude, longitude)
    return great_circle_distance(phi[:, None], lam[:, None], phi[None, :], lam[None, :])


@one_program()
def exponential_kernel(distance: Array, length: ArrayLike) -> Array:
    """w = exp(-d / l), 0 on the diagonal: bounded for near neighbours.

    Args:
        distance: d, [town, town], km.
        length: l, km, > 0.

    Returns:
        w, [town, town]. Differentiable in both.
    """
    return _without_diagonal(jnp.exp(-distance / length))


@one_program()
def power_kernel(distance: Array, length: ArrayLike, exponent: Array | float) -> Array:
    """w = (1 + d / l)^(-n), 0 on the diagonal: the heavy tail of gravity models.

    Args:
        distance: d, [town, town], km.
        length: l, km, > 0.
        exponent: n, > 0.

    Returns:
        w, [town, town]. Differentiable in all three.
    """
    return _without_diagonal((1.0 + distance / length) ** (-exponent))


def keep_nearest(weights: Array, num_neighbours: int) -> Array:
    """Weights of pairs in which one place is among the k largest weights of the other.

    Args:
        weights: [town, town], symmetric, zero diagonal.
        num_neighbours: k, 1 <= k < number of places.

    Returns:
        weights, [town, town], symmetric; at least k in every row are kept.

    Raises:
        ValueError: k out of range.
    """
    num_towns = weights.shape[0]
    _check_neighbours(num_neighbours, num_towns)
    smallest = jnp.sort(weights, axis=1)[:, num_towns - num_neighbours]
    kept = weights >= smallest[:, None]
    return jnp.where(kept | kept.T, weights, 0.0)


def nearest_edges(
    latitude: ArrayLike, longitude: ArrayLike, num_neighbours: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs in which one place is among the k nearest of the other, without all distances.

    Args:
        latitude, longitude: [town], degrees.
        num_neighbours: k, 1 <= k < number of places.

    Returns:
        first, second: int32 [edge], first < second, sorted; distance: [edge], km. Use
        `Edges(first, second, exp(-distance / l))`.

    Raises:
        ValueError: shapes that differ, coordinates out of range, or k out of range.
    """
    phi, lam = _check_coordinates(latitude, longitude)
    _check_neighbours(num_neighbours, phi.size)
    a, b = np.deg2rad(phi), np.deg2rad(lam)
    # chords of the unit sphere order pairs as arcs do
    points = np.stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)], axis=1)
    _, found = cKDTree(points).query(points, k=num_neighbours + 1)
    rows = np.repeat(np.arange(phi.size), num_neighbours + 1)
    pairs = np.stack([rows, found.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0).astype(np.int32)
    first, second = pairs[:, 0], pairs[:, 1]
    distance = great_circle_distance(phi[first], lam[first], phi[second], lam[second])
    return first, second, np.asarray(distance)


def components(weights: Array | Edges, num_towns: int | None = None) -> np.ndarray:
    """Number of the connected part that each place belongs to, int [town], from 0.

    Places of different parts do not act on each other through these weights.

    Args:
        weights: [town, town], or edges.
        num_towns: needed with edges.
    """
    if isinstance(weights, Edges):
        first, second, w = (np.asarray(x) for x in weights)
        if num_towns is None:
            raise ValueError("num_towns: expected the number of places beside edges")
        graph = coo_matrix((w != 0, (first, second)), shape=(num_towns, num_towns))
    else:
        graph = coo_matrix(np.asarray(weights) != 0)
    return connected_components(graph, directed=False)[1]


def _root(x: Array) -> Array:
    """Square root with derivative 0 at 0."""
    positive = x > 0.0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def _without_diagonal(weights: Array) -> Array:
    return jnp.where(jnp.eye(weights.shape[-1], dtype=bool), 0.0, weights)


def _check_neighbours(num_neighbours: int, num_towns: int) -> None:
    if not 1 <= num_neighbours < num_towns:
        raise ValueError(
            f"num_neighbours: expected 1 to {num_towns - 1} of {num_towns} places, "
            f"got {num_neighbours}"
        )


def _check_coordinates(latitude: ArrayLike, longitude: ArrayLike) -> tuple[Any, Any]:
    traced = any(isinstance(x, jax.core.Tracer) for x in (latitude, longitude))
    phi, lam = ((jnp if traced else np).asarray(x, float) for x in (latitude, longitude))
    if phi.ndim != 1 or phi.shape != lam.shape:
        raise ValueError(
            f"latitude and longitude: expected equal shapes [town], got {phi.shape}, {lam.shape}"
        )
    if traced:
        return phi, lam
    if not ((np.abs(phi) <= 90.0).all() and (np.abs(lam) <= 360.0).all()):
        raise ValueError(
            "latitude and longitude: expected degrees in [-90, 90] and [-360, 360]; are they "
            "swapped, in radians, or missing?"
        )
    return phi, lam
