"""The chunks of an array in an Icechunk repository as references: which object, from which byte, how many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from appliance.data.manifests import NATIVE, FormatError, Refs, name_of

GRID_MAX = 2**63  # chunks of an array, which are numbered in 64 bits


class Reference(NamedTuple):
    """Where one chunk lies. The first three are as in kerchunk's references.

    Attributes:
        url: of the object, ``s3://bucket/key`` with nothing escaped.
        offset: of its first byte in the object.
        length: in bytes.
        etag: which the object must have still; "" where none was noted.
        modified: seconds since 1970 after which the object must not have been written; 0 where none was noted.
    """

    url: str
    offset: int
    length: int
    etag: str = ""
    modified: int = 0


class Part(NamedTuple):
    """What one manifest holds of an array, and for which chunks it counts: along each axis first, one behind last."""

    ranges: tuple[tuple[int, int], ...]
    refs: Refs


class ArrayReferences(Mapping[str, Reference]):
    """Chunk key to ``Reference`` of one array, in 48 bytes each: of the chunks that lie on the facility's S3.

    Chunks that are missing, or in the manifest, or on another storage, are not in it.

    Args:
        path: of the array, without slashes around it; "" is the root's.
        parts: what its manifests hold.
        own: what comes before the id of a chunk that is an object of the repository, ``s3://bucket/prefix/chunks/``.
        resolve: a location to its plain address; None where it is not on the facility's S3.

    Raises:
        FormatError: the array has more chunks than can be counted.
    """

    def __init__(self, path: str, parts: Sequence[Part], own: str, resolve: Callable[[str], str | None]):
        self._before = f"{path}/c" if path else "c"
        self.own = own
        axes = range(len(parts[0].ranges) if parts else 0)
        self._grid = tuple(max(part.ranges[axis][1] for part in parts) for axis in axes)
        if math.prod(self._grid) >= GRID_MAX:
            raise FormatError(f"array {path!r} has a grid of {self._grid} chunks, which is more than can be counted")
        self._urls: list[str] = []
        self._etags: list[str] = []
        found = [self._taken(part, resolve) for part in parts]
        at = np.concatenate([part[0] for part in found]) if found else np.zeros(0, "i8")
        order = np.argsort(at, kind="stable")
        self._at = at[order]
        self._rows = np.concatenate([part[1] for part in found])[order] if found else at

    def _taken(self, part: Part, resolve: Callable[[str], str | None]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and rows of what counts of a part; locations and ETags are counted in the array's own lists."""
        index, rows = part.refs.coordinates.astype("i8"), part.refs.rows.copy()
        if index.shape[1] != len(self._grid):
            raise FormatError(f"{self._before}: references along {index.shape[1]} of {len(self._grid)} axes")
        urls = [resolve(location) for location in part.refs.locations]
        kept = rows["location"] >= NATIVE
        virtual = rows["location"] >= 0
        kept[virtual] = np.array([url is not None for url in urls], bool)[rows["location"][virtual]]
        for axis, (first, end) in enumerate(part.ranges):
            kept &= (index[:, axis] >= first) & (index[:, axis] < end)
        rows["location"][virtual] += len(self._urls)
        rows["etag"][rows["etag"] >= 0] += len(self._etags)
        self._urls += [url or "" for url in urls]
        self._etags += part.refs.etags
        at = np.zeros(len(rows), "i8")
        for axis, size in enumerate(self._grid):
            at = at * size + index[:, axis]
        return at[kept], rows[kept]

    def __getitem__(self, key: str) -> Reference:
        first, *indices = key[len(self._before) :].split("/")
        if first or not key.startswith(self._before) or len(indices) != len(self._grid):
            raise KeyError(key)
        number = 0
        for text, size in zip(indices, self._grid, strict=True):
            if not text.isdecimal() or int(text) >= size:
                raise KeyError(key)
            number = number * size + int(text)
        row = int(self._at.searchsorted(number))
        if row == len(self._at) or self._at[row] != number:
            raise KeyError(key)
        return self._reference(row)

    def _reference(self, row: int) -> Reference:
        offset, length, location, etag, modified, chunk_id = self._rows[row].item()
        url = self._urls[location] if location >= 0 else self.own + name_of(chunk_id)
        return Reference(url, offset, length, self._etags[etag] if etag >= 0 else "", modified)

    def __iter__(self) -> Iterator[str]:
        for number in self._at:
            coordinates = np.unravel_index(int(number), self._grid) if self._grid else ()
            yield "/".join([self._before, *(str(coordinate) for coordinate in coordinates)])

    def __len__(self) -> int:
        return len(self._at)
