"""When attributes, encodings and values are the same, though one side has them from JSON and the other from netCDF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from appliance.data import DataError
from appliance.data.described import TEXT

ENCODINGS = ("dtype", "_FillValue", "missing_value", "scale_factor", "add_offset", "units", "calendar", "_Unsigned",
             "coordinates", "grid_mapping", "bounds")  # fmt: skip


def difference(url: str, who: str, what: str) -> DataError:
    """Return the refusal of what differs."""
    return DataError(
        f"{url}: {who}: {what}: nothing was published; way out: try the other --format, or leave the variable out with "
        "--preprocess drop=NAME"
    )


def is_widened(a: xr.Variable, b: xr.Variable) -> bool:
    """Whether ``a`` is of a wider type for no other reason than that a scale of ``b`` is of a narrow one."""
    scales = [np.asarray(b.encoding.get(key, 0.0)).dtype for key in ("scale_factor", "add_offset")]
    kinds = {v.dtype.kind.replace("u", "i") for v in (a, b)}
    return (
        len(kinds) == 1
        and kinds <= {"i", "f"}
        and a.dtype.itemsize > b.dtype.itemsize
        and any(scale.kind in "iuf" and scale.itemsize < 8 for scale in scales)
    )


def compare_attributes(
    url: str, who: str, made: Mapping[Any, Any], truth: Mapping[Any, Any], dropped: set[str] | None
) -> None:
    """Compare all attributes but ``dropped`` with those of a first file; None for one that is joined to it."""
    names = set(made) if dropped is None else set(made) | set(truth) - dropped
    for name in sorted(names, key=str):
        if name not in truth or name not in made or not same_attribute(made[name], truth[name]):
            here, there = (repr(each.get(name, "missing")) for each in (made, truth))
            raise difference(url, who, f"attribute {name!r} is {here}, but {there} in the file")


def same_attribute(made: Any, truth: Any) -> bool:
    """Whether a value is the same, though JSON has but one kind of float and of integer."""
    a, b = np.asarray(made), np.asarray(truth)
    if a.size == b.size == 0:
        return True
    if (a.dtype.kind in TEXT) != (b.dtype.kind in TEXT) or (a.dtype.kind in "iu") != (b.dtype.kind in "iu"):
        return False
    if a.dtype.kind in TEXT:
        return bool(a.shape == b.shape and all(x == y for x, y in zip(a.flat, b.flat, strict=True)))
    return bool(np.array_equal(a.reshape(-1), b.reshape(-1), equal_nan=True))


def compare_encodings(url: str, who: str, a: xr.Variable, b: xr.Variable) -> None:
    """Raise ``DataError`` where ``a`` says of how it is stored what ``b``, the file's, does not."""
    for key in ENCODINGS:
        here, there = a.encoding.get(key), b.encoding.get(key)
        if key == "dtype":
            same = here is None or there is None or _same_stored(here, there)
        elif here is None or there is None:
            # NaN says nothing: of floats it is missing anyhow, and no integer is.
            said = there if here is None else here
            same = here is there or (key in ("missing_value", "_FillValue") and bool(np.all(_nan(said))))
        else:
            same = same_attribute(here, there) or (_number(here) and _number(there) and bool(np.all(here == there)))
        if not same:
            raise difference(url, who, f"encoding {key!r} is {here!r}, but {there!r} in the file")


def _same_stored(a: Any, b: Any) -> bool:
    if b is str:  # the netCDF library's strings
        b = np.dtype("O")
    a, b = np.dtype(a), np.dtype(b)
    if a.kind in TEXT or b.kind in TEXT:
        return a.kind in TEXT and b.kind in TEXT
    return bool(a.newbyteorder("=") == b.newbyteorder("="))


def _number(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "iuf"


def _nan(value: Any) -> Any:
    return np.isnan(value) if _number(value) else False


def same_values(found: np.ndarray, expected: np.ndarray, rounding: np.ndarray | None) -> np.ndarray:
    """Return for each value whether it is the same, or no farther than ``rounding``; NaN and NaT are as themselves."""
    if found.dtype.kind in "OT" or expected.dtype.kind in "OT":
        pairs = zip(found.reshape(-1), expected.reshape(-1), strict=True)
        return np.array([_text(a) == _text(b) or (a != a and b != b) for a, b in pairs], bool).reshape(found.shape)
    if found.dtype.kind in "mM":
        return np.asarray((found == expected) | (np.isnat(found) & np.isnat(expected)))
    with np.errstate(all="ignore"):
        same = found == expected
        if found.dtype.kind == "f":
            same = same | (np.isnan(found) & np.isnan(expected))
            if rounding is not None:
                same = same | (np.abs(found - expected) <= rounding)
    return np.asarray(same)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


def rounding_of(found: np.ndarray, expected: np.ndarray, truth: xr.Variable) -> np.ndarray | None:
    """By how much scaled values may differ: those that are float32 in the file. None if not at all.

    NumPy multiplies float32 by its own float64 as float64, and by Python's float, which JSON has, as float32: a
    rounding of the number, of the product and of the sum.
    """
    if expected.dtype != np.float32 or not {"scale_factor", "add_offset"} & set(truth.encoding):
        return None
    offset = abs(float(np.asarray(truth.encoding.get("add_offset", 0.0)).reshape(())))
    info = np.finfo("f4")
    with np.errstate(all="ignore"):
        return np.asarray(4 * float(info.eps) * (np.abs(found) + 2 * offset) + float(info.tiny))
