"""Versions of an Icechunk repository: its history, its branches and its tags. All of it is Icechunk's own."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from appliance.data import DataError
from appliance.data.repositories import BRANCH, opened, snapshot_of
from appliance.data.stores import first_line


class Version(NamedTuple):
    """A snapshot of a repository.

    Attributes:
        snapshot: its id.
        written_at: when it was committed, in UTC.
        message: what was said of it.
        branches: those of which it is the newest snapshot.
        tags: those that name it.
        metadata: what was committed with it.
    """

    snapshot: str
    written_at: datetime
    message: str
    branches: tuple[str, ...]
    tags: tuple[str, ...]
    metadata: dict[str, Any]


@contextmanager
def plain_errors(url: str) -> Iterator[None]:
    """Raise what Icechunk says of S3 as ``OSError``, without the list of its own calls."""
    import icechunk

    try:
        yield
    except icechunk.IcechunkError as error:
        if "AccessDenied" in str(error):
            raise PermissionError(errno.EACCES, "S3 refuses: you have no right there", url) from error
        raise OSError(f"{url}: Icechunk cannot do it: {first_line(error)}") from error


def history(url: str, at: str = BRANCH, last: int | None = None) -> list[Version]:
    """The snapshots from which a branch, a tag or a snapshot came, newest first and itself among them.

    Args:
        url: of the repository.
        at: the name of a branch or a tag, or the id of a snapshot.
        last: how many at most; all if None.

    Raises:
        DataError: there is no such repository, branch, tag or snapshot.
        OSError: S3 refuses, or does not answer.
    """
    with plain_errors(url):
        repository = opened(url)
        return listed(repository, snapshot_of(repository, url, at), last)


def listed(repository: Any, snapshot: str, last: int | None = None) -> list[Version]:
    """The snapshots from which one came, as ``history``. ``snapshot`` is its id."""
    branches = _by_snapshot(repository.list_branches(), repository.lookup_branch)
    tags = _by_snapshot(repository.list_tags(), repository.lookup_tag)
    return [
        Version(each.id, each.written_at, each.message, branches.get(each.id, ()), tags.get(each.id, ()), each.metadata)
        for each in itertools.islice(repository.ancestry(snapshot_id=snapshot), last)
    ]


def tips(repository: Any) -> dict[str, str]:
    """The newest snapshot of each branch, ``main`` first, the others by name."""
    names = sorted(repository.list_branches(), key=lambda name: (name != BRANCH, name))
    return {name: repository.lookup_branch(name) for name in names}


def branch(url: str, name: str, at: str = BRANCH) -> str:
    """Make a branch that begins at another branch, a tag or a snapshot; returns the snapshot.

    Raises:
        DataError: there is a branch of that name that is elsewhere, or nothing that is called ``at``.
    """
    repository = opened(url)
    return _made(
        repository.create_branch, repository.lookup_branch, "branch", url, name, snapshot_of(repository, url, at)
    )


def tag(url: str, name: str, at: str = BRANCH) -> str:
    """Give a name for good to the snapshot of a branch or a tag, or to one by its id; returns the snapshot.

    Raises:
        DataError: the name is taken, or was (Icechunk gives no name of a tag twice), or nothing is called ``at``.
    """
    with plain_errors(url):
        repository = opened(url)
        snapshot = snapshot_of(repository, url, at)
        return _made(repository.create_tag, repository.lookup_tag, "tag", url, name, snapshot)


def remove(url: str, kind: str, name: str) -> None:
    """Remove a branch or a tag (``kind``). What only it reached stays until ``collect`` takes it.

    Raises:
        DataError: there is none of that name, or it is the branch ``main``.
    """
    if (kind, name) == ("branch", BRANCH):
        raise DataError(f"{url}: the branch {BRANCH} is what is opened where none is named: it cannot be removed")
    with plain_errors(url):
        repository = opened(url)
        names = repository.list_branches() if kind == "branch" else repository.list_tags()
        if name not in names:
            raise DataError(f"{url}: there is no {kind} {name!r}; there {_are(names)}")
        (repository.delete_branch if kind == "branch" else repository.delete_tag)(name)


def _by_snapshot(names: Iterable[str], lookup: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(names):
        snapshot = lookup(name)
        found[snapshot] = (*found.get(snapshot, ()), name)
    return found


def _made(
    make: Callable[[str, str], None], lookup: Callable[[str], str], kind: str, url: str, name: str, snapshot: str
) -> str:
    import icechunk

    try:
        make(name, snapshot)
    except (icechunk.IcechunkError, ValueError) as error:
        try:
            there = lookup(name)
        except (icechunk.IcechunkError, ValueError):
            raise DataError(f"{url}: {name!r} cannot be a {kind}: {first_line(error)}") from error
        # Where S3's answer was lost, Icechunk asks again and is told that it is there: it is what was asked for.
        if there != snapshot:
            raise DataError(f"{url}: there is a {kind} {name!r} already, at {there}: give another name") from error
    return snapshot


def _are(names: Iterable[str]) -> str:
    return f"are {', '.join(sorted(names))}" if names else "is none"
