"""A real scheduler and real workers: where tasks run, what they read, and what happens when something is missing."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import dask.array as da
import pytest
import xarray as xr
from dask_processes import ADDRESSES, Cluster, field
from distributed import Client
from distributed.protocol import serialize
from distributed.protocol.serialize import ToPickle
from s3_endpoint import SECRET, S3Endpoint
from table_map import holders
from waiting import until

import appliance.compute

# As in the facility: what is read, and fused work on it, is one task for each chunk.
SHAPES: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {
    "mean": lambda ds: ds.t.mean(),
    "by month": lambda ds: ds.t.groupby("time.month").mean(),
    "anomaly": lambda ds: (ds.t.groupby("time.month") - ds.t.groupby("time.month").mean()).std("time"),
    "part": lambda ds: ds.t.isel(time=slice(15, 171), x=3).max("time"),
    "persisted": lambda ds: ds.t.persist().mean(),
}


@pytest.fixture(scope="module")
def large(endpoint: S3Endpoint) -> str:  # noqa: ARG001  # written through it
    """96 chunks: enough for a balance to mean something."""
    field(chunks=96).chunk(time=10).to_zarr("s3://alice/large.zarr", mode="w")
    return "s3://alice/large.zarr"


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("shape", SHAPES)
def test_reads_are_local_without_a_word_in_the_notebook(large: str, shape: str) -> None:
    before = appliance.compute.report()
    result = SHAPES[shape](xr.open_zarr(large)).compute()
    report = appliance.compute.report() - before
    xr.testing.assert_allclose(result, SHAPES[shape](field(chunks=96)))
    assert report.reads >= 16
    assert report.local_share == 1.0, str(report)


def test_the_report_counts_what_the_endpoint_saw(client: Client, endpoint: S3Endpoint, large: str) -> None:
    before = appliance.compute.report(client)
    endpoint.log.clear()
    opened = xr.open_zarr(large)
    endpoint.log.clear()
    opened.t.sum().compute()
    report = appliance.compute.report(client) - before
    seen = [(host, path.lstrip("/")) for method, host, path, _ in endpoint.log if method == "GET"]
    assert {row.host: row.reads for row in report.rows} == {h: sum(host == h for host, _ in seen) for h, _ in seen}
    assert sum(row.local for row in report.rows) == sum(host in holders(*k.split("/", 1)) for host, k in seen)
    assert report.bytes == sum((endpoint.folder / key).stat().st_size for _, key in seen)
    assert f"{report.reads:,}" in str(report)
    assert "host12" in report._repr_html_()


def test_what_workers_send_each_other_is_on_the_wire(client: Client) -> None:
    before = appliance.compute.report()
    first, second, _ = client.scheduler_info(n_workers=-1)["workers"]
    block = client.submit(bytes, 3_000_000, workers=[first], pure=False)
    assert client.submit(len, block, workers=[second], pure=False).result() == 3_000_000
    between = appliance.compute.report() - before
    assert 3_000_000 <= between.wire_bytes < 3_100_000
    assert sum(row.transfers["received"] for row in between.rows) == pytest.approx(3_000_000, rel=0.01)
    assert len(block.result()) == 3_000_000
    assert 6_000_000 <= (appliance.compute.report() - before).wire_bytes < 6_200_000  # and a result, to the scheduler


def test_counts_are_metrics_of_the_worker(client: Client, dataset: str) -> None:
    from urllib.request import urlopen

    xr.open_zarr(dataset).t.mean().compute()
    appliance.compute.report(client)
    (worker, info), *_ = client.scheduler_info(n_workers=-1)["workers"].items()
    port, host = info["services"]["dashboard"], worker.split("//")[1].split(":")[0]
    text = urlopen(f"http://{host}:{port}/metrics").read().decode()
    assert 'appliance_s3_reads_total{kind="local"}' in text
    assert 'appliance_transfer_bytes_total{direction="sent"}' in text


def test_a_users_own_restriction_stands(client: Client, dataset: str) -> None:
    before = appliance.compute.report()
    address = next(w for w in client.scheduler_info(n_workers=-1)["workers"] if "127.0.0.12" in w)
    xr.open_zarr(dataset).t.data.sum().compute(workers=[address])
    report = appliance.compute.report() - before
    assert {row.host for row in report.rows if row.reads} == {"host12"}
    assert report.reasons == {"not placed": sum(row.remote for row in report.rows)}


@pytest.mark.usefixtures("client")
def test_work_that_reads_nothing_is_spread_as_ever() -> None:
    total = da.ones((600,), chunks=10).map_blocks(lambda block: block * 2.0).sum()
    assert total.compute() == 1200.0


def test_no_key_secret_or_endpoint_is_in_the_graph(endpoint: S3Endpoint, dataset: str) -> None:
    for options in ({}, {"key": "canary-key", "secret": SECRET, "endpoint_url": endpoint.url("127.0.0.1")}):
        ds = xr.open_zarr(dataset, storage_options=options)
        header, frames = serialize(ToPickle(ds.t.mean().__dask_graph__()), on_error="raise")
        graph = b"".join(bytes(frame) for frame in frames) + pickle.dumps((header, ds))
        assert b"LocalS3FileSystem" in graph
        for hidden in ("canary-key", SECRET, endpoint.url("127.0.0.1"), "127.0.0.1"):
            assert hidden.encode() not in graph


def test_a_killed_worker_changes_no_result(
    new_cluster: Callable[..., Cluster], endpoint: S3Endpoint, large: str
) -> None:
    cluster = new_cluster(*ADDRESSES, TABLE_MAP_PATIENT="1")

    def heard(dask_scheduler: Any) -> set[str]:
        report = dask_scheduler.extensions["appliance-reads"].report()
        return {row.host for row in report.rows if row.reads}

    with Client(cluster.address) as client:
        client.wait_for_workers(3, timeout=300)
        # A lambda travels by value: workers cannot import this module.
        slow = xr.open_zarr(large).t.data.map_blocks(lambda block: time.sleep(0.2) or block, dtype="f8").mean()
        future = client.compute(slow)
        endpoint.log.clear()
        until(lambda: sum(host == "host12" for _, host, _, _ in endpoint.log) >= 3)
        # By a heartbeat: a report would ask the workers themselves.
        until(lambda: "host12" in client.run_on_scheduler(heard))
        cluster.kill_worker(ADDRESSES[1])
        assert future.result(timeout=300) == pytest.approx(field(chunks=96).t.values.mean(), abs=1e-12)
        report = appliance.compute.report(client)
        assert report.local_share == 1.0, str(report)
        # What the dead worker had read and told is still in the account.
        assert {row.host: row.reads > 0 for row in report.rows} == {"host11": True, "host12": True, "host13": True}


def test_the_graph_may_come_before_the_workers(new_cluster: Callable[..., Cluster], large: str) -> None:
    cluster = new_cluster(TABLE_MAP_PATIENT="1")
    with Client(cluster.address) as client:
        future = client.compute(xr.open_zarr(large).t.mean())
        cluster.add_workers(*ADDRESSES)
        assert float(future.result(timeout=300)) == pytest.approx(field(chunks=96).t.values.mean(), abs=1e-9)
        assert appliance.compute.report(client).local_share == 1.0


def test_chunks_whose_hosts_have_no_worker_are_read_all_the_same(
    new_cluster: Callable[..., Cluster], dataset: str
) -> None:
    cluster = new_cluster()
    with Client(cluster.address) as client:
        future = client.compute(xr.open_zarr(dataset).t.mean())
        cluster.add_workers(ADDRESSES[0])
        assert float(future.result(timeout=300)) == pytest.approx(field().t.values.mean(), abs=1e-9)
        # and so does the next one, which finds the worker there
        xr.open_zarr(dataset).t.max().compute()
        report = appliance.compute.report(client)
        assert report.why_remote.keys() == {"elsewhere"}
        assert report.reasons == {"no worker": sum(report.why_remote.values())}


def test_reads_that_were_placed_by_a_map_that_has_changed_say_so(
    new_cluster: Callable[..., Cluster], dataset: str
) -> None:
    cluster = new_cluster(*ADDRESSES, TABLE_MAP="stale at the scheduler")
    with Client(cluster.address) as client:
        client.wait_for_workers(3, timeout=300)
        xr.open_zarr(dataset).t.mean().compute()
        report = appliance.compute.report(client)
    assert report.reads == 24
    assert 0 < report.why_remote["elsewhere"] == sum(report.reasons.values())
    # A worker that had nothing of its own may have helped.
    assert report.reasons["stale map"] + report.reasons.get("help", 0) == report.why_remote["elsewhere"]
    assert report.reasons["stale map"] > 0


def test_without_a_map_the_work_is_done_and_nothing_is_called_local(
    new_cluster: Callable[..., Cluster], dataset: str
) -> None:
    cluster = new_cluster(*ADDRESSES, TABLE_MAP="gone")
    with Client(cluster.address) as client:
        for _ in range(2):
            result = xr.open_zarr(dataset).t.mean().compute()
        assert float(result) == pytest.approx(field().t.values.mean(), abs=1e-9)
        report = appliance.compute.report(client)
        assert report.local_share == 0.0
        assert report.why_remote == {"unplaced": 48}
        assert report.reasons == {"no map": 48}
    log = (cluster.folder / "scheduler.log").read_text()
    assert log.count("without regard to where their data is") == 1
