"""How a series of years is shown to a network: run through, in windows, or side by side."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


@dataclass(frozen=True)
class Layout:
    """How inputs reach the network.

    Attributes:
        kind: "sequence" runs the state through all years; "window" restarts it and reads the last
            `lookback` years; "stacked" puts `lookback` years side by side as factors (feed-forward
            networks).
        lookback: years read, window and stacked only.
        lag: the output of year t reads inputs up to year t - lag, years; the first input is read
            again where t - lag lies before the data, so a sequence starts with repeated inputs.
    """

    kind: Literal["sequence", "window", "stacked"] = "sequence"
    lookback: int = 1
    lag: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("sequence", "window", "stacked"):
            raise ValueError(f"kind: expected sequence, window or stacked, got {self.kind!r}")
        if self.lookback < 1 or self.lag < 0:
            raise ValueError(
                f"expected lookback >= 1 and lag >= 0, got {self.lookback}, {self.lag}"
            )
        if self.kind == "sequence" and self.lookback != 1:
            raise ValueError(
                "a sequence reads all earlier years: leave lookback at 1 or take windows"
            )


def first_valid_year(layout: Layout) -> int:
    """Number of years at the start whose inputs would lie before the data, years."""
    return layout.lag + layout.lookback - 1


def _read_years(num_years: int, layout: Layout) -> np.ndarray:
    """Year indices read for every output, [year, lookback]; years before the data repeat the
    first."""
    last = np.arange(num_years)[:, None] - layout.lag
    return np.maximum(last - np.arange(layout.lookback - 1, -1, -1)[None, :], 0)


def predict(network: nn.Module, params: Any, x: Array, units: Array, layout: Layout) -> Array:
    """Scaled outputs of every year, [year].

    Args:
        network: module of this chapter.
        params: its weights.
        x: scaled factors, [year, factor].
        units: true units of every layer, [layer].
        layout: how the years reach the network.

    Returns:
        outputs, [year]; the first `first_valid_year(layout)` rows rest on repeated inputs and are
        for masking out.

    Notes:
        Differentiable in params and x. Row t reads x up to year t - lag and nothing later.
    """
    read = _read_years(x.shape[0], layout)
    if layout.kind == "sequence":
        return cast(Array, network.apply(params, x[read[:, 0]], units))
    if layout.kind == "stacked":
        return cast(Array, network.apply(params, x[read].reshape(x.shape[0], -1), units))
    windows = x[read]  # [year, lookback, factor]
    return jax.vmap(lambda window: cast(Array, network.apply(params, window, units))[-1])(windows)


@partial(jax.jit, static_argnums=(1, 2, 4))
def init_network(
    key: Array, network: nn.Module, num_factors: int, units: Array, layout: Layout
) -> Any:
    """Initial weights of `network` for `num_factors` factors in `layout`."""
    columns = num_factors * (layout.lookback if layout.kind == "stacked" else 1)
    return network.init(key, jnp.zeros((1, columns), jnp.dtype(network.dtype)), units)
