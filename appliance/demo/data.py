"""The example's data: the NetCDF files that are there, or one that the project makes with the same layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MADE_FILE = "ostia_monthly.nc"
FILL_VALUE = 1e20
_HOURS_A_DAY = 24


def example_files(directory: Path) -> list[Path]:
    """Return the NetCDF files of ``directory`` in order; where there is none, make one first."""
    found = sorted(directory.glob("*.nc"))
    return found or [make_sst(directory / MADE_FILE)]


def make_sst(path: Path, months: int = 54) -> Path:
    """Write monthly sea surface temperature of the tropical belt to ``path`` and return it.

    The layout is that of the Met Office's OSTIA sample: float32 K of (time, latitude 18, longitude 432), monthly from
    April 2006, land missing. The values are a smooth field with a season, a slow swing and small-scale weather, all of
    them a function of place and time, so that the same file comes out everywhere. The file appears whole or not at all.
    """
    import netCDF4

    latitude = (-5 + np.arange(18) * (10 / 18)).astype("float32")
    longitude = (np.arange(432) * (360 / 432)).astype("float32")
    starts = np.datetime64("2006-04") + np.arange(months + 1)
    hours = (starts.astype("datetime64[h]") - np.datetime64("1970-01-01T00", "h")).astype("int64")
    middles = (hours[:-1] + hours[1:]) // (2 * _HOURS_A_DAY) * _HOURS_A_DAY

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with netCDF4.Dataset(draft, "w", format="NETCDF4") as file:
            file.setncatts(
                {
                    "Conventions": "CF-1.5",
                    "title": "Made sea surface temperature with the layout of OSTIA; no observation",
                    "history": "made by appliance.demo.data",
                }
            )
            file.createDimension("time", None)
            for name, size in (("latitude", latitude.size), ("longitude", longitude.size), ("bnds", 2)):
                file.createDimension(name, size)
            units = "hours since 1970-01-01 00:00:00"
            _write(
                file,
                "time",
                ("time",),
                middles.astype("float64"),
                units=units,
                calendar="gregorian",
                bounds="time_bnds",
            )
            _write(file, "time_bnds", ("time", "bnds"), np.stack([hours[:-1], hours[1:]], axis=1).astype("float64"))
            _write(file, "latitude", ("latitude",), latitude, units="degrees_north", standard_name="latitude")
            _write(file, "longitude", ("longitude",), longitude, units="degrees_east", standard_name="longitude")
            sst = _field(np.arange(months), latitude, longitude)
            names = ("time", "latitude", "longitude")
            _write(file, "surface_temperature", names, sst, standard_name="surface_temperature", units="K")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _write(file: Any, name: str, dimensions: tuple[str, ...], values: NDArray[Any], **attributes: str) -> None:
    fill = FILL_VALUE if name == "surface_temperature" else None
    variable = file.createVariable(name, values.dtype, dimensions, fill_value=fill, zlib=fill is not None)
    variable.setncatts(attributes)
    variable[:] = values


def _field(month: NDArray[Any], latitude: NDArray[Any], longitude: NDArray[Any]) -> NDArray[np.float32]:
    """Return made temperatures in K, float32 of (month, latitude, longitude), with ``FILL_VALUE`` on land."""
    t, y, x = np.meshgrid(
        month.astype("float64"), latitude.astype("float64"), longitude.astype("float64"), indexing="ij"
    )
    season = 1.2 * np.cos(2 * np.pi * (t - y / 4) / 12)
    swing = 1.5 * np.sin(2 * np.pi * t / 41) * np.exp(-(((x - 215) / 45) ** 2))
    weather = 0.3 * np.sin(x / 7 + 3 * t) * np.cos(y + 5 * t)
    sst = 300.5 + 1.5 * np.sin(np.deg2rad(x - 100)) - 0.03 * y**2 + season + swing + weather
    land = ((x > 10) & (x < 42)) | ((x > 280) & (x < 310)) | (np.abs(x - 110) < 8) & (np.abs(y) < 4)
    return np.where(land, FILL_VALUE, sst).astype("float32")
