"""Virtual datasets: NetCDF files on S3 described as one Zarr dataset whose chunks stay where they are in the files.

The description (kerchunk's JSON, or an Icechunk repository) says for each chunk which object, from which byte, how
many. Opening it is plain xarray, and each chunk is placed and read as a Zarr chunk's object is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import fsspec
import xarray as xr
from fsspec.implementations.reference import ReferenceFileSystem

from appliance.compute.reading import objects
from appliance.data import DataError
from appliance.data.contiguous import cut
from appliance.data.files import check_joinable, joined, parser_of, sorted_by
from appliance.data.repositories import named
from appliance.data.stores import REFERENCES, write_icechunk
from appliance.placement.model.s3_address import S3Address

FORMATS = ("kerchunk", "icechunk")


def virtualize(
    sources: str | Sequence[str],
    target: str,
    *,
    dim: str = "time",
    format: str = "kerchunk",
    group: str | None = None,
    progress: Callable[[str], None] = lambda _url: None,
) -> str:
    """Describe NetCDF files on S3 as one dataset.

    Args:
        sources: addresses of files, with wildcards if wished (``s3://bucket/prefix/*.nc``).
        target: where the description goes; for kerchunk a name that ends in ``.json`` (added where it does not).
        dim: the dimension along which several files are joined, in the order of its coordinate.
        format: "kerchunk" or "icechunk".
        group: the HDF5 group whose variables are wanted; the root's if None.
        progress: called with each file's address as it has been looked at.

    Returns:
        the address of the dataset, which ``xr.open_zarr(virtual_store(address))`` opens.

    Raises:
        DataError: no such files, no NetCDF, or files that would decode wrongly when joined; nothing was written.
        OSError: S3 cannot be reached, or refuses.
    """
    if format not in FORMATS:
        raise DataError(f"format {format!r} is unknown: choose one of {', '.join(FORMATS)}")
    named(target)
    if format == "kerchunk":
        target = target if target.endswith(REFERENCES) else f"{target.rstrip('/')}{REFERENCES}"
        if fsspec.filesystem("s3").exists(target):
            # Notebooks and workers keep the references that they have read: with new ones in the same place, some would
            # read by the old and some by the new.
            raise DataError(f"{target}: is there already: name another place, or delete it and open it in new clusters")
    urls = expand([sources] if isinstance(sources, str) else sources)
    opened = cut(open_all(urls, dim, group, progress))
    if len(opened) > 1:
        opened = sorted_by(opened, dim)
        check_joinable(opened, dim)
    dataset = joined(opened, dim)
    if format == "icechunk":
        return write_icechunk(dataset, target, sorted(buckets_of(urls)))
    references = dataset.vz.to_kerchunk(format="dict")
    references["refs"][".zmetadata"] = consolidated(references["refs"])
    fsspec.filesystem("s3").pipe_file(target, json.dumps(references, separators=(",", ":")).encode())
    ReferenceFileSystem.clear_instance_cache()  # as the one of a deleted namesake that this process may have opened
    return target


def consolidated(references: dict[str, Any]) -> str:
    """Zarr's consolidated metadata (version 2) of references, so that opening them takes one look."""
    kinds = (".zgroup", ".zattrs", ".zarray")
    metadata = {key: json.loads(text) for key, text in references.items() if key.rpartition("/")[2] in kinds}
    return json.dumps({"zarr_consolidated_format": 1, "metadata": metadata})


def expand(patterns: Sequence[str]) -> list[str]:
    """The addresses that the patterns name, each once. Raises ``DataError`` for a pattern that names nothing."""
    files = fsspec.filesystem("s3")
    found: dict[str, None] = {}
    for pattern in patterns:
        S3Address.parse(pattern)
        matching = [pattern]
        if any(c in pattern for c in "*?["):
            matching = [files.unstrip_protocol(name) for name in files.glob(pattern)]
        if not matching:
            raise DataError(
                f"{pattern}: no object has such a name; `fsspec.filesystem('s3').ls(…)` lists what is there"
            )
        found |= dict.fromkeys(matching)
    return list(found)


def buckets_of(urls: Sequence[str]) -> set[str]:
    """Return the buckets of addresses."""
    return {S3Address.parse(url).bucket for url in urls}


def open_all(
    urls: Sequence[str], dim: str, group: str | None, progress: Callable[[str], None]
) -> list[tuple[str, xr.Dataset]]:
    """The files as virtual datasets: coordinates along ``dim`` and all that lacks it are read, the rest stays there."""
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr import open_virtual_dataset

    access = objects.own_access()
    registry = ObjectStoreRegistry(
        {str(S3Address(bucket)): objects.store(bucket, access) for bucket in buckets_of(urls)}
    )
    files = fsspec.filesystem("s3")
    several, loadable = len(urls) > 1, None
    opened: list[tuple[str, xr.Dataset]] = []
    for url in urls:
        parser = parser_of(url, files.cat_file(url, start=0, end=8), group)
        dataset = open_virtual_dataset(url, registry, parser, loadable_variables=loadable)
        if several and loadable is None:
            if dim not in dataset.dims:
                has = ", ".join(str(name) for name in dataset.dims)
                raise DataError(f"{url}: has no dimension {dim!r} to join along; it has: {has}; name one with --dim")
            # What is the same in all files has to be read to be compared; it is kept once, in the description.
            loadable = [str(name) for name, v in dataset.variables.items() if dim not in v.dims or name in dataset.dims]
            dataset = open_virtual_dataset(url, registry, parser, loadable_variables=loadable)
        opened.append((url, dataset))
        progress(url)
    return opened
