"""A description as kerchunk's references (Zarr version 2, and for each chunk where it lies or its content).

Zarr 2 has one fill value for two things: what chunks hold that were never written, and, for xarray, what is missing.
Where HDF5 has two, chunks that were never written are given their content.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import numcodecs
import numpy as np
import xarray as xr
from xarray.backends.zarr import encode_zarr_attr_value

from appliance.data import DataError
from appliance.data.described import Described, is_virtual
from appliance.data.stored import grid_of

WRITTEN_BYTES = 16 * 2**20  # of chunks that were never written, in the references at most


def references(described: Described) -> dict[str, Any]:
    """Kerchunk's references, version 1.

    Raises:
        DataError: Zarr 2 cannot say what the file says.
    """
    refs: dict[str, Any] = {".zgroup": '{"zarr_format":2}', ".zattrs": _json(_attributes(described.attributes))}
    for name, variable in described.variables.items():
        check_name(described.url, name)
        refs |= (_virtual if is_virtual(variable) else _copied)(described, name, variable)
    refs[".zmetadata"] = _consolidated(refs)
    return {"version": 1, "refs": refs}


def check_name(url: str, name: str) -> None:
    """Raise ``DataError`` for a name that cannot be a name in Zarr."""
    if name.startswith(".") or "/" in name or not name.strip() or name == "zarr.json":
        raise DataError(f"{url}: variable {name!r}: Zarr has no such names; way out: --preprocess rename={name}:OTHER")


def _virtual(described: Described, name: str, variable: xr.Variable) -> dict[str, Any]:
    numbers, stored_fill = described.numbers[name], described.fills[name]
    array = variable.data
    attributes, fill = _with_fill(variable.attrs, numbers.dtype)
    chunks: dict[str, Any] = {
        f"{name}/{key}": [e["path"], e["offset"], e["length"]] for key, e in array.manifest.dict().items()
    }
    grid = grid_of(array.shape, array.chunks)
    if len(chunks) < math.prod(grid) and not _same(stored_fill, 0 if fill is None else fill, numbers.dtype):
        if _same(stored_fill, 0, numbers.dtype):
            attributes, fill = dict(variable.attrs), None  # xarray takes _FillValue from the attributes, too
        else:
            chunks |= _never_written(described, name, variable, set(chunks))
    dtype, filters = numbers.dtype, [dict(codec) for codec in numbers.codecs]
    if dtype.byteorder == ">" and "_Unsigned" in variable.attrs:
        # xarray (2026.9) turns the bytes of such a fill value round: it gets numbers in this machine's order.
        dtype = dtype.newbyteorder("<")
        filters.insert(0, {"id": "astype", "encode_dtype": numbers.dtype.str, "decode_dtype": dtype.str})
    return {
        **_metadata(name, variable, attributes, array.chunks, dtype, fill, filters or None),
        **chunks,
    }


def _never_written(described: Described, name: str, variable: xr.Variable, written: set[str]) -> dict[str, str]:
    """Chunks full of HDF5's fill value, encoded as the others."""
    numbers = described.numbers[name]
    content: Any = np.full(variable.data.chunks, described.fills[name], dtype=numbers.dtype)
    for codec in numbers.codecs:
        content = numcodecs.get_codec(dict(codec)).encode(content)
    text = _inline(np.ascontiguousarray(content).tobytes() if isinstance(content, np.ndarray) else bytes(content))
    grid = grid_of(variable.shape, variable.data.chunks)
    keys = (f"{name}/{'.'.join(map(str, index))}" for index in itertools.product(*map(range, grid)))
    if (math.prod(grid) - len(written)) * len(text) > WRITTEN_BYTES:
        raise DataError(
            f"{described.url}: variable {name!r}: has chunks that were never written, which HDF5 fills with "
            f"{described.fills[name]}, and {variable.attrs.get('_FillValue', 'nothing')} as _FillValue: kerchunk's "
            "references have one of the two only; way out: --format icechunk"
        )
    return {key: text for key in keys if key not in written}


def _copied(_described: Described, name: str, variable: xr.Variable) -> dict[str, Any]:
    values = np.asarray(variable.values)
    text = values.dtype.kind in "OUT"
    if text:
        values, filters = values.astype(object), [{"id": "vlen-utf8"}]
        # numcodecs looks at a row of objects
        content = bytes(numcodecs.VLenUTF8().encode(values.reshape(-1))) if values.size else b""
        attributes, fill = dict(variable.attrs), None
    else:
        values, filters = values.astype(values.dtype.newbyteorder("=")), None
        content = np.ascontiguousarray(values).tobytes()
        attributes, fill = _with_fill(variable.attrs, values.dtype)
    chunks = tuple(max(1, size) for size in values.shape)
    made = _metadata(name, variable, attributes, chunks, values.dtype, fill, filters)
    if values.size:
        made[f"{name}/{'.'.join('0' for _ in values.shape) or '0'}"] = _inline(content)
    return made


def _metadata(
    name: str, variable: xr.Variable, attributes: Mapping[str, Any], chunks: Any, dtype: Any, fill: Any, filters: Any
) -> dict[str, Any]:
    array = {
        "zarr_format": 2,
        "shape": list(variable.shape),
        "chunks": list(chunks),
        "dtype": dtype.str,
        "fill_value": fill if fill is None else _fill_said(fill),
        "order": "C",
        "compressor": None,
        "filters": filters,
    }
    dims = {"_ARRAY_DIMENSIONS": [str(dim) for dim in variable.dims]}
    return {f"{name}/.zarray": _json(array), f"{name}/.zattrs": _json({**dims, **_attributes(attributes)})}


def _with_fill(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[dict[str, Any], Any]:
    """Attributes without ``_FillValue``, and that as one of the array's own type; or all, and None, if it is none."""
    rest = dict(attributes)
    value = rest.pop("_FillValue", None)
    if value is None or np.size(value) != 1:
        return dict(attributes), None
    try:
        fill = np.asarray(value).reshape(())[()]
        with np.errstate(invalid="ignore"):
            cast = np.asarray(fill).astype(dtype.newbyteorder("="))[()]
    except (TypeError, ValueError):
        return dict(attributes), None
    return (rest, cast) if _same(cast, fill, dtype) else (dict(attributes), None)


def _same(a: Any, b: Any, dtype: np.dtype[Any]) -> bool:
    return bool(np.array_equal(a, b, equal_nan=dtype.kind == "f"))


def _fill_said(value: Any) -> Any:
    """A fill value as Zarr 2 writes it."""
    if isinstance(value, bytes):
        return base64.standard_b64encode(bytes(value).ljust(1, b"\0")).decode()
    if isinstance(value, np.floating) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value.item()


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: encode_zarr_attr_value(value) for key, value in attributes.items()}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _inline(content: bytes) -> str:
    return "base64:" + base64.b64encode(content).decode()


def _consolidated(refs: Mapping[str, Any]) -> str:
    """Zarr's consolidated metadata (version 2), so that opening them takes one look."""
    kinds = (".zgroup", ".zattrs", ".zarray")
    metadata = {key: json.loads(text) for key, text in refs.items() if key.rpartition("/")[2] in kinds}
    return json.dumps({"zarr_consolidated_format": 1, "metadata": metadata})
