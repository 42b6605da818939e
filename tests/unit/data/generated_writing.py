"""Generated files written: by the netCDF library and by h5py."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
from generated_files import NETCDF3, SIZES


def write(path: Path, file: dict[str, Any]) -> None:
    (_write_hdf5 if file["format"] == "HDF5" else _write_netcdf)(path, file)


def _sizes(file: dict[str, Any]) -> dict[str, int]:
    return {"time": file["time"], **SIZES}


def _values(variable: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(variable["seed"])
    dtype = variable["dtype"]
    if dtype.kind == "b" or variable["values"] == "zeros":
        return np.zeros(shape, dtype)
    if variable["values"] == "noise" and dtype.itemsize > 1:
        noise = np.frombuffer(rng.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)
        return np.where(np.isfinite(noise), noise, 0).astype(dtype) if dtype.kind == "f" else noise
    return rng.integers(0, 100, shape).astype(dtype)


def _fill(variable: dict[str, Any]) -> Any:
    dtype = variable["dtype"].newbyteorder("=")
    if variable["fill"] == "nan":
        return dtype.type("nan") if dtype.kind == "f" else None
    if variable["fill"] in ("none", "default") or dtype.kind == "b":
        return None
    return dtype.type({"zero": 0, "value": 7, "wide": 99}[variable["fill"]])


def _attributes(variable: dict[str, Any]) -> dict[str, Any]:
    dtype = variable["dtype"].newbyteorder("=")
    made = dict(variable["attributes"])
    for key, name in (("scale", "scale_factor"), ("offset", "add_offset"), ("unsigned", "_Unsigned")):
        if variable[key] is not None and dtype.kind != "b":
            made[name] = variable[key]
    missing = variable["missing"]
    if missing is not None and not (missing != missing and dtype.kind != "f") and dtype.kind in "if":
        made["missing_value"] = dtype.type(missing)
    if variable["valid"] and dtype.kind in "iuf":
        made["valid_range"] = np.array([0, 90], dtype)
    return made


def _region(variable: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """What is written: the others stay as they were."""
    if variable["written"] == "nothing" or 0 in shape:
        return None
    return tuple(slice(0, max(1, size // 2)) for size in shape) if variable["written"] == "part" else ()


# By the netCDF library


def _write_netcdf(path: Path, file: dict[str, Any]) -> None:
    with netCDF4.Dataset(path, "w", format=file["format"]) as root:
        group = root.createGroup(file["group"]) if file["group"] else root
        for dim, size in _sizes(file).items():
            # Without records, a dimension of no length is unlimited in netCDF-3.
            group.createDimension(dim, None if dim == "time" and (file["unlimited"] or not size) else size)
        for key, value in file["attributes"].items():
            group.setncattr(key, value)
        length = 0
        for dim, size in _sizes(file).items():
            if dim in file["coordinates"]:
                coordinate = group.createVariable(dim, "f8", (dim,))
                coordinate[:] = np.arange(size) + 0.5
                length = max(length, size if dim == "time" else 0)
        for name, variable in zip(file["names"], file["variables"], strict=False):
            if name in group.variables:
                continue
            _add_netcdf(group, name, variable, file)


def _add_netcdf(group: Any, name: str, variable: dict[str, Any], file: dict[str, Any]) -> None:
    dims, sizes = variable["dims"], _sizes(file)
    shape = tuple(sizes[dim] for dim in dims)
    if variable["kind"] != "numbers":
        _add_other_netcdf(group, name, variable, shape)
        return
    options: dict[str, Any] = {}
    fill = _fill(variable)
    if fill is not None:
        options["fill_value"] = fill
    elif variable["fill"] == "none":
        options["fill_value"] = False
    if variable.get("chunks") and dims and 0 not in shape:
        unlimited = file["unlimited"] and "time" in dims
        options["chunksizes"] = [
            c if unlimited and d == "time" else min(c, s)
            for c, d, s in zip(variable["chunks"][-len(dims) :], dims, shape, strict=True)
        ]
        filters = variable["filters"]
        has = {
            "szip": netCDF4.__has_szip_support__,
            "zstd": netCDF4.__has_zstandard_support__,
            "blosc_lz4": netCDF4.__has_blosc_support__,
            "bzip2": netCDF4.__has_bzip2_support__,
        }
        # The library fails to write what blosc cannot make smaller.
        has["blosc_lz4"] = has["blosc_lz4"] and variable["values"] == "zeros" and variable["dtype"].itemsize > 1
        has["szip"] = has["szip"] and np.prod(options["chunksizes"]) >= 32
        options["compression"] = next((f for f in filters if f == "zlib" or has.get(f)), None)
        options["szip_pixels_per_block"] = 4
        options["shuffle"], options["fletcher32"] = "shuffle" in filters, "fletcher32" in filters
    if file["format"] not in NETCDF3 and variable["dtype"].byteorder in "<>":
        options["endian"] = "big" if variable["dtype"].byteorder == ">" else "little"
    made = group.createVariable(name, variable["dtype"].newbyteorder("="), dims, **options)
    made.set_auto_maskandscale(False)
    for key, value in _attributes(variable).items():
        made.setncattr(key, value)
    region = _region(variable, shape)
    if region is not None:
        values = _values(variable, shape).astype(variable["dtype"].newbyteorder("="))
        made[region or ...] = values[region]


def _add_other_netcdf(group: Any, name: str, variable: dict[str, Any], shape: tuple[int, ...]) -> None:
    kind, dims = variable["kind"], variable["dims"]
    count = int(np.prod(shape))
    if kind == "chars":
        if "letters" not in group.dimensions:
            group.createDimension("letters", 4)
        fill = {"fill_value": b"x"} if variable["fill"] else {}
        made = group.createVariable(name, "S1", (*dims, "letters"), **fill)
        if count:
            made[...] = np.array([b"a", b"b", b"", b""]).astype("S1")
    elif kind == "strings":
        made = group.createVariable(name, str, dims)
        if count:
            made[...] = np.array([f"é{i}" for i in range(count)], dtype=object).reshape(shape) if shape else "wörd"
    elif kind == "enum":
        colour = group.createEnumType(np.int8, f"colour{len(group.variables)}", {"red": 0, "green": 1})
        made = group.createVariable(name, colour, dims, fill_value=0)
        if count:
            made[...] = np.ones(shape, "i1")
    elif kind == "ragged":
        made = group.createVariable(name, group.createVLType(np.int32, f"ragged{len(group.variables)}"), ("x",))
        for i in range(SIZES["x"]):
            made[i] = np.arange(i + 1, dtype="i4")
    elif kind == "structure":
        kind_of = group.createCompoundType(np.dtype([("a", "i4"), ("b", "f8")]), f"pair{len(group.variables)}")
        made = group.createVariable(name, kind_of, ("x",))
    elif kind in ("truth", "span"):
        made = group.createVariable(name, "i1" if kind == "truth" else "i8", dims)
        made.setncattr("dtype", "bool" if kind == "truth" else "timedelta64[ns]")
        if kind == "span":
            made.units = "days"
        if count:
            made[...] = np.ones(shape, "i1")
    elif kind == "grid_mapping":
        made = group.createVariable(name, "i4", ())
        made.grid_mapping_name, made.standard_parallel = "rotated_latitude_longitude", np.array([30.0, 60.0])
    else:
        options = {"fill_value": -1} if variable["fill"] else {}
        made = group.createVariable(name, variable["dtype"], dims, **options)
        made.units = variable["units"]
        if variable["calendar"]:
            made.calendar = variable["calendar"]
        if count:
            made[...] = np.arange(count).reshape(shape)
        if kind == "bounds":
            if "two" not in group.dimensions:
                group.createDimension("two", 2)
            made.bounds = f"{name}_bnds"
            bounds = group.createVariable(f"{name}_bnds", variable["dtype"], (*dims, "two"))
            if count:
                bounds[...] = np.arange(2 * count).reshape(*shape, 2)
    for key, value in variable["attributes"].items():
        made.setncattr(key, value)


# By h5py


def _write_hdf5(path: Path, file: dict[str, Any]) -> None:
    sizes = _sizes(file)
    with h5py.File(path, "w") as root:
        group = root.create_group(file["group"]) if file["group"] else root
        for key, value in file["attributes"].items():
            group.attrs[key] = value
        scales = {}
        for dim in file["coordinates"]:
            scales[dim] = group.create_dataset(
                dim, data=np.arange(sizes[dim]) + 0.5, maxshape=(None,) if dim == "time" and file["unlimited"] else None
            )
            scales[dim].make_scale(dim)
        for name, variable in zip(file["names"], file["variables"], strict=False):
            if name in group:
                continue
            shape = tuple(sizes[dim] for dim in variable["dims"])
            made = _add_hdf5(group, name, variable, shape, file["unlimited"])
            if made.shape == shape:
                for axis, dim in enumerate(variable["dims"]):
                    if dim in scales:
                        made.dims[axis].attach_scale(scales[dim])


def _add_hdf5(group: Any, name: str, variable: dict[str, Any], shape: tuple[int, ...], unlimited: bool) -> Any:
    count = int(np.prod(shape))
    match variable["kind"]:
        case "strings":
            made = group.create_dataset(name, shape, h5py.string_dtype())
            if count:
                made[...] = np.array([f"é{i}" for i in range(count)], dtype=object).reshape(shape) if shape else "wörd"
        case "fixed_strings":
            made = group.create_dataset(name, data=np.full(shape, b"abc", "S5"))
        case "enum":
            made = group.create_dataset(name, shape, h5py.enum_dtype({"red": 0, "green": 1}, "i1"))
        case "structure":
            made = group.create_dataset(name, shape, np.dtype([("a", "i4"), ("b", "f8")]))
        case "reference":
            made = group.create_dataset(name, shape, h5py.ref_dtype)
        case "null":
            made = group.create_dataset(name, data=h5py.Empty("f4"))
        case _:
            return _numbers_hdf5(group, name, variable, shape, unlimited)
    return made


def _numbers_hdf5(group: Any, name: str, variable: dict[str, Any], shape: tuple[int, ...], unlimited: bool) -> Any:
    options: dict[str, Any] = {}
    filters = variable["filters"]
    if variable["chunks"] and shape and 0 not in shape:
        chunks = variable["chunks"][-len(shape) :]
        options["chunks"] = chunks if unlimited else tuple(min(c, s) for c, s in zip(chunks, shape, strict=True))
        if unlimited:
            options["maxshape"] = (None,) * len(shape)
        options["shuffle"], options["fletcher32"] = "shuffle" in filters, "fletcher32" in filters
        if variable["dtype"].kind == "i" and "scaleoffset" in filters and "fletcher32" not in filters:
            options["scaleoffset"] = 0
        has = [name for name in _h5_has() if name != "szip" or np.prod(options["chunks"]) >= 32]
        options["compression"] = next((_H5[f] for f in filters if f in has), None)
    if variable["own_fill"] is not None:
        options["fillvalue"] = variable["dtype"].type(variable["own_fill"])
    if variable["compact"] and shape and not options.get("chunks"):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(shape)
        kind = h5py.h5t.py_create(variable["dtype"], logical=True)
        made = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, plist))
    else:
        made = group.create_dataset(name, shape, variable["dtype"], **options)
    for key, value in _attributes(variable).items():
        made.attrs[key] = value
    fill = _fill(variable)
    if fill is not None:
        made.attrs["_FillValue"] = np.float64(fill) if variable["fill"] == "wide" else fill
    region = _region(variable, shape)
    if region is not None:
        made[region or ...] = _values(variable, shape)[region]
    return made


_H5 = {"zlib": "gzip", "lzf": "lzf", "szip": "szip"}


def _h5_has() -> list[str]:
    codes = {"zlib": h5py.h5z.FILTER_DEFLATE, "lzf": h5py.h5z.FILTER_LZF, "szip": h5py.h5z.FILTER_SZIP}
    found = []
    for name, code in codes.items():
        with contextlib.suppress(ValueError):
            if h5py.h5z.filter_avail(code) and h5py.h5z.get_filter_info(code) & h5py.h5z.FILTER_CONFIG_ENCODE_ENABLED:
                found.append(name)
    return found
