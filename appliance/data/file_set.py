"""The files of one dataset: which there are, how they follow each other, and what they hold together."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec

from appliance.data import DataError
from appliance.data.compared import Part
from appliance.data.contiguous import cut
from appliance.data.described import Described, describe, dimension_of
from appliance.data.files import check_joinable, in_order, is_ordered, joined
from appliance.data.preprocess import Preprocess
from appliance.data.sources import Readable, Source
from appliance.data.stores import exists
from appliance.placement.model.s3_address import S3Address

COPIES_BYTES = 64 * 2**20  # of files' partial copies on the disk; of more files they are fetched twice


class Files:
    """The files, each with a folder for its partial copy, of which no more than ``COPIES_BYTES`` are kept.

    Args:
        urls: their addresses, or paths of this machine.
        group: the group whose variables are wanted; the root's if None.
        preprocess: what is dropped and renamed.
        folder: an empty one.
        in_place: whether large arrays are described where they lie; else they are left to be read.
        opener: what opens one: by address, group and an empty folder.
    """

    def __init__(
        self,
        urls: Sequence[str],
        group: str | None,
        preprocess: Preprocess,
        folder: Path,
        in_place: bool = True,
        opener: Callable[[str, str | None, Path], Readable] = Source,
    ):
        self._urls, self._group, self._preprocess, self._folder = urls, group, preprocess, folder
        self._in_place, self._opener = in_place, opener
        self._sources: dict[str, Readable] = {}
        self._bytes: dict[str, int] = {}  # that their copies take
        self._states: dict[str, Any] = {}
        self._dim: str | None = None
        self._by: str | None = None
        self._count = 0

    def source(self, url: str) -> Readable:
        """The file with all but its large arrays at hand. Raises ``DataError`` where it was changed since."""
        if url not in self._sources:
            self._describe(url, kept=False)
        return self._sources[url]

    def _open(self, url: str) -> Readable:
        while self._sources and sum(self._bytes.values()) > COPIES_BYTES:
            oldest = next(iter(self._sources))
            self._bytes.pop(oldest, None)
            self._sources.pop(oldest).copy.remove()
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        self._sources[url] = source = self._opener(url, self._group, folder)
        if self._states.setdefault(url, source.copy.state) != source.copy.state:
            raise DataError(f"{url}: was changed while it was read: try again when it is at rest")
        return source

    def _describe(self, url: str, kept: bool) -> Described:
        source = self._sources.get(url) or self._open(url)
        made = describe(source, self._preprocess, self._dim, self._by, kept, self._in_place)
        self._bytes[url] = source.copy.kept_bytes
        return made

    @property
    def states(self) -> dict[str, Any]:
        """Of each file what tells it from what it was or becomes."""
        return dict(self._states)

    def described(
        self, dim: str, combine: str | None, progress: Callable[[str, str], None]
    ) -> tuple[Described, list[tuple[str, Part]]]:
        """All files as one dataset, and which part of it each is."""
        several = len(self._urls) > 1
        if combine is not None:
            dim = dimension_of(self._open(self._urls[0]), self._preprocess, combine)
        self._dim, self._by = (dim, combine) if several else (None, None)
        each: list[Described] = []
        for number, url in enumerate(self._urls):
            each.append(self._describe(url, kept=number == 0))
            progress("look", url)
        self._check_names(each)
        if self._in_place:
            each = cut(each)
        if not several:
            return each[0], [(each[0].url, Part())]
        kept = each[0]
        lengths = {one.url: one.sizes[dim] for one in each}
        empty = next((url for url, length in lengths.items() if not length), None)
        if empty:
            raise DataError(f"{empty}: its dimension {dim!r} has the length 0: leave the file out")
        each = in_order(each, dim, combine)
        check_joinable(each, dim)
        parts, start = [], 0
        for one in each:
            parts.append((one.url, Part(dim, start, lengths[one.url])))
            start += lengths[one.url]
        dataset = joined(each, dim, kept)
        if not is_ordered(each, combine or dim):
            note = "has no numbers or times to go by: the files are joined in the order in which they were named"
            dataset.notes.setdefault(dim, note)
        return dataset, parts

    @staticmethod
    def _check_names(each: Sequence[Described]) -> None:
        """Raise ``DataError`` for a name to drop or rename that no file has: it may be misspelt."""
        unknown = frozenset.intersection(*(one.unknown for one in each))
        if unknown:
            whose = each[0].url if len(each) == 1 else f"{each[0].url} and all other files"
            has = ", ".join(sorted({*each[0].variables, *each[0].sizes}))
            raise DataError(f"{whose}: no variable is called {min(unknown)!r}; there are: {has}")


def expand(patterns: Sequence[str]) -> list[str]:
    """The addresses that the patterns name, each once. Raises ``DataError`` for a pattern that names nothing."""
    files = fsspec.filesystem("s3")
    files.invalidate_cache()  # what other processes wrote since counts
    found: dict[str, None] = {}
    for pattern in patterns:
        S3Address.parse(pattern)
        matching = [pattern]
        if any(c in pattern for c in "*?["):
            try:
                matching = [files.unstrip_protocol(name) for name in files.glob(pattern)]
            except PermissionError as error:
                raise PermissionError(errno.EACCES, "S3 refuses: you have no right to list it", pattern) from error
        if not matching and exists(pattern):  # an object whose name has such characters in it
            matching = [pattern]
        if not matching:
            raise DataError(
                f"{pattern}: no object has such a name; `fsspec.filesystem('s3').ls(…)` lists what is there"
            )
        found |= dict.fromkeys(matching)
    if not found:
        raise DataError("no files are named: write s3://BUCKET/PREFIX/*.nc")
    return list(found)
