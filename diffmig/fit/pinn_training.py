"""Training of a physics-informed network by gradients: Adam, then L-BFGS, chunk by chunk.

Seeds are the leading axis. A chunk is one compiled program; progress, traces and interruption live
between chunks.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

from diffmig.batching import batched
from diffmig.fit.pinn_loss import TERMS, pinn_terms
from diffmig.fit.pinn_problem import PinnConfig, PinnProblem, networks
from diffmig.fit.pinn_projection import MotionFn
from diffmig.networks.residual import ResidualNetwork
from diffmig.optimize import METHODS, LbfgsConfig, Space

_BALANCED = tuple(TERMS.index(name) for name in ("residual", "initial", "interpolation"))
_MEMORY = 0.5  # of the weights, from chunk to chunk
_LBFGS = LbfgsConfig(bounded=False, memory=10, tolerance=1e-9)


class PinnState(NamedTuple):
    """State of a training, leaves [seed, ...].

    Attributes:
        params: {"balance", "force"} weights of the networks, "theta" where it is trained.
        moments: of Adam.
        weights: of the terms, [seed, term].
        step: of Adam, int32 [seed].
        failed: bool [seed], a loss or gradient was not finite; the last finite params are kept.
    """

    params: Any
    moments: Any
    weights: Array
    step: Array
    failed: Array


def begin_training(
    key: Array,
    num_seeds: int,
    problem: PinnProblem,
    theta: Any,
    weights: np.ndarray,
    config: PinnConfig,
) -> PinnState:
    """Networks at their starts.

    Args:
        key: of all seeds.
        num_seeds: how many.
        problem: from `pinn_problem`.
        theta: start of the parameters, used if `config.fit_theta`.
        weights: of the terms, [term].
        config: choices.
    """
    network = networks(config, problem.spread.size, float(2.0 / problem.slope))
    given = theta if config.fit_theta else None
    return _begin(key, num_seeds, given, weights, network, config.force == "network")


@partial(jax.jit, static_argnames=("num_seeds", "network", "with_force"))
def _begin(
    key: Array,
    num_seeds: int,
    theta: Any,
    weights: Array,
    network: ResidualNetwork,
    with_force: bool,
) -> PinnState:
    dtype = jnp.dtype(network.dtype)
    u = jnp.zeros(1, dtype)

    def one(key: Array) -> PinnState:
        own, force = jax.random.split(key)
        params: dict[str, Any] = {"balance": network.init(own, u)}
        if with_force:
            params["force"] = network.init(force, u)
        if theta is not None:
            params["theta"] = jax.tree.map(lambda x: x.astype(dtype), theta)
        return PinnState(
            params=params,
            moments=optax.scale_by_adam().init(ravel_pytree(params)[0]),
            weights=weights.astype(dtype),
            step=jnp.zeros((), jnp.int32),
            failed=jnp.zeros((), bool),
        )

    return jax.vmap(one)(jax.random.split(key, num_seeds))


def _terms(
    params: Any, theta: Any, problem: PinnProblem, motion_fn: MotionFn, config: PinnConfig
) -> Array:
    return pinn_terms(params, *motion_fn(params.get("theta", theta)), problem, config)


@partial(jax.jit, static_argnames=("config", "block", "mesh"))
def adam_chunk(
    state: PinnState,
    theta: Any,
    problem: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    rates: Any,
    num_steps: int,
    block: int | None,
    mesh: Mesh | None,
) -> PinnState:
    """State after so many steps of Adam on all weights at once.

    Args:
        state: from `begin_training` or an earlier chunk.
        theta: frozen parameters, where they are not trained.
        problem: in the dtype of the training.
        motion_fn: theta -> (K, c).
        config: choices.
        rates: learning rate of the first step, share of it at the end, steps until then, [3].
        num_steps: of this chunk.
        block: seeds that run side by side, see `batched`; None: all.
        mesh: devices that share the seeds.

    Source: Kingma, Ba 2015, Adam; weights of the terms: Wang, Teng, Perdikaris 2021, Understanding
        and mitigating gradient flow pathologies in physics-informed neural networks, algorithm 1,
        with norms of gradients.
    """
    rule = optax.scale_by_adam()

    def member(state: PinnState) -> PinnState:
        # one flat vector: every leaf costs kernels at every step
        start, unravel = ravel_pytree(state.params)

        def terms_fn(flat: Array) -> Array:
            return _terms(unravel(flat), theta, problem, motion_fn, config)

        weights = state.weights
        if config.balancing == "gradient":
            weights = _balanced(weights, jax.jacrev(terms_fn)(start))

        def step(_: Array, carry: Any) -> Any:
            flat, moments, count, failed = carry
            loss, gradient = jax.value_and_grad(lambda x: weights @ terms_fn(x))(flat)
            # the sum is finite only if every component is
            failed = failed | ~jnp.isfinite(loss + jnp.sum(gradient))
            with jax.numpy_dtype_promotion("standard"):
                direction, moments = rule.update(gradient, moments)
            new = flat - _rate(count, rates.astype(flat.dtype)) * direction
            flat = jnp.where(failed, flat, new)
            return flat, moments, count + 1, failed

        carry = (start, state.moments, state.step, state.failed)
        flat, moments, count, failed = lax.fori_loop(0, num_steps, step, carry)
        return PinnState(unravel(flat), moments, weights, count, failed)

    return batched(member, state, block=block, mesh=mesh)


def _rate(count: Array, rates: Array) -> Array:
    """Learning rate: half a cosine from the first to the final one."""
    first, final, total = rates
    done = jnp.minimum(count.astype(total.dtype) / total, 1.0)
    return first * (final + (1.0 - final) * 0.5 * (1.0 + jnp.cos(jnp.pi * done)))


def _balanced(weights: Array, gradients: Array) -> Array:
    """Weights that give balanced terms the gradient of the data term; [term, parameter] given."""
    norms = jnp.sqrt(jnp.sum(gradients**2, axis=1))
    wanted = norms[0] / jnp.where(norms > 0.0, norms, 1.0)
    moved = _MEMORY * weights + (1.0 - _MEMORY) * wanted
    chosen = jnp.isin(jnp.arange(weights.size), jnp.asarray(_BALANCED)) & (weights > 0.0)
    return jnp.where(chosen & (norms > 0.0), moved, weights)


class LbfgsRun(NamedTuple):
    """State of L-BFGS on all seeds in lockstep: that of `diffmig.optimize.lbfgs`."""

    inner: Any


@partial(jax.jit, static_argnames=("config",))
def lbfgs_chunk(
    state: PinnState,
    run: LbfgsRun | None,
    theta: Any,
    problem: PinnProblem,
    motion_fn: MotionFn,
    config: PinnConfig,
    num_steps: int,
) -> tuple[PinnState, LbfgsRun]:
    """State after so many evaluations of L-BFGS; `run` None at the first chunk; others as in
    `adam_chunk`. A seed whose line search fails stays where it is.
    """
    method = METHODS["lbfgs"]
    num_seeds = state.failed.shape[0]
    flat = jax.vmap(lambda p: ravel_pytree(p)[0])(state.params)
    unravel = ravel_pytree(jax.tree.map(lambda x: x[0], state.params))[1]
    ones = jnp.ones_like(flat[0])
    space = Space(-ones, ones)
    choices = replace(_LBFGS, num_members=num_seeds)

    def loss_of(flat: Array, weights: Array) -> Array:
        return weights @ _terms(unravel(flat), theta, problem, motion_fn, config)

    def evaluate(key: Array, swarm: Array) -> Array:
        return jax.vmap(loss_of)(swarm, state.weights)

    key = jax.random.key(0)  # not used: nothing here is random
    rest = (evaluate, space, choices, method.coefficients)
    inner = method.init(key, *rest, initial=flat) if run is None else run.inner

    inner = lax.fori_loop(0, num_steps, lambda _, inner: method.step(key, inner, *rest)[0], inner)
    params = jax.vmap(unravel)(inner.point)
    return state._replace(params=params), LbfgsRun(inner)
