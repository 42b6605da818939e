"""What libraries get wrong by themselves: why we read files, write metadata and load some of them ourselves.

A test here fails once they are right. When all of those of HDF5 do, `hdf5_layout.py` is needless: VirtualiZarr's
`HDFParser` can be used. When all of netCDF-3 do, `netcdf3_layout.py` is, for its `NetCDF3Parser`; and with both and the
scalars also `kerchunk_references.py`. When that of last files does, `files._chained` is. Written for VirtualiZarr 2.5.1
and kerchunk 0.2.10.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import programs
import pytest
import xarray as xr
from kerchunk.netCDF3 import NetCDF3ToZarr
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import LocalStore
from virtualizarr import open_virtual_dataset
from virtualizarr.parsers import HDFParser, NetCDF3Parser

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def hdf5(tmp_path: Path) -> Path:
    path = tmp_path / "plain.nc"
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", data=np.arange(3.0))
        x.make_scale("x")
        rain = file.create_dataset("rain", data=np.array([0, 1, -9999], "f4"), chunks=(3,))
        rain.dims[0].attach_scale(x)
        rain.attrs["_FillValue"] = np.float32(-9999)
        file.create_dataset("flag", data=np.array([0, 1, 2], "i4"), chunks=(3,)).dims[0].attach_scale(x)
        file.create_dataset("height", data=2.0)
    return path


@pytest.fixture
def netcdf3(tmp_path: Path) -> Path:
    path = tmp_path / "classic.nc"
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", 3)
        t = file.createVariable("t", "f4", ("x",), fill_value=-1e30)
        t[:] = np.ma.masked_equal([0, 1, 2], 2)
        t.level = np.int32(2)
    return path


def described(path: Path, parser: Any, loaded: list[str]) -> xr.Dataset:
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    return open_virtual_dataset(f"file://{path}", registry, parser, loadable_variables=loaded)


def kerchunks(path: Path, parser: Any, loaded: list[str]) -> dict[str, Any]:
    refs: dict[str, Any] = described(path, parser, loaded).vz.to_kerchunk(format="dict")["refs"]
    return refs


def test_the_content_of_scalars_is_lost(hdf5: Path) -> None:
    assert "height/0" not in kerchunks(hdf5, HDFParser(), ["height", "x"])


def test_hdf5s_fill_value_is_taken_for_the_missing_one(hdf5: Path) -> None:
    refs = kerchunks(hdf5, HDFParser(), [])
    assert json.loads(refs["flag/.zarray"])["fill_value"] == 0
    assert json.loads(refs["rain/.zarray"])["fill_value"] == 0


def test_types_and_fill_values_of_netcdf3_are_lost(netcdf3: Path) -> None:
    dataset = described(netcdf3, NetCDF3Parser(), [])
    assert "_FillValue" not in dataset.t.attrs | dataset.t.encoding
    assert dataset.t.attrs["level"] == "2"


def test_compact_arrays_are_taken_for_never_written(tmp_path: Path) -> None:
    path = tmp_path / "compact.nc"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space, kind = h5py.h5s.create_simple((3,)), h5py.h5t.IEEE_F64LE
        h5py.Dataset(h5py.h5d.create(file.id, b"t", kind, space, plist))[:] = [1, 2, 3]
    assert described(path, HDFParser(), []).t.data.manifest.dict() == {}


def test_filters_that_hdf5_left_out_of_a_chunk_are_overlooked(tmp_path: Path) -> None:
    path = tmp_path / "noise.nc"
    noise = np.frombuffer(np.random.default_rng(1).bytes(64), "u1")
    with h5py.File(path, "w") as file:
        made = file.create_dataset("t", (64,), "u1", chunks=(64,), compression="gzip")
        made.id.write_direct_chunk((0,), noise.tobytes(), filter_mask=1)  # as HDF5 1.x does where zlib gains nothing
    (entry,) = described(path, HDFParser(), []).t.data.manifest.dict().values()
    assert entry["length"] == 64  # as it is, and described as compressed


def test_one_variable_that_is_not_understood_costs_all(tmp_path: Path) -> None:
    path = tmp_path / "lzf.nc"
    with h5py.File(path, "w") as file:
        file.create_dataset("good", data=np.arange(3.0))
        file.create_dataset("t", data=np.arange(3.0), chunks=(3,), compression="lzf")
    with pytest.raises(Exception, match="lzf"):
        described(path, HDFParser(), [])


def test_records_without_padding_are_miscounted(tmp_path: Path) -> None:
    path = tmp_path / "records.nc"
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("time", None)
        file.createDimension("x", 3)
        file.createVariable("t", "i2", ("time", "x"))[:] = np.zeros((10, 3))
    refs = NetCDF3ToZarr(str(path), inline_threshold=0).translate()["refs"]
    assert json.loads(refs["t/.zarray"])["shape"] != [10, 3]


def test_names_that_are_not_ascii_are_misspelt(tmp_path: Path) -> None:
    path = tmp_path / "names.nc"
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", 3)
        file.createVariable("Größe", "i4", ("x",))[:] = 0
    assert "Größe/.zarray" not in NetCDF3ToZarr(str(path), inline_threshold=0).translate()["refs"]


def test_a_last_file_that_ends_within_a_chunk_cannot_be_joined(tmp_path: Path) -> None:
    parts = []
    for number, length in enumerate((4, 3)):
        with h5py.File(tmp_path / f"{number}.nc", "w") as file:
            file.create_dataset("t", data=np.arange(float(length)), chunks=(2,))
        parts.append(described(tmp_path / f"{number}.nc", HDFParser(), []).t.variable)
    with pytest.raises(ValueError, match="partial chunks"):
        xr.Variable.concat(parts, dim=parts[0].dims[0])


PROJ = "import cfgrib, rioxarray, pyproj; print(pyproj.CRS(32633).name)\n"


def test_eccodes_libraries_still_come_before_pyprojs_own(tmp_path: Path) -> None:
    """Where this fails, `appliance.data.grib_libraries` has become needless."""
    ended = subprocess.run([sys.executable, "-c", PROJ], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "pyproj unable to set PROJ database path" in ended.stderr


def test_loaded_for_themselves_they_do_not(tmp_path: Path) -> None:
    program = tmp_path / "both.py"
    program.write_text(f"import appliance.on_import\n{PROJ}")
    assert programs.run(program) == "WGS 84 / UTM zone 33N\n"
