"""What the NetCDF files of these tests hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr


def year(number: int, days: int = 12) -> xr.Dataset:
    """One file's worth of a daily field, which differs from file to file, on a static grid."""
    rng = np.random.default_rng(number)
    time = pd.date_range(f"200{number}-01-01", periods=days)
    return xr.Dataset(
        {"t": (("time", "y", "x"), rng.normal(280, 5, (days, 6, 8)).round(3))},
        coords={"time": time, "lat": (("y", "x"), np.arange(48.0).reshape(6, 8)), "x": np.arange(8.0)},
    )


PACKED = {"chunksizes": (4, 6, 8), "zlib": True, "dtype": "i4", "scale_factor": 0.001, "_FillValue": -1}
