"""A file on S3 as a local file with holes: of large arrays only the chunks that are looked at come over the network.

So the netCDF library itself, through xarray, says what a file holds, and a check of a large file costs little.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import fsspec

from appliance.data import DataError
from appliance.data.stored import Ranges

GAP_BYTES = 64 * 2**10  # between two ranges, that are fetched with them
PIECE_BYTES = 16 * 2**20  # of a request at most
MEMORY_BYTES = 128 * 2**20  # asked for at once; many small ranges (the times of a classic file's records) go together


class NoSpaceError(DataError):
    """There is no room for what has to be at hand; the file itself may be as it should."""


class PartialCopy:
    """The copy of one object.

    Args:
        url: of the object.
        folder: where the copy is made.

    Raises:
        DataError: the object is empty, or was changed meanwhile (by ``fetch`` too).
        OSError: S3 cannot be reached, or refuses.
    """

    def __init__(self, url: str, folder: Path):
        self.url, self.path, self._base = url, folder / "part.nc", folder / "base.nc"
        self.state = state_of(url)
        self.nbytes = self.state[0]
        if not self.nbytes:
            raise DataError(f"{url}: is empty (0 bytes): upload it again")
        self._kept: Ranges = []  # what ``forget`` leaves
        self._got: Ranges = []
        self.path.unlink(missing_ok=True)
        _sparse(self.path, self.nbytes)

    @property
    def kept_bytes(self) -> int:
        """What ``forget`` leaves, on the disk twice."""
        return 2 * sum(end - start for start, end in self._kept)

    def begins(self, count: int) -> bytes:
        """The first bytes."""
        return bytes(fsspec.filesystem("s3").cat_file(self.url, start=0, end=min(count, self.nbytes)))

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fill holes. ``ranges`` is first byte and one behind the last; what lies beyond the end is left out."""
        missing = without([(start, min(end, self.nbytes)) for start, end in ranges], self._got)
        pieces = [
            (at, min(at + PIECE_BYTES, end))
            for start, end in joined(missing, GAP_BYTES)
            for at in range(start, end, PIECE_BYTES)
        ]
        with self._writing() as file:
            for some in _batches(pieces):
                contents = fsspec.filesystem("s3").cat_ranges(
                    [self.url] * len(some), [start for start, _ in some], [end for _, end in some], on_error="raise"
                )
                for (start, end), content in zip(some, contents, strict=True):
                    if len(content) != end - start:
                        raise DataError(f"{self.url}: was changed while it was read: try again when it is at rest")
                    file.seek(start)
                    file.write(content)
        self._got = joined([*self._got, *pieces])

    def fetch_all_but(self, holes: Ranges) -> None:
        """Fetch the whole file apart from these ranges, and keep that when others are forgotten."""
        self.fetch(without([(0, self.nbytes)], joined(holes)))

    def keep(self) -> None:
        """Take what was fetched so far for what ``forget`` leaves."""
        self._kept = list(self._got)
        self._base.unlink(missing_ok=True)
        self.path.rename(self._base)
        self.forget()

    def forget(self) -> None:
        """Make holes again of all that was fetched since ``keep``. Nobody may have the copy open."""
        self.path.unlink(missing_ok=True)
        _sparse(self.path, self.nbytes)
        with self._base.open("rb") as source, self._writing() as file:
            for start, end in self._kept:
                for at in range(start, end, PIECE_BYTES):
                    source.seek(at)
                    file.seek(at)
                    file.write(source.read(min(PIECE_BYTES, end - at)))
        self._got = list(self._kept)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("r+b") as file:
                yield file
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise NoSpaceError(
                f"{self.url}: no space for a copy of what is looked at in {self.path.parents[2]}: delete files "
                "there, or set TMPDIR to a folder in your home"
            ) from error

    def remove(self) -> None:
        """Delete the copy and its folder."""
        shutil.rmtree(self.path.parent)

    def check_unchanged(self) -> None:
        """Raise ``DataError`` where the object is not the one that was there at first."""
        if state_of(self.url) != self.state:
            raise DataError(f"{self.url}: was changed while it was read: try again when it is at rest")


def _batches(pieces: Ranges) -> Iterator[Ranges]:
    batch: Ranges = []
    for piece in pieces:
        batch.append(piece)
        if sum(end - start for start, end in batch) >= MEMORY_BYTES or len(batch) >= 256:
            yield batch
            batch = []
    if batch:
        yield batch


def joined(ranges: Iterable[tuple[int, int]], gap: int = 0) -> Ranges:
    """The same bytes in order, with ranges that touch, or lie ``gap`` bytes apart, as one."""
    made: Ranges = []
    for start, end in sorted(each for each in ranges if each[0] < each[1]):
        if made and start <= made[-1][1] + gap:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def without(ranges: Iterable[tuple[int, int]], others: Ranges) -> Ranges:
    """The bytes of ``ranges`` that are not in ``others``, which are in order and do not touch."""
    made: Ranges = []
    ends = [end for _, end in others]
    for start, end in joined(ranges):
        at = start
        for number in range(bisect.bisect_right(ends, start), len(others)):
            other_start, other_end = others[number]
            if other_start >= end:
                break
            if at < other_start:
                made.append((at, other_start))
            at = max(at, other_end)
        if at < end:
            made.append((at, end))
    return made


def state_of(url: str) -> tuple[int, str]:
    """Size and ETag of an object. Raises ``DataError`` for none, and ``OSError`` where S3 refuses."""
    files = fsspec.filesystem("s3")
    files.invalidate_cache(files._parent(url))  # what another process wrote since counts
    try:
        found = files.info(url)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such object", url) from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, "S3 refuses: you have no right to read it", url) from error
    if found.get("type") == "directory":
        raise DataError(f"{url}: is no object, but the beginning of others' names: add /*.nc")
    return int(found["size"]), str(found.get("ETag", ""))


def _sparse(path: Path, nbytes: int) -> None:
    path.touch()
    os.truncate(path, nbytes)
