"""Bad input to a copy is told with file and variable, and nothing half-written can be seen."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import fsspec
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from copies import FORMATS, MADE, Store, quiet
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, compared, copying, ingest
from appliance.data.local_file import LocalFile

pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_is_no_whole_file_of_netcdf_is_told_by_its_path(endpoint: S3Endpoint, tmp_path: Path) -> None:
    year(1).to_netcdf(tmp_path / "whole.nc", engine="netcdf4")
    year(1).to_netcdf(tmp_path / "classic.nc", format="NETCDF3_CLASSIC")
    whole, classic = ((tmp_path / name).read_bytes() for name in ("whole.nc", "classic.nc"))
    for name, content, message in (
        ("empty.nc", b"", r"is empty \(0 bytes\)"),
        ("cut.nc", whole[:-500], "is truncated or damaged"),
        ("cut3.nc", classic[:-500], r"is truncated: it has [\d,]+ of at least [\d,]+ bytes"),
        ("page.nc", b"<!DOCTYPE html>", "a web page"),
        ("Größe 1.nc", b"hello world, all", "neither HDF5/netCDF-4 nor netCDF-3"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{tmp_path / name}: .*{message}"):
            ingest(tmp_path / name, MADE, tell=quiet)
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(DataError, match=r"folder.nc: is a directory: name the files in it"):
        ingest(tmp_path / "folder.nc", MADE, tell=quiet)
    with pytest.raises(FileNotFoundError, match=r"there is no such file: '.*/none.nc'"):
        ingest(tmp_path / "none.nc", MADE, tell=quiet)
    with pytest.raises(DataError, match=r"no file has such a name"):
        ingest(tmp_path / "none*.nc", MADE, tell=quiet)
    assert endpoint.objects() == []
    (tmp_path / "mit Umlaut ä.txt").write_bytes(whole)  # an ending says nothing
    assert ingest(tmp_path / "mit Umlaut ä.txt", "s3://alice/mäde 1", tell=quiet) == "s3://alice/mäde 1"
    assert "t" in xr.open_zarr("s3://alice/mäde 1")


@pytest.mark.parametrize("place", ["s3", "home"])
@FORMATS
def test_a_file_that_changes_meanwhile_is_refused(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, place: str, kind: str
) -> None:
    store("one.nc", year(1), **PACKED)
    source = "s3://alice/one.nc" if place == "s3" else str(endpoint.folder / "alice/one.nc")
    right = compared.Check.file

    def changed(*arguments: Any) -> None:
        """After all has been copied, and before it is compared."""
        store("one.nc", year(2), **PACKED)
        right(*arguments)

    monkeypatch.setattr(compared.Check, "file", changed)
    with pytest.raises(DataError, match=rf"{source}: (was changed while it was read|variable 't': at)"):
        ingest(source, MADE, format=kind, tell=quiet)
    assert endpoint.objects() == ["alice/one.nc"]


def test_a_file_that_changes_and_keeps_size_and_time_is_refused(
    endpoint: S3Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksums before and after differ."""
    path = tmp_path / "one.nc"
    year(1).to_netcdf(path, engine="netcdf4")
    right = LocalFile.check_unchanged

    def changed(file: LocalFile) -> None:
        before = path.stat()
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        with path.open("r+b") as opened:
            opened.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        right(file)

    monkeypatch.setattr(LocalFile, "check_unchanged", changed)
    with pytest.raises(DataError, match=r"one.nc: was changed while it was read: try again when it is at rest"):
        ingest(path, MADE, tell=quiet)
    assert endpoint.objects() == []


@FORMATS
def test_what_s3_refuses_is_told_by_its_name(endpoint: S3Endpoint, store: Store, kind: str) -> None:
    store("one.nc", year(1), **PACKED)
    for source, target, message in (
        ("s3://bob/one.nc", MADE, "no right to read it: 's3://bob/one.nc'"),
        ("s3://alice/one.nc", "s3://bob/made", "no right there: 's3://bob/made"),
    ):
        with pytest.raises(PermissionError, match=f"S3 refuses: you have {message}"):
            ingest(source, target, format=kind, tell=quiet)
    fsspec.filesystem("s3").pipe_file("s3://alice/other/precious.nc", b"values")
    with pytest.raises(DataError, match=r"s3://alice/other: .*there are other objects below it"):
        ingest("s3://alice/one.nc", "s3://alice/other", format=kind, tell=quiet)
    assert endpoint.objects() == ["alice/one.nc", "alice/other/precious.nc"]


