"""Files on S3 are copied by the workers of a cluster, files of the home by the process that asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from dask_processes import ADDRESSES, Cluster
from distributed import Client
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, copy_job, copying, ingest, virtual_store

pytestmark = pytest.mark.filterwarnings("ignore")


def quiet(_text: str) -> None:
    """What is said is of no interest here."""


@pytest.fixture(scope="module")
def files(endpoint: S3Endpoint) -> Path:
    """A folder of two files of a year each; it is below the bucket."""
    folder = endpoint.folder / "alice/years"
    folder.mkdir()
    for number in range(2):
        with netCDF4.Dataset(folder / f"{number}.nc", "w") as file:
            for dim, size in (("time", 12), ("x", 8)):
                file.createDimension(dim, size)
            time = file.createVariable("time", "f8", ("time",))
            time.units = "days since 2000-01-01"
            time[:] = 12 * number + np.arange(12)
            values = np.random.default_rng(number).normal(280, 5, (12, 8))
            file.createVariable("t", "f8", ("time", "x"), chunksizes=(1, 8))[:] = values
    return folder


@pytest.mark.parametrize("kind", ["zarr", "icechunk"])
@pytest.mark.parametrize("where", ["s3", "home"])
def test_both_give_the_same(endpoint: S3Endpoint, files: Path, client: Client, kind: str, where: str) -> None:
    target = f"s3://alice/on-workers-{kind}-{where}"
    sources = "s3://alice/years/*.nc" if where == "s3" else str(files / "*.nc")
    endpoint.log.clear()
    options = {"chunks": {"time": 5, "x": 4}, "format": kind, "block_bytes": 1, "compression": "zstd"}
    ingest(sources, target, client=client, tell=quiet, **options)
    made = xr.open_zarr(target if kind == "zarr" else virtual_store(target))
    with xr.open_mfdataset(sorted(files.iterdir()), engine="netcdf4") as truth:
        xr.testing.assert_identical(made.load(), truth.load())
    writers = {host for method, host, path, _ in endpoint.log if method == "PUT" and "/t/c/" in path}
    if kind == "zarr":  # Icechunk keeps such small chunks in its manifests
        assert writers == {"host1"} if where == "home" else writers - {"host1"}


def test_what_a_worker_meets_is_told_as_here(
    endpoint: S3Endpoint, files: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is another by the time that a worker reads it."""
    before = endpoint.objects()
    old = (files / "1.nc").read_bytes()
    right = copy_job.on_cluster
    met: list[DataError] = []

    def changed(*arguments: object) -> object:
        (files / "1.nc").write_bytes(old + b" ")
        try:
            return right(*arguments)  # type: ignore[arg-type]
        except DataError as error:
            met.append(error)
            raise

    monkeypatch.setattr(copy_job, "on_cluster", changed)
    with pytest.raises(DataError, match=r"s3://alice/years/1.nc: was changed while it was read"):
        ingest("s3://alice/years/*.nc", "s3://alice/changed", client=client, tell=quiet)
    (files / "1.nc").write_bytes(old)
    assert met  # before the comparison, which would see it too
    assert endpoint.objects() == before


def test_what_workers_have_done_stays_where_the_copy_is_interrupted(
    files: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Icechunk keeps nothing that is not merged."""
    target = "s3://alice/interrupted"
    wishes = {"chunks": {"time": 5, "x": 4}, "format": "icechunk", "block_bytes": 1, "compression": "zstd"}
    copied: list[int] = []

    def interrupted(step: str, done: int, _total: int | None) -> None:
        copied.extend([done] if step == "copy" and done else [])
        if len(copied) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(f"s3://alice/{files.name}/*.nc", target, client=client, tell=quiet, progress=interrupted, **wishes)
    right = copy_job.on_cluster
    sent: list[int] = []

    def counted(on: Client, tasks: list[object], *arguments: object) -> None:
        sent.append(len(tasks))
        right(on, tasks, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(copy_job, "on_cluster", counted)
    ingest(f"s3://alice/{files.name}/*.nc", target, client=client, tell=quiet, **wishes)
    assert sent == [10 - 3]


def test_a_worker_lets_go_of_files_when_its_tasks_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    begun, is_awaited = threading.Event(), threading.Event()

    class Ended(threading.Condition):
        def wait_for(self, *arguments: Any, **options: Any) -> Any:
            is_awaited.set()
            return super().wait_for(*arguments, **options)

    def copy(*_: object) -> None:
        begun.set()
        is_awaited.wait()
        order.append("copied")

    monkeypatch.setattr(copying, "_ended", Ended())
    monkeypatch.setattr(copying, "copy", copy)
    task = threading.Thread(target=copying.on_worker, args=(copying.Task("t", "t", None, (), ()), None))
    task.start()
    begun.wait()
    asyncio.run(copying.release())
    order.append("released")
    is_awaited.set()
    task.join()
    assert order == ["copied", "released"]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster without workers is given up soon."""
    monkeypatch.setattr(copying, "WORKERS_SECONDS", 0.2)
    monkeypatch.setattr(copying, "LOOK_SECONDS", 0.1)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("when", ["from the start", "after some"])
def test_a_copy_whose_cluster_has_no_workers_is_given_up_and_goes_on_elsewhere(
    files: Path, new_cluster: Callable[..., Cluster], when: str
) -> None:
    target = f"s3://alice/without-{when.replace(' ', '-')}"
    wishes = {"chunks": {"time": 5, "x": 4}, "block_bytes": 1, "compression": "zstd", "tell": quiet}
    cluster = new_cluster(*([] if when == "from the start" else ADDRESSES[:1]))

    def ends(step: str, done: int, _total: int | None) -> None:
        if step == "copy" and done and cluster.workers:
            cluster.kill_worker(ADDRESSES[0])

    with Client(cluster.address) as client:
        if cluster.workers:
            client.wait_for_workers(1, timeout=300)
        with pytest.raises(OSError, match=r"no worker for 0 s: .*without --workers") as raised:
            ingest(f"s3://alice/{files.name}/*.nc", target, client=client, progress=ends, **wishes)
    assert "Ask for the same again to go on" in raised.value.__notes__[0]
    assert ingest(f"s3://alice/{files.name}/*.nc", target, **wishes) == target
    with xr.open_mfdataset(sorted(files.iterdir()), engine="netcdf4") as truth:
        xr.testing.assert_identical(xr.open_zarr(target).load(), truth.load())


class Gateway:
    """Stands in for dask-gateway's client: its clusters have no workers."""

    address = ""
    wanted = 0

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def new_cluster(self) -> Gateway:
        return self

    def scale(self, count: int) -> None:
        Gateway.wanted = count

    def get_client(self) -> Client:
        return Client(self.address)


@pytest.mark.usefixtures("soon")
def test_the_command_does_not_wait_for_ever_for_workers(
    endpoint: S3Endpoint, files: Path, new_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = endpoint.objects()
    monkeypatch.setattr(Gateway, "address", new_cluster().address)
    monkeypatch.setattr("dask_gateway.Gateway", Gateway)
    run = CliRunner().invoke(
        main, ["data", "ingest", f"s3://alice/{files.name}/*.nc", "s3://alice/never", "--workers", "3"]
    )
    assert run.exit_code == 1
    assert "the cluster has had no worker for 0 s" in run.output
    assert "Ask again later, for fewer of them, or without --workers" in run.output
    assert Gateway.wanted == 3
    assert endpoint.objects() == before
