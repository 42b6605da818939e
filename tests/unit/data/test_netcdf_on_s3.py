"""NetCDF files at addresses on S3: written and opened by plain xarray."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import dask
import numpy as np
import plain_xarray  # noqa: F401  # as the interpreter of an environment does
import pytest
import xarray as xr
from s3_endpoint import S3Endpoint

from appliance.data import DataError, files_in_memory, xarray_netcdf

URL = "s3://alice/years/2000 ü.nc"


@pytest.fixture
def year() -> xr.Dataset:
    """Packed values, missing ones, text, a scalar, and times."""
    values = np.random.default_rng(1).normal(280, 5, (100, 6, 5)).round(2)
    values[3, 2, 1] = np.nan
    made = xr.Dataset(
        {"t": (("time", "y", "x"), values, {"units": "K"}), "height": 2.0, "name": ("y", list("abcdef"))},
        coords={"time": xr.date_range("2000-01-01", periods=100)},
        attrs={"title": "a year"},
    )
    made.t.encoding = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": np.int16(-32768)}
    return made


@pytest.mark.parametrize("file_format", ["NETCDF4", "NETCDF4_CLASSIC", "NETCDF3_CLASSIC", "NETCDF3_64BIT"])
def test_what_is_written_is_what_is_read(year: xr.Dataset, endpoint: S3Endpoint, file_format: str) -> None:
    year.to_netcdf(URL, format=file_format)
    assert endpoint.asked("PUT") == ["alice/years/2000 ü.nc"]
    endpoint.log.clear()
    opened = xr.open_dataset(URL)
    assert [opened.encoding["source"], opened.t.encoding["dtype"]] == [URL, np.dtype("i2")]
    xr.testing.assert_allclose(opened.load(), year, rtol=0, atol=1e-9)
    assert opened.attrs == year.attrs
    assert endpoint.asked() == ["alice/years/2000 ü.nc"]  # once


@pytest.mark.usefixtures("endpoint")
def test_all_of_xarrays_ways_lead_there(year: xr.Dataset) -> None:
    urls = []
    for i in range(2):
        urls.append(f"s3://alice/part-{i}.nc")
        year.isel(time=slice(50 * i, 50 * i + 50)).to_netcdf(urls[-1])
    year.t.to_netcdf("s3://alice/array.nc")
    year.t.to_netcdf("s3://alice/groups.nc", group="a/b")
    year.height.to_netcdf("s3://alice/groups.nc", group="c", mode="a")
    with dask.config.set(scheduler="threads"), xr.open_mfdataset(urls, engine="netcdf4") as joined:
        xr.testing.assert_allclose(joined.t.compute(), year.t, rtol=0, atol=1e-9)
    xr.testing.assert_allclose(xr.open_dataarray("s3://alice/array.nc").load(), year.t, rtol=0, atol=1e-9)
    xr.testing.assert_allclose(xr.open_dataset("s3://alice/groups.nc", group="a/b").load().t, year.t, rtol=0, atol=1e-9)
    assert float(xr.open_dataset("s3://alice/groups.nc", group="c").height) == 2.0
    tree = xr.DataTree.from_dict({"/": year, "/a": year[["height"]]})
    tree.to_netcdf("s3://alice/tree.nc")
    xr.testing.assert_allclose(xr.open_dataset("s3://alice/tree.nc", group="a").load(), year[["height"]])
    assert list(xr.open_dataset(urls[0], drop_variables=["t"]).data_vars) == ["height", "name"]
    chunked = pickle.loads(pickle.dumps(xr.open_dataset(urls[0], chunks={"time": 10})))  # noqa: S301
    with dask.config.set(scheduler="threads"):
        assert float(chunked.t.mean()) == pytest.approx(float(year.t[:50].mean()), abs=1e-6)


@pytest.mark.parametrize("travelled", [False, True])
def test_few_files_are_held_in_memory(
    year: xr.Dataset, endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch, travelled: bool
) -> None:
    urls = [f"s3://alice/held-{i}.nc" for i in range(4)]
    for url in urls:
        year.to_netcdf(url)
    nbytes = (endpoint.folder / "alice/held-0.nc").stat().st_size
    monkeypatch.setattr(files_in_memory, "HELD_MOST", 2 * nbytes)
    first = [xr.open_dataset(url) for url in urls]
    data = pickle.loads(pickle.dumps(first)) if travelled else first  # noqa: S301
    assert len(files_in_memory.held) == 2
    endpoint.log.clear()
    for one in data:
        np.testing.assert_array_equal(one.t[:3].round(2), year.t[:3])
    assert [key for key in endpoint.asked() if key < "alice/held-2.nc"] == ["alice/held-0.nc", "alice/held-1.nc"]
    assert len(files_in_memory.held) == 2
    monkeypatch.setattr(files_in_memory, "HELD_MOST", 10)
    with xr.open_dataset(urls[0]) as opened:
        xr.testing.assert_allclose(opened.load(), year, rtol=0, atol=1e-9)
        assert len(files_in_memory.held) == 1
    for one in (*first, *data):
        one.close()
    assert len(files_in_memory.held) == 0


def test_a_file_that_cannot_be_written_leaves_the_old_one(year: xr.Dataset, endpoint: S3Endpoint) -> None:
    year.to_netcdf(URL)
    before = (endpoint.folder / "alice/years/2000 ü.nc").read_bytes()
    with pytest.raises(TypeError):
        year.assign_attrs(title=object()).to_netcdf(URL)
    with pytest.raises(NotImplementedError, match="without compute=False for each file"):
        year.to_netcdf(URL, compute=False)
    assert (endpoint.folder / "alice/years/2000 ü.nc").read_bytes() == before


def test_what_cannot_be_opened_is_said_by_its_address(
    year: xr.Dataset, endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match=r"alice/none\.nc"):
        xr.open_dataset("s3://alice/none.nc")
    year.to_netcdf("s3://alice/cut.nc")
    file = endpoint.folder / "alice/cut.nc"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(OSError, match=r"s3://alice/cut\.nc: \[Errno"):
        xr.open_dataset("s3://alice/cut.nc")
    # As large as no process should hold; netCDF-3 has no parts that could be read.
    year.to_netcdf(URL, format="NETCDF3_64BIT")
    monkeypatch.setattr(xarray_netcdf, "IN_MEMORY", 100)
    xr.open_dataset(URL)
    monkeypatch.setattr(xarray_netcdf, "IN_MEMORY_MOST", 100)
    with pytest.raises(
        DataError, match=r"`appliance data virtualize 's3://alice/years/2000 ü\.nc' 's3://alice/years/2000 ü'`"
    ):
        xr.open_dataset(URL)


@pytest.mark.usefixtures("endpoint")
def test_large_files_and_trees_are_given_to_h5netcdf(year: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for h5netcdf, which is tried itself on a rack."""
    url, told = "s3://alice/tree.nc", []

    def open_dataset(url: str, **options: object) -> xr.Dataset:
        told.append((url, options["group"], options["phony_dims"], options["decode_times"]))
        return year

    def open_groups_as_dict(url: str, **options: object) -> dict[str, xr.Dataset]:
        told.append((url, options["group"], options["phony_dims"], options["decode_times"]))
        return {"/": year, "/a": year[["height"]]}

    h5netcdf = SimpleNamespace(open_dataset=open_dataset, open_groups_as_dict=open_groups_as_dict)
    xr.DataTree.from_dict({"/": year, "/a": year[["height"]]}).to_netcdf(url)
    monkeypatch.setattr(xarray_netcdf, "IN_MEMORY", 100)
    monkeypatch.setattr(xarray_netcdf, "_h5netcdf", lambda: h5netcdf)
    monkeypatch.setattr(xarray_netcdf, "find_spec", lambda name: name == "h5netcdf")
    assert xr.open_dataset(url, group="a", decode_times=False).sizes == year.sizes
    assert float(xr.open_datatree(url)["a"].height) == 2.0
    assert told == [(url, "a", "access", False), (url, None, "access", True)]


@pytest.mark.usefixtures("endpoint")
def test_files_elsewhere_are_xarrays_own_affair(year: xr.Dataset, tmp_path: object) -> None:
    path = f"{tmp_path}/plain.nc"
    year.to_netcdf(path)
    with xr.open_dataset(path) as opened:
        xr.testing.assert_allclose(opened.load(), year, rtol=0, atol=1e-9)
    assert xr.open_dataset(memoryview(year.to_netcdf())).load().sizes == year.sizes
