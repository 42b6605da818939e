"""Virtual datasets of NetCDF files on an S3 endpoint: what is read is what the files hold, and from where."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import dask
import netCDF4
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from dask._task_spec import convert_legacy_graph
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.compute.reading.read_counter import counter
from appliance.compute.scheduling.task_reads import TaskReads
from appliance.data import DataError, Shardwise, virtual_store, virtualize
from appliance.data.snapshots import snapshot_store
from appliance.placement.model.s3_address import AddressError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # zarr's, on codecs that are not yet in its standard

Store = Callable[..., str]
BOTH = xr.concat(
    [year(1), year(2)], dim="time", data_vars="minimal", coords="minimal", compat="override", join="override"
)


FORMATS = pytest.mark.parametrize("kind", ["kerchunk", "icechunk"])


def opened(target: str) -> xr.Dataset:
    return xr.open_zarr(virtual_store(target))


@pytest.mark.parametrize(
    "encoding",
    [PACKED, {"chunksizes": (12, 6, 8), "zlib": True, "complevel": 1, "shuffle": False}, {"contiguous": True}],
)
def test_files_are_one_dataset(store: Store, encoding: dict[str, object]) -> None:
    store("era/2.nc", year(2), **encoding)
    store("era/1.nc", year(1), **encoding)
    target = virtualize("s3://alice/era/*.nc", "s3://alice/era")
    assert target == "s3://alice/era.json"
    dataset = opened(target)
    np.testing.assert_allclose(dataset.t.values, BOTH.t.values, atol=6e-4)
    xr.testing.assert_equal(dataset.lat.compute(), BOTH.lat)
    assert (dataset.time.values == BOTH.time.values).all()
    kerchunks_own = xr.open_dataset(target, engine="kerchunk")
    xr.testing.assert_identical(kerchunks_own.t.compute(), dataset.t.compute())


@pytest.mark.parametrize("file_format", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4_CLASSIC"])
def test_older_formats_too(store: Store, file_format: str) -> None:
    for number in (1, 2):
        store(f"old/{number}.nc", year(number), file_format)
    dataset = opened(virtualize("s3://alice/old/*.nc", "s3://alice/old"))
    xr.testing.assert_equal(dataset.t.compute().drop_vars("lat"), BOTH.t.drop_vars("lat"))


@pytest.mark.parametrize("stored", [{"file_format": "NETCDF3_64BIT"}, {"contiguous": True}])
def test_arrays_in_one_piece_are_cut_where_files_of_unlike_length_meet(
    store: Store, monkeypatch: pytest.MonkeyPatch, stored: dict[str, Any]
) -> None:
    monkeypatch.setattr("appliance.data.contiguous.CHUNK_BYTES", 4 * 6 * 8 * 8)  # of four days
    months = [year(1, days=8), year(2, days=12), year(3, days=10)]
    for files, days in ((months[:2], 4), (months, 2)):
        for number, month in enumerate(files):
            store(f"months-{days}/{number}.nc", month, **stored)
        dataset = opened(virtualize(f"s3://alice/months-{days}/*.nc", f"s3://alice/months-{days}"))
        assert set(dataset.t.chunks[0]) == {days}
        np.testing.assert_array_equal(dataset.t.values, np.concatenate([month.t for month in files]))


def test_a_series_of_prime_length_is_not_cut_into_single_values(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.data.contiguous.CHUNK_BYTES", 2**20)
    for length, chunk in ((200_003, 200_003), (200_000, 100_000), (2**18 * 3, 2**17)):
        with netCDF4.Dataset(endpoint.folder / "alice/series.nc", "w", format="NETCDF3_64BIT_OFFSET") as file:
            file.createDimension("x", length)
            file.createVariable("t", "f8", ("x",))[:] = np.arange(length)
        made = opened(virtualize("s3://alice/series.nc", f"s3://alice/series-{length}"))
        assert made.t.encoding["chunks"] == (chunk,)
        assert (made.t.values == np.arange(length)).all()


def test_one_file_is_a_dataset(store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    xr.testing.assert_allclose(
        opened(virtualize("s3://alice/one.nc", "s3://alice/one")).t.compute(), year(1).t, atol=6e-4
    )


@FORMATS
def test_each_chunk_is_one_counted_range_of_its_file(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for number in (1, 2):
        store(f"era/{number}.nc", year(number), **PACKED)
    lazy = opened(virtualize("s3://alice/era/*.nc", "s3://alice/made", format=kind)).t.isel(time=slice(8, 18))
    collection = lazy.mean()
    (optimised,) = dask.optimize(collection)
    graph = convert_legacy_graph(dict(optimised.__dask_graph__()))
    noted: list[tuple[str, str, int, str, int, int, str]] = []
    monkeypatch.setattr(counter(), "add", lambda *read: noted.append(read))
    endpoint.log.clear()
    assert float(collection.compute(scheduler="sync")) == pytest.approx(float(BOTH.t[8:18].mean()), abs=1e-3)
    reads = TaskReads(graph.get)
    told = [read for node in graph.values() for read in reads.ranges(node)]
    ranges = [part for _, part in told]
    assert {source.bucket for source, _ in told} == {"alice"}
    assert {key for key, _, _ in ranges} == {"era/1.nc", "era/2.nc"}
    assert len(ranges) == 3
    assert sorted(ranges) == sorted(
        (key, offset, nbytes) for _, key, nbytes, _, offset, _, _ in noted if key.endswith(".nc")
    )
    assert {read[3] for read in noted} == {"host1"}


@FORMATS
def test_nothing_of_the_process_is_in_a_graph(store: Store, kind: str) -> None:
    for number in (1, 2):
        store(f"era/{number}.nc", year(number), **PACKED)
    mean = opened(virtualize("s3://alice/era/*.nc", "s3://alice/made", format=kind)).t.mean()
    graph = cloudpickle.dumps(mean)
    for hidden in ("127.0.0.1", "canary"):
        assert hidden.encode() not in graph
    snapshot_store.cache_clear()
    assert float(pickle.loads(graph).compute()) == pytest.approx(float(BOTH.t.mean()), abs=1e-3)  # noqa: S301


def test_icechunk_holds_the_same(store: Store) -> None:
    for number in (1, 2):
        store(f"era/{number}.nc", year(number), **PACKED)
    target = virtualize("s3://alice/era/*.nc", "s3://alice/era.icechunk", format="icechunk")
    dataset = xr.open_zarr(virtual_store(target))
    np.testing.assert_allclose(dataset.t.values, BOTH.t.values, atol=6e-4)
    for taken, message in ((target, "already"), ("s3://alice/era", "there are other objects below it")):
        with pytest.raises(DataError, match=f"{taken}: .*{message}"):
            virtualize("s3://alice/era/*.nc", taken, format="icechunk")
    for missing in ("s3://alice/nothing", "s3://alice/nothing.json"):
        with pytest.raises(DataError, match=f"{missing}: there (is|are) no"):
            virtual_store(missing)


@pytest.mark.parametrize(
    ("encoding", "attribute"),
    [
        (PACKED | {"scale_factor": 0.002}, "scale_factor is 0.002, but 0.001 in"),
        (PACKED | {"add_offset": 5.0}, "add_offset is 5.0, but missing in"),
        (PACKED | {"_FillValue": -9}, "_FillValue is -9, but -1 in"),
        (PACKED | {"dtype": "i2", "scale_factor": 0.1}, "scale_factor|dtype"),
        (PACKED | {"chunksizes": (6, 6, 8)}, r"chunk shape is \(6, 6, 8\), but \(4, 6, 8\) in"),
        (PACKED | {"zlib": False}, "codecs"),
        (PACKED | {"shuffle": False}, "codecs"),
    ],
)
def test_files_that_would_decode_wrongly_are_refused(
    endpoint: S3Endpoint, store: Store, encoding: dict[str, object], attribute: str
) -> None:
    store("era/1.nc", year(1), **PACKED)
    store("era/2.nc", year(2), **encoding)
    with pytest.raises(DataError, match=f"s3://alice/era/2.nc: variable 't': ({attribute})"):
        virtualize("s3://alice/era/*.nc", "s3://alice/era")
    assert not (endpoint.folder / "alice/era.json").exists()


def test_other_units_other_grids_and_other_variables_are_refused(store: Store) -> None:
    store("era/1.nc", year(1), **PACKED)
    celsius, grid, more = year(2), year(2), year(2).assign(u=1.0)
    celsius.t.attrs["units"] = "degC"
    grid["lat"] = grid.lat + 1
    for dataset, message in (
        (celsius, "variable 't': units is degC, but missing in s3://alice/era/1.nc"),
        (grid, "variable 'lat': values"),
        (year(2).isel(x=slice(0, 4)), "length of dimension 'x' is 4, but 8"),
        (more, "s3://alice/era/1.nc: has no variable 'u', which s3://alice/era/2.nc has"),
        (year(1), "its time begins at 2001-01-01"),
    ):
        encoding = PACKED if dataset.sizes["x"] == 8 else PACKED | {"chunksizes": (4, 6, 4)}
        store("era/2.nc", dataset, **encoding)
        with pytest.raises(DataError, match=message):
            virtualize("s3://alice/era/*.nc", "s3://alice/era")


def test_a_chunk_that_would_lie_in_two_files_is_refused(store: Store) -> None:
    store("era/1.nc", year(1, days=10), **PACKED)
    store("era/2.nc", year(2, days=10), **PACKED)
    with pytest.raises(DataError, match=r"era/1.nc: variable 't': chunks of 4 do not fit its 10 along 'time'"):
        virtualize("s3://alice/era/*.nc", "s3://alice/era")


def test_brackets_in_names_are_no_pattern_where_there_is_such_a_file(store: Store) -> None:
    store("run [1]/one [a].nc", year(1), **PACKED)
    arguments = ["data", "virtualize", "s3://alice/*/*.nc", "s3://alice/made"]
    run = CliRunner().invoke(main, arguments)
    assert run.exit_code == 0, run.output
    assert opened("s3://alice/made.json").sizes["time"] == 12


@FORMATS
def test_the_last_file_may_end_within_a_chunk(store: Store, kind: str) -> None:
    for number, days in ((1, 12), (2, 8), (3, 10)):
        store(f"era/{number}.nc", year(number, days=days), **PACKED)
    made = opened(virtualize("s3://alice/era/*.nc", "s3://alice/made", format=kind, check="all"))
    assert made.t.shape == (30, 6, 8)
    np.testing.assert_allclose(made.t.values[20:], year(3, days=10).t.values, atol=6e-4)


def test_what_is_no_netcdf_is_said_to_be_none(endpoint: S3Endpoint, store: Store) -> None:
    (endpoint.folder / "alice/readme.nc").write_bytes(b"hello world")
    (endpoint.folder / "alice/cdf5.nc").write_bytes(b"CDF\x05" + bytes(20))
    store("one.nc", year(1), **PACKED)
    for source, message in (
        ("s3://alice/readme.nc", "neither HDF5/netCDF-4 nor netCDF-3"),
        ("s3://alice/cdf5.nc", "nccopy"),
        ("s3://alice/none/*.nc", "no object has such a name"),
        ("alice/one.nc", "no address on S3"),
    ):
        with pytest.raises((DataError, AddressError), match=message):
            virtualize(source, "s3://alice/made")
    with pytest.raises(DataError, match="no files are named"):
        virtualize([], "s3://alice/made")
    with pytest.raises(FileNotFoundError, match=r"s3://alice/none\.nc"):
        virtualize("s3://alice/none.nc", "s3://alice/made")
    with pytest.raises(DataError, match="has no dimension 'depth' to join along; it has: time, "):
        virtualize(["s3://alice/one.nc", "s3://alice/readme.nc"], "s3://alice/made", dim="depth")


def test_the_command_says_how_to_open_it(store: Store) -> None:
    store("era/1.nc", year(1), **PACKED)
    store("era/2.nc", year(2), **PACKED | {"scale_factor": 0.01})
    run = CliRunner().invoke(main, ["data", "virtualize", "s3://alice/era/*.nc", "s3://alice/era"])
    assert run.exit_code == 1
    assert "s3://alice/era/2.nc: variable 't': scale_factor is 0.01, but 0.001" in run.output
    store("era/2.nc", year(2), **PACKED)
    run = CliRunner().invoke(main, ["data", "virtualize", "s3://alice/era/*.nc", "s3://alice/era"])
    assert run.exit_code == 0
    assert 'xr.open_zarr(virtual_store("s3://alice/era.json"))' in run.output
    run = CliRunner().invoke(main, ["data", "virtualize", "s3://alice/era/*.nc", "s3://alice/era"])
    assert run.exit_code == 1
    assert "s3://alice/era.json: is there already" in run.output


@pytest.mark.parametrize("chunks", [{}, "auto"])
def test_sharded_arrays_are_cut_by_shards(endpoint: S3Endpoint, chunks: object) -> None:
    encoding = {"t": {"chunks": (2, 6, 8), "shards": (6, 6, 8)}}
    year(1).to_zarr("s3://alice/sharded.zarr", zarr_format=3, encoding=encoding)
    dataset = xr.open_dataset("s3://alice/sharded.zarr", engine=Shardwise, chunks=chunks)
    assert all(size % 6 == 0 for size in dataset.t.chunks[0])
    assert chunks != {} or dataset.t.chunks == ((6, 6), (6,), (8,))
    endpoint.log.clear()
    np.testing.assert_array_equal(dataset.t.values, year(1).t.values)
    assert set(endpoint.asked()) == {f"alice/sharded.zarr/t/c/{i}/0/0" for i in (0, 1)}
    dataset.to_zarr("s3://alice/again.zarr", zarr_format=3)
    assert xr.open_zarr("s3://alice/again.zarr").t.encoding["shards"] == (6, 6, 8)
