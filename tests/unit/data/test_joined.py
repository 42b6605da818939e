"""Several files as one dataset: times that count from other days, other coordinates, dropped and renamed variables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, virtual_store, virtualize

pytestmark = pytest.mark.filterwarnings("ignore")
Store = Callable[..., str]
KINDS = pytest.mark.parametrize("kind", ["kerchunk", "icechunk"])


def month(endpoint: S3Endpoint, number: int, calendar: str = "standard", **changes: Any) -> None:
    """Four times of 2001, with bounds that have no units of their own, as models write them."""
    with netCDF4.Dataset(endpoint.folder / f"alice/month-{number}.nc", "w") as file:
        for dim, size in (("time", 4), ("two", 2), ("x", 3)):
            file.createDimension(dim, size)
        time = file.createVariable("time", changes.get("dtype", "f8"), ("time",))
        time.units, time.calendar = f"days since 2001-{number:02}-01", calendar
        time.bounds = "time_bnds"
        time[:] = changes.get("times", np.arange(4) + 0.125)
        file.createVariable("time_bnds", "f8", ("time", "two"))[:] = np.arange(8).reshape(4, 2) / 2
        file.createVariable("t", "f4", ("time", "x"), chunksizes=(2, 3))[:] = number
        file.history = f"made {number}"


@KINDS
@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_times_and_their_bounds_count_from_one_day(endpoint: S3Endpoint, kind: str, calendar: str) -> None:
    for number in (1, 2):
        month(endpoint, number, calendar)
    said: list[str] = []
    target = virtualize("s3://alice/month-*.nc", "s3://alice/made", format=kind, check="all", tell=said.append)
    made = xr.open_zarr(virtual_store(target)).load()
    for number in (1, 2):
        with xr.open_dataset(endpoint.folder / f"alice/month-{number}.nc") as file:
            part = made.isel(time=slice(4 * number - 4, 4 * number))
            for name in ("time", "time_bnds", "t"):
                np.testing.assert_array_equal(part[name].values, file[name].values)
    assert [text for text in said if text.startswith("time: is counted in")]
    assert "history" not in made.attrs
    assert "attributes that differ between the files are left out: history" in said


def test_calendars_are_not_mixed(endpoint: S3Endpoint) -> None:
    month(endpoint, 1, "noleap")
    month(endpoint, 2, "360_day")
    with pytest.raises(
        DataError,
        match=r"month-2.nc: variable 'time': is in .* of the calendar 360_day .*, but .*noleap .* in .*month-1",
    ):
        virtualize("s3://alice/month-*.nc", "s3://alice/made")


def test_times_without_units_are_not_compared_with_times(endpoint: S3Endpoint) -> None:
    month(endpoint, 1)
    month(endpoint, 2)
    with netCDF4.Dataset(endpoint.folder / "alice/month-2.nc", "a") as file:
        file["time"].delncattr("units")
    with pytest.raises(DataError, match=r"month-2.nc: variable 'time': is without units .*, but in 'days since 2001"):
        virtualize("s3://alice/month-*.nc", "s3://alice/made")


def test_times_that_xarray_cannot_decode_are_kept_as_numbers(endpoint: S3Endpoint) -> None:
    for number in (1, 2):
        month(endpoint, 3 - number, times=np.arange(4) + 4 * number)
        with netCDF4.Dataset(endpoint.folder / f"alice/month-{3 - number}.nc", "a") as file:
            file["time"].units = "months since 1960-01-01"
    said: list[str] = []
    made = virtualize("s3://alice/month-*.nc", "s3://alice/made", check="all", tell=said.append)
    assert list(xr.open_zarr(virtual_store(made), decode_times=False).time.values) == list(range(4, 12))
    assert said[1].endswith("neither here nor in the files: open it with decode_times=False")
    with netCDF4.Dataset(endpoint.folder / "alice/month-1.nc", "a") as file:
        file["time"].units = "months since 1961-01-01"
    with pytest.raises(DataError, match=r"variable 'time': xarray cannot decode it: .* 'months since .*way out"):
        virtualize("s3://alice/month-*.nc", "s3://alice/other")


def labelled(endpoint: S3Endpoint, number: int, *labels: str) -> None:
    """An ensemble's file, with the names of its members; without names if there are none."""
    with netCDF4.Dataset(endpoint.folder / f"alice/member-{number}.nc", "w") as file:
        file.createDimension("member", 2)
        file.createDimension("x", 3)
        file.createVariable("t", "f4", ("member", "x"), chunksizes=(1, 3))[:] = number
        if labels:
            file.createVariable("member", str, ("member",))[:] = np.array(labels, dtype=object)


