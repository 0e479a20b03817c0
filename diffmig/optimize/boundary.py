"""What happens to a gene that leaves its bounds.

| rule | position | velocity of that gene |
|---|---|---|
| none | stays outside | kept |
| clip | the bound | kept |
| absorb | the bound | 0 if it points out of the box |
| reflect | mirrored at the bound, as often as needed | sign changes with every mirror |
| wrap | enters at the opposite side (the box is a torus) | kept |
| resample | a new uniform point of that gene's range | 0 |
"""

import jax.numpy as jnp
from jax import Array

from diffmig.optimize.space import Box, from_unit
from diffmig.random import uniform_pair

BOUNDARIES = ("none", "clip", "absorb", "reflect", "wrap", "resample")
_STREAM = 255


def check_boundary(rule: str) -> None:
    """Raises ValueError unless `rule` is one of `BOUNDARIES`."""
    if rule not in BOUNDARIES:
        raise ValueError(f"boundary: expected one of {BOUNDARIES}, got {rule!r}")


def repair(
    key: Array, rule: str, box: Box, position: Array, velocity: Array
) -> tuple[Array, Array]:
    """Position and velocity, each [member, dim], after the boundary rule.

    Args:
        key: used by "resample" only.
        rule: one of `BOUNDARIES`, see the table of this module.
        box: flat bounds.
        position, velocity: [member, dim].

    Returns:
        position inside the box (for every rule but "none"), velocity. NaN stays NaN: its loss
        loses.
    """
    if rule == "none":
        return position, velocity
    low, high = (
        jnp.broadcast_to(box.low, position.shape),
        jnp.broadcast_to(box.high, position.shape),
    )
    if rule == "absorb":
        # asks the bound, not how far the gene went: a later pass over repaired positions finds the
        # same genes
        velocity = jnp.where(position <= low, jnp.maximum(velocity, 0.0), velocity)
        velocity = jnp.where(position >= high, jnp.minimum(velocity, 0.0), velocity)
    clipped = jnp.clip(position, low, high)
    if rule in ("clip", "absorb"):
        return clipped, velocity
    outside = position != clipped
    if rule == "resample":
        unit, _ = uniform_pair(key, position.shape, position.dtype, stream=_STREAM)
        return jnp.where(outside, from_unit(box, unit), position), jnp.where(outside, 0.0, velocity)
    width = jnp.where(high > low, high - low, 1.0)
    if rule == "wrap":
        moved = position - width * jnp.floor((position - low) / width)
        mirrored = jnp.zeros_like(outside)
    else:
        phase = (position - low) - 2.0 * width * jnp.floor((position - low) / (2.0 * width))
        mirrored = phase > width
        moved = low + jnp.where(mirrored, 2.0 * width - phase, phase)
    # the last clip absorbs rounding at the bounds and genes of zero width
    return jnp.where(outside, jnp.clip(moved, low, high), position), jnp.where(
        mirrored, -velocity, velocity
    )
