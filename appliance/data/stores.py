"""The Zarr stores of virtual datasets, kept as kerchunk's references or in an Icechunk repository.

Both carry an address alone: endpoint and keys are those of the process that reads. The chunks of both are read through
the facility's "s3", so reads are placed and counted.
"""

from __future__ import annotations

import errno
import glob
import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import fsspec
from fsspec.implementations.reference import ReferenceFileSystem
from zarr.storage import FsspecStore

from appliance.compute.reading import objects
from appliance.data import DataError, quiet
from appliance.data.described import Described
from appliance.data.icechunk_arrays import write
from appliance.data.kerchunk_references import references
from appliance.data.repositories import BRANCH, client, keys, opened, snapshot_of, storage
from appliance.data.snapshots import SnapshotStore, snapshot_store
from appliance.placement.model.s3_address import S3Address

UNCHECKED = "unchecked"  # the branch that a new dataset is on until it has been compared with its files
EMPTY = "1CECHNKREP0F1RSTCMT0"  # the first snapshot of every repository
# What a repository consists of (Icechunk's specification, version 1, "storage layout").
OF_ICECHUNK = ("config.yaml", "refs", "snapshots", "manifests", "transactions", "chunks")
REFERENCES = ".json"  # how the name of kerchunk's references ends


Check = Callable[[Any], None]  # of a store that a researcher would open; raises where it is not right


def publish_references(described: Described, target: str, check: Check) -> str:
    """Write a description as kerchunk's references, which are not there under their name before they were checked.

    Raises ``DataError`` where they cannot be written; whatever ``check`` raises leaves nothing behind.
    """
    files = fsspec.filesystem("s3")
    content = json.dumps(references(described), separators=(",", ":")).encode()
    folder, _, name = target.rpartition("/")
    unchecked = f"{folder}/.unchecked-{secrets.token_hex(8)}-{name}"
    try:
        files.pipe_file(unchecked, content)
    except PermissionError as error:
        raise PermissionError(errno.EACCES, "S3 refuses: you have no right to write it", target) from error
    except OSError as error:
        if quota := quota_error(error, target):
            raise quota from error
        raise
    try:
        check(_references(unchecked))
    finally:
        files.rm_file(unchecked)
        ReferenceFileSystem.clear_instance_cache()
    try:
        files.pipe_file(target, content, mode="create")  # S3 itself lets one of two processes have the name
    except OSError as error:  # s3fs has no kind of its own for "is there already"
        if quota := quota_error(error, target):
            raise quota from error
        if not exists(target):
            raise
        if files.cat_file(target) != content:  # where the answer was lost and s3fs asked again, it is this one's own
            raise DataError(f"{target}: was made by another process meanwhile: name another place") from error
    ReferenceFileSystem.clear_instance_cache()  # as the one of a deleted namesake that this process may have opened
    return target


def exists(url: str) -> bool:
    """Whether there is an object. Raises ``PermissionError`` where S3 does not say."""
    try:
        return bool(fsspec.filesystem("s3").exists(url))
    except PermissionError as error:
        raise PermissionError(errno.EACCES, "S3 refuses: you have no right there", url) from error


