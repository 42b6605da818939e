"""NetCDF files as they are: a dataset of them on a real cluster, in pieces that lie on several hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from researcher import Notebook, prepared_notebook

from appliance.demo.facility import Facility

# 72 MiB a file: the second part of the upload is a RADOS object of its own, on other hosts.
FILES = """
    import os, time
    from pathlib import Path
    import dask, dask_gateway, fsspec, numpy as np, xarray as xr
    from distributed import wait
    import appliance.compute
    from appliance.data import upload, virtual_store, virtualize
    from appliance.placement import MapClient, ObjectLookup, Ranges

    fs = fsspec.filesystem("s3")
    targets = {"kerchunk": "alice/netcdf-test.json", "icechunk": "alice/netcdf-test.icechunk"}
    def clean():
        for path in ("alice/netcdf-test", *targets.values()):
            if fs.exists(path):
                fs.rm(path, recursive=True)
    clean()
    folder = Path.home() / "netcdf-test"
    folder.mkdir(exist_ok=True)
    total = 0.0
    for year in range(2):
        values = np.random.default_rng(year).normal(280, 5, (576, 128, 256)).astype("f4")
        total += values.sum(dtype="f8")
        days = xr.date_range("2000-01-01", periods=2 * 576, freq="D")[576 * year : 576 * (year + 1)]
        xr.Dataset({"t": (("time", "y", "x"), values)}, coords={"time": days}).to_netcdf(
            folder / f"{year}.nc", encoding={"t": {"chunksizes": (32, 128, 256)}}
        )
    upload(sorted(folder.glob("*.nc")), "s3://alice/netcdf-test")
    for kind, path in targets.items():
        virtualize("s3://alice/netcdf-test/*.nc", f"s3://{path}", format=kind, catalogue=False)
    cluster = dask_gateway.Gateway().new_cluster()
    cluster.scale(3)
    client = cluster.get_client()
    client.wait_for_workers(3, timeout=60)

    def mean_and_report():
        before = appliance.compute.report()
        mean = float(lazy.astype("f8").mean().compute())
        return mean, appliance.compute.report() - before

    def placed():
        # Map and layouts are known: whoever gets them too late places nothing, and asks again some seconds later.
        last = time.monotonic() + 120
        while "unplaced" in (why := mean_and_report()[1].why_remote):
            assert time.monotonic() < last, why
    say()
"""
OPEN = 'lazy = xr.open_zarr(virtual_store("s3://" + targets["{kind}"])).t; say()'
KINDS = pytest.mark.parametrize("kind", ["kerchunk", "icechunk"])


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's, with files in her bucket, datasets of them, and a cluster."""
    with prepared_notebook(facility, "alice", FILES, "clean(); client.close(); cluster.shutdown(); say()") as notebook:
        yield notebook


@KINDS
def test_the_mean_is_numpys_and_every_read_is_accounted_for(notebook: Notebook, kind: str) -> None:
    notebook.run(OPEN.format(kind=kind))
    said = notebook.run("""
        placed()
        mean, report = mean_and_report()
        say(off=abs(mean - total / lazy.size), reads=report.reads, why=report.why_remote)
    """)
    assert said["off"] < 1e-9
    assert 36 <= said["reads"] <= 36 + 3  # and the description, where a worker had not read it before
    assert "unplaced" not in said["why"]


@KINDS
def test_each_chunk_is_placed_by_its_range_of_its_file(notebook: Notebook, kind: str) -> None:
    notebook.run(OPEN.format(kind=kind))
    said = notebook.run("""
        kept = lazy.persist()
        wait(kept)
        def places(dask_scheduler):
            known = dask_scheduler.plugins["appliance-locality"].places
            return [(key, place.hosts) for key, place in known.items()]
        told = dict(client.run_on_scheduler(places))
        told = {key: told[key] for key in dask.core.flatten(kept.data.__dask_keys__()) if key in told}
        maps = MapClient(os.environ["APPLIANCE_PLACEMENT_URL"])
        ranges = Ranges(maps, ObjectLookup.from_environment())
        references = fsspec.filesystem("reference", fo="s3://alice/netcdf-test.json").references
        right = 0
        for key, found in told.items():
            url, offset, length = references[f"t/c/{key[1]}/0/0"] if f"t/c/{key[1]}/0/0" in references \\
                else references[f"t/{key[1]}.0.0"]
            held = ranges.hosts_of_ranges("alice", [(url.removeprefix("s3://alice/"), offset, length)])[0]
            most = max(size for _, size in held)
            wanted = {maps.get("alice").address(host) for host, size in held if size == most}
            right += set(found) == wanted
        del kept
        say(right=right, told=len(told))
    """)
    assert said["told"] == 36
    assert said["right"] == 36
