"""The judge of a disk: what is on it, and whether it may become an OSD.

Told from the disk itself, so that a bare machine can be asked too. Only an OSD whose making was interrupted needs the
monitors' word as well.
"""

from __future__ import annotations

import enum
import fcntl
import json
import os
import stat
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible.module_utils.ceph_cli import CephError, Run, bootstrap_cluster

MAGIC = b"bluestore block device\n"
# The magic line, then the OSD's uuid as text and a line end; the binary label follows.
LABEL_AT = len(MAGIC) + 37
LABEL_BYTES = 4096
EDGE = 1 << 20


@dataclass(frozen=True)
class Label:
    """The part of a BlueStore label that says whose OSD this is."""

    osd_uuid: str
    description: str
    fsid: str
    osd_id: str
    finished: bool


class State(enum.StrEnum):
    """What a disk is to this cluster."""

    EMPTY = "empty"
    FINISHED = "finished"  # an OSD of this cluster
    UNFINISHED = "unfinished"  # an OSD of this cluster, or of nobody yet, whose making was interrupted
    MAKING = "making"  # the same, and something still works on it
    FOREIGN = "foreign"  # another cluster's OSD
    OCCUPIED = "occupied"  # anything else
    BUSY = "busy"
    MISSING = "missing"
    UNSTABLE = "unstable"  # a name that can mean another disk after the next boot


