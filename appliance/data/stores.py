"""The Zarr stores of virtual datasets, kept as kerchunk's references or in an Icechunk repository.

Both carry an address alone: endpoint and keys are those of the process that reads. The chunks of both are read through
the facility's "s3", so reads are placed and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fsspec
import xarray as xr
from zarr.storage import FsspecStore

from appliance.data import DataError
from appliance.data.repositories import client, keys, opened, storage
from appliance.data.snapshots import SnapshotStore, snapshot_store
from appliance.placement.model.s3_address import S3Address

BRANCH = "main"
REFERENCES = ".json"  # how the name of kerchunk's references ends


def write_icechunk(dataset: xr.Dataset, target: str, buckets: Sequence[str]) -> str:
    """Write a virtual dataset as a new Icechunk repository, whose chunks lie in files of ``buckets``.

    Raises ``DataError`` if there is a repository, and leaves it as it is. Returns the repository's address.
    """
    import icechunk

    config = icechunk.RepositoryConfig.default()
    for bucket in buckets:
        store = icechunk.s3_store(**client(), s3_compatible=True)
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(f"{S3Address(bucket)}/", store))
    where = storage(target)
    if icechunk.Repository.exists(where):
        raise DataError(f"{target}: there is an Icechunk repository already: name another place, or delete it first")
    authorized = keys([f"{S3Address(bucket)}/" for bucket in buckets])
    try:
        repository = icechunk.Repository.create(where, config, authorize_virtual_chunk_access=authorized)
    except icechunk.IcechunkError as error:
        if "clean prefix" not in str(error):
            raise
        raise DataError(
            f"{target}: is no place for an Icechunk repository, as there are other objects below it"
        ) from error
    session = repository.writable_session(BRANCH)
    dataset.vz.to_icechunk(session.store)
    session.commit("virtual dataset of files in place")
    return target


def virtual_store(url: str) -> Any:
    """The Zarr store of a virtual dataset, for ``xr.open_zarr(virtual_store(url))``.

    Args:
        url: of kerchunk's references (it ends in ``.json``) or of an Icechunk repository, which is read as the newest
            snapshot of its branch ``main`` is now.

    Raises:
        DataError: there is none.
    """
    return _references(url) if url.endswith(REFERENCES) else _icechunk(url)


def _references(url: str) -> FsspecStore:
    S3Address.parse(url)
    if not fsspec.filesystem("s3").exists(url):
        raise DataError(f"{url}: there are no references; `appliance data virtualize` makes them")
    files = fsspec.filesystem("reference", fo=url, remote_options={"asynchronous": True}, asynchronous=True)
    return FsspecStore(files, read_only=True)


def _icechunk(url: str) -> SnapshotStore:
    return snapshot_store(url, opened(url).lookup_branch(BRANCH))
