"""Files of other formats, and from elsewhere, copied on a real cluster: GRIB, GeoTIFF, HTTP as the site lists it."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from machines import FACILITY, RACK
from researcher import CellError, Notebook, prepared_notebook
from site_run import play

from appliance.demo.facility import Facility

SPARSE = xr.Dataset({"t": (("time", "x"), np.random.default_rng(7).normal(280, 5, (20, 40)))})
SPARSE.t[4:6] = np.nan
SOURCES = """
    from pathlib import Path
    import dask_gateway, fsspec, numpy as np, xarray as xr
    import eccodes, rasterio
    import appliance.compute
    from appliance.data import catalogue, forget, ingest, upload

    fs = fsspec.filesystem("s3")
    def clean():
        for path in fs.glob("alice/sources-test*") + fs.glob("alice/.ingest-sources-test*"):
            fs.rm(path, recursive=True)
        for entry in catalogue():
            if entry.address.startswith("s3://alice/sources-test"):
                forget(entry.address)
    clean()
    folder = Path.home() / "sources-test"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(5)

    def message(day, level):
        handle = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib2")
        keys = {"Ni": 360, "Nj": 181, "latitudeOfFirstGridPointInDegrees": 90, "latitudeOfLastGridPointInDegrees": -90,
                "longitudeOfFirstGridPointInDegrees": 0, "longitudeOfLastGridPointInDegrees": 359,
                "iDirectionIncrementInDegrees": 1, "jDirectionIncrementInDegrees": 1, "bitsPerValue": 16,
                "dataDate": 20200101 + day, "level": level}
        for key, value in keys.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set_values(handle, rng.normal(280, 5, 360 * 181))
        return eccodes.codes_get_message(handle)

    (folder / "t.grib").write_bytes(b"".join(message(day, level) for day in range(10) for level in (500, 850)))
    picture = {"driver": "GTiff", "width": 2000, "height": 1500, "count": 2, "dtype": "uint16", "nodata": 0,
               "crs": "EPSG:32633", "transform": rasterio.transform.from_origin(500_000, 5_600_000, 10, 10),
               "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    with rasterio.open(folder / "picture.tif", "w", **picture) as file:
        file.write(rng.integers(0, 3000, (2, 1500, 2000)).astype("u2"))
    for day in range(6):
        (folder / f"day-{day}.grib").write_bytes(message(day, 500))
    uploaded = ["t.grib", "picture.tif", *(f"day-{day}.grib" for day in range(6))]
    upload([folder / name for name in uploaded], "s3://alice/sources-test")
    cluster = dask_gateway.Gateway().new_cluster()
    cluster.scale(2)
    client = cluster.get_client()
    client.wait_for_workers(2, timeout=120)
    quiet = dict(tell=lambda text: None, progress=lambda step, done, total: None, block_bytes=2**21)
    say()
"""


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's, with files in her home and her bucket, and a cluster."""
    last = "clean(); client.close(); cluster.shutdown(); say()"
    with prepared_notebook(facility, "alice", SOURCES, last) as notebook:
        yield notebook


@pytest.mark.parametrize(("name", "engine"), [("t.grib", "cfgrib"), ("picture.tif", "rasterio")])
def test_workers_copy_files_of_other_formats(notebook: Notebook, name: str, engine: str) -> None:
    said = notebook.run(f"""
        made_at = ingest("s3://alice/sources-test/{name}", "s3://alice/sources-test-{name}.zarr",
                         chunks={{"time": 5}} if "{engine}" == "cfgrib" else {{"y": 750}}, client=client, check="all",
                         **quiet)
        options = {{"backend_kwargs": {{"indexpath": ""}}}} if "{engine}" == "cfgrib" else {{}}
        with xr.open_dataset(folder / "{name}", engine="{engine}", **options) as truth:
            made = xr.open_zarr(made_at)
            (variable,) = [name for name in truth.data_vars]
            off = float(abs(made[variable] - truth[variable]).max())
            missing = int(made[variable].isnull().sum() - truth[variable].isnull().sum())
        say(off=off, missing=missing, coords=sorted(set(made.coords) ^ set(truth.coords)))
    """)
    assert said == {"off": 0.0, "missing": 0, "coords": []}


def test_workers_join_grib_files_of_a_moment_each(notebook: Notebook) -> None:
    said = notebook.run("""
        made_at = ingest("s3://alice/sources-test/day-*.grib", "s3://alice/sources-test-days.zarr", chunks={"time": 4},
                         client=client, check="all", **quiet)
        days = [folder / f"day-{day}.grib" for day in range(6)]
        with xr.open_mfdataset(days, engine="cfgrib", combine="nested", concat_dim="time",
                               backend_kwargs={"indexpath": ""}) as truth:
            made = xr.open_zarr(made_at)
            say(off=float(abs(made.t - truth.t).max()), dims=made.t.dims, times=made.sizes["time"])
    """)
    assert said == {"off": 0.0, "dims": ["time", "latitude", "longitude"], "times": 6}


def test_both_libraries_live_in_one_process(notebook: Notebook) -> None:
    """Imported in the order in which one found the other's PROJ."""
    said = notebook.run("""
        import subprocess, sys
        program = "import cfgrib, rioxarray, pyproj; print(pyproj.CRS(32633).name)"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
        say(status=ended.returncode, printed=ended.stdout, errors=ended.stderr[-2000:])
    """)
    assert (said["status"], said["printed"]) == (0, "WGS 84 / UTM zone 33N\n"), said["errors"]


def test_what_the_site_does_not_list_is_not_fetched(notebook: Notebook) -> None:
    """The gateway's own counters are on loopback, and would tell whoever asks."""
    port = FACILITY.facts["s3_endpoint_metrics_port"]
    with pytest.raises(CellError, match=r"metrics: is not in the site's list .*the site lists nothing"):
        notebook.run(f'ingest("http://127.0.0.1:{port}/metrics", "s3://alice/sources-test-never.zarr", **quiet)')


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[str]:
    """A server on the control host, which the site lists and researchers' processes reach; its address."""
    (tmp_path / "secret").write_bytes(b"nobody's")
    (tmp_path / "pub").mkdir()
    picture = FACILITY.run("head1", "cat", "/home/alice/sources-test/picture.tif")
    (tmp_path / "pub" / "picture.tif").write_bytes(picture)
    SPARSE.to_zarr(tmp_path / "pub" / "sparse.zarr", encoding={"t": {"chunks": (2, 40)}}, write_empty_chunks=False)
    whole = tmp_path / "pub" / "whole.zarr"
    SPARSE.fillna(0).to_zarr(whole, encoding={"t": {"chunks": (2, 40)}}, consolidated=False)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/pub/on":
                return super().do_GET()
            self.send_response(302)
            self.send_header("Location", "/secret")
            self.end_headers()
            return None

    server = http.server.ThreadingHTTPServer((RACK.gateway, 0), functools.partial(Handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://{RACK.gateway}:{server.server_port}/pub/"
    listed = {"jupyterhub_ingest_sources": [url], "firewall_researchers_networks": [RACK.gateway]}
    try:
        for playbook in ("firewall.yml", "hub.yml"):
            done = play(playbook, **listed)
            assert done.status == 0, done.said
        yield url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for playbook in ("firewall.yml", "hub.yml"):
            assert play(playbook).status == 0


@pytest.mark.long
def test_what_the_site_lists_is_fetched_and_redirects_are_judged(notebook: Notebook, archive: str) -> None:
    said = notebook.run(f"""
        made_at = ingest("{archive}picture.tif", "s3://alice/sources-test-fetched.zarr", client=client, **quiet)
        with xr.open_dataset(folder / "picture.tif", engine="rasterio") as truth:
            off = float(abs(xr.open_zarr(made_at).band_data - truth.band_data).max())
        say(off=off, left=fs.glob("alice/.ingest-sources-test*"))
    """)
    assert said == {"off": 0.0, "left": []}
    for name, missing in (("sparse", 40 * 2), ("whole", 0)):
        said = notebook.run(f"""
            told = []
            made_at = ingest("{archive}{name}.zarr", "s3://alice/sources-test-{name}.zarr", client=client,
                             **{{**quiet, "tell": told.append}})
            t = xr.open_zarr(made_at).t
            say(sum=float(t.sum()), missing=int(t.isnull().sum()), told=[line for line in told if "not there" in line],
                left=fs.glob("alice/.ingest-sources-test*"))
        """)
        assert (said["missing"], len(said["told"]), said["left"]) == (missing, int(missing > 0), [])
        assert said["sum"] == pytest.approx(float(SPARSE.t.sum()))
    with pytest.raises(CellError, match=r"pub/on: leads to .*/secret, which is not in the site's list"):
        notebook.run(f'ingest("{archive}on", "s3://alice/sources-test-on.zarr", **quiet)')
