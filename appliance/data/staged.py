"""A Zarr dataset that nobody sees before it is whole: its chunks lie in their places, its metadata is not there yet.

Zarr finds a dataset by its ``zarr.json``. Until the chunks have been compared with the files, that is kept in a journal
beside the dataset's place, together with what was asked for: whoever asks for the same again goes on where it ended.
Then the metadata of the arrays is written, and last of all that of the root, which names them all (consolidated): one
object, which S3 gives to one of two that write it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

import fsspec
from zarr.storage import FsspecStore, MemoryStore, WrapperStore

from appliance.compute.reading.scratch import ExpiredError
from appliance.data import DataError
from appliance.data.repositories import named
from appliance.data.stores import delete, exists, quota_error

ROOT = "zarr.json"
JOURNAL = 1  # its version
REMOVED = "removed"  # in the journal of a copy that is being removed


class StagedStore(WrapperStore[Any]):  # type: ignore[misc]  # zarr is not followed
    """Chunks at an address on S3, and metadata that is given.

    Args:
        url: ``s3://bucket/name``.
        documents: what is in the keys that end in ``zarr.json``.
    """

    def __init__(self, url: str, documents: Mapping[str, bytes]):
        self.url, self.documents = url, dict(documents)
        super().__init__(FsspecStore(fsspec.filesystem("s3", asynchronous=True), path=url.removeprefix("s3://")))

    def __reduce__(self) -> Any:
        return StagedStore, (self.url, self.documents)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StagedStore) and (self.url, self.documents) == (other.url, other.documents)

    __hash__ = None  # type: ignore[assignment]  # as all of Zarr's stores

    def _with_store(self, _store: Any) -> StagedStore:
        return self

    def of_array(self, name: str) -> StagedStore:
        """The same, for one array: less to send to a worker."""
        return StagedStore(self.url, {f"{name}/{ROOT}": self.documents[f"{name}/{ROOT}"]})

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """The value of a key; None where there is none."""
        if key.rpartition("/")[2] == ROOT:
            found = self.documents.get(key)
            return None if found is None else prototype.buffer.from_bytes(found)
        try:
            return await self._store.get(key, prototype, byte_range)
        except ExpiredError:  # its metadata is not in its place yet: it was not written
            return None

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        """As ``get``, of several keys."""
        return await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges))

    async def _get_many(self, requests: Iterable[tuple[str, Any, Any]]) -> AsyncGenerator[tuple[str, Any], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self.documents if key.rpartition("/")[2] == ROOT else await self._store.exists(key)

    async def set(self, key: str, value: Any) -> None:
        """Write a chunk. Raises ``ValueError`` for metadata, which is not written before all is there."""
        if key.rpartition("/")[2] == ROOT:
            raise ValueError(f"{key} is written at the end")
        await self._store.set(key, value)


class ZarrTarget:
    """A place on S3 for a Zarr dataset.

    Args:
        url: ``s3://bucket/name``.
    """

    format = "zarr"

    def __init__(self, url: str):
        address = named(url)
        key = address.key.strip("/")
        self.url = f"s3://{address.bucket}/{key}"
        folder, _, name = self.url.rpartition("/")
        self._journal = f"{folder}/.ingest-{name}.json"
        self._documents: dict[str, bytes] = {}
        self._held = b""  # the journal, as this process wrote or found it

    def unfinished(self, to_remove: bool = False) -> dict[str, Any] | None:
        """What was asked for when something was begun here that did not come to its end; None where nothing was.

        Args:
            to_remove: whether it will be removed, and so may be what another process has not removed to the end.

        Raises:
            DataError: there is something else.
            OSError: S3 refuses, or cannot be reached.
        """
        if exists(f"{self.url}/{ROOT}"):
            self._finish()
            raise DataError(
                f"{self.url}: is there already, and a reader of it would see old and new chunks side by side: name "
                "another place, or use --format icechunk, with which a dataset is replaced in one step (--replace)"
            )
        if held := self._found():
            journal = json.loads(held)
            if journal.get("version") != JOURNAL:
                raise DataError(f"{self._journal}: is of another release: {self._way_out}")
            if journal.get(REMOVED) and not to_remove:
                raise DataError(
                    f"{self.url}: is being removed; where that was given up: appliance data abandon {self.url}"
                )
            self._held = held
            self._documents = {key: text.encode() for key, text in journal["documents"].items()}
            return dict(journal["request"])
        if self._others():
            raise DataError(f"{self.url}: there are other objects below it: name another place, or delete them first")
        return None

    @property
    def _way_out(self) -> str:
        return f"ask for the same again to go on with it, or remove it: appliance data abandon {self.url}"

    def _others(self) -> list[str]:
        return [f"s3://{name}" for name in fsspec.filesystem("s3").find(f"{self.url}/")]

    def begin(self, request: Mapping[str, Any], create: Any) -> None:
        """Note what is asked for, and the metadata that ``create(store, consolidate)`` writes. Nobody sees it yet."""
        held: dict[str, Any] = {}
        create(MemoryStore(held), True)
        self._documents = {key: value.to_bytes() for key, value in held.items()}
        documents = {key: text.decode() for key, text in self._documents.items()}
        # The number tells this copy from another of the same that is begun when this one was removed.
        journal = {"version": JOURNAL, "number": secrets.token_hex(8), "request": request, "documents": documents}
        self._held = json.dumps(journal).encode()
        self._put(self._journal, self._held, "create")

    def _found(self) -> bytes:
        """The journal that is there; empty if none is."""
        return bytes(fsspec.filesystem("s3").cat_file(self._journal)) if exists(self._journal) else b""

    def _put(self, url: str, content: bytes, mode: str = "overwrite") -> bool:
        """Write an object; returns whether it was not there as it is already."""
        files = fsspec.filesystem("s3")
        try:
            files.pipe_file(url, content, mode=mode)
        except PermissionError as error:
            raise PermissionError(errno.EACCES, "S3 refuses: you have no right to write it", url) from error
        except OSError as error:
            if quota := quota_error(error, url):
                raise quota from error
            # Where an answer was lost and s3fs asked again, what is there is this one's own.
            if mode != "create" or not exists(url):
                raise
            if files.cat_file(url) != content:
                raise DataError(f"{url}: was made by another process meanwhile: {self._way_out}") from error
            return False
        return True

    @property
    def store(self) -> StagedStore:
        """Where chunks are written, and read before they are seen."""
        return StagedStore(self.url, self._documents)

    def written(self, name: str) -> set[tuple[int, ...]]:
        """The chunks of an array that are there."""
        prefix = f"{self.url}/{name}/c/".removeprefix("s3://")
        found = (key.removeprefix(prefix) for key in fsspec.filesystem("s3").find(f"s3://{prefix}"))
        return {tuple(int(part) for part in key.split("/")) for key in found if key.replace("/", "").isdecimal()}

    def handle(self, name: str) -> Any:
        """What a task writes an array's chunks by, in any process."""
        return self.store.of_array(name)

    def merge(self, _handles: Iterable[Any]) -> None:
        """Nothing need be done: chunks are there when S3 has acknowledged them."""

    def checkpoint(self) -> None:
        """Raise ``DataError`` where another process removed what was begun: it may have deleted chunks of this one."""
        if self._found() != self._held:
            raise DataError(
                f"{self.url}: another process removed this copy, or published the same one, meanwhile: look at what is "
                "there, and ask again"
            )

    def plain(self, error: BaseException) -> BaseException:
        """The error as it is: it is S3's own."""
        return error

    def readable(self) -> Any:
        """The dataset as it will be."""
        return self.store

    def publish(self) -> None:
        """Let the dataset be seen. Raises ``DataError`` where another process was first, or removes this one.

        Who removes notes that in the journal, and then looks whether there is a dataset; this one looks the other way
        round. So of two at once at least one sees the other, and chunks are not deleted of what can be seen.
        """
        self.checkpoint()
        for key in sorted(set(self._documents) - {ROOT}):
            self._put(f"{self.url}/{key}", self._documents[key])
        root = f"{self.url}/{ROOT}"
        if self._put(root, self._documents[ROOT], "create"):
            try:
                self.checkpoint()
            except DataError:
                fsspec.filesystem("s3").rm_file(root)
                raise
        with contextlib.suppress(OSError):  # the dataset is there: the next copy to its place removes the journal
            self._finish()

    def _finish(self) -> None:
        """Remove the journal of a dataset that is there."""
        files = fsspec.filesystem("s3")
        if held := self._found():
            documents = json.loads(held).get("documents", {})
            if documents.get(ROOT, "").encode() == files.cat_file(f"{self.url}/{ROOT}"):
                files.rm_file(self._journal)

    def discard(self) -> None:
        """Delete what was written. What another process made of it meanwhile, or began, stays as it is."""
        files, found = fsspec.filesystem("s3"), self._found()
        if found and found != self._held:
            return
        if not exists(f"{self.url}/{ROOT}"):
            if found:
                self._put(self._journal, json.dumps(json.loads(found) | {REMOVED: True}).encode())
                if exists(f"{self.url}/{ROOT}"):  # published at the same time
                    self._put(self._journal, found)
                    return
            arrays = [key.removesuffix(ROOT) for key in self._documents if key != ROOT]
            chunks = tuple(f"{self.url}/{array}c" for array in arrays)
            documents = {f"{self.url}/{array}{ROOT}" for array in arrays}
            delete([url for url in self._others() if url in documents or (url.startswith(chunks) and _is_chunk(url))])
        if found:
            files.rm_file(self._journal)


def _is_chunk(url: str) -> bool:
    return url.rpartition("/c/")[2].replace("/", "").isdecimal() or url.endswith("/c")
