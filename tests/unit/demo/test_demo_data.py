"""Data that the project makes has the layout of the real file, and is the same each time."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest

from appliance.demo.data import example_files, make_sst


def test_files_that_are_there_are_taken_and_none_is_made(tmp_path: Path) -> None:
    for name in ("b.nc", "a.nc", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in example_files(tmp_path)] == ["a.nc", "b.nc"]
    assert len(list(tmp_path.iterdir())) == 3


def test_where_there_is_none_one_is_made(tmp_path: Path) -> None:
    (made,) = example_files(tmp_path / "data")
    assert made.name == "ostia_monthly.nc"
    assert example_files(tmp_path / "data") == [made]
    assert list((tmp_path / "data").iterdir()) == [made]


def test_made_data_has_the_layout_of_the_real_file(tmp_path: Path) -> None:
    with netCDF4.Dataset(make_sst(tmp_path / "made.nc")) as file:
        sst = file["surface_temperature"]
        assert sst.dimensions == ("time", "latitude", "longitude")
        assert (sst.shape, sst.dtype, sst.units) == ((54, 18, 432), np.dtype("float32"), "K")
        values = sst[:]
        assert 285 < values.min() < values.max() < 310
        # Land is land in every month, as the summary takes it to be.
        assert np.array_equal(values.mask.any(axis=0), values.mask.all(axis=0))
        assert 0.1 < values.mask.mean() < 0.4
        times = netCDF4.num2date(file["time"][:], file["time"].units, file["time"].calendar)
        assert [(t.year, t.month) for t in times[[0, 8, 9, -1]]] == [(2006, 4), (2006, 12), (2007, 1), (2010, 9)]
        assert np.all(file["time_bnds"][:, 0] < file["time"][:])
        assert np.all(file["time"][:] < file["time_bnds"][:, 1])
        assert "no observation" in file.title


def test_made_data_is_the_same_each_time(tmp_path: Path) -> None:
    with netCDF4.Dataset(make_sst(tmp_path / "a.nc")) as a, netCDF4.Dataset(make_sst(tmp_path / "b.nc")) as b:
        assert np.array_equal(a["surface_temperature"][:].data, b["surface_temperature"][:].data)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        make_sst(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
