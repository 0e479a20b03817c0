"""B-splines on knots of any degree: values, derivatives, curvature penalty, a force from them."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike


def uniform_knots(start: float, stop: float, num_intervals: int, degree: int = 3) -> np.ndarray:
    """Equally spaced knots for splines on [start, stop].

    Args:
        start, stop: years.
        num_intervals: polynomial pieces.
        degree: of the pieces, 3 is cubic.

    Returns:
        Knots, [num_intervals + 1 + 2 degree], `degree` of them beyond either end; there are
        num_intervals + degree basis functions, all of one shape.

    Raises:
        ValueError: stop <= start, or no interval, or a negative degree.
    """
    if not stop > start or num_intervals < 1 or degree < 0:
        raise ValueError(
            "expected start < stop, num_intervals >= 1, degree >= 0, got "
            f"{start}, {stop}, {num_intervals}, {degree}"
        )
    width = (stop - start) / num_intervals
    return start + width * np.arange(-degree, num_intervals + degree + 1)


def bspline_basis(
    time: ArrayLike, knots: ArrayLike, degree: int = 3, derivative: int = 0
) -> np.ndarray:
    """B-splines at given times, or one of their derivatives.

    B_{i,0} = 1 on [k_i, k_{i+1});  B_{i,d} = (t - k_i) / (k_{i+d} - k_i) B_{i,d-1}
        + (k_{i+d+1} - t) / (k_{i+d+1} - k_{i+1}) B_{i+1,d-1}

    Args:
        time: years, [...], between knots `degree` and -degree - 1, ends included.
        knots: ascending, [basis + degree + 1]; repeated ones lower the smoothness there.
        degree: d, 3 is cubic.
        derivative: order, 0 gives values; above `degree` everything is 0.

    Returns:
        [..., basis], NumPy float64: a constant of the program. At a knot the value from the right,
        at the end of the last interval that from the left.

    Raises:
        ValueError: descending knots, too few of them, or times outside the splines' domain.

    Source: de Boor, 1978, A practical guide to splines, chapters IX and X.
    """
    t, k = np.asarray(time, float), np.asarray(knots, float)
    first, last = domain(k, degree)
    slack = 1e-9 * (last - first)
    if t.size and not (t.min() >= first - slack and t.max() <= last + slack):
        raise ValueError(
            f"time: expected values in [{first}, {last}], got [{t.min()}, {t.max()}]; widen the "
            "knots"
        )
    if derivative > degree:
        return np.zeros((*t.shape, k.size - degree - 1))
    pieces = np.flatnonzero(np.diff(k) > 0)
    pieces = pieces[(pieces >= degree) & (pieces < k.size - degree - 1)]
    at = pieces[np.clip(np.searchsorted(k[pieces], t, side="right") - 1, 0, pieces.size - 1)]
    basis = np.zeros((*t.shape, k.size - 1))
    np.put_along_axis(basis, at[..., None], 1.0, axis=-1)
    for d in range(1, degree - derivative + 1):
        rising = (t[..., None] - k[: -d - 1]) * _inverse(k[d:-1] - k[: -d - 1])
        falling = (k[d + 1 :] - t[..., None]) * _inverse(k[d + 1 :] - k[1:-d])
        basis = rising * basis[..., :-1] + falling * basis[..., 1:]
    for d in range(degree - derivative + 1, degree + 1):
        up, down = _inverse(k[d:-1] - k[: -d - 1]), _inverse(k[d + 1 :] - k[1:-d])
        basis = d * (up * basis[..., :-1] - down * basis[..., 1:])
    return basis


def curvature_penalty(knots: ArrayLike, degree: int = 3, derivative: int = 2) -> np.ndarray:
    """Matrix P of the roughness of a spline: integral f''^2 dt = c'P c for coefficients c.

    Args:
        knots: ascending, [basis + degree + 1].
        degree: of the spline.
        derivative: 2 for f''.

    Returns:
        P, [basis, basis], symmetric positive semi-definite, exact: Gauss quadrature on every piece;
        the integral runs over the domain of the spline. Splines that are polynomials of degree
        below `derivative` cost nothing.

    Raises:
        ValueError: as `bspline_basis`.
    """
    k = np.asarray(knots, float)
    first, last = domain(k, degree)
    edges = np.unique(np.clip(k, first, last))
    nodes, weights = np.polynomial.legendre.leggauss(max(degree - derivative, 0) + 1)
    half = 0.5 * np.diff(edges)[:, None]
    middle = 0.5 * (edges[1:] + edges[:-1])[:, None]
    rows = bspline_basis(middle + half * nodes, k, degree, derivative)
    return np.einsum("pg,pgi,pgj->ij", half * weights, rows, rows)


def spline_force(coefficients: Array, basis: Array | np.ndarray) -> Array:
    """Force from spline coefficients: f_i(t) = sum_b c_ib B_b(t).

    Args:
        coefficients: c, unit of the force, [..., town, basis].
        basis: B from `bspline_basis` at the times wanted, [time, basis].

    Returns:
        f, [..., town, time]. Linear in the coefficients.

    Raises:
        ValueError: numbers of basis functions that differ.
    """
    matrix = jnp.asarray(basis, coefficients.dtype)
    if matrix.ndim != 2 or coefficients.shape[-1:] != matrix.shape[1:]:
        raise ValueError(
            "coefficients, basis: expected [..., town, basis] and [time, basis], got "
            f"{coefficients.shape} and {matrix.shape}"
        )
    return coefficients @ matrix.T


def domain(knots: np.ndarray, degree: int) -> tuple[float, float]:
    """First and last time at which the splines on `knots` span all polynomials of their degree.

    Raises:
        ValueError: descending knots, or no interval between these times.
    """
    if knots.ndim != 1 or knots.size < 2 * degree + 2 or (np.diff(knots) < 0).any():
        raise ValueError(
            f"knots: expected at least {2 * degree + 2} ascending years for degree {degree}, got "
            f"{knots}"
        )
    first, last = float(knots[degree]), float(knots[-degree - 1])
    if not last > first:
        raise ValueError(f"knots: no interval between knots {degree} and {-degree - 1}")
    return first, last


def _inverse(width: np.ndarray) -> np.ndarray:
    return np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)
