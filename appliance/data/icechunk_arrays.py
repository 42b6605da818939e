"""A description as arrays of an Icechunk repository (Zarr version 3), with chunks in files or in the repository."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends.zarr import FillValueCoder, encode_zarr_attr_value

from appliance.data import DataError
from appliance.data.described import TEXT, Described, is_virtual
from appliance.data.kerchunk_references import check_name


def write(described: Described, store: Any) -> None:
    """Write a description into the store of a session.

    Raises:
        DataError: Icechunk or Zarr 3 cannot say what the file says.
    """
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of codecs and types that are not yet in Zarr's standard
        attributes = encoded_attributes(described.url, "the dataset", described.attributes)
        group = zarr.create_group(store, attributes=attributes)
        for name, variable in described.variables.items():
            check_name(described.url, name)
            (_virtual if is_virtual(variable) else _copied)(described, group, name, variable)


def _virtual(described: Described, group: Any, name: str, variable: xr.Variable) -> None:
    from virtualizarr.codecs import extract_codecs
    from virtualizarr.writers.icechunk import write_manifest_virtual_refs

    array = variable.data
    filters, serializer, compressors = extract_codecs(array.metadata.codecs)
    group.create_array(
        name,
        shape=array.shape,
        chunks=array.chunks,
        dtype=array.metadata.data_type,
        filters=filters,
        serializer=serializer,
        compressors=compressors,
        fill_value=array.metadata.fill_value,
        dimension_names=[str(dim) for dim in variable.dims],
        attributes=attributes_of(described, name, variable, array.dtype),
    )
    if array.manifest.dict():
        write_manifest_virtual_refs(
            store=group.store,
            group=group,
            arr_name=name,
            manifest=array.manifest,
            chunk_index_offsets=(0,) * array.ndim,
        )


def _copied(described: Described, group: Any, name: str, variable: xr.Variable) -> None:
    values = np.asarray(variable.values)
    text = values.dtype.kind in "OUT"
    values = values.astype(object) if text else values.astype(values.dtype.newbyteorder("="))
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=tuple(max(1, size) for size in values.shape),
        dtype=str if text else values.dtype,
        compressors=None,
        dimension_names=[str(dim) for dim in variable.dims],
        attributes=attributes_of(described, name, variable, values.dtype),
    )
    if values.size:
        array[...] = values


def attributes_of(described: Described, name: str, variable: xr.Variable, dtype: np.dtype[Any]) -> dict[str, Any]:
    """A variable's attributes as xarray keeps them in Zarr 3. Raises ``DataError`` for what it cannot keep."""
    attributes = dict(variable.attrs)
    if dtype.kind == "f" and _is_nan(attributes.get("missing_value")):
        del attributes["missing_value"]  # says nothing: a NaN is missing without it, and JSON has none
    fill = attributes.pop("_FillValue", None)
    if dtype.kind in "iu" and _is_nan(fill):
        fill = None  # no integer is equal to it
    made = encoded_attributes(described.url, f"variable {name!r}", attributes)
    if fill is not None:
        try:
            if dtype.kind in TEXT:
                raise TypeError("xarray does not read one of characters from Zarr 3")
            if np.asarray(fill).dtype.kind in TEXT:
                raise TypeError(f"{fill!r} is a text, and the values are numbers")
            made["_FillValue"] = FillValueCoder.encode(np.asarray(fill).item(), dtype)
            if dtype.kind in "iu" and made["_FillValue"] != fill:
                raise ValueError(f"{fill} is no number of the array's type")
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{described.url}: variable {name!r}: _FillValue cannot be kept ({error}); way out: virtualize it "
                "with --format kerchunk"
            ) from error
    return made


def encoded_attributes(url: str, whose: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as JSON has them. Raises ``DataError`` for what it does not have."""
    made = {key: encode_zarr_attr_value(value) for key, value in attributes.items()}
    for key, value in made.items():
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise DataError(
                f"{url}: {whose}: attribute {key!r} is {value}, which JSON cannot keep; way out: "
                "virtualize it with --format kerchunk, or rewrite the file without it"
            )
    return made


def _is_nan(value: Any) -> bool:
    return (
        value is not None
        and np.size(value) == 1
        and np.asarray(value).dtype.kind == "f"
        and bool(np.isnan(value).all())
    )
