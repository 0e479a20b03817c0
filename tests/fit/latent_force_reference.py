"""Latent force model by quadrature in NumPy: no filter, no state space, no JAX in the numbers."""

import numpy as np

PER_PANEL = 24  # Gauss nodes in half a year
HALF = 0.5


def response(values, damping, end):
    """G, its derivative and its integral at times end >= 0, [mode, ...], underdamped modes."""
    values = np.asarray(values)[:, None]
    t = np.maximum(np.ravel(end), 0.0)[None, :]
    w = np.sqrt(values - damping**2 / 4)
    decay = np.exp(-damping * t / 2)
    g = decay * np.sin(w * t) / w
    rate = decay * (np.cos(w * t) - damping / (2 * w) * np.sin(w * t))
    total = (1 - rate - damping * g) / values
    shape = (values.shape[0], *np.shape(end))
    on = np.ravel(end)[None, :] >= 0
    return tuple((x * on).reshape(shape) for x in (g, rate, total))


def matern(order, lag, length_scale):
    x = np.sqrt(2 * order + 1) * np.abs(lag) / length_scale
    return np.exp(-x) * (1, 1 + x, 1 + x + x**2 / 3)[order]


def nodes(num_years):
    """Times and weights of quadrature over all half years."""
    x, w = np.polynomial.legendre.leggauss(PER_PANEL)
    start = np.arange(0, num_years, HALF)[:, None]
    return (start + HALF * (x + 1) / 2).ravel(), np.tile(w * HALF / 2, start.size)


def columns(stiffness, damping, start, stop, time):
    """Mean over [start, stop] (value where equal) of q under q0, v0 and a push at `time`.

    Returns [town, 2 + time, town]: of the state of every town at 0 and of its force at `time`.
    """
    values, vectors = np.linalg.eigh(stiffness)
    since = np.concatenate([[0.0], time])
    if stop > start:
        upper, lower = (response(values, damping, x - since) for x in (stop, start))
        push = (upper[2] - lower[2]) / (stop - start)
        first = (upper[0] - lower[0])[:, 0] / (stop - start)
    else:
        g, rate, _ = response(values, damping, stop - since)
        push, first = g, rate[:, 0]
    free = np.stack([first + damping * push[:, 0], push[:, 0]], axis=1)
    parts = np.concatenate([free, push[:, 1:]], axis=1)
    return np.einsum("im,mk,jm->ikj", vectors, parts, vectors)


class Reference:
    """Joint covariance of forces at nodes, of the state at 0 and of observations."""

    def __init__(self, stiffness, damping, scales, order, events, start_sd, level=False):
        self.num_towns = len(stiffness)
        num_years = max(stop for _, stop in events)
        self.time, self.weight = nodes(int(np.ceil(num_years)))
        self.order, self.scales, self.start_sd, self.level = order, scales, start_sd, level
        self.dynamics = (stiffness, damping)
        self.rows = np.concatenate([self.row(*event) for event in events])
        self.prior = self.covariance(self.time, self.time)

    def covariance(self, a, b):
        kernel = self.scales[1] ** 2 * matern(self.order, a[:, None] - b[None, :], self.scales[0])
        return kernel + (self.start_sd**2 if self.level else 0.0)

    def row(self, start, stop):
        """[town, 2 + node, town] with quadrature weights."""
        parts = columns(*self.dynamics, start, stop, self.time)
        return parts * np.concatenate([[1, 1], self.weight])[None, :, None]

    def joint(self, left, right):
        """Covariance of rows [row, 2 + node, town]."""
        free = self.start_sd**2 * np.einsum("rkj,skj->rs", left[:, :2], right[:, :2])
        forced = np.einsum("rtj,tu,suj->rs", left[:, 2:], self.prior, right[:, 2:])
        return free + forced

    def with_force(self, moment, town):
        """Covariance of the force of a town at a moment with all observations."""
        kernel = self.covariance(np.array([moment]), self.time)[0]
        return self.rows[:, 2:, town] @ kernel
