"""Smoothing weights of every series of a panel: fixed, grid, golden section, Newton or L-BFGS."""

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from diffmig.batching import batched_last
from diffmig.optimize import LBFGS, STATUS, LbfgsConfig, Space, member_status
from diffmig.optimize.base import CONVERGED, NO_FINITE_LOSS
from diffmig.optimize.pointwise import (
    LossFn,
    PointwiseResult,
    difference_derivatives,
    grid_search,
    minimize_golden,
    minimize_newton,
)
from diffmig.smoothing import (
    Smoother,
    Start,
    solve_start,
    start_values,
    sum_squares,
)
from diffmig.smoothing.losses import Loss

SERIES_PER_BLOCK = 512
GRIDS = {1: (9,), 2: (5, 5), 3: (5, 4, 2), 4: (4, 3, 3, 2)}  # candidates per weight
COARSE, WARM_STEPS = 2, 3  # the same per weight, and Newton steps, where weights are given
TOO_SHORT = len(STATUS)
NOT_POSITIVE = TOO_SHORT + 1
SMOOTHING_STATUS = (*STATUS, "too few values for this model", "values are not all positive")

FitMethod = Literal["auto", "fixed", "grid", "golden", "newton", "lbfgs"]


@dataclass(frozen=True)
class SmootherConfig:
    """How the weights of a filter are chosen.

    method: "fixed" keeps the defaults or the given weights; "grid" takes the best of a grid;
        "golden" needs one weight; "newton" and "lbfgs" start from the best of the grid. "auto":
        Newton.
    initial: rule of the start; "" the filter's own; "exact" the best level and trend for every
        candidate weights (squared one-step errors only; filters that are not linear in their start
        use their own rule).
    num_initial: values that the rule uses; 0: as many as the filter's own.
    loss: criterion; None: sum of squared one-step errors.
    grid: candidates per weight.  num_steps: of the method; 0: its default.
    """

    method: FitMethod = "auto"
    initial: str = ""
    num_initial: int = 0
    loss: Loss | None = None
    grid: int = 0
    num_steps: int = 0

    def __post_init__(self) -> None:
        if self.initial == "exact" and self.loss is not None:
            raise ValueError("initial 'exact' minimises squared one-step errors: leave loss None")
        if min(self.num_initial, self.grid, self.num_steps) < 0:
            raise ValueError(f"num_initial, grid, num_steps: expected >= 0, got {self}")


class SmootherFit(NamedTuple):
    """Weights and start of every series.

    Attributes:
        params: [parameter, ...].
        start: level, trend [...], season [period, ...].
        loss: [...], inf where the series cannot be used.
        status: int8 [...], index into `SMOOTHING_STATUS`.
    """

    params: Array
    start: Start
    loss: Array
    status: Array


def fit_smoother(
    smoother: Smoother,
    y: Array,
    observed: Array | None = None,
    *,
    config: SmootherConfig = SmootherConfig(),
    params: Array | None = None,
    block: int | None = SERIES_PER_BLOCK,
    mesh: Mesh | None = None,
) -> SmootherFit:
    """Weights of a filter for every series.

    Args:
        smoother: the filter.
        y: values [time, series]; any finite number where not observed.
        observed: bool [time, series]; None: all are.
        config: method, start and loss.
        params: weights [parameter, series] that are kept ("fixed") or that Newton and L-BFGS start
            from instead of the grid's best; grid and golden section search anew.
        block: series at a time; None: all.
        mesh: devices that share the series.

    Returns:
        SmootherFit, leaves [..., series].

    Raises:
        ValueError: shapes that do not fit, given weights outside [0, 1] (not checked when traced),
            an unknown method, or golden section for several weights.

    Notes:
        A series with fewer values than the filter needs, or values <= 0 for a multiplicative
        season, gets loss inf and says so in `status`; the others go on. Constant series have loss
        0 at any weights.
    """
    if y.ndim != 2 or (observed is not None and observed.shape != y.shape):
        shapes = y.shape, None if observed is None else observed.shape
        raise ValueError(f"y, observed: expected two equal shapes [time, series], got {shapes}")
    num_params = len(smoother.parameters)
    if params is not None and params.shape != (num_params, y.shape[1]):
        raise ValueError(
            f"params: expected {(num_params, y.shape[1])} [parameter, series], got {params.shape}"
        )
    if params is not None and not isinstance(params, jax.core.Tracer):
        check_weights(smoother, np.asarray(params))
    _method(smoother, config)
    arrays = {"y": y, "observed": observed, "params": params}
    given = {name: array for name, array in arrays.items() if array is not None}
    return _fit(smoother, config, block, mesh, given)