def test_files_without_an_order_of_their_own_are_joined_as_named(endpoint: S3Endpoint) -> None:
    for labels in ((), ("r2", "r10"), ("r1", "r9")):
        for number in (1, 2):
            labelled(endpoint, number, *(f"{label}-{number}" for label in labels))
        said: list[str] = []
        target = f"s3://alice/made-{'-'.join(labels)}"
        made = virtualize(["s3://alice/member-2.nc", "s3://alice/member-1.nc"], target, dim="member", tell=said.append)
        assert list(xr.open_zarr(virtual_store(made)).t.values[:, 0]) == [2, 2, 1, 1]
        assert said[0].startswith(
            "member: has no numbers or times to go by: the files are joined in the order in which"
        )
    labelled(endpoint, 2, "r1-1", "r3")
    with pytest.raises(DataError, match=r"member-2.nc: its member 'r1-1' is in s3://alice/member-1.nc too"):
        virtualize("s3://alice/member-*.nc", "s3://alice/other", dim="member")


def test_a_variable_that_one_file_has_can_be_dropped_or_renamed(store: Store) -> None:
    store("era/1.nc", year(1).assign(u=1.0), **PACKED)
    store("era/2.nc", year(2).rename(lat="latitude"), **PACKED)
    with pytest.raises(DataError, match=r"has no variable '(u|lat)', which .*--preprocess drop="):
        virtualize("s3://alice/era/*.nc", "s3://alice/era")
    target = virtualize("s3://alice/era/*.nc", "s3://alice/era", drop=["u"], rename={"latitude": "lat"})
    assert set(xr.open_zarr(virtual_store(target)).variables) == {"time", "lat", "x", "t"}


def test_names_that_would_meet_are_told(store: Store) -> None:
    store("one.nc", year(1), **PACKED)
    for changes, message in (
        ({"rename": {"y": "x"}}, "one.nc: two dimensions would be called 'x': choose another name"),
        ({"rename": {"lat": "t"}}, "one.nc: two variables would be called 't': choose another name"),
        ({"drop": ["y"]}, "one.nc: no variable is called 'y'; there are: lat, t, time, x, y"),
    ):
        with pytest.raises(DataError, match=message):
            virtualize("s3://alice/one.nc", "s3://alice/made", **changes)


def test_times_that_overlap_or_run_back_are_told(endpoint: S3Endpoint) -> None:
    month(endpoint, 1)
    month(endpoint, 2, times=np.array([-30, 1, 2, 3.0]))
    with pytest.raises(DataError, match=r"month-2.nc: its time begins at 2001-01-02.*, not after 2001-01-04"):
        virtualize("s3://alice/month-*.nc", "s3://alice/made")
    month(endpoint, 2, times=np.array([3, 1, 2, 0.0]))
    with pytest.raises(DataError, match=r"month-2.nc: variable 'time': runs neither forwards nor backwards"):
        virtualize("s3://alice/month-*.nc", "s3://alice/made")
    month(endpoint, 2, times=np.array([3, 2, 1, 0.0]))
    with pytest.raises(DataError, match=r"month-2.nc: variable 'time': runs backwards, but forwards in .*month-1.nc"):
        virtualize("s3://alice/month-*.nc", "s3://alice/made")
    month(endpoint, 1, times=np.array([3, 2, 1, 0.0]))
    made = xr.open_zarr(virtual_store(virtualize("s3://alice/month-*.nc", "s3://alice/made")))
    assert list(made.t.values[:, 0]) == [2] * 4 + [1] * 4


def nemo(endpoint: S3Endpoint, number: int) -> None:
    """As NEMO writes: ``time_counter`` is 0 in each file, and ``time_centered`` has the time."""
    with netCDF4.Dataset(endpoint.folder / f"alice/nemo-{9 - number}.nc", "w") as file:
        file.createDimension("time_counter", 1)
        file.createDimension("x", 3)
        file.createVariable("time_counter", "f8", ("time_counter",))[:] = 0
        centered = file.createVariable("time_centered", "f8", ("time_counter",))
        centered.units = "seconds since 1900-01-01"
        centered[:] = 86400 * number
        file.createVariable("sst", "f4", ("time_counter", "x"))[:] = number
        file["sst"].coordinates = "time_centered"
        file.createVariable("odd", "f4", ("x",))[:] = number  # differs, though it does not depend on time


