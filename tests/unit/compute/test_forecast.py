"""The forecast of an analysis: bytes and places against what workers count, and what is said where it is not known."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import dask
import numpy as np
import pytest
import xarray as xr
from dask_processes import field
from distributed import Client
from s3_endpoint import S3Endpoint
from table_map import TableMaps, holders

import appliance.compute
from appliance.compute.forecasting import stored_sizes, trial
from appliance.compute.forecasting.forecast import Forecast, duration, size
from appliance.compute.reading import placement_access

OTHER, SHARDED = "s3://alice/forecast-other.zarr", "s3://alice/forecast-sharded.zarr"
CELLS = 10 * 12 * 8  # elements of a chunk


@pytest.fixture(scope="module")
def stored(dataset: str) -> str:
    """The dataset, one beside it of which half the chunks were never written, and one in shards."""
    half = field(seed=2)
    half["t"][:120] = 0.0
    half.chunk(time=10).to_zarr(OTHER, mode="w", encoding={"t": {"write_empty_chunks": False, "_FillValue": 0.0}})
    field().to_zarr(SHARDED, mode="w", encoding={"t": {"chunks": (10, 6, 8), "shards": (20, 12, 8)}})
    return dataset


@pytest.fixture(autouse=True)
def placed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(placement_access, "maps", TableMaps)
    return


def exchanged(data: xr.Dataset) -> xr.DataArray:
    """Rechunked between all workers at once."""
    with dask.config.set({"array.rechunk.method": "p2p"}):
        return data.t.chunk(time=-1, y=4).std("time")


WORK: dict[str, Callable[[xr.Dataset, xr.Dataset, xr.Dataset], Any]] = {
    "mean": lambda a, _b, _s: a.t.mean(),
    "a dataset": lambda a, _b, _s: a,
    "climatology": lambda a, _b, _s: a.t.groupby("time.month").mean(),
    "a point": lambda a, _b, _s: a.t.isel(x=3, y=4),
    "rolling": lambda a, _b, _s: a.t.rolling(time=5).mean().mean(),
    "chunks that were never written": lambda _a, b, _s: b.t.mean(),
    "two datasets": lambda a, b, _s: (a.t - b.t).mean("time"),
    "several objects a task": lambda _a, _b, _s: xr.open_dataset("s3://alice/field.zarr", chunks={"time": 30}).t.sum(),
    "each object twice": lambda _a, _b, _s: xr.open_dataset("s3://alice/field.zarr", chunks={"y": 6}).t.sum(),
    "selected before": lambda _a, _b, _s: (
        xr.open_dataset("s3://alice/field.zarr", chunks=None).t[35:145, :5].chunk(time=20).std()
    ),
    "rechunked": lambda a, _b, _s: exchanged(a),
    "whole shards": lambda _a, _b, s: s.t.mean(),
}


@pytest.mark.parametrize("work", WORK)
def test_bytes_and_reads_are_what_workers_then_count(stored: str, client: Client, work: str) -> None:
    lazy = WORK[work](xr.open_zarr(stored), xr.open_zarr(OTHER), xr.open_dataset(SHARDED, chunks={"time": 20}))
    said = appliance.compute.forecast(lazy)
    before = appliance.compute.report()
    dask.compute(lazy)
    counted = appliance.compute.report(client) - before
    assert (said.bytes, said.reads) == (counted.bytes, counted.reads)
    assert said.reads >= 11
    assert said.bytes_error == 0.0
    assert said.local_share == pytest.approx(counted.local_share, abs=0.15)  # a host that helps reads from another
    # A worker's own account of itself comes from a running worker; figures of an analysis lie in wide bounds here.
    assert said.seconds is not None
    assert said.seconds > 0
    assert said.memory is not None
    assert said.memory > 2**26
    assert (said.unknown, said.seconds_at_least, said.memory_at_least) == ((), False, False)


def test_a_part_of_a_shard_is_read_for_its_index_and_some_chunks(stored: str, client: Client) -> None:  # noqa: ARG001
    lazy = xr.open_dataset(SHARDED, chunks={"time": 20}).t[:, :6].mean()
    said = appliance.compute.forecast(lazy)
    before = appliance.compute.report()
    lazy.compute()
    counted = appliance.compute.report() - before
    assert said.reads == counted.reads
    assert said.bytes == pytest.approx(counted.bytes, rel=0.05)
    assert said.bytes < 0.6 * appliance.compute.forecast(xr.open_zarr(SHARDED).t.mean(), seconds=0).bytes


def test_the_local_share_is_that_of_the_places_of_all_tasks(stored: str, new_cluster: Any) -> None:
    cluster = new_cluster("127.0.0.11", TABLE_MAP_PATIENT="1")
    with Client(cluster.address) as client:
        client.wait_for_workers(1, timeout=300)
        said = appliance.compute.forecast(xr.open_zarr(stored).t.mean(), client, seconds=0)
        held = sum("host11" in holders("alice", f"field.zarr/t/c/{number}/0/0") for number in range(24))
        assert said.local_share == held / 24
        assert 0 < held < 24
        (scale,) = said.advice
        assert "2 hosts that hold some of it have no worker (127.0.0.12, 127.0.0.13)" in scale


def test_nothing_is_read_or_run_before_the_analysis_where_nothing_is_tried(
    stored: str, endpoint: S3Endpoint, client: Client
) -> None:
    lazy = xr.open_zarr(stored).t.mean()
    endpoint.log.clear()
    before = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    said = appliance.compute.forecast(lazy, seconds=0)
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter) == before
    assert {verb for verb, *_ in endpoint.log} == {"HEAD"}
    assert (said.seconds, said.memory, said.result_bytes) == (None, None, None)
    assert "time and memory: no task was tried (seconds=0)" in said.unknown
    assert said.local_share == 1.0


def test_a_trial_reads_a_few_objects_and_leaves_no_task(stored: str, endpoint: S3Endpoint, client: Client) -> None:
    lazy = xr.open_zarr(stored).t.std("time")
    endpoint.log.clear()
    said = appliance.compute.forecast(lazy)
    assert 0 < len(endpoint.asked("GET")) <= 3 * 3  # each of three workers, up to three times
    client.sync(client.scheduler.identity)
    left = client.run_on_scheduler(lambda dask_scheduler: [key for key in dask_scheduler.tasks if "forecast" in key])
    assert left == []
    assert said.result_bytes == lazy.nbytes
    assert said.tasks > 24


def test_without_a_cluster_bytes_alone_are_told(stored: str) -> None:
    said = appliance.compute.forecast(xr.open_zarr(stored).t.mean())
    assert said.bytes == appliance.compute.forecast(xr.open_zarr(stored).t.std(), seconds=0).bytes > 0
    assert (said.local_share, said.seconds, said.memory, said.workers) == (None, None, None, 0)
    assert said.unknown == ("local share, time and memory: there is no cluster",)
    assert str(said).count("not known") == 5


def test_without_a_map_the_local_share_alone_is_not_known(
    stored: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unset() -> Any:
        raise KeyError("APPLIANCE_PLACEMENT_URL")

    monkeypatch.setattr(placement_access, "maps", unset)
    said = appliance.compute.forecast(xr.open_zarr(stored).t.mean(), client)
    assert said.local_share is None
    assert said.seconds is not None
    assert any("no placement map here" in why and "APPLIANCE_PLACEMENT_URL" in why for why in said.unknown)


def test_sizes_of_very_many_objects_are_estimated_and_said_to_be(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = xr.open_zarr(stored).t.mean()
    exact = appliance.compute.forecast(lazy)
    monkeypatch.setattr(stored_sizes, "ASKED_MAX", 5)
    assert appliance.compute.forecast(lazy).bytes == exact.bytes  # listed
    monkeypatch.setattr(stored_sizes, "LISTED_MAX", 5)
    monkeypatch.setattr(stored_sizes, "SAMPLED", 8)
    said = appliance.compute.forecast(lazy)
    assert 0 < said.bytes_error < 0.05
    assert abs(said.bytes / exact.bytes - 1) < 3 * said.bytes_error
    assert "of 8 of 24 objects, drawn evenly" in said.basis[0]
    assert "give or take" in str(said)


def test_what_is_read_elsewhere_is_said_and_not_guessed(stored: str, tmp_path: Any) -> None:
    field().chunk(time=10).to_zarr(tmp_path / "here.zarr")
    lazy = (xr.open_zarr(stored).t - xr.open_zarr(tmp_path / "here.zarr").t).mean()
    said = appliance.compute.forecast(lazy)
    assert said.reads == 24
    assert any("what 24 tasks read" in why and "no Zarr array on S3" in why for why in said.unknown)


def test_variables_that_the_notebook_reads_itself_are_named(stored: str) -> None:
    whole = xr.open_dataset(stored, engine="zarr", chunks=None).t
    both = xr.Dataset({"lazy": whole, "cut": xr.open_zarr(stored).t, "here": field().t})
    assert "variable 'lazy' is not in Dask chunks: your notebook reads it alone" in (
        appliance.compute.forecast(both).unknown
    )


def of_mine(block: np.ndarray) -> np.ndarray:
    """As a researcher's own function: it is not called before the analysis runs."""
    raise AssertionError(f"was called with {block.shape}")