@FORMATS
def test_a_quota_that_is_reached_is_told_and_the_copy_goes_on_when_there_is_room(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store("one.nc", year(1), **PACKED)
    right = copying.read

    def full(*arguments: Any) -> np.ndarray:
        endpoint.full = True
        return right(*arguments)

    options: dict[str, Any] = {"chunks": {"time": 3}, "format": kind, "block_bytes": 1, "compression": "zstd"}
    with monkeypatch.context() as patch:
        patch.setattr(copying, "read", full)
        with pytest.raises(OSError, match=r"you keep as many bytes or objects in S3 as you may") as raised:
            ingest("s3://alice/one.nc", MADE, **options, tell=quiet)
    assert raised.value.errno == errno.EDQUOT
    assert "Ask for the same again to go on" in raised.value.__notes__[0]
    with pytest.raises(FileNotFoundError):
        xr.open_zarr(MADE)
    endpoint.full = False
    said: list[str] = []
    ingest("s3://alice/one.nc", MADE, **options, tell=said.append)
    assert said[0] == f"{MADE}: goes on with what was begun"


def test_files_that_do_not_belong_together_are_told_with_file_and_variable(endpoint: S3Endpoint, store: Store) -> None:
    store("1.nc", year(1), **PACKED)
    store("grid.nc", year(2).isel(x=slice(4)), chunksizes=(4, 6, 4), dtype="i4", scale_factor=0.001, _FillValue=-1)
    store("moved.nc", year(2).assign_coords(x=np.arange(8.0) + 1), **PACKED)
    store("overlap.nc", year(1).isel(time=slice(5, None)), **PACKED)
    store("back.nc", year(2).isel(time=slice(None, None, -1)), **PACKED)
    store("forth.nc", year(2).isel(time=[0, 5, 3]), chunksizes=(1, 6, 8))
    store("scale.nc", year(2), **{**PACKED, "scale_factor": 0.01})
    before = endpoint.objects()
    for name, message in (
        ("grid.nc", r"grid.nc: variable '(t|lat|x)': length of dimension 'x' is 4, but 8 in s3://alice/1.nc"),
        ("moved.nc", r"moved.nc: variable 'x': values"),
        ("overlap.nc", r"overlap.nc: its time begins at .*, not after .*, where s3://alice/1.nc ends"),
        ("back.nc", r"back.nc: variable 'time': runs backwards, but forwards in s3://alice/1.nc"),
        ("forth.nc", r"forth.nc: variable 'time': runs neither forwards nor backwards"),
        ("scale.nc", r"scale.nc: variable 't': scale_factor is 0.01, but 0.001 in s3://alice/1.nc"),
    ):
        with pytest.raises(DataError, match=message):
            ingest(["s3://alice/1.nc", f"s3://alice/{name}"], MADE, tell=quiet)
    assert endpoint.objects() == before


def test_a_variable_that_zarr_does_not_have_is_told_and_can_be_left_out(endpoint: S3Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "pairs.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 3)
        kind = file.createCompoundType(np.dtype([("a", "i4"), ("b", "f8")]), "pair")
        file.createVariable("pairs", kind, ("x",))
        file.createVariable("t", "f4", ("x",))[:] = 1
    run = CliRunner().invoke(main, ["data", "ingest", str(path), MADE])
    assert run.exit_code == 1
    assert "pairs.nc: variable 'pairs': is of a structured" in run.output
    assert endpoint.objects() == []
    run = CliRunner().invoke(main, ["data", "ingest", str(path), MADE, "--preprocess", "drop=pairs"])
    assert run.exit_code == 0, run.output
    assert list(xr.open_zarr(MADE).variables) == ["t"]


def test_unknown_words_are_told_with_those_that_there_are(endpoint: S3Endpoint, store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    for options, message in (
        ({"access": "maps"}, "access 'maps' is unknown: choose one of map, series, both"),
        ({"format": "hdf"}, "format 'hdf' is unknown"),
        ({"check": "none"}, "check 'none' is unknown"),
        ({"compression": "gzip"}, "compression 'gzip' is unknown: choose one of measured, none, lz4"),
        ({"chunks": {"time": 10**9}, "access": "map"}, None),
    ):
        if message is None:
            ingest("s3://alice/one.nc", MADE, tell=quiet, **options)  # longer than there is: all of it
        else:
            with pytest.raises(DataError, match=message):
                ingest("s3://alice/one.nc", MADE, tell=quiet, **options)
            assert endpoint.objects() == ["alice/one.nc"]


@pytest.mark.parametrize("place", ["file", "dataset"])
@pytest.mark.usefixtures("endpoint")
def test_groups_of_which_nothing_is_taken_are_named(tmp_path: Path, place: str) -> None:
    path = tmp_path / "groups.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 3)
        file.createVariable("t", "f4", ("x",))[:] = 1
        file.createGroup("deep/er").createVariable("u", "f4", ("x",))[:] = 2
    source = str(path)
    if place == "dataset":
        source = "s3://alice/old"
        xr.Dataset({"t": ("x", np.ones(3))}).to_zarr(source)
        xr.Dataset({"u": ("x", np.ones(3))}).to_zarr(source, group="deep/er", mode="a")
    told: list[str] = []
    ingest(source, MADE, tell=told.append)
    name = {"file": "deep/er", "dataset": "deep"}[place]
    assert f"of the groups {name} nothing is taken: name one with --group, for a dataset of its own" in told
    told.clear()
    ingest(source, f"{MADE}-u", group="deep/er", tell=told.append)
    assert not [text for text in told if "groups" in text]
    assert "u" in xr.open_zarr(f"{MADE}-u")


@FORMATS
def test_a_fill_value_of_another_kind_is_told_with_file_and_variable(
    endpoint: S3Endpoint, tmp_path: Path, kind: str
) -> None:
    """The netCDF library writes none, other programs do."""
    with h5py.File(tmp_path / "one.nc", "w") as file:
        x = file.create_dataset("x", data=np.arange(3.0))
        x.make_scale("x")
        t = file.create_dataset("t", data=np.ones(3, "f4"))
        t.dims[0].attach_scale(x)
        t.attrs["_FillValue"] = "none"
    with pytest.raises(DataError, match=r"one.nc: variable 't': _FillValue cannot be kept \('none' is a text"):
        ingest(tmp_path / "one.nc", MADE, format=kind, tell=quiet)
    assert endpoint.objects() == []


def test_a_file_without_variables_is_refused_with_its_groups(endpoint: S3Endpoint, tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "one.nc", "w") as file:
        file.createDimension("x", 3)
        file.createGroup("deep").createVariable("u", "f4", ("x",))[:] = 2
    with pytest.raises(DataError, match=r"one.nc: there are no variables to copy; its groups are deep: name one"):
        ingest(tmp_path / "one.nc", MADE, tell=quiet)
    assert endpoint.objects() == []
