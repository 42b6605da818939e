"""``releases.toml``: each release's version, day and commit, and whether the repository's history agrees."""

from __future__ import annotations

import datetime
import itertools
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from appliance.release.errors import ReleaseError
from appliance.release.repository import PYPROJECT, Repository, version_in

RECORD = "releases.toml"
CHANGELOG = "CHANGELOG.md"

_NUMBERS = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Release:
    """A release that was made. ``commit`` holds the tree as it was released, by its full hash."""

    version: Version
    date: datetime.date
    commit: str

    def to_toml(self) -> str:
        """The release's entry in the record."""
        return f'\n[[release]]\nversion = "{self.version}"\ndate = {self.date}\ncommit = "{self.commit}"\n'


def release_version(text: str) -> Version:
    """A release's version: three numbers, such as 0.1.0.

    Raises:
        ReleaseError: it is anything else.
    """
    if not _NUMBERS.fullmatch(text):
        raise ReleaseError(f"{text!r} is no version of a release: three numbers, such as 0.1.0")
    return Version(text)


def changelog_heading(version: Version, date: datetime.date) -> str:
    """The line that begins a release's section of the changelog (its form stands in pyproject.toml too)."""
    return f"## {version} ({date})"


def parse(text: str) -> list[Release]:
    """The releases of a record, oldest first.

    Raises:
        ReleaseError: the record is damaged, or its releases are out of order.
    """
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ReleaseError(f"{RECORD}: {error}") from None
    if entries.keys() - {"release"}:
        raise ReleaseError(f"{RECORD}: holds more than releases: {', '.join(sorted(entries.keys() - {'release'}))}")
    found = [_entry(entry) for entry in entries.get("release", [])]
    for older, newer in itertools.pairwise(found):
        if newer.version <= older.version:
            raise ReleaseError(f"{RECORD}: {newer.version} stands after {older.version}")
    return found


def _entry(entry: dict[str, Any]) -> Release:
    if entry.keys() != {"version", "date", "commit"}:
        raise ReleaseError(f"{RECORD}: a release has version, date and commit, this one has {sorted(entry)}")
    version, date, commit = entry["version"], entry["date"], entry["commit"]
    if type(date) is not datetime.date:
        raise ReleaseError(f"{RECORD}: date of {version}: {date!r} is no date, such as 2026-11-25 without quotes")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise ReleaseError(f"{RECORD}: commit of {version}: {commit!r} is no commit's full hash")
    return Release(release_version(str(version)), date, commit)


def read(repository: Repository) -> list[Release]:
    """The releases that a checkout records, oldest first."""
    return parse((repository.root / RECORD).read_text(encoding="utf-8"))


def faults(repository: Repository) -> list[str]:
    """All in which a checkout's record and its history disagree, a line each; none if they agree."""
    try:
        releases = read(repository)
    except ReleaseError as error:
        return [str(error)]
    found = [fault for release in releases for fault in _faults_of(repository, release)]
    if releases and repository.version() <= releases[-1].version:
        found.append(
            f"{PYPROJECT}: {repository.version()} is not later than release {releases[-1].version}, "
            "which is made already: two different trees would bear one version"
        )
    return found


def _faults_of(repository: Repository, release: Release) -> list[str]:
    if not repository.holds(release.commit):
        way_out = ": the clone is shallow, fetch all of it" if repository.is_shallow() else ""
        return [f"{release.version}: commit {release.commit} is not in this repository{way_out}"]
    found = []
    if not repository.descends_from(release.commit):
        found.append(f"{release.version}: commit {release.commit} is not in the history of what is checked out")
    heading = changelog_heading(release.version, release.date)
    try:
        stated = version_in(repository.text_at(release.commit, PYPROJECT))
        if stated != release.version:
            found.append(f"{release.version}: {PYPROJECT} of its commit states {stated}")
        if heading not in repository.text_at(release.commit, CHANGELOG).splitlines():
            found.append(f"{release.version}: {CHANGELOG} of its commit has no line {heading!r}")
    except (ReleaseError, KeyError, InvalidVersion, tomllib.TOMLDecodeError) as error:
        found.append(f"{release.version}: {error}")
    if heading not in (repository.root / CHANGELOG).read_text(encoding="utf-8").splitlines():
        found.append(f"{release.version}: {CHANGELOG} has no line {heading!r} any more")
    return found
