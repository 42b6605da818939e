"""What a researcher is told of an analysis: why reads were remote, what crossed the network, the panel, the picture."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from researcher import Notebook, prepared_notebook
from server_session import with_server

from appliance.demo.facility import Facility

# 96 objects of half a MiB, written twice: see test_compute.py.
SETUP = """
    import json, os, subprocess, sys
    from collections import Counter
    import fsspec, numpy as np, xarray as xr
    from dask_gateway import Gateway
    import appliance.compute

    fs = fsspec.filesystem("s3")
    paths = ["alice/report-test.zarr", "alice/report-test-after.zarr"]
    def clean():
        for path in paths:
            if fs.exists(path):
                fs.rm(path, recursive=True)
    clean()
    values = np.random.default_rng(7).normal(280.0, 5.0, size=(96 * 8, 64, 128)).astype("f8")
    for path in paths:
        xr.Dataset({"t": (("time", "y", "x"), values)}).to_zarr(
            f"s3://{path}", mode="w", encoding={"t": {"chunks": (8, 64, 128), "compressors": None}}
        )
    gateway = Gateway()
    cluster = gateway.new_cluster(worker_memory=1.0)
    cluster.scale(1)
    client = cluster.get_client()
    client.wait_for_workers(1, timeout=120)
    ds = xr.open_zarr("s3://alice/report-test.zarr")
    def measured():
        before = appliance.compute.report()
        result = float(ds.t.mean().compute())
        report = appliance.compute.report() - before
        say(off=abs(result - values.mean()), text=str(report), **report.to_dict())
    say()
"""


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's, with data in her bucket and a cluster of one worker."""
    with prepared_notebook(facility, "alice", SETUP, "clean(); client.close(); cluster.shutdown(); say()") as notebook:
        yield notebook


def test_reads_of_what_has_no_worker_say_so_and_are_on_the_wire(notebook: Notebook) -> None:
    said = notebook.run("measured()")
    assert said["off"] < 1e-9
    (row,) = said["rows"]
    assert said["reads"] == 96
    assert row["remote"] > 0, said["text"]
    assert said["reasons"].get("no worker", 0) >= 0.9 * row["remote"], said["text"]
    assert sum(said["reasons"].values()) == row["remote"]
    # Each of the remote reads brought an object of half a MiB.
    assert said["wire_bytes"] >= row["remote"] * 2**19
    assert said["wire_bytes"] == pytest.approx(row["bytes_in"] + row["bytes_out"])


def test_with_a_worker_on_each_host_next_to_nothing_crosses_the_network(notebook: Notebook) -> None:
    notebook.run("cluster.scale(3); client.wait_for_workers(3, timeout=120); say()")
    # A worker's first read imports for seconds, in which others would come to its help.
    notebook.run(
        'client.run(lambda: float(xr.open_zarr("s3://alice/report-test.zarr", chunks=None).t[0, 0, 0])); say()'
    )
    said = notebook.run("measured()")
    assert said["off"] < 1e-9
    assert len(said["rows"]) == 3
    assert said["local_share"] >= 0.9, said["text"]
    remote = sum(row["remote"] for row in said["rows"]) * 2**19
    assert said["wire_bytes"] - remote < 0.02 * said["bytes"], said["text"]  # partial means, and the result
    assert sum(said["reasons"].values()) == sum(row["remote"] for row in said["rows"])


def test_the_owners_server_shows_the_panel_and_the_metrics(facility: Facility, notebook: Notebook) -> None:
    link = notebook.run("say(link=cluster.dashboard_link)")["link"]
    session = with_server(facility, "alice")

    def get(page: str) -> str:
        return session.ask(f"{link.removesuffix('status')}{page}").decode()

    assert link.startswith("/user/alice/proxy/clusters/")
    page = get("appliance-reads")
    assert "navbar" in page
    assert "bokeh" in page
    assert json.loads(get("individual-plots.json"))["Individual Appliance Reads"] == "/individual-appliance-reads"
    assert "appliance_reads_local_share" in get("metrics")


def test_the_picture_agrees_with_what_the_command_line_says(notebook: Notebook) -> None:
    said = notebook.run("""
        made = appliance.compute.chunk_map(ds.t)
        where = [f"{sys.prefix}/bin/appliance", "where", "s3://alice/report-test.zarr/t/c/", "--json"]
        lines = subprocess.run(where, capture_output=True, text=True, check=True).stdout.splitlines()
        hosts = [json.loads(line)["hosts"] for line in lines]
        say(
            primaries={row.host: row.chunks for row in made.hosts}, held={row.host: row.held for row in made.hosts},
            workers={row.host: row.workers for row in made.hosts}, svg=made._repr_svg_(), chunks=made.chunks,
            counted=Counter(there[0] for there in hosts), copies=Counter(host for there in hosts for host in there),
        )
    """)
    assert said["chunks"] == 96
    assert {host: n for host, n in said["primaries"].items() if n} == said["counted"]
    assert {host: n for host, n in said["held"].items() if n} == said["copies"]
    assert set(said["workers"].values()) == {1}
    assert said["svg"].count("<rect") == 96
