"""Force by shooting: the motion solved through a differentiable solver inside the search."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from diffmig.fit.pinn import as_given
from diffmig.fit.pinn_penalty import PenaltyChoice
from diffmig.fit.pinn_projection import MotionFn
from diffmig.fit.shooting_config import ShootingConfig
from diffmig.fit.shooting_force import draw_hidden, join_network, spline_knots
from diffmig.fit.shooting_problem import ShootingProblem, shooting_problem
from diffmig.fit.shooting_search import ShootingFit, finish, search

DEFAULT_SHOOTING = ShootingConfig()
_PERIODS = (3.0, 12.0)  # years: swings of the force that the penalties tried first halve
_TRIALS = 9
_HELD_EVERY = 4


def fit_shooting(
    balance: Array,
    theta: Any,
    *,
    motion_fn: MotionFn = as_given,
    acceleration_fn: Any = None,
    observed: ArrayLike | None = None,
    noise_weight: ArrayLike | None = None,
    forced: ArrayLike | None = None,
    penalty: ArrayLike | None = None,
    key: Array | None = None,
    config: ShootingConfig = DEFAULT_SHOOTING,
) -> ShootingFit:
    """Force, start and, where wanted, parameters of the dynamics by shooting.

    minimise sum_ik w_ik^2 (H q_i(k) - balance_ik)^2 + lambda sum_i integral f_i''^2 dt,
    q'' = a(t, q, q', f; theta)  or  q'' + c q' + K q = f,  solved anew at every step

    Args:
        balance: [town, year], at least 6 years; any number where not observed.
        theta: (K, c), with K [town, town] or [year, town, town]; or what `motion_fn` or
            `acceleration_fn` takes, unconstrained, the start if `config.fit_theta`.
        motion_fn: theta -> (K, c).
        acceleration_fn: (t [], q, q', f [town], theta) -> q'', [town], affine in f; instead of
            `motion_fn`. A `jax.tree_util.Partial` with data as arguments is compiled once for all
            data of one shape; a new closure is compiled anew.
        observed: bool [town, year]; None: all.
        noise_weight: standard deviations 1 / w of the observations up to a factor, [], [town] or
            [town, year]; None: 1.
        forced: bool [town], False where there is no force; None: everywhere.
        penalty: lambda, year^7 where w is 1; (P / 2 pi)^8 about halves swings of P years.
            None: by held-out years, see `choose_shooting_penalty`.
        key: of a network's start; splines need none.
        config: choices.

    Returns:
        ShootingFit. A motion that the solver does not finish, or unconverged searches, show in
        `status`.

    Raises:
        ValueError: shapes that do not fit, too few observations, a network without a key, the
            propagator with an acceleration.

    Notes:
        One shot over the whole interval, from a good start instead of many short ones: a smoothing
        spline of the data gives q, q' and q'', the dynamics give the force that these need. The
        search is L-BFGS in unknowns in which the problem, linearised about that start, has the
        identity as its Hessian: a few steps where the dynamics are linear, tens where they are not.
        Where motions grow manifold within the interval one shot misses: expect a status other than
        "converged". Dense matrices of all unknowns (towns times years and some) set the limit:
        seconds for 100 towns over 20 years, a minute or two and 3 GB for 270.
        Data do not identify theta beside a free force of every town: name unforced towns.

    Source: Rackauckas et al., 2020, Universal differential equations for scientific machine
    learning; Turan, Jaschke, 2022, Multiple shooting for training neural differential equations on
    time series, on the flat minima that a poor start leads to.
    """
    linear = acceleration_fn is None
    theta, dynamics = _dynamics(balance, theta, motion_fn, acceleration_fn, config)
    choice = None
    if penalty is None:
        choice = choose_shooting_penalty(
            balance,
            theta,
            motion_fn=motion_fn,
            acceleration_fn=acceleration_fn,
            observed=observed,
            noise_weight=noise_weight,
            forced=forced,
            key=key,
            config=config,
        )
        penalty = choice.penalty
    problem = shooting_problem(balance, dynamics, penalty, observed, noise_weight, forced)
    fit = _fit(problem, theta, _hidden(key, balance, config), linear, config)
    params = None
    if config.force == "network":
        hidden, coefficients = fit.params, fit.coefficients
        params = join_network(hidden, coefficients)
    knots = spline_knots(balance.shape[1], config) if config.force == "spline" else None
    return fit._replace(choice=choice, knots=knots, params=params)


def choose_shooting_penalty(
    balance: Array,
    theta: Any,
    *,
    penalties: ArrayLike | None = None,
    held_out: ArrayLike | None = None,
    motion_fn: MotionFn = as_given,
    acceleration_fn: Any = None,
    observed: ArrayLike | None = None,
    noise_weight: ArrayLike | None = None,
    forced: ArrayLike | None = None,
    key: Array | None = None,
    config: ShootingConfig = DEFAULT_SHOOTING,
) -> PenaltyChoice:
    """Penalty that foretells held-out years best.

    Args:
        penalties: lambda, ascending, [trial]; None: (P / 2 pi)^8 / (mean noise weight)^2 for P from
            3 to 12 years.
        held_out: bool [year], or [fold, year]: years that are left out of the fit and foretold, in
            turn; None: every fourth, neither the first nor the last two.
        balance, theta, motion_fn, acceleration_fn, observed, noise_weight, forced, key, config: as
            in `fit_shooting`.

    Returns:
        PenaltyChoice; the scores are means of squared misfits in units of the noise weights.

    Raises:
        ValueError: penalties that do not ascend above 0, or nothing observed in the held-out years.

    Notes:
        One fit per penalty and fold, all by one compiled program.
    """
    num_years = balance.shape[-1]
    linear = acceleration_fn is None
    theta, dynamics = _dynamics(balance, theta, motion_fn, acceleration_fn, config)
    seen = np.ones(balance.shape, bool) if observed is None else np.asarray(observed)
    problem = shooting_problem(balance, dynamics, 1.0, seen, noise_weight, forced)
    if penalties is None:
        periods = np.geomspace(*_PERIODS, _TRIALS)
        weight = np.asarray(problem.weight)
        tried = np.mean(weight[weight > 0.0] ** 2) * (periods / (2.0 * np.pi)) ** 8
    else:
        tried = np.asarray(penalties, float)
    if tried.ndim != 1 or tried.size < 2 or tried[0] <= 0.0 or (np.diff(tried) <= 0.0).any():
        raise ValueError(f"penalties: expected 2 or more, ascending above 0, got {tried}")
    if held_out is None:
        number = np.arange(num_years)
        folds = ((number % _HELD_EVERY == 2) & (number < num_years - 2))[None]
    else:
        folds = np.atleast_2d(np.asarray(held_out))
    if folds.dtype != bool or folds.ndim != 2 or folds.shape[1] != num_years:
        raise ValueError(
            f"held_out: expected bool [{num_years}] or [fold, {num_years}], got {folds.shape}"
        )
    hidden, total, count = _hidden(key, balance, config), np.zeros(tried.size), 0
    for fold in folds:
        tested = seen & fold[None, :]
        if not tested.any():
            raise ValueError("held_out: nothing is observed in the held-out years; name others")
        count += int(tested.sum())
        for k, strength in enumerate(tried):
            left = shooting_problem(
                balance, dynamics, strength, seen & ~fold[None, :], noise_weight, forced
            )
            fit = _fit(left, theta, hidden, linear, config)
            missed = problem.weight * (fit.fitted - problem.balance)
            squares = float(jnp.sum(jnp.where(jnp.asarray(tested), missed, 0.0) ** 2))
            total[k] += squares if np.isfinite(squares) else np.inf
    best = int(np.argmin(total))
    return PenaltyChoice(
        penalty=float(tried[best]),
        penalties=tried,
        scores=total / count,
        at_bound=best in (0, tried.size - 1),
    )


def _dynamics(
    balance: Array, theta: Any, motion_fn: Any, acceleration_fn: Any, config: ShootingConfig
) -> tuple[Any, Partial]:
    """Theta in the dtype of the balance and the checked dynamics."""
    if balance.ndim != 2:
        raise ValueError(f"balance: expected [town, year], got {balance.shape}")
    num_towns, num_years = balance.shape
    dtype = balance.dtype
    theta = jax.tree.map(lambda x: jnp.asarray(x, dtype), theta)
    if config.fit_theta and not jax.tree.leaves(theta):
        raise ValueError("theta: nothing to fit; expected a pytree of parameters")
    if acceleration_fn is None:
        k, c = jax.eval_shape(motion_fn, theta)
        square = (num_towns, num_towns)
        if k.shape not in (square, (num_years, *square)) or c.ndim:
            raise ValueError(
                f"theta, motion_fn: expected K {square}, or by year, and c [], got {k.shape} and "
                f"{c.shape}"
            )
        if k.ndim == 3 and config.offset and config.solver == "propagator":
            raise ValueError("offset: the propagator needs 0 where K varies by year")
        fn = motion_fn
    else:
        if config.solver == "propagator":
            raise ValueError("solver: the propagator solves q'' + c q' + K q = f; use 'diffrax'")
        time, state = jax.ShapeDtypeStruct((), dtype), jax.ShapeDtypeStruct((num_towns,), dtype)
        out = jax.eval_shape(acceleration_fn, time, state, state, state, theta)
        if jnp.shape(out) != (num_towns,):
            raise ValueError(f"acceleration_fn: expected [{num_towns}], got {jnp.shape(out)}")
        fn = acceleration_fn
    return theta, fn if isinstance(fn, Partial) else Partial(fn)


def _hidden(key: Array | None, balance: Array, config: ShootingConfig) -> Any:
    if config.force == "spline":
        return None
    if key is None:
        raise ValueError("key: a network needs one for its start")
    return draw_hidden(key, config, balance.shape[1])


def _fit(
    problem: ShootingProblem, theta: Any, hidden: Any, linear: bool, config: ShootingConfig
) -> ShootingFit:
    # one program for all step limits
    any_limit, limit = replace(config, max_steps=1), jnp.int32(config.max_steps)
    unknowns, state, status = search(problem, theta, hidden, limit, linear, any_limit)
    return finish(problem, unknowns, state, status, linear, any_limit)
