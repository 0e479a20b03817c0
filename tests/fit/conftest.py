"""A region with known growth, unequal factors and an index of prices."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffmig.fit import Series

YEARS, TRAINING = 12, 8


@pytest.fixture(scope="session")
def region() -> Series:
    """12 years, 8 of them for training: capital, labour and a price index in percent."""
    t = np.arange(YEARS)
    prices = 108.0 + 5.0 * np.sin(1.3 * t)
    capital = 300.0 * 1.06**t * (1.0 + 0.04 * np.sin(2.1 * t))
    labour = 900.0 - 3.0 * t + 7.0 * np.cos(t)
    grp = 0.4 * capital**0.6 * labour**0.4 * np.cumprod(prices / 100.0)
    factors = np.stack([capital, labour, prices], axis=1)
    return Series(jnp.asarray(grp), jnp.asarray(factors), jnp.asarray(prices))