def test_a_function_of_ones_own_is_not_called_and_its_time_not_known(stored: str, client: Client) -> None:
    lazy = xr.open_zarr(stored).t.data.map_blocks(of_mine, dtype="f8", meta=np.ones((0, 0, 0)))
    said = appliance.compute.forecast(lazy, client)
    assert said.bytes > 0
    assert said.seconds_at_least
    assert any("the time of" in why and "of_mine, which may do more than calculate" in why for why in said.unknown)
    assert "at least" in str(said)
    assert said.memory is not None
    assert not said.memory_at_least or said.result_bytes is None


def test_a_worker_that_dies_in_the_trial_is_not_waited_for(new_cluster: Any) -> None:
    cluster = new_cluster("127.0.0.11", "127.0.0.12")
    with Client(cluster.address) as client:
        client.wait_for_workers(2, timeout=300)
        first, second = client.scheduler_info(n_workers=-1)["workers"]
        pinned: dict[str, Any] = {"allow_other_workers": False, "pure": False}
        futures = {
            first: client.submit(os._exit, 1, workers=[first], **pinned),
            second: client.submit(tuple, [{}, {}], workers=[second], **pinned),
        }
        assert trial.answers_of(client, futures) == ([({}, {})], 1)


@pytest.mark.parametrize("data", [field(), field().t, [field().t], np.ones(3), 3])
def test_what_dask_does_not_calculate_is_refused_with_a_way_out(data: Any) -> None:
    with pytest.raises(ValueError, match=r"nothing of this is calculated by Dask.*opened with chunks"):
        appliance.compute.forecast(data)


