"""Thirty analyses as climate researchers write them, each forecast and then run. In the notebook's Python, as a user's.

Each takes a dictionary of datasets: ``a`` and ``b`` (Zarr, compressed, chunked along time), ``sharded`` (the same as
``a``, in shards), ``netcdf`` (files in place, by kerchunk's references) and ``icechunk`` (the same files).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import fsspec
import numpy as np
import xarray as xr

import appliance.compute
from appliance.data import virtual_store

Data = Mapping[str, xr.Dataset]
ANALYSES: dict[str, Callable[[Data], Any]] = {
    "mean of all": lambda d: d["a"].t.mean(),
    "mean over time": lambda d: d["a"].t.mean("time"),
    "mean over space": lambda d: d["a"].t.mean(("y", "x")),
    "maximum over time": lambda d: d["a"].t.max("time"),
    "standard deviation over time": lambda d: d["a"].t.std("time"),
    "day of the maximum": lambda d: d["a"].t.argmax("time"),
    "climatology": lambda d: d["a"].t.groupby("time.month").mean(),
    "anomalies": lambda d: (d["a"].t.groupby("time.month") - d["a"].t.groupby("time.month").mean()).std("time"),
    "seasonal variance": lambda d: d["a"].t.groupby("time.season").var(),
    "weekly means": lambda d: d["a"].t.resample(time="7D").mean().mean(("y", "x")),
    "running mean": lambda d: d["a"].t.rolling(time=5).mean().mean(),
    "mean weighted by area": lambda d: d["a"].t.weighted(np.cos(np.deg2rad(d["a"].y))).mean(),
    "quantile": lambda d: d["a"].t.chunk(time=-1, y=d["a"].sizes["y"] // 8).quantile(0.9, "time").mean(),
    "rechunk to series": lambda d: d["a"].t.chunk(time=-1, y=d["a"].sizes["y"] // 8).std("time").mean(),
    "coarsen": lambda d: d["a"].t.coarsen(y=4, x=4).mean().std("time"),
    "days above a threshold": lambda d: (d["a"].t > 285).sum("time"),
    "masked mean": lambda d: d["a"].t.where(d["a"].y > 0).mean("time"),
    "sum so far": lambda d: d["a"].t.cumsum("time").max(),
    "day to day changes": lambda d: abs(d["a"].t.diff("time")).mean(),
    "difference of two": lambda d: (d["a"].t - d["b"].t).mean(),
    "correlation of two": lambda d: xr.corr(d["a"].t, d["b"].t, "time"),
    "series of a point": lambda d: d["a"].t.isel(y=d["a"].sizes["y"] // 2, x=d["a"].sizes["x"] // 3),
    "mean of a region": lambda d: d["a"].t.isel(y=slice(0, 40), x=slice(10, 90)).mean(("y", "x")),
    "every tenth day": lambda d: d["a"].t.isel(time=slice(None, None, 10)).mean("time"),
    "regrid": lambda d: xr.dot(xr.dot(d["a"].t, _weights(d["a"], "y")), _weights(d["a"], "x")).mean(),
    "histogram": lambda d: da.histogram(d["a"].t.data, bins=100, range=(200, 350))[0],
    "principal components": lambda d: da.linalg.svd_compressed(_flat(d["a"].t), 5, seed=1)[1],
    "NetCDF files in place": lambda d: d["netcdf"].t.std("time"),
    "Icechunk": lambda d: d["icechunk"].t.mean(("y", "x")),
    "shards": lambda d: d["sharded"].t.mean("time"),
}
REST = 0.3  # s before each run: what was before does not count


def _weights(data: xr.Dataset, dim: str) -> xr.DataArray:
    """A matrix that makes a quarter as many cells of an axis, each the mean of four."""
    length = data.sizes[dim]
    return xr.DataArray(np.kron(np.eye(length // 4, dtype="f4"), np.full((1, 4), 0.25, "f4")), dims=(f"new_{dim}", dim))


def _flat(field: xr.DataArray) -> da.Array:
    values = field.data
    return values.reshape(values.shape[0], -1).rechunk({0: -1, 1: values.shape[1] * values.shape[2] // 16})


def provide_shards(source: str, target: str, chunk: int) -> None:
    """Write a field in shards of the chunks that it has, each of four chunks."""
    files, field = fsspec.filesystem("s3"), xr.open_zarr(source)
    if not files.exists(f"{target}.made"):
        _, rows, columns = field.t.shape
        encoding = {"chunks": (chunk, rows // 2, columns // 2), "shards": (chunk, rows, columns)}
        field.drop_encoding().to_zarr(target, mode="w", encoding={"t": encoding})
        files.pipe_file(f"{target}.made", b"1")


def opened_all(urls: Mapping[str, str]) -> dict[str, xr.Dataset]:
    """Open the datasets as a researcher does."""
    return {
        name: xr.open_zarr(url if name in ("a", "b", "sharded") else virtual_store(url), chunks={})
        for name, url in urls.items()
    }


def peak(reset: bool = False) -> int:
    """Return the most bytes that this process had in memory since the last reset. Runs on workers."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak is what is used now
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def compared(client: Any, name: str, urls: Mapping[str, str]) -> dict[str, Any]:
    """Forecast an analysis, run it, and return what was said beside what was measured."""
    lazy = ANALYSES[name](opened_all(urls))
    begun = time.perf_counter()
    said = appliance.compute.forecast(lazy, client)
    asked = time.perf_counter() - begun
    client.run(peak, reset=True)
    before = appliance.compute.report(client)
    time.sleep(REST)
    begun = time.perf_counter()
    dask.compute(lazy)
    seconds = time.perf_counter() - begun
    reads = appliance.compute.report(client) - before
    return {
        "analysis": name,
        "forecast_seconds": asked,
        "forecast": said.to_dict(),
        "measured": {
            "bytes": reads.bytes,
            "reads": reads.reads,
            "local_share": reads.local_share,
            "seconds": seconds,
            "memory": max(client.run(peak).values()),
        },
    }
