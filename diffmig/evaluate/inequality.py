"""Inequality among regions: arrays with one axis of regions, one number for each other index.

All are differentiable and do not depend on the unit of the values. `weights` are populations where
the values are per head, and 1 by default; regions with `mask` False do not enter, whatever they
hold; no region at all, or a mean of 0, gives NaN.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.evaluate._arrays import as_float, safe_ratio, safe_sqrt


class TheilParts(NamedTuple):
    """Theil index between and within groups; their sum is the index of all regions.

    Attributes:
        between: inequality if every region had the mean of its group, [...].
        within: sum over groups of share * group, [...].
        group: Theil index inside each group, [..., group]; 0 for a group without values.
        share: share of each group in the total of the values, [..., group].
    """

    between: Array
    within: Array
    group: Array
    share: Array


def gini(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    axis: int = -1,
) -> Array:
    """Gini coefficient: half the mean absolute difference of two regions, over the mean.

    gini = sum_i sum_j weight_i * weight_j * |value_i - value_j| / (2 * total_weight^2 * mean)

    Args:
        values: not negative where they count, any unit; `axis` runs over regions.
        weights: not negative, [region] or the shape of `values`; None weighs all alike.
        mask: True where the region counts, [region] or the shape of `values`; None counts all.
        axis: axis of regions.

    Returns:
        coefficient, the shape of `values` without `axis`, 1: 0 where all are equal, (n - 1) / n
        where one of n owns all.

    Raises:
        ValueError: shapes do not fit, or, outside traced code, a counted value or a weight is
            negative; in traced code the coefficient is NaN then.

    Notes:
        Where two values are equal, the derivative is one-sided, by the order of the regions.

    Source: Cowell, 2011, Measuring Inequality, 3rd edition, Oxford University Press, table A.1.
    """
    values, weight, valid = _prepare(values, weights, mask, axis, negative=False)
    order = jnp.argsort(values, axis=-1)
    values = jnp.take_along_axis(values, order, axis=-1)
    weight = jnp.take_along_axis(weight, order, axis=-1)
    total = jnp.sum(weight, axis=-1, keepdims=True)
    rank = 2 * jnp.cumsum(weight, axis=-1) - weight - total  # lighter minus heavier regions
    amount = jnp.sum(weight * values, axis=-1)
    difference = jnp.sum(weight * values * rank, axis=-1)
    return safe_ratio(difference, total[..., 0] * amount, valid & (amount > 0))


def coefficient_of_variation(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    axis: int = -1,
) -> Array:
    """Coefficient of variation: standard deviation (of the population) over the mean.

    cv = sqrt(sum_i weight_i * (value_i - mean)^2 / total_weight) / mean

    Args:
        values: any sign and unit; `axis` runs over regions.
        weights: not negative, [region] or the shape of `values`; None weighs all alike.
        mask: True where the region counts, [region] or the shape of `values`; None counts all.
        axis: axis of regions.

    Returns:
        coefficient, the shape of `values` without `axis`, 1; it has the sign of the mean, and says
        little where values of both signs nearly cancel.

    Raises:
        ValueError: shapes do not fit, or, outside traced code, a weight is negative; in traced
            code the coefficient is NaN then.

    Notes:
        Subgradient 0 where all are equal.

    Source: Cowell, 2011, Measuring Inequality, 3rd edition, Oxford University Press, table A.1.
    """
    values, weight, valid = _prepare(values, weights, mask, axis, negative=True)
    total = jnp.sum(weight, axis=-1)
    mean = safe_ratio(jnp.sum(weight * values, axis=-1), total, valid)
    variance = safe_ratio(jnp.sum(weight * (values - mean[..., None]) ** 2, axis=-1), total, valid)
    return safe_ratio(safe_sqrt(variance), mean, valid & (mean != 0))


def theil(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    axis: int = -1,
) -> Array:
    """Theil index T: mean of relative value times its logarithm.

    theil = sum_i weight_i / total_weight * value_i / mean * ln(value_i / mean), with 0 ln 0 = 0

    Args:
        values: not negative where they count, any unit; `axis` runs over regions.
        weights: not negative, [region] or the shape of `values`; None weighs all alike.
        mask: True where the region counts, [region] or the shape of `values`; None counts all.
        axis: axis of regions.

    Returns:
        index, the shape of `values` without `axis`, 1: 0 where all are equal, ln(n) where one of n
        owns all.

    Raises:
        ValueError: shapes do not fit, or, outside traced code, a counted value or a weight is
            negative; in traced code the index is NaN then.

    Notes:
        At a value of 0 the derivative of that term, minus infinity, is taken as 0.

    Source: Theil, 1967, Economics and Information Theory, North-Holland, chapter 4.
    """
    values, weight, valid = _prepare(values, weights, mask, axis, negative=False)
    return _theil(values, weight, valid)


def theil_decomposition(
    values: ArrayLike,
    groups: ArrayLike,
    num_groups: int,
    *,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    axis: int = -1,
) -> TheilParts:
    """Theil index T between and within groups of regions.

    theil = sum_g share_g * ln(mean_g / mean) + sum_g share_g * theil_g

    Args:
        values: not negative where they count, any unit; `axis` runs over regions.
        groups: group of each region, 0 to num_groups - 1, integers [region].
        num_groups: number of groups.
        weights: not negative, [region] or the shape of `values`; None weighs all alike.
        mask: True where the region counts, [region] or the shape of `values`; None counts all.
        axis: axis of regions.

    Returns:
        parts; leading axes are those of `values` without `axis`.

    Raises:
        ValueError: shapes do not fit, or, outside traced code, a counted value or a weight is
            negative, or a group is out of range; in traced code the parts are NaN then.

    Source: Theil, 1967, Economics and Information Theory, North-Holland, chapter 4.
    """
    values, weight, valid = _prepare(values, weights, mask, axis, negative=False)
    groups = jnp.asarray(groups)
    if groups.shape != values.shape[-1:] or not jnp.issubdtype(groups.dtype, jnp.integer):
        raise ValueError(
            f"groups: expected integers of shape {values.shape[-1:]}, got {groups.dtype} "
            f"{groups.shape}; give the group of each region"
        )
    in_range = (groups >= 0) & (groups < num_groups)
    if not isinstance(in_range, jax.core.Tracer) and not bool(in_range.all()):
        raise ValueError(f"groups: expected 0 to {num_groups - 1}, got others; raise num_groups")
    valid = valid & jnp.all(in_range)
    member = (groups[None, :] == jnp.arange(num_groups)[:, None]).astype(values.dtype)
    member = member.reshape((1,) * (values.ndim - 1) + member.shape)
    by_group = weight[..., None, :] * member  # [..., group, region]
    inside = jnp.sum(by_group, axis=-1)
    amount = jnp.sum(by_group * values[..., None, :], axis=-1)
    total = jnp.sum(amount, axis=-1, keepdims=True)
    known = valid & (total[..., 0] > 0)
    share = safe_ratio(amount, jnp.broadcast_to(total, amount.shape), known[..., None])
    occupied = known[..., None] & (amount > 0)
    group_values = jnp.broadcast_to(values[..., None, :], by_group.shape)
    group = jnp.where(occupied, _theil(group_values, by_group, occupied), 0.0)
    people = jnp.sum(inside, axis=-1, keepdims=True)
    weight_share = safe_ratio(inside, jnp.broadcast_to(people, inside.shape), occupied)
    ratio = jnp.where(occupied, share, 1.0) / jnp.where(occupied, weight_share, 1.0)
    between = jnp.sum(jnp.where(occupied, share * jnp.log(ratio), 0.0), axis=-1)
    within = jnp.sum(jnp.where(occupied, share * group, 0.0), axis=-1)
    return TheilParts(
        jnp.where(known, between, jnp.nan),
        jnp.where(known, within, jnp.nan),
        jnp.where(known[..., None], group, jnp.nan),
        share,
    )


def _theil(values: Array, weight: Array, valid: Array) -> Array:
    total, amount = jnp.sum(weight, axis=-1), jnp.sum(weight * values, axis=-1)
    valid = valid & (amount > 0)
    mean = jnp.where(valid, amount, 1.0) / jnp.where(valid, total, 1.0)
    relative = values / mean[..., None]
    logarithm = jnp.log(jnp.where(relative > 0, relative, 1.0))
    return safe_ratio(jnp.sum(weight * relative * logarithm, axis=-1), total, valid)


def _prepare(
    values: ArrayLike,
    weights: ArrayLike | None,
    mask: ArrayLike | None,
    axis: int,
    negative: bool,
) -> tuple[Array, Array, Array]:
    """Values and weights [..., region], both 0 where nothing counts, and where all is in order."""
    (array,) = as_float(values)
    if array.ndim < 1 or not -array.ndim <= axis < array.ndim or array.shape[axis] < 1:
        raise ValueError(
            f"values: expected an axis {axis} with at least one region, got shape {array.shape}"
        )
    weight = _along("weights", 1.0 if weights is None else weights, array, axis)
    counted = _along("mask", True if mask is None else mask, array, axis).astype(bool)
    array = jnp.moveaxis(array, axis, -1)
    counted = counted & (weight != 0)
    wrong = {"weights": counted & (weight < 0)}
    if not negative:
        wrong["values"] = counted & (array < 0)
    valid = jnp.any(counted, axis=-1)
    for name, places in wrong.items():
        if not isinstance(places, jax.core.Tracer) and bool(jnp.any(places)):
            raise ValueError(f"{name}: expected none below 0; mask such regions, or correct them")
        valid = valid & ~jnp.any(places, axis=-1)
    return jnp.where(counted, array, 0.0), jnp.where(counted, weight, 0.0), valid


def _along(name: str, given: ArrayLike, values: Array, axis: int) -> Array:
    """`given`, a number, [region] or of the shape of `values`, as [..., region] in their dtype."""
    array = jnp.asarray(given).astype(values.dtype)
    moved = jnp.moveaxis(values, axis, -1).shape
    if array.shape == values.shape:
        return jnp.moveaxis(array, axis, -1)
    if array.shape not in ((), moved[-1:]):
        raise ValueError(
            f"{name}: expected shape {moved[-1:]} or {values.shape}, got {array.shape}; "
            "give one for each region"
        )
    return jnp.broadcast_to(array.reshape((1,) * (len(moved) - array.ndim) + array.shape), moved)