@KINDS
def test_files_are_joined_by_a_coordinate_that_is_named(endpoint: S3Endpoint, kind: str) -> None:
    for number in (1, 2, 3):
        nemo(endpoint, number)
    with pytest.raises(DataError, match=r"its time_counter begins at 0.0, not after 0.0.*--combine"):
        virtualize("s3://alice/nemo-*.nc", "s3://alice/made", dim="time_counter")
    with pytest.raises(DataError, match=r"variable 'odd': values is others"):
        virtualize("s3://alice/nemo-*.nc", "s3://alice/made", combine="time_centered")
    with pytest.raises(DataError, match=r"has no variable 'time_centred' to join by; it has: odd, sst, time_c"):
        virtualize("s3://alice/nemo-*.nc", "s3://alice/made", combine="time_centred")
    with pytest.raises(DataError, match=r"no variable is called 'ood'; there are: odd, sst, time_c"):
        virtualize("s3://alice/nemo-*.nc", "s3://alice/made", combine="time_centered", drop=["ood"])
    arguments = ["s3://alice/nemo-*.nc", "s3://alice/made", "--combine", "time_centered", "--format", kind]
    changes = ["--preprocess", "drop=odd", "--preprocess", "rename=sst:tos,time_centered:when"]
    arguments[arguments.index("time_centered")] = "when"
    run = CliRunner().invoke(main, ["data", "virtualize", *arguments, *changes])
    assert run.exit_code == 0, run.output
    made = xr.open_zarr(virtual_store("s3://alice/made" + (".json" if kind == "kerchunk" else "")))
    assert list(made.tos.values[:, 0]) == [1, 2, 3]
    assert set(made.variables) == {"time_counter", "when", "tos"}
    assert "when" in made.coords


def test_files_that_were_compressed_at_other_levels_are_joined(store: Store) -> None:
    for number in (1, 2):
        store(f"era/{number}.nc", year(number), **PACKED, complevel=number)
    made = xr.open_zarr(virtual_store(virtualize("s3://alice/era/*.nc", "s3://alice/era", check="all")))
    np.testing.assert_allclose(made.t.values[12:], year(2).t.values, atol=6e-4)


def test_what_preprocess_does_not_know_is_told() -> None:
    for option in ("drop", "drop=", "rename=a", "turn=a:b"):
        run = CliRunner().invoke(
            main, ["data", "virtualize", "s3://alice/*.nc", "s3://alice/made", "--preprocess", option]
        )
        assert run.exit_code == 1
        assert "write drop=NAME,NAME or rename=OLD:NEW" in run.output


def test_a_large_field_that_is_the_same_in_all_files_stays_in_the_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.data.described.SMALL_BYTES", 100)
    for number in (1, 2):
        store(f"era/{number}.nc", year(number), **PACKED)
    made = xr.open_zarr(virtual_store(virtualize("s3://alice/era/*.nc", "s3://alice/era")))
    np.testing.assert_array_equal(made.lat.values, year(1).lat.values)
    other = year(2)
    other["lat"] = other.lat + 1
    store("era/2.nc", other, **PACKED)
    with pytest.raises(DataError, match=r"era/2.nc: variable 'lat': values"):
        virtualize("s3://alice/era/*.nc", "s3://alice/other")


def test_files_are_joined_by_a_coordinate_of_any_size(endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.data.described.SMALL_BYTES", 0)
    for number in (1, 2):
        with netCDF4.Dataset(endpoint.folder / f"alice/dive-{number}.nc", "w") as file:
            file.createDimension("obs", 4)
            file.createVariable("depth", "f8", ("obs",))[:] = np.arange(4) - 10 * number
            file.createVariable("t", "f4", ("obs",))[:] = number
    made = virtualize("s3://alice/dive-*.nc", "s3://alice/dive", combine="depth")
    assert list(xr.open_zarr(virtual_store(made)).t.values) == [2] * 4 + [1] * 4


@KINDS
def test_large_coordinates_stay_in_the_file(store: Store, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("appliance.data.described.SMALL_BYTES", 10)
    monkeypatch.setattr("appliance.data.described.COPIED_BYTES", 20)
    one = year(1).drop_vars("time").assign(when=(("y", "x"), np.arange(48.0).reshape(6, 8)))
    one.when.attrs["units"] = "seconds since 2000-01-01"
    store("one.nc", one, chunksizes=(4, 6, 8))
    target = virtualize("s3://alice/one.nc", "s3://alice/one", format=kind, check="all")
    made = xr.open_zarr(virtual_store(target))
    assert made.when.values[0, 1] == np.datetime64("2000-01-01T00:00:01")
    assert list(made.x.values) == list(range(8))
    monkeypatch.setattr("appliance.data.described.READ_BYTES", 20)
    with pytest.raises(
        DataError, match=r"one.nc: variable '(x|when)': all its values have to be read, and its \d+ bytes"
    ):
        virtualize("s3://alice/one.nc", "s3://alice/other", format=kind)


def test_of_many_files_few_copies_are_on_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("appliance.data.file_set.COPIES_BYTES", 0)
    for number in (1, 2, 3):
        store(f"era/{number}.nc", year(number), **PACKED)
    copies: list[int] = []

    def count(step: str, _url: str) -> None:
        if step == "compare":
            return
        copies.append(len(list(tmp_path.glob("*/*/part.nc"))))

    target = virtualize("s3://alice/era/*.nc", "s3://alice/era", progress=count)
    assert copies == [1] * 6
    assert xr.open_zarr(virtual_store(target)).sizes["time"] == 36
    assert list(tmp_path.iterdir()) == []
