"""A file of this machine, where a partial copy of one on S3 is used otherwise: all of it is at hand."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from pathlib import Path

from appliance.data import DataError
from appliance.data.stored import Ranges


class LocalFile:
    """One file, with what ``PartialCopy`` has. Nothing is copied, so there is nothing to fetch or to forget.

    Raises:
        DataError: it is empty, or no file.
        OSError: it is not there, or may not be read.
    """

    kept_bytes = 0

    def __init__(self, path: str):
        self.url, self.path = path, Path(path)
        self.state = state_of(self.path)
        self.nbytes = int(self.state[0])
        if not self.nbytes:
            raise DataError(f"{path}: is empty (0 bytes): get the file again")

    def begins(self, count: int) -> bytes:
        """The first bytes."""
        with self.path.open("rb") as file:
            return file.read(count)

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """All of it is here."""

    def fetch_all_but(self, holes: Ranges) -> None:
        """All of it is here."""

    def keep(self) -> None:
        """All of it stays."""

    def forget(self) -> None:
        """All of it stays."""

    def remove(self) -> None:
        """The file is the user's."""

    def check_unchanged(self) -> None:
        """Raise ``DataError`` where the file is not the one that was there at first."""
        if state_of(self.path) != self.state:
            raise DataError(f"{self.url}: was changed while it was read: try again when it is at rest")


def state_of(path: Path) -> tuple[int, str]:
    """Size, and what else tells a file from what it becomes when somebody writes to it or puts another in its place."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path)) from error
    if path.is_dir():
        raise DataError(f"{path}: is a directory: name the files in it, such as {path}/*.nc")
    return found.st_size, f"{found.st_ino} {found.st_mtime_ns}"
