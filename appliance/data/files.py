"""What NetCDF files say of themselves, and whether they can be joined: without reading a value of the large arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from appliance.data import DataError

# What decides how stored numbers become values. Joined arrays have one of each: that of the first file.
DECODING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "units", "calendar")
HDF5 = b"\x89HDF\r\n\x1a\n"  # HDF5 File Format Specification 3.0, II.A
NETCDF3 = (b"CDF\x01", b"CDF\x02")  # classic and 64-bit offset format (NetCDF User's Guide, appendix on file formats)
CDF5 = b"CDF\x05"


def parser_of(url: str, first_bytes: bytes, group: str | None) -> Any:
    """VirtualiZarr's parser for a file that begins so. Raises ``DataError`` for what is no NetCDF file."""
    from virtualizarr.parsers import HDFParser, NetCDF3Parser

    if first_bytes.startswith(HDF5):
        return HDFParser(group=group)
    if first_bytes.startswith(NETCDF3):
        if group:
            raise DataError(f"{url}: a netCDF-3 file has no group {group!r}: leave --group out")
        return NetCDF3Parser()
    if first_bytes.startswith(CDF5):
        raise DataError(f"{url}: is in the CDF-5 format; way out: `nccopy -k netCDF-4 IN OUT`, and upload that")
    raise DataError(f"{url}: is neither HDF5/netCDF-4 nor netCDF-3; it begins with {first_bytes[:8]!r}")


def is_virtual(variable: xr.Variable) -> bool:
    """Whether a variable's values stay in the file (VirtualiZarr's ManifestArray)."""
    return hasattr(variable.data, "manifest")


def check_joinable(opened: Sequence[tuple[str, xr.Dataset]], dim: str) -> None:
    """Refuse files that would decode wrongly, or not at all, as parts of one dataset.

    Args:
        opened: addresses with their virtual datasets, in the order in which they are joined.
        dim: the dimension along which they are joined.

    Raises:
        DataError: names the file, the variable and the attribute.
    """
    first_url, first = opened[0]
    for url, dataset in opened[1:]:
        missing = set(first.variables) ^ set(dataset.variables)
        if missing:
            name = min(missing, key=str)
            here, there = (url, first_url) if name in dataset.variables else (first_url, url)
            raise DataError(
                f"{there}: has no variable {name!r}, which {here} has: join only files with the same variables"
            )
        for name, variable in first.variables.items():
            _check_variable(str(name), (first_url, variable), (url, dataset.variables[name]), dim)
    for (url, dataset), (next_url, _) in itertools.pairwise(opened):
        for name, variable in dataset.variables.items():
            if is_virtual(variable) and dim in variable.dims:
                axis = variable.dims.index(dim)
                length, chunk = variable.shape[axis], variable.data.chunks[axis]
                if length % chunk:
                    raise DataError(
                        f"{url}: variable {name!r}: chunks of {chunk} do not fit its {length} along {dim!r}, and "
                        f"{next_url} follows: the chunk that they share lies in two files; way out: rewrite the files "
                        f"with chunks of a divisor of {length}, such as 1"
                    )
    _check_order(opened, dim)


def _check_variable(name: str, first: tuple[str, xr.Variable], other: tuple[str, xr.Variable], dim: str) -> None:
    first_url, a = first
    url, b = other
    if a.dims != b.dims:
        raise _refusal(url, name, "dimensions", b.dims, a.dims, first_url)
    for dimension, size_a, size_b in zip(a.dims, a.shape, b.shape, strict=True):
        if dimension != dim and size_a != size_b:
            raise _refusal(url, name, f"length of dimension {dimension!r}", size_b, size_a, first_url)
    if not is_virtual(a):
        if dim not in a.dims and not xr.DataArray(a).equals(xr.DataArray(b)):
            raise _refusal(url, name, "values", "others", "those", first_url)
        return
    if not is_virtual(b):
        raise _refusal(url, name, "storage", "inline", "chunks", first_url)
    for attribute in DECODING:
        of_a, of_b = (variable.encoding.get(attribute, variable.attrs.get(attribute)) for variable in (a, b))
        if not _same(of_a, of_b):
            raise _refusal(url, name, attribute, of_b, of_a, first_url)
    storage: list[tuple[str, Callable[[Any], Any]]] = [
        ("dtype", lambda metadata: metadata.data_type),
        ("chunk shape", lambda metadata: metadata.chunk_grid.chunk_shape),
        ("codecs (compression and filters)", lambda metadata: metadata.codecs),
        ("fill value", lambda metadata: metadata.fill_value),
    ]
    for attribute, get in storage:
        of_a, of_b = get(a.data.metadata), get(b.data.metadata)
        if not _same(of_a, of_b):
            raise _refusal(url, name, attribute, of_b, of_a, first_url)


def _refusal(url: str, name: str, attribute: str, here: Any, there: Any, first_url: str) -> DataError:
    return DataError(
        f"{url}: variable {name!r}: {attribute} is {_said(here)}, but {_said(there)} in {first_url}: joined, one of "
        "them would be decoded wrongly; way out: rewrite the file, or make a dataset of its own of it"
    )


def _said(value: Any) -> str:
    return "missing" if value is None else str(value)


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    try:
        return bool(np.array_equal(a, b, equal_nan=True))
    except TypeError:  # no numbers
        return bool(np.all(a == b))


def _check_order(opened: Sequence[tuple[str, xr.Dataset]], dim: str) -> None:
    for (url, dataset), (next_url, following) in itertools.pairwise(opened):
        if dim in dataset.coords and dim in following.coords and dataset.sizes[dim] and following.sizes[dim]:
            last, first = dataset[dim].values[-1], following[dim].values[0]
            if not last < first:
                raise DataError(
                    f"{next_url}: its {dim} begins at {first}, not after {last}, where {url} ends: "
                    f"leave one of the two out, or name another dimension than {dim!r}"
                )


def sorted_by(opened: Sequence[tuple[str, xr.Dataset]], dim: str) -> list[tuple[str, xr.Dataset]]:
    """In the order of the coordinate along ``dim``; as given where it has none."""
    if all(dim in dataset.coords and dataset.sizes[dim] for _, dataset in opened):
        return sorted(opened, key=lambda item: item[1][dim].values[0])
    return list(opened)


def joined(opened: Sequence[tuple[str, xr.Dataset]], dim: str) -> xr.Dataset:
    """One virtual dataset of several, after ``check_joinable``."""
    if len(opened) == 1:
        return opened[0][1]
    dataset: xr.Dataset = xr.concat(
        [each for _, each in opened],
        dim=dim,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="drop_conflicts",
    )
    for name, variable in opened[0][1].variables.items():
        dataset[name].encoding = dict(variable.encoding)
    return dataset
