"""What is copied is as in the files, in chunks for its use, and nobody sees it before it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from copies import FORMATS, MADE, Store, large, opened, quiet
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, catalogue, compared, copy_check, copying, ingest, virtual_store
from appliance.data.cataloguing import kept
from appliance.data.partial_copy import PartialCopy

pytestmark = pytest.mark.filterwarnings("ignore")


@FORMATS
@pytest.mark.parametrize("access", ["map", "series", "both"])
@pytest.mark.parametrize("where", ["s3", "home"])
def test_files_become_one_dataset(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, access: str, where: str
) -> None:
    large(monkeypatch)
    monkeypatch.setattr("appliance.data.chunk_advice.WANTED_BYTES", 1000)
    # The second file's chunks are others, and it ends within one: NetCDF in place could not have it.
    store("era/2 ü.nc", year(2, days=13), **{**PACKED, "chunksizes": (5, 3, 8)})
    store("era/1.nc", year(1, days=10), **PACKED)
    sources = "s3://alice/era/*.nc" if where == "s3" else endpoint.folder / "alice/era/*.nc"
    ingest(sources, MADE, access=access, format=kind, block_bytes=2000, tell=quiet)
    with xr.open_mfdataset(sorted((endpoint.folder / "alice/era").iterdir()), engine="netcdf4") as truth:
        made = opened(kind)
        xr.testing.assert_identical(made.load(), truth.load())
    assert made.t.encoding["_FillValue"] == -1
    time, *places = made.t.encoding["chunks"]
    assert {"map": time < 23 and places == [6, 8], "series": time == 23, "both": 1 < time < 23 and places != [6, 8]}[
        access
    ]


@pytest.mark.usefixtures("endpoint")
@FORMATS
def test_what_was_made_is_found_in_the_catalogue(store: Store, kind: str) -> None:
    store("1.nc", year(1).assign_attrs(title="One year"), **PACKED)
    ingest("s3://alice/1.nc", MADE, format=kind, tell=quiet)
    (entry,) = catalogue().search("one year")
    assert entry.address == MADE
    xr.testing.assert_identical(entry.open().load(), opened(kind).load())


@FORMATS
def test_a_catalogue_that_refuses_takes_nothing_from_the_copy(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("S3 refuses")

    monkeypatch.setattr(kept, "change", refuse)
    store("1.nc", year(1), **PACKED)
    told: list[str] = []
    assert ingest("s3://alice/1.nc", MADE, format=kind, tell=told.append) == MADE
    assert f"it is not in the catalogue yet: S3 refuses; way out: `appliance data record {MADE} --kind {kind}`" in told
    with xr.open_dataset(endpoint.folder / "alice/1.nc", engine="netcdf4") as truth:
        xr.testing.assert_identical(opened(kind).load(), truth.load())


@FORMATS
def test_numbers_are_the_same_bits(endpoint: S3Endpoint, kind: str) -> None:
    """Unpacked and packed again, numbers of 32 bits would be rounded to 24."""
    path = endpoint.folder / "alice/one.nc"
    raw = np.arange(2**30, 2**30 + 600, dtype="i4").reshape(6, 10, 10)
    attributes = {"scale_factor": np.float32(0.001), "add_offset": np.float32(7)}
    xr.Dataset({"t": (("time", "y", "x"), raw, attributes)}).to_netcdf(path, engine="netcdf4")
    ingest(path, MADE, format=kind, tell=quiet)
    made = xr.open_zarr(MADE if kind == "zarr" else virtual_store(MADE), mask_and_scale=False)
    assert (made.t.values == raw).all()


@pytest.mark.usefixtures("endpoint")
def test_attributes_that_differ_between_files_are_named(store: Store) -> None:
    for number in (1, 2):
        store(f"{number}.nc", year(number).assign_attrs(history=f"made {number}"), **PACKED)
    told: list[str] = []
    ingest("s3://alice/*.nc", MADE, tell=told.append)
    assert "attributes that differ between the files are left out: history" in told


@pytest.mark.parametrize("of", ["NETCDF3_CLASSIC", "NETCDF4"])
def test_of_an_array_without_chunks_the_rows_are_read_that_are_copied(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    """And not all of it for each block."""
    monkeypatch.setattr(copy_check, "SMALL_BYTES", 0)
    monkeypatch.setattr(copy_check, "BATCH_BYTES", 1000)
    dataset = year(1, days=40)
    address = store("one.nc", dataset, of, contiguous=True) if of == "NETCDF4" else store("one.nc", dataset, of)
    right, fetched = PartialCopy.fetch, [0]

    def fetch(copy: PartialCopy, ranges: Any) -> None:
        ranges = list(ranges)
        fetched[0] += sum(end - start for start, end in ranges)
        right(copy, ranges)

    monkeypatch.setattr(PartialCopy, "fetch", fetch)
    ingest(address, MADE, chunks={"time": 1}, block_bytes=1, tell=quiet)
    with xr.open_dataset(endpoint.folder / "alice/one.nc", engine="netcdf4") as truth:
        xr.testing.assert_identical(opened("zarr").load(), truth.load())
    assert fetched[0] < 3 * (endpoint.folder / "alice/one.nc").stat().st_size


def test_nobody_sees_a_dataset_before_it_was_compared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store("one.nc", year(1), **PACKED)
    right = compared.Check.file
    met: list[str] = []

    def look(*arguments: Any) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            xr.open_zarr(MADE)
        met.append(str(raised.value))
        right(*arguments)

    monkeypatch.setattr(compared.Check, "file", look)
    ingest("s3://alice/one.nc", MADE, tell=quiet)
    assert met
    assert "t" in opened("zarr")


def test_the_root_is_written_last_and_names_all(endpoint: S3Endpoint, store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    ingest("s3://alice/one.nc", MADE, tell=quiet)
    written = [name for name in endpoint.asked("PUT") if name.startswith("alice/made/")]
    assert written[-1] == "alice/made/zarr.json"
    assert written.count("alice/made/zarr.json") == 1
    endpoint.log.clear()
    opened("zarr")
    assert [name for name in endpoint.asked() if name.endswith("zarr.json")] == ["alice/made/zarr.json"]
    assert not [name for name in endpoint.objects() if ".ingest" in name]


def test_a_chunk_that_is_damaged_later_is_not_read_as_values(endpoint: S3Endpoint, store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    ingest("s3://alice/one.nc", MADE, compression="none", tell=quiet)
    chunk = endpoint.folder / "alice/made/t/c/0/0/0"
    content = bytearray(chunk.read_bytes())
    content[5] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        opened("zarr").t.load()


@FORMATS
@pytest.mark.parametrize("check", ["sample", "all"])
def test_a_wrong_value_is_found_and_nothing_stays(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, check: str
) -> None:
    large(monkeypatch)
    store("one.nc", year(1), **PACKED)
    right = copying.read

    def wrong(*arguments: Any) -> np.ndarray:
        values = right(*arguments)
        if values.ndim == 3:
            values[-1, -1, -1] += 1
        return values

    monkeypatch.setattr(copying, "read", wrong)
    with pytest.raises(DataError, match=r"s3://alice/one.nc: variable 't': at \(11, 5, 7\) is .*, but .* in the file"):
        ingest("s3://alice/one.nc", MADE, format=kind, check=check, tell=quiet)
    assert endpoint.objects() == ["alice/one.nc"]


def test_the_command_says_what_it_did(endpoint: S3Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "Größe 1.nc"
    times = pd.date_range("2000-01-01", periods=400)
    values = np.random.default_rng(1).normal(280, 5, (400, 30, 40)).astype("f4")
    xr.Dataset({"t": (("time", "y", "x"), values)}, {"time": times}).to_netcdf(path)
    arguments = ["data", "ingest", str(path), MADE, "--for", "series", "--chunks", "x=10,y=-1", "--check", "all"]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 0, run.output
    assert "t: chunks of time 400 x y 30 x x 10: 4 objects" in run.output
    assert "a map reads 4 of them, a series at a place 1" in run.output
    assert "t: compressed with" in run.output
    assert "1.8 MiB of values in 1 blocks; each value is read 1 times" in run.output
    assert "compared 480,400 values of 2 variables with 1 files" in run.output
    assert f'xr.open_zarr("{MADE}")' in run.output
    assert opened("zarr").t.encoding["chunks"] == (400, 30, 10)
    for bad, message in (("x", "write DIM=LENGTH"), ("x=0", "are none"), ("lev=3", "no dimension 'lev'")):
        run = CliRunner().invoke(main, ["data", "ingest", str(path), "s3://alice/other", "--chunks", bad])
        assert run.exit_code == 1
        assert message in run.output
    assert not [name for name in endpoint.objects() if "other" in name]
