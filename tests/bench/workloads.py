"""What the locality benchmark computes: lazy xarray in, lazy xarray out. Run in the notebook's Python, as a user's is.

Every workload takes one dataset of float32 ``t`` (time, y, x), or two of them, chunked along time alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

ROWS, COLUMNS = 256, 512
STEP_BYTES = ROWS * COLUMNS * 4


def make(total_mib: int, chunk_mib: int, seed: float) -> xr.Dataset:
    """Return a lazy dataset of ``total_mib`` MiB in chunks of ``chunk_mib`` MiB, daily from 1950: ``t`` in K."""
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


def mean(first: xr.Dataset) -> xr.DataArray:
    """The mean of everything: each chunk becomes a number."""
    return first.t.mean()


def climatology(first: xr.Dataset) -> xr.DataArray:
    """The mean map of each calendar month, by flox."""
    return first.t.groupby("time.month").mean()


def series(first: xr.Dataset) -> xr.DataArray:
    """The time series of one point: all of each chunk is read for a few numbers."""
    return first.t.isel(y=ROWS // 2, x=COLUMNS // 3)


def difference(first: xr.Dataset, second: xr.Dataset) -> xr.DataArray:
    """Two datasets, chunk against chunk: one of the two is on other hosts as often as not."""
    return (first.t - second.t).mean()


def rolling(first: xr.Dataset) -> xr.DataArray:
    """A running mean over five days: neighbours exchange their edges."""
    return first.t.rolling(time=5).mean().mean()


def rechunk(first: xr.Dataset) -> xr.DataArray:
    """From maps to time series: every chunk meets every other, and locality of reads cannot help."""
    return first.t.chunk(time=-1, y=ROWS // 8).std("time").mean()


def hot(first: xr.Dataset) -> xr.DataArray:
    """One eighth of the chunks, read eight times over, each time a day further on."""
    steps = first.sizes["time"]
    plain = first.t
    parts = [plain.isel(time=slice(day, steps // 8 - 8 + day)).mean() for day in range(8)]
    return sum(parts[1:], parts[0])


WORKLOADS: dict[str, Callable[..., xr.DataArray]] = {
    work.__name__: work for work in (mean, climatology, series, difference, rolling, rechunk, hot)
}
