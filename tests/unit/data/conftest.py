"""The S3 endpoint of the compute room's tests, and NetCDF files on it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from fsspec.implementations.reference import ReferenceFileSystem

sys.path.insert(0, str(Path(__file__).parents[1] / "compute"))
from s3_endpoint import S3Endpoint

from appliance.compute.s3 import LocalS3FileSystem


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Endpoint]:
    """One endpoint for all tests, since s3fs takes a second to make a client. This process reaches it as host1."""
    folder = tmp_path_factory.mktemp("s3")
    keys = folder.parent / "credentials"
    keys.write_text("[default]\naws_access_key_id = canary-key\naws_secret_access_key = canary-secret\n")
    LocalS3FileSystem.clear_instance_cache()  # of another room's endpoint
    made = S3Endpoint(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", made.url("127.0.0.1"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
        patch.setenv("AWS_DEFAULT_REGION", "default")
        patch.setenv("APPLIANCE_HOST", "host1")
        yield made
    LocalS3FileSystem.clear_instance_cache()
    made.close()


@pytest.fixture
def endpoint(served: S3Endpoint) -> S3Endpoint:
    """The endpoint with the empty bucket alice and nothing in its log."""
    shutil.rmtree(served.folder / "alice", ignore_errors=True)
    (served.folder / "alice").mkdir()
    served.log.clear()
    served.headers.clear()
    ReferenceFileSystem.clear_instance_cache()
    for files in LocalS3FileSystem._cache.values():
        files.invalidate_cache()
    return served


@pytest.fixture
def store(endpoint: S3Endpoint) -> Callable[..., str]:
    """``store(name, dataset, **encoding of t)`` writes a NetCDF file to the bucket and returns its address."""

    def put(name: str, dataset: xr.Dataset, file_format: str = "NETCDF4", **encoding: Any) -> str:
        path = endpoint.folder / "alice" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.to_netcdf(path, format=file_format, engine="netcdf4", encoding={"t": encoding})
        return f"s3://alice/{name}"

    return put
