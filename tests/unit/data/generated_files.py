"""NetCDF files of all kinds, by hypothesis: as models, NCO, CDO, h5py and Fortran programs write, and odder ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

NETCDF3 = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET")
FORMATS = (*NETCDF3, "NETCDF4", "NETCDF4_CLASSIC", "HDF5")
SIZES = {"y": 6, "x": 40}
DIMS = ((), ("time",), ("x",), ("y", "x"), ("time", "x"), ("time", "y", "x"))
OF_NETCDF3 = ("i1", "i2", "i4", "f4", "f8")
OF_NETCDF4 = (*OF_NETCDF3, "u1", "u2", "u4", "i8", "u8")
CALENDARS = ("standard", "proleptic_gregorian", "noleap", "360_day", "julian", None)
FILTERS = ("zlib", "shuffle", "fletcher32", "szip", "zstd", "blosc_lz4", "bzip2", "lzf", "scaleoffset")
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["long_name", "level", "range", "straße", "flag values", "empty", "words", "tiny"]),
    st.sampled_from(
        ["", "Wärme", "7", 3, np.int16(-4), 2.5, np.float32(0.1), np.array([1.5, 2.5], "f4"), np.arange(3, dtype="i4")]
    ),
    max_size=3,
)


@st.composite
def numbers(draw: st.DrawFn, file_format: str) -> dict[str, Any]:
    """A variable of numbers."""
    netcdf3, plain = file_format in NETCDF3, file_format == "HDF5"
    classic = netcdf3 or file_format == "NETCDF4_CLASSIC"
    dtype = np.dtype(draw(st.sampled_from(OF_NETCDF3 if classic else OF_NETCDF4 + (("f2", "bool") if plain else ()))))
    made: dict[str, Any] = {
        "kind": "numbers",
        "dims": draw(st.sampled_from(DIMS)),
        "dtype": dtype if netcdf3 or dtype.kind == "b" else dtype.newbyteorder(draw(st.sampled_from("=<>"))),
        "fill": draw(st.sampled_from(["none", "default", "zero", "value", "nan", "wide"])),
        "own_fill": draw(st.sampled_from([None, 0, 7])) if plain else None,  # HDF5's
        "scale": draw(st.sampled_from([None, None, 0.01, 0.01, np.float32(0.01), np.float32(0.01), 2])),
        "offset": draw(st.sampled_from([None, 0.0, 273.15, np.float32(10)])),
        "unsigned": draw(st.sampled_from([None, None, "true", "false"])) if dtype.kind in "iu" else None,
        "missing": draw(st.sampled_from([None, None, -99, float("nan")])),
        "valid": draw(st.booleans()),
        "attributes": draw(ATTRIBUTES),
        "written": draw(st.sampled_from(["all", "all", "part", "nothing"])),
        "values": draw(st.sampled_from(["small", "noise", "zeros"])),
        "seed": draw(st.integers(0, 2**16)),
    }
    if not netcdf3 and made["fill"] == "none" and made["written"] != "all":
        made["fill"] = "default"  # else the library hands out whatever its memory holds
    if not netcdf3:
        made["chunks"] = draw(st.sampled_from([None, (2, 4, 16), (1, 6, 40), (3, 5, 32)]))
        made["compact"] = draw(st.booleans()) if plain and made["chunks"] is None else False
        made["filters"] = draw(st.lists(st.sampled_from(FILTERS), max_size=3, unique=True)) if made["chunks"] else []
    return made


@st.composite
def others(draw: st.DrawFn, file_format: str) -> dict[str, Any]:
    """A variable of something else."""
    kinds = ["chars", "times", "grid_mapping", "bounds", "truth"]
    if file_format == "NETCDF4":
        kinds += ["strings", "enum", "ragged", "structure", "span"]
    if file_format == "HDF5":
        kinds = ["strings", "fixed_strings", "enum", "structure", "reference", "null"]
    return {
        "kind": draw(st.sampled_from(kinds)),
        "dims": draw(st.sampled_from(DIMS[:4])),
        "calendar": draw(st.sampled_from(CALENDARS)),
        "units": draw(st.sampled_from(["days since 2000-01-01", "hours since 1850-01-01 00:00:0.0", "seconds"])),
        "dtype": np.dtype(draw(st.sampled_from(["i4", "f8"]))),
        "attributes": draw(ATTRIBUTES),
        "fill": draw(st.booleans()),
    }


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """What a file holds."""
    file_format = draw(st.sampled_from(FORMATS))
    variable = st.one_of(numbers(file_format), numbers(file_format), others(file_format))
    return {
        "format": file_format,
        "time": draw(st.sampled_from([0, 1, 4, 5])),
        "unlimited": draw(st.booleans()),
        "coordinates": draw(st.sets(st.sampled_from(["time", "y", "x"]))),
        "group": draw(st.sampled_from([None, None, "model/out"])) if file_format in ("NETCDF4", "HDF5") else None,
        "variables": draw(st.lists(variable, min_size=1, max_size=3)),
        "names": draw(st.sampled_from([["t", "u", "v"], ["Größe 1", "c", "x.y"], ["y", "t2", "crs"]])),
        "attributes": draw(ATTRIBUTES),
    }
