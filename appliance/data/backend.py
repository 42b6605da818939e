"""xarray's "zarr" engine, with sharded arrays cut into dask chunks of whole shards.

A shard is one object. With dask chunks of the inner chunks, which is what xarray prefers, each task would read a part
of an object, and many tasks the same one. Registered by the package's ``xarray.backends`` entry point.
"""

from __future__ import annotations

from typing import Any

import xarray as xr
from xarray.backends.plugins import detect_parameters
from xarray.backends.zarr import ZarrBackendEntrypoint


class ShardwiseZarr(ZarrBackendEntrypoint):
    """As xarray's own; ``chunks={}``, ``chunks="auto"`` and ``xr.open_zarr`` keep to the bounds of shards."""

    description = "Open zarr files, sharded arrays by whole shards"
    open_dataset_parameters = detect_parameters(ZarrBackendEntrypoint.open_dataset)

    def open_dataset(self, filename_or_obj: Any, **options: Any) -> xr.Dataset:
        """xarray's own dataset, whose sharded variables prefer shards as chunks."""
        dataset = super().open_dataset(filename_or_obj, **options)
        for variable in dataset.variables.values():
            if shards := variable.encoding.get("shards"):
                variable.encoding["preferred_chunks"] = dict(zip(variable.dims, shards, strict=True))
        return dataset
