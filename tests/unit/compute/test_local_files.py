"""Files of the notebook's machine, which workers do not have: told before anything is written, and written all the same
where the notebook can.

Each process has another directory at ``/proc/self/cwd``: what lies there is on "this machine only".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import dask.array as da
import fsspec
import numpy as np
import plain_xarray  # noqa: F401  # as the interpreter of an environment does
import pytest
import xarray as xr
from s3_endpoint import S3Endpoint

from appliance.compute.local_files import NotOnWorkersError, missing, read_by

HOME = Path("/proc/self/cwd")
TARGET = "s3://alice/measurements.zarr"


@pytest.fixture
def measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[xr.Dataset]:
    """A file in the home, opened there, in chunks."""
    monkeypatch.chdir(tmp_path)
    xr.Dataset({"a": ("time", np.arange(480.0))}).to_netcdf(HOME / "measurements.nc")
    with xr.open_dataset(HOME / "measurements.nc") as opened:
        yield opened.chunk(time=120)


@pytest.mark.usefixtures("client")
def test_a_file_that_workers_lack_is_told_before_anything_is_written(
    measurements: xr.Dataset, endpoint: S3Endpoint
) -> None:
    endpoint.log.clear()
    with pytest.raises(NotOnWorkersError, match=r"/proc/self/cwd/measurements\.nc is on this machine only") as told:
        measurements.to_zarr(TARGET, mode="w")
    assert "nothing was written" in str(told.value)
    assert "`appliance data put /proc/self/cwd/measurements.nc s3://" in str(told.value)
    assert endpoint.log == []
    with pytest.raises(NotOnWorkersError):
        xr.DataTree.from_dict({"/": measurements}).to_zarr(TARGET, mode="w")
    with pytest.raises(NotOnWorkersError):
        (measurements.a.mean() + 1).to_netcdf(HOME / "mean.nc")
    assert not (HOME / "mean.nc").exists()


@pytest.mark.usefixtures("client")
def test_what_was_there_stays(measurements: xr.Dataset) -> None:
    xr.Dataset({"b": ("x", [1, 2])}).to_zarr(TARGET, mode="w")
    with pytest.raises(NotOnWorkersError):
        measurements.to_zarr(TARGET, mode="w")
    assert xr.open_zarr(TARGET).b.values.tolist() == [1, 2]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("way", ["loaded", "alone", "shared"])
def test_the_ways_out_are_ways_out(measurements: xr.Dataset, way: str, tmp_path: Path) -> None:
    if way == "loaded":
        with xr.open_dataset(HOME / "measurements.nc") as opened:
            opened.load().chunk(time=120).to_zarr(TARGET, mode="w")
    elif way == "alone":
        with dask.config.set(scheduler="threads"):
            measurements.to_zarr(TARGET, mode="w")
    else:  # homes that all machines have
        with xr.open_dataset(tmp_path / "measurements.nc") as opened:
            opened.chunk(time=120).to_zarr(TARGET, mode="w")
    np.testing.assert_array_equal(xr.open_zarr(TARGET).a, np.arange(480.0))


@pytest.mark.usefixtures("client", "measurements")
def test_results_of_a_cluster_are_written_to_the_home(dataset: str) -> None:
    mean = xr.open_zarr(dataset).t.mean("time")
    mean.to_netcdf("mean.nc")
    with xr.open_dataset("mean.nc") as back:
        xr.testing.assert_allclose(back.t, mean.compute())
    mean.to_netcdf(HOME / "mean-again.nc")
    with pytest.raises(NotOnWorkersError, match="workers of your cluster cannot write it; nothing was written"):
        xr.open_zarr(dataset).to_zarr(HOME / "copy.zarr")
    assert not (HOME / "copy.zarr").exists()


@pytest.mark.usefixtures("client", "measurements")
def test_a_tree_is_written_to_the_home_too(dataset: str) -> None:
    tree = xr.DataTree.from_dict({"/": xr.open_zarr(dataset), "/mean": xr.open_zarr(dataset).mean("time")})
    tree.to_netcdf(HOME / "tree.nc")
    with xr.open_dataset("tree.nc", group="mean") as back:
        xr.testing.assert_allclose(back.t, tree["mean"].t.compute())


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'appliance.compute.local_files'"), OSError()])
def test_where_nobody_can_be_asked_dask_does_what_it_does(tmp_path: Path, error: Exception) -> None:
    def fail(*arguments: object) -> None:
        asked.append(arguments)
        raise error

    asked: list[object] = []
    client: Any = SimpleNamespace(scheduler_info=lambda **_: {"workers": {}}, run_on_scheduler=fail)
    assert missing([str(tmp_path)], client) == []
    assert len(asked) == 1


def test_without_a_cluster_nothing_is_asked(measurements: xr.Dataset) -> None:
    measurements.to_zarr(HOME / "copy.zarr")
    np.testing.assert_array_equal(xr.open_zarr(HOME / "copy.zarr").a, np.arange(480.0))


class Unsendable:
    def __reduce__(self) -> str:
        raise NotImplementedError


def test_files_are_found_wherever_they_are_in_a_graph(measurements: xr.Dataset, dataset: str, tmp_path: Path) -> None:
    file = str(HOME / "measurements.nc")
    measurements.to_zarr(tmp_path / "copy.zarr")
    for graph, found in (
        (measurements, {file}),
        ((measurements.a * 2).mean(), {file}),
        (xr.concat([measurements, xr.open_zarr(tmp_path / "copy.zarr")], "x"), {file, str(tmp_path / "copy.zarr")}),
        (xr.open_zarr(dataset), set()),
        (xr.Dataset({"a": ("x", da.ones(10))}), set()),
        (da.from_array(xr.open_dataset(file).a.variable._data, chunks=100), {file}),
        (dask.delayed(len)(fsspec.open(file)), {file}),
        (dask.delayed(len)([Path("no\0name"), Path("/none"), HOME / "measurements.nc"]), {file}),
        (dask.delayed(len)([Path(file), Unsendable()]), {file}),
    ):
        assert read_by(graph.__dask_graph__()) == found
