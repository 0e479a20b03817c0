"""What a physics-informed fit is asked: its choices, and its data as arrays on the fit's grids."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.interpolate import CubicSpline

from diffmig.networks.residual import ResidualNetwork, Taylor, time_features

Observation = Literal["point", "mean"]
Initial = Literal["free", "soft", "hard"]
Force = Literal["network", "eliminated"]
Balancing = Literal["fixed", "gradient"]
_MEAN_NODES = 3  # of Gauss-Legendre quadrature over a year
_HIGHEST = np.pi  # rad/year: yearly values do not see beyond


@dataclass(frozen=True)
class PinnConfig:
    """Choices of a physics-informed fit.

    Network:
    width, num_blocks: units of a hidden layer, hidden layers.
    skips: residual blocks; False: a plain perceptron.
    num_frequencies: Fourier features, evenly spaced up to pi rad/year; 0: none.
    unit_years: time, years, over which a unit of the first layer rises at the start; None:
        Glorot-uniform start, which knows no time scale.

    Loss:
    observation: "point": values at the observation times; "mean": means over the year that begins
        there.
    points_per_year: collocation points, 1/year.
    force: "network": f is a second network and the equation a residual; "eliminated": f := q'' + c
        q' + K q, the only residual is the force of towns known to have none.
    initial: what is known of q, q' at the first time: "free": nothing; "soft": a term of the loss;
        "hard": q = q0 + (t - t0) v0 + (t - t0)^2 network.
    penalty: lam_2 of the mean of f''^2, (unit of f per year^2)^-2; None: chosen by generalised
        cross-validation (needs `solve_last`).
    magnitude_penalty: lam_0 of the mean of f^2, (unit of f)^-2.
    residual_weight, initial_weight, interpolation_weight: w_r, w_ic, w_int, 1; an interpolation
        weight > 0 uses a cubic not-a-knot spline through the observations as pseudo-data.
    timescale: T_c, years, makes the residual dimensionless.
    balancing: "fixed": these weights; "gradient": weights of terms other than the data and the
        penalties times |gradient of data term| / |gradient of term|, after every chunk.

    Training:
    fit_theta: parameters of the motion are fitted as well; otherwise they are frozen. Give them
        towns known to be unforced, and a residual weight of 1,000 or so with the force eliminated:
        a soft residual biases them. So does a penalty that is given: None fits them under a small
        one.
    num_steps: of Adam on all weights.
    learning_rate: of the first step; it falls to `final_rate` times it, by half a cosine.
    lbfgs_steps: of L-BFGS, after Adam.
    solve_last: in the end, solve for the last layers exactly (in float64).
    theta_steps: of Gauss-Newton on theta, with the last layers solved exactly, if `fit_theta` and
        `solve_last`.
    chunk: steps between two calls of `on_chunk`.
    dtype: of the training by gradients; "float32" is about twice as quick.
    """

    width: int = 64
    num_blocks: int = 3
    skips: bool = True
    num_frequencies: int = 0
    unit_years: float | None = 2.5
    observation: Observation = "mean"
    points_per_year: int = 8
    force: Force = "network"
    initial: Initial = "free"
    penalty: float | None = None
    magnitude_penalty: float = 0.0
    residual_weight: float = 1.0
    initial_weight: float = 1.0
    interpolation_weight: float = 0.0
    timescale: float = 8.0
    balancing: Balancing = "fixed"
    fit_theta: bool = False
    num_steps: int = 0
    learning_rate: float = 1e-3
    final_rate: float = 1.0
    lbfgs_steps: int = 0
    solve_last: bool = True
    theta_steps: int = 12
    chunk: int = 500
    dtype: str = "float64"

    def __post_init__(self) -> None:
        choices = {"observation": Observation, "force": Force}
        choices |= {"initial": Initial, "balancing": Balancing}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name}: expected one of {get_args(kind)}, got {getattr(self, name)!r}"
                )
        weights = (self.residual_weight, self.initial_weight, self.interpolation_weight)
        if min(*weights, self.magnitude_penalty, self.penalty or 0.0) < 0.0:
            raise ValueError(f"expected weights and penalties >= 0, got {self}")
        if min(self.points_per_year, self.chunk, self.timescale) <= 0:
            raise ValueError(f"expected points_per_year, chunk, timescale > 0, got {self}")
        if self.penalty is None and not self.solve_last:
            raise ValueError(
                "penalty: cross-validation needs solve_last; give a number, or take one from "
                "choose_penalty or penalty_of_spline"
            )

    def structure(self) -> "PinnConfig":
        """The choices that a compiled program depends on: numbers that it is given are equal."""
        return PinnConfig(
            width=self.width,
            num_blocks=self.num_blocks,
            skips=self.skips,
            num_frequencies=self.num_frequencies,
            observation=self.observation,
            force=self.force,
            initial=self.initial,
            interpolation_weight=float(self.interpolation_weight > 0.0),
            balancing=self.balancing,
        )

    def weights(self) -> tuple[float, ...]:
        """Weights of the terms, in the order of `Rows`; the penalty 0 where it is to be chosen."""
        interpolated = self.interpolation_weight
        initial = self.initial_weight if self.initial == "soft" else 0.0
        penalties = (self.penalty or 0.0, self.magnitude_penalty)
        return (1.0, self.residual_weight, initial, interpolated, *penalties)


class PinnProblem(NamedTuple):
    """What a fit sees.

    Attributes:
        time: of the observations, years, [year].
        features: Taylor coefficients of the networks' inputs at the collocation points, [point,
            input] each.
        observed: inputs at the nodes of the observations, [year * node, input].
        shares: of the nodes in an observation, [node].
        balance: observations, 0 where missing, [year, town].
        weight: 1 / (noise sqrt(number of observations)), 0 where missing, [year, town].
        center, spread: of the observations, unit of the balance, [town].
        force_spread: spread (2 pi / timescale)^2, [town].
        residual: 1 / (noise (2 pi / timescale)^2 sqrt(towns * points)), [town].
        interpolation, magnitude: 1 / (noise sqrt(towns * points)) and 1 / sqrt(towns * points),
            [town].
        initial: 1 / (noise sqrt(towns)) of q and q' (per radian of the timescale), [2, town].
        start: q and q' at the first time, [2, town].
        interpolant: pseudo-data at the collocation points, [point, town].
        forced: 1 where the force is unknown, 0 where there is none, [town]; None: all are unknown.
        constraint: unit vector g of a closed system, g.q = 0, [town]; None: an open one.
        year: row of a stiffness that varies by year, int32 [point].
        first: t0, years, [].
        slope: du/dt, 1/year, [].
    """

    time: Array
    features: Taylor
    observed: Array
    shares: Array
    balance: Array
    weight: Array
    center: Array
    spread: Array
    force_spread: Array
    residual: Array
    interpolation: Array
    magnitude: Array
    initial: Array
    start: Array
    interpolant: Array
    forced: Array | None
    constraint: Array | None
    year: Array
    first: Array
    slope: Array


def networks(config: PinnConfig, num_towns: int, years: float) -> ResidualNetwork:
    """The network of q, and of f, for `num_towns` over an interval of so many years."""
    return ResidualNetwork(
        num_outputs=num_towns,
        width=config.width,
        num_blocks=config.num_blocks,
        frequencies=frequencies(config, years),
        skips=config.skips,
        slope=None if config.unit_years is None else 0.5 * years / config.unit_years,
        dtype=config.dtype,
    )


def frequencies(config: PinnConfig, years: float) -> tuple[float, ...]:
    """Fourier frequencies, radians per unit of u, evenly spaced up to pi rad/year."""
    count = config.num_frequencies
    return tuple(float(0.5 * years * _HIGHEST * j / count) for j in range(1, count + 1))


def pinn_problem(
    time: ArrayLike,
    balance: ArrayLike,
    noise: ArrayLike,
    config: PinnConfig,
    *,
    start: tuple[ArrayLike, ArrayLike] | None = None,
    forced: ArrayLike | None = None,
    constraint: ArrayLike | None = None,
) -> PinnProblem:
    """Data of a fit on its grids, in float64.

    Args:
        time: of the observations, years since the start of the first data year, [year], increasing;
            for means the start of each averaged year.
        balance: observations, [town, year]; NaN where missing.
        noise: standard deviation of an observation, [town] or [], > 0, unit of the balance.
        config: choices.
        start: q and q' at the first time, [town] each, for "soft" and "hard"; None: of a cubic
            not-a-knot spline through the observations.
        forced: bool [town], False where the force is known to be zero; None: nowhere.
        constraint: g of a closed system, g.q = 0, [town]; None: open.

    Returns:
        PinnProblem.

    Raises:
        ValueError: shapes do not fit, times do not increase, noise is not positive, or a town has
            fewer than four observations.
    """
    t, y = np.asarray(time, float), np.asarray(balance, float)
    sigma, known = _checked(t, y, noise)
    num_towns, years = y.shape[0], t[-1] + (config.observation == "mean") - t[0]
    slope = 2.0 / years
    num_points = round(years * config.points_per_year) + 1
    points = np.linspace(t[0], t[0] + years, num_points)
    at, shares = np.zeros(1), np.ones(1)
    if config.observation == "mean":
        nodes, weights = np.polynomial.legendre.leggauss(_MEAN_NODES)
        at, shares = 0.5 * (nodes + 1.0), 0.5 * weights
    observed = (t[:, None] + at[None, :]).reshape(-1)
    spread = np.nanstd(y, axis=1)
    spread = np.where(spread > 0.0, spread, 1.0)
    hard = config.initial == "hard"
    splines = [_spline(t + at.mean(), row) for row in y]
    own = ([f(t[0]) for f in splines], [f(t[0], 1) for f in splines])
    first = own if start is None else start
    rate = 2.0 * np.pi / config.timescale
    size = float(np.sqrt(num_towns * num_points))
    if constraint is not None:
        constraint = np.asarray(constraint, float)
        if constraint.shape != (num_towns,) or not constraint.any():
            raise ValueError(
                f"constraint: expected {num_towns} numbers, not all 0, got {constraint}"
            )
        constraint = constraint / np.linalg.norm(constraint)
    if forced is not None:
        forced = np.asarray(forced, bool)
        if forced.shape != (num_towns,):
            raise ValueError(f"forced: expected bool [{num_towns}], got {forced.shape}")
        forced = None if forced.all() else forced.astype(float)
    waves = frequencies(config, years)
    order = 4 if config.force == "eliminated" else 2
    arrays = {
        "time": t,
        "shares": shares,
        "balance": np.nan_to_num(y).T,
        "weight": known.T / (sigma * np.sqrt(known.sum())),
        "center": np.zeros(num_towns) if hard else np.nanmean(y, axis=1),
        "spread": spread,
        "force_spread": spread * rate**2,
        "residual": 1.0 / (sigma * rate**2 * size),
        "interpolation": 1.0 / (sigma * size),
        "magnitude": np.full(num_towns, 1.0 / size),
        "initial": np.stack([1.0 / sigma, 1.0 / (sigma * rate)]) / np.sqrt(num_towns),
        "start": np.stack([np.broadcast_to(np.asarray(x, float), (num_towns,)) for x in first]),
        "interpolant": np.stack([f(points) for f in splines], axis=1),
        "first": t[0],
        "slope": slope,
    }
    made: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    made |= {"forced": forced, "constraint": constraint}
    return PinnProblem(  # of NumPy arrays: what is prepared once costs no compilation
        features=time_features(slope * (points - t[0]) - 1.0, waves, order),
        observed=time_features(slope * (observed - t[0]) - 1.0, waves)[0],
        year=np.floor(np.minimum(points, points[-1] - 1e-9)).astype(np.int32),
        **made,
    )


def _checked(t: np.ndarray, y: np.ndarray, noise: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    if y.ndim != 2 or t.shape != y.shape[1:]:
        raise ValueError(
            f"expected balance [town, year] and time [year], got {y.shape} and {t.shape}"
        )
    if not np.isfinite(t).all() or (np.diff(t) <= 0.0).any():
        raise ValueError("time: expected increasing years; sort them and drop repetitions")
    sigma = np.broadcast_to(np.asarray(noise, float), y.shape[:1])
    if not (sigma > 0.0).all():
        raise ValueError(f"noise: expected standard deviations > 0, got {sigma}")
    known = np.isfinite(y)
    if known.sum(axis=1).min() < 4:
        raise ValueError("balance: a town needs at least four observations; drop it")
    return sigma, known


def _spline(t: np.ndarray, y: np.ndarray) -> CubicSpline:
    known = np.isfinite(y)
    return CubicSpline(t[known], y[known], bc_type="not-a-knot")
