"""The Zarr stores of virtual datasets, kept as kerchunk's references or in an Icechunk repository.

Both carry an address alone: endpoint and keys are those of the process that reads. kerchunk's references are read
through the facility's "s3", so reads are placed and counted. Icechunk reads through a client of its own; the scheduler
cannot see which objects it reads, so such tasks run anywhere and are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fsspec
import xarray as xr
from zarr.storage import FsspecStore

from appliance.compute.objects import own_access
from appliance.data import DataError
from appliance.data.transfer import place_of

BRANCH = "main"
REFERENCES = ".json"  # how the name of kerchunk's references ends


def write_icechunk(dataset: xr.Dataset, target: str, buckets: Sequence[str]) -> str:
    """Write a virtual dataset as a new Icechunk repository, whose chunks lie in files of ``buckets``.

    Raises ``DataError`` if there is a repository, and leaves it as it is. Returns the repository's address.
    """
    import icechunk

    config = icechunk.RepositoryConfig.default()
    for bucket in buckets:
        store = icechunk.s3_store(**_client(), s3_compatible=True)
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(f"s3://{bucket}/", store))
    storage = _storage(target)
    if icechunk.Repository.exists(storage):
        raise DataError(f"{target}: there is an Icechunk repository already: name another place, or delete it first")
    repository = icechunk.Repository.create(storage, config, authorize_virtual_chunk_access=_keys(buckets))
    session = repository.writable_session(BRANCH)
    dataset.vz.to_icechunk(session.store)
    session.commit("virtual dataset of files in place")
    return target


def virtual_store(url: str) -> Any:
    """The Zarr store of a virtual dataset, for ``xr.open_zarr(virtual_store(url))``.

    Args:
        url: of kerchunk's references (it ends in ``.json``) or of an Icechunk repository.

    Raises:
        DataError: there is none.
    """
    return _references(url) if url.endswith(REFERENCES) else _icechunk(url)


def _references(url: str) -> FsspecStore:
    place_of(url)
    if not fsspec.filesystem("s3").exists(url):
        raise DataError(f"{url}: there are no references; `appliance data virtualize` makes them")
    files = fsspec.filesystem("reference", fo=url, remote_options={"asynchronous": True}, asynchronous=True)
    return FsspecStore(files, read_only=True)


def _icechunk(url: str) -> Any:
    import icechunk

    storage = _storage(url)
    if not icechunk.Repository.exists(storage):
        raise DataError(f"{url}: there is no Icechunk repository, and no name of references (.json)")
    containers = (icechunk.Repository.fetch_config(storage) or icechunk.RepositoryConfig()).virtual_chunk_containers
    buckets = [place_of(prefix)[0] for prefix in containers or {}]
    return (
        icechunk.Repository.open(storage, authorize_virtual_chunk_access=_keys(buckets)).readonly_session(BRANCH).store
    )


def _client() -> dict[str, Any]:
    access = own_access()  # which Icechunk finds in the environment by itself, but for whether plain HTTP will do
    return {"region": access.region, "allow_http": access.endpoint.startswith("http://"), "force_path_style": True}


def _storage(url: str) -> Any:
    import icechunk

    bucket, prefix = place_of(url)
    if not prefix.strip("/"):
        raise DataError(f"{url!r} names a bucket only: write s3://{bucket}/NAME")
    return icechunk.s3_storage(bucket=bucket, prefix=prefix.strip("/"), from_env=True, **_client())


def _keys(buckets: Sequence[str]) -> Any:
    import icechunk

    return icechunk.containers_credentials(
        {f"s3://{bucket}/": icechunk.s3_credentials(from_env=True) for bucket in buckets}
    )