def publish_icechunk(described: Described, target: str, buckets: Sequence[str], check: Check) -> str:
    """Write a description as a new Icechunk repository, whose chunks lie in files of ``buckets``.

    It is committed to a branch of its own, checked there, and only then becomes ``main``.

    Raises ``DataError`` if there is a repository, and leaves it as it is. Whatever ``check`` raises leaves nothing
    behind. Returns the repository's address.
    """
    import icechunk

    config = icechunk.RepositoryConfig.default()
    # Of no use, since our store reads manifests itself; of a dataset that is refused it would log an error.
    config.manifest = icechunk.ManifestConfig(preload=icechunk.ManifestPreloadConfig(max_total_refs=0))
    for bucket in buckets:
        store = icechunk.s3_store(**client(), s3_compatible=True)
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(f"{S3Address(bucket)}/", store))
    # S3's own word, where it refuses, is plainer than Icechunk's.
    if exists(target) and fsspec.filesystem("s3").isfile(target):
        raise DataError(f"{target}: is an object, and so no place for an Icechunk repository: name another place")
    where = storage(target)
    try:
        taken = icechunk.Repository.exists(where)
    except icechunk.IcechunkError as error:
        raise DataError(f"{target}: Icechunk cannot look there: {first_line(error)}") from error
    if taken:
        raise DataError(f"{target}: there is an Icechunk repository already: name another place, or delete it first")
    authorized = keys([f"{S3Address(bucket)}/" for bucket in buckets])
    try:
        repository = icechunk.Repository.create(where, config, authorize_virtual_chunk_access=authorized)
    except icechunk.IcechunkError as error:
        if "clean prefix" not in str(error):
            said = DataError(f"{target}: Icechunk cannot write there: {first_line(error)}")
            raise (quota_error(error, target) or said) from error
        raise DataError(
            f"{target}: is no place for an Icechunk repository, as there are other objects below it"
        ) from error
    try:
        repository.create_branch(UNCHECKED, repository.lookup_branch(BRANCH))
        session = repository.writable_session(UNCHECKED)
        write(described, session.store)
        snapshot = session.commit("virtual dataset of files in place")
        check(SnapshotStore(target, snapshot))
        repository.reset_branch(BRANCH, snapshot)
        repository.delete_branch(UNCHECKED)
    except BaseException as error:  # an interrupt too
        remove_repository(target)
        if isinstance(error, icechunk.IcechunkError):
            said = DataError(f"{target}: Icechunk cannot keep it: {first_line(error)}; way out: --format kerchunk")
            raise (quota_error(error, target) or said) from error
        raise
    return target


def quota_error(error: Exception, target: str) -> Exception | None:
    """What is said of a quota that is used up, whichever library met it; None for other errors."""
    if "QuotaExceeded" not in str(error) and getattr(error, "errno", None) != errno.EDQUOT:
        return None
    address = S3Address.parse(target)
    return objects.plain(OSError("QuotaExceeded"), address.bucket, address.key)


def remove_repository(target: str) -> None:
    """Delete a repository, and nothing else: not an object of the same name, nor what others put there meanwhile."""
    files = fsspec.filesystem("s3")
    files.invalidate_cache()
    address = S3Address.parse(target)
    folder = f"{address.bucket}/{address.key.strip('/')}/"
    names = (name for name in files.find(folder) if name.startswith(folder))
    delete([name for name in names if name.removeprefix(folder).partition("/")[0] in OF_ICECHUNK])


def delete(names: Sequence[str]) -> None:
    """Delete the objects of these names, and no others: ``rm`` takes a name with *, ? or [ in it for a pattern."""
    files = fsspec.filesystem("s3")
    patterns = [name for name in names if glob.has_magic(name)]
    for name in patterns:
        files.rm_file(name)
    if plain := sorted({*names} - {*patterns}):
        files.rm(plain)


def first_line(error: Exception) -> str:
    """What Icechunk's errors say, without its own calls."""
    return str(error).strip().splitlines()[0].strip(" x")


def virtual_store(url: str, at: str = BRANCH) -> Any:
    """The Zarr store of a virtual dataset, for ``xr.open_zarr(virtual_store(url))``.

    Args:
        url: of kerchunk's references (it ends in ``.json``) or of an Icechunk repository, which is read as its branch
            is now.
        at: another branch, a tag, or the id of a snapshot. References have no versions.

    Raises:
        DataError: there is none.
    """
    if not url.endswith(REFERENCES):
        return _icechunk(url, at)
    if at != BRANCH:
        raise DataError(f"{url}: has no versions, as it is no Icechunk repository: leave out {at!r}")
    return _references(url)


def _references(url: str) -> FsspecStore:
    S3Address.parse(url)
    if not fsspec.filesystem("s3").exists(url):
        raise DataError(f"{url}: there are no references; `appliance data virtualize` makes them")
    quiet.codecs()
    files = fsspec.filesystem("reference", fo=url, remote_options={"asynchronous": True}, asynchronous=True)
    return FsspecStore(files, read_only=True)


def _icechunk(url: str, at: str) -> SnapshotStore:
    quiet.codecs()
    repository = opened(url)
    snapshot = repository.lookup_branch(BRANCH) if at == BRANCH else snapshot_of(repository, url, at)
    if snapshot == EMPTY:
        raise DataError(f"{url}: is being made, or was given up half-way: nothing is in it that has been checked")
    return snapshot_store(url, snapshot)
