"""Datasets of the catalogue, opened. What an item says of how is one word of a list, and nothing else of it is used."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from typing import Any

import fsspec
import xarray as xr

from appliance.data import DataError
from appliance.placement.model.s3_address import S3Address


def open_dataset(url: str, kind: str, **options: Any) -> xr.Dataset:
    """Open a dataset lazily, in chunks as it is stored.

    Args:
        url: ``s3://bucket/name``.
        kind: one of ``believed.KINDS``.
        options: of ``xr.open_zarr``, for "netcdf" of ``xr.open_dataset``.

    Raises:
        DataError: the kind is unknown, or a description leads out of the facility's S3.
        OSError: it is not there, or S3 refuses.
    """
    opened: xr.Dataset
    if kind == "files":
        raise DataError(f"{url}: is a folder of files: open one of them; `fsspec.filesystem('s3').ls(…)` lists them")
    if kind == "netcdf":
        opened = xr.open_dataset(url, **{"chunks": {}, **options})
        return opened
    if kind == "zarr":
        return _open_zarr(url, options)
    opened = xr.open_zarr(_store(url, kind), **({"consolidated": False} if kind == "icechunk" else {}) | options)
    return opened


def _open_zarr(url: str, options: dict[str, Any]) -> xr.Dataset:
    """Open a Zarr store, also one in a bucket that this reader may not list.

    There the S3 gateway refuses what does not exist as it refuses what is secret. Zarr looks for the metadata of both
    versions of its format, and one of them never exists: so each is tried by itself. A chunk that is refused stays an
    error, as it may be one that its owner has just withdrawn.
    """
    opened: xr.Dataset
    try:
        opened = xr.open_zarr(url, **options)
        return opened
    except PermissionError as error:
        refused = error
    for version in (3, 2):
        try:
            opened = xr.open_zarr(url, **{"zarr_format": version, "consolidated": True, **options})
            return opened
        except (PermissionError, ValueError):  # ValueError: no consolidated metadata
            continue
    raise PermissionError(
        errno.EACCES, "S3 refuses: it is not published, not there, or has no consolidated metadata", url
    ) from refused


def _store(url: str, kind: str) -> Any:
    from appliance.data.stores import virtual_store

    if kind == "kerchunk":
        for target in targets(url):
            if S3Address.find(target) is None:
                raise DataError(f"{url}: refers to {target!r}, which is not on the facility's S3: it is not opened")
    if kind in ("kerchunk", "icechunk"):  # Icechunk's own store reads on the facility's S3 alone
        return virtual_store(url)
    raise DataError(f"{url}: a dataset of kind {kind!r} is not known")


def targets(url: str) -> Iterator[str]:
    """The addresses to which kerchunk's references lead (its specification, version 1), as they are written.

    Raises:
        DataError: these are no references, or of a form that has to be calculated.
        OSError: they cannot be read.
    """
    try:
        told = json.loads(fsspec.filesystem("s3").cat_file(url))
    except ValueError as error:
        raise DataError(f"{url}: holds no kerchunk references: {error}") from error
    references = told.get("refs", told) if isinstance(told, dict) else None
    if not isinstance(references, dict) or (told is not references and {"templates", "gen"} & set(told)):
        raise DataError(f"{url}: holds no plain kerchunk references: make it with `appliance data virtualize`")
    for one in references.values():
        if isinstance(one, list) and one:
            yield str(one[0])
