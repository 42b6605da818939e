"""What cannot be described is told with its name, and what others have stays as it is."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import fsspec
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.compute.reading import objects as reading
from appliance.data import DataError, compared, sources, virtual_store, virtualize
from appliance.data.partial_copy import PartialCopy

pytestmark = pytest.mark.filterwarnings("ignore")
Store = Callable[..., str]


def test_of_two_that_make_the_same_one_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store("one.nc", year(1), **PACKED)
    right = compared.Check.file

    def slow(*arguments: Any) -> None:
        fsspec.filesystem("s3").pipe_file("s3://alice/made.json", b"another's")
        right(*arguments)

    monkeypatch.setattr(compared.Check, "file", slow)
    with pytest.raises(DataError, match=r"s3://alice/made.json: was made by another process meanwhile"):
        virtualize("s3://alice/one.nc", "s3://alice/made")
    assert fsspec.filesystem("s3").cat_file("s3://alice/made.json") == b"another's"


def test_a_file_is_no_place_for_a_repository(endpoint: S3Endpoint, store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    with pytest.raises(DataError, match=r"s3://alice/one.nc: is an object, and so no place"):
        virtualize("s3://alice/one.nc", "s3://alice/one.nc", format="icechunk")
    assert endpoint.objects() == ["alice/one.nc"]


def test_what_came_to_the_place_of_a_refused_repository_stays(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("one.nc", year(1), **PACKED)

    def upload(*_: Any) -> None:
        fsspec.filesystem("s3").pipe_file("s3://alice/made/precious.nc", b"values")
        raise DataError("differs")

    monkeypatch.setattr(compared.Check, "file", upload)
    with pytest.raises(DataError, match="differs"):
        virtualize("s3://alice/one.nc", "s3://alice/made", format="icechunk")
    assert endpoint.objects() == ["alice/made/precious.nc", "alice/one.nc"]


def test_a_file_that_changes_meanwhile_is_refused(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("one.nc", year(1), **PACKED)
    right = PartialCopy.check_unchanged

    def changed(copy: PartialCopy) -> None:
        """After all has been compared, and before the last look."""
        store("one.nc", year(2), **PACKED)
        right(copy)

    monkeypatch.setattr(PartialCopy, "check_unchanged", changed)
    with pytest.raises(DataError, match=r"s3://alice/one.nc: was changed while it was read: try again"):
        virtualize("s3://alice/one.nc", "s3://alice/made")
    assert endpoint.objects() == ["alice/one.nc"]


def test_what_is_no_file_of_netcdf_is_told_by_its_name(endpoint: S3Endpoint, store: Store) -> None:
    alice = endpoint.folder / "alice"
    store("whole.nc", year(1), **PACKED)
    store("classic.nc", year(1), "NETCDF3_CLASSIC")
    for name, content, message in (
        ("empty.nc", b"", r"is empty \(0 bytes\)"),
        ("cut.nc", (alice / "whole.nc").read_bytes()[:-500], "is truncated or damaged .*upload it again"),
        ("head.nc", (alice / "whole.nc").read_bytes()[:100], "is truncated or damaged"),
        (
            "cut3.nc",
            (alice / "classic.nc").read_bytes()[:-500],
            r"is truncated: it has [\d,]+ of at least [\d,]+ bytes",
        ),
        ("head3.nc", (alice / "classic.nc").read_bytes()[:60], "is truncated or damaged"),
        ("salted.nc", b"Salted__" + bytes(100), r"encrypted \(openssl\): decrypt it"),
        ("archive.nc", b"PK\x03\x04" + bytes(100), "a zip archive, or a password-protected one"),
        ("gzip.nc", b"\x1f\x8b" + bytes(100), "gunzip"),
        ("grib.nc", b"GRIB" + bytes(100), "a GRIB file: `appliance data ingest` copies it"),
        ("page.nc", b"<!DOCTYPE html>", "a web page"),
        ("Größe 1.nc", b"hello world, all", r"neither HDF5/netCDF-4 nor netCDF-3; it begins with b'hello wo'"),
    ):
        (alice / name).write_bytes(content)
        with pytest.raises(DataError, match=f"s3://alice/{name}: .*{message}"):
            virtualize(f"s3://alice/{name}", "s3://alice/made")
    assert not [name for name in endpoint.objects() if "made" in name]
    with netCDF4.Dataset(alice / "odd.nc", "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", 6)
        file.createDimension("y", 9)
        file.createVariable("t", "i1", ("y", "x"))[:] = 7
    (alice / "odd.nc").write_bytes((alice / "odd.nc").read_bytes()[:-2])  # as some write it, without the last padding
    assert (xr.open_zarr(virtual_store(virtualize("s3://alice/odd.nc", "s3://alice/odd"))).t.values == 7).all()
    (alice / "data.txt").write_bytes((alice / "whole.nc").read_bytes())  # an ending says nothing
    assert virtualize("s3://alice/data.txt", "s3://alice/made") == "s3://alice/made.json"


def test_what_s3_refuses_is_told_by_its_name(endpoint: S3Endpoint, store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    for source, target, kind, message in (
        ("s3://bob/one.nc", "s3://alice/made", "kerchunk", "no right to read it: 's3://bob/one.nc'"),
        ("s3://bob/*.nc", "s3://alice/made", "kerchunk", r"no right to list it: 's3://bob/\*.nc'"),
        ("s3://alice/one.nc", "s3://bob/made", "kerchunk", "no right there: 's3://bob/made.json'"),
        ("s3://alice/one.nc", "s3://bob/made", "icechunk", "no right there: 's3://bob/made'"),
    ):
        with pytest.raises(PermissionError, match=f"S3 refuses: you have {message}"):
            virtualize(source, target, format=kind)
    with pytest.raises(DataError, match=r"s3://alice: is no object, but the beginning of others' names"):
        virtualize("s3://alice", "s3://alice/made")
    assert endpoint.objects() == ["alice/one.nc"]


def test_a_file_is_not_called_damaged_when_s3_does_not_answer(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("one.nc", year(1), **PACKED)
    monkeypatch.setitem(reading.RETRY, "max_retries", 0)
    monkeypatch.setattr(reading, "_stores", {})
    right = sources._reader

    def late(url: str) -> Any:
        made = right(url)
        endpoint.refuse = 100
        return made

    monkeypatch.setattr(sources, "_reader", late)
    with pytest.raises(OSError, match=r"s3://alice/one.nc: .*503 Service Unavailable"):
        virtualize("s3://alice/one.nc", "s3://alice/made")


def test_a_full_disk_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store("one.nc", year(1), **PACKED)
    monkeypatch.setattr("appliance.data.partial_copy._sparse", lambda path, _nbytes: path.symlink_to("/dev/full"))
    with pytest.raises(DataError, match=r"s3://alice/one.nc: no space for a copy of what is looked at in /.*TMPDIR"):
        virtualize("s3://alice/one.nc", "s3://alice/made")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", ["kerchunk", "icechunk"])
def test_a_quota_is_told_and_nothing_stays(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, late: bool
) -> None:
    store("one.nc", year(1), **PACKED)
    right = compared.Check.file

    def checked(*arguments: Any) -> None:
        right(*arguments)
        endpoint.full = True

    endpoint.full = not late
    monkeypatch.setattr(compared.Check, "file", checked)
    with pytest.raises(OSError, match=r"you keep as many bytes or objects in S3 as you may") as raised:
        virtualize("s3://alice/one.nc", "s3://alice/made", format=kind)
    assert raised.value.errno == errno.EDQUOT
    assert "s3://alice/made" in str(raised.value)
    assert endpoint.objects() == ["alice/one.nc"]


def test_a_group_is_named_by_those_that_there_are(endpoint: S3Endpoint) -> None:
    path = endpoint.folder / "alice/groups.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 3)
        group = file.createGroup("model/out")
        group.createVariable("t", "f4", ("x",))[:] = 1  # of a dimension of the root's
    with pytest.raises(DataError, match=r"groups.nc: has no group 'out'; it has: model, model/out"):
        virtualize("s3://alice/groups.nc", "s3://alice/made", group="out")
    made = xr.open_zarr(virtual_store(virtualize("s3://alice/groups.nc", "s3://alice/made", group="model/out")))
    assert made.t.dims == ("x",)


def test_what_h5py_or_the_netcdf_library_does_not_know_is_told_or_left_out(endpoint: S3Endpoint) -> None:
    for kind in ("bits", "link"):
        with h5py.File(endpoint.folder / f"alice/{kind}.nc", "w") as file:
            file.create_dataset("good", data=np.arange(12.0).reshape(3, 4))
            if kind == "link":
                file["elsewhere"] = h5py.ExternalLink("missing.h5", "/t")
            else:
                h5py.h5d.create(file.id, b"bits", h5py.h5t.STD_B8LE, h5py.h5s.create_simple((3,)))
    made = xr.open_zarr(virtual_store(virtualize("s3://alice/bits.nc", "s3://alice/made")))
    assert set(made.variables) == {"good"}  # as xarray
    with pytest.raises(
        DataError, match=r"link.nc: the netCDF library cannot open it, so xarray cannot either: .*way out"
    ):
        virtualize("s3://alice/link.nc", "s3://alice/other")


@pytest.mark.parametrize("kind", ["virtual", "external"])
def test_values_in_other_files_are_not_taken_for_fill_values(endpoint: S3Endpoint, kind: str) -> None:
    folder = endpoint.folder / "alice"
    with h5py.File(folder / "values.h5", "w") as file:
        file.create_dataset("t", data=np.arange(12.0))
    with h5py.File(folder / "one.nc", "w") as file:
        file.create_dataset("good", data=np.arange(3.0))
        if kind == "virtual":
            layout = h5py.VirtualLayout((12,), "f8")
            layout[:] = h5py.VirtualSource("values.h5", "t", (12,))
            file.create_virtual_dataset("t", layout)
        else:
            (folder / "values.bin").write_bytes(np.arange(12.0).tobytes())
            file.create_dataset("t", (12,), "f8", external=[("values.bin", 0, 96)])
    with pytest.raises(DataError, match=r"one.nc: variable 't': its values lie in other files .*--preprocess drop=t"):
        virtualize("s3://alice/one.nc", "s3://alice/made")
    assert virtualize("s3://alice/one.nc", "s3://alice/made", drop=["t"])
