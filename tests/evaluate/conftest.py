"""Table 1 of the GRP paper as plain columns."""

import numpy as np
import pytest

from diffmig.data import load_table


@pytest.fixture(scope="session")
def grp() -> dict[str, np.ndarray]:
    """Column name -> 24 years, 2000-2023, as printed (deflator of 2023: 118.8)."""
    panel = load_table("grp_udmurt", corrected=False)
    assert panel.mask.all()
    assert list(panel.years) == list(range(2000, 2024))
    return dict(zip(panel.names, panel.values[0].T, strict=True))
