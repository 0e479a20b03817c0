"""What ties settlements together: Laplacians of distance and similarity, mobility by age.

Everything here is computed once from data and then frozen: a similarity that followed the solved
trajectory would make the potential depend on all times at once, and the Euler-Lagrange equation
would not hold as written.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.migration.geography import Edges
from diffmig.programs import one_program


class Couplings(NamedTuple):
    """Frozen data of the potential's terms.

    Attributes:
        distance: L_D, Laplacian of the distance kernel, [town, town].
        similarity: L_S, signed Laplacian of the similarity of balances, [town, town].
        immobility: 1 - A, share that age keeps from moving, [town], or [year, town] where it
            changes from year to year.
    """

    distance: Array
    similarity: Array
    immobility: Array


@one_program("normalised")
def laplacian(weights: Array, *, normalised: bool = True) -> Array:
    """Laplacian of signed weights: L = I - D^{-1/2} W D^{-1/2} with D = sum_j |w_ij|, or D - W.

    q'(D - W) q = sum_{i<j} |w_ij| (q_i - sign(w_ij) q_j)^2

    Args:
        weights: W, [town, town], symmetric, zero diagonal; negative ones push apart.
        normalised: eigenvalues in [0, 2] whatever the weights; else their unit is that of W.

    Returns:
        L, [town, town], symmetric and positive semi-definite for any signs. A place without
        neighbours has a row of zeros: nothing acts on it. Differentiable.

    Source: Kunegis et al., 2010, Spectral analysis of signed graphs, equations 5 and 6.
    """
    degree = jnp.sum(jnp.abs(weights), axis=-1)
    if not normalised:
        return jnp.diag(degree) - weights
    joined = degree > 0.0
    scale = jnp.where(joined, 1.0 / jnp.sqrt(jnp.where(joined, degree, 1.0)), 0.0)
    return jnp.diag(joined.astype(weights.dtype)) - scale[:, None] * weights * scale[None, :]


def laplacian_product(edges: Edges, balance: Array, *, normalised: bool = True) -> Array:
    """L q for the Laplacian of few edges, without a matrix.

    Args:
        edges: signed weights of pairs.
        balance: q, [..., town].

    Returns:
        L q, [..., town]; equal to `balance @ laplacian(weights)`. Work and memory grow with the
        number of edges.
    """
    num_towns = balance.shape[-1]
    first, second, weight = edges
    size = jnp.abs(weight)
    degree = jnp.zeros(num_towns, weight.dtype).at[first].add(size).at[second].add(size)
    scaled = balance
    if normalised:
        joined = degree > 0.0
        scale = jnp.where(joined, 1.0 / jnp.sqrt(jnp.where(joined, degree, 1.0)), 0.0)
        diagonal, scaled = joined.astype(weight.dtype), balance * _row(scale, balance)
    else:
        diagonal, scale = degree, jnp.ones_like(degree)
    pulled = jnp.zeros_like(balance)
    pulled = pulled.at[..., first].add(_row(weight, balance) * scaled[..., second])
    pulled = pulled.at[..., second].add(_row(weight, balance) * scaled[..., first])
    return _row(diagonal, balance) * balance - _row(scale, balance) * pulled


def similarity_matrix(
    balance: ArrayLike, *, shrinkage: float | None = None, about_mean: bool = True
) -> Array:
    """Similarity of balances: shrunk Pearson correlation, zero diagonal.

    rho_ij = (1 - lambda) r_ij,  r_ij correlation over years of deviations from the yearly mean

    Args:
        balance: of TRAINING years only, [town, year], at least 3 years.
        shrinkage: lambda in [0, 1]; None estimates it: sum Var(r_ij) / sum r_ij^2.
        about_mean: take deviations from the mean of all places in each year first, else a national
            wave makes all places look alike.

    Returns:
        rho, [town, town], in [-1, 1]; 0 for a place whose deviations do not vary.

    Raises:
        ValueError: not [town, year], fewer than 3 years, or shrinkage outside [0, 1].

    Notes:
        With 10 years the correlation of two independent series has a standard deviation of 0.33:
        most entries are noise, which is what the shrinkage removes.

    Source: Schaefer, Strimmer, 2005, A shrinkage approach to large-scale covariance matrix
    estimation, section 2.4 and appendix A (target: no correlation).
    """
    q = jnp.asarray(balance, float)
    if q.ndim != 2 or q.shape[1] < 3:
        raise ValueError(
            f"balance: expected [town, year] with at least 3 years, got shape {q.shape}"
        )
    if shrinkage is not None and not 0.0 <= shrinkage <= 1.0:
        raise ValueError(f"shrinkage: expected a value in [0, 1], got {shrinkage}")
    num_towns, num_years = q.shape
    if about_mean:
        q = q - jnp.mean(q, axis=0, keepdims=True)
    centred = q - jnp.mean(q, axis=1, keepdims=True)
    variance = jnp.mean(centred**2, axis=1, keepdims=True)
    # round-off of a constant row is no variation
    varies = variance > 1e-20 * (1.0 + jnp.max(variance))
    z = jnp.where(varies, centred / jnp.sqrt(jnp.where(varies, variance, 1.0)), 0.0)
    r = z @ z.T / num_years
    off = 1.0 - jnp.eye(num_towns, dtype=q.dtype)
    if shrinkage is None:
        squares = (z**2) @ (z**2).T / num_years - r**2
        spread = jnp.sum(off * squares) / (num_years - 1)
        total = jnp.sum(off * r**2)
        found = jnp.where(total > 0.0, spread / jnp.where(total > 0.0, total, 1.0), 1.0)
        share = jnp.clip(found, 0.0, 1.0)
    else:
        share = jnp.asarray(shrinkage, q.dtype)
    return off * jnp.clip((1.0 - share) * r, -1.0, 1.0)


def mobility(age: ArrayLike, young: ArrayLike = 25.0, old: ArrayLike = 60.0) -> Array:
    """Mobility by age: 1 up to `young`, 0 from `old` on, smooth of every order between.

    A(a) = psi(u) / (psi(u) + psi(1 - u)),  psi(x) = exp(-1/x) for x > 0, else 0,
    u = (old - a) / (old - young)

    Args:
        age: a, years, any shape.
        young, old: years, young < old. The defaults are a reconstruction from profiles of
            migrants, not printed anywhere.

    Returns:
        A, shape of `age`, in [0, 1]. Every derivative is 0 at both ends.

    Source: the abstract fixes the end values (1 for the young, 0 above a threshold) and
    smoothness; the formula is the standard smooth step (Lee, Introduction to Smooth Manifolds,
    2013, lemma 2.21).
    """
    a = jnp.asarray(age, float)
    end = jnp.asarray(old, float)
    u: Array = (end - a) / (end - jnp.asarray(young, float))
    up, down = _psi(u), _psi(1.0 - u)
    return up / (up + down)


def mean_mobility(
    population: ArrayLike, age: ArrayLike, young: ArrayLike = 25.0, old: ArrayLike = 60.0
) -> Array:
    """Mobility of a population: A_i = sum_a A(a) p_i(a) / sum_a p_i(a).

    Args:
        population: persons by age, [..., age].
        age: mid-points of the ages, years, [age].
        young, old: as in `mobility`.

    Returns:
        A_i, [...], in [0, 1].
    """
    persons = jnp.asarray(population, float)
    weights = jnp.broadcast_to(mobility(age, young, old), persons.shape)
    return jnp.sum(weights * persons, axis=-1) / jnp.sum(persons, axis=-1)


def _psi(x: Array) -> Array:
    positive = x > 0.0
    return jnp.where(positive, jnp.exp(-1.0 / jnp.where(positive, x, 1.0)), 0.0)


def _row(values: Array, like: Array) -> Array:
    return jax.lax.broadcast_in_dim(values, (1,) * (like.ndim - 1) + values.shape, (like.ndim - 1,))
