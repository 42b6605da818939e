"""The STAC item of an open dataset.

By the STAC specification 1.1.0, with its extensions datacube 2.3.0 (dimensions and variables), xarray-assets 1.0.0 (how
to open it) and scientific 1.0.0 (the citation). Axes are found as cf_xarray finds them, by the CF conventions.
"""

from __future__ import annotations

import calendar
import hashlib
import re
from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any

import cf_xarray  # noqa: F401  (gives datasets their attribute `cf`)
import numpy as np
import pystac
import xarray as xr

from appliance.data import DataError
from appliance.data.cataloguing.believed import DATA, EXTENSIONS, KINDS, NAMES_MAX, polygon
from appliance.data.cataloguing.believed import text as _text
from appliance.placement.model.s3_address import S3Address

COORDINATE_BYTES = 64 * 2**20  # of a coordinate that is read for the area; one that is larger tells nothing
YEARS = range(1, 10_000)  # that RFC 3339 can write


def item_of(
    dataset: xr.Dataset,
    url: str,
    kind: str,
    *,
    title: str = "",
    description: str = "",
    keywords: tuple[str, ...] = (),
    now: datetime | None = None,
) -> pystac.Item:
    """Describe an open dataset.

    Coordinates are read, values of variables are not.

    Args:
        dataset: as it was opened.
        url: where it lies, ``s3://bucket/name``.
        kind: one of ``KINDS``.
        title: the dataset's own attribute ``title`` where it is empty, or the last part of the address.
        description: the attribute ``summary`` where it is empty.
        keywords: further words by which it is found; added to those of the attribute ``keywords``.
        now: the time of the description, the present if None.

    Returns:
        an item whose asset ``data`` is the dataset. Times are UTC; the box is west, south, east, north in degrees, with
        west greater than east where it crosses the 180th meridian.

    Raises:
        DataError: the kind is unknown, or the address names a bucket only.
    """
    if kind not in KINDS:
        raise DataError(f"{url}: a dataset of kind {kind!r} is not known: say one of {', '.join(KINDS)}")
    address = S3Address.parse(url)
    if not address.key.strip("/"):
        raise DataError(f"{url!r} names a bucket only: write {address}/NAME")
    url = str(S3Address(address.bucket, address.key.strip("/")))
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    box = _box(dataset)
    span = _span(dataset)
    properties: dict[str, Any] = {
        "title": _text(title or dataset.attrs.get("title") or url.rpartition("/")[2]),
        "created": _rfc3339(now),
        "updated": _rfc3339(now),
        "cube:dimensions": _dimensions(dataset, box, span),
        "cube:variables": _variables(dataset),
    }
    if text := _text(description or dataset.attrs.get("summary") or dataset.attrs.get("description") or ""):
        properties["description"] = text
    words = [word.strip() for word in re.split(r"[,;>]", str(dataset.attrs.get("keywords", "")))]
    if found := list(dict.fromkeys(_text(word) for word in (*keywords, *words) if word)):
        properties["keywords"] = found[:100]
    if span:
        properties |= {"start_datetime": span[0], "end_datetime": span[1]}
    item = pystac.Item(
        id=item_id(url),
        geometry=polygon(box) if box else None,
        bbox=list(box) if box else None,
        # STAC wants a time of everything. Of what has none it is that of the description.
        datetime=None if span else now,
        properties=properties,
        stac_extensions=list(EXTENSIONS),
    )
    opened: dict[str, Any] = {}
    if kind in ("zarr", "kerchunk"):
        opened = {"xarray:open_kwargs": {"engine": kind, "chunks": {}}}
    item.add_asset(DATA, pystac.Asset(url, media_type=KINDS[kind], roles=["data"], extra_fields=opened))
    return item


def item_id(url: str) -> str:
    """The name of the item of an address: the same each time, of letters and digits that any file may be called."""
    last = re.sub(r"[^A-Za-z0-9]+", "-", url.rpartition("/")[2]).strip("-")[:40]
    return f"{last or 'data'}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _variables(dataset: xr.Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, variable in list(dataset.variables.items())[:NAMES_MAX]:
        told: dict[str, Any] = {
            "dimensions": [str(dim) for dim in variable.dims],
            "type": "data" if name in dataset.data_vars else "auxiliary",
            "shape": list(variable.shape),
            "data_type": str(variable.dtype),
        }
        if unit := variable.attrs.get("units", variable.encoding.get("units")):
            told["unit"] = _text(unit)
        if long_name := variable.attrs.get("long_name"):
            told["description"] = _text(long_name)
        if standard_name := variable.attrs.get("standard_name"):
            told["cf:standard_name"] = _text(standard_name)
        if name not in dataset.dims:  # a dimension's own coordinate is told as a dimension
            found[_text(name)] = told
    return found


