"""Datasets in scratch, of each kind that the facility makes: none gives fill values for what has expired."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr
from s3_endpoint import S3Endpoint

from appliance.compute.reading.scratch import ExpiredError, metadata_above
from appliance.data import ingest, virtual_store, virtualize

BUCKET = "alice-scratch"


@pytest.fixture
def files(endpoint: S3Endpoint) -> S3Endpoint:
    (endpoint.folder / BUCKET).mkdir()
    return endpoint


def measured(filled: bool = True) -> xr.Dataset:
    values = np.full((4, 4), -1, "i4")
    if filled:
        values[:] = np.arange(16).reshape(4, 4)
    return xr.Dataset({"t": (("y", "x"), values)})


def test_a_copy_whose_chunks_are_all_fill_values_is_made_and_compared(files: S3Endpoint, tmp_path: Path) -> None:
    """Until it is published its metadata is not above its chunks, and chunks of fill values are not written."""
    path = tmp_path / "a.nc"
    measured(filled=False).to_netcdf(path, encoding={"t": {"_FillValue": -1}})
    made = ingest(path, f"s3://{BUCKET}/a.zarr", check="all", tell=lambda _: None)
    assert int(xr.open_zarr(made, mask_and_scale=False).t.sum()) == -16
    assert not [name for name in files.objects() if "/t/c/" in name]


@pytest.mark.parametrize("kind", ["kerchunk", "icechunk"])
def test_a_description_whose_files_have_expired_is_an_error(
    files: S3Endpoint, store: Callable[..., str], kind: str
) -> None:
    """The description may be newer than the files, or lie in a bucket that does not expire."""
    address = store("in.nc", xr.concat([measured()] * 600, "z"), chunksizes=(600, 4, 4), zlib=True)
    source = files.folder / address.removeprefix("s3://")
    place = files.folder / BUCKET / "files/in.nc"
    place.parent.mkdir()
    source.rename(place)
    made = virtualize([f"s3://{BUCKET}/files/in.nc"], "s3://alice/kept", format=kind, tell=lambda _: None)
    opened = xr.open_zarr(virtual_store(made), consolidated=False)
    assert int(opened.t[0, 3, 3]) == 15
    place.unlink()
    again = xr.open_zarr(virtual_store(made), consolidated=False)
    for dataset in (opened, again):
        with pytest.raises(Exception, match=r"in\.nc|not there|NotFound|not found"):
            dataset.t.isel(z=slice(0, 600)).load()


def forked(url: str) -> str:
    try:
        fsspec.filesystem("s3").cat_file(url)
    except OSError as error:
        return type(error).__name__
    return "read"


def test_a_forked_process_is_told_too(files: S3Endpoint) -> None:
    """It reads by s3fs, and not by obstore."""
    measured().to_zarr(f"s3://{BUCKET}/a.zarr", zarr_format=3)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        url = f"{BUCKET}/a.zarr/t/c/9/9"
        assert pool.apply(forked, (url,)) == "FileNotFoundError"
        for name in ("zarr.json", "t/zarr.json"):
            (files.folder / BUCKET / "a.zarr" / name).unlink()
        assert pool.apply(forked, (url,)) == "ExpiredError"
        assert pool.apply(forked, (f"{BUCKET}/a.zarr/t/zarr.json",)) == "FileNotFoundError"


@pytest.mark.parametrize(
    ("bucket", "key", "above"),
    [
        (BUCKET, "a.zarr/t/c/0/1", ["a.zarr/t/c/0", "a.zarr/t/c", "a.zarr/t", "a.zarr"]),
        (BUCKET, "a.zarr/t/0.1", ["a.zarr/t", "a.zarr"]),
        (BUCKET, "a.zarr/t/c", ["a.zarr/t", "a.zarr"]),
        (BUCKET, "a.zarr/t/.zarray", []),
        (BUCKET, "a/file.nc", []),
        (BUCKET, "0", []),
        ("alice", "a.zarr/t/c/0/1", []),
    ],
)
def test_metadata_is_looked_for_above_chunks_in_scratch_only(bucket: str, key: str, above: list[str]) -> None:
    found = metadata_above(bucket, key)
    assert found == [f"{bucket}/{folder}/{name}" for folder in above for name in ("zarr.json", ".zarray")]
    assert not issubclass(ExpiredError, FileNotFoundError), "Zarr would take it for a fill value"
