"""Work on a chunk is done where the chunk is in memory; nothing but results and small inputs travels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from dask_processes import ADDRESSES, Cluster
from distributed import Client, wait
from s3_endpoint import S3Endpoint

CHUNK_BYTES = 10 * 120 * 80 * 8
# Partial sums of the map (77 kB each, and as much for their counts) are put together somewhere: up to a quarter of the
# data. Where work is not done where its data is, a third of persisted chunks travels, and all of what is read anew.
PARTIAL_RESULTS = 0.25 * 48 * CHUNK_BYTES


def weighted(ds: xr.Dataset) -> xr.Dataset:
    """What a climate summary asks of each chunk: means, a mask, and a sum with weights that every chunk shares."""
    weights = xr.DataArray(np.cos(np.linspace(-1, 1, ds.sizes["y"])), dims="y")
    return xr.Dataset(
        {"map": ds.t.mean("time"), "series": ds.t.weighted(weights).mean(("y", "x")), "first": ds.t.isel(x=0).std("y")}
    )


def wide() -> xr.Dataset:
    data = np.random.default_rng(2).normal(280.0, 5.0, size=(480, 120, 80))
    return xr.Dataset({"t": (("time", "y", "x"), data)})


@pytest.fixture(scope="module")
def chunks(endpoint: S3Endpoint) -> str:  # noqa: ARG001  # written through it
    """48 chunks of 0.77 MB."""
    wide().chunk(time=10).to_zarr("s3://alice/wide.zarr", mode="w")
    return "s3://alice/wide.zarr"


def moved(client: Client) -> int:
    """Bytes that workers have sent to each other."""

    def sent(dask_worker: Any) -> int:
        return int(dask_worker.transfer_outgoing_bytes_total)

    return sum(client.run(sent).values())


def test_chunks_do_not_travel_for_shared_weights(client: Client, chunks: str) -> None:
    before = moved(client)
    result = weighted(xr.open_zarr(chunks)).compute()
    xr.testing.assert_allclose(result, weighted(wide()))
    assert moved(client) - before < PARTIAL_RESULTS


def test_chunks_do_not_travel_for_smaller_inputs_that_are_not_small(client: Client, chunks: str) -> None:
    """An index of 38 kB, made on one worker and wanted with every chunk of 0.77 MB, as a groupby does."""
    index = client.submit(np.arange, CHUNK_BYTES // 160, pure=False)
    blocks = xr.open_zarr(chunks).t.data.to_delayed().ravel()
    before = moved(client)
    sums = dask.compute(
        *(dask.delayed(lambda block, index: block.sum() + len(index))(block, index) for block in blocks)
    )
    np.testing.assert_allclose(sum(sums), float(wide().t.sum()) + len(blocks) * (CHUNK_BYTES // 160))
    assert moved(client) - before < 0.1 * len(blocks) * CHUNK_BYTES


def test_persisted_chunks_stay_where_they_are(client: Client, chunks: str) -> None:
    kept = xr.open_zarr(chunks).persist()
    wait(kept)
    before = moved(client)
    xr.testing.assert_allclose(weighted(kept).compute(), weighted(wide()))
    assert moved(client) - before < PARTIAL_RESULTS


@pytest.mark.parametrize(
    "combine",
    [
        lambda t: (t - t.shift(time=10)).mean(),
        lambda t: t.chunk(time=-1, x=20).median("time").mean(),
        lambda t: (t.sortby("x", ascending=False) - t.roll(time=25)).max(),
    ],
    ids=["neighbours", "rechunk", "pairs"],
)
@pytest.mark.usefixtures("client")
def test_work_on_chunks_of_several_hosts_is_done_all_the_same(
    chunks: str, combine: Callable[[xr.DataArray], xr.DataArray]
) -> None:
    xr.testing.assert_allclose(combine(xr.open_zarr(chunks).t).compute(), combine(wide().t))


def test_nothing_is_kept_of_work_that_is_done(client: Client, chunks: str) -> None:
    weighted(xr.open_zarr(chunks)).compute()

    def left(dask_scheduler: Any) -> int:
        return len(dask_scheduler.plugins["appliance-coassignment"].hosts)

    assert client.run_on_scheduler(left) == 0


def test_a_lost_host_frees_the_work_that_was_restricted_to_it(
    tmp_path: Any, endpoint: S3Endpoint, credentials: Any, chunks: str
) -> None:
    lost = Cluster(tmp_path, endpoint, credentials)
    try:
        lost.add_workers(*ADDRESSES)
        with Client(lost.address) as client:
            client.wait_for_workers(len(ADDRESSES), timeout=300)
            opened = xr.open_zarr(chunks).persist()
            client.gather(client.compute(opened.t.sum()))
            future = client.compute(weighted(opened))
            lost.kill_worker(ADDRESSES[0])
            xr.testing.assert_allclose(future.result(timeout=300), weighted(wide()))
    finally:
        lost.stop()
