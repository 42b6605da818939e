"""What a task will read, against what it does read."""

from __future__ import annotations

from collections.abc import Callable

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from dask._task_spec import convert_legacy_graph
from s3_endpoint import S3Endpoint

from appliance.compute.scheduling.task_reads import TaskReads

SHAPES: dict[str, Callable[[xr.Dataset], object]] = {
    "mean": lambda ds: ds.t.mean(),
    "part": lambda ds: ds.t.isel(time=slice(35, 171), x=3).max("time"),
    "every other chunk": lambda ds: ds.t.isel(time=slice(None, None, 20)).sum(),
    "backwards": lambda ds: ds.t.isel(time=slice(None, None, -1)).cumsum("time").mean(),
    "chosen days": lambda ds: ds.t.isel(time=[3, 4, 77, 205]).mean(),
    "difference": lambda ds: (ds.t - ds.t.mean("time")).std(),
    "by month": lambda ds: ds.t.groupby("time.month").mean(),
    "coarsen": lambda ds: ds.t.coarsen(time=4).mean(),
    "rolling": lambda ds: ds.t.rolling(time=5).mean().max(),
    "map_blocks": lambda ds: ds.t.map_blocks(lambda block: block * 2.0, template=ds.t).sum(),
    "apply_ufunc": lambda ds: xr.apply_ufunc(np.sqrt, ds.t, dask="parallelized", output_dtypes=["f8"]).sum(),
    "rechunk": lambda ds: ds.t.chunk(time=-1, x=2).median("time"),
}


def _predicted(collection: object) -> set[str]:
    (optimised,) = dask.optimize(collection)
    graph = convert_legacy_graph(dict(optimised.__dask_graph__()))
    finder = TaskReads(graph.get)
    return {f"{source.bucket}/{key}" for task in graph.values() for source, (key, _, _) in finder.ranges(task)}


def _read(endpoint: S3Endpoint, collection: object) -> set[str]:
    endpoint.log.clear()
    dask.compute(collection, scheduler="synchronous")
    return {key for key in endpoint.asked() if not key.endswith(".json")}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("opened", [{"chunks": {}}, {"chunks": {"time": 30}}, {"chunks": {}, "inline_array": True}])
def test_predicts_exactly_the_objects_that_are_read(
    endpoint: S3Endpoint, dataset: str, shape: str, opened: dict[str, object]
) -> None:
    collection = SHAPES[shape](xr.open_dataset(dataset, engine="zarr", **opened))
    assert (predicted := _predicted(collection))
    assert predicted == _read(endpoint, collection)


@pytest.mark.parametrize("shape", ["isel before chunk", "scaled", "strings apart"])
def test_selection_before_chunking_and_decoding_are_followed(endpoint: S3Endpoint, dataset: str, shape: str) -> None:
    if shape == "isel before chunk":
        collection = xr.open_zarr(dataset, chunks=None).isel(time=slice(95, 205), y=5).chunk(time=50).t.sum()
    elif shape == "scaled":
        ds = xr.open_zarr(dataset)
        encoding = {"t": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -(2**15)}}
        ds.to_zarr("s3://alice/packed.zarr", mode="w", encoding=encoding)
        collection = xr.open_zarr("s3://alice/packed.zarr").t.isel(x=slice(2, 6)).mean()
    else:
        ds = xr.Dataset({"name": ("i", np.array([f"n{i}" for i in range(40)], dtype="S3"))}).chunk(i=4)
        ds.to_zarr("s3://alice/names.zarr", mode="w")
        collection = xr.open_zarr("s3://alice/names.zarr").name.isel(i=slice(0, 30))
    assert (predicted := _predicted(collection))
    assert predicted == _read(endpoint, collection)


@pytest.mark.parametrize(("form", "sharded"), [(2, False), (3, False), (3, True)])
def test_arrays_without_xarray_and_shards(endpoint: S3Endpoint, form: int, sharded: bool) -> None:
    shape = (40, 30)
    chunks = tuple(5 for _ in shape)
    array = zarr.create_array(
        f"s3://alice/plain-{form}-{sharded}.zarr",
        shape=shape,
        chunks=chunks,
        shards=tuple(10 for _ in shape) if sharded else None,
        dtype="f4",
        zarr_format=form,
        overwrite=True,
    )
    array[...] = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    collection = da.from_zarr(array, chunks=tuple(10 for _ in shape))[3:17].sum()
    assert (predicted := _predicted(collection))
    assert predicted == {key for key in _read(endpoint, collection) if "/.z" not in key}


def test_nothing_is_said_of_tasks_that_read_nothing_from_s3(tmp_path: object) -> None:
    local = zarr.create_array(f"{tmp_path}/local.zarr", shape=(8,), chunks=(2,), dtype="f4")
    for collection in (da.from_zarr(local), da.ones(8, chunks=2), da.from_array(np.arange(8), chunks=2)):
        assert _predicted(collection.sum()) == set()
