"""What every estimator of the external force returns."""

from typing import NamedTuple

from jax import Array


class ForceEstimate(NamedTuple):
    """External force f and motion q with q'' + c q' + K q = f, on a grid of times.

    Attributes:
        time: years since the start of the first observed year, [time].
        balance: q, [town, time], unit of the data.
        velocity: q', [town, time], unit of the data per year.
        force: f, [town, time], unit of the data per year^2.
        balance_sd: posterior standard deviation of q, [town, time]; NaN where the method has none.
        force_sd: posterior standard deviation of f, [town, time]; NaN where the method has none.
    """

    time: Array
    balance: Array
    velocity: Array
    force: Array
    balance_sd: Array
    force_sd: Array
