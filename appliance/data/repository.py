"""Virtual datasets in an Icechunk repository, with endpoint and keys of the process that reads.

Icechunk reads through a client of its own, which takes both from the process's environment: nothing of them is kept in
the repository or in a graph. The scheduler cannot see which objects such a store reads, so its tasks are not placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr

from appliance.compute.objects import own_access
from appliance.data import DataError
from appliance.data.transfer import place_of

BRANCH = "main"


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


def icechunk_store(url: str) -> Any:
    """The Zarr store of an Icechunk repository, for ``xr.open_zarr(icechunk_store(url), consolidated=False)``.

    Raises:
        DataError: there is no repository.
    """
    import icechunk

    storage = _storage(url)
    if not icechunk.Repository.exists(storage):
        raise DataError(f"{url}: there is no Icechunk repository")
    containers = (icechunk.Repository.fetch_config(storage) or icechunk.RepositoryConfig()).virtual_chunk_containers
    buckets = [place_of(prefix)[0] for prefix in containers or {}]
    return (
        icechunk.Repository.open(storage, authorize_virtual_chunk_access=_keys(buckets)).readonly_session(BRANCH).store
    )


def _client() -> dict[str, Any]:
    access = own_access()  # says what is missing; the endpoint itself stays in the environment
    # Not in AWS_ENDPOINT_URL's own words: Icechunk allows plain HTTP only where it is told to.
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
