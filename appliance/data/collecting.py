"""What no branch and no tag of an Icechunk repository reaches is removed, by Icechunk's own functions.

Icechunk tells beforehand what its collection would remove, and not what an expiry would release. So the expiry is
tried on a copy of the repository's metadata in a temporary folder: what Icechunk says there is what it will do here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from appliance.data import DataError
from appliance.data.repositories import named, opened
from appliance.data.stores import OF_ICECHUNK, UNCHECKED
from appliance.data.versions import plain_errors, tips

AGE = timedelta(days=30)  # what is younger stays, for whoever reads or writes still
LEAST_AGE = timedelta(days=1)  # a commit that is being written is reached by nothing, and takes hours at most
FILES_AT_ONCE = 64
MIB = 2**20

Progress = Callable[[str, int, int | None], None]  # a step, how much more of it is done, and of how much


class Collected(NamedTuple):
    """What was removed, or would be.

    Attributes:
        snapshots: how many versions.
        bytes: of all objects.
        shortened: how many versions go from histories, of those that no branch and no tag is at.
        removed: whether it was done.
        branches: those that stay, which is all there are.
        tags: likewise.
    """

    snapshots: int
    bytes: int
    shortened: int
    removed: bool
    branches: tuple[str, ...]
    tags: tuple[str, ...]


def collect(
    url: str,
    older_than: timedelta = AGE,
    *,
    expire: bool = False,
    remove: bool = False,
    unused: bool = False,
    progress: Progress = lambda _step, _done, _total: None,
) -> Collected:
    """Remove what is older than an age and reached by no branch and no tag. Without ``remove`` it is only told.

    The newest snapshot of each branch, and that of each tag, stays with all its values. A dataset that somebody opened
    at a snapshot which is removed cannot be read any more: nobody knows who has it open, so what is younger stays.

    Args:
        url: of the repository.
        older_than: how old an object must be.
        expire: shorten histories first: a branch or tag keeps its own snapshot, and of those that it came from the ones
            that are younger. Those of other branches and tags stay, too.
        remove: do it.
        unused: nobody reads or writes the repository now. Without it, ``older_than`` is a day at least.
        progress: is called as it goes on.

    Raises:
        DataError: there is no repository, a copy into it is not ended, the age is too small, or there is no room for
            the copy of its metadata. Nothing was removed.
        OSError: S3 refuses, or does not answer. Branches and tags are as before.
    """
    if older_than < (timedelta(0) if unused else LEAST_AGE):
        raise DataError(
            f"{url}: what is younger than a day may belong to a commit that is being written, or be read: ask for a "
            "day or more, or say that nobody uses the repository now (--unused)"
        )
    with plain_errors(url):
        repository = opened(url)
        branches, tags = tips(repository), tuple(sorted(repository.list_tags()))
        if UNCHECKED in branches:
            raise DataError(
                f"{url}: a copy into it is not ended: let it end, or remove what it left: appliance data abandon {url}"
            )
        ends = {*branches.values(), *(repository.lookup_tag(name) for name in tags)}  # Icechunk counts them as expired
        moment = datetime.now(UTC) - older_than
        if remove or not expire:
            expired = repository.expire_snapshots(moment) - ends if expire else set()
            progress("expire", 1, 1)
            gone = repository.garbage_collect(moment, dry_run=not remove)
            snapshots, nbytes, shortened = gone.snapshots_deleted, gone.bytes_deleted, len(expired)
        else:
            snapshots, nbytes, shortened = _tried(url, repository, moment, ends, progress)
    progress("collect", 1, 1)
    return Collected(snapshots, nbytes, shortened, remove, tuple(branches), tags)


def _tried(url: str, repository: Any, moment: datetime, ends: set[str], progress: Progress) -> tuple[int, int, int]:
    """How many snapshots would go after an expiry, how many bytes, and how many of the snapshots from histories."""
    import icechunk

    now = repository.garbage_collect(moment, dry_run=True)
    with tempfile.TemporaryDirectory(prefix="icechunk-") as folder:
        _copy_metadata(url, Path(folder), progress)
        # It warns of folders that two write to; this one is nobody else's.
        icechunk.set_logs_filter("warn,icechunk::storage::object_store=error")
        trial = icechunk.Repository.open(icechunk.local_filesystem_storage(folder))
        icechunk.set_logs_filter(None)
        before, chunks_before = trial.garbage_collect(moment, dry_run=True), trial.chunk_storage_stats().native_bytes
        expired = trial.expire_snapshots(moment) - ends
        progress("expire", 1, 1)
        after, chunks_after = trial.garbage_collect(moment, dry_run=True), trial.chunk_storage_stats().native_bytes
    # The trial has no chunks: what it collects is metadata. A chunk that the expiry releases is older than the snapshot
    # that wrote it, and so old enough.
    released = chunks_before - chunks_after + after.bytes_deleted - before.bytes_deleted
    return after.snapshots_deleted, now.bytes_deleted + released, len(expired)


def _copy_metadata(url: str, folder: Path, progress: Progress) -> None:
    """Copy all of a repository but its chunks, with the times of its objects, which decide what is old."""
    address = named(url)
    root = f"{address.bucket}/{address.key.strip('/')}"
    files = fsspec.filesystem("s3")
    files.invalidate_cache()
    found: dict[str, Any] = {}
    for part in OF_ICECHUNK:
        if part != "chunks":
            found |= files.find(f"{root}/{part}", detail=True)
    size, free = sum(each["size"] for each in found.values()), shutil.disk_usage(folder).free
    if size > free / 2:
        raise DataError(
            f"{url}: has {size // MIB} MiB of metadata, too much for {tempfile.gettempdir()}, where {free // MIB} MiB "
            "are free: set TMPDIR to a folder of your home"
        )
    names = sorted(found)
    for first in range(0, len(names), FILES_AT_ONCE):
        some = names[first : first + FILES_AT_ONCE]
        for name, content in files.cat(some).items():
            target = folder / name.removeprefix(f"{root}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            modified = found[name]["LastModified"].timestamp()
            os.utime(target, (modified, modified))
        progress("copy", len(some), len(names))
