"""What is made of a file is compared with it before it can be seen, and what differs is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, compared, described, stores, virtual_store, virtualize
from appliance.data.partial_copy import PartialCopy

pytestmark = pytest.mark.filterwarnings("ignore")
Store = Callable[..., str]
KINDS = pytest.mark.parametrize("kind", ["kerchunk", "icechunk"])


def climate(path: Path) -> None:
    """As CMIP's files are: scalars, zeros that are values, numbers as attributes, a dimension without a variable."""
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in (("time", 4), ("x", 3), ("bare", 2)):
            file.createDimension(dim, size)
        file.createVariable("time", "f8", ("time",))[:] = np.arange(4)
        file["time"].units = "days since 2000-01-01"
        file.createVariable("height", "f8")[...] = 2.0
        file.createVariable("crs", "i4")[...] = 7
        file["crs"].standard_parallel = [30.0, 60.0]
        file.createVariable("rain", "f4", ("time", "x"), zlib=True)[:] = [[0, 1, 2]] * 4
        file.createVariable("flag", "i4", ("time", "x"), zlib=True, fill_value=False)[:] = [[0, 1, 2]] * 4
        file.createVariable("tas", "f4", ("time", "bare"), fill_value=-9999)[:] = [[0, -9999]] * 4


@KINDS
def test_scalars_zeros_and_fill_values_are_as_in_the_file(endpoint: S3Endpoint, kind: str) -> None:
    path = endpoint.folder / "alice/climate.nc"
    climate(path)
    made = xr.open_zarr(virtual_store(virtualize("s3://alice/climate.nc", "s3://alice/made", format=kind)))
    with xr.open_dataset(path, engine="netcdf4") as truth:
        xr.testing.assert_identical(made.load(), truth.load())
    assert float(made.height) == 2.0
    assert int(made.crs) == 7
    assert made.flag.dtype == np.int32
    assert made.rain.values[0, 0] == 0
    assert made.tas.encoding["_FillValue"] == -9999
    assert np.isnan(made.tas.values[0, 1])
    assert set(made.coords) == {"time"}


@KINDS
def test_masks_of_truth_values_are_as_xarray_writes_them(endpoint: S3Endpoint, kind: str) -> None:
    land = xr.Dataset({"land": (("y", "x"), np.eye(3, dtype=bool)), "on": True})
    land.to_netcdf(endpoint.folder / "alice/mask.nc", engine="netcdf4")
    made = xr.open_zarr(virtual_store(virtualize("s3://alice/mask.nc", "s3://alice/made", format=kind)))
    xr.testing.assert_identical(made.load(), land)


@KINDS
@pytest.mark.parametrize("check", ["sample", "all"])
def test_a_wrong_chunk_is_found_and_nothing_stays(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, check: str
) -> None:
    store("one.nc", year(1), **PACKED)
    right = described.references

    def wrong(url: str, stored: Any, dims: Any) -> Any:
        """Say of the last chunk that it lies where the first one does."""
        array = right(url, stored, dims)
        array.manifest._offsets[-1], array.manifest._lengths[-1] = (
            array.manifest._offsets[0],
            array.manifest._lengths[0],
        )
        return array

    monkeypatch.setattr(described, "references", wrong)
    with pytest.raises(DataError, match=r"s3://alice/one.nc: variable 't': at \(8, 0, 0\) is .*, but .* in the file"):
        virtualize("s3://alice/one.nc", "s3://alice/made", format=kind, check=check)
    assert endpoint.objects() == ["alice/one.nc"]
    with pytest.raises(DataError, match=r"there (is|are) no"):
        virtual_store("s3://alice/made.json" if kind == "kerchunk" else "s3://alice/made")


@pytest.mark.parametrize(
    ("key", "old", "new", "message"),
    [
        ("tas/.zarray", "-9999.0", "-1.0", r"variable 'tas': encoding '_FillValue' is .*-1.0.*, but .*-9999.0"),
        (
            "tas/.zarray",
            '"fill_value":-9999.0',
            '"fill_value":null',
            "variable 'tas': encoding '_FillValue' is None, but",
        ),
        ("flag/.zarray", '"fill_value":null', '"fill_value":0', "variable 'flag': is float64, but int32 in the file"),
        ("flag/.zarray", "<i4", "<u4", "variable 'flag': is uint32, but int32 in the file"),
        ("crs/.zattrs", "[30.0,60.0]", '"30 60"', "variable 'crs': attribute 'standard_parallel' is '30 60', but"),
        (
            "crs/.zattrs",
            '"standard_parallel":[30.0,60.0]',
            '"other":1',
            "variable 'crs': attribute 'other' is 1, but 'missing'",
        ),
        ("rain/.zattrs", "}", ',"coordinates":"crs"}', "its coordinates: differ by crs"),
        ("rain/.zattrs", '"time","x"', '"x","time"', "its variables|dimensions|cannot be opened in place"),
        ("height/0", "base64:", "base64:AAAAAAAA8D8=", "variable 'height': at .* is 1.0, but 2.0 in the file"),
    ],
)
def test_each_difference_is_told(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch, key: str, old: str, new: str, message: str
) -> None:
    climate(endpoint.folder / "alice/climate.nc")
    right = stores.references

    def wrong(described: Any) -> Any:
        made = right(described)
        text = made["refs"][key]
        made["refs"][key] = new if key == "height/0" else text.replace(old, new)
        assert made["refs"][key] != text
        del made["refs"][".zmetadata"]
        return made

    monkeypatch.setattr(stores, "references", wrong)
    with pytest.raises(DataError, match=f"s3://alice/climate.nc: ({message})"):
        virtualize("s3://alice/climate.nc", "s3://alice/made")
    assert endpoint.objects() == ["alice/climate.nc"]


