"""BFGS of jax.scipy behind the common `Result`: flat vector, several starts, status, fallback."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.scipy.optimize import minimize
from jax.sharding import Mesh

from diffmig.batching import batched, on_one_device
from diffmig.optimize import base
from diffmig.optimize.lbfgs import LBFGS, LbfgsConfig
from diffmig.optimize.space import Space


def solve_bfgs(
    loss_fn: Callable[[Any], Array],
    starts: Any,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 200,
    fallback_steps: int = 400,
    mesh: Mesh | None = None,
) -> base.Result:
    """Local minimum of `loss_fn` from every start, by BFGS, and by L-BFGS where its line search
    fails.

    Args:
        loss_fn: differentiable loss of one candidate, scalar.
        starts: candidates with a leading start axis, leaves of one floating dtype, better float64.
        tolerance: converged when no component of the gradient exceeds it; unit of the loss.
        max_iterations: of BFGS.
        fallback_steps: of L-BFGS, from the point where BFGS stopped (or from the start if the loss
            there is not finite); 0 for no fallback.
        mesh: devices that share the starts.

    Returns:
        Result with a leading start axis: `best_of` takes the lowest. history [start, 2] holds the
            loss of the start and of the result. num_evaluations counts losses of BFGS and of the
            fallback.

    Raises:
        ValueError: leaves of `starts` differ in dtype or length.

    Notes:
        Starts of a device run one after the other: under `vmap` every start would take the line
        search of the slowest in each iteration, ten times slower in a measurement with 352 small
        networks. So do not vmap this function either; give it more starts. Not
        reverse-differentiable (`lax.while_loop`).

    Source: Nocedal, Wright 2006, Numerical Optimization, algorithm 6.1, as in
        `jax.scipy.optimize.minimize`.
    """
    leaves = jax.tree.leaves(starts)
    if len({leaf.shape[:1] for leaf in leaves}) != 1 or len({leaf.dtype for leaf in leaves}) != 1:
        got = [f"{leaf.dtype}{leaf.shape}" for leaf in leaves]
        raise ValueError(
            f"starts: expected leaves [start, ...] of one length and one dtype, got {got}"
        )
    found = _solve(starts, loss_fn, tolerance, max_iterations, fallback_steps, mesh)
    return on_one_device(found, len(leaves[0]), mesh)


@partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _solve(
    starts: Any,
    loss_fn: Callable[[Any], Array],
    tolerance: float,
    max_iterations: int,
    fallback_steps: int,
    mesh: Mesh | None,
) -> base.Result:
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts))

    def flat_loss(x: Array) -> Array:
        return loss_fn(unravel(x))

    def fall_back(x: Array, loss: Array) -> tuple[Array, Array, Array, Array]:
        result = base.run(
            jax.random.key(
                0
            ),  # decides nothing: the only member is given, and L-BFGS draws nothing
            LBFGS,
            base.per_member(flat_loss),
            Space(x, x),
            fallback_steps,
            config=LbfgsConfig(num_members=1, bounded=False, tolerance=tolerance),
            initial=x[None],
        )
        status = jnp.where(result.converged, base.FALLBACK_CONVERGED, base.FALLBACK_FAILED)
        return result.candidate, result.loss, status.astype(jnp.int8), result.num_evaluations

    def keep(x: Array, loss: Array) -> tuple[Array, Array, Array, Array]:
        return x, loss, jnp.int8(base.LINE_SEARCH_FAILED), jnp.int32(0)

    def solve_one(start: Array) -> base.Result:
        found = minimize(
            flat_loss, start, method="BFGS", options={"gtol": tolerance, "maxiter": max_iterations}
        )
        start_loss = flat_loss(start)
        usable = (found.fun <= start_loss) & jnp.all(jnp.isfinite(found.x))
        x, loss = jnp.where(usable, found.x, start), jnp.where(usable, found.fun, start_loss)
        reached_limit = ~found.success & (found.status == 1)
        failed = ~found.success & ~reached_limit
        if fallback_steps:
            x, loss, status, extra = lax.cond(failed, fall_back, keep, x, loss)
        else:
            x, loss, status, extra = keep(x, loss)
        status = jnp.where(reached_limit, base.STEP_LIMIT, status)
        status = jnp.where(found.success, base.CONVERGED, status)
        status = jnp.where(jnp.isfinite(loss), status, base.NO_FINITE_LOSS).astype(jnp.int8)
        return base.Result(
            candidate=unravel(x),
            loss=loss,
            converged=(status == base.CONVERGED) | (status == base.FALLBACK_CONVERGED),
            status=status,
            num_evaluations=jnp.asarray(found.nfev).astype(jnp.int32) + extra,
            history=jnp.stack([start_loss, loss]),
        )

    flat = jax.vmap(lambda start: ravel_pytree(start)[0])(starts)
    return batched(solve_one, flat, block=1, mesh=mesh)
