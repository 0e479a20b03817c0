"""Stiffness that leaves the least external force: least squares on second differences.

It is a comparison, not a finding: noise alone gives a stiffness and a coefficient of determination,
`ar1_null_stiffness` and `ar1_null_r2`.
"""

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

MAX_TERMS = 8


class LeastForce(NamedTuple):
    """Stiffness of least force, [...] by the batch axes of the balances.

    Attributes:
        strengths: theta of every term, [..., term], 1/yr^2.
        damping: c, [...], 1/yr; the given one where it was not fitted.
        force: what is left, [..., town, interior year], unit of the balance per yr^2.
        gram: inner products of the terms K_a q, [..., term, term].
        condition: of `gram` with every term scaled to length 1, [...]: beyond 100 or so the terms
            cannot be told apart.
        r2: 1 - sum force^2 / sum (q'' + c q')^2, [...], c = 0 where it was fitted.
    """

    strengths: Array
    damping: Array
    force: Array
    gram: Array
    condition: Array
    r2: Array


def least_force_stiffness(
    balance: ArrayLike,
    terms: ArrayLike,
    *,
    step: float = 1.0,
    damping: float | None = 0.0,
    constant_force: bool = False,
    nonnegative: bool = False,
) -> LeastForce:
    """Strengths theta that minimise sum |q'' + c q' + sum_a theta_a K_a q|^2.

    q'' = (q_{t+1} - 2 q_t + q_{t-1}) / step^2,  q' = (q_{t+1} - q_{t-1}) / (2 step)

    Args:
        balance: q, [..., town, year], at least 3 years.
        terms: K_a of strength 1, [term, town, town] or [term, year, town, town].
        step: between years, yr, > 0.
        damping: c, 1/yr; None fits it as well.
        constant_force: let every town have a constant force of its own: only what varies about it
            counts.
        nonnegative: theta and a fitted c >= 0; the best of all subsets of terms, so few terms only.

    Returns:
        LeastForce.

    Raises:
        ValueError: shapes, too few years, `step` <= 0, or not 1 to 8 terms.

    Notes:
        Least squares by pseudo-inverse: where terms are collinear the shortest theta. Runs under
        vmap over surrogates; differentiable where the Gram matrix is regular. Second differences
        of yearly data with noise sigma have the standard deviation 2.45 sigma.

    Source: gradient matching, e.g. Ramsay, Hooker, Campbell, Cao, 2007, Parameter estimation for
    differential equations, JRSS B 69(5), section 1.
    """
    q, terms = jnp.asarray(balance), jnp.asarray(terms)
    _check(q, terms, step)
    given = jnp.asarray(0.0 if damping is None else damping, q.dtype)
    return _least_force(
        q,
        terms,
        jnp.asarray(step, q.dtype),
        given,
        fit_damping=damping is None,
        constant_force=constant_force,
        nonnegative=nonnegative,
    )


@partial(jax.jit, static_argnames=("fit_damping", "constant_force", "nonnegative"))
def _least_force(
    q: Array,
    terms: Array,
    step: Array,
    damping: Array,
    *,
    fit_damping: bool,
    constant_force: bool,
    nonnegative: bool,
) -> LeastForce:
    middle = q[..., 1:-1]
    second = (q[..., 2:] - 2 * middle + q[..., :-2]) / step**2
    first = (q[..., 2:] - q[..., :-2]) / (2 * step)
    if terms.ndim == 4:
        columns = jnp.einsum("atij,...jt->...ait", terms[:, 1:-1], middle)
    else:
        columns = jnp.einsum("aij,...jt->...ait", terms, middle)
    if fit_damping:
        columns = jnp.concatenate([columns, first[..., None, :, :]], axis=-3)
    known = second + damping * first
    if constant_force:
        known, columns = (z - jnp.mean(z, axis=-1, keepdims=True) for z in (known, columns))
    gram = jnp.einsum("...ait,...bit->...ab", columns, columns)
    right = -jnp.einsum("...ait,...it->...a", columns, known)
    found = _solve_nonnegative(gram, right) if nonnegative else _solve(gram, right)
    force = known + jnp.einsum("...a,...ait->...it", found, columns)
    both, num_terms = (-2, -1), terms.shape[0]
    total, left = jnp.sum(known**2, axis=both), jnp.sum(force**2, axis=both)
    own = gram[..., :num_terms, :num_terms]
    return LeastForce(
        strengths=found[..., :num_terms],
        damping=found[..., -1] if fit_damping else jnp.broadcast_to(damping, q.shape[:-2]),
        force=force,
        gram=own,
        condition=_condition(own),
        r2=jnp.where(total > 0, 1 - left / jnp.where(total > 0, total, 1.0), jnp.nan),
    )


