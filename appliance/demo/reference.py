"""The example's calculation a second time, by numpy alone: no xarray, no Dask, no Zarr, no facility."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# The made field of the example notebook: 180 years of months on a one-degree grid.
MADE_MONTHS, MADE_ROWS, MADE_COLUMNS = 2160, 180, 360


@dataclass(frozen=True)
class Summary:
    """What the notebook calculates: ``mean`` and ``anomaly`` (latitude, longitude), ``series`` (time), all in K."""

    mean: Floats
    anomaly: Floats
    series: Floats


class ComparisonError(RuntimeError):
    """Results that cannot be compared: a shape or a mask of missing values differs."""


def summarise(values: Floats, months: NDArray[np.int64], latitude: Floats) -> Summary:
    """Calculate the notebook's summary.

    Args:
        values: temperatures in K, (time, latitude, longitude), NaN where missing at all times.
        months: calendar month of each time, 1 to 12.
        latitude: degrees north.
    """
    weights = np.broadcast_to(np.cos(np.deg2rad(latitude))[:, None], values.shape[1:])
    there = ~np.isnan(values[0])
    area = (values[:, there] * weights[there]).sum(axis=1) / weights[there].sum()
    latest = values[months == months[-1]].mean(axis=0)
    return Summary(mean=values.mean(axis=0), anomaly=values[-1] - latest, series=_without_season(area, months))


def of_file(path: Path, variable: str = "surface_temperature") -> Summary:
    """Summarise ``variable`` of the NetCDF file ``path``, in float64."""
    import netCDF4

    with netCDF4.Dataset(path) as file:
        data = file[variable]
        values = np.ma.filled(data[:].astype("float64"), np.nan)
        times: Any = netCDF4.num2date(file["time"][:], file["time"].units, file["time"].calendar)
        latitude = np.ma.filled(file["latitude"][:].astype("float64"), np.nan)
    return summarise(values, np.array([time.month for time in times]), latitude)


def of_made() -> Summary:
    """Summarise the made field of the example notebook, row by row (6 MB at a time instead of 1 GiB)."""
    month = np.arange(float(MADE_MONTHS))
    months = np.arange(MADE_MONTHS) % 12 + 1
    latitude = np.linspace(-89.5, 89.5, MADE_ROWS)
    longitude = np.linspace(0.5, 359.5, MADE_COLUMNS)
    mean, anomaly = np.empty((2, MADE_ROWS, MADE_COLUMNS))
    area = np.zeros(MADE_MONTHS)
    for row, degrees in enumerate(latitude):
        values = _made_row(month, degrees, longitude)
        mean[row] = values.mean(axis=0)
        anomaly[row] = values[-1] - values[months == months[-1]].mean(axis=0)
        area += values.mean(axis=1) * np.cos(np.deg2rad(degrees))
    return Summary(mean, anomaly, _without_season(area / np.cos(np.deg2rad(latitude)).sum(), months))


def largest_error(reference: Summary, results: Path) -> float:
    """Return the largest absolute difference in K between a summary and the notebook's NetCDF file of it.

    Raises:
        ComparisonError: a variable is missing, is not float64, or has another shape or other missing values.
    """
    import netCDF4

    largest = 0.0
    with netCDF4.Dataset(results) as file:
        for name in ("mean", "anomaly", "series"):
            if name not in file.variables:
                raise ComparisonError(f"{results}: holds no variable {name!r}")
            wanted = getattr(reference, name)
            found = np.ma.filled(file[name][:], np.nan)
            if found.dtype != np.float64 or found.shape != wanted.shape:
                raise ComparisonError(
                    f"{results}: {name} is {found.dtype} of shape {found.shape}; numpy has float64 of {wanted.shape}"
                )
            if not np.array_equal(np.isnan(found), np.isnan(wanted)):
                raise ComparisonError(f"{results}: {name} is missing at other places than in numpy's calculation")
            largest = max(largest, float(np.nanmax(np.abs(found - wanted))))
    return largest


def _without_season(series: Floats, months: NDArray[np.int64]) -> Floats:
    """Take from each value the mean of its calendar month."""
    season = {month: series[months == month].mean() for month in np.unique(months)}
    without: Floats = series - np.array([season[month] for month in months])
    return without


def _made_row(month: Floats, latitude: float, longitude: Floats) -> Floats:
    """The notebook's made field at one latitude, in K, (time, longitude)."""
    season = 3 * np.sin(2 * np.pi * month / 12) * np.sin(np.deg2rad(latitude))
    weather = np.sin(12.9898 * month[:, None] + 78.233 * latitude + 37.719 * longitude) * 43758.5453 % 1
    currents = 3 * np.cos(np.deg2rad(latitude)) * np.sin(np.deg2rad(2 * longitude + 1.5 * latitude))
    smooth = (273.15 + 28 * np.cos(np.deg2rad(latitude)) ** 2 + season + month * 0.02 / 12)[:, None]
    field: Floats = smooth + currents + weather
    return field