def check_weights(smoother: Smoother, params: np.ndarray) -> None:
    """Weights inside [0, 1].

    Args:
        smoother: the filter.
        params: [parameter, ...].

    Raises:
        ValueError: a weight outside [0, 1] or not finite, with its name.
    """
    for name, values in zip(smoother.parameters, np.atleast_1d(params), strict=True):
        bad = ~((np.asarray(values) >= 0.0) & (np.asarray(values) <= 1.0))
        if bad.any():
            got = np.atleast_1d(values)[np.atleast_1d(bad)][0]
            raise ValueError(f"{smoother.name}: {name} must lie in [0, 1], got {got}")


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _fit(
    smoother: Smoother,
    config: SmootherConfig,
    block: int | None,
    mesh: Mesh | None,
    arrays: dict[str, Array],
) -> SmootherFit:
    fit = partial(fit_block, smoother, config)
    return batched_last(fit, arrays, block=block, mesh=mesh)


def fit_block(smoother: Smoother, config: SmootherConfig, arrays: dict[str, Array]) -> SmootherFit:
    """`fit_smoother` for one block, pure and traceable; `arrays`: y and, if any, observed, params.

    "exact" starts are kept for filters that are linear in them; others use their own rule.
    """
    method = _method(smoother, config)
    y, observed = arrays["y"], arrays.get("observed")
    near = initial_start(smoother, config, y, observed)
    result = _minimize(smoother, config, method, y, observed, near, arrays.get("params"))
    start = near
    if _exact(smoother, config):
        start = solve_start(smoother, result.x, y, observed, near).start
    unusable = _unusable(smoother, y, observed)
    finite = jnp.isfinite(result.loss)
    status = jnp.where(finite, result.status, NO_FINITE_LOSS)
    status = jnp.where(unusable > 0, unusable, status).astype(jnp.int8)
    loss = jnp.where(finite & (unusable == 0), result.loss, jnp.inf)
    return SmootherFit(result.x, start, loss, status)


def default_weights(smoother: Smoother, like: Array) -> Array:
    """The filter's own weights for every series, [parameter, ...]; `like`: [...]."""
    defaults = jnp.asarray(smoother.defaults, like.dtype).reshape((-1, *[1] * like.ndim))
    return jnp.broadcast_to(defaults, (len(smoother.parameters), *like.shape))


def _exact(smoother: Smoother, config: SmootherConfig) -> bool:
    return config.initial == "exact" and smoother.num_linear > 0


def initial_start(
    smoother: Smoother, config: SmootherConfig, y: Array, observed: Array | None
) -> Start:
    """Start by the rule of the configuration, or of the filter; where it is to be exact, a near
    one. Rules without a season start a factor at 1.

    Raises:
        ValueError: the rule gives the season in the other form, additive or as a factor.
    """
    rule = smoother.initial if config.initial in ("", "exact") else config.initial
    if rule == ("season" if smoother.multiplicative else "season-multiplicative"):
        raise ValueError(f"initial: {rule!r} does not fit {smoother.name}; leave it empty")
    num_values = config.num_initial or smoother.num_initial
    start = start_values(y, observed, rule, num_values, smoother.period)
    if smoother.multiplicative and rule != "season-multiplicative":
        return start._replace(season=jnp.ones_like(start.season))
    return start


