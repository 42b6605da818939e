"""What a researcher is told before an analysis runs, against what the workers then counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from researcher import Notebook, prepared_notebook

from appliance.demo.facility import Facility

# 96 objects that compress to unlike sizes.
SETUP = """
    import time
    from pathlib import Path
    import fsspec, numpy as np, xarray as xr
    from dask_gateway import Gateway
    import appliance.compute

    fs = fsspec.filesystem("s3")
    path = "alice/forecast-test.zarr"
    def clean():
        if fs.exists(path):
            fs.rm(path, recursive=True)
    clean()
    noise = np.random.default_rng(7).normal(280.0, 5.0, size=(96 * 8, 64, 128))
    values = np.where(np.arange(96 * 8)[:, None, None] % 100 < 60, noise, 280.0).astype("f4")
    days = xr.date_range("2000-01-01", periods=96 * 8)
    xr.Dataset({"t": (("time", "y", "x"), values)}, {"time": days}).chunk(time=8).to_zarr(f"s3://{path}", mode="w")
    gateway = Gateway()
    cluster = gateway.new_cluster(worker_memory=1.0)
    cluster.scale(3)
    client = cluster.get_client()
    client.wait_for_workers(3, timeout=120)
    ds = xr.open_zarr(f"s3://{path}")

    def peak(reset=False):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def compared(lazy):
        said = appliance.compute.forecast(lazy)
        client.run(peak, reset=True)
        before = appliance.compute.report()
        begun = time.time()
        lazy.compute()
        seconds = time.time() - begun
        report = appliance.compute.report() - before
        say(
            forecast=said.to_dict(), text=str(said), html=said._repr_html_(), bytes=report.bytes, reads=report.reads,
            local_share=report.local_share, seconds=seconds, memory=max(client.run(peak).values()),
        )
    compared(ds.t.mean())  # the first run pays for imports and connections
"""


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's, with data in her bucket and a cluster of three workers."""
    with prepared_notebook(facility, "alice", SETUP, "clean(); client.close(); cluster.shutdown(); say()") as notebook:
        yield notebook


@pytest.mark.parametrize(
    "work",
    [
        "ds.t.mean()",
        pytest.param('ds.t.groupby("time.month").mean()', marks=pytest.mark.long),
        pytest.param("ds.t.isel(x=3, y=4)", marks=pytest.mark.long),
        'ds.t.chunk(time=-1, y=16).std("time")',
    ],
)
def test_an_analysis_needs_what_was_forecast(notebook: Notebook, work: str) -> None:
    """Time is measured by `tests/bench/forecast.py`: a test that fails on a busy machine says nothing."""
    said = notebook.run(f"compared({work})")
    forecast = said["forecast"]
    assert (forecast["bytes"], forecast["reads"]) == (said["bytes"], said["reads"]), said["text"]
    assert forecast["local_share"] == pytest.approx(said["local_share"], abs=0.1), said["text"]
    assert 1 / 1.3 < forecast["memory"] / said["memory"] < 1.3, said["text"]
    assert forecast["seconds"] > 0
    assert "bytes to read" in said["html"]


@pytest.mark.long
def test_workers_where_nothing_lies_and_hosts_without_workers_are_named(notebook: Notebook) -> None:
    said = notebook.run("""
        cluster.scale(1)
        while len(client.scheduler_info(n_workers=-1)["workers"]) > 1:
            time.sleep(0.5)
        said = appliance.compute.forecast(ds.t.mean(), seconds=0)
        cluster.scale(3)
        client.wait_for_workers(3, timeout=120)
        say(**said.to_dict())
    """)
    assert said["local_share"] < 1.0
    assert any("have no worker" in advice for advice in said["advice"]), said["advice"]
