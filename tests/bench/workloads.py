"""What the locality benchmark computes: lazy xarray in, lazy xarray out. Run in the notebook's Python, as a user's is.

Every workload takes one dataset of `datasets.py`, or two of them, in chunks as stored, or (``UNCHUNKED``) not yet cut.
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
    """Eight bands of latitude, of the first eighth of the time: each band reads the same few objects anew."""
    steps, band = first.sizes["time"] // 8, first.sizes["y"] // 8
    chunk = {"time": first.t.encoding["preferred_chunks"]["time"]}
    bands = [first.t.isel(time=slice(steps), y=slice(south, south + band)) for south in range(0, 8 * band, band)]
    means = [values.chunk(chunk).mean() for values in bands]
    return sum(means[1:], means[0])


def slow(first: xr.Dataset) -> xr.DataArray:
    """The mean of everything, while one of the storage hosts is slow."""
    return mean(first)


WORKLOADS: dict[str, Callable[..., xr.DataArray]] = {
    work.__name__: work for work in (mean, climatology, series, difference, rolling, rechunk, hot, slow)
}
# Cut into tasks by the workload itself: what two tasks read is otherwise read once.
UNCHUNKED = ("hot",)
