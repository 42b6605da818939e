"""Machines' disks: sparse files on loop devices, known in the machine by an id that survives a new loop number."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from pathlib import Path

from appliance.rack.model import LOCKS, Machine
from appliance.rack.shell import run

LOOP_MAJOR = 7
LOOP_CTL_REMOVE = 0x4C81
LOCK = LOCKS / "appliance-rack-disks.lock"


def attached(folder: Path) -> dict[Path, str]:
    """Return the loop devices of the files below ``folder``: file to device."""
    listed = run("losetup", "--list", "--json", "--output", "NAME,BACK-FILE").strip()
    devices = json.loads(listed)["loopdevices"] if listed else []
    found = {}
    for device in devices:
        # The kernel marks a file that was deleted while it was attached.
        backing = Path((device["back-file"] or "").removesuffix(" (deleted)"))
        if backing.is_relative_to(folder):
            found[backing] = device["name"]
    return found


def attach(machine: Machine, size_gib: int) -> list[str]:
    """Make the machine's disks where they are missing, attach them and return their devices in order."""
    machine.folder.mkdir(parents=True, exist_ok=True)
    devices = attached(machine.folder)
    names = []
    for disk in machine.disks:
        backing = machine.folder / disk
        if not backing.exists():
            with backing.open("wb") as file:
                file.truncate(size_gib << 30)
        if backing not in devices:
            devices[backing] = _attach(backing)
        names.append(devices[backing])
    links = [f"L+ /dev/disk/by-id/{disk} - - - - {device}" for disk, device in zip(machine.disks, names, strict=True)]
    rules = machine.root / "etc/tmpfiles.d/rack-disks.conf"
    rules.parent.mkdir(parents=True, exist_ok=True)
    # No udev runs in a machine: this is what names its disks at each boot.
    rules.write_text("\n".join(links) + "\n" if links else "")
    return names


def detach(folder: Path) -> None:
    """Detach every disk whose file lies below ``folder``."""
    for device in attached(folder).values():
        run("losetup", "--detach", device)
        _remove_node(device)


def _attach(backing: Path) -> str:
    # One at a time over all racks: between asking for a free number and taking it, the number's node is made.
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make_node(run("losetup", "--find").strip())
        return run("losetup", "--find", "--show", str(backing)).strip()


def _make_node(device: str) -> None:
    """Make the node of a loop device above those that the host made at its start."""
    path = Path(device)
    if path.exists():
        return
    os.mknod(path, 0o660 | stat.S_IFBLK, os.makedev(LOOP_MAJOR, int(path.name.removeprefix("loop"))))


def _remove_node(device: str) -> None:
    """Give back a loop device above those that the host made at its start. One that somebody uses stays."""
    number = int(device.removeprefix("/dev/loop"))
    if number < int(Path("/sys/module/loop/parameters/max_loop").read_text() or 0):
        return
    with contextlib.suppress(OSError), Path("/dev/loop-control").open("rb") as control:
        fcntl.ioctl(control, LOOP_CTL_REMOVE, number)
        Path(device).unlink(missing_ok=True)
