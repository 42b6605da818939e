"""Files copied into datasets on a real cluster: by its workers, one object a chunk, and going on after an end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from researcher import Notebook, prepared_notebook

from appliance.demo.facility import Facility

FILES = """
    import os
    from pathlib import Path
    import dask_gateway, fsspec, numpy as np, xarray as xr
    import appliance.compute
    from appliance.data import catalogue, forget, ingest, rechunk, upload, virtual_store
    from appliance.placement import MapClient, ObjectLookup, Ranges

    fs = fsspec.filesystem("s3")
    made = ["alice/ingest-test" + each for each in ("", ".zarr", ".icechunk", "-again.zarr", "-series.zarr")]
    def clean():
        for path in (*made, "alice/.ingest-ingest-test-again.zarr.json"):
            if fs.exists(path):
                fs.rm(path, recursive=True)
        for entry in catalogue():
            if entry.address.startswith("s3://alice/ingest-test"):
                forget(entry.address)
    clean()
    folder = Path.home() / "ingest test ü"
    folder.mkdir(exist_ok=True)
    DAYS = 144
    total = 0.0
    for year in range(2):
        values = np.random.default_rng(year).normal(280, 5, (DAYS, 128, 256)).astype("f4")
        total += values.sum(dtype="f8")
        days = xr.date_range("2000-01-01", periods=2 * DAYS, freq="D")[DAYS * year : DAYS * (year + 1)]
        xr.Dataset({"t": (("time", "y", "x"), values)}, coords={"time": days}).to_netcdf(
            folder / f"{year}.nc", encoding={"t": {"chunksizes": (32, 128, 256)}}
        )
    files = sorted(folder.glob("*.nc"))
    upload(files, "s3://alice/ingest-test")
    cluster = dask_gateway.Gateway().new_cluster()
    cluster.scale(3)
    client = cluster.get_client()
    client.wait_for_workers(3, timeout=120)
    quiet = dict(tell=lambda text: None, progress=lambda step, done, total: None, block_bytes=8 * 2**20)
    chunks = {"time": 48}  # 6 MiB, more than a piece of an upload in pieces

    def off(dataset):
        return abs(float(dataset.t.astype("f8").mean().compute()) - total / dataset.t.size)
    say()
"""
KINDS = pytest.mark.parametrize("kind", ["zarr", pytest.param("icechunk", marks=pytest.mark.long)])


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's, with files in her home and her bucket, and a cluster."""
    with prepared_notebook(facility, "alice", FILES, "clean(); client.close(); cluster.shutdown(); say()") as notebook:
        yield notebook


@KINDS
def test_workers_copy_what_is_on_s3(notebook: Notebook, kind: str) -> None:
    said = notebook.run(f"""
        before = appliance.compute.report()
        made_at = ingest("s3://alice/ingest-test/*.nc", "s3://alice/ingest-test.{kind}", format="{kind}",
                         chunks=chunks, client=client, check="all", **quiet)
        reads = (appliance.compute.report() - before).reads
        opened = xr.open_zarr(made_at if "{kind}" == "zarr" else virtual_store(made_at))
        say(off=off(opened), reads=reads, chunks=opened.t.encoding["chunks"])
    """)
    assert said["off"] < 1e-9
    assert said["reads"] > 0  # of workers: the report counts no others


def test_each_chunk_is_one_object_on_one_set_of_hosts(notebook: Notebook) -> None:
    said = notebook.run("""
        ranges = Ranges(MapClient(os.environ["APPLIANCE_PLACEMENT_URL"]), ObjectLookup.from_environment())
        keys = [key.removeprefix("alice/") for key in fs.find("alice/ingest-test.zarr/t/c")]
        sizes = [fs.info(f"alice/{key}")["size"] for key in keys]
        held = ranges.hosts_of_ranges("alice", [(key, 0, size) for key, size in zip(keys, sizes)])
        whole = sum({nbytes for _, nbytes in hosts} == {size} for hosts, size in zip(held, sizes))
        say(keys=len(keys), whole=whole)
    """)
    assert said["keys"] == 6
    assert said["whole"] == said["keys"]


def test_files_of_the_home_are_copied_by_the_notebook_and_a_copy_goes_on(notebook: Notebook) -> None:
    said = notebook.run("""
        from appliance.data import compared
        right, target = compared.Check.file, "s3://alice/ingest-test-again.zarr"
        def interrupted(*arguments):
            raise KeyboardInterrupt
        compared.Check.file = interrupted
        try:
            ingest(files, target, client=client, **quiet)
            ended = False
        except KeyboardInterrupt:
            ended = True
        finally:
            compared.Check.file = right
        seen = fs.exists(f"{target}/zarr.json")
        written = {key: info["LastModified"] for key, info in fs.find(target + "/t", detail=True).items()}
        ingest(files, target, client=client, **quiet)
        after = fs.find(target + "/t/c", detail=True)
        again = sum(after[key]["LastModified"] != at for key, at in written.items() if key in after)
        say(ended=ended, seen=seen, written=len(written), again=again, off=off(xr.open_zarr(target)))
    """)
    assert said["ended"]
    assert not said["seen"]
    assert said["written"] > 0
    assert said["again"] == 0
    assert said["off"] < 1e-9


def test_a_dataset_is_rechunked_on_workers(notebook: Notebook) -> None:
    said = notebook.run("""
        made_at = rechunk("s3://alice/ingest-test.zarr", "s3://alice/ingest-test-series.zarr", access="series",
                          client=client, **quiet)
        opened = xr.open_zarr(made_at)
        say(off=off(opened), of=opened.sizes["time"], chunks=opened.t.encoding["chunks"])
    """)
    assert said["off"] < 1e-9
    assert said["chunks"][0] == said["of"]
    assert said["chunks"][1:] != [128, 256]


def test_of_two_copies_to_one_name_one_is_seen(notebook: Notebook) -> None:
    """RGW keeps `If-None-Match: *`, on which the last step of a copy rests."""
    said = notebook.run("""
        fs.pipe_file("alice/ingest-test/once", b"1", mode="create")
        try:
            fs.pipe_file("alice/ingest-test/once", b"2", mode="create")
            refused = False
        except OSError:
            refused = True
        say(refused=refused, content=fs.cat_file("alice/ingest-test/once").decode())
    """)
    assert said["refused"]
    assert said["content"] == "1"
