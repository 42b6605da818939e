"""Which disks may become OSDs, asked of real disks (loop devices of this host) by the module that the roles use."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from site_run import PROGRAMS, PROJECT

FSID = "3f1c9d1e-0f5b-4f0e-9f43-0d5f6a7b8c9d"
SECTOR = 512


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 64 MiB under a name that stays with it."""
    backing = tmp_path / "disk"
    backing.touch()
    os.truncate(backing, 64 << 20)
    found = subprocess.run(["losetup", "--find", "--show", backing], capture_output=True, text=True, check=True)
    device = Path(found.stdout.strip())
    name = Path(f"/dev/disk/by-id/test-{uuid.uuid4()}")
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(device)
    try:
        yield name
    finally:
        name.unlink()
        subprocess.run(["losetup", "--detach", device], check=True)


def verdict(*devices: Path) -> tuple[int, str]:
    """Exit status and words of a look at disks, with no change asked for."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
    arguments = {"devices": [str(device) for device in devices], "fsid": FSID, "state": "checked"}
    command = [str(PROGRAMS / "ansible"), "localhost", "--connection", "local", "--module-name", "ceph_osd_disks"]
    command += ["--args", json.dumps(arguments), "--extra-vars", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def write(device: Path, position: int, content: bytes) -> None:
    with device.open("r+b") as disk:
        disk.seek(position)
        disk.write(content)


def physical_volume(device: Path) -> None:
    """The label that `pvcreate` writes into the second sector: its CRC starts from LVM's own number."""
    body = struct.pack("<I8s32s", 32, b"LVM2 001", b"x" * 32).ljust(SECTOR - 20, b"\0")
    checksum = zlib.crc32(body, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    write(device, SECTOR, struct.pack("<8sQI", b"LABELONE", 1, checksum) + body)


def partition_table(device: Path) -> None:
    """One Linux partition from sector 2048 on, in the first sector's table."""
    write(device, 446, struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 2048, 4096))
    write(device, SECTOR - 2, b"\x55\xaa")


CONTENTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "file system": (lambda disk: subprocess.run(["mkfs.ext4", "-q", disk.resolve()], check=True), "holds ext4"),
    "swap": (lambda disk: subprocess.run(["mkswap", "-q", disk.resolve()], check=True), "holds swap"),
    "partition table": (partition_table, "holds dos"),
    "LVM": (physical_volume, "holds LVM2_member"),
    "unknown data at its start": (lambda disk: write(disk, 0, b"?"), "data of a kind that is not known"),
    "unknown data at its end": (lambda disk: write(disk, (64 << 20) - 1, b"?"), "data of a kind that is not known"),
    "a damaged OSD": (
        lambda disk: write(disk, 0, b"bluestore block device\n" + b"0" * 60),
        "holds a damaged OSD",
    ),
}


def test_an_empty_disk_may_become_an_osd(disk: Path) -> None:
    status, said = verdict(disk)
    assert status == 0, said
    assert str(disk) in said


@pytest.mark.parametrize("content", CONTENTS)
def test_a_disk_that_holds_something_is_refused(disk: Path, content: str) -> None:
    make, expected = CONTENTS[content]
    make(disk)
    before = disk.read_bytes()
    status, said = verdict(disk)
    assert status != 0
    assert re.search(expected, said), said
    assert disk.read_bytes() == before


def test_a_mounted_disk_is_refused(disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", disk.resolve()], check=True)
    (tmp_path / "here").mkdir()
    subprocess.run(["mount", disk.resolve(), tmp_path / "here"], check=True)
    try:
        status, said = verdict(disk)
    finally:
        subprocess.run(["umount", tmp_path / "here"], check=True)
    assert status != 0
    assert f"is mounted at {tmp_path / 'here'}" in said
