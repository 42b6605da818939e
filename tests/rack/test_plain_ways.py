"""What researchers write without a thought, in a notebook with a cluster: each works, or says what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from researcher import CellError, Notebook, prepared_notebook

from appliance.demo.facility import Facility

PREPARED = """
    import contextlib, gc, multiprocessing, os, subprocess, sys, threading
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path
    import dask, fsspec, numpy as np, pandas as pd, xarray as xr
    from dask_gateway import Gateway

    fs = fsspec.filesystem("s3")
    def clean():
        for path in fs.glob("alice/plain-test*"):
            fs.rm(path, recursive=True)
    clean()
    os.chdir(Path.home())
    values = np.random.default_rng(3).normal(280, 5, (480, 32, 64)).astype("f4")
    year = xr.Dataset({"t": (("time", "y", "x"), values)}, {"time": xr.date_range("2000-01-01", periods=480)})
    year.to_netcdf("plain-test.nc")
    cluster = Gateway().new_cluster(worker_memory=1.0)
    cluster.scale(2)
    client = cluster.get_client()
    client.wait_for_workers(2, timeout=120)
    say()
"""
FORKS = """
import multiprocessing, sys, fsspec
from concurrent.futures import ProcessPoolExecutor
fsspec.filesystem("s3").pipe_file("alice/plain-test.bin", b"x" * 52)
fsspec.filesystem("s3").cat("alice/plain-test.bin")
def length(_):
    return len(fsspec.filesystem("s3").cat("alice/plain-test.bin"))
if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        print(list(pool.map(length, range(2))))
"""


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's, with a file in her home and a cluster."""
    with prepared_notebook(facility, "alice", PREPARED, "clean(); cluster.shutdown(); say()") as notebook:
        yield notebook


def test_forked_processes_read(notebook: Notebook) -> None:
    said = notebook.run(f"""
        Path("plain-test-forks.py").write_text({FORKS!r})
        ended = subprocess.run([sys.executable, "plain-test-forks.py"], capture_output=True, text=True, timeout=120)
        say(printed=ended.stdout, errors=ended.stderr[-2000:])
    """)
    assert said["printed"] == "[52, 52]\n", said["errors"]


def test_what_another_process_wrote_is_seen(notebook: Notebook) -> None:
    said = notebook.run("""
        found = [fs.exists("alice/plain-test-new/x")]
        def write():
            import fsspec
            fsspec.filesystem("s3").pipe_file("alice/plain-test-new/x", b"1")
        fs.find("alice/plain-test-new")
        client.submit(write, pure=False).result()
        say(found=[*found, fs.exists("alice/plain-test-new/x")], listed=fs.ls("alice/plain-test-new"))
    """)
    assert said == {"found": [False, True], "listed": ["alice/plain-test-new/x"]}


def test_a_file_of_the_home_is_refused_before_anything_is_written(notebook: Notebook) -> None:
    with pytest.raises(CellError, match=r"NotOnWorkersError: /home/alice/plain-test\.nc is on this machine only"):
        notebook.run("""
            xr.open_dataset("plain-test.nc").chunk(time=120).to_zarr("s3://alice/plain-test.zarr", mode="w")
        """)
    assert notebook.run('say(left=fs.exists("alice/plain-test.zarr"))') == {"left": False}
    said = notebook.run("""
        xr.open_dataset("plain-test.nc").load().chunk(time=120).to_zarr("s3://alice/plain-test.zarr", mode="w")
        xr.open_zarr("s3://alice/plain-test.zarr").t.mean("time").to_netcdf("plain-test-mean.nc")
        off = xr.open_dataset("plain-test-mean.nc").t - year.t.mean("time")
        say(off=float(abs(off).max()))
    """)
    assert said["off"] < 1e-3


@pytest.mark.parametrize("file_format", ["NETCDF4", "NETCDF3_64BIT"])
def test_netcdf_at_addresses(notebook: Notebook, file_format: str) -> None:
    said = notebook.run(f"""
        urls = ["s3://alice/plain-test-1.nc", "s3://alice/plain-test-2.nc"]
        year.isel(time=slice(240)).to_netcdf(urls[0], format="{file_format}")
        year.isel(time=slice(240, None)).chunk(time=60).to_netcdf(urls[1], format="{file_format}")
        joined = xr.open_mfdataset(urls)
        say(same=bool((xr.open_dataset(urls[0]).t == year.t[:240]).all()), off=float(abs(joined.t - year.t).max()))
    """)
    assert said == {"same": True, "off": 0.0}


def test_tables_without_more_libraries(notebook: Notebook) -> None:
    said = notebook.run("""
        pd.DataFrame({"a": [1, 2]}).to_csv("s3://alice/plain-test.csv", index=False)
        say(a=pd.read_csv("s3://alice/plain-test.csv").a.tolist())
    """)
    assert said == {"a": [1, 2]}


def test_garbage_collection_of_a_cluster_object_goes_on(notebook: Notebook) -> None:
    said = notebook.run("""
        second = Gateway().connect(cluster.name)
        second.me = second
        del second
        done = threading.Event()
        client.loop.add_callback(lambda: (gc.collect(), done.set()))
        say(went_on=done.wait(30), there=cluster.name in [each.name for each in Gateway().list_clusters()])
    """)
    assert said == {"went_on": True, "there": True}


def test_a_worker_that_dies_of_memory_says_so(notebook: Notebook) -> None:
    """The second that dies of a task is its last one here: the usual four take minutes. The gateway starts others."""
    with pytest.raises(CellError) as told:
        notebook.run("""
            def twice(dask_scheduler):
                dask_scheduler.allowed_failures = 1
            client.run_on_scheduler(twice)
            def too_much():
                import numpy, time
                held = []
                while True:  # slowly, so that it is heard of
                    held.append(numpy.ones(2**25, dtype="u1"))
                    time.sleep(0.3)
            client.submit(too_much, pure=False, key="too-much").result(timeout=300)
        """)
    said = str(told.value)
    assert said.startswith("KilledWorker: ")
    assert "Its limit is 1.00 GiB of memory" in said
    assert "It died of memory" in said
    assert "'too-much'" in said
    assert "worker_memory=" in said
