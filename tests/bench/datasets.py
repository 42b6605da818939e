"""The benchmark's data: one made field, as Zarr and as NetCDF files in place. Run in the notebook's Python.

A field is float32 ``t`` (time, y, x), daily from 1950, chunked along time alone, without compression in both formats.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import fsspec
import numpy as np
import xarray as xr

from appliance.data import upload, virtual_store, virtualize

ROWS, COLUMNS = 256, 512
STEP_BYTES = ROWS * COLUMNS * 4
FILE_MIB = 64  # of values in a NetCDF file: one RADOS object, and a little of another
MADE = b"field 1"  # what stands beside complete data; another field is another number


def make(total_mib: int, chunk_mib: int, seed: float) -> xr.Dataset:
    """Return a lazy dataset of ``total_mib`` MiB in chunks of ``chunk_mib`` MiB: ``t`` in K."""
    steps, per_chunk = total_mib * 2**20 // STEP_BYTES, chunk_mib * 2**20 // STEP_BYTES
    day = xr.DataArray(
        np.arange(steps, dtype="float32"),
        dims="time",
        coords={"time": xr.date_range("1950-01-01", periods=steps, freq="D")},
    ).chunk(time=per_chunk)
    y = xr.DataArray(np.linspace(-89, 89, ROWS, dtype="float32"), dims="y")
    x = xr.DataArray(np.linspace(0, 359, COLUMNS, dtype="float32"), dims="x")
    season = 10 * np.sin(day * np.float32(2 * np.pi / 365)) * np.sin(np.deg2rad(y))
    weather = np.sin(day * np.float32(12.9898) + y * np.float32(78.233) + x * np.float32(seed))
    return (np.float32(280) + season + weather).astype("float32").to_dataset(name="t")


def provide(url: str, total_mib: int, chunk_mib: int, seed: float) -> bool:
    """Write a field to an address, as Zarr or (``….json``) as NetCDF files in place, unless it is there.

    Returns whether it had to be written.
    """
    files, mark = fsspec.filesystem("s3"), f"{url}.made"
    if files.exists(mark) and files.cat_file(mark) == MADE:
        return False
    for left in (url, mark, _folder(url)):
        if files.exists(left):
            files.rm(left, recursive=True)
    field = make(total_mib, chunk_mib, seed)
    if url.endswith(".json"):
        _write_netcdf(field, url)
    else:
        field.to_zarr(url, mode="w", encoding={"t": {"compressors": None}})
    files.pipe_file(mark, MADE)
    return True


def _folder(url: str) -> str:
    return url.removesuffix(".json") + "-files"


def _write_netcdf(field: xr.Dataset, url: str) -> None:
    """Write files, upload them and describe them, with the facility's own tools as a researcher does."""
    steps, per_chunk = FILE_MIB * 2**20 // STEP_BYTES, field.chunks["time"][0]
    encoding = {
        "t": {"chunksizes": (per_chunk, ROWS, COLUMNS)},
        "time": {"units": "days since 1950-01-01", "dtype": "float64"},
    }
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        for number, start in enumerate(range(0, field.sizes["time"], steps)):
            file = Path(folder) / f"{number:03}.nc"
            field.isel(time=slice(start, start + steps)).compute().to_netcdf(file, encoding=encoding)
            upload([file], _folder(url))
            file.unlink()
    virtualize(f"{_folder(url)}/*.nc", url)


def opened(url: str, chunked: bool = True) -> xr.Dataset:
    """Open a field as a researcher does."""
    return xr.open_zarr(virtual_store(url) if url.endswith(".json") else url, chunks={} if chunked else None)
