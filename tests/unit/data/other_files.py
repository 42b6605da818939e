"""Files of other formats than NetCDF's: GRIB by ecCodes, GeoTIFF by GDAL."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import findlibs
import numpy as np

from appliance.data import grib_libraries

grib_libraries.install(findlibs)

import eccodes  # noqa: E402  # its libraries are loaded as it is imported
import rasterio  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402

GRID = {
    "Ni": 8,
    "Nj": 6,
    "latitudeOfFirstGridPointInDegrees": 50,
    "latitudeOfLastGridPointInDegrees": 0,
    "longitudeOfFirstGridPointInDegrees": 0,
    "longitudeOfLastGridPointInDegrees": 70,
    "iDirectionIncrementInDegrees": 10,
    "jDirectionIncrementInDegrees": 10,
}


def message(values: np.ndarray, edition: int = 2, missing: tuple[int, ...] = (), **keys: Any) -> bytes:
    """A message of GRIB; ``missing`` are the places of values that are not there."""
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_pl_grib{edition}")
    try:
        for key, value in {**GRID, "bitsPerValue": 16, **keys}.items():
            eccodes.codes_set(handle, key, value)
        values = values.astype("f8").ravel()
        if missing:
            eccodes.codes_set(handle, "bitmapPresent", 1)
            eccodes.codes_set(handle, "missingValue", 1e20)
            values[list(missing)] = 1e20
        eccodes.codes_set_values(handle, values)
        return bytes(eccodes.codes_get_message(handle))
    finally:
        eccodes.codes_release(handle)


def fields(seed: int = 1, edition: int = 2, first: int = 20200101, days: int = 3, **keys: Any) -> list[bytes]:
    """Messages of two variables on two levels, a day after the other."""
    rng = np.random.default_rng(seed)
    return [
        message(
            rng.normal(280, 5, 48),
            edition,
            missing=(seed, 7) if day == 1 else (),
            **{"shortName": name, "dataDate": first + day, "level": level, **keys},
        )
        for name, day, level in product(("t", "u"), range(days), (500, 850))
    ]


def of_one_message(messages: list[bytes]) -> bytes:
    """Fields of edition 2 on one grid and of one moment as those of a single message."""
    body = b""
    for number, each in enumerate(messages):
        place = 16
        while each[place : place + 4] != b"7777":
            length, section = int.from_bytes(each[place : place + 4], "big"), each[place + 4]
            if number == 0 or section >= 4:
                body += each[place : place + length]
            place += length
    return messages[0][:8] + (16 + len(body) + 4).to_bytes(8, "big") + body + b"7777"


def picture(path: Path, bands: int = 2, dtype: str = "int16", nodata: float | None = -9999, **options: Any) -> None:
    """A GeoTIFF of tiles, with a hole in its first band."""
    values = np.random.default_rng(bands).integers(0, 200, (bands, 100, 150)).astype(dtype)
    if nodata is not None:
        values[0, 10:20, 30:40] = nodata
    scales, offsets, tags = (options.pop(name, None) for name in ("scales", "offsets", "tags"))
    profile = {
        **{"driver": "GTiff", "height": 100, "width": 150, "count": bands, "dtype": dtype, "nodata": nodata},
        **{"crs": "EPSG:32633", "transform": from_origin(500_000, 5_600_000, 30, 30), "compress": "deflate"},
        **{"tiled": True, "blockxsize": 64, "blockysize": 64},
    }
    with rasterio.open(path, "w", **{**profile, **options}) as file:
        file.write(values)
        file.set_band_description(1, "first")
        if scales:
            file.scales, file.offsets = scales, offsets
        if tags:
            file.update_tags(**tags)