def test_of_a_large_array_ends_and_some_are_read_and_all_if_wished(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "SMALL_BYTES", 0)
    monkeypatch.setattr("appliance.data.partial_copy.GAP_BYTES", 0)
    store("one.nc", year(1, days=200), **PACKED)
    said: list[str] = []
    for check, fewest, most in (("sample", 3, 5), ("all", 50, 50)):
        virtualize("s3://alice/one.nc", f"s3://alice/{check}", check=check, tell=said.append)
        values = int(said[-1].split()[1].replace(",", ""))
        chunks = (values - 200 - 48 - 8) / (4 * 6 * 8)
        assert fewest <= chunks <= most


def test_of_many_files_each_has_a_chunk_compared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "SMALL_BYTES", 0)
    for number in range(1, 6):
        store(f"era/{number}.nc", year(number, days=40), **PACKED)
    met: list[str] = []
    virtualize(
        "s3://alice/era/*.nc",
        "s3://alice/era",
        progress=lambda step, url: met.append(url[-4]) if step == "compare" else None,
    )
    chunks = [met.count(str(number)) - 3 for number in range(1, 6)]  # beside time, lat and x
    assert 2 <= chunks[0] <= 4  # the first of the dataset, and three at random
    assert chunks[1:4] == [1, 1, 1]
    assert 1 <= chunks[4] <= 2  # one at random, and the last


@KINDS
def test_an_interrupt_leaves_nothing(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store("one.nc", year(1), **PACKED)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compared.Check, "file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        virtualize("s3://alice/one.nc", "s3://alice/made", format=kind)
    assert endpoint.objects() == ["alice/one.nc"]


def test_a_repository_is_not_opened_before_it_was_checked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store("one.nc", year(1), **PACKED)
    met: list[str] = []

    def look(*_: Any) -> None:
        with pytest.raises(DataError, match=r"is being made") as raised:
            virtual_store("s3://alice/made")
        met.append(str(raised.value))

    right = stores.publish_icechunk
    monkeypatch.setattr(
        "appliance.data.virtual.publish_icechunk",
        lambda described, target, buckets, check: right(described, target, buckets, lambda s: (look(), check(s))),
    )
    virtualize("s3://alice/one.nc", "s3://alice/made", format="icechunk")
    assert met
    assert "t" in xr.open_zarr(virtual_store("s3://alice/made"))


@KINDS
def test_chunks_whose_filter_hdf5_left_out_are_copied(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    noise = np.frombuffer(np.random.default_rng(1).bytes(128), "u1").reshape(2, 64)
    with h5py.File(endpoint.folder / "alice/noise.nc", "w") as file:
        made = file.create_dataset("t", (2, 64), "u1", chunks=(1, 64), compression="gzip")
        made[0] = 0
        made.id.write_direct_chunk((1, 0), noise[1].tobytes(), filter_mask=1)
    target = virtualize("s3://alice/noise.nc", "s3://alice/made", format=kind)
    assert (xr.open_zarr(virtual_store(target)).t.values[1] == noise[1]).all()
    monkeypatch.setattr(described, "STRANGE_BYTES", 10)
    with pytest.raises(DataError, match=r"noise.nc: variable 't': HDF5 left a filter out of 1 of its chunks.*way out"):
        virtualize("s3://alice/noise.nc", "s3://alice/other", format=kind)


def test_large_arrays_that_nobody_wants_stay_away(endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(1).normal(size=(600, 600))
    with h5py.File(endpoint.folder / "alice/groups.nc", "w") as file:
        file["small/t"] = np.arange(12.0).reshape(3, 4)
        file["large/pieces"] = noise
        file.create_dataset("large/chunks", data=noise, chunks=(100, 600), compression="gzip")
        file["small/pairs"] = np.zeros(2**18, [("a", "i4"), ("b", "f8")])
    monkeypatch.setattr(described, "STRANGE_BYTES", 2**20)
    fetched: list[int] = []
    right = PartialCopy.fetch

    def counted(copy: PartialCopy, ranges: Any) -> None:
        right(copy, ranges)
        fetched.append(sum(end - start for start, end in copy._got))

    monkeypatch.setattr(PartialCopy, "fetch", counted)
    assert virtualize("s3://alice/groups.nc", "s3://alice/made", group="small", drop=["pairs"])
    assert max(fetched) < 2**20 < 8 * 2**20 < (endpoint.folder / "alice/groups.nc").stat().st_size


def test_upstreams_warnings_are_not_shown(endpoint: S3Endpoint) -> None:
    climate(endpoint.folder / "alice/climate.nc")
    for kind in ("kerchunk", "icechunk"):
        arguments = ["data", "virtualize", "s3://alice/climate.nc", f"s3://alice/{kind}", "--format", kind]
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            run = CliRunner().invoke(main, arguments)
            xr.open_zarr(virtual_store(f"s3://alice/{kind}" + (".json" if kind == "kerchunk" else "")))
        assert [str(warning.message) for warning in met] == []
        assert run.exit_code == 0, run.output
        assert "compared 38 values of 6 variables" in run.output
        assert "made s3://alice/" in run.output
        assert " s; open it with" in run.output
