"""A Zarr dataset, where a NetCDF file is used otherwise: what it holds, and what xarray makes of it.

Plain Zarr of either version on S3 or of this machine, kerchunk's references, and Icechunk repositories as their branch
``main`` is now.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import xarray as xr

from appliance.data import DataError
from appliance.data.at_hand import AtHand
from appliance.data.stored import Layout, Numbers, Stored, grid_of
from appliance.data.stores import REFERENCES, exists, virtual_store
from appliance.placement.model.s3_address import S3Address

ROOTS = ("zarr.json", ".zgroup", ".zmetadata")
REPOSITORY = "refs/branch.main/ref.json"  # Icechunk's specification, version 1


class ZarrSource:
    """A dataset, with what ``Source`` has.

    Args:
        url: ``s3://bucket/name``, or a path of this machine.
        group: whose variables are wanted; the root's if None.

    Raises:
        DataError: it is no dataset that Zarr opens.
        OSError: S3 cannot be reached, or refuses.
    """

    def __init__(self, url: str, group: str | None):
        self.url, self.group = url, group
        self.copy = AtHand(url, lambda url: (0, state_of(url)))
        is_virtual = url.endswith(REFERENCES) or kind_of(url) == "icechunk"
        self._store = virtual_store(url) if is_virtual else url
        import zarr

        with self.named("Zarr cannot open it"):
            root = zarr.open_group(self._store, mode="r", path=group)
            arrays = {name: _stored(array) for name, array in root.arrays()}
            self.layout = Layout(
                arrays, groups=sorted(f"{group}/{name}" if group else name for name in root.group_keys())
            )

    @contextlib.contextmanager
    def raw(self) -> Iterator[tuple[dict[str, xr.Variable], dict[str, Any]]]:
        """Variables as they are stored and the attributes of the group, by xarray."""
        with self.named("xarray cannot read it"):
            store = xr.backends.ZarrStore.open_group(self._store, group=self.group, mode="r")
            variables, attributes = store.load()
        try:
            yield {str(name): variable for name, variable in variables.items()}, dict(attributes)
        finally:
            store.close()

    @contextlib.contextmanager
    def opened(self, **options: Any) -> Iterator[xr.Dataset]:
        """The dataset as xarray opens it."""
        with self.named("xarray cannot decode it"):
            dataset = xr.open_zarr(self._store, group=self.group, chunks=None, **options)
        with dataset:
            yield dataset

    @contextlib.contextmanager
    def named(self, what: str, way_out: str = "open it with xarray, which tells more") -> Iterator[None]:
        """Say errors of the libraries with the dataset's address, and show none of their warnings."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except DataError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, (FileNotFoundError, FileExistsError)):
                raise  # S3 refuses, or does not answer: it may another time, and the dataset is as it should be
            raise DataError(f"{self.url}: {what}: {error}; way out: {way_out}") from error


def _stored(array: Any) -> Stored:
    """An array's chunks, or shards where it has any: what is read as one."""
    shape = tuple(int(size) for size in array.shape)
    chunks = tuple(int(size) for size in (array.shards or array.chunks))
    grid = grid_of(shape, chunks)
    dtype = np.dtype(array.dtype)
    nbytes = int(np.prod(chunks, dtype="i8")) * dtype.itemsize
    zeros, lengths = (np.broadcast_to(np.uint64(value), grid) for value in (0, nbytes))
    return Stored(shape, chunks, zeros, lengths, Numbers(dtype))


def kind_of(url: str) -> str:
    """What is at an address or a path: "zarr", "icechunk", "kerchunk", or "" for else. Raises ``PermissionError``."""
    if S3Address.find(url) is None:
        return "zarr" if any((Path(url) / root).is_file() for root in ROOTS) else ""
    if url.endswith(REFERENCES):
        return "kerchunk"
    if fsspec.filesystem("s3").isfile(url):
        return ""
    try:
        if any(exists(f"{url.rstrip('/')}/{root}") for root in ROOTS):
            return "zarr"
        return "icechunk" if exists(f"{url.rstrip('/')}/{REPOSITORY}") else ""
    except PermissionError as error:
        raise PermissionError(errno.EACCES, "S3 refuses: you have no right to read it", url) from error


def state_of(url: str) -> str:
    """What tells a dataset from what it becomes when somebody writes to it: as far as its metadata says."""
    if S3Address.find(url) is None:
        found = [(root, (Path(url) / root).stat()) for root in ROOTS if (Path(url) / root).is_file()]
        return " ".join(f"{root} {at.st_size} {at.st_mtime_ns}" for root, at in found)
    files = fsspec.filesystem("s3")
    places = [url] if url.endswith(REFERENCES) else [f"{url.rstrip('/')}/{name}" for name in (*ROOTS, REPOSITORY)]
    return " ".join(str(files.info(place).get("ETag", "")) for place in places if exists(place))


def checksum(url: str) -> str:
    """SHA-256 over the names, sizes and ETags (times, of a local one) of all objects of a dataset."""
    if S3Address.find(url) is None:
        files = sorted(path for path in Path(url).rglob("*") if path.is_file())
        lines = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    else:
        found = fsspec.filesystem("s3").find(url, detail=True)
        lines = [f"{name} {info['size']} {info.get('ETag', '')}" for name, info in sorted(found.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