@dataclass(frozen=True)
class Verdict:
    """What a disk is, and why it is refused with the way out of that; both are empty for a disk that is not."""

    state: State
    reason: str = ""
    fix: str = ""
    label: Label | None = None


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
    description = fields.text()
    known: dict[str, str] = {}
    if version >= 2:
        for _ in range(fields.number()):
            name = fields.text()
            known[name] = fields.text()
    return Label(
        osd_uuid=osd_uuid,
        description=description,
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


def first_bytes(device: Path, count: int = LABEL_BYTES) -> bytes:
    """The first ``count`` bytes of a device."""
    with device.open("rb") as disk:
        return disk.read(count)


def busy(device: Path) -> bool:
    """Whether the kernel uses the device (mounted, in an array or a volume group), or a program locks it.

    BlueStore locks its disk with flock as long as it has it open.
    """
    try:
        handle = os.open(device, os.O_RDONLY | os.O_EXCL)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def signatures(run: Run, path: str) -> list[str]:
    """Names of everything on the disk that blkid's library knows: file systems, partition tables, LVM, RAID."""
    status, out, err = run(["wipefs", "--no-act", "--json", path])
    if status != 0:
        return [f"(wipefs could not read it: {err.strip()})"]
    return sorted({found["type"] for found in json.loads(out or "{}").get("signatures", [])})


def partitions(real: Path) -> list[str]:
    """Names of the disk's partitions, and of what is built on it, as the kernel knows them."""
    disk = Path("/sys/class/block") / real.name
    holders = sorted(entry.name for entry in (disk / "holders").glob("*"))
    return sorted(entry.parent.name for entry in disk.glob("*/partition")) + holders


def mounts(real: Path) -> list[str]:
    """Where the disk is mounted."""
    number = real.stat().st_rdev
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted({fields[4] for fields in lines if fields[2] == f"{os.major(number)}:{os.minor(number)}"})


def judge_label(label: Label, fsid: str, in_use: bool) -> Verdict:
    """What a disk with a BlueStore label is to the cluster ``fsid``."""
    if label.description != "main":
        held = f"a part of an OSD ({label.description})" if label.description else "a damaged OSD"
        return Verdict(State.OCCUPIED, f"holds {held}", "name an empty disk", label)
    if label.fsid != fsid and (label.fsid or label.finished):
        owner = f"holds osd.{label.osd_id or '?'} of another cluster ({label.fsid or 'no identity'})"
        fix = "name an empty disk; if that cluster is gone, wipe it yourself: ceph-volume lvm zap, or wipefs --all"
        return Verdict(State.FOREIGN, owner, fix, label)
    if label.finished and label.osd_id:
        return Verdict(State.FINISHED, label=label)
    if in_use:
        reason = f"is being made an OSD (uuid {label.osd_uuid}) by a program that still runs"
        return Verdict(State.MAKING, reason, "wait until `ceph-osd --mkfs` has ended, and run again", label)
    return Verdict(State.UNFINISHED, label=label)


def judge(run: Run, path: str, fsid: str) -> Verdict:
    """What the disk at ``path`` is to the cluster ``fsid``; ``run`` is AnsibleModule.run_command."""
    if not os.path.normpath(path).startswith("/dev/disk/by-"):
        reason = "is no stable name: it can mean another disk after the next boot"
        return Verdict(State.UNSTABLE, reason, "name the disk by a path below /dev/disk/by-id/")
    real = Path(path).resolve()
    if not real.exists():
        fix = "correct the name: `ls -l /dev/disk/by-id/` on the machine shows what is there"
        return Verdict(State.MISSING, "does not exist on this machine", fix)
    if not stat.S_ISBLK(real.stat().st_mode):
        return Verdict(State.OCCUPIED, "is no disk (block device)", "name a whole disk")
    own_wipe = "name an empty disk, or, if all that it holds may go, wipe it yourself"
    try:
        label = parse_label(first_bytes(real))
    except ValueError as error:
        return Verdict(State.OCCUPIED, f"holds a damaged OSD: {error}", own_wipe)
    if label is not None:
        return judge_label(label, fsid, busy(real))
    if found := mounts(real):
        return Verdict(State.BUSY, f"is mounted at {', '.join(found)}", "name an empty disk")
    if found := partitions(real):
        return Verdict(State.OCCUPIED, f"is divided or built upon: {', '.join(found)}", f"{own_wipe}: wipefs --all")
    if found := signatures(run, path):
        return Verdict(State.OCCUPIED, f"holds {', '.join(found)}", f"{own_wipe}: wipefs --all")
    if busy(real):
        return Verdict(State.BUSY, "is in use", "name an empty disk")
    if edges_hold_data(real):
        return Verdict(
            State.OCCUPIED, "holds data of a kind that is not known here", f"{own_wipe}: blkdiscard --zeroout"
        )
    return Verdict(State.EMPTY)


def never_started(osd: Mapping[str, Any]) -> bool:
    """Whether an OSD of `ceph osd dump` has never been up, so that it holds nothing that was acknowledged.

    The monitors take the state "new" away when an OSD starts for the first time, and note the epoch (``up_from``).
    """
    return "new" in osd["state"] and not osd["up"] and not osd["up_from"]


def doubt(label: Label | None, osds: Sequence[Mapping[str, Any]]) -> str:
    """Why an unfinished OSD may hold data; empty if the monitors' list of OSDs proves that it never started."""
    for osd in osds:
        if label is not None and osd["uuid"] == label.osd_uuid:
            return "" if never_started(osd) else f"the monitors say that osd.{osd['osd']} has been up"
    return "the monitors do not know it"


def unproven(verdict: Verdict, reason: str) -> Verdict:
    """The verdict on an unfinished OSD that may not be cleaned."""
    uuid_told = verdict.label.osd_uuid if verdict.label else "?"
    return replace(
        verdict,
        reason=f"holds an OSD (uuid {uuid_told}) whose making was interrupted, and {reason}",
        fix="run again while the monitors of its cluster answer; if it is nobody's, wipe it yourself: "
        "`ceph-bluestore-tool zap-device`, and `dd if=/dev/zero` over its first MiB",
    )


def proven(run: Run, found: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """The verdicts, with unfinished OSDs refused unless the monitors prove that they never started.

    The monitors are asked only if there is one.
    """
    unfinished = [path for path, verdict in found.items() if verdict.state is State.UNFINISHED]
    if not unfinished:
        return dict(found)
    osds: Sequence[Mapping[str, Any]] = []
    silence = ""
    try:
        osds = bootstrap_cluster(run).ask("osd dump")["osds"]
    except CephError as error:
        silence = str(error)
    reasons = {path: silence or doubt(found[path].label, osds) for path in unfinished}
    return {path: unproven(verdict, reasons[path]) if reasons.get(path) else verdict for path, verdict in found.items()}


def survey(run: Run, devices: Sequence[str], fsid: str) -> dict[str, Verdict]:
    """Judge all disks of a machine, by path. Changes nothing."""
    found: dict[str, Verdict] = {}
    names: dict[str, str] = {}
    for path in devices:
        first = names.setdefault(os.path.realpath(path), path)
        if first == path:
            found[path] = judge(run, path, fsid)
        else:
            found[path] = Verdict(State.OCCUPIED, f"is the same disk as {first}", "name each disk once")
    return proven(run, found)
