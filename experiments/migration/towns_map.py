"""The 27 single-industry towns of Kazakhstan with their printed balances, as a map."""

import numpy as np
import pandas as pd

from diffmig import data

SOURCE = "printed forecasts of the towns paper, table 4; coordinates: GeoNames, CC BY 4.0"


def towns_frame() -> pd.DataFrame:
    """Printed balances, persons a year, a panel per year; the two towns in thousands corrected."""
    towns, panel = data.load_kz_towns(), data.load_kz_towns_balances(corrected=True)
    balance = data.variable(panel, panel.names[0])
    frames = [
        pd.DataFrame(
            {
                "place": panel.places,
                "latitude": towns.loc[list(panel.places), "latitude"].to_numpy(),
                "longitude": towns.loc[list(panel.places), "longitude"].to_numpy(),
                "value": balance[:, k],
                "panel": str(year),
            }
        )
        for k, year in enumerate(panel.years)
        if year in (panel.years[0], panel.years[-1])
    ]
    return pd.concat(frames, ignore_index=True)


def largest(frame: pd.DataFrame, count: int = 6) -> tuple[str, ...]:
    """Towns with the largest printed balances of either sign."""
    size = frame.groupby("place")["value"].agg(lambda x: np.abs(x).max())
    return tuple(size.nlargest(count).index)
