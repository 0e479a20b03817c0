"""Penalty on the roughness of the force of a physics-informed network, chosen from the data."""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from diffmig.fit.pinn_loss import TERMS
from diffmig.fit.pinn_problem import PinnConfig, PinnProblem
from diffmig.fit.pinn_projection import MotionFn, Projection, as_partial, solve_heads
from diffmig.fit.pinn_training import begin_training

_DECADES = np.arange(-2.0, 4.25, 0.5)  # of the unit 1 / (root mean square of the scale of f'')^2
_UNIT_YEARS = 2.5
CURVATURE = TERMS.index("curvature")


class PenaltyChoice(NamedTuple):
    """Penalty of the lowest score.

    Attributes:
        penalty: lam_2.
        penalties: tried, ascending, [trial].
        scores: generalised cross-validation, or mean of (misfit / noise)^2 in the years held out,
            [trial].
        at_bound: the smallest or the largest penalty is the best.
    """

    penalty: float
    penalties: np.ndarray
    scores: np.ndarray
    at_bound: bool


def choose_penalty(
    key: Array,
    problem: PinnProblem,
    theta: Any,
    config: PinnConfig,
    *,
    motion_fn: MotionFn,
    criterion: Literal["gcv", "held_out"] = "gcv",
    penalties: ArrayLike | None = None,
    num_folds: int = 5,
) -> PenaltyChoice:
    """Penalty lam_2 by generalised cross-validation or by years held out, theta frozen.

    gcv = n |misfit / noise|^2 / (n - degrees of freedom)^2, Craven and Wahba, eq (1.9)

    The last layers are solved for exactly at every penalty, on the hidden units of the start.

    Args:
        key: of that start.
        problem: from `pinn_problem`.
        theta: parameters of the motion.
        config: choices; its own penalty is not used.
        motion_fn: theta -> (K, c).
        criterion: "gcv"; "held_out": every `num_folds`-th year in all towns is left out in turn.
        penalties: candidates, ascending, (unit of f per year^2)^-2, [trial]; None: half decades
            about the scale of the data.
        num_folds: of "held_out".

    Returns:
        PenaltyChoice. Inside the range the penalty is that of the parabola through the lowest three
        scores, in logarithms.

    Raises:
        ValueError: unknown criterion, fewer than 3 candidates or 2 folds, or candidates that do not
            ascend above 0.

    Source: Craven, Wahba 1978, Smoothing noisy data with spline functions.
    """
    if criterion not in ("gcv", "held_out"):
        raise ValueError(f"criterion: expected 'gcv' or 'held_out', got {criterion!r}")
    if penalties is None:
        tried = 10.0**_DECADES * penalty_unit(problem, config)
    else:
        tried = np.asarray(penalties, float)
    if tried.size < 3 or tried[0] <= 0.0 or (np.diff(tried) <= 0.0).any() or num_folds < 2:
        raise ValueError(
            f"expected 3 or more penalties ascending above 0 and 2 or more folds, got {tried}, "
            f"{num_folds}"
        )
    rich = replace(config, unit_years=config.unit_years or _UNIT_YEARS, dtype="float64")
    weights = np.array(config.weights())
    state = begin_training(key, 1, problem, theta, weights, replace(rich, fit_theta=False))
    shape = rich.structure()
    thetas = jax.tree.map(lambda x: np.asarray(x, float)[None], theta)

    def project(penalty: float, weight: np.ndarray) -> Projection:
        weights[CURVATURE] = penalty
        seen = problem._replace(weight=weight)  # type: ignore[arg-type]
        return solve_heads(
            state.params, thetas, weights[None], seen, as_partial(motion_fn), shape, None, None
        )

    weight = np.asarray(problem.weight)
    count, years = np.sum(weight > 0.0), np.arange(weight.shape[0])
    scores = np.zeros(tried.size)
    for number, penalty in enumerate(tried):
        if criterion == "gcv":
            found = project(penalty, weight)
            n_left = count - float(found.degrees[0])
            scores[number] = float(found.terms[0, 0]) * (count / n_left) ** 2
            continue
        for fold in range(num_folds):
            kept = np.where((years % num_folds != fold)[:, None], weight, 0.0)
            found = project(penalty, kept * np.sqrt(count / np.sum(kept > 0.0)))
            missed = (weight - kept) * (np.asarray(found.observed[0]) - problem.balance)
            scores[number] += np.sum(missed**2)
    return _lowest(tried, scores)


def penalty_unit(problem: PinnProblem, config: PinnConfig) -> float:
    """1 / mean F^2, F = spread (2 pi / timescale)^4: the penalty that finds a force curved like the
    balance itself as costly as a misfit of one standard deviation of the noise.
    """
    curvature = np.asarray(problem.force_spread) * (2.0 * np.pi / config.timescale) ** 2
    return float(1.0 / np.mean(curvature**2))


def penalty_of_spline(penalty: ArrayLike, noise: ArrayLike, num_years: int, span: float) -> Array:
    """lam_2 that makes the loss of a network that of `fit_spline_force`, up to a factor.

    sum misfit^2 + lambda integral f''^2  ~  mean (misfit / noise)^2 + lam_2 mean f''^2:
    lam_2 = lambda span / (noise^2 num_years)

    Args:
        penalty: lambda of the spline estimate.
        noise: the same standard deviation for all towns, unit of the balance.
        num_years: observations of a town.
        span: length of the interval, years.
    """
    noise = jnp.asarray(noise)
    return jnp.asarray(penalty, noise.dtype) * span / (noise**2 * num_years)


def _lowest(tried: np.ndarray, scores: np.ndarray) -> PenaltyChoice:
    best = int(np.argmin(np.where(np.isfinite(scores), scores, np.inf)))
    at_bound = best in (0, tried.size - 1)
    penalty = float(tried[best])
    if not at_bound:
        near = slice(best - 1, best + 2)
        bend, slope, _ = np.polyfit(np.log(tried[near] / penalty), np.log(scores[near]), 2)
        if bend > 0.0:
            penalty *= float(np.exp(-0.5 * slope / bend))
    return PenaltyChoice(penalty, tried, scores, at_bound)
