"""What is on a disk, told from the disk itself: no tool of Ceph's is needed, so a bare machine can be asked too."""

from __future__ import annotations

import os
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"bluestore block device\n"
# The magic line, then the OSD's uuid as text and a line end; the binary label follows.
LABEL_AT = len(MAGIC) + 37
EDGE = 1 << 20


@dataclass(frozen=True)
class Label:
    """The part of a BlueStore label that says whose OSD this is."""

    osd_uuid: str
    fsid: str
    osd_id: str
    finished: bool


class Reader:
    """Walks through little-endian encoded fields; raises ValueError past the end."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        part = self.data[self.position : self.position + count]
        if len(part) != count:
            raise ValueError(f"label ends at byte {len(self.data)}, and a field goes to {self.position + count}")
        self.position += count
        return part

    def number(self) -> int:
        """The next 32-bit number."""
        return int(struct.unpack("<I", self.take(4))[0])

    def text(self) -> str:
        """The next string: its length, then its bytes."""
        return self.take(self.number()).decode("utf-8", "replace")


def parse_label(start: bytes) -> Label | None:
    """The label in a disk's first bytes (4096 are enough for one OSD), or None where there is no BlueStore.

    Fields as in Ceph's `bluestore_bdev_label_t::encode`: version, compatible version and length; uuid; size; time of
    birth (8 bytes); description; and, from version 2, a map of strings. Raises ValueError for a damaged label.
    """
    if not start.startswith(MAGIC):
        return None
    fields = Reader(start, LABEL_AT)
    version = fields.take(1)[0]
    fields.take(1 + 4)
    osd_uuid = str(uuid.UUID(bytes=fields.take(16)))
    fields.take(8 + 8)
    fields.text()
    known: dict[str, str] = {}
    if version >= 2:
        for _ in range(fields.number()):
            name = fields.text()
            known[name] = fields.text()
    return Label(
        osd_uuid=osd_uuid,
        fsid=known.get("ceph_fsid", ""),
        osd_id=known.get("whoami", ""),
        finished=known.get("ready") == "ready",
    )


def edges_hold_data(device: Path, edge: int = EDGE) -> bool:
    """Whether the first or the last ``edge`` bytes of a device (or file) hold anything but zeros."""
    with device.open("rb") as disk:
        if any(disk.read(edge)):
            return True
        end = disk.seek(0, os.SEEK_END)
        disk.seek(max(0, end - edge))
        return any(disk.read(edge))


def first_bytes(device: Path, count: int = 4096) -> bytes:
    """The first ``count`` bytes of a device."""
    with device.open("rb") as disk:
        return disk.read(count)


def busy(device: Path) -> bool:
    """Whether the kernel uses the device: mounted, swapped to, in an array or a volume group, or open exclusively."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return True
    return False
