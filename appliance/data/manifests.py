"""Where the chunks of an Icechunk repository lie: its manifest files, which Icechunk's own API does not hand out.

A manifest is a header of 39 bytes, and behind it a compressed table of FlatBuffers (Icechunk specification, version 1,
https://icechunk.io/en/latest/spec/, with manifest.fbs; FlatBuffers internals, https://flatbuffers.dev/internals/).
FlatBuffers' own Python library reads one field of one reference at a time; here, all references are read at once with
numpy.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

import numpy as np

MAGIC = "ICE🧊CHUNK".encode()
HEADER_BYTES = 39  # the magic, 24 bytes of the writer's name, and a byte each of version, kind of file and compression
VERSION, MANIFEST, ZSTD = 1, 2, 1
IDENTIFIER = b"Ichk"  # of the table behind the header, at its fifth byte

# Fields by their number in manifest.fbs.
ID, ARRAYS = 0, 1  # of Manifest
NODE_ID, REFS = 0, 1  # of ArrayManifest
INDEX, OFFSET, LENGTH, CHUNK_ID, LOCATION, ETAG, MODIFIED = 0, 2, 3, 4, 5, 6, 7  # of ChunkRef

CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")
NATIVE, ELSEWHERE = -1, -2  # instead of the number of a location
# One reference: number of the location and of the ETag (-1: none), see Refs.
ROW = np.dtype(
    [
        ("offset", "u8"),
        ("length", "u8"),
        ("location", "i4"),
        ("etag", "i4"),
        ("modified", "u4"),
        ("chunk_id", "V12"),
    ]
)


class FormatError(ValueError):
    """The bytes are no manifest of a version that this module knows."""


class Refs(NamedTuple):
    """The references of one array in one manifest.

    Attributes:
        coordinates: of the chunks, one row for each reference.
        rows: the references (``ROW``), of which ``location`` and ``etag`` count in the lists here. In the place of a
            location, a chunk that is an object of the repository has ``NATIVE`` and the object's id, one that is in
            the manifest itself ``ELSEWHERE``.
        locations: addresses of objects outside of the repository, as Icechunk writes them (escaped).
        etags: which these objects had.
    """

    coordinates: np.ndarray
    rows: np.ndarray
    locations: list[str]
    etags: list[str]


def name_of(identity: bytes) -> str:
    """An id as in the names of files: base 32 with Crockford's letters."""
    return base64.b32encode(identity).rstrip(b"=").translate(CROCKFORD).decode()


def parse(content: bytes, manifest: str, node: str) -> Refs:
    """The references of the array ``node`` in a manifest file.

    Args:
        content: of the file.
        manifest: its name, which the content has to repeat.
        node: the name of the array's id.

    Raises:
        FormatError: the content is something else, or of another version.
    """
    from numcodecs.zstd import decompress  # type: ignore[import-untyped]

    head = (MAGIC, bytes((VERSION, MANIFEST, ZSTD)))
    if (content[:12], content[36:HEADER_BYTES]) != head:
        raise FormatError(
            f"manifest {manifest} begins with {content[:12]!r} and has the version, kind and compression "
            f"{tuple(content[36:HEADER_BYTES])}: known are {MAGIC!r} and {tuple(head[1])}"
        )
    try:
        table = _Table(decompress(content[HEADER_BYTES:]))
        root = table.at(np.zeros(1, "i8"))
        if table.data[4:8] != IDENTIFIER or name_of(table.struct(root, ID, 12)[0].tobytes()) != manifest:
            raise FormatError(f"manifest {manifest} says that it is another")
        arrays = table.tables(root, ARRAYS)
        names = [name_of(identity.tobytes()) for identity in table.struct(arrays, NODE_ID, 8)]
        refs = table.tables(arrays[[names.index(node)]], REFS) if node in names else arrays[:0]
        return _refs(table, refs)
    except (IndexError, RuntimeError, UnicodeDecodeError) as error:
        raise FormatError(f"manifest {manifest} is damaged: {error}") from error


def _refs(table: _Table, refs: np.ndarray) -> Refs:
    native = table.field(refs, CHUNK_ID) > 0
    rows = np.zeros(len(refs), ROW)
    rows["location"], locations = table.strings(refs, LOCATION)
    rows["etag"], etags = table.strings(refs, ETAG)
    rows["location"][rows["location"] < 0] = ELSEWHERE
    rows["location"][native] = NATIVE
    rows["offset"] = table.scalar(refs, OFFSET, "<u8")
    rows["length"] = table.scalar(refs, LENGTH, "<u8")
    rows["modified"] = table.scalar(refs, MODIFIED, "<u4")
    rows["chunk_id"] = table.struct(refs, CHUNK_ID, 12).view("V12")[:, 0]
    return Refs(table.vectors(refs, INDEX), rows, locations, etags)


