"""A checkout and its history, as ``git`` tells of them."""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from appliance.release.errors import ReleaseError

PYPROJECT = "pyproject.toml"


@dataclass(frozen=True)
class Repository:
    """A checkout. ``root`` is the directory that holds pyproject.toml."""

    root: Path

    def git(self, *arguments: str) -> str:
        """What a git command prints.

        Raises:
            ReleaseError: the command failed; in git's own words.
        """
        result = self._run(arguments)
        if result.returncode:
            words = (result.stderr.strip() or result.stdout.strip())[-400:]
            raise ReleaseError(f"git {arguments[0]}: {words}")
        return result.stdout

    def holds(self, commit: str) -> bool:
        """Whether the commit is in this repository at all."""
        return self._run(("cat-file", "-e", f"{commit}^{{commit}}")).returncode == 0

    def descends_from(self, commit: str) -> bool:
        """Whether the commit is in the history of what is checked out."""
        return self._run(("merge-base", "--is-ancestor", commit, "HEAD")).returncode == 0

    def is_shallow(self) -> bool:
        """Whether older commits were left out when this repository was cloned."""
        return self.git("rev-parse", "--is-shallow-repository").strip() == "true"

    def text_at(self, commit: str, name: str) -> str:
        """A file as it was at a commit.

        Raises:
            ReleaseError: the commit has no such file.
        """
        return self.git("show", f"{commit}:{name}")

    def version(self) -> Version:
        """The version that the checkout states, in pyproject.toml."""
        return version_in((self.root / PYPROJECT).read_text(encoding="utf-8"))

    def set_version(self, version: Version) -> None:
        """State another version in pyproject.toml; all else there stays as it is."""
        path = self.root / PYPROJECT
        text = path.read_text(encoding="utf-8")
        old = f'\nversion = "{self.version()}"\n'
        if text.count(old) != 1:
            raise ReleaseError(f"{PYPROJECT}: wants exactly one line {old.strip()}")
        path.write_text(text.replace(old, f'\nversion = "{version}"\n'), encoding="utf-8")

    def _run(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True, check=False)


def version_in(pyproject: str) -> Version:
    """The version that the text of a pyproject.toml states."""
    return Version(tomllib.loads(pyproject)["project"]["version"])