def ar1_null_stiffness(root: ArrayLike) -> Array:
    """kappa of kappa I that a first-order autoregression gives by itself: 2 (1 - root), 1/yr^2.

    For a unit step, no damping and mean 0; any shape. White noise gives 2.
    """
    return 2 * (1 - jnp.asarray(root))


def ar1_null_r2(root: ArrayLike) -> Array:
    """R2 that goes with it: 2 (1 - root) / (3 - root); white noise gives 2/3."""
    root = jnp.asarray(root)
    return 2 * (1 - root) / (3 - root)


def _solve(gram: Array, right: Array) -> Array:
    scale = _lengths(gram)
    inverse = jnp.linalg.pinv(gram / (scale[..., :, None] * scale[..., None, :]), hermitian=True)
    return jnp.einsum("...ab,...b->...a", inverse, right / scale) / scale


def _solve_nonnegative(gram: Array, right: Array) -> Array:
    """Best solution over all subsets of unknowns whose own solution is >= 0 (the empty one is)."""
    subsets = jnp.asarray(list(product((0.0, 1.0), repeat=right.shape[-1])), right.dtype)

    def of_subset(used: Array) -> tuple[Array, Array]:
        square = jnp.broadcast_to(used[:, None] * used[None, :], gram.shape)
        own = _solve(gram * square, right * jnp.broadcast_to(used, right.shape))
        value = -jnp.sum(own * right, axis=-1)  # theta' G theta - 2 theta' r at its minimum
        return own, jnp.where(jnp.all(own >= 0, axis=-1), value, jnp.inf)

    own, value = jax.vmap(of_subset)(subsets)
    best = jnp.argmin(value, axis=0)
    return jnp.take_along_axis(own, best[None, ..., None], axis=0)[0]


def _lengths(gram: Array) -> Array:
    diagonal = jnp.diagonal(gram, axis1=-2, axis2=-1)
    return jnp.where(diagonal > 0, jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)


def _condition(gram: Array) -> Array:
    scale = _lengths(gram)
    values = jnp.linalg.eigvalsh(gram / (scale[..., :, None] * scale[..., None, :]))
    low, high = values[..., 0], values[..., -1]
    return jnp.where(low > 0, high / jnp.where(low > 0, low, 1.0), jnp.inf)


def _check(q: Array, terms: Array, step: float) -> None:
    if q.ndim < 2 or q.shape[-1] < 3 or step <= 0:
        raise ValueError(
            f"balance: expected [..., town, year] with at least 3 years and step > 0, got "
            f"{q.shape} and {step}"
        )
    town, year = q.shape[-2:]
    if terms.ndim < 3 or terms.shape[1:] not in ((town, town), (year, town, town)):
        raise ValueError(
            f"terms: expected [term, {town}, {town}] or [term, {year}, {town}, {town}], got "
            f"{terms.shape}"
        )
    if not 1 <= terms.shape[0] <= MAX_TERMS:
        raise ValueError(f"terms: expected 1 to {MAX_TERMS}, got {terms.shape[0]}")
