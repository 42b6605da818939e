"""A commit to Icechunk whose answer was lost is looked for, before anybody is told of a conflict.

A connection that breaks after S3 has moved the branch, and before it has said so, lets Icechunk's client ask again. The
branch is not any more where the second request wants it, and Icechunk (1.1.21) takes its own commit for somebody
else's: it raises ``ConflictError``, or rebases and commits the same once more.

So a commit carries a mark in its metadata. Where it fails, the branch is searched for the mark: if it is there, the
commit was made; if not, the conflict is real. A request that is still on its way cannot come later either: it wants the
branch to be where it was. Icechunk 2 does this itself (earth-mover/icechunk, issue 2099); with it this module is
needless, and so is its line in ``on_import.py``.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Mapping
from typing import Any

MARK = "appliance-commit"  # in the metadata of a commit: 32 hexadecimal digits, of this commit alone
REPOSITORY = "_appliance_repository"  # of a session, an attribute


class _Commit:
    """One commit of a session, tried once or several times."""

    def __init__(self, session: Any, repository: Any, metadata: Mapping[str, Any] | None):
        self._session, self._repository = session, repository
        self._base, self._branch = session.snapshot_id, session.branch
        self._mark = secrets.token_hex(16)
        self.metadata = {**(metadata or {}), MARK: self._mark}

    def found(self, error: Exception, may_rebase: bool) -> str | None:
        """The snapshot, where the commit was made after all; None where it lost a race and may be rebased.

        Raises the error where neither is so.
        """
        import icechunk

        try:
            snapshot = self._search()
        except icechunk.IcechunkError as unknown:
            error.add_note(
                f"Whether the commit was made is not known, as S3 does not answer: look for {MARK} {self._mark} in the "
                f"metadata of the branch {self._branch} before you commit the same again"
            )
            raise error from unknown
        if snapshot:
            # As after any commit: read only, and at the new snapshot.
            self._session._session = self._repository.readonly_session(snapshot_id=snapshot)._session
            return snapshot
        if not isinstance(error, icechunk.ConflictError):
            error.add_note(
                f"The commit is not on the branch {self._branch}. A request that is still on its way can bring it "
                f"there as long as nothing else is committed: {MARK} {self._mark} is in its metadata"
            )
            raise error
        if not may_rebase:
            raise error
        return None

    def _search(self) -> str | None:
        newest = self._repository.lookup_branch(self._branch)
        for each in self._repository.ancestry(snapshot_id=newest):
            if each.metadata.get(MARK) == self._mark:
                return str(each.id)
            if each.id == self._base:
                break
        return None


def install(module: Any) -> None:
    """Complete ``icechunk.repository``, and the sessions that its repositories give."""
    repository, session = module.Repository, module.Session
    repository.writable_session, repository.writable_session_async = _sessions(repository)
    session.commit, session.commit_async = _commits(session)


def _sessions(repository: Any) -> tuple[Any, Any]:
    plain, plain_async = repository.writable_session, repository.writable_session_async

    @functools.wraps(plain)
    def writable_session(self: Any, branch: str) -> Any:
        return _of(plain(self, branch), self)

    @functools.wraps(plain_async)
    async def writable_session_async(self: Any, branch: str) -> Any:
        return _of(await plain_async(self, branch), self)

    return writable_session, writable_session_async


def _of(session: Any, repository: Any) -> Any:
    setattr(session, REPOSITORY, repository)
    return session


def _commits(session: Any) -> tuple[Any, Any]:
    plain, plain_async = session.commit, session.commit_async

    def failures() -> tuple[type[Exception], ...]:
        import icechunk

        return icechunk.ConflictError, icechunk.IcechunkError

    @functools.wraps(plain)
    def commit(
        self: Any,
        message: str,
        metadata: dict[str, Any] | None = None,
        rebase_with: Any = None,
        rebase_tries: int = 1_000,
    ) -> Any:
        repository = getattr(self, REPOSITORY, None)
        if repository is None:  # which came from another process
            return plain(self, message, metadata, rebase_with, rebase_tries)
        tried = _Commit(self, repository, metadata)
        left = rebase_tries if rebase_with else 0
        while True:
            try:
                return plain(self, message, tried.metadata)
            except failures() as error:
                if found := tried.found(error, left > 0):
                    return found
            left -= 1
            self.rebase(rebase_with)

    @functools.wraps(plain_async)
    async def commit_async(
        self: Any,
        message: str,
        metadata: dict[str, Any] | None = None,
        rebase_with: Any = None,
        rebase_tries: int = 1_000,
    ) -> Any:
        repository = getattr(self, REPOSITORY, None)
        if repository is None:
            return await plain_async(self, message, metadata, rebase_with, rebase_tries)
        tried = _Commit(self, repository, metadata)
        left = rebase_tries if rebase_with else 0
        while True:
            try:
                return await plain_async(self, message, tried.metadata)
            except failures() as error:
                if found := await asyncio.to_thread(tried.found, error, left > 0):
                    return found
            left -= 1
            await self.rebase_async(rebase_with)

    return commit, commit_async
