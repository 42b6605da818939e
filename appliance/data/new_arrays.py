"""The arrays of a copied dataset: Zarr 3, with attributes as the file has them and chunks of their own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from appliance.data import codec_choice
from appliance.data.described import Described
from appliance.data.icechunk_arrays import attributes_of, encoded_attributes
from appliance.data.kerchunk_references import check_name

STRINGS = "OUT"  # NumPy's kinds of texts of any length; characters ("S") stay what they are


def create(
    store: Any, described: Described, chunks: Mapping[str, tuple[int, ...]], ways: Mapping[str, str], consolidate: bool
) -> None:
    """Write the metadata of a dataset into a store, which it takes over as a whole.

    Args:
        store: Zarr's.
        described: what the files hold.
        chunks: of the variables that are read later.
        ways: how these are compressed.
        consolidate: whether the root says what all arrays are, so that a dataset is there with one document.

    Raises:
        DataError: Zarr 3 cannot say what a file says.
    """
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that are not yet in Zarr's standard, and consolidated metadata
        attributes = encoded_attributes(described.url, "the dataset", described.attributes)
        group = zarr.create_group(store, attributes=attributes, zarr_format=3, overwrite=True)
        for name, variable in described.variables.items():
            check_name(described.url, name)
            dtype = _dtype(variable)
            attributes = attributes_of(described, name, variable, dtype)  # refuses a fill value of another kind
            group.create_array(
                name,
                shape=variable.shape,
                chunks=chunks.get(name, tuple(max(1, size) for size in variable.shape)),
                dtype=str if dtype.kind == "O" else dtype,
                compressors=codec_choice.codecs(ways.get(name, "none"), dtype.itemsize),
                fill_value=_fill(variable, dtype),
                dimension_names=[str(dim) for dim in variable.dims],
                attributes=attributes,
            )
        if consolidate:
            zarr.consolidate_metadata(store, zarr_format=3)


def write_small(store: Any, described: Described) -> None:
    """Write the values that are at hand."""
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, variable in described.variables.items():
            if name not in described.left and variable.size:
                values = np.asarray(variable.values).astype(_dtype(variable))
                zarr.open_array(store, path=name, mode="r+", zarr_format=3)[...] = values


def _dtype(variable: xr.Variable) -> np.dtype[Any]:
    dtype: np.dtype[Any] = variable.dtype
    return np.dtype(object) if dtype.kind in STRINGS else dtype.newbyteorder("=")


def _fill(variable: xr.Variable, dtype: np.dtype[Any]) -> Any:
    """What a chunk holds that is not written: the missing value, so that chunks of nothing else take no object."""
    if dtype.kind in "OS":
        return "" if dtype.kind == "O" else b""
    fill = variable.attrs.get("_FillValue", 0)
    with np.errstate(all="ignore"):
        return np.asarray(fill).reshape(-1)[:1].astype(dtype).reshape(())[()]
