"""Human capital in time and age: transport on characteristics, demography, spending, balances."""

from diffmig.human_capital.cells import exponential_step, phi1, phi2
from diffmig.human_capital.transport import (
    age_totals,
    mid_values,
    transport,
    transport_smooth,
    transport_totals,
)

__all__ = [
    "age_totals",
    "exponential_step",
    "mid_values",
    "phi1",
    "phi2",
    "transport",
    "transport_smooth",
    "transport_totals",
]
