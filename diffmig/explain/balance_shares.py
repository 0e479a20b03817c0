"""What a factor or a decision does to balances, through the dynamics.

The motion is linear in the force, and Shapley values add up to the force: so every factor has an
exact share of the balance trajectory. All effects are associations in the data, not proven causes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.migration import NUM_NODES, Modes, propagate
from diffmig.programs import one_program


class BalanceShares(NamedTuple):
    """Parts of a balance trajectory; they sum to it.

    Attributes:
        free: motion from the initial state without any force, [town, time].
        base: by the force common to all, [town, time].
        factor: by each factor's share of the force, [factor, town, time].
        unexplained: by the force that no factor explains, [town, time].
        balance: the whole, [town, time].
    """

    free: Array
    base: Array
    factor: Array
    unexplained: Array
    balance: Array


class Effect(NamedTuple):
    """Change of balances by a change of the force.

    Attributes:
        total: [town, time], unit of the balance.
        own: part by the change in the place itself, [town, time].
        spill_over: part by changes elsewhere, [town, time].
        cumulated: integral of `total` up to each time (trapezia), [town, time].
    """

    total: Array
    own: Array
    spill_over: Array
    cumulated: Array


def yearly_force(force: Array, num_nodes: int = NUM_NODES) -> Array:
    """Force that is constant within each year, as `propagate` wants it: [..., year, node]."""
    return jnp.broadcast_to(force[..., None], (*force.shape, num_nodes))


@one_program()
def balance_shares(
    stiffness: Array | Modes,
    damping: ArrayLike,
    balance: Array,
    velocity: Array,
    base: Array,
    shares: Array,
    unexplained: Array,
) -> BalanceShares:
    """Shares of a balance trajectory by factor.

    q(t) = q_free(t) + int G(t - s) [base + sum_m phi_m(s) + e(s)] ds

    Args:
        stiffness, damping: of the motion, as in `migration.propagate`.
        balance, velocity: initial state, [town].
        base: force common to all explanations (the mean prediction), [].
        shares: phi, Shapley values of the force, [factor, town, year], constant within a year.
        unexplained: e, force minus its prediction, [town, year].

    Returns:
        BalanceShares at the start and the end of every year, [town, 1 + year]; they sum to the
        motion under the whole force to round-off. Differentiable.
    """
    num_factors, num_towns, _ = shares.shape
    zero = jnp.zeros_like(unexplained)
    flat = jnp.broadcast_to(base, unexplained.shape)
    forces = jnp.concatenate([jnp.stack([zero, flat, unexplained]), shares])
    first = jnp.zeros((num_factors + 3, num_towns), forces.dtype)
    made = propagate(
        stiffness,
        damping,
        first.at[0].set(balance),
        first.at[0].set(velocity),
        yearly_force(forces),
    ).balance
    return BalanceShares(
        free=made[0],
        base=made[1],
        factor=made[3:],
        unexplained=made[2],
        balance=jnp.sum(made, axis=0),
    )


@one_program()
def force_effect(
    stiffness: Array | Modes,
    damping: ArrayLike,
    change: Array,
    *,
    changed: Array | None = None,
) -> Effect:
    """Effect of a change of the force on all balances, split into own and spill-over.

    dq_i(t) = sum_j int G_ij(t - s) df_j(s) ds;  own: j = i, spill-over: j != i

    Args:
        stiffness, damping: of the motion.
        change: df, [town, year], constant within a year; 0 where nothing changes.
        changed: places whose force changes, int [place]; default: all. A motion is solved for each
            of them, so name them where they are few among many.

    Returns:
        Effect at the start and the end of every year, [town, 1 + year]. Linear in `change`.
    """
    num_towns = change.shape[0]
    places = jnp.arange(num_towns) if changed is None else jnp.asarray(changed)
    own_rows = jax.nn.one_hot(places, num_towns, dtype=change.dtype)  # [place, town]
    forces = own_rows[:, :, None] * change[None]
    zero = jnp.zeros_like(own_rows)
    made = propagate(stiffness, damping, zero, zero, yearly_force(forces)).balance
    total = jnp.sum(made, axis=0)
    own = jnp.sum(own_rows[:, :, None] * made, axis=0)
    middle = 0.5 * (total[:, 1:] + total[:, :-1])
    cumulated = jnp.concatenate([jnp.zeros_like(total[:, :1]), jnp.cumsum(middle, axis=1)], axis=1)
    return Effect(total=total, own=own, spill_over=total - own, cumulated=cumulated)