class _Table:
    """FlatBuffers, many tables at a time: tables and fields are arrays of positions in the bytes, 0 where absent."""

    def __init__(self, data: bytes):
        self.data = data
        self._bytes = np.frombuffer(data, "u1")

    def read(self, positions: np.ndarray, dtype: str) -> np.ndarray:
        """A number of ``dtype`` at each position. Raises ``IndexError`` for one that is outside."""
        width = np.dtype(dtype).itemsize
        if len(positions) and positions.min() < 0:
            raise IndexError(f"a position of {positions.min()}")
        rows = self._bytes[positions[:, None] + np.arange(width)]
        numbers: np.ndarray = rows.view(dtype)[:, 0]
        return numbers

    def at(self, positions: np.ndarray) -> np.ndarray:
        """What the offsets at these positions lead to."""
        targets: np.ndarray = positions + self.read(positions, "<u4")
        return targets

    def field(self, tables: np.ndarray, number: int) -> np.ndarray:
        """The position of a field in each of the tables."""
        vtables = tables - self.read(tables, "<i4")
        slot = 4 + 2 * number
        there = self.read(vtables, "<u2") > slot
        offsets = np.zeros(len(tables), "i8")
        offsets[there] = self.read(vtables[there] + slot, "<u2")
        return np.where(offsets > 0, tables + offsets, 0)

    def _required(self, tables: np.ndarray, number: int) -> np.ndarray:
        fields = self.field(tables, number)
        if not fields.all():
            raise IndexError(f"no field {number}")
        return fields

    def _counted(self, count: int) -> int:
        if 4 * count > len(self.data):
            raise IndexError(f"{count} elements in {len(self.data)} bytes")
        return count

    def scalar(self, tables: np.ndarray, number: int, dtype: str) -> np.ndarray:
        """A number of each table, 0 where it is absent."""
        fields = self.field(tables, number)
        values = np.zeros(len(tables), dtype)
        values[fields > 0] = self.read(fields[fields > 0], dtype)
        return values

    def struct(self, tables: np.ndarray, number: int, width: int) -> np.ndarray:
        """The bytes of a struct of each table, as rows; zeros where it is absent."""
        fields = self.field(tables, number)
        rows = np.zeros((len(tables), width), "u1")
        rows[fields > 0] = self._bytes[fields[fields > 0][:, None] + np.arange(width)]
        return rows

    def tables(self, table: np.ndarray, number: int) -> np.ndarray:
        """The tables in a field of the one table."""
        vector = self.at(self._required(table, number))
        count = self._counted(int(self.read(vector, "<u4")[0]))
        return self.at(vector[0] + 4 + 4 * np.arange(count))

    def vectors(self, tables: np.ndarray, number: int) -> np.ndarray:
        """The 32-bit numbers in a field of each table, as rows: all have equally many."""
        vectors = self.at(self._required(tables, number))
        counts = self.read(vectors, "<u4")
        count = self._counted(int(counts[0])) if len(counts) else 0
        if (counts != count).any():
            raise IndexError("unlike numbers of dimensions")
        columns = [self.read(vectors + 4 + 4 * axis, "<u4") for axis in range(count)]
        return np.stack(columns, axis=1) if columns else np.zeros((len(tables), 0), "u4")

    def strings(self, tables: np.ndarray, number: int) -> tuple[np.ndarray, list[str]]:
        """The text in a field of each table, as numbers of the different ones (-1 where it is absent), and these."""
        fields = self.field(tables, number)
        numbers = np.full(len(tables), -1, "i4")
        there = fields > 0
        starts = self.at(fields[there])
        ends = starts + 4 + self.read(starts, "<u4")
        if len(ends) and ends.max() > len(self.data):
            raise IndexError("text that goes on behind the end")
        known: dict[bytes, int] = {}
        numbers[there] = [
            known.setdefault(self.data[start:end], len(known))
            for start, end in zip((starts + 4).tolist(), ends.tolist(), strict=True)
        ]
        return numbers, [text.decode() for text in known]
