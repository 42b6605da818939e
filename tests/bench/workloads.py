"""What the locality benchmark computes: lazy xarray in, lazy xarray out. Run in the notebook's Python, as a user's is.

Every workload takes one dataset of `datasets.py`, or two of them.
"""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr


def mean(first: xr.Dataset) -> xr.DataArray:
    """The mean of everything: each chunk becomes a number."""
    return first.t.mean()


def climatology(first: xr.Dataset) -> xr.DataArray:
    """The mean map of each calendar month, by flox."""
    return first.t.groupby("time.month").mean()


def series(first: xr.Dataset) -> xr.DataArray:
    """The time series of one point: all of each chunk is read for a few numbers."""
    return first.t.isel(y=first.sizes["y"] // 2, x=first.sizes["x"] // 3)


def difference(first: xr.Dataset, second: xr.Dataset) -> xr.DataArray:
    """Two datasets, chunk against chunk: one of the two is on other hosts as often as not."""
    return (first.t - second.t).mean()


def rolling(first: xr.Dataset) -> xr.DataArray:
    """A running mean over five days: neighbours exchange their edges."""
    return first.t.rolling(time=5).mean().mean()


def rechunk(first: xr.Dataset) -> xr.DataArray:
    """From maps to time series, of half the data: every chunk meets every other, and locality of reads cannot help."""
    half = first.t.isel(time=slice(first.sizes["time"] // 2))
    return half.chunk(time=-1, y=first.sizes["y"] // 8).std("time").mean()


def hot(first: xr.Dataset) -> xr.DataArray:
    """One eighth of the chunks, read eight times over, each time a day further on."""
    steps = first.sizes["time"]
    plain = first.t
    parts = [plain.isel(time=slice(day, steps // 8 - 8 + day)).mean() for day in range(8)]
    return sum(parts[1:], parts[0])


def slow(first: xr.Dataset) -> xr.DataArray:
    """The mean of everything, while one of the storage hosts is slow."""
    return mean(first)


WORKLOADS: dict[str, Callable[..., xr.DataArray]] = {
    work.__name__: work for work in (mean, climatology, series, difference, rolling, rechunk, hot, slow)
}
