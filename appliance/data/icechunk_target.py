"""An Icechunk repository that gets a copied dataset: written and committed on a branch of its own, until it is whole.

The branch ``main`` then moves to the last commit in one step: who opens the dataset has all of the old one or all of
the new one. Commits on the way keep what was written when a process ends early.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import fsspec

from appliance.data import DataError, own_loop
from appliance.data.repositories import BRANCH, named, opened, storage
from appliance.data.snapshots import SnapshotStore
from appliance.data.stores import EMPTY, UNCHECKED, exists, first_line, quota_error, remove_repository

REQUEST = "appliance-ingest"  # in the metadata of the first commit
IS_NEW = "appliance-ingest-made-the-repository"  # beside it
PROBE_BYTES = 2**20


class IcechunkTarget:
    """A place on S3 for an Icechunk repository, or one that is there.

    Args:
        url: ``s3://bucket/name``.
        replace: whether a dataset that is there may be replaced.
    """

    format = "icechunk"

    def __init__(self, url: str, replace: bool):
        address = named(url)
        self.url = f"s3://{address.bucket}/{address.key.strip('/')}"
        self._replace = replace
        self._repository: Any = None
        self._session: Any = None
        self._base = EMPTY  # where ``main`` was when the copy began
        self._is_new = False  # whether the repository was made for this copy
        self._compared = ""

    def unfinished(self, to_remove: bool = False) -> dict[str, Any] | None:
        """As ``ZarrTarget.unfinished``."""
        import icechunk

        if exists(self.url) and fsspec.filesystem("s3").isfile(self.url):
            raise DataError(f"{self.url}: is an object, and so no place for an Icechunk repository: name another place")
        if not icechunk.Repository.exists(storage(self.url)):
            return None
        self._repository = opened(self.url)
        self._base = self._repository.lookup_branch(BRANCH)
        if UNCHECKED in self._repository.list_branches():
            commits = list(self._repository.ancestry(branch=UNCHECKED))
            first = next((each for each in commits if REQUEST in each.metadata), None)
            if first is None and to_remove:
                return {}
            if first is None:
                raise DataError(
                    f"{self.url}: is being made by another command, or was given up half-way: name another place; "
                    f"where nothing is at work there: appliance data abandon {self.url}"
                )
            # Else ``main`` is where the copy began, or was moved already by the process that ended.
            if self._base not in {each.id for each in commits}:
                self._base = first.parent_id
            self._is_new = bool(first.metadata.get(IS_NEW))
            self._session = self._repository.writable_session(UNCHECKED)
            return dict(json.loads(first.metadata[REQUEST]))
        if self._base != EMPTY and not self._replace:
            raise DataError(
                f"{self.url}: there is an Icechunk repository already: name another place, or replace what is on its "
                "branch main with --replace"
            )
        return None

    def begin(self, request: Mapping[str, Any], create: Any) -> None:
        """As ``ZarrTarget.begin``."""
        import icechunk

        is_own = False  # what is there, and not another process's that was faster
        try:
            if self._repository is None:
                self._repository = icechunk.Repository.create(storage(self.url))
                is_own = self._is_new = True
            self._repository.create_branch(UNCHECKED, self._base)
            is_own = True
            self._session = self._repository.writable_session(UNCHECKED)
            create(self._session.store, False)
            note = {REQUEST: json.dumps(request), IS_NEW: self._is_new}
            self._session.commit("arrays of a copied dataset", metadata=note)
            self._session = self._repository.writable_session(UNCHECKED)
        except BaseException as error:
            if "clean prefix" in str(error):
                raise DataError(
                    f"{self.url}: is no place for an Icechunk repository, as there are other objects below it"
                ) from error
            if is_own:
                self.discard()
            if (told := self.plain(error)) is error:
                raise
            raise told from error

    def plain(self, error: BaseException) -> BaseException:
        """An error of Icechunk's as one that says what S3 says; others as they are."""
        import icechunk

        if not isinstance(error, icechunk.IcechunkError):
            return error
        if quota := quota_error(error, self.url):
            return quota
        probe = f"{self.url}/.probe"  # Icechunk keeps to itself why S3 refuses
        files = fsspec.filesystem("s3")
        try:
            files.pipe_file(probe, bytes(PROBE_BYTES))
            files.rm_file(probe)
        except OSError as of_s3:
            return of_s3
        return OSError(f"{self.url}: Icechunk cannot write there: {first_line(error)}")

    @property
    def store(self) -> Any:
        """Where chunks are written by this process."""
        return self._session.store

    def written(self, name: str) -> set[tuple[int, ...]]:
        """The chunks of an array that were committed."""

        async def listed() -> set[tuple[int, ...]]:
            return {tuple(each) async for each in self._session.chunk_coordinates(f"/{name}")}

        return own_loop.run(listed())

    def handle(self, _name: str) -> Any:
        """What a task of another process writes by: a session that is merged when it comes back."""
        return self._session.fork()

    def merge(self, handles: Iterable[Any]) -> None:
        """Take over what tasks of other processes wrote."""
        handles = list(handles)
        if handles:
            self._session.merge(*handles)

    def checkpoint(self) -> None:
        """Keep what was written so far."""
        if self._session.has_uncommitted_changes:
            self._session.commit("some of the chunks")
            self._session = self._repository.writable_session(UNCHECKED)

    def readable(self) -> Any:
        """The dataset as it will be."""
        self.checkpoint()
        self._compared = self._repository.lookup_branch(UNCHECKED)
        return SnapshotStore(self.url, self._compared)

    def publish(self) -> None:
        """Let ``main`` be what was compared. Raises ``DataError`` where another process changed it meanwhile."""
        import icechunk

        try:
            self._repository.reset_branch(BRANCH, self._compared, from_snapshot_id=self._base)
        except icechunk.IcechunkError as error:
            now = self._repository.lookup_branch(BRANCH)
            if now == self._base:  # S3 refused, or did not answer: ``main`` can be moved another time
                raise
            if now != self._compared:  # else it was moved, and the answer was lost
                raise DataError(
                    f"{self.url}: its branch {BRANCH} was changed by another process meanwhile ({first_line(error)}): "
                    "nothing was replaced; look at it, and ask again"
                ) from error
        with contextlib.suppress(icechunk.IcechunkError):  # the dataset is there: the next copy removes the branch
            self._repository.delete_branch(UNCHECKED)

    def _is_all_own(self) -> bool:
        """Whether nobody else put anything into the repository."""
        there = self._repository
        is_bare = there.list_branches() <= {BRANCH, UNCHECKED} and not there.list_tags()
        return self._is_new and is_bare and there.lookup_branch(BRANCH) == EMPTY

    def discard(self) -> None:
        """Delete what was written, and nothing that others put there meanwhile."""
        if self._repository is None:
            return
        if self._is_all_own():
            remove_repository(self.url)
        elif UNCHECKED in self._repository.list_branches():
            # Its chunks are no part of any snapshot that can be reached: Icechunk's own collection removes them.
            self._repository.delete_branch(UNCHECKED)
