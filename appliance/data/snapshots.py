"""A snapshot of an Icechunk repository as a Zarr store whose chunks are read as all else on the facility's S3 is.

Icechunk's own session tells metadata, names, and what lies in manifests. Chunks that are objects on the facility's S3,
or parts of them, are read through its "s3": by the gateway of the process's own host, and counted. The scheduler asks
the same references for the places of tasks. What they do not know, Icechunk reads itself, unplaced and uncounted.

A store is pickled as address and snapshot alone: endpoint and keys are those of the process that reads, and a snapshot
never changes, so that all processes read the same.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import fsspec
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.storage import WrapperStore

from appliance.data.references import ArrayReferences
from appliance.data.repositories import Session, refuse_in_fork

logger = logging.getLogger("distributed.appliance.data")

STORES = 16  # snapshots that a process remembers
LOADS = 4  # manifests on the way to a process at a time
WAIT = 5.0  # s that a scheduler waits for the references of an array; when they come later, the next graph has them


@functools.lru_cache(STORES)
def snapshot_store(url: str, snapshot: str) -> SnapshotStore:
    """The store of a snapshot, one for each process: its references are loaded once."""
    return SnapshotStore(url, snapshot)


class SnapshotStore(WrapperStore[Any]):  # type: ignore[misc]  # zarr is not followed
    """A snapshot of an Icechunk repository, read only. Nothing is asked of S3 before it is needed.

    Args:
        url: of the repository.
        snapshot: its id.
    """

    def __init__(self, url: str, snapshot: str):
        self.url, self.snapshot = url, snapshot
        self._opening, self._loading = threading.Lock(), threading.Lock()
        self._session: Session | None = None
        self._loads: dict[str, Future[ArrayReferences | None]] = {}
        self._late = self._said = False

    def __reduce__(self) -> Any:
        return snapshot_store, (self.url, self.snapshot)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SnapshotStore) and (self.url, self.snapshot) == (other.url, other.snapshot)

    __hash__ = None  # type: ignore[assignment]  # as all of Zarr's stores

    def __repr__(self) -> str:
        return f"SnapshotStore({self.url!r}, {self.snapshot!r})"

    __str__ = __repr__

    # References

    def references_of(self, path: str) -> ArrayReferences | None:
        """The references of an array, for placing; None where there are none, or none yet. Never raises.

        Waits for at most ``WAIT`` s, and then not again before something has come: this is called in a scheduler's
        event loop.
        """
        load = self._load(path)
        if self._late and not load.done():
            return None
        try:
            return load.result(WAIT)
        except FutureTimeoutError:
            self._late = True
            return None

    def _load(self, path: str) -> Future[ArrayReferences | None]:
        with self._loading:
            if path not in self._loads:
                self._loads[path] = _loaders().submit(self._loaded, path)
            return self._loads[path]

    def _loaded(self, path: str) -> ArrayReferences | None:
        try:
            return self._opened.references_of(path)
        except Exception as error:  # Icechunk reads it, or says what is wrong
            from icechunk import IcechunkError

            if isinstance(error, (OSError, IcechunkError)):  # S3 may answer another time; a format does not change
                with self._loading:
                    self._loads.pop(path, None)
            if not self._said:
                self._said = True
                # As text: a record that a handler keeps would keep the error, its frames and so this store.
                said = repr(error)
                logger.warning(
                    "Chunks of %s are read by Icechunk itself, neither near the data nor counted: %s", self.url, said
                )
            return None
        finally:
            self._late = False

    # What Zarr calls

    @property
    def _opened(self) -> Session:
        with self._opening:
            if self._session is None:
                self._session = Session(self.url, self.snapshot)
            return self._session

    @property
    def _store(self) -> Any:
        refuse_in_fork()
        return self._opened.store

    @property
    def read_only(self) -> bool:
        """Always."""
        return True

    def with_read_only(self, read_only: bool = False) -> SnapshotStore:
        """This one. Raises ``ValueError`` where it shall be written to."""
        if not read_only:
            raise ValueError(f"{self.url}: a snapshot cannot be written to: write with Icechunk, on a branch")
        return self

    def _with_store(self, _store: Any) -> SnapshotStore:
        return self

    @property
    def supports_consolidated_metadata(self) -> bool:
        """As Icechunk: a session has all metadata at hand."""
        return bool(self._store.supports_consolidated_metadata)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """The value of a key, or the part of it that ``byte_range`` names; None where there is none.

        Raises ``OSError`` where the object of a chunk was changed after the snapshot was made, or cannot be read.
        """
        references = await self._of_chunk(key)
        reference = references.get(key) if references is not None else None
        if reference is None:
            return await self._store.get(key, prototype, byte_range)
        start, end = _part(byte_range, reference.length)
        data = await _files()._cat_file(
            reference.url,
            start=reference.offset + start,
            end=reference.offset + end,
            if_match=reference.etag,
            if_unmodified_since=reference.modified,
        )
        if len(data) < end - start:
            raise OSError(f"{reference.url} ends before its chunk {key} does: make the dataset anew, and use that")
        return prototype.buffer.from_bytes(data)

    async def _of_chunk(self, key: str) -> ArrayReferences | None:
        path, separator, coordinates = key.rpartition("c")
        if not separator or coordinates.strip("/0123456789") or (path and not path.endswith("/")):
            return None
        load = self._load(path.rstrip("/"))
        # Shielded: a read that is given up must not take the references from those that come after it.
        return load.result() if load.done() else await asyncio.shield(asyncio.wrap_future(load))

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        """As ``get``, of several keys."""
        return await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges))

    async def _get_many(self, requests: Iterable[tuple[str, Any, Any]]) -> AsyncGenerator[tuple[str, Any], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)


def _part(byte_range: Any, length: int) -> tuple[int, int]:
    """Which bytes of a chunk of ``length`` a request of Zarr's names: the first, and one behind the last."""
    match byte_range:
        case None:
            wanted = slice(None)
        case RangeByteRequest(start, end):
            wanted = slice(start, end)
        case OffsetByteRequest(offset):
            wanted = slice(offset, None)
        case SuffixByteRequest(suffix):
            wanted = slice(max(0, length - suffix), None)
        case _:
            raise ValueError(f"{byte_range!r} is no part of a chunk that Zarr knows")
    start, end, _ = wanted.indices(length)
    return start, max(start, end)


@functools.cache
def _files() -> Any:
    return fsspec.filesystem("s3", asynchronous=True)


@functools.cache
def _loaders() -> ThreadPoolExecutor:
    """The threads that load references, for all snapshots of this process: a store's own would live as long as it."""
    return ThreadPoolExecutor(LOADS, thread_name_prefix="icechunk-references")


os.register_at_fork(after_in_child=_loaders.cache_clear)  # a child has none of its parent's threads