def _dimensions(
    dataset: xr.Dataset, box: tuple[float, ...] | None, span: tuple[str, str] | None
) -> dict[str, dict[str, Any]]:
    longitudes, latitudes, times = (_names(dataset, what) for what in ("longitude", "latitude", "time"))
    found: dict[str, dict[str, Any]] = {}
    for dim, length in dataset.sizes.items():
        told: dict[str, Any] = {"type": "other", "size": length}
        if dim in times and span:
            told |= {"type": "temporal", "extent": list(span)}
        elif dim in longitudes and box:
            told |= {"type": "spatial", "axis": "x", "extent": [box[0], box[2]], "reference_system": 4326}
        elif dim in latitudes and box:
            told |= {"type": "spatial", "axis": "y", "extent": [box[1], box[3]], "reference_system": 4326}
        elif (extent := _extent(dataset, dim)) is not None:
            told["extent"] = extent
        if dim in dataset.coords and (unit := dataset[dim].attrs.get("units")):
            told["unit"] = _text(unit)
        found[_text(dim)] = told
    return found


def _names(dataset: xr.Dataset, what: str) -> list[Hashable]:
    """The names of coordinates of longitude, latitude or time, as CF and their own names tell."""
    found: list[Hashable] = list(dataset.cf.coordinates.get(what, []))
    if not found:
        found = list(dataset.cf.guess_coord_axis().cf.coordinates.get(what, []))
    return found


def _extent(dataset: xr.Dataset, name: Hashable) -> list[float] | None:
    if name not in dataset.coords or dataset[name].dtype.kind not in "iuf":
        return None
    found = _least_and_most(dataset[name])
    return None if found is None else list(found)


def _least_and_most(coordinate: xr.DataArray) -> tuple[float, float] | None:
    """The least and the greatest finite number; None where there is none, or too much would have to be read."""
    if coordinate.dtype.kind not in "iuf" or coordinate.nbytes > COORDINATE_BYTES:
        return None
    values = np.asarray(coordinate.values, dtype=float)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def _box(dataset: xr.Dataset) -> tuple[float, float, float, float] | None:
    """The area of all longitudes and latitudes; None where there are none, or they are not in degrees."""
    x, y = (
        next((one for name in _names(dataset, what) if (one := _least_and_most(dataset[name])) is not None), None)
        for what in ("longitude", "latitude")
    )
    if x is None or y is None or not (x[0] >= -180 and x[1] <= 360 and y[0] >= -90 and y[1] <= 90):
        return None
    west, east = _west_and_east(dataset, x)
    return west, y[0], east, y[1]


def _west_and_east(dataset: xr.Dataset, x: tuple[float, float]) -> tuple[float, float]:
    """Longitudes as GeoJSON counts them (RFC 7946, 5.2): from -180 to 180, west greater than east across 180."""
    step = 0.0
    for name in _names(dataset, "longitude"):
        if dataset[name].ndim == 1 and dataset[name].size > 1:
            step = (x[1] - x[0]) / (dataset[name].size - 1)
    if x[1] - x[0] + step >= 360 or x[1] - x[0] > 355:
        return -180.0, 180.0
    if x[1] <= 180:
        return x
    east = x[1] - 360
    return (x[0] - 360 if x[0] > 180 else x[0]), east


def _span(dataset: xr.Dataset) -> tuple[str, str] | None:
    """The first and the last time, in UTC; None where there are none that the calendar of RFC 3339 can write."""
    for name in _names(dataset, "time"):
        coordinate = dataset[name]
        if not coordinate.size or coordinate.nbytes > COORDINATE_BYTES:
            continue
        values = coordinate.values.ravel()
        if values.dtype.kind == "M":
            values = values[~np.isnat(values)]
            if values.size:
                return _of_numpy(values.min()), _of_numpy(values.max())
        elif values.dtype == object and all(hasattr(value, "calendar") for value in values):  # cftime's
            least, most = values.min(), values.max()
            # Other calendars have days that this one does not: the 30th of February becomes its last one.
            if least.year in YEARS and most.year in YEARS:
                return _of_calendar(least), _of_calendar(most)
    return None


def _of_numpy(value: np.datetime64) -> str:
    return f"{value.astype('datetime64[s]')}Z"


def _of_calendar(value: Any) -> str:
    day = min(value.day, calendar.monthrange(value.year, value.month)[1])
    return f"{value.year:04}-{value.month:02}-{day:02}T{value.hour:02}:{value.minute:02}:{value.second:02}Z"
