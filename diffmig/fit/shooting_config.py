"""Choices of a shooting fit."""

from dataclasses import dataclass
from typing import Literal, get_args

from diffmig.migration.solve import SolverConfig

Force = Literal["spline", "network"]
Solver = Literal["diffrax", "propagator"]
Observation = Literal["mean", "point"]

_MEAN_STEPS = 4  # per year: the error of a mean by Hermite's rule is 5e-6 of q''''
_INTEGRATION = SolverConfig(rtol=1e-6, atol=1e-8)


@dataclass(frozen=True)
class ShootingConfig:
    """Choices of a shooting fit.

    Force:
    force: "spline": cubic, coefficients per town; "network": of time, one output per town.
    knots_per_year: polynomial pieces of a spline, 1/year.
    width, num_blocks: units of a hidden layer of the network, hidden layers.
    skips: residual blocks; False: a plain perceptron.
    unit_years: time, years, over which a unit of the first layer rises at the start.
    train_hidden: all weights of the network are fitted; False: the last layer, over hidden units
        spread in time.

    Motion:
    observation: a balance is the "mean" of q over its year, or its "point" value.
    offset: of point values, years from the start of their year; the estimate starts at the first.
    solver: "diffrax": adaptive Runge-Kutta steps, any acceleration; "propagator": exact, for
        motions q'' + c q' + K q = f.
    integration: of "diffrax". Gradients of the loss by hundreds of unknowns need reverse mode:
        "checkpointed" stores a state for every step up to `checkpoints` of them and then takes
        three to five times as long as the motion alone; "direct" costs more with `max_steps`;
        "forward" has no reverse mode and is refused.
    num_per_year: times of the result, 1/year, a multiple of `knots_per_year`.
    bands: standard deviations of q and f, for splines; work grows as the fourth power of the number
        of towns: a second at 30, minutes at 200.

    Search:
    fit_theta: parameters of the dynamics are fitted as well; otherwise they are frozen.
    max_steps: of L-BFGS, one motion and its gradient each.
    memory: pairs of L-BFGS.
    tolerance: largest component of the gradient at which the search ends, 1; the gradient is scaled
        so that its square is the decrease still to come, relative to the loss of a smoothing
        spline.
    """

    force: Force = "spline"
    knots_per_year: int = 1
    width: int = 32
    num_blocks: int = 2
    skips: bool = True
    unit_years: float = 2.5
    train_hidden: bool = False
    observation: Observation = "mean"
    offset: float = 0.0
    solver: Solver = "diffrax"
    integration: SolverConfig = _INTEGRATION
    num_per_year: int = 10
    bands: bool = True
    fit_theta: bool = False
    max_steps: int = 500
    memory: int = 10
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        choices = {"force": Force, "solver": Solver, "observation": Observation}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name}: expected one of {get_args(kind)}, got {getattr(self, name)!r}"
                )
        if not 0.0 <= self.offset < 1.0 or (self.offset and self.observation == "mean"):
            raise ValueError(
                f"offset: expected a number in [0, 1), and 0 for means, got {self.offset}"
            )
        counts = (self.knots_per_year, self.width, self.num_blocks, self.max_steps, self.memory)
        if min(counts) < 1:
            raise ValueError(f"expected counts >= 1, got {self}")
        if self.num_per_year < 1 or self.num_per_year % self.knots_per_year:
            raise ValueError(
                f"num_per_year: expected a multiple of knots_per_year = {self.knots_per_year}, got "
                f"{self.num_per_year}"
            )
        if not min(self.unit_years, self.tolerance) > 0.0:
            raise ValueError(f"expected unit_years and tolerance > 0, got {self}")
        if self.train_hidden and self.force == "spline":
            raise ValueError("train_hidden: a spline has no hidden layers; force='network' has")
        if self.integration.adjoint == "forward":
            raise ValueError(
                "integration: adjoint 'forward' has no reverse mode; expected 'checkpointed' or "
                "'direct'"
            )

    @property
    def steps_per_year(self) -> int:
        """Of the times at which the search looks at the motion."""
        pieces = self.knots_per_year if self.force == "spline" else 2
        return pieces * (_MEAN_STEPS if self.observation == "mean" else 1)

    def span(self, num_years: int) -> int:
        """Length of the motion, years."""
        return num_years - int(self.observation == "point")
