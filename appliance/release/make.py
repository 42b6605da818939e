"""A release in two commits: the one that is released, and the one that records its hash.

A commit cannot hold its own hash, so the record follows it. The second commit also states the next development
version: no other tree bears a release's version.
"""

from __future__ import annotations

import datetime
import subprocess
import sys

from packaging.version import Version

from appliance.release import record
from appliance.release.errors import ReleaseError
from appliance.release.record import CHANGELOG, RECORD, Release
from appliance.release.repository import PYPROJECT, Repository

FRAGMENTS = "changes"


def make(repository: Repository, version: Version, date: datetime.date) -> Release:
    """Release what is checked out.

    Raises:
        ReleaseError: the tree is not fit for it, and nothing was changed; or a commit was refused (docs/releasing.md
            says how to go on).
    """
    _check(repository, version)
    repository.set_version(version)
    _build_changelog(repository, version, date)
    repository.git("add", "--all", "--", PYPROJECT, CHANGELOG, FRAGMENTS)
    repository.git("commit", "--quiet", "--message", f"Release {version}")
    return record_head(repository)


def record_head(repository: Repository) -> Release:
    """Record the release whose commit is checked out, and begin the next version.

    ``make`` ends with it. Called alone, it goes on with a release that was interrupted between its two commits.

    Raises:
        ReleaseError: what is checked out is not such a commit; nothing was changed.
    """
    _check_clean(repository)
    version = record.release_version(str(repository.version()))
    if repository.git("log", "-1", "--format=%s").strip() != f"Release {version}":
        raise ReleaseError(f"the last commit is not 'Release {version}': `appliance release make` begins a release")
    release = Release(version, _date_of(repository, version), repository.git("rev-parse", "HEAD").strip())
    path = repository.root / RECORD
    path.write_text(path.read_text(encoding="utf-8") + release.to_toml(), encoding="utf-8")
    following = next_development_version(version)
    repository.set_version(following)
    if wrong := record.faults(repository):
        raise ReleaseError("; ".join(wrong))
    repository.git("commit", "--quiet", "--message", f"Record release {version}, begin {following}", RECORD, PYPROJECT)
    return release


def next_development_version(version: Version) -> Version:
    """The version of the trees that follow a release: the next minor one's first development version."""
    return Version(f"{version.major}.{version.minor + 1}.0.dev0")


def _check(repository: Repository, version: Version) -> None:
    _check_clean(repository)
    if wrong := record.faults(repository):
        raise ReleaseError("; ".join(wrong))
    for older in record.read(repository)[-1:]:
        if version <= older.version:
            raise ReleaseError(f"{version} does not follow {older.version}, the last release")
    if not any(path.name.count(".") > 1 for path in (repository.root / FRAGMENTS).glob("*.md")):
        raise ReleaseError(f"{FRAGMENTS}/ holds no fragment: there is nothing to release")


def _check_clean(repository: Repository) -> None:
    if changed := repository.git("status", "--porcelain"):
        raise ReleaseError(f"the tree is not clean; commit or remove first:\n{changed.rstrip()}")


def _build_changelog(repository: Repository, version: Version, date: datetime.date) -> None:
    command = [sys.executable, "-m", "towncrier", "build", "--yes", "--version", str(version), "--date", str(date)]
    result = subprocess.run(command, cwd=repository.root, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ReleaseError(
            f"towncrier: {(result.stderr or result.stdout).strip()[-800:]}; `git reset --hard` goes back"
        )


def _date_of(repository: Repository, version: Version) -> datetime.date:
    start = f"## {version} ("
    for line in (repository.root / CHANGELOG).read_text(encoding="utf-8").splitlines():
        if line.startswith(start):
            return datetime.date.fromisoformat(line.removeprefix(start).rstrip(")"))
    raise ReleaseError(f"{CHANGELOG} has no section of {version}")
