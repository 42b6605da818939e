"""The S3 endpoint of the compute room's tests, and NetCDF files on it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fsspec.implementations.reference import ReferenceFileSystem

sys.path.insert(0, str(Path(__file__).parents[1] / "compute"))
from s3_endpoint import S3Endpoint

from appliance.compute.s3 import LocalS3FileSystem

SECRET = "canary-secret-of-the-tests"


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An S3 endpoint with the empty bucket alice, which this process reaches as host1."""
    keys = tmp_path / "credentials"
    keys.write_text(f"[default]\naws_access_key_id = canary-key\naws_secret_access_key = {SECRET}\n")
    (tmp_path / "s3/alice").mkdir(parents=True)
    for remembered in (LocalS3FileSystem, ReferenceFileSystem):  # of another test's endpoint
        remembered.clear_instance_cache()
    served = S3Endpoint(tmp_path / "s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", served.url("127.0.0.1"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "default")
    monkeypatch.setenv("APPLIANCE_HOST", "host1")
    yield served
    served.close()


def year(number: int, days: int = 12) -> xr.Dataset:
    """One file's worth of a daily field, which differs from file to file, on a static grid."""
    rng = np.random.default_rng(number)
    time = pd.date_range(f"200{number}-01-01", periods=days)
    return xr.Dataset(
        {"t": (("time", "y", "x"), rng.normal(280, 5, (days, 6, 8)).round(3))},
        coords={"time": time, "lat": (("y", "x"), np.arange(48.0).reshape(6, 8)), "x": np.arange(8.0)},
    )


PACKED = {"chunksizes": (4, 6, 8), "zlib": True, "dtype": "i4", "scale_factor": 0.001, "_FillValue": -1}


@pytest.fixture
def store(endpoint: S3Endpoint) -> Callable[..., str]:
    """``store(name, dataset, **encoding of t)`` writes a NetCDF file to the bucket and returns its address."""

    def put(name: str, dataset: xr.Dataset, file_format: str = "NETCDF4", **encoding: Any) -> str:
        path = endpoint.folder / "alice" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.to_netcdf(path, format=file_format, engine="netcdf4", encoding={"t": encoding})
        return f"s3://alice/{name}"

    return put
