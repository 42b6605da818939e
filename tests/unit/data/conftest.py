"""NetCDF files on the S3 endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from fsspec.implementations.reference import ReferenceFileSystem
from s3_endpoint import S3Endpoint

from appliance import http_sources
from appliance.compute.reading.filesystem import LocalS3FileSystem
from appliance.data.snapshots import snapshot_store


@pytest.fixture(autouse=True)
def _empty(endpoint: S3Endpoint, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Each test begins with an empty bucket, of which nothing is known, and ends without the stores of it."""
    endpoint.empty()
    ReferenceFileSystem.clear_instance_cache()
    for files in LocalS3FileSystem._cache.values():
        files.invalidate_cache()
    yield
    snapshot_store.cache_clear()
    caplog.get_records("call").clear()  # a logged error holds on to the store that met it


@pytest.fixture
def store(endpoint: S3Endpoint) -> Callable[..., str]:
    """``store(name, dataset, **encoding of t)`` writes a NetCDF file to the bucket and returns its address."""

    def put(name: str, dataset: xr.Dataset, file_format: str = "NETCDF4", **encoding: Any) -> str:
        path = endpoint.folder / "alice" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.to_netcdf(path, format=file_format, engine="netcdf4", encoding={"t": encoding})
        return f"s3://alice/{name}"

    return put


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``listed(*beginnings, networks=…)``: what the site fetches from."""
    monkeypatch.setattr(http_sources, "SETTINGS", tmp_path / "sources.json")

    def write(*beginnings: str, networks: tuple[str, ...] = ()) -> None:
        (tmp_path / "sources.json").write_text(json.dumps({"sources": beginnings, "networks": networks}))

    return write