def _minimize(
    smoother: Smoother,
    config: SmootherConfig,
    method: str,
    y: Array,
    observed: Array | None,
    near: Start,
    params: Array | None,
) -> PointwiseResult:
    loss_fn = partial(_loss, smoother, config, y, observed, near)
    like = near.level
    if method == "fixed":
        x = default_weights(smoother, like) if params is None else params
        loss = loss_fn(x)
        return PointwiseResult(x, loss, jnp.full(like.shape, CONVERGED, jnp.int8), 1)
    steps = {"num_steps": config.num_steps} if config.num_steps else {}
    if method == "golden":
        grid = {"num_grid": config.grid} if config.grid else {}
        left, right = smoother.bounds[0]
        result = minimize_golden(lambda x: loss_fn(x[None]), left, right, like, **grid, **steps)
        return result._replace(x=result.x[None])
    warm = params is not None and method != "grid"
    points = _grid(smoother, COARSE if warm else config.grid)
    _, best, loss = grid_search(loss_fn, points, like)
    if method == "grid":
        status = jnp.where(jnp.isfinite(loss), CONVERGED, NO_FINITE_LOSS).astype(jnp.int8)
        return PointwiseResult(best, loss, status, len(points))
    if params is not None:  # a coarse look elsewhere keeps a fit from staying in an old basin
        best = jnp.where((loss_fn(params) <= loss)[None], params, best)
    low, high = (jnp.asarray(side, y.dtype) for side in zip(*smoother.bounds, strict=True))
    if method == "lbfgs":
        return _minimize_lbfgs(loss_fn, best, low, high, config.num_steps or 30)
    evaluate = difference_derivatives(loss_fn, 1e-4 if y.dtype == jnp.float64 else 1e-2)
    steps = steps or {"num_steps": WARM_STEPS if warm else {1: 4, 2: 5}.get(len(low), 10)}
    return minimize_newton(evaluate, best, low, high, **steps)


def _loss(
    smoother: Smoother,
    config: SmootherConfig,
    y: Array,
    observed: Array | None,
    near: Start,
    params: Array,
) -> Array:
    if _exact(smoother, config):
        return solve_start(smoother, params, y, observed, near).sum_squares
    return (config.loss or sum_squares)(smoother, params, y, observed, near)


def _minimize_lbfgs(
    loss_fn: LossFn, start: Array, low: Array, high: Array, num_steps: int
) -> PointwiseResult:
    """L-BFGS with a member per series; losses divided by those of the start."""
    flat = start.reshape((start.shape[0], -1)).T  # [series, parameter]
    scale = jnp.maximum(loss_fn(start).ravel(), jnp.finfo(start.dtype).tiny)

    def evaluate(key: Array, swarm: Array) -> Array:
        return loss_fn(swarm.T.reshape(start.shape)).ravel() / scale

    config = LbfgsConfig(num_members=flat.shape[0], tolerance=1e-8)
    space = Space(low, high)
    key = jax.random.key(0)  # starts are given: nothing is drawn
    state = LBFGS.init(key, evaluate, space, config, LBFGS.coefficients, flat)

    def body(state: Any, _: None) -> tuple[Any, None]:
        return LBFGS.step(key, state, evaluate, space, config, LBFGS.coefficients)[0], None

    state, _ = jax.lax.scan(body, state, None, length=num_steps)
    shape = start.shape[1:]
    return PointwiseResult(
        state.swarm.T.reshape(start.shape),
        (state.loss * scale).reshape(shape),
        member_status(state, config).reshape(shape),
        1 + num_steps,
    )


def _method(smoother: Smoother, config: SmootherConfig) -> str:
    method = config.method
    num_params = len(smoother.parameters)
    if method not in get_args(FitMethod):
        raise ValueError(f"method: expected one of {get_args(FitMethod)}, got {method!r}")
    if num_params == 0:
        return "fixed"
    if method == "auto":
        return "newton"
    if method == "golden" and num_params > 1:
        raise ValueError(f"{smoother.name} has {num_params} weights: use newton, lbfgs or grid")
    return method


def _grid(smoother: Smoother, num: int) -> np.ndarray:
    """Candidates [point, parameter] inside the bounds: midpoints of `num` equal parts of every
    weight, squared for weights of trend and season, whose best values are mostly small."""
    num_params = len(smoother.parameters)
    counts = (num,) * num_params if num else GRIDS.get(num_params, (3,) * num_params)
    axes = []
    for count, name, (low, high) in zip(counts, smoother.parameters, smoother.bounds, strict=True):
        share = (np.arange(count) + 0.5) / count
        axes.append(low + (high - low) * (share**2 if name in ("beta", "gamma") else share))
    return np.array(list(product(*axes)))


def _unusable(smoother: Smoother, y: Array, observed: Array | None) -> Array:
    """Status code where a series cannot be used, else 0, [...]."""
    shape = y.shape[1:]
    if observed is None:
        short = jnp.full(shape, y.shape[0] < smoother.num_least)
        not_positive = jnp.any(y <= 0, axis=0)
    else:
        short = jnp.sum(observed, axis=0) < smoother.num_least
        not_positive = jnp.any(observed & (y <= 0), axis=0)
    code = jnp.where(short, TOO_SHORT, 0)
    if smoother.multiplicative:
        code = jnp.where((code == 0) & not_positive, NOT_POSITIVE, code)
    return code
