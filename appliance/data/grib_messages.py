"""Where the fields of a GRIB file lie, and each as a message of its own. Pure: nothing is decoded.

A message of edition 2 may hold several fields, which share sections (WMO Manual on Codes, volume I.2, FM 92, note 2 to
its sections): ecCodes hands out the first alone unless a switch of the whole process says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAGIC, END = b"GRIB", b"7777"
LONG = 0x800000  # in the length of a message of edition 1: it means something else then
NO_BITMAP, BITMAP_OF_BEFORE = 255, 254  # of section 6, code table 6.0
WINDOW = 16 * 2**20  # bytes that are read at once


class DamagedError(Exception):
    """The file is no whole GRIB file; the message says where and why."""


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        start: of its message, in the file.
        end: behind its message.
        number: among the fields of the message.
    """

    start: int
    end: int
    number: int = 0


class Window:
    """Bytes of a file, of which a stretch is read at once.

    Args:
        read: gives the bytes between two places.
        nbytes: of the file.
    """

    def __init__(self, read: Callable[[int, int], bytes], nbytes: int):
        self._read, self.nbytes = read, nbytes
        self._start, self._held = 0, b""

    def __call__(self, start: int, end: int) -> bytes:
        """The bytes between two places."""
        if start < self._start or end > self._start + len(self._held):
            self._start, self._held = start, self._read(start, min(max(end, start + WINDOW), self.nbytes))
        return self._held[start - self._start : end - self._start]


def fields(read: Window) -> Iterator[tuple[Field, bytes]]:
    """The fields of a file in turn, each with a message of its own. Raises ``DamagedError``."""
    at = 0
    while (at := _next(read, at)) < read.nbytes:
        end = at + _length(read, at)
        if end > read.nbytes:
            raise DamagedError(
                f"is truncated: its message at byte {at:,} ends at {end:,}, and the file at {read.nbytes:,}"
            )
        message = read(at, end)
        if message[-4:] != END:
            raise DamagedError(f"is damaged: its message at byte {at:,} does not end where it says")
        for number, single in enumerate(singles(message, at)):
            yield Field(at, end, number), single
        at = end


def single(read: Callable[[int, int], bytes], field: Field) -> bytes:
    """A field's message. Raises ``DamagedError``."""
    return singles(read(field.start, field.end), field.start)[field.number]


def _next(read: Window, at: int) -> int:
    """Where the next message begins; the file's end if there is none. Bulletins have headers between messages."""
    while at < read.nbytes:
        stretch = read(at, min(at + WINDOW, read.nbytes))
        found = stretch.find(MAGIC)
        if found >= 0:
            return at + found
        at += max(1, len(stretch) - len(MAGIC) + 1)
    return read.nbytes


def _length(read: Window, at: int) -> int:
    head = read(at, min(at + 16, read.nbytes))
    edition = head[7] if len(head) == 16 else 0
    if edition == 2:
        return int.from_bytes(head[8:16], "big")
    if edition == 1:
        length = int.from_bytes(head[4:7], "big")
        if not length & LONG:
            return length
        raise DamagedError(
            f"its message at byte {at:,} is of edition 1 and longer than 8 MiB: convert it, "
            "`grib_set -s edition=2 IN OUT`"
        )
    raise DamagedError(f"is truncated or damaged: its message at byte {at:,} is of edition {edition}, not 1 or 2")


def singles(message: bytes, at: int) -> list[bytes]:
    """The fields of a message, each in one of its own; the message itself where it has one."""
    if message[7] == 1:
        return [message]
    sections: dict[int, bytes] = {}
    bitmap, made, place = b"", [], 16
    while message[place : place + 4] != END:
        length, number = int.from_bytes(message[place : place + 4], "big"), message[place + 4]
        section = message[place : place + length]
        if length < 5 or not 1 <= number <= 7 or place + length > len(message) - len(END):
            raise DamagedError(f"is damaged: the sections of its message at byte {at:,} do not follow each other")
        if number == 6 and section[5] == BITMAP_OF_BEFORE:
            section = bitmap
        elif number == 6 and section[5] != NO_BITMAP:
            bitmap = section
        sections[number] = section
        if number == 7:
            body = b"".join(sections[each] for each in sorted(sections))
            made.append(message[:8] + (16 + len(body) + len(END)).to_bytes(8, "big") + body + END)
        place += length
    if not made:
        raise DamagedError(f"is damaged: its message at byte {at:,} has no values")
    return made if len(made) > 1 else [message]