def test_an_object_that_may_not_be_seen_is_an_error_that_names_it(stored: str) -> None:
    lazy = xr.open_zarr(stored).t.mean()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("appliance.compute.scheduling.zarr_source._place", lambda _: ("bob", "hers.zarr/t"))
        with pytest.raises(PermissionError, match=r"s3://bob/hers\.zarr/t/c/"):
            appliance.compute.forecast(lazy)


SAID = Forecast(
    tasks=10, reads=24, objects=12, bytes=3 * 2**30, bytes_error=0.02, local_share=0.5, seconds=100.0,
    seconds_at_least=True, memory=2**30, memory_limit=2**31, held=5, result_bytes=0, moved_bytes=2**20, workers=3,
    advice=("<b>do this",), unknown=("why & what",), basis=("that",),
)  # fmt: skip


def test_a_forecast_is_shown_as_text_as_html_and_for_programs() -> None:
    text = str(SAID)
    for part in ("3,072.0 MiB", "12 objects", "24 reads", "2.0 %", "50.0 %", "at least 1.7 min", "of 2,048.0 MiB"):
        assert part in text
    page = ElementTree.fromstring(SAID._repr_html_())  # noqa: S314 - our own
    shown = "".join(page.itertext())
    assert all(part in shown for part in ("<b>do this", "why & what", "that", "at least 1.7 min"))
    assert [element.text for element in page.iter("li")] == ["<b>do this", "why & what", "that"]
    assert json.loads(json.dumps(SAID.to_dict()))["local_share"] == 0.5


def test_units_are_those_that_people_read() -> None:
    assert [size(n) for n in (2**19, 2**30, 20 * 2**30)] == ["0.5 MiB", "1,024.0 MiB", "20.0 GiB"]
    assert [duration(n) for n in (3.04, 120, 9000)] == ["3.0 s", "2.0 min", "2.5 h"]
